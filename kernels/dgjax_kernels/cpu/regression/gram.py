"""The kernel of `logistic.gram` on a CPU, in float64: only the products on and below the diagonal are worked out.

Rows at work lie in panels of WIDTH columns, and products in squares of as many. Letters: e columns of z = (x, 1), with
the 1 last in place of first, p panels, u (p, ROWS, WIDTH) rows at work, v (ROWS, WIDTH) a panel of them times weights.
"""

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit, prefetch
from dgjax_kernels.cpu.simd.vectors import WIDTH, add_square, plus_outer, read_row, spread, write_row

ROWS = 128


SQUARE = WIDTH * WIDTH


@jit
def _packed(x, row, stop, u):
    """Rows into panels; nothing in those that are beyond the last."""
    d = x.shape[1]
    whole = d // WIDTH * WIDTH
    for n in range(min(ROWS, stop - row)):
        for j in range(0, whole, WIDTH):
            write_row(u, j * ROWS + n * WIDTH, read_row(x, (row + n) * d + j))
        for j in range(whole, d):
            u[j // WIDTH, n, j % WIDTH] = x[row + n, j]
        u[d // WIDTH, n, d % WIDTH] = 1
    for p in range(len(u)):
        for n in range(stop - row, ROWS):
            write_row(u, (p * ROWS + n) * WIDTH, spread(0.0))


@jit
def _weighted(u, j, weights, v):
    """v = a u_j."""
    for n in range(ROWS):
        write_row(v, n * WIDTH, read_row(u, (j * ROWS + n) * WIDTH) * spread(weights[n]))


@jit
def _square(u, i, v, total, at):
    """total += sum over rows of u_i v^T. The total of the next square is brought near meanwhile."""
    prefetch(total[at + SQUARE : at + 2 * SQUARE])
    zero = spread(0.0)
    sums = (zero, zero, zero, zero, zero, zero, zero, zero)
    for n in range(0, ROWS * WIDTH, WIDTH):
        sums = plus_outer(sums, u, i * ROWS * WIDTH + n, read_row(v, n))
    add_square(total, at, WIDTH, sums)


@jit
def _placed(total, at, first, second, result):
    """Puts a square where it belongs, and on the other side of the diagonal."""
    e = len(result)
    for i in range(first, min(first + WIDTH, e)):
        for j in range(second, min(second + WIDTH, e)):
            to, of = (i + 1) % e, (j + 1) % e
            result[to, of] = result[of, to] = total[at + (i - first) * WIDTH + j - second]


@inlined
def _piece(frame, piece, dtype):
    x, a = ffi.matrix(frame, ffi.FRAME_ARGUMENTS, 0, dtype), ffi.matrix(frame, ffi.FRAME_ARGUMENTS, 1, dtype)
    result = ffi.hypercube(frame, ffi.FRAME_RESULTS, 0, dtype)
    n, e, many = len(x), 1 + x.shape[1], a.shape[1]
    p = -(-e // WIDTH)
    u, v, weights = np.zeros((p, ROWS, WIDTH)), np.empty((ROWS, WIDTH)), np.zeros(ROWS)
    total = np.zeros(many * p * (p + 1) // 2 * SQUARE)
    start, stop = piece * n // len(result), (piece + 1) * n // len(result)
    for row in range(start, stop, ROWS):
        _packed(x, row, stop, u)
        at = 0
        for q in range(many):
            for k in range(min(ROWS, stop - row)):
                weights[k] = a[row + k, q]
            for j in range(p):
                _weighted(u, j, weights, v)
                for i in range(j, p):
                    _square(u, i, v, total, at)
                    at += SQUARE
    at = 0
    for q in range(many):
        for j in range(0, e, WIDTH):
            for i in range(j, e, WIDTH):
                _placed(total, at, i, j, result[piece, q])
                at += SQUARE


handler = handlers.of_pieces("gram", _piece, handlers.of_result(0))
