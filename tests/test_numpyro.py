"""NumPyro's own pattern, on each distribution, and models that use them."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from laws import assert_close
from numpyro import handlers
from numpyro.infer import SVI, Predictive, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal
from numpyro.infer.util import log_density
from numpyro_cases import CASES, B

import dgjax as dg
import dgjax.numpyro as dgn

pytestmark = pytest.mark.xdist_group("numpyro")
QUICK = ("GaussianMixture",)
DRAWS = 2_000

every = pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if case.name in QUICK else pytest.mark.slow, id=case.name) for case in CASES],
)


def with_missing(case, value):
    """One cell, or step, of each value is not known."""
    if case.name == "NaNMultinomial":  # what of a total is observed is another's law
        return value
    if jnp.issubdtype(value.dtype, jnp.integer):
        return value.at[..., 1].set(-1)
    return value.at[..., 0].set(jnp.nan) if value.ndim == 3 else value.at[..., 1, :].set(jnp.nan)


@every
def test_a_distribution_follows_the_pattern(case):
    parameters = case.batched()
    batch = case.make(**parameters)
    event = batch.event_shape
    value = batch.sample(jax.random.key(0), (4,))
    assert (batch.batch_shape, value.shape) == ((B,), (4, B, *event))
    assert batch.support(value).all()
    assert not batch.support(value + 0.5 if batch.is_discrete else value + jnp.inf).any()

    value = with_missing(case, value)
    found = jax.jit(lambda own, value: own.log_prob(value))(batch, value)  # as a pytree
    expected = [[case.expected(case.one(i), np.asarray(value[j, i], float)) for i in range(B)] for j in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert_close(batch.log_prob(value), found)

    # Of one at a time, which jax.vmap may map over, and put an axis on.
    over = jax.vmap(lambda own, value: case.make(**own).log_prob(value), in_axes=(0, 1), out_axes=1)
    assert_close(jax.jit(over)(parameters, value), found)
    together = jax.vmap(lambda own: case.make(**own))(parameters)
    assert (together.batch_shape, together.event_shape) == ((B,), event)
    assert_close(together.log_prob(value), found)

    same = jax.tree.unflatten(*reversed(jax.tree.flatten(batch)))
    assert type(same) is type(batch)
    assert same.batch_shape == batch.batch_shape
    wide = batch.expand((3, B))
    assert wide.sample(jax.random.key(1), (4,)).shape == (4, 3, B, *event)
    assert_close(wide.log_prob(value[:3]), found[:3])
    assert_close(batch.to_event(1).log_prob(value), found.sum(1))
    assert_close(batch.mask(jnp.array([True, False])).log_prob(value), found * jnp.array([1.0, 0.0]))
    for name in type(batch).arg_constraints:
        natural = parameters.get(name)
        if natural is not None and name not in ("initial", "transition"):
            assert_close(getattr(batch, name), natural)


@pytest.mark.slow
@every
def test_samples_agree_with_the_density(case):
    """E[d log p(x) / d parameters] = 0 over the distribution's own samples, parameters as they come unconstrained."""
    one = {name: jnp.asarray(value[0], jnp.float32) for name, value in case.parameters.items()}

    def moved(one, by):
        """Each parameter a bit further along a fixed direction, within its limits."""
        rng, result = np.random.default_rng(0), {}
        for step, (name, value) in zip(by, one.items(), strict=True):
            direction = step * rng.normal(size=value.shape).astype("float32")
            if "probs" in name:
                simplex = name != "probs" or case.name != "NaNBernoulli"
                value = jax.nn.softmax(jnp.log(value) + direction) if simplex else value * jnp.exp(-(direction**2))
            elif name in ("rate", "scale"):
                value = value * jnp.exp(direction)
            else:
                value = value + jnp.tril(direction) if name == "scale_tril" else value + direction
            result[name] = value
        return result

    value = case.make(**one).sample(jax.random.key(2), (DRAWS,))
    log_prob = jax.jit(lambda by: case.make(**moved(one, by)).log_prob(value))
    for step in 0.01 * np.eye(len(one), dtype="float32"):
        slope = np.asarray(log_prob(step) - log_prob(-step), float) / 0.02
        assert np.isfinite(slope).all()
        assert abs(slope.mean()) < 4.5 * slope.std() / np.sqrt(DRAWS) + 1e-4


