"""The questions of a full run alone: whether drawn rows help, and which columns decide."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_compare_verdicts import tell

from dgjax.compare import _drawn, _explained, _plan, _report, _run, _verdicts
from dgjax.compare._dataset import Dataset
from dgjax.compare._encode import fit_encoder
from dgjax.compare._explained import LENT, SHUFFLED, SUMMED_OUT

ALONE = "exact"
ASKED = {"train_rows": 40, "drawn_sizes": (10,), "drawn_repeats": 5, "explained_repeats": 5}


def made_up(columns=4):
    x, y = np.random.default_rng(0).normal(size=(60, columns)), np.arange(60) % 3
    return Dataset("made-up", x, y, tuple("abcd"[:columns]), ((),) * columns, ("u", "v", "w"), "target")


@pytest.fixture
def comparison():
    dataset = made_up()
    return _run.begin(dataset, quick=True, plan=replace(_plan.make_plan(dataset, quick=True), **ASKED))


def accuracies(gains, twin=0.5, learner="forest"):
    """Means of a classifier that has 0.7 alone, and with rows drawn by each generative model so much more."""
    values = {("accuracy", learner, 10.0, ALONE): 0.7}
    for key, gain in gains.items():
        values["accuracy", learner, 10.0, _drawn.with_rows(key)] = 0.7 + gain
        values["accuracy", key, 10.0, ALONE] = twin
    return values


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ({"lda": 0.0, "qda": 0.0}, "No: of 2 combinations"),
        ({"lda": 0.1, "qda": 0.0, "mda": 0.0}, "In some cases: of 3 combinations"),
        ({"lda": 0.1, "qda": 0.2}, "Mostly: of 2 combinations"),
        ({"lda": -0.1, "qda": 0.0}, "No, they hurt: of 2 combinations"),
        ({"lda": -0.1, "qda": -0.1, "mda": 0.1}, "No, they hurt more often than they help: of 3"),
        ({"lda": -0.1, "qda": 0.1}, "No, they hurt as often as they help: of 2"),
    ],
)
def test_drawn_rows_follow_the_numbers(comparison, gains, words):
    tell(comparison, "drawn_rows", accuracies(gains))
    verdict = _verdicts.verdict(comparison, "drawn_rows")
    assert verdict.headline.startswith(words)
    up, down = (sum(sign * gain > 0 for gain in gains.values()) for sign in (1, -1))
    assert f"make {up or 'none'} more accurate and {down or 'none'} less, for certain" in verdict.headline
    assert f"random forest {up} and {down} of {len(gains)}" in " ".join(verdict.reasons)
    assert ("the most with 10 rows: random forest by" in verdict.headline) == bool(up)


@pytest.mark.parametrize(
    ("twin", "words"), [(0.5, "1 more accurate than it"), (0.95, "0 more accurate than it for certain, 1 less")]
)
def test_a_gain_is_set_beside_the_model_that_drew_the_rows(comparison, twin, words):
    tell(comparison, "drawn_rows", accuracies({"lda": 0.1}, twin))
    reasons = _verdicts.verdict(comparison, "drawn_rows").reasons
    assert words in reasons[0]
    assert "With 10 rows, of all ways" in reasons[-1]


def test_one_gain_of_many_may_be_chance(comparison):
    for learner in _drawn.classifiers(comparison.bench):
        gains = {key: 0.1 * (learner == "svm" and key == "lda") for key in comparison.bench.generative}
        tell(comparison, "drawn_rows", accuracies(gains, learner=learner))
    count = len(comparison.bench.generative) * len(_drawn.classifiers(comparison.bench))
    headline = _verdicts.verdict(comparison, "drawn_rows").headline
    assert count >= 20
    assert headline.startswith(f"Hardly, no more often than by chance alone: of {count} combinations")


def shares(key, method, values, metric="share"):
    return {(metric, key, float(j), method): value for j, value in enumerate(values)}


def test_columns_that_decide_follow_the_numbers(comparison):
    values = shares("lda", SUMMED_OUT, (0.1, 0.6, 0.2, 0.1)) | shares("lda", LENT, (0.1, 0.7, 0.1, 0.1))
    values |= shares("logistic", LENT, (0.4, 0.4, 0.1, 0.1)) | shares("qda", SUMMED_OUT, (0.1, 0.1, 0.7, 0.1))
    values |= shares("forest", SHUFFLED, (0.2, 0.1, 0.0, 0.3), "contribution")
    tell(comparison, "columns", values, noise=(0.0, 0.01, -0.01, 0.02, -0.02))
    verdict = _verdicts.verdict(comparison, "columns")
    assert verdict.headline == (
        "'b' decides most for LDA (60 %); 'c' decides most for QDA (70 %); "
        "for logistic regression no single column can be told to lead."
    )
    assert "LDA leans, compared with logistic regression, more on 'b' (by 30.0" in verdict.reasons[0]
    assert "less on 'a' (by 30.0" in verdict.reasons[0]
    assert "random forest 'd' (0.300" in verdict.reasons[1]
    assert verdict.reasons[2].startswith("Exact in every row")
    comparison.answers["columns"].extra["largest_standard_error"] = {"lda": 0.0312}
    assert (
        "but for LDA, means over few random orders of the columns, with a standard error of 0.031 at"
        in (_verdicts.verdict(comparison, "columns").reasons[2])
    )


def test_pictures_and_tables_name_rows_and_columns(comparison):
    tell(comparison, "drawn_rows", accuracies({"lda": 0.1, "qda": 0.0}))
    values = shares("lda", SUMMED_OUT, (0.1, 0.6, 0.2, 0.1)) | shares("forest", SHUFFLED, (0.2, 0.1, 0.4, 0.3))
    tell(comparison, "columns", values | shares("logistic", LENT, (0.4, 0.4, 0.1, 0.1)))
    page = _report.page(comparison)
    for words in (
        'alt="What drawn rows gain each classifier that has 10 rows of its own"',
        'alt="Which columns decide, by LDA and logistic"',
        'alt="Which columns decide, by the references, each column shuffled"',
        "accuracy, 10 rows",
        "Random forest with rows drawn by LDA",
        "share, d",
        "LDA (cells summed out)",
    ):
        assert words in page
    found = json.loads(json.dumps(_report.as_json(comparison), allow_nan=False))["questions"]
    assert {"drawn_rows", "columns"} < found.keys()


def test_only_full_runs_ask_and_of_two_columns_or_more():
    def asked(columns, quick):
        return {question.key for question in _run.begin(made_up(columns), quick).asked}

    assert asked(4, quick=False) - asked(4, quick=True) == {"deep", "drawn_rows", "columns"}
    assert asked(1, quick=False) - asked(1, quick=True) == {"drawn_rows"}


def test_the_work_of_explaining_is_bounded():
    assert _plan.make_plan(made_up(), quick=False).explained_orders == 0
    many = replace(made_up(), x=np.zeros((60, 2000)), columns=("a",) * 2000, levels=((),) * 2000)
    orders = _plan.make_plan(many, quick=False).explained_orders
    assert orders >= 4
    assert orders * 2000 * _plan.EXPLAINED_ROWS * _plan.LENDING_ROWS <= 2 * _plan.MOST_ASKED


def test_drawn_rows_are_rows_as_those_of_the_file():
    random = np.random.default_rng(1)
    levels = ((), ("p", "q"), ("r", "s", "t"), ())
    x = np.column_stack(
        [random.normal(5, 2, 30), random.integers(0, 2, 30), random.integers(0, 3, 30), random.normal(size=30)]
    )
    dataset = Dataset("mixed", x, np.arange(30) % 2, tuple("abcd"), levels, ("u", "v"), "target")
    encoder = fit_encoder(x, dataset)
    assert encoder.groups("features") == [[0], [1], [2, 3], [4]]
    for view in ("columns", "features"):
        assert np.allclose(encoder.rows(encoder.view(x, view), view), x, atol=1e-5)
    between = encoder.view(x, "features").astype(float)
    between[:, 1:4] += random.uniform(-0.4, 0.4, (30, 3))
    assert np.array_equal(encoder.rows(between, "features")[:, 1:3], x[:, 1:3])


def test_shuffling_a_column_that_says_nothing_costs_nothing():
    x, y = np.random.default_rng(2).normal(size=(200, 3)), np.zeros(200, int)
    y[x[:, 1] > 0] = 1
    costs = _explained.shuffled(lambda rows: np.log(np.where((rows[:, [1]] > 0) == [0, 1], 0.9, 0.1)), x, y, seed=0)
    assert costs[0] == pytest.approx(0, abs=1e-12)
    assert costs[2] == pytest.approx(0, abs=1e-12)
    assert costs[1] == pytest.approx(0.8 * 0.5, abs=0.05)
