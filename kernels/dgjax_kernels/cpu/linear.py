"""The label of the largest of scores b + W x, and what there is in each column, by one pass over rows of NumPy's.

WIDTH rows at a time. A vector of columns may reach into the next row: W has zeros there, and of what is not finite
nothing is to be had here anyway.
"""

import functools
import math

import numpy as np

from dgjax_kernels.cpu import ffi
from dgjax_kernels.cpu.by_label import FRACTION, HIGH, LOOKS, LOW
from dgjax_kernels.cpu.ffi import jit
from dgjax_kernels.cpu.vectors import (
    WIDTH,
    chosen,
    fraction,
    larger,
    read_row,
    smaller,
    spread,
    transposed,
    write_row,
)


@jit
def _look(cells, at, d, looks):
    """The rest is NaN where a cell is not finite."""
    low, high, beyond = looks[LOW], looks[HIGH], looks[FRACTION]
    for j in range(0, looks.shape[1], WIDTH):
        least, most, rest = read_row(low, j), read_row(high, j), read_row(beyond, j)
        for n in range(WIDTH):
            x = read_row(cells, at + n * d + j)
            least, most, rest = smaller(x, least), larger(x, most), rest + fraction(x)
        write_row(low, j, least)
        write_row(high, j, most)
        write_row(beyond, j, rest)


@jit
def _scores(cells, at, d, w, b):
    """b + w x of WIDTH rows."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = spread(0.0)
    for j in range(0, len(w), WIDTH):
        weight, place = read_row(w, j), at + j
        a0 += read_row(cells, place) * weight
        a1 += read_row(cells, place + d) * weight
        a2 += read_row(cells, place + 2 * d) * weight
        a3 += read_row(cells, place + 3 * d) * weight
        a4 += read_row(cells, place + 4 * d) * weight
        a5 += read_row(cells, place + 5 * d) * weight
        a6 += read_row(cells, place + 6 * d) * weight
        a7 += read_row(cells, place + 7 * d) * weight
    t0, t1, t2, t3, t4, t5, t6, t7 = transposed((a0, a1, a2, a3, a4, a5, a6, a7))
    return (((t0 + t1) + (t2 + t3)) + ((t4 + t5) + (t6 + t7))) + spread(b)


@jit
def _label(cells, at, d, W, b, looks, labels):
    _look(cells, at, d, looks)
    best, label = _scores(cells, at, d, W[0], b[0]), spread(0.0)
    for k in range(1, len(W)):
        s = _scores(cells, at, d, W[k], b[k])
        label = chosen(s, best, spread(np.float64(k)), label)
        best = larger(s, best)
    write_row(labels, 0, label)


@jit
def _sweep(x, start, stop, W, b, looks, labels):
    """All rows from start to stop."""
    d, some = x.shape[1], np.empty(WIDTH)
    cells, last = x.reshape(x.size), np.zeros(WIDTH * d + WIDTH)
    for row in range(start, stop, WIDTH):
        many = min(WIDTH, stop - row)
        if many == WIDTH and (row + WIDTH - 1) * d + W.shape[1] <= len(cells):
            _label(cells, row * d, d, W, b, looks, some)
        else:  # vectors would reach beyond the last cell; the rows left over repeat one
            for i in range(WIDTH):
                for j in range(d):
                    last[i * d + j] = x[row + min(i, many - 1), j]
            _label(last, 0, d, W, b, looks, some)
        for i in range(many):
            labels[row + i] = np.int32(some[i])


@functools.cache
def labeller(sources):
    """Labels one piece of the rows, looks at its columns: `looks` (pieces, LOOKS, d)."""

    def label_piece(x, weight, bias, looks, labels, piece):
        (k, d), n, pieces = weight.shape, len(x), len(looks)
        D = -(-d // WIDTH) * WIDTH
        W, look = np.zeros((k, D)), np.zeros((LOOKS, D))
        for j in range(D):
            look[LOW, j], look[HIGH, j] = math.inf, -math.inf
        for i in range(k):
            for j in range(d):
                W[i, j] = weight[i, j]
        _sweep(x, piece * n // pieces, (piece + 1) * n // pieces, W, bias, look, labels)
        for i in range(LOOKS):
            for j in range(d):
                looks[piece, i, j] = look[i, j]
        return sources

    return ffi.from_python(label_piece)
