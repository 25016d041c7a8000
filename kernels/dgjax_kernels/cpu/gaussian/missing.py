"""Rows with missing cells under a Gaussian, in float64. The method and its letters are those of `cpu.gaussian`."""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu.ffi import jit
from dgjax_kernels.cpu.simd.batches import Lanes, new_lanes
from dgjax_kernels.cpu.simd.lanes import (
    LANES,
    counting,
    eights,
    fast,
    first_moments_of_few,
    log,
    padded,
    residual,
    solve,
    squares,
    to_front,
)
from dgjax_kernels.cpu.simd.tiles import add_products, empty

LARGEST_INFLATION = 1e8
KEPT_BASES = 1 << 22  # floats of q kept between scores and statistics; above, it is worked out again


class Precise(NamedTuple):
    """The same in float64, made when the first missing cell is seen."""

    mean: np.ndarray  # (k, d)
    L: np.ndarray  # (g, d, d)
    factor: np.ndarray  # (g, d, d)
    columns: np.ndarray  # (g, d, d): the transpose of L^-1
    benign: np.ndarray  # (g,)


class Buffers(NamedTuple):
    """What is at work for rows with missing cells."""

    lanes: Lanes
    picked: np.ndarray  # (2, d, LANES): columns missing and observed
    bases: np.ndarray  # (g or 1, t, d, LANES): q
    sizes: np.ndarray  # (g or 1, t, LANES): |q|^2
    R: np.ndarray  # (t, t, LANES)
    v: np.ndarray  # (t, LANES)
    origin: np.ndarray  # (d,): zeros


