"""Softmax regression on a CPU: value and gradient of the log-likelihood in one pass over memory.

A batch of rows small enough for the core's first-level cache is read twice while it is there: for its scores, and once
the probabilities are known, for the gradient. The next batch is prefetched meanwhile:

    memory ─▶ batch (32 kB) ─▶ s = b + W x ─▶ p = softmax(s) ─▶ r = w (onehot(y) - p) ─▶ g += r x^T, value

Rows are read in vectors of WIDTH columns. Where d is no multiple of WIDTH, the last vector takes columns again that
another has, with weights of 0 for scores and sums that are left out of the gradient. Letters: x rows (n, d), of which
LANES are a batch; w their weights, 0 without a label; k scores, s (k, LANES); r residuals; g gradient; weights of the
scores twice, W over the columns of all vectors, and V (d, k). With k = 1 there are two classes, with scores 0 and s.
"""

import math
from typing import NamedTuple

import numpy as np
from numba.extending import overload
from numba.np.numpy_support import carray

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit, prefetch
from dgjax_kernels.cpu.simd.lanes import LANES, eights, exp, fast, log, padded
from dgjax_kernels.cpu.simd.vectors import WIDTH, each, read_row, spread, transposed, write_row, write_square

CACHED = 1 << 12  # cells of a batch: 32 kB in float64, a first-level cache


class Batch(NamedTuple):
    """Work arrays of one batch of LANES rows of d columns for k labels, rows on the last axis."""

    s: np.ndarray  # (k, LANES), k padded to a multiple of WIDTH
    r: np.ndarray  # (k, LANES)
    top: np.ndarray  # (LANES,): the largest score
    total: np.ndarray  # (LANES,): the sum of exp(s - top)
    label: np.ndarray  # (LANES,)
    weight: np.ndarray  # (LANES,): 0 where there is no label
    rows: np.ndarray  # (LANES, d): copies of those that are no multiple of WIDTH, or narrower
    exact: np.ndarray  # (LANES, d): rows in float64


class Weights(NamedTuple):
    """Parameters in float64, as vectors take them, and the gradient's sums: k labels, d columns, p those of vectors."""

    bias: np.ndarray  # (k,), padded
    W: np.ndarray  # (1, p)
    V: np.ndarray  # (d, k), k padded
    g: np.ndarray  # (k, p)
    sums: np.ndarray  # (k,): of r, the gradient in b


@jit
def _dots(x, n, own, s):
    """Log-odds of WIDTH rows in two classes: s = x W + bias."""
    d, W = x.shape[1], own.W
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = spread(0.0)
    for p in range(0, W.shape[1], WIDTH):
        w, at = read_row(W, p), n * d + min(p, d - WIDTH)
        a0 += read_row(x, at) * w
        a1 += read_row(x, at + d) * w
        a2 += read_row(x, at + 2 * d) * w
        a3 += read_row(x, at + 3 * d) * w
        a4 += read_row(x, at + 4 * d) * w
        a5 += read_row(x, at + 5 * d) * w
        a6 += read_row(x, at + 6 * d) * w
        a7 += read_row(x, at + 7 * d) * w
    t0, t1, t2, t3, t4, t5, t6, t7 = transposed((a0, a1, a2, a3, a4, a5, a6, a7))
    write_row(s, n, (((t0 + t1) + (t2 + t3)) + ((t4 + t5) + (t6 + t7))) + spread(own.bias[0]))


@jit
def _add_rows(x, n, r, g):
    """Gradient of WIDTH rows in two classes: g += r x."""
    d = x.shape[1]
    c0, c1, c2, c3, c4, c5, c6, c7 = each(read_row(r, n))
    for p in range(0, g.shape[1], WIDTH):
        at = n * d + min(p, d - WIDTH)
        a = read_row(g, p) + c0 * read_row(x, at) + c1 * read_row(x, at + d)
        a = a + c2 * read_row(x, at + 2 * d) + c3 * read_row(x, at + 3 * d)
        b = c4 * read_row(x, at + 4 * d) + c5 * read_row(x, at + 5 * d)
        b = b + c6 * read_row(x, at + 6 * d) + c7 * read_row(x, at + 7 * d)
        write_row(g, p, a + b)


@jit
def _score_tile(x, n, k, own, s):
    """Scores of WIDTH rows and WIDTH labels: eight sums in registers."""
    V, b = own.V, read_row(own.bias, k)
    x0, x1, x2, x3, x4, x5, x6, x7 = x[n], x[n + 1], x[n + 2], x[n + 3], x[n + 4], x[n + 5], x[n + 6], x[n + 7]
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = b
    for j in range(x.shape[1]):
        v = read_row(V, j * V.shape[1] + k)
        a0 += spread(x0[j]) * v
        a1 += spread(x1[j]) * v
        a2 += spread(x2[j]) * v
        a3 += spread(x3[j]) * v
        a4 += spread(x4[j]) * v
        a5 += spread(x5[j]) * v
        a6 += spread(x6[j]) * v
        a7 += spread(x7[j]) * v
    write_square(s, k * LANES + n, LANES, transposed((a0, a1, a2, a3, a4, a5, a6, a7)))


