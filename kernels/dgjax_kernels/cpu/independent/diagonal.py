"""The E-step of independent normal columns on a CPU: scores, responsibilities and statistics in one pass over rows.

log N(x) is linear in the features x - o and (x - o)^2, with the mean of the means as origin o, so that scores and
statistics of LANES rows are matrix products:

    F = [x - o; (x - o)^2] (2 d, LANES)      scores = coefficients F + constant      sums += c F^T

Where cells are missing, features are 0 there, and the constants and counts of observed cells are added up by
`observed`. The expanded square loses digits in proportion to ((mean - o) / scale)^2. So it is done in float64, float32
rows too, and labels for which that is more than `lanes.KEPT` allows there, at 220 scales, are worked out from their own
residuals instead ("far"). In float32 they would be those at 11 scales, of which most data have some: on 2 cores a step
on 204,800 float32 rows of 32 columns and 16 labels took 16 ms with none and 34 with five; in float64 it takes 17 either
way. Letters: x rows of d cells, k labels, s = d or, where columns share a scale, 1; c counts (k, LANES).
"""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.independent import observed
from dgjax_kernels.cpu.simd.batches import COMPLETE, EMPTY, KINDS, collect_kinds, counted, given, loaded, new_lanes
from dgjax_kernels.cpu.simd.lanes import KEPT, LANES, eights, fast, padded
from dgjax_kernels.cpu.simd.tiles import add_products, multiply, zeros

EPS = np.finfo(np.float64).eps


class Model(NamedTuple):
    """Parameters prepared as coefficients of the features, for k labels; k, d and s are padded to multiples of 4."""

    origin: np.ndarray  # (d,)
    apart: np.ndarray  # (k, d): mean - origin
    mean: np.ndarray  # (k, d)
    log_scale: np.ndarray  # (k, s), s = d or, where all columns share a scale, 1
    log_weight: np.ndarray  # (k,)
    constant: np.ndarray  # (k,): the scores' constant terms, summed over all columns
    coefficients: np.ndarray  # (k, d + s): of x - origin and its square
    far: np.ndarray  # (k,): whether the expanded square would lose digits
    ones: np.ndarray  # the table of constant terms by which observed columns there are


class Features(NamedTuple):
    """Features of LANES rows, side by side on the last axis, and their products: k labels, d columns, s scales."""

    F: np.ndarray  # (d + s, LANES)
    product: np.ndarray  # (k, LANES), k padded to a multiple of 8
    c: np.ndarray  # (k, LANES): responsibilities, k padded to a multiple of 8


class Sums(NamedTuple):
    """Sufficient statistics summed over rows, in float64: k labels, d columns, s scales."""

    value: np.ndarray  # (1,)
    counts: np.ndarray  # (k,)
    total: np.ndarray  # (k,): of complete rows
    observed: np.ndarray  # (d, k): of rows that are not, in observed columns; padded to multiples of 8
    moments: np.ndarray  # (k, d + s): of the features
    residual: np.ndarray  # (k, d + s): of residuals and their squares, for labels that are far


@jit
def _model(mean, log_scale, log_weights):
    k, d = mean.shape
    p, q = padded(d), padded(k)
    origin, apart = np.zeros(p), np.zeros((q, p))
    log_weight, constant = np.empty(k), np.zeros(k)
    s = log_scale.shape[1]
    coefficients, ones, far = np.zeros((q, p + padded(s))), np.zeros((k, p)), np.zeros(k, np.bool_)
    for j in range(d):
        for i in range(k):
            origin[j] += mean[i, j] / k if abs(mean[i, j]) < math.inf else 0
    for i in range(k):
        log_weight[i] = log_weights[0, i]
        for j in range(d):
            log = np.float64(log_scale[i, min(j, s - 1)])
            precision = math.exp(-2 * log)
            apart[i, j] = mean[i, j] - origin[j]
            ones[i, j] = -0.5 * (apart[i, j] ** 2 * precision + math.log(2 * math.pi)) - log
            constant[i] += ones[i, j]
            coefficients[i, j], coefficients[i, p + min(j, s - 1)] = apart[i, j] * precision, -0.5 * precision
            far[i] |= not apart[i, j] ** 2 * precision * EPS <= EPS**KEPT
    return Model(origin, apart, mean, log_scale, log_weight, constant, coefficients, far, observed.table(ones))


