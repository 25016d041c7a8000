"""Shapley values beside shap's exact explainer, which asks about background rows: one row of wine, 13 columns."""

import numpy as np
import pytest
import shap
from sklearn.datasets import load_wine

import dgjax as dg

BEHIND = 100  # background rows, shap's own default at most


@pytest.mark.parametrize("covariance", ["tied", "full"])
def test_explain(beside, x64, covariance):
    x, y = load_wine(return_X_y=True)
    model = dg.discriminant_analysis(x, y, covariance)
    explainer = shap.explainers.Exact(lambda rows: np.exp(dg.predict_log_proba(model, rows)), x[:BEHIND])
    row, label = x[3:4], y[3:4]

    def check():
        """The marginal game on the same background rows."""
        ours, theirs = dg.explain(model, row, label, background=x[:BEHIND]), explainer(row)
        np.testing.assert_allclose(ours.values[0], theirs.values[0, :, label[0]], atol=1e-6)

    facts = {"n": 1, "d": 13, "dtype": "float64", "family": f"{covariance} discriminant analysis", "call": "explain"}
    ours, peers = lambda: dg.explain(model, row, label), {"shap, exact": lambda: explainer(row)}
    beside(ours, peers, check=check, groups=["explanations"], rounds=2, **facts)
