"""The Gaussian kernels on a CPU: scores, their partition and the statistics in one pass over the rows.

Rows with the same number of missing cells go side by side, LANES of them at a time, and every label is worked out for
them in the cache. Letters as in `gaussian`; k runs over all g m labels. A complete row is whitened by substitution,
u = L^-1 (x - mean). A row with missing cells needs the u of least length that its observed cells allow, and the part of
space that they leave free, spanned by an orthonormal q, for E[u u^T | x_observed] = u u^T + q q^T. Two ways:

- few missing: q from the missing columns of L^-1, and u with them at their means, projected off q;
- few observed: the observed rows of L are F q'^T, so u = q' F^-1 r, and q q^T = I - q' q'^T.

The first loses digits in proportion to the largest variance inflation factor, 1 / (1 - R^2) of a column given the
others, and is taken up to one of 1e8; both work in float64, so that float32 data lose none.
Where m labels share a factor, whitened means differ by a, and the second moments of all labels are those of the average
residual plus 1/2 sum_mm' P_mm' (a_m - a_m') (a_m - a_m')^T with P = sum c c^T / sum c: one product for each row.
In many columns a row belongs to one label all but surely, so moments are those of the few lanes that count.
"""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.gaussian_missing import missing_moments, missing_scores, precise, room_for_missing
from dgjax_kernels.cpu.lanes import (
    KEPT,
    LANES,
    counting,
    eights,
    fast,
    first_moments,
    first_moments_of_few,
    padded,
    residual,
    solve,
    squares,
    to_front,
)
from dgjax_kernels.cpu.rows import Call, collect, counted, loaded, new_lanes, new_waiting
from dgjax_kernels.cpu.tiles import add_products


class Model(NamedTuple):
    """Parameters made ready: d padded to a multiple of 4, the labels that share a whitening in units."""

    mean: np.ndarray  # (k, d)
    offset: np.ndarray  # (k, d): a
    log_weight: np.ndarray  # (k,)
    log_det: np.ndarray  # (g,)
    factor: np.ndarray  # (g, d, d): L, its diagonal inverted
    units: np.ndarray  # (units, 3): group, first label, number of labels


class Sums(NamedTuple):
    """What is summed over rows, in float64."""

    value: np.ndarray  # (1,)
    total: np.ndarray  # (k,)
    first: np.ndarray  # (k, d)
    second: np.ndarray  # (g, d, d)
    pairs: np.ndarray  # (units, m, m): P


