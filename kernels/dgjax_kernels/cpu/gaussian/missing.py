"""Rows with missing cells under normal distributions, each with its own pattern, LANES rows side by side, in float64.

With x = mean + L u, u standard normal, observed cells fix u in some directions and leave it free in others:

    space of u (d dimensions)  =  fixed by the observed cells  +  free, spanned by q
    E[u u^T | x_observed]      =  u u^T (u of least length)    +  q q^T

Two ways to both parts, each an orthonormal basis q of the smaller one, by Gram-Schmidt:

- few missing (primal): free directions are spanned by the missing columns of L^-1; u is the whitened row with missing
  cells at their means, less its part along q;
- few observed: fixed directions are spanned by the observed rows of L, which are F q'^T; so u = q' F^-1 r with r the
  observed residual, and the free part is I - q' q'^T.

The primal way is taken only where it keeps 8 digits (`inverted`). Letters: d columns, k = g m labels in g groups that
share a factor L, t directions of a basis q, p = d padded to a multiple of 4.
"""

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

LARGEST_INFLATION = 1e8  # see above: beyond it, rows take the way of few observed cells, however many they are
MILD_INFLATION = 1e4  # up to it, scores are by the precision matrix: see `marginals`
KEPT_BASES = 1 << 22  # floats of q kept between scores and statistics, 32 MB; above, it is worked out again


class Precise(NamedTuple):
    """Parameters in float64 for rows with missing cells, k labels in g groups, prepared when the first comes."""

    mean: np.ndarray  # (k, d)
    L: np.ndarray  # (g, d, d)
    factor: np.ndarray  # (g, d, d): L, its diagonal inverted
    columns: np.ndarray  # (g, d, d): the transpose of L^-1
    benign: np.ndarray  # (g,): whether variance inflation allows the primal way
    mild: np.ndarray  # (g,): and that by the precision
    precision: np.ndarray  # (g, d, d): in units in which its diagonal is 1
    unit: np.ndarray  # (g, d): the root of its diagonal
    log_unit: np.ndarray  # (g, d)


class Buffers(NamedTuple):
    """Work arrays for LANES rows with missing cells: g groups, d columns, up to t directions of a basis q."""

    lanes: Lanes
    picked: np.ndarray  # (2, d, LANES): columns missing and observed
    bases: np.ndarray  # (g or 1, t, d, LANES): q
    sizes: np.ndarray  # (g or 1, t, LANES): |q|^2
    R: np.ndarray  # (t, t, LANES)
    v: np.ndarray  # (t, LANES)
    origin: np.ndarray  # (d,): zeros


