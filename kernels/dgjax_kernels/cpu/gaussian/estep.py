"""The E-step of full covariances on a CPU: scores, responsibilities and sufficient statistics in one pass over rows.

Rows that miss the same cells, or as many, are collected until LANES of them go side by side through every label while
they are in the cache:

    row ─▶ bucket by its missing cells ──full──▶ LANES rows ─▶ scores ─▶ responsibilities ─▶ sums of statistics
           none: `complete`;  many rows that miss the same: `patterns`;  others, by how many they miss: `missing`

Everything is said of whitened rows, u = L^-1 (x - mean), for which x = mean + L u: statistics are sums of c, c E[u] and
c E[u u^T], which lose no digits to the units or the condition of the columns. In many columns a row belongs to one
label all but surely, so moments are those of the few lanes that count (`lanes.counting`).

Letters: n rows x of d columns, k = g m labels in g groups of m that share a Cholesky factor L (d, d), c counts.
"""

from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined
from dgjax_kernels.cpu.gaussian.complete import Model, Sums, between, complete_moments, complete_scores, new_model
from dgjax_kernels.cpu.gaussian.marginals import copied, fill, marginal_scores
from dgjax_kernels.cpu.gaussian.missing import Buffers, Precise, missing_moments, missing_scores, new_buffers, precise
from dgjax_kernels.cpu.gaussian.patterns import (
    Patterns,
    model_at,
    new_patterns,
    observed_first,
    place_of,
    sums_at,
    unload,
)
from dgjax_kernels.cpu.simd.answers import IMPUTATION
from dgjax_kernels.cpu.simd.batches import (
    WORTHWHILE,
    Lanes,
    Waiting,
    collect,
    counted,
    given,
    loaded,
    new_lanes,
    new_waiting,
)
from dgjax_kernels.cpu.simd.lanes import LANES, padded


class Work(NamedTuple):
    """State of the pass over one piece of the rows: parameters, rows at work and waiting, and sums."""

    model: Model
    lanes: Lanes
    waiting: Waiting
    sums: Sums
    exact: Precise  # of no labels until the first missing cell: most data have none, and need no float64 copies
    buffers: Buffers
    patterns: Patterns  # of no places until LANES // 4 rows miss the same cells


@inlined
def _work_out(call, log_weights, work, bucket):
    """E-step of one full bucket, whose rows all miss the same number of cells, or even the same cells."""
    d, m, waiting, sums = call.x.shape[1], work.sums.pairs.shape[1], work.waiting, work.sums
    missing, filled, filling = waiting.missing[bucket], waiting.filled[bucket], call.question == IMPUTATION
    lanes, buffers, exact, patterns = work.lanes, work.buffers, work.exact, work.patterns
    if missing:
        loaded(buffers.lanes, call, waiting.rows[bucket], filled)
    else:
        loaded(lanes, call, waiting.rows[bucket], filled)
    if bucket > d:
        place = place_of(patterns, exact, log_weights, sums, buffers.lanes.x, bucket, d)
        observed_first(buffers.lanes.x, patterns.columns[place], d - missing)
        model, own = model_at(patterns, place), sums_at(patterns, place, sums.value)
        complete_scores(model, buffers.lanes, d - missing)
        if counted(buffers.lanes, call, own, filled, False):
            complete_moments(model, buffers.lanes, own)
    elif missing:
        width = -(-filled // 8) * 8  # lanes in use, to the next SIMD register: a last bucket may hold one row
        if len(call.scores):
            marginal_scores(work.model, exact, buffers, missing, width, d, m, filling)
        else:
            missing_scores(work.model, exact, buffers, missing, width, d, m)
        if counted(buffers.lanes, call, sums, filled, missing == d):
            missing_moments(exact, buffers, sums, missing, width, d, m)
        elif filling:
            fill(call, buffers, missing, filled)
    elif filling:
        copied(call, waiting.rows[bucket], filled, sums)
    else:
        complete_scores(work.model, lanes, d)
        if counted(lanes, call, sums, filled, False):
            complete_moments(work.model, lanes, sums)
    waiting.filled[bucket] = 0


@inlined
def _sweep(call, mean, L, log_weights, start, stop, dtype):
    """E-step of the rows from start to stop; returns their sums."""
    d, (g, m, _) = call.x.shape[1], mean.shape
    p, k = padded(d), g * m
    model = new_model(mean, L, log_weights, dtype)
    lanes, waiting = new_lanes(len(model.units), k, p, dtype), new_waiting(d)
    sums = Sums(np.zeros(1), np.zeros(k), np.zeros((k, p)), np.zeros((g, p, p)), np.zeros((len(model.units), m, m)))
    exact, buffers, patterns = precise(mean[:0], L[:0]), new_buffers(0, 0, 0), new_patterns(0, m, d)
    skip, scoring = len(call.scores) + len(call.counts) == 0, len(call.scores) > 0
    # One pattern's parameters take as long as some rows of it; to fill cells, no pattern has lanes of its own.
    least = LANES + 1 if call.question == IMPUTATION else LANES if scoring else WORTHWHILE
    row = start
    while row < stop + len(waiting.filled):
        row, bucket = collect(call.x, call.weights, row, stop, waiting, skip, least)
        if bucket > 0 and len(exact.L) == 0:
            exact, buffers = precise(mean, L), new_buffers(g, k, d)
        if bucket > d and len(patterns.bucket) == 0:
            patterns = new_patterns(g, m, d)
        if bucket >= 0:
            _work_out(call, log_weights, Work(model, lanes, waiting, sums, exact, buffers, patterns), bucket)
    for place in range(len(patterns.bucket)):
        unload(patterns, sums, place, d)
    between(model, sums)
    return sums


ARGUMENTS, RESULTS = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS


@inlined
def _piece(frame, piece, dtype):
    call, log_weights, start, stop = given(frame, piece, 6, dtype)
    mean, L = ffi.cube(frame, ARGUMENTS, 4, dtype), ffi.cube(frame, ARGUMENTS, 5, dtype)
    sums = _sweep(call, mean, L, log_weights, start, stop, dtype)
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


handler = handlers.of_pieces("gaussian", _piece, handlers.of_result(1))
