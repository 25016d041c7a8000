"""The E-step of independent discrete columns on a CPU: scores, responsibilities and statistics in one pass over rows.

Scores are linear in features of the cells, so that scores and statistics of LANES rows are matrix products, in float64:

    F (f, LANES)    which value a column has (TABLE), or its count and whether it is observed (POISSON, MULTINOMIAL)
    scores = A F    A (k, f): log-probabilities; log rates and minus rates; log shares
    sums S += c F^T

log x! is taken from a table, of eight at a time. Counts so large that x log(rate), the rate and log x! cancel are
worked out by the deviance (Loader 2000). Rows that miss no cell go apart from the others: their constant terms are
added once. Letters: x rows of d cells, k labels, f features, c counts (k, LANES), responsibilities times weights.
"""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.simd.batches import COMPLETE, EMPTY, KINDS, collect_kinds, counted, given, loaded, new_lanes
from dgjax_kernels.cpu.simd.lanes import LANES, fast, padded
from dgjax_kernels.cpu.simd.tiles import add_products, multiply, zeros

FAMILIES = ["table", "poisson", "multinomial"]
TABLE, POISSON, MULTINOMIAL = range(3)
FACTORIALS = 256  # log x! is in a table below: 2 kB, which stays in the first level of the cache
LARGE = 1e6  # sum of a row's counts beyond which terms cancel: float64 would keep 9 digits of a difference of order 1
NEVER, HARDLY = -1e300, -1e290  # log 0, finite, so that 0 times it is 0; a score below HARDLY is minus infinity
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Model(NamedTuple):
    """Parameters prepared as coefficients A of f features, for k labels and d columns, padded to multiples of 4."""

    family: int
    checked: bool  # cells are known to be in their columns' supports
    values: int
    A: np.ndarray  # (k, f)
    P: np.ndarray  # (k, d): rates, or probabilities
    log_weight: np.ndarray  # (k,)
    constant: np.ndarray  # (k,): of complete rows, taken once, or for each count
    log_factorial: np.ndarray
    broken: np.ndarray  # (k,): some of it is NaN


class Work(NamedTuple):
    """Features of LANES rows, side by side on the last axis, and their products: f features, d columns, k labels."""

    F: np.ndarray  # (f, LANES)
    absent: np.ndarray  # (d, LANES)
    product: np.ndarray  # (k, LANES)
    mass: np.ndarray  # (k, LANES): sum of P over observed cells
    c: np.ndarray  # (k, LANES)
    base: np.ndarray  # (LANES,): the part of the score that no label changes, minus the factorials' logs
    total: np.ndarray  # (LANES,): sum of counts


class Sums(NamedTuple):
    """Sufficient statistics summed over rows: f features, d columns, k labels, at counts c."""

    value: np.ndarray  # (1,)
    counts: np.ndarray  # (k,)
    complete: np.ndarray  # (k,): of complete rows
    S: np.ndarray  # (k, f)
    absent: np.ndarray  # (k, d): c times total over mass, where a cell is missing


@jit
def _model(family, checked, log_weights, log_p):
    k, d, values = log_p.shape
    p, q = padded(d), padded(k)
    A, P = np.zeros((q, padded(d * values) if family == TABLE else 2 * p)), np.zeros((q, p))
    log_weight, log_factorial, constant, broken = np.zeros(q), np.empty(FACTORIALS), np.empty(q), np.empty(q, np.bool_)
    for i in range(k):
        log_weight[i] = log_weights[0, i]
        for j in range(d):
            for value in range(values):
                own = np.float64(log_p[i, j, value])
                A[i, j * values + value] = NEVER if own < NEVER else own
            if family != TABLE:
                P[i, j] = min(math.exp(np.float64(log_p[i, j, 0])), -NEVER)  # finite, so that 0 times it is 0
    for i in range(q):
        mass, total = 0.0, 0.0
        for j in range(d):
            mass += P[i, j]
            if family == POISSON:
                A[i, p + j] = -P[i, j]
        for j in range(A.shape[1]):
            total += A[i, j]
        constant[i] = -mass if family == POISSON else -math.log(mass) if mass > 0 else 0.0
        broken[i] = math.isnan(total)
    for i in range(FACTORIALS):
        log_factorial[i] = math.lgamma(i + 1.0)
    return Model(family, checked, values, A, P, log_weight, constant, log_factorial, broken)


