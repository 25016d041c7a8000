"""Newton steps on all rows: each solves H s = g, and is halved until it gains; the last promises less than `tol`.

    gradient g, H minus the Hessian, per unit of weight ─▶ F with F F^T = H^-1 (`whitener_of`: a ridge where H is flat)
      ─▶ s = F F^T g, less what is common to all classes (`contrast`) ─▶ steps 1, 1/2, 1/4 ... of s (`backtrack`)

By a quadratic model a full step gains g . s / 2, so that g . s (the Newton decrement) is the promise that ends a fit.
Where curvature says nothing of a gain, as of a cell far out, the squared gradient is a second promise, and the larger
counts (`advance`).
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray, is_sharded
from dgjax.learning._ascent import Ascent, Phase
from dgjax.learning._objective import Frame, Problem, is_concave, make_loss, tolerance
from dgjax.learning._scales import penalty_units, whitener_of
from dgjax.learning._steps import PROMISED, State, first, stepped
from dgjax.learning._sum_to_zero import contrast

# Of a step, by 2^-30 in all: less than 2^-23, eps of float32, so that in it no parameter moves any more.
HALVINGS = 30
# Nats for each row that a gradient of length 1 is said to be worth: those of a curvature of a twentieth.
STEEPEST = 10.0
# Nats for each row, below which labels are nearly certain.
CERTAIN = 0.01
# Steps for a maximum where the Hessian has digits: 3 to 15 are usual.
MOST_STEPS = 25


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def start(frame: Frame, problem: Problem, trace: Array) -> State:
    """State before the first Newton step, with the objective's value.

    Parameters start at the frame's, or at 0 where that has a larger objective, if there is but one maximum. Far from
    it, where every probability is 0 or 1, there is no curvature to choose a step length by.
    """
    vector, unravel = frame.coordinates()
    loss = make_loss(problem, unravel)
    vector, value = _or_zeros(loss, vector, trace.dtype) if is_concave(frame.model) else (vector, loss(vector))
    return first(vector, (jnp.zeros_like(vector), vector), value, trace, 0)


def _or_zeros(loss, vector, dtype):
    """Parameters (p,) or zeros, whichever has the smaller loss, and that: by a loop, for which one loss is compiled."""

    def turn(carry):
        count, tried, best, least = carry
        value = loss(tried)
        better = ~(least <= value)  # than NaN too
        return count + 1, jnp.zeros_like(vector), jnp.where(better, tried, best), jnp.where(better, value, least)

    begun = 0, vector, vector, jnp.full((), jnp.inf, dtype)
    return jax.lax.while_loop(lambda own: own[0] < 1 + vector.any(), turn, begun)[2:]


@functools.partial(kernels.compiled_steps, results=kernels.shards.SUMS)
def advance(frame: Frame, problem: Problem, tol: AnyArray, state: State, until: AnyArray) -> State:
    """Newton steps until step `until`, or until the next promises to gain too little.

    Too little is no more than `tol` nats per unit of weight. The gradient has to be small too, in units in which
    ordinary rows have a curvature of at most a quarter. A cell far out, while the model is unsure of its label, has so
    much curvature that its column promises no gain, at the expense of other rows; once the model is sure it has none.
    """
    _, unravel = frame.coordinates()
    loss, weight = make_loss(problem, unravel), problem.weight
    scale, units = 1 / weight, penalty_units(problem, state.vector, unravel)

    def body(state):
        grad, hessian = problem.derivatives(state.vector, unravel)
        F = whitener_of(-scale * hessian, problem.x)
        direction = contrast(frame.model, F @ (F.T @ (scale * grad)))
        decrement = scale * jnp.vdot(grad, direction)
        vector, value = backtrack(loss, state.vector, state.value, direction, decrement)
        promised = jnp.maximum(decrement, PROMISED * STEEPEST * ((units * scale * grad) ** 2).sum())
        return stepped(state, vector, (scale * grad, state.vector), value, promised, weight, tol)

    return jax.lax.while_loop(lambda s: (s.step < until) & ~s.converged, body, state)


def _wider(problem: Problem, state: Ascent, tol: float) -> Ascent | None:
    """The fit as it continues in float64, where a Hessian has no digits in float32; None elsewhere.

    Labels may be nearly certain: a row counts by p (1 - p), so that near separated classes a few rows make the Hessian,
    and along most directions there is nothing left of it beside its rounding. Three classes that touch, Ridge(1e-8),
    300 rows: 9e-6 nats for each row were left to gain of 1.3e-5, and promised were none. Or products of columns nearly
    depend on each other: a method whose steps double the digits then took a hundred, and ended 2e-5 nats for each row
    short.
    """
    inner = state.inner
    if inner.vector.dtype == np.float64 or not float(tol):
        return None
    value, converged = jax.device_get((inner.value, inner.converged))
    if not np.isfinite(value) or (converged and not float(tol) < value < CERTAIN):
        return None
    with jax.enable_x64(True):
        frame, own, trace = _in_float64((state.frame, state.problem, inner.trace))
        frame = frame._replace(model=frame.coordinates()[1](_in_float64(inner.vector)))
        begun = start(frame, own, trace)._replace(step=inner.step)
    return dataclasses.replace(state, inner=begun, phase=WIDER, past=(*state.past, inner))


def _advance_wider(frame: Frame, problem: Problem, tol: AnyArray, state: State, until: AnyArray) -> State:
    """`advance` in float64; of the frame's model only the structure counts, for Newton's coordinates are parameters."""
    with jax.enable_x64(True):
        frame, problem = _in_float64((frame, problem))
        return advance(frame, problem, tolerance(float(tol), problem), state, until)


NEWTON, WIDER = Phase(advance, _wider, MOST_STEPS), Phase(_advance_wider)


def _in_float64(tree: Any) -> Any:
    """The same arrays, floats as float64."""
    floats = lambda own: jnp.issubdtype(own.dtype, jnp.floating)  # noqa: E731
    return jax.tree.map(lambda own: _as_float64(own) if floats(own) else own, tree)


def _as_float64(own):
    return own.astype(float) if is_sharded(own) else jnp.asarray(np.asarray(own, float))


def backtrack(loss, vector, value, direction, decrement):
    """Backtracking line search: the first of the steps 1, 1/2, 1/4 ... with a sufficient gain; none if none gains."""

    def cond(carry):
        step, new, count = carry
        # Armijo's condition with the constant of Nocedal and Wright (2006), section 3.1; the slope is -decrement.
        return ~(new <= value - 1e-4 * step * decrement) & (count < HALVINGS)

    def body(carry):
        step, _, count = carry
        return step / 2, loss(vector + step / 2 * direction), count + 1

    before = jnp.full((), 2, vector.dtype), jnp.full_like(value, jnp.inf), -1
    step, new, _ = jax.lax.while_loop(cond, body, before)
    better = new <= value
    return jnp.where(better, vector + step * direction, vector), jnp.where(better, new, value)
