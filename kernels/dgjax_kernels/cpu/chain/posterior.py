"""Posterior of paths: log-marginals, draws and entropy, of WIDTH sequences side by side in SIMD lanes, none too small.

A log-marginal is asked for to all its digits, however far below the least float64 the probability is. So each number is
m 2^E, with E a whole number in a float64 of its own, and nothing is raised, lost or done again:

    forward    a_s = (M^T a_{s-1}) e_s      a p(y_s, scores up to s), e exp(score - the best state's), M moves
    backward   b_s = M u_{s+1},  u_s = b_s e_s      b what follows given y_s;  log p(y_s | all scores) = log(a b / sum)
    draws      p(y_s = i | y_{s+1} = j) in proportion to a_s M_ij, from the last step back
    entropy    of y_s given y_{s+1} = j, by the same, from the first step on

A product with M takes all numbers relative to the largest, as float64. Where what comes out is so small that some of
what went in may be lost, it is worked out again by all exponents (`_by_exponents`). Both recursions are one function
(`_step`). Scores are put side by side, and made e, for a block of steps at a time, once on either way.
"""

import math
from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.chain.many import given, put_scores
from dgjax_kernels.cpu.chain.viterbi import paths_to_fill
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.simd.lanes import LN2, LOWEST, log, parts, power_of_two
from dgjax_kernels.cpu.simd.side_by_side import product, put_one_by_one
from dgjax_kernels.cpu.simd.vectors import (
    WIDTH,
    any_below,
    below,
    chosen,
    finite,
    larger,
    number,
    numbers,
    power,
    read,
    reciprocal,
    spread,
    to_one,
    two_to,
    write,
)

LEAST = 1e-280  # of a product: 1e22 times what terms that float64 takes for 0 could add
BLOCK = 512  # states of consecutive steps that are worked on at once: 32 kB in WIDTH lanes


class Numbers(NamedTuple):
    """Numbers m 2^E without limits, as addresses of both; E of 0 is LOWEST or less."""

    m: int
    e: int


class Moves(NamedTuple):
    """Moves (k, k) of a recursion, relative to the largest, and what it starts from (k,), as addresses."""

    whole: int  # in float64
    m: int
    e: int
    first_m: int
    first_e: int


class Work(NamedTuple):
    """Work memory of WIDTH sequences of k states: addresses, which unlike arrays cost nothing to hand on."""

    k: int
    steps: int  # of a block
    forward: Moves
    backward: Moves
    lengths: int  # (WIDTH,)
    x: int  # (k, WIDTH): factors of a product
    y: int  # (k, WIDTH): the product
    v: Numbers  # (k, WIDTH): the same, m from 1 to 2
    u: Numbers  # (2, k, WIDTH)
    e: Numbers  # (steps, k, WIDTH)
    a: Numbers  # (t, k, WIDTH), later p(y_s | all scores)


@jit
def new_numbers(address, size):
    """Room for so many numbers at an address, and the address after it."""
    return Numbers(address, address + 8 * size), address + 16 * size


@jit
def _moves(address, k):
    square = 8 * k * k
    m, first = address + square, address + 3 * square
    return Moves(address, m, m + square, first, first + 8 * k), first + 16 * k


@jit
def _new_work(buffer, k, steps, t):
    """Lays the work memory out in a buffer, in multiples of a SIMD register."""
    size, lengths = k * WIDTH, buffer + -buffer % (8 * WIDTH)
    x = lengths + 8 * WIDTH
    y = x + 8 * size
    v, after = new_numbers(y + 8 * size, size)
    u, after = new_numbers(after, 2 * size)
    e, after = new_numbers(after, steps * size)
    a, after = new_numbers(after, t * size)
    forward, after = _moves(after, k)
    backward, _ = _moves(after, k)
    return Work(k, steps, forward, backward, lengths, x, y, v, u, e, a)


@jit
def _words(k, steps, t):
    """Words of work memory."""
    return WIDTH * (2 + k * (8 + 2 * (steps + t))) + k * (6 * k + 4)


