"""Posteriors of models' parameters: priors, structural zeros, ways back to models, and what NUTS makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from laws import assert_close
from numpyro.infer import MCMC, NUTS, Predictive
from numpyro.infer.util import log_density, potential_energy, unconstrain_fn
from zoo import D, K

import dgjax as dg
import dgjax.numpyro as dgn
from dgjax import priors
from dgjax.numpyro._sparse import SparseDirichlet

pytestmark = pytest.mark.xdist_group("numpyro")
rng = np.random.default_rng(0)
HALF = np.tril(rng.normal(0, 0.3, (D, D)), -1) + np.eye(D)
NIW = priors.NormalInverseWishart(rng.normal(size=D), 0.5, HALF @ HALF.T, D + 2.5)
NIG = priors.NormalInverseGamma(rng.normal(size=D), 0.5, 2.5, np.exp(rng.normal(size=D)))
WEIGHTS, BETA, GAMMA = priors.Dirichlet([1.5, 2.0, 3.0]), priors.Beta(2.0, 3.0), priors.Gamma(2.0, 0.7)


def of_full(L):
    """log |dS / dL| of S = L L^T."""
    return (jnp.log(jnp.diagonal(L, axis1=-2, axis2=-1)) * jnp.arange(D, 0, -1)).sum()


def mixture(density):
    return dg.Mixture(jnp.zeros(K), density)


PRIORS = {
    "full": (mixture(dg.Gaussian(np.zeros((K, D)), np.stack([np.eye(D)] * K))), NIW, "scale_tril", of_full),
    "tied": (mixture(dg.Gaussian(np.zeros((K, D)), np.eye(D))), NIW, "scale_tril", of_full),
    "diagonal": (
        mixture(dg.DiagonalGaussian(np.zeros((K, D)), np.zeros((K, D)))),
        NIG,
        "scale",
        lambda s: jnp.log(s).sum(),
    ),
    "spherical": (
        mixture(dg.DiagonalGaussian(np.zeros((K, D)), np.zeros((K, 1)))),
        priors.NormalInverseGamma(NIG.mean, NIG.mean_count, NIG.shape, NIG.rate[:1]),
        "scale",
        lambda s: jnp.log(s).sum(),
    ),
    "factors": (
        mixture(dg.FactorGaussian(np.zeros((K, D)), np.zeros((K, D, 1)), np.zeros((K, D)))),
        priors.FactorPrior(NIG.mean, NIG.mean_count, 0.6, NIG.shape, NIG.rate),
        "scale",
        lambda s: jnp.log(s).sum(),
    ),
    "Bernoulli": (mixture(dg.Bernoulli(np.zeros((K, D)))), BETA, "probs", None),
    "Poisson": (mixture(dg.Poisson(np.zeros((K, D)))), GAMMA, "rate", None),
    "categorical": (mixture(dg.Categorical(np.zeros((K, D, 3)))), WEIGHTS, "probs", None),
    "multinomial": (mixture(dg.Multinomial(np.zeros((K, 3)), 5)), WEIGHTS, "probs", None),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in PRIORS])
def test_the_sites_have_the_density_of_the_prior(name, x64):
    """Up to the constant that `log_prior` leaves out, and with the volume of the site's own parameters."""
    model, own, site, volume = PRIORS[name]
    model = jax.tree.map(lambda leaf: leaf.astype(float), model)
    prior = priors.MixturePrior(WEIGHTS, own)
    posterior = dgn.bayesian(model, prior)
    draws = Predictive(posterior, num_samples=3, return_sites=list(posterior.dims))(jax.random.key(0), num_rows=1)
    nothing = jnp.full((1, model.num_features), jnp.nan)
    found = jax.vmap(lambda draw: log_density(posterior, (nothing,), {}, draw)[0])(draws)
    expected = jax.vmap(lambda model: model.log_prior(posterior.prior))(posterior.model(draws))
    if volume is not None:
        expected += jax.vmap(volume)(draws[f"density.{site}"])
    assert_close(found - found[0], expected - expected[0], 1e-8)


