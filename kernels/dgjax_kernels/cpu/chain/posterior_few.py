"""Log-marginals of few sequences: states side by side in SIMD lanes, each sequence from both ends at once.

The numbers and recursions are those of `posterior`, each m 2^E with an exponent of its own; the order is that of `few`:

    first half    side 0:  0 ──forward──▶ middle, leaves a      side 1:  middle ◀──backward── t, leaves b
    second half   side 0:  middle ──forward──▶ t, reads b       side 1:  0 ◀──backward── middle, reads a

Each side writes the log-marginals of its second half. Letters: k states, K of them with those of probability 0 that
fill up registers, M moves, e exp(score - the best state's), a p(y_s, scores up to s), b what follows given y_s, u = e
b, or in the forward pass a.
"""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.chain.few import padded_states, put_scores_of_one
from dgjax_kernels.cpu.chain.many import given
from dgjax_kernels.cpu.chain.posterior import LEAST, Moves, Numbers, new_numbers, to_logs, to_numbers
from dgjax_kernels.cpu.ffi import inlined, jit, within
from dgjax_kernels.cpu.simd.lanes import LOWEST, parts, power_of_two
from dgjax_kernels.cpu.simd.side_by_side import product_of_one
from dgjax_kernels.cpu.simd.vectors import (
    WIDTH,
    any_below,
    chosen,
    larger,
    largest,
    number,
    numbers,
    power,
    read,
    spread,
    to_one,
    two_to,
    whole,
    write,
)

BLOCK = 512  # states of consecutive steps that are worked on at once: 4 kB in each array


class Work(NamedTuple):
    """Work memory of a thread, k states, K in whole registers: addresses, which unlike arrays are free to hand on."""

    k: int
    K: int
    steps: int  # of a block
    forward: Moves
    backward: Moves
    there: int  # (K,): 1 of states, 0 beyond
    beyond: int  # (K,): 0 of states, 1 beyond
    x: int  # (K,): factors of a product
    v: Numbers  # (K,): the product
    u: Numbers  # (2, K): that times e, of the last two steps
    e: Numbers  # (steps, K)
    g: Numbers  # (steps, K): p(y_s | all scores)


class Sequence(NamedTuple):
    """Memory of one sequence, which its two sides share, for they are two threads."""

    row: int
    start: int  # of its scores
    length: int
    middle: int
    ab: Numbers  # (t, K): a before the middle, b after it


@jit
def _new_moves(address, K):
    m, e, first = address + 8 * K * K, address + 16 * K * K, address + 24 * K * K
    return Moves(address, m, e, first, first + 8 * K), first + 16 * K


@jit
def _new_work(buffer, k, steps):
    """Lays a thread's work memory out in a buffer, in multiples of a SIMD register."""
    K = padded_states(k)
    forward, after = _new_moves(buffer + -buffer % (8 * WIDTH), K)
    backward, there = _new_moves(after, K)
    beyond, x = there + 8 * K, there + 16 * K
    v, after = new_numbers(x + 8 * K, K)
    u, after = new_numbers(after, 2 * K)
    e, after = new_numbers(after, steps * K)
    g, _ = new_numbers(after, steps * K)
    return Work(k, K, steps, forward, backward, there, beyond, x, v, u, e, g)


@jit
def _words(k, steps):
    """Words of a thread's work memory."""
    K = padded_states(k)
    return K * (6 * K + 13 + 4 * steps) + WIDTH