@jit
def _potentials(work, initial, transition):
    """Fills the moves of both recursions and what they start from."""
    k, first, moves = work.k, work.forward, np.empty(transition.size)
    for i in range(k):
        for j in range(k):
            moves[i * k + j] = transition[i, j]
    to_numbers(moves, first.m, first.e)
    moves = np.empty(k)
    for i in range(k):
        moves[i] = initial[i]
    to_numbers(moves, first.first_m, first.first_e)
    back, M, E = work.backward, numbers(first.m, k * k), numbers(first.e, k * k)
    for i in range(k):
        numbers(back.first_m, k)[i], numbers(back.first_e, k)[i] = 1.0, 0.0
        for j in range(k):
            at, turned = i * k + j, j * k + i
            numbers(first.whole, k * k)[at] = M[at] * power_of_two(E[at])
            numbers(back.whole, k * k)[turned] = M[at] * power_of_two(E[at])
            numbers(back.m, k * k)[turned], numbers(back.e, k * k)[turned] = M[at], E[at]


@jit
def to_numbers(logs, m, e):
    """Numbers of logs, relative to the largest."""
    top, ms, es = -math.inf, numbers(m, len(logs)), numbers(e, len(logs))
    for i in range(len(logs)):
        top = logs[i] if logs[i] > top else top
    top = top if top > -math.inf else 0.0
    for i in range(len(logs)):
        ms[i], es[i] = parts(logs[i] - top)


@jit
def _emissions(work, scores, starts, first, stop):
    """Fills e of the steps from first to stop: exp(score - the best state's), 1 beyond a sequence's length."""
    size, e = work.k * WIDTH, work.e
    put_scores(scores, starts, numbers(work.lengths, WIDTH), work.k, first, stop, e.m)
    for s in range(0, (stop - first) * size, size):
        top = spread(-math.inf)
        for j in range(s, s + size, WIDTH):
            top = larger(read(e.m, j), top)
        top = finite(top)
        for j in range(s, s + size, WIDTH):
            write(e.m, j, read(e.m, j) - top)
    ms, es = numbers(e.m, (stop - first) * size), numbers(e.e, (stop - first) * size)
    for i in range(len(ms)):
        ms[i], es[i] = parts(ms[i])


@jit
def _by_exponents(work, moves, x, at, j):
    """State j of a product with moves, by the exponents of all terms; returns m, not from 1 to 2, and E."""
    k, top, total = work.k, spread(LOWEST), spread(0.0)
    for i in range(k):
        top = larger(read(x.e, at + i * WIDTH) + spread(number(moves.e, i * k + j)), top)
    for i in range(k):
        e = read(x.e, at + i * WIDTH) + spread(number(moves.e, i * k + j))
        total = total + read(x.m, at + i * WIDTH) * spread(number(moves.m, i * k + j)) * two_to(e - top)
    return total, top


@jit
def _step(work, moves, started, x, at, held, to_m, to_e):
    """Step of a recursion: v, the product of moves with x, or in lanes that have not started what they start from.

    That times e is written to `to_m` and `to_e`.
    """
    k, size, top, half, zero = work.k, work.k * WIDTH, spread(LOWEST), spread(0.5), spread(0.0)
    for j in range(at, at + size, WIDTH):
        top = larger(read(x.e, j), top)
    for j in range(0, size, WIDTH):
        write(work.x, j, read(x.m, at + j) * two_to(read(x.e, at + j) - top))
    product(moves.whole, k, work.x, 0, work.y, 0)
    for j in range(k):
        y, e, here = read(work.y, j * WIDTH), zero, held + j * WIDTH
        if any_below(y, spread(LEAST)):
            y, e = _by_exponents(work, moves, x, at, j)
            e = e - top
        y = chosen(started, half, y, spread(number(moves.first_m, j)))
        e = chosen(started, half, e, spread(number(moves.first_e, j)))
        m, e = y * to_one(y), chosen(y, zero, e + power(y), spread(LOWEST))
        write(work.v.m, j * WIDTH, m)
        write(work.v.e, j * WIDTH, e)
        write(to_m, j * WIDTH, m * read(work.e.m, here))
        write(to_e, j * WIDTH, e + read(work.e.e, here))


@jit
def _forward(work, scores, starts, longest):
    """Forward pass: fills a."""
    size, a = work.k * WIDTH, work.a
    for first in range(0, longest, work.steps):
        stop = min(first + work.steps, longest)
        _emissions(work, scores, starts, first, stop)
        for s in range(first, stop):
            to, started = 8 * s * size, spread(1.0 if s > 0 else 0.0)
            _step(work, work.forward, started, a, max(0, s - 1) * size, (s - first) * size, a.m + to, a.e + to)


