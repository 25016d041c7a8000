"""Sums over observed cells, by lookup in tables of all that four of them can add: one addition for each four cells.

With missing cells, a score is a sum over the observed columns only, sum_j observed_j a_kj, and a count is a sum over
the rows that have the cell. Both are products with 0/1 indicators. Four indicators are a number from 0 to 15, and a
table has the sum for each of them ("method of four Russians"):

    observed of columns j .. j+3:  1 0 1 1  ──▶  13  ──▶  table[13] = a_j + a_j+2 + a_j+3, for WIDTH labels at once

Scores take four columns beside each other, counts four rows of a batch. On one core, (204,800, 32) in float64 and 16
labels, for a row: scores 8 ns and 13 by the product with indicators; counts 10 and 14.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from dgjax_kernels.cpu.ffi import intrinsic, jit
from dgjax_kernels.cpu.simd.lanes import LANES, eights
from dgjax_kernels.cpu.simd.tiles import zeros
from dgjax_kernels.cpu.simd.vectors import (
    VALUES,
    WIDTH,
    add_square,
    plus_picked,
    read_row,
    read_square,
    spread,
    transposed,
    write_row,
    write_square,
)

TOGETHER, SUBSETS = 4, 16  # cells that are looked up at once, and the subsets of them that may be observed
APART = LANES // TOGETHER  # how far those rows are from each other whose counts are added together


class Observed(NamedTuple):
    """Which cells of a batch of LANES rows, p columns, are observed, as places in tables; and the tables for counts.

    A place is WIDTH times the number 0 to 15 that four indicators make, where a table has the sum over that subset:
    for scores, of four columns of a row; for counts, of four rows, APART from each other, in a column.
    """

    of_row: np.ndarray  # (p / 4, LANES): WIDTH times the subset of four columns that a row has
    of_column: np.ndarray  # (p padded to a multiple of WIDTH, APART): WIDTH times the subset of four rows
    turned: np.ndarray  # (TOGETHER, WIDTH, WIDTH): counts of rows
    sums: np.ndarray  # (WIDTH, SUBSETS * WIDTH): of counts


@jit
def new_observed(p):
    """Empty places for p columns, a multiple of 4."""
    of_row, of_column = np.zeros((p // TOGETHER, LANES), np.uint8), np.zeros((eights(p), APART), np.uint8)
    return Observed(
        of_row, of_column, zeros((TOGETHER, WIDTH, WIDTH), np.float64), zeros((WIDTH, SUBSETS * WIDTH), np.float64)
    )


@jit
def table(amounts):
    """Table of the sums of amounts (k, p) over each subset of four columns: (k / WIDTH, p / 4, SUBSETS * WIDTH)."""
    k, p = amounts.shape
    sums = zeros((eights(k) // WIDTH, p // TOGETHER, SUBSETS * WIDTH), np.float64)
    for i in range(k):
        for j in range(p):
            own, place, bit = sums[i // WIDTH, j // TOGETHER], i % WIDTH, 1 << j % TOGETHER
            for subset in range(bit):
                own[(bit + subset) * WIDTH + place] = own[subset * WIDTH + place] + amounts[i, j]
    return sums


@intrinsic
def _find(typingctx, x, at, step, places, to):
    """Writes WIDTH places: for as many neighbouring cells, which of each and the ones 1, 2, 3 steps on is not NaN."""

    def build(c, b, s, a):
        cells, bytes_ = (c.make_array(kind)(c, b, value).data for kind, value in ((x, a[0]), (places, a[3])))
        words = ir.VectorType(ir.IntType(64), WIDTH)
        subset = none = ir.Constant(words, [0] * WIDTH)
        for i in range(TOGETHER):
            place = b.gep(cells, [b.add(a[1], b.mul(a[2], ir.Constant(ir.IntType(64), i)))])
            values = b.load(b.bitcast(place, VALUES.as_pointer()), align=8)
            own = ir.Constant(words, [WIDTH << i] * WIDTH)
            subset = b.or_(subset, b.select(b.fcmp_ordered("==", values, values), own, none))
        small = b.trunc(subset, ir.VectorType(ir.IntType(8), WIDTH))
        b.store(small, b.bitcast(b.gep(bytes_, [a[4]]), small.type.as_pointer()), align=1)
        return c.get_dummy_value()

    return types.void(x, types.intp, types.intp, places, types.intp), build


@jit
def find(x, observed):
    """Observed cells of the rows in the lanes, x (p, LANES): fills their places in tables."""
    for g in range(len(observed.of_row)):
        for n in range(0, LANES, WIDTH):
            _find(x, g * TOGETHER * LANES + n, LANES, observed.of_row, g * LANES + n)
    for j in range(len(x)):
        for n in range(0, APART, WIDTH):
            _find(x, j * LANES + n, APART, observed.of_column, j * APART + n)


@jit
def add_scores(sums, observed, score):
    """Sums over observed columns of the amounts of a `table`, added to score (k, LANES), k a multiple of WIDTH."""
    none = spread(0.0)
    for n in range(0, LANES, WIDTH):
        for k in range(len(sums)):
            total = (none, none, none, none, none, none, none, none)
            for g in range(len(observed.of_row)):
                total = plus_picked(total, sums[k, g], observed.of_row, g * LANES + n, 1)
            add_square(score, k * WIDTH * LANES + n, LANES, transposed(total))


@jit
def _subsets(c, k, n, turned, sums):
    """Tables of responsibilities of WIDTH labels, over each subset of rows m, m + APART, ..., for WIDTH m from n on."""
    for i in range(TOGETHER):
        write_square(turned[i], 0, WIDTH, transposed(read_square(c, k * LANES + n + i * APART, LANES)))
    for m in range(WIDTH):
        own = sums[m]
        for i in range(TOGETHER):
            one = read_row(turned[i, m], 0)
            for subset in range(1 << i):
                write_row(own, ((1 << i) + subset) * WIDTH, read_row(own, subset * WIDTH) + one)


@jit
def add_counts(c, observed, counts):
    """Counts (p, k) += responsibilities c (k, LANES) of rows whose cell is observed; p and k padded to WIDTH."""
    for n in range(0, APART, WIDTH):
        for k in range(0, len(c), WIDTH):
            _subsets(c, k, n, observed.turned, observed.sums)
            for j in range(0, len(counts), WIDTH):
                total = read_square(counts, j * len(c) + k, len(c))
                for m in range(WIDTH):
                    total = plus_picked(total, observed.sums[m], observed.of_column, j * APART + n + m, APART)
                write_square(counts, j * len(c) + k, len(c), total)
