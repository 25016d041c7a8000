"""Base of the gradient methods on all rows (Newton, L-BFGS): initial parameters, and coordinates to optimise in.

Both work on columns that are centred and scaled, so that they reach one maximum whatever the columns' units.
"""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._arguments import AnyArray, check_number, is_concrete, is_known
from dgjax.densities import LEARNING, has_draws
from dgjax.learning._dependence import correlations, independent, turned_rows
from dgjax.learning._endings import ended
from dgjax.learning._method import Method, OtherShapes, Outcome, filled
from dgjax.learning._objective import Frame, Problem, is_concave, tolerance
from dgjax.learning._progress import reached
from dgjax.learning._steps import State, UnderWay
from dgjax.learning._sum_to_zero import sum_to_zero
from dgjax.learning._units import columns_with_units, find, mild, moved, moved_rows, own_units, whole
from dgjax.learning._zero_copy import check_finite
from dgjax.priors import Ridge
from dgjax.scorers import Linear


class Phase(NamedTuple):
    """Phase of a fit: its steps, and what follows when it ends or, at the latest, after `most` of them.

    `following(problem, state, tol)` is the fit as the next phase begins it, None if it stays as it is. Each state is
    asked about once, wherever the calls of `advance` ended, and so all fits go the same way.
    """

    steps: Callable[..., State]
    following: Callable[[Problem, "Ascent", float], "Ascent | None"] = lambda problem, state, tol: None
    most: int = sys.maxsize


@dataclasses.dataclass(frozen=True)
class Ascent(UnderWay):
    """A fit by gradient under way: its coordinates, the problem there, the state, and the phase that it is in.

    `past` are the states in which earlier phases ended: from these the fit is set up again where it continues.
    """

    frame: Frame
    problem: Problem
    inner: State
    phase: Phase
    past: tuple[State, ...] = ()

    @property
    def judged(self) -> int:
        """The step at which the phase ends at the latest."""
        return self.phase.most + (int(self.past[-1].step) if self.past else 0)

    def moved(self, tol: float, until: Any) -> "Ascent":
        """The fit after step `until`, or the end of its phase."""
        own = tolerance(tol, self.problem)
        return dataclasses.replace(self, inner=self.phase.steps(self.frame, self.problem, own, self.inner, until))


@dataclasses.dataclass(frozen=True)
class ByGradient(Method):
    """Gradient method on all rows: ends when the next step promises to gain no more than `tol` nats for each row."""

    tol: float = 1e-6

    def __post_init__(self) -> None:
        check_number(self.tol, "tol", 0)

    def check(self, model: Any, problem: Problem) -> None:
        if has_draws(model):
            raise ValueError(f"{LEARNING}, or dgjax.LBFGS() for draws that stay; got method={_advice.shown(self)}.")

    def advance(self, problem: Problem, state: Ascent, until: AnyArray) -> Ascent:
        if not is_concrete(state.inner, self.tol, until):
            return state.moved(self.tol, until)
        step, last, ended = -1, int(until), False
        while step < last and not ended:
            judged = state.judged
            state = state.moved(self.tol, np.asarray(last if step >= judged else min(judged, last)))
            step, ended = reached(state)
            if ended or step == judged:
                upcoming = state.phase.following(problem, state, self.tol)
                state, ended = (state, ended) if upcoming is None else (upcoming, False)
        return state

    def kept(self, state: Ascent) -> list[Any] | None:
        return [*state.past, state.inner]

    def restored(self, problem: Problem, state: Ascent, parts: list[list[np.ndarray]]) -> Ascent:
        for i, part in enumerate(parts):
            state = dataclasses.replace(state, inner=filled(state.inner, part))
            if i + 1 < len(parts):
                upcoming = state.phase.following(problem, state, self.tol)
                if upcoming is None:
                    raise OtherShapes
                state = upcoming
        return state

    def result(self, problem: Problem, state: Ascent) -> tuple[Outcome, Any]:
        check_finite(state.frame.model, problem.x, state.inner)
        inner = state.inner
        if inner.trace.dtype != problem.weights.dtype:  # in float64, where float32 had no digits
            inner = jax.tree.map(lambda new, old: jnp.asarray(np.asarray(new).astype(old.dtype)), inner, state.past[-1])
        return ended(state.frame, state.problem, tolerance(self.tol, state.problem), inner)


