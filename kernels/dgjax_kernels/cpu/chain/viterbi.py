"""Viterbi: WIDTH stretches of sequences side by side in SIMD lanes, to the bit as the float64 reference.

With many sequences a stretch is a sequence. Few long ones are cut, which the recursion does not seem to allow:

    sequence    ├──────── part 0 ────────┼──────── part 1 ────────┼──── ...
    stretch 0   BEGIN=FIRST ────────── STOP ── END
    stretch 1                 BEGIN ── FIRST ───────────────── STOP ── END      margins of MARGIN steps at both ends

But where the best paths to all states have a state in common, what came before it is forgotten. So a stretch begins
MARGIN steps early, from any state, and mostly arrives at FIRST with just the numbers with which the one before ends;
and it runs MARGIN steps late, so that mostly its path leaves STOP by the state by which that of the next one enters.
Both are compared afterwards (`_settle`), to the bit, and a stretch is done again where they differ.

Letters: k states, M moves, x (k, WIDTH) the score of the best path to each state, relative to the best of all; `came`
the state before on that path, a byte.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload
from numba.np.numpy_support import carray

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.chain.many import given
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.simd.side_by_side import put_side_by_side
from dgjax_kernels.cpu.simd.vectors import (
    WIDTH,
    chosen,
    larger,
    number,
    numbers,
    read,
    spread,
    unbounded,
    write,
    write_bytes,
)

MARGIN = 64  # steps after which most chains have forgotten where they began; a stretch is 8 times as long at least
LOWEST = np.finfo(np.float64).min  # the best of states of which none is possible, for it is taken from them
BLOCK = 256  # states of consecutive steps whose scores are put side by side at once: 16 kB
ENTERED, LEFT, FAULT, NOTES = range(4)  # beside x before a stretch counts and at its end: states there, and any fault
ROW, BEGIN, FIRST, STOP, END = range(5)  # of a lane: its sequence, and the steps where it begins, counts, and no longer


class Work(NamedTuple):
    """Work memory of WIDTH stretches of k states: addresses, which unlike arrays cost nothing to hand on."""

    k: int
    steps: int  # of a block
    initial: int  # (k,)
    moves: int  # (k, k)
    scores: int  # (steps, k, WIDTH)
    x: int  # (k, WIDTH)
    new: int  # (k, WIDTH)
    faults: int  # (WIDTH,): not 0 where NaN or plus infinity was read
    came: int  # (span, k, WIDTH) bytes: the state before


@jit
def _new_work(buffer, k, steps):
    """Lays the work memory out in a buffer, in multiples of a SIMD register; `came` is the last."""
    line = 8 * WIDTH
    scores = buffer + -buffer % line
    x = scores + line * k * steps
    new = x + line * k
    faults = new + line * k
    moves = faults + line
    initial = moves + line * k * k
    return Work(k, steps, initial, moves, scores, x, new, faults, initial + line * k)


@jit
def _with_came(work, came):
    return Work(work.k, work.steps, work.initial, work.moves, work.scores, work.x, work.new, work.faults, came)


@jit
def _words(k, steps):
    """Words of work memory, but for `came`."""
    return WIDTH * (k * (steps + k + 3) + 2)


@jit
def _stretch(lane, index, lengths, parts, step):
    """Fills the row and steps of the stretch of a lane; all 0 if there is none for it."""
    row, first = index // parts, index % parts * step
    length = np.int64(lengths[row]) if row < len(lengths) else 0
    stop = min(first + step, length)
    there = stop > first
    lane[ROW] = row if there else 0
    lane[BEGIN] = max(0, first - MARGIN) if there else 0
    lane[FIRST] = first if there else 0
    lane[STOP] = stop if there else 0
    lane[END] = min(length, stop + MARGIN) if there else 0


@jit
def _moved(work, at, held, faults):
    """Viterbi step: new = scores + the best of x + moves to each state, by the first of equals, which goes to `came`.

    Four states at a time, so that four chains of comparisons run at once. Returns the best of new, and whether there
    was a fault (NaN or plus infinity) by now.
    """
    k, x, moves, came, top = work.k, work.x, work.moves, work.came, spread(LOWEST)
    for j in range(0, k - 3, 4):
        xi = read(x, 0)
        b0, b1 = xi + spread(number(moves, j)), xi + spread(number(moves, j + 1))
        b2, b3 = xi + spread(number(moves, j + 2)), xi + spread(number(moves, j + 3))
        c0 = c1 = c2 = c3 = spread(0.0)
        for i in range(1, k):
            m, xi, index = i * k + j, read(x, i * WIDTH), spread(float(i))
            y0, y1 = xi + spread(number(moves, m)), xi + spread(number(moves, m + 1))
            y2, y3 = xi + spread(number(moves, m + 2)), xi + spread(number(moves, m + 3))
            c0, c1 = chosen(y0, b0, index, c0), chosen(y1, b1, index, c1)
            c2, c3 = chosen(y2, b2, index, c2), chosen(y3, b3, index, c3)
            b0, b1, b2, b3 = larger(y0, b0), larger(y1, b1), larger(y2, b2), larger(y3, b3)
        t0, f0 = _scored(work, j * WIDTH, held, b0)
        t1, f1 = _scored(work, (j + 1) * WIDTH, held, b1)
        t2, f2 = _scored(work, (j + 2) * WIDTH, held, b2)
        t3, f3 = _scored(work, (j + 3) * WIDTH, held, b3)
        top = larger(larger(larger(t0, t1), larger(t2, t3)), top)
        faults = larger(larger(larger(f0, f1), larger(f2, f3)), faults)
        write_bytes(came, at + j * WIDTH, c0)
        write_bytes(came, at + (j + 1) * WIDTH, c1)
        write_bytes(came, at + (j + 2) * WIDTH, c2)
        write_bytes(came, at + (j + 3) * WIDTH, c3)
    for j in range(k // 4 * 4, k):
        b0, c0 = read(x, 0) + spread(number(moves, j)), spread(0.0)
        for i in range(1, k):
            y0 = read(x, i * WIDTH) + spread(number(moves, i * k + j))
            c0 = chosen(y0, b0, spread(float(i)), c0)
            b0 = larger(y0, b0)
        t0, f0 = _scored(work, j * WIDTH, held, b0)
        top, faults = larger(t0, top), larger(f0, faults)
        write_bytes(came, at + j * WIDTH, c0)
    return top, faults


@jit
def _scored(work, j, held, y):
    """Adds the score of a state and writes its `new`; returns that, and whether it is a fault."""
    y = y + read(work.scores, held + j)
    write(work.new, j, y)
    return y, unbounded(y)


@jit
def _started(work, lanes, held, faults):
    """First step of stretches: from the initial scores at the start of a sequence, elsewhere from any state alike.

    Returns the best of new, and whether there was a fault.
    """
    new, top = numbers(work.new, work.k * WIDTH), spread(LOWEST)
    for j in range(work.k):
        for n in range(WIDTH):
            new[j * WIDTH + n] = number(work.initial, j) if lanes[n, BEGIN] == 0 else 0.0
        y, fault = _scored(work, j * WIDTH, held, read(work.new, j * WIDTH))
        top, faults = larger(y, top), larger(fault, faults)
    return top, faults


@jit
def _relative(work, top):
    """x = new, relative to the best."""
    for j in range(0, work.k * WIDTH, WIDTH):
        write(work.x, j, read(work.new, j) - top)


@jit
def _note(work, lanes, s, known, last):
    """Notes x of lanes whose FIRST or STOP is after this step, the last state at END; returns the next such step."""
    k, x, later = work.k, numbers(work.x, work.k * WIDTH), lanes[0, END] - lanes[0, BEGIN] - 1
    for n in range(WIDTH):
        begin = lanes[n, BEGIN]
        for edge in range(FIRST, END + 1):
            at = lanes[n, edge] - begin - 1
            if at == s and edge == END:
                best = 0
                for j in range(1, k):
                    best = j if x[j * WIDTH + n] > x[best * WIDTH + n] else best
                last[n] = best
                known[n, 2 * k + FAULT] = number(work.faults, n)
            elif at == s:
                for j in range(k):
                    known[n, (edge - FIRST) * k + j] = x[j * WIDTH + n]
            if at > s and (later <= s or at < later):
                later = at
    return later


@jit
def _forward(work, scores, starts, lanes, known, last, longest):
    """Forward pass: fills `came`, the notes, and the last state of each lane's path."""
    size, faults, later = work.k * WIDTH, spread(0.0), np.int64(0)
    for first in range(0, longest, work.steps):
        stop = min(first + work.steps, longest)
        put_side_by_side(work.scores, scores, starts, first * work.k, (stop - first) * work.k)
        for s in range(first, stop):
            held = (s - first) * size
            top, faults = _moved(work, s * size, held, faults) if s > 0 else _started(work, lanes, held, faults)
            _relative(work, top)
            if s == later:
                write(work.faults, 0, faults)
                later = _note(work, lanes, s, known, last)


