import json
from dataclasses import replace
from datetime import date, timedelta

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from test_compare_verdicts import tell

import dgjax as dg
from dgjax.compare import (
    _cli,
    _sequence_contestants,
    _sequence_data,
    _sequence_questions,
    _simulate,
    _summary,
    _verdicts,
)
from dgjax.compare._dataset import SIMULATED
from dgjax.compare._errors import InputError
from dgjax.compare._metrics import accuracy
from dgjax.compare._missing import EXACT, MEAN
from dgjax.compare._questions import ALL_ROWS, DENSITY, LABELLED, LARGEST
from dgjax.compare._sequence_questions import OFF, SHUFFLED

TINY = {
    "repeats": 3,
    "train_rows": 8,
    "test_rows": 6,
    "missing_test_rows": 6,
    "sizes": (3, 8),
    "missing_shares": (0.0, 0.5),
    "labelled_shares": (0.375, 1.0),
    "mixture_steps": 3,
}


def steps(count=20, length=4):
    """A row for each step: a name, two numbers and a state, the rows of a sequence together."""
    return [f"day {i},{t}.5,{(i * t) % 5},{'ab'[(t + i) % 2]}" for i in range(count) for t in range(length + i % 3)]


def write(folder, lines, header="day,time,height,state", name="data.csv"):
    path = folder / name
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return str(path)


def load(path, **options):
    return _sequence_data.load(path, **{"target": "state", "sequence": "day", **options})


@pytest.fixture(scope="module")
def simulated():
    return _sequence_data.load(SIMULATED)


def begin(dataset, **changes):
    plan = replace(_sequence_questions.make_plan(dataset, quick=True), **{**TINY, **changes})
    return _sequence_questions.begin(dataset, True, plan)


@pytest.fixture
def comparison(simulated):
    return begin(simulated)


def test_a_row_is_a_step_of_the_sequence_it_names(tmp_path):
    dataset = load(write(tmp_path, steps()))
    assert dataset.columns == ("time", "height")
    assert dataset.classes == ("a", "b")
    assert [len(x) for x in dataset.x] == [4 + i % 3 for i in range(20)]
    assert dataset.x[4].tolist() == [[t + 0.5, (4 * t) % 5] for t in range(5)]
    assert dataset.y[1].tolist() == [1, 0, 1, 0, 1]


def test_rows_of_a_sequence_need_not_be_together(tmp_path):
    lines = steps()
    mixed = np.random.default_rng(0).permutation(len(lines))
    # The order within each sequence is kept: that is all that is asked of the file.
    order = sorted(mixed, key=lambda i: int(lines[i].split(",")[1].split(".")[0]))
    apart, together = load(write(tmp_path, [lines[i] for i in order])), load(write(tmp_path, lines, name="b.csv"))
    names = [lines[i].split(",")[0] for i in order]
    for place, name in enumerate(dict.fromkeys(names)):
        assert np.array_equal(apart.x[place], together.x[int(name.split()[1])])


def test_parquet_reads_as_csv_does_and_names_may_be_dates(tmp_path):
    cells = [line.split(",") for line in steps(60)]
    days = [date(2024, 1, 1) + timedelta(int(row[0].split()[1])) for row in cells]
    columns = {name: [float(row[j]) for row in cells] for j, name in ((1, "time"), (2, "height"))}
    parquet.write_table(pa.table({"day": days, **columns, "state": [row[3] for row in cells]}), tmp_path / "a.parquet")
    stored, text = load(str(tmp_path / "a.parquet")), load(write(tmp_path, steps(60)))
    assert len(stored.x) == 60
    assert all(np.array_equal(a, b) for a, b in zip(stored.x, text.x, strict=True))


def test_a_sequence_without_all_its_states_counts_as_unlabelled(tmp_path):
    lines = steps()
    dataset = load(write(tmp_path, [lines[0][:-1], *lines[1:]]))
    assert dataset.y[0].tolist() == [-1, 1, 0, 1]
    assert dataset.labelled.tolist() == list(range(1, 20))
    assert any("1 of 20 sequences lack the state" in note for note in dataset.notes)


def test_a_column_that_numbers_the_steps_is_pointed_out(tmp_path):
    assert any("'time' numbers the steps" in note for note in load(write(tmp_path, steps())).notes)


