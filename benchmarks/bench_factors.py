"""Factor analysis beside scikit-learn's, to the same likelihood: digits, and few rows of many columns; and ratings."""

import jax
import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_digits
from sklearn.decomposition import FactorAnalysis

import dgjax as dg


def of_digits():
    x = load_digits().data
    return x[:, x.std(0) > 0]


def of_genes():
    """189 rows of 500 columns that ten factors move."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(189, 10)) @ rng.normal(size=(10, 500)) + rng.normal(size=(189, 500))


ROWS = {"digits": of_digits, "189 x 500": of_genes}


@pytest.mark.parametrize("name", ROWS)
def test_fit(beside, x64, name):
    x = ROWS[name]()
    key, likelihood = jax.random.key(0), []

    def ours():
        return dg.fit(dg.factor_analysis(key, x, 10), x, max_steps=2000)

    def theirs():
        return FactorAnalysis(10, svd_method="lapack", tol=1e-3, max_iter=2000).fit(x)

    def check():
        likelihood[:] = float(ours().objective[-1]) / len(x), theirs().score(x)
        assert likelihood[0] > likelihood[1] - 1e-2

    facts = {"n": len(x), "d": x.shape[1], "dtype": "float64", "family": f"factor analysis, {name}"}
    beside(ours, {"scikit-learn": theirs}, check=check, call="fit", groups=["factors"], rounds=3, **facts)


def test_ratings(beside):
    """Ten steps on 90,000 ratings of 943 users and 1,682 items, as they are and as a table with NaN."""
    rng, (n, d) = np.random.default_rng(0), (943, 1682)
    share = rng.gamma(0.8, size=(n, 1)) * rng.gamma(0.4, size=d)
    rated = rng.random((n, d)) < np.minimum(90_000 * share / share.sum(), 1)
    rated[np.arange(d) % n, np.arange(d)] = True
    full = 3.5 + 0.5 * rng.normal(size=(n, 10)) @ rng.normal(size=(10, d)) + rng.normal(size=(n, d))
    table = np.where(rated, full, np.nan).astype("float32")
    at = np.nonzero(rated)
    ratings = scipy.sparse.coo_array((table[at], at), shape=table.shape)
    start = dg.factor_analysis(jax.random.key(0), ratings, 10)

    def fitted(x):
        return dg.fit(start, x, prior="weak", method=dg.EM(0.0), max_steps=10)

    def check():
        np.testing.assert_allclose(fitted(ratings).objective, fitted(table).objective, rtol=1e-4)

    facts = {"n": n, "d": d, "dtype": "float32", "family": "ratings"}
    peers = {"a table with NaN": lambda: fitted(table)}
    beside(lambda: fitted(ratings), peers, check=check, call="fit", groups=["factors"], rounds=3, **facts)
