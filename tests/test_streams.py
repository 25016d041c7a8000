"""Streams: fits and answers are those of the same rows in memory, whatever the blocks; errors name the row."""

import gc
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from zoo import ZOO

import dgjax as dg
from dgjax import testing
from dgjax.streams._ahead import ahead

N, BLOCK = 203, 64  # which does not divide
RNG = np.random.default_rng(0)
Y = np.arange(N) % 3
X = RNG.normal(size=(N, 3)) @ RNG.normal(size=(3, 3)) + 2.0 * Y[:, None]
W = RNG.random(N) + 0.1
HOLES = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
SOME = np.where(RNG.random(N) < 0.5, Y, -1)


def assert_same(a, b, rtol):
    for own, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(own, other, rtol=rtol, atol=rtol)


def both(model, x, y=None, w=None, **options):
    """A fit in memory, and one of a stream of the same rows."""
    one = dg.fit(model, x, y, weights=w, **options)
    return one, dg.fit(model, dg.stream(x, label=y, weight=w, block=BLOCK), **options)


QUICK = "full", "factors"
CASES = [pytest.param(own, id=own.name, marks=[pytest.mark.slow] * (own.name not in QUICK)) for own in ZOO]


@pytest.mark.parametrize("case", CASES)
def test_em_of_a_stream_is_em_in_memory(case, x64):
    start = case.model("float64", seed=1)
    x, y = (np.array(own) for own in case.rows("float64", n=N))
    x[::5, 0], some = np.nan, np.where(np.arange(N) % 2, y, -1)
    own = dg.weak_prior(start, x)
    one, other = both(start, x, some, W, prior=own, max_steps=4, method=dg.EM(tol=0.0))
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-12)
    assert_same(one.model, other.model, 1e-9)


def test_em_in_float32():
    x = X.astype(np.float32)
    start = dg.gaussian_mixture(jax.random.key(0), x, 3)
    one, other = both(start, x, max_steps=4, method=dg.EM(tol=0.0))
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-6)


def test_a_closed_form_is_one_pass():
    reads = []

    def blocks():
        reads.append(0)
        for i in range(0, N, 10):
            reads[-1] += 1
            yield X[i : i + 10], Y[i : i + 10], W[i : i + 10]

    stream = dg.stream(blocks, block=100, ahead=0)
    model = dg.discriminant_analysis(stream, covariance="full")
    assert_same(model, dg.discriminant_analysis(X, Y, "full", weights=W), 1e-4)
    assert reads.count(21) == 1  # the others looked at the first rows


@pytest.mark.parametrize("order", [slice(None), np.argsort(Y)], ids=["mixed", "sorted"])
def test_naive_bayes_of_a_stream(order, x64):
    stream = dg.stream(X[order], label=Y[order], weight=W[order], block=BLOCK)
    assert_same(dg.naive_bayes(stream), dg.naive_bayes(X, Y, weights=W), 1e-9)
    weak = dg.naive_bayes(stream, prior="weak")
    assert_same(weak, dg.naive_bayes(X, Y, weights=W, prior="weak"), 1e-9)


def test_l_bfgs_of_a_stream(x64):
    start, ridge = dg.logistic_regression(3, 3), dg.priors.Ridge(1.0)
    one, other = both(start, X, Y, W, prior=ridge, method=dg.LBFGS(tol=1e-9))
    np.testing.assert_allclose(one.objective[-1], other.objective[-1], rtol=1e-8)


@pytest.mark.slow
def test_a_crf_of_a_stream(x64):
    x, y = X[:200].reshape(20, 10, 3), Y[:200].reshape(20, 10)
    one, other = both(dg.linear_chain_crf(3, 3), x, y, prior=dg.priors.Ridge(1.0), method=dg.LBFGS(tol=1e-9))
    np.testing.assert_allclose(one.objective[-1], other.objective[-1], rtol=1e-7)


def test_minibatches_of_a_stream():
    method = dg.Optax(optax.adam(1e-2), batch_size=20, key=jax.random.key(0))
    x, start = X.astype(np.float32), dg.logistic_regression(3, 3)
    options = {"method": method, "prior": dg.priors.Ridge(1.0), "max_steps": 400}
    found = dg.fit(start, dg.stream(x, Y, block=BLOCK), **options)
    one = dg.fit(start, x, Y, **options)
    assert found.num_steps == 400
    assert abs(float(one.objective[-1] - found.objective[-1])) < 0.02 * N


@pytest.mark.slow
def test_sequences_of_a_stream(x64):
    x = X[:200].reshape(20, 10, 3)
    start = dg.hidden_markov(jax.random.key(0), x, 2)
    one, other = both(start, x, max_steps=3, method=dg.EM(tol=0.0))
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-12)
    assert_same(np.concatenate(list(dg.predict(start, dg.stream(x, block=BLOCK)))), dg.predict(start, x), 0)


