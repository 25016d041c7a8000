"""Complete rows under normal distributions: scores and sufficient statistics, LANES rows side by side.

    u = L^-1 (x - mean)      forward substitution, four columns at a time (`lanes.solve`)
    score = log weight - log det L - d/2 log 2 pi - |u|^2 / 2
    sums:  c,  c u,  c u u^T   the last by tiles of sums in registers, only on and below the diagonal

Labels that share a factor form a unit and are whitened once, about the mean of the first; for another label the length
is that of u - a, with a = L^-1 (its mean - the first mean), and u - a differs from its own residual by rounding of
size |a| eps. Where that would take more than `KEPT` allows, each label is a unit of its own.
"""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu.ffi import jit
from dgjax_kernels.cpu.simd.lanes import (
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
from dgjax_kernels.cpu.simd.tiles import add_products


class Model(NamedTuple):
    """Parameters prepared for lanes: k = g m labels in g groups that share a factor L, d padded to a multiple of 4.

    Labels of a group that share a whitening form a unit; offsets are a = L^-1 (mean - mean of the unit's first label).
    """

    mean: np.ndarray  # (k, d)
    offset: np.ndarray  # (k, d): a
    log_weight: np.ndarray  # (k,)
    log_det: np.ndarray  # (g,)
    factor: np.ndarray  # (g, d, d): L, its diagonal inverted
    units: np.ndarray  # (units, 3): group, first label, number of labels


class Sums(NamedTuple):
    """Sufficient statistics summed over rows, in float64: log-likelihood, c, c u, c u u^T for k labels in g groups."""

    value: np.ndarray  # (1,)
    total: np.ndarray  # (k,)
    first: np.ndarray  # (k, d)
    second: np.ndarray  # (g, d, d)
    pairs: np.ndarray  # (units, m, m): P, sum over rows of c c^T / sum c


@jit
def new_model(mean, L, log_weights, dtype):
    """Model for scoring m labels in each of g groups that share a covariance L L^T, in newly allocated arrays.

    From mean (g, m, d), lower Cholesky factors L (g, d, d) and log-weights (g, m); means and factors in `dtype`.
    """
    g, m, d = mean.shape
    p, k = padded(d), g * m
    means, offset, factor = np.empty((k, p), dtype), np.empty((k, p), dtype), np.empty((g, p, p), dtype)
    model = Model(means, offset, np.empty(k), np.empty(g), factor, np.empty((k, 3), np.int64))
    used = fill_model(model, mean, L, log_weights)
    return Model(means, offset, model.log_weight, model.log_det, factor, model.units[:used])


@jit
def fill_model(model, mean, L, log_weights):
    """Preparation of mean (g, m, d), Cholesky factors L (g, d, d) and log-weights (g, m), in the arrays of a `model`.

    Returns how many units the labels form: labels of one group that are whitened together.
    """
    g, m, d = mean.shape
    p, count = model.mean.shape[1], 0
    for i in range(g):
        model.log_det[i] = 0
        for j in range(p):
            for e in range(p):
                model.factor[i, j, e] = L[i, j, e] if e < j < d else 0
            model.factor[i, j, j] = 1 / L[i, j, j] if j < d else 1
            model.log_det[i] += math.log(abs(np.float64(L[i, j, j]))) if j < d else 0.0
        for k in range(m):
            model.log_weight[i * m + k] = log_weights[i, k]
            for j in range(p):
                model.mean[i * m + k, j] = mean[i, k, j] if j < d else 0
                model.offset[i * m + k, j] = 0
        size = m if m == 1 or _offsets(mean[i], L[i], model.offset[i * m : (i + 1) * m]) else 1
        for label in range(i * m, (i + 1) * m, size):
            model.units[count, 0], model.units[count, 1], model.units[count, 2] = i, label, size
            count += 1
    return count


@jit
def _offsets(mean, L, a):
    """Offsets a_m = L^-1 (mean_m - mean_0), filled; returns whether labels can share a whitening.

    Zeros if they cannot, for digits would be lost.
    """
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
def complete_scores(model, lanes, d):
    """Scores of the rows in the lanes, log weight + log N(x; mean, L L^T), and their residuals u = L^-1 (x - mean)."""
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
def complete_moments(model, lanes, sums):
    """Sufficient statistics c, c u, c u u^T of the rows in the lanes, c their responsibilities, added to the sums."""
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
    """Average residual u over labels that are whitened together (a `unit`), by counts, and cu = c u, in place.

    First moments of each label, and products of their counts, are added to the sums.
    """
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
def between(model, sums):
    """Second moments between the labels of a unit, added to those of its average residual.

    They are 1/2 sum P (a - a') (a - a')^T over labels of offsets a, a' in a unit, P = sum over rows of c c^T / sum c.
    Labels that share a whitening are summed as one, by the average of u - a over them (`_average`): one outer product
    for each row in place of one for each label.
    """
    for unit in range(len(model.units)):
        group, start, size = model.units[unit]
        for k in range(size):
            for other in range(k if size > 1 else 0):
                for j in range(len(sums.second[group])):
                    for e in range(j + 1):
                        apart = np.float64(model.offset[start + k, j]) - np.float64(model.offset[start + other, j])
                        also = np.float64(model.offset[start + k, e]) - np.float64(model.offset[start + other, e])
                        sums.second[group, j, e] += sums.pairs[unit, k, other] * apart * also
