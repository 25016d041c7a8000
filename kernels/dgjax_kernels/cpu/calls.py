"""Calls of handlers inside a program of JAX's: number of pieces, shapes of results, and sums over pieces."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from dgjax_kernels.blocks import pairwise_sum

FEWEST_ROWS, ENOUGH_ROWS, ENOUGH_WORK = 128, 2048, 1 << 22  # of a piece, and floats: rows times parameters
FEWEST_PIECES, MOST_PIECES, SUMS, AMPLE = 8, 64, 1 << 20, 12  # SUMS: floats of all pieces, 8 MB


def num_pieces(n: int, row_cost: int) -> int:
    """Number of pieces into which n rows are cut, `row_cost` parameters each: by the rows, and never by the cores.

    So sums over pieces are to the last bit those of any machine. A power of two, for no core should be left with a
    piece of its own while the others have none; no more than whose sums fit a cache; and beyond eight only where each
    is twelve times as large as it must be, for a piece asks the system for memory of its own: ten steps on (200000, 12)
    with 6 full covariances take 133 ms by 8 pieces, 138 by 16, 151 by 32 and 163 by 64; five on (102400, 32) with 32
    460, 451 by 16 and 534 by 64.
    """
    enough = min(ENOUGH_ROWS, max(FEWEST_ROWS, ENOUGH_WORK // row_cost))
    most = min(MOST_PIECES, max(FEWEST_PIECES, SUMS // row_cost))
    pieces = max(min(n // enough, FEWEST_PIECES), min(n // (AMPLE * enough), most))
    return 1 << max(1, pieces).bit_length() - 1


def called(handler: Any, results: Any, *arguments: Array) -> Any:
    """FFI call of a handler in a program: its results, of these shapes, in the first argument's type or their own."""
    dtype = arguments[0].dtype
    shaped = tuple(one if hasattr(one, "dtype") else jax.ShapeDtypeStruct(one, dtype) for one in results)
    return jax.ffi.ffi_call(handler.target(dtype), shaped, vmap_method="sequential")(*arguments)


def one_pass(
    handler: Any,
    x: Array,
    y: Array,
    weights: Array,
    log_weights: Array,
    parameters: tuple[Array, ...],
    counts: Array | None,
    scored: bool,
    *sums: tuple[int, ...],
    more: tuple[Array, ...] = (),
) -> Any:
    """One pass of a handler over rows x (n, d) for labels (g, m): scores (n, g, m) if `scored`, else a value and sums.

    The sums, of the shapes `sums`, are sufficient statistics: of `counts` where they are given, else of the
    responsibilities that the labels y, the weights and the scores leave, which is a whole E-step; then the value is the
    log-likelihood. `log_weights` (g, m) are those of labels; `parameters` and `more` go to the handler as they are.
    """
    labels, pieces = log_weights.shape, num_pieces(len(x), sum(p.size for p in parameters))
    summed = 0 if scored else pieces
    k = math.prod(labels)
    shapes = (len(x) if scored else 0, k), (pieces,), *((summed, *shape) for shape in sums)
    counts = jnp.zeros((0, k), x.dtype) if counts is None else counts.reshape(len(x), k)
    question = jnp.zeros(1, jnp.int32)  # none: scores themselves
    arguments = x, y.astype(jnp.int32), weights, log_weights, *parameters, counts, question, *more
    scores, value, *totals = called(handler, shapes, *arguments)
    return scores.reshape(len(x), *labels) if scored else (pairwise_sum(value), tuple(total.sum(0) for total in totals))


def unlabelled(x: Array, labels: tuple[int, ...] | int) -> tuple[Array, Array, Array]:
    """Labels and weights of no rows, and log-weights 0 of labels: what a pass over rows x is given that has none."""
    return jnp.zeros(0, jnp.int32), jnp.zeros(0, x.dtype), jnp.zeros(labels, x.dtype)
