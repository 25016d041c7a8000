"""Vectors: WIDTH numbers of float64 as one value that numba keeps in registers, with +, -, * and what is below.

Numba's own loops become SIMD code only where LLVM finds the vectors by itself. In a recursion, whose steps wait for
each other, or in a transposition it does not. So a type of its own, VECTOR, stands for LLVM's <8 x double>: one
register of AVX-512, two of AVX2, four of SSE, for one program.

Memory is given as an address and an offset in numbers (`read`, `write`: aligned), or as an array and an offset
(`read_row`, `write_row`: anywhere, float32 or float64).
"""

import math
import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.extending import overload, register_model
from numba.np.numpy_support import carray

from dgjax_kernels.cpu import ffi
from dgjax_kernels.cpu.ffi import intrinsic, jit
from dgjax_kernels.cpu.simd.lanes import ONE_BITS, ROUND
from dgjax_kernels.cpu.simd.tiles import picked

WIDTH = 8
TINY, LEAST_SHARE = 1e-100, 1e-25  # least of what is possible, and of a step: see `chain.many`


class Vector(types.Type):
    """Type of WIDTH numbers in registers."""


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, VALUES)


VECTOR, VALUES = Vector("vector"), ir.VectorType(ir.DoubleType(), WIDTH)
CONTRACT = ("contract",)


def _all(x):
    return ir.Constant(VALUES, [x] * WIDTH)


def _place(builder, arguments, kind):
    # As a sum of integers made a pointer, LLVM 22 left out counts[0, 0] of few steps and states, once out of the cache.
    start = builder.inttoptr(arguments[0], ir.DoubleType().as_pointer())
    return builder.bitcast(builder.gep(start, [arguments[1]]), kind.as_pointer())


@intrinsic
def read(typingctx, address, offset):
    """Vector load: WIDTH numbers at an offset from an address, aligned."""
    return VECTOR(types.intp, types.intp), lambda c, b, s, a: b.load(_place(b, a, VALUES), align=8 * WIDTH)


@intrinsic
def number(typingctx, address, offset):
    """Load of the one number at an offset from an address."""
    return types.float64(types.intp, types.intp), lambda c, b, s, a: b.load(_place(b, a, ir.DoubleType()))


@intrinsic
def write(typingctx, address, offset, vector):
    """Vector store: WIDTH numbers at an offset from an address, aligned."""

    def build(c, b, s, a):
        b.store(a[2], _place(b, a, VALUES), align=8 * WIDTH)
        return c.get_dummy_value()

    return types.void(types.intp, types.intp, VECTOR), build


