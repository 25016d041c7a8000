"""Targets of numbers, sizes asked for, and how the rarest class is told from the rest."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from dgjax.compare import _cli, _dataset, _metrics, _plan
from dgjax.compare._errors import InputError


def write(folder, prices, name="homes.csv"):
    lines = [f"{i % 7}.5,{i % 11},{price}" for i, price in enumerate(prices)]
    path = folder / name
    path.write_text("\n".join(["rooms,age,price", *lines]) + "\n", "utf-8")
    return str(path)


def test_a_quantity_is_refused_with_what_to_type_and_that_works(tmp_path):
    prices = np.random.default_rng(0).permutation(200) * 1.25
    path = write(tmp_path, prices)
    with pytest.raises(InputError, match="a quantity") as told:
        _dataset.load(path)
    assert "--bins 4" in str(told.value)
    dataset = _dataset.load(path, bins=4)
    cuts = np.quantile(prices, [0.25, 0.5, 0.75])
    assert np.array_equal(dataset.y, np.searchsorted(cuts, prices))
    assert np.bincount(dataset.y).tolist() == [50] * 4
    assert dataset.classes[0] == f"up to {cuts[0]:.4g}"
    assert dataset.classes[-1] == f"over {cuts[-1]:.4g}"


def test_cuts_that_agree_in_four_digits_are_told_in_full(tmp_path):
    dataset = _dataset.load(write(tmp_path, 1e6 + np.arange(40) / 8), bins=2)
    assert len(set(dataset.classes)) == 2
    three = _dataset.load(write(tmp_path, 1e6 + np.arange(60) / 8), bins=3)
    assert len(set(three.classes)) == 3
    assert "1000002." in three.classes[0]


@pytest.mark.parametrize(
    ("prices", "bins", "words"),
    [
        (["a", "b"] * 20, 2, "target of numbers"),
        ([1] * 30 + [2] * 10, 3, "single numbers are frequent"),
        (range(40), 1, "2 to 50"),
    ],
)
def test_bins_that_cannot_be_made_are_refused(tmp_path, prices, bins, words):
    with pytest.raises(InputError, match=words):
        _dataset.load(write(tmp_path, prices), bins=bins)


def test_an_option_for_tables_of_rows_is_refused_elsewhere(capsys):
    for arguments, words in {
        ("wine", "--bins", "3"): "only with a file",
        ("activity", "--max-rows", "500"): "with a table of rows",
        ("wine", "--max-rows", "3"): "--max-rows 5000",
        ("wine", "--bins", "3", "--text", "a"): "without --text",
        ("wine", "--keep", "id"): "only with a file",
        ("activity", "--keep", "id"): "with a table of rows",
    }.items():
        assert _cli.run(["compare", *arguments]) == 2
        assert words in capsys.readouterr().err


def table(rows):
    y = np.arange(rows) % 2
    names = {"columns": ("a", "b"), "levels": ((), ()), "classes": ("no", "yes"), "target": "y"}
    return _dataset.Dataset("table", np.zeros((rows, 2)), y, **names)


def test_more_rows_are_asked_for_and_fewer_told():
    usual, more = (_plan.make_plan(table(100_000), False, most) for most in (None, 16_000))
    assert (usual.train_rows, usual.test_rows, usual.repeats) == (1600, 800, 10)
    assert (more.train_rows, more.test_rows, more.repeats) == (16_000, 8_000, 3)
    assert more.sizes[-1] == 16_000
    assert any("all 100000 that have a label" in line and "--max-rows" in line for line in usual.describe())
    assert not any("--max-rows" in line for line in _plan.make_plan(table(900), False).describe())


def test_the_rarest_class_is_told_from_the_rest_as_scikit_learn_has_it():
    rng = np.random.default_rng(1)
    y = (rng.random(400) < 0.1).astype(int)
    score = np.round(rng.normal(size=400) + 1.5 * y, 1)  # ties
    log_proba = np.stack([-np.logaddexp(0, score), -np.logaddexp(0, -score)], 1)
    values, curves = _metrics.told_from_rest(log_proba, y, 1)
    assert values["auroc"] == pytest.approx(roc_auc_score(y, score), abs=1e-12)
    assert values["average precision"] == pytest.approx(average_precision_score(y, score), abs=1e-12)
    for share in (10, 50, 90):  # percent: the strictest threshold that finds so many, by hand
        most = max(t for t in np.unique(score) if (score[y == 1] >= t).mean() >= share / 100)
        assert curves["precision"][share] == pytest.approx(y[score >= most].mean(), abs=1e-12)
    assert np.trapezoid(curves["roc"], _metrics.GRID) == pytest.approx(values["auroc"], abs=0.01)
    assert _metrics.told_from_rest(log_proba, np.zeros(400, int), 1) == ({}, {})


def test_of_classes_of_one_size_the_last_is_called_the_rarest():
    assert _metrics.rarest(table(40)) == 1
    assert _metrics.rarest(table(41)) == 1
