"""Summary of columns and of each label's columns, by one zero-copy pass over NumPy's rows.

All that a naive Bayes or a discriminant model with diagonal covariance needs of complete labels: counts, means and
spreads of each label, and with them the summary that checks of the input need. Rows wait until TOGETHER of one label
are there, for the label's sums then stay in registers while all of them are added:

    row ─▶ queue of its label (places in memory, no copy) ──full──▶ _add: for 8 columns: for 64 rows: low, high, sums

Vectors are as wide as 8 columns and may reach into the next row; what is added there belongs to columns beyond d, which
are never read. Rows so near the end that a vector would leave the array are copied first.
"""

import math

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import jit
from dgjax_kernels.cpu.simd.vectors import (
    WIDTH,
    fraction,
    is_observed,
    kept,
    larger,
    read_row,
    smaller,
    write_row,
)
from dgjax_kernels.cpu.summary.labelled import TOGETHER

LOW, HIGH, FRACTION, LIMITS = 0, 1, 2, 3  # of a column: FRACTION is 0 if all cells are whole; LIMITS of them
CELLS, FIRST, SECOND, MOMENTS = 0, 1, 2, 3  # of a label's column, about its origin; MOMENTS of them


@jit
def _add(cells, at, many, origin, limits, sums, k):
    """Adds `many` rows of one label, which start at the cells `at`. Columns from d to D hold nothing of use."""
    D = limits.shape[1]
    low, high, beyond = limits[LOW], limits[HIGH], limits[FRACTION]
    total, first, second = sums[CELLS, k], sums[FIRST, k], sums[SECOND, k]
    for j in range(0, D, WIDTH):
        o, least, most, rest = read_row(origin[k], j), read_row(low, j), read_row(high, j), read_row(beyond, j)
        n, s, t = read_row(total, j), read_row(first, j), read_row(second, j)
        for i in range(many):
            x = read_row(cells, at[i] + j)
            known = kept(x, o)
            r = known - o
            least, most, rest = smaller(x, least), larger(x, most), rest + fraction(known)
            n, s, t = n + is_observed(x), s + r, t + r * r
        write_row(low, j, least)
        write_row(high, j, most)
        write_row(beyond, j, rest)
        write_row(total, j, n)
        write_row(first, j, s)
        write_row(second, j, t)


@jit
def _begun(x, row, origin):
    """Sets the origin of a label: its first row, near which second moments lose few digits."""
    for j in range(x.shape[1]):
        origin[j] = x[row, j] if abs(x[row, j]) < math.inf else 0.0


@jit
def _sweep(x, y, start, stop, counts, origin, limits, sums):
    """Adds the rows from start to stop, each to the sums of its own label."""
    (n, d), K, D = x.shape, len(counts), limits.shape[1]
    cells, at, filled, last = x.reshape(x.size), np.empty((K, TOGETHER), np.int64), np.zeros(K, np.int64), np.zeros(D)
    for row in range(start, stop):
        k = y[row]
        if counts[k] == 0:
            _begun(x, row, origin[k])
        counts[k] += 1
        if row * d + D > n * d:  # vectors would reach beyond the last cell
            for j in range(d):
                last[j] = x[row, j]
            at[k, filled[k]] = 0
            _add(last, at[k, filled[k] :], 1, origin, limits, sums, k)
            continue
        at[k, filled[k]] = row * d
        filled[k] += 1
        if filled[k] == TOGETHER:
            _add(cells, at[k], TOGETHER, origin, limits, sums, k)
            filled[k] = 0
    for k in range(K):
        _add(cells, at[k], filled[k], origin, limits, sums, k)


@handlers.from_python
def sum_piece(x, y, counts, origins, limits, sums, piece):
    """Summary of one piece of the rows x (n, d): limits of its columns, and moments of each label's columns, y (n,).

    Fills, at the piece, `limits` (pieces, LIMITS, d), `counts` (pieces, k) of each label's rows, `origins` (pieces, k,
    d), and `sums` (pieces, MOMENTS, k, d) over observed cells of 1, x - origin and its square.
    """
    (_, k, d), n, pieces = origins.shape, len(x), len(counts)
    D = -(-d // WIDTH) * WIDTH
    origin, limit, total = np.zeros((k, D)), np.zeros((LIMITS, D)), np.zeros((MOMENTS, k, D))
    for j in range(D):
        limit[LOW, j], limit[HIGH, j] = math.inf, -math.inf
    start, stop = ffi.part(n, piece, pieces)
    _sweep(x, y, start, stop, counts[piece], origin, limit, total)
    for j in range(d):
        for i in range(LIMITS):
            limits[piece, i, j] = limit[i, j]
        for label in range(k):
            origins[piece, label, j] = origin[label, j]
            for i in range(MOMENTS):
                sums[piece, i, label, j] = total[i, label, j]
