"""Bounds on log p(x): against closed forms, differences, brute force over a grid, and rows with holes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_close
from scipy import stats

import dgjax_kernels as kernels

N, D, M, S = 5, 4, 2, 6
RNG = np.random.default_rng(0)
SCALES = np.array([-0.5, 0.0, 0.3, 1.0])


def gaussian(x, mean, complete=False):
    return kernels.gaussian_cells(x, mean, jnp.asarray(SCALES, x.dtype), complete=complete)


def categorical(x, outputs, complete=False):
    return kernels.categorical_cells(x, outputs.reshape(*outputs.shape[:-1], D, 3), complete=complete)


def gaussian_mixture(x, outputs, complete=False):
    logits, mean, log_scale = jnp.moveaxis(outputs.reshape(*outputs.shape[:-1], D, 3, 2), -2, 0)
    return kernels.gaussian_mixture_cells(x, logits, mean, jnp.exp(0.3 * log_scale), complete=complete)


def log_density_of_mixtures(x, f):
    logits, mean, log_scale = np.moveaxis(f.reshape(*f.shape[:-1], D, 3, 2), -2, 0)
    of_components = stats.norm.logpdf(x[..., None], mean, np.exp(0.3 * log_scale))
    return np.logaddexp.reduce(logits + of_components, -1) - np.logaddexp.reduce(logits, -1)


CELLS = {
    "bernoulli": (kernels.bernoulli_cells, lambda rng: rng.integers(0, 2, (N, D)), D),
    "gaussian": (gaussian, lambda rng: rng.normal(size=(N, D)), D),
    "gaussian mixture": (gaussian_mixture, lambda rng: rng.normal(size=(N, D)), 6 * D),
    "categorical": (categorical, lambda rng: rng.integers(0, 3, (N, D)), 3 * D),
    "poisson": (kernels.poisson_cells, lambda rng: rng.poisson(2.0, (N, D)), D),
}
pytestmark = pytest.mark.xdist_group("elbo")


def problem(kind, dtype, missing=True):
    """A linear decoder, rows with holes, and some q."""
    cells, rows, size = CELLS[kind]
    rng = np.random.default_rng(1)
    x = rows(rng).astype(float)
    if missing:
        x[0, 1] = x[2, :3] = x[3] = np.nan
    W, mean, log_scale = rng.normal(size=(M, size)), rng.normal(size=(N, M)), rng.normal(0, 0.3, (N, M))
    e = rng.normal(size=(S, N, M))
    return cells, *(jnp.asarray(part, dtype) for part in (x, 0.7 * W, mean, log_scale, e))


def bounds(kind, dtype, missing=True, draw_cost=1):
    """Every bound as a function of its arrays."""
    cells, x, W, mean, log_scale, e = problem(kind, dtype, missing)

    def elbo(W, mean, log_scale, x=x):
        return kernels.elbo(mean, log_scale, lambda s: e[s], lambda z: cells(x, z @ W), S, draw_cost, 0.7).sum()

    def importance(W, mean, log_scale, x=x):
        return kernels.importance_bound(
            mean, log_scale, lambda s: e[s % S], lambda z: cells(x, z @ W), S, draw_cost
        ).sum()

    return tuple(map(jax.jit, (elbo, importance))), (W, mean, log_scale), x


def kinds(quick):
    """All kinds of cells, those that are not quick marked slow: what they share is most of what is compiled."""
    return pytest.mark.parametrize(
        "kind", [pytest.param(kind, marks=[] if kind in quick else pytest.mark.slow) for kind in CELLS]
    )


LOG_DENSITY = {
    "bernoulli": lambda x, f: stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-f))),
    "gaussian": lambda x, f: stats.norm.logpdf(x, f, np.exp(SCALES)),
    "gaussian mixture": log_density_of_mixtures,
    "categorical": lambda x, f: np.take_along_axis(
        f.reshape(*f.shape[:-1], D, 3) - np.logaddexp.reduce(f.reshape(*f.shape[:-1], D, 3), -1)[..., None],
        np.broadcast_to(np.nan_to_num(x).astype(int)[..., None], (*f.shape[:-1], D, 1)),
        -1,
    )[..., 0],
    "poisson": lambda x, f: stats.poisson.logpmf(np.nan_to_num(x), np.exp(f)),
}


@kinds(quick=[kind for kind in CELLS if kind != "gaussian mixture"])
def test_values_are_their_formulas(kind, dtype):
    """In NumPy, from densities of scipy: the sum over observed cells, the log-weights, and the divergence."""
    (elbo, importance), arrays, _ = bounds(kind, dtype)
    _, *given = problem(kind, "float64" if dtype == "float64" else "float32")
    x, W, mean, log_scale, e = (np.asarray(part, float) for part in given)
    z = mean + np.exp(log_scale) * e
    expected = np.where(np.isnan(x), 0, LOG_DENSITY[kind](np.where(np.isnan(x), 0, x), z @ W)).sum(-1)
    q, p = (stats.norm.logpdf(z, *own).sum(-1) for own in ((mean, np.exp(log_scale)), (0, 1)))
    divergence = 0.5 * (mean**2 + np.exp(2 * log_scale) - 1 - 2 * log_scale).sum()
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    assert float(elbo(*arrays)) == pytest.approx(expected.mean(0).sum() - 0.7 * divergence, rel=tolerance)
    assert float(importance(*arrays)) == pytest.approx(
        (np.logaddexp.reduce(expected + p - q) - np.log(S)).sum(), rel=tolerance
    )


@kinds(quick=["bernoulli", "poisson"])
def test_gradients_are_those_of_differences(kind, x64):
    """In float64, along a line through every parameter, rows with holes and one that is empty."""
    functions, arrays, _ = bounds(kind, "float64")
    line = [RNG.normal(size=part.shape) for part in arrays]
    for function in functions:
        grads = jax.jit(jax.grad(function, (0, 1, 2)))(*arrays)
        slope = sum(float((a * b).sum()) for a, b in zip(grads, line, strict=True))
        ahead, behind = (function(*(a + h * b for a, b in zip(arrays, line, strict=True))) for h in (1e-5, -1e-5))
        assert slope == pytest.approx(float(ahead - behind) / 2e-5, rel=1e-6)


@kinds(quick=[])
def test_few_draws_at_a_time_are_all_at_once(kind):
    """Value and gradient, of a number of draws that blocks do not divide."""
    whole, arrays, _ = bounds(kind, "float32")
    parts, _, _ = bounds(kind, "float32", draw_cost=(1 << 22) // 4)
    for one, other in zip(whole, parts, strict=True):
        results = (jax.jit(jax.value_and_grad(f, (0, 1, 2)))(*arrays) for f in (one, other))
        for a, b in zip(*map(jax.tree.leaves, results), strict=True):
            assert_close(a, b, 1e-5)


@kinds(quick=["gaussian"])
def test_missing_cells_have_no_influence_at_all(kind):
    """Whatever a decoder says of a cell that is missing, even what is not finite: to the bit, in value and gradient."""
    cells, x, W, mean, *_ = problem(kind, "float32")
    said = mean @ W
    hole = jnp.repeat(jnp.isnan(x), said.shape[1] // D, axis=1)

    total = jax.jit(jax.value_and_grad(lambda said: cells(x, said).sum()))
    value, grad = total(said)
    for other in (7.0, jnp.inf, jnp.nan):
        moved = total(jnp.where(hole, other, said))
        assert moved[0] == value
        assert (moved[1] == grad).all()
    assert (grad[hole] == 0).all()
    filled = jnp.where(jnp.isnan(x), 0, x)
    assert_close(cells(filled, said), cells(filled, said, complete=True), 1e-6)


def test_far_from_zero_no_digits_are_lost():
    """Logits of 1e4 and log-weights of minus 1e6 in float32, where exponentials overflow."""
    x, logits = jnp.array([[1.0, 0.0]]), jnp.array([[1e4, -1e4]])
    assert float(kernels.bernoulli_cells(x, logits)[0]) == 0
    assert float(kernels.bernoulli_cells(x, -logits)[0]) == -2e4
    mean = jnp.zeros((1, M))
    noise = lambda s: jnp.stack([jnp.zeros((1, M)), jnp.ones((1, M))])[s]  # noqa: E731
    value = kernels.importance_bound(mean, mean, noise, lambda z: -1e6 - 10 * z.sum(-1), 2)
    assert float(value[0]) == pytest.approx(-1e6 - np.log(2), rel=1e-6)
    look = lambda z: (-1e6 - 10 * z.sum(-1), z)  # noqa: E731
    assert_close(kernels.importance_mean(mean, mean, noise, look, 2), jnp.full((1, M), np.exp(-20.0)), 1e-6)
    small = jnp.full((1, M), 1e-3)
    divergence = -kernels.elbo(small, small, noise, lambda z: 0 * z.sum(-1), 2)
    assert float(divergence[0]) == pytest.approx(M * 0.5 * (1e-6 + np.expm1(2e-3) - 2e-3), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("draw_cost", [1, (1 << 22) // 4])
def test_importance_mean_is_the_weighted_mean(draw_cost):
    cells, x, W, mean, log_scale, e = problem("poisson", "float32")

    def log_likelihood(z):
        return cells(x, z @ W)

    noise = lambda s: e[s % S]  # noqa: E731
    weights = kernels.importance_log_weights(mean, log_scale, noise, log_likelihood, S)
    z = mean + jnp.exp(log_scale) * e
    expected = jnp.einsum("sn,snm->nm", jax.nn.softmax(weights, axis=0), z)
    look = lambda z: (log_likelihood(z), z)  # noqa: E731
    assert_close(kernels.importance_mean(mean, log_scale, noise, look, S, draw_cost), expected, 1e-5)


@pytest.mark.slow
def test_memory_does_not_grow_with_draws():
    """Of the compiled program, its gradient included: 16 times the draws, less than twice the memory."""
    n, m, d = 64, 8, 512
    mean = jnp.zeros((n, m))
    x = jnp.ones((n, d))

    def program(draws):
        def total(W):
            noise = jax.vmap(lambda s: jax.random.normal(jax.random.fold_in(jax.random.key(0), s), (n, m)))
            look = lambda z: kernels.bernoulli_cells(x, z @ W)  # noqa: E731
            return kernels.importance_bound(mean, mean, noise, look, draws, n * d * 8).sum()

        analysis = jax.jit(jax.grad(total)).lower(jnp.ones((m, d))).compile().memory_analysis()
        return analysis.temp_size_in_bytes

    assert program(2048) < 2 * program(128)
