"""The kernel of `gaussian.conditional` on a CPU, row by row. The method and its letters are those of `cpu.gaussian`.

A row needs the u of least length that its observed cells allow; its missing cells are then L u. A factor is inverted
when the first row of its group comes.
"""

from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.gaussian.missing import inverted
from dgjax_kernels.cpu.simd.lanes import fast, padded


class Group(NamedTuple):
    """What is known of each group, in float64, once a row of it has come."""

    known: np.ndarray  # (g,)
    benign: np.ndarray  # (g,)
    L: np.ndarray  # (g, p, p)
    columns: np.ndarray  # (g, p, p): the transpose of L^-1
    scratch: np.ndarray  # (p, p)


class Buffers(NamedTuple):
    """What is at work for a row."""

    missing: np.ndarray  # (d,): columns
    observed: np.ndarray  # (d,)
    q: np.ndarray  # (d, p)
    size: np.ndarray  # (d,): |q|^2
    v: np.ndarray  # (d,)
    u: np.ndarray  # (p,)


@fast
def _dot(a, b):
    total = 0.0
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@fast
def _add(to, factor, row):
    for j in range(len(to)):
        to[j] += factor * row[j]


@jit
def _next_basis(table, column, i, buffers):
    """q_i, a row of the table less what it has of those before, by Gram-Schmidt in its modified form."""
    q, size = buffers.q, buffers.size
    q[i] = table[column]
    for s in range(i):
        part = _dot(q[s], q[i]) / size[s]
        _add(q[i], -part, q[s])
        buffers.v[i] -= part * buffers.v[s]
    size[i] = _dot(q[i], q[i])


@jit
def _projected(r, columns, t, buffers):
    """u with the missing cells at their means, less what it has of the space that they are free in."""
    for i in range(len(r) - t):
        _add(buffers.u, r[buffers.observed[i]], columns[buffers.observed[i]])
    for i in range(t):
        _next_basis(columns, buffers.missing[i], i, buffers)
        _add(buffers.u, -_dot(buffers.q[i], buffers.u) / buffers.size[i], buffers.q[i])


@jit
def _determined(r, L, t, buffers):
    """u in the space of the observed cells, backwards and less what it has already: forwards it would lose digits.

    Source: Bjorck (1996), Numerical methods for least squares problems, section 2.4.
    """
    for i in range(len(r) - t):
        buffers.v[i] = r[buffers.observed[i]]
        _next_basis(L, buffers.observed[i], i, buffers)
    for i in range(len(r) - t - 1, -1, -1):
        _add(buffers.u, (buffers.v[i] - _dot(buffers.q[i], buffers.u)) / buffers.size[i], buffers.q[i])


@inlined
def _fill(r, result, g, group, buffers):
    """One row."""
    d, t, buffers.u[:] = len(r), 0, 0
    for j in range(d):
        result[j] = r[j]
        buffers.missing[t], buffers.observed[j - t] = j, j
        t += r[j] != r[j]
    if 2 * t <= d and group.benign[g]:
        _projected(r, group.columns[g], t, buffers)
    else:
        _determined(r, group.L[g], t, buffers)
    for i in range(t):
        result[buffers.missing[i]] = _dot(group.L[g, buffers.missing[i]], buffers.u)


@inlined
def _sweep(r, which, L, result, start, stop):
    """All rows from start to stop."""
    (k, d, _), p = L.shape, padded(L.shape[1])
    known, benign = np.zeros(k, np.bool_), np.zeros(k, np.bool_)
    group = Group(known, benign, np.empty((k, p, p)), np.empty((k, p, p)), np.empty((p, p)))
    buffers = Buffers(
        np.empty(d, np.int64), np.empty(d, np.int64), np.empty((d, p)), np.empty(d), np.zeros(d), np.empty(p)
    )
    for row in range(start, stop):
        g = min(max(which[row], 0), k - 1)  # inside jit, a label may be anything
        if not known[g]:
            known[g], benign[g] = True, inverted(L[g], group.L[g], group.scratch, group.columns[g])
        _fill(r[row], result[row], g, group, buffers)


@inlined
def _piece(frame, piece, dtype):
    inputs, outputs = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS
    r, which = ffi.matrix(frame, inputs, 0, dtype), ffi.vector(frame, inputs, 1, np.int32)
    L, result = ffi.cube(frame, inputs, 2, dtype), ffi.matrix(frame, outputs, 0, dtype)
    pieces, n = ffi.size(frame, outputs, 1, 0), len(r)
    _sweep(r, which, L, result, piece * n // pieces, (piece + 1) * n // pieces)


handler = handlers.of_pieces("conditional", _piece, handlers.of_result(1))
