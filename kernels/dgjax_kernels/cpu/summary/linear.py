"""Labels by linear scores, argmax_y (b_y + W_y x), and a summary of columns, in one zero-copy pass over NumPy's rows.

WIDTH rows at a time. A square of WIDTH rows by WIDTH columns is read in vectors along the rows, adds to the limits of
the columns, and is transposed in registers, so that scores are sums of columns times one weight each:

    rows r0 .. r7 of 8 columns ──transposed──▶ columns c0 .. c7 of 8 rows ──▶ s_k += c_j W_kj

A vector of columns may reach into the next row: W has zeros there. Where a cell is not finite, 0 times it is not 0, but
then the whole call is of no use, and is answered by None.
"""

import math

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import jit, prefetch
from dgjax_kernels.cpu.simd.vectors import (
    WIDTH,
    chosen,
    fraction,
    larger,
    read_row,
    read_square,
    smaller,
    spread,
    transposed,
    write_row,
)
from dgjax_kernels.cpu.summary.by_label import FRACTION, HIGH, LIMITS, LOW

AHEAD = 2 * WIDTH  # rows that are prefetched before they are read: 6.6 ms a pass without, 5.3 with


@jit
def _add_limits(rows, limits, j):
    """Adds WIDTH rows to the limits of WIDTH columns; the fraction is NaN after a cell that is not finite."""
    least, most, rest = read_row(limits[LOW], j), read_row(limits[HIGH], j), read_row(limits[FRACTION], j)
    for x in rows:
        least, most, rest = smaller(x, least), larger(x, most), rest + fraction(x)
    write_row(limits[LOW], j, least)
    write_row(limits[HIGH], j, most)
    write_row(limits[FRACTION], j, rest)


@jit
def _label(cells, at, d, W, b, limits, scores, labels):
    """Labels of the WIDTH rows that start at the cell `at`; their columns add to the limits."""
    for k in range(len(W)):
        write_row(scores[k], 0, spread(b[k]))
    for j in range(0, W.shape[1], WIDTH):
        rows = read_square(cells, at + j, d)
        _add_limits(rows, limits, j)
        c0, c1, c2, c3, c4, c5, c6, c7 = transposed(rows)
        for k in range(len(W)):
            w = W[k, j : j + WIDTH]
            s = read_row(scores[k], 0) + c0 * spread(w[0]) + c1 * spread(w[1]) + c2 * spread(w[2]) + c3 * spread(w[3])
            t = c4 * spread(w[4]) + c5 * spread(w[5]) + c6 * spread(w[6]) + c7 * spread(w[7])
            write_row(scores[k], 0, s + t)
    best, label = read_row(scores[0], 0), spread(0.0)
    for k in range(1, len(W)):
        s = read_row(scores[k], 0)
        label = chosen(s, best, spread(np.float64(k)), label)
        best = larger(s, best)
    write_row(labels, 0, label)


@jit
def _sweep(x, start, stop, W, b, limits, labels):
    """Labels the rows from start to stop."""
    d, some, scores = x.shape[1], np.empty(WIDTH), np.empty((len(W), WIDTH))
    cells, last = x.reshape(x.size), np.zeros(WIDTH * d + WIDTH)
    for row in range(start, stop, WIDTH):
        many = min(WIDTH, stop - row)
        if many == WIDTH and (row + WIDTH - 1) * d + W.shape[1] <= len(cells):
            prefetch(cells[(row + AHEAD) * d : (row + AHEAD + WIDTH) * d])
            _label(cells, row * d, d, W, b, limits, scores, some)
        else:  # vectors would reach beyond the last cell; the rows left over repeat one
            for i in range(WIDTH):
                for j in range(d):
                    last[i * d + j] = x[row + min(i, many - 1), j]
            _label(last, 0, d, W, b, limits, scores, some)
        for i in range(many):
            labels[row + i] = int(some[i])


@handlers.from_python
def label_piece(x, weight, bias, limits, labels, piece):
    """Labels of one piece of the rows x (n, d), argmax_y (bias_y + weight_y x), and the summary of its columns.

    Fills the piece's `labels` (n,), and `limits` (pieces, LIMITS, d) at the piece; weight (k, d), bias (k,).
    """
    (k, d), n, pieces = weight.shape, len(x), len(limits)
    D = -(-d // WIDTH) * WIDTH
    W, limit = np.zeros((k, D)), np.zeros((LIMITS, D))
    for j in range(D):
        limit[LOW, j], limit[HIGH, j] = math.inf, -math.inf
    for i in range(k):
        for j in range(d):
            W[i, j] = weight[i, j]
    start, stop = ffi.part(n, piece, pieces)
    _sweep(x, start, stop, W, bias, limit, labels)
    for i in range(LIMITS):
        for j in range(d):
            limits[piece, i, j] = limit[i, j]