@fast
def _which(x, values, F, d):
    """One-hot features: which value each cell has, none where it is missing."""
    for j in range(d):
        for value in range(values):
            for n in range(LANES):
                F[j * values + value, n] = 1.0 if x[j, n] == value else 0.0


@fast
def _unknown(x, values, d, base):
    """Support check of LANES rows: adds NEVER, the finite log 0, to base[n] for each cell outside the support.

    A cell x[j, n] is inside if it is a whole number from 0 to values - 1, or NaN, which is missing. The look takes 1 to
    3 of 100 of an E-step of 16 columns, and is left out where it was had before.
    """
    for j in range(d):
        for n in range(LANES):
            known = (x[j, n] >= 0) & (x[j, n] < values) & (x[j, n] == np.floor(x[j, n])) | (x[j, n] != x[j, n])
            base[n] += 0.0 if known else NEVER


@jit
def _counts(x, F, absent, total, d, complete):
    """Features of counts: the cells, 0 where missing, and whether they are observed; and the sum of each row."""
    p = len(F) // 2
    for n in range(LANES):
        total[n] = 0
    for j in range(d):
        if complete:
            _count(x[j], F[j], F[p + j], total)
        else:
            _observed_count(x[j], F[j], F[p + j], absent[j], total)


@fast
def _count(x, cell, there, total):
    for n in range(LANES):
        there[n] = 1
    for n in range(LANES):
        cell[n] = x[n]
    for n in range(LANES):
        total[n] += cell[n]


@fast
def _observed_count(x, cell, there, absent, total):
    for n in range(LANES):
        there[n] = 1.0 if x[n] == x[n] else 0.0
    for n in range(LANES):
        absent[n] = 1.0 - there[n]
    for n in range(LANES):
        cell[n] = x[n] if x[n] == x[n] else 0.0
    for n in range(LANES):
        total[n] += cell[n]


@jit
def _factorials(F, total, log_factorial, base, d, of_total):
    """base = - sum_j log x_j!, and for a multinomial, whose counts need not be whole, + log (sum_j x_j)!."""
    base[:] = 0
    for j in range(d):
        _add_factorials(F[j], log_factorial, -1.0, base, of_total)
    if of_total:
        _add_factorials(total, log_factorial, 1.0, base, True)


@fast
def _add_factorials(x, log_factorial, sign, base, fractional):
    """base += sign log x!: from the table, eight lanes at a time, if all of them are in it; else lane by lane.

    The latter takes four times as long. What is negative, infinite or, unless it may be `fractional`, not whole has no
    probability.
    """
    inside = True
    for n in range(LANES):
        inside &= (x[n] >= 0) & (x[n] < FACTORIALS) & (x[n] == np.floor(x[n]))
    for n in range(LANES if inside else 0):
        base[n] += sign * log_factorial[np.uint64(np.int64(x[n]))]
    for n in range(0 if inside else LANES):
        whole = x[n] == np.floor(x[n])
        if not ((x[n] >= 0) & (x[n] < math.inf) & (whole | fractional)):
            base[n] += NEVER
        elif (x[n] < FACTORIALS) & whole:
            base[n] += sign * log_factorial[np.uint64(np.int64(x[n]))]
        else:
            base[n] += sign * math.lgamma(x[n] + 1)


@jit
def _stirling_remainder(x):
    """Remainder of Stirling's formula: log x! - (x + 1/2) log x + x - log(2 pi) / 2, by its series from 16 on."""
    if x < 16:
        return math.lgamma(x + 1) - (x + 0.5) * math.log(x) + x - HALF_LOG_TWO_PI
    u = 1 / (x * x)
    return (1 / 12 - u * (1 / 360 - u * (1 / 1260 - u * (1 / 1680 - u / 1188)))) / x


