"""Moments of each label by one pass over the rows: `rows.labelled_moments`, the M-step's sums of known labels.

    row ─▶ queue of its label (places in memory, no copy) ──64 rows──▶ _add: for 8 columns: for 64 rows: w, w r, w r^2

Each row adds to the sums of its own label only, so that the work does not grow with the number of labels, as products
with one-hot rows do. Rows wait, as places in memory, until TOGETHER of one label are there, for the label's sums then
stay in registers while they are added. On 2 cores and (400,000, 20) with 5 labels 4 ms, where adding row by row takes
18 and products with one-hot rows 12. Sums are in float64, about a centre that is given: r = x - centre.
"""

import math

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.simd.vectors import WIDTH, is_observed, kept, read_row, spread, write_row

TOGETHER = 64  # rows of a label that are added at once


@jit
def _add(cells, at, weights, many, centre, sums, k, D):
    """Adds `many` rows of label k, which start at the cells `at`; vectors may reach into the next row."""
    square = len(centre)
    for j in range(k * D, (k + 1) * D, WIDTH):
        c = read_row(centre, j)
        total, first, second = read_row(sums, j), read_row(sums, square + j), read_row(sums, 2 * square + j)
        for i in range(many):
            x, w = read_row(cells, at[i] + j - k * D), spread(weights[i])
            r = kept(x, c) - c
            total, first, second = total + w * is_observed(x), first + w * r, second + w * r * r
        write_row(sums, j, total)
        write_row(sums, square + j, first)
        write_row(sums, 2 * square + j, second)


@jit
def _sweep(x, y, weights, centre, start, stop, counts, sums):
    """Adds the rows from start to stop, each to the sums of its own label."""
    (n, d), K = x.shape, len(counts)
    D, cells = len(centre) // K, x.reshape(x.size)
    at, waiting = np.empty((K, TOGETHER), np.int64), np.empty((K, TOGETHER))
    filled, last = np.zeros(K, np.int64), np.zeros(D, x.dtype)
    for row in range(start, stop):
        k, weight = y[row], np.float64(weights[row])
        if (k < 0) | (k >= K) | (weight == 0):  # inside jit, a label may be anything
            continue
        counts[k] += weight
        at[k, filled[k]], waiting[k, filled[k]] = row * d, weight
        if row * d + D > n * d:  # vectors would reach beyond the last cell
            for j in range(d):
                last[j] = x[row, j]
            at[k, filled[k]] = 0
            _add(last, at[k, filled[k] :], waiting[k, filled[k] :], 1, centre, sums, k, D)
            continue
        filled[k] += 1
        if filled[k] == TOGETHER:
            _add(cells, at[k], waiting[k], TOGETHER, centre, sums, k, D)
            filled[k] = 0
    for k in range(K):
        _add(cells, at[k], waiting[k], filled[k], centre, sums, k, D)


@inlined
def _piece(frame, piece, dtype):
    inputs, outputs = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS
    x, y = ffi.matrix(frame, inputs, 0, dtype), ffi.vector(frame, inputs, 1, np.int32)
    weights, given = ffi.vector(frame, inputs, 2, dtype), ffi.matrix(frame, inputs, 3, dtype)
    log_scale = ffi.matrix(frame, inputs, 4, dtype)
    counts, result = ffi.matrix(frame, outputs, 0, dtype), ffi.hypercube(frame, outputs, 1, dtype)
    (k, d), pieces, n = given.shape, len(counts), len(x)
    D = -(-d // WIDTH) * WIDTH
    centre, own, sums = np.zeros(k * D), np.zeros(k), np.zeros(3 * k * D)
    for i in range(k):
        for j in range(d):
            centre[i * D + j] = given[i, j]
    start, stop = ffi.part(n, piece, pieces)
    _sweep(x, y, weights, centre, start, stop, own, sums)
    for i in range(k):
        counts[piece, i] = own[i]
        for j in range(d):
            inverse = math.exp(-np.float64(log_scale[i, j]))
            for moment in range(3):
                result[piece, moment, i, j] = sums[(moment * k + i) * D + j] * inverse**moment


handler = handlers.of_pieces("labelled", _piece, handlers.of_result(0))
