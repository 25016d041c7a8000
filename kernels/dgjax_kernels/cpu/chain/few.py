"""Forward-backward for few sequences: WIDTH states side by side in SIMD lanes, each sequence from both ends at once.

A register holds neighbouring states of one sequence; and two threads share it, for the recursions meet in the middle:

    first half    side 0:  0 ──forward──▶ middle          middle ◀──backward── t  :side 1
    second half   side 0:                 middle ──forward──▶ t    reads b that side 1 left: marginals, counts there
                  side 1:  0 ◀──backward── middle                  reads a that side 0 left: marginals, counts there
    settle        log-partition from the middle, counts of both sides together, or all of it again in logarithms

A call is cut into pieces in this order, halves of all sequences before the next stage, and a piece waits until the
stages before it are done (`ffi.wait`). Probabilities are in float64, each step scaled by a power of two, so that the
log of the scale is exact; what is possible but falls below TINY is TINY, and `_settle` finds where that matters.

Letters: k states, K of them with those of probability 0 that fill up registers, e exp(score - the best state's), a
p(y_s, scores up to s), b what follows given y_s, u = e b, each in proportion, g p(y_s | all scores).
"""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.chain.logs import backward, forward
from dgjax_kernels.cpu.chain.many import given, to_fill, to_probabilities, to_shares
from dgjax_kernels.cpu.ffi import inlined, jit, within
from dgjax_kernels.cpu.simd.lanes import LN2
from dgjax_kernels.cpu.simd.side_by_side import add_counts_of_one, product_of_one
from dgjax_kernels.cpu.simd.vectors import (
    TINY,
    WIDTH,
    chosen,
    each,
    larger,
    largest,
    number,
    numbers,
    power,
    rare,
    read,
    read_row,
    smaller,
    spread,
    to_one,
    whole,
    write,
)

LEAST, HUGE = 1e-75, 1e101  # a product of what is possible is at least TINY^2: times HUGE, it is not below TINY
BLOCK = 512  # states of consecutive steps that are worked on at once: 4 kB in each array
VALUE, FAULTS, REACHED, NOTES = 0, 1, 2, 8  # of a side: the log of its scales, and what is to be done again


class Work(NamedTuple):
    """Work memory of a thread, k states, K in whole registers: addresses, which unlike arrays are free to hand on."""

    k: int
    K: int
    steps: int  # of a block
    initial: int  # (K,)
    there: int  # (K,): 1 of states, 0 beyond
    moves: int  # (K, K)
    reverse: int  # (K, K): its transpose
    x: int  # (2, K): a or u of the last two steps
    left: int  # (steps, K): a of a step, in proportion to the weight of all paths
    right: int  # (1 + steps, K): u
    g: int  # (steps, K)


class Sequence(NamedTuple):
    """Memory of one sequence, k states, K in whole registers, which its two sides share, for they are two threads."""

    row: int
    start: int  # of its scores
    length: int
    middle: int
    e: int  # (t, K)
    ab: int  # (t, K): a before the middle, b after it
    counts: int  # (2, k, K)
    notes: int  # (2, NOTES)


