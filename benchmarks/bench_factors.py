"""Factor analysis beside scikit-learn's, to the same likelihood: digits, and few rows of many columns."""

import jax
import numpy as np
import pytest
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