@jit
def _log_poisson(x, rate, log_rate):
    """log Poisson(x; rate) by the deviance x log(x / rate) - x + rate, which does not cancel. Source: Loader (2000)."""
    if x == 0 or log_rate < HARDLY:
        return -math.inf if x > 0 else -rate
    excess = x - rate
    near = abs(excess) < 0.5 * rate
    log_ratio = math.log1p(excess / rate) if near else math.log(x) - log_rate
    return excess - x * log_ratio - 0.5 * math.log(x) - HALF_LOG_TWO_PI - _stirling_remainder(x)


@jit
def _deviance_score(model, work, d, k, n):
    """Score of a row of large counts, by deviances, its factorials included."""
    p, top, mass, total, score = len(work.F) // 2, -math.inf, 0.0, work.total[n], 0.0
    for j in range(d):
        top = model.A[k, j] if work.F[p + j, n] > 0 and model.A[k, j] > top else top
    for j in range(d):
        mass += math.exp(model.A[k, j] - top) if work.F[p + j, n] > 0 else 0.0
    for j in range(d):
        if work.F[p + j, n] > 0:
            own, rate, log_rate = model.A[k, j], model.P[k, j], model.A[k, j]
            if model.family == MULTINOMIAL and mass > 0:
                rate, log_rate = total * math.exp(own - top) / mass, math.log(total) + own - top - math.log(mass)
            score += _log_poisson(work.F[j, n], rate, log_rate if own > HARDLY else NEVER)
    return score - (_log_poisson(total, total, math.log(total)) if model.family == MULTINOMIAL else 0.0)


@jit
def _log_mass(model, work, d, k, n):
    """log of the sum of p over observed cells, also where the sum itself underflows."""
    if work.mass[k, n] > 1e-290:
        return math.log(work.mass[k, n])
    p, top, mass = len(work.F) // 2, -math.inf, 0.0
    for j in range(d):
        top = model.A[k, j] if work.F[p + j, n] > 0 and model.A[k, j] > top else top
    for j in range(d):
        mass += math.exp(model.A[k, j] - top) if work.F[p + j, n] > 0 else 0.0
    return top + math.log(mass) if top > HARDLY else 0.0


@jit
def _featured(model, lanes, work, d, kind):
    """Fills the features of the rows in the lanes; returns how many of them are needed."""
    if model.family == TABLE:
        _which(lanes.x, model.values, work.F, d)
        return len(work.F)
    p = len(work.absent)
    _counts(lanes.x, work.F, work.absent, work.total, d, kind == COMPLETE)
    if model.family == MULTINOMIAL and kind != COMPLETE:
        multiply(model.P, work.F[p:], work.mass)
    return 2 * p if model.family == POISSON and kind != COMPLETE else p


@jit
def _broken_score(model, work, k, n):
    """Score under a label with NaN among its parameters, which matter only where a cell is observed."""
    score, mass = 0.0, 0.0
    for i in range(len(work.F)):
        score += model.A[k, i] * work.F[i, n] if work.F[i, n] != 0 else 0.0
    for j in range(len(work.absent) if model.family == MULTINOMIAL else 0):
        mass += model.P[k, j] if work.F[len(work.absent) + j, n] > 0 else 0.0
    return score - (work.total[n] * math.log(mass) if model.family == MULTINOMIAL and work.total[n] > 0 else 0.0)


@jit
def _scores(model, lanes, work, d, kind, f):
    k = len(lanes.score)
    work.base[:] = 0
    if model.family == TABLE and not model.checked:
        _unknown(lanes.x, model.values, d, work.base)
    if model.family != TABLE:
        _factorials(work.F, work.total, model.log_factorial, work.base, d, model.family == MULTINOMIAL)
    multiply(model.A[:, :f], work.F[:f], work.product)
    once = model.family == POISSON and kind == COMPLETE
    for i in range(k):
        start = model.log_weight[i] + (model.constant[i] if once else 0.0)
        slope = model.constant[i] if model.family == MULTINOMIAL and kind == COMPLETE else 0.0
        for n in range(LANES):
            score = start + work.base[n] + slope * work.total[n] + work.product[i, n]
            lanes.score[i, n] = score if score >= HARDLY else -math.inf  # NaN too: of an infinite cell
        for n in range(LANES if model.family == MULTINOMIAL and kind != COMPLETE else 0):
            if lanes.score[i, n] > -math.inf:
                lanes.score[i, n] -= work.total[n] * _log_mass(model, work, d, i, n)
        for n in range(LANES if model.family != TABLE else 0):
            if work.total[n] > LARGE and work.base[n] > HARDLY:
                lanes.score[i, n] = model.log_weight[i] + _deviance_score(model, work, d, i, n)
        for n in range(LANES if model.broken[i] else 0):
            lanes.score[i, n] = model.log_weight[i] + work.base[n] + _broken_score(model, work, i, n)


