"""The CPU's own kernels against their references, and the calls that XLA makes of them."""

import concurrent.futures
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax as dg
import dgjax_kernels as kernels
from dgjax.learning import _em
from dgjax_kernels.cpu import calls, compiling, ffi, worth

# One worker for all, for they share their compiled functions.
pytestmark = [pytest.mark.xdist_group("cpu"), pytest.mark.usefixtures("kernels_for_any_size")]
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}
OPS = {
    family: [getattr(kernels, family + part) for part in ("", "_statistics", "_expectation")]
    for family in ("gaussian", "diagonal")
}
# The handlers' forms, however few the rows.
SCORES, STATISTICS, EXPECTATIONS = ({family: ops[i].fast["cpu"] for family, ops in OPS.items()} for i in range(3))
REFERENCES = {family: jax.jit(ops[2].reference) for family, ops in OPS.items()}


def rows(n, d, k, missing, seed=0):
    """Rows, some of them empty, labels of which most are unknown, weights of which some are 0, and log-weights."""
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((n, d)) < missing, np.nan, 2 * rng.normal(size=(n, d)))
    x[: int(5 * missing)] = np.nan
    y = np.where(rng.random(n) < 0.3, rng.integers(k, size=n), -1)
    return x, y, rng.random(n) * (rng.random(n) < 0.9), np.log(rng.dirichlet(np.ones(k)))


def factors(g, d, seed=1):
    A = np.random.default_rng(seed).normal(size=(g, d, 2 * d))
    return np.linalg.cholesky(A @ A.transpose(0, 2, 1) / d)


def problem(family, labels, missing, dtype, n=300, d=5):
    k = int(np.prod(labels))
    x, y, weights, log_weights = rows(n, d, k, missing)
    mean = 2 * np.random.default_rng(2).normal(size=(k, d))
    if family == "gaussian":
        parameters = mean.reshape(*labels, d), factors(labels[0], d)
    else:
        parameters, labels = (mean, 0.3 * np.random.default_rng(3).normal(size=(k, d))), (k,)
    floats = [jnp.asarray(a, dtype) for a in (x, weights, log_weights.reshape(labels), *parameters)]
    return floats[0], jnp.asarray(y), *floats[1:]


def assert_near(result, expected, dtype):
    """To rounding, relative to the largest entry of each array; the same arrays, for a program chooses between them."""
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE[dtype.name] * max(1e-30, float(jnp.abs(b).max())))


@pytest.mark.parametrize("missing", [0.0, 0.2, 0.7])
@pytest.mark.parametrize(
    ("family", "labels"), [("gaussian", (3, 1)), ("gaussian", (1, 3)), ("gaussian", (2, 2)), ("diagonal", (3, 1))]
)
def test_expectation_is_the_references(family, labels, missing, dtype):
    arguments = problem(family, labels, missing, dtype)
    assert_near(EXPECTATIONS[family](*arguments), REFERENCES[family](*arguments), dtype)


@pytest.mark.parametrize(("shared", "distance", "missing"), [(False, 1, 0.3), (True, 1, 0.3), (True, 1e3, 0.0)])
def test_many_columns_with_scales_of_their_own_or_one_are_the_references(shared, distance, missing, dtype):
    """Of several vectors of columns and of labels, with some left over; and of means too far away for products."""
    *arguments, mean, log_scale = problem("diagonal", (9, 1), missing, dtype, d=33)
    mean = mean.at[0].multiply(distance)
    arguments = *arguments, mean, log_scale[:, :1] if shared else log_scale
    assert_near(EXPECTATIONS["diagonal"](*arguments), REFERENCES["diagonal"](*arguments), dtype)
    scores = SCORES["diagonal"](arguments[0], *arguments[4:])
    assert_near(scores, kernels.diagonal.reference(arguments[0], *arguments[4:]), dtype)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("labels", [(6, 1), (3, 2)])
def test_rows_that_surely_belong_to_one_label_are_the_references(labels, missing, dtype):
    """Clusters so far apart that all other labels count for nothing, one of them with no row at all."""
    x, y, weights, log_weights, mean, L = problem("gaussian", labels, missing, dtype, n=1000)
    mean = 40 * mean
    near = mean.reshape(-1, x.shape[1])[np.random.default_rng(4).integers(5, size=len(x))]
    arguments = x + near, jnp.full_like(y, -1), weights, log_weights, mean, L
    assert_near(EXPECTATIONS["gaussian"](*arguments), REFERENCES["gaussian"](*arguments), dtype)


