"""NumPyro distributions as densities: the same as the library's own where there is one, and fitted by gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from laws import assert_close

import dgjax as dg
import dgjax.numpyro as dgn

pytestmark = pytest.mark.xdist_group("numpyro")
K, D = 2, 3


def pairs():
    """A density of the library, and NumPyro's distribution of the same rows."""
    rng = np.random.default_rng(0)
    mean, log_scale = 2 * rng.normal(size=(K, D)), rng.normal(0, 0.3, (K, D))
    logits, log_rate = rng.normal(size=(K, D)), rng.normal(1, 0.5, (K, D))
    factor = np.linalg.cholesky(np.cov(rng.normal(size=(D, 20))))
    yield dg.DiagonalGaussian(mean, log_scale), dist.Normal(mean, np.exp(log_scale)).to_event(1)
    yield dg.Poisson(log_rate), dist.Poisson(np.exp(log_rate)).to_event(1)
    yield dg.Bernoulli(logits), dist.Bernoulli(logits=logits).to_event(1)
    yield dg.Gaussian(mean, factor), dist.MultivariateNormal(mean, scale_tril=factor)


@pytest.mark.slow
@pytest.mark.parametrize(("own", "theirs"), [pytest.param(*pair, id=type(pair[0]).__name__) for pair in pairs()])
def test_a_distribution_is_the_density_it_is(own, theirs):
    emission = dgn.Emission.of(theirs)
    assert isinstance(emission, dg.Density)
    assert (emission.label_shape, emission.num_features) == (own.label_shape, own.num_features)
    weights = jnp.array([0.3, -0.2])
    one, other = dg.Mixture(weights, own), dg.Mixture(weights, emission)
    x, y = dg.sample(other, jax.random.key(0), 400)
    assert_close(dg.log_joint(one, x, y), dg.log_joint(other, x, y))
    assert_close(dg.predict_log_proba(dg.discriminative(other), x), dg.predict_log_proba(other, x))
    for label in range(K):
        ours, _ = dg.sample(dg.Mixture(jnp.where(jnp.arange(K) == label, 0.0, -jnp.inf), own), jax.random.key(1), 400)
        spread = np.asarray(ours).std(0) / np.sqrt(100)
        assert (np.abs(ours.mean(0) - x[y == label].mean(0)) < 4.5 * spread).all()
    if isinstance(own, dg.Gaussian):
        with pytest.raises(ValueError, match="its columns cannot be marginalised"):
            dg.log_prob(other, x.at[0, 0].set(jnp.nan))
        return
    missing = x.at[::2, 1].set(jnp.nan).at[3].set(jnp.nan)
    assert_close(dg.log_prob(one, missing), dg.log_prob(other, missing))
    assert_close(dg.log_prob(dg.marginal(other, [2, 0]), x[:, [2, 0]]), dg.log_prob(other, x.at[:, 1].set(jnp.nan)))
    drawn = dg.sample_missing(other, jax.random.key(2), missing)
    assert_close(jnp.where(jnp.isnan(missing), 0, drawn), jnp.nan_to_num(missing))
    assert not jnp.isnan(drawn).any()
    if emission.form.discrete:
        with pytest.raises(ValueError, match=r"dgjax\.sample_missing"):
            dg.impute(other, missing)
    else:
        assert_close(dg.impute(one, missing), dg.impute(other, missing))


@pytest.mark.slow
def test_a_gradient_comes_to_the_maximum_that_em_does(x64):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(-2, 1, (60, 2)), rng.normal(2, 0.5, (40, 2))])
    x[::7, 0] = np.nan
    mean = np.array([[-1.0, -1.0], [1.0, 1.0]])
    by_em = dg.fit(dg.Mixture(jnp.zeros(2), dg.DiagonalGaussian(mean, np.zeros((2, 2)))), x, method=dg.EM(tol=1e-12))
    start = dg.Mixture(jnp.zeros(2), dgn.Emission.of(dist.Normal(mean, np.ones((2, 2))).to_event(1)))
    by_gradient = dg.fit(start, x, method=dg.LBFGS(tol=1e-13))
    np.testing.assert_allclose(by_gradient.objective[-1], by_em.objective[-1], rtol=1e-9)
    found = by_gradient.model.density.distribution.base_dist
    np.testing.assert_allclose(found.loc, by_em.model.density.mean, atol=1e-3)


def test_what_a_distribution_cannot_do_says_what_to_type():
    start = dg.Mixture(jnp.zeros(2), dgn.Emission.of(dist.StudentT(3.0, np.array([-1.0, 1.0]), 1.0)))
    x = np.linspace(-2, 2, 9)[:, None]
    with pytest.raises(ValueError, match=r"type method=dgjax.LBFGS\(\)"):
        dg.fit(start, x)
    with pytest.raises(ValueError, match=r"leave dgjax\.Restarts out"):
        dg.fit(start, x, method=dg.Restarts(2, jax.random.key(0), dg.LBFGS()))
    with pytest.raises(ValueError, match="low limited by another parameter"):
        dgn.Emission.of(dist.Uniform(np.zeros(2), 1.0))
    with pytest.raises(ValueError, match="prior of StudentT, a NumPyro distribution, must be None"):
        dg.fit(start, x, method=dg.LBFGS(), prior=dg.priors.MixturePrior(None, dg.priors.Gamma(1.0, 1.0)))
    trials = dgn.Emission.of(dist.Binomial(10, np.array([0.2, 0.7])))
    with pytest.raises(ValueError, match="column 0 expects a whole number from 0 to 10"):
        dg.log_prob(dg.Mixture(jnp.zeros(2), trials), [[11.0]])
