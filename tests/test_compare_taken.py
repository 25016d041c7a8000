"""The winner to take away: its numbers are the contestant's, its file predicts rows of other files, what is refused."""

import csv
import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_compare import MIXED, TINY, check_report, results

import dgjax as dg
from dgjax.compare import _cli, _dataset, _metrics, _plan, _run, _winner
from dgjax.compare._results import Record

SLOW = pytest.mark.slow
QUIETLY = pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")


def bench_of(data):
    dataset = _dataset.load(data)
    plan = replace(_plan.make_plan(dataset, True), full_covariance=True)
    return _run.begin(dataset, True, plan).bench


def cells(dataset, rows):
    """Rows of a data set as columns of a file: None where missing, levels by name."""
    named = zip(dataset.columns, dataset.levels, dataset.x[rows].T, strict=True)
    return {n: [None if np.isnan(v) else (levels[int(v)] if levels else v) for v in own] for n, levels, own in named}


@QUIETLY
@pytest.mark.parametrize("key", [own if own == "lda" else pytest.param(own, marks=SLOW) for own in _winner.TAKEN])
def test_a_model_in_the_units_of_the_table_says_what_the_contestant_says(key, tmp_path):
    (tmp_path / "mixed.csv").write_text("\n".join(MIXED))
    for data in ("wine", str(tmp_path / "mixed.csv")):
        bench = bench_of(data)
        rows, new = np.split(np.random.default_rng(0).permutation(bench.dataset.labelled)[:90], [60])
        taken, own = _winner.fitted(bench, key, rows), bench.fit(key, bench.training(rows, 0, len(rows)))
        whole = ~np.isnan(bench.dataset.x[new]).any(1)
        x = taken.schema.rows(cells(bench.dataset, new))
        found = np.asarray(dg.predict_log_proba(taken.model, x))
        np.testing.assert_allclose(np.exp(found)[whole], np.exp(own.log_proba(bench.dataset.x[new]))[whole], atol=1e-4)
        assert np.isfinite(found).all()
        assert taken.schema.label.levels == bench.dataset.classes


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Report of a table of numbers and categories, of few rows, and few models."""
    folder, make = tmp_path_factory.mktemp("taken"), _plan.make_plan
    (folder / "mixed.csv").write_text("\n".join(MIXED))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "make_plan", lambda dataset, quick, most=None: replace(make(dataset, quick), **TINY))
        arguments = ["compare", str(folder / "mixed.csv"), "--quick", "--metric", "balanced-accuracy"]
        assert _cli.run([*arguments, "--out", str(folder)]) == 0
    return folder


def predicted(folder, text, *options, capsys):
    (folder / "new.csv").write_text(text)
    capsys.readouterr()
    status = _cli.run(["predict", str(folder / "model.safetensors"), str(folder / "new.csv"), *options])
    return status, *capsys.readouterr()


@pytest.mark.slow
def test_the_file_predicts_rows_of_another_file(report, capsys):
    assert results(report)["winner"]["file"] == "model.safetensors"
    assert f"dgjax predict {report}/model.safetensors new.csv" in check_report(report, questions=5)
    found = results(report)["questions"]["calibration"]
    assert "balanced accuracy" in {one["metric"] for one in found["estimates"]}
    counts = np.array(next(iter(found["confusion"].values())))
    assert counts.sum() == 3 * TINY["test_rows"]
    status, out, _ = predicted(report, "more,colour,height\n1,red,2\n2,,NA\n3,blue,1e0\n", capsys=capsys)
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["place"] in "xy" for row in rows] == [True] * 3
    assert all(abs(float(row["p(x)"]) + float(row["p(y)"]) - 1) < 1e-4 for row in rows)
    model = dg.load(report / "model.safetensors")
    same = {"height": [2.0, np.nan, 1.0], "colour": ["red", None, "blue"]}
    again = dg.predict_log_proba(model.model, model.schema.rows(same))
    np.testing.assert_allclose([float(row["p(x)"]) for row in rows], np.exp(again)[:, 0], atol=1e-4)
    status, out, _ = predicted(report, "colour,height\nred,2\n", "--out", str(report / "p.csv"), capsys=capsys)
    assert (status, "1 predictions" in out) == (0, True)
    assert (report / "p.csv").read_text().startswith("place,p(x),p(y)")


@pytest.mark.slow
def test_files_that_do_not_fit_are_refused_in_one_line(report, capsys):
    for text, words in {
        "height,colour\n1,mauve\n": "--missing 'mauve'",
        "height\n1\n": "the column 'colour'",
        "height,colour\n1e400,red\n": "a finite number",
        "height,colour\ntall,red\n": "--missing 'tall'",
    }.items():
        status, _, error = predicted(report, text, capsys=capsys)
        assert status == 2
        assert error.count("\n") == 1
        assert words in error
    status, out, _ = predicted(report, "height,colour\n1,mauve\n", "--missing", "mauve", capsys=capsys)
    assert (status, out.count("\n")) == (0, 2)


@pytest.mark.slow
def test_the_file_of_the_frame_that_was_learnt_is_read(tmp_path, capsys):
    """Truth values, categories of whole numbers, and numbers whose digits float32 has not."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    frame = {"at": 1e3 * y + rng.normal(size=60), "flag": (y == 1).tolist(), "size": pd.Categorical(1 + y)}
    frame = pd.DataFrame({**frame, "kind": np.where(y == 1, "b", "a")})
    model = dg.naive_bayes(frame, "kind", prior="weak")
    dg.save(tmp_path / "model.safetensors", model)
    status, out, _ = predicted(tmp_path, frame.drop(columns="kind").to_csv(index=False), capsys=capsys)
    assert status == 0
    found = pd.read_csv(io.StringIO(out))
    assert found["kind"].tolist() == frame["kind"].tolist()
    np.testing.assert_allclose(found["log p(x)"], dg.log_prob(model, frame), rtol=1e-4)


