"""Markov chains of symbols: every answer against all ways to fill in the symbols that are missing, and all classes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_close

import dgjax as dg
from dgjax.testing import check_model

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.xdist_group("Markov chains")]
N, T, C, K = 6, 4, 3, 2
LENGTHS, Y = np.array([4, 3, 2, 4, 1, 4]), np.array([0, 1, -1, 0, 1, -1])


def make(order, seed=0):
    rng = np.random.default_rng(seed)
    return dg.Mixture(rng.normal(size=K), dg.MarkovChain(rng.normal(size=(K, *[C + 1] * order, C)), order))


def symbols(missing):
    x = np.random.default_rng(1).integers(0, C, (N, T, 1)).astype(float)
    if missing:
        x[0, 1], x[1, 0], x[2], x[3, 1:3] = np.nan, np.nan, np.nan, np.nan
    return x


def completions(model, row, label):
    """Every way to fill in a row of symbols, its runs in the table, and log p of it."""
    logs, order = np.asarray(jax.nn.log_softmax(model.density.log_transition)), model.density.order
    found = []
    for own in itertools.product(*(range(C) if np.isnan(cell) else [int(cell)] for cell in row)):
        seen = [C] * order + list(own)
        runs = [(label, *seen[i : i + order + 1]) for i in range(len(own))]
        found.append((runs, sum(logs[run] for run in runs)))
    return found


def joint_of(model, x):
    weights = np.asarray(jax.nn.log_softmax(model.log_weights))
    each = [
        [np.logaddexp.reduce([total for _, total in completions(model, row[:length, 0], k)]) for k in range(K)]
        for row, length in zip(x, LENGTHS, strict=True)
    ]
    return weights + np.array(each)


ORDERS = [pytest.param(order, marks=[pytest.mark.slow] * (order != 1)) for order in (0, 1, 2)]


@pytest.mark.parametrize("missing", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("order", ORDERS)
def test_a_step_of_em_counts_runs_over_completions_and_classes(order, missing):
    model, x = make(order), symbols(missing)
    joint = joint_of(model, x)
    joint = np.where((Y[:, None] >= 0) & (np.arange(K) != Y[:, None]), -np.inf, joint)
    total = np.logaddexp.reduce(joint, 1)
    shares, counts = np.exp(joint - total[:, None]), np.zeros(model.density.log_transition.shape)
    for i, k in itertools.product(range(N), range(K)):
        every = completions(model, x[i, : LENGTHS[i], 0], k)
        whole = np.logaddexp.reduce([own for _, own in every])
        for runs, own in every:
            for run in runs:
                counts[run] += shares[i, k] * np.exp(own - whole)
    prior = dg.priors.Dirichlet(np.full(C, 1.5))
    whole = dg.priors.MixturePrior(None, prior)
    fitted = dg.fit(model, x, Y, lengths=LENGTHS, prior=whole, max_steps=1, method=dg.EM(tol=0.0)).model
    counts = counts + 0.5
    assert_close(np.exp(fitted.density.log_transition), counts / counts.sum(-1, keepdims=True))
    assert_close(np.exp(fitted.log_weights), shares.sum(0) / N)


@pytest.mark.slow
@pytest.mark.parametrize("order", [0, 1, 2])
def test_answers_are_those_of_sums_over_completions(order):
    model = make(order)
    for x in (symbols(False), symbols(True)):
        joint = joint_of(model, x)
        assert_close(dg.log_prob(model, x, LENGTHS), np.logaddexp.reduce(joint, 1))
        assert_close(dg.log_joint(model, x, np.zeros(N, int), LENGTHS), joint[:, 0])
        assert dg.predict(model, x, LENGTHS).tolist() == joint.argmax(1).tolist()
    assert dg.log_prob(model, x, LENGTHS)[2] == 0
    filled = np.asarray(dg.impute(model, x, LENGTHS))
    drawn = np.asarray(dg.sample_missing(model, jax.random.key(0), x, LENGTHS))
    inside = np.arange(T) < LENGTHS[:, None]
    assert np.isin(filled[inside], range(C)).all()
    assert np.isin(drawn[inside], range(C)).all()
    twin, x = dg.discriminative(model), symbols(False)
    assert_close(dg.predict_log_proba(twin, x, LENGTHS), dg.predict_log_proba(model, x, LENGTHS))
    contexts = sum(C**before for before in range(order + 1))
    assert dg.num_parameters(model) == K - 1 + K * contexts * (C - 1)


@pytest.mark.slow
def test_draws_have_the_chances_of_the_table():
    chain = dg.MarkovChain(np.random.default_rng(0).normal(size=(1, C + 1, C + 1, C)), 2)
    x = np.asarray(dg.sample(chain, jax.random.key(0), (20_000, 3))[0])[..., 0].astype(int)
    p = np.asarray(jax.nn.softmax(chain.log_transition))[0]
    np.testing.assert_allclose(np.bincount(x[:, 0]) / len(x), p[C, C], atol=0.015)
    for a in range(C):
        of = x[x[:, 0] == a]
        np.testing.assert_allclose(np.bincount(of[:, 1], minlength=C) / len(of), p[C, a], atol=0.025)
    of = x[(x[:, 0] == 0) & (x[:, 1] == 1)]
    np.testing.assert_allclose(np.bincount(of[:, 2], minlength=C) / len(of), p[0, 1], atol=0.05)


@pytest.mark.slow
def test_laws():
    rng = np.random.default_rng(0)
    x = symbols(False)
    check_model(lambda rng: dg.Mixture(rng.normal(size=K), dg.MarkovChain(rng.normal(size=(K, C + 1, C)))))
    one = dg.markov_chain(x, order=2, lengths=LENGTHS, prior="weak")
    two = dg.markov_chain(x, np.arange(N) % 2, lengths=LENGTHS, num_categories=4, prior="weak")
    assert dg.log_prob(one, x, LENGTHS).shape == (N,)
    assert two.density.num_categories == 4
    assert np.isfinite(dg.log_prob(two, rng.integers(0, 4, (3, 5, 1)).astype(float))).all()
    counted = dg.markov_chain(x, np.arange(N) % 2, lengths=LENGTHS)
    assert_close(dg.fit(counted, x, np.arange(N) % 2, lengths=LENGTHS).objective[-1], _best(counted, x))
    inside = jax.jit(lambda x: dg.log_prob(counted, x))(jnp.asarray(x))
    assert_close(inside, dg.log_prob(counted, x))


def _best(model, x):
    return np.asarray(dg.log_joint(model, x, np.arange(N) % 2, LENGTHS).sum())


WRONG = {
    "too few contexts": (lambda x: dg.MarkovChain(np.zeros((2, C, C))), "c \\+ 1"),
    "an order that does not fit": (lambda x: dg.MarkovChain(np.zeros((C + 1, C)), 2), "order=2"),
    "a symbol too many": (lambda x: dg.log_prob(make(1), x + 1), "from 0 to 2"),
    "two columns": (lambda x: dg.markov_chain(np.repeat(x, 2, -1)), "one column"),
    "fractions": (lambda x: dg.markov_chain(x / 2), "whole number"),
}


@pytest.mark.parametrize("mistake", WRONG, ids=str)
def test_mistakes_are_named(mistake):
    call, words = WRONG[mistake]
    with pytest.raises(ValueError, match=words):
        call(symbols(False))
