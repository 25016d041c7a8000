"""Draws of normal distributions by the CPU's own kernel: the reference's, from the same random bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax as dg
import dgjax_kernels as kernels
from dgjax_kernels.cpu import worth

pytestmark = pytest.mark.usefixtures("kernels_for_any_size")
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}  # of a number and its inverse error function: XLA's is as good


def problem(n, d, g, m, dtype):
    rng = np.random.default_rng(0)
    mean, L = rng.normal(size=(g, m, d)), np.tril(rng.normal(size=(g, d, d)))
    labels = jnp.asarray(rng.integers(g * m, size=n))
    return jax.random.key(3), labels, jnp.asarray(mean, dtype), jnp.asarray(L, dtype)


@pytest.mark.parametrize(("n", "d", "g", "m"), [(50_001, 5, 3, 2), (1_000, 17, 1, 4), (3, 1, 2, 1)])
def test_draws_are_the_references(n, d, g, m, dtype):
    """Of a few rows and many, in one vector of columns and three, among them numbers far out in the tails."""
    key, labels, mean, L = problem(n, d, g, m, dtype)
    full, diagonal = kernels.gaussian_draws, kernels.diagonal_draws
    columns = mean.reshape(-1, d), jnp.abs(L[:, 0])[jnp.arange(g * m) // m]
    for op, arguments in ((full, (mean, L)), (diagonal, columns)):
        assert "dgjax_draws" in jax.jit(op).lower(key, labels, *arguments).as_text()
        draws, expected = op(key, labels, *arguments), op.reference(key, labels, *arguments)
        assert draws.dtype == expected.dtype == dtype
        np.testing.assert_allclose(draws, expected, rtol=0, atol=TOLERANCE[dtype.name] * 20)


def test_standard_normals_are_standard_normal(x64):
    """How many of sixteen million lie beyond 1 to 5, against the distribution function."""
    n, d = 1 << 20, 16
    z = np.abs(kernels.gaussian_draws(jax.random.key(1), jnp.zeros(n, int), jnp.zeros((1, 1, d)), jnp.eye(d)[None]))
    for limit in (1, 2, 3, 4, 5):
        expected = n * d * 2 * float(jax.scipy.stats.norm.sf(limit))
        assert abs((z > limit).sum() - expected) < 5 * np.sqrt(expected) + 1


def test_draws_move_with_their_parameters_and_map_over_keys(x64):
    key, labels, mean, L = problem(500, 3, 2, 1, "float64")
    moved = jax.jacfwd(lambda mean, L: kernels.gaussian_draws(key, labels, mean, L), argnums=(0, 1))(mean, L)
    expected = jax.jacfwd(lambda mean, L: kernels.gaussian_draws.reference(key, labels, mean, L), argnums=(0, 1))(
        mean, L
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), moved, expected)
    keys = jax.random.split(key, 3)
    together = jax.vmap(lambda key: kernels.gaussian_draws(key, labels, mean, L))(keys)
    np.testing.assert_array_equal(together, [kernels.gaussian_draws(one, labels, mean, L) for one in keys])


def test_keys_of_other_generators_have_their_own_draws():
    labels, mean, L = problem(10, 3, 2, 1, "float32")[1:]
    assert worth.many_draws(jax.random.key(0), labels, mean, L)
    assert not worth.many_draws(jax.random.key(0, impl="rbg"), labels, mean, L)


def test_rows_of_nested_labels_have_their_own_means():
    """Components within classes, whose means lie far apart, and shapes of more than one axis."""
    mean = 100.0 * np.arange(6).reshape(3, 2, 1) + np.zeros((3, 2, 4))
    model = dg.Mixture(np.zeros(3), dg.Mixture(np.zeros((3, 2)), dg.Gaussian(mean, np.stack([np.eye(4)] * 3))))
    x, y = dg.sample(model, jax.random.key(0), (7, 11))
    assert x.shape == (7, 11, 4)
    component = np.round(np.asarray(x).mean(-1) / 100).astype(int)
    np.testing.assert_array_equal(component // 2, y)
    assert set(component.ravel()) == set(range(6))
    assert dg.sample(model, jax.random.key(0), 0)[0].shape == (0, 4)
