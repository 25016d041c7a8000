"""Emissions on counts of any size and on cells outside their support, and what `Emission.of` and `impute` refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import special, stats

import dgjax as dg
import dgjax.numpyro as dgn
import dgjax_kernels as kernels

pytestmark = pytest.mark.xdist_group("numpyro")
ONES = np.ones((2, 2), np.float32)
INF = np.inf


def mixture(base):
    return dg.Mixture(jnp.zeros(2), dgn.Emission.of(base.to_event(1)))


def within(base, x, exact):
    """The contract of float32, 1e-3 nats and 1e-5 relative, at the parameters that float32 has rounded."""
    model = mixture(base)
    own = {name: np.asarray(v, float)[0, 0] for name, v in model.density.distribution.base_dist.get_args().items()}
    wanted = 2 * exact(x, **own)
    assert (abs(dg.log_prob(model, np.stack([x, x], 1)) - wanted) <= 1e-3 + 1e-5 * abs(wanted)).all()


def negative_binomial(x, concentration, rate):
    """Worked out in float64, where what cancels is small enough."""
    r, b = concentration, rate
    logs = special.gammaln(x + r) - special.gammaln(r) - special.gammaln(x + 1)
    return logs + r * (np.log(b) - np.log1p(b)) - x * np.log1p(b)


def zero_inflated(x, gate, rate):
    zero = np.log(gate + (1 - gate) * np.exp(-rate))
    return np.where(x == 0, zero, np.log1p(-gate) + stats.poisson(rate).logpmf(x))


@pytest.mark.parametrize("mean", [0.5, 40.0, 1e5, 3e9])
def test_counts_of_any_size_keep_their_digits(mean):
    """NumPyro's own sums cancel in float32, and its integers end at 2^31."""
    mean = np.float32(mean).item()
    x = np.unique(np.float32(np.round(mean + np.array([-3, -1, 0, 1, 4]) * np.sqrt(mean))).clip(0)).astype(float)
    within(dist.Poisson(mean * ONES), x, lambda x, rate: stats.poisson(rate).logpmf(x))
    within(dist.ZeroInflatedPoisson(0.25 * ONES, mean * ONES), x, zero_inflated)
    for r in (0.5, 30.0):
        within(dist.GammaPoisson(r * ONES, np.float32(r / mean) * ONES), x, negative_binomial)
    n, p = 2**30, min(mean / 2**31, 0.9)
    hits = np.unique(np.float32(np.round(n * p + np.array([-1, 0, 2]) * np.sqrt(n * p))).clip(0)).astype(float)
    within(dist.Binomial(n, p * ONES), hits, lambda x, probs, total_count: stats.binom(n, probs).logpmf(x))


def test_draws_of_counts_do_not_end_at_the_largest_integer():
    for base in (dist.Poisson(3e9 * ONES), dist.ZeroInflatedPoisson(0.5 * ONES, 3e9 * ONES)):
        x = np.asarray(dg.sample(mixture(base), jax.random.key(0), 40)[0])
        assert abs(x[x > 0] / 3e9 - 1).max() < 1e-3
    spread = np.asarray(dg.sample(mixture(dist.NegativeBinomial2(3e9 * ONES, 2 * ONES)), jax.random.key(0), 4000)[0])
    assert abs(spread.mean() / 3e9 - 1) < 5 * np.sqrt(0.5 / spread.size)
    n, p = np.array([10, 2**20]), np.float32(0.3)
    x = np.asarray(dg.sample(mixture(dist.Binomial(n, p * ONES)), jax.random.key(0), 4000)[0], float)
    assert (abs(x.mean(0) - n * p) < 5 * np.sqrt(n * p * (1 - p) / len(x))).all()
    assert (abs(x.var(0) / (n * p * (1 - p)) - 1) < 5 * np.sqrt(2 / len(x))).all()


def test_counts_that_a_formula_of_numpyros_would_lose_are_an_error():
    model = mixture(dist.BetaNegativeBinomial(3 * ONES, 2 * ONES, 4 * ONES))
    with pytest.raises(ValueError, match=r"column 0 expects a whole number from 0 to 131072, .*jax_enable_x64"):
        dg.log_prob(model, [[2.0**18, 1.0]])


def test_large_counts_are_scored_in_float64(x64):
    model = mixture(dist.BetaNegativeBinomial(3 * np.ones((2, 2)), 2.0, 4.0))
    assert np.isfinite(dg.log_prob(model, [[2.0**18, 1.0]])).all()