def number_of_parameters(model: Any) -> int:
    """Number of parameters of a model, structural zeros included."""
    return sum(leaf.size for leaf in jax.tree.leaves(model))


def placed(
    model: Any, problem: Problem, sample: Problem | None = None, chosen: bool = True
) -> tuple[Frame, Problem, Problem | None]:
    """Initial parameters and coordinates of a fit: a frame, the problem in it, and a sample of its rows.

    Parameters start at `model`, or at 0 where that has a larger objective, unless the method has yet to choose.
    """
    nothing = is_concrete(model) and not any(np.asarray(own).any() for own in jax.tree.leaves(model))
    if not nothing:
        model = sum_to_zero(model, problem.strength)
        model = _no_worse_than_nothing(model, problem if sample is None else sample) if chosen else model
    return _in_units(model, problem, sample)


def _no_worse_than_nothing(model, problem):
    """The model, or one with all scores 0 if its objective is larger; only for concave objectives.

    Far from the maximum, where every probability is 0 or 1, there is no curvature to choose a step length by.
    """
    if not (is_known(model, problem) and is_concave(model)):
        return model
    if is_concrete(problem):
        known = (np.asarray(problem.y) >= 0).reshape(len(problem.y), -1).sum(1)
        weight = float(known @ np.asarray(problem.weights, float))
    else:
        weight = float(_labelled_weight(problem))
    uniform = -math.log(model.num_labels) * weight
    if float(_objective_of(problem, model)) >= uniform:
        return model
    return jax.tree.map(lambda own: jnp.where(jnp.isfinite(own), 0, own), model)


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def _labelled_weight(problem):
    """Total weight of the labels that are known."""
    known = (problem.y >= 0).reshape(len(problem.y), -1).sum(1)
    return kernels.shards.total((known * problem.weights).sum())


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def _objective_of(problem, model):
    return problem.replace(x=whole(problem.x)).objective(model)


def _in_units(model, problem, sample):
    """Coordinates of a fit: centred and scaled columns where the scores are polynomials of the columns.

    With a sample of rows, the other rows keep the user's units if that costs few digits, and only the parameters are
    transformed: (30000, 400) takes 55 ms instead of 69.
    """
    columns = columns_with_units(model)
    if columns is None:
        return Frame(model), problem, sample
    if sample is None:
        units, seen, own, rows = _moved_to_own(model, problem, columns)
        turned = independent(model, problem, problem, units, seen)
        return _turned(model, problem, None, turned) if turned else (Frame(own, away=units), rows, None)
    units, seen = _found(sample, model, columns)
    turned = independent(model, problem, sample, units, seen)
    if turned is not None:
        return _turned(model, problem, sample, turned)
    if own_units(units):
        return Frame(model), problem, sample
    own, rows = _moved(model, sample, units)
    if mild(model, units):
        return Frame(own, units=units), problem, rows
    return Frame(own, away=units), _moved(model, problem, units)[1], rows


def _turned(model, problem, sample, units):
    """Coordinates of a fit whose nearly dependent columns were made independent."""

    def of(own):
        return own.replace(x=turned_rows(own.x, units), units=units)

    return Frame(moved(model, units), away=units), of(problem), sample and of(sample)


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def _found(problem, model, columns):
    units = find(problem.x, problem.weights, columns, _least_offset(problem, model))
    return units, correlations(model, problem, units)


@functools.partial(kernels.compiled_once, results=kernels.shards.BOTH)
def _moved_to_own(model, problem, columns):
    """Units (centre and scale) of the columns, their correlations, and model and problem in these units."""
    problem = problem.replace(x=whole(problem.x))
    units = find(problem.x, problem.weights, columns, _least_offset(problem, model))
    return units, correlations(model, problem, units), *_moved(model, problem, units)


def _least_offset(problem, model):
    """Offset, in scales, from which a column is centred: a penalty mixes weights of products with others then.

    It may be any number of times as large as the curvature of the rows, which then is lost in it.
    """
    return float(isinstance(problem.prior, Ridge) and not isinstance(model.scorer, Linear))


@functools.partial(kernels.compiled_once, results=kernels.shards.BOTH)
def _moved(model, problem, units):
    return moved(model, units), problem.replace(x=moved_rows(problem.x, units), units=units)