@intrinsic
def read_row(typingctx, array, offset):
    """Vector load: WIDTH numbers at an offset in an array, wherever it starts, float32 or float64."""
    kind = array.dtype

    def build(c, b, s, a):
        data, number = c.make_array(array)(c, b, a[0]).data, c.get_value_type(kind)
        row = b.bitcast(b.gep(data, [a[1]]), ir.VectorType(number, WIDTH).as_pointer())
        values = b.load(row, align=kind.bitwidth // 8)
        return values if kind is types.float64 else b.fpext(values, VALUES)

    return VECTOR(array, types.intp), build


@intrinsic
def write_row(typingctx, array, offset, vector):
    """Vector store: WIDTH numbers at an offset in an array, wherever it starts, float32 or float64."""
    kind = array.dtype

    def build(c, b, s, a):
        data, number = c.make_array(array)(c, b, a[0]).data, ir.VectorType(c.get_value_type(kind), WIDTH)
        row = b.bitcast(b.gep(data, [a[1]]), number.as_pointer())
        b.store(a[2] if kind is types.float64 else b.fptrunc(a[2], number), row, align=kind.bitwidth // 8)
        return c.get_dummy_value()

    return types.void(array, types.intp, VECTOR), build


@intrinsic
def read_square(typingctx, array, offset, step):
    """Vector loads: WIDTH vectors of an array, `step` numbers apart."""
    kind, square = array.dtype, types.UniTuple(VECTOR, WIDTH)

    def build(c, b, s, a):
        data, number, vectors = c.make_array(array)(c, b, a[0]).data, c.get_value_type(kind), []
        for i in range(WIDTH):
            place = b.gep(data, [b.add(a[1], b.mul(a[2], ir.Constant(ir.IntType(64), i)))])
            values = b.load(b.bitcast(place, ir.VectorType(number, WIDTH).as_pointer()), align=kind.bitwidth // 8)
            vectors.append(values if kind is types.float64 else b.fpext(values, VALUES))
        return c.make_tuple(b, square, vectors)

    return square(array, types.intp, types.intp), build


def _put_square(adds):
    @intrinsic
    def put(typingctx, array, offset, step, vectors):
        def build(c, b, s, a):
            data = c.make_array(array)(c, b, a[0]).data
            for i in range(WIDTH):
                place = b.gep(data, [b.add(a[1], b.mul(a[2], ir.Constant(ir.IntType(64), i)))])
                row, values = b.bitcast(place, VALUES.as_pointer()), b.extract_value(a[3], i)
                values = b.fadd(b.load(row, align=8), values, flags=CONTRACT) if adds else values
                b.store(values, row, align=8)
            return c.get_dummy_value()

        return types.void(array, types.intp, types.intp, vectors), build

    return put


write_square, add_square = _put_square(adds=False), _put_square(adds=True)
"""Write WIDTH vectors to an array of float64, `step` numbers apart, or add them to what is there."""


@intrinsic
def plus_outer(typingctx, sums, left, at, vector):
    """Outer product: sums_i + left[at + i] times a vector, for WIDTH sums."""

    def build(c, b, s, a):
        data, vectors = c.make_array(left)(c, b, a[1]).data, []
        places, zero = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH), ir.Constant(ir.IntType(32), 0)
        for i in range(WIDTH):
            factor = b.load(b.gep(data, [b.add(a[2], ir.Constant(ir.IntType(64), i))]))
            first = b.insert_element(ir.Constant(VALUES, ir.Undefined), factor, zero)
            product = b.fmul(b.shuffle_vector(first, first, places), a[3], flags=CONTRACT)
            vectors.append(b.fadd(b.extract_value(a[0], i), product, flags=CONTRACT))
        return c.make_tuple(b, sums, vectors)

    return sums(sums, left, types.intp, VECTOR), build


@intrinsic
def plus_picked(typingctx, sums, table, places, at, step):
    """Table lookup: sums_i + the vector of a table at the place places[at + i step], for WIDTH sums."""

    def build(c, b, s, a):
        rows, numbers = (c.make_array(kind)(c, b, value).data for kind, value in ((table, a[1]), (places, a[2])))
        vectors = []
        for i in range(WIDTH):
            place = b.load(b.gep(numbers, [b.add(a[3], b.mul(a[4], ir.Constant(ir.IntType(64), i)))]))
            row = b.gep(rows, [b.zext(place, ir.IntType(64))])
            values = b.load(b.bitcast(row, VALUES.as_pointer()), align=8)
            vectors.append(b.fadd(b.extract_value(a[0], i), values, flags=CONTRACT))
        return c.make_tuple(b, sums, vectors)

    return sums(sums, table, places, types.intp, types.intp), build


def turned(b, rows):
    """Transposition of a square of LLVM's vectors: log2 of its width rounds, each swapping blocks off the diagonal."""
    width, rows = len(rows), [*rows]
    for d in (1 << bit for bit in range(width.bit_length() - 1)):
        for i in (i for i in range(width) if not i & d):
            upper = [n + width - d if n & d else n for n in range(width)]
            lower = [n + width if n & d else n + d for n in range(width)]
            rows[i], rows[i + d] = (picked(b, rows[i], rows[i + d], places) for places in (upper, lower))
    return rows


@intrinsic
def transposed(typingctx, rows):
    """Transposition of a square of WIDTH vectors in registers."""

    def build(c, b, s, a):
        rows = turned(b, [b.extract_value(a[0], i) for i in range(WIDTH)])
        return c.make_tuple(b, rows_of, rows)

    rows_of = types.UniTuple(VECTOR, WIDTH)
    return rows_of(rows), build


@intrinsic
def write_bytes(typingctx, address, offset, vector):
    """Byte store: WIDTH whole numbers from 0 to 255, as bytes."""

    def build(c, b, s, a):
        start = b.inttoptr(a[0], ir.IntType(8).as_pointer())
        small = b.fptoui(a[2], ir.VectorType(ir.IntType(8), WIDTH))
        b.store(small, b.bitcast(b.gep(start, [a[1]]), small.type.as_pointer()), align=WIDTH)
        return c.get_dummy_value()

    return types.void(types.intp, types.intp, VECTOR), build


@jit
def numbers(address, size):
    """Array of `size` float64 numbers at an address, without a copy."""
    return carray(ffi.pointer(address, np.float64), (size,))


@intrinsic
def spread(typingctx, x):
    """Vector with the float64 number x in all of its WIDTH places."""

    def build(c, b, s, a):
        zero = ir.Constant(ir.IntType(32), 0)
        first = b.insert_element(ir.Constant(VALUES, ir.Undefined), a[0], zero)
        return b.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))

    return VECTOR(types.float64), build


