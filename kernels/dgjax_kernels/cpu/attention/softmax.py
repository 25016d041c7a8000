"""Attention of one head after another, and its gradient: what a block of queries gives all keys stays in the cache.

    queries q ─▶ ROWS of them ─▶ q k^T / sqrt(c) ─▶ softmax over the keys that are seen, P ─▶ P v
                                                                                        └──▶ gradient: all of it again

Products with keys after the last that a block sees are left out: of a causal mask half of the work. Letters: t queries,
u keys, c dimensions of a head, P their weights (ROWS, u), G the cotangent.
"""

import math
from typing import NamedTuple

import numpy as np
from llvmlite import ir

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.attention.products import buffers, multiply
from dgjax_kernels.cpu.ffi import inlined, intrinsic, jit
from dgjax_kernels.cpu.simd.lanes import LN2_HIGH, LN2_LOW, LOG2_E, exact, fast
from dgjax_kernels.cpu.simd.tiles import CONTRACT, empty

ROWS, SIDE = 32, 16  # queries at a time: 32 of 1,024 keys are 128 kB; and numbers side by side in a loop over keys


@jit
def _copied(x, flat):
    """Puts a head's rows (t, c) one after another, as a product takes them."""
    for i in range(len(x)):
        row = flat[i * x.shape[1] : (i + 1) * x.shape[1]]
        for j in range(x.shape[1]):
            row[j] = x[i, j]


@jit
def _put(flat, x):
    for i in range(len(x)):
        for j in range(x.shape[1]):
            x[i, j] = flat[i * x.shape[1] + j]


@jit
def _num_seen(mask, first, stop):
    """Number of keys up to the last one that a block of queries sees."""
    for j in range(mask.shape[1], 0, -1):
        for i in range(first, stop):
            if mask[i, j - 1]:
                return j
    return 0


class _Digits(NamedTuple):
    """A precision: bits after the leading one, log 2 in two parts, the least exponent, terms of the series of e^r."""

    bits: int
    high: float
    low: float
    least: float
    terms: int


DIGITS = {32: _Digits(23, 0.693359375, -2.12194440e-4, -87.0, 7), 64: _Digits(52, LN2_HIGH, LN2_LOW, -708.0, 13)}


@intrinsic
def exponential(typingctx, x):
    """Exponential e^x for x <= 0, in its own precision, to two units in the last place; 0 where it is no normal number.

    As `lanes.exp`, which is in float64 alone and takes 3.8 ns where this takes 0.7.
    """

    def build(c, b, s, a):
        (x,), own, whole = a, DIGITS[s.args[0].bitwidth], ir.IntType(s.args[0].bitwidth)

        def add(left, right):
            return b.fadd(left, right, flags=CONTRACT)

        def times(left, right):
            return b.fmul(left, right, flags=CONTRACT)

        def constant(number):
            return ir.Constant(x.type, number)

        # Added to a number this rounds it to a whole one, whose bits are then the lowest of the sum.
        least, rounds = constant(own.least), constant(1.5 * 2.0**own.bits)
        raised = b.select(b.fcmp_unordered(">", x, least), x, least)
        shifted = add(times(raised, constant(LOG2_E)), rounds)
        power = b.fsub(shifted, rounds)
        r = add(add(raised, times(power, constant(-own.high))), times(power, constant(-own.low)))
        p = constant(1 / math.factorial(own.terms))
        for i in reversed(range(own.terms)):
            p = add(times(p, r), constant(1 / math.factorial(i)))
        exponent = b.shl(b.bitcast(shifted, whole), ir.Constant(whole, own.bits))
        scaled = b.bitcast(b.add(b.bitcast(p, whole), exponent), x.type)
        return b.select(b.fcmp_ordered(">", x, least), scaled, b.select(b.fcmp_unordered("uno", x, x), x, constant(0)))

    return x(x), build


@exact
def _exponentials(p, seen, scale, high):
    """Exponentials e^(scale (x - high)) of a query's products (u,), 0 where a key is not seen, in their place."""
    for j in range(len(p)):
        x = exponential((p[j] - high) * scale)
        p[j] = x if seen[j] != 0 else 0