@pytest.mark.parametrize("family", ["gaussian", "diagonal"])
def test_scores_and_statistics_add_up_to_the_expectation(family, dtype):
    x, y, weights, log_weights, *parameters = problem(family, (3, 1), 0.3, dtype)
    scores, statistics = SCORES[family], STATISTICS[family]
    joint = log_weights + scores(x, *parameters)
    value, c = kernels.joint_partition(x, y, weights, joint.reshape(len(x), -1))
    whole = EXPECTATIONS[family](x, y, weights, log_weights, *parameters)
    assert_near((value, statistics(x, c.reshape(joint.shape), *parameters)), (whole[0], whole[-1]), dtype)
    assert (np.asarray(scores(x, *parameters))[np.isnan(x).all(-1)] == 0).all()


@pytest.mark.parametrize("family", ["gaussian", "diagonal"])
def test_pieces_and_threads_do_not_change_the_sum(family, monkeypatch, x64):
    arguments = problem(family, (3, 1), 0.2, "float64")
    whole = EXPECTATIONS[family](*arguments)
    for pieces in (2, 7, 300):
        monkeypatch.setattr(calls, "num_pieces", lambda *_, pieces=pieces: pieces)
        parts = jax.jit(lambda *a: EXPECTATIONS[family](*a))(*arguments)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), parts, whole)


def test_calls_from_many_threads_end():
    """Many calls at once, each in many pieces, on fewer threads than pieces."""
    arguments = problem("gaussian", (3, 1), 0.2, "float32", n=20_000)
    once = jax.jit(kernels.gaussian_expectation)
    expected = np.asarray(once(*arguments)[0])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: np.asarray(once(*arguments)[0]), range(64)))
    assert all(value == expected for value in values)


@pytest.mark.parametrize("missing", [0.2, 0.7])
def test_conditional_means_are_the_references(missing, dtype):
    """Of three groups, one of columns that nearly determine each other, and one that is broken; with an empty row."""
    x, y, *_ = rows(300, 5, 4, missing)
    L = factors(4, 5)
    L[2, 4, 4] *= 1e-6
    L[3, 4, 4] = np.nan
    arguments = jnp.asarray(x, dtype), jnp.asarray(np.maximum(y, 0)), jnp.asarray(L, dtype)
    op = kernels.gaussian_conditional
    sound = arguments[1] < 3
    found, expected = op.fast["cpu"](*arguments), jax.jit(op.reference)(*arguments)
    assert_near(found[sound], expected[sound], dtype)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(found[np.isfinite(x)], arguments[0][np.isfinite(x)])
    np.testing.assert_array_equal(op.fast["cpu"](arguments[0], arguments[1] - 9, arguments[2])[0], np.zeros(5))


