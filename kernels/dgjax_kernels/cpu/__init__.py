"""Operations on a CPU by numba, each with the signature of its reference; numba is imported when one is traced."""

import os

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dgjax_kernels.blocks import pairwise_sum

PIECES_FOR_EACH_CORE, SMALLEST_PIECE = 4, 2048


def num_pieces(n: int) -> int:
    """Into how many pieces n rows are cut: enough to keep every core busy to the end, and large ones.

    Rows that miss the same cells are worked on together within a piece, so a piece should have many.
    """
    return max(1, min(n // SMALLEST_PIECE, PIECES_FOR_EACH_CORE * (os.cpu_count() or 1)))


def supported(x: Array) -> bool:
    """Whether there is a handler for these rows."""
    return len(x) > 0 and x.dtype in (jnp.float32, jnp.float64)


def _gaussian(x, y, weights, log_weights, mean, L, counts, scored):
    from dgjax_kernels.cpu import ffi, gaussian

    (n, d), (g, m, _), pieces = x.shape, mean.shape, num_pieces(len(x))
    summed = 0 if scored else pieces
    shapes = (n if scored else 0, g, m), (pieces,), (summed, g, m), (summed, g, m, d), (summed, g, d, d)
    results = tuple(jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes)
    target = ffi.target("gaussian", gaussian.handler, x.dtype)
    call = jax.ffi.ffi_call(target, results, vmap_method="sequential")
    return call(x, y.astype(jnp.int32), weights, log_weights, mean, L, counts)


def _unlabelled(x, g, m):
    n, dtype = len(x), x.dtype
    return jnp.full(n, -1, jnp.int32), jnp.ones(n, dtype), jnp.zeros((g, m), dtype)


def gaussian_scores(
    x: Float[Array, "n d"], mean: Float[Array, "g m d"], L: Float[Array, "g d d"]
) -> Float[Array, "n g m"]:
    """As `gaussian.scores`."""
    g, m, _ = mean.shape
    none = jnp.zeros((0, g, m), x.dtype)
    return _gaussian(x, *_unlabelled(x, g, m), mean, L, none, scored=True)[0]


def gaussian_statistics(
    x: Float[Array, "n d"], c: Float[Array, "n g m"], mean: Float[Array, "g m d"], L: Float[Array, "g d d"]
) -> tuple[Float[Array, "g m"], Float[Array, "g m d"], Float[Array, "g d d"]]:
    """As `gaussian.statistics`."""
    g, m, _ = mean.shape
    _, _, total, first, second = _gaussian(x, *_unlabelled(x, g, m), mean, L, c, scored=False)
    return total.sum(0), first.sum(0), second.sum(0)


def gaussian_expectation(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weights: Float[Array, " n"],
    log_weights: Float[Array, "g m"],
    mean: Float[Array, "g m d"],
    L: Float[Array, "g d d"],
) -> tuple[Float[Array, ""], tuple[Float[Array, "g m"], Float[Array, "g m d"], Float[Array, "g d d"]]]:
    """As `gaussian.expectation`."""
    none = jnp.zeros((0, *log_weights.shape), x.dtype)
    _, value, total, first, second = _gaussian(x, y, weights, log_weights, mean, L, none, scored=False)
    return pairwise_sum(value), (total.sum(0), first.sum(0), second.sum(0))
