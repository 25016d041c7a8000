"""Dispatch: which work a handler is compiled for, decided here and nowhere else.

Numba compiles a handler once on each machine, in 1 s (`whitener`) to 40 s (`gaussian`), on one core. So it has to be
for work that takes the reference long, or for work that is done again and again (`repeats`). The rule is by shapes
only, when a program is traced: cells of the rows, times repeats, against a threshold, which is where the reference
takes about 50 ms. Below it, the reference is compiled by XLA in well under a second and runs as fast.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dgjax_kernels.blocks import repeats

MANY_CELLS = 1 << 17  # of rows: see `worthwhile`
MANY_CELLS_OF_FULL, WORK_OF_FULL, TIMES_WITH_MISSING = 1 << 15, 1 << 26, 1 << 6  # see `worthwhile_for_full`
MANY_PRODUCTS, FEWEST_KEYS = 1 << 23, 64  # products of queries with keys: see `worthwhile_for_attention`
SPINNING = 32  # columns of a matrix from which OpenBLAS uses threads


def supported(x: Array | np.ndarray, *_: Array) -> bool:
    """Dispatch to a CPU handler: True if it can take these rows x: there are some, in float32 or float64."""
    return x.size > 0 and x.dtype in (jnp.float32, jnp.float64)


def supported_zero_copy(first: Array, cells: Array, *_: Array) -> bool:
    """Dispatch to a CPU handler of zero-copy rows, of which `cells` are nearly all: True if it can take them.

    They are many, so compiling it always pays.
    """
    return supported(cells)


def large(x: Array | np.ndarray, *_: Array) -> bool:
    """Dispatch to a CPU handler: True if it can take these rows x, and one pass over their cells pays for compiling it.

    From 2^17 cells on, repeats or not.
    """
    return supported(x) and x.size >= MANY_CELLS


def many_cells(cells: int) -> bool:
    """Dispatch: True if passes over so many cells, as often as `repeats` says, are worth compiling: 2^17 in all."""
    return cells * repeats.value >= MANY_CELLS


def worthwhile(x: Array | np.ndarray, *_: Array) -> bool:
    """Dispatch to a CPU handler: True if it can take these rows x, and their cells pay for compiling it, 4 to 14 s.

    Cells times repeats, from 2^17 on: with fewer, the reference takes less than 50 ms. A diagonal mixture's step on 2
    cores, handler and reference: 300 rows of 4 columns and 3 labels 0.03 and 0.07 ms, 2,000 of 16 and 8 0.13 and 1.0,
    10,000 of 8 and 8 0.4 and 1.9.
    """
    return supported(x) and many_cells(x.size)


def worthwhile_for_full(x: Array, *arguments: Array) -> bool:
    """Dispatch to the CPU handler of full covariances: True if it can take these rows x, and 40 s of compiling pay.

    Arguments end with the means and the Cholesky factors.

    A step of EM on 2 cores, handler and reference: 300 complete rows of 4 columns and 3 labels 0.11 and 0.05 ms, of 64
    and 10 0.5 and 3; 5,000 of 4 and 4 0.4 and 0.6, 10,000 0.75 and 2.2; 1,000 of 16 and 16 0.3 and 2. So complete rows
    have theirs from 2^15 cells, or where the reference takes some 60 ms. With missing cells the reference factors a
    matrix for each row and label: 300 of 4 and 3 0.2 and 0.6 ms, 2,000 0.3 and 3.5, 20,000 2.5 and 84; 300 of 16 and 8
    0.8 and 25, 300 of 64 and 10 64 and 1,600. There, rows times parameters count 2^6 fold.
    """
    mean, L = arguments[-2:]
    return _for_full(x, TIMES_WITH_MISSING * len(x) * (mean.size + L.size))


def worthwhile_for_complete(x: Array, *arguments: Array) -> bool:
    """Dispatch to the CPU handler of full covariances for rows known to miss no cell: True if compiling it pays.

    The reference takes less time on such rows than on those with missing cells, so that there have to be more of them:
    measured at `worthwhile_for_full`. Arguments end with the means and the Cholesky factors.
    """
    mean, L = arguments[-2:]
    return _for_full(x, len(x) * (mean.size + L.size))


def worthwhile_for_conditional(residual: Array, group: Array, L: Array) -> bool:
    """Dispatch to the CPU handler of conditional means: True if it can take rows with a factor each, and 7 s pay.

    Handler and reference: 200 rows of 4 columns and 3 labels 0.1 and 1 ms, of 16 and 8 0.6 and 60; 2,000 of 4 and 3 0.9
    and 13, of 16 and 8 6 and 1,160.
    """
    return _for_full(residual, TIMES_WITH_MISSING * len(group) * L[0].size)


def _for_full(x, work):
    return supported(x) and (x.size * repeats.value >= MANY_CELLS_OF_FULL or work * repeats.value >= WORK_OF_FULL)


def worthwhile_for_cells(starts: Array, columns: Array, values: Array, *arguments: Array) -> bool:
    """Dispatch to the CPU handler of rows of few cells: True if it can take them, and their cells pay for compiling."""
    loading = arguments[-2]
    return supported(values) and many_cells(len(values) * loading.shape[0] * loading.shape[2])


def many_draws(key: Array, labels: Array, mean: Array, scale: Array) -> bool:
    """Dispatch to the CPU handler of draws: True if they are of a threefry key and so many that 3 s of compiling pay.

    By the cells that are drawn, from 2^17 on. (200,000, 12) of 6 full covariances: 12 ms, and 230 by the reference.
    """
    known = jax.random.key_impl(key) == "threefry2x32" and getattr(jax.config, "jax_threefry_partitionable", True)
    return known and supported(mean) and mean.dtype == scale.dtype and many_cells(len(labels) * mean.shape[-1])


def many_steps(initial: Array, transition: Array, scores: Array, lengths: Array) -> bool:
    """Dispatch to the CPU handler of forward-backward: True if it can take these chains, and 11 s of compiling pay.

    By the number of scores (n, t, k), if all steps share a transition. Sequences, steps and states (64, 1000, 8): 1.7
    ms, and 30 by the reference; (1, 50000, 5): 3 and 50.
    """
    del initial, lengths
    return transition.ndim == 2 and worthwhile(scores)


def many_steps_to_draw(key: Array, *chain: Array) -> bool:
    """Dispatch to the CPU handler of sampled paths: True if it can take these chains, and 11 s of compiling pay.

    Log-marginals of eight sequences or more, and entropy, have this handler too. Sequences, steps and states (48, 1000,
    6): log-marginals, draws and entropy 3.5, 2.2 and 3.6 ms, by the reference 52, 21 and 62; (1, 40000, 4): 2.5, 8 and
    22, and 45, 71 and 23.
    """
    del key
    return many_steps(*chain)


def many_steps_of_few_states(initial: Array, transition: Array, scores: Array, lengths: Array) -> bool:
    """Dispatch to the CPU handler of Viterbi: True if it can take these chains, and 7 s of compiling pay.

    Their states must be numbered by a byte. Sequences, steps and states (64, 1000, 8): 0.46 ms, and 1.7 by the
    reference; (1, 50000, 5): 0.33 and 3.9.
    """
    return many_steps(initial, transition, scores, lengths) and scores.shape[2] <= 1 << 8


def worthwhile_for_attention(q: Array, k: Array, *_: Array) -> bool:
    """Dispatch to the CPU handler of attention: True if it can take these heads, and its compilation pays.

    By the products of queries with keys, times repeats, and from 64 keys on: of 4 heads of 32 dimensions the CPU takes,
    by handler and reference, (16, 128) 6 and 9 ms, the gradient 9 and 17; (64, 64) 15 and 14, 21 and 29; (16, 256) 25
    and 46, 40 and 156; (8, 1024) 146 and 553, 208 and 1,379; but (256, 16) 13 and 6, 24 and 12.
    """
    products = q.size // q.shape[-1] * k.shape[-3]
    return supported(q) and k.shape[-3] >= FEWEST_KEYS and products * repeats.value >= MANY_PRODUCTS


def spinning(A: Array) -> bool:
    """Dispatch of Cholesky: True if LAPACK would factor this matrix A on threads, which then spin on every core.

    From 32 columns on, and for 26 ms after each call, waiting for another one.
    """
    return supported(A) and len(A) >= SPINNING
