"""Operations on a CPU by numba, each with the signature of its reference; numba is imported when one is traced."""

import math
import os
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dgjax_kernels import logistic as reference
from dgjax_kernels.blocks import BUDGET, checked_cells, pairwise_sum
from dgjax_kernels.gaussian import are_known, none_undefined
from dgjax_kernels.rows import ColumnSummary

FEWEST_ROWS, ENOUGH_ROWS, ENOUGH_WORK = 128, 2048, 1 << 22
FEWEST_PIECES, MOST_PIECES, SUMS, AMPLE = 8, 64, 1 << 22, 12


def num_pieces(n: int, row_cost: int) -> int:
    """Into how many pieces n rows of so many parameters are cut: by the rows, and never by the cores.

    So sums over pieces are to the last bit those of any machine. A power of two, for no core should be left with a
    piece of its own while the others have none; no more than whose sums fit a cache; and beyond eight only where each
    is twelve times as large as it must be, for a piece asks the system for memory of its own: ten steps on (200000, 12)
    with 6 full covariances take 133 ms by 8 pieces, 138 by 16, 151 by 32 and 163 by 64.
    """
    enough = min(ENOUGH_ROWS, max(FEWEST_ROWS, ENOUGH_WORK // row_cost))
    most = min(MOST_PIECES, max(FEWEST_PIECES, SUMS // row_cost))
    pieces = max(min(n // enough, FEWEST_PIECES), min(n // (AMPLE * enough), most))
    return 1 << max(1, pieces).bit_length() - 1


def _called(module: Any, results: Any, *arguments: Array) -> Any:
    """What a module's handler makes of arguments: results of these shapes, of the first one's type or their own."""
    from dgjax_kernels.cpu import ffi

    dtype = arguments[0].dtype
    shaped = tuple(one if hasattr(one, "dtype") else jax.ShapeDtypeStruct(one, dtype) for one in results)
    target = ffi.target(module.__name__.rpartition(".")[2], module.handler, dtype)
    return jax.ffi.ffi_call(target, shaped, vmap_method="sequential")(*arguments)


def _pass(module, x, y, weights, log_weights, parameters, counts, scored, *sums, more=()) -> Any:
    """One pass over the rows by the handler of a module: scores (n, g, m), or a value and sums of these shapes."""
    labels, pieces = log_weights.shape, num_pieces(len(x), sum(p.size for p in parameters))
    summed = 0 if scored else pieces
    k = math.prod(labels)
    shapes = (len(x) if scored else 0, k), (pieces,), *((summed, *shape) for shape in sums)
    counts = jnp.zeros((0, k), x.dtype) if counts is None else counts.reshape(len(x), k)
    arguments = x, y.astype(jnp.int32), weights, log_weights, *parameters, counts, *more
    scores, value, *totals = _called(module, shapes, *arguments)
    return scores.reshape(len(x), *labels) if scored else (pairwise_sum(value), tuple(total.sum(0) for total in totals))


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
    return value, count, (moments[0], moments[1], moments[2, :, : log_scale.shape[1]])


def _cells(family, slots, x, y, weights, log_weights, log_p, counts=None, scored=False) -> Any:
    from dgjax_kernels.cpu import cells

    which = ["table", "poisson", "multinomial"].index(family)
    named = jnp.array([which, bool(checked_cells.value)], jnp.int32)
    counts, (k, d, _) = None if counts is None else counts[:, None], log_p.shape
    result = _pass(
        cells, x, y, weights, log_weights[None], (log_p,), counts, scored, (k,), (k, d, slots), more=(named,)
    )
    if scored:
        return result[:, 0]
    value, (count, sums) = result
    return value, count, sums


def _unlabelled(x, labels):
    n, dtype = len(x), x.dtype
    return jnp.full(n, -1, jnp.int32), jnp.ones(n, dtype), jnp.zeros(labels, dtype)


def gaussian_scores(
    x: Float[Array, "n d"], mean: Float[Array, "g m d"], L: Float[Array, "g d d"]
) -> Float[Array, "n g m"]:
    """As `gaussian.scores`."""
    return none_undefined(_gaussian(x, *_unlabelled(x, mean.shape[:2]), mean, L, scored=True), are_known(mean, L))


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


def gaussian_conditional(
    residual: Float[Array, "n d"], group: Int[Array, " n"], L: Float[Array, "g d d"]
) -> Float[Array, "n d"]:
    """As `gaussian.conditional`."""
    from dgjax_kernels.cpu import conditional

    results = residual.shape, (num_pieces(len(residual), L[0].size),)
    return _called(conditional, results, residual, group.astype(jnp.int32), L)[0]


def diagonal_scores(
    x: Float[Array, "n d"], mean: Float[Array, "k d"], log_scale: Float[Array, "k #d"]
) -> Float[Array, "n k"]:
    """As `rows.diagonal`."""
    known = jnp.isfinite(mean).all(-1) & jnp.isfinite(log_scale).all(-1)
    return none_undefined(_diagonal(x, *_unlabelled(x, len(mean)), mean, log_scale, scored=True), known)


def diagonal_statistics(
    x: Float[Array, "n d"], c: Float[Array, "n k"], mean: Float[Array, "k d"], log_scale: Float[Array, "k #d"]
) -> tuple[Float[Array, "k d"], Float[Array, "k d"], Float[Array, "k #d"]]:
    """As `rows.diagonal_statistics`."""
    return _diagonal(x, *_unlabelled(x, len(mean)), mean, log_scale, c)[2]


def labelled_moments(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weights: Float[Array, " n"],
    centre: Float[Array, "k d"],
    log_scale: Float[Array, "k d"],
) -> tuple[Float[Array, " k"], tuple[Float[Array, "k d"], Float[Array, "k d"], Float[Array, "k d"]]]:
    """As `rows.labelled_moments`."""
    from dgjax_kernels.cpu import labelled

    pieces, (k, d) = num_pieces(len(x), centre.size), centre.shape
    shapes = (pieces, k), (pieces, 3, k, d)
    counts, sums = _called(labelled, shapes, x, y.astype(jnp.int32), weights, centre, log_scale)
    return counts.sum(0), tuple(sums.sum(0))


def diagonal_expectation(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weights: Float[Array, " n"],
    log_weights: Float[Array, " k"],
    mean: Float[Array, "k d"],
    log_scale: Float[Array, "k #d"],
) -> tuple[Float[Array, ""], Float[Array, " k"], tuple[Float[Array, "k d"], Float[Array, "k d"], Float[Array, "k #d"]]]:
    """As `rows.diagonal_expectation`."""
    return _diagonal(x, y, weights, log_weights, mean, log_scale)


def table(x: Float[Array, "n d"], log_p: Float[Array, "k d v"]) -> Float[Array, "n k"]:
    """As `rows.table`."""
    return _cells("table", 0, x, *_unlabelled(x, len(log_p)), log_p, scored=True)


def table_statistics(
    x: Float[Array, "n d"], c: Float[Array, "n k"], log_p: Float[Array, "k d v"]
) -> Float[Array, "k d v"]:
    """As `rows.table_statistics`."""
    return _cells("table", log_p.shape[2], x, *_unlabelled(x, len(log_p)), log_p, c)[2]


def table_expectation(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weights: Float[Array, " n"],
    log_weights: Float[Array, " k"],
    log_p: Float[Array, "k d v"],
) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "k d v"]]:
    """As `rows.table_expectation`."""
    return _cells("table", log_p.shape[2], x, y, weights, log_weights, log_p)


def poisson(x: Float[Array, "n d"], log_rate: Float[Array, "k d"]) -> Float[Array, "n k"]:
    """As `rows.poisson`."""
    return _cells("poisson", 2, x, *_unlabelled(x, len(log_rate)), log_rate[..., None], scored=True)


def poisson_statistics(
    x: Float[Array, "n d"], c: Float[Array, "n k"], log_rate: Float[Array, "k d"]
) -> Float[Array, "k d 2"]:
    """As `rows.poisson_statistics`."""
    return _cells("poisson", 2, x, *_unlabelled(x, len(log_rate)), log_rate[..., None], c)[2]


def poisson_expectation(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weights: Float[Array, " n"],
    log_weights: Float[Array, " k"],
    log_rate: Float[Array, "k d"],
) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "k d 2"]]:
    """As `rows.poisson_expectation`."""
    return _cells("poisson", 2, x, y, weights, log_weights, log_rate[..., None])


def multinomial(x: Float[Array, "n d"], log_p: Float[Array, "k d"]) -> Float[Array, "n k"]:
    """As `rows.multinomial`."""
    return _cells("multinomial", 1, x, *_unlabelled(x, len(log_p)), log_p[..., None], scored=True)


def multinomial_statistics(
    x: Float[Array, "n d"], c: Float[Array, "n k"], log_p: Float[Array, "k d"]
) -> Float[Array, "k d"]:
    """As `rows.multinomial_statistics`."""
    return _cells("multinomial", 1, x, *_unlabelled(x, len(log_p)), log_p[..., None], c)[2][..., 0]


def multinomial_expectation(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weights: Float[Array, " n"],
    log_weights: Float[Array, " k"],
    log_p: Float[Array, "k d"],
) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "k d"]]:
    """As `rows.multinomial_expectation`."""
    value, count, sums = _cells("multinomial", 1, x, y, weights, log_weights, log_p[..., None])
    return value, count, sums[..., 0]


