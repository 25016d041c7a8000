"""Weighted Gram matrices, sum_n a_nq z_n z_n^T with z = (x, 1), for the curvature of logistic regression, in float64.

Cache blocking: ROWS rows lie in panels of WIDTH columns, so that a square of WIDTH by WIDTH sums is one vector of each
of two panels for each row, in eight registers. Only squares on and below the diagonal are worked out.

    rows (ROWS, e) ─▶ u: panels 0 │ 1 │ 2 │ ...  (ROWS, 8) each      v = a u_j
                      square (i, j) += sum over rows of u_i v^T       for all i >= j

Letters: e columns of z, with the 1 last in place of first, p panels, u (p, ROWS, WIDTH) rows at work, v (ROWS, WIDTH) a
panel of them times weights.
"""

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit, prefetch
from dgjax_kernels.cpu.simd.vectors import WIDTH, add_square, plus_outer, read_row, spread, write_row

ROWS = 128  # rows at work: of 100 columns 100 kB, which stay in the second level of the cache
SQUARE = WIDTH * WIDTH


@jit
def _packed(x, row, stop, u):
    """Packs up to ROWS rows into panels; places beyond the last row hold 0."""
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
    """v = a u_j: panel j, each row times its weight."""
    for n in range(ROWS):
        write_row(v, n * WIDTH, read_row(u, (j * ROWS + n) * WIDTH) * spread(weights[n]))


@jit
def _square(u, i, v, total, at):
    """Adds a square to its total, the sum over rows of u_i v^T; prefetches the total of the next square."""
    prefetch(total[at + SQUARE : at + 2 * SQUARE])
    zero = spread(0.0)
    sums = (zero, zero, zero, zero, zero, zero, zero, zero)
    for n in range(0, ROWS * WIDTH, WIDTH):
        sums = plus_outer(sums, u, i * ROWS * WIDTH + n, read_row(v, n))
    add_square(total, at, WIDTH, sums)


@jit
def _placed(total, at, first, second, result):
    """Writes a square to the result, on both sides of the diagonal, with the column of 1 first again."""
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
    start, stop = ffi.part(n, piece, len(result))
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