@jit
def _backward(work, scores, starts, longest, marginals, used):
    """Backward pass: turns a into log-marginals, a block of steps at a time, and writes them."""
    size, lengths, u, a = work.k * WIDTH, read(work.lengths, 0), work.u, work.a
    for first in range((longest - 1) // work.steps * work.steps, -1, -work.steps):
        stop = min(first + work.steps, longest)
        _emissions(work, scores, starts, first, stop)
        for s in range(stop - 1, first - 1, -1):
            to, more = 8 * (s % 2 * size), below(spread(s + 1.0), lengths)
            _step(work, work.backward, more, u, (s + 1) % 2 * size, (s - first) * size, u.m + to, u.e + to)
            _joined(work, s * size)
        to_logs(a.m + 8 * first * size, a.e + 8 * first * size, (stop - first) * size)
        _store(work, marginals, starts, used, first, stop)


@jit
def _joined(work, at):
    """Marginals of a step: a b, over their sum."""
    size, a, v, top, total = work.k * WIDTH, work.a, work.v, spread(LOWEST), spread(0.0)
    for j in range(0, size, WIDTH):
        top = larger(read(a.e, at + j) + read(v.e, j), top)
    for j in range(0, size, WIDTH):
        m, e = read(a.m, at + j) * read(v.m, j), read(a.e, at + j) + read(v.e, j) - top
        total = total + m * two_to(e)
        write(a.m, at + j, m)
        write(a.e, at + j, e)
    over = reciprocal(total)
    for j in range(at, at + size, WIDTH):
        write(a.m, j, read(a.m, j) * over)


@jit
def to_logs(m, e, size):
    """Replaces numbers by their logs; m is an address, in which they are left."""
    ms, es = numbers(m, size), numbers(e, size)
    for i in range(size):
        x = ms[i]
        y = log(x) + es[i] * LN2
        ms[i] = y if x > 0 else (-math.inf if x == 0 else x)


@jit
def _store(work, marginals, starts, used, first, stop):
    """Writes log-marginals of steps from first to stop, minus infinity beyond a sequence's length."""
    k, lengths = work.k, numbers(work.lengths, WIDTH)
    put_one_by_one(work.a.m + 8 * first * k * WIDTH, marginals, starts, first * k, (stop - first) * k, used)
    for n in range(used):
        for i in range(max(first, np.int64(lengths[n])) * k, stop * k):
            marginals[starts[n] + i] = -math.inf


@jit
def _draw(work, uniforms, path, row, lane, t):
    """Draws the path of a lane from the last step back, by inversion of the distribution function.

    The last step takes the last of the sequence's random numbers (t,), the others their own, as the reference does.
    """
    k, length, state, shares = work.k, np.int64(number(work.lengths, lane)), 0, numbers(work.x, work.k)
    for s in range(length, t):
        path[row, s] = -1
    for s in range(length - 1, -1, -1):
        last, top, total = s == length - 1, LOWEST, 0.0
        for i in range(k):
            e = number(work.a.e, (s * k + i) * WIDTH + lane) + (0.0 if last else number(work.forward.e, i * k + state))
            top = e if e > top else top
        for i in range(k):
            at = (s * k + i) * WIDTH + lane
            m, e = number(work.a.m, at), number(work.a.e, at)
            if not last:
                m, e = m * number(work.forward.m, i * k + state), e + number(work.forward.e, i * k + state)
            total += m * power_of_two(e - top)
            shares[i] = total
        if not total > 0:  # at the last step: no path is possible, or there is a NaN
            for before in range(length):
                path[row, before] = -1
            return
        aim, state = uniforms[t - 1 if last else s, row] * total, 0
        for i in range(k):
            state += shares[i] <= aim
        path[row, s] = state


@jit
def _entropy(work, longest, lane_entropy):
    """Entropy of WIDTH sequences (WIDTH,): fills it, and entropies of the steps before s given y_s = j in u.m."""
    k, size, u, a, lengths = work.k, work.k * WIDTH, work.u, work.a, read(work.lengths, 0)
    for j in range(0, size, WIDTH):
        write(u.m, j, spread(0.0))
    for s in range(1, longest):
        inside = below(spread(float(s)), lengths)
        for j in range(k):
            y, top = _by_exponents(work, work.forward, a, (s - 1) * size, j)
            over = reciprocal(y)
            for i in range(k):
                at = (s - 1) * size + i * WIDTH
                e = read(a.e, at) + spread(number(work.forward.e, i * k + j)) - top
                m = read(a.m, at) * spread(number(work.forward.m, i * k + j))
                write(work.x, i * WIDTH, m * two_to(e) * over)
            write(work.y, j * WIDTH, chosen(inside, spread(0.5), _mixed(work), read(u.m, j * WIDTH)))
        for j in range(0, size, WIDTH):
            write(u.m, j, read(work.y, j))
    _of_the_last(work)
    write(lane_entropy, 0, _mixed(work))


@jit
def _of_the_last(work):
    """Probabilities of the last step of each lane, in x."""
    k, a, x, lengths = work.k, work.a, numbers(work.x, work.k * WIDTH), numbers(work.lengths, WIDTH)
    for n in range(WIDTH):
        top, total, last = LOWEST, 0.0, max(0, np.int64(lengths[n]) - 1) * k * WIDTH + n
        for j in range(k):
            top = max(top, number(a.e, last + j * WIDTH))
        for j in range(k):
            x[j * WIDTH + n] = number(a.m, last + j * WIDTH) * power_of_two(number(a.e, last + j * WIDTH) - top)
            total += x[j * WIDTH + n]
        for j in range(k):
            x[j * WIDTH + n] /= total if total != 0 else 1.0


@jit
def _mixed(work):
    """Entropy of a draw i with probabilities x (k, WIDTH), and then of what has the entropy u.m given i."""
    size, total, v = work.k * WIDTH, spread(0.0), numbers(work.v.m, work.k * WIDTH)
    p = numbers(work.x, size)
    for i in range(size):
        v[i] = -log(p[i]) if 0 < p[i] < 1 else 0.0
    for i in range(0, size, WIDTH):
        total = total + read(work.x, i) * (read(work.u.m, i) + read(work.v.m, i))
    return total


@inlined
def _sequences(work, arguments, results, starts, row):
    """WIDTH sequences side by side: those of log-marginals, paths and entropies that have rows."""
    (scores, lengths, uniforms), (path, marginals, entropies) = arguments, results
    n, t, k = scores.shape
    used, longest, lanes = min(WIDTH, n - row), 1, numbers(work.lengths, WIDTH)
    for i in range(WIDTH):
        lanes[i] = lengths[row + i] if i < used else 0
        starts[i] = (row + min(i, used - 1)) * t * k
        longest = max(longest, np.int64(lanes[i]))
    flat = scores.reshape(n * t * k)
    _forward(work, flat, starts, longest)
    for i in range(used if len(path) > 0 else 0):
        _draw(work, uniforms, path, row + i, i, t)
    if len(entropies) > 0:
        _entropy(work, longest, work.e.m)
        for i in range(used):
            entropies[row + i] = number(work.e.m, i)
    if len(marginals) > 0:
        whole = marginals.reshape(n * t * k)
        _backward(work, flat, starts, longest, whole, used)
        for i in range(used):
            for j in range(starts[i] + longest * k, starts[i] + t * k):
                whole[j] = -math.inf


@inlined
def _pieces(address, piece, dtype):
    frame, results = ffi.load(address, ffi.FRAME), ffi.FRAME_RESULTS
    initial, transition, scores, lengths = given(frame, dtype)
    uniforms, k = ffi.matrix(frame, ffi.FRAME_ARGUMENTS, 4, dtype), len(initial)
    path, marginals = paths_to_fill(frame, dtype), ffi.cube(frame, results, 1, dtype)
    entropies, steps, t = ffi.vector(frame, results, 2, dtype), max(4, BLOCK // k), scores.shape[1]
    buffer = ffi.allocate(_words(k, steps, t))
    work = _new_work(buffer, k, steps, t)
    _potentials(work, initial, transition)
    starts = np.empty(WIDTH, np.int64)
    while piece >= 0:
        _sequences(work, (scores, lengths, uniforms), (path, marginals, entropies), starts, piece * WIDTH)
        ffi.done(address)
        piece = ffi.next_piece(address)
    ffi.free(buffer)


@jit
def _num_pieces(frame):
    return -(-ffi.size(frame, ffi.FRAME_ARGUMENTS, 2, 0) // WIDTH)


handler = handlers.Handler("chain_posterior", _num_pieces, _pieces)
