"""Endings of a fit: the convergence test, warnings of a fit short of its maximum, errors of one that collapsed.

    gradient fits   promised gain, plus what rounding costs in the user's units, at most `tol`?  ─yes─▶ converged
                      no, but no step gains any more ─▶ warning: too few digits (`_of_precision`)
                      labels ever surer, scores still moving ─▶ warning: separated classes, no maximum (`_is_separated`)
    all fits        `max_steps` reached before ─▶ warning (`warn_if_short`)
                    no density, NaN, or probability 0 ─▶ ValueError; inside jit a model of NaN (`checked_result`)

The gain that a quadratic model promises is asked, not the last step's, which may be small since the step was short.
"""

import dataclasses
import functools
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._arguments import AnyArray, is_concrete, is_known
from dgjax._warnings import ConvergenceWarning, warn
from dgjax.data import Data
from dgjax.densities import LabelledRows, check_rank, has_draws
from dgjax.learning._method import Outcome
from dgjax.learning._objective import Frame, Problem, has_networks, is_concave
from dgjax.learning._steps import PROMISED, State, rounding
from dgjax.learning._units import moved, whole
from dgjax.structures import Sequences, in_rows, num_steps

M = TypeVar("M")
RIDGE = 1e-3
"""Strength of a ridge that is felt nowhere but where scores grow without end."""
SUSPICIOUS_LOSS, SUSPICIOUS_STEP, MOVING, LOST = 0.1, 0.1, 0.3, 0.1
"""Nats for each row, or a last step in scaled coordinates, for which it is asked whether classes are separated: whether
every label has more than half of the probability, or the last step, which gained next to nothing, moved a score by so
much."""
MOST_CURVED = 1024
"""Parameters up to which a warning looks at the curvature."""
NEARLY = 0.2
"""How far means from 0 and spreads from 1 may be in columns that need no scaling."""


def is_maximum(problem: Problem, tol: Any, last: State, gap: Any = None) -> Any:
    """Convergence test: the promised gain is at most `tol` nats for each unit of weight, plus rounding.

    `gap` is the promised gain, by default that of the state. For sequences rounding of t steps adds up to sqrt(t)
    times.
    """
    gap = last.gap if gap is None else gap
    return gap <= tol + np.sqrt(num_steps(problem.x)) * rounding(last.value)


def ended(frame: Frame, problem: Problem, tol: AnyArray, last: State) -> tuple[Outcome, Any]:
    """Outcome and model of a gradient fit, in the user's units; warns of separated classes or lost precision."""
    model, rounded_off = _in_users_units(frame, problem, tol, last.vector)
    if is_concrete(last, tol):  # every operation on arrays of JAX's takes 30 us
        value, gap, converged = jax.device_get((last.value, last.gap, last.converged))
        last, tol = last._replace(value=value, gap=gap, converged=converged), np.asarray(tol)
    gap = _at_most_all(frame.model, last, last.gap + rounded_off)
    converged = last.converged & is_maximum(problem, tol, last, gap)
    result = Outcome(-last.value, last.trace, last.step, converged), model
    if not is_known(last, problem.weights) or not np.isfinite(last.value) or not float(tol):
        return result
    warning = None
    if bool(last.converged) and not bool(converged):
        warning = _of_precision(frame, problem, last, gap)
    elif _is_separated(frame, problem, last):
        warning = (
            "the classes are separated: some weights grow without end, and the likelihood with them, so that they say "
            f"how long the fit went on and no more. Type prior=dgjax.priors.Ridge({RIDGE:g}) or larger."
        )
    return result[0]._replace(warning=warning), result[1]


def _at_most_all(model, last, gap):
    """What is left to gain, at most the loss itself where that is never below 0: log p(y | x) <= 0, and its ridge."""
    if model.generative:
        return gap
    return np.minimum(gap, last.value) if is_concrete(last) else jnp.minimum(gap, last.value)


def warn_if_short(final: Any, tol: float, max_steps: int) -> None:
    """Warns (ConvergenceWarning) where a fit, whose `Outcome` is `final`, is not at its maximum.

    With the outcome's own warning if it has one; else, if it has not converged and `tol` is not 0, that `max_steps`
    came first.
    """
    message = final.warning
    if message is None and not bool(final.converged) and tol > 0:
        message = (
            f"the fit ended at max_steps={max_steps}, before a step gained less than tol={float(tol):.3g} nats for "
            f"each row. Type max_steps={10 * max_steps}, or go on from the model that it gave."
        )
    if message is not None:
        warn(message, ConvergenceWarning)


