"""L-BFGS over passes: the pieces of `_lbfgs`, each evaluation of the objective a sum over blocks wherever these are.

Coordinates are those of a sample of the rows, in which columns are centred and scaled: where they begin, and how far a
step goes, is all that it decides.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray
from dgjax.data import Data
from dgjax.learning import _objective, _scales
from dgjax.learning._ascent import placed
from dgjax.learning._dependence import turned_rows
from dgjax.learning._endings import ended
from dgjax.learning._lbfgs import MOST_TURNS, Line, Memory, arrived, direction, end_of_line, evaluated, line, start
from dgjax.learning._method import Outcome, filled
from dgjax.learning._objective import Frame, Problem, make_loss
from dgjax.learning._places import Parts, Places, place_of
from dgjax.learning._steps import State, UnderWay
from dgjax.learning._units import moved_rows
from dgjax.priors import Ridge
from dgjax.streams import Passes


@dataclasses.dataclass(frozen=True)
class Ascent(UnderWay):
    """A fit under way: its coordinates, a sample of the rows in them, the model that checks rows, and the state."""

    frame: Frame
    sample: Problem
    model: Any
    weight: Array
    inner: State


def begun(model: Any, passes: Passes, sample: Problem, trace: Array) -> Ascent:
    """State before the first pass, in the coordinates of a sample of rows whose weights are those of all."""
    frame, moved, _ = placed(model, sample)
    frame = frame._replace(whitener=_scales.find(frame.model, moved))
    weight = jnp.asarray(passes.facts.weight, moved.weights.dtype)
    return Ascent(frame, moved, model, weight, start(frame, moved, trace))


def parts() -> Parts:
    """What a checkpoint keeps: the state of the optimizer, and the line search with the sums of a pass so far."""

    def back(state, leaves):
        return dataclasses.replace(state, inner=filled(state.inner, leaves))

    def place(state):
        own = state.inner
        return place_of(_direction(own, _is_whitened(state))[0], (own.value, own.vector))

    return Parts(lambda state: state.inner, back, place)


def _is_whitened(state):
    whitener = state.frame.whitener
    return whitener is not None and whitener.ndim == 2


def advance(places: Places, tol: AnyArray, state: Ascent, until: AnyArray) -> Ascent:
    """L-BFGS steps until step `until`, or until the next promises to gain too little; a pass for each evaluation."""
    own, whitened = state.inner, _is_whitened(state)
    while int(own.step) < int(until) and not bool(own.converged):
        search, towards, memory = _direction(own, whitened)
        search = places.search(own, search)
        while int(search.count) < MOST_TURNS and not bool(search.ends):
            now = dataclasses.replace(state, inner=own)
            found = value_and_grad(places, now, own.vector + search.step * towards, search)
            search = _evaluated(search, own.value, *found, towards)
        own = _arrived(own, memory, search, towards, state.weight, tol, whitened)
    return dataclasses.replace(state, inner=own)


def value_and_grad(places: Places, state: Ascent, vector: Array, search: Line) -> tuple[Array, Array]:
    """Loss, minus the objective for each unit of weight, and its gradient (p,): a pass, and the penalty."""
    rows = functools.partial(_of_block, frame=state.frame, sample=_without_rows(state.sample), vector=vector)
    sums = places.total(state, rows, state.model, search)
    return _with_penalty(state.frame, _without_rows(state.sample), vector, sums, state.weight)


def result(tol: AnyArray, state: Ascent) -> tuple[Outcome, Any]:
    """Outcome and model, in the user's units; warns of separated classes by the sample."""
    return ended(state.frame, state.sample, tol, state.inner)


def _without_rows(sample):
    return sample.replace(x=None, y=None, weights=None)


def _of_block(model: Any, data: Data, *, frame: Frame, sample: Problem, vector: Array) -> tuple[Array, Array]:
    """Minus the objective of a block without penalty, and its gradient (p,)."""
    del model
    if sample.units is not None and sample.units.turn is not None:  # by NumPy in float64, as rows in memory are
        return _sums(data.replace(x=turned_rows(data.x, sample.units)), frame, sample, vector, False)
    return _sums(data, frame, sample, vector, sample.units is not None)


@functools.partial(kernels.compiled_steps, static_argnames="move")
def _sums(data: Data, frame: Frame, sample: Problem, vector: Array, move: bool) -> tuple[Array, Array]:
    units: Any = sample.units
    x = moved_rows(data.x, units) if move else data.x
    x, y = _objective.counted(x, data.y, data.weights)
    prior = Ridge(jnp.zeros_like(sample.strength)) if isinstance(sample.prior, Ridge) else None
    facts = {"complete": data.complete, "labelled": data.labelled, "units": None}
    block = sample.replace(x=x, y=y, weights=data.weights, prior=prior, **facts)
    return jax.value_and_grad(make_loss(block, frame.coordinates()[1], jnp.ones(())))(vector)


@kernels.compiled_once
def _with_penalty(
    frame: Frame, sample: Problem, vector: Array, sums: tuple[Array, Array], weight: Array
) -> tuple[Array, Array]:
    _, unravel = frame.coordinates()
    value, grad = jax.value_and_grad(lambda v: -sample.penalty(unravel(v)))(vector)
    return (sums[0] + value) / weight, (sums[1] + grad) / weight


@functools.partial(kernels.compiled_once, static_argnames="whitened")
def _direction(state: State, whitened: bool) -> tuple[Line, Array, Memory]:
    gradient, memory = state.memory
    towards, memory = direction(memory, state.vector, gradient, not whitened)
    return line(state.value, gradient, towards), towards, memory


_evaluated = kernels.compiled_once(evaluated)


@functools.partial(kernels.compiled_once, static_argnames="whitened")
def _arrived(
    state: State, memory: Memory, search: Line, towards: Array, weight: Array, tol: AnyArray, whitened: bool
) -> State:
    found = end_of_line(search, state.vector, state.value, state.memory[0], towards)
    return arrived(state, memory, found, weight, tol, whitened)
