"""Full covariances on a CPU, with the signatures of `dgjax_kernels.gaussian`; numba is imported when one is traced."""

from typing import Any

import jax
import jax.numpy as jnp

from dgjax_kernels._op import like
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
