"""Rows that miss the same cells under normal distributions, in float64: for them, the observed cells are complete rows.

What depends on the pattern alone is done once, not for each row. Givens rotations q of the columns of L turn its
observed rows into [F 0] with F lower triangular, so that

    L_observed q = [F 0]      u = q (v, 0) with v = F^-1 r, r the observed residual
                              E[u u^T | x_observed] = q (v v^T, I) q^T

Scores and statistics are those of complete rows of the observed columns under factor F, by `complete`. Statistics of v
are kept with the pattern, and become those of u once for all of its rows, when the pattern's place is given to another
or the pass ends. Letters: d columns, k = g m labels in g groups that share a factor L.
"""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu.ffi import jit
from dgjax_kernels.cpu.gaussian.complete import Model, Sums, between, fill_model
from dgjax_kernels.cpu.simd.batches import SHARED
from dgjax_kernels.cpu.simd.lanes import LANES, fast, padded
from dgjax_kernels.cpu.simd.tiles import add_products, empty

MEMORY = 1 << 22  # floats of all places, 32 MB; with more patterns than places, those that share one take turns


class Patterns(NamedTuple):
    """Parameters and sufficient statistics of patterns of missing cells, each in a place of its own; k = g m labels."""

    bucket: np.ndarray  # (places,): whose rows it is for, 0 for none
    observed: np.ndarray  # (places,): how many columns are
    columns: np.ndarray  # (places, d): those, and then the others
    log_weight: np.ndarray  # (k,)
    mean: np.ndarray  # (places, k, d): of observed columns first
    offset: np.ndarray  # (places, k, d)
    log_det: np.ndarray  # (places, g)
    factor: np.ndarray  # (places, g, d, d): F
    turn: np.ndarray  # (places, g, d, d): q
    units: np.ndarray  # (places, k, 3)
    used: np.ndarray  # (places,): of the units
    total: np.ndarray  # (places, k)
    first: np.ndarray  # (places, k, d)
    second: np.ndarray  # (places, g, d, d)
    pairs: np.ndarray  # (places, k, m, m)


