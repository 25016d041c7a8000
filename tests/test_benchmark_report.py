"""The benchmarks' page on public calls: what it says follows from the cases."""

import calls_report


def case(ratios, group="200,000 rows", dtype="float64", **facts):
    peers = {name: {"ratio": ratio} for name, ratio in ratios.items()}
    return {"n": 3, "median_s": 0.01, "groups": [group], "dtype": dtype, "peers": peers, "call": "predict"} | facts


SLOW = case({"scikit-learn": 0.5}, family="slow")
MIDDLING = case({"one": 8.0, "other": 0.9}, family="middling")
FAST = case({"scikit-learn": 8.0}, family="fast")
ALONE = case({}, "no peer", family="alone")


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_calls_behind_are_listed_worst_first_against_the_fastest_peer():
    listed = cells(calls_report.behind([FAST, MIDDLING, SLOW, ALONE]))
    assert [(row[0], row[5], row[6]) for row in listed] == [
        ("slow", "scikit-learn", "0.5x"),
        ("middling", "other", "0.9x"),
    ]
    assert calls_report.behind([FAST]) == "No call was slower than a peer's."
    assert calls_report.behind([ALONE]) == "Nothing was measured."


def test_groups_have_a_geometric_mean_and_a_worst_call_for_each_precision():
    single = case({"scikit-learn": 2.0}, dtype="float32", family="single")
    first, second = cells(calls_report.groups([SLOW, FAST, single, ALONE]))
    assert first == ["200,000 rows", "float64", "2", "2.0x", "6x", "0.5x", "1.5x", "slow, predict, n=3"]
    assert second[1:4] == ["float32", "1", "2.0x"]


def test_cost_of_missing_cells_is_relative_to_complete_rows():
    hidden = case({"complete": 0.25}, "missing", family="full mixture", call="impute")
    assert cells(calls_report.missing([hidden]))[0] == ["impute", "float64", "10.0", "4.0x", "5x"]
    assert calls_report.behind([hidden]) == "Nothing was measured."


def test_another_number_of_rows_is_said_to_compile_or_not():
    cases = [
        {"function": name, "median_s": seconds, "warm_s": 0.1, "programs_of_another_n": programs}
        for name, seconds, programs in [("none", 0.2, 0), ("some", 0.9, 3)]
    ]
    worst, aim, *listed = cells(calls_report.small_first_calls(cases))
    assert worst[1:] == ["0.90", "0.10", "3"]
    assert aim[1:] == ["0.7", "0.25", "none"]
    assert [(row[0], row[3]) for row in listed] == [("some", "3"), ("none", "none")]
