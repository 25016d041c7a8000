"""The CPU's kernels of discrete columns, of logistic regression and of column summaries, against their references."""

import concurrent.futures
import math

import jax
import jax.numpy as jnp
import numba
import numpy as np
import pytest
from laws import slow

import dgjax_kernels as kernels
from dgjax_kernels.cpu import compiling, handlers
from dgjax_kernels.cpu.summary import columns

# One worker for all, for they share their compiled functions.
pytestmark = pytest.mark.xdist_group("cpu-discrete")
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}
FAMILIES = ["table", "poisson", "multinomial"]
K, D, VALUES = 6, 5, 3


def compiled(name):
    """The handler's form, however few the rows, and the reference."""
    op = getattr(kernels, name)
    return jax.jit(op.fast["cpu"]), jax.jit(op.reference)


OPS = {name + part: compiled(name + part) for name in FAMILIES for part in ("", "_statistics", "_expectation")}
OPS |= {name: compiled(name) for name in ("logistic_gradient", "logistic_curvature", "column_summary", "whitener")}
OPS["labelled_moments"] = compiled("labelled_moments")


def discrete(family, missing, dtype, n=300):
    """Rows with some empty, labels of which some are unknown, weights of which some are 0, and parameters."""
    rng = np.random.default_rng(0)
    x = (rng.integers(VALUES, size=(n, D)) if family == "table" else rng.poisson(3, size=(n, D))).astype(float)
    x = np.where(rng.random((n, D)) < missing, np.nan, x)
    x[: int(5 * missing)] = np.nan
    y = np.where(rng.random(n) < 0.3, rng.integers(K, size=n), -1)
    weights, log_weights = rng.random(n) * (rng.random(n) < 0.9), np.log(rng.dirichlet(np.ones(K)))
    parameters = {
        "table": lambda: np.log(rng.dirichlet(np.ones(VALUES), size=(K, D))),
        "poisson": lambda: np.log(rng.gamma(2, size=(K, D))),
        "multinomial": lambda: np.log(rng.dirichlet(np.ones(D), size=K)),
    }[family]()
    floats = [jnp.asarray(a, dtype) for a in (x, weights, log_weights, parameters)]
    return floats[0], jnp.asarray(y), *floats[1:]


def assert_near(result, expected, dtype, factor=1.0):
    """To rounding, relative to the largest finite entry of each array; the same arrays, as a program needs them."""
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        largest = float(jnp.abs(jnp.where(jnp.isfinite(b), b, 0)).max())
        np.testing.assert_allclose(a, b, rtol=0, atol=factor * TOLERANCE[dtype.name] * max(1e-30, largest))


@pytest.mark.parametrize("missing", [0.0, 0.2, 0.7])
@pytest.mark.parametrize("family", FAMILIES)
def test_discrete_columns_are_the_references(family, missing, dtype):
    x, y, weights, log_weights, parameters = discrete(family, missing, dtype)
    counts = jnp.asarray(np.random.default_rng(1).random((len(x), K)), dtype)
    for part, arguments in (
        ("", (x, parameters)),
        ("_statistics", (x, counts, parameters)),
        ("_expectation", (x, y, weights, log_weights, parameters)),
    ):
        fast, reference = OPS[family + part]
        assert_near(fast(*arguments), reference(*arguments), dtype)
    assert (np.asarray(OPS[family][0](x, parameters))[np.isnan(x).all(-1)] == 0).all()


def test_a_table_of_complete_rows_is_the_table(dtype):
    """The handler's form and the reference, both without a look for cells outside their support."""
    x, y, weights, log_weights, parameters = discrete("table", 0.0, dtype)
    for part, arguments in (("", (x, parameters)), ("_expectation", (x, y, weights, log_weights, parameters))):
        for own, whole in zip(compiled("complete_table" + part), OPS["table" + part], strict=True):
            assert_near(own(*arguments), whole(*arguments), dtype)


@pytest.mark.parametrize("family", FAMILIES)
def test_structural_zeros_stay_exact(family, dtype):
    """A value of probability 0: minus infinity where it is met, nothing where it is missing, 0 or another."""
    x, y, weights, log_weights, parameters = discrete(family, 0.3, dtype)
    parameters = parameters.at[(1, 2, 0) if family == "table" else (1, 2)].set(-jnp.inf)
    fast, reference = (op(x, parameters) for op in OPS[family])
    np.testing.assert_array_equal(np.isneginf(fast), np.isneginf(reference))
    met = (x[:, 2] == 0) if family == "table" else (x[:, 2] > 0)
    np.testing.assert_array_equal(np.isneginf(fast)[:, 1], met)
    assert not np.isneginf(np.delete(fast, 1, axis=1)).any()
    both = [op(x, jnp.where(y == 1, -1, y), weights, log_weights, parameters) for op in OPS[f"{family}_expectation"]]
    assert_near(*both, x.dtype)


