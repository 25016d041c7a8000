"""Forward-backward for many sequences: WIDTH of them side by side in SIMD lanes, in probabilities and float64.

    lanes:   sequence 0 │ 1 │ ... │ 7      one register holds one state of all eight
    forward  s = 0 ──▶ t   a = p(y_s, score of s | steps before s), scaled by 1 / c; log-partition = sum of log c
    backward t ──▶ 0       b what follows given y_s;  marginals g = a b;  counts += (a / c) (e b)^T

The textbook recursions (Rabiner 1989), which underflow where a step is surprising: what falls below TINY = 1e-100 but
is possible is taken for TINY, and sequences in which that may matter are done again in logarithms (`_sequences`).
Scores are put side by side for a block of steps at a time, which stays in the first-level cache.

Letters: k states, e (k, WIDTH) exp(score - the best state's), a (k, WIDTH), c its sum, b (k, WIDTH) in proportion, g
p(y_s | all steps).
"""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.chain.logs import backward, forward
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.simd.lanes import exp, log
from dgjax_kernels.cpu.simd.side_by_side import add_counts, product, put_one_by_one, put_side_by_side
from dgjax_kernels.cpu.simd.vectors import (
    TINY,
    WIDTH,
    below,
    finite,
    inverse,
    larger,
    lifted,
    number,
    numbers,
    rare,
    read,
    short,
    spread,
    write,
)

MOST, LEAST_REACHED = 1e25, 1e-75  # TINY times MOST, over two shares of 1e-25 at least, is 1e-25; so is TINY / 1e-75
BLOCK = 512  # states of consecutive steps that are worked on at once: 32 kB in WIDTH lanes


class Work(NamedTuple):
    """Work memory of WIDTH sequences of k states: addresses, which unlike arrays cost nothing to hand on.

    Potentials are relative to the largest; e and a are held for all steps if the posterior is wanted, else of a block.
    """

    k: int
    steps: int  # of a block
    wanted: bool
    initial: int  # (k,)
    transition: int  # (k, k)
    reverse: int  # (k, k): its transpose
    e: int  # (t, k, WIDTH)
    a: int  # (t, k, WIDTH), later g
    left: int  # (steps, k, WIDTH): a / c of a step, left factor of its counts
    right: int  # (1 + steps, k, WIDTH): e b, right factor of the counts; of the block's first step in place 0
    b: int  # (k, WIDTH)
    c: int  # (steps, WIDTH)
    counts: int  # (k, k, WIDTH)
    lengths: int  # (WIDTH,)
    values: int  # (WIDTH,)
    faults: int  # (WIDTH,): not 0 where logarithms are needed


@jit
def given(frame, dtype):
    """Arguments of a call for chains, zero-copy: initial (k,), moves (k, k), scores (n, t, k) and lengths (n,)."""
    arguments = ffi.FRAME_ARGUMENTS
    initial, transition = ffi.vector(frame, arguments, 0, dtype), ffi.matrix(frame, arguments, 1, dtype)
    return initial, transition, ffi.cube(frame, arguments, 2, dtype), ffi.vector(frame, arguments, 3, np.int32)


@jit
def to_fill(frame, dtype):
    """Results of forward-backward to be filled: log-partitions (n,), marginals (n, t, k), counts (n, k, k).

    The last two have no rows if they are not wanted.
    """
    results = ffi.FRAME_RESULTS
    values, marginals = ffi.vector(frame, results, 0, dtype), ffi.cube(frame, results, 1, dtype)
    return values, marginals, ffi.cube(frame, results, 2, dtype)


@jit
def to_shares(logs, into):
    """Probabilities relative to the largest: fills exp(logs - the largest), at least TINY of what is possible.

    Returns the largest, 0 if all are minus infinity.
    """
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
def _new_work(buffer, k, steps, held, wanted):
    """Lays the work memory out in a buffer, in multiples of a SIMD register."""
    line, square, block = 8 * WIDTH, 8 * WIDTH * k * k, 8 * WIDTH * steps * k
    initial = buffer + -buffer % line
    transition = initial + line * k
    reverse = transition + square
    counts = reverse + square
    b = counts + square
    c = b + line * k
    lanes = c + line * steps
    left = lanes + 3 * line
    right = left + block
    e = right + block + line * k
    a = e + line * held * k
    values, faults = lanes + line, lanes + 2 * line
    return Work(k, steps, wanted, initial, transition, reverse, e, a, left, right, b, c, counts, lanes, values, faults)


@jit
def _words(k, steps, held):
    """Words of work memory for so many states, steps of a block and steps that are held."""
    return WIDTH * (k * (3 * k + 3 + 2 * steps + 2 * held) + steps + 4)


