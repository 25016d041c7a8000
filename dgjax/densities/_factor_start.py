"""Initial loadings of normal densities of low rank: principal components of rows, of which few cells may be known."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import dgjax_kernels as kernels
from dgjax.densities import _shared
from dgjax.sparse import SparseRows

SWEEPS = 8  # of the subspace iteration that finds the first loadings


class Moments(NamedTuple):
    """Means (k, d) under counts (n, k), the standard deviation of columns within clusters (d,), and residuals.

    `scaled(weights, mean)` are the rows, in units of that deviation and times the root of each one's share of the
    weights (n,), as the matrix z (n, d) whose principal components are asked.
    """

    means: Float[Array, "k d"]
    spread: Float[Array, " d"]
    scaled: Callable[[Array, Array], "Matrix"]


class Matrix(NamedTuple):
    """Matrix z (n, d), 0 where a cell is missing: z B of B (d, r), z^T A of A (n, r), and the sum of its squares."""

    times: Callable[[Array], Array]
    transposed_times: Callable[[Array], Array]
    squares: Float[Array, ""]


def moments(x: Any, counts: Float[Array, "n k"], complete: bool | None) -> Moments:
    """Moments of rows under counts, and the rows in units of them."""
    if isinstance(x, SparseRows):
        return _of_sparse_rows(x, counts)
    means, spread = _shared.moments_of_clusters(x, counts, complete)

    def scaled(weights, mean):
        z = jnp.where(jnp.isnan(x), 0, (x - mean) / spread) * _root_of_shares(weights)[:, None]
        return Matrix(lambda basis: z @ basis, lambda along: z.T @ along, (z**2).sum())

    return Moments(means, spread, scaled)


def _of_sparse_rows(x, counts):
    d, row = x.num_columns, x.rows()
    column = jnp.where(row < len(x), x.columns, d)
    means, spread = _shared.moments_of_sparse_clusters(x, counts)

    def scaled(weights, mean):
        z = (x.values - mean[column]) / spread[column] * _root_of_shares(weights)[row]
        product = lambda of: lambda other, z: of[other] * z[:, None]  # noqa: E731
        return Matrix(
            lambda basis: kernels.cell_sums(product(basis), row, len(x), column, z, cost=basis.shape[1]),
            lambda along: kernels.cell_sums(product(along), column, d, row, z, cost=along.shape[1]),
            jnp.where(column < d, z**2, 0).sum(),
        )

    return Moments(means, spread, scaled)


def _root_of_shares(weights):
    return jnp.sqrt(_shared.ratio(weights, weights.sum(), 0))


def components(key: Key[Array, ""], z: Matrix, d: int, r: int, dtype: Any) -> Float[Array, "d r"]:
    """Loadings (d, r) of the r largest principal components of z (n, d), less the noise.

    By subspace iteration, with no matrix of d x d.
    """

    def sweep(_, basis):
        moved = z.transposed_times(z.times(basis))
        peak = jnp.abs(moved).max()
        moved = moved + jnp.where(peak > 0, 1e-3 * peak, 1) * basis  # of full rank
        return kernels.solve(kernels.triangularized(moved.T), moved.T).T

    basis = jax.random.normal(key, (d, r), dtype)
    basis = jax.lax.fori_loop(0, SWEEPS, sweep, kernels.solve(kernels.triangularized(basis.T), basis.T).T)
    along = z.times(basis)
    within = along.T @ along + jnp.finfo(dtype).eps * jnp.eye(r, dtype=dtype)
    rest = jnp.maximum(z.squares - jnp.trace(within), 0) / max(d - r, 1)
    # No more than the least variance along them, which is at least the inverse of the trace of the inverse.
    inverse = kernels.inverse(kernels.cholesky(within))
    rest = jnp.minimum(rest, 0.9 / (inverse**2).sum())
    return basis @ kernels.cholesky(within - rest * jnp.eye(r, dtype=dtype))
