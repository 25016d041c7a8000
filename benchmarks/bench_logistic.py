"""Logistic regression to the same objective, beside every solver of scikit-learn that suits the case."""

import functools

import numpy as np
import pytest
from peers import quietly

import dgjax as dg

# The columns of the first four are independent, so that L-BFGS needs no scaling; in the last, neighbours correlate.
CASES = [(1_000_000, 20, 2, 0), (200_000, 100, 2, 0), (50_000, 500, 2, 0), (100_000, 50, 10, 0), (200_000, 100, 2, 0.9)]
L2 = 1.0
GAP = 1e-8  # of the objective, relative: what everybody must reach


def objective(weight, bias, x, y):
    """Minus the penalised log-likelihood at weights (k or 1, d), whoever found them."""
    scores = x @ weight.T + bias
    scores = np.concatenate([np.zeros_like(scores), scores], 1) if scores.shape[1] == 1 else scores
    top = scores.max(1)
    evidence = top + np.log(np.exp(scores - top[:, None]).sum(1))
    return (evidence - scores[np.arange(len(y)), y]).sum() + L2 / 2 * (weight**2).sum()


def quick_enough(LogisticRegression, solver, x, y, least):
    """The loosest tolerance, a power of ten, at which a solver comes as near to the maximum as it must; and the fit."""
    for digits in range(4, 13):
        model = LogisticRegression(C=1 / L2, solver=solver, tol=10.0**-digits, max_iter=10_000)
        found = quietly(model.fit)(x, y)
        if abs(objective(found.coef_, found.intercept_, x, y) / least - 1) < GAP:
            return 10.0**-digits, functools.partial(quietly(model.fit), x, y)
    raise AssertionError(f"{solver} does not reach the maximum")


@pytest.mark.parametrize(("n", "d", "k", "correlation"), CASES)
def test_fit(beside, quick, x64, n, d, k, correlation):
    from sklearn.linear_model import LogisticRegression

    n, rng = n // 10 if quick else n, np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    for j in range(1, d if correlation else 0):
        x[:, j] = correlation * x[:, j - 1] + np.sqrt(1 - correlation**2) * x[:, j]
    y = (x @ rng.normal(size=(d, k)) / np.sqrt(d) + rng.gumbel(size=(n, k))).argmax(-1)
    start = dg.logistic_regression(d, k)

    def fit():
        return dg.fit(start, x, y, l2=L2).model

    best = dg.fit(start, x, y, l2=L2, tol=1e-14).model
    least = objective(np.asarray(best.scorer.weight), np.asarray(best.bias), x, y)
    ours = fit()
    gap = objective(np.asarray(ours.scorer.weight), np.asarray(ours.bias), x, y) / least - 1
    assert abs(gap) < GAP
    peers, tolerances = {}, {}
    for solver in ("newton-cholesky", "lbfgs"):
        tolerance, peer = quick_enough(LogisticRegression, solver, x, y, least)
        peers[f"scikit-learn, {solver}"], tolerances[solver] = peer, tolerance
    family = "logistic regression" + (", correlated columns" if correlation else "")
    beside(fit, peers, n=n, d=d, k=k, family=family, objective=least, gap=gap, tolerances=tolerances)