def _in_users_units(frame, problem, tol, vector):
    """The model in the user's units, and the objective that its rounding costs, in nats for each row.

    A bias as large as a column's offset loses digits, as do the weights of a quadratic, and of nearly dependent
    columns. The bias is corrected, in float64, for the rounding of the weights; an error r that remains in a score
    costs at most r^2 / 8.
    """
    model, units = frame.model_at(vector, problem.strength), frame.away if frame.units is None else frame.units
    if units is None or not is_known(model, problem.weights):
        return model, 0.0
    steps, given = num_steps(problem.x), {name: np.asarray(getattr(model, name)) for name in model.constants}
    largest = max(np.abs(np.where(np.isfinite(own), own, 0)).max() for own in given.values())
    little = steps * (jnp.finfo(units.scale.dtype).eps * largest) ** 2 / 8 <= PROMISED * float(tol)
    if little and units.turn is None:
        return model, 0.0
    with jax.enable_x64(True):
        units, wanted = _exactly(units), _exactly(frame.inner_at(vector, problem.strength))

        def lacks(model):
            seen = moved(_exactly(model), units)
            return jax.tree.map(lambda a, b: np.nan_to_num(np.asarray(a) - np.asarray(b)), wanted, seen)

        missing = lacks(model)
        better = {name: jnp.asarray(own + getattr(missing, name), own.dtype) for name, own in given.items()}
        model = dataclasses.replace(model, **better)
        off = sum(float((own**2).sum()) for own in jax.tree.leaves(lacks(model)))
    return model, steps * off / 8


def _exactly(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, float)), tree)


def _of_precision(frame, problem, last, gap):
    """Warning text where rounding ended a fit: no step gains, short of the maximum by `gap` nats for each row.

    How much is left to gain, and along which columns, is known of concave objectives alone.
    """
    generative, dtype = frame.model.generative, last.value.dtype
    held = problem.prior is not None if generative else float(problem.strength) >= RIDGE
    advised = "dgjax.weak_prior(model, x)" if generative else f"dgjax.priors.Ridge({RIDGE:g})"
    told = "" if held else f"type prior={advised}, "
    wider = "jax.config.update('jax_enable_x64', True), and float64 columns"
    if is_concave(frame.model):
        columns = _columns(frame.model, _undetermined(frame, problem, last))
        named = f", most of all of column(s) {columns}" if columns else ""
        return (
            f"the fit ended {float(gap):.2g} nats for each row short of its maximum, by an estimate: no step gains in "
            f"{dtype}, which has too few digits for these parameters{named}. Remove columns that are nearly "
            f"combinations of others, {told}or type {wider}."
        )
    if has_networks(frame.model):
        scaled = _scaling(problem.x)
        told = f"Type {scaled}, or " if scaled else "Type "
        told += "method=dgjax.Optax(optax.adam(1e-3)), where a step need not gain"
    else:
        told = f"{told[:1].upper()}{told[1:]}or type {wider}" if told else f"Type {wider}"
    return (
        f"the fit ended at {-float(last.value):.3g} nats for each row, where no step gains in {dtype}. How much is "
        f"left to gain cannot be said, since the objective is not concave. {told}."
    )


def _scaling(x):
    """Code that standardises the user's columns; an empty string if they are."""
    if not is_concrete(x):
        return ""
    x = np.asarray(x.x if isinstance(x, Sequences) else x, float)
    axes = tuple(range(x.ndim - 1))
    with np.errstate(all="ignore"):
        mean, spread = np.nanmean(x, axes), np.nanstd(x, axes)
    if np.all((np.abs(mean) < NEARLY) & ((np.abs(spread - 1) < NEARLY) | (spread == 0))):
        return ""
    return _advice.standardised(axes, bool((spread == 0).any()), bool(np.isnan(x).any()))


def _undetermined(frame, problem, last):
    """Size of each parameter (p,) in the direction of which the rows say least, where the objective is flattest.

    Columns that are nearly combinations of others have weights of which only a sum is certain. In place of it, where
    there are too many parameters for a curvature, what is left of the gradient.
    """
    if not problem.linear(frame.model) or last.vector.size > MOST_CURVED:
        return np.abs(_turned_back(frame, last.memory[0]))
    _, directions = np.linalg.eigh(-np.asarray(_curvature(frame, problem, last.vector), float))
    return np.abs(_turned_back(frame, jnp.asarray(directions[:, 0], last.vector.dtype)))


def _turned_back(frame, change):
    """Change of the parameters (p,), of weights of columns before they were made independent."""
    change, turn = np.array(frame.spread(change)), None if frame.away is None else frame.away.turn
    if turn is not None:
        own = frame.model.scorer.weight.size
        change[-own:] = (change[-own:].reshape(-1, len(turn)) @ np.asarray(turn).T).reshape(-1)
    return change


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def _curvature(frame, problem, vector):
    """Hessian (p, p) of the objective."""
    return problem.replace(x=whole(problem.x)).derivatives(vector, frame.coordinates()[1])[1]