BAD = {
    "no such column": (steps(), {"sequence": "dya"}, "got none of that name; type: --sequence day"),
    "nothing like it": (steps(), {"sequence": "wearer"}, "it has day, time, height, state"),
    "the target": (steps(), {"sequence": "state"}, "--target state: expected a column other than that of --sequence"),
    "left out": (steps(), {"drop": ("day",)}, "--drop day: expected a column other than that of --sequence"),
    "one sequence": ([f"x,{i % 3},{i % 5},{'ab'[i % 2]}" for i in range(40)], {}, "got one, with the same value"),
    "no sequences": ([f"{i},{i % 3},{i % 5},{'ab'[i % 2]}" for i in range(40)], {}, "got a different value in each"),
    "too few": (steps(11), {}, "expected at least 12 sequences with a state at every step, got 11 of 11"),
    "no name": ([*steps(), ",1,1,a"], {}, "column 'day', line 101: expected the name of the row's sequence"),
    "a constant column": ([f"{i // 4},1,{i % 5},{'ab'[i % 2]}" for i in range(80)], {}, "column 'time': expected at"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_sequences_are_refused_with_the_reason(tmp_path, name):
    lines, options, message = BAD[name]
    with pytest.raises(InputError) as error:
        load(write(tmp_path, lines), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "option"),
    [(SIMULATED, "--target"), (SIMULATED, "--sequence"), (SIMULATED, "--drop"), ("iris", "--sequence")],
)
def test_options_of_files_are_refused_with_embedded_data(tmp_path, capsys, data, option):
    assert _cli.run(["compare", data, option, "motion", "--out", str(tmp_path)]) == 2
    assert f"{option}: expected only with a file" in capsys.readouterr().err


def test_the_simulated_sequences_are_the_same_every_time(simulated):
    x, y = _simulate.activity()
    assert all(np.array_equal(a, b) for a, b in zip(x, simulated.x, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(y, simulated.y, strict=True))


def test_a_simulated_activity_lasts_three_steps_at_least(simulated):
    for y in simulated.y:
        starts = np.flatnonzero(np.diff(y)) + 1
        assert (np.diff(starts) >= 3).all()
    assert "Simulated, and no model here is its truth" in simulated.notes[0]


def test_no_sequence_is_on_both_sides_of_a_split_and_all_states_are_learnt(comparison):
    bench = comparison.bench
    for repeat in range(20):
        split = bench.split(repeat)
        assert not {*split.train} & {*split.test}
        assert len({*split.train}) == bench.plan.train_rows
        assert len({*split.test}) == bench.plan.test_rows
        assert {*np.concatenate(bench.dataset.y[split.train])} == {*range(5)}
    assert np.array_equal(bench.split(0).train, bench.split(0).train)
    assert not np.array_equal(bench.split(0).train, bench.split(1).train)


def test_the_plan_follows_the_sequences(simulated):
    plan = _sequence_questions.make_plan(simulated, quick=False)
    assert plan.longest == max(map(len, simulated.x))
    assert plan.train_rows + plan.test_rows <= len(simulated.x)
    few = replace(simulated, x=simulated.x[:12], y=simulated.y[:12])
    plan = _sequence_questions.make_plan(few, quick=True)
    assert (plan.train_rows, plan.test_rows, plan.sizes) == (8, 4, (4, 6, 8))


def test_steps_around_are_those_before_and_after():
    x = np.random.default_rng(0).normal(size=(3, 5, 2))
    wide = _sequence_contestants.windows(x, 2)
    for n, t in np.ndindex(3, 5):
        around = [x[n, s] if 0 <= s < 5 else np.zeros(2) for s in range(t - 2, t + 3)]
        assert np.array_equal(wide[n, t], np.concatenate(around))


def test_hidden_steps_are_whole_and_hidden_cells_are_not(simulated):
    for hide, whole in ((_sequence_data.hide_steps, True), (_sequence_data.hide_cells, False)):
        hidden = np.isnan(np.concatenate(hide(simulated.x, 0.4, 0)))
        assert abs(hidden.mean() - 0.4) < 0.02
        assert (hidden.all(1) == hidden.any(1)).all() == whole
        assert not np.isnan(np.concatenate(hide(simulated.x, 0.0, 0))).any()


def test_what_is_spoilt_is_what_is_said(comparison):
    bench = comparison.bench
    x, _ = bench.test(0)
    for before, after in zip(x, _sequence_questions.spoil(x, SHUFFLED, bench, 0), strict=True):
        assert sorted(before.tolist()) == sorted(after.tolist())
    for before, after in zip(x, _sequence_questions.spoil(x, OFF, bench, 0), strict=True):
        changed = before != after
        assert changed.sum() == len(before) // 3
        assert changed.any(0).sum() == 1
        assert np.diff(np.flatnonzero(changed.any(1))).max(initial=1) == 1


def test_changes_are_counted_within_sequences():
    states, ends = np.array([0, 0, 1, 2, 2, 0, 0]), np.array([3])
    assert _sequence_questions._changes(states, ends) == pytest.approx(100 * 2 / 5)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["hmm_full", "qda", "crf_around", "logistic", "forest_around"])
def test_what_is_said_of_a_sequence_depends_on_it_alone(comparison, key):
    """Neither on the padding, nor on the sequences beside it, nor on when it is asked."""
    bench = comparison.bench
    fitted, (x, y) = bench.full(key, 0), bench.test(0)
    whole = fitted.log_proba(x)
    assert whole.shape == (len(y), 5)
    assert np.allclose(np.exp(whole).sum(1), 1, atol=1e-4)
    assert np.allclose(np.concatenate([fitted.log_proba(x[i : i + 1]) for i in range(len(x))]), whole, atol=1e-4)
    again = begin(bench.dataset).bench
    assert np.array_equal(again.full(key, 0).log_proba(x), whole)


@pytest.mark.slow
def test_with_every_cell_there_nothing_is_filled_in(comparison):
    bench = comparison.bench
    classifier, twin, (x, _) = bench.full("crf_linear", 0), bench.full("hmm_full", 0), bench.test(0)
    predict = _sequence_contestants.filled_by(classifier, twin, bench.plan)
    assert np.allclose(predict(x), classifier.log_proba(x), atol=1e-5)
    hidden = _sequence_data.hide_steps(x, 0.5, 0)
    assert np.isfinite(predict(hidden)).all()
    assert not np.allclose(predict(hidden), classifier.log_proba(hidden), atol=1e-2)


@pytest.mark.slow
def test_sequences_without_labels_help_where_the_model_is_the_truth():
    moves = jnp.log(0.85 * jnp.eye(3) + 0.05)
    density = dg.DiagonalGaussian(jnp.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]]), jnp.zeros((3, 2)))
    x, y = dg.sample(dg.HiddenMarkov(jnp.zeros(3), moves, density), jax.random.key(0), (60, 30))
    dataset = _sequence_data.SequenceDataset(
        name="truth",
        x=_sequence_data.ragged(list(np.asarray(x, float))),
        y=_sequence_data.ragged(list(np.asarray(y))),
        columns=("a", "b"),
        levels=((), ()),
        classes=("u", "v", "w"),
        target="state",
    )
    bench = begin(dataset, train_rows=40, test_rows=20, sizes=(3, 40), mixture_steps=100).bench
    for repeat in range(3):
        split, (test, states) = bench.split(repeat), bench.test(repeat)
        unknown = [np.full_like(own, -1) for own in dataset.y[split.train[3:]]]
        some = _sequence_data.ragged([*dataset.y[split.train[:3]], *unknown])
        every = bench.fit("hmm_diagonal", bench.given(dataset.x[split.train], some, repeat))
        gain = accuracy(every.log_proba(test), states) - accuracy(bench.told("hmm_diagonal", repeat, 3), states)
        assert gain > 0.01


