"""Model selection by BIC and AIC, and thresholds of log-probability for anomaly detection."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax._arguments import check_number, is_concrete, placed
from dgjax._types import Generative
from dgjax._verbs import log_prob_in_form, num_parameters
from dgjax.data import as_model, as_weights
from dgjax.learning import in_component_class
from dgjax.sparse import RowsLike
from dgjax.tables import of_tables


@of_tables()
def bic(model: Generative, x: RowsLike, lengths: ArrayLike | None = None, *, weights: ArrayLike | None = None) -> Array:
    """Bayesian information criterion, -2 sum_n w_n log p(x_n) + p log sum_n w_n, in nats: lower is better.

    `x` (n, d), or sequences (n, t, d) with `lengths` (n,); in the second sum every step of a sequence counts. Without
    `lengths` steps that only pad, all NaN beyond an end, count too and make p dearer: give them. p is
    `num_parameters(model)`. `weights` (n,), 1 by default: a row of weight 2 is two rows. Source: Schwarz (1978).

    Raises ValueError for bad rows or weights, none with a positive weight, or weights of several rows that add to no
    more than one row, of which the logarithm would reward parameters.
    """
    scored = _scored(model, x, lengths, weights)
    values, amounts, xp, _ = scored
    given: Any = x
    steps = np.shape(given)[1] if as_model(model).sequential else 1
    rows = (amounts * (steps if lengths is None else xp.asarray(lengths))).sum()
    if xp is np and (amounts > 0).sum() > 1 and rows < 1.001:
        raise ValueError(
            f"weights say how many rows a row counts for, and must add to more than 1; got {rows:.3g}. Type "
            "np.multiply(weights, len(weights) / np.sum(weights)) for as many rows as there are."
        )
    return scored.result(-2 * _total(values, amounts, xp) + num_parameters(model) * xp.log(rows))


@of_tables()
def aic(model: Generative, x: RowsLike, lengths: ArrayLike | None = None, *, weights: ArrayLike | None = None) -> Array:
    """Akaike's information criterion, -2 sum_n w_n log p(x_n) + 2 p, in nats: lower is better.

    `x` (n, d), or sequences (n, t, d) with `lengths` (n,); p is `num_parameters(model)`. `weights` (n,), 1 by default:
    a row of weight 2 is two rows. Source: Akaike (1974).

    Raises ValueError for bad rows or weights, or none with a positive weight.
    """
    scored = _scored(model, x, lengths, weights)
    return scored.result(-2 * _total(*scored[:3]) + 2 * num_parameters(model))


@of_tables()
def anomaly_threshold(
    model: Generative,
    x: RowsLike,
    false_alarm: float = 0.01,
    lengths: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """Threshold (a scalar, in nats) below which a share `false_alarm` of normal rows `x` have their log p(x_n).

    `x` (n, d), or sequences with `lengths`; better rows that the model was not fitted to. Flag new rows with
    `log_prob(model, new) < threshold`. It is the largest threshold below which at most this share of the weight of `x`
    lies, one of the log p(x_n). `weights` (n,), 1 by default: a row of weight 2 is two rows, and their scale does not
    matter.

    Raises ValueError if `false_alarm` is not between 0 and 1, or no row has a positive weight.
    """
    check_number(false_alarm, "false_alarm", 0, 1)
    if is_concrete(false_alarm) and false_alarm in (0, 1):
        raise ValueError(f"false_alarm must be between 0 and 1, a share of rows; got {false_alarm}.")
    scored = _scored(model, x, lengths, weights)
    values, amounts, xp, _ = scored
    return scored.result(_quantile(values, amounts, false_alarm, xp))


def _quantile(values, weights, share, xp):
    """Weighted upper quantile (a scalar) of values (n,), that of a `share` of the weight.

    It is the least of them up to which more than `share` of the weight lies. Sums of weights are rounded, so that a
    share is more than another only by more than rounding.
    """
    order = xp.argsort(values)
    up_to = xp.cumsum(weights[order])
    rounding = float(xp.finfo(up_to.dtype).eps) ** 0.75
    at = xp.searchsorted(up_to / up_to[-1], share + rounding, side="right")
    return values[order][xp.minimum(at, len(values) - 1)]


def _total(values, weights, xp):
    """Weighted sum sum_n w_n v_n, in which a row of weight 0 adds 0 even if its value is minus infinity."""
    return (weights * xp.where(weights > 0, values, 0)).sum()


class _Scored(NamedTuple):
    """Log-probabilities and weights of rows, each (n,), and the former as `log_prob` has them.

    Concrete ones are NumPy float64, for long sums.
    """

    values: Any
    weights: Any
    xp: Any
    given: Array

    def result(self, value: Any) -> Array:
        """Result of the precision and on the device of the log-probabilities."""
        if self.xp is jnp:
            return jnp.asarray(value, self.given.dtype)
        return placed(np.asarray(value, self.given.dtype), self.given)


def _scored(model, x, lengths, weights):
    values = log_prob_in_form(model, x, lengths, in_component_class)
    amounts = as_weights(weights, values)
    if not is_concrete(values, amounts):
        return _Scored(values, jnp.asarray(amounts), jnp, values)
    known = _Scored(np.asarray(values, float), np.asarray(amounts, float), np, values)
    if not known.weights.any():
        of = "" if weights is None else " with a positive weight"
        raise ValueError(f"x must have at least one row{of}; got none.")
    return known
