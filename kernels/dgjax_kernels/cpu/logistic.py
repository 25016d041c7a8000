"""The kernel of logistic regression on a CPU: value and gradient of the log-likelihood in one pass over memory.

A batch of rows small enough for the core's own cache is read for its scores and, once their partition is known, again
for the gradient. Letters: x rows (n, d), k labels, s scores (k, LANES), r residuals onehot(y) - p, weighted.
"""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi
from dgjax_kernels.cpu.ffi import inlined, jit, prefetch
from dgjax_kernels.cpu.lanes import LANES, add_products, exp, fast, log, padded

CACHED = 1 << 14  # cells of a batch: 128 kB in float64


class Batch(NamedTuple):
    """Rows at work, on the last axis."""

    first: int  # the first label with parameters of its own: 1 if the scores of the other are 0
    s: np.ndarray  # (k, LANES), k padded to a multiple of 4 if there are more than two classes
    r: np.ndarray  # (k, LANES)
    top: np.ndarray  # (LANES,): the largest score
    total: np.ndarray  # (LANES,): the sum of exp(s - top)
    label: np.ndarray  # (LANES,)
    weight: np.ndarray  # (LANES,): 0 where there is no label


@jit
def _new_batch(k, first):
    s, r, lanes = np.zeros((k, LANES)), np.zeros((k, LANES)), np.zeros((3, LANES))
    return Batch(first, s, r, lanes[0], lanes[1], np.zeros(LANES, np.int64), lanes[2])


@fast
def _dots(x, w, bias, s):
    """s = x w + bias, for four rows."""
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    s0 = s1 = s2 = s3 = w.dtype.type(0)
    for j in range(len(w)):
        s0 += x0[j] * w[j]
        s1 += x1[j] * w[j]
        s2 += x2[j] * w[j]
        s3 += x3[j] * w[j]
    s[0], s[1], s[2], s[3] = s0 + bias, s1 + bias, s2 + bias, s3 + bias


@fast
def _add_rows(x, r, g):
    """g += r x, of four rows."""
    x0, x1, x2, x3, kind = x[0], x[1], x[2], x[3], g.dtype.type
    r0, r1, r2, r3 = kind(r[0]), kind(r[1]), kind(r[2]), kind(r[3])
    for j in range(len(g)):
        g[j] += r0 * x0[j] + r1 * x1[j] + r2 * x2[j] + r3 * x3[j]


@fast
def _of_many(s, r, top, total):
    """r = exp(s - top), and their sum."""
    top[:], total[:] = -math.inf, 0.0
    for k in range(len(s)):
        for n in range(LANES):
            top[n] = s[k, n] if s[k, n] > top[n] else top[n]
    for k in range(len(s)):
        for n in range(LANES):
            r[k, n] = exp(s[k, n] - top[n])
            total[n] += r[k, n]


@fast
def _of_two(s, r, top, total):
    """The same of two classes, one of which is at the top."""
    for n in range(LANES):
        first, second = s[0, n], s[1, n]
        higher = second > first
        top[n] = second if higher else first
        below = exp((first if higher else second) - top[n])
        r[0, n], r[1, n] = (below if higher else 1.0), (1.0 if higher else below)
        total[n] = 1 + below


@jit
def _residuals(batch, labels, y, weights):
    """r, and the sum over rows of weight times log p(y | x)."""
    s, r, top, total, label, weight = batch.s[:labels], batch.r, batch.top, batch.total, batch.label, batch.weight
    for n in range(len(y)):
        label[n], weight[n] = y[n], weights[n] if y[n] >= 0 else 0.0
    label[len(y) :], weight[len(y) :] = -1, 0.0
    if labels == 2:
        _of_two(s, r, top, total)
    else:
        _of_many(s, r, top, total)
    value = _value(s, top, total, label, weight)
    for k in range(labels):
        for n in range(LANES):
            hard = weight[n] if label[n] == k else 0.0
            r[k, n] = hard - r[k, n] * total[n] if weight[n] > 0 else 0.0
    return value


@fast
def _value(s, top, total, label, weight):
    """The value; `total` becomes weight / total."""
    value = 0.0
    for k in range(len(s)):
        for n in range(LANES):
            given = weight[n] * (s[k, n] - top[n])
            value += given if (label[n] == k) & (weight[n] > 0) else 0.0
    for n in range(LANES):
        value -= weight[n] * log(total[n]) if weight[n] > 0 else 0.0
        total[n] = weight[n] / total[n]
    return value