@jit
def _trace(work, lanes, known, last, path, longest):
    """Backward pass: traces the paths of all lanes, and writes them between FIRST and STOP."""
    k, state, final, size = work.k, np.zeros(WIDTH, np.int64), np.empty(WIDTH, np.int64), work.k * WIDTH
    came, states = carray(ffi.pointer(work.came, np.uint8), (longest * size,)), np.empty((longest, WIDTH), np.uint8)
    together = longest
    for n in range(WIDTH):
        final[n] = lanes[n, END] - lanes[n, BEGIN] - 1
        together = min(together, final[n])
    for s in range(longest - 1, max(0, together) - 1, -1):
        for n in range(WIDTH):
            state[n] = last[n] if s >= final[n] else came[(s + 1) * size + state[n] * WIDTH + n]
            states[s, n] = state[n]
    for s in range(together - 1, -1, -1):
        for n in range(WIDTH):
            state[n] = came[(s + 1) * size + state[n] * WIDTH + n]
            states[s, n] = state[n]
    for n in range(WIDTH if longest > 0 else 0):
        begin, first, stop, row = lanes[n, BEGIN], lanes[n, FIRST], lanes[n, STOP], path[lanes[n, ROW]]
        known[n, 2 * k + ENTERED], known[n, 2 * k + LEFT] = (
            states[max(0, first - begin - 1), n],
            states[max(0, stop - begin - 1), n],
        )
        for s in range(first, stop):
            row[s] = states[s - begin, n]


