"""Logistic regression in plain NumPy and SciPy, float64, one row at a time: objective, gradient and maximum."""

import numpy as np
from scipy import optimize
from scipy.special import log_softmax, softmax


def features(row, quadratic):
    d = len(row)
    return np.array([*row, *([row[i] * row[j] for i in range(d) for j in range(i, d)] if quadratic else [])])


def objective(bias, weight, x, y, weights, l2, quadratic=False):
    """sum_n w_n log p(y_n | x_n) - l2 / 2 |weight|^2, and its gradient; one row is the log-odds of class 1."""
    value, gradient = -l2 / 2 * (weight**2).sum(), -l2 * np.column_stack([0 * bias, weight])
    for row, label, w in zip(x, y, weights, strict=True):
        phi = features(row, quadratic)
        scores = np.append(np.zeros(int(len(bias) == 1)), bias + weight @ phi)
        if label >= 0:
            value += w * log_softmax(scores)[label]
            slope = w * (np.eye(len(scores))[label] - softmax(scores))
            gradient = gradient + np.outer(slope[-len(bias) :], [1.0, *phi])
    return value, gradient


def maximum(k, x, y, weights, l2, quadratic=False):
    """Bias and weights at the maximum, started at 0."""
    shape = (1 if k == 2 else k, 1 + len(features(x[0], quadratic)))

    def downhill(theta):
        theta = theta.reshape(shape)
        value, gradient = objective(theta[:, 0], theta[:, 1:], x, y, weights, l2, quadratic)
        return -value, -gradient.ravel()

    best = optimize.minimize(downhill, np.zeros(np.prod(shape)), jac=True, method="BFGS", options={"gtol": 1e-9})
    return np.split(best.x.reshape(shape), [1], axis=1)