OUTSIDE = {
    "Poisson": (dist.Poisson(ONES), [1.5, -1, INF]),
    "Bernoulli": (dist.Bernoulli(0.5 * ONES), [2, 0.5, -1, INF]),
    "categorical": (dist.Categorical(np.ones((2, 2, 3), np.float32) / 3), [-1, 1.5, 3, INF]),
    "binomial": (dist.Binomial(5, 0.5 * ONES), [-1, 1.5, 6, INF]),
    "negative binomial": (dist.NegativeBinomial(3 * ONES, logits=ONES), [-1, 1.5, INF]),
    "beta binomial": (dist.BetaBinomial(ONES, ONES, 5), [-1, 1.5, 6]),
    "geometric": (dist.Geometric(0.5 * ONES), [-1, 0.5, INF]),
    "gamma": (dist.Gamma(2 * ONES, ONES), [-1, 0, INF]),
    "beta": (dist.Beta(2 * ONES, 2 * ONES), [-0.5, 1.5, INF]),
    "Pareto": (dist.Pareto(np.array([[0.5, 0.5], [0.7, 0.7]], np.float32), ONES), [0.4, INF]),
    "Student's t": (dist.StudentT(3.0, ONES, 1.0), [INF, -INF]),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_inside_jit_a_cell_outside_an_emissions_support_has_probability_0(name):
    """Outside, it is an error that says where. The gradient of the other rows is theirs alone."""
    base, odd = OUTSIDE[name]
    good = 1.0 if base.is_discrete else 0.8
    x = np.array([*([cell, good] for cell in odd), [good, good], [np.nan, good]], np.float32)
    model = mixture(base)

    @jax.jit
    def ask(model, x):
        def total(model):
            values = dg.log_prob(model, x)
            return jnp.where(jnp.isfinite(values), values, 0).sum(), values

        return *jax.value_and_grad(total, has_aux=True)(model), dg.predict(model, x)

    (_, values), gradient, labels = ask(model, x)
    assert np.isneginf(values[:-2]).all()
    assert (labels[:-2] == -1).all()
    np.testing.assert_allclose(values[-2:], dg.log_prob(model, x[-2:]), rtol=1e-5)
    (_, _), alone, _ = ask(model, x[-2:])
    for got, wanted in zip(jax.tree.leaves(gradient), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"x\[0, 0\] is"):
        dg.log_prob(model, x)


def test_inside_jit_a_row_outside_an_emissions_support_has_probability_0():
    emission = dgn.Emission.of(dist.Dirichlet(np.ones((2, 3), np.float32) * np.arange(1, 4)))
    x = np.array([[0.2, 0.3, 0.5], [0.2, 0.3, 0.6], [1.2, -0.4, 0.2]], np.float32)
    values = jax.jit(emission.scores)(x)
    assert np.isneginf(values).tolist() == [[False] * 2, [True] * 2, [True] * 2]


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (dist.TruncatedNormal(ONES, ONES, low=0.0), "more to it than its parameters low. Derive a density of your own"),
        (dist.TruncatedCauchy(ONES, ONES, high=3.0), "more to it than its parameters high"),
        (dist.ZeroInflatedDistribution(dist.Poisson(ONES), gate=0.5), "more to it than its parameters gate"),
        (dist.Normal(0.0, 1.0).expand([2, 2]), r"dist\.Normal\(jnp\.broadcast_to\(loc, \(2, 2\)\), \.\.\.\)"),
        (dist.Normal(ONES, ONES).mask(False), "a MaskedDistribution"),
    ],
)
def test_what_is_more_than_its_parameters_is_refused(base, words):
    with pytest.raises(ValueError, match=words):
        dgn.Emission.of(base.to_event(1))


def test_a_missing_cell_without_a_mean_is_not_imputed():
    x = np.array([[0.5, np.nan], [0.1, 0.2]], np.float32)
    for base in (dist.Cauchy(ONES, ONES), dist.StudentT(ONES, ONES, ONES)):
        model = mixture(base)
        with pytest.raises(ValueError, match=r"column 1, .* dgjax\.sample_missing\(model, key, x\)"):
            dg.impute(model, x)
        np.testing.assert_array_equal(dg.impute(model, x[1:]), x[1:])
        assert np.isnan(jax.jit(dg.impute)(model, x)).tolist() == np.isnan(x).tolist()
    part = dgn.Emission.of(dist.Cauchy(ONES[:, :1], ONES[:, :1]).to_event(1))
    blocks = dg.Columns((dg.DiagonalGaussian(np.zeros((2, 1)), np.zeros((2, 1))), part), ((1,), (0,)))
    for model in (dg.Mixture(jnp.zeros(2), blocks), dg.HiddenMarkov(jnp.zeros(2), jnp.zeros((2, 2)), blocks)):
        rows = x if isinstance(model, dg.Mixture) else x[None]
        assert np.isfinite(dg.impute(model, rows)).all()
        with pytest.raises(ValueError, match="column 0"):
            dg.impute(model, rows[..., ::-1])
    np.testing.assert_allclose(dg.impute(mixture(dist.StudentT(2 * ONES, ONES, ONES)), x)[0, 1], 1)


def test_kernels_of_counts_at_their_edges():
    assert kernels.log_binomial(jnp.zeros(()), jnp.zeros(()), jnp.log(0.3), jnp.log(0.7)) == 0
    edge = kernels.log_binomial(jnp.array([0.0, 1.0, 3.0, 4.0]), jnp.full(4, 3.0), jnp.array(-INF), jnp.zeros(()))
    assert edge.tolist() == [0, -INF, -INF, -INF]
    x = jnp.array([-1.0, 0.5, INF])
    assert np.isneginf(kernels.log_gamma_poisson(x, jnp.ones(3), jnp.ones(3))).all()
