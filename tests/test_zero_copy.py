"""Large NumPy arrays, read where they are: the same answers as from JAX's arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from laws import slow

import dgjax as dg
from dgjax import _zero_copy

N = 60_011
TOLERANCE = {"float32": 1e-3, "float64": 1e-6}  # nats, of log-posteriors


def rows_of_normals(d, k, seed=0):
    """Means, a shared Cholesky factor, and rows (N, d), scattered about 100."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(d, 2 * d)) / np.sqrt(2 * d)
    mean, L = 100 + 2 * rng.normal(size=(k, d)), np.linalg.cholesky(A @ A.T)
    return mean, L, mean[rng.integers(k, size=N)] + rng.normal(size=(N, d)) @ L.T


def with_linear_log_odds(kind, mean, L):
    """A model whose log-odds are linear, with the given means."""
    rng, k = np.random.default_rng(1), len(mean)
    if kind in ("tied", "twin"):
        model = dg.Mixture(rng.normal(size=k), dg.Gaussian(mean, L))
        return dg.discriminative(model) if kind == "twin" else model
    log_scale = 0.3 * rng.normal(size=mean.shape[1] if kind == "diagonal" else 1)
    return dg.Mixture(rng.normal(size=k), dg.DiagonalGaussian(mean, log_scale))


@pytest.mark.parametrize("kind", ["tied", "twin", *slow("diagonal", "spherical")])
@pytest.mark.parametrize("d", [5, *slow(8, 19)])
def test_normals_that_share_a_covariance_are_told_apart_where_rows_are(kind, d, dtype):
    mean, L, x = rows_of_normals(d, 3)
    model = jax.tree.map(lambda leaf: leaf.astype(dtype), with_linear_log_odds(kind, mean, L))
    x, some = x.astype(dtype), jnp.asarray(x[-5_000:], dtype)
    expected = np.asarray(dg.predict_log_proba(model, some))
    posterior, labels = dg.predict_log_proba(model, x), dg.predict(model, x)
    assert _zero_copy.linear_posterior(model, x) is not None
    assert _zero_copy.linear_labels(model, x) is not None
    assert posterior.dtype == expected.dtype == dtype
    np.testing.assert_allclose(posterior[-5_000:], expected, rtol=1e-5, atol=TOLERANCE[dtype.name])
    clear = np.ptp(np.sort(expected, -1)[:, -2:], -1) > TOLERANCE[dtype.name]
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(labels[-5_000:][clear], expected.argmax(-1)[clear])


def test_missing_and_infinite_cells_of_rows_read_where_they_are(x64):
    """A missing cell, first or last, is integrated out as ever; an infinite one is refused."""
    mean, L, x = rows_of_normals(5, 3)
    model = with_linear_log_odds("tied", mean, L)
    for row in (0, N - 1):
        rows = x.copy()
        rows[row, 4] = np.nan
        for verb in (dg.predict_log_proba, dg.predict):
            np.testing.assert_allclose(verb(model, rows)[row], verb(model, rows[[row]])[0], rtol=1e-9, atol=1e-12)
        rows[row, 4] = np.inf
        for verb in (dg.predict_log_proba, dg.predict):
            with pytest.raises(ValueError, match=rf"x\[{row}, 4\] is inf"):
                verb(model, rows)


def test_linear_scores_without_digits_are_left_to_whitening(x64):
    """Columns that differ by 1e-9 of their size: terms of the linear form are 1e11 and more."""
    mean, L, x = rows_of_normals(5, 3)
    L[4] = L[3] + 1e-9 * L[4]
    model = with_linear_log_odds("tied", mean @ L.T, L)
    rows = (x - 100) @ L.T + 100 * L.sum(1)
    assert _zero_copy.linear_posterior(model, rows) is None
    posterior = np.asarray(dg.predict_log_proba(model, rows))
    clear = np.ptp(np.sort(posterior, -1)[:, -2:], -1) > 1e-3
    np.testing.assert_array_equal(dg.predict(model, rows)[clear], posterior.argmax(-1)[clear])


def test_a_sure_label_keeps_the_digits_of_its_doubt(x64):
    """log p(y | x) of 1e-13 below 0, of large arrays as of small ones."""
    mean, L, x = rows_of_normals(5, 2)
    for own in (L, np.stack([L, L])):
        model = dg.Mixture(np.zeros(2), dg.Gaussian(100 + 8 * (mean - 100), own))
        posterior = np.asarray(dg.predict_log_proba(model, x)).max(-1)
        doubt = np.exp(np.asarray(dg.predict_log_proba(model, x)).min(-1))
        sure = (doubt > 1e-14) & (doubt < 1e-9)
        assert sure.sum() > 10
        np.testing.assert_allclose(-posterior[sure], doubt[sure], rtol=0, atol=3e-16)


def test_the_size_that_makes_rows_large_is_theirs_as_floats():
    """The same numbers as float32 and as float64, which take half of 1 MB and more than it, have one answer."""
    x = np.random.default_rng(0).normal(size=(45_000, 3)).astype("float32")
    model = dg.Mixture(np.zeros(2, "float32"), dg.DiagonalGaussian(x[:2], np.zeros((2, 3), "float32")))
    expected, wide = np.asarray(dg.log_prob(model, x)), x.astype(float)
    for laid in (wide, pd.DataFrame(wide), np.asfortranarray(wide), wide.astype(">f8")):
        assert np.asarray(dg.log_prob(model, laid)).tobytes() == expected.tobytes()