def test_what_is_no_model_of_a_table_is_refused(tmp_path, capsys):
    dg.save(tmp_path / "plain.safetensors", dg.Gaussian(np.zeros((1, 1)), np.ones((1, 1, 1))))
    (tmp_path / "torn.safetensors").write_bytes(b"none")
    for name, words in {"plain": "names", "torn": "MODEL", "absent": "dgjax compare data.csv"}.items():
        assert _cli.run(["predict", str(tmp_path / f"{name}.safetensors"), str(tmp_path / "new.csv")]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert words in told
    assert _cli.run(["compare", "wine", "--metric", "beauty"]) == 2
    assert "--metric brier" in capsys.readouterr().err


def test_classes_of_unequal_sizes_weigh_alike_in_balanced_accuracy():
    log_proba, y = np.log([[0.9, 0.1]] * 10), np.array([0] * 9 + [1])
    assert _metrics.accuracy(log_proba, y) == 0.9
    assert _metrics.balanced_accuracy(log_proba, y) == 0.5
    assert _metrics.confusion(log_proba, y).tolist() == [[9, 0], [1, 0]]


@pytest.mark.parametrize("error", [ValueError("collapsed"), KeyboardInterrupt()])
def test_what_was_measured_outlives_a_winner_that_cannot_be_fitted(error, monkeypatch):
    def broken(*_):
        raise error

    dataset = _dataset.load("wine")
    comparison = _run.begin(dataset, True)
    calibration = comparison.answers["calibration"]
    calibration.records += [Record("brier", "lda", repeat, 0.1) for repeat in range(3)]
    monkeypatch.setattr(_winner, "fitted", broken)
    _winner.take(comparison)
    assert comparison.winner is None
    assert "No model was saved" in comparison.no_winner
    assert comparison.interrupted == isinstance(error, KeyboardInterrupt)