def _of_one(build):
    return intrinsic(lambda typingctx, x: (VECTOR(VECTOR), lambda c, b, s, a: build(b, *a)))


def _of_two(build):
    return intrinsic(lambda typingctx, x, y: (VECTOR(VECTOR, VECTOR), lambda c, b, s, a: build(b, *a)))


def _of_four(build):
    return intrinsic(
        lambda typingctx, x, y, u, v: (VECTOR(VECTOR, VECTOR, VECTOR, VECTOR), lambda c, b, s, a: build(b, *a))
    )


def _where(b, test, x, y, first, second):
    return b.select(b.fcmp_ordered(test, x, y), first, second)


def _lifted(b, x):
    above = _where(b, "<", x, _all(TINY), _all(TINY), x)
    return _where(b, ">", x, _all(0.0), above, x)


def _floor(b, x):
    name = f"llvm.floor.v{WIDTH}f64"
    return b.call(b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(VALUES, [VALUES]), name), [x])


_plus = _of_two(lambda b, x, y: b.fadd(x, y, flags=CONTRACT))
_minus = _of_two(lambda b, x, y: b.fsub(x, y, flags=CONTRACT))
_times = _of_two(lambda b, x, y: b.fmul(x, y, flags=CONTRACT))
lifted = _of_one(_lifted)
"""x, and at least TINY if it is positive: what is possible stays so."""
larger = _of_two(lambda b, x, y: _where(b, ">", x, y, x, y))
"""The larger of two, the second if the first is NaN."""
smaller = _of_two(lambda b, x, y: _where(b, "<", x, y, x, y))
"""The smaller of two, the second if the first is NaN."""
fraction = _of_one(lambda b, x: b.fsub(x, _floor(b, x)))
"""x - floor(x)."""
inverse = _of_one(lambda b, x: _where(b, ">", x, _all(0.0), b.fdiv(_all(1.0), x), _all(0.0)))
"""1 / x for positive x, else 0."""
reciprocal = _of_one(lambda b, x: _where(b, ">", x, _all(0.0), b.fdiv(_all(1.0), x), x))
"""1 / x for positive x; 0 and NaN stay what they are."""
finite = _of_one(lambda b, x: _where(b, "==", x, _all(-math.inf), _all(0.0), x))
"""0 in place of minus infinity."""
kept = _of_two(lambda b, x, y: _where(b, "==", x, x, x, y))
"""The first of two, the second if the first is NaN."""
is_observed = _of_one(lambda b, x: _where(b, "==", x, x, _all(1.0), _all(0.0)))
"""0 where a number is NaN, else 1."""
below = _of_two(lambda b, x, y: _where(b, "<", x, y, _all(1.0), _all(0.0)))
"""1 where the first of two is the smaller, else 0."""
short = _of_one(lambda b, x: _where(b, ">=", x, _all(LEAST_SHARE), _all(0.0), _all(1.0)))
"""1 where a share is below LEAST_SHARE, or NaN, else 0."""
chosen = _of_four(lambda b, x, y, u, v: _where(b, ">", x, y, u, v))
"""The third of four where the first is larger than the second, else the fourth."""
unbounded = _of_one(lambda b, x: _where(b, "<", x, _all(math.inf), _all(0.0), _all(1.0)))
"""1 where a number is plus infinity or NaN, else 0."""
rare = _of_two(lambda b, x, y: _where(b, ">", x, _all(0.0), _where(b, "<", x, y, x, y), y))
"""The smaller of two if the first is positive, else the second."""


