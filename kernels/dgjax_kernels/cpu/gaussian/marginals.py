"""Scores and conditional means of rows with missing cells by precision matrices, LANES rows side by side, in float64.

With precision P = (L L^T)^-1, r the residual with missing cells at 0, b = (P r)_missing and P_mm the rows and columns
of P at the t missing cells,

    r_missing given the others has mean -P_mm^-1 b and precision P_mm
    |L_observed^-1 r_observed|^2 = r^T P r - b^T P_mm^-1 b         det(L L^T)_observed = det(L L^T) det P_mm

so that a row and label take one product with P, and a Cholesky factor of t by t numbers in place of d by d: with 3 of
16 missing half the time of the bases in `missing`, which read t columns of L^-1 one number at a time. Columns are in
units in which the diagonal of P is 1, for pivots then lie between 1 and 1 / the variance inflation. Terms cancel in
proportion to that, so it is done up to `missing.MILD_INFLATION`, where float64 keeps 10 digits or more, and while no
more cells are missing than observed; else by `missing`. Letters: d columns, p = d padded, k = g m labels in g groups.
"""

import math

import numpy as np

from dgjax_kernels.cpu.ffi import jit
from dgjax_kernels.cpu.gaussian.missing import group_scores, pick
from dgjax_kernels.cpu.simd.lanes import LANES, fast, log, wide
from dgjax_kernels.cpu.simd.tiles import multiply

SAFE = 32  # pivots whose product is a number: 1e-4^32 = 1e-128


@fast
def _residual(x, mean, size, log_size, r, base, d):
    """Residuals r (p, LANES) in units 1 / size, 0 where missing; takes the logarithms of these units off base."""
    wide()
    for j in range(d, len(r)):
        for n in range(LANES):
            r[j, n] = 0
    for j in range(d):
        centre, unit, own = mean[j], size[j], log_size[j]
        for n in range(LANES):
            r[j, n] = (x[j, n] - centre) * unit if x[j, n] == x[j, n] else 0.0
        for n in range(LANES):
            base[n] -= 0.0 if x[j, n] == x[j, n] else own


@fast
def _inner(r, v, total):
    wide()
    for n in range(LANES):
        total[n] = 0
    for j in range(len(r)):
        for n in range(LANES):
            total[n] += r[j, n] * v[j, n]


@fast
def _factor(P, picked, t, R, inverse, log_det):
    """Cholesky factors R (t, t, LANES) of picked rows and columns of P, with inverted diagonals; log-determinants."""
    product = np.empty(LANES)
    for n in range(LANES):
        log_det[n], product[n] = 0.0, 1.0
    for i in range(t):
        for j in range(i):
            own = R[i, j]
            for n in range(LANES):
                own[n] = P[picked[i, n], picked[j, n]]
            for e in range(j):
                for n in range(LANES):
                    own[n] -= R[i, e, n] * R[j, e, n]
            for n in range(LANES):
                own[n] *= inverse[j, n]
        pivot = inverse[i]
        for n in range(LANES):
            pivot[n] = 1.0
        for e in range(i):
            for n in range(LANES):
                pivot[n] -= R[i, e, n] * R[i, e, n]
        for n in range(LANES):
            product[n] *= pivot[n]
            pivot[n] = 1 / math.sqrt(pivot[n])
        if i % SAFE == SAFE - 1 or i == t - 1:
            for n in range(LANES):
                log_det[n] += log(product[n])
                product[n] = 1.0


@fast
def _eliminated(v, picked, t, R, inverse, y, total):
    """Takes b^T P_mm^-1 b off the total: y = R^-1 b, b the picked rows of v."""
    for i in range(t):
        own = y[i]
        for n in range(LANES):
            own[n] = v[picked[i, n], n]
        for e in range(i):
            for n in range(LANES):
                own[n] -= R[i, e, n] * y[e, n]
        for n in range(LANES):
            own[n] *= inverse[i, n]
            total[n] -= own[n] * own[n]


