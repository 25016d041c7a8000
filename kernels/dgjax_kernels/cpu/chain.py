"""The kernel of `chain.expectation` on a CPU: eight sequences side by side, forward and backward in probabilities.

All arithmetic is in float64. Nothing that is possible ever becomes 0: what falls below TINY is taken for TINY. That only
ever adds to a sum over paths, and what it can have added is known at the end: less than TINY times the largest of the
backward values b by the product of two steps' shares c of the total. Where that may be no rounding error, as after a step
that nothing but the most unlikely path survives, the sequence is done again in logarithms, as the reference does it.

Letters: k states, a (k, WIDTH) p(y_s, score of s | steps before s), c its sum, b (k, WIDTH) what follows given y_s,
e (k, WIDTH) exp(score - the best state's), g p(y_s | all steps).
"""

import math
import operator
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.extending import overload, register_model

from dgjax_kernels.cpu import ffi
from dgjax_kernels.cpu.ffi import inlined, intrinsic, jit
from dgjax_kernels.cpu.lanes import exp, fast, log

WIDTH = 8
TINY, LEAST_SHARE, MOST, LEAST_REACHED = 1e-100, 1e-25, 1e25, 1e-75
BLOCK = 1024  # states of consecutive steps that are worked on at once: 64 kB in WIDTH lanes


class Vector(types.Type):
    """WIDTH numbers in registers."""


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, VALUES)


VECTOR, VALUES = Vector("vector"), ir.VectorType(ir.DoubleType(), WIDTH)
CONTRACT = ("contract",)


def _constant(x):
    return ir.Constant(VALUES, [x] * WIDTH)


def _place(context, builder, signature, arguments):
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), VALUES.as_pointer())


@intrinsic
def read(typingctx, array, offset):
    """The numbers at an offset of an array."""
    return VECTOR(array, types.intp), lambda c, b, s, a: b.load(_place(c, b, s, a), align=8)


@intrinsic
def write(typingctx, array, offset, vector):
    """Puts them there."""

    def build(c, b, s, a):
        b.store(a[2], _place(c, b, s, a), align=8)
        return c.get_dummy_value()

    return types.void(array, types.intp, VECTOR), build


@intrinsic
def spread(typingctx, x):
    """The same number in all places."""

    def build(c, b, s, a):
        zero = ir.Constant(ir.IntType(32), 0)
        first = b.insert_element(ir.Constant(VALUES, ir.Undefined), a[0], zero)
        return b.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))

    return VECTOR(types.float64), build


def _operation(build, places):
    @intrinsic
    def operation(typingctx, *vectors):
        return VECTOR(*[VECTOR] * places), lambda c, b, s, a: build(b, *a)

    return operation


def _chosen(b, test, x, y, first, second):
    return b.select(b.fcmp_ordered(test, x, y), first, second)
