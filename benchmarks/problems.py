"""Data that several benchmarks share, and models to start from."""

import jax.numpy as jnp
import numpy as np

import dgjax as dg


def clusters(n, d, k, dtype, missing=0.0, seed=0):
    """Rows of k normal clusters with their own spread in each column, and k of them to start from."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(k, d))
    x = (centres[rng.integers(k, size=n)] + rng.normal(size=(n, d)) * rng.uniform(0.5, 1.5, d)).astype(dtype)
    mean = (centres + 0.5 * rng.normal(size=(k, d))).astype(dtype)
    return np.where(rng.random((n, d)) < missing, np.nan, x).astype(dtype), mean


def start_at(mean, covariance):
    """Equal weights and unit covariances."""
    k, d = mean.shape
    density = {
        "full": lambda: dg.Gaussian(mean, np.stack([np.eye(d, dtype=mean.dtype)] * k)),
        "tied": lambda: dg.Gaussian(mean, np.eye(d, dtype=mean.dtype)),
        "diagonal": lambda: dg.DiagonalGaussian(mean, np.zeros((k, d), mean.dtype)),
        "spherical": lambda: dg.DiagonalGaussian(mean, np.zeros((k, 1), mean.dtype)),
    }[covariance]()
    return dg.Mixture(np.zeros(k, mean.dtype), density)


def em_flops(n, d, k, covariance, steps):
    """What the scores and statistics of EM need, each covariance in its cheapest form."""
    per_row = {"full": 2 * k * d * (d + 1), "tied": 2 * d * (d + 1) + 6 * k * d}.get(covariance, 8 * k * d)
    return n * per_row * (steps + 1)


def chain(n, t, k, dtype):
    """Start, moves and scores, as logarithms."""
    rng = np.random.default_rng(0)
    arrays = np.log(rng.dirichlet(np.ones(k))), np.log(rng.dirichlet(np.ones(k), k)), 3 * rng.normal(size=(n, t, k))
    return tuple(jnp.asarray(a, dtype) for a in arrays)


def emissions(n, t, k, d, dtype):
    """Rows around one mean for each state of a chain, and a start that is not far from it."""
    rng = np.random.default_rng(0)
    moves = 0.9 * np.eye(k) + 0.1 * rng.dirichlet(np.ones(k), k)
    mean, y = 2 * rng.normal(size=(k, d)), np.zeros((n, t), int)
    y[:, 0] = rng.integers(k, size=n)
    for s in range(1, t):
        y[:, s] = (rng.random((n, 1)) > moves[y[:, s - 1]].cumsum(1)).sum(1)
    x = mean[y] + rng.normal(size=(n, t, d))
    return x.astype(dtype), (mean + 0.3 * rng.normal(size=(k, d))).astype(dtype)


def chain_at(mean, covariance):
    """Equal probabilities of states and moves, unit covariances."""
    k, d = mean.shape
    even = jnp.full(k, -np.log(k), mean.dtype), jnp.full((k, k), -np.log(k), mean.dtype)
    if covariance == "full":
        density = dg.Gaussian(jnp.asarray(mean), jnp.broadcast_to(jnp.eye(d, dtype=mean.dtype), (k, d, d)))
    else:
        density = dg.DiagonalGaussian(jnp.asarray(mean), jnp.zeros((k, d), mean.dtype))
    return dg.HiddenMarkov(*even, density)
