"""Arithmetic on lanes: LANES rows side by side on the last axis, so that an instruction works on several (SIMD).

    x[0]   cell 0 of row 0 │ of row 1 │ ... │ of row 127       u[j, n] = x[j, n] - mean[j] for 8 n at once (AVX-512)
    x[1]   cell 1 of row 0 │ of row 1 │ ... │ of row 127

Loops over n in range(LANES) are what LLVM makes vectors of, as wide as the machine's. Matrices of d rows are padded to
a multiple of 4, with the identity, so that loops take four rows at a time and load a row once for four products. Matrix
products are in `tiles`, for LLVM does not keep their sums in registers.
"""

import math

import numpy as np
from llvmlite import ir
from numba import types

from dgjax_kernels.cpu.ffi import F, intrinsic, jit
from dgjax_kernels.rows import KEPT as KEPT

LANES = 128  # 16 registers of AVX-512; u of 16 columns and float64 is 16 kB, half a first-level cache
LOG2_E, LN2, LN2_HIGH, LN2_LOW = 1 / math.log(2), math.log(2), 6.93147180369123816490e-01, 1.90821492927058770002e-10
ROUND = 1.5 * 2**52  # added to a number, rounds it to a whole one, whose bits are then the lowest of the sum
ROUND_BITS, ONE_BITS, MANTISSA = np.int64(0x4338 << 48), np.int64(1023 << 52), np.int64((1 << 52) - 1)
LEAST_EXPONENT = -708.0  # below it, exp is no normal number
LEAST_COUNT = 1e-40  # share of the total so far below which a responsibility is none: see `counting`
LOWEST, FARTHEST = -1e300, -1e12  # see `parts`: the exponent of 0, and x whose own rounding is a digit of e^x


def fast(function: F) -> F:
    """Compilation of arithmetic whose sums may be in any order, so that lanes can be added up; NaN and inf are kept."""
    return jit(function, fastmath={"contract", "reassoc", "nsz"})


def exact(function: F) -> F:
    """Compilation of arithmetic in the order in which it is written; a b + c may be fused."""
    return jit(function, fastmath={"contract"})


@intrinsic
def as_bits(typingctx, x):
    """Bits of a float64, as an integer."""
    return types.int64(types.float64), lambda c, b, s, a: b.bitcast(a[0], ir.IntType(64))


@intrinsic
def as_float(typingctx, bits):
    """Float64 with these bits, given as an integer."""
    return types.float64(types.int64), lambda c, b, s, a: b.bitcast(a[0], ir.DoubleType())


@intrinsic
def wide(typingctx):
    """SIMD width: lets loops of the function that this stands in use the widest registers; LLVM uses half for some.

    A step of complete rows of 16 columns and 8 labels took 8.9 ms without and 8.1 with it.
    """

    def build(c, b, s, a):
        set.add(b.function.attributes, '"prefer-vector-width"="512"')
        return c.get_dummy_value()

    return types.void(), build


@exact
def exp_of_rest(r):
    """Exponential e^r for |r| <= log(2) / 2, by its Taylor polynomial."""
    p = r * (1 / 6227020800) + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 0.5
    p = p * r + 1
    return p * r + 1


@exact
def parts(x):
    """Exponential e^x as m 2^E, however small: m from 0.7 to 1.42, 0 for minus infinity, and E a whole number."""
    power = (x * LOG2_E + ROUND) - ROUND
    r = (x - power * LN2_HIGH) - power * LN2_LOW
    m = exp_of_rest(r if x > FARTHEST else 0.0)
    return (m if x > -math.inf else (0.0 if x == -math.inf else x)), (power if x > -math.inf else LOWEST)


@exact
def power_of_two(x):
    """2^x for a whole number x up to 1022; 0 below -1022."""
    p = as_float((as_bits(x + ROUND) << 52) + ONE_BITS)
    return p if x > -1022.5 else 0.0


@exact
def exp(x):
    """Exponential e^x for x <= 0, to a unit in the last place; 0 below -708, where it would lose digits.

    x = power log 2 + r with |r| <= log(2) / 2, log 2 in two parts so that r is exact; then a Taylor polynomial of r,
    and the power is added to the exponent's bits.
    """
    shifted = (x if x > LEAST_EXPONENT else LEAST_EXPONENT) * LOG2_E + ROUND
    power = shifted - ROUND
    r = ((x if x > LEAST_EXPONENT else LEAST_EXPONENT) - power * LN2_HIGH) - power * LN2_LOW
    p = exp_of_rest(r)
    scaled = p * as_float((as_bits(shifted) << 52) + ONE_BITS)
    return scaled if x > LEAST_EXPONENT else (0.0 if x <= LEAST_EXPONENT else x)


@exact
def log(x):
    """Logarithm of normal positive x, to two units in the last place.

    x = 2^exponent m with m from 0.71 to 1.41, and log m = 2 artanh f, f = (m - 1) / (m + 1), by its series.
    """
    bits = as_bits(x)
    m = as_float((bits & MANTISSA) + ONE_BITS)
    high = m > 1.4142135623730951
    m = 0.5 * m if high else m
    exponent = as_float((bits >> 52) + ROUND_BITS) - (ROUND + 1023) + (1.0 if high else 0.0)
    f = (m - 1) / (m + 1)
    s = f * f
    p = s * (1 / 21) + 1 / 19
    p = p * s + 1 / 17
    p = p * s + 1 / 15
    p = p * s + 1 / 13
    p = p * s + 1 / 11
    p = p * s + 1 / 9
    p = p * s + 1 / 7
    p = p * s + 1 / 5
    p = p * s + 1 / 3
    return exponent * LN2_HIGH + (exponent * LN2_LOW + 2 * f * (p * s) + 2 * f)