@jit
def put_scores(scores, starts, lengths, k, first, stop, e):
    """Loads the scores of steps from first to stop side by side, 0 beyond a sequence's length."""
    put_side_by_side(e, scores, starts, first * k, (stop - first) * k)
    side_by_side = numbers(e, (stop - first) * k * WIDTH)
    for n in range(WIDTH):
        for i in range((max(first, np.int64(lengths[n])) - first) * k, (stop - first) * k):
            side_by_side[i * WIDTH + n] = 0.0


@jit
def to_probabilities(e):
    """Probabilities from logs e, in place: exp of each, at least TINY unless it is minus infinity."""
    for i in range(len(e)):
        x = e[i]
        p = exp(x)
        e[i] = TINY if (p < TINY) & (x > -math.inf) else p


@jit
def _to_logs(c):
    """Replaces each number by its log."""
    for i in range(len(c)):
        c[i] = log(c[i])


@jit
def _emissions(e, at, k, steps):
    """Emissions: replaces scores by exp(score - the best state's); returns the sum over steps of the best."""
    total = spread(0.0)
    for s in range(at, at + steps * k * WIDTH, k * WIDTH):
        top = spread(-math.inf)
        for j in range(s, s + k * WIDTH, WIDTH):
            top = larger(read(e, j), top)
        top = finite(top)
        total = total + top
        for j in range(s, s + k * WIDTH, WIDTH):
            write(e, j, read(e, j) + top * spread(-1.0))
    to_probabilities(numbers(e + 8 * at, steps * k * WIDTH))
    return total


@jit
def _step(work, s, held, scale):
    """Forward step: a from the step before; returns its sum, and if a state is reached from below LEAST_REACHED."""
    k, a, e, size, wanted = work.k, work.a, work.e, work.k * WIDTH, work.wanted
    to, total, least = (s if wanted else s % 2) * size, spread(0.0), spread(1.0)
    if s == 0:
        for j in range(k):
            write(a, to + j * WIDTH, spread(number(work.initial, j)))
    else:
        product(work.transition, k, a, (s - 1 if wanted else (s - 1) % 2) * size, a, to)
    if not wanted:
        for j in range(to, to + size, WIDTH):
            least = rare(read(a, j), least)
    for j in range(0, size, WIDTH):
        p = lifted(read(a, to + j) * (read(e, held + j) * scale))
        total = total + p
        write(a, to + j, p)
    return total, below(least, spread(LEAST_REACHED))


@jit
def _forward(work, scores, starts, t):
    """Forward pass: fills e, a, the log-partitions and the faults."""
    k, c, lengths = work.k, work.c, read(work.lengths, 0)
    value, faults, scale = spread(0.0), spread(0.0), spread(1.0)
    for first in range(0, t, work.steps):
        stop = min(first + work.steps, t)
        held = first * k * WIDTH if work.wanted else 0
        put_scores(scores, starts, numbers(work.lengths, WIDTH), k, first, stop, work.e + 8 * held)
        gained = _emissions(work.e, held, k, stop - first)
        for s in range(first, stop):
            total, unlikely = _step(work, s, held + (s - first) * k * WIDTH, scale)
            scale, inside = inverse(total), below(spread(float(s)), lengths)
            faults = faults + inside * (short(total) + unlikely)
            write(c, (s - first) * WIDTH, inside * total + below(lengths, spread(s + 1.0)))
        _to_logs(numbers(c, (stop - first) * WIDTH))
        for s in range(stop - first):
            gained = gained + read(c, s * WIDTH)
        value = value + gained
    write(work.values, 0, value)
    write(work.faults, 0, faults)


@jit
def _back(work, s, first, scale, shift):
    """Backward step: b from e b of the next step; returns the sum over states of a b, and the largest b."""
    size, a, b, total, most = work.k * WIDTH, work.a, work.b, spread(0.0), spread(1.0)
    product(work.reverse, work.k, work.right, (s + 1 - first) * size, b, 0)
    for i in range(0, size, WIDTH):
        p = lifted(read(b, i) * scale) + shift
        most = larger(p, most)
        total = total + p * read(a, s * size + i)
        write(b, i, p)
    return total, most


@jit
def _backward(work, marginals, starts, used, t):
    """Backward pass: turns a into the marginals g, adds up the counts, and adds to the faults."""
    k, size, steps, lengths = work.k, work.k * WIDTH, work.steps, read(work.lengths, 0)
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
            total, most = _back(work, s, first, scale, whole + more * spread(-1.0))
            over = inverse(total)
            faults = faults + below(spread(float(s)), lengths) * (short(total) + below(spread(MOST), most))
            _shares(work, s, first, size, over, scale)
        add_counts(work.left, work.right, work.counts, k, stop - first)
        _store(work, marginals, starts, used, first, stop)
    write(work.faults, 0, faults)


@jit
def _shares(work, s, first, size, over, scale):
    """Marginals g of a step, and both factors of its counts."""
    a, b, at, block = work.a, work.b, s * size, (s - first) * size
    for i in range(0, size, WIDTH):
        x, p = read(a, at + i) * over, read(b, i)
        write(work.left, block + i, x * scale)
        write(work.right, block + i, read(work.e, at + i) * p)
        write(a, at + i, x * p)