@jit
def _featured(x, origin, F, d, s, kind):
    """Features of the rows in the lanes; where columns share a scale, their squares are one feature, the sum."""
    p = len(origin)
    if kind == COMPLETE:
        _complete_features(x, origin, F[:p], F[p:], d, s)
    else:
        _observed_features(x, origin, F[:p], F[p:], d, s)


@fast
def _complete_features(x, origin, first, second, d, s):
    for j in range(s):
        for n in range(LANES):
            r = x[j, n] - origin[j]
            first[j, n] = r
            second[j, n] = r * r
    for j in range(s, d):
        for n in range(LANES):
            r = x[j, n] - origin[j]
            first[j, n] = r
            second[0, n] += r * r


@fast
def _observed_features(x, origin, first, second, d, s):
    """Features with missing cells: in two loops, of which LLVM makes SIMD code; in one they take half as long again."""
    for j in range(d):
        cells, own, square = x[j], first[j], second[min(j, s - 1)]
        for n in range(LANES):
            own[n] = cells[n] - origin[j] if cells[n] == cells[n] else 0.0
        for n in range(LANES):
            square[n] = own[n] * own[n] + (square[n] if j >= s else 0.0)


@jit
def _scores(model, lanes, features, places, kind):
    multiply(model.coefficients, features.F, features.product)
    if kind != COMPLETE:
        observed.add_scores(model.ones, places, features.product)
    _add_start(model.log_weight, model.constant, kind, features.product, lanes.score)
    for k in range(len(lanes.score)):
        if model.far[k]:
            _far_scores(lanes.x, model.mean[k], model.log_scale[k], lanes.score[k])
            for n in range(LANES):
                lanes.score[k, n] += model.log_weight[k]


@fast
def _add_start(log_weight, constant, kind, product, score):
    for k in range(len(score)):
        start = log_weight[k] + (constant[k] if kind == COMPLETE else 0.0)
        for n in range(LANES):
            score[k, n] = start + product[k, n]


@fast
def _far_scores(x, mean, log_scale, score):
    for n in range(LANES):
        score[n] = 0
    for j in range(len(mean)):
        log = np.float64(log_scale[min(j, len(log_scale) - 1)])
        inverse, constant = math.exp(-log), log + 0.5 * math.log(2 * math.pi)
        for n in range(LANES):
            z = (x[j, n] - mean[j]) * inverse
            score[n] -= 0.5 * z * z + constant if x[j, n] == x[j, n] else 0


@jit
def _moments(model, lanes, features, places, sums, kind):
    p, s = padded(model.mean.shape[1]), model.log_scale.shape[1]
    _counted(lanes.c, features.c, sums.counts, sums.total, kind)
    for k in range(len(lanes.c)):
        if model.far[k]:
            _far_moments(lanes.x, lanes.c[k], model.mean[k], sums.residual[k], p, s)
    add_products(features.c[: len(sums.moments)], features.F, sums.moments, False, LANES)
    if kind != COMPLETE:
        observed.add_counts(features.c, places, sums.observed)


@fast
def _counted(c, copy, counts, total, kind):
    """Copies responsibilities to float64, and adds them to the counts."""
    for k in range(len(c)):
        s = 0.0
        for n in range(LANES):
            copy[k, n] = c[k, n]
            s += c[k, n]
        counts[k] += s
        total[k] += s if kind == COMPLETE else 0.0


