"""Adversarial networks: the ratio that a discriminator learns, draws of classes, coverage, and what has no density."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_close, assert_same_tree

import dgjax as dg

D, K = 2, 3
KEY = jax.random.key(0)
CENTRES = np.array([[3, 0], [-3, 1], [0, 4]], "float32")
pytestmark = pytest.mark.xdist_group("adversarial")


def clusters(n, seed=0, share=(0.5, 0.3, 0.2)):
    rng = np.random.default_rng(seed)
    y = rng.choice(K, n, p=share)
    return (CENTRES[y] + rng.normal(0, 0.4, (n, D))).astype("float32"), y


X, Y = clusters(60)


def plain(**options):
    return dg.adversarial(KEY, X, hidden=(4,), latent_dim=2, **options)


def of_classes():
    return dg.adversarial(KEY, X, Y, hidden=(4,), latent_dim=2)


def learnt(start, x, y=None, steps=1000, rates=(2e-3, 1e-3), **options):
    adam = [rate if callable(getattr(rate, "init", None)) else optax.adam(rate, b1=0.5) for rate in rates]
    method = dg.Optax(adam[0], batch_size=100, key=jax.random.key(1), generator=adam[1])
    return dg.fit(start, x, y, method, max_steps=steps, **options)


@pytest.mark.slow
def test_the_discriminator_is_the_ratio_that_is_known():
    """Of draws N(0, 1) and rows N(1, 1), log-ratio x - 1 / 2; the generator stays, as its optimizer says."""
    x = 1 + np.random.default_rng(0).normal(size=(4000, 1)).astype("float32")
    one = dg.MLP((jnp.ones((1, 1)),), (jnp.zeros(1),))
    start = dg.Adversarial(one, one, np.zeros(1), np.ones(1), 1, penalty=0.0)
    model = learnt(start, x, steps=800, rates=(0.02, optax.set_to_zero())).model
    rows = np.linspace(-1, 2, 5)[:, None].astype("float32")
    assert_close(jax.jit(model.scores)(rows), rows - 0.5, 0.1)
    assert (model.generator.weights[0] == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["none", "some"])
def test_learning(labels, tmp_path):
    """Clusters of unlike weights, a tenth of the labels known: all are drawn, each under its own label."""
    x, y = clusters(2000)
    some = None if labels == "none" else np.where(np.arange(2000) % 10 == 0, y, -1)
    start = dg.adversarial(KEY, x, some, hidden=(32, 32), latent_dim=4)
    fit = learnt(start, x, some)
    own = fit.model if some is None else fit.model.density
    before = dataclasses.replace(own, generator=(start if some is None else start.density).generator)
    weights = None if some is None else start.log_weights
    assert float(own.coverage) > float(before.settled(x, weights).coverage) + 0.2
    drawn, label = dg.sample(fit.model, jax.random.key(2), 500)
    nearest = np.square(np.asarray(drawn)[:, None] - CENTRES).sum(-1).argmin(1)
    assert (np.bincount(nearest, minlength=K) > 25).all()
    if some is not None:
        assert (nearest == label).mean() > 0.95
        assert (np.asarray(dg.predict(fit.model, x)) == y).mean() > 0.95
    dg.save(tmp_path / "model", fit.model)
    assert_same_tree(dg.load(tmp_path / "model"), fit.model, 0)


@pytest.mark.slow
def test_coverage_is_that_of_the_rows_own_distribution_and_less_without_a_cluster():
    """By a generator that is the rows' distribution: 1 - 2^-5 of Naeem et al. (2020), and half for half of the rows."""
    rng = np.random.default_rng(0)
    still = dg.MLP((jnp.eye(D),), (jnp.zeros(D),))
    flat = dg.MLP((jnp.zeros((D, 1)),), (jnp.zeros(1),))
    start = dg.Adversarial(still, flat, np.zeros(D), np.ones(D), D)
    x = rng.normal(size=(2000, D)).astype("float32")
    assert abs(float(start.settled(x, None).coverage) - (1 - 2**-5)) < 0.02
    x[::2] += 100
    assert abs(float(start.settled(x, None).coverage) - 0.5) < 0.02


