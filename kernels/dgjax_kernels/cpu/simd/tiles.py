"""Matrix products of lanes, by tiles whose sums stay in registers, which LLVM does not do by itself.

    multiply       product (k, LANES) = A (k, f) F (f, LANES)        scores from features
    add_products   total (k, f) += c (k, LANES) u (f, LANES)^T       statistics from responsibilities

A tile is DOWN rows by ACROSS registers of the result; its 8 to 16 sums are registers over the whole inner loop, which
loads DOWN + ACROSS numbers for DOWN * ACROSS products. GFLOP/s of `multiply` and `add_products` on a core of 74 in
float64, k = 16 and f = 32 to 96: 79 and 72; as loops that LLVM made vectors of, 42 and 48. Where rows of lanes do not
start at a cache line, 57 and 46: see `empty`. Letters: k labels, f features.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features

from dgjax_kernels.cpu.ffi import intrinsic, jit

_FEATURES = getattr(config, "CPU_FEATURES", None) or get_host_cpu_features()
BITS = 512 if "+avx512f" in _FEATURES else 256 if "+avx" in _FEATURES else 128
DOWN, ACROSS = 4, 2 if BITS == 256 else 4  # 16 of 32 registers, or 8 of 16
LINE = 64  # bytes of a cache line
CONTRACT = ("contract",)  # a b + c may be one instruction


@jit
def empty(shape, dtype):
    """Array with undefined numbers that starts at a cache line."""
    size = 1
    for length in shape:
        size *= length
    buffer = np.empty(size + LINE, dtype)
    first = -(buffer.ctypes.data // buffer.itemsize) % (LINE // buffer.itemsize)
    return buffer[first : first + size].reshape(shape)


@jit
def zeros(shape, dtype):
    """Array of zeros that starts at a cache line."""
    size = 1
    for length in shape:
        size *= length
    array = empty((size,), dtype)
    for i in range(size):
        array[i] = 0
    return array.reshape(shape)


class _Matrix:
    """A matrix, whose rows may lie apart, read and written in LLVM's vectors."""

    def __init__(self, context, builder, kind, value):
        array = context.make_array(kind)(context, builder, value)
        self.builder, self.number, self.size = builder, context.get_value_type(kind.dtype), kind.dtype.bitwidth // 8
        self.start = builder.bitcast(array.data, ir.IntType(8).as_pointer())
        self.down = cgutils.unpack_tuple(builder, array.strides, 2)[0]

    def _place(self, row, column, kind):
        b = self.builder
        offset = b.add(b.mul(row, self.down), b.mul(column, word(self.size)))
        return b.bitcast(b.gep(self.start, [offset]), kind.as_pointer())

    def read(self, row, column, count, width):
        """Reads `count` neighbouring numbers, with zeros up to a width."""
        kind = ir.VectorType(self.number, count)
        numbers = self.builder.load(self._place(row, column, kind), align=self.size)
        places = [min(i, count) for i in range(width)]
        return numbers if count == width else picked(self.builder, numbers, ir.Constant(kind, [0.0] * count), places)

    def write(self, row, column, numbers):
        """Writes neighbouring numbers."""
        self.builder.store(numbers, self._place(row, column, numbers.type), align=self.size)


def word(x):
    """A whole number as a constant of LLVM's."""
    return ir.Constant(ir.IntType(64), x)


def picked(b, x, y, places):
    """Shuffles two vectors: numbers by their places, which count on from the first vector to the second."""
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places))


def _sums(b, number, width, count):
    """Declares `count` registers for sums, which start at 0."""
    zero = ir.Constant(ir.VectorType(number, width), [0.0] * width)
    sums = [cgutils.alloca_once(b, zero.type) for _ in range(count)]
    for s in sums:
        b.store(zero, s)
    return sums


def _add(b, s, x, y):
    b.store(b.fadd(b.load(s), b.fmul(x, y, flags=CONTRACT), flags=CONTRACT), s)


