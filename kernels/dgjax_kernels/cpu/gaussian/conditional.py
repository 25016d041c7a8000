"""Conditional means under normal distributions, row by row: `gaussian.conditional`, which fills missing cells.

A row r ~ N(0, L L^T) has r = L u with u standard normal. Given its observed cells, the mean of u is the u of least
length that they allow, and the missing cells are then L u at their places:

    r = 1.2 NaN 0.3   ─▶  u of least length with (L u)_0 = 1.2, (L u)_2 = 0.3   ─▶  1.2 (L u)_1 0.3

Two ways to u: few missing cells, the whitened row with those at 0 less its part in the directions that they leave free;
few observed ones, by a basis of their rows of L. A factor is inverted when the first row of its group comes, for a call
may have many groups and few rows.
"""

from typing import NamedTuple

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.gaussian.missing import LARGEST_INFLATION, inverted
from dgjax_kernels.cpu.simd.lanes import fast, padded


class Group(NamedTuple):
    """Covariance factors L in float64, and their inverses, one for each group: its rows share a covariance L L^T.

    A group's entries are filled when its first row comes. Sizes are padded from d columns to p.
    """

    known: np.ndarray  # (g,): whether it is prepared
    benign: np.ndarray  # (g,): whether variance inflation allows the way of few missing cells
    L: np.ndarray  # (g, p, p)
    columns: np.ndarray  # (g, p, p): the transpose of L^-1
    scratch: np.ndarray  # (p, p)


class Buffers(NamedTuple):
    """Work arrays for one row of d cells, padded to p."""

    missing: np.ndarray  # (d,): columns
    observed: np.ndarray  # (d,)
    q: np.ndarray  # (d, p): an orthogonal basis
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
    """Adds q_i to the basis: a row of the table less its parts along those before, by modified Gram-Schmidt."""
    q, size = buffers.q, buffers.size
    q[i] = table[column]
    for s in range(i):
        part = _dot(q[s], q[i]) / size[s]
        _add(q[i], -part, q[s])
        buffers.v[i] -= part * buffers.v[s]
    size[i] = _dot(q[i], q[i])


@jit
def _projected(r, columns, t, buffers):
    """u for few missing cells: those at their means, less its part in the directions that they leave free."""
    for i in range(len(r) - t):
        _add(buffers.u, r[buffers.observed[i]], columns[buffers.observed[i]])
    for i in range(t):
        _next_basis(columns, buffers.missing[i], i, buffers)
        _add(buffers.u, -_dot(buffers.q[i], buffers.u) / buffers.size[i], buffers.q[i])


@jit
def _determined(r, L, t, buffers):
    """u for few observed cells, in the span of their rows of L.

    Solved backwards, each coefficient less what u has already: that is as accurate as Householder's QR, where forwards,
    from v by the basis, digits are lost as its orthogonality is. Source: Bjorck (1996), Numerical methods for least
    squares problems, section 2.4.
    """
    for i in range(len(r) - t):
        buffers.v[i] = r[buffers.observed[i]]
        _next_basis(L, buffers.observed[i], i, buffers)
    for i in range(len(r) - t - 1, -1, -1):
        _add(buffers.u, (buffers.v[i] - _dot(buffers.q[i], buffers.u)) / buffers.size[i], buffers.q[i])


@inlined
def _fill(r, result, g, group, buffers):
    """Fills `result` (d,) with one row r of residuals, missing ones at their means given the others, in group g."""
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
    """Fills rows start to stop - 1 of `result` with the observed residuals r (n, d), missing ones at their means.

    `which` (n,) has the group of each row, whose covariance factor is L (k, d, d).
    """
    (k, d, _), p = L.shape, padded(L.shape[1])
    known, benign = np.zeros(k, np.bool_), np.zeros(k, np.bool_)
    group = Group(known, benign, np.empty((k, p, p)), np.empty((k, p, p)), np.empty((p, p)))
    buffers = Buffers(
        np.empty(d, np.int64), np.empty(d, np.int64), np.empty((d, p)), np.empty(d), np.zeros(d), np.empty(p)
    )
    for row in range(start, stop):
        g = min(max(which[row], 0), k - 1)  # inside jit, a label may be anything
        if not known[g]:
            inflation = inverted(L[g], group.L[g], group.scratch, group.columns[g])
            known[g], benign[g] = True, inflation <= LARGEST_INFLATION
        _fill(r[row], result[row], g, group, buffers)


@inlined
def _piece(frame, piece, dtype):
    inputs, outputs = ffi.FRAME_ARGUMENTS, ffi.FRAME_RESULTS
    r, which = ffi.matrix(frame, inputs, 0, dtype), ffi.vector(frame, inputs, 1, np.int32)
    L, result = ffi.cube(frame, inputs, 2, dtype), ffi.matrix(frame, outputs, 0, dtype)
    pieces, n = ffi.size(frame, outputs, 1, 0), len(r)
    start, stop = ffi.part(n, piece, pieces)
    _sweep(r, which, L, result, start, stop)


handler = handlers.of_pieces("conditional", _piece, handlers.of_result(1))
