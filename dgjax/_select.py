"""Choosing between fitted models, and flagging rows that do not belong."""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax._checks import check_number
from dgjax._types import Generative
from dgjax._verbs import log_prob, num_parameters


def bic(model: Generative, x: ArrayLike, lengths: ArrayLike | None = None) -> Array:
    """Bayesian information criterion, -2 sum_n log p(x_n) + p log n, in nats: lower is better.

    `x` (n, d), or sequences (n, t, d) with `lengths` (n,), whose steps are the n of log n; p is
    `num_parameters(model)`. Source: Schwarz (1978).
    """
    values = _log_prob_of_some(model, x, lengths)
    *batch, _ = np.shape(x)
    rows = math.prod(batch) if lengths is None else int(np.sum(np.asarray(lengths)))
    return -2 * values.sum() + num_parameters(model) * math.log(rows)


def aic(model: Generative, x: ArrayLike, lengths: ArrayLike | None = None) -> Array:
    """Akaike's information criterion, -2 sum_n log p(x_n) + 2 p, in nats: lower is better. Source: Akaike (1974)."""
    return -2 * _log_prob_of_some(model, x, lengths).sum() + 2 * num_parameters(model)


def anomaly_threshold(
    model: Generative, x: ArrayLike, false_alarm: float = 0.01, lengths: ArrayLike | None = None
) -> Array:
    """The log-probability under which a row is called unusual: a share `false_alarm` of the normal rows `x` lies below.

    `x` (n, d), best not the rows that the model was fitted to. Flag rows with `log_prob(model, new) < threshold`.

    Raises ValueError if `false_alarm` is not between 0 and 1.
    """
    check_number(false_alarm, "false_alarm", 0, 1)
    if false_alarm in (0, 1):
        raise ValueError(f"false_alarm must be between 0 and 1, a share of rows; got {false_alarm}.")
    return jnp.quantile(_log_prob_of_some(model, x, lengths), false_alarm)


def _log_prob_of_some(model, x, lengths=None):
    values = log_prob(model, x, lengths)
    if not len(values):
        raise ValueError("x must have at least one row; got none.")
    return values