def _columns(model, sizes):
    """Column numbers, as text, whose parameters have the largest `sizes`, an entry for each parameter of the model."""
    d, start, found = model.num_features, 0, np.zeros(model.num_features or 0)
    for leaf in jax.tree.leaves(model):
        own, start = sizes[start : start + leaf.size].reshape(leaf.shape), start + leaf.size
        if leaf.ndim and leaf.shape[-1] == d:
            found = np.maximum(found, own.reshape(-1, d).max(0))
    return ", ".join(map(str, np.flatnonzero(found >= 0.5 * found.max())[:10])) if found.size and found.max() else ""


def _is_separated(frame, problem, last):
    """Whether classes are separated, so that there is no maximum: the likelihood grows along a direction for ever."""
    if frame.model.generative or float(problem.strength):
        return False
    before = last.memory[1]
    before = getattr(before, "parameters", before)
    step = np.abs(np.asarray(frame.spread(last.vector - before))).sum()
    if float(last.value) > SUSPICIOUS_LOSS and step < SUSPICIOUS_STEP:
        return False
    surest, gained, lost = map(float, _seen(frame, problem, last.vector, before))
    return surest > -np.log(2) or (bool(last.converged) and gained > MOVING and lost <= LOST * gained)


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def _seen(frame, problem, vector, before):
    """Least log-probability of a given label, and how far the last step raised and lowered given labels' scores.

    Scores are relative to those of the other labels.
    """
    _, unravel = frame.coordinates()
    x = whole(problem.x)
    counted = (problem.weights > 0) & (problem.y.reshape(len(problem.y), -1) >= 0).any(-1)
    values = jnp.where(counted, problem.row_values(unravel(vector), x, problem.y), 0)
    new, old = (problem.shown_to(unravel(v)).potentials(x).scores for v in (vector, before))
    known = problem.y[..., None] >= 0
    change = new - old
    change = jnp.take_along_axis(change, jnp.maximum(problem.y, 0)[..., None], -1) - change
    change = jnp.where(known & counted.reshape(-1, *[1] * (change.ndim - 1)), change, 0)
    most, lost = kernels.shards.largest((change.max(), -change.min()))
    return kernels.shards.least(values.min()), most, lost


def is_broken(model: Any) -> bool:
    """Whether a parameter is NaN."""
    return is_concrete(model) and any(np.isnan(leaf).any() for leaf in jax.tree.leaves(model))


def checked_result(
    model: M, value: Any, steps: Any, data: Data, prior: Any = None, labels: Any = ("class", "component")
) -> M:
    """The fitted model; raises ValueError if it collapsed or diverged: no density there, or data of probability 0.

    Inside `jit`, where nothing can be raised, such a model is NaN, by whatever method and of whatever family. The
    message names every collapsed column if all labels and cells of `data` are known. `labels` are the words for a label
    and for one below it.
    """
    if is_concrete(model, value):
        _check_result(model, value, steps, data, prior, labels)
        return model
    return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(value), leaf, jnp.nan), model)


def _check_result(model, value, steps, data, prior, labels):
    check_rank(model, prior is not None, labels, lambda: _labelled(data) if data.known else None)
    value, broken = float(value), is_broken(model)
    if (broken or np.isnan(value)) and has_draws(model):
        scaled = _scaling(data.x)
        raise ValueError(
            f"fit diverged after {int(steps)} step(s). {f'Standardise the columns, {scaled}, or type' * bool(scaled)}"
            f"{'' if scaled else 'Type'} a smaller step, such as method=dgjax.Optax(optax.adam(1e-4))."
        )
    if broken or np.isnan(value) or value == np.inf:
        raise ValueError(
            f"fit collapsed after {int(steps)} step(s): a class or component has no spread in some direction, as "
            "when it holds too few distinct rows or a column is constant in it, and its likelihood is unbounded. Type "
            "prior=dgjax.weak_prior(model, x), or remove the column."
        )
    if value == -np.inf:
        raise ValueError(
            "x has rows, or y labels, of probability 0 under the model, so its objective is minus infinity. Start "
            "where everything is possible: "
            "jax.tree.map(lambda a: jax.numpy.nan_to_num(a, neginf=-9.0, posinf=9.0), model)."
        )


def _labelled(data):
    weights = jnp.ones(len(data.x)) if data.weights is None else data.weights
    x, y, weights = in_rows(data.x, data.y, weights)
    return LabelledRows(np.asarray(x), np.asarray(y), np.asarray(weights)) if is_concrete(x, y, weights) else None
