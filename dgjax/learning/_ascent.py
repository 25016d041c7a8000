"""Base of the gradient methods on all rows (Newton, L-BFGS): initial parameters, and coordinates to optimise in.

Both work on columns that are centred and scaled, so that they reach one maximum whatever the columns' units.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._arguments import AnyArray, check_number, is_concrete
from dgjax.densities import LEARNING, has_draws
from dgjax.learning._dependence import correlations, independent, turned_rows
from dgjax.learning._endings import ended
from dgjax.learning._method import Method, Outcome
from dgjax.learning._objective import Frame, Problem, is_concave, tolerance
from dgjax.learning._steps import State, UnderWay
from dgjax.learning._sum_to_zero import sum_to_zero
from dgjax.learning._units import columns_with_units, find, mild, moved, moved_rows, own_units, whole
from dgjax.learning._zero_copy import check_finite
from dgjax.priors import Ridge
from dgjax.scorers import Linear


@dataclasses.dataclass(frozen=True)
class Ascent(UnderWay):
    """A fit by gradient under way: its coordinates, the problem there, the state, and the next steps."""

    frame: Frame
    problem: Problem
    inner: State
    steps: Callable[..., State]


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
        tol = tolerance(self.tol, state.problem)
        return dataclasses.replace(state, inner=state.steps(state.frame, state.problem, tol, state.inner, until))

    def result(self, problem: Problem, state: Ascent) -> tuple[Outcome, Any]:
        check_finite(state.frame.model, problem.x, state.inner)
        return ended(state.frame, state.problem, tolerance(self.tol, state.problem), state.inner)


def number_of_parameters(model: Any) -> int:
    """Number of parameters of a model, structural zeros included."""
    return sum(leaf.size for leaf in jax.tree.leaves(model))


def placed(model: Any, problem: Problem, sample: Problem | None = None) -> tuple[Frame, Problem, Problem | None]:
    """Initial parameters and coordinates of a fit: a frame, the problem in it, and a sample of its rows.

    Parameters start at `model`, or at 0 where that has a larger objective.
    """
    nothing = is_concrete(model) and not any(np.asarray(own).any() for own in jax.tree.leaves(model))
    if not nothing:
        model = sum_to_zero(model, problem.strength)
        model = _no_worse_than_nothing(model, problem if sample is None else sample)
    return _in_units(model, problem, sample)


def _no_worse_than_nothing(model, problem):
    """The model, or one with all scores 0 if its objective is larger; only for concave objectives.

    Far from the maximum, where every probability is 0 or 1, there is no curvature to choose a step length by.
    """
    if not (is_concrete(model, problem) and is_concave(model)):
        return model
    known = (np.asarray(problem.y) >= 0).reshape(len(problem.y), -1).sum(1)
    uniform = -math.log(model.num_labels) * float(known @ np.asarray(problem.weights, float))
    if float(_objective_of(problem, model)) >= uniform:
        return model
    return jax.tree.map(lambda own: jnp.where(jnp.isfinite(own), 0, own), model)


@kernels.compiled_once
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


@kernels.compiled_once
def _found(problem, model, columns):
    units = find(problem.x, problem.weights, columns, _least_offset(problem, model))
    return units, correlations(model, problem, units)


@kernels.compiled_once
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


@kernels.compiled_once
def _moved(model, problem, units):
    return moved(model, units), problem.replace(x=moved_rows(problem.x, units), units=units)
