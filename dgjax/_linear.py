"""Linear scores: where the log-odds of labels are linear in the cells, their weights and biases.

    log p(y | x) = w_y . x + b_y - log sum_y' exp(w_y' . x + b_y')        w, b in float64

Scores of counts and binary columns, and of normal ones with a shared covariance, are linear up to a term common to all
labels.
"""

from typing import Any

import numpy as np

from dgjax.densities import Bernoulli, Categorical, DiagonalGaussian, Gaussian, Mixture, Multinomial, Poisson
from dgjax.models import Logistic
from dgjax.scorers import CategoryWeights, Linear, LogLinear, Shifted

KEPT_OF_LABELS, KEPT = 1e-3, 1e-6  # nats that rounding may take from linear scores, at the most


def linear_scores(model: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Weights (k, d) and bias (k,) of scores linear in x; None if a model has no such form.

    The scores are finite, of at least two classes.
    """
    if isinstance(model, Mixture) and model.log_weights.ndim == 1:
        form = _linear_of_density(model.density)
        return form and _if_finite(form[0], form[1] + np.asarray(model.log_weights, float))
    if not isinstance(model, Logistic):
        return None
    form = _linear_of_scorer(model.scorer)
    if form is None:
        return None
    weight, bias = form[0], form[1] + np.asarray(model.bias, float)
    if len(bias) == 1:  # of two classes
        bias, weight = np.concatenate([[0.0], bias]), np.concatenate([0 * weight, weight])
    return _if_finite(weight, bias)


def _linear_of_density(density):
    """Weights (k, d) and bias (k,), in float64, of a density's log-odds where they are linear; else None."""
    if isinstance(density, Bernoulli | Categorical):
        return _linear_of_scorer(density.discriminative()[1])  # of a bias of 0
    if isinstance(density, Poisson):  # float32 loses nats at a million counts
        weight = np.asarray(density.log_rate, float)
        with np.errstate(over="ignore"):
            return weight, -np.exp(weight).sum(-1)
    if isinstance(density, Multinomial):
        weight = np.asarray(density.logits, float)
        return weight - np.logaddexp.reduce(weight, -1, keepdims=True), np.zeros(len(weight))
    if isinstance(density, Gaussian) and density.scale_tril.ndim == 2:
        apart, origin = _from_origin(density)
        z, weight = _whitened(np.asarray(density.scale_tril, float), apart)
        return weight, -0.5 * (z**2).sum(-1) - weight @ origin
    if isinstance(density, DiagonalGaussian) and density.log_scale.ndim == 1:
        apart, origin = _from_origin(density)
        with np.errstate(over="ignore", invalid="ignore"):
            weight = apart / np.exp(2 * np.asarray(density.log_scale, float))
            return weight, -weight @ origin - 0.5 * (weight * apart).sum(-1)
    return None


def _from_origin(density):
    """Means (k, d) about the mean of the means, and that origin (d,)."""
    mean = np.asarray(density.mean, float)
    origin = mean.mean(0)
    return mean - origin, origin


def _whitened(L, r):
    """z = L^-1 r and w = L^-T z, for rows r (k, d), by substitution, not LAPACK: see `worth.spinning`."""
    z, w = np.zeros(r.shape), np.zeros(r.shape)
    for j in range(len(L)):
        z[:, j] = (r[:, j] - z[:, :j] @ L[j, :j]) / L[j, j]
    for j in reversed(range(len(L))):
        w[:, j] = (z[:, j] - w[:, j + 1 :] @ L[j + 1 :, j]) / L[j, j]
    return z, w


def _linear_of_scorer(scorer):
    """Weights (k, d) and bias (k,), in float64, of a scorer with labels (k,) that is linear; else None."""
    if isinstance(scorer, Shifted):
        form = _linear_of_scorer(scorer.scorer)
        return form and (form[0], form[1] - form[0] @ np.asarray(scorer.offset, float))
    if not isinstance(scorer, Linear | LogLinear | CategoryWeights):
        return None
    weight = np.asarray(scorer.weight, float)
    if not isinstance(scorer, CategoryWeights):
        return weight, np.zeros(len(weight))
    if weight.shape[-1] != 2:  # of zeros and ones: w_0 + (w_1 - w_0) x
        return None
    none, one = np.moveaxis(weight, -1, 0)
    return one - none, none.sum(-1)


def _if_finite(weight, bias):
    fits = weight.ndim == 2 and bias.ndim == 1
    return (weight, bias) if fits and np.isfinite(weight).all() and np.isfinite(bias).all() else None
