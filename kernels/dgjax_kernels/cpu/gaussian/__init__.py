"""Full covariances on a CPU, with the signatures of `dgjax_kernels.gaussian`; numba is imported when one is traced."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgjax_kernels import factor, rows
from dgjax_kernels._op import like
from dgjax_kernels.blocks import pairwise_sum
from dgjax_kernels.cpu.calls import called, num_pieces, one_pass, unlabelled
from dgjax_kernels.draws import diagonal as of_diagonal_draws, full as of_draws
from dgjax_kernels.gaussian import (
    are_known,
    conditional as of_conditional,
    expectation as of_expectation,
    none_undefined,
    scores as of_scores,
    statistics as of_statistics,
)
from dgjax_kernels.sparse_factor import (
    expectation as of_cells_expectation,
    scores as of_cells_scores,
    statistics as of_cells_statistics,
)
from dgjax_kernels.triangular import whitener as of_whitener


def _one_pass(x, y, weights, log_weights, mean, L, counts=None, scored=False) -> Any:
    from dgjax_kernels.cpu.gaussian.estep import handler

    sums = log_weights.shape, mean.shape, L.shape
    return one_pass(handler, x, y, weights, log_weights, (mean, L), counts, scored, *sums)


@like(of_scores)
def scores(x, mean, L):
    return none_undefined(_one_pass(x, *unlabelled(x, mean.shape[:2]), mean, L, scored=True), are_known(mean, L))


@like(of_statistics)
def statistics(x, c, mean, L):
    return _one_pass(x, *unlabelled(x, mean.shape[:2]), mean, L, c)[1]


@like(of_expectation)
def expectation(x, y, weights, log_weights, mean, L):
    return _one_pass(x, y, weights, log_weights, mean, L)


@like(of_conditional)
def conditional(residual, group, L):
    from dgjax_kernels.cpu.gaussian.conditional import handler

    results = residual.shape, (num_pieces(len(residual), L[0].size),)
    return called(handler, results, residual, group.astype(jnp.int32), L)[0]


@like(of_whitener)
def whitener(A):
    # Without LAPACK: for 26 ms after each call the threads of its OpenBLAS keep the cores busy waiting for another one,
    # which costs the passes over rows beside it more than the factorization.
    from dgjax_kernels.cpu.gaussian.whitening import handler

    return called(handler, [A.shape], A)[0]


def _drawn(key, labels, mean, L):
    from dgjax_kernels.cpu.gaussian.draws import handler

    n, d = len(labels), mean.shape[2]
    results = (n, d), (num_pieces(n, L[0].size),)
    return called(handler, results, mean, L, jax.random.key_data(key), labels.astype(jnp.int32))[0]


@like(of_draws)
def draws(key, labels, mean, L):
    return _drawn(key, labels, mean, L)


@like(of_diagonal_draws)
def diagonal_draws(key, labels, mean, scale):
    return _drawn(key, labels, mean[:, None], scale[:, None])


def _over_cells(
    starts, columns, values, mean, loading, log_scale, y, weights, log_weights, counts, scored=False
) -> Any:
    """One pass over the cells: scores (n, k) if asked, else the log-likelihood, sums of responsibilities, statistics.

    `counts` of no rows are not given: responsibilities are worked out.
    """
    from dgjax_kernels.cpu.gaussian.ratings import handler

    (k, d, r), n = loading.shape, len(starts) - 1
    V, W, log_det = factor.whitened(loading, log_scale)
    low, high = np.tril_indices(r)
    own, q = V @ jnp.swapaxes(W, 1, 2), r + 1
    of_columns = mean, rows.in_units(jnp.ones_like(log_scale), log_scale), log_scale, V, own[..., low] * own[..., high]
    pieces, width = num_pieces(n, d * k * q * (q + 1)), q * q + r * r
    summed = 0 if scored else pieces
    results = (n * scored, k), (pieces,), (summed, k), (summed, d, k, q + 2), (summed, d, k, width), (summed, k, width)
    ints, others = (own.astype(jnp.int32) for own in (starts, columns, y)), (W, log_det, log_weights)
    at_columns = (jnp.swapaxes(own, 0, 1) for own in of_columns)
    found = called(handler, results, values, *ints, weights, counts, *at_columns, *others)
    if scored:
        return found[0]
    _, value, total, first, moments, latent = found
    first, moments = (jnp.swapaxes(pairwise_sum(own), 0, 1) for own in (first, moments))
    latent = pairwise_sum(latent)

    def whole(both):
        spread = both[..., q * q :].reshape(*both.shape[:-1], r, r)
        return spread, both[..., : q * q].reshape(*both.shape[:-1], q, q) + factor.bordered(spread)

    (spread, factors), (_, latent) = whole(moments), whole(latent)
    moved = jnp.einsum("kdrs,kds->kdr", spread, V)
    cross, second = first[..., 2:] - jnp.pad(moved, [(0, 0), (0, 0), (0, 1)]), first[..., 1] + (V * moved).sum(-1)
    return pairwise_sum(value), total.sum(0), factor.Statistics(first[..., 0], cross, second, factors, latent)


@like(of_cells_scores)
def cells_scores(starts, columns, values, mean, loading, log_scale):
    none = unlabelled(values, len(loading))
    counts = jnp.zeros((0, len(loading)), values.dtype)
    return _over_cells(starts, columns, values, mean, loading, log_scale, *none, counts, True)


@like(of_cells_statistics)
def cells_statistics(starts, columns, values, counts, mean, loading, log_scale):
    none = unlabelled(values, len(loading))
    return _over_cells(starts, columns, values, mean, loading, log_scale, *none, counts)[2]


@like(of_cells_expectation)
def cells_expectation(starts, columns, values, y, weights, log_weights, mean, loading, log_scale):
    counts = jnp.zeros((0, len(loading)), values.dtype)
    return _over_cells(starts, columns, values, mean, loading, log_scale, y, weights, log_weights, counts)