def headline(comparison, question):
    return _verdicts.verdict(comparison, question).headline


def test_verdicts_count_sequences(comparison):
    curves = {("hmm_full", 3.0): 0.8, ("hmm_full", 8.0): 0.85, ("crf_twin", 3.0): 0.7, ("crf_twin", 8.0): 0.9}
    tell(comparison, "training_rows", {("accuracy", m, size, "exact"): mean for (m, size), mean in curves.items()})
    verdict = _verdicts.verdict(comparison, "training_rows")
    assert "With 3 training sequences, full HMM is the most accurate (80.0" in verdict.headline
    assert any("their curves cross between 3 and 8 sequences" in reason for reason in verdict.reasons)
    assert "Twin CRF is the most accurate on complete sequences, 90.0" in _summary.headline(comparison)
    assert [row.need for row in _summary.situations(comparison)][1] == "Only 3 sequences to train on"


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.1, "Yes: with 3 labelled, full HMM gains 10.0"),
        (-0.1, "No, they hurt: with 3 labelled, full HMM loses 10.0"),
        (0.0, "No gain from sequences without labels can be told"),
    ],
)
def test_sequences_without_labels_follow_the_numbers(comparison, gain, words):
    values = {
        ("accuracy", "hmm_full", 0.375, LABELLED): 0.7,
        ("accuracy", "hmm_full", 0.375, ALL_ROWS): 0.7 + gain,
    }
    tell(comparison, "labelled_rows", values)
    assert words in headline(comparison, "labelled_rows")


