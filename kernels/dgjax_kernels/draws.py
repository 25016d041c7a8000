"""Draws of normal distributions, each row under its own label: x = mean + L z, z standard normal.

Letters: n rows of d columns; labels stand in g groups of m that share a factor; mean (g, m, d); L the lower Cholesky
factor of a covariance (g, d, d), of which only the lower triangle is read.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from dgjax_kernels.blocks import map_rows


def full(
    key: Key[Array, ""], labels: Int[Array, " n"], mean: Float[Array, "g m d"], L: Float[Array, "g d d"]
) -> Float[Array, "n d"]:
    """Normal draws (n, d): mean + L z, each row under its label (n,), from 0 to g m - 1; z is standard normal.

    By `jax.random.normal` of the key; mean (g, m, d), lower Cholesky factors L (g, d, d), one for m labels each.
    """
    (_, m, d), flat, L = mean.shape, mean.reshape(-1, mean.shape[2]), jnp.tril(L)
    z = jax.random.normal(key, (len(labels), d), mean.dtype)

    def block(labels, z):
        return flat[labels] + jnp.einsum("nij,nj->ni", L[labels // m], z)

    return map_rows(block, labels, z, row_cost=d * d)


def diagonal(
    key: Key[Array, ""], labels: Int[Array, " n"], mean: Float[Array, "k d"], scale: Float[Array, "k d"]
) -> Float[Array, "n d"]:
    """Draws of independent normal columns (n, d): mean + scale z, each row under its label (n,), from 0 to k - 1.

    z is standard normal, by `jax.random.normal` of the key; mean (k, d), scale (k, d).
    """
    z = jax.random.normal(key, (len(labels), mean.shape[1]), mean.dtype)
    return mean[labels] + scale[labels] * z
