"""Matrix products, for which there is a kernel on a CPU, as a primitive of JAX's with derivatives of any order.

A product is bilinear, and each of its derivatives is such a product again, of matrices that may be given as their
transposes: with c the cotangent of a b, that of a is c b^T, and that of b is a^T c. The primitive says so, and
derivatives forwards and in reverse take the kernel too, where an `Op` would fall back to its reference.
"""

import functools
import os

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from dgjax_kernels.cpu.worth import supported

FEWEST_ROWS, FEWEST, ENOUGH = 256, 16, 1 << 22  # rows, columns and products from which the kernel pays: `_pays`


def product(a: Float[Array, "m k"], b: Float[Array, "k n"]) -> Float[Array, "m n"]:
    """Matrix product a b (m, n) of a (m, k) and b (k, n), both taken to the wider of their two precisions."""
    dtype = jnp.result_type(a, b)
    return _product(a.astype(dtype), b.astype(dtype), (False, False))


def _product(a, b, turned):
    """a b, where a or b may be given as its transpose (`turned`)."""
    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    if not _pays(a, b, turned):
        return _reference(a, b, turned=turned, precision=precision)
    return _primitive().bind(a, b, turned=turned, precision=precision)


def _pays(a, b, turned):
    """Whether there is a kernel for this product, and it is the faster one.

    GFLOP/s in float32 on 2 cores, the kernel and XLA: (1024, 784, 400) 299 and 275, of a turned 305 and 263, of b
    turned 295 and 280; where the rows are 128, 280 and 285, nor for as few that are summed over: compiling takes 5 s.
    """
    m, k = a.shape[::-1] if turned[0] else a.shape
    n = b.shape[1 - turned[1]]
    return supported(a) and min(m, len(a)) >= FEWEST_ROWS and min(n, k) >= FEWEST and m * n * k >= ENOUGH


def _reference(a, b, *, turned, precision):
    return jnp.matmul(a.T if turned[0] else a, b.T if turned[1] else b, precision=precision)


def _by_tiles(a, b, *, turned, precision):
    del precision
    from dgjax_kernels.cpu.regression.matrices import handler

    shape = a.shape[turned[0]], b.shape[1 - turned[1]]
    how = jnp.array([*turned, os.cpu_count() or 1], jnp.int32)
    return jax.ffi.ffi_call(handler.target(a.dtype), jax.ShapeDtypeStruct(shape, a.dtype))(a, b, how)


def _shape(a, b, *, turned, precision):
    del precision
    return ShapedArray((a.shape[turned[0]], b.shape[1 - turned[1]]), a.dtype)


def _of_left(cotangent, _, b, *, turned, precision):
    """Cotangent of the left factor a of a b: c b^T, c the `cotangent`, transposed if a was given as its transpose."""
    with jax.default_matmul_precision(precision):
        if turned[0]:
            return _product(b, cotangent, (False, True))
        return _product(cotangent, b, (False, not turned[1]))


def _of_right(cotangent, a, _, *, turned, precision):
    """Cotangent of the right factor b of a b: a^T c, c the `cotangent`, transposed if b was given as its transpose."""
    with jax.default_matmul_precision(precision):
        if turned[1]:
            return _product(cotangent, a, (True, False))
        return _product(a, cotangent, (not turned[0], False))


def _batched(args, axes, **how):
    return jax.vmap(functools.partial(_reference, **how), axes)(*args), 0


@functools.cache
def _primitive():
    """The primitive, made when there is a product for it: `jax.extend` takes as long to import as half of dgjax."""
    from jax.extend.core import Primitive

    primitive = Primitive("dgjax_product")
    primitive.def_abstract_eval(_shape)
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=("turned", "precision")))
    ad.defbilinear(primitive, _of_left, _of_right)
    batching.primitive_batchers[primitive] = _batched
    mlir.register_lowering(primitive, mlir.lower_fun(_reference, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(_by_tiles, multiple_results=False), platform="cpu")
    return primitive