VERBS = {
    "log_prob": lambda model, x: dg.log_prob(model, x),
    "predict": lambda model, x: dg.predict(model, x),
    "predict_log_proba": lambda model, x: dg.predict_log_proba(model, x),
    "impute": lambda model, x: dg.impute(model, x),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_answers_block_by_block(verb):
    model = dg.discriminant_analysis(X, Y)
    parts = list(verb(model, dg.stream(HOLES, block=BLOCK)))
    assert [len(part) for part in parts] == [64, 64, 64, 11]
    np.testing.assert_allclose(np.concatenate(parts), verb(model, HOLES), rtol=1e-5, atol=1e-5)


def test_labels_that_a_verb_needs_are_the_streams():
    model = dg.discriminant_analysis(X, Y)
    parts = list(dg.log_joint(model, dg.stream(X, label=Y, block=BLOCK)))
    np.testing.assert_allclose(np.concatenate(parts), dg.log_joint(model, X, Y), rtol=1e-5)


def test_draws_differ_between_blocks():
    model = dg.discriminant_analysis(X, Y)
    same = np.full((2 * BLOCK, 3), np.nan)
    one, other = dg.sample_missing(model, jax.random.key(0), dg.stream(same, block=BLOCK))
    assert (one != other).any()


@pytest.fixture
def parquet(tmp_path):
    frame = pd.DataFrame(X, columns=list("abc"))
    frame["kind"] = np.array(["u", "v", "w"])[RNG.integers(0, 3, N)]
    frame["species"], frame["times"] = np.array(["x", "y", "z"])[Y], W
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "0.parquet", row_group_size=70)
    return tmp_path / "0.parquet", frame


def test_a_source_with_names(parquet):
    path, frame = parquet
    stream = dg.stream(path, label="species", weight="times", block=BLOCK)
    model = dg.naive_bayes(stream)
    assert model.schema.label.levels == ("x", "y", "z")
    expected = dg.naive_bayes(frame.drop(columns="times"), "species", weights=W)
    assert_same(model.model, expected.model, 1e-5)
    labels = np.concatenate(list(dg.predict(model, dg.stream(path, block=BLOCK))))
    assert labels.tolist() == list(dg.predict(expected, frame))


def test_frames_lists_and_functions_are_sources(parquet):
    _, frame = parquet
    own = frame[list("abc")]
    parts = [own[i : i + 50] for i in range(0, N, 50)]
    for source in (own, pa.Table.from_pandas(own), {name: X[:, j] for j, name in enumerate("abc")}, parts):
        facts = dg.stream(source, block=BLOCK).facts
        np.testing.assert_allclose(facts.mean, X.mean(0), rtol=1e-5)
    facts = dg.stream(lambda: iter([(X[:70], Y[:70]), (X[70:], Y[70:])]), block=BLOCK).facts
    assert facts.labels.tolist() == [0, *np.bincount(Y)]
    assert facts.num_rows == N


def test_facts_are_those_of_all_rows(x64):
    facts = dg.stream(HOLES, label=SOME, weight=W, block=BLOCK).facts
    np.testing.assert_allclose(facts.mean, np.nanmean(HOLES, 0), rtol=1e-12)
    np.testing.assert_allclose(facts.spread, np.nanstd(HOLES, 0), rtol=1e-12)
    np.testing.assert_array_equal(facts.cells, (~np.isnan(HOLES)).sum(0))
    np.testing.assert_array_equal(facts.labels, np.bincount(SOME + 1))
    np.testing.assert_array_equal([facts.low, facts.high], [np.nanmin(HOLES, 0), np.nanmax(HOLES, 0)])
    assert facts.weight == pytest.approx(W.sum())


def test_a_sample_is_of_rows_of_positive_weight():
    weights = np.where(np.arange(N) % 2, W, 0)
    sample = dg.stream(X, label=np.arange(N), weight=weights, block=BLOCK).sample(jax.random.key(0), 50)
    assert len(set(sample.y.tolist())) == 50
    assert (sample.y % 2 == 1).all()


def test_stepwise_em_and_update_agree():
    start = dg.gaussian_mixture(jax.random.key(0), X, 3)
    found = dg.fit(
        start, dg.stream((X[i : i + BLOCK] for i in range(0, N, BLOCK)), block=BLOCK), method=dg.EM(stepwise=0.7)
    )
    model, averaged = start, None
    for i in range(0, N, BLOCK):
        model, averaged = dg.update(model, averaged, X[i : i + BLOCK], stepwise=0.7)
    assert found.converged
    assert int(averaged.num_blocks) == found.num_steps == 4
    assert float(averaged.weight) == N
    assert_same(found.model, model, 1e-4)


