"""k-means++ that tolerates missing cells: where the components of a mixture start."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import dgjax_kernels as kernels

LLOYD_STEPS = 10
SMOOTHING = 0.1
"""Share of each row given to all components alike, so that no component starts without spread."""
FAR = 1e30
"""A squared distance beyond any in standardised columns."""


def soft_assignments(
    key: Key[Array, ""], x: Float[Array, "n d"], weights: Float[Array, "n *labels"], num_clusters: int
) -> Float[Array, "n *labels k"]:
    """Each row's cluster, nearly one-hot, clustering the rows of each label by their weights (n, *labels)."""
    z = _standardized(x)
    columns = weights.reshape(len(x), -1).T
    keys = jax.random.split(key, len(columns))
    cluster = functools.partial(_cluster, num_clusters=num_clusters)
    nearest = jax.vmap(cluster, in_axes=(0, None, 0))(keys, z, columns)
    hard = jax.nn.one_hot(nearest.T, num_clusters, dtype=x.dtype).reshape(*weights.shape, num_clusters)
    return (1 - SMOOTHING) * hard + SMOOTHING / num_clusters


def _standardized(x):
    observed = ~jnp.isnan(x)
    n = jnp.maximum(observed.sum(0), 1).astype(x.dtype)
    residual = jnp.where(observed, x - jnp.where(observed, x, 0).sum(0) / n, 0)
    scale = jnp.sqrt((residual**2).sum(0) / n)
    return jnp.where(observed, residual / jnp.where(scale > 0, scale, 1), jnp.nan)


def _cluster(key, z, weights, num_clusters):
    """The nearest of `num_clusters` centres (n,), after k-means++ and a few of Lloyd's steps."""
    distance = functools.partial(_squared_distances, ~jnp.isnan(z), jnp.where(jnp.isnan(z), 0, z))

    def seed(nearest, key):
        row = kernels.categorical(key, jnp.log(weights) + jnp.log(jnp.minimum(nearest, FAR)))
        centre = jnp.where(jnp.isnan(z[row]), 0, z[row])
        return jnp.minimum(nearest, distance(centre[None])[:, 0]), centre

    # Before there is a centre, all rows are equally far.
    _, centres = jax.lax.scan(seed, jnp.full(len(z), jnp.inf, z.dtype), jax.random.split(key, num_clusters))

    def lloyd(_, centres):
        return _means(z, weights[:, None] * jax.nn.one_hot(distance(centres).argmin(1), num_clusters), centres)

    return distance(jax.lax.fori_loop(0, LLOYD_STEPS, lloyd, centres)).argmin(1)


def _squared_distances(observed, filled, centres):
    """Mean squared distance over a row's observed cells, times d: as if the others were like them. (n, k)."""
    m = observed.astype(filled.dtype)
    total = (filled**2).sum(1)[:, None] - 2 * filled @ centres.T + m @ (centres**2).T
    return jnp.maximum(total, 0) * (filled.shape[1] / jnp.maximum(m.sum(1), 1))[:, None]


def _means(z, counts, otherwise):
    observed = ~jnp.isnan(z)
    cells = counts.T @ observed.astype(z.dtype)
    return jnp.where(cells > 0, counts.T @ jnp.where(observed, z, 0) / jnp.where(cells > 0, cells, 1), otherwise)
