"""The E-step of normal rows of low rank whose observed cells alone are given, in one pass over the cells.

    row ─▶ N, b: sums over its cells ─▶ factors m, M^-1 = W^T W ─▶ score ─▶ responsibilities ─▶ sums of its columns

A row needs r x r numbers and no more, so rows are taken one at a time, and what they add goes to the sums of their
columns at once: nothing of rows times r^2 is ever held. What takes r^2 for each cell are two sums of one array each,
which LLVM makes vectors of: to N is added what is worked out before of each column, h = r (r + 1) / 2 products, and to
the sums of a column the h and (r + 1)(r + 2) / 2 moments of the row. These are in the precision of the cells, all else
in float64. Letters: e cells of n rows, d columns, k labels, r factors, q = r + 1, c responsibilities.
"""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.simd.lanes import fast

CELL, SQUARE, CROSS = 0, 1, 2  # of a column's sums: c, c u^2, then c u g (q)


class Cells(NamedTuple):
    """Arguments: rows, whose cells lie between their `starts`, and parameters of each column and label."""

    values: np.ndarray  # (e,)
    starts: np.ndarray  # (n + 1,)
    columns: np.ndarray  # (e,)
    y: np.ndarray  # (n,), or (0,) where no E-step is asked
    weights: np.ndarray  # (n,), or (0,)
    counts: np.ndarray  # (n, k) where statistics are asked, else (0, k)
    mean: np.ndarray  # (d, k)
    scale: np.ndarray  # (d, k): 1 / exp(log_scale)
    log_scale: np.ndarray  # (d, k)
    V: np.ndarray  # (d, k, r)
    products: np.ndarray  # (d, k, h): lower triangles of the products of V L^-T
    W: np.ndarray  # (k, r, r): L^-1
    log_det: np.ndarray  # (k,)
    log_weights: np.ndarray  # (k,)


class Sums(NamedTuple):
    """Sums over rows, of each column and label."""

    first: np.ndarray  # (d, k, 2 + q): CELL, SQUARE and CROSS
    moments: np.ndarray  # (d, k, ...), as of a row
    latent: np.ndarray  # (k, ...): those of all rows
    total: np.ndarray  # (k,): responsibilities


@fast
def _gathered(of, total, b, start, stop, k):
    """Sums over the cells of a row: of their products, and b of V z; returns that of the logs of their scales."""
    logs = 0.0
    for i in range(len(total)):
        total[i] = 0
    for s in range(len(b)):
        b[s] = 0.0
    for c in range(start, stop):
        j = of.columns[c]
        z = (np.float64(of.values[c]) - of.mean[j, k]) * of.scale[j, k]
        logs += of.log_scale[j, k]
        for i in range(len(total)):
            total[i] += of.products[j, k, i]
        for s in range(len(b)):
            b[s] += z * of.V[j, k, s]
    return logs


@fast
def _conditioned(of, total, N, W, covariance, k):
    """W = C^-1 L^-1, C C^T = N + L^-1 L^-T, and its square, the covariance; returns log |M|."""
    r, at, log_det = len(N), 0, np.float64(of.log_det[k])
    for s in range(r):
        for t in range(s + 1):
            x = np.float64(total[at])
            for i in range(t + 1):
                x += np.float64(of.W[k, s, i]) * of.W[k, t, i]
            N[s, t], W[s, t], covariance[k, s, t] = x, of.W[k, s, t], 0.0
            at += 1
        N[s, s] += r * np.finfo(of.values.dtype).eps
    for s in range(r):  # Cholesky, a row at a time, and W by substitution with it
        for t in range(s + 1):
            x = N[s, t]
            for i in range(t):
                x -= N[s, i] * N[t, i]
            N[s, t] = x / N[t, t] if t < s else math.sqrt(x)
        log_det += 2 * math.log(N[s, s])
        for i in range(s):
            for t in range(i + 1):
                W[s, t] -= N[s, i] * W[i, t]
        for t in range(s + 1):
            W[s, t] /= N[s, s]
        for t in range(s + 1):
            for i in range(t + 1):
                covariance[k, t, i] += W[s, t] * W[s, i]
    return log_det


