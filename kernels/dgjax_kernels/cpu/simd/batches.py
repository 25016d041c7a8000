"""Batches of LANES rows for an E-step: sorted by their missing cells, put side by side, and given responsibilities.

Rows in a batch go through the same instructions, so they should miss the same cells, or as many:

    rows ─▶ bucket: missing cells, how many or which ──LANES──▶ x (d, LANES) ─▶ scores (k, LANES) ─▶ c (k, LANES)

A hash table has the first SHARED patterns of a piece of the rows, each a bucket of its own; rows of any further pattern
go to the bucket for their number of missing cells. Kernels that need less (independent columns) sort by kind only:
complete, incomplete, empty. What is made of scores is in `answers`.
"""

from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.simd.answers import answer, partition
from dgjax_kernels.cpu.simd.lanes import LANES
from dgjax_kernels.cpu.simd.tiles import empty

SHARED = 256  # patterns of missing cells, the first that come, whose rows are collected apart
SLOTS = 1024  # of the hash table that finds them: a quarter full at most
WORTHWHILE = LANES // 4  # rows of one pattern from which they are worth lanes of their own
ODD = -7046029254386353131  # 2^64 / golden ratio, as int64: Fibonacci hashing (Knuth, TAOCP 6.4)
COMPLETE, INCOMPLETE, EMPTY, KINDS = 0, 1, 2, 3


class Lanes(NamedTuple):
    """Batch at work: LANES rows of d columns side by side on the last axis, for k labels."""

    rows: np.ndarray  # (LANES,)
    weight: np.ndarray
    label: np.ndarray
    x: np.ndarray  # (d, LANES)
    u: np.ndarray  # (whitenings, d, LANES): whitened residuals
    cu: np.ndarray  # (d, LANES): those times responsibilities
    c: np.ndarray  # (k, LANES): responsibilities times weights
    score: np.ndarray  # (k, LANES)


class Waiting(NamedTuple):
    """Rows collected in buckets: one for each number of missing cells of d, then one for each shared pattern."""

    rows: np.ndarray  # (d + 1 + SHARED, LANES)
    filled: np.ndarray  # (d + 1 + SHARED,)
    missing: np.ndarray  # (d + 1 + SHARED,): how many cells they miss
    key: np.ndarray  # (d + 1 + SHARED,): which
    example: np.ndarray  # (d + 1 + SHARED,): a row that misses them
    slots: np.ndarray  # (SLOTS,): buckets by their keys
    used: np.ndarray  # (1,): buckets in use


@jit
def new_lanes(whitenings, k, p, dtype):
    """Empty lanes for k labels and so many ways to whiten p columns."""
    return Lanes(
        np.empty(LANES, np.int64),
        np.empty(LANES),
        np.empty(LANES, np.int64),
        empty((p, LANES), dtype),
        empty((whitenings, p, LANES), dtype),
        empty((p, LANES), dtype),
        empty((k, LANES), np.float64),
        empty((k, LANES), np.float64),
    )


@jit
def new_waiting(d):
    """Empty buckets for rows of d columns."""
    buckets = d + 1 + SHARED
    waiting = Waiting(
        np.empty((buckets, LANES), np.int64),
        np.zeros(buckets, np.int64),
        np.empty(buckets, np.int64),
        np.empty(buckets, np.int64),
        np.empty(buckets, np.int64),
        np.full(SLOTS, -1),
        np.full(1, d + 1),
    )
    for missing in range(d + 1):
        waiting.missing[missing] = missing
    return waiting


@jit
def collect(x, weights, row, stop, waiting, skip, least):
    """Rows into buckets by their missing cells, until one is full; returns the next row, and that bucket or -1.

    From the last row on, buckets are given out as they are; rows of a pattern that has less than `least` go to those
    that miss as many cells, which all do if that is more than LANES. After `stop` + the number of buckets nothing
    waits. Rows of weight 0 are left out if `skip`.
    """
    d = x.shape[1]
    while row < stop:
        missing = 0
        for j in range(d):
            missing += x[row, j] != x[row, j]
        row += 1
        if skip and weights[row - 1] == 0:
            continue
        apart = (0 < missing < d) & (least <= LANES)
        bucket = _bucket(x, row - 1, waiting, missing, _key(x, row - 1)) if apart else missing
        waiting.rows[bucket, waiting.filled[bucket]] = row - 1
        waiting.filled[bucket] += 1
        if waiting.filled[bucket] == LANES:
            return row, bucket
    bucket = len(waiting.filled) - 1 - (row - stop)
    if bucket > d and waiting.filled[bucket] < least:
        missing = waiting.missing[bucket]
        while waiting.filled[bucket]:
            waiting.filled[bucket] -= 1
            waiting.rows[missing, waiting.filled[missing]] = waiting.rows[bucket, waiting.filled[bucket]]
            waiting.filled[missing] += 1
            if waiting.filled[missing] == LANES:
                return row, missing
    return row + 1, bucket if waiting.filled[bucket] else -1


@jit
def _key(x, row):
    """Number of a row's pattern of missing cells: its bits, or from 64 columns on a hash of them."""
    key, d = 0, x.shape[1]
    for j in range(d):
        key = (key << 1 if d < 64 else key * ODD) + (x[row, j] != x[row, j])
    return key


