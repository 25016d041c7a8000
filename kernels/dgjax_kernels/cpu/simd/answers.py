"""From the scores of a batch to responsibilities, for an E-step, or to the answer to a question about each row.

    scores (k, LANES) ─▶ partition: c (k, LANES), p(label | row) times the row's weight, and the log-likelihood
                      ─▶ answer: log-partition, log-posterior or label of each row, written where its result is

An answer is refused where no label explains a row, for then a cell may be outside its column's support: the caller
looks, and says which. Letters: k labels, c responsibilities.
"""

import math

import numpy as np

from dgjax_kernels.cpu.ffi import jit
from dgjax_kernels.cpu.simd.lanes import LANES, exp, fast, log, wide

SCORES, LOG_PARTITION, LOG_POSTERIOR, LABEL, IMPUTATION = range(5)


@fast
def added(x):
    """Sum of x (LANES,) over lanes."""
    total = 0.0
    for n in range(LANES):
        total += x[n]
    return total


@jit
def partition(lanes, sums, empty):
    """Responsibilities c (k, LANES) from scores, labels and weights; adds the rows' log-likelihoods to the value.

    c = w p(label | row) by a softmax over labels, or one-hot where the label is given. A row that no label explains has
    log-likelihood minus infinity and c = 0; one with no cells and no label has exactly 0 (`empty`).
    """
    wide()
    k, top, total = len(lanes.score), np.full(LANES, -math.inf), np.zeros(LANES)
    for i in range(k):
        for n in range(LANES):
            allowed = (lanes.label[n] < 0) | (lanes.label[n] == i)
            s = lanes.score[i, n] if allowed else -math.inf
            lanes.score[i, n] = s
            top[n] = s if s > top[n] else top[n]
    for i in range(k):
        for n in range(LANES):
            below = lanes.score[i, n] - (top[n] if abs(top[n]) < math.inf else 0.0)
            lanes.c[i, n] = exp(below)
            total[n] += lanes.c[i, n]
    for n in range(LANES):
        explained = (total[n] >= 1) & (top[n] < math.inf)
        value = top[n] + log(total[n]) if explained else (top[n] if total[n] == total[n] else total[n])
        value = 0.0 if empty and lanes.label[n] < 0 else value
        top[n] = lanes.weight[n] * value if lanes.weight[n] > 0 else 0.0
        total[n] = lanes.weight[n] / total[n] if explained else 0.0
    sums.value[0] += added(top)
    for i in range(k):
        for n in range(LANES):
            c = lanes.c[i, n] * total[n]
            lanes.c[i, n] = c if total[n] > 0 else 0.0


@fast
def _best(score, top, label):
    """Largest score of each lane and its label, the first of equal ones; minus infinity in place of NaN."""
    wide()
    for n in range(LANES):
        top[n] = -math.inf
        label[n] = 0.0
    for k in range(len(score)):
        for n in range(LANES):
            s = score[k, n]
            label[n] = float(k) if s > top[n] else label[n]
            top[n] = s if s > top[n] else top[n]


@fast
def _log_sum(score, top, value):
    """log sum_k exp(score_k - top) of each lane, whose largest score `top` is finite."""
    wide()
    for n in range(LANES):
        value[n] = 0
    for k in range(len(score)):
        for n in range(LANES):
            below = score[k, n] - top[n]
            value[n] += exp(below) if below == below else 0.0
    for n in range(LANES):
        value[n] = log(value[n])


@fast
def _posterior(score, top, value, c):
    """Responsibilities exp(score_k - top - value) of each lane."""
    wide()
    for k in range(len(score)):
        for n in range(LANES):
            below = (score[k, n] - top[n]) - value[n]
            c[k, n] = exp(below) if below <= 0 else (1.0 if below > 0 else 0.0)


@jit
def answer(lanes, call, sums, count, empty):
    """Answers `call.question` about the first `count` rows of a batch from their scores, into `call.scores`.

    Log-partition and label are written in column 0 of a row's place there, the log-posterior in its k columns; for an
    imputation responsibilities are left in the lanes, and nothing is written. `empty`: no row of the batch has any
    cell, and log-partitions are exactly 0. The number of rows refused, whose best score is not finite, is added to
    `sums.value`.
    """
    top, label, value = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    _best(lanes.score, top, label)
    for n in range(count):
        sums.value[0] += not abs(top[n]) < math.inf
    if call.question == LABEL:
        for n in range(count):
            call.scores[lanes.rows[n], 0] = label[n]
        return
    _log_sum(lanes.score, top, value)
    if call.question == LOG_PARTITION:
        for n in range(count):
            call.scores[lanes.rows[n], 0] = 0.0 if empty else top[n] + value[n]
    elif call.question == LOG_POSTERIOR:
        for n in range(count):
            row = call.scores[lanes.rows[n]]
            for k in range(len(row)):
                row[k] = (lanes.score[k, n] - top[n]) - value[n]  # digits of a posterior near 1
    else:
        _posterior(lanes.score, top, value, lanes.c)