@jit
def _moments(model, lanes, work, sums, kind, f):
    for k in range(len(lanes.c)):
        total = 0.0
        for n in range(LANES):
            work.c[k, n] = lanes.c[k, n]
            total += lanes.c[k, n]
        sums.counts[k] += total
        sums.complete[k] += total if kind == COMPLETE else 0.0
    add_products(work.c, work.F[:f], sums.S[:, :f], False, LANES)
    if model.family == MULTINOMIAL and kind != COMPLETE:
        for k in range(len(lanes.c)):
            for n in range(LANES):
                mass = work.mass[k, n]
                work.c[k, n] *= work.total[n] / (mass if mass > 0 else 1.0)
        add_products(work.c, work.absent, sums.absent, False, LANES)


@inlined
def _sweep(call, model, start, stop, dtype):
    """E-step of the rows from start to stop; returns their sums."""
    d, k = call.x.shape[1], call.counts.shape[1]
    f, p, q = model.A.shape[1], padded(d), padded(k)
    lanes, wide = new_lanes(0, k, p, dtype), zeros((3, q, LANES), np.float64)
    features, absent = zeros((f, LANES), np.float64), zeros((p, LANES), np.float64)
    work = Work(features, absent, wide[0], wide[1], wide[2], np.zeros(LANES), np.zeros(LANES))
    sums = Sums(np.zeros(1), np.zeros(k), np.zeros(k), np.zeros((q, f)), np.zeros((q, p)))
    waiting, count = np.empty((KINDS, LANES), np.int64), np.zeros(KINDS, np.int64)
    skip = len(call.scores) + len(call.counts) == 0
    row = start
    while row < stop + KINDS:
        row, kind = collect_kinds(call.x, call.weights, row, stop, waiting, count, skip)
        if kind >= 0:
            loaded(lanes, call, waiting[kind], count[kind])
            f = _featured(model, lanes, work, d, kind)
            if len(call.counts) == 0:
                _scores(model, lanes, work, d, kind, f)
            if counted(lanes, call, sums, count[kind], kind == EMPTY):
                _moments(model, lanes, work, sums, kind, f)
            count[kind] = 0
    return sums


ARGUMENTS, RESULTS = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS


@inlined
def _piece(frame, piece, dtype):
    call, log_weights, start, stop = given(frame, piece, 5, dtype)
    named = ffi.vector(frame, ARGUMENTS, 7, np.int32)
    model = _model(named[0], named[1] != 0, log_weights, ffi.cube(frame, ARGUMENTS, 4, dtype))
    sums = _sweep(call, model, start, stop, dtype)
    ffi.vector(frame, RESULTS, 1, dtype)[piece] = sums.value[0]
    if len(call.scores) == 0:
        _summed(
            model, sums, ffi.matrix(frame, RESULTS, 2, dtype)[piece], ffi.hypercube(frame, RESULTS, 3, dtype)[piece]
        )


@jit
def _summed(model, sums, counts, result):
    """Writes statistics (k, d, slots), sums over rows of c times features of a cell.

    TABLE: whether it has each value. POISSON: whether it is observed, and the count. MULTINOMIAL: the count, a missing
    one at its mean.
    """
    k, d, slots = result.shape
    p = model.P.shape[1]
    for i in range(k):
        counts[i] = sums.counts[i]
        for j in range(d):
            if model.family == TABLE:
                for value in range(slots):
                    result[i, j, value] = sums.S[i, j * slots + value]
            elif model.family == POISSON:
                result[i, j, 0], result[i, j, 1] = sums.S[i, p + j] + sums.complete[i], sums.S[i, j]
            else:
                result[i, j, 0] = sums.S[i, j] + sums.absent[i, j] * model.P[i, j]


handler = handlers.of_pieces("cells", _piece, handlers.of_result(1))