@jit
def precise(mean, L):
    """Makes the parameters ready."""
    g, m, d = mean.shape
    p = padded(d)
    means, benign = np.zeros((g * m, p)), np.empty(g, np.bool_)
    full, factor, columns = np.empty((g, p, p)), np.empty((g, p, p)), np.empty((g, p, p))
    for k in range(g * m):
        for j in range(d):
            means[k, j] = mean[k // m, k % m, j]
    for i in range(g):
        benign[i] = inverted(L[i], full[i], factor[i], columns[i])
    return Precise(means, full, factor, columns, benign)


@jit
def inverted(L, full, factor, columns):
    """A factor in float64, with its diagonal inverted, and the transpose of its inverse; whether that is to be used."""
    d, p, inflation = len(L), len(full), 0.0
    for j in range(p):
        for e in range(p):
            full[j, e] = factor[j, e] = columns[j, e] = 0
        full[j, j] = L[j, j] if j < d else 1
        factor[j, j] = 1 / full[j, j]
        for e in range(j if j < d else 0):
            full[j, e] = factor[j, e] = L[j, e]
    for j in range(p):
        length = 0.0
        for r in range(j, p):
            s = 1.0 if r == j else 0.0
            for e in range(j, r):
                s -= full[r, e] * columns[j, e]
            columns[j, r] = s * factor[r, r]
            length += columns[j, r] ** 2
        spread = 0.0
        for e in range(j + 1):
            spread += full[j, e] ** 2 * length
        inflation = max(inflation, spread) if spread == spread else math.inf
    return inflation <= LARGEST_INFLATION


@jit
def new_buffers(g, k, d):
    """Space to work in."""
    p, t = padded(d), d
    kept = g if g * t * p * LANES <= KEPT_BASES else 1
    return Buffers(
        new_lanes(k, k, p, np.float64),
        np.empty((2, d, LANES), np.int64),
        empty((kept, t, p, LANES), np.float64),
        empty((kept, t, LANES), np.float64),
        empty((t, t, LANES), np.float64),
        empty((t, LANES), np.float64),
        np.zeros(p),
    )


@fast
def _basis(table, picked, t, q, R, size, width):
    """Orthogonal q (t, p, width), their squared lengths and R such that the picked rows of the table are q + R q.

    By Gram-Schmidt in its modified form: orthogonal to rounding times the condition number of the rows.
    """
    for i in range(t):
        for j in range(q.shape[1]):
            for n in range(width):
                q[i, j, n] = table[picked[i, n], j]
        for s in range(i):
            _project(q[s], size[s], q[i], R[i, s], width)
        for n in range(width):
            size[i, n] = 0
        for j in range(q.shape[1]):
            for n in range(width):
                size[i, n] += q[i, j, n] * q[i, j, n]


@fast
def _project(q, size, u, part, width):
    """u loses its part along q, that many times q."""
    for n in range(width):
        part[n] = 0
    for j in range(len(u)):
        for n in range(width):
            part[n] += q[j, n] * u[j, n]
    for n in range(width):
        part[n] /= size[n]
    for j in range(len(u)):
        for n in range(width):
            u[j, n] -= part[n] * q[j, n]


@fast
def _at_mean(x, u, d):
    """Missing cells at their means: by x, for u may be NaN because a parameter is."""
    for j in range(d):
        for n in range(LANES):
            u[j, n] = u[j, n] if x[j, n] == x[j, n] else 0


@fast
def _determined(picked, t, mean, x, q, R, size, u, v, width):
    """u = q^T v / |q|^2 with F v = r for the observed cells, F being the identity and R."""
    for j in range(len(u)):
        for n in range(LANES):
            u[j, n] = 0
    for i in range(t):
        for n in range(width):
            column = picked[i, n]
            v[i, n] = x[column, n] - mean[column]
        for s in range(i):
            for n in range(width):
                v[i, n] -= R[i, s, n] * v[s, n]
        for j in range(len(u)):
            for n in range(width):
                u[j, n] += v[i, n] * q[i, j, n] / size[i, n]


@jit
def _pick(x, missing, picked):
    """The columns that are missing, or observed."""
    for n in range(LANES):
        t = 0
        for j in range(picked.shape[0]):
            if (x[j, n] != x[j, n]) == missing:
                picked[t, n] = j
                t += 1


@jit
def _group_basis(exact, buffers, group, missing, width, d):
    """q of a group for the rows in the lanes, how many, and whether it spans what is missing."""
    primal = 2 * missing <= d and exact.benign[group]
    t = missing if primal else d - missing
    table, picked = exact.columns[group] if primal else exact.L[group], buffers.picked[0 if primal else 1]
    q, size = buffers.bases[group % len(buffers.bases)], buffers.sizes[group % len(buffers.bases)]
    _basis(table, picked, t, q, buffers.R, size, width)
    return q, size, t, primal


@jit
def missing_scores(model, exact, buffers, missing, width, d, m):
    """The scores of the rows in the lanes, and their u."""
    lanes, scratch = buffers.lanes, buffers.lanes.cu[0]
    _pick(lanes.x, True, buffers.picked[0])
    _pick(lanes.x, False, buffers.picked[1])
    constant = 0.5 * (d - missing) * math.log(2 * math.pi)
    for group in range(len(exact.L)):
        q, size, t, primal = _group_basis(exact, buffers, group, missing, width, d)
        for k in range(group * m, (group + 1) * m):
            u = lanes.u[k]
            if primal:
                residual(lanes.x, exact.mean[k], u, d)
                _at_mean(lanes.x, u, d)
                solve(exact.factor[group], u, scratch)
                for i in range(t):
                    _project(q[i], size[i], u, scratch, width)
            else:
                _determined(buffers.picked[1], t, exact.mean[k], lanes.x, q, buffers.R, size, u, buffers.v, width)
            squares(u, buffers.origin, scratch)
            start = model.log_weight[k] - constant - (model.log_det[group] if primal else 0.0)
            for n in range(LANES):
                lanes.score[k, n] = start - 0.5 * scratch[n]
        for i in range(t):
            _log_sizes(size[i], scratch, width)
            for k in range(group * m, (group + 1) * m):
                for n in range(LANES):
                    lanes.score[k, n] -= 0.5 * scratch[n]


@fast
def _log_sizes(size, result, width):
    for n in range(width):
        result[n] = log(size[n])


@jit
def missing_moments(exact, buffers, sums, missing, width, d, m):
    """Adds the statistics of the rows in the lanes."""
    lanes, index, both = buffers.lanes, np.empty(LANES, np.int64), np.empty((1, LANES))
    for group in range(len(exact.L)):
        labels = range(group * m, (group + 1) * m)
        both[:], smallest = 0, math.inf
        for k in labels:
            for n in range(LANES):
                both[0, n] += lanes.c[k, n]
            smallest = min(smallest, sums.total[k])
        many = counting(both[0], smallest, width, index)
        if many == 0:
            continue
        primal = 2 * missing <= d and exact.benign[group]
        q, size = buffers.bases[group % len(buffers.bases)], buffers.sizes[group % len(buffers.bases)]
        t = missing if primal else d - missing
        if len(buffers.bases) < len(exact.L):
            _group_basis(exact, buffers, group, missing, width, d)
        if many < width:
            to_front(both, index, many, 0)
            to_front(lanes.c[group * m : (group + 1) * m], index, many, 0)
            to_front(size[:t], index, many, 1)
            for i in range(t):
                to_front(q[i], index, many, 0)
            for k in labels:
                to_front(lanes.u[k], index, many, 0)
        for k in labels:
            first_moments_of_few(lanes.c[k], lanes.u[k], lanes.cu, sums.total, sums.first, k, eights(many))
            add_products(lanes.cu, lanes.u[k], sums.second[group], True, eights(many))
        _add_free(sums.second[group], q, size, t, both[0], primal, lanes.cu, eights(many))


@jit
def _add_free(second, q, size, t, both, primal, cu, width):
    """second += sum over lanes of c q q^T / |q|^2, or of c less that where q spans what is observed."""
    sign, p, total = 1.0 if primal else -1.0, q.shape[1], 0.0
    for n in range(width):
        total += both[n]
    for j in range(0 if primal else p):
        second[j, j] += total
    for i in range(t):
        _scale(sign, both, size[i], q[i], cu, width)
        add_products(cu, q[i], second, True, width)


@fast
def _scale(sign, c, size, q, cu, width):
    for j in range(len(q)):
        for n in range(width):
            cu[j, n] = sign * c[n] / size[n] * q[j, n]