def _folded(build):
    """Declares a reduction of a vector to a number, halves with halves."""

    def fold(b, x):
        half = WIDTH // 2
        while half:
            places = [ir.Constant(ir.VectorType(ir.IntType(32), half), [*range(i, i + half)]) for i in (0, half)]
            x = build(b, *(b.shuffle_vector(x, x, p) for p in places))
            half //= 2
        return b.extract_element(x, ir.Constant(ir.IntType(32), 0))

    return intrinsic(lambda typingctx, x: (types.float64(VECTOR), lambda c, b, s, a: fold(b, *a)))


@intrinsic
def each(typingctx, x):
    """Vectors, WIDTH of them, each with one number of x in all places."""
    kind = types.UniTuple(VECTOR, WIDTH)

    def build(c, b, s, a):
        places = ir.VectorType(ir.IntType(32), WIDTH)
        return c.make_tuple(
            b, kind, [b.shuffle_vector(a[0], a[0], ir.Constant(places, [i] * WIDTH)) for i in range(WIDTH)]
        )

    return kind(VECTOR), build


@intrinsic
def any_below(typingctx, x, y):
    """True if a number of the first of two vectors is smaller than the second's."""

    def build(c, b, s, a):
        lanes = b.bitcast(b.fcmp_ordered("<", *a), ir.IntType(WIDTH))
        return b.icmp_unsigned("!=", lanes, ir.Constant(lanes.type, 0))

    return types.boolean(VECTOR, VECTOR), build


def _exponent(b, x):
    bits = b.bitcast(x, ir.VectorType(ir.IntType(64), WIDTH))
    return b.and_(bits, ir.Constant(bits.type, [2047 << 52] * WIDTH))


def _to_one(b, x):
    bits = _exponent(b, x)
    return b.bitcast(b.sub(ir.Constant(bits.type, [2046 << 52] * WIDTH), bits), VALUES)


def _power(b, x):
    # By the bits of 2^52 plus it, for before AVX-512 no instruction makes floats of integers of 64 bits.
    bits = _exponent(b, x)
    whole = b.or_(b.lshr(bits, ir.Constant(bits.type, [52] * WIDTH)), ir.Constant(bits.type, [0x433 << 52] * WIDTH))
    return b.fsub(b.bitcast(whole, VALUES), _all(2.0**52 + 1023))


def _two_to(b, x):
    bits = b.bitcast(b.fadd(x, _all(ROUND)), ir.VectorType(ir.IntType(64), WIDTH))
    shifted = b.shl(bits, ir.Constant(bits.type, [52] * WIDTH))
    p = b.bitcast(b.add(shifted, ir.Constant(bits.type, [int(ONE_BITS)] * WIDTH)), VALUES)
    return _where(b, ">", x, _all(-1022.5), p, _all(0.0))


to_one = _of_one(_to_one)
"""The power of two by which a positive number is brought between 1 and 2."""
power = _of_one(_power)
"""The exponent of a number: minus the base-2 logarithm of `to_one` of it."""
two_to = _of_one(_two_to)
"""2^x for whole numbers x up to 1022; 0 below -1022."""
whole = _folded(lambda b, x, y: b.fadd(x, y))
"""The sum of the numbers of a vector."""
largest = _folded(lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), x, y))
"""The largest number of a vector; NaN are passed over, at least if the last number is none."""


@overload(operator.iadd)
@overload(operator.add)
def _add(x, y):
    return (lambda x, y: _plus(x, y)) if x is VECTOR and y is VECTOR else None


@overload(operator.sub)
def _subtract(x, y):
    return (lambda x, y: _minus(x, y)) if x is VECTOR and y is VECTOR else None


@overload(operator.mul)
def _multiply(x, y):
    return (lambda x, y: _times(x, y)) if x is VECTOR and y is VECTOR else None
