"""Choosing between fitted models, and flagging rows that do not belong."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax._checks import as_model, as_weights, check_number, is_concrete, is_sequential
from dgjax._types import Generative
from dgjax._verbs import log_prob, num_parameters


def bic(
    model: Generative, x: ArrayLike, lengths: ArrayLike | None = None, *, weights: ArrayLike | None = None
) -> Array:
    """Bayesian information criterion, -2 sum_n w_n log p(x_n) + p log sum_n w_n, in nats: lower is better.

    `x` (n, d), or sequences (n, t, d) with `lengths` (n,), each of whose steps adds the sequence's weight to that sum;
    p is `num_parameters(model)`. `weights` (n,), 1 by default: a row of weight 2 is two rows. Source: Schwarz (1978).

    Raises ValueError for bad rows or weights, or none with a positive weight.
    """
    values, amounts, xp, dtype = _scored(model, x, lengths, weights)
    steps = np.shape(x)[1] if is_sequential(as_model(model)) else 1
    rows = (amounts * (steps if lengths is None else xp.asarray(lengths))).sum()
    return jnp.asarray(-2 * _total(values, amounts, xp) + num_parameters(model) * xp.log(rows), dtype)


def aic(
    model: Generative, x: ArrayLike, lengths: ArrayLike | None = None, *, weights: ArrayLike | None = None
) -> Array:
    """Akaike's information criterion, -2 sum_n w_n log p(x_n) + 2 p, in nats: lower is better.

    `x`, `lengths` and `weights` as for `bic`; p is `num_parameters(model)`. Source: Akaike (1974).

    Raises ValueError for bad rows or weights, or none with a positive weight.
    """
    values, amounts, xp, dtype = _scored(model, x, lengths, weights)
    return jnp.asarray(-2 * _total(values, amounts, xp) + 2 * num_parameters(model), dtype)


def anomaly_threshold(
    model: Generative,
    x: ArrayLike,
    false_alarm: float = 0.01,
    lengths: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """The log-probability under which a row is called unusual: a share `false_alarm` of the normal rows `x` lies below.

    `x` (n, d), best not the rows that the model was fitted to. Flag rows with `log_prob(model, new) < threshold`. It is
    the quantile of log p(x_n), straight between neighbours; minus infinity as long as the lower of the two is, for rows
    that the model holds impossible. `weights` (n,), 1 by default: a row of weight 2 is two rows.

    Raises ValueError if `false_alarm` is not between 0 and 1, or no row has a positive weight.
    """
    check_number(false_alarm, "false_alarm", 0, 1)
    if is_concrete(false_alarm) and false_alarm in (0, 1):
        raise ValueError(f"false_alarm must be between 0 and 1, a share of rows; got {false_alarm}.")
    values, amounts, xp, dtype = _scored(model, x, lengths, weights)
    return jnp.asarray(_quantile(values, amounts, false_alarm, xp), dtype)


def _quantile(values, weights, share, xp):
    """A quantile of weighted values: between the two whose places enclose share (total - 1), straight between them."""
    order = xp.argsort(values)
    values, up_to = values[order], xp.cumsum(weights[order])
    place = xp.maximum(share * (up_to[-1] - 1), 0)
    whole = xp.floor(place)
    at = xp.searchsorted(up_to, xp.stack([whole, whole + 1]), side="right")
    low, high = values[xp.minimum(at, len(values) - 1)]
    between = (place > whole) & xp.isfinite(low)
    return xp.where(between, low + (place - whole) * (xp.where(between, high, 0) - xp.where(between, low, 0)), low)


def _total(values, weights, xp):
    """sum_n w_n v_n, an impossible row of weight 0 being none."""
    return xp.where(weights > 0, weights * xp.where(weights > 0, values, 0), 0).sum()


class _Scored(NamedTuple):
    """log p of each row and its weight: where they are known in NumPy and float64, for long sums; and their dtype."""

    values: Any
    weights: Any
    xp: Any
    dtype: Any


def _scored(model, x, lengths, weights):
    values = log_prob(model, x, lengths)
    amounts = as_weights(weights, values)
    if not is_concrete(values, amounts):
        return _Scored(values, amounts, jnp, values.dtype)
    known = _Scored(np.asarray(values, float), np.asarray(amounts, float), np, values.dtype)
    if not known.weights.any():
        of = "" if weights is None else " with a positive weight"
        raise ValueError(f"x must have at least one row{of}; got none.")
    return known