def test_stepwise_em_is_near_full_em():
    x = np.array(dg.sample(dg.gaussian_mixture(jax.random.key(0), X, 3), jax.random.key(1), 8000)[0])
    start = dg.gaussian_mixture(jax.random.key(0), x[:500], 3)
    full = dg.fit(start, x, max_steps=30, method=dg.EM(tol=0.0)).objective[-1] / len(x)
    found = dg.fit(start, dg.stream(x, block=200), method=dg.EM(stepwise=0.6)).model
    assert float(full) - float(np.mean(dg.log_prob(found, x))) < 0.01


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("flat", [True, False], ids=["flat", "prior"])
def test_statistics_move_with_the_parameters(case, flat, x64):
    one, other = case.model("float64"), case.model("float64", seed=1)
    x, y = case.rows("float64", n=40)
    prior = None if flat else dg.weak_prior(one.as_model(), x)
    some = testing.Sample(x.at[::3, 0].set(jnp.nan), y.at[::2].set(-1))
    testing.statistics_move_with_the_parameters(one, other, some, prior)


def test_the_thread_ends_with_the_reader():
    blocks = dg.stream(X, block=10).blocks()
    next(blocks)
    names = [thread.name for thread in threading.enumerate()]
    assert "dgjax reads ahead" in names
    blocks.close()
    del blocks
    gc.collect()
    assert "dgjax reads ahead" not in [thread.name for thread in threading.enumerate()]


def test_an_error_of_the_source_is_the_readers():
    def broken():
        yield 1
        raise OSError("the disk is gone")

    results = ahead(broken, 2)
    assert next(results) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


BAD = np.where(np.arange(N)[:, None] == 150, np.inf, X)
MODEL = dg.discriminant_analysis(X, Y)
ERRORS = {
    "x[150, 0] is inf": lambda: list(dg.log_prob(MODEL, dg.stream(BAD, block=BLOCK))),
    "got 5 in row 180": lambda: dg.fit(MODEL, dg.stream(X, label=np.where(np.arange(N) == 180, 5, Y), block=BLOCK)),
    "got -3 in row 190": lambda: dg.fit(MODEL, dg.stream(X, label=np.where(np.arange(N) == 190, -3, Y), block=BLOCK)),
    "in row 130": lambda: dg.stream(X, weight=np.where(np.arange(N) == 130, -1, W), block=BLOCK).facts,
    "shape (5, 2) from row 5 on": lambda: dg.stream([X[:5], X[:5, :2]], block=BLOCK).facts,
    "dgjax.stream(source, label=...)": lambda: dg.fit(MODEL, dg.stream(X), Y),
    "at least as many rows": lambda: dg.fit(MODEL, dg.stream(X[:2])),
    "at least two classes": lambda: dg.fit(dg.logistic_regression(3, 3), dg.stream(X, label=0 * Y)),
    "a path that exists": lambda: dg.stream("nowhere.parquet"),
    "source must be": lambda: dg.stream(5),
    "at least one row": lambda: dg.stream([]),
    "x[None] for a single row": lambda: dg.stream([X[0]]),
    "columns ['a', 'b']": lambda: dg.stream({"a": X[:, 0], "b": X[:, 1]}, label="c"),
    "method=dgjax.EM(stepwise=0.6), which": lambda: dg.fit(MODEL, dg.stream(iter([X]), block=BLOCK)),
    "stepwise is for streams": lambda: dg.fit(MODEL, X, method=dg.EM(stepwise=0.6)),
    "batch_size must be given": lambda: dg.fit(MODEL, dg.stream(X), method=dg.Optax(optax.adam(0.1))),
    "method of a stream": lambda: dg.fit(dg.logistic_regression(3, 3), dg.stream(X, label=Y), method=dg.Newton()),
}


@pytest.mark.usefixtures("without_the_type_checker")
@pytest.mark.parametrize("words", ERRORS)
def test_errors_name_the_row_and_what_to_type(words):
    with pytest.raises(ValueError) as error:
        ERRORS[words]()
    assert words in str(error.value)


MEMORY = """
import sys
import numpy as np, jax
import dgjax as dg
from pathlib import Path
def rss():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
n = int(sys.argv[2])
x = np.memmap(sys.argv[1], np.float32, "r", shape=(n, 8))
some = np.array(x[:5000])
start = dg.gaussian_mixture(jax.random.key(0), some, 3, covariance="diagonal")
few = np.array(x[:200_000])
dg.fit(start, dg.stream(few), max_steps=1, method=dg.EM(tol=0.0))
del few
before = rss()
dg.fit(start, x, max_steps=2, method=dg.EM(tol=0.0))
list(dg.log_prob(start, dg.stream(x)))
print(rss() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read from /proc")
def test_memory_is_flat(tmp_path):
    n = 10_000_000  # 320 MB
    with (tmp_path / "x.dat").open("wb") as file:
        part = np.random.default_rng(0).normal(size=(100_000, 8)).astype(np.float32).tobytes()
        for _ in range(100):
            file.write(part)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "x.dat"), str(n)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(said.stdout) < 100  # MiB: the answers, 40, and a few blocks
