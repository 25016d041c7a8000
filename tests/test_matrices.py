"""Products of matrices beside NumPy's in float64, and their derivatives beside those of JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax_kernels as kernels
from dgjax_kernels import matrices

SHAPES = {
    "columns in whole tiles": (96, 512, 96),
    "edges everywhere": (75, 1043, 61),
    "long sums, in parts": (24, 5000, 40),
    "blocks of columns": (64, 600, 1100),
}
FORMS = [(False, False), (True, False), (False, True)]


def factors(shape, dtype, turned=(False, False)):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    exact = a.astype("float64") @ b.astype("float64")
    scale = np.abs(a).astype("float64") @ np.abs(b).astype("float64")
    return jnp.asarray(a.T if turned[0] else a), jnp.asarray(b.T if turned[1] else b), exact, scale


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("turned", FORMS, ids=["a b", "a^T b", "a b^T"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_products(shape, turned, dtype, x64):
    a, b, exact, scale = factors(shape, dtype, turned)
    product = matrices._primitive().bind(a, b, turned=turned, precision=None)
    assert product.dtype == dtype
    assert (np.abs(product - exact) <= 16 * np.finfo(dtype).eps * scale).all()  # the bound is k times eps


def test_the_kernel_is_taken_where_it_pays_and_nowhere_else():
    for shape, taken in (((256, 512, 96), 3), ((128, 512, 96), 0), ((1 << 20, 8, 8), 0)):
        shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in (shape[:2], shape[1:])]
        traced = jax.jit(jax.grad(lambda a, b: (kernels.product(a, b) ** 2).sum(), (0, 1))).trace(*shapes)
        assert traced.lower(lowering_platforms=("cpu",)).as_text().count("dgjax_matrices") == taken
        for platform in ("cuda", "tpu"):
            text = traced.lower(lowering_platforms=(platform,)).as_text()
            assert "dgjax" not in text
            assert text.count("dot_general") == 3


def test_precision_is_that_of_where_the_product_is_written():
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((256, 512), (512, 96))]
    with jax.default_matmul_precision("highest"):
        traced = jax.jit(jax.grad(lambda a, b: (kernels.product(a, b) ** 2).sum(), (0, 1))).trace(*shapes)
    assert traced.lower(lowering_platforms=("cuda",)).as_text().count("precision = [HIGHEST, HIGHEST]") == 3


def test_derivatives_are_those_of_plain_products(x64):
    a, b, *_ = factors((267, 1043, 61), "float64")

    def of(product):
        def f(a, b):
            return jnp.sin(product(a, b) / 32).sum()

        def squared(a, b):
            return sum((g**2).sum() for g in jax.grad(f, (0, 1))(a, b))

        moves = jnp.ones_like(a), 2 * b
        forwards = jax.jvp(f, (a, b), moves)[1]
        over_reverse = jax.jvp(jax.grad(f, (0, 1)), (a, b), moves)[1]
        many = jax.vmap(jax.grad(f), (0, None))(jnp.stack([a, -a]), b)
        return jax.jit(jax.grad(f, (0, 1)))(a, b), forwards, over_reverse, jax.grad(squared, (0, 1))(a, b), many

    pairs = zip(jax.tree.leaves(of(kernels.product)), jax.tree.leaves(of(jnp.matmul)), strict=True)
    for mine, plain in pairs:
        np.testing.assert_allclose(mine, plain, rtol=1e-9, atol=1e-9)


def test_two_precisions_meet_in_the_wider(x64):
    a, b, *_ = factors((256, 512, 96), "float64")
    product = kernels.product(a, b.astype("float32"))
    assert product.dtype == "float64"
    np.testing.assert_allclose(product, np.asarray(a) @ np.float32(b).astype(float), rtol=0, atol=1e-11)


def test_cores_do_not_change_the_product(monkeypatch):
    a, b, *_ = factors((267, 1043, 61), "float32")
    products = []
    for cores in (1, 3, 16):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        products.append(np.asarray(jax.jit(lambda a, b: kernels.product(a, b))(a, b)))
    for other in products[1:]:
        np.testing.assert_array_equal(other, products[0])