@fast
def _add_tiles(x, r, g):
    """g += r x, of four rows and labels four by four."""
    x0, x1, x2, x3, kind = x[0], x[1], x[2], x[3], g.dtype.type
    for k in range(0, len(g), 4):
        g0, g1, g2, g3 = g[k], g[k + 1], g[k + 2], g[k + 3]
        a0, a1, a2, a3 = kind(r[k, 0]), kind(r[k, 1]), kind(r[k, 2]), kind(r[k, 3])
        b0, b1, b2, b3 = kind(r[k + 1, 0]), kind(r[k + 1, 1]), kind(r[k + 1, 2]), kind(r[k + 1, 3])
        c0, c1, c2, c3 = kind(r[k + 2, 0]), kind(r[k + 2, 1]), kind(r[k + 2, 2]), kind(r[k + 2, 3])
        e0, e1, e2, e3 = kind(r[k + 3, 0]), kind(r[k + 3, 1]), kind(r[k + 3, 2]), kind(r[k + 3, 3])
        for j in range(len(x0)):
            y0, y1, y2, y3 = x0[j], x1[j], x2[j], x3[j]
            g0[j] += a0 * y0 + a1 * y1 + a2 * y2 + a3 * y3
            g1[j] += b0 * y0 + b1 * y1 + b2 * y2 + b3 * y3
            g2[j] += c0 * y0 + c1 * y1 + c2 * y2 + c3 * y3
            g3[j] += e0 * y0 + e1 * y1 + e2 * y2 + e3 * y3


@jit
def _score(x, bias, W, s):
    """Scores of a multiple of four rows."""
    if len(bias) == 1:
        for n in range(0, len(x), 4):
            _dots(x[n : n + 4], W[0], bias[0], s[1, n : n + 4])
        return
    s[:, : len(x)] = 0
    add_products(W, x, s, False, x.shape[1])
    for k in range(len(bias)):
        for n in range(len(x)):
            s[k, n] += bias[k]


@jit
def _pull(x, r, g, ahead):
    """g += r x, of a multiple of four rows; has as many rows `ahead` brought near."""
    for n in range(0, len(x), 4):
        for i in range(n, min(n + 4, len(ahead))):
            prefetch(ahead[i])
        if len(g) == 1:
            _add_rows(x[n : n + 4], r[1, n : n + 4], g[0])
        else:
            _add_tiles(x[n : n + 4], r[:, n : n + 4], g)


@jit
def _sweep(x, y, weights, bias, W, batch, rest, into, g, ahead):
    """One batch: adds to the gradient g (k, 1 + d), and returns the value."""
    q, first, width, whole = len(bias), batch.first, len(x), len(x) // 4 * 4
    for n in range(whole, width):
        for j in range(x.shape[1]):
            rest[n - whole, j] = x[n, j]
    _score(x[:whole], bias, W, batch.s)
    if whole < width:
        _score(rest, bias, W, batch.s[:, whole:])
    labels = first + q
    value = _residuals(batch, labels, y, weights)
    into[:] = 0
    _pull(x[:whole], batch.r, into, ahead)
    if whole < width:
        _pull(rest, batch.r[:, whole:], into, ahead[:0])
    for k in range(q):
        for n in range(width):
            g[k, 0] += batch.r[first + k, n]
        for j in range(x.shape[1]):
            g[k, 1 + j] += into[k, j]
    return value


@inlined
def _piece(frame, piece, dtype):
    arguments, results = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS
    x, y = ffi.matrix(frame, arguments, 0, dtype), ffi.vector(frame, arguments, 1, np.int32)
    weights, bias = ffi.vector(frame, arguments, 2, dtype), ffi.vector(frame, arguments, 3, dtype)
    w, values = ffi.matrix(frame, arguments, 4, dtype), ffi.vector(frame, results, 0, dtype)
    (n, d), q, value = x.shape, len(w), 0.0
    start, stop = piece * n // len(values), (piece + 1) * n // len(values)
    tall = 1 if q == 1 else padded(q)
    W, rest, into, g = (
        np.zeros((tall, d), dtype),
        np.zeros((4, d), dtype),
        np.zeros((tall, d), dtype),
        np.zeros((q, 1 + d)),
    )
    for k in range(q):
        for j in range(d):
            W[k, j] = w[k, j]
    batch = _new_batch(2 if q == 1 else tall, 1 if q == 1 else 0)
    size = min(LANES, max(8, CACHED // d // 8 * 8))
    for row in range(start, stop, size):
        end = min(row + size, stop)
        ahead = x[end : min(end + size, stop)]
        value += _sweep(x[row:end], y[row:end], weights[row:end], bias, W, batch, rest, into, g, ahead)
    values[piece] = value
    gradient = ffi.cube(frame, results, 1, dtype)[piece]
    for k in range(q):
        for j in range(1 + d):
            gradient[k, j] = g[k, j]


def handler(dtype, sources):
    """What XLA calls."""

    def logistic(address):
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

    return logistic