def _multiply_tile(b, A, F, product, i, n, length):
    width = BITS // (8 * F.size)
    sums = _sums(b, F.number, width, DOWN * ACROSS)
    rows = [b.add(i, word(r)) for r in range(DOWN)]
    columns = [b.add(n, word(v * width)) for v in range(ACROSS)]
    with cgutils.for_range(b, length) as loop:
        across = [F.read(loop.index, column, width, width) for column in columns]
        for r, row in enumerate(rows):
            one = A.read(row, loop.index, 1, 1)
            same = picked(b, one, one, [0] * width)
            for v in range(ACROSS):
                _add(b, sums[r * ACROSS + v], same, across[v])
    for r, row in enumerate(rows):
        for v, column in enumerate(columns):
            product.write(row, column, b.load(sums[r * ACROSS + v]))


@intrinsic
def _tile_of_product(typingctx, A, F, product, i, n):
    def build(c, b, s, a):
        length = cgutils.unpack_tuple(b, c.make_array(F)(c, b, a[1]).shape, 2)[0]
        left, right, into = (_Matrix(c, b, *x) for x in zip((A, F, product), a[:3], strict=True))
        _multiply_tile(b, left, right, into, a[3], a[4], length)
        return c.get_dummy_value()

    return types.void(A, F, product, types.intp, types.intp), build


@jit
def multiply(A, F, product):
    """Matrix product (k, LANES) = A (k, f) F (f, LANES), k a multiple of 4."""
    width = ACROSS * (BITS // (8 * F.itemsize))
    for n in range(0, F.shape[1], width):
        for i in range(0, len(A), DOWN):
            _tile_of_product(A, F, product, i, n)


def _folded(b, sums):
    """Adds up each of several registers: one vector of their sums."""
    step, width = 1, sums[0].type.count
    while step < width:
        kept = [width + i if i & step else i for i in range(width)]
        moved = [width + i - step if i & step else i + step for i in range(width)]
        pairs = zip(sums[::2], sums[1::2], strict=True)
        sums = [b.fadd(picked(b, x, y, kept), picked(b, x, y, moved)) for x, y in pairs]
        step *= 2
    while len(sums) > 1:
        places = [*range(2 * sums[0].type.count)]
        sums = [picked(b, x, y, places) for x, y in zip(sums[::2], sums[1::2], strict=True)]
    return sums[0]


def _add_over(b, sums, c, u, rows, columns, start, stop, count):
    """Adds the products of lanes from start on, `count` at a time, to sums: the first lane that is left."""
    width, times = BITS // (8 * u.size), b.udiv(b.sub(stop, start), word(count))
    with cgutils.for_range(b, times) as loop:
        n = b.add(start, b.mul(loop.index, word(count)))
        across = [u.read(column, n, count, width) for column in columns]
        for r, row in enumerate(rows):
            x = c.read(row, n, count, width)
            for v in range(ACROSS):
                _add(b, sums[r * ACROSS + v], x, across[v])
    return b.add(start, b.mul(times, word(count)))


def _add_tile(b, c, u, total, i, j, stop):
    width = BITS // (8 * u.size)
    sums, n = _sums(b, u.number, width, DOWN * ACROSS), word(0)
    rows, columns = ([b.add(x, word(r)) for r in range(count)] for x, count in ((i, DOWN), (j, ACROSS)))
    for count in (width, 4, 1) if width > 4 else (width, 1):
        n = _add_over(b, sums, c, u, rows, columns, n, stop, count)
    tile = _folded(b, [b.load(s) for s in sums])
    for r, row in enumerate(rows):
        part = picked(b, tile, tile, [*range(r * ACROSS, (r + 1) * ACROSS)])
        whole = total.read(row, j, ACROSS, ACROSS)
        total.write(row, j, b.fadd(whole, part if u.size == total.size else b.fpext(part, whole.type)))


@intrinsic
def _tile_of_sums(typingctx, c, u, total, i, j, size):
    def build(x, b, s, a):
        left, right, into = (_Matrix(x, b, *y) for y in zip((c, u, total), a[:3], strict=True))
        _add_tile(b, left, right, into, *a[3:])
        return x.get_dummy_value()

    return types.void(c, u, total, types.intp, types.intp, types.intp), build


@jit
def add_products(c, u, total, lower, width):
    """Matrix product added to total (k, f): c (k, width) u (f, width)^T, the sum over the first `width` lanes.

    k and f are multiples of 4. If `lower`, only tiles on and below the diagonal, for symmetric results.
    """
    for j in range(0, len(u), ACROSS):
        for i in range(j // DOWN * DOWN if lower else 0, len(c), DOWN):
            _tile_of_sums(c, u, total, i, j, width)