@fast
def solve(L, r, length):
    """Forward substitution: r (d, LANES) becomes L^-1 r, L (d, d) lower, and `length` (LANES,) the sum of its squares.

    Four rows at a time: what is known of four others is then loaded once for 16 products. The diagonal of L holds its
    inverse, for divisions are slow.
    """
    wide()
    d = len(r)
    for n in range(LANES):
        length[n] = 0
    for i in range(0, d, 4):
        r0, r1, r2, r3 = r[i], r[i + 1], r[i + 2], r[i + 3]
        for j in range(0, i, 4):
            a0, a1, a2, a3 = L[i, j], L[i, j + 1], L[i, j + 2], L[i, j + 3]
            b0, b1, b2, b3 = L[i + 1, j], L[i + 1, j + 1], L[i + 1, j + 2], L[i + 1, j + 3]
            c0, c1, c2, c3 = L[i + 2, j], L[i + 2, j + 1], L[i + 2, j + 2], L[i + 2, j + 3]
            e0, e1, e2, e3 = L[i + 3, j], L[i + 3, j + 1], L[i + 3, j + 2], L[i + 3, j + 3]
            u0, u1, u2, u3 = r[j], r[j + 1], r[j + 2], r[j + 3]
            for n in range(LANES):
                y0, y1, y2, y3 = u0[n], u1[n], u2[n], u3[n]
                r0[n] -= a0 * y0 + a1 * y1 + a2 * y2 + a3 * y3
                r1[n] -= b0 * y0 + b1 * y1 + b2 * y2 + b3 * y3
                r2[n] -= c0 * y0 + c1 * y1 + c2 * y2 + c3 * y3
                r3[n] -= e0 * y0 + e1 * y1 + e2 * y2 + e3 * y3
        b0, c0, c1 = L[i + 1, i], L[i + 2, i], L[i + 2, i + 1]
        e0, e1, e2 = L[i + 3, i], L[i + 3, i + 1], L[i + 3, i + 2]
        s0, s1, s2, s3 = L[i, i], L[i + 1, i + 1], L[i + 2, i + 2], L[i + 3, i + 3]
        for n in range(LANES):
            y0 = r0[n] * s0
            y1 = (r1[n] - b0 * y0) * s1
            y2 = (r2[n] - c0 * y0 - c1 * y1) * s2
            y3 = (r3[n] - e0 * y0 - e1 * y1 - e2 * y2) * s3
            r0[n], r1[n], r2[n], r3[n] = y0, y1, y2, y3
            length[n] += y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3


@jit
def padded(d):
    """Padded size: the next multiple of 4."""
    return -(-d // 4) * 4


@fast
def residual(x, mean, u, d):
    """Residuals u (d, LANES) = x - mean, 0 in the padding, for x (d, LANES) and mean (d,)."""
    wide()
    for j in range(d):
        centre = mean[j]
        for n in range(LANES):
            u[j, n] = x[j, n] - centre
    for j in range(d, len(u)):
        for n in range(LANES):
            u[j, n] = 0


@fast
def squares(u, a, total):
    """Squared lengths (LANES,): total = sum over d of (u - a)^2, for u (d, LANES) and a (d,)."""
    wide()
    total[:] = 0
    for j in range(len(u)):
        for n in range(LANES):
            z = u[j, n] - a[j]
            total[n] += z * z


@fast
def first_moments(c, u, cu, total, first, k):
    """First moments of label k: cu = c u (d, LANES), whose sum over lanes, and that of c, are added to its own."""
    wide()
    for n in range(LANES):
        total[k] += c[n]
    for j in range(len(u)):
        s = u.dtype.type(0)
        for n in range(LANES):
            cu[j, n] = u.dtype.type(c[n]) * u[j, n]
            s += cu[j, n]
        first[k, j] += s


@fast
def first_moments_of_few(c, u, cu, total, first, k, width):
    """First moments of label k in the first `width` lanes: cu = c u (d, LANES); sums of it and of c are added.

    With `width` known when compiled, as in `first_moments`, a loop takes two thirds of this one's time.
    """
    for n in range(width):
        total[k] += c[n]
    for j in range(len(u)):
        s = u.dtype.type(0)
        for n in range(width):
            cu[j, n] = u.dtype.type(c[n]) * u[j, n]
            s += cu[j, n]
        first[k, j] += s


@jit
def counting(c, total, width, index):
    """Lanes that count, of responsibilities c: fills `index` with them and says how many; all, if most do.

    A count of 1e-40 of the total so far is none: its part in the sums is far below rounding. One of NaN counts.
    """
    least, many, found = LEAST_COUNT * total, 0, 0
    for n in range(width):
        many += not c[n] <= least
    if many > width // 2:
        return width
    for n in range(width if many else 0):
        index[found] = n
        found += not c[n] <= least
    return many


@jit
def to_front(rows, index, many, rest):
    """Lanes that count, `many` by their `index`, moved to the front of each row; the last eight filled with `rest`."""
    for j in range(len(rows)):
        row = rows[j]
        for n in range(many):
            row[n] = row[index[n]]
        for n in range(many, eights(many)):
            row[n] = rest


@jit
def eights(n):
    """Padded size: the next multiple of 8."""
    return -(-n // 8) * 8