@fast
def _conditional_mean(picked, t, R, inverse, y, mean, size, filled):
    """Conditional means of the missing cells, in the order in which they are picked: mean - P_mm^-1 b, b = R y."""
    for i in range(t - 1, -1, -1):
        own = y[i]
        for e in range(i + 1, t):
            for n in range(LANES):
                own[n] -= R[e, i, n] * y[e, n]
        for n in range(LANES):
            own[n] *= inverse[i, n]
            filled[i, n] = mean[picked[i, n]] - own[n] / size[picked[i, n]]


@fast
def _score(start, total, log_det, base, score):
    for n in range(LANES):
        score[n] = start - 0.5 * total[n] - 0.5 * log_det[n] + base[n]


@jit
def _by_precision(model, exact, buffers, t, d, m, group, filling):
    """Scores of a group's labels for rows that miss t cells each; conditional means too, in `lanes.u`, if filling."""
    lanes, R, inverse, picked = buffers.lanes, buffers.R, buffers.sizes[0], buffers.picked[0]
    total, log_det, base = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    constant, size = 0.5 * (d - t) * math.log(2 * math.pi), exact.unit[group]
    _factor(exact.precision[group], picked, t, R, inverse, log_det)
    for k in range(group * m, (group + 1) * m):
        r, v = lanes.u[k], lanes.cu
        for n in range(LANES):
            base[n] = 0.0
        _residual(lanes.x, exact.mean[k], size, exact.log_unit[group], r, base, d)
        multiply(exact.precision[group], r, v)
        _inner(r, v, total)
        _eliminated(v, picked, t, R, inverse, buffers.v, total)
        _score(model.log_weight[k] - model.log_det[group] - constant, total, log_det, base, lanes.score[k])
        if filling:
            _conditional_mean(picked, t, R, inverse, buffers.v, exact.mean[k], size, r)


@fast
def _picked_mean(picked, t, mean, product, filled):
    for i in range(t):
        for n in range(LANES):
            filled[i, n] = mean[picked[i, n]] + product[picked[i, n], n]


@jit
def marginal_scores(model, exact, buffers, missing, width, d, m, filling):
    """Scores of LANES rows that all miss so many cells, log weight + log N(x_observed), for labels in groups of m.

    Of the first `width` lanes. If filling, their conditional means too, (missing, LANES) for each label in `lanes.u`,
    in the order of the missing columns in `buffers.picked`.
    """
    lanes = buffers.lanes
    pick(lanes.x, d, buffers.picked)
    for group in range(len(exact.L)):
        if 2 * missing <= d and exact.mild[group]:
            _by_precision(model, exact, buffers, missing, d, m, group, filling)
            continue
        group_scores(model, exact, buffers, missing, width, d, m, group)
        for k in range(group * m, (group + 1) * m if filling else 0):
            multiply(exact.L[group], lanes.u[k], lanes.cu)
            _picked_mean(buffers.picked[0], missing, exact.mean[k], lanes.cu, lanes.u[k])


@jit
def fill(call, buffers, missing, count):
    """Writes the first `count` rows of the lanes, their missing cells at their means under all labels together."""
    lanes, picked, means = buffers.lanes, buffers.picked[0], np.empty(LANES)
    for n in range(count):
        row, to = call.x[lanes.rows[n]], call.scores[lanes.rows[n]]
        for j in range(len(row)):
            to[j] = row[j]
    for i in range(missing):
        _averaged(lanes.c, lanes.u, i, means)
        for n in range(count):
            call.scores[lanes.rows[n], picked[i, n]] = means[n]


@fast
def _averaged(c, filled, i, means):
    wide()
    for n in range(LANES):
        means[n] = 0
    for k in range(len(c)):
        for n in range(LANES):
            means[n] += c[k, n] * filled[k, i, n] if c[k, n] > 0 else 0.0


@jit
def copied(call, rows, count, sums):
    """Writes complete rows as they are; one with an infinite cell is refused."""
    for n in range(count):
        row, to, largest = call.x[rows[n]], call.scores[rows[n]], 0.0
        for j in range(len(row)):
            to[j] = row[j]
            largest = max(largest, abs(row[j]))
        sums.value[0] += largest == math.inf