@pytest.mark.parametrize("share", [1e-6, 1e-12])
def test_conditional_means_of_columns_that_determine_each_other_keep_their_digits(share, x64):
    """Columns that but for a small share are one: what is missing is then the mean of what is there."""
    d, rng = 5, np.random.default_rng(0)
    L = np.linalg.cholesky(np.ones((d, d)) + share * np.eye(d))
    x = rng.normal(size=(100, 1)) + np.sqrt(share) * rng.normal(size=(100, d))
    x = np.where(rng.random(x.shape) < 0.6, np.nan, x)
    arguments = jnp.asarray(x), jnp.zeros(100, int), jnp.asarray(L)[None]
    op = kernels.gaussian_conditional
    np.testing.assert_allclose(op.fast["cpu"](*arguments), op.reference(*arguments), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_broken_mean_fills_no_cell(broken):
    model = dg.Mixture(jnp.zeros(1), dg.Gaussian(jnp.zeros((1, 3)), jnp.tril(jnp.eye(3) + 0.1)[None]))
    # Not by the constructor, which refuses it: as a fit of one's own may end.
    model = jax.tree.map(lambda leaf: leaf.at[0, 0].set(broken) if leaf.shape == (1, 3) else leaf, model)
    x = jnp.array([[1.0, jnp.nan, 2.0], [1.0, jnp.nan, jnp.nan]])
    for filled in (dg.impute(model, x), dg.sample_missing(model, jax.random.key(0), x)):
        np.testing.assert_array_equal(np.isfinite(filled), ~np.isnan(x))


@pytest.mark.parametrize("inflation", [1e2, 1e6, 1e10])
def test_missing_cells_of_columns_that_determine_each_other(inflation, x64):
    """Either side of the variance inflation up to which missing cells are projected off: against dense algebra."""
    d, rng = 4, np.random.default_rng(0)
    S = np.eye(d) + (1 - 1 / inflation) * (np.ones((d, d)) - np.eye(d))
    x = rng.normal(size=(200, 1)) + np.sqrt(1 / inflation) * rng.normal(size=(200, d))
    x = np.where(rng.random((200, d)) < 0.3, np.nan, x)
    scores = kernels.gaussian(jnp.asarray(x), jnp.zeros((1, 1, d)), jnp.asarray(np.linalg.cholesky(S))[None])
    for row, score in zip(x, np.asarray(scores)[:, 0, 0], strict=True):
        seen = ~np.isnan(row)
        own = S[np.ix_(seen, seen)]
        solved = np.linalg.solve(own, row[seen]) if seen.any() else row[seen]
        exact = -0.5 * (row[seen] @ solved + np.linalg.slogdet(2 * np.pi * own)[1])
        assert score == pytest.approx(exact, rel=1e-13 * inflation + 1e-12, abs=1e-13 * inflation + 1e-12)


@pytest.mark.parametrize("d", [6, 70], ids=["patterns in one word", "patterns by a hash"])
def test_rows_of_one_pattern_together_are_rows_apart(d, x64):
    """The patterns of a few rows are collected with others; those of many have lanes of their own."""
    rng = np.random.default_rng(0)
    patterns = np.concatenate([rng.random((5, d)) < 0.3, rng.random((5, d)) < 0.8])
    x = np.where(patterns[rng.integers(10, size=1500)], np.nan, rng.normal(size=(1500, d)))
    mean, L = jnp.asarray(rng.normal(size=(2, 1, d))), jnp.asarray(factors(2, d))
    together = kernels.gaussian(jnp.asarray(x), mean, L)
    apart = jnp.concatenate([kernels.gaussian(jnp.asarray(x[i::30]), mean, L) for i in range(30)])
    order = np.concatenate([np.arange(1500)[i::30] for i in range(30)])
    np.testing.assert_allclose(together[order], apart, rtol=1e-11)


def test_labels_far_from_the_others_keep_their_digits():
    """In float32, clusters of width 1e-3 at distance 3, of which the expanded quadratic keeps no digit."""
    rng = np.random.default_rng(0)
    mean = 3 * rng.normal(size=(3, 6))
    x = (mean[rng.integers(3, size=300)] + 1e-3 * rng.normal(size=(300, 6))).astype("float32")
    mean, log_scale = mean.astype("float32"), np.full((3, 6), np.log(1e-3), "float32")
    z = (x[:, None].astype(float) - mean) / np.exp(log_scale.astype(float))
    exact = (-0.5 * z**2 - log_scale.astype(float) - 0.5 * np.log(2 * np.pi)).sum(-1)
    near = exact > -1e3
    L = jnp.asarray(1e-3 * np.eye(6), "float32")[None]
    of_diagonal, of_gaussian = (
        SCORES["diagonal"](x, mean, log_scale),
        SCORES["gaussian"](x, jnp.asarray(mean)[None], L)[:, 0],
    )
    of_spherical = SCORES["diagonal"](x, mean, log_scale[:, :1])
    for scores in (of_diagonal, of_spherical, of_gaussian, kernels.diagonal(x, mean, log_scale)):
        np.testing.assert_allclose(np.asarray(scores)[near], exact[near], atol=2e-3, rtol=1e-5)


@pytest.mark.parametrize("missing", [0.0, 0.2, 0.7])
@pytest.mark.parametrize("family", ["gaussian", "diagonal"])
def test_broken_parameters_are_not_taken_for_missing_cells(family, missing, dtype):
    """A mean of NaN and a scale of 0, as of a class without spread: what is not finite in the reference is not here."""
    x, _, _, _, mean, scale = problem(family, (3, 1), missing, dtype)
    flat = {"gaussian": scale.at[1, 2].set(0), "diagonal": scale.at[1, 2].set(-jnp.inf)}[family]
    for broken in ((mean.at[0, ..., 1].set(jnp.nan), scale), (mean, flat)):
        both = SCORES[family], OPS[family][0].reference
        fast, expected = (np.isfinite(scores(x, *broken)).reshape(len(x), 3) for scores in both)
        np.testing.assert_array_equal(fast, expected)
        assert not expected.all()


def test_vmap_is_a_loop():
    x, y, weights, log_weights, mean, L = problem("gaussian", (3, 1), 0.2, "float32")
    means = jnp.stack([mean, mean + 1, mean - 1])
    batched = jax.vmap(lambda m: kernels.gaussian_expectation(x, y, weights, log_weights, m, L))(means)
    loop = [kernels.gaussian_expectation(x, y, weights, log_weights, m, L) for m in means]
    jax.tree.map(lambda b, *each: np.testing.assert_array_equal(b, jnp.stack(each)), batched, *loop)


@pytest.mark.parametrize("family", ["gaussian", "diagonal"])
def test_derivatives_are_the_references(family, x64):
    op = OPS[family][0]
    x, _, _, _, *parameters = problem(family, (3, 1), 0.2, "float64", n=40, d=3)
    grad = jax.grad(lambda *p: op(x, *p).sum(), argnums=(0, 1))(*parameters)
    expected = jax.grad(lambda *p: op.reference(x, *p).sum(), argnums=(0, 1))(*parameters)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), grad, expected)