@pytest.mark.parametrize(("question", "what"), [("missing_prediction", "cells"), ("missing_steps", "steps")])
def test_missing_cells_and_steps_follow_the_numbers(comparison, question, what):
    values = {
        ("accuracy", "hmm_full", 0.5, EXACT): 0.8,
        ("accuracy", "hmm_full", 0.5, MEAN): 0.7,
        ("accuracy", "crf_twin", 0.5, "filled by hmm_full"): 0.9,
        ("accuracy", "crf_twin", 0.5, MEAN): 0.6,
    }
    tell(comparison, question, values)
    verdict = _verdicts.verdict(comparison, question)
    assert f"With 50 % of the {what} to predict from missing, twin CRF filled by full HMM is" in verdict.headline
    assert "The exact marginal against mean imputation: +10.0" in verdict.reasons[0]
    assert "Filling in by the generative model against mean imputation: +30.0" in verdict.reasons[1]


def test_who_flickers_follows_the_numbers(comparison):
    changes = {"truth": 10.0, "hmm_full": 9.5, "crf_twin": 8.0, "forest": 30.0}
    values = {("changes", model, 0.0, "exact"): mean for model, mean in changes.items()}
    off = {("changes off", m, 0.0, "exact"): abs(mean - 10) for m, mean in changes.items() if m != "truth"}
    tell(comparison, "paths", {**values, **off})
    verdict = _verdicts.verdict(comparison, "paths")
    assert "In truth the state changes 10.0" in verdict.headline
    assert "by full HMM 9.5 times, the closest, and by 1-step forest 30.0 times." in verdict.headline
    assert verdict.reasons[0] == "More changes than there are, for certain: 1-step forest (30.0)."
    assert verdict.reasons[1] == "Fewer changes than there are, for certain: full HMM (9.5) and twin CRF (8.0)."


def test_what_is_wrong_follows_the_numbers(comparison):
    values = {
        ("auroc", "hmm_full", OFF, DENSITY): 0.9,
        ("auroc", "hmm_full", OFF, LARGEST): 0.6,
        ("auroc", "hmm_full", SHUFFLED, DENSITY): 0.5,
        ("auroc", "hmm_full", SHUFFLED, LARGEST): 0.5,
    }
    tell(comparison, "unusual", values)
    verdict = _verdicts.verdict(comparison, "unusual")
    assert "Full HMM (log p(x)) notices a sensor that is off best (AUROC 0.900" in verdict.headline
    assert "nobody notices steps in random order for certain" in verdict.headline
    assert "better for full HMM" in verdict.reasons[0]
    assert _summary.models(comparison)[1][4].startswith("0.900")


@pytest.mark.slow
def test_a_run_on_sequences_writes_the_report_and_the_numbers(tmp_path, monkeypatch, capsys):
    make = _sequence_questions.make_plan
    monkeypatch.setattr(_sequence_questions, "make_plan", lambda dataset, quick: replace(make(dataset, quick), **TINY))
    random = np.random.default_rng(0)
    lines = [
        f"s{i},{random.normal(2 * (t // 5)):.3f},{'' if random.random() < 0.1 else 'xyz'[random.integers(3)]},"
        f"{'ab'[t // 5] if i < 18 else ''}"
        for i in range(20)
        for t in range(10)
    ]
    path = write(tmp_path, lines, header="who,height,colour,state")
    arguments = ["compare", path, "--target", "state", "--sequence", "who", "--quick", "--out", str(tmp_path)]
    assert _cli.run(arguments) == 0
    found = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert found["data"]["sequences"] == 20
    assert found["data"]["labelled_sequences"] == 18
    assert {question["status"] for question in found["questions"].values()} == {"done"}
    assert all(question["verdict"]["headline"] for question in found["questions"].values())
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("data:image/svg+xml;base64,") >= 8
    assert "twin CRF" in capsys.readouterr().out