@jit
def _again(moves, scores, row, begin, first, stop, x, came):
    """Steps of one sequence again, from x before them to x after them, without lanes."""
    k, new = len(x), np.empty(len(x))
    for s in range(first, stop):
        top = -math.inf
        for j in range(k):
            best, index = x[0] + number(moves, j), 0
            for i in range(1, k):
                through = x[i] + number(moves, i * k + j)
                index = i if through > best else index
                best = through if through > best else best
            new[j] = best + scores[row, s, j]
            top = new[j] if new[j] > top else top
            came[s - begin, j] = index
        for j in range(k):
            x[j] = new[j] - (top if top > -math.inf else 0.0)


@jit
def _fit(work, arguments, known, came, parts, step, row):
    """Redoes each stretch that does not begin as the one before it ends; returns whether the sequence has no fault."""
    (_, _, scores, lengths), k, lane = arguments, work.k, np.empty(5, np.int64)
    many = -(-np.int64(lengths[row]) // step)
    for c in range(row * parts, row * parts + many):
        if known[c, 2 * k + FAULT] > 0:
            return False
    for c in range(row * parts + 1, row * parts + many):
        before, x, same = known[c - 1, k : 2 * k], known[c, k : 2 * k], True
        for j in range(k):
            same &= known[c, j] == before[j]
        if not same:
            for j in range(k):
                x[j] = before[j]
            _stretch(lane, c, lengths, parts, step)
            back = came[c // WIDTH, :, :, c % WIDTH]
            _again(work.moves, scores, row, lane[BEGIN], lane[FIRST], lane[STOP], x, back)
            known[c, 2 * k + LEFT] = -1
    return True


@jit
def _settle(work, arguments, known, came, path, parts, step, row):
    """Joins the stretches of a sequence to its path; retraces those that their next one enters by another state."""
    k, lane, lengths, t = work.k, np.empty(5, np.int64), arguments[3], path.shape[1]
    length, state = np.int64(lengths[row]), 0
    c = row * parts + (length - 1) // step
    possible = length > 0 and _fit(work, arguments, known, came, parts, step, row)
    if possible:
        x = known[c, k : 2 * k]
        for j in range(1, k):
            state = j if x[j] > x[state] else state
        possible = x[state] > -math.inf
    while possible and c >= row * parts:
        if known[c, 2 * k + LEFT] == state:
            state = np.int64(known[c, 2 * k + ENTERED])
        else:
            _stretch(lane, c, lengths, parts, step)
            for s in range(lane[STOP] - 1, lane[FIRST] - 1, -1):
                path[row, s] = state
                if s > 0:
                    state = np.int64(came[c // WIDTH, s - lane[BEGIN], state, c % WIDTH])
        c -= 1
    for s in range(length if possible else 0, t):
        path[row, s] = -1


@inlined
def _group(work, arguments, known, path, parts, step, group):
    """Forward and backward passes of WIDTH stretches side by side."""
    (_, _, scores, lengths), longest = arguments, 0
    (_, t, k), lanes = scores.shape, np.empty((WIDTH, 5), np.int64)
    last, starts = np.zeros(WIDTH, np.int64), np.empty(WIDTH, np.int64)
    for n in range(WIDTH):
        _stretch(lanes[n], group * WIDTH + n, lengths, parts, step)
        starts[n] = (lanes[n, ROW] * t + lanes[n, BEGIN]) * k
        longest = max(longest, lanes[n, END] - lanes[n, BEGIN])
    own = known[group * WIDTH : (group + 1) * WIDTH]
    _forward(work, scores.reshape(scores.size), starts, lanes, own, last, longest)
    _trace(work, lanes, own, last, path, longest)


@jit
def _potentials(work, initial, transition):
    """Fills initial scores and moves in float64. A move that is NaN or plus infinity leaves no path of two steps."""
    k, M, fault = work.k, numbers(work.moves, work.k * work.k), False
    for i in range(k):
        numbers(work.initial, k)[i] = initial[i]
        for j in range(k):
            M[i * k + j] = transition[i, j]
            fault |= not transition[i, j] < math.inf
    for j in range(k if fault else 0):
        M[j] = math.nan


def paths_to_fill(frame, dtype):
    """The paths to write, in integers as wide as the scores: where JAX's are too, nothing is left to convert."""


@overload(paths_to_fill)
def _(frame, dtype):
    if dtype.dtype is types.float32:
        return lambda frame, dtype: ffi.matrix(frame, ffi.FRAME_RESULTS, 0, np.int32)
    return lambda frame, dtype: ffi.matrix(frame, ffi.FRAME_RESULTS, 0, np.int64)


@inlined
def _pieces(address, piece, dtype):
    frame, outputs = ffi.load(address, ffi.FRAME), ffi.FRAME_RESULTS
    initial, transition, scores, _ = arguments = given(frame, dtype)
    path, (n, t, k) = paths_to_fill(frame, dtype), scores.shape
    known, cut = ffi.matrix(frame, outputs, 1, np.uint8), ffi.vector(frame, ffi.FRAME_ARGUMENTS, 4, np.int32)
    known = carray(ffi.pointer(known.ctypes.data, np.float64), (len(known), 2 * k + NOTES))
    came, groups = ffi.hypercube(frame, outputs, 2, np.uint8), len(known) // WIDTH
    steps = WIDTH * max(1, BLOCK // (k * WIDTH))
    parts, step, whole = np.int64(cut[0]), np.int64(cut[1]), len(came) == 0
    buffer = ffi.allocate(_words(k, steps) + (t * k if whole else 0))
    work = _new_work(buffer, k, steps)
    _potentials(work, initial, transition)
    while piece >= 0:
        if piece < groups:
            at = work.came if whole else came.ctypes.data + piece * came[0].size
            _group(_with_came(work, at), arguments, known, path, parts, step, piece)
            for row in range(piece * WIDTH, min((piece + 1) * WIDTH, n) if whole else 0):
                _settle(work, arguments, known, came, path, parts, step, row)
        else:
            ffi.wait(address, groups)
            _settle(work, arguments, known, came, path, parts, step, piece - groups)
        ffi.done(address)
        piece = ffi.next_piece(address)
    ffi.free(buffer)


@jit
def _num_pieces(frame):
    groups = ffi.size(frame, ffi.FRAME_RESULTS, 1, 0) // WIDTH
    return groups + (ffi.size(frame, ffi.FRAME_RESULTS, 0, 0) if ffi.size(frame, ffi.FRAME_RESULTS, 2, 0) > 0 else 0)


handler = handlers.Handler("viterbi", _num_pieces, _pieces)
