"""Inverse factor of one large matrix A: W = L^-1 with A = L L^T, on one core, in float64, without LAPACK.

    Cholesky, row by row      L_ij = (A_ij - <row i, row j>) / L_jj,  L_ii = sqrt(A_ii - <row i, row i>)
    forward substitution      row i of W = (e_i - sum_j<i L_ij row j of W) / L_ii,  four rows j at a time

Four at a time, so that a row is loaded once for four products. A of d columns takes d^3 / 3 products; they are few
beside a pass over rows, and LAPACK's threads would slow that pass down (`worth.spinning`). The result is W^T.
"""

import math

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.simd.lanes import fast


@fast
def _dot(a, b, length):
    total = 0.0
    for j in range(length):
        total += a[j] * b[j]
    return total


@jit
def _factored(A):
    """Cholesky factor of A in place of its lower triangle; returns whether there is one."""
    for i in range(len(A)):
        for j in range(i):
            A[i, j] = (A[i, j] - _dot(A[i], A[j], j)) / A[j, j]
        pivot = A[i, i] - _dot(A[i], A[i], i)
        if not 0 < pivot < math.inf:
            return False
        A[i, i] = math.sqrt(pivot)
    return True


@fast
def _subtract(row, factors, rows, length):
    """row -= sum_k factors_k rows_k, four rows at a time."""
    whole = length // 4 * 4
    for k in range(0, whole, 4):
        f0, f1, f2, f3 = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
        r0, r1, r2, r3 = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        for j in range(k + 4):
            row[j] -= f0 * r0[j] + f1 * r1[j] + f2 * r2[j] + f3 * r3[j]
    for k in range(whole, length):
        for j in range(k + 1):
            row[j] -= factors[k] * rows[k, j]


@inlined
def _inverse_factor(A, W):
    """W = L^-1 with L L^T = A; all NaN if A is not positive definite."""
    if not _factored(A):
        W[:] = math.nan
        return
    W[:] = 0
    for i in range(len(A)):
        W[i, i] = 1
        _subtract(W[i], A[i], W, i)
        for j in range(i + 1):
            W[i, j] /= A[i, i]


@inlined
def _piece(frame, piece, dtype):
    A, result = ffi.matrix(frame, ffi.FRAME_ARGUMENTS, 0, dtype), ffi.matrix(frame, ffi.FRAME_RESULTS, 0, dtype)
    W = np.empty(A.shape)
    _inverse_factor(A.astype(np.float64), W)
    for i in range(len(A)):
        for j in range(len(A)):
            result[i, j] = W[j, i]


@jit
def _num_pieces(frame):
    return 1


handler = handlers.of_pieces("whitening", _piece, _num_pieces)
