"""Operations on a CPU by numba, each with the signature of its reference; numba is imported when one is traced."""

import os
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dgjax_kernels.blocks import pairwise_sum

PIECES_FOR_EACH_CORE = 4
FEWEST_ROWS, ENOUGH_ROWS, ENOUGH_WORK = 128, 2048, 1 << 22


def num_pieces(n: int, row_cost: int) -> int:
    """Into how many pieces n rows of so many parameters are cut: enough to keep every core busy, and large ones.

    Rows that miss the same cells are worked on together within a piece, so a piece should have many.
    """
    smallest = min(ENOUGH_ROWS, max(FEWEST_ROWS, ENOUGH_WORK // row_cost))
    return max(1, min(n // smallest, PIECES_FOR_EACH_CORE * (os.cpu_count() or 1)))


def supported(x: Array) -> bool:
    """Whether there is a handler for these rows."""
    return len(x) > 0 and x.dtype in (jnp.float32, jnp.float64)


def _pass(module, x, y, weights, log_weights, parameters, counts, scored, *sums) -> Any:
    """One pass over the rows by the handler of a module: scores (n, g, m), or a value and sums of these shapes."""
    from dgjax_kernels.cpu import ffi

    labels, pieces = log_weights.shape, num_pieces(len(x), sum(p.size for p in parameters))
    summed = 0 if scored else pieces
    shapes = (len(x) if scored else 0, *labels), (pieces,), *((summed, *shape) for shape in sums)
    results = tuple(jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes)
    target = ffi.target(module.__name__.rpartition(".")[2], module.handler, x.dtype)
    call = jax.ffi.ffi_call(target, results, vmap_method="sequential")
    counts = jnp.zeros((0, *labels), x.dtype) if counts is None else counts
    scores, value, *totals = call(x, y.astype(jnp.int32), weights, log_weights, *parameters, counts)
    return scores if scored else (pairwise_sum(value), tuple(total.sum(0) for total in totals))


def _gaussian(x, y, weights, log_weights, mean, L, counts=None, scored=False) -> Any:
    from dgjax_kernels.cpu import gaussian

    sums = log_weights.shape, mean.shape, L.shape
    return _pass(gaussian, x, y, weights, log_weights, (mean, L), counts, scored, *sums)


def _diagonal(x, y, weights, log_weights, mean, log_scale, counts=None, scored=False) -> Any:
    from dgjax_kernels.cpu import diagonal

    labels, counts = log_weights[None], None if counts is None else counts[:, None]
    sums = (3, *mean.shape), log_weights.shape
    result = _pass(diagonal, x, y, weights, labels, (mean, log_scale), counts, scored, *sums)
    if scored:
        return result[:, 0]
    value, (moments, count) = result
    return value, count, tuple(moments)


def _unlabelled(x, labels):
    n, dtype = len(x), x.dtype
    return jnp.full(n, -1, jnp.int32), jnp.ones(n, dtype), jnp.zeros(labels, dtype)


def gaussian_scores(
    x: Float[Array, "n d"], mean: Float[Array, "g m d"], L: Float[Array, "g d d"]
) -> Float[Array, "n g m"]:
    """As `gaussian.scores`."""
    return _gaussian(x, *_unlabelled(x, mean.shape[:2]), mean, L, scored=True)


def gaussian_statistics(
    x: Float[Array, "n d"], c: Float[Array, "n g m"], mean: Float[Array, "g m d"], L: Float[Array, "g d d"]
) -> tuple[Float[Array, "g m"], Float[Array, "g m d"], Float[Array, "g d d"]]:
    """As `gaussian.statistics`."""
    return _gaussian(x, *_unlabelled(x, mean.shape[:2]), mean, L, c)[1]


def gaussian_expectation(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weights: Float[Array, " n"],
    log_weights: Float[Array, "g m"],
    mean: Float[Array, "g m d"],
    L: Float[Array, "g d d"],
) -> tuple[Float[Array, ""], tuple[Float[Array, "g m"], Float[Array, "g m d"], Float[Array, "g d d"]]]:
    """As `gaussian.expectation`."""
    return _gaussian(x, y, weights, log_weights, mean, L)


def diagonal_scores(
    x: Float[Array, "n d"], mean: Float[Array, "k d"], log_scale: Float[Array, "k d"]
) -> Float[Array, "n k"]:
    """As `rows.diagonal`."""
    return _diagonal(x, *_unlabelled(x, len(mean)), mean, log_scale, scored=True)


def diagonal_statistics(
    x: Float[Array, "n d"], c: Float[Array, "n k"], mean: Float[Array, "k d"], log_scale: Float[Array, "k d"]
) -> tuple[Float[Array, "k d"], Float[Array, "k d"], Float[Array, "k d"]]:
    """As `rows.diagonal_statistics`."""
    return _diagonal(x, *_unlabelled(x, len(mean)), mean, log_scale, c)[2]


def diagonal_expectation(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weights: Float[Array, " n"],
    log_weights: Float[Array, " k"],
    mean: Float[Array, "k d"],
    log_scale: Float[Array, "k d"],
) -> tuple[Float[Array, ""], Float[Array, " k"], tuple[Float[Array, "k d"], Float[Array, "k d"], Float[Array, "k d"]]]:
    """As `rows.diagonal_expectation`."""
    return _diagonal(x, y, weights, log_weights, mean, log_scale)