def signed_scores(labels):
    """A function of scores whose derivatives by them are of either sign, of a form, and its arguments."""
    x, y, weights, _, *parameters = problem("gaussian", labels, 0.2, "float64", n=40, d=3)
    signs = (weights * jnp.where(y > 0, -1, 1))[:, None, None]
    return lambda form: lambda *arguments: (signs * jnp.tanh(form(*arguments) / 10)).sum(), (x, *parameters)


@pytest.mark.parametrize("labels", [(3, 1), pytest.param((1, 3), marks=pytest.mark.slow)])
def test_the_gradient_of_gaussians_is_the_references_for_counts_of_either_sign(labels, x64):
    value, arguments = signed_scores(labels)
    gradients = [jax.grad(value(f), argnums=(0, 1, 2)) for f in (kernels.gaussian, kernels.gaussian.reference)]
    grad, expected = (jax.jit(one)(*arguments) for one in gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), grad, expected)


@pytest.mark.slow
def test_the_gradient_of_gaussians_is_one_to_map_and_to_differentiate(x64):
    value, (x, mean, L) = signed_scores((3, 1))
    of_factor = jax.grad(value(kernels.gaussian), argnums=2)
    several = jnp.stack([mean, mean + 1])
    together = jax.vmap(of_factor, in_axes=(None, 0, None))(x, several, L)
    np.testing.assert_allclose(together, [of_factor(x, one, L) for one in several], rtol=1e-9, atol=1e-9)
    forms = kernels.gaussian, kernels.gaussian.reference
    curvature, expected = (jax.hessian(value(form), argnums=1)(x, mean, L) for form in forms)
    np.testing.assert_allclose(curvature, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("precision", "handled"), [("float16", False), ("float32", True)])
def test_what_no_handler_was_written_for_goes_to_the_reference(precision, handled):
    x, mean = jax.ShapeDtypeStruct((8, 3), precision), jnp.zeros((2, 3), precision)
    text = jax.jit(lambda x: kernels.diagonal(x, mean, mean)).lower(x).as_text()
    assert ("dgjax_diagonal" in text) == handled
    none = jnp.zeros((0, 3))
    assert kernels.diagonal(none, mean.astype("float32"), mean.astype("float32")).shape == (0, 2)
    assert kernels.gaussian(none, jnp.zeros((2, 1, 3)), jnp.stack([jnp.eye(3)] * 2)).shape == (0, 2, 1)


def lowered(op, n, repeats=1, d=3):
    """The text of a program that scores n rows under two labels."""
    x, mean = jax.ShapeDtypeStruct((n, d), "float32"), jnp.zeros((2, d))
    arguments = (mean, mean) if op is kernels.diagonal else (mean[:, None], jnp.stack([jnp.eye(d)] * 2))
    with kernels.repeats(repeats):
        return jax.jit(lambda x: op(x, *arguments)).lower(x).as_text()


