"""Streams of what no pass may take as it is: told, or read as the same rows in memory are."""

import jax
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import dataset, parquet
from sklearn.datasets import load_breast_cancer

import dgjax as dg
from dgjax.compare import _cli

pandas = pytest.importorskip("pandas")
pytestmark = pytest.mark.usefixtures("without_the_type_checker")
RNG = np.random.default_rng(0)
Y = np.repeat([1, 0], 300)
X = (RNG.normal(size=(600, 2)) + 3 * Y[:, None]).astype("float32")
ONE = dg.Mixture(np.zeros(1, "float32"), dg.Gaussian(np.zeros((1, 2), "float32"), np.eye(2, dtype="float32")[None]))


def frame():
    kind, town = np.where(Y, "yes", "no").astype(object), np.array(["x", "y"], object)[RNG.integers(0, 2, 600)]
    kind[::5], town[::7] = None, None
    return pandas.DataFrame({"a": X[:, 0], "town": town, "kind": kind})


def test_an_empty_cell_of_a_csv_file_is_missing_as_in_parquet(tmp_path):
    frame().to_csv(tmp_path / "rows.csv", index=False)
    frame().to_parquet(tmp_path / "rows.parquet")
    schemas = [dg.stream(tmp_path / f"rows.{kind}", label="kind").schema for kind in ("csv", "parquet")]
    for schema in schemas:
        assert schema.label.levels == ("no", "yes")
        assert schema.columns[1].levels == ("x", "y")
    csv, parquet = (dg.stream(tmp_path / f"rows.{kind}", label="kind").facts for kind in ("csv", "parquet"))
    assert csv.labels.tolist() == parquet.labels.tolist() == [120, 240, 240]
    assert csv.cells.tolist() == parquet.cells.tolist()


def test_a_weak_prior_is_of_weighted_rows_whatever_they_add_to():
    weights = np.where(np.arange(600) < 300, 1.75, 0.25).astype("float32")
    assert weights.sum() == 600
    whole = dg.weak_prior(ONE, X, weights=weights)
    parts = dg.weak_prior(ONE, dg.stream(X, weight=weights, block=128))
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("labels", [Y + 2**32, Y + 2**32 - 2, Y * 2**31])
def test_labels_of_more_than_32_bits_do_not_wrap(labels):
    with pytest.raises(ValueError, match=r"y must hold labels 0 to k - 1.*Type np\.unique"):
        dg.naive_bayes(dg.stream(X, label=labels, block=128))


@pytest.mark.parametrize("weight", [1e-46, 1e39])
def test_weights_beyond_the_precision_are_refused_as_in_memory(weight):
    weights = np.ones(600)
    weights[:300] = weight
    for given in ({"x": X, "weights": weights}, {"x": dg.stream(X, weight=weights, block=128)}):
        with pytest.raises(ValueError, match="the limits of float32"):
            dg.fit(ONE, **given)


def test_a_source_that_gives_other_rows_in_the_next_pass_is_told():
    sizes = iter([600, 600, 300, 300])
    rows = dg.stream(lambda: iter([X[: next(sizes)]]), block=128)
    with pytest.raises(ValueError, match="it gave 600 rows before, and now 300"):
        dg.fit(ONE, rows, method=dg.EM(tol=0.0), max_steps=3)


def test_scores_of_what_was_not_learnt_and_of_nothing_are_one_line(tmp_path, capsys):
    known = frame().dropna()
    dg.save(tmp_path / "model.safetensors", dg.naive_bayes(known, "kind"))
    known.assign(kind="maybe").to_parquet(tmp_path / "other.parquet")
    known[:0].to_parquet(tmp_path / "empty.parquet")
    model = str(tmp_path / "model.safetensors")
    assert _cli.run(["score", model, str(tmp_path / "other.parquet")]) == 2
    assert "maybe" in capsys.readouterr().err
    out = tmp_path / "labels.parquet"
    assert _cli.run(["predict", model, str(tmp_path / "empty.parquet"), "--out", str(out)]) == 2
    assert "expected rows, got none" in capsys.readouterr().err
    assert not out.exists()


def test_a_checkpoint_leaves_the_files_of_others(tmp_path):
    for name in ("thesis.doc", ".movie.part"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=r"holds thesis\.doc"):
        dg.fit(ONE, X, checkpoint=tmp_path)
    (tmp_path / "thesis.doc").unlink()
    living = tmp_path / f".{'0' * 16}.part"
    living.write_text("another process writes this now")
    dg.fit(ONE, X, checkpoint=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".movie.part", living.name, "fit.safetensors"}


def test_a_dataset_keeps_its_filter_and_the_columns_of_its_folders(tmp_path):
    cells = RNG.normal(size=500)
    table = pa.table({"a": cells, "group": np.arange(500) % 3})
    dataset.write_dataset(
        table, tmp_path, format="parquet", partitioning=["group"], partitioning_flavor="hive", max_rows_per_group=50
    )
    whole = dataset.dataset(tmp_path, partitioning="hive")
    assert dg.stream(whole, label="group").facts.labels.tolist() == [0, 167, 167, 166]
    some = dg.stream(whole.filter(dataset.field("a") > 0))
    assert some.facts.num_rows == (cells > 0).sum()
    assert some.facts.low[0] > 0


