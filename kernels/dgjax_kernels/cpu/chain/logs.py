"""Forward-backward for one sequence in logarithms, by the recursions of `dgjax_kernels.chain`: slow, and exact always.

    forward    f_s = x_s - log sum exp x_s,  x_s = scores_s + log sum_i exp(f_{s-1, i} + logs_ji):  log p(y_s | up to s)
    backward   p(y_s = i) = sum_j p(y_{s+1} = j) exp(f_si + logs_ji) / sum_i of that

For sequences that probabilities in float64 cannot hold: `many` and `few` find them, and call these functions. Each step
is relative to the log of its own total, and the backward pass sums p(y_s | y_{s+1}, steps up to s), which cancel
nothing. Letters: k states, `logs` the transposed transition, from i to j at j k + i, flat.
"""

import math

import numpy as np

from dgjax_kernels.cpu.ffi import jit
from dgjax_kernels.cpu.simd.lanes import exp, fast


@fast
def _log_sums(x, logs, k, y):
    """y_j = log sum over i of exp(x_i + logs_ji); minus infinity of nothing."""
    for j in range(k):
        top, total = -math.inf, 0.0
        for i in range(k):
            z = x[i] + logs[j * k + i]
            top = z if z > top else top
        top = top if top > -math.inf else 0.0
        for i in range(k):
            total += exp(x[i] + logs[j * k + i] - top)
        y[j] = -math.inf if total == 0 else math.log(total) + top


@jit
def _less_total(x, k):
    """Subtracts from x the log of the sum of its exp, and returns that."""
    top, total = -math.inf, 0.0
    for j in range(k):
        top = x[j] if x[j] > top else top
    top = top if top > -math.inf else 0.0
    for j in range(k):
        total += exp(x[j] - top)
    gained = -math.inf if total == 0 else math.log(total) + top
    for j in range(k):
        x[j] -= gained if total != 0 else 0.0
    return gained


@jit
def forward(initial, logs, scores, length, filtered):
    """Forward pass of one sequence: fills `filtered` with log p(y_s | steps up to s); returns the log-partition.

    Of all steps if `filtered` is (length, k), of the last 2 if it is (2, k), step s at s modulo 2. initial (k,), `logs`
    the transition transposed and flat (k k), scores (t, k).
    """
    k, slots, value = len(initial), len(filtered), 0.0
    for s in range(length):
        now = filtered[s % slots]
        if s > 0:
            _log_sums(filtered[(s - 1) % slots], logs, k, now)
        for j in range(k):
            now[j] = (np.float64(initial[j]) if s == 0 else now[j]) + scores[s, j]
        value += _less_total(now, k)
    return value


@jit
def backward(logs, length, filtered, marginals, sums):
    """Backward pass of one sequence: marginals p(y_s) (t, k), and transition counts added to `sums`, flat (k k).

    From p(y_s | y_{s+1}, steps up to s), by `filtered` (length, k), log p(y_s | steps up to s), which it overwrites;
    `logs` is the transition transposed and flat.
    """
    k = filtered.shape[1]
    later, norms = np.empty(k), np.empty(k)
    for j in range(k):
        later[j] = exp(filtered[length - 1, j])
        marginals[length - 1, j] = later[j]
    for s in range(length - 2, -1, -1):
        x, total = filtered[s], 0.0
        _log_sums(x, logs, k, norms)
        for i in range(k):
            own = 0.0
            for j in range(k):
                pair = later[j] * exp(x[i] + logs[j * k + i] - norms[j]) if norms[j] != -math.inf else 0.0
                sums[i * k + j] += pair
                own += pair
            total += own
            x[i] = own
        for i in range(k):
            later[i] = x[i] / total if total != 0 else 0.0
            marginals[s, i] = later[i]