@fast
def _solved(W, b, h):
    """b becomes W^T W b."""
    for s in range(len(b)):
        x = 0.0
        for t in range(s + 1):
            x += W[s, t] * b[t]
        h[s] = x
    for s in range(len(b)):
        b[s] = 0.0
        for t in range(s + 1):
            b[t] += W[s, t] * h[s]


@fast
def _left(of, c, j, k, m):
    """What factors m leave over of a cell of column j."""
    u = (np.float64(of.values[c]) - of.mean[j, k]) * of.scale[j, k]
    for s in range(of.V.shape[2]):
        u -= of.V[j, k, s] * m[k, s]
    return u


@fast
def _explained(of, W, b, h, m, start, stop, k):
    """The mean of the factors, corrected once by what it leaves over; returns the squares that are left."""
    r, squares = len(b), 0.0
    _solved(W, b, h)
    for s in range(r):
        m[k, s] = b[s]
        b[s] = -b[s]
    for c in range(start, stop):
        j = of.columns[c]
        u = _left(of, c, j, k, m)
        for s in range(r):
            b[s] += of.V[j, k, s] * u
    _solved(W, b, h)
    for s in range(r):
        m[k, s] += b[s]
        squares += m[k, s] ** 2
    for c in range(start, stop):
        squares += _left(of, c, of.columns[c], k, m) ** 2
    return squares


@jit
def _shared(of, score, share, i, empty):
    """Responsibilities of row i from the scores; returns its part in the log-likelihood."""
    k, label, weight = len(score), of.y[i], np.float64(of.weights[i])
    top, total = -math.inf, 0.0
    for j in range(k):
        share[j] = score[j] + of.log_weights[j] if label < 0 or label == j else -math.inf
        top = max(top, share[j])
    for j in range(k):
        share[j] = math.exp(share[j] - top) if top > -math.inf else 0.0
        total += share[j]
    for j in range(k):
        share[j] *= weight / total if total > 0 else 0.0
    if empty and label < 0:
        return 0.0
    return weight * (top + math.log(total)) if total > 0 else top


@fast
def _added(of, m, covariance, moments, share, start, stop, k, sums):
    """Adds what a row gives under label k to the sums of the row's columns, and to those of all rows."""
    q, at, half = m.shape[1], 0, len(moments) // 2
    for s in range(q):
        for t in range(s + 1):
            moments[at] = share * m[k, s] * m[k, t]
            moments[half + at] = share * covariance[k, s, t] if s < q - 1 else 0.0
            at += 1
    sums.total[k] += share
    for i in range(len(moments)):
        sums.latent[k, i] += moments[i]
    for c in range(start, stop):
        j = of.columns[c]
        u = _left(of, c, j, k, m)
        sums.first[j, k, CELL] += share
        sums.first[j, k, SQUARE] += share * u * u
        for s in range(q):
            sums.first[j, k, CROSS + s] += share * u * m[k, s]
        for i in range(len(moments)):
            sums.moments[j, k, i] += moments[i]


@inlined
def _sweep(of, first, last, sums, scores):
    """E-step of rows from first to last, or their scores; returns the log-likelihood."""
    k, r, value = of.V.shape[1], of.V.shape[2], 0.0
    N, W, b, h = np.zeros((r, r)), np.zeros((r, r)), np.empty(r), np.empty(r)
    total = np.empty(of.products.shape[2], of.values.dtype)
    moments = np.empty((r + 1) * (r + 2), of.values.dtype)
    m, covariance, score, share = np.ones((k, r + 1)), np.zeros((k, r + 1, r + 1)), np.empty(k), np.empty(k)
    for i in range(first, last):
        start, stop = of.starts[i], of.starts[i + 1]
        if len(of.weights) and of.weights[i] == 0:
            continue
        for j in range(k):
            logs = _gathered(of, total, b, start, stop, j)
            log_det = _conditioned(of, total, N, W, covariance, j)
            squares = _explained(of, W, b, h, m, start, stop, j)
            score[j] = -0.5 * (squares + log_det + (stop - start) * math.log(2 * math.pi)) - logs
            if len(scores):
                scores[i, j] = score[j]
            elif len(of.counts):
                share[j] = of.counts[i, j]
        if len(of.weights):
            value += _shared(of, score, share, i, start == stop)
        for j in range(k if len(scores) == 0 else 0):
            if share[j] != 0:
                _added(of, m, covariance, moments, share[j], start, stop, j, sums)
    return value


