"""Identifiability of softmax weights: at a penalised maximum, weights sum to 0 over classes.

A part common to all classes changes no probability and costs penalty only. From a start where weights do not sum to 0,
only the penalty would move them, whose curvature beside that of a column in large units is less than rounding: in
float32 such a fit ended as converged 0.003 nats from the maximum.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from dgjax._arguments import is_concrete
from dgjax.models import LinearChainCRF, Logistic
from dgjax.scorers import (
    CategoryWeights,
    ColumnScorers,
    DiagonalQuadratic,
    Indicators,
    LatentChain,
    LatentScorer,
    Linear,
    LogLinear,
    Quadratic,
    Shifted,
)


def sum_to_zero(model: Any, strength: Array) -> Any:
    """The model with weights that sum to 0 over labels, and the same p(y | x); unchanged without a penalty."""
    if (is_concrete(strength) and not float(strength)) or type(model) not in _centred.registry:
        return model
    return _centred(model, strength)


def contrast(model: Any, change: Array) -> Array:
    """A parameter change (p,) without the part that is common to all classes, which does not change p(y | x).

    Newton's method sees that direction by its ridge alone, and would move along it by multiples of rounding: initial
    scores of a CRF came to -10,890 and -10,906, whose difference has three digits left in float32.
    """
    if not isinstance(model, Logistic | LinearChainCRF) or model.scorer.label_shape[0] == 1:
        return change
    vector, unravel = ravel_pytree(model)
    free = jnp.isfinite(vector)
    part = unravel(jnp.where(free, change, -jnp.inf))
    if isinstance(part, Logistic):
        own: Any = Logistic(_less_mean(part.bias, (0,), 1.0), _centred(part.scorer, 1.0))
    else:
        inner = _centred(part, 1.0)
        own = LinearChainCRF(_less_mean(part.initial, (0,), 1.0), inner.transition, inner.scorer)
    return jnp.where(free, ravel_pytree(own)[0], change)


@functools.singledispatch
def _centred(part: Any, strength: Array | float) -> Any:
    """A scorer, or model, with weights that sum to 0 over labels; one of an unknown class is returned unchanged."""
    del strength
    return part


@_centred.register
def _(
    part: Linear | DiagonalQuadratic | Quadratic | LogLinear | CategoryWeights | Indicators, strength: Array | float
) -> Any:
    """Weights of a scorer less their mean over labels; those of a single label, the log-odds of two classes, stay."""
    if part.label_shape[0] == 1:
        return part
    axes = tuple(range(len(part.label_shape)))
    return jax.tree.map(lambda weights: _less_mean(weights, axes, strength), part)


@_centred.register
def _(part: Logistic, strength: Array | float) -> Logistic:
    return Logistic(part.bias, _centred(part.scorer, strength))


@_centred.register
def _(part: LinearChainCRF, strength: Array | float) -> LinearChainCRF:
    """Transition scores less their mean: all paths of a sequence have as many moves, so a common part cancels."""
    return LinearChainCRF(part.initial, _less_mean(part.transition, (0, 1), strength), _centred(part.scorer, strength))


@_centred.register
def _(part: Shifted, strength: Array | float) -> Shifted:
    return Shifted(part.offset, _centred(part.scorer, strength))


@_centred.register
def _(part: LatentScorer, strength: Array | float) -> LatentScorer:
    return LatentScorer(part.bias, _centred(part.scorer, strength))


@_centred.register
def _(part: LatentChain, strength: Array | float) -> LatentChain:
    every = tuple(range(part.transition.ndim))
    return LatentChain(part.initial, _less_mean(part.transition, every, strength), _centred(part.scorer, strength))


@_centred.register
def _(part: ColumnScorers, strength: Array | float) -> ColumnScorers:
    return ColumnScorers(tuple(_centred(own, strength) for own in part.scorers), part.columns)


def _less_mean(weights, axes, strength):
    """Weights less their mean over the given axes, structural zeros left out; unchanged if strength is 0.

    By NumPy where values are concrete, as most weights are 0 and nothing has to be compiled.
    """
    known = is_concrete(weights, strength)
    if known and not np.asarray(weights).any():
        return weights
    xp: Any = np if known else jnp
    given, strength = (np.asarray(weights), np.asarray(strength)) if known else (weights, strength)
    possible = xp.isfinite(given)
    count = xp.maximum(possible.sum(axes, keepdims=True), 1)
    mean = (xp.where(possible, given, 0).sum(axes, keepdims=True) / count).astype(given.dtype)
    less = xp.where(strength > 0, given - mean, given)
    return jax.device_put(less) if known else less
