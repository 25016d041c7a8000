"""Rows of Dask: partitions are summed where they lie, with the answers of the same rows in memory."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import dgjax as dg

da = pytest.importorskip("dask.array")
pandas = pytest.importorskip("pandas")

import dask  # noqa: E402

import dgjax.dask  # noqa: E402

pytestmark = pytest.mark.usefixtures("without_the_type_checker")
ROOT = Path(__file__).resolve().parent.parent
N, CHUNK, BLOCK = 500, 130, 64


@pytest.fixture(autouse=True)
def _in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def rows(dtype="float64"):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3)).astype(dtype)
    y = rng.integers(0, 2, N)
    x[y == 1] += 2
    return x, y, rng.integers(1, 4, N).astype(dtype)


def partitions(x, *beside):
    return dgjax.dask.stream(da.from_array(x, chunks=(CHUNK, 2)), *beside, block=BLOCK)


def test_a_mixture_is_fitted_as_in_memory():
    with jax.enable_x64(True):
        x, _, weights = rows()
        model = dg.gaussian_mixture(jax.random.key(0), x, 2)
        whole = dg.fit(model, x, weights=weights, max_steps=5, method=dg.EM(tol=0.0))
        parts = dg.fit(model, partitions(x, None, weights), max_steps=5, method=dg.EM(tol=0.0))
        np.testing.assert_allclose(parts.objective, whole.objective, rtol=1e-12)


def test_labels_and_verbs_are_those_of_the_rows():
    x, y, _ = rows("float32")
    model = dg.discriminant_analysis(x, y)
    parts = dg.discriminant_analysis(partitions(x, y))
    for one, other in zip(jax.tree.leaves(model), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6)
    blocks = list(dg.predict(model, partitions(x)))
    assert [len(block) for block in blocks] == 3 * [64, 64, 2] + [64, 46]
    assert np.array_equal(np.concatenate(blocks), dg.predict(model, x))


def test_a_dataframe_keeps_its_names():
    dataframe = pytest.importorskip("dask.dataframe")
    x, y, _ = rows("float32")
    frame = pandas.DataFrame(x, columns=["a", "b", "c"]).assign(kind=np.array(["no", "yes"])[y])
    whole = dg.naive_bayes(frame, "kind")
    parts = dg.naive_bayes(dgjax.dask.stream(dataframe.from_pandas(frame, chunksize=CHUNK), "kind", block=BLOCK))
    assert parts.schema == whole.schema
    for one, other in zip(jax.tree.leaves(whole.model), jax.tree.leaves(parts.model), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6)


def test_a_sample_is_of_all_partitions_and_the_same_for_a_key():
    x, _, weights = rows("float32")
    weights[:400] = 0
    passes = partitions(x, None, weights)
    sample = passes.sample(jax.random.key(0), 50)
    assert len(np.unique(sample.x, axis=0)) == 50
    assert np.isin(sample.x[:, 0], x[400:, 0]).all()
    assert np.array_equal(sample.x, passes.sample(jax.random.key(0), 50).x)


def test_a_bad_cell_is_told_with_its_partition():
    x, _, _ = rows("float32")
    x[300, 1] = np.inf
    model = dg.gaussian_mixture(jax.random.key(0), x[:200], 2)
    with pytest.raises(ValueError, match=r"x\[40, 1\] is inf") as told:
        dg.fit(model, partitions(x))
    assert "In partition 2" in str(told.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x, y: dgjax.dask.stream(x), r"Type dgjax\.stream\(source\)"),
        (lambda x, y: dgjax.dask.stream(da.from_array(x[0])), r"rows \(n, d\)"),
        (lambda x, y: partitions(x, y[:-1]), "an entry for each of the 500 rows"),
        (lambda x, y: partitions(x, "y"), "beside an array"),
        (lambda x, y: dgjax.dask.stream(da.from_array(x), columns=["a"]), "columns is of dataframes"),
    ],
)
def test_what_are_no_rows_of_dask_is_refused(make, words):
    x, y, _ = rows("float32")
    with pytest.raises(ValueError, match=words):
        make(x, y)


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_no_bit():
    pytest.importorskip("distributed")
    command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks" / "on_a_cluster.py"), "dask"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "the same bits with a worker killed: True" in done.stdout