def logistic_gradient(
    x: Float[Array, "n d"], y: Int[Array, " n"], w: Float[Array, " n"], b: Float[Array, " k"], W: Float[Array, "k d"]
) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "k d"]]:
    """As `logistic.gradient`."""
    return logistic_gradient_in_place(x[:0], x.reshape(-1), y, w, b, W)


def logistic_gradient_in_place(
    first: Float[Array, "few d"],
    cells: Float[Array, " rest"],
    y: Int[Array, " n"],
    w: Float[Array, " n"],
    b: Float[Array, " k"],
    W: Float[Array, "k d"],
) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "k d"]]:
    """As `logistic.gradient_in_place`."""
    from dgjax_kernels.cpu import logistic

    pieces = num_pieces(len(y), W.size)
    shapes = (pieces,), (pieces, len(b), 1 + W.shape[1])
    value, sums = _called(logistic, shapes, first, cells, y.astype(jnp.int32), w, b, W)
    total = sums.sum(0)
    return pairwise_sum(value), total[:, 0], total[:, 1:]


def logistic_curvature(
    x: Float[Array, "n d"], y: Int[Array, " n"], w: Float[Array, " n"], b: Float[Array, " k"], W: Float[Array, "k d"]
) -> Float[Array, "k e k e"]:
    """As `logistic.curvature`."""
    return reference.curvature(x, y, w, b, W, gram=_gram, most_at_once=BUDGET)


