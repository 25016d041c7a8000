"""Sparse rows: their answers are those of the same cells with NaN between them, at the cost of what is observed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from scipy.stats import multivariate_normal

import dgjax as dg
import dgjax_kernels as kernels
from dgjax_kernels.cpu import gaussian as handlers

pytestmark = pytest.mark.xdist_group("factors")
KEY, N, D, R = jax.random.key(0), 60, 5, 2


def rows(n=N, d=D, share=0.3, seed=0):
    """Rows (n, d) with missing cells: none observed in the first, and zeros in the second."""
    rng = np.random.default_rng(seed)
    x = 3 + rng.normal(size=(n, R)) @ rng.normal(size=(R, d)) + 0.5 * rng.normal(size=(n, d))
    x = np.where(rng.random(x.shape) < share, np.nan, x)
    x[0], x[1] = np.nan, 0
    return x


def stored(x, fmt=scipy.sparse.coo_array):
    at = np.nonzero(~np.isnan(x))
    return fmt((x[at], at), shape=x.shape)


def same(one, other, tol=1e-9):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


@pytest.mark.parametrize(
    "make",
    [
        stored,
        lambda x: scipy.sparse.csr_matrix(stored(x)),
        lambda x: stored(x, scipy.sparse.csc_array),
        lambda x: dg.SparseRows.from_scipy(stored(x)),
        lambda x: dg.SparseRows.from_pairs(np.where(np.isnan(x), -1, np.arange(D))[:, ::-1], x[:, ::-1], D),
        lambda x: dg.SparseRows.from_pairs(np.tile(np.arange(D), (len(x), 1)), x, D),  # NaN is missing here too
    ],
)
def test_whatever_they_come_as_they_are_the_same_cells(make):
    x = rows()
    given = dg.data.as_sparse_rows(make(x), D)
    assert given.shape == x.shape
    np.testing.assert_array_equal(given.toarray(), x.astype("float32"))
    np.testing.assert_array_equal(jax.jit(dg.SparseRows.toarray)(given), x.astype("float32"))
    np.testing.assert_array_equal(given[7:20].toarray(), x[7:20].astype("float32"))
    np.testing.assert_array_equal(given.empty, np.isnan(x).all(1))


@pytest.mark.slow
def test_answers_are_those_of_missing_cells(x64):
    x = rows()
    rng = np.random.default_rng(1)
    one = dg.FactorGaussian(rng.normal(size=(2, D)), rng.normal(size=(2, D, R)), rng.normal(0, 0.3, (2, D)))
    mixture, y = dg.Mixture(np.log([0.3, 0.7]), one), rng.integers(-1, 2, N)
    for ask in (
        dg.log_prob,
        dg.predict_log_proba,
        lambda model, x: dg.log_joint(model, x, y),
        lambda model, x: dg.encode(model, x, y.clip(0)),
        lambda model, x: dg.recommend(model, x, 2),
        dg.bic,
    ):
        same(ask(mixture, stored(x)), ask(mixture, x))
    same(dg.log_prob(mixture, stored(x[:41])), dg.log_prob(mixture, x[:41]))
    inside = jax.jit(dg.log_prob)(mixture, dg.SparseRows.from_scipy(stored(x)))
    same(inside, dg.log_prob(mixture, x))


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["diagonal", "shared"])
@pytest.mark.parametrize("prior", [None, "weak"])
def test_a_fit_takes_the_steps_of_one_with_missing_cells(noise, prior, x64):
    x, weights = rows(), np.random.default_rng(2).integers(0, 3, N) / 2
    fits = []
    for own in (x, stored(x)):
        start = dg.factor_analysis(KEY, own, R, noise)
        fits.append(dg.fit(start, own, weights=weights, prior=prior, method=dg.EM(0.0), max_steps=12))
    same(*fits)
    assert fits[0].num_steps == 12


@pytest.mark.slow
def test_sums_are_those_of_missing_cells(x64):
    """Scores, statistics, a whole E-step with weights and labels, some of them unknown, and weak priors."""
    x, rng = rows(), np.random.default_rng(3)
    y, weights, counts = jnp.array(rng.integers(-1, 2, N)), jnp.arange(N) % 3 / 2, jnp.asarray(rng.random((N, 2)))
    one = dg.FactorGaussian(rng.normal(size=(2, D)), rng.normal(size=(2, D, R)), rng.normal(0, 0.3, (2, D)))
    model, found = dg.Mixture(np.log([0.3, 0.7]), one), []
    for given in (stored(x), x):
        own = _rows(given)
        sums = one.statistics(own, counts), model.joint_expectation(own, y, weights)
        found.append((sums, one.scores(own), dg.weak_prior(model, given, 2.0, weights=1.0 + (y > 0))))
    same(*found)


def _rows(x):
    return dg.data.as_sparse_rows(x) if scipy.sparse.issparse(x) else jnp.asarray(x)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_handler_is_the_reference(dtype, x64):
    rng, (n, d, k, r) = np.random.default_rng(0), (300, 40, 3, 4)
    x = rows(n, d, 0.8)
    x[5:9] = np.nan
    cells = dg.data.as_sparse_rows(stored(x)).padded(n, 3 << 10)
    given = jnp.asarray(cells.starts), jnp.asarray(cells.columns), jnp.asarray(cells.values, dtype)
    parts = rng.normal(size=(k, d)), rng.normal(size=(k, d, r)), rng.normal(0, 0.3, (k, d))
    parameters = tuple(jnp.asarray(part, dtype) for part in parts)
    counts, weights, y = rng.random((n, k)), rng.integers(0, 3, n), rng.integers(-1, k, n)
    counts, weights, logs = (jnp.asarray(own, dtype) for own in (counts, weights, np.log([0.2, 0.3, 0.5])))
    tol = {"float32": 2e-4, "float64": 1e-9}[dtype]
    for fast, op, others in (
        (handlers.cells_scores, kernels.sparse_factor_scores, ()),
        (handlers.cells_statistics, kernels.sparse_factor_statistics, (counts,)),
        (handlers.cells_expectation, kernels.sparse_factor_expectation, (jnp.asarray(y), weights, logs)),
    ):
        found, wanted = (jax.jit(fn)(*given, *others, *parameters) for fn in (fast, op.reference))
        same(found, wanted, tol)


@pytest.mark.slow
def test_blocks_of_cells_are_all_cells(monkeypatch, x64):
    from dgjax_kernels import sparse_factor

    rng, x = np.random.default_rng(0), _rows(stored(rows()))
    given = jnp.asarray(x.starts), jnp.asarray(x.columns), jnp.asarray(x.values)
    parts = rng.normal(size=(1, D)), rng.normal(size=(1, D, R)), rng.normal(0, 0.3, (1, D))
    parameters = tuple(map(jnp.asarray, parts))
    whole = sparse_factor.expectation(*given, jnp.full(N, -1), jnp.ones(N), jnp.zeros(1), *parameters)
    monkeypatch.setattr(sparse_factor, "BUDGET", 100)
    same(sparse_factor.expectation(*given, jnp.full(N, -1), jnp.ones(N), jnp.zeros(1), *parameters), whole)


@pytest.mark.slow
def test_memory_goes_with_cells_and_never_with_rows_times_columns():
    n, d, m = 20_000, 4000, 5
    rng = np.random.default_rng(0)
    columns = (rng.integers(0, d // m, (n, m)) + d // m * np.arange(m)).astype("int32")
    x = _rows_of(columns, rng.normal(size=(n, m)).astype("float32"), d)
    model = dg.Mixture.of_one(dg.FactorGaussian(np.zeros((1, d)), rng.normal(size=(1, d, 3)), np.zeros((1, d))))
    step = jax.jit(lambda x: model.joint_expectation(x, jnp.full(n, -1), jnp.ones(n)))
    used = step.lower(x).compile().memory_analysis().temp_size_in_bytes
    assert used < 4 * n * d / 5


def _rows_of(columns, values, d):
    return dg.data.as_sparse_rows(dg.SparseRows.from_pairs(columns, values, d))


def test_the_density_is_of_the_observed_cells_and_another_number_of_them_no_new_program():
    x, rng = rows().astype("float32"), np.random.default_rng(0)
    model = dg.FactorGaussian(rng.normal(size=(1, D)), rng.normal(size=(1, D, R)), np.zeros((1, D)))
    found = np.asarray(dg.log_prob(model, stored(x)))
    covariance = model.loading[0] @ model.loading[0].T + np.eye(D)
    for i in range(1, 9):
        seen = np.flatnonzero(~np.isnan(x[i]))
        wanted = multivariate_normal.logpdf(x[i, seen], model.mean[0][seen], covariance[np.ix_(seen, seen)])
        np.testing.assert_allclose(found[i], wanted, rtol=1e-4)
    assert found[0] == 0
    with jax.no_tracing():
        fewer = dg.log_prob(model, stored(x[:-3]))
    np.testing.assert_array_equal(fewer, found[:-3])


PAIRS = dg.SparseRows.from_pairs


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: PAIRS([[0, 5]], [[1.0, 2.0]], 5), "got column 5 in row 0. Type num_columns=6"),
        (lambda: PAIRS([[0, -2]], [[1.0, 2.0]], 5), "got column -2 in row 0"),
        (lambda: PAIRS([[1, 2, 1]], [[1.0, 2.0, 3.0]], 5), "row 0 has column 1 twice"),
        (lambda: PAIRS([[1, 2]], [[1.0, np.inf]], 5), "got inf in row 0, column 2"),
        (lambda: PAIRS([1, 2], [1.0, 2.0], 5), r"of one shape \(n, m\); got shapes \(2,\)"),
        (lambda: PAIRS([[0.5]], [[1.0]], 5), r"columns\[0, 0\] = 0.5"),
        (lambda: PAIRS([[0]], [[1.0]], 4), r"5 columns, as the model has; got shape \(1, 4\)"),
        (lambda: dg.SparseRows([0, 3], [0, 1], [1.0, 2.0], 5), "starts that begin with 0"),
        (lambda: scipy.sparse.coo_array(([1.0, 2.0], ([0, 0], [3, 3])), (1, 5)), r"x.sum_duplicates\(\)"),
        (lambda: scipy.sparse.csr_array(([1.0, 2.0], [3, 3], [0, 2]), (1, 5)), r"x.sum_duplicates\(\)"),
        (lambda: scipy.sparse.coo_array([1.0, 2.0]), r"rows of shape \(n, d\)"),
        (lambda: scipy.sparse.csr_array((0, 5)), "at least one row"),
    ],
)
def test_what_is_wrong_with_cells_is_told(make, told):
    model = dg.FactorGaussian(np.zeros((1, 5)), np.ones((1, 5, 1)), np.zeros((1, 5)))
    with pytest.raises(ValueError, match=told):
        dg.log_prob(model, make())


def test_duplicates_are_added_where_it_is_typed():
    x = scipy.sparse.coo_array(([1.0, 2.0], ([0, 0], [3, 3])), (1, 5))
    x.sum_duplicates()
    np.testing.assert_array_equal(dg.SparseRows.from_scipy(x).toarray()[0, 3], 3)


@pytest.mark.parametrize("x", [stored(rows()), dg.SparseRows.from_scipy(stored(rows()))], ids=["scipy", "rows"])
@pytest.mark.parametrize(
    "ask",
    [
        dg.impute,
        lambda model, x: dg.sample_missing(model, KEY, x),
        lambda model, x: dg.explain(model, x, value="log_prob"),
        lambda model, x: dg.fit(model, x, method=dg.LBFGS(), max_steps=1),
        lambda model, x: dg.fit(model, x, blend=0.5, max_steps=1),
        lambda model, x: dg.factor_analysis(KEY, x, R, num_components=2),
        lambda model, x: dg.log_prob(dg.DiagonalGaussian(np.zeros((1, D)), np.zeros((1, D))), x),
        lambda model, x: dg.gaussian_mixture(KEY, x, 2),
    ],
    ids=["impute", "sample_missing", "explain", "method", "blend", "components", "another family", "another start"],
)
def test_what_takes_no_sparse_rows_says_what_to_type(ask, x, without_the_type_checker):
    model = dg.FactorGaussian(np.zeros((1, D)), np.ones((1, D, 1)), np.zeros((1, D)))
    with pytest.raises(ValueError, match=r"Type|type") as error:
        ask(model, x)
    told = str(error.value)
    advised = told[told.lower().index("type ") + 5 :].split(".toarray()")[0] + ".toarray()"
    whole = eval(advised, {"dgjax": dg, "x": x})
    assert np.shape(whole) == (N, D)
    assert np.isnan(whole).any() == ("NaN where nothing" in told or isinstance(x, dg.SparseRows))


def test_columns_that_lose_their_differences_are_told():
    x = rows() + 1e9
    for own in (stored(x), dg.SparseRows.from_scipy(stored(x))):
        with pytest.warns(dg.PrecisionWarning, match="loses its differences"), pytest.raises(ValueError, match="x"):
            dg.factor_analysis(KEY, own, 99)