@pytest.mark.slow
def test_what_is_impossible_is_no_parameter_and_stays_so(x64):
    possible = np.array([[True, True, False], [False, True, False], [True, True, True]])
    sparse = SparseDirichlet(jnp.array([2.0, 1.5, 3.0]), possible)
    transform = dist.biject_to(sparse.support)
    p = sparse.sample(jax.random.key(0), (4000,))
    assert sparse.support(p).all()
    assert not sparse.support(jnp.full((3, 3), 1 / 3))
    u = transform.inv(p[0])
    assert u.shape == (3,)  # one of the first row, none of the second, two of the third
    assert_close(transform(u), p[0])
    jacobian = jax.jacobian(lambda u: transform(u)[jnp.array([0, 2, 2]), jnp.array([1, 1, 2])])(u)
    assert_close(transform.log_abs_det_jacobian(u, p[0]), jnp.linalg.slogdet(jacobian)[1])
    np.testing.assert_allclose(p.mean(0)[0], [2 / 3.5, 1.5 / 3.5, 0], atol=0.02)
    apart = dist.Dirichlet(jnp.array([2.0, 1.5])).log_prob(p[0, 0, :2]) + dist.Dirichlet(
        jnp.array([2.0, 1.5, 3.0])
    ).log_prob(p[0, 2])
    assert_close(sparse.log_prob(p)[0], apart)

    chain = dg.HiddenMarkov(np.zeros(3), np.where(possible, 0.0, -np.inf), dg.Poisson(np.zeros((3, 1))))
    posterior = dgn.bayesian(chain, priors.HiddenMarkovPrior(WEIGHTS, WEIGHTS, GAMMA))
    draws = Predictive(posterior, num_samples=2)(jax.random.key(0), num_rows=4, num_steps=5)
    assert draws["x"].shape == (2, 4, 5, 1)
    assert (np.isneginf(posterior.model(draws).log_transition) == ~possible).all()


def test_ordered_samples_are_the_same_models_with_labels_in_order():
    chain = dg.HiddenMarkov(np.zeros(K), np.zeros((K, K)), dg.DiagonalGaussian(np.zeros((K, D)), np.zeros((K, D))))
    posterior = dgn.bayesian(chain, priors.HiddenMarkovPrior(None, None, NIG))
    draws = {
        "initial": rng.dirichlet(np.ones(K), 4),
        "transition": rng.dirichlet(np.ones(K), (4, K)),
        "density.mean": rng.normal(size=(4, K, D)),
        "density.scale": rng.gamma(2, 1, (4, K, D)),
    }
    assert set(draws) == set(posterior.dims)
    draws = {name: jnp.asarray(value, jnp.float32) for name, value in draws.items()}
    ordered = posterior.ordered(draws)
    assert (jnp.diff(ordered["density.mean"][..., 0], axis=-1) > 0).all()
    x = rng.normal(size=(2, 6, D)).astype("float32")
    score = jax.vmap(dg.log_prob, in_axes=(0, None))
    assert_close(score(posterior.model(ordered), x), score(posterior.model(draws), x))
    by_chain = {name: value.reshape(2, 2, *value.shape[1:]) for name, value in draws.items()}
    again = posterior.ordered(by_chain)["transition"]
    assert_close(again.reshape(4, K, K), ordered["transition"])
    with pytest.raises(ValueError, match=r"by must be one of \['initial', 'transition', 'density.scale'"):
        posterior.ordered(draws, by="mean")


@pytest.mark.slow
def test_any_model_has_sites():
    """A scorer, a NumPyro emission, a nested mixture, a bare density, mixed columns."""
    logistic = dgn.bayesian(dg.logistic_regression(2, 3), sites=dist.Normal(0, 2))
    x = rng.normal(size=(5, 2)).astype("float32")
    values = {"bias": jnp.ones(3), "scorer.weight": jnp.ones((3, 2))}
    total, _ = log_density(logistic, (x, np.zeros(5, int)), {}, values)
    expected = dist.Normal(0, 2).log_prob(1.0) * 9 + 5 * np.log(1 / 3)
    assert_close(total, jnp.asarray(expected, jnp.float32))
    chain = dg.LinearChainCRF(np.zeros(2), [[0, -np.inf], [0, 0]], dg.Linear(np.zeros((2, 1))))
    crf = dgn.bayesian(chain, sites=dist.Normal())
    drawn = Predictive(crf, num_samples=3)(jax.random.key(0), rng.normal(size=(2, 4, 1)))
    assert drawn["y"].shape == (3, 2, 4)
    assert (np.isneginf(crf.model(drawn).transition) == [[False, True], [False, False]]).all()

    emission = dgn.Emission.of(dist.StudentT(np.full((2, 1), 4.0), np.zeros((2, 1)), np.ones((2, 1))).to_event(1))
    heavy = dgn.bayesian(
        dg.Mixture(jnp.zeros(2), emission),
        sites={"density.df": dist.Gamma(8, 2), "density.loc": dist.Normal(0, 5), "density.scale": dist.HalfNormal(2)},
    )
    draws = Predictive(heavy, num_samples=3)(jax.random.key(0), num_rows=4)
    assert_close(jax.vmap(lambda m: m.density.distribution.base_dist.df)(heavy.model(draws)), draws["density.df"])
    nested = dg.Mixture(jnp.zeros(2), dg.Mixture(jnp.zeros((2, 3)), dg.Poisson(jnp.zeros((2, 3, 1)))))
    names = dgn.bayesian(nested, priors.MixturePrior(None, priors.MixturePrior(None, GAMMA))).dims
    assert names["density.density.rate"] == ("component", "subcomponent", "column")
    assert names["density.weights"] == ("component", "subcomponent")
    bare = dgn.bayesian(dg.Gaussian(np.zeros((1, D)), np.eye(D)), NIW)
    one = Predictive(bare, num_samples=2)(jax.random.key(0), num_rows=3)
    assert type(bare.model(one)) is dg.Gaussian
    assert set(bare.dims) == {"density.mean", "density.scale_tril"}