@jit
def new_patterns(g, m, d):
    """Empty places for patterns of missing cells of d columns, g groups of m labels; none if there are no labels."""
    p, k, kind = padded(d), g * m, np.float64
    places = min(SHARED, max(1, MEMORY // (3 * k * p + 3 * g * p * p + k * m * m))) if k else 0
    return Patterns(
        np.zeros(places, np.int64),
        np.zeros(places, np.int64),
        np.zeros((places, d), np.int64),
        np.zeros(k),
        empty((places, k, p), kind),
        empty((places, k, p), kind),
        np.empty((places, g)),
        empty((places, g, p, p), kind),
        empty((places, g, p, p), kind),
        np.empty((places, k, 3), np.int64),
        np.zeros(places, np.int64),
        np.empty((places, k)),
        empty((places, k, p), kind),
        empty((places, g, p, p), kind),
        np.empty((places, k, m, m)),
    )


@jit
def model_at(patterns, place):
    """Parameters of a pattern's observed columns, as of complete rows."""
    units = patterns.units[place][: patterns.used[place]]
    mean, offset, factor = patterns.mean[place], patterns.offset[place], patterns.factor[place]
    return Model(mean, offset, patterns.log_weight, patterns.log_det[place], factor, units)


@jit
def sums_at(patterns, place, value):
    """Sufficient statistics of the pattern in a place; the log-likelihood goes to `value`, that of all rows at once."""
    total, first = patterns.total[place], patterns.first[place]
    return Sums(value, total, first, patterns.second[place], patterns.pairs[place])


@jit
def place_of(patterns, exact, log_weights, sums, x, bucket, d):
    """Place of the pattern of the rows x (d, LANES), prepared; a pattern that had it before joins the sums first."""
    place = (bucket - d - 1) % len(patterns.bucket)
    if patterns.bucket[place] != bucket:
        unload(patterns, sums, place, d)
        patterns.bucket[place], front, back = bucket, 0, d
        for j in range(d):
            if x[j, 0] == x[j, 0]:
                patterns.columns[place, front] = j
                front += 1
        for j in range(d - 1, -1, -1):
            if x[j, 0] != x[j, 0]:
                back -= 1
                patterns.columns[place, back] = j
        patterns.observed[place] = front
        _make(patterns, exact, log_weights, place, d)
    return place


@jit
def _make(patterns, exact, log_weights, place, d):
    """Prepares the model of a pattern, and sums of 0."""
    g, t, columns = len(exact.L), patterns.observed[place], patterns.columns[place]
    m = len(exact.mean) // g
    mean, L = np.zeros((g, m, d)), np.zeros((g, d, d))
    for i in range(g):
        for j in range(t):
            for k in range(m):
                mean[i, k, j] = exact.mean[i * m + k, columns[j]]
            for e in range(d):
                L[i, j, e] = exact.L[i, columns[j], e]
        for j in range(t, d):
            L[i, j, j] = 1
        _triangular(L[i], patterns.turn[place, i], columns, t)
    patterns.used[place] = len(patterns.units[place])
    patterns.used[place] = fill_model(model_at(patterns, place), mean, L, log_weights)
    _clear(patterns.total[place], patterns.first[place], patterns.second[place], patterns.pairs[place])


@jit
def _clear(total, first, second, pairs):
    k, p = first.shape
    for i in range(k):
        total[i] = 0
        for j in range(p):
            first[i, j] = 0
        for r in range(pairs.shape[1]):
            for s in range(pairs.shape[1]):
                pairs[i, r, s] = 0
    for i in range(len(second)):
        for r in range(p):
            for s in range(p):
                second[i, r, s] = 0


@jit
def _triangular(L, q, columns, t):
    """Rotates columns by Givens rotations until the first t rows of L are triangular; q (p, p) is their product."""
    d = len(L)
    for r in range(len(q)):
        for j in range(len(q)):
            q[r, j] = r == j
    for i in range(t):
        for j in range(i + 1, columns[i] + 1):
            a, b = L[i, i], L[i, j]
            if b == 0:
                continue
            length = math.hypot(a, b)
            cosine, sine = a / length, b / length
            for r in range(i, t):
                a, b = L[r, i], L[r, j]
                L[r, i], L[r, j] = cosine * a + sine * b, cosine * b - sine * a
            for r in range(d):
                a, b = q[r, i], q[r, j]
                q[r, i], q[r, j] = cosine * a + sine * b, cosine * b - sine * a
    for i in range(t):
        for j in range(i + 1, d):
            L[i, j] = 0


@jit
def observed_first(x, columns, t):
    """Reordering of x (d, LANES) in place: its t observed columns are moved to the front."""
    for i in range(t):
        for n in range(LANES if columns[i] > i else 0):
            x[i, n] = x[columns[i], n]


@jit
def unload(patterns, sums, place, d):
    """Sufficient statistics of the pattern in a place, rotated back by q and added to the sums; frees the place."""
    if patterns.bucket[place] == 0:
        return
    own, t = sums_at(patterns, place, sums.value), patterns.observed[place]
    between(model_at(patterns, place), own)
    g = len(own.second)
    m = len(own.total) // g
    for i in range(g):
        q, S, count = patterns.turn[place, i], own.second[i], 0.0
        for k in range(i * m, (i + 1) * m):
            count += own.total[k]
        for j in range(d):
            S[j, j] = S[j, j] if j < t else count
            for e in range(j):
                S[e, j] = S[j, e]
        if count != 0:
            turned = np.zeros(q.shape)
            add_products(q, S, turned, False, len(q))
            add_products(turned, q, sums.second[i], True, len(q))
            for k in range(i * m, (i + 1) * m):
                _add_turned(q, own.first[k], sums.first[k], t)
                sums.total[k] += own.total[k]
    patterns.bucket[place] = 0


@fast
def _add_turned(q, own, first, t):
    for i in range(len(q)):
        s = 0.0
        for j in range(t):
            s += q[i, j] * own[j]
        first[i] += s