@jit
def _pull_tile(x, k, p, r, g):
    """Gradient in four labels and WIDTH columns: g += r x, summed in registers over all rows of the batch."""
    d, at = x.shape[1], min(p, x.shape[1] - WIDTH)
    r0, r1, r2, r3 = r[k], r[k + 1], r[k + 2], r[k + 3]
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = spread(0.0)
    for n in range(0, len(x), 2):
        u, v = read_row(x, at + n * d), read_row(x, at + (n + 1) * d)
        a0 += spread(r0[n]) * u
        b0 += spread(r0[n + 1]) * v
        a1 += spread(r1[n]) * u
        b1 += spread(r1[n + 1]) * v
        a2 += spread(r2[n]) * u
        b2 += spread(r2[n + 1]) * v
        a3 += spread(r3[n]) * u
        b3 += spread(r3[n + 1]) * v
    width = g.shape[1]
    to = k * width + p
    write_row(g, to, read_row(g, to) + a0 + b0)
    write_row(g, to + width, read_row(g, to + width) + a1 + b1)
    write_row(g, to + 2 * width, read_row(g, to + 2 * width) + a2 + b2)
    write_row(g, to + 3 * width, read_row(g, to + 3 * width) + a3 + b3)


@fast
def _of_many(s, r, top, total, width):
    """Softmax before its division, of scores s (k, LANES): fills r = exp(s - top), top the largest, and the total of r.

    For the first `width` rows; `top` and `total` are (LANES,).
    """
    for n in range(width):
        top[n], total[n] = -math.inf, 0.0
    for k in range(len(s)):
        for n in range(width):
            top[n] = s[k, n] if s[k, n] > top[n] else top[n]
    for k in range(len(s)):
        for n in range(width):
            r[k, n] = exp(s[k, n] - top[n])
            total[n] += r[k, n]


@fast
def _value(s, top, total, label, weight, width):
    """Log-likelihood of a batch; `total` becomes weight / total, the factor that r still lacks."""
    value = 0.0
    for k in range(len(s)):
        for n in range(width):
            given = weight[n] * (s[k, n] - top[n])
            value += given if (label[n] == k) & (weight[n] > 0) else 0.0
    for n in range(width):
        value -= weight[n] * log(total[n]) if weight[n] > 0 else 0.0
        total[n] = weight[n] / total[n]
    return value


@fast
def _of_two(s, r, label, weight, width):
    """Residuals r of the second of two classes from its log-odds s; returns the log-likelihood."""
    value = 0.0
    for n in range(width):
        below = exp(-abs(s[n]))
        share, hard = 1 / (1 + below), label[n] == 1
        lost = min(s[n] if hard else -s[n], 0.0) - log(1 + below)
        value += weight[n] * lost if weight[n] > 0 else 0.0
        p = share * (1.0 if s[n] > 0 else below)
        r[n] = weight[n] * ((1.0 if hard else 0.0) - p) if weight[n] > 0 else 0.0
    return value


@jit
def _of_scores(x, q, own, batch, ahead):
    """Value and gradient of one batch of a multiple of WIDTH rows, while the rows `ahead` are prefetched."""
    s, r, top, total, label, weight = batch.s, batch.r, batch.top, batch.total, batch.label, batch.weight
    for n in range(0, len(x), WIDTH):
        _bring(ahead, n)
        for k in range(0, len(own.bias), WIDTH):
            _score_tile(x, n, k, own, s)
    _of_many(s[:q], r, top, total, len(x))
    value = _value(s[:q], top, total, label, weight, len(x))
    for k in range(q):
        for n in range(len(x)):
            hard = weight[n] if label[n] == k else 0.0
            r[k, n] = hard - r[k, n] * total[n] if weight[n] > 0 else 0.0
    for p in range(0, own.g.shape[1], WIDTH):
        for k in range(0, padded(q), 4):
            _pull_tile(x, k, p, r, own.g)
    return value


@jit
def _of_one_score(x, own, batch, ahead):
    """Value and gradient of one batch in two classes, of which the first scores 0: one dot product for each row."""
    s, r = batch.s[0], batch.r[0]
    for n in range(0, len(x), WIDTH):
        _dots(x, n, own, s)
    value = _of_two(s, r, batch.label, batch.weight, len(x))
    for n in range(0, len(x), WIDTH):
        _bring(ahead, n)
        _add_rows(x, n, r, own.g)
    return value