def test_what_a_posterior_needs_is_named():
    model = mixture(dg.DiagonalGaussian(np.zeros((K, D)), np.zeros((K, D))))
    with pytest.raises(ValueError, match=r"density\.scale has no proper prior: type prior=dgjax"):
        dgn.bayesian(model)
    x = rng.normal(size=(20, D))
    with pytest.raises(ValueError, match=r"prior of density\. is not proper"):
        dgn.bayesian(model, dg.weak_prior(model, x))
    with pytest.raises(ValueError, match=r"prior of Mixture must be a dgjax|prior does not fit the model"):
        dgn.bayesian(model, NIG)
    with pytest.raises(ValueError, match=r"sites must be among .*; got \['mean'\]"):
        dgn.bayesian(model, priors.MixturePrior(None, NIG), sites={"mean": dist.Normal()})
    with pytest.raises(ValueError, match="x is needed, or of a generative model num_rows"):
        numpyro.handlers.seed(dgn.bayesian(model, priors.MixturePrior(None, NIG)), 0)()
    with pytest.raises(ValueError, match="Logistic takes priors as NumPyro distributions"):
        dgn.bayesian(dg.logistic_regression(2, 2), priors.Gamma(1.0, 1.0))


@pytest.mark.slow
def test_a_proper_prior_expects_the_columns_own_spread(x64):
    x = rng.normal(1, [1.0, 2.0, 3.0], (50, D))
    variance = x.var(0)
    full = dgn.proper_prior(dg.Gaussian(np.zeros((1, D)), np.eye(D)), x, strength=3.0)
    assert_close(jnp.diagonal(full.scale) / (full.degrees - D - 1), jnp.asarray(variance))
    independent = mixture(dg.DiagonalGaussian(np.zeros((K, D)), np.zeros((K, D))))
    diagonal = dgn.proper_prior(independent, x, strength=3.0).density
    assert_close(diagonal.rate / (diagonal.shape - 1), jnp.asarray(variance))
    spherical = dgn.proper_prior(mixture(dg.DiagonalGaussian(np.zeros((K, D)), np.zeros((K, 1)))), x).density
    assert_close(spherical.rate / (spherical.shape - 1), jnp.asarray(variance.mean(keepdims=True)))
    chain = dg.HiddenMarkov(np.zeros(K), np.zeros((K, K)), dg.Gaussian(np.zeros((K, D)), np.eye(D)))
    assert dgn.proper_prior(chain, x[None]).density.degrees == D + 2


def run(model, *args, samples=1000, chains=2, seed=0, **kwargs):
    mcmc = MCMC(
        NUTS(model),
        num_warmup=500,
        num_samples=samples,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(seed), *args, **kwargs)
    return mcmc


def errors(samples, name):
    """Mean and its Monte Carlo standard error, by the effective number of draws."""
    value = np.asarray(samples[name])
    effective = numpyro.diagnostics.effective_sample_size(value)
    return value.mean((0, 1)), value.std((0, 1)) / np.sqrt(effective)


def assert_same_posterior(one, other, names):
    for name, alias in names.items():
        (mean, error), (expected, noise) = errors(one, name), errors(other, alias)
        assert (np.abs(mean - expected) < 5 * np.hypot(error, noise)).all(), name