def words_of_sequence(t: int, k: int) -> int:
    """Memory of a sequence of t steps and k states, in 8-byte words."""
    return -(-k // WIDTH) * WIDTH * 2 * t


_words_of_sequence = jit(words_of_sequence)


@jit
def _sequence(buffer, row, t, k, lengths):
    """Lays the memory of a sequence out in the shared buffer."""
    length = int(lengths[row])
    ab, _ = new_numbers(buffer + row * 8 * _words_of_sequence(t, k), t * padded_states(k))
    return Sequence(row, row * t * k, length, (length + 1) // 2, ab)


@jit
def _potentials(work, initial, transition):
    """Fills the moves of both recursions and what they start from, 0 beyond the states."""
    k, K, ahead, back = work.k, work.K, work.forward, work.backward
    logs, first = np.full(K * K, -math.inf), np.full(K, -math.inf)
    for i in range(k):
        first[i] = initial[i]
        for j in range(k):
            logs[i * K + j] = transition[i, j]
    to_numbers(logs, ahead.m, ahead.e)
    to_numbers(first, ahead.first_m, ahead.first_e)
    M, E = numbers(ahead.m, K * K), numbers(ahead.e, K * K)
    for i in range(K):
        inside = i < k
        numbers(work.there, K)[i], numbers(work.beyond, K)[i] = 1.0 if inside else 0.0, 0.0 if inside else 1.0
        numbers(back.first_m, K)[i], numbers(back.first_e, K)[i] = 1.0 if inside else 0.0, 0.0 if inside else LOWEST
        for j in range(K):
            at, turned = i * K + j, j * K + i
            p = M[at] * power_of_two(E[at])
            numbers(ahead.whole, K * K)[at] = numbers(back.whole, K * K)[turned] = p
            numbers(back.m, K * K)[turned], numbers(back.e, K * K)[turned] = M[at], E[at]


@jit
def _emissions(work, scores, at, steps):
    """Fills e of so many steps, whose scores begin there."""
    put_scores_of_one(work.there, work.k, work.K, scores, at, steps, work.e.m)
    m, e = numbers(work.e.m, steps * work.K), numbers(work.e.e, steps * work.K)
    for i in range(len(m)):
        m[i], e[i] = parts(m[i])


@jit
def _by_exponents(work, moves, at, j):
    """Register of states of a product with moves, by the exponents of all terms; returns m, not from 1 to 2, and E."""
    k, K, u, top, total = work.k, work.K, work.u, spread(LOWEST), spread(0.0)
    for i in range(k):
        top = larger(spread(number(u.e, at + i)) + read(moves.e, i * K + j), top)
    for i in range(k):
        e = spread(number(u.e, at + i)) + read(moves.e, i * K + j)
        total = total + spread(number(u.m, at + i)) * read(moves.m, i * K + j) * two_to(e - top)
    return total, top


@within
def _step(work, moves, started, s, slot):
    """Step of a recursion: v, the product of moves with u of the step before, or what it starts from; u, v times e."""
    k, K, u, v, zero, top = work.k, work.K, work.u, work.v, spread(0.0), spread(LOWEST)
    here, before = s % 2 * K, (s + 1) % 2 * K
    if started:
        for j in range(before, before + K, WIDTH):
            top = larger(read(u.e, j), top)
        top = spread(largest(top))
        for j in range(0, K, WIDTH):
            write(work.x, j, read(u.m, before + j) * two_to(read(u.e, before + j) - top))
    for j in range(0, K, WIDTH):
        y, e = read(moves.first_m, j), read(moves.first_e, j)
        if started:
            y, e = product_of_one(moves.whole, k, K, work.x, 0, j), zero
            if any_below(y + read(work.beyond, j), spread(LEAST)):
                y, e = _by_exponents(work, moves, before, j)
                e = e - top
        m, e = y * to_one(y), chosen(y, zero, e + power(y), spread(LOWEST))
        write(v.m, j, m)
        write(v.e, j, e)
        write(u.m, here + j, m * read(work.e.m, slot * K + j))
        write(u.e, here + j, e + read(work.e.e, slot * K + j))


@within
def _copy(source, at, into, to, K):
    for j in range(0, K, WIDTH):
        write(into.m, to + j, read(source.m, at + j))
        write(into.e, to + j, read(source.e, at + j))


@within
def _joined(work, ours, at, theirs, to, slot):
    """Marginals g of a step: a b, over their sum."""
    K, g, top, total = work.K, work.g, spread(LOWEST), spread(0.0)
    for j in range(0, K, WIDTH):
        top = larger(read(ours.e, at + j) + read(theirs.e, to + j), top)
    top = spread(largest(top))
    for j in range(0, K, WIDTH):
        m, e = read(ours.m, at + j) * read(theirs.m, to + j), read(ours.e, at + j) + read(theirs.e, to + j) - top
        total = total + m * two_to(e)
        write(g.m, slot * K + j, m)
        write(g.e, slot * K + j, e)
    weight = whole(total)
    over = spread(1 / weight if weight > 0 else weight)
    for j in range(slot * K, slot * K + K, WIDTH):
        write(g.m, j, read(g.m, j) * over)


@jit
def _half(work, sequence, scores, side, second, marginals):
    """Half of a side: in the first leaves a or b, in the second reads what the other side left."""
    k, K, u, ab, middle = work.k, work.K, work.u, sequence.ab, sequence.middle
    first, stop = (middle, sequence.length) if side != second else (0, middle)
    for block in range(0, stop - first, work.steps):
        many = min(work.steps, stop - first - block)
        low = stop - block - many if side else first + block
        _emissions(work, scores, sequence.start + low * k, many)
        for i in range(many):
            slot = many - 1 - i if side else i
            s = low + slot
            if side:
                _step(work, work.backward, s + 1 < sequence.length, s, slot)
            else:
                _step(work, work.forward, s > 0, s, slot)
            if second:
                if side:
                    _joined(work, work.v, 0, ab, s * K, slot)
                else:
                    _joined(work, u, s % 2 * K, ab, s * K, slot)
            elif side:
                _copy(work.v, 0, ab, s * K, K)
            else:
                _copy(u, s % 2 * K, ab, s * K, K)
        if second:
            to_logs(work.g.m, work.g.e, many * K)
            _store(work, marginals, sequence.row, low, many)


@jit
def _resumed(work, sequence, scores, side):
    """Goes back to where the first half of a side ended: u of the step next to the middle."""
    K, u, ab, middle = work.K, work.u, sequence.ab, sequence.middle
    if side and middle < sequence.length:
        _emissions(work, scores, sequence.start + middle * work.k, 1)
        for j in range(0, K, WIDTH):
            write(u.m, middle % 2 * K + j, read(ab.m, middle * K + j) * read(work.e.m, j))
            write(u.e, middle % 2 * K + j, read(ab.e, middle * K + j) + read(work.e.e, j))
    elif not side and middle > 0:
        _copy(ab, (middle - 1) * K, u, (middle - 1) % 2 * K, K)


@jit
def _store(work, marginals, row, low, many):
    g = numbers(work.g.m, many * work.K)
    for s in range(many):
        for j in range(work.k):
            marginals[row, low + s, j] = g[s * work.K + j]


@inlined
def _pieces(address, piece, dtype):
    frame = ffi.load(address, ffi.FRAME)
    (initial, transition, scores, lengths), marginals = (
        given(frame, dtype),
        ffi.cube(frame, ffi.FRAME_RESULTS, 0, dtype),
    )
    shared = ffi.vector(frame, ffi.FRAME_RESULTS, 1, np.uint8).ctypes.data
    (n, t, k), flat = scores.shape, scores.reshape(scores.size)
    steps, halves = max(4, BLOCK // k), 2 * n
    buffer = ffi.allocate(_words(k, steps))
    work = _new_work(buffer, k, steps)
    _potentials(work, initial, transition)
    while piece >= 0:
        second, side = piece >= halves, piece % 2
        ffi.wait(address, halves if second else 0)
        sequence = _sequence(shared + -shared % (8 * WIDTH), piece % halves // 2, t, k, lengths)
        if second:
            _resumed(work, sequence, flat, side)
            for s in range(sequence.length, t if side == 0 else 0):
                for j in range(k):
                    marginals[sequence.row, s, j] = -math.inf
        _half(work, sequence, flat, side, second, marginals)
        ffi.done(address)
        piece = ffi.next_piece(address)
    ffi.free(buffer)


@jit
def _num_pieces(frame):
    return 4 * ffi.size(frame, ffi.FRAME_RESULTS, 0, 0)


handler = handlers.Handler("chain_posterior_few", _num_pieces, _pieces)
