"""Means and quantiles of single columns of a mixture of labels, whose weights are those of each forecast."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from dgjax import _answers
from dgjax.densities import Categorical, Columns, Density, DiagonalGaussian, FactorGaussian, Gaussian, Mixture

DRAWS = 10_000  # from each label, of a column that is neither normal nor of whole numbers
HALVINGS = 60
BEYOND = 1e-7  # share of a label's numbers above the largest that is looked at
MOST = 1 << 20  # numbers that are looked at


class Normals(NamedTuple):
    """Column that is normal, or a mixture of normals, given the label: weights, means and spreads, each (k, m)."""

    weights: np.ndarray
    means: np.ndarray
    spreads: np.ndarray

    def mean(self, proba: np.ndarray) -> np.ndarray:
        """Mean (...) under probabilities (..., k) of the labels."""
        return proba @ (self.weights * self.means).sum(1)

    def quantile(self, proba: np.ndarray, share: float) -> np.ndarray:
        """Quantile (...) of a share, by bisection between those of the single normals."""
        weights = (proba[..., None] * self.weights).reshape(*proba.shape[:-1], -1)
        means, spreads = self.means.ravel(), self.spreads.ravel()
        each = means + spreads * _in_double(ndtri, share)
        some = weights > 0
        low, high = np.where(some, each, np.inf).min(-1), np.where(some, each, -np.inf).max(-1)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = (weights * _in_double(ndtr, (middle[..., None] - means) / spreads)).sum(-1) < share
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2


class Numbers(NamedTuple):
    """Column by the numbers that it may be (m,), in order, and their probabilities given each label (k, m)."""

    places: np.ndarray
    shares: np.ndarray

    def mean(self, proba: np.ndarray) -> np.ndarray:
        """Mean (...) under probabilities (..., k) of the labels."""
        return proba @ (self.shares @ self.places)

    def quantile(self, proba: np.ndarray, share: float) -> np.ndarray:
        """Least of the numbers up to which at least a share of the probability lies (...)."""
        up_to = self.shares.cumsum(1)

        def one(weights):
            return self.places[min(np.searchsorted(weights @ up_to, share - 1e-9), len(self.places) - 1)]

        return np.apply_along_axis(one, -1, proba)


def column_of(density: Density, column: int) -> Normals | Numbers:
    """Distribution of a column given each label of a density.

    Exact if it is normal or of whole numbers, else of `DRAWS` draws of each label. Raises ValueError for categories.
    """
    normals = _normals(density, column)
    if normals is not None:
        k = density.label_shape[0]
        return Normals(*(np.asarray(own, float).reshape(k, -1) for own in normals))
    if _is_categorical(density, column):
        raise ValueError(
            f"column {column} holds categories, which have no mean and no quantiles. Leave it out: columns=[...]; "
            "their probabilities are exp of jax.vmap(jax.vmap(dgjax.log_prob))(forecast.rows, new)."
        )
    supports = density.supports
    support = supports[column if len(supports) > 1 else 0]
    return _whole(density, column, support) if support.whole and support.low == 0 else _drawn(density, column)


def _in_double(function, values):
    with jax.enable_x64(True):
        return np.asarray(function(np.asarray(values, float)))


def _normals(density, column):
    """Weights, means and spreads (*labels) of a column that is normal under every label; None of another."""
    match density:
        case Gaussian():
            spread = np.linalg.norm(np.tril(np.asarray(density.scale_tril, float))[..., column, :], axis=-1)
            spread = spread.reshape(*spread.shape, *[1] * (len(density.label_shape) - spread.ndim))
        case DiagonalGaussian():
            scale = np.asarray(density.log_scale, float)
            own = scale[..., column if scale.shape[-1] > 1 else 0]
            spread = np.exp(own.reshape(*own.shape, *[1] * (len(density.label_shape) - own.ndim)))
        case FactorGaussian():
            return _normals(density.as_gaussian(), column)
        case Columns():
            return _normals(*_block(density, column))
        case Mixture():
            found = _normals(density.density, column)
            if found is None:
                return None
            logs = np.asarray(density.log_weights, float)
            shares = np.exp(logs - logs.max(-1, keepdims=True))
            return found[0] * shares / shares.sum(-1, keepdims=True), *found[1:]
        case _:
            return None
    means = np.asarray(density.mean, float)[..., column]
    return np.ones(means.shape), means, np.broadcast_to(spread, means.shape)


def _block(density, column):
    """Block of a density of columns, and the column's number in it."""
    blocks = zip(density.blocks, density.columns, strict=True)
    return next((block, own.index(column)) for block, own in blocks if column in own)


def _is_categorical(density, column):
    if isinstance(density, Columns):
        return _is_categorical(*_block(density, column))
    if isinstance(density, Mixture):
        return _is_categorical(density.density, column)
    return isinstance(density, Categorical)


def _whole(density, column, support):
    """Column of whole numbers from 0: all but the last `BEYOND` of their probability under each label."""
    one: Any = density.marginal((column,))
    top = 15
    while True:
        top = int(min(top, support.high))
        places = np.arange(top + 1.0)
        shares = np.exp(_answers.label_scores(one, places[:, None])).T
        if top >= min(support.high, MOST) or shares.sum(1).min() >= 1 - BEYOND:
            return Numbers(places, shares / shares.sum(1, keepdims=True))
        top = 2 * top + 1


def _drawn(density, column):
    """Column by draws: all of them are places, each with its share under the label that it was drawn from."""
    k = density.label_shape[0]
    labels = np.repeat(np.arange(k), DRAWS)
    drawn = np.asarray(density.sample(jax.random.key(0), (jnp.asarray(labels),)), float)[:, column]
    order = drawn.argsort(kind="stable")
    return Numbers(drawn[order], (labels[order] == np.arange(k)[:, None]) / DRAWS)