def _gram(x, a):
    from dgjax_kernels.cpu import gram

    # The sums of a piece are (q, e, e), as dear as 450 of its rows: (8016, 500) takes 31 ms by 8 pieces, 23 by 2.
    e, q = 1 + x.shape[1], a.shape[1]
    return _called(gram, [(num_pieces(len(x), q * e), q, e, e)], x, a)[0].sum(0)


def whitener(A: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """As `triangular.whitener`, without LAPACK.

    For 26 ms after each call, the threads of its OpenBLAS keep the cores busy waiting for another one: that costs the
    passes over rows beside it more than the factorization.
    """
    from dgjax_kernels.cpu import whitening

    return _called(whitening, [A.shape], A)[0]


def column_summary(x: Float[Array, "n d"]) -> ColumnSummary:
    """As `rows.column_summary`."""
    from dgjax_kernels.cpu import columns

    n, d = x.shape
    return columns.of_pieces(_called(columns, [(num_pieces(n, d), columns.NUM_RESULTS, d)], x)[0], n, jnp)


def _chain(initial, transition, scores, lengths, posterior) -> Any:
    """By states side by side where there are fewer sequences than lanes.

    That takes part of the time of sequences side by side on one core, and is spread over two for each sequence; for
    sequences, steps and states (1, 50000, 5) 0.26, (2, 20000, 5) 0.5, (4, 10000, 8) 0.6, (7, 5000, 8) 1.1.
    """
    from dgjax_kernels.cpu import chain, chain_few

    (n, t, k), few = scores.shape, len(scores) < chain.WIDTH
    shown = n if posterior else 0
    room = jax.ShapeDtypeStruct((8 * (n * chain_few.words_of_sequence(t, k) + chain.WIDTH),), jnp.uint8)
    results = (n,), (shown, t, k), (shown, k, k), *([room] if few else [])
    module = chain_few if few else chain
    return _called(module, results, initial, transition, scores, lengths.astype(jnp.int32))[:3]


def chain_partition(
    initial: Float[Array, " k"],
    transition: Float[Array, "k k"],
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Float[Array, " n"]:
    """As `chain.log_partition`, for moves that are the same at each step."""
    return _chain(initial, transition, scores, lengths, posterior=False)[0]


def chain_expectation(
    initial: Float[Array, " k"],
    transition: Float[Array, "k k"],
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> tuple[Float[Array, " n"], Float[Array, "n t k"], Float[Array, "n *steps k k"]]:
    """As `chain.expectation`, for moves that are the same at each step."""
    return _chain(initial, transition, scores, lengths, posterior=True)


def _paths(initial, transition, scores, lengths, parts) -> Any:
    """The best paths, of sequences that are cut into so many parts."""
    from dgjax_kernels.cpu import viterbi

    (n, t, k), width = scores.shape, viterbi.WIDTH
    step, groups = -(-t // parts), -(-n * parts // width)
    came = groups if parts > 1 else 0, min(t, step + 2 * viterbi.MARGIN), k, width
    integer = jnp.int32 if scores.dtype == jnp.float32 else jnp.int64
    shapes = ((n, t), integer), ((groups * width, 8 * (2 * k + viterbi.NOTES)), jnp.uint8), (came, jnp.uint8)
    results, cut = [jax.ShapeDtypeStruct(*shape) for shape in shapes], jnp.array([parts, step], jnp.int32)
    path, *_ = _called(viterbi, results, initial, transition, scores, lengths.astype(jnp.int32), cut)
    return path.astype(int)


def chain_mode(
    initial: Float[Array, " k"],
    transition: Float[Array, "k k"],
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Int[Array, "n t"]:
    """As `chain.mode`, for moves that are the same at each step, between at most 256 states."""
    from dgjax_kernels.cpu import viterbi

    n, t, _ = scores.shape
    parts = max(1, min(viterbi.WIDTH * (os.cpu_count() or 1) // n, t // (8 * viterbi.MARGIN)))
    return _paths(initial, transition, scores, lengths, parts)