@jit
def _model(mean, L, log_weights, dtype):
    g, m, d = mean.shape
    p = padded(d)
    means, offset = np.zeros((g * m, p), dtype), np.zeros((g * m, p), dtype)
    factor, log_det = np.zeros((g, p, p), dtype), np.zeros(g)
    log_weight, units, count = np.empty(g * m), np.empty((g * m, 3), np.int64), 0
    for k in range(g * m):
        log_weight[k] = log_weights[k // m, k % m]
    for i in range(g):
        for j in range(p):
            factor[i, j, j] = 1 / L[i, j, j] if j < d else 1
            log_det[i] += math.log(abs(np.float64(L[i, j, j]))) if j < d else 0.0
            for e in range(min(j, d) if j < d else 0):
                factor[i, j, e] = L[i, j, e]
        for k in range(m):
            for j in range(d):
                means[i * m + k, j] = mean[i, k, j]
        size = m if m == 1 or _offsets(mean[i], L[i], offset[i * m : (i + 1) * m]) else 1
        for label in range(i * m, (i + 1) * m, size):
            units[count, 0], units[count, 1], units[count, 2] = i, label, size
            count += 1
    return Model(means, offset, log_weight, log_det, factor, units[:count])


@jit
def _offsets(mean, L, a):
    """a_m = L^-1 (mean_m - mean_0), or zeros if they are so large that digits are lost. Whether they are not."""
    m, d = mean.shape
    largest = 0.0
    for label in range(m):
        length = 0.0
        for i in range(d):
            s = mean[label, i] - mean[0, i]
            for j in range(i):
                s -= L[i, j] * a[label, j]
            a[label, i] = s / L[i, i]
            length += np.float64(a[label, i]) ** 2
        largest = max(largest, length) if length == length else math.inf
    eps = np.finfo(a.dtype).eps
    shared = math.sqrt(largest) * eps <= eps**KEPT
    if not shared:
        a[:] = 0
    return shared


@jit
def _complete_scores(model, lanes, d):
    length = lanes.cu[0]
    constant = 0.5 * d * math.log(2 * math.pi)
    for unit in range(len(model.units)):
        group, start, size = model.units[unit]
        u = lanes.u[unit]
        residual(lanes.x, model.mean[start], u, d)
        solve(model.factor[group], u, length)
        for k in range(start, start + size):
            if k > start:
                squares(u, model.offset[k], length)
            for n in range(LANES):
                lanes.score[k, n] = model.log_weight[k] - model.log_det[group] - constant - 0.5 * length[n]


@jit
def _complete_moments(model, lanes, sums):
    index = np.empty(LANES, np.int64)
    for unit in range(len(model.units)):
        group, start, size = model.units[unit]
        u, c, many = lanes.u[unit], lanes.c[start], LANES
        if size > 1:
            _average(model, lanes, sums, unit)
        else:
            many = counting(c, sums.total[start], LANES, index)
            if many == LANES:
                first_moments(c, u, lanes.cu, sums.total, sums.first, start)
            elif many:
                to_front(lanes.c[start : start + 1], index, many, 0)
                to_front(u, index, many, 0)
                first_moments_of_few(c, u, lanes.cu, sums.total, sums.first, start, eights(many))
        if many:
            add_products(lanes.cu, u, sums.second[group], True, eights(many))


@fast
def _average(model, lanes, sums, unit):
    """u becomes the average residual over the labels of a unit, cu that times their counts; adds the first moments."""
    _, start, size = model.units[unit]
    u, c, p = lanes.u[unit], lanes.c, len(lanes.cu)
    for k in range(start, start + size):
        first_moments(c[k], u, lanes.cu, sums.total, sums.first, k)
    both, share = np.zeros(LANES), np.empty(LANES)
    for k in range(start, start + size):
        for n in range(LANES):
            both[n] += c[k, n]
    for k in range(start, start + size):
        total = 0.0
        for n in range(LANES):
            share[n] = c[k, n] / both[n] if both[n] > 0 else 0.0
            total += c[k, n]
        for j in range(p):
            sums.first[k, j] -= model.offset[k, j] * total
            for n in range(LANES):
                u[j, n] -= u.dtype.type(share[n]) * model.offset[k, j]
        for other in range(start, start + size):
            s = 0.0
            for n in range(LANES):
                s += share[n] * c[other, n]
            sums.pairs[unit, k - start, other - start] += s
    for j in range(p):
        for n in range(LANES):
            lanes.cu[j, n] = u.dtype.type(both[n]) * u[j, n]


@jit
def _between(model, sums):
    """Adds what whitened means of one unit differ by to its second moments."""
    for unit in range(len(model.units)):
        group, start, size = model.units[unit]
        for k in range(size):
            for other in range(k if size > 1 else 0):
                for j in range(len(sums.second[group])):
                    for e in range(j + 1):
                        apart = np.float64(model.offset[start + k, j]) - np.float64(model.offset[start + other, j])
                        also = np.float64(model.offset[start + k, e]) - np.float64(model.offset[start + other, e])
                        sums.second[group, j, e] += sums.pairs[unit, k, other] * apart * also


@inlined
def _work_out(call, m, model, exact, lanes, room, sums, waiting, bucket):
    """One set of lanes, whose rows all miss the same number of cells, or even the same cells."""
    d, missing = call.x.shape[1], waiting.missing[bucket]
    width = -(-waiting.filled[bucket] // 8) * 8  # of the lanes, those worth the work
    if missing:
        loaded(room.lanes, call, waiting.rows[bucket], waiting.filled[bucket])
        missing_scores(model, exact, room, missing, bucket > d, width, d, m)
        if counted(room.lanes, call, sums, waiting.filled[bucket], missing == d):
            missing_moments(exact, room, sums, missing, bucket > d, width, d, m)
    else:
        loaded(lanes, call, waiting.rows[bucket], waiting.filled[bucket])
        _complete_scores(model, lanes, d)
        if counted(lanes, call, sums, waiting.filled[bucket], False):
            _complete_moments(model, lanes, sums)
    waiting.filled[bucket] = 0


@inlined
def _sweep(call, mean, L, log_weights, start, stop, dtype):
    """All rows from start to stop, collected by the cells they miss."""
    d, (g, m, _) = call.x.shape[1], mean.shape
    p, k = padded(d), g * m
    model = _model(mean, L, log_weights, dtype)
    lanes, waiting = new_lanes(len(model.units), k, p, dtype), new_waiting(d)
    sums = Sums(np.zeros(1), np.zeros(k), np.zeros((k, p)), np.zeros((g, p, p)), np.zeros((len(model.units), m, m)))
    exact, room = precise(mean[:0], L[:0]), room_for_missing(0, 0, 0)
    skip = len(call.scores) + len(call.counts) == 0
    row = start
    while row < stop + len(waiting.filled):
        row, bucket = collect(call.x, call.weights, row, stop, waiting, skip)
        if bucket > 0 and len(exact.L) == 0:
            exact, room = precise(mean, L), room_for_missing(g, k, d)
        if bucket >= 0:
            _work_out(call, m, model, exact, lanes, room, sums, waiting, bucket)
    _between(model, sums)
    return sums


ARGUMENTS, RESULTS = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS


@inlined
def _piece(frame, piece, dtype):
    x, y = ffi.matrix(frame, ARGUMENTS, 0, dtype), ffi.vector(frame, ARGUMENTS, 1, np.int32)
    weights, log_weights = ffi.vector(frame, ARGUMENTS, 2, dtype), ffi.matrix(frame, ARGUMENTS, 3, dtype)
    mean, L = ffi.cube(frame, ARGUMENTS, 4, dtype), ffi.cube(frame, ARGUMENTS, 5, dtype)
    call = Call(x, y, weights, ffi.matrix(frame, ARGUMENTS, 6, dtype), ffi.matrix(frame, RESULTS, 0, dtype))
    pieces, n = _pieces(frame), len(x)
    sums = _sweep(call, mean, L, log_weights, piece * n // pieces, (piece + 1) * n // pieces, dtype)
    (g, m, d) = mean.shape
    ffi.vector(frame, RESULTS, 1, dtype)[piece] = sums.value[0]
    if len(call.scores):
        return
    total, first = ffi.cube(frame, RESULTS, 2, dtype)[piece], ffi.hypercube(frame, RESULTS, 3, dtype)[piece]
    second = ffi.hypercube(frame, RESULTS, 4, dtype)[piece]
    for k in range(g * m):
        total[k // m, k % m] = sums.total[k]
        for j in range(d):
            first[k // m, k % m, j] = sums.first[k, j]
    for i in range(g):
        for j in range(d):
            for e in range(j + 1):
                second[i, j, e] = second[i, e, j] = sums.second[i, j, e]


@jit
def _pieces(frame):
    return ffi.size(frame, RESULTS, 1, 0)


def handler(dtype, sources):
    """What XLA calls."""

    def gaussian(address):
        if ffi.introduced(address):
            return 0
        if ffi.called(address):
            return ffi.spread(address, _pieces(address), ffi.own_address(), sources)
        piece = ffi.next_piece(address)
        while piece >= 0:
            _piece(ffi.load(address, ffi.FRAME), piece, dtype)
            ffi.done(address)
            piece = ffi.next_piece(address)
        return ffi.leave(address)

    return gaussian
