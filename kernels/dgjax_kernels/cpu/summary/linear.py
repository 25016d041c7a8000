"""Linear scores s_y = b_y + W_y x and a summary of columns, in one zero-copy pass over NumPy's rows.

What comes of the scores is the label of the largest, or log-posteriors s_y - log sum_y' exp s_y'. WIDTH rows at a time.
A square of WIDTH rows by WIDTH columns is read in vectors along the rows, adds to the limits of the columns, and is
transposed in registers, so that scores are sums of columns times one weight each:

    rows r0 .. r7 of 8 columns ──transposed──▶ columns c0 .. c7 of 8 rows ──▶ s_k += c_j W_kj

A vector of columns may reach into the next row: W has zeros there. Where a cell is not finite, 0 times it is not 0, but
then the whole call is of no use, and is answered by None.
"""

import math

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import jit, prefetch
from dgjax_kernels.cpu.simd.lanes import LANES, exp, fast, log, wide
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
def _score(cells, at, d, W, b, limits, scores, n):
    """Scores (k, LANES), from lane n on, of the WIDTH rows that start at the cell `at`; columns add to the limits."""
    for k in range(len(W)):
        write_row(scores[k], n, spread(b[k]))
    for j in range(0, W.shape[1], WIDTH):
        rows = read_square(cells, at + j, d)
        _add_limits(rows, limits, j)
        c0, c1, c2, c3, c4, c5, c6, c7 = transposed(rows)
        for k in range(len(W)):
            w = W[k, j : j + WIDTH]
            s = read_row(scores[k], n) + c0 * spread(w[0]) + c1 * spread(w[1]) + c2 * spread(w[2]) + c3 * spread(w[3])
            t = c4 * spread(w[4]) + c5 * spread(w[5]) + c6 * spread(w[6]) + c7 * spread(w[7])
            write_row(scores[k], n, s + t)


@jit
def _scored(x, row, stop, W, b, limits, scores, last):
    """Scores of LANES rows from `row` on, fewer at the end: fills `scores`, and returns the number of rows."""
    d, cells, many = x.shape[1], x.reshape(x.size), min(LANES, stop - row)
    for n in range(0, many, WIDTH):
        here, whole = row + n, n + WIDTH <= many
        if whole and (here + WIDTH - 1) * d + W.shape[1] <= len(cells):
            prefetch(cells[(here + AHEAD) * d : (here + AHEAD + WIDTH) * d])
            _score(cells, here * d, d, W, b, limits, scores, n)
        else:  # vectors would reach beyond the last cell; the rows left over repeat one
            for i in range(WIDTH):
                for j in range(d):
                    last[i * d + j] = x[min(here + i, row + many - 1), j]
            _score(last, 0, d, W, b, limits, scores, n)
    return many


@jit
def _best(scores, labels, many):
    """Label of the largest score of each lane, the first of equal ones."""
    some = np.empty(WIDTH)
    for n in range(0, many, WIDTH):
        best, label = read_row(scores[0], n), spread(0.0)
        for k in range(1, len(scores)):
            s = read_row(scores[k], n)
            label = chosen(s, best, spread(np.float64(k)), label)
            best = larger(s, best)
        write_row(some, 0, label)
        for i in range(min(WIDTH, many - n)):
            labels[n + i] = int(some[i])


@fast
def _log_sum(scores, top, total):
    """Largest of scores (k, LANES) and log sum_k exp(score_k - top), the `total` (LANES,)."""
    wide()
    for n in range(LANES):
        top[n] = scores[0, n]
        total[n] = 0
    for k in range(1, len(scores)):
        for n in range(LANES):
            top[n] = scores[k, n] if scores[k, n] > top[n] else top[n]
    for k in range(len(scores)):
        for n in range(LANES):
            total[n] += exp(scores[k, n] - top[n])
    for n in range(LANES):
        total[n] = log(total[n])


@jit
def _padded(weight, D):
    """Weights (k, D): those of d columns, and zeros beyond."""
    k, d = weight.shape
    W = np.zeros((k, D))
    for i in range(k):
        for j in range(d):
            W[i, j] = weight[i, j]
    return W


@handlers.from_python
def linear_piece(x, weight, bias, limits, labels, posterior, piece):
    """Linear scores of one piece of the rows x (n, d), bias_y + weight_y x, and the summary of its columns.

    Fills the piece's `labels` (n,) with argmax_y, or its `posterior` (n, k) with log softmax_y, whichever has rows, and
    `limits` (pieces, LIMITS, d) at the piece; weight (k, d), bias (k,).
    """
    (k, d), pieces = weight.shape, len(limits)
    D = -(-d // WIDTH) * WIDTH
    W, limit, last = _padded(weight, D), np.zeros((LIMITS, D)), np.zeros(WIDTH * d + WIDTH)
    scores, top, total = np.zeros((k, LANES)), np.empty(LANES), np.empty(LANES)
    for j in range(D):
        limit[LOW, j], limit[HIGH, j] = math.inf, -math.inf
    start, stop = ffi.part(len(x), piece, pieces)
    for row in range(start, stop, LANES):
        many = _scored(x, row, stop, W, bias, limit, scores, last)
        if len(labels):
            _best(scores, labels[row:], many)
        if len(posterior):
            _log_sum(scores, top, total)
            for n in range(many):
                for i in range(k):
                    posterior[row + n, i] = (scores[i, n] - top[n]) - total[n]
    for i in range(LIMITS):
        for j in range(d):
            limits[piece, i, j] = limit[i, j]