@pytest.mark.parametrize("family", ["poisson", "multinomial"])
@pytest.mark.parametrize("size", [1e3, 1e7], ids=["by features", "by the deviance"])
def test_large_counts_keep_their_digits(family, size, dtype):
    """Terms of `size` times ten that cancel to ten: exact to 1e-5 in float32, whose own digits would all be lost."""
    rng = np.random.default_rng(0)
    x = rng.poisson(size, size=(50, D)).astype(float)
    log_rate = np.log(size) + 1e-3 * rng.normal(size=(K, D))
    log_rate -= 0 if family == "poisson" else np.log(np.exp(log_rate).sum(1, keepdims=True))
    x, log_rate = x.astype(dtype).astype(float), log_rate.astype(dtype).astype(float)
    with jax.enable_x64(True):
        exact = np.asarray(OPS[family][1](jnp.asarray(x), jnp.asarray(log_rate)))
    fast = OPS[family][0](jnp.asarray(x, dtype), jnp.asarray(log_rate, dtype))
    np.testing.assert_allclose(fast, exact, rtol={"float32": 1e-5, "float64": 1e-8}[dtype.name], atol=1e-5)


def test_an_infinite_rate_says_nothing_where_its_cell_is_missing(dtype):
    """The exponential of its logarithm overflows, and 0 times infinity is no number."""
    x, _, _, _, log_rate = discrete("poisson", 0.3, dtype)
    fast, reference = (op(x, log_rate.at[0, 1].set(720)) for op in OPS["poisson"])
    missing = np.isnan(x[:, 1])
    assert_near(fast[missing], reference[missing], x.dtype)
    assert (fast[~missing, 0] == -jnp.inf).all()
    assert_near(fast[:, 1:], reference[:, 1:], x.dtype)


@pytest.mark.parametrize("family", FAMILIES)
def test_broken_parameters_and_cells_out_of_range(family, dtype):
    """NaN stays with its label and column; a cell that no check has seen is read as the reference reads it."""
    x, _, _, _, parameters = discrete(family, 0.2, dtype)
    broken = parameters.at[0, 1].set(jnp.nan)
    finite = np.isfinite(OPS[family][0](x, broken))
    np.testing.assert_array_equal(finite[:, 0], np.isnan(x[:, 1]) | (family == "multinomial") & (np.nansum(x, 1) == 0))
    assert finite[:, 1:].all()
    if family == "table":
        odd = x.at[0, 0].set(-1).at[1, 0].set(VALUES).at[2, 0].set(0.5).at[3, 0].set(jnp.inf)
        assert_near(*(op(odd, parameters) for op in OPS[family]), x.dtype)


@pytest.mark.usefixtures("kernels_for_any_size")
@pytest.mark.parametrize("family", FAMILIES)
def test_derivatives_are_the_references(family, x64):
    x, _, _, _, parameters = discrete(family, 0.2, "float64")
    op = getattr(kernels, family)
    grad, expected = (jax.grad(lambda p, f=f: f(x, p).sum())(parameters) for f in (op, op.reference))
    np.testing.assert_allclose(grad, expected, rtol=1e-10, atol=1e-10)


def regression(k, dtype, n=301, d=7):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, d)), np.where(rng.random(n) < 0.9, rng.integers(max(k, 2), size=n), -1)
    weights = rng.random(n) * (rng.random(n) < 0.9)
    x, weights, b, W = (jnp.asarray(a, dtype) for a in (x, weights, rng.normal(size=k), rng.normal(size=(k, d))))
    return x, jnp.asarray(y), weights, b, W


@pytest.mark.parametrize(("k", "d"), [(1, 7), (3, 21), *slow((3, 7), (6, 7), (1, 8), (1, 21), (11, 16), (1, 1))])
def test_logistic_gradient_is_the_references(k, d, dtype):
    """Of fewer columns than a vector takes, of a multiple of them, and of others."""
    x, y, weights, b, W = regression(k, dtype, d=d)
    fast, reference = OPS["logistic_gradient"]
    for scale in (1, 200):  # at 200, nearly every probability is 0 or 1
        assert_near(fast(x, y, weights, b, scale * W), reference(x, y, weights, b, scale * W), dtype)
    grad = fast(x, y, weights, b, W)[1:]
    assert_near(jax.grad(lambda b, W: reference(x, y, weights, b, W)[0], argnums=(0, 1))(b, W), grad, dtype, 2)