@pytest.mark.slow
def test_a_conjugate_posterior_is_the_one_known(x64):
    """Of a normal mean and variance: m_n = (c m + n mean) / (c + n), E[v] = rate_n / (shape_n - 1)."""
    x = rng.normal(2, 1.5, 15)
    c, m, a, b, n = 0.5, 1.0, 3.0, 2.0, len(x)
    posterior = dgn.bayesian(
        dg.DiagonalGaussian(np.zeros((1, 1)), np.zeros((1, 1))), priors.NormalInverseGamma([m], c, a, [b])
    )
    samples = run(posterior, x[:, None]).get_samples(group_by_chain=True)
    samples = {"mean": samples["density.mean"], "variance": samples["density.scale"] ** 2}
    shape, rate = a + n / 2, b + 0.5 * n * x.var() + 0.5 * c * n / (c + n) * (x.mean() - m) ** 2
    for name, expected in {"mean": (c * m + n * x.mean()) / (c + n), "variance": rate / (shape - 1)}.items():
        mean, error = errors(samples, name)
        assert abs(mean.item() - expected) < 5 * error.item(), name


@pytest.mark.slow
def test_a_mixture_with_missing_cells_has_the_posterior_written_by_hand(x64):
    z = rng.integers(2, size=60)
    x = np.array([[-2.0, 0.0], [2.0, 1.0]])[z] + rng.normal(size=(60, 2))
    x[rng.random(x.shape) < 0.2] = np.nan
    seen = ~np.isnan(x)

    def by_hand(x):
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.full(2, 2.0)))
        scale = numpyro.sample("scale", dist.HalfNormal(2).expand([2, 2]).to_event(2))
        first = numpyro.sample("first", dist.ImproperUniform(dist.constraints.ordered_vector, (), (2,)))
        other = numpyro.sample("other", dist.Normal(0, 3).expand([2]).to_event(1))
        numpyro.factor("prior of first", dist.Normal(0, 3).log_prob(first).sum())
        mean = jnp.stack([first, other], -1)
        cells = dist.Normal(mean, scale).log_prob(jnp.where(seen, x, 0)[:, None])
        rows = jnp.log(weights) + jnp.where(seen[:, None], cells, 0).sum(-1)
        numpyro.factor("x", jax.nn.logsumexp(rows, -1).sum())
        numpyro.deterministic("mean", mean)

    posterior = dgn.bayesian(
        dg.Mixture(jnp.zeros(2), dg.DiagonalGaussian(np.zeros((2, 2)), np.zeros((2, 2)))),
        priors.MixturePrior(priors.Dirichlet(2.0), None),
        sites={"density.mean": dist.Normal(0, 3), "density.scale": dist.HalfNormal(2)},
    )
    ours = posterior.ordered(run(posterior, x).get_samples(group_by_chain=True))
    theirs = run(by_hand, x, seed=1).get_samples(group_by_chain=True)
    assert_same_posterior(ours, theirs, {"weights": "weights", "density.mean": "mean", "density.scale": "scale"})


@pytest.mark.slow
def test_a_chain_has_the_posterior_written_by_hand(x64):
    """By the forward recursion, step by step, states and a ragged end included."""
    truth = dg.HiddenMarkov(jnp.zeros(2), jnp.log(jnp.array([[0.9, 0.1], [0.2, 0.8]])), dg.Poisson([[0.5], [2.0]]))
    x, _ = dg.sample(truth, jax.random.key(0), (4, 25))
    x, lengths = np.array(x), np.array([25, 20, 25, 7])
    x[1, 5:8] = np.nan

    def by_hand(x):
        initial = numpyro.sample("initial", dist.Dirichlet(jnp.ones(2)))
        moves = numpyro.sample("moves", dist.Dirichlet(jnp.ones(2)).expand([2]).to_event(1))
        rate = numpyro.sample("rate", dist.ImproperUniform(dist.constraints.positive_ordered_vector, (), (2,)))
        numpyro.factor("prior of rate", dist.Gamma(2, 0.5).log_prob(rate).sum())
        steps = jnp.where(np.isnan(x), 0, dist.Poisson(rate).log_prob(jnp.nan_to_num(x)))

        def forward(carry, s):
            moved = jax.nn.logsumexp(carry[:, :, None] + jnp.log(moves), axis=1)
            return jnp.where((s < lengths)[:, None], moved + steps[:, s], carry), None

        last, _ = jax.lax.scan(forward, jnp.log(initial) + steps[:, 0], jnp.arange(1, 25))
        numpyro.factor("x", jax.nn.logsumexp(last, -1).sum())

    posterior = dgn.bayesian(truth, priors.HiddenMarkovPrior(None, None, priors.Gamma(2.0, 0.5)))
    mcmc = run(posterior, x, lengths=lengths)
    ours = posterior.ordered(mcmc.get_samples(group_by_chain=True), by="density.rate")
    ours["density.rate"] = ours["density.rate"][..., 0]
    theirs = run(by_hand, x, seed=1).get_samples(group_by_chain=True)
    assert_same_posterior(ours, theirs, {"initial": "initial", "transition": "moves", "density.rate": "rate"})


