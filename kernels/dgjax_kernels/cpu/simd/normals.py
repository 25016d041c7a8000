"""Standard normal numbers, the same as those of `jax.random.normal` to their last digits, from threefry keys.

Number i of a key is made of its own counter i alone, so that any thread can make any part of them:

    i ─▶ threefry2x32(key, i)   64 random bits, 16 counters side by side (Salmon et al. 2011, JAX's generator)
      ─▶ u from -1 to 1         as jax.random.uniform makes it of these bits, 23 of them in float32, 52 in float64
      ─▶ sqrt(2) erfinv(u)      u times a polynomial in w = -log(1 - u^2), to 3e-14; beyond w = 6.25 one in sqrt(w)

The two polynomials interpolate sqrt(2) erfinv(u) / u at Chebyshev points, in a variable from -1 to 1; the split at w =
6.25 is that of Giles (2010), Approximating the erfinv function. One number takes 6 ns on one core; by XLA 30.
"""

import math

import numpy as np
from llvmlite import ir
from numba import types

from dgjax_kernels.cpu.ffi import intrinsic, jit
from dgjax_kernels.cpu.simd.lanes import LANES, fast, log, wide

SIDE_BY_SIDE = 16  # counters, 32 bits each: one register of AVX-512
ROTATIONS, PARITY = ((13, 15, 26, 6), (17, 29, 16, 24)), 0x1BD11BDA
SPLIT, LARGEST_ROOT = 6.25, 6.2  # of w, and of sqrt(w): u is at most 1 - 2^-53
# fmt: off
CENTRAL = (
    1.0536712127723509e-08, -8.6154085256839245e-08, 6.9727515685845292e-08, 6.3961958518456560e-07,
    -1.5905177246556581e-06, -8.1743058962110014e-07, 1.0146322055756333e-05, -1.6028171430601139e-05,
    -2.1279252566505468e-05, 1.3208936151349706e-04, -1.6529873914948050e-04, -3.7392203301367757e-04,
    1.7429967390556885e-03, -1.7984424563667486e-03, -5.8510460217121767e-03, 2.5184826650694013e-02,
    -3.1967516161109891e-02, -8.3329093523261788e-02, 1.0613592459410714e+00, 2.3386207100265697e+00,
)
TAIL = (
    -3.2080852544528606e-06, 6.4959402914813685e-06, 1.0957378906474905e-05, -3.7045862965354580e-05,
    1.7290973660553579e-05, 3.8827573026933039e-05, -7.8589769688493241e-05, 1.0677876992513298e-04,
    -1.0422546547600697e-04, -8.7577705982174127e-06, 2.3705839472890940e-04, -4.8553044605195559e-04,
    6.5746362511362357e-04, -7.1093385557361799e-04, 6.8059028832427528e-04, -6.8661242614303955e-04,
    9.1999754271002274e-04, -1.6268310186518806e-03, 3.0305376993467570e-03, -4.7373321191937273e-03,
    2.6257750463574963e-03, 2.6427285873595667e+00, 5.9301196129785092e+00,
)
# fmt: on


def _all(kind, x):
    return ir.Constant(ir.VectorType(kind, SIDE_BY_SIDE), [x] * SIDE_BY_SIDE)


def _everywhere(b, number):
    """Vector with one number in all places."""
    kind = ir.VectorType(number.type, SIDE_BY_SIDE)
    first = b.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return b.shuffle_vector(first, first, _all(ir.IntType(32), 0))


def _mixed(b, x0, x1, times):
    """One round of threefry: add, rotate, exclusive or."""
    x0 = b.add(x0, x1)
    rotated = b.or_(b.shl(x1, _all(ir.IntType(32), times)), b.lshr(x1, _all(ir.IntType(32), 32 - times)))
    return x0, b.xor(x0, rotated)