@jit
def _bring(ahead, n):
    for i in range(n, min(n + WIDTH, len(ahead))):
        prefetch(ahead[i])


@jit
def _counted(y, weights, label, weight):
    """Copies labels and weights; a row without a label has weight 0."""
    for n in range(len(y)):
        label[n], weight[n] = y[n], weights[n] if y[n] >= 0 else 0.0
    for n in range(len(y), eights(len(y))):
        label[n], weight[n] = -1, 0.0


@jit
def _copied(x, rows):
    """Copies x (n, d) into the work array `rows`, in its precision, and returns n rows of it, rounded up to WIDTH.

    Rows beyond n are 0; columns beyond d are as they were.
    """
    d, width = x.shape[1], eights(len(x))
    for n in range(len(x)):
        given, row = x[n], rows[n]
        for j in range(d):
            row[j] = given[j]
    for n in range(len(x), width):
        row = rows[n]
        for j in range(d):
            row[j] = 0
    return rows[:width]


def _exact(x, rows):
    """Rows in float64: themselves if they are, else a copy."""


@overload(_exact)
def _(x, rows):
    """Choice made when compiled: a copy where rows are not float64, for many labels would convert each cell again."""
    return (lambda x, rows: x) if x.dtype is rows.dtype else (lambda x, rows: _copied(x, rows))


@jit
def _sweep(x, y, weights, q, own, batch, ahead):
    """Works on one batch: adds to the gradient, and returns the value."""
    _counted(y, weights, batch.label, batch.weight)
    if len(x) % WIDTH or x.shape[1] < WIDTH:
        x = _copied(x, batch.rows)
    if q == 1:
        value = _of_one_score(x, own, batch, ahead)
    else:
        value = _of_scores(_exact(x, batch.exact), q, own, batch, ahead)
    for k in range(q):
        for n in range(len(y)):
            own.sums[k] += batch.r[k, n]
    return value


@jit
def _filled(w, b, own):
    """Fills the parameters, weights (k, d) and bias (k,), as vectors take them."""
    (q, d), width = w.shape, own.g.shape[1]
    for k in range(q):
        own.bias[k] = b[k]
        for j in range(d):
            own.V[j, k] = w[k, j]
    for j in range(d):
        own.W[0, _place(j, d, width)] = w[0, j]


@jit
def _place(j, d, width):
    """The place of column j in vectors: the last d columns end the last vector, where d is no multiple of WIDTH."""
    return j if j < d // WIDTH * WIDTH or d < WIDTH else width - d + j


@inlined
def _piece(frame, piece, dtype):
    arguments, results = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS
    first, cells = ffi.matrix(frame, arguments, 0, dtype), ffi.vector(frame, arguments, 1, dtype)
    y, weights = ffi.vector(frame, arguments, 2, np.int32), ffi.vector(frame, arguments, 3, dtype)
    b, w, values = (
        ffi.vector(frame, arguments, 4, dtype),
        ffi.matrix(frame, arguments, 5, dtype),
        ffi.vector(frame, results, 0, dtype),
    )
    n, (q, d), value = len(y), w.shape, 0.0
    # Where the rows would start: all but the first are there.
    x = carray(ffi.pointer(cells.ctypes.data - (n * d - len(cells)) * cells.itemsize, dtype), (n, d))
    wide, k = max(d, WIDTH), eights(q)
    own = Weights(np.zeros(k), np.zeros((1, eights(d))), np.zeros((wide, k)), np.zeros((k, eights(d))), np.zeros(k))
    _filled(w, b, own)
    lanes, label = np.zeros((3, LANES)), np.zeros(LANES, np.int64)
    s, r, rows = np.zeros((k, LANES)), np.zeros((k, LANES)), np.zeros((LANES, wide), dtype)
    batch = Batch(s, r, lanes[0], lanes[1], label, lanes[2], rows, np.zeros((LANES, wide)))
    start, stop = ffi.part(n, piece, len(values))
    if start < len(first):
        value += _sweep(first, y[: len(first)], weights[: len(first)], q, own, batch, first[:0])
        start = len(first)
    size = min(LANES, max(WIDTH, CACHED // d // WIDTH * WIDTH))
    for row in range(start, stop, size):
        end = min(row + size, stop)
        value += _sweep(x[row:end], y[row:end], weights[row:end], q, own, batch, x[end : min(end + size, stop)])
    values[piece] = value
    gradient = ffi.cube(frame, results, 1, dtype)[piece]
    for i in range(q):
        gradient[i, 0] = own.sums[i]
        for j in range(d):
            gradient[i, 1 + j] = own.g[i, _place(j, d, own.g.shape[1])]


handler = handlers.of_pieces("logistic", _piece, handlers.of_result(0))
