"""Normal rows of low rank plus diagonal whose observed cells alone are given, as of ratings: `factor` at their cost.

Row i has the cells columns[starts[i]:starts[i + 1]] with their values, and misses all others. Cells from starts[n] on
pad, and count for nothing. What is said of a row is the sum over its own cells, and what of a column the sum over its:

    M = L N L^T,  N = L^-1 L^-T + sum_o (V L^-T)_j (V L^-T)_j^T      cells of a row, r x r each
    c u g^T, c u^2, c g g^T                                          cells of a column, given the factors of their rows

so that time goes with cells times r^2, and memory with cells, plus rows and columns times r^2: never with rows times
columns. The mathematics, and why it is done by L and by residuals, is that of `factor`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dgjax_kernels import factor, rows
from dgjax_kernels.blocks import BUDGET


class SparsePosterior(NamedTuple):
    """Factors given each row: their mean m (n, k, r), a root W (n, k, r, r) of their covariance W^T W, and log |M|.

    log |M| is (n, k). And of each cell what m leaves over of it, z - V m (e, k), its row and its column (e,): n and d
    of those that pad.
    """

    mean: Float[Array, "n k r"]
    root: Float[Array, "n k r r"]
    log_det: Float[Array, "n k"]
    residual: Float[Array, "e k"]
    row: Int[Array, " e"]
    column: Int[Array, " e"]


def places(starts: Int[Array, " m"], columns: Int[Array, " e"], d: int) -> tuple[Int[Array, " e"], Int[Array, " e"]]:
    """Row and column (e,) of each cell, of m - 1 rows and d columns; those of cells that pad are m - 1 and d."""
    ends = jnp.append(starts[1:], len(columns))
    row = jnp.repeat(jnp.arange(len(starts)), ends - starts, total_repeat_length=len(columns))
    return row, jnp.where(row < len(starts) - 1, columns, d)


def cell_sums(
    fn: Callable[..., Float[Array, "b ..."]], at: Int[Array, " e"], size: int, *cells: Float[Array, "e ..."], cost: int
) -> Float[Array, "m ..."]:
    """Sums (size, ...) of `fn` of the cells over those with the same place `at`; places beyond are left out.

    In blocks of cells, if one of `cost` floats for each of them would be large.
    """
    block = max(1, BUDGET // cost)
    if len(at) <= block:
        return jax.ops.segment_sum(fn(*cells), at, size)
    shapes = jax.eval_shape(fn, *(cell[:block] for cell in cells))
    padding = -len(at) % block

    def split(own, fill):
        widths = [(0, padding)] + [(0, 0)] * (own.ndim - 1)
        return jnp.pad(own, widths, constant_values=fill).reshape(-1, block, *own.shape[1:])

    def add(total, part):
        return total.at[part[0]].add(fn(*part[1:])), None

    zero = jnp.zeros((size, *shapes.shape[1:]), shapes.dtype)
    return jax.lax.scan(add, zero, (split(at, size), *(split(cell, 0) for cell in cells)))[0]


def posterior(
    starts: Int[Array, " m"],
    columns: Int[Array, " e"],
    values: Float[Array, " e"],
    mean: Float[Array, "k d"],
    loading: Float[Array, "k d r"],
    log_scale: Float[Array, "k d"],
) -> SparsePosterior:
    """Factors given the cells of each of m - 1 rows under each label."""
    (k, d, r), n = loading.shape, len(starts) - 1
    row, column = places(starts, columns, d)
    V, W, log_det = factor.whitened(loading, log_scale)
    V, own = jnp.swapaxes(V, 0, 1), jnp.swapaxes(V @ jnp.swapaxes(W, -1, -2), 0, 1)
    z = rows.in_units(values[:, None] - mean.T[column], log_scale.T[column])

    def of_rows(fn, *cells, cost=r):
        return cell_sums(fn, row, n, *cells, cost=k * cost)

    N = of_rows(lambda at: own[at][..., None] * own[at][..., None, :], column, cost=r * r)
    W, log_det = factor.conditioned(N, W[None], log_det)

    def solved(b):
        return jnp.einsum("nkrs,nkr->nks", W, jnp.einsum("nkrs,nks->nkr", W, b))

    def left(m, at, z, row):
        return z - (V[at] * m[row]).sum(-1)

    m = solved(of_rows(lambda at, z: V[at] * z[..., None], column, z))
    m = m + solved(of_rows(lambda *cells: V[cells[0]] * left(m, *cells)[..., None], column, z, row) - m)
    block = max(1, BUDGET // (k * r))
    residual = jax.lax.map(lambda cell: left(m, *cell), (column, z, row), batch_size=block)
    return SparsePosterior(m, W, log_det, residual, row, column)


def evidence(of: SparsePosterior, log_scale: Float[Array, "k d"]) -> Float[Array, "n k"]:
    """Log-density (n, k) of each row under each label, from its factors."""
    each = 0.5 * of.residual**2 + (log_scale.T + 0.5 * rows.LOG_TWO_PI)[of.column]
    return -jax.ops.segment_sum(each, of.row, len(of.mean)) - 0.5 * ((of.mean**2).sum(-1) + of.log_det)


def total(
    of: SparsePosterior, counts: Float[Array, "n k"], loading: Float[Array, "k d r"], log_scale: Float[Array, "k d"]
) -> factor.Statistics:
    """Statistics under responsibilities `counts` (n, k), from each row's factors."""
    (k, d, r), V = loading.shape, jnp.swapaxes(rows.in_units(loading, log_scale[..., None]), 0, 1)
    one = jnp.concatenate([of.mean, jnp.ones_like(of.mean[..., :1])], -1)
    covariance = jnp.swapaxes(of.root, -1, -2) @ of.root

    def cell(row, column, u):
        g, c = one[row], counts[row][..., None]
        moved = (covariance[row] * V[column][..., None, :]).sum(-1)
        cross = u[..., None] * g - jnp.pad(moved, [(0, 0), (0, 0), (0, 1)])
        second = (u**2 + (V[column] * moved).sum(-1))[..., None]
        products = g[..., None] * g[..., None, :] + factor.bordered(covariance[row])
        return c * jnp.concatenate([jnp.ones_like(second), second, cross, products.reshape(len(u), k, -1)], -1)

    found = cell_sums(cell, of.column, d, of.row, of.column, of.residual, cost=k * (r + 2) ** 2)
    found, products = jnp.swapaxes(found, 0, 1), jnp.einsum("nk,nkq,nkp->kqp", counts, one, one)
    latent = products + factor.bordered(jnp.einsum("nk,nkrs->krs", counts, covariance))
    factors = found[..., r + 3 :].reshape(k, d, r + 1, r + 1)
    return factor.Statistics(found[..., 0], found[..., 2 : r + 3], found[..., 1], factors, latent)


