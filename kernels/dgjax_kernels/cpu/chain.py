"""The kernel of `chain.expectation` on a CPU: eight sequences side by side, forward and backward in probabilities.

All arithmetic is in float64. Nothing that is possible ever becomes 0: what falls below TINY is taken for TINY. That only
ever adds to a sum over paths, and what it can have added is known at the end: less than TINY times the largest of the
backward values b by the product of two steps' shares c of the total. Where that may be no rounding error, as after a step
that nothing but the most unlikely path survives, the sequence is done again in logarithms, as the reference does it.

Letters: k states, a (k, WIDTH) p(y_s, score of s | steps before s), c its sum, b (k, WIDTH) what follows given y_s,
e (k, WIDTH) exp(score - the best state's), g p(y_s | all steps).
"""

import math
import operator
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.extending import overload, register_model

from dgjax_kernels.cpu import ffi
from dgjax_kernels.cpu.ffi import inlined, intrinsic, jit
from dgjax_kernels.cpu.lanes import exp, fast, log

WIDTH = 8
TINY, LEAST_SHARE, MOST, LEAST_REACHED = 1e-100, 1e-25, 1e25, 1e-75
BLOCK = 1024  # states of consecutive steps that are worked on at once: 64 kB in WIDTH lanes


class Vector(types.Type):
    """WIDTH numbers in registers."""


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, VALUES)


VECTOR, VALUES = Vector("vector"), ir.VectorType(ir.DoubleType(), WIDTH)
CONTRACT = ("contract",)


def _all(x):
    return ir.Constant(VALUES, [x] * WIDTH)


def _place(context, builder, signature, arguments):
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), VALUES.as_pointer())


@intrinsic
def read(typingctx, array, offset):
    """The numbers at an offset of an array."""
    return VECTOR(array, types.intp), lambda c, b, s, a: b.load(_place(c, b, s, a), align=8)


@intrinsic
def write(typingctx, array, offset, vector):
    """Puts them there."""

    def build(c, b, s, a):
        b.store(a[2], _place(c, b, s, a), align=8)
        return c.get_dummy_value()

    return types.void(array, types.intp, VECTOR), build


@intrinsic
def spread(typingctx, x):
    """The same number in all places."""

    def build(c, b, s, a):
        zero = ir.Constant(ir.IntType(32), 0)
        first = b.insert_element(ir.Constant(VALUES, ir.Undefined), a[0], zero)
        return b.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))

    return VECTOR(types.float64), build


def _of_one(build):
    return intrinsic(lambda typingctx, x: (VECTOR(VECTOR), lambda c, b, s, a: build(b, *a)))


def _of_two(build):
    return intrinsic(lambda typingctx, x, y: (VECTOR(VECTOR, VECTOR), lambda c, b, s, a: build(b, *a)))


def _where(b, test, x, y, first, second):
    return b.select(b.fcmp_ordered(test, x, y), first, second)


def _lifted(b, x):
    above = _where(b, "<", x, _all(TINY), _all(TINY), x)
    return _where(b, ">", x, _all(0.0), above, x)


_plus = _of_two(lambda b, x, y: b.fadd(x, y, flags=CONTRACT))
_times = _of_two(lambda b, x, y: b.fmul(x, y, flags=CONTRACT))
lifted = _of_one(_lifted)
"""What is possible is at least TINY."""
larger = _of_two(lambda b, x, y: _where(b, ">", x, y, x, y))
"""The larger of two, the second if the first is NaN."""
inverse = _of_one(lambda b, x: _where(b, ">", x, _all(0.0), b.fdiv(_all(1.0), x), _all(0.0)))
"""1 / x for positive x, else 0."""
finite = _of_one(lambda b, x: _where(b, "==", x, _all(-math.inf), _all(0.0), x))
"""0 in place of minus infinity."""
below = _of_two(lambda b, x, y: _where(b, "<", x, y, _all(1.0), _all(0.0)))
"""1 where the first is the smaller, else 0."""
short = _of_one(lambda b, x: _where(b, ">=", x, _all(LEAST_SHARE), _all(0.0), _all(1.0)))
"""1 where a share is too small, or NaN."""
rare = _of_two(lambda b, x, y: _where(b, ">", x, _all(0.0), _where(b, "<", x, y, x, y), y))
"""The smaller of two, of those that are positive."""


@overload(operator.add)
def _add(x, y):
    return (lambda x, y: _plus(x, y)) if x is VECTOR and y is VECTOR else None


@overload(operator.mul)
def _multiply(x, y):
    return (lambda x, y: _times(x, y)) if x is VECTOR and y is VECTOR else None


class Chain(NamedTuple):
    """What all sequences share, relative to its largest: probabilities, those of transitions both ways round."""

    k: int
    initial: np.ndarray  # (k,)
    transition: np.ndarray  # (k k,)
    reverse: np.ndarray  # (k k,)
    top_initial: float
    top_transition: float
    steps: int  # of a block


