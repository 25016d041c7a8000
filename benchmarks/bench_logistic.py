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


def quick_enough(fit_to, least, x, y):
    """The loosest tolerance, a power of ten, at which a solver comes as near to the maximum as it must; and its gap."""
    for digits in range(4, 13):
        gap = objective(*fit_to(10.0**-digits), x, y) / least - 1
        if abs(gap) < GAP:
            return 10.0**-digits, gap
    raise AssertionError("a solver does not reach the maximum")


@pytest.mark.parametrize(("n", "d", "k", "correlation"), CASES)
def test_fit(beside, quick, x64, n, d, k, correlation):
    family = "logistic regression" + (", correlated columns" if correlation else "")
    compare(beside, n // 10 if quick else n, d, k, correlation, family=family)


def compare(beside, n, d, k, correlation, **facts):
    """A fit beside every solver that suits, each with its own tolerance for the maximum."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    for j in range(1, d if correlation else 0):
        x[:, j] = correlation * x[:, j - 1] + np.sqrt(1 - correlation**2) * x[:, j]
    y = (x @ rng.normal(size=(d, k)) / np.sqrt(d) + rng.gumbel(size=(n, k))).argmax(-1)
    start = dg.logistic_regression(d, k)

    def ours(tol):
        model = dg.fit(start, x, y, prior=dg.priors.Ridge(L2), method=dg.Newton(tol=tol)).model
        return np.asarray(model.scorer.weight), np.asarray(model.bias)

    def theirs(solver, tol):
        found = quietly(LogisticRegression(C=1 / L2, solver=solver, tol=tol, max_iter=10_000).fit)(x, y)
        return found.coef_, found.intercept_

    least = objective(*ours(1e-14), x, y)
    tolerance, gap = quick_enough(ours, least, x, y)
    peers, tolerances = {}, {"dgjax": tolerance}
    for solver in ("newton-cholesky", "lbfgs"):
        fit_to = functools.partial(theirs, solver)
        tolerances[solver], _ = quick_enough(fit_to, least, x, y)
        peers[f"scikit-learn, {solver}"] = functools.partial(fit_to, tolerances[solver])
    facts |= {"objective": least, "gap": gap, "tolerances": tolerances}
    beside(functools.partial(ours, tolerance), peers, n=n, d=d, k=k, **facts)