def placed(shape, dtype, offset, seed=0):
    """Rows that start so many numbers after a place where XLA wants memory to start."""
    size = math.prod(shape)
    room = np.empty(size + 32, dtype)
    start = -room.ctypes.data % 64 // room.itemsize + offset
    rows = room[start : start + size].reshape(shape)
    rows[:] = np.random.default_rng(seed).normal(size=shape)
    return rows


@pytest.mark.parametrize(("d", "offset"), [(1, 2), (20, 6), *slow((1, 0), (3, 1), (4, 7), (20, 0))])
def test_rows_in_place_are_the_rows(d, offset, dtype):
    x = placed((301, d), dtype, offset)
    rows, picked = kernels.zero_copy_rows(x), np.array([0, 1, 5, 6, 7, 8, 300])
    assert rows.shape == x.shape
    assert len(rows) == len(x)
    assert rows.dtype == dtype
    assert np.shares_memory(x, np.asarray(rows.cells))
    np.testing.assert_array_equal(rows.whole(), x)
    np.testing.assert_array_equal(rows.picked(picked), x[picked])
    for k in (1, 3):
        _, y, weights, b, W = regression(k, dtype, d=d)
        op = kernels.logistic_gradient_zero_copy
        fast = op.fast["cpu"](rows.first, rows.cells, y, weights, b, W)
        assert_near(fast, op.reference(rows.first, rows.cells, y, weights, b, W), dtype)
        assert_near(fast, OPS["logistic_gradient"][1](jnp.array(x), y, weights, b, W), dtype)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("value", [math.nan, *slow(math.inf, -math.inf)])
def test_a_cell_that_is_not_finite_makes_the_gradient_so(k, value, x64):
    """Even of a row that does not count, and under any weight: what is learnt from rows in place is checked by that."""
    for row, column in ((0, 0), (17, 6), (300, 3)):
        for scale in (0.0, 1.0, -1.0):
            x, y, weights, b, W = regression(k, "float64")
            x = x.at[row, column].set(value)
            for counted in (weights, weights.at[row].set(0.0), weights.at[row].set(1.0)):
                _, *grad = OPS["logistic_gradient"][0](x, y, counted, b, scale * W)
                assert not np.isfinite(grad[1][:, column]).any()


@pytest.mark.parametrize(("k", "d"), [(1, 7), (3, 21), *slow((3, 7), (1, 8), (1, 1))])
def test_logistic_curvature_is_the_hessian(k, d, dtype):
    x, y, weights, b, W = regression(k, dtype, d=d)
    fast, reference = (op(x, y, weights, b, W) for op in OPS["logistic_curvature"])
    assert_near(fast, reference, dtype)

    def value(both):
        return OPS["logistic_gradient"][1](x, y, weights, both[:, 0], both[:, 1:])[0]

    hessian = jax.hessian(value)(jnp.concatenate([b[:, None], W], 1))
    assert_near(-hessian, fast, dtype, 5)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (5000, 4), (300, 300)])
def test_column_summary_is_the_references(shape, dtype):
    rng = np.random.default_rng(0)
    x = np.where(rng.random(shape) < 0.2, np.nan, 1e3 + rng.normal(size=shape))
    x[:, 0] = np.round(x[:, 0])
    x[:, -1] = np.nan if shape[1] > 1 else x[:, -1]
    fast, reference = (op(jnp.asarray(x, dtype)) for op in OPS["column_summary"])
    copy = np.empty(shape, dtype)
    copied = kernels.copy_and_summarise(x, copy)
    np.testing.assert_array_equal(copy, x.astype(dtype))
    seen = np.asarray(fast.missing) < len(x)
    for summary in (fast, copied):
        for name, a, b in zip(fast._fields, summary, reference, strict=True):
            assert a.dtype == b.dtype
            here = slice(None) if name == "missing" else seen
            tolerance = {"mean": 1e-6, "spread": 1e-2}.get(name, 0) if dtype.name == "float32" else 1e-9
            a, b = np.asarray(a, float)[here], np.asarray(b, float)[here]
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=1e-6)


def test_column_summary_sees_what_is_not_finite(dtype):
    x = jnp.asarray([[1.0, jnp.inf, -jnp.inf, jnp.nan], [2.0, 0.5, 0.5, jnp.nan]], dtype)
    missing, low, high, whole, *_ = OPS["column_summary"][0](x)
    assert missing.tolist() == [0, 0, 0, 2]
    assert high[1] == jnp.inf
    assert low[2] == -jnp.inf
    assert bool(whole[0])
    assert not bool(whole[1])


