"""Draws of normal distributions, a label a row: x = mean + L z with z standard normal, made as it is needed.

A row reads the mean and factor of its own label where they are: no (n, d, d) factors are gathered, and no z (n, d) is
kept. L is transposed, so that a row is a sum of vectors, L's columns times one number of z each. Letters: n rows of d
columns, k = g m labels in g groups of m that share L (d, d), or scales (1, d) of independent columns.
"""

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.simd.lanes import LANES, eights
from dgjax_kernels.cpu.simd.normals import standard_normals
from dgjax_kernels.cpu.simd.tiles import empty
from dgjax_kernels.cpu.simd.vectors import WIDTH, read_row, spread, write_row


@jit
def _columns(L, D):
    """Columns of the factors L (g, r, d) in float64, padded to D: (g, r, D); of scales, r = 1, the one row of them."""
    g, r, d = L.shape
    columns = np.zeros((g, r, D))
    for i in range(g):
        for j in range(r):
            for e in range(d):
                if r == 1:
                    columns[i, j, e] = L[i, 0, e]
                elif e >= j:
                    columns[i, j, e] = L[i, e, j]
    return columns


@jit
def _means(mean, D):
    """Means (k, D) in float64, padded, of mean (g, m, d)."""
    g, m, d = mean.shape
    means = np.zeros((g * m, D))
    for k in range(g * m):
        for j in range(d):
            means[k, j] = mean[k // m, k % m, j]
    return means


@jit
def _row(mean, columns, z, x):
    """One row x (D,) = mean + L z, for L's columns (d, D) and z (d,)."""
    for j in range(0, len(x), WIDTH):
        total = read_row(mean, j)
        for e in range(min(len(z), j + WIDTH)):
            total = total + spread(z[e]) * read_row(columns[e], j)
        write_row(x, j, total)


@jit
def _scaled_row(mean, scale, z, x):
    for j in range(len(z)):
        x[j] = mean[j] + scale[j] * z[j]


@inlined
def _sweep(key, labels, mean, L, result, start, stop, double):
    """Draws the rows from start to stop."""
    (g, m, d), D = mean.shape, eights(mean.shape[2])
    columns, means = _columns(L, D), _means(mean, D)
    z, w, x = empty((LANES * d,), np.float64), np.empty(LANES), np.empty(D)
    for row in range(start, stop, LANES):
        standard_normals(np.int64(key[0]), np.int64(key[1]), row * d, double, z, w)
        for i in range(min(LANES, stop - row)):
            label = min(max(labels[row + i], 0), g * m - 1)  # inside jit, a label may be anything
            own, to = z[i * d : (i + 1) * d], result[row + i]
            if L.shape[1] == 1:
                _scaled_row(means[label], columns[label // m, 0], own, x)
            else:
                _row(means[label], columns[label // m], own, x)
            for j in range(d):
                to[j] = x[j]


@inlined
def _piece(frame, piece, dtype):
    inputs, outputs = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS
    mean, L = ffi.cube(frame, inputs, 0, dtype), ffi.cube(frame, inputs, 1, dtype)
    key, labels = ffi.vector(frame, inputs, 2, np.uint32), ffi.vector(frame, inputs, 3, np.int32)
    result, pieces = ffi.matrix(frame, outputs, 0, dtype), ffi.size(frame, outputs, 1, 0)
    start, stop = ffi.part(len(result), piece, pieces)
    _sweep(key, labels, mean, L, result, start, stop, result.itemsize == 8)


handler = handlers.of_pieces("draws", _piece, handlers.of_result(1))