@pytest.mark.slow
def test_gradients_agree_with_differences(x64):
    case = CASES[0]
    one = {name: jnp.asarray(value[0]) for name, value in case.parameters.items()}
    value = with_missing(case, case.make(**case.batched()).sample(jax.random.key(0), (5,)))[:, 0].astype(float)

    @jax.jit
    def total(loc):
        return case.make(**{**one, "loc": loc}).log_prob(value).sum()

    direction = np.random.default_rng(0).normal(size=one["loc"].shape)
    slope = (total(one["loc"] + 1e-5 * direction) - total(one["loc"] - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose((jax.grad(total)(one["loc"]) * direction).sum(), slope, rtol=1e-7)


def test_a_model_with_plates_scores_missing_cells_labels_and_ragged_sequences():
    rng = np.random.default_rng(0)
    density = dg.Gaussian(rng.normal(size=(2, 2)), np.stack([np.eye(2)] * 2))
    x = rng.normal(size=(6, 2)).astype("float32")
    x[0, 0], y = np.nan, np.array([0, 1, -1, -1, 1, 0])
    chains, lengths = rng.normal(size=(3, 4, 2)).astype("float32"), np.array([4, 2, 3])
    states = np.array([[0, -1, -1, 1], [-1, 1, -1, -1], [-1, -1, -1, -1]])

    def model():
        probs = numpyro.sample("probs", dist.Dirichlet(jnp.ones(2)))
        with numpyro.plate("rows", 6):
            numpyro.sample("x", dgn.GenerativeClassifier(probs, density, y), obs=x)
        with numpyro.plate("sequences", 3):
            moves = jnp.stack([probs, probs[::-1]])
            numpyro.sample(
                "chains", dgn.HiddenMarkov(probs, moves, density, 4, states=states, lengths=lengths), obs=chains
            )

    probs = jnp.array([0.3, 0.7])
    total, trace = log_density(model, (), {}, {"probs": probs})
    mixture = dg.Mixture(jnp.log(probs), density)
    chain = dg.HiddenMarkov(jnp.log(probs), jnp.log(jnp.stack([probs, probs[::-1]])), density)
    of_rows, of_chains = dg.log_joint(mixture, x, y), dg.log_joint(chain, chains, states, lengths)
    assert_close(total, of_rows.sum() + of_chains.sum())  # the Dirichlet is flat, of density 1
    assert trace["x"]["fn"].batch_shape == (6,)
    scaled = log_density(handlers.scale(model, scale=2.0), (), {}, {"probs": probs})[0]
    assert_close(scaled, 2 * total)


def test_labels_given_rows_are_enumerated_and_drawn():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 3)).astype("float32")
    model = dg.Logistic(rng.normal(size=4).astype("float32"), dg.Linear(rng.normal(size=(4, 3)).astype("float32")))
    labels = dgn.Conditional(model, x)
    support = labels.enumerate_support()
    assert support.shape == (4, 5)
    assert_close(labels.log_prob(support).T, dg.predict_log_proba(model, x))
    assert_close(labels.log_prob(labels.enumerate_support(expand=False)), labels.log_prob(support))
    assert (labels.log_prob(-jnp.ones(5, int)) == 0).all()
    draws = labels.sample(jax.random.key(0), (DRAWS,))
    shares = jax.nn.one_hot(draws, 4).mean(0)
    np.testing.assert_allclose(shares, jnp.exp(dg.predict_log_proba(model, x)), atol=4.5 * 0.5 / np.sqrt(DRAWS))


@pytest.mark.slow
def test_latent_labels_are_summed_out_by_enumeration():
    pytest.importorskip("funsor")
    from numpyro.contrib import funsor

    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    classifier, means = dg.Logistic(jnp.zeros(3), dg.Linear(jnp.eye(3)[:, :2])), jnp.array([0.0, 2.0, 5.0])

    def model():
        with numpyro.plate("rows", 5):
            label = numpyro.sample("label", dgn.Conditional(classifier, x), infer={"enumerate": "parallel"})
            numpyro.sample("z", dist.Normal(means[label], 1), obs=jnp.arange(5.0))

    total, _ = funsor.log_density(funsor.enum(model, -2), (), {}, {})
    rows = dg.predict_log_proba(classifier, x) + dist.Normal(means, 1).log_prob(jnp.arange(5.0)[:, None])
    assert_close(jnp.asarray(total), jax.nn.logsumexp(rows, -1).sum())