def test_a_function_that_gives_one_generator_twice_is_told():
    blocks = (X[i : i + 100] for i in range(0, 600, 100))
    with pytest.raises(ValueError, match=r"must give a new iterator each time; it gave the same generator again"):
        _ = dg.stream(lambda: blocks).facts


def test_columns_of_lists_and_labels_that_floats_skip_are_told(tmp_path):
    table = pa.table({"a": X[:, 0], "list": [[1.0]] * 600, "id": [2**60 + i for i in range(600)], "b": X[:, 1]})
    parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"'list' must hold cells of one type; got list .*Type columns=\[\.\.\.\]"):
        dg.stream(tmp_path / "rows.parquet")
    for asked in (lambda: dg.stream(tmp_path, label="id", columns=["a"]), lambda: dg.naive_bayes(table, "id")):
        with pytest.raises(ValueError, match=r"whole numbers below 2\*\*53, beyond which floats skip some; got 1152"):
            asked()
    assert dg.stream(tmp_path, columns=["a", "id"]).facts.high[1] == np.float32(2.0**60)


def test_a_column_of_rows_of_weight_0_alone_is_never_observed():
    x, weights = np.where([True, False], X, np.nan), np.ones(600)
    x[:2, 1], weights[:2] = 0, 0
    model, stream = dg.naive_bayes(X, Y), dg.stream(x, Y, weights, block=64)
    for fit in (lambda: dg.fit(model, stream), lambda: dg.fit(model, x, Y, weights=weights)):
        with pytest.raises(ValueError, match=r"column\(s\) 1 are never observed"):
            fit()


def test_criteria_of_a_stream_are_those_of_its_rows():
    weights, some = RNG.random(600).astype("float32"), np.where(RNG.random(600) < 0.5, Y, -1)
    model, twin = dg.naive_bayes(X, Y), dg.logistic_regression(2, 2)
    for criterion, own in ((dg.bic, model), (dg.aic, model), (dg.icl, model), (dg.bic, twin), (dg.aic, twin)):
        expected = criterion(own, X, y=some, weights=weights)
        found = criterion(own, dg.stream(X, some, weights, block=100))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = dg.anomaly_threshold(model, dg.stream(X, weight=weights, block=100), 0.1)
    assert found == dg.anomaly_threshold(model, X, 0.1, weights=weights)
    values = np.concatenate(list(dg.anomaly_pvalue(model, X[:99], dg.stream(X, block=100))))
    np.testing.assert_array_equal(values, dg.anomaly_pvalue(model, X[:99], X))
    for rows in (X, dg.stream(X, weight=np.full(600, 1e-3, "float32"))):
        beside = {"weights": np.full(600, 1e-3)} if rows is X else {}
        with pytest.raises(ValueError, match=r"weights say how many rows .* got 0\.6\. Type np\.multiply"):
            dg.bic(model, rows, **beside)
    with pytest.raises(ValueError, match=r"y is for arrays.*Type dgjax\.stream\(source, label=\.\.\.\)"):
        dg.bic(model, dg.stream(X), y=Y)


def test_rows_without_a_label_that_speak_against_the_labels_are_told_of_streams_too():
    x, y = load_breast_cancer(return_X_y=True)
    few = np.where(np.random.default_rng(0).random(len(y)) < 0.05, y, -1)
    stream = dg.stream(x.astype("float32"), few, block=128)
    with pytest.warns(dg.ConvergenceWarning, match=r"rows without a label lowered .* Type label_weight="):
        dg.naive_bayes(stream, prior="weak")


def _oracle(x):
    """Probability of label 1 by linear discriminant analysis, in float64."""
    x = x.astype(float)
    means = np.stack([x[k == Y].mean(0) for k in (0, 1)])
    precision = np.linalg.inv((x - means[Y]).T @ (x - means[Y]) / len(x))
    shift = (means[1] - means[0]) @ precision
    return 1 / (1 + np.exp(-(x - means.mean(0)) @ shift))


@pytest.mark.parametrize(("dtype", "order"), [("int8", "C"), ("uint8", "F"), (">f4", "C"), ("float64", "F")])
def test_a_memory_map_of_any_order_of_bytes_and_cells_is_the_same_rows(tmp_path, dtype, order):
    own = np.memmap(tmp_path / "x.dat", dtype, "w+", shape=X.shape, order=order)
    own[:] = np.rint(np.abs(5 * X)) if np.dtype(dtype).kind in "iu" else X
    model = dg.discriminant_analysis(dg.stream(own, label=Y, block=128), num_classes=2)
    found = np.exp(dg.predict_log_proba(model, np.array(own, "float32")))
    np.testing.assert_allclose(found[:, 1], _oracle(own), atol=1e-5)


def test_columns_of_a_later_file_may_lie_in_another_order(tmp_path):
    whole = pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": Y})
    whole[:300].to_parquet(tmp_path / "0.parquet")
    whole[300:][["b", "kind", "a"]].to_parquet(tmp_path / "1.parquet")
    model = dg.discriminant_analysis(dg.stream(tmp_path, label="kind", block=128)).model
    np.testing.assert_allclose(np.exp(dg.predict_log_proba(model, X))[:, 1], _oracle(X), atol=1e-5)


def test_half_precision_is_read_block_by_block_as_float32():
    half = X.astype("float16")
    found = dg.naive_bayes(dg.stream(half, Y, block=100))
    expected = dg.naive_bayes(half.astype("float32"), Y)
    np.testing.assert_allclose(found.density.mean, expected.density.mean, atol=1e-6)