ARGUMENTS, RESULTS = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS


@jit
def _given(frame, dtype):
    return Cells(
        ffi.vector(frame, ARGUMENTS, 0, dtype),
        ffi.vector(frame, ARGUMENTS, 1, np.int32),
        ffi.vector(frame, ARGUMENTS, 2, np.int32),
        ffi.vector(frame, ARGUMENTS, 3, np.int32),
        ffi.vector(frame, ARGUMENTS, 4, dtype),
        ffi.matrix(frame, ARGUMENTS, 5, dtype),
        ffi.matrix(frame, ARGUMENTS, 6, dtype),
        ffi.matrix(frame, ARGUMENTS, 7, dtype),
        ffi.matrix(frame, ARGUMENTS, 8, dtype),
        ffi.cube(frame, ARGUMENTS, 9, dtype),
        ffi.cube(frame, ARGUMENTS, 10, dtype),
        ffi.cube(frame, ARGUMENTS, 11, dtype),
        ffi.vector(frame, ARGUMENTS, 12, dtype),
        ffi.vector(frame, ARGUMENTS, 13, dtype),
    )


@jit
def _row_at(starts, piece, pieces):
    """First row of a piece, of as many as have about as many cells."""
    n = len(starts) - 1
    wanted, low, high = starts[n] * piece // pieces, 0, n
    while low < high:
        middle = (low + high) // 2
        if starts[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def _unpacked(halves, whole):
    """Writes q x q and then r x r symmetric matrices, of which `halves` are lower triangles of q x q, row after row."""
    q, at = int(math.sqrt(len(halves))), 0
    r, half = q - 1, len(halves) // 2
    for s in range(q):
        for t in range(s + 1):
            whole[s * q + t] = whole[t * q + s] = halves[at]
            if s < r:
                whole[q * q + s * r + t] = whole[q * q + t * r + s] = halves[half + at]
            at += 1


@inlined
def _piece(frame, piece, dtype):
    of, scores = _given(frame, dtype), ffi.matrix(frame, RESULTS, 0, dtype)
    values, totals = ffi.vector(frame, RESULTS, 1, dtype), ffi.matrix(frame, RESULTS, 2, dtype)
    firsts, moments = ffi.hypercube(frame, RESULTS, 3, dtype), ffi.hypercube(frame, RESULTS, 4, dtype)
    latent, (_, d, k, _) = ffi.cube(frame, RESULTS, 5, dtype), moments.shape
    width = (of.V.shape[2] + 1) * (of.V.shape[2] + 2)
    pieces, some = len(values), 1 - min(len(scores), 1)
    own = np.zeros((d * some, k, firsts.shape[3]))
    sums = Sums(own, np.zeros((d * some, k, width), values.dtype), np.zeros((k, width)), np.zeros(k))
    first = _row_at(of.starts, piece, pieces) if piece else 0
    last = _row_at(of.starts, piece + 1, pieces) if piece + 1 < pieces else len(of.starts) - 1
    values[piece] = _sweep(of, first, last, sums, scores)
    for i in range(k * some):
        totals[piece, i] = sums.total[i]
        _unpacked(sums.latent[i], latent[piece, i])
        for j in range(d):
            for s in range(own.shape[2]):
                firsts[piece, j, i, s] = own[j, i, s]
            _unpacked(sums.moments[j, i], moments[piece, j, i])


handler = handlers.of_pieces("ratings", _piece, handlers.of_result(1))