def _threefry(b, k0, k1, counter):
    """Random bits, 32 and 32, of SIDE_BY_SIDE counters from one on: threefry2x32 of 20 rounds."""
    half, word = ir.IntType(32), ir.IntType(64)
    steps = ir.Constant(ir.VectorType(word, SIDE_BY_SIDE), [*range(SIDE_BY_SIDE)])
    counters, kind = b.add(_everywhere(b, counter), steps), ir.VectorType(half, SIDE_BY_SIDE)
    keys = [_everywhere(b, b.trunc(k, half)) for k in (k0, k1)]
    keys.append(b.xor(b.xor(*keys), _all(half, PARITY)))
    x0 = b.add(b.trunc(b.lshr(counters, _all(word, 32)), kind), keys[0])
    x1 = b.add(b.trunc(counters, kind), keys[1])
    for i in range(5):
        for times in ROTATIONS[i % 2]:
            x0, x1 = _mixed(b, x0, x1, times)
        x0 = b.add(x0, keys[(i + 1) % 3])
        x1 = b.add(b.add(x1, keys[(i + 2) % 3]), _all(half, i + 1))
    return x0, x1


def _between(b, bits, number, shift, one):
    """Numbers u from -1 to 1, without 1, of random bits: as `jax.random.uniform` makes them for normal numbers."""
    kind = bits.type.element
    mantissa = b.or_(b.lshr(bits, _all(kind, shift)), _all(kind, one))
    unit = b.fsub(b.bitcast(mantissa, ir.VectorType(number, SIDE_BY_SIDE)), _all(number, 1.0))
    least = np.nextafter(np.float32(-1), np.float32(0)) if kind.width == 32 else np.nextafter(-1.0, 0.0)
    return b.fadd(b.fmul(unit, _all(number, 2.0)), _all(number, float(least)))


def _uniform(double):
    @intrinsic
    def uniform(typingctx, key0, key1, counter, array, offset):
        def build(c, b, s, a):
            x0, x1 = _threefry(b, *a[:3])
            if double:
                wide = ir.VectorType(ir.IntType(64), SIDE_BY_SIDE)
                bits = b.or_(b.shl(b.zext(x0, wide), _all(ir.IntType(64), 32)), b.zext(x1, wide))
                u = _between(b, bits, ir.DoubleType(), 12, 0x3FF << 52)
            else:
                u = _between(b, b.xor(x0, x1), ir.FloatType(), 9, 0x7F << 23)
                u = b.fpext(u, ir.VectorType(ir.DoubleType(), SIDE_BY_SIDE))
            place = b.gep(c.make_array(array)(c, b, a[3]).data, [a[4]])
            b.store(u, b.bitcast(place, u.type.as_pointer()), align=8)
            return c.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64, array, types.intp), build

    return uniform


_uniform_double, _uniform_single = _uniform(True), _uniform(False)


def _horner(coefficients):
    """Polynomial of fixed coefficients, the highest first, as one expression: numba unrolls no loop over a tuple."""
    text = repr(coefficients[0])
    for own in coefficients[1:]:
        text = f"({text}) * t + {own!r}"
    return fast(eval(f"lambda t: {text}"))


_central, _tail = _horner(CENTRAL), _horner(TAIL)


@fast
def _invert(u, w):
    """Replaces u (LANES,) by sqrt(2) erfinv(u) in the central part; w is filled with -log(1 - u^2): the largest."""
    wide()
    largest = 0.0
    for n in range(LANES):
        w[n] = -log((1 - u[n]) * (1 + u[n]))
    for n in range(LANES):
        z = u[n] * _central(w[n] * (2 / SPLIT) - 1)
        u[n] = z if w[n] < SPLIT else u[n]
    for n in range(LANES):
        largest = w[n] if w[n] > largest else largest
    return largest


@jit
def standard_normals(key0, key1, first, double, z, w):
    """Fills z, whose size is a multiple of LANES, with standard normal numbers of a key from the one numbered `first`.

    With 53 random bits if `double`, else with 24; w (LANES,) is scratch.
    """
    root = math.sqrt(SPLIT)
    for i in range(0, len(z), LANES):
        for n in range(i, i + LANES, SIDE_BY_SIDE):
            if double:
                _uniform_double(key0, key1, first + n, z, n)
            else:
                _uniform_single(key0, key1, first + n, z, n)
        own = z[i : i + LANES]
        if _invert(own, w) >= SPLIT:
            for n in range(LANES):
                if w[n] >= SPLIT:
                    own[n] *= _tail((2 * math.sqrt(w[n]) - root - LARGEST_ROOT) / (LARGEST_ROOT - root))