@jit
def _store(work, marginals, starts, used, first, stop):
    """Writes marginals of steps from first to stop, 0 beyond a sequence's length."""
    k, lengths = work.k, numbers(work.lengths, WIDTH)
    put_one_by_one(work.a + 8 * first * k * WIDTH, marginals, starts, first * k, (stop - first) * k, used)
    for n in range(used):
        for i in range(max(first, np.int64(lengths[n])) * k, stop * k):
            marginals[starts[n] + i] = 0.0


@jit
def _store_counts(work, counts, row):
    """Writes the counts of all sequences: sums of factors, times the moves' probabilities, which all steps share."""
    k = work.k
    sums = numbers(work.counts, k * k * WIDTH)
    for n in range(min(WIDTH, len(counts) - row)):
        for i in range(k):
            for j in range(k):
                counts[row + n, i, j] = sums[(i * k + j) * WIDTH + n] * number(work.transition, i * k + j)


@jit
def _in_logs(work, initial, logs, scores, length, marginals, counts, row):
    """One sequence again, in logarithms: its log-partition, and marginals and counts if wanted."""
    k = work.k
    held = length if work.wanted else 2
    filtered = numbers(work.a, held * k).reshape(held, k)
    value = forward(initial, logs, scores[row], length, filtered)
    if work.wanted:
        sums = numbers(work.counts, k * k)
        for i in range(k * k):
            sums[i] = 0.0
        backward(logs, length, filtered, marginals[row], sums)
        for i in range(k):
            for j in range(k):
                counts[row, i, j] = sums[i * k + j]
    return value


@inlined
def _sequences(work, shift, arguments, results, starts, row):
    """WIDTH sequences side by side, and then, one by one, those whose faults need logarithms.

    Raising to TINY only ever adds to a sum over paths, at most TINY times the largest backward value b, divided by the
    shares c of two steps. A sequence where this may be no rounding error, as after a step that only a most unlikely
    path survives, is done again in logarithms (`logs`), which is slow and exact. Without the backward pass b is not
    known: then a state that is possible but is reached from below LEAST_REACHED is one such case.
    """
    (initial, logs, scores, lengths), (values, marginals, counts) = arguments, results
    n, t, k = scores.shape
    used, longest, lanes = min(WIDTH, n - row), 1, numbers(work.lengths, WIDTH)
    for i in range(WIDTH):
        lanes[i] = lengths[row + i] if i < used else 0
        starts[i] = (row + min(i, used - 1)) * t * k
        longest = max(longest, np.int64(lanes[i]))
    _forward(work, scores.reshape(n * t * k), starts, longest)
    if work.wanted:
        whole = marginals.reshape(n * t * k)
        _backward(work, whole, starts, used, longest)
        for i in range(used):
            for j in range(starts[i] + longest * k, starts[i] + t * k):
                whole[j] = 0.0
        _store_counts(work, counts, row)
    log_partition, faults = numbers(work.values, WIDTH), numbers(work.faults, WIDTH)
    for i in range(row, row + used):
        if faults[i - row] == 0:
            values[i] = log_partition[i - row] + shift[0] + (lanes[i - row] - 1) * shift[1]
        else:
            length = np.int64(lanes[i - row])
            values[i] = _in_logs(work, initial, logs, scores, length, marginals, counts, i)


@inlined
def _pieces(address, piece, dtype):
    frame = ffi.load(address, ffi.FRAME)
    (initial, transition, scores, lengths), (values, marginals, counts) = given(frame, dtype), to_fill(frame, dtype)
    k, wanted, logs = len(initial), len(marginals) > 0, np.empty(transition.size)
    steps = max(4, BLOCK // k)
    held = scores.shape[1] if wanted else steps
    buffer = ffi.allocate(_words(k, steps, held))
    work = _new_work(buffer, k, steps, held, wanted)
    A, B = numbers(work.transition, k * k), numbers(work.reverse, k * k)
    for i in range(k):
        for j in range(k):
            A[i * k + j] = logs[j * k + i] = transition[i, j]
    shift = to_shares(initial, numbers(work.initial, k)), to_shares(A, A)
    for i in range(k):
        for j in range(k):
            B[j * k + i] = A[i * k + j]
    arguments, results = (initial, logs, scores, lengths), (values, marginals, counts)
    starts = np.empty(WIDTH, np.int64)
    while piece >= 0:
        _sequences(work, shift, arguments, results, starts, piece * WIDTH)
        ffi.done(address)
        piece = ffi.next_piece(address)
    ffi.free(buffer)


@jit
def _num_pieces(frame):
    return -(-ffi.size(frame, ffi.FRAME_RESULTS, 0, 0) // WIDTH)


handler = handlers.Handler("chain", _num_pieces, _pieces)