@fast
def _total(p):
    total = p.dtype.type(0)
    for j in range(len(p)):
        total += p[j]
    return total


@jit
def _highest(p, seen, most):
    """Largest of a query's products (u,) with keys that are seen, side by side, for LLVM leaves a maximum alone."""
    u = len(p)
    for i in range(SIDE):
        most[i] = -math.inf
    for j in range(0, u // SIDE * SIDE, SIDE):
        x, own = p[j : j + SIDE], seen[j : j + SIDE]
        for i in range(SIDE):
            shown = x[i] if own[i] != 0 else most[i]
            most[i] = shown if shown > most[i] else most[i]
    for j in range(u // SIDE * SIDE, u):
        if seen[j] != 0 and p[j] > most[0]:
            most[0] = p[j]
    high = most[0]
    for i in range(1, SIDE):
        high = max(high, most[i])
    return high


@jit
def _weights(q, k, P, sizes, mask, first, sums, memory):
    """Fills P (rows, u) with e^(q . k / sqrt(c) - their largest), 0 for what is not seen, and the sums of its rows."""
    (rows, u, c), (totals, most) = sizes, sums
    multiply(q, k, P, sizes, (False, True), False, memory)
    number = P.dtype.type
    for i in range(rows):
        p, seen = P[i * u : (i + 1) * u], mask[first + i, :u]
        high = _highest(p, seen, most)
        # Where no key is seen all are 0; where products are no numbers their exponentials are none either.
        _exponentials(p, seen, number(1 / math.sqrt(c)), high if high > -math.inf else number(0))
        totals[i] = _total(p)


@jit
def _sums(dtype):
    return empty((ROWS,), dtype), empty((SIDE,), dtype)


@jit
def attend(q, k, v, mask, out, copies, blocks, sums, memory):
    """Attention of one head: out (t, c) from q (t, c), k and v (u, c), and the mask (t, u)."""
    (t, c), (Q, K, V), (P, some) = q.shape, copies, blocks
    _copied(q, Q)
    _copied(k, K)
    _copied(v, V)
    for first in range(0, t, ROWS):
        rows = min(ROWS, t - first)
        u = _num_seen(mask, first, first + rows)
        if u > 0:
            _weights(Q[first * c :], K, P, (rows, u, c), mask, first, sums, memory)
            multiply(P, V, some, (rows, c, u), (False, False), False, memory)
        for i in range(rows):
            any_seen = u > 0 and sums[0][i] != 0
            share, row = out.dtype.type(1 / sums[0][i] if any_seen else 0), some[i * c : (i + 1) * c]
            for j in range(c):
                out[first + i, j] = row[j] * share if any_seen else 0


@fast
def _of_softmax(p, d, total, scale):
    """Makes p (u,) a query's weights, and of their cotangents d those of the products: p (d - sum p d) scale."""
    mean, share = p.dtype.type(0), p.dtype.type(1 / total if total != 0 else 0)
    for j in range(len(p)):
        p[j] *= share
        mean += p[j] * d[j]
    for j in range(len(p)):
        d[j] = p[j] * (d[j] - mean) * scale


@jit
def attend_back(q, k, v, mask, cotangent, out, copies, blocks, sums, memory):
    """Gradient of one head: `out` is those of q (t, c), and of k and v (u, c), for the cotangent (t, c)."""
    (t, c), (Q, K, V, G, of_q, of_k, of_v), (P, D) = q.shape, copies, blocks
    _copied(q, Q)
    _copied(k, K)
    _copied(v, V)
    _copied(cotangent, G)
    for own in (of_q, of_k, of_v):
        for i in range(len(own)):
            own[i] = 0
    for first in range(0, t, ROWS):
        rows, at = min(ROWS, t - first), first * c
        u = _num_seen(mask, first, first + rows)
        if u > 0:
            _weights(Q[at:], K, P, (rows, u, c), mask, first, sums, memory)
            multiply(G[at:], V, D, (rows, u, c), (False, True), False, memory)
            for i in range(rows):
                p, d = P[i * u : (i + 1) * u], D[i * u : (i + 1) * u]
                _of_softmax(p, d, sums[0][i], q.dtype.type(1 / math.sqrt(c)))
            multiply(D, K, of_q[at:], (rows, c, u), (False, False), False, memory)
            multiply(D, Q[at:], of_k, (u, c, rows), (True, False), True, memory)
            multiply(P, G[at:], of_v, (u, c, rows), (True, False), True, memory)
    _put(of_q, out[0])
    _put(of_k, out[1])
    _put(of_v, out[2])


@jit
def _flat(t, c, dtype):
    return empty((t * c,), dtype)


@jit
def _num_pieces(frame):
    """Heads of all sequences, at most 16 pieces: each has memory of its own, which is asked of the system once."""
    return min(16, ffi.size(frame, ffi.FRAME_ARGUMENTS, 0, 0) * ffi.size(frame, ffi.FRAME_ARGUMENTS, 0, 2))


@inlined
def _piece(frame, piece, dtype):
    q = ffi.hypercube(frame, ffi.FRAME_ARGUMENTS, 0, dtype)
    k = ffi.hypercube(frame, ffi.FRAME_ARGUMENTS, 1, dtype)
    v = ffi.hypercube(frame, ffi.FRAME_ARGUMENTS, 2, dtype)
    mask = ffi.cube(frame, ffi.FRAME_ARGUMENTS, 3, np.uint8)
    which = ffi.vector(frame, ffi.FRAME_ARGUMENTS, 4, np.int32)
    out = ffi.hypercube(frame, ffi.FRAME_RESULTS, 0, dtype)
    (_, t, heads, c), u = q.shape, k.shape[1]
    copies, blocks = (
        (_flat(t, c, dtype), _flat(u, c, dtype), _flat(u, c, dtype)),
        (_flat(ROWS, u, dtype), _flat(ROWS, c, dtype)),
    )
    sums, memory = _sums(dtype), buffers(max(u, ROWS), c, q)
    first, stop = ffi.part(len(q) * heads, piece, _num_pieces(frame))
    for i in range(first, stop):
        n, head = i // heads, i % heads
        own = q[n, :, head], k[n, :, head], v[n, :, head], mask[which[n]], out[n, :, head]
        attend(*own, copies, blocks, sums, memory)


@inlined
def _piece_back(frame, piece, dtype):
    q = ffi.hypercube(frame, ffi.FRAME_ARGUMENTS, 0, dtype)
    k = ffi.hypercube(frame, ffi.FRAME_ARGUMENTS, 1, dtype)
    v = ffi.hypercube(frame, ffi.FRAME_ARGUMENTS, 2, dtype)
    mask = ffi.cube(frame, ffi.FRAME_ARGUMENTS, 3, np.uint8)
    which = ffi.vector(frame, ffi.FRAME_ARGUMENTS, 4, np.int32)
    cotangent = ffi.hypercube(frame, ffi.FRAME_ARGUMENTS, 5, dtype)
    of_q = ffi.hypercube(frame, ffi.FRAME_RESULTS, 0, dtype)
    of_k = ffi.hypercube(frame, ffi.FRAME_RESULTS, 1, dtype)
    of_v = ffi.hypercube(frame, ffi.FRAME_RESULTS, 2, dtype)
    (_, t, heads, c), u = q.shape, k.shape[1]
    given = _flat(t, c, dtype), _flat(u, c, dtype), _flat(u, c, dtype), _flat(t, c, dtype)
    copies = (*given, _flat(t, c, dtype), _flat(u, c, dtype), _flat(u, c, dtype))
    blocks = _flat(ROWS, u, dtype), _flat(ROWS, u, dtype)
    sums, memory = _sums(dtype), buffers(max(u, ROWS), c, q)
    first, stop = ffi.part(len(q) * heads, piece, _num_pieces(frame))
    for i in range(first, stop):
        n, head = i // heads, i % heads
        own = q[n, :, head], k[n, :, head], v[n, :, head], mask[which[n]], cotangent[n, :, head]
        out = of_q[n, :, head], of_k[n, :, head], of_v[n, :, head]
        attend_back(*own, out, copies, blocks, sums, memory)


handler = handlers.of_pieces("attention", _piece, _num_pieces)
handler_back = handlers.of_pieces("attention_back", _piece_back, _num_pieces)