class Work(NamedTuple):
    """Of the sequences at work: all steps if the posterior is wanted, else those of a block."""

    e: np.ndarray  # (t, k, WIDTH)
    a: np.ndarray  # (t, k, WIDTH), later g
    left: np.ndarray  # (steps, k, WIDTH): a / c of a step
    right: np.ndarray  # (1 + steps, k, WIDTH): e b of the next
    b: np.ndarray  # (k, WIDTH)
    c: np.ndarray  # (steps, WIDTH)
    counts: np.ndarray  # (k, k, WIDTH)
    lengths: np.ndarray  # (WIDTH,)
    values: np.ndarray  # (WIDTH,)
    faults: np.ndarray  # (WIDTH,): not 0 where logarithms are needed


@jit
def _probabilities(logs, into):
    """exp(logs - the largest), which is returned: 0 only of minus infinity."""
    top = -math.inf
    for i in range(len(logs)):
        top = max(top, np.float64(logs[i]))
    top = top if top > -math.inf else 0.0
    for i in range(len(logs)):
        x = np.float64(logs[i]) - top
        p = exp(x)
        into[i] = TINY if (p < TINY) & (x > -math.inf) else p
    return top


@jit
def _new_chain(initial, transition):
    k = len(initial)
    pi, A, B = np.empty(k), np.empty(k * k), np.empty(k * k)
    top_initial, top_transition = _probabilities(initial, pi), _probabilities(transition.reshape(k * k), A)
    for i in range(k):
        for j in range(k):
            B[j * k + i] = A[i * k + j]
    return Chain(k, pi, A, B, top_initial, top_transition, max(4, BLOCK // k))


@jit
def _vectors(size):
    """Room for so many vectors, none of which lies across two lines of memory."""
    x = np.empty((size + 1) * WIDTH)
    first = -x.ctypes.data % (8 * WIDTH) // 8
    return x[first : first + size * WIDTH]


@jit
def _new_work(k, steps, t):
    size = steps * k
    left, right, b, c, counts = _vectors(size), _vectors(size + k), _vectors(k), _vectors(steps), _vectors(k * k)
    return Work(_vectors(t * k), _vectors(t * k), left, right, b, c, counts, _vectors(1), _vectors(1), _vectors(1))


@jit
def _product(M, k, x, at, y, into):
    """y_j = sum over i of M_ij x_i."""
    for j in range(0, k - 3, 4):
        y0, y1, y2, y3 = spread(0.0), spread(0.0), spread(0.0), spread(0.0)
        for i in range(k):
            m, xi = i * k + j, read(x, at + i * WIDTH)
            y0 = y0 + spread(M[m]) * xi
            y1 = y1 + spread(M[m + 1]) * xi
            y2 = y2 + spread(M[m + 2]) * xi
            y3 = y3 + spread(M[m + 3]) * xi
        write(y, into + j * WIDTH, y0)
        write(y, into + (j + 1) * WIDTH, y1)
        write(y, into + (j + 2) * WIDTH, y2)
        write(y, into + (j + 3) * WIDTH, y3)
    for j in range(k // 4 * 4, k):
        y0 = spread(0.0)
        for i in range(k):
            y0 = y0 + spread(M[i * k + j]) * read(x, at + i * WIDTH)
        write(y, into + j * WIDTH, y0)


@jit
def _add_counts(left, right, counts, k, steps):
    """counts_ij += sum over steps of left_i and the next step's right_j."""
    size = k * WIDTH
    for i in range(k):
        for j in range(0, k - 3, 4):
            at = (i * k + j) * WIDTH
            c0, c1, c2, c3 = (
                read(counts, at),
                read(counts, at + WIDTH),
                read(counts, at + 2 * WIDTH),
                read(counts, at + 3 * WIDTH),
            )
            for s in range(steps):
                a, w = read(left, s * size + i * WIDTH), (s + 1) * size + j * WIDTH
                c0 = c0 + a * read(right, w)
                c1 = c1 + a * read(right, w + WIDTH)
                c2 = c2 + a * read(right, w + 2 * WIDTH)
                c3 = c3 + a * read(right, w + 3 * WIDTH)
            write(counts, at, c0)
            write(counts, at + WIDTH, c1)
            write(counts, at + 2 * WIDTH, c2)
            write(counts, at + 3 * WIDTH, c3)
        for j in range(k // 4 * 4, k):
            at = (i * k + j) * WIDTH
            c0 = read(counts, at)
            for s in range(steps):
                c0 = c0 + read(left, s * size + i * WIDTH) * read(right, (s + 1) * size + j * WIDTH)
            write(counts, at, c0)


@jit
def _load(scores, row, lengths, first, stop, e, at):
    """Scores of steps from first to stop, 0 beyond a sequence's length."""
    k = scores.shape[2]
    for n in range(WIDTH):
        end = max(first, min(stop, np.int64(lengths[n])))
        for s in range(first, end):
            for j in range(k):
                e[at + ((s - first) * k + j) * WIDTH + n] = scores[row + n, s, j]
        for i in range((end - first) * k, (stop - first) * k):
            e[at + i * WIDTH + n] = 0.0


@jit
def _to_probabilities(e):
    """exp of each, which is 0 only of minus infinity."""
    for i in range(len(e)):
        x = e[i]
        p = exp(x)
        e[i] = TINY if (p < TINY) & (x > -math.inf) else p


@jit
def _emissions(e, at, k, steps):
    """e = exp(score - the best), and the sum over steps of the best."""
    total = spread(0.0)
    for s in range(at, at + steps * k * WIDTH, k * WIDTH):
        top = spread(-math.inf)
        for j in range(s, s + k * WIDTH, WIDTH):
            top = larger(read(e, j), top)
        top = finite(top)
        total = total + top
        for j in range(s, s + k * WIDTH, WIDTH):
            write(e, j, read(e, j) + top * spread(-1.0))
    _to_probabilities(e[at : at + steps * k * WIDTH])
    return total


@jit
def _step(chain, work, s, held, scale, wanted):
    """a of a step from that of the one before, its sum, and whether a state is reached by the most unlikely alone."""
    k, a, e, size = chain.k, work.a, work.e, chain.k * WIDTH
    to, total, least = (s if wanted else s % 2) * size, spread(0.0), spread(1.0)
    if s == 0:
        for j in range(k):
            write(a, to + j * WIDTH, spread(chain.initial[j]))
    else:
        _product(chain.transition, k, a, (s - 1 if wanted else (s - 1) % 2) * size, a, to)
    if not wanted:
        for j in range(to, to + size, WIDTH):
            least = rare(read(a, j), least)
    for j in range(0, size, WIDTH):
        p = lifted(read(a, to + j) * (read(e, held + j) * scale))
        total = total + p
        write(a, to + j, p)
    return total, below(least, spread(LEAST_REACHED))


@jit
def _forward(chain, work, scores, row, t, wanted):
    """Fills e, a, values and faults."""
    k, c, lengths = chain.k, work.c, read(work.lengths, 0)
    value, faults, scale = spread(0.0), spread(0.0), spread(1.0)
    for first in range(0, t, chain.steps):
        stop = min(first + chain.steps, t)
        held = first * k * WIDTH if wanted else 0
        _load(scores, row, work.lengths, first, stop, work.e, held)
        gained = _emissions(work.e, held, k, stop - first)
        for s in range(first, stop):
            total, unlikely = _step(chain, work, s, held + (s - first) * k * WIDTH, scale, wanted)
            scale, inside = inverse(total), below(spread(float(s)), lengths)
            faults = faults + inside * (short(total) + unlikely)
            write(c, (s - first) * WIDTH, inside * total + below(lengths, spread(s + 1.0)))
        for i in range((stop - first) * WIDTH):
            c[i] = log(c[i])
        for s in range(stop - first):
            gained = gained + read(c, s * WIDTH)
        value = value + gained
    write(work.values, 0, value)
    write(work.faults, 0, faults)


@jit
def _back(chain, work, s, first, scale, shift):
    """b of a step from e b of the next; the sum over states of a b, and the largest b."""
    size, a, b, total, most = chain.k * WIDTH, work.a, work.b, spread(0.0), spread(1.0)
    _product(chain.reverse, chain.k, work.right, (s + 1 - first) * size, b, 0)
    for i in range(0, size, WIDTH):
        p = lifted(read(b, i) * scale) + shift
        most = larger(p, most)
        total = total + p * read(a, s * size + i)
        write(b, i, p)
    return total, most


@jit
def _backward(chain, work, marginals, row, t):
    """Turns a into g, and adds to the counts and the faults."""
    k, size, steps, lengths = chain.k, chain.k * WIDTH, chain.steps, read(work.lengths, 0)
    faults, over, whole = read(work.faults, 0), spread(0.0), spread(1.0)
    for i in range(0, k * size, WIDTH):
        write(work.counts, i, spread(0.0))
    for i in range(0, size, WIDTH):
        write(work.right, i, spread(0.0))
    for first in range((t - 1) // steps * steps, -1, -steps):
        stop = min(first + steps, t)
        for i in range(0, size, WIDTH):
            write(work.right, (stop - first) * size + i, read(work.right, i))
        for s in range(stop - 1, first - 1, -1):
            more = below(spread(s + 1.0), lengths)
            scale = over * more
            total, most = _back(chain, work, s, first, scale, whole + more * spread(-1.0))
            over = inverse(total)
            faults = faults + below(spread(float(s)), lengths) * (short(total) + below(spread(MOST), most))
            _shares(work, s, first, size, over, scale)
        _add_counts(work.left, work.right, work.counts, k, stop - first)
        _store(work, marginals, row, first, stop)
    write(work.faults, 0, faults)


@jit
def _shares(work, s, first, size, over, scale):
    """g of a step, and what goes to its counts."""
    a, b, at, block = work.a, work.b, s * size, (s - first) * size
    for i in range(0, size, WIDTH):
        x, p = read(a, at + i) * over, read(b, i)
        write(work.left, block + i, x * scale)
        write(work.right, block + i, read(work.e, at + i) * p)
        write(a, at + i, x * p)


@jit
def _store(work, marginals, row, first, stop):
    """Marginals of steps from first to stop, 0 beyond a sequence's length."""
    n_rows, _, k = marginals.shape
    for n in range(min(WIDTH, n_rows - row)):
        end = max(first, min(stop, np.int64(work.lengths[n])))
        for s in range(first, end):
            for j in range(k):
                marginals[row + n, s, j] = work.a[(s * k + j) * WIDTH + n]
        for s in range(end, stop):
            for j in range(k):
                marginals[row + n, s, j] = 0.0


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
    """x relative to the log of the sum of its exp, which is returned."""
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
def _log_forward(initial, logs, scores, length, filtered):
    """log p(y_s | steps up to s) of one sequence (length or 2, k), and the log-partition."""
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
def _log_backward(logs, length, filtered, marginals, sums):
    """Marginals and counts of one sequence, from p(y_s | y_s+1, steps up to s)."""
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


@inlined
def _one_piece(chain, work, held, arguments, results, piece):
    """WIDTH sequences: side by side, and those that need it again, in logarithms, one by one."""
    (initial, logs, scores, lengths), (values, marginals, counts) = arguments, results
    n, t, k = scores.shape
    row, wanted, longest = piece * WIDTH, len(marginals) > 0, 1
    for i in range(WIDTH):
        work.lengths[i] = lengths[row + i] if row + i < n else 0
        longest = max(longest, np.int64(work.lengths[i]))
    _forward(chain, work, scores, row, longest, wanted)
    if wanted:
        _backward(chain, work, marginals, row, longest)
        _store(work, marginals, row, longest, t)
    for i in range(min(WIDTH, n - row)):
        length = np.int64(work.lengths[i])
        values[row + i] = work.values[i] + chain.top_initial + (length - 1) * chain.top_transition
        for j in range(k * k if wanted else 0):
            counts[row + i, j // k, j % k] = work.counts[j * WIDTH + i] * chain.transition[j]
    for i in range(min(WIDTH, n - row)):
        length = np.int64(work.lengths[i])
        if work.faults[i] != 0:
            values[row + i] = _log_forward(initial, logs, scores[row + i], length, held)
        if (work.faults[i] != 0) & wanted:
            for j in range(k * k):
                work.counts[j] = 0.0
            _log_backward(logs, length, held, marginals[row + i], work.counts)
            for j in range(k * k):
                counts[row + i, j // k, j % k] = work.counts[j]


@inlined
def _pieces(address, dtype):
    frame, inputs, outputs = ffi.load(address, ffi.FRAME), ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS
    initial, transition = ffi.vector(frame, inputs, 0, dtype), ffi.matrix(frame, inputs, 1, dtype)
    scores, lengths = ffi.cube(frame, inputs, 2, dtype), ffi.vector(frame, inputs, 3, np.int32)
    values, marginals = ffi.vector(frame, outputs, 0, dtype), ffi.cube(frame, outputs, 1, dtype)
    counts = ffi.cube(frame, outputs, 2, dtype)
    piece = ffi.next_piece(address)
    if piece < 0:
        return
    k, wanted = len(initial), len(marginals) > 0
    chain, logs = _new_chain(initial, transition), np.empty(k * k)
    held = scores.shape[1] if wanted else chain.steps
    work = _new_work(k, chain.steps, held)
    for i in range(k):
        for j in range(k):
            logs[j * k + i] = transition[i, j]
    arguments, results = (initial, logs, scores, lengths), (values, marginals, counts)
    while piece >= 0:
        _one_piece(chain, work, work.a[: held * k].reshape(held, k), arguments, results, piece)
        ffi.done(address)
        piece = ffi.next_piece(address)


def handler(dtype, sources):
    """What XLA calls."""

    def chain(address):
        if ffi.introduced(address):
            return 0
        if ffi.called(address):
            pieces = -(-ffi.size(address, ffi.FRAME_RESULTS, 0, 0) // WIDTH)
            return ffi.spread(address, pieces, ffi.own_address(), sources)
        _pieces(address, dtype)
        return ffi.leave(address)

    return chain