@fast
def _far_moments(x, c, mean, residual, p, s):
    for j in range(len(mean)):
        first = second = 0.0
        for n in range(LANES):
            r = x[j, n] - mean[j]
            observed = x[j, n] == x[j, n]
            weighted = c[n] * r if observed else 0.0
            first += weighted
            second += weighted * r if observed else 0.0
        residual[j] += first
        residual[p + min(j, s - 1)] += second


@inlined
def _sweep(call, mean, log_scale, log_weights, start, stop):
    """E-step of the rows from start to stop; returns the prepared model and the sums."""
    k, d = mean.shape
    s = log_scale.shape[1]
    p, q, f = padded(d), padded(k), padded(d) + padded(s)
    model, lanes = _model(mean, log_scale, log_weights), new_lanes(0, k, p, np.float64)
    Q, places = eights(k), observed.new_observed(p)
    c, product = zeros((Q, LANES), np.float64), zeros((Q, LANES), np.float64)
    features, counts = Features(zeros((f, LANES), np.float64), product, c), np.zeros((eights(p), Q))
    sums = Sums(np.zeros(1), np.zeros(k), np.zeros(k), counts, np.zeros((q, f)), np.zeros((k, f)))
    waiting, count = np.empty((KINDS, LANES), np.int64), np.zeros(KINDS, np.int64)
    skip = len(call.scores) + len(call.counts) == 0
    row = start
    while row < stop + KINDS:
        row, kind = collect_kinds(call.x, call.weights, row, stop, waiting, count, skip)
        if kind >= 0:
            loaded(lanes, call, waiting[kind], count[kind])
            _featured(lanes.x, model.origin, features.F, d, s, kind)
            if kind != COMPLETE:
                observed.find(lanes.x, places)
            if len(call.counts) == 0:
                _scores(model, lanes, features, places, kind)
            if counted(lanes, call, sums, count[kind], kind == EMPTY):
                _moments(model, lanes, features, places, sums, kind)
            count[kind] = 0
    return model, sums


ARGUMENTS, RESULTS = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS


@inlined
def _piece(frame, piece, dtype):
    call, log_weights, start, stop = given(frame, piece, 6, dtype)
    mean, log_scale = ffi.matrix(frame, ARGUMENTS, 4, dtype), ffi.matrix(frame, ARGUMENTS, 5, dtype)
    model, sums = _sweep(call, mean, log_scale, log_weights, start, stop)
    ffi.vector(frame, RESULTS, 1, dtype)[piece] = sums.value[0]
    if len(call.scores) == 0:
        _summed(model, sums, ffi.hypercube(frame, RESULTS, 2, dtype)[piece])
        for k in range(len(mean)):
            ffi.matrix(frame, RESULTS, 3, dtype)[piece, k] = sums.counts[k]


@jit
def _summed(model, sums, result):
    """Writes statistics (3, k, d): sums of c, c z and c z^2, z = (x - mean) / scale, the last in s columns.

    Sums about the origin are moved to the means, except for far labels.
    """
    (k, d), s = model.mean.shape, model.log_scale.shape[1]
    p = padded(d)
    for i in range(k):
        second = sums.moments[i, p : p + s].copy()
        for j in range(d):
            apart, first, total = model.apart[i, j], sums.moments[i, j], sums.total[i] + sums.observed[j, i]
            second[min(j, s - 1)] += apart * (apart * total - 2 * first)
            result[0, i, j] = total
            inverse = math.exp(-np.float64(model.log_scale[i, min(j, s - 1)]))
            result[1, i, j] = (sums.residual[i, j] if model.far[i] else first - apart * total) * inverse
            result[2, i, j] = 0.0
        for j in range(s):
            inverse = math.exp(-np.float64(model.log_scale[i, j]))
            result[2, i, j] = (sums.residual[i, p + j] if model.far[i] else second[j]) * inverse * inverse


handler = handlers.of_pieces("diagonal", _piece, handlers.of_result(1))
