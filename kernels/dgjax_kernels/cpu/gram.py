"""The kernel of `logistic.gram` on a CPU: only the products on and below the diagonal are worked out."""

import numpy as np

from dgjax_kernels.cpu import ffi
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.lanes import LANES, add_products, fast, padded
from dgjax_kernels.cpu.rows import transposed


@fast
def _weighted(u, a, au):
    for j in range(len(u)):
        for n in range(LANES):
            au[j, n] = a[n] * u[j, n]


@jit
def _loaded(x, a, row, stop, u, lane_weight):
    """Rows into lanes; the lanes left over repeat one, with weight 0."""
    rows = np.empty(LANES, np.int64)
    for n in range(LANES):
        rows[n] = row + n if row + n < stop else row
        for q in range(a.shape[1]):
            lane_weight[q, n] = a[row + n, q] if row + n < stop else 0
    for n in range(0, LANES, 8):
        transposed(x, rows[n : n + 8], u[1:, n : n + 8])


@inlined
def _piece(frame, piece, dtype):
    x, a = ffi.matrix(frame, ffi.FRAME_ARGUMENTS, 0, dtype), ffi.matrix(frame, ffi.FRAME_ARGUMENTS, 1, dtype)
    result = ffi.hypercube(frame, ffi.FRAME_RESULTS, 0, dtype)
    n, e, q, p = len(x), 1 + x.shape[1], a.shape[1], padded(1 + x.shape[1])
    u, au, lane_weight = np.zeros((p, LANES), dtype), np.zeros((p, LANES), dtype), np.empty((q, LANES), dtype)
    total = np.zeros((q, p, p))
    u[0] = 1
    start, stop = piece * n // len(result), (piece + 1) * n // len(result)
    for row in range(start, stop, LANES):
        _loaded(x, a, row, stop, u, lane_weight)
        for i in range(q):
            _weighted(u, lane_weight[i], au)
            add_products(au, u, total[i], True, LANES)
    for i in range(q):
        for j in range(e):
            for k in range(j + 1):
                result[piece, i, j, k] = result[piece, i, k, j] = total[i, j, k]


def handler(dtype, sources):
    """What XLA calls."""

    def gram(address):
        if ffi.introduced(address):
            return 0
        if ffi.called(address):
            return ffi.spread(address, ffi.size(address, ffi.FRAME_RESULTS, 0, 0), ffi.own_address(), sources)
        piece = ffi.next_piece(address)
        while piece >= 0:
            _piece(ffi.load(address, ffi.FRAME), piece, dtype)
            ffi.done(address)
            piece = ffi.next_piece(address)
        return ffi.leave(address)

    return gram