def test_a_posterior_is_that_of_the_discriminator_for_any_batch():
    model = of_classes()
    u = (X - model.density.centre) / model.density.scale
    expected = jax.nn.log_softmax(model.log_weights + model.density.discriminator(u))
    assert_close(dg.predict_log_proba(model, X), expected, 1e-5)
    assert_close(dg.predict_log_proba(model, X[3:4]), expected[3:4], 1e-5)
    assert_close(dg.log_conditional(model, X, Y), np.asarray(expected)[np.arange(len(Y)), Y], 1e-5)
    assert (dg.predict(model, X) == expected.argmax(-1)).all()
    shares = (np.bincount(Y) + 1) / (len(Y) + K)
    assert_close(np.exp(model.log_weights), shares.astype("float32"), 1e-5)


@pytest.mark.slow
def test_the_twin_has_its_posterior():
    model = of_classes()
    assert_close(dg.predict_log_proba(dg.discriminative(model), X), dg.predict_log_proba(model, X), 1e-5)


@pytest.mark.slow
def test_divergence_is_told_with_the_last_good_model():
    with pytest.raises(dg.Diverged, match="smaller learning rate") as told:
        learnt(plain(), X, steps=20, rates=(lambda step: jnp.where(step < 3, 1e-3, jnp.inf), 1e-3))
    assert np.isfinite(dg.sample(told.value.model, KEY, 3)[0]).all()


HOLES = np.where(np.eye(4, D) > 0, np.nan, 0).astype("float32")
NONE = r"needs log p\(x\), and an Adversarial has none.* type dgjax.normalizing_flow\(key, x\), or dgjax.tilted"
WRONG = {
    "log_prob": (lambda: dg.log_prob(plain(), X), f"log_prob {NONE}"),
    "log_joint": (lambda: dg.log_joint(of_classes(), X, Y), f"log_joint {NONE}"),
    "log_prob_error": (lambda: dg.log_prob_error(plain(), X), f"log_prob_error {NONE}"),
    "threshold": (lambda: dg.anomaly_threshold(plain(), X), NONE),
    "bic": (lambda: dg.bic(plain(), X), NONE),
    "impute": (lambda: dg.impute(plain(), HOLES), f"impute {NONE}"),
    "sample_missing": (lambda: dg.sample_missing(plain(), KEY, HOLES), f"sample_missing {NONE}"),
    "inside jit": (lambda: jax.jit(dg.log_prob)(plain(), X), NONE),
    "marginal": (lambda: dg.marginal(plain(), [0]), "An adversary cannot sum a cell out"),
    "a hole": (
        lambda: dg.predict(of_classes(), HOLES),
        "An adversary cannot sum a cell out: type dgjax.autoregressive",
    ),
    "a part": (lambda: dg.Columns((plain(), dg.Bernoulli(np.zeros((1, 1)))), ((0, 1), (2,))), "that knows log p"),
    "a base": (lambda: dg.tilted(KEY, plain(), X), "that knows log p"),
    "EM": (lambda: dg.fit(plain(), X), "learns by gradient"),
    "L-BFGS": (lambda: dg.fit(plain(), X, method=dg.LBFGS()), "play against each other maximise no one objective"),
    "validation": (
        lambda: dg.fit(plain(), X, method=dg.Optax(optax.sgd(0.1), key=KEY, validation=0.5)),
        "validation is for objectives that say which model is better",
    ),
    "generator": (
        lambda: dg.fit(dg.gaussian_mixture(KEY, X, 2), X, method=dg.Optax(optax.sgd(0.1), generator=optax.sgd(0.1))),
        "generator is the optimizer of the generator of dgjax.adversarial",
    ),
    "no optimizer": (lambda: dg.Optax(optax.sgd(0.1), generator=0.1), "generator must be a gradient transformation"),
    "blend": (lambda: learnt(of_classes(), X, Y, steps=1, blend=0.5), "blend is for densities that learn by"),
    "wide": (lambda: dataclasses.replace(plain(), latent_dim=3), "generator cannot take rows of|generator must give"),
    "few": (lambda: dataclasses.replace(plain(), num_classes=2), "discriminator must give 2 numbers"),
    "penalty": (lambda: plain(penalty=-1.0), "penalty must be"),
    "start": (lambda: dg.adversarial(KEY, HOLES), "cannot sum a cell out"),
}
QUICK = "log_prob", "impute", "a hole", "generator"


@pytest.mark.parametrize(
    "mistake", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in WRONG]
)
def test_mistakes_are_named(mistake):
    call, words = WRONG[mistake]
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
def test_what_one_asked_for_a_density_is_told_to_do_works():
    base = dg.fit(dg.gaussian_mixture(KEY, X, 3), X).model
    for model in (dg.normalizing_flow(KEY, X, num_layers=2), dg.tilted(KEY, base, X, hidden=(4,))):
        assert np.isfinite(dg.log_prob(model, X)).all()
