"""Newton's method, and its start on a sample of the rows.

The curvature is factored with every parameter in units of its own curvature: a ridge that is for rounding alone then
stays far below the curvature of a column in small units, which one in units of the mean curvature swamps.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._objective import Frame, Problem, make_loss
from dgjax._steps import PROMISED, State, first, stepped
from dgjax._sum_to_zero import contrast

HALVINGS = 30
# Nats for each row that a gradient of length 1 is said to be worth: those of a curvature of a twentieth.
STEEPEST = 10.0
# A sample has so many rows for each parameter, or one of so many rows. Its curvature is worked out again so many times,
# as long as that takes no more multiplications than so many passes over all rows: a pass, bound by memory, is slower.
SAMPLED_FOR_EACH_PARAMETER, SAMPLED_SHARE = 16, 16
RENEWALS, PASSES_FOR_RENEWALS = 2, 20


def sample_size(num_parameters: int, n: int) -> int:
    """How many of n rows Newton's method starts on: all of them, unless a part is enough."""
    size = max(SAMPLED_FOR_EACH_PARAMETER * num_parameters, n // SAMPLED_SHARE)
    return size if 2 * size <= n else n


@functools.partial(kernels.compiled, static_argnums=1)
def sampled(problem: Problem, size: int) -> Problem:
    """The same on so many of the rows, one at random from each of as many stretches, with as much weight.

    At random, for labels and weights may follow a period.
    """
    n, within = len(problem.x), np.random.default_rng(0).random(size)
    picked = ((np.arange(size) + within) * n / size).astype(int)
    x = problem.x.picked(picked) if isinstance(problem.x, kernels.RowsInPlace) else problem.x[picked]
    y, weights = problem.y[picked], problem.weights[picked]
    counted = jnp.where(y >= 0, weights, 0).sum()
    share = jnp.where(problem.y >= 0, problem.weights, 0).sum() / jnp.where(counted > 0, counted, 1)
    return problem._replace(x=x, y=y, weights=share * weights)


@functools.partial(kernels.compiled, static_argnums=2)
def sample_start(model: Any, sample: Problem, n: int, weight: Array) -> tuple[Any, Array]:
    """Newton steps on a sample of n rows, down to its noise; and a whitener of its curvature there.

    At the solution of all rows, the gain that a sample promises is half the number of parameters times rows for each
    row of the sample: no step is taken for less than twice that.
    """
    vector, unravel = Frame(model).coordinates()
    scale, loss, size = 1 / weight, make_loss(sample, unravel, 1 / weight), len(sample.x)
    noise = scale * vector.size * n / size
    renewals = min(RENEWALS, PASSES_FOR_RENEWALS * n // (vector.size * size))

    def renewed(carry):
        step, vector, *_ = carry
        grad, hessian = sample.derivatives(vector, unravel)
        F = whitener_of(-scale * hessian, sample.x, n // size)
        direction = contrast(model, F @ (F.T @ (scale * grad)))
        decrement = scale * jnp.vdot(grad, direction)
        moved, _ = _backtrack(loss, vector, loss(vector), direction, decrement)
        worthwhile = decrement / 2 > noise
        return step + 1, jnp.where(worthwhile, moved, vector), F, worthwhile

    def goes_on(carry):
        step, *_, worthwhile = carry
        return worthwhile & (step <= renewals)

    # Within the loop from its first step on: what stands before it too is compiled once more.
    first = 0, vector, jnp.zeros((vector.size, vector.size), vector.dtype), jnp.array(True)
    _, vector, whitener, _ = jax.lax.while_loop(goes_on, renewed, first)
    return unravel(vector), whitener


@kernels.compiled
def start(frame: Frame, problem: Problem, trace: Array) -> State:
    """Before the first step."""
    vector, unravel = frame.coordinates()
    value = make_loss(problem, unravel)(vector)
    return first(vector, (jnp.zeros_like(vector), vector), value, trace, 0)


@kernels.compiled
def advance(frame: Frame, problem: Problem, tol: Array, state: State, until: Array) -> State:
    """Newton steps until step `until`, or until one promises no more than `tol` nats for each unit of weight.

    A cell far out, of which the model is not sure yet, has so much curvature that its column promises nothing, for the
    others' part; and it has none when the model is. So the gradient has to be small too, in coordinates in which rows
    that are not far out have a curvature of a quarter at most.
    """
    _, unravel = frame.coordinates()
    loss, weight = make_loss(problem, unravel), problem.weights.sum()
    scale, units = 1 / weight, penalty_units(problem, state.vector, unravel)

    def body(state):
        grad, hessian = problem.derivatives(state.vector, unravel)
        F = whitener_of(-scale * hessian, problem.x)
        direction = contrast(frame.model, F @ (F.T @ (scale * grad)))
        decrement = scale * jnp.vdot(grad, direction)
        vector, value = _backtrack(loss, state.vector, state.value, direction, decrement)
        promised = jnp.maximum(decrement, PROMISED * STEEPEST * ((units * scale * grad) ** 2).sum())
        return stepped(state, vector, (scale * grad, state.vector), value, promised, weight, tol)

    return jax.lax.while_loop(lambda s: (s.step < until) & ~s.converged, body, state)


def penalty_units(problem: Problem, vector: Array, unravel: Any) -> Array:
    """1 / sqrt(1 + 4 c), with c the curvature that the penalty has of each parameter for a unit of weight."""
    curvature = problem.penalty_curvature(vector, unravel)
    return jax.lax.rsqrt(1 + 4 * jnp.maximum(curvature, 0) / problem.weights.sum())


def whitener_of(hessian: Array, x: Any, share: int = 1) -> Array:
    """F with F F^T = H^-1, H with just enough ridge for the directions that the loss is flat in.

    Softmax is flat along a constant, and a column that is constant along its weight. The ridge is relative to each
    parameter's own curvature. Where H is not positive, the diagonal alone.

    Of many rows, those of `x` so many times, passes come next: LAPACK's threads would be in their way.
    """
    p, eps = len(hessian), jnp.finfo(hessian.dtype).eps
    curvature = jnp.diagonal(hessian)
    curved = curvature > 0
    unit = jnp.where(curved, jax.lax.rsqrt(jnp.where(curved, curvature, 1)), 1)
    relative = jnp.where(jnp.eye(p, dtype=bool), jnp.where(curved, 1 + 10 * p * eps, 1), hessian * unit * unit[:, None])
    beside = kernels.many_cells(share * sum(leaf.size for leaf in jax.tree.leaves(x)))
    F = (kernels.whitener if beside else kernels.whitener.reference)(relative)
    return unit[:, None] * jnp.where(jnp.isfinite(F).all(), F, jnp.eye(p, dtype=F.dtype))


def _backtrack(loss, vector, value, direction, decrement):
    """The first of the steps 1, 1/2, 1/4 ... that gains a part of what the gradient promises; none if none does."""

    def cond(carry):
        step, new, count = carry
        return ~(new <= value - 1e-4 * step * decrement) & (count < HALVINGS)

    def body(carry):
        step, _, count = carry
        return step / 2, loss(vector + step / 2 * direction), count + 1

    before = jnp.full((), 2, vector.dtype), jnp.full_like(value, jnp.inf), -1
    step, new, _ = jax.lax.while_loop(cond, body, before)
    better = new <= value
    return jnp.where(better, vector + step * direction, vector), jnp.where(better, new, value)