def ranks(posterior, data, statistic, runs, draws=7, thin=8):
    """Of what the prior drew among draws of the posterior of the data that it gave: uniform from 0 to `draws`."""
    init = jax.random.key(0)

    def one(key):
        of_prior, of_nuts = jax.random.split(key)
        truth = Predictive(posterior, num_samples=1)(of_prior, **data)
        truth = {name: value[0] for name, value in truth.items()}
        x = truth.pop("x")
        start = unconstrain_fn(posterior, (x,), {}, truth)
        kernel = NUTS(potential_fn=lambda u: potential_energy(posterior, (x,), {}, u), max_tree_depth=6)
        state = kernel.init(of_nuts, 300, start, (), {})
        state, _ = jax.lax.scan(lambda s, _: (kernel.sample(s, (), {}), None), state, None, length=300 + thin)

        def thinned(state, _):
            state, _ = jax.lax.scan(lambda s, _: (kernel.sample(s, (), {}), None), state, None, length=thin)
            return state, state.z

        _, u = jax.lax.scan(thinned, state, None, length=draws)
        kept = jax.vmap(lambda u: numpyro.infer.util.constrain_fn(posterior, (x,), {}, u))(u)
        return (jax.vmap(statistic)(kept) < statistic(truth)).sum(0)

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(init, runs)))


def assert_uniform(counted, values):
    """Chi-square, at a level that one of a thousand right samplers would fail."""
    from scipy import stats

    for column in counted.T:
        observed = np.bincount(column, minlength=values)
        assert stats.chisquare(observed).pvalue > 1e-3 / counted.shape[1], observed


@pytest.mark.slow
def test_ranks_of_a_mixture_are_uniform(x64):
    model = dg.Mixture(jnp.zeros(2), dg.DiagonalGaussian(np.zeros((2, 1)), np.zeros((2, 1))))
    posterior = dgn.bayesian(
        model, priors.MixturePrior(priors.Dirichlet(2.0), priors.NormalInverseGamma([0.0], 0.2, 4.0, [3.0]))
    )

    def statistic(sample):  # the same however labels are numbered
        mean, weights = sample["density.mean"][:, 0], sample["weights"]
        return jnp.stack([mean.min(), weights @ mean, sample["density.scale"].max()])

    assert_uniform(ranks(posterior, {"num_rows": 20}, statistic, runs=240), 8)


@pytest.mark.slow
def test_ranks_of_a_chain_are_uniform(x64):
    model = dg.HiddenMarkov(jnp.zeros(2), jnp.zeros((2, 2)), dg.Poisson(jnp.zeros((2, 1))))
    posterior = dgn.bayesian(model, priors.HiddenMarkovPrior(None, priors.Dirichlet(2.0), priors.Gamma(3.0, 0.5)))

    def statistic(sample):
        rate = sample["density.rate"][:, 0]
        return jnp.stack([rate.min(), rate.max(), jnp.trace(sample["transition"])])

    assert_uniform(ranks(posterior, {"num_rows": 2, "num_steps": 12}, statistic, runs=240), 8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_inference_data_has_the_names_of_axes():
    arviz = pytest.importorskip("arviz")
    x = np.concatenate([rng.normal(-3, 1, (20, 2)), rng.normal(3, 1, (20, 2))]).astype("float32")
    model = dg.gaussian_mixture(jax.random.key(0), x, 2)
    posterior = dgn.bayesian(model, dgn.proper_prior(model, x))
    mcmc = run(posterior, x, samples=50)
    data = posterior.inference_data(mcmc, order="density.mean")
    means = data.posterior["density.mean"]
    assert means.dims == ("chain", "draw", "component", "column")
    assert (np.diff(means[..., 0].values, axis=-1) > 0).all()
    assert data.posterior["density.scale_tril"].dims[-2:] == ("column", "column_to")
    assert len(arviz.summary(data, var_names=["density.mean"])) == 4