@jit
def padded_states(k):
    """States in whole registers."""
    return -(-k // WIDTH) * WIDTH


@jit
def _new_work(buffer, k, steps):
    """Lays a thread's work memory out in a buffer, in multiples of a SIMD register."""
    K = padded_states(k)
    line = 8 * K
    initial = buffer + -buffer % (8 * WIDTH)
    there = initial + line
    moves = there + line
    reverse = moves + K * line
    x = reverse + K * line
    left = x + 2 * line
    right = left + steps * line
    return Work(k, K, steps, initial, there, moves, reverse, x, left, right, right + (1 + steps) * line)


@jit
def _words(k, steps):
    """Words of a thread's work memory."""
    return padded_states(k) * (2 * padded_states(k) + 5 + 3 * steps) + WIDTH


def words_of_sequence(t: int, k: int) -> int:
    """Memory of a sequence of t steps and k states, in 8-byte words."""
    return -(-k // WIDTH) * WIDTH * (2 * t + 2 * k) + 2 * NOTES


_words_of_sequence = jit(words_of_sequence)


@jit
def _sequence(buffer, row, t, k, lengths):
    """Lays the memory of a sequence out in the shared buffer."""
    line, length = 8 * padded_states(k), int(lengths[row])
    e = buffer + row * 8 * _words_of_sequence(t, k)
    ab = e + t * line
    counts = ab + t * line
    return Sequence(row, row * t * k, length, (length + 1) // 2, e, ab, counts, counts + 2 * k * line)


@jit
def put_scores_of_one(there, k, K, scores, start, steps, into):
    """Loads the scores of so many steps from `start` on, relative to the best state's, minus infinity beyond k states.

    Returns the sum over them of the best score; `into` is an address.
    """
    total, none = 0.0, spread(-math.inf)
    for s in range(steps):
        at, top, row = start + s * k, none, numbers(into + 8 * s * K, K)
        for j in range(0, K, WIDTH):
            if at + j + WIDTH <= len(scores):
                write(into, s * K + j, chosen(read(there, j), spread(0.5), read_row(scores, at + j), none))
            else:
                for i in range(j, j + WIDTH):
                    row[i] = scores[at + i] if i < k else -math.inf
            top = larger(read(into, s * K + j), top)
        best = largest(top)
        best = best if best != -math.inf else 0.0
        total += best
        for j in range(s * K, s * K + K, WIDTH):
            write(into, j, read(into, j) + spread(-best))
    return total


@jit
def _emissions(work, e, scores, start, first, stop):
    """Emissions e of some steps; returns the sum over them of the best score."""
    k, K, many = work.k, work.K, stop - first
    total = put_scores_of_one(work.there, k, K, scores, start + first * k, many, e + 8 * first * K)
    to_probabilities(numbers(e + 8 * first * K, many * K))
    return total


@within
def _total(x, at, K):
    """The sum of x over states, in all lanes. If all states are in one register, memory is not touched."""
    if K == WIDTH:
        x0, x1, x2, x3, x4, x5, x6, x7 = each(read(x, at))
        return ((x0 + x1) + (x2 + x3)) + ((x4 + x5) + (x6 + x7))
    total = spread(0.0)
    for j in range(at, at + K, WIDTH):
        total = total + read(x, j)
    return spread(whole(total))


@within
def _forward(work, sequence, s, out, to):
    """Forward step: a of a step from that before, x; returns the sum of x, and how rarely a state is reached."""
    k, K, x, e, zero, tiny, huge = work.k, work.K, work.x, sequence.e, spread(0.0), spread(TINY), spread(HUGE)
    here, before, total, least = s % 2 * K, (s + 1) % 2 * K, spread(1.0), spread(1.0)
    if s > 0:
        total = _total(x, before, K)
    scale = to_one(total)
    for j in range(0, K, WIDTH):
        y, score = (
            product_of_one(work.moves, k, K, x, before, j) if s > 0 else read(work.initial, j),
            read(e, s * K + j),
        )
        least = rare(y, least)
        a = larger(smaller(y * huge, chosen(score, zero, tiny, zero)), y * (score * scale))
        write(x, here + j, a)
        write(out, to + j, a)
    return total, least


@within
def _backward(work, sequence, s, out, to):
    """Backward step: b and u from u of the next step; returns the sum of u, and by how little a state is reached."""
    k, K, x, e, tiny, huge = work.k, work.K, work.x, sequence.e, spread(TINY), spread(HUGE)
    here, before, total, least = s % 2 * K, (s + 1) % 2 * K, spread(1.0), spread(1.0)
    last = s == sequence.length - 1
    if not last:
        total = _total(x, before, K)
    scale = to_one(total)
    for j in range(0, K, WIDTH):
        y, score = read(work.there, j) if last else product_of_one(work.reverse, k, K, x, before, j), read(e, s * K + j)
        least = rare(y, least)
        write(x, here + j, larger(smaller(y * huge, tiny) * score, y * (score * scale)))
        write(out, to + j, larger(smaller(y * huge, tiny), y * scale))
    return total, least


@jit
def _first_half(work, sequence, scores, side):
    """First half of a side, from its end to the middle: fills e, and a (side 0) or b (side 1)."""
    powers, value, reached, K = spread(0.0), 0.0, spread(1.0), work.K
    first, stop = (sequence.middle, sequence.length) if side else (0, sequence.middle)
    for block in range(0, stop - first, work.steps):
        many = min(work.steps, stop - first - block)
        low = stop - block - many if side else first + block
        value += _emissions(work, sequence.e, scores, sequence.start, low, low + many)
        for i in range(many):
            s = low + many - 1 - i if side else low + i
            if side:
                total, least = _backward(work, sequence, s, sequence.ab, s * K)
            else:
                total, least = _forward(work, sequence, s, sequence.ab, s * K)
            powers, reached = powers + power(total), rare(least, reached)
    notes = numbers(sequence.notes + 8 * side * NOTES, NOTES)
    notes[VALUE], notes[FAULTS] = value + LN2 * largest(powers), 0.0
    notes[REACHED] = -largest(reached * spread(-1.0))


@within
def _joined(work, sequence, s, slot):
    """Marginals g of a step, from a and b; returns 1 / sum of a b, and whether that sum is too small."""
    K, g, total = work.K, work.g, spread(0.0)
    for j in range(0, K, WIDTH):
        y = read(g, slot * K + j) * read(sequence.ab, s * K + j)
        total = total + y
        write(g, slot * K + j, y)
    weight = whole(total)
    for j in range(slot * K, slot * K + K, WIDTH):
        write(g, j, read(g, j) * spread(1 / weight))
    return 1 / weight, not weight >= LEAST


@jit
def _second_half(work, sequence, marginals, side):
    """Second half of a side, from the middle to the other end: marginals, and the counts of moves there."""
    k, K, x, e, ab, middle = work.k, work.K, work.x, sequence.e, sequence.ab, sequence.middle
    first, stop, faults = 0 if side else middle, middle if side else sequence.length, 0
    counts = sequence.counts + 8 * side * k * K
    for i in range(0, k * K, WIDTH):
        write(counts, i, spread(0.0))
    at = middle if side else middle - 1
    for j in range(0, K, WIDTH):
        if at < sequence.length:
            write(x, at % 2 * K + j, read(ab, at * K + j) * (read(e, at * K + j) if side else spread(1.0)))
        else:  # of one step there is no other half; what lay here before could be NaN, of which 0 times is not 0
            write(x, at % 2 * K + j, spread(0.0))
    for block in range(0, stop - first, work.steps):
        many = min(work.steps, stop - first - block)
        low = stop - block - many if side else first + block
        for i in range(many):
            slot = many - 1 - i if side else i
            s, before = low + slot, (low + slot + 1) % 2 * K
            if side:
                total, _ = _backward(work, sequence, s, work.g, slot * K)
            else:
                total, _ = _forward(work, sequence, s, work.g, slot * K)
            over, fault = _joined(work, sequence, s, slot)
            faults += fault
            share = to_one(total) * spread(over if s != middle - 1 else 0.0)
            for j in range(0, K, WIDTH):
                theirs, ours = read(ab, s * K + j), read(x, before + j)
                write(work.left, slot * K + j, (theirs if side else ours) * share)
                write(work.right, slot * K + j, ours if side else theirs * read(e, s * K + j))
        add_counts_of_one(work.left, work.right, counts, k, K, many)
        _store(work, marginals, sequence.row, low, many)
    numbers(sequence.notes, 2 * NOTES)[side * NOTES + FAULTS] = faults


@jit
def _store(work, marginals, row, low, many):
    g = numbers(work.g, many * work.K)
    for s in range(many):
        for j in range(work.k):
            marginals[row, low + s, j] = g[s * work.K + j]


@jit
def _weight(work, sequence):
    """The weight of all paths, summed where the two sides meet."""
    k, K, s, total = work.k, work.K, sequence.middle, 0.0
    for i in range(k):
        follows = 1.0 if s == sequence.length else 0.0
        for j in range(k if s < sequence.length else 0):
            u = number(sequence.e, s * K + j) * number(sequence.ab, s * K + j)
            follows += number(work.moves, i * K + j) * u
        total += number(sequence.ab, (s - 1) * K + i) * follows
    return total


@inlined
def _settle(work, sequence, shift, arguments, results):
    """Last stage of a sequence: its log-partition and counts, or all of it again in logarithms.

    The sum over states of a b is the weight of all paths, in units in which no a or b is above 2, so that TINY adds
    less to it than 4 k^2 TINY at each step: no rounding error, unless the sum is below LEAST. Without the second halves
    it is known in the middle only: then a state that is possible but is reached from below LEAST is one such case.
    Either is done again in logarithms (`logs`).
    """
    (initial, logs, scores, _), (values, marginals, counts) = arguments, results
    k, K, row, length, wanted = work.k, work.K, sequence.row, sequence.length, len(marginals) > 0
    notes, weight = numbers(sequence.notes, 2 * NOTES), _weight(work, sequence)
    some = numbers(sequence.counts, 2 * k * K)
    fault = notes[FAULTS] + notes[NOTES + FAULTS] > 0
    unlikely = notes[REACHED] < LEAST or notes[NOTES + REACHED] < LEAST
    if not weight >= LEAST or (fault if wanted else unlikely):
        held = length if wanted else 2
        filtered = numbers(sequence.e, held * k).reshape(held, k)
        values[row] = forward(initial, logs, scores[row], length, filtered)
        if wanted:
            for i in range(k * k):
                some[i] = 0.0
            backward(logs, length, filtered, marginals[row], some)
            for i in range(k):
                for j in range(k):
                    counts[row, i, j] = some[i * k + j]
    else:
        scales = notes[VALUE] + notes[NOTES + VALUE]
        values[row] = math.log(weight) + scales + shift[0] + (length - 1) * shift[1]
        for i in range(k if wanted else 0):
            for j in range(k):
                counts[row, i, j] = (some[i * K + j] + some[(k + i) * K + j]) * number(work.moves, i * K + j)
    for s in range(length, marginals.shape[1] if wanted else 0):
        for j in range(k):
            marginals[row, s, j] = 0.0


@inlined
def _potentials(work, initial, transition, logs):
    """Fills initial probabilities and moves relative to their largest; returns the logs of the largest."""
    k, K = work.k, work.K
    first, there, A = numbers(work.initial, K), numbers(work.there, K), np.empty(k * k)
    M, R = numbers(work.moves, K * K), numbers(work.reverse, K * K)
    for i in range(k):
        for j in range(k):
            A[i * k + j] = logs[j * k + i] = transition[i, j]
    for j in range(K):
        first[j], there[j] = 0.0, 1.0 if j < k else 0.0
    shift = to_shares(initial, first[:k]), to_shares(A, A)
    for i in range(K):
        for j in range(K):
            M[i * K + j] = A[i * k + j] if i < k and j < k else 0.0
            R[i * K + j] = A[j * k + i] if i < k and j < k else 0.0
    return shift


@inlined
def _pieces(address, piece, dtype):
    frame = ffi.load(address, ffi.FRAME)
    (initial, transition, scores, lengths), (values, marginals, counts) = given(frame, dtype), to_fill(frame, dtype)
    shared = ffi.vector(frame, ffi.FRAME_RESULTS, 3, np.uint8).ctypes.data
    (n, t, k), logs, flat = scores.shape, np.empty(transition.size), scores.reshape(scores.size)
    steps = max(4, BLOCK // k)
    buffer = ffi.allocate(_words(k, steps))
    work = _new_work(buffer, k, steps)
    shift = _potentials(work, initial, transition, logs)
    arguments, results, halves = (initial, logs, scores, lengths), (values, marginals, counts), 2 * n
    rounds = 2 if len(marginals) > 0 else 1
    while piece >= 0:
        ffi.wait(address, piece // halves * halves)
        if piece < rounds * halves:
            sequence = _sequence(shared + -shared % (8 * WIDTH), piece % halves // 2, t, k, lengths)
            if piece < halves:
                _first_half(work, sequence, flat, piece % 2)
            else:
                _second_half(work, sequence, marginals, piece % 2)
        else:
            sequence = _sequence(shared + -shared % (8 * WIDTH), piece - rounds * halves, t, k, lengths)
            _settle(work, sequence, shift, arguments, results)
        ffi.done(address)
        piece = ffi.next_piece(address)
    ffi.free(buffer)


@jit
def _num_pieces(frame):
    rounds = 3 if ffi.size(frame, ffi.FRAME_RESULTS, 1, 0) > 0 else 2
    return (2 * rounds - 1) * ffi.size(frame, ffi.FRAME_RESULTS, 0, 0)


handler = handlers.Handler("chain_few", _num_pieces, _pieces)