@inlined
def _bucket(x, row, waiting, missing, key):
    """The bucket of a row's pattern by the hash table; that of its number of missing cells once all are given out."""
    slot = (key * ODD >> 52) & (SLOTS - 1)
    while waiting.slots[slot] >= 0:
        bucket = waiting.slots[slot]
        if waiting.key[bucket] == key and (x.shape[1] < 64 or _same(x, row, waiting.example[bucket])):
            return bucket
        slot = (slot + 1) & (SLOTS - 1)
    bucket = waiting.used[0]
    if bucket == len(waiting.filled):
        return missing
    waiting.used[0] += 1
    waiting.slots[slot], waiting.key[bucket] = bucket, key
    waiting.missing[bucket], waiting.example[bucket] = missing, row
    return bucket


@jit
def _same(x, row, other):
    """Whether two rows miss the same cells."""
    differ = 0
    for j in range(x.shape[1]):
        differ += (x[row, j] == x[row, j]) != (x[other, j] == x[other, j])
    return differ == 0


@jit
def collect_kinds(x, weights, row, stop, waiting, count, skip):
    """Rows by kind, COMPLETE, INCOMPLETE or EMPTY, until LANES are together; returns the next row, and the kind or -1.

    From the last row on, kinds are given out as they are, so that after `stop` + KINDS nothing waits. Rows of weight 0
    are left out if `skip`.
    """
    while row < stop:
        missing = 0
        for j in range(x.shape[1]):
            missing += x[row, j] != x[row, j]
        row += 1
        if skip and weights[row - 1] == 0:
            continue
        kind = COMPLETE if missing == 0 else (EMPTY if missing == x.shape[1] else INCOMPLETE)
        waiting[kind, count[kind]] = row - 1
        count[kind] += 1
        if count[kind] == LANES:
            return row, kind
    kind = row - stop
    return row + 1, kind if count[kind] else -1


@jit
def loaded(lanes, call, rows, filled):
    """Rows loaded into lanes, with their weights and labels; lanes left over repeat the first row, with weight 0."""
    for n in range(LANES):
        row = rows[n if n < filled else 0]
        lanes.rows[n] = row
        lanes.weight[n] = call.weights[row] if n < filled and len(call.weights) else 0
        lanes.label[n] = call.y[row] if len(call.y) else -1
    for n in range(0, LANES, 8):
        transposed(call.x, lanes.rows[n : n + 8], lanes.x[:, n : n + 8])


@jit
def transposed(x, rows, lanes):
    """Transposition of eight rows of x (n, d) into eight lanes (d, 8), a whole cache line of float64 at a time."""
    x0, x1, x2, x3 = x[rows[0]], x[rows[1]], x[rows[2]], x[rows[3]]
    x4, x5, x6, x7 = x[rows[4]], x[rows[5]], x[rows[6]], x[rows[7]]
    for j in range(x.shape[1]):
        lane = lanes[j]
        lane[0], lane[1], lane[2], lane[3] = x0[j], x1[j], x2[j], x3[j]
        lane[4], lane[5], lane[6], lane[7] = x4[j], x5[j], x6[j], x7[j]


class Call(NamedTuple):
    """Arguments and results of a pass over n rows of d columns, for k labels.

    Rows in `scores`: only scores are wanted, or what a question asks of them. Rows in `counts`: statistics at these.
    Neither: a whole E-step. Only that has labels y and weights; else they may have no rows.
    """

    x: np.ndarray  # (n, d)
    y: np.ndarray  # (n,)
    weights: np.ndarray  # (n,)
    counts: np.ndarray  # (n or 0, k)
    scores: np.ndarray  # (n or 0, k), or as wide as the answer to the question
    question: int  # of `answers`


@jit
def given(frame, piece, place, dtype):
    """Arguments of a pass over rows, zero-copy: its call, its log-weights, where a piece of the rows starts and stops.

    The first four arguments are x, y, weights and log-weights; parameters follow, counts have this `place`, and the
    question is after them.
    """
    arguments, results = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS
    x, y = ffi.matrix(frame, arguments, 0, dtype), ffi.vector(frame, arguments, 1, np.int32)
    weights, log_weights = ffi.vector(frame, arguments, 2, dtype), ffi.matrix(frame, arguments, 3, dtype)
    counts, scores = ffi.matrix(frame, arguments, place, dtype), ffi.matrix(frame, results, 0, dtype)
    call = Call(x, y, weights, counts, scores, ffi.vector(frame, arguments, place + 1, np.int32)[0])
    start, stop = ffi.part(len(x), piece, ffi.size(frame, results, 1, 0))
    return call, log_weights, start, stop


@jit
def counted(lanes, call, sums, count, empty):
    """Responsibilities of a batch, given as counts or by `partition`; or its scores, or an answer, written if wanted.

    True if responsibilities are there, False if only scores were wanted.
    """
    if call.question:
        answer(lanes, call, sums, count, empty)
        return False
    for n in range(count if len(call.scores) else 0):
        row = call.scores[lanes.rows[n]]
        for k in range(len(row)):
            row[k] = lanes.score[k, n]
    for n in range(LANES if len(call.counts) else 0):
        row = call.counts[lanes.rows[n]]
        for k in range(len(row)):
            lanes.c[k, n] = row[k] if n < count else 0
    if len(call.scores) + len(call.counts) == 0:
        partition(lanes, sums, empty)
    return len(call.scores) == 0
