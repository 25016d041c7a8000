"""Zero-copy input: large NumPy arrays are read where they are, on all cores, before XLA has seen them.

    x (n, d) in NumPy's memory ─▶ pieces ─▶ a thread of Python for each core ─▶ sums of pieces ─▶ put together

XLA wants its arrays aligned to 64 bytes, and large ones of NumPy's never are: it would copy them, into fresh memory,
which takes longer than all that is to be done with them. On 2 cores (400,000, 20) in float64: copied and summarised in
one pass 12 to 21 ms, into memory that was used before 7.5; summarised by label, without a copy, 5. These functions are
called by Python, outside of programs of JAX's, and threads of Python run them; numba is imported when they are called.
"""

import itertools
import os
from types import SimpleNamespace
from typing import Any

import numpy as np

from dgjax_kernels.cpu.calls import num_pieces
from dgjax_kernels.cpu.worth import large
from dgjax_kernels.rows import ColumnSummary, LabelledSummary


def as_readable(x: np.ndarray) -> np.ndarray | None:
    """Zero-copy input: rows x (n, d) as kernels read them; None if not in one piece, or too few to compile a pass for.

    Such a pass takes 4 s to compile, once. Nothing is written to x: that it may be is said because numba would compile
    everything again for what is read only, as arrays of JAX's and files mapped to memory are.
    """
    whole = x.ndim == 2 and x.flags.c_contiguous and x.flags.aligned and x.dtype in (np.float32, np.float64)
    if not (whole and large(x)):
        return None
    if x.flags.writeable and type(x) is np.ndarray:
        return x
    interface = {**x.__array_interface__, "data": (x.ctypes.data, False)}
    return np.asarray(SimpleNamespace(__array_interface__=interface, held=x))


def copy_and_summarise(x: np.ndarray, copy: np.ndarray) -> ColumnSummary:
    """Summary of columns of rows x (n, d), and their copy, in the precision of `copy`: one pass for both."""
    from dgjax_kernels.cpu.summary import columns

    n, d = x.shape
    result = np.empty((num_pieces(n, d), columns.NUM_RESULTS, d))
    _of_pieces(lambda piece: columns.copy_piece(x, copy, result, piece), len(result))
    with np.errstate(over="ignore", invalid="ignore"):  # infinity, which the checks find
        return _in_precision(columns.of_pieces(result, n, np), copy.dtype)


def summarise_by_label(x: np.ndarray, y: np.ndarray, k: int, dtype: Any) -> LabelledSummary:
    """Summary of each column of rows x (n, d), and of each column in the rows of each of k labels y (n,), all known.

    Second moments of a label are summed about an origin, the first of its n rows in a piece, and moved to the mean
    afterwards. However far that row is from the others, the sum of squares about the mean holds its own square too, so
    that the move loses no more than a factor of n in rounding.
    """
    from dgjax_kernels.cpu.summary import by_label, columns

    (n, d), pieces = x.shape, num_pieces(len(x), k * x.shape[1])
    counts, origin = np.zeros((pieces, k)), np.empty((pieces, k, d))
    limits, sums = np.empty((pieces, by_label.LIMITS, d)), np.empty((pieces, by_label.MOMENTS, k, d))
    labels = np.asarray(y, np.int32)
    _of_pieces(lambda piece: by_label.sum_piece(x, labels, counts, origin, limits, sums, piece), pieces)
    with np.errstate(over="ignore", invalid="ignore"):
        cells, first, second = np.moveaxis(sums, 1, 0)
        shift = first / np.maximum(cells, 1)
        of_label, observed = cells.sum(0), cells.sum((0, 1))
        own = np.sqrt(np.maximum(second - shift * first, 0) / np.maximum(cells, 1))
        mean, spread = columns.together(cells, of_label, origin + shift, own, np)
        column_mean, column_spread = columns.together(of_label, observed, mean, spread, np)
        low, high, fraction = limits[:, 0].min(0), limits[:, 1].max(0), limits[:, 2].sum(0)
        missing = (n - observed).astype(np.int32)
        summary = ColumnSummary(missing, low, high, fraction == 0, column_mean, column_spread)
        moments = (own.astype(dtype) for own in (counts.sum(0), of_label, mean, spread))
        return LabelledSummary(_in_precision(summary, dtype), *moments)


def linear_labels(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dtype: Any, labels: np.ndarray
) -> ColumnSummary | None:
    """Labels by linear scores: writes argmax_y (bias_y + weight_y x) to `labels` (n,), and summarises the columns.

    x (n, d), `weight` (k, d) and `bias` (k,), float64 and finite, `labels` int32 or int64; the summary is without mean
    and spread. None, and nothing to be read in `labels`, unless all cells are finite in the precision `dtype`, and so
    small that no sum can overflow.
    """
    return _linear(x, weight, bias, dtype, labels, np.empty((0, len(bias)), dtype))


def linear_posterior(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dtype: Any, posterior: np.ndarray
) -> ColumnSummary | None:
    """Log-posteriors by linear scores: writes log softmax_y (bias_y + weight_y x) to `posterior` (n, k), summarises x.

    x (n, d), `weight` (k, d) and `bias` (k,), float64 and finite, `posterior` float32 or float64; the summary is
    without mean and spread. None, and nothing to be read in `posterior`, unless all cells are finite in the precision
    `dtype`, and so small that no sum can overflow.
    """
    return _linear(x, weight, bias, dtype, np.empty(0, int), posterior)


def _linear(x, weight, bias, dtype, labels, posterior):
    from dgjax_kernels.cpu.summary import by_label, linear

    d, pieces = x.shape[1], num_pieces(*x.shape)
    limits = np.empty((pieces, by_label.LIMITS, d))
    _of_pieces(lambda piece: linear.linear_piece(x, weight, bias, limits, labels, posterior, piece), pieces)
    low, high, fraction = limits[:, 0].min(0), limits[:, 1].max(0), limits[:, 2].sum(0)
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.abs(bias) + np.abs(weight) @ np.maximum(np.abs(low), np.abs(high))
        low, high = low.astype(dtype), high.astype(dtype)
    missing: Any = np.zeros(d, np.int32)
    unknown: Any = np.full(d, np.nan)
    if not (np.isfinite([low, high, fraction]).all() and np.isfinite(largest).all()):
        return None
    return ColumnSummary(missing, low, high, fraction == 0, unknown, unknown)


def _in_precision(summary, dtype):
    return ColumnSummary(*(own.astype(dtype) if own.dtype == float else own for own in summary))


def _of_pieces(work, pieces):
    """Runs `work(piece)` for all pieces on all cores, this thread's too, for one takes a tenth of a ms to start."""
    from concurrent.futures import ThreadPoolExecutor

    numbers = itertools.count()

    def take():
        for piece in itertools.takewhile(lambda piece: piece < pieces, numbers):
            work(piece)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        others = [pool.submit(take) for _ in range(min(os.cpu_count() or 1, pieces) - 1)]
        take()
    for other in others:
        other.result()