def scores(
    starts: Int[Array, " m"],
    columns: Int[Array, " e"],
    values: Float[Array, " e"],
    mean: Float[Array, "k d"],
    loading: Float[Array, "k d r"],
    log_scale: Float[Array, "k d"],
) -> Float[Array, "n k"]:
    """Log-densities (n, k) of rows under k means, loadings (k, d, r) and log-scales of the noise (k, d)."""
    return evidence(posterior(starts, columns, values, mean, loading, log_scale), log_scale)


def statistics(
    starts: Int[Array, " m"],
    columns: Int[Array, " e"],
    values: Float[Array, " e"],
    counts: Float[Array, "n k"],
    mean: Float[Array, "k d"],
    loading: Float[Array, "k d r"],
    log_scale: Float[Array, "k d"],
) -> factor.Statistics:
    """Statistics of rows under responsibilities `counts` (n, k)."""
    return total(posterior(starts, columns, values, mean, loading, log_scale), counts, loading, log_scale)


def expectation(
    starts: Int[Array, " m"],
    columns: Int[Array, " e"],
    values: Float[Array, " e"],
    y: Int[Array, " n"],
    weights: Float[Array, " n"],
    log_weights: Float[Array, " k"],
    mean: Float[Array, "k d"],
    loading: Float[Array, "k d r"],
    log_scale: Float[Array, "k d"],
) -> tuple[Float[Array, ""], Float[Array, " k"], factor.Statistics]:
    """E-step: log-likelihood, summed responsibilities (k,), and statistics; each row's factors are found once."""
    found = posterior(starts, columns, values, mean, loading, log_scale)
    empty = jnp.where(starts[1:] > starts[:-1], 0, jnp.nan).astype(values.dtype)[:, None]
    value, counts = rows.joint_partition(empty, y, weights, log_weights + evidence(found, log_scale))
    return value, counts.sum(0), total(found, counts, loading, log_scale)
