"""Answers of the kernels about NumPy's rows, in one pass: those of the same model about JAX's arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import slow

import dgjax as dg
import dgjax_kernels as kernels
from dgjax import _zero_copy

N, SOME = 60_011, slice(-700, None)  # rows, and those that are compared: so few that no kernel is compiled for them
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}


def problem(kind, d, missing, dtype, seed=0):
    """A mixture of three labels, and rows of its own with missing cells, the last but one without any cell."""
    rng, k = np.random.default_rng(seed), 3
    if kind == "gaussian":
        A = rng.normal(size=(k, d, 2 * d)) / np.sqrt(2 * d)
        density = dg.Gaussian(2 * rng.normal(size=(k, d)), np.linalg.cholesky(A @ A.transpose(0, 2, 1)))
    elif kind == "diagonal":
        density = dg.DiagonalGaussian(2 * rng.normal(size=(k, d)), 0.3 * rng.normal(size=(k, d)))
    elif kind == "bernoulli":
        density = dg.Bernoulli(2 * rng.normal(size=(k, d)))
    elif kind == "categorical":
        density = dg.Categorical(rng.normal(size=(k, d, 4)))
    else:
        density = {"poisson": dg.Poisson, "multinomial": dg.Multinomial}[kind](rng.normal(size=(k, d)))
    model = jax.tree.map(lambda leaf: leaf.astype(dtype), dg.Mixture(rng.normal(size=k), density))
    x = np.array(dg.sample(model, jax.random.key(seed), N)[0])
    x = np.where(rng.random(x.shape) < missing, np.nan, x).astype(dtype)
    x[N - 2] = np.nan if missing else x[N - 2]
    return model, x


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize(
    ("kind", "d"), [("gaussian", 5), ("diagonal", 5), ("bernoulli", 6), *slow(("categorical", 5), ("poisson", 7))]
)
def test_answers_about_rows_where_they_are(kind, d, missing, dtype):
    model, x = problem(kind, d, missing, dtype)
    some = jnp.asarray(x[SOME])
    answers = _zero_copy.log_prob(model, x), _zero_copy.log_posterior(model, x), _zero_copy.labels(model, x)
    expected = dg.log_prob(model, some), dg.predict_log_proba(model, some), dg.predict(model, some)
    for answer, own in zip(answers[:2], expected[:2], strict=True):
        assert answer is not None
        assert answer.dtype == own.dtype == dtype
        np.testing.assert_allclose(answer[SOME], own, rtol=1e-5, atol=TOLERANCE[dtype.name])
    clear = np.ptp(np.sort(expected[1], -1)[:, -2:], -1) > TOLERANCE[dtype.name]
    assert answers[2] is not None
    assert answers[2].dtype == expected[2].dtype
    np.testing.assert_array_equal(answers[2][SOME][clear], expected[2][clear])
    if missing:
        assert answers[0][N - 2] == 0


@pytest.mark.parametrize("missing", [0.0, *slow(0.4), 0.9])
def test_cells_filled_where_rows_are(missing, dtype):
    """By few missing cells, few observed ones and none; observed cells stay as they are to the bit."""
    model, x = problem("gaussian", 5, missing, dtype)
    filled, expected = _zero_copy.imputation(model, x), dg.impute(model, jnp.asarray(x[SOME]))
    assert filled is not None
    assert filled.dtype == dtype
    np.testing.assert_allclose(filled[SOME], expected, rtol=1e-4, atol=1e-4 if dtype == "float32" else 1e-10)
    np.testing.assert_array_equal(np.asarray(filled)[~np.isnan(x)], x[~np.isnan(x)])


@pytest.mark.parametrize("verb", [dg.log_prob, dg.predict, dg.predict_log_proba, dg.impute])
def test_a_cell_outside_its_support_is_refused_by_name(verb, dtype):
    model, x = problem("gaussian", 5, 0.2, dtype)
    x[20_000, 3] = np.inf
    with pytest.raises(ValueError, match=r"x\[20000, 3\] is inf"):
        verb(model, x)
    model, x = problem("bernoulli", 5, 0.2, dtype)
    x[20_000, 3] = 0.5
    with pytest.raises(ValueError, match=r"x\[20000, 3\] is 0.5"):
        verb(model, x)


def test_rows_of_float64_in_float32_are_told_where_they_overflow():
    """They are copied, for a kernel in float64 is another to compile; 1e300 is beyond float32."""
    model, x = problem("gaussian", 5, 0.2, "float32")
    wide = x.astype(float)
    np.testing.assert_array_equal(dg.log_prob(model, wide), dg.log_prob(model, x))
    wide[20_000, 3] = 1e300
    with pytest.raises(ValueError, match=r"x\[20000, 3\] is inf"):
        dg.log_prob(model, wide)


def test_a_row_that_no_label_gives_is_as_impossible_as_ever(dtype):
    model, x = problem("bernoulli", 5, 0.0, dtype)
    never = dg.Mixture(model.log_weights, dg.Bernoulli(model.density.logits.at[:, 2].set(-jnp.inf)))
    x[:, 2] = 0
    x[7, 2] = 1
    assert _zero_copy.log_prob(never, x) is None
    assert dg.log_prob(never, x)[7] == -np.inf
    assert dg.predict(never, x)[7] == -1


def test_the_twin_of_a_full_covariance_takes_no_missing_cell(x64):
    model, x = problem("gaussian", 5, 0.0, "float64")
    twin = dg.discriminative(model)
    np.testing.assert_allclose(_zero_copy.log_posterior(twin, x), dg.predict_log_proba(model, x), atol=1e-12)
    x[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"x\[7, 2\] is nan"):
        dg.predict(twin, x)


@pytest.mark.parametrize("inflation", [2e3, 9e3, 2e4, *slow(1e7)])
def test_scores_and_means_of_near_singular_columns_keep_their_digits(inflation, x64):
    """Either side of the variance inflation up to which they are by the precision, in units from 1e-20 to 1e20."""
    d, rng = 8, np.random.default_rng(0)
    S = np.eye(d) + (1 - 1 / inflation) * (np.ones((d, d)) - np.eye(d))
    unit = 10.0 ** rng.integers(-20, 20, d)
    z = rng.normal(size=(N, 1)) + np.sqrt(1 / inflation) * rng.normal(size=(N, d))
    z = np.where(rng.random((N, d)) < 0.3, np.nan, z)
    model = dg.Mixture(np.zeros(1), dg.Gaussian(np.zeros((1, d)), unit[:, None] * np.linalg.cholesky(S)[None]))
    scores, filled = _zero_copy.log_prob(model, z * unit), np.asarray(_zero_copy.imputation(model, z * unit)) / unit
    digits = 1e-13 * inflation + 1e-12
    for row, score, whole in zip(z[:300], np.asarray(scores), filled, strict=False):
        seen = ~np.isnan(row)
        own = S[np.ix_(seen, seen)]
        solved = np.linalg.solve(own, row[seen]) if seen.any() else row[seen]
        log_det = np.linalg.slogdet(2 * np.pi * own)[1] + 2 * np.log(unit[seen]).sum()
        assert score == pytest.approx(-0.5 * (row[seen] @ solved + log_det), rel=digits, abs=digits)
        np.testing.assert_allclose(whole[~seen], S[np.ix_(~seen, seen)] @ solved, rtol=digits, atol=digits)


def test_more_missing_cells_than_one_product_of_pivots_holds(x64):
    """70 columns, up to 35 of them missing, against the reference."""
    rng, d = np.random.default_rng(0), 70
    A = rng.normal(size=(2, d, 2 * d)) / np.sqrt(2 * d)
    mean, L = rng.normal(size=(2, 1, d)), np.linalg.cholesky(A @ A.transpose(0, 2, 1))
    x = np.where(rng.random((2_000, d)) < 0.48, np.nan, rng.normal(size=(2_000, d)))
    result = np.empty((len(x), 2))
    assert kernels.Pass("gaussian", (mean, L)).answer("log_posterior", x, np.zeros(2), result)
    some = jnp.asarray(x[:50])
    expected = kernels.gaussian.reference(some, jnp.asarray(mean), jnp.asarray(L))[..., 0]
    np.testing.assert_allclose(result[:50], jax.nn.log_softmax(expected, -1), rtol=1e-9, atol=1e-9)
