"""Logistic regression to the same objective, beside every solver of scikit-learn that suits the case."""

import numpy as np
import pytest
from peers import quietly

import dgjax as dg

CASES = [(1_000_000, 20, 2), (200_000, 100, 2), (50_000, 500, 2), (100_000, 50, 10)]
L2 = 1.0


def objective(weight, bias, x, y):
    """Minus the penalised log-likelihood at weights (k or 1, d), whoever found them."""
    scores = x @ weight.T + bias
    scores = np.concatenate([np.zeros_like(scores), scores], 1) if scores.shape[1] == 1 else scores
    top = scores.max(1)
    evidence = top + np.log(np.exp(scores - top[:, None]).sum(1))
    return (evidence - scores[np.arange(len(y)), y]).sum() + L2 / 2 * (weight**2).sum()


@pytest.mark.parametrize(("n", "d", "k"), CASES)
def test_fit(beside, quick, x64, n, d, k):
    from sklearn.linear_model import LogisticRegression

    n, rng = n // 10 if quick else n, np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    y = (x @ rng.normal(size=(d, k)) / np.sqrt(d) + rng.gumbel(size=(n, k))).argmax(-1)
    start = dg.logistic_regression(d, k)

    def fit():
        return dg.fit(start, x, y, l2=L2, tol=1e-12).model

    solvers = ["newton-cholesky", "lbfgs"]
    peers = {s: quietly(LogisticRegression(C=1 / L2, solver=s, tol=1e-8, max_iter=1000).fit) for s in solvers}
    peers = {f"scikit-learn, {s}": (lambda f=f: f(x, y)) for s, f in peers.items()}
    model = fit()
    reached = objective(np.asarray(model.scorer.weight), np.asarray(model.bias), x, y)
    theirs = {name: peer() for name, peer in peers.items()}
    gaps = {name: objective(p.coef_, p.intercept_, x, y) / reached - 1 for name, p in theirs.items()}
    assert max(map(abs, gaps.values())) < 1e-6
    assert min(gaps.values()) > -1e-8
    beside(fit, peers, n=n, d=d, k=k, family="logistic regression", objective=reached)