def test_sequences_drawn_keep_the_states_given_and_end_at_their_length():
    means = jnp.array([[0.0], [100.0]])
    given = np.array([[1, -1, 1, -1], [0, -1, -1, -1]])
    chain = dgn.HiddenMarkov(
        np.array([0.5, 0.5]), np.eye(2), dist.Normal(means, 1.0).to_event(1), states=given, lengths=np.array([4, 2])
    )
    x = chain.sample(jax.random.key(0), (3,))
    assert x.shape == (3, 2, 4, 1)
    assert (jnp.isnan(x) == (jnp.arange(4) >= jnp.array([[4], [2]]))[..., None]).all()
    np.testing.assert_array_equal(jnp.nan_to_num(x).mean((0, 2, 3)).round(-2), [100, 0])
    impossible = dgn.HiddenMarkov(np.array([0.5, 0.5]), np.eye(2), dist.Normal(means, 1.0).to_event(1), states=[[0, 1]])
    assert (impossible.log_prob(jnp.zeros((1, 2, 1))) == -jnp.inf).all()


@pytest.mark.slow
def test_a_posterior_predictive_and_a_prior_one():
    def model(x=None):
        loc = numpyro.sample("loc", dist.Normal(0, 10).expand([2, 1]).to_event(2))
        with numpyro.plate("rows", 7):
            numpyro.sample("x", dgn.GaussianMixture([0.5, 0.5], loc, jnp.ones((2, 1, 1))), obs=x)

    prior = Predictive(model, num_samples=5)(jax.random.key(0))
    assert prior["x"].shape == (5, 7, 1)
    after = Predictive(model, {"loc": jnp.full((5, 2, 1), 50.0)})(jax.random.key(0))
    np.testing.assert_allclose(after["x"], 50, atol=6)


@pytest.mark.slow
def test_a_guide_of_a_normal_mean_finds_its_posterior():
    """N(sum x / (n + 1), 1 / (n + 1)) by column, n being the cells observed of it."""
    x = np.random.default_rng(0).normal([1.0, -2.0], 1, (40, 2)).astype("float32")
    x[::2, 1] = np.nan

    def model():
        loc = numpyro.sample("loc", dist.Normal(0, 1).expand([2]).to_event(1))
        with numpyro.plate("rows", 40):
            numpyro.sample("x", dgn.NaNNormal(loc, jnp.ones(2)), obs=x)

    guide = AutoNormal(model)
    svi = SVI(model, guide, numpyro.optim.Adam(0.02), Trace_ELBO(num_particles=20, vectorize_particles=True))
    params = svi.run(jax.random.key(0), 1500, progress_bar=False).params
    count = (~np.isnan(x)).sum(0)
    np.testing.assert_allclose(params["loc_auto_loc"], np.nansum(x, 0) / (count + 1), atol=0.03)
    np.testing.assert_allclose(params["loc_auto_scale"], 1 / np.sqrt(count + 1), rtol=0.1)


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match=r"GaussianMixture\(probs=\.\.\.\) must be probabilities that add up to 1"):
        dgn.GaussianMixture([0.5, 0.6], jnp.zeros((2, 1)), jnp.ones((2, 1, 1)))
    with pytest.raises(ValueError, match="takes one of probs and logits; got both"):
        dgn.NaNCategorical(jnp.ones((1, 1)), logits=jnp.ones((1, 1)))
    with pytest.raises(ValueError, match=r"type num_steps=x\.shape"):
        dgn.HiddenMarkov([1.0], [[1.0]], dist.Normal(jnp.zeros(1), 1.0))
    with pytest.raises(ValueError, match="GenerativeClassifier needs density"):
        dgn.GenerativeClassifier([1.0])
    with pytest.raises(ValueError, match="Logistic is discriminative"):
        dgn.Marginal(dg.logistic_regression(2, 2))
    with pytest.raises(ValueError, match="num_steps and lengths are for models of sequences"):
        dgn.Marginal(dg.Gaussian(jnp.zeros((1, 1)), jnp.eye(1)), num_steps=3)
    with pytest.raises(ValueError, match="column 0 expects a count, a whole number from 0"):
        jax.jit(lambda: dgn.NaNPoisson([1.0]).log_prob(np.array([[0.5]])))()
    with pytest.raises(NotImplementedError, match="paths are too many"):
        dgn.LinearChainCRF(jnp.zeros(2), jnp.zeros((2, 2)), jnp.zeros((3, 2))).enumerate_support()
    with pytest.raises(NotImplementedError, match="have no unconstrained form"):
        dist.biject_to(dgn.NaNPoisson([1.0]).support)


def test_a_real_row_may_be_latent():
    support = dgn.NaNNormal([0.0, 1.0], [1.0, 1.0]).support
    bijection = dist.biject_to(support)
    assert_close(bijection(jnp.ones((3, 2))), jnp.ones((3, 2)))
    assert bijection.log_abs_det_jacobian(jnp.ones((3, 2)), jnp.ones((3, 2))).shape == (3,)
