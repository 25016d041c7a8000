"""Information criteria, and thresholds and p-values of log-probabilities for anomaly detection."""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax._arguments import check_number, is_concrete, placed
from dgjax._elsewhere import told_keywords
from dgjax._types import Discriminative, Generative
from dgjax._verbs import (
    log_conditional,
    log_joint,
    log_prob_in_form,
    num_parameters,
    predict_log_proba,
    require_generative,
)
from dgjax.data import Data, as_model, as_weights
from dgjax.learning import in_component_class
from dgjax.sparse import RowsLike
from dgjax.streams import Passes, check_beside, named, of_streams
from dgjax.structures import Sequences
from dgjax.tables import of_tables


@told_keywords
@of_tables()
def bic(
    model: Generative | Discriminative,
    x: RowsLike | Passes,
    lengths: ArrayLike | None = None,
    *,
    y: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Array:
    """Bayesian information criterion, -2 sum_n w_n log p(x_n) + p log sum_n w_n, in nats: lower is better.

    `x` (n, d), or sequences (n, t, d) with `lengths` (n,); in the second sum every step of a sequence counts. Without
    `lengths` steps that only pad, all NaN beyond an end, count too and make p dearer: give them. p is
    `num_parameters(model)`. With labels `y`, -1 where unknown, it is of log p(x_n, y_n), and of a discriminative model,
    which needs them, of log p(y_n | x_n) of the rows that have one. `weights` (n,), 1 by default: a row of weight 2 is
    two rows. Of a `dgjax.stream` it is of one pass, with the labels and weights of the stream. Source: Schwarz (1978).

    Raises ValueError for bad rows, labels or weights, none with a positive weight, or weights of several rows that add
    to no more than one row, of which the logarithm would reward parameters.
    """
    scored = _scored(model, x, lengths, weights, y)
    return scored.result(-2 * scored.total() + num_parameters(model) * scored.xp.log(scored.checked_rows()))


@told_keywords
@of_tables()
def aic(
    model: Generative | Discriminative,
    x: RowsLike | Passes,
    lengths: ArrayLike | None = None,
    *,
    y: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Array:
    """Akaike's information criterion, -2 sum_n w_n log p(x_n) + 2 p, in nats: lower is better.

    `x` (n, d), or sequences (n, t, d) with `lengths` (n,); p is `num_parameters(model)`. With labels `y`, -1 where
    unknown, it is of log p(x_n, y_n), and of a discriminative model, which needs them, of log p(y_n | x_n). `weights`
    (n,), 1 by default: a row of weight 2 is two rows. Source: Akaike (1974).

    Raises ValueError for bad rows, labels or weights, or none with a positive weight.
    """
    scored = _scored(model, x, lengths, weights, y)
    return scored.result(-2 * scored.total() + 2 * num_parameters(model))


@told_keywords
@of_tables()
def icl(
    model: Generative,
    x: RowsLike | Passes,
    lengths: ArrayLike | None = None,
    *,
    y: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Array:
    """Integrated completed likelihood, bic - 2 sum_n w_n sum_k p(k | x_n) log p(k | x_n), in nats: lower is better.

    The BIC plus twice the entropy of the labels given the rows: components that overlap cost, so that it counts
    clusters where the BIC counts components of a density. Arguments are those of `bic`; labels `y` that are known have
    no entropy. Of sequences it is for models with one label for each. Source: Biernacki, Celeux and Govaert (2000), in
    the form with the entropy of McLachlan and Peel (2000), Finite mixture models, section 6.10.

    Raises ValueError as `bic` does, and for a model with a label at each step, whose paths have no posterior of labels.
    """
    checked = require_generative(model)
    if checked.sequential and not checked.one_label:
        raise ValueError(
            f"icl is for models with one label for each row or sequence; a {type(model).__name__} has one at each "
            "step. Type dgjax.bic(model, x, lengths)."
        )
    scored = _scored(model, x, lengths, weights, y, _completed)
    return scored.result(-2 * scored.total() + num_parameters(model) * scored.xp.log(scored.checked_rows()))


@told_keywords
@of_tables()
def anomaly_threshold(
    model: Generative,
    x: RowsLike | Passes,
    false_alarm: float = 0.01,
    lengths: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """Threshold (a scalar, in nats) below which a share `false_alarm` of normal rows `x` have their log p(x_n).

    `x` (n, d), or sequences with `lengths`, that the model was not fitted to: of those that it was, log p is too high,
    and new rows are flagged more often than was asked for. Flag new rows with `log_prob(model, new) < threshold`; where
    the rate is to be kept however few rows there are, by `anomaly_pvalue`. It is the largest threshold below which at
    most this share of the weight of `x` lies, one of the log p(x_n). `weights` (n,), 1 by default: a row of weight 2 is
    two rows, and their scale does not matter.

    Raises ValueError if `false_alarm` is not between 0 and 1, or no row has a positive weight.
    """
    check_number(false_alarm, "false_alarm", 0, 1)
    if is_concrete(false_alarm) and false_alarm in (0, 1):
        raise ValueError(f"false_alarm must be between 0 and 1, a share of rows; got {false_alarm}.")
    require_generative(model)
    scored = _scored_rows(model, x, lengths, weights)
    return scored.result(_quantile(scored.values, scored.weights, false_alarm, scored.xp))


@of_streams()
@told_keywords
@of_tables()
def anomaly_pvalue(
    model: Generative,
    calibration: RowsLike,
    x: RowsLike,
    lengths: ArrayLike | None = None,
    *,
    calibration_lengths: ArrayLike | None = None,
) -> Array:
    """Conformal p-value (n,) of each row: (1 + #{m: log p(c_m) <= log p(x_n)}) / (1 + number of calibration rows c).

    `calibration` (m, d) are normal rows that the model was not fitted to, `x` (n, d) new ones; or sequences, with
    `calibration_lengths` and `lengths`. Of a new row that is normal, exchangeable with those of the calibration, the
    p-value is at most a with a probability of at most a, whatever the model: flag rows with p-values up to 0.05, and 5
    % of the normal ones are flagged, in the mean over calibrations. The least value there can be is 1 / (1 + m). On
    rows that the model was fitted to no such promise holds, for their log p is too high.

    Raises ValueError for bad rows, no row of calibration, or a discriminative model.
    Source: Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world; Laxhammar and Falkman (2010).
    """
    known: Any = log_prob_in_form(model, calibration, calibration_lengths, in_component_class)
    if not len(known):
        raise ValueError(
            "calibration must have at least one row, of those that the model was not fitted to; got none. Type "
            "dgjax.anomaly_pvalue(model, calibration=x_held_out, x=x_new)."
        )
    values: Any = log_prob_in_form(model, x, lengths, in_component_class)
    xp: Any = np if is_concrete(known, values) else jnp
    ordered = xp.sort(xp.asarray(known))
    counted = (1 + xp.searchsorted(ordered, xp.asarray(values), side="right")) / (1 + len(known))
    return placed(counted.astype(values.dtype), values) if xp is np else counted.astype(values.dtype)


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
    """Log-probabilities and weights of rows, each (n,), numbers of steps (n,), and the log-probabilities as given.

    Concrete ones are NumPy float64, for long sums. `counted` is the number of rows of positive weight, where each of
    these stands for several.
    """

    values: Any
    weights: Any
    steps: Any
    xp: Any
    given: Array
    counted: int | None = None

    def total(self) -> Any:
        """Weighted log-likelihood of all rows."""
        return _total(self.values, self.weights, self.xp)

    def checked_rows(self) -> Any:
        """Weighted number of rows, or of steps. Raises ValueError for several that add to no more than one."""
        rows = (self.weights * self.steps).sum()
        if self.xp is np and rows < 1.001 and ((self.weights > 0).sum() if self.counted is None else self.counted) > 1:
            raise ValueError(
                f"weights say how many rows a row counts for, and must add to more than 1; got {rows:.3g}. Type "
                "np.multiply(weights, len(weights) / np.sum(weights)) for as many rows as there are."
            )
        return rows

    def result(self, value: Any) -> Array:
        """Result of the precision and on the device of the log-probabilities."""
        if self.xp is jnp:
            return jnp.asarray(value, self.given.dtype)
        return placed(np.asarray(value, self.given.dtype), self.given)


def _completed(model, x, lengths, weights, y):
    """Log-probabilities of rows less the entropy of their labels, which is none where these are known."""
    logs: Any = predict_log_proba(model, x, lengths, y=y)
    scored = _scored_rows(model, x, lengths, weights, y)
    logs = scored.xp.asarray(logs, scored.values.dtype)
    entropy = -(scored.xp.exp(logs) * scored.xp.where(logs > -np.inf, logs, 0)).sum(-1)
    return scored._replace(values=scored.values - entropy)


def _scored_rows(model, x, lengths, weights, y=None):
    if isinstance(x, Passes):
        blocks = _by_blocks(model, x, (lengths, weights, y), _scored_rows, _arrays)
        values, amounts, steps = (np.concatenate(own) for own in list(zip(*blocks, strict=True))[:3])
        return _Scored(values, amounts, steps, np, blocks[0][3])
    checked, given = as_model(model), x
    if y is None and checked.generative:
        values = log_prob_in_form(model, x, lengths, in_component_class)
    elif y is None:
        raise ValueError(
            f"{type(model).__name__} is discriminative: it knows p(y | x), of labels y; got None. Type y=y, "
            "or ask a generative model, which knows p(x)."
        )
    else:
        values = (log_joint if checked.generative else log_conditional)(model, x, y, lengths)
    amounts = as_weights(weights, values)
    whole: Any = np.shape(given)[1] if checked.sequential else 1
    known = is_concrete(values, amounts, lengths, y)
    xp: Any = np if known else jnp
    steps = xp.full(len(values), whole) if lengths is None else xp.asarray(lengths)
    if y is not None and not checked.generative:
        labelled = xp.asarray(y) >= 0
        steps = (steps if labelled.ndim == 1 else 1) * labelled.reshape(len(values), -1).sum(-1)
        amounts = xp.where(steps > 0, amounts, 0)
    if not known:
        return _Scored(values, jnp.asarray(amounts), steps, jnp, values)
    scored = _Scored(np.asarray(values, float), np.asarray(amounts, float), steps, np, values)
    if not scored.weights.any():
        of = "" if weights is None else " with a positive weight"
        raise ValueError(f"x must have at least one row{of}; got none.")
    return scored


def _scored(model, x, lengths, weights, y=None, of_rows=_scored_rows):
    """Log-probabilities of rows, or what `of_rows` makes of them; of a stream those of each block as of one row."""
    if not isinstance(x, Passes):
        return of_rows(model, x, lengths, weights, y)
    totals, rows, counted, given = zip(*_by_blocks(model, x, (lengths, weights, y), of_rows, _sums), strict=True)
    return _Scored(np.array(totals), np.ones(len(totals)), np.array(rows), np, given[0], int(sum(counted)))


def _sums(scored):
    rows, counted = (scored.weights * scored.steps).sum(), (scored.weights > 0).sum()
    return np.asarray(scored.total()), np.asarray(rows), np.asarray(counted), scored.given[:1]


def _arrays(scored):
    return np.asarray(scored.values), np.asarray(scored.weights), np.asarray(scored.steps), scored.given[:1]


def _by_blocks(model, passes, beside, of_rows, made):
    """`made(of_rows(...))` of each block of a stream that has weight, with the stream's labels and weights."""
    check_beside(dict(zip(("lengths", "weights", "y"), beside, strict=True)))
    own = as_model(model)
    fn = functools.partial(_of_block, bare=own is not model, of_rows=of_rows, made=made)
    with named(passes):
        found = [own for own, _ in passes.each(fn, own) if own is not None]
    if not found:
        raise ValueError("x must have at least one row with a positive weight; got none.")
    return found


def _of_block(model: Any, data: Data, bare: bool, of_rows: Any, made: Any) -> Any:
    x, lengths = (data.x.x, data.x.lengths) if isinstance(data.x, Sequences) else (data.x, None)
    if not (np.asarray(data.weights) > 0).any():
        return None
    labels = None if model.generative and not (np.asarray(data.y) >= 0).any() else data.y
    return made(of_rows(model.density if bare else model, x, lengths, data.weights, labels))
