"""Every verb lowers for every platform, on a machine that has none of them."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest
from test_laws import VERBS
from zoo import QUICK, ZOO, Case, every

import dgjax as dg

PLATFORMS = ("cpu", "cuda", "tpu")


def lower(fn, *arguments):
    traced = jax.jit(fn).trace(*arguments)
    for platform in PLATFORMS:
        assert traced.lower(lowering_platforms=(platform,)).as_text()


@every(ZOO, QUICK)
def test_verbs_of_generative_models(case: Case):
    model, (x, y), key = case.model("float32"), case.rows("float32"), jax.random.key(0)
    x = x.at[::3, 0].set(jnp.nan)
    for verb in VERBS.values():
        lower(functools.partial(verb), model, x, y, key)
    lower(jax.grad(lambda model: dg.log_prob(model, x).sum()), model)
    prior = dg.weak_prior(model, x)
    lower(lambda model, x, y: dg.fit(model, x, y, prior=prior, max_steps=3).model, model, x, y)
    lower(lambda model: dg.marginal(model, [0, 1]), model)


@pytest.mark.parametrize("method", [dg.Newton(), dg.LBFGS()])
@pytest.mark.parametrize("features", ["linear", "quadratic"])
def test_verbs_of_discriminative_models(features, method):
    model = dg.logistic_regression(3, 3, features)
    x, y = jnp.zeros((12, 3)), jnp.arange(12) % 3
    for verb in (dg.predict, dg.predict_log_proba):
        lower(verb, model, x)
    lower(dg.log_conditional, model, x, y)
    lower(dg.sample_labels, model, jax.random.key(0), x)
    lower(
        lambda model, x, y: dg.fit(model, x, y, prior=dg.priors.Ridge(1.0), method=method, max_steps=3).model,
        model,
        x,
        y,
    )


def test_twins_and_averages():
    case = ZOO[1]
    model, (x, _) = case.model("float32"), case.rows("float32")
    lower(lambda model, x: dg.predict(dg.discriminative(model), x), model, x)
    x = x.at[0, 0].set(jnp.nan)
    lower(lambda model, x: dg.predict(dg.marginalize(dg.discriminative(model), model), x), model, x)


def test_verbs_of_sequences():
    density = dg.DiagonalGaussian(jnp.zeros((2, 3)), jnp.zeros((2, 3)))
    model, key = dg.HiddenMarkov(jnp.zeros(2), jnp.zeros((2, 2)), density), jax.random.key(0)
    x, y, lengths = jnp.zeros((4, 5, 3)), jnp.zeros((4, 5), int).at[0].set(-1), jnp.array([5, 3, 1, 5])
    for verb in (dg.log_prob, dg.predict, dg.predict_log_proba, dg.impute):
        lower(verb, model, x, lengths)
    for verb in (dg.sample_labels, dg.sample_missing):
        lower(verb, model, key, x, lengths)
    lower(functools.partial(dg.forecast, steps=2), model, x)
    lower(lambda model, key: dg.sample(model, key, (2, 4)), model, key)
    lower(jax.grad(lambda model: dg.log_prob(model, x, lengths).sum()), model)
    lower(lambda model, x, y: dg.fit(model, x, y, lengths=lengths, max_steps=3).model, model, x, y)
    crf = dg.linear_chain_crf(3, 2)
    lower(
        lambda crf, x, y: dg.fit(crf, x, y, prior=dg.priors.Ridge(1.0), lengths=lengths, max_steps=3).model, crf, x, y
    )
    for verb in (dg.predict, dg.predict_log_proba):
        lower(verb, crf, x, lengths)
    lower(dg.log_conditional, dg.discriminative(model), x, y, lengths)


def test_minibatches_of_text():
    x, y = jnp.zeros((4, 5, 2)), jnp.arange(20).reshape(4, 5) % 2
    optimizer = optax.adam(0.1)
    crf = dg.linear_chain_crf(6, 2, features="indicator")

    def learnt(crf, x, y, key):
        return dg.fit(crf, x, y, dg.Optax(optimizer, batch_size=3, key=key), max_steps=3).model

    lower(learnt, crf, x, y, jax.random.key(0))
