"""Attention and its gradient on a CPU, beside the reference, which `test_transformer` holds against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax_kernels as kernels
from dgjax_kernels import cpu
from dgjax_kernels.blocks import repeats

KERNEL, BACK = "dgjax_attention_float32", "dgjax_attention_back_float32"
SHAPES = {
    "causal, in whole vectors": (2, 64, 64, 2, 32, "causal"),
    "edges everywhere": (3, 37, 41, 2, 5, "random"),
    "queries that see nothing": (2, 5, 130, 1, 8, "few"),
    "long sums, in parts": (1, 3, 2100, 1, 3, "all"),
    "of fewer keys in longer parts": (1, 1025, 1025, 1, 50, "causal"),
    "fewer keys than queries of a block": (1, 40, 5, 1, 70, "all"),
}
EVERY = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def heads(shape):
    """Queries, keys, values, a mask (for all, or for each), and a cotangent."""
    n, t, u, a, c, kind = shape
    rng = np.random.default_rng(0)
    q, k, v, cotangent = (rng.normal(size=(n, 1, size, a, c)) for size in (t, u, u, t))
    masks = {"causal": np.tril(np.ones((t, u), bool)), "all": np.ones((t, u), bool)}
    some = rng.random((n, 1, t, u)) < (0.4 if kind == "random" else 0.01)
    return 3 * q, k, v, masks.get(kind, some), cotangent


def of(dtype, args):
    return [jnp.asarray(one) if one.dtype == bool else jnp.asarray(one, dtype) for one in args]


def assert_near(found, expected, dtype):
    for own, one in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert own.dtype == dtype
        np.testing.assert_allclose(own, one, rtol=0, atol=40 * np.finfo(dtype).eps * np.abs(one).max())


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_the_reference(shape, dtype, x64):
    *args, cotangent = heads(shape)
    expected = kernels.attention.reference(*of("float64", args))
    assert_near(jax.jit(cpu.attention.attention)(*of(dtype, args)), expected, dtype)
    expected = kernels.attention_gradient.reference(*of("float64", [*args, cotangent]))
    assert_near(jax.jit(cpu.attention.gradient)(*of(dtype, [*args, cotangent])), expected, dtype)


def test_what_is_seen_and_no_number_makes_its_query_none():
    """NaN and infinite keys and values, which in the first of two blocks of queries nothing sees."""
    q, k, v, mask, _ = of("float32", heads((1, 64, 64, 1, 8, "causal")))
    for bad in (jnp.nan, jnp.inf):
        spoilt = k.at[:, :, 40:].set(bad), v.at[:, :, 40:].set(bad)
        own = jax.jit(cpu.attention.attention)(q, *spoilt, mask)
        np.testing.assert_array_equal(own[:, :, :32], cpu.attention.attention(q, k, v, mask)[:, :, :32])
        assert np.isnan(own[:, :, 40:]).all()


def test_the_kernel_is_taken_where_it_pays_and_nowhere_else():
    of_head = jax.grad(lambda q, mask: (kernels.attention(q, q, q, mask) ** 2).sum())
    for t, often, taken in ((64, 1024, 1), (64, 1, 0), (16, 1 << 20, 0)):
        with repeats(often):
            traced = jax.jit(of_head).trace(jax.ShapeDtypeStruct((8, t, 1, 8), "float32"), np.ones((t, t), bool))
        text = traced.lower(lowering_platforms=("cpu",)).as_text()
        assert (text.count(f"@{KERNEL}("), text.count(f"@{BACK}(")) == (taken, taken)
        for platform in ("cuda", "tpu"):
            assert "dgjax" not in traced.lower(lowering_platforms=(platform,)).as_text()


def test_derivatives_are_those_of_the_reference():
    q, k, v, mask, cotangent = of("float32", heads((2, 64, 64, 2, 32, "causal")))

    def sloped(attention):
        def slope(q, k, v):
            return jax.grad(lambda *args: (attention(*args, mask) * cotangent).sum(), (0, 1, 2))(q, k, v)

        def squared(q, k, v):
            return sum((one**2).sum() for one in slope(q, k, v))

        with repeats(1024):
            return jax.jit(slope)(q, k, v), jax.jit(jax.grad(squared))(q, k, v)

    for own, one in zip(
        *map(jax.tree.leaves, map(sloped, (kernels.attention, kernels.attention.reference))), strict=True
    ):
        np.testing.assert_allclose(own, one, rtol=0, atol=2e-5 * np.abs(one).max())


def test_rows_mapped_over_and_masks_of_their_own():
    q, k, v, mask, _ = of("float32", heads((3, 37, 41, 2, 5, "random")))
    together = cpu.attention.attention(q, k, v, mask)
    np.testing.assert_array_equal(jax.vmap(cpu.attention.attention)(q, k, v, mask), together)
