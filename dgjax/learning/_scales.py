"""Preconditioning: coordinates in which the Hessian of an objective is about the identity.

L-BFGS learns curvature from its last steps; a direction with 10^8 times the curvature of another takes all of them. So
parameters are scaled by their Fisher information, the mean squared derivative of a row's objective, and so do not
depend on the columns' units.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

import dgjax_kernels as kernels
from dgjax._types import Support
from dgjax.densities import has_draws
from dgjax.learning._objective import Frame, Problem
from dgjax.learning._units import representative
from dgjax.scorers import Linear, LogLinear
from dgjax.structures import in_rows

FEWEST_ROWS, MOST_ROWS, MOST_CELLS = 8, 256, 1 << 22
"""Rows whose derivatives are looked at, and cells that those may take."""
FAR = 10.0
"""Typical distances from the median beyond which a row counts as one of so many."""
MOST_COLUMNS, ROWS_FOR_EACH = 512, 16
"""Columns that are made independent of each other, by so many rows for each of them."""


def find(model: Any, problem: Problem) -> Array | None:
    """Whitener F for `Frame`, (p,) or (1, d, d); None if parameters need no scaling."""
    size, n = sum(leaf.size for leaf in jax.tree.leaves(model)), len(problem.x)
    if problem.units is not None:
        linear = isinstance(model.scorer, Linear) and model.num_features <= MOST_COLUMNS
        return (_of_columns if linear else _of_penalty)(model, problem)
    if has_draws(model) or all(map(_is_code, model.supports)) or FEWEST_ROWS * size > MOST_CELLS:
        return None
    if not (model.generative or isinstance(model.scorer, LogLinear)):
        return None
    return _of_rows(model, problem, min(n, max(FEWEST_ROWS, min(MOST_ROWS, MOST_CELLS // size))))


def _is_code(support: Support) -> bool:
    """Whether a column's numbers are codes without a unit: categories or feature indices."""
    return support.whole and math.isfinite(support.high)


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def _of_penalty(model, problem):
    """Whitener (p,) for scaled columns: it makes the curvature of rows at most a quarter.

    Only the penalty may then have more.
    """
    return penalty_units(problem, *Frame(model).coordinates())


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def _of_columns(model, problem):
    """Whitener (1, d, d) of linear scores, by the Hessian of the objective at weights 0.

    The Hessian there is a quarter of the columns' covariance, plus that of the penalty.
    """
    x, _, weights = in_rows(problem.x, jnp.zeros(0, int), problem.weights)
    d = x.shape[1]
    few = representative(x, weights, min(kernels.shards.number(len(x)), ROWS_FOR_EACH * d))
    # Rows far out as if they were nearer: they have no curvature any more where the fit ends.
    near = few / jnp.maximum(1, jnp.abs(few).max(1, keepdims=True) / FAR)
    covariance = near.T @ near / len(few)
    # Both in units of the quarter, p (1 - p) at p = 1/2, that the covariance is multiplied by.
    penalty = jnp.diag(4 * problem.strength / problem.weight / problem.units.scale**2)
    if (turn := problem.units.turn) is not None:
        penalty = turn.T @ penalty @ turn
    return whitener_of(covariance + penalty, problem.x)[None]


@functools.partial(kernels.compiled, results=kernels.shards.SUMS, static_argnums=2)
def _of_rows(model, problem, most):
    vector, back = Frame(model).coordinates()
    x, y, weights = representative((problem.x, problem.y, problem.weights), problem.weights, most)

    def derivatives(x, y):
        def value(v):
            return problem.row_values(back(v), jax.tree.map(lambda leaf: leaf[None], x), y[None])[0]

        return jax.grad(value)(vector)

    each = jax.vmap(derivatives)(x, y)
    each = jnp.where((weights > 0)[:, None] & jnp.isfinite(each), each, 0)
    largest = jnp.abs(each).max(0)
    unit = jnp.where(largest > 0, largest, 1)  # its square may be no number
    return jnp.where(largest > 0, 1 / (unit * jnp.sqrt(((each / unit) ** 2).mean(0))), 1)


def penalty_units(problem: Problem, vector: Array, unravel: Any) -> Array:
    """Scales (p,) of parameters by the penalty's curvature c per unit of weight: 1 / sqrt(1 + 4 c)."""
    curvature = problem.penalty_curvature(vector, unravel)
    # A row's curvature is at most 1/4, as p (1 - p) is: 1/4 + c in units of 1/4.
    return jax.lax.rsqrt(1 + 4 * jnp.maximum(curvature, 0) / problem.weight)


def whitener_of(hessian: Array, x: Any, share: int = 1) -> Array:
    """Whitener F (p, p) of a Hessian: F F^T = H^-1, with just enough ridge for directions in which the loss is flat.

    Softmax is flat along a constant for all labels, and a constant column along its weight. The ridge is relative to
    each parameter's own curvature. If H is not positive definite, F is diagonal.

    `x` and `share`, how many times those rows are still to be read, decide whether a kernel without LAPACK's threads is
    used: these would slow down the passes over rows that follow.
    """
    p, eps = len(hessian), jnp.finfo(hessian.dtype).eps
    curvature = jnp.diagonal(hessian)
    curved = curvature > 0
    unit = jnp.where(curved, jax.lax.rsqrt(jnp.where(curved, curvature, 1)), 1)
    relative = jnp.where(jnp.eye(p, dtype=bool), jnp.where(curved, 1 + 10 * p * eps, 1), hessian * unit * unit[:, None])
    beside = kernels.many_cells(share * sum(leaf.size for leaf in jax.tree.leaves(x)))
    F = (kernels.whitener if beside else kernels.whitener.reference)(relative)
    return unit[:, None] * jnp.where(jnp.isfinite(F).all(), F, jnp.eye(p, dtype=F.dtype))
