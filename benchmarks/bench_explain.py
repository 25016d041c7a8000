"""Shapley values beside shap's exact explainer, which asks about background rows: rows of wine, 13 columns."""

import numpy as np
import pytest
import shap
from sklearn.datasets import load_wine

import dgjax as dg

ROWS, BEHIND = 20, 100  # background rows: shap's own default at most


@pytest.mark.parametrize("covariance", ["tied", "full"])
def test_explain(beside, x64, covariance):
    x, y = load_wine(return_X_y=True)
    model = dg.discriminant_analysis(x, y, covariance)
    explainer = shap.explainers.Exact(lambda rows: np.exp(dg.predict_log_proba(model, rows)), x[:BEHIND])
    rows, labels = x[::9][:ROWS], y[::9][:ROWS]

    def check():
        """The marginal game on the same background rows."""
        ours, theirs = dg.explain(model, rows[:1], labels[:1], background=x[:BEHIND]), explainer(rows[:1])
        np.testing.assert_allclose(ours.values[0], theirs.values[0, :, labels[0]], atol=1e-6)

    facts = {"n": len(rows), "d": 13, "dtype": "float64", "family": f"{covariance} discriminant analysis"}
    ours, peers = lambda: dg.explain(model, rows, labels), {"shap, exact": lambda: explainer(rows)}
    beside(ours, peers, check=check, call="explain", groups=["explanations"], rounds=2, **facts)
