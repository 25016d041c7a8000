"""A fit that says it converged is at the maximum, where few rows make it or a penalty is of columns in other units."""

import warnings

import numpy as np
import pytest
from logistic_oracle import features

import dgjax as dg

N = 300


def labels(scores, rng):
    return (rng.random(len(scores)) < 1 / (1 + np.exp(-scores))).astype(int)


def heavy_tails(seed, n=N, d=2):
    rng = np.random.default_rng(seed)
    x = rng.standard_cauchy((n, d)) ** 3
    return x, labels(np.arctan(x[:, 0]), rng), np.ones(n)


def nearly_separated():
    x = np.random.default_rng(1).normal(size=(N, 2))
    return x, (x[:, 0] > 0).astype(int), np.ones(N)


def weights_on_few(small):
    """60 of 2,000 rows count, and their columns are in units of 1e5."""
    rng = np.random.default_rng(2)
    x, weights, counted = rng.normal(size=(2000, 4)), np.full(2000, small), rng.choice(2000, 60, replace=False)
    x[counted], weights[counted] = 1e5 * x[counted], 1.0
    return x, labels(x @ [1, -1, 0.5, 0] / 1e5, rng), weights


def in_units(offset, ratio):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, 3))
    return (x + offset) * [1 / ratio, 1, ratio], labels(x.sum(1), rng), np.ones(N)


def products(first):
    """Columns 100 spreads away, one of them constant or nearly another, in few rows that count for many."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(64, 3))
    x = z + np.array([10, -100, 30])
    x[:, 0] = first if first else x[:, 1] + 1e-3 * z[:, 0]
    y = labels(z[:, 0] + z[:, 1] ** 2 - z[:, 1] * z[:, 2] / 2, rng)
    return x.astype("float32"), y, np.full(64, 1000.0, "float32")


def maximum(x, y, weights, l2, quadratic):
    """Newton's method, float64: columns scaled, the Hessian's own diagonal 1, its steps halved until they gain."""
    phi = np.array([[1.0, *features(row.astype(float), quadratic)] for row in x])
    unit = np.abs(phi).max(0)
    phi, sign, penalty = phi / unit, 2 * y - 1, l2 * np.r_[0, np.ones(phi.shape[1] - 1)] / unit**2

    def loss(w):
        return (weights * np.logaddexp(0, -sign * (phi @ w))).sum() + (penalty * w**2).sum() / 2

    w = np.zeros(phi.shape[1])
    for _ in range(300):
        p = 1 / (1 + np.exp(np.clip(-(phi @ w), -700, 700)))
        gradient = phi.T @ (weights * (p - (y == 1))) + penalty * w
        hessian = (phi * (weights * p * (1 - p))[:, None]).T @ phi + np.diag(penalty)
        own = np.sqrt(np.maximum(np.diag(hessian), 1e-300))
        step = -np.linalg.lstsq(hessian / own / own[:, None], gradient / own, rcond=1e-15)[0] / own
        here = loss(w)
        length = next((t for t in 0.5 ** np.arange(40) if loss(w + t * step) < here), 0)
        if not length:
            break
        w = w + length * step
    return -loss(w)


CASES = {
    "heavy tails": (heavy_tails(5), 0.0, False),
    "heavy tails, of few": (heavy_tails(1), 0.0, False),
    "heavy tails, sampled": (heavy_tails(3, 40_000, 10), 0.0, False),
    "nearly separated": (nearly_separated(), 1e-8, False),
    "nearly separated, less": (nearly_separated(), 1e-6, False),
    "weights on few rows": (weights_on_few(1e-6), 1e-12, False),
    "rows of weight 0": (weights_on_few(0.0), 1e-12, False),
    "products with units": (in_units(0, 1e6), 0.1, True),
    "products with units, far out": (in_units(30, 1e6), 0.1, True),
}


SLOW = (
    "heavy tails, sampled",
    "heavy tails, of few",
    "nearly separated, less",
    "rows of weight 0",
    "products with units",
)


@pytest.mark.parametrize("method", [None, pytest.param(dg.LBFGS(), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES])
def test_what_converged_is_the_maximum(name, method, x64):
    (x, y, weights), l2, quadratic = CASES[name]
    largest = maximum(x, y, weights, l2, quadratic)
    start = dg.logistic_regression(x.shape[1], 2, "quadratic" if quadratic else "linear")
    fitted = dg.fit(start, x, y, method, weights=weights, prior=dg.priors.Ridge(l2))
    assert fitted.converged
    assert (largest - float(fitted.objective[-1])) / weights.sum() <= 1.3e-6


@pytest.mark.parametrize("first", [0.28, pytest.param(None, marks=pytest.mark.slow)])
def test_products_of_columns_are_learnt_to_the_end_in_float32(first):
    """A constant column and the bias are one, or a Hessian has no digits: 1e-4 of a nat a row short, and converged."""
    x, y, weights = products(first)
    fitted = dg.fit(dg.logistic_regression(3, 2, "quadratic"), x, y, weights=weights, prior=dg.priors.Ridge(1.0))
    assert fitted.converged
    assert (maximum(x, y, weights.astype(float), 1.0, True) - float(fitted.objective[-1])) / weights.sum() <= 2e-6


def test_three_classes_that_touch_are_fitted_to_the_end():
    """A few rows make the Hessian: Newton's steps promised nothing where 9e-6 of 1.3e-5 nats a row were to gain."""
    for seed in range(2):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(N, 4)).astype("float32")
        y, strength = (x @ rng.normal(size=(4, 3))).argmax(1), 1e-8
        phi, ridge = np.c_[np.ones(N), x].astype(float), strength * np.diag(np.repeat([0.0, 1, 1, 1, 1], 3))

        def loss(w, phi=phi, y=y, ridge=ridge):
            scores = phi @ w.reshape(5, 3)
            gap = scores - scores[np.arange(N), y][:, None]
            return np.log1p(np.exp(gap).sum(1) - 1).sum() + w @ ridge @ w / 2

        w = np.zeros(15)
        for _ in range(100):
            p = np.exp(phi @ w.reshape(5, 3) - (phi @ w.reshape(5, 3)).max(1, keepdims=True))
            p = p / p.sum(1, keepdims=True)
            gradient = (phi.T @ (p - np.eye(3)[y])).ravel() + ridge @ w
            covariance = p[:, :, None] * np.eye(3) - p[:, :, None] * p[:, None]
            hessian = np.einsum("ni,nj,nkl->ikjl", phi, phi, covariance).reshape(15, 15) + ridge
            step = np.linalg.lstsq(hessian, gradient, rcond=1e-14)[0]
            w = w - next((t for t in 0.5 ** np.arange(30) if loss(w - t * step) < loss(w)), 0) * step
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.ConvergenceWarning)
            fit = dg.fit(dg.logistic_regression(4, 3), x, y, prior=dg.priors.Ridge(strength))
        found = np.column_stack([fit.model.bias, fit.model.scorer.weight]).astype(float).T.ravel()
        assert loss(found) - loss(w) < 1e-6 * N