@jit
def precise(mean, L):
    """Preparation of mean (g, m, d) and Cholesky factors L (g, d, d) for rows with missing cells, in float64."""
    g, m, d = mean.shape
    p = padded(d)
    means, benign, mild = np.zeros((g * m, p)), np.empty(g, np.bool_), np.empty(g, np.bool_)
    precision, unit, log_unit = empty((g, p, p), np.float64), np.empty((g, p)), np.empty((g, p))
    full, factor, columns = np.empty((g, p, p)), np.empty((g, p, p)), np.empty((g, p, p))
    for k in range(g * m):
        for j in range(d):
            means[k, j] = mean[k // m, k % m, j]
    for i in range(g):
        inflation = inverted(L[i], full[i], factor[i], columns[i])
        benign[i], mild[i] = inflation <= LARGEST_INFLATION, inflation <= MILD_INFLATION
        _precision(columns[i], precision[i], unit[i], log_unit[i])
    return Precise(means, full, factor, columns, benign, mild, precision, unit, log_unit)


@jit
def _precision(columns, precision, unit, log_unit):
    """Precision from the columns of L^-1, in units in which its diagonal is 1, and those units."""
    for i in range(len(columns)):
        for j in range(i + 1):
            s = 0.0
            for e in range(i, len(columns)):
                s += columns[i, e] * columns[j, e]
            precision[i, j] = s
        unit[i] = math.sqrt(precision[i, i])
        log_unit[i] = math.log(unit[i])
    for i in range(len(columns)):
        for j in range(i):
            precision[i, j] = precision[j, i] = precision[i, j] / unit[i] / unit[j]
        precision[i, i] = 1.0


@jit
def inverted(L, full, factor, columns):
    """Inverse of a Cholesky factor L (d, d): fills L in float64, L with its diagonal inverted, and L^-T, padded from d.

    Returns the largest variance inflation factor, 1 / (1 - R^2) of a column given the others. L^-1 loses digits in
    proportion to it, and is used for rows with missing cells up to one of 1e8: of float64's 16 digits 8 are left, as
    many as float32 data have. The factor of column j is |row j of L|^2 |column j of L^-1|^2.
    """
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
    return inflation


@jit
def new_buffers(g, k, d):
    """Work arrays for LANES rows with missing cells, for g factors, k labels and d columns."""
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
    """Orthogonal basis: q (t, p, width), squared lengths, and R such that the picked rows of the table are q + R q.

    By modified Gram-Schmidt, which is orthogonal to rounding times the condition number of the rows; the classical form
    would square that number. Source: Bjorck (1967), Solving linear least squares problems by Gram-Schmidt.
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
    """Takes from u its part along q, and says how many times q that was."""
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
    """Puts missing cells at their means: residual 0. Asks x, not u, which may be NaN because a parameter is."""
    for j in range(d):
        for n in range(LANES):
            u[j, n] = u[j, n] if x[j, n] == x[j, n] else 0


@fast
def _determined(picked, t, mean, x, q, R, size, u, v, width):
    """u = q^T v / |q|^2, where v solves F v = r for the observed residual r; F is I + R, unit lower triangular."""
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
def pick(x, d, picked):
    """Lists the columns of each row that are missing, and those that are observed, in `picked` (2, d, LANES)."""
    for n in range(LANES):
        t, s = 0, 0
        for j in range(d):
            missing = x[j, n] != x[j, n]
            picked[0, t, n] = picked[1, s, n] = j
            t += missing
            s += not missing
            t, s = min(t, d - 1), min(s, d - 1)


@jit
def _group_basis(exact, buffers, group, missing, width, d):
    """Orthogonal basis q of what `missing` cells leave free of u, or of what the observed ones fix: the smaller one.

    In the whitened space of a group's covariance, x = mean + L u, for LANES rows, each with its own pattern, of which
    the first `width` count. Returns q, the squared lengths of its vectors, their number t, and whether they span the
    free part (`primal`).
    """
    primal = 2 * missing <= d and exact.benign[group]
    t = missing if primal else d - missing
    table, picked = exact.columns[group] if primal else exact.L[group], buffers.picked[0 if primal else 1]
    q, size = buffers.bases[group % len(buffers.bases)], buffers.sizes[group % len(buffers.bases)]
    _basis(table, picked, t, q, buffers.R, size, width)
    return q, size, t, primal


@jit
def missing_scores(model, exact, buffers, missing, width, d, m):
    """Scores of LANES rows that all miss so many cells, log weight + log N(x_observed), and their whitened residuals u.

    Of the first `width` lanes, for labels in groups of m, in `buffers.lanes`; u is the one of least length with
    x_observed = (mean + L u)_observed.
    """
    pick(buffers.lanes.x, d, buffers.picked)
    for group in range(len(exact.L)):
        group_scores(model, exact, buffers, missing, width, d, m, group)


@jit
def group_scores(model, exact, buffers, missing, width, d, m, group):
    """Scores and whitened residuals under the labels of one group, of rows whose missing cells are picked."""
    lanes, scratch = buffers.lanes, buffers.lanes.cu[0]
    constant = 0.5 * (d - missing) * math.log(2 * math.pi)
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
    """Expected sufficient statistics of LANES rows that all miss so many cells, added to the sums.

    At their responsibilities c they are c, c u and c E[u u^T | x_observed], the last as u u^T and the free part q q^T,
    for labels in groups of m.
    """
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
    """Adds the free part of E[u u^T]: sum of c q q^T / |q|^2, or of c (I - that) where q spans the fixed part."""
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
