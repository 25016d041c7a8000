"""The kernels on their own: against plain linear algebra, in blocks, and on a platform of their own."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import dgjax as dg
import dgjax_kernels as kernels
from dgjax_kernels import blocks


def matrices(d, dtype="float64", batch=(3, 2)):
    rng = np.random.default_rng(d)
    return jnp.asarray(rng.normal(size=(*batch, d, d)) + 2 * np.eye(d), dtype)


@pytest.mark.parametrize("d", [3, 20], ids=["in lanes", "one at a time"])
def test_triangular_factors(d, x64):
    A = matrices(d)
    S = A @ jnp.swapaxes(A, -1, -2)
    L, B = jnp.asarray(np.linalg.cholesky(S)), A[..., :2]
    np.testing.assert_allclose(kernels.cholesky(S), L, atol=1e-10)
    np.testing.assert_allclose(kernels.triangularized(A), L, atol=1e-10)
    np.testing.assert_allclose(kernels.triangularized(L), L, atol=1e-13)
    np.testing.assert_allclose(L @ kernels.solve(L, B), B, atol=1e-10)
    upper = jnp.swapaxes(L, -1, -2)
    np.testing.assert_allclose(upper @ kernels.solve_transposed(L, B), B, atol=1e-10)
    wide = jnp.tile(A, (1, 1, 1, 41)) / np.sqrt(41)  # which goes by blocks of columns, the last in part
    np.testing.assert_allclose(kernels.triangularized(wide), L, atol=1e-10)
    np.testing.assert_allclose(L @ kernels.inverse(L), np.broadcast_to(np.eye(d), L.shape), atol=1e-10)
    np.testing.assert_allclose(jax.vmap(kernels.triangularized)(A), L, atol=1e-10)


def test_derivatives_of_triangular_factors(x64):
    A = matrices(3, batch=(2,))
    L, B = jnp.linalg.cholesky(A @ jnp.swapaxes(A, -1, -2)), A[..., :2]
    functions = {
        kernels.solve: (L, B),
        kernels.inverse: (L,),
        kernels.triangularized: (A,),
        lambda A: kernels.triangularized(A[..., :2, :]): (A,),
        lambda A: kernels.cholesky(A @ jnp.swapaxes(A, -1, -2)): (A,),
    }
    for function, arguments in functions.items():
        check_grads(jax.jit(function), arguments, order=1, modes=("fwd", "rev"), rtol=1e-5, atol=1e-5)
    check_grads(jax.jit(kernels.triangularized), (A,), order=2, modes=("rev",), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("d", [3, 20])
def test_no_batched_lapack_call_on_a_cpu(d):
    """Two of them at once wait for each other for ever on two cores (jaxlib 0.10)."""
    model = dg.Mixture(jnp.zeros(2), dg.Gaussian(jnp.zeros((2, d)), jnp.stack([jnp.eye(d)] * 2)))
    x = jnp.full((30, d), jnp.nan).at[:, 0].set(1.0)
    prior = dg.weak_prior(model, x.at[0].set(0.0))

    def everything(model, x, key):
        fitted = dg.fit(model, x, prior=prior, max_steps=3, method=dg.Restarts(2, key)).model
        return (
            dg.impute(fitted, x),
            dg.sample_missing(fitted, key, x),
            jax.grad(lambda m: dg.log_prob(m, x).sum())(model),
        )

    text = jax.jit(everything).lower(model, x, jax.random.key(0)).as_text()
    calls = re.findall(r"custom_call @(lapack_\w+)\(.*?\) .*? : \((tensor<[^>]*>)", text)
    assert [call for call in calls if call[1].count("x") > 2] == []
    assert calls or d <= 16


def test_blocks_do_not_change_the_sum(monkeypatch, x64):
    """Whole and in blocks of 16 rows, a partial one at the end: a fit, and every row's answer."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random((50, 3)) < 0.2, np.nan, rng.normal(size=(50, 3)))
    start = dg.gaussian_mixture(jax.random.key(0), x, 2)
    whole = dg.fit(start, x, method=dg.EM(tol=0.0), max_steps=4), dg.log_prob(start, x)
    monkeypatch.setattr(blocks, "BUDGET", 1)
    assert blocks.block_size(1) == 16
    longer = np.concatenate([x, x[:1]])  # a shape that is not compiled yet
    parts = (
        dg.fit(start, longer, weights=np.arange(51) < 50, method=dg.EM(tol=0.0), max_steps=4),
        dg.log_prob(start, longer)[:50],
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), parts, whole)


def test_sums_are_compensated():
    """A million floats of 0.1 after one of 1e4: a running sum loses digits at each step."""
    x = jnp.full(1 << 20, 0.1, "float32").at[0].set(1e4)
    total = kernels.sum_rows(kernels.pairwise_sum, x, fill=(0,), row_cost=blocks.BUDGET)
    exact = np.asarray(x, float).sum()
    assert float(total) == pytest.approx(exact, rel=1e-6)
    assert float(kernels.pairwise_sum(x)) == pytest.approx(exact, rel=1e-6)
    assert float(np.cumsum(np.asarray(x), dtype="float32")[-1]) != pytest.approx(exact, rel=1e-4)


def test_a_fast_form_runs_where_it_is_and_is_differentiated_as_the_reference():
    operation = kernels.Op(jnp.sin, cpu=lambda x: jnp.sin(x) + 1, cuda=lambda x: jnp.sin(x) + 2)
    assert operation(0.0) == 1
    assert jax.jit(jax.grad(operation))(0.0) == 1
    assert jax.vmap(operation)(jnp.zeros(2)).tolist() == [1, 1]
    texts = [jax.jit(operation).trace(0.0).lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda", "tpu")]
    assert ["2.0" in text for text in texts] == [False, True, False]


def test_a_fast_form_runs_where_its_own_condition_or_the_rows_holds():
    many, some = (lambda x: x.size > 2), (lambda x: x.size > 1)
    operation = kernels.Op(
        jnp.sin, many, cpu=lambda x: jnp.sin(x) + 1, cuda=kernels.When(some, lambda x: jnp.sin(x) + 2)
    )
    assert [operation(jnp.zeros(n))[0] for n in (1, 2, 3)] == [0, 0, 1]
    lowered = [
        [jax.jit(operation).trace(jnp.zeros(n)).lower(lowering_platforms=(p,)).as_text() for n in (1, 2, 3)]
        for p in ("cpu", "cuda")
    ]
    assert [["1.0" in text for text in texts] for texts in lowered] == [[False, False, True], [False] * 3]
    assert [["2.0" in text for text in texts] for texts in lowered] == [[False] * 3, [False, True, True]]


def test_matrix_products_keep_every_digit():
    """As lowered for accelerators, which would round float32 factors."""
    case = dg.Mixture(jnp.zeros(2), dg.Gaussian(jnp.zeros((2, 3)), jnp.eye(3)))
    text = jax.jit(dg.log_prob).trace(case, jnp.zeros((4, 3))).lower(lowering_platforms=("cuda",)).as_text()
    products = re.findall(r"dot_general.*", text)
    assert products
    assert all("HIGHEST" in product for product in products)