def test_what_runs_often_has_its_handler_for_fewer_cells():
    few = worth.MANY_CELLS // kernels.OF_SAMPLERS
    assert "dgjax_diagonal" not in lowered(kernels.diagonal, few // 3)
    assert "dgjax_diagonal" in lowered(kernels.diagonal, few // 3 + 1, kernels.OF_SAMPLERS)
    x = jax.ShapeDtypeStruct((few, 3), "float32")
    with kernels.repeats(kernels.OF_SAMPLERS):
        assert "dgjax" not in jax.jit(kernels.column_summary).lower(x).as_text()


def test_derivatives_run_as_often_as_what_they_are_of():
    n = worth.MANY_CELLS_OF_FULL // kernels.OF_SAMPLERS

    def total(mean):
        with kernels.repeats(kernels.OF_SAMPLERS):
            return kernels.complete_gaussian(jnp.zeros((n, 1)), mean, jnp.ones((2, 1, 1))).sum()

    text = jax.jit(jax.value_and_grad(total)).lower(jnp.zeros((2, 1, 1))).as_text()
    assert text.count("dgjax_") > jax.jit(total).lower(jnp.zeros((2, 1, 1))).as_text().count("dgjax_") > 0


def test_no_fit_of_many_rows_leaves_threads_of_lapack_behind():
    """They wait for another call on every core, 26 ms long: the next fit took 1.8 times as long."""
    d, n = worth.SPINNING, worth.MANY_CELLS_OF_FULL
    model = dg.Mixture(np.zeros(2), dg.Gaussian(np.zeros((2, d)), np.stack([np.eye(d)] * 2)))
    statistics = model.joint_statistics(jnp.zeros((1, d)), jnp.ones((1, 2)))
    value, step, ended = jnp.zeros(()), jnp.zeros((), int), jnp.zeros((), bool)
    state = _em.State(model, statistics, value, jnp.zeros(1), step, ended)
    with kernels.repeats(1):
        assert "dgjax_gaussian" in _em._upcoming.lower(state, None, rows=n // d).as_text()
        assert "dgjax_gaussian" not in _em._upcoming.lower(state, None, rows=1).as_text()


@pytest.mark.parametrize(("n", "d", "complete", "handled"), [
    (200, 16, False, False), (200, 64, True, False), (10_000, 3, True, False), (11_000, 3, True, True),
    (1_000, 16, False, False), (2_000, 16, False, True), (20_000, 3, False, True),
])  # fmt: skip
def test_full_covariances_have_their_handler_where_the_reference_takes_long(n, d, complete, handled):
    op = kernels.complete_gaussian if complete else kernels.gaussian
    assert ("dgjax_gaussian" in lowered(op, n, d=d)) == handled


def test_blocks_of_many_rows_have_the_handler_that_one_of_them_would_not():
    x = jax.ShapeDtypeStruct((20_000, 3), "float32")
    with kernels.repeats(1):
        blocks = jax.jit(lambda x: kernels.map_rows(lambda x: kernels.diagonal(x, x[:2], x[:2]), x, row_cost=1 << 12))
        assert "dgjax_diagonal" not in blocks.lower(x).as_text()
        assert "dgjax_diagonal" in blocks.lower(jax.ShapeDtypeStruct((60_000, 3), "float32")).as_text()


def test_what_compiles_for_long_is_told_once_and_what_is_read_from_disk_is_not(caplog):
    clock = compiling.Clock("gaussian", on_disk=True)
    clock.tell()
    assert not caplog.records
    clock.on_start(None)
    clock.tell()
    assert caplog.messages == [
        "dgjax: compiling the CPU kernel for rows of full covariances, once on this machine (about 40 s) ..."
    ]


def test_the_words_of_a_call_are_those_of_the_header():
    """Every member of XLA's structs that `ffi` counts to."""
    header = (pathlib.Path(jax.ffi.include_dir()) / "xla/ffi/api/c_api.h").read_text()

    def members(struct):
        body = re.search(rf"struct {struct} \{{(.*?)\n\}};", header, re.S)[1]
        body = re.sub(r"//.*", "", body)
        names = re.findall(r"XLA_FFI_API_STRUCT_FIELD\((\w+)\)|(\w+);", body)
        return [a or b for a, b in names]

    assert members("XLA_FFI_CallFrame")[:8] == [
        "struct_size", "extension_start", "api", "ctx", "stage", "args", "rets", "attrs",
    ]  # fmt: skip
    assert members("XLA_FFI_Args") == ["struct_size", "extension_start", "size", "types", "args"]
    assert members("XLA_FFI_Rets") == ["struct_size", "extension_start", "size", "types", "rets"]
    args, rets = 5, 5 + len(members("XLA_FFI_Args"))
    assert (args + 4, rets + 4) == (ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS)
    assert members("XLA_FFI_Buffer") == ["struct_size", "extension_start", "dtype", "data", "rank", "dims"]
    api = members("XLA_FFI_Api")
    assert api[:4] == ["struct_size", "extension_start", "api_version", "internal_api"]
    position = {name: i + 2 for i, name in enumerate(api)}  # the version is a struct of three words
    assert position["XLA_FFI_Error_Destroy"] == ffi.API_DESTROY
    assert position["XLA_FFI_ThreadPool_Schedule"] == ffi.API_SCHEDULE
    assert position["XLA_FFI_ThreadPool_NumThreads"] == ffi.API_THREADS
    assert members("XLA_FFI_ThreadPool_Schedule_Args") == ["struct_size", "extension_start", "ctx", "task", "data"]
    assert members("XLA_FFI_ThreadPool_NumThreads_Args") == ["struct_size", "extension_start", "ctx", "num_threads"]
    assert members("XLA_FFI_Error_Destroy_Args") == ["struct_size", "extension_start", "error"]
