"""Zero-copy prediction: linear scores of large NumPy arrays, read where they are, without a validation pass."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax._arguments import is_concrete
from dgjax.data import aligned, check_cells, float_type
from dgjax.densities import Bernoulli, Categorical, Mixture, Multinomial, Poisson
from dgjax.models import Logistic
from dgjax.scorers import Linear, LogLinear, Table


def labels(model: Any, x: Any) -> jax.Array | None:
    """Most probable labels (n,) of zero-copy rows; None if the rows cannot be read so, or the scores are not linear.

    Scores of counts and binary columns are linear up to a term common to all labels. (400,000, 20) in float64 with 5
    labels, on 2 cores: 4 ms, where copy, validation and scores take 25.
    """
    rows = type(x) is np.ndarray and kernels.can_read_rows(x) and jax.default_backend() == "cpu"
    scores = _linear(model) if rows and is_concrete(model, jnp.zeros(())) else None
    if scores is None or scores[0].shape[1] != x.shape[1]:
        return None
    best = aligned((len(x),), jax.dtypes.canonicalize_dtype(int))
    summary = kernels.linear_labels(x, *scores, float_type(x), best)
    if summary is None:
        return None
    check_cells(x, model.supports, summary, x)
    return jax.device_put(best, may_alias=True)


def _linear(model):
    """Weights (k, d) and bias (k,) of linear, finite scores of at least two classes; None if the model has no such
    form.
    """
    if isinstance(model, Logistic):
        bias, scorer = model.bias, model.scorer
    elif isinstance(model, Mixture) and isinstance(model.density, Bernoulli | Categorical | Multinomial | Poisson):
        if isinstance(model.density, Multinomial | Poisson):
            return _linear_in_counts(model)
        bias, scorer = model.density.discriminative()
        bias = bias + jax.nn.log_softmax(model.log_weights)
    else:
        return None
    if not isinstance(scorer, Linear | LogLinear | Table) or bias.ndim != 1:
        return None
    weight, bias = np.asarray(scorer.weight, float), np.asarray(bias, float)
    if isinstance(scorer, Table):  # of zeros and ones: w_0 + (w_1 - w_0) x
        if weight.shape[-1] != 2:
            return None
        none, one = np.moveaxis(weight, -1, 0)
        bias, weight = bias + none.sum(-1), one - none
    if len(bias) == 1 and isinstance(model, Logistic):  # of two classes
        bias, weight = np.concatenate([[0.0], bias]), np.concatenate([0 * weight, weight])
    return _if_finite(weight, bias)


def _linear_in_counts(model):
    """Weights (k, d) and bias (k,) of a model of counts, in float64: float32 loses nats at a million counts."""
    if len(model.density.label_shape) != 1:
        return None
    bias = np.asarray(model.log_weights, float)
    if isinstance(model.density, Poisson):
        weight = np.asarray(model.density.log_rate, float)
        with np.errstate(over="ignore"):
            return _if_finite(weight, bias - np.exp(weight).sum(-1))
    weight = np.asarray(model.density.logits, float)
    return _if_finite(weight - np.logaddexp.reduce(weight, -1, keepdims=True), bias)


def _if_finite(weight, bias):
    return (weight, bias) if np.isfinite(weight).all() and np.isfinite(bias).all() else None
