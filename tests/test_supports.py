"""Cells outside their columns' supports inside jit, counts of any size, and draws of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_close, slow
from scipy import special, stats
from sklearn.naive_bayes import MultinomialNB

import dgjax as dg
import dgjax_kernels as kernels

ODD = [-1.0, 0.5, np.inf, 7.0]
DENSITIES = {
    "Bernoulli": (dg.Bernoulli(jnp.zeros((2, 2))), ODD),
    "categorical": (dg.Categorical(jnp.zeros((2, 2, 3))), ODD),
    "Poisson": (dg.Poisson(jnp.zeros((2, 2))), ODD[:3]),
    "multinomial": (dg.Multinomial(jnp.zeros((2, 2)), 3), [-1.0, np.inf]),
    "columns": (dg.Columns((dg.Poisson(jnp.zeros((2, 1))), dg.Bernoulli(jnp.zeros((2, 1))))), ODD[:3]),
}


def odd_rows(cells):
    """One odd cell in each row, the last row in order."""
    return np.array([*([cell, 1.0] for cell in cells), [1.0, 1.0]], np.float32)


@pytest.mark.parametrize("name", [*slow("Bernoulli", "multinomial", "categorical", "Poisson"), "columns"])
def test_inside_jit_a_cell_outside_its_support_has_probability_0(name):
    """Outside, it is an error that says where."""
    density, cells = DENSITIES[name]
    x, model = odd_rows(cells), dg.Mixture(jnp.zeros(2), density)
    with pytest.raises(ValueError, match=r"x\[0, 0\]"):
        dg.log_prob(model, x)
    values, joint, labels = jax.jit(
        lambda x: (dg.log_prob(model, x), dg.log_joint(model, x, jnp.zeros(len(x), int)), dg.predict(model, x))
    )(x)
    assert np.isneginf(values[:-1]).all()
    assert np.isneginf(joint[:-1]).all()
    assert (labels[:-1] == -1).all()
    assert_close(values[-1:], dg.log_prob(model, x[-1:]), 1e-6)
    assert np.isneginf(jax.vmap(lambda x: dg.log_prob(model, x[None])[0])(x)[:-1]).all()
    chain = dg.HiddenMarkov(jnp.zeros(2), jnp.zeros((2, 2)), density)
    assert np.isneginf(jax.jit(lambda x: dg.log_prob(chain, x))(x[None])).all()


FACTOR = np.array([[1.0, 0], [0.5, 0.7]], np.float32)
NORMAL = {
    "tied": dg.Gaussian(np.eye(2, dtype=np.float32), FACTOR),
    "full": dg.Gaussian(np.eye(2, dtype=np.float32), np.stack([FACTOR, 2 * FACTOR])),
    "diagonal": dg.DiagonalGaussian(jnp.eye(2), jnp.zeros((2, 2))),
}


@pytest.mark.parametrize("name", ["tied", "full", *slow("diagonal")])
def test_inside_jit_an_infinite_cell_has_density_0(name, form):
    """Infinity less infinity was NaN; a cell whose square overflows is as far, and a model that is NaN stays so."""
    inf, density = np.inf, NORMAL[name]
    far = np.array([[inf, 0], [-inf, 0], [inf, -inf], [0, inf], [3e38, -3e38], [1, 0]], np.float32)
    some = np.where(np.isneginf(far), np.nan, far)
    model = dg.Mixture(jnp.zeros(2), density)
    twin, unknown = dg.discriminative(model), jax.tree.map(lambda leaf: leaf * jnp.nan, density)

    @jax.jit
    def values(x, some):
        log_p = dg.predict_log_proba(twin, x)
        return dg.log_prob(model, x), dg.log_prob(model, some), log_p, unknown.scores(x)

    whole, missing, log_p, none = values(far, some)
    assert np.isneginf(whole).tolist() == [True] * 5 + [False]
    assert np.isneginf(missing).tolist() == [True, False, True, True, True, False]
    assert np.isneginf(log_p[:4]).all()
    assert np.isfinite(log_p[5]).all()
    assert np.isfinite([whole[5], missing[1], missing[5]]).all()
    assert np.isnan(none).all()


@pytest.mark.slow
def test_inside_jit_a_sequence_with_an_infinite_cell_has_density_0():
    chain = dg.HiddenMarkov(jnp.zeros(2), jnp.zeros((2, 2)), NORMAL["tied"])
    x = np.zeros((2, 3, 2), np.float32)
    x[0, 1, 0] = np.inf
    assert np.isneginf(jax.jit(dg.log_prob)(chain, x)).tolist() == [True, False]
    assert (jax.jit(dg.predict)(dg.discriminative(chain), x)[0] == -1).all()


@pytest.mark.parametrize(
    ("cells", "odd"),
    [(kernels.bernoulli_cells, 0.5), (kernels.poisson_cells, -1.0), (kernels.categorical_cells, 9.0)],
)
def test_decoded_cells_outside_their_support_have_probability_0(cells, odd):
    outputs = jnp.zeros((2, 3, 4)) if cells is kernels.categorical_cells else jnp.zeros((2, 3))
    x = jnp.array([[0.0, 1.0, jnp.nan], [0.0, odd, 1.0]])
    assert np.isneginf(cells(x, outputs)).tolist() == [False, True]


def test_probabilities_that_leave_the_numbers_stay_in_the_logarithms():
    """exp(-100) is 0 in float32, and its logarithm is not."""
    for v in (-80.0, -100.0, -110.0):
        rare = dg.log_prob(dg.Poisson(jnp.array([[v]])), [[0.0], [1.0], [2.0]])
        np.testing.assert_allclose(rare, [0, v, 2 * v - np.log(2)], rtol=1e-6, atol=1e-6)
        rare = dg.log_prob(dg.Multinomial(jnp.array([[0.0, v]])), [[0.0, 1], [3, 1]])
        np.testing.assert_allclose(rare, [v, v + np.log(4)], rtol=1e-6)
    model = dg.Mixture(jnp.zeros(2), dg.Multinomial(jnp.array([[0.0, -100.0, 0.0], [0.0, -103.0, 0.0]])))
    odds = np.log1p(np.exp(-6.0))  # of two counts that differ by 3 each
    np.testing.assert_allclose(dg.predict_log_proba(model, [[1.0, 2, 1]]), [[-odds, -6 - odds]], rtol=1e-4)
    beyond = dg.Poisson(jnp.array([[100.0]]))
    assert np.isneginf(dg.log_prob(beyond, [[0.0], [1.0]])).all()


@pytest.mark.parametrize("n", [5, *slow(17_000)])
def test_counts_beyond_every_integer_are_scored(n):
    """Few rows and many, by the reference and by the kernel."""
    model, x = dg.Poisson(jnp.zeros((1, 8))), np.ones((n, 8), np.float32)
    x[4, 3] = 1e19
    exact = 1e19 - 1e19 * np.log(1e19)
    assert float(dg.log_prob(model, x)[4]) == pytest.approx(exact, rel=1e-6)


def test_scores_of_large_counts_keep_their_digits():
    for rate in (1e4, 1e7):
        log_rate = np.float32(np.log(rate))
        x = np.float32(np.round(rate + np.array([-5, 0, 3, 300]) * np.sqrt(rate)))[:, None]
        value = dg.log_prob(dg.Poisson(jnp.array([[log_rate]])), x)[:, None]
        exact = stats.poisson(np.exp(float(log_rate))).logpmf(x.astype(float))
        assert (abs(value - exact) <= 1e-3 + 1e-5 * abs(exact)).all()


RATES = (1e-30, 0.0, 0.3, 200.0, 300.0, 1e5, 1e8, 3e9, 1e10, 1e20)


def test_draws_are_poisson_at_any_rate():
    """Mean and variance within five standard errors, and the digits of float32."""
    n, rates = 20_000, np.array(RATES)
    model = dg.Poisson(jnp.log(jnp.array([RATES], jnp.float32)))
    x = np.asarray(jax.jit(lambda key: dg.sample(model, key, n)[0])(jax.random.key(0)), float)
    assert (x == np.floor(x)).all()
    assert (x >= 0).all()
    ulp = 4e-6 * rates  # of the logarithm of a rate
    assert (abs(x.mean(0) - rates) <= 5 * np.sqrt(rates / n) + ulp).all()
    few = rates < 1e12
    assert (abs(x.var(0) - rates) <= 5 * rates * np.sqrt(2 / n) + 5 * np.sqrt(rates / n) + ulp)[few].all()
    off = dg.sample(dg.Poisson(jnp.array([[-jnp.inf]])), jax.random.key(0), 3)[0]
    assert (off == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("rate", [3.5, 255.0, 256.0, 1000.0, 1e6])
def test_the_distribution_of_draws_is_poissons(rate, kind):
    """By a test of chi squared on the cells of a million draws."""
    key = jax.random.key(1, impl=kind)
    x = np.asarray(kernels.poisson_draws(key, jnp.full(10**6, rate, jnp.float32)), float)
    edges = np.unique(stats.poisson(rate).ppf(np.linspace(0.01, 0.99, 50)))
    expected = np.diff(stats.poisson(rate).cdf([-1, *edges, np.inf])) * len(x)
    seen = np.histogram(x, [-1, *(edges + 0.5), np.inf])[0]
    assert stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("total", [1000, 2**20, 2**31, 10**10])
def test_draws_are_multinomial_of_any_total(total):
    """Mean and variance of columns that are nearly never, rarely and often counted; rows add up to the total."""
    p = np.array([3 / total, 100 / total, 0.3, 0.0])
    p = np.append(p, 1 - p.sum())
    n, model = 20_000, dg.Multinomial(jnp.log(jnp.array([p], jnp.float32)), total)
    x = np.asarray(dg.sample(model, jax.random.key(2), n)[0], float)
    np.testing.assert_allclose(x.sum(1), total, rtol=1e-6)
    p, variance = p.astype(np.float32).astype(float), total * p * (1 - p)
    assert (abs(x.mean(0) - total * p) <= 5 * np.sqrt(variance / n) + 2e-6 * total * p).all()
    assert (abs(x.var(0) - variance) <= 5 * variance * np.sqrt(3 / n) + 1e-6).all()


def fractional_score(row, p):
    """log Gamma(N + 1) + sum_j x_j log p_j - log Gamma(x_j + 1) of the observed cells of a row, in float64."""
    seen = ~np.isnan(row)
    x, share = row[seen].astype(float), p[seen] / p[seen].sum()
    return special.gammaln(x.sum() + 1) + (x * np.log(share) - special.gammaln(x + 1)).sum()


def test_multinomial_counts_need_not_be_whole(form):
    """As tf-idf weights are not; beside scikit-learn's classifier, and a formula where cells are missing."""
    rng = np.random.default_rng(0)
    x = (rng.gamma(0.7, 2.0, (40, 5)) * rng.integers(0, 2, (40, 5))).astype(np.float32)
    x[:8] *= [[300], [1e-3], [1e-5], [1], [17], [40], [260], [2e6]]
    y = np.arange(40) % 3
    model = dg.naive_bayes(x, y, "multinomial", prior="weak")
    p = np.exp(np.asarray(jax.nn.log_softmax(model.density.logits), float))
    peer = MultinomialNB().fit(x, y)
    peer.feature_log_prob_, peer.class_log_prior_ = np.log(p), np.asarray(model.log_weights, float)
    np.testing.assert_allclose(dg.predict_log_proba(model, x), peer.predict_log_proba(x), rtol=1e-4, atol=2e-5)
    twin = dg.discriminative(model)
    np.testing.assert_allclose(dg.predict_log_proba(twin, x), peer.predict_log_proba(x), rtol=1e-4, atol=2e-5)
    holes = np.where(rng.random(x.shape) < 0.3, np.nan, x)
    expected = [[fractional_score(row, own) for own in p] for row in holes]
    np.testing.assert_allclose(model.density.scores(jnp.asarray(holes)), expected, rtol=1e-5, atol=2e-5)
    filled = dg.impute(model, holes)
    assert (filled[np.isnan(holes)] % 1 == 0).all()


def test_slopes_in_counts_are_those_of_the_gamma_function(x64):
    """Which is smooth, where log x! of whole numbers is from a table, and a count of 0 a case of its own."""
    x = np.array([[0.5, 0, 1.25, 2], [1, 2, 3, 4], [20, 0, 1, 16]])
    log_p = np.log([0.1, 0.2, 0.3, 0.4])
    slope = jax.grad(lambda density, x: dg.log_prob(density, x).sum(), argnums=1)
    wanted = log_p - special.digamma(x + 1)
    np.testing.assert_allclose(slope(dg.Poisson(log_p[None]), x[1:]), wanted[1:], rtol=1e-9)
    wanted += special.digamma(x.sum(1, keepdims=True) + 1)
    np.testing.assert_allclose(slope(dg.Multinomial(log_p[None]), x), wanted, rtol=1e-9)


def test_counts_whose_total_is_beyond_all_floats_are_learnt():
    x = np.array([[1, 2], [2, 1], [4, 1], [1, 5]], np.float32)
    few, many = (dg.naive_bayes(x * scale, [0, 0, 1, 1], "multinomial") for scale in (np.float32(1), np.float32(4e37)))
    assert_close(many.density.logits, few.density.logits, 1e-5)