@pytest.mark.parametrize(("n", "d"), [(1, 1), (3, 5), (700, 8), (700, 11)])
def test_labelled_moments_are_the_references(n, d, dtype):
    """Cells missing, labels that are none, weights 0, labels of few rows, columns that fill no vector."""
    x, y, weights, *_ = discrete("poisson", 0.3, dtype, n)
    y = y.at[::7].set(K)
    x, centre = x[:, :1] + jnp.arange(d, dtype=dtype), jnp.linspace(-1, 2, K * d, dtype=dtype).reshape(K, d)
    log_scale = jnp.linspace(-0.5, 0.5, K * d, dtype=dtype).reshape(K, d)
    fast, reference = (op(x, y, weights, centre, log_scale) for op in OPS["labelled_moments"])
    assert_near(fast, reference, dtype, 3)


@pytest.mark.parametrize(("n", "d"), [(6, 1), (700, 11)])
def test_rows_looked_at_by_label(n, d, dtype):
    """Away from 0, with cells missing, a label of one row and one of none, and columns that fill no vector."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random((n, d)) < 0.2, np.nan, 30 + rng.normal(size=(n, d))).astype(dtype)
    x[:, 0] = np.round(x[:, 0])
    y = rng.integers(2, size=n)
    y[n // 2] = 3
    seen = kernels.summarise_by_label(x, y, 4, dtype)
    assert seen.counts.tolist() == [(y == label).sum() for label in range(4)]
    for label in range(4):
        own = x[y == label].astype(float)
        cells = np.isfinite(own).sum(0)
        np.testing.assert_array_equal(seen.cells[label], cells)
        mean = np.nansum(own, 0) / np.maximum(cells, 1)
        tight = 1e-6 if dtype.name == "float32" else 1e-12
        np.testing.assert_allclose(seen.mean[label][cells > 0], mean[cells > 0], rtol=tight)
        spread = np.sqrt(np.nansum((own - mean) ** 2, 0) / np.maximum(cells, 1))
        np.testing.assert_allclose(seen.spread[label], spread, rtol=100 * tight, atol=1e-6)
    copied = kernels.copy_and_summarise(x, np.empty((n, d), dtype))
    for name, a, b in zip(copied._fields, seen.columns, copied, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(np.asarray(a, float), b, rtol=1e-2 if name == "spread" else 1e-6, err_msg=name)


@pytest.mark.parametrize("d", [1, 6, 70])
def test_whitener_makes_the_identity(d, dtype):
    A = np.random.default_rng(0).normal(size=(d, 2 * d))
    A = jnp.asarray(A @ A.T / d, dtype)
    F = OPS["whitener"][0](A)
    assert F.dtype == dtype
    np.testing.assert_allclose(F.T @ A @ F, np.eye(d), atol={"float32": 1e-4, "float64": 1e-12}[dtype.name])


def test_whitener_of_what_is_not_positive_definite_is_nan():
    for op in OPS["whitener"]:
        assert np.isnan(op(jnp.asarray([[1.0, 2.0], [2.0, 1.0]]))).all()


@pytest.mark.usefixtures("kernels_for_any_size")
def test_arguments_of_two_precisions_are_read_in_the_wider(x64):
    """Rows and parameters may come in different ones; a handler reads both as one."""
    x, _, _, _, parameters = discrete("poisson", 0.2, "float64")
    expected = kernels.poisson(x, parameters)
    narrow = parameters.astype("float32")
    np.testing.assert_allclose(kernels.poisson(x, narrow), kernels.poisson(x, narrow.astype("float64")), rtol=1e-12)
    assert kernels.poisson(x.astype("float32"), parameters).dtype == "float64"
    np.testing.assert_allclose(jax.jit(kernels.poisson)(x.astype("float32"), parameters), expected, rtol=1e-12)


def test_what_is_observed_may_be_far_less_likely_than_what_is_not(x64):
    x, log_p = jnp.asarray([[jnp.nan, 3.0, 2.0]]), jnp.asarray([[0.0, -720.0, -730.0]])
    expected = kernels.multinomial.reference(x, log_p)
    np.testing.assert_allclose(OPS["multinomial"][0](x, log_p), expected, rtol=1e-10)


def test_threads_that_trace_at_once_share_a_handler(monkeypatch):
    """The first calls of a process, from several threads: one of them compiles."""
    made = []
    monkeypatch.setitem(compiling.KERNELS, "of_a_test", ("a test", 3))

    def counted(function, signature):
        made.append(signature)
        return numba.cfunc(signature)(function)

    monkeypatch.setattr(handlers, "cfunc", lambda signature, **_: lambda function: counted(function, signature))
    handler = columns.handler._replace(name="of_a_test")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        names = set(pool.map(lambda _: handler.target("float32"), range(4)))
    assert names == {"dgjax_of_a_test_float32"}
    assert len(made) == 1
