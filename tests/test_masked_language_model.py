"""Masked language models: every answer beside a transformer in NumPy's loops, learning, and classifiers of texts."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import transformer_oracle
from test_lowering import lower

import dgjax as dg
from dgjax import testing
from dgjax.densities import Draws
from dgjax.structures import Sequences

pytestmark = pytest.mark.xdist_group("masked language models")
C, K, T, KEY = 3, 2, 3, jax.random.key(0)
EVERY = np.array(list(itertools.product(range(C), repeat=T)), float)
HOLES = np.array([[0, np.nan, 2], [np.nan, np.nan, 1], [np.nan] * 3, [2, 1, np.nan], [1, np.nan, 0]])
X, LENGTHS = np.concatenate([EVERY, HOLES])[..., None], np.array([T] * len(EVERY) + [3, 3, 3, 2, 1])
OWN = [np.arange(T) < length for length in LENGTHS]


def make(k=K, dtype=float, size=0.8):
    """Density of a network of random parameters, larger than those it starts with."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: dg.Transformer.start(KEY, C + 1, C, 4, 2, 2, k, rotary=True))
    network = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, size, leaf.shape), dtype), shapes)
    return dg.MaskedLanguageModel(network, C, k)


def sequences(x=X, lengths=LENGTHS):
    return Sequences(jnp.asarray(x), jnp.asarray(lengths), True)


@functools.cache
def log_p(tokens, label=0, k=K):
    """Log-probabilities of a token at each place of a text, C in which is the mask."""
    y = np.eye(k)[label] if k > 1 else None
    logits = transformer_oracle.outputs(make(k).network, np.array(tokens), y)
    return logits - np.logaddexp.reduce(logits, 1)[:, None]


def given(row, seen, label=0, k=K):
    """Those of a text of which some places are seen."""
    return log_p(tuple(int(token) if own else C for token, own in zip(row, seen, strict=True)), label, k)


def along(row, order, label=0, k=K):
    """log p of a text along an order of its observed places."""
    total, seen = 0.0, np.zeros(len(row), bool)
    for place in order:
        total, seen = total + given(row, seen, label, k)[place, int(row[place])], seen | (np.arange(len(row)) == place)
    return total


@functools.cache
def order():
    return np.asarray(jax.jit(lambda: make()._before(T))()).sum(1).argsort()


def order_of(row):
    """Observed places in the model's order."""
    return [place for place in order() if place < len(row) and not np.isnan(row[place])]


@pytest.mark.usefixtures("x64")
def test_log_p_is_that_of_loops_and_adds_to_1():
    scores = np.asarray(jax.jit(make().scores)(sequences()))
    rows = [row[own, 0] for row, own in zip(X, OWN, strict=True)]
    wanted = [[along(row, order_of(row), label) for label in range(K)] for row in rows]
    np.testing.assert_allclose(scores, wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.exp(scores[: len(EVERY)]).sum(0), 1, rtol=1e-12)


def test_an_order_is_that_of_longer_texts_too():
    orders = lambda: [dataclasses.replace(make(), seed=own)._before(t) for own, t in ((0, T), (0, 7), (1, 7))]  # noqa: E731
    short, long, other = map(np.asarray, jax.jit(orders)())
    np.testing.assert_array_equal(long[:T, :T], short)
    assert sorted(long.sum(1)) == list(range(7))
    assert (long != other).any()


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_pseudo_log_likelihood_is_that_of_loops():
    wanted = []
    for row, own in zip(X, OWN, strict=True):
        row = row[own, 0]
        seen = ~np.isnan(row)
        each = [given(row, seen & (np.arange(len(row)) != s), k=1)[s, int(row[s])] for s in np.flatnonzero(seen)]
        wanted.append(sum(each))
    np.testing.assert_allclose(dg.pseudo_log_likelihood(make(1), X, LENGTHS), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_what_is_learnt_is_on_average_the_mean_over_all_orders():
    """Of texts with tokens missing and of several lengths, each under the label 1, over 3,000 keys."""
    x, lengths, y = X[-12:], LENGTHS[-12:], jnp.ones(12, int)
    estimate = lambda key: make().learning_scores(sequences(x, lengths), y, Draws(key))[:, 0]  # noqa: E731
    found = np.asarray(jax.jit(jax.vmap(estimate))(jax.random.split(KEY, 3000)))
    for row, own, length in zip(x, found.T, lengths, strict=True):
        places = np.flatnonzero(~np.isnan(row[:length, 0]))
        wanted = np.mean([along(row[:length, 0], order, 1) for order in itertools.permutations(places)])
        assert abs(own.mean() - wanted) <= 5 * own.std() / np.sqrt(len(own)) + 1e-12


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_the_most_probable_tokens_fill_in():
    posterior = np.random.default_rng(0).dirichlet(np.ones(K), len(X))
    filled = np.asarray(jax.jit(make().impute)(sequences(), posterior))[..., 0]
    for row, own, shares, came in zip(X[..., 0], OWN, posterior, filled, strict=True):
        p = [np.exp(given(row[own], ~np.isnan(row[own]), label)) for label in range(K)]
        np.testing.assert_array_equal(
            came[own], np.where(np.isnan(row[own]), (shares @ np.array(p).swapaxes(0, 1)).argmax(1), row[own])
        )


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", [[np.nan, np.nan, 1], [np.nan] * 3])
def test_drawn_tokens_have_their_probability(row):
    n, label = 20_000, 1
    rows = sequences(np.tile(np.reshape(row, (1, T, 1)), (n, 1, 1)), np.full(n, T))
    at = (jnp.full(n, label),)
    drawn = jax.jit(make().sample_missing)(jax.random.split(KEY, n), rows, at)
    if np.isnan(row).all():
        np.testing.assert_array_equal(np.unique(jax.jit(make().sample, static_argnums=2)(KEY, at, T)), range(C))
    possible = [text for text in EVERY if all(np.isnan(row) | (text == row))]
    observed = order_of(np.array(row))
    missing = [place for place in order() if place not in observed]
    logs = np.array([along(text, [*observed, *missing], label) for text in possible])
    p = np.exp(logs - np.logaddexp.reduce(logs))
    shares = [np.all(drawn[..., 0] == text, 1).mean() for text in possible]
    assert (abs(shares - p) <= 5 * np.sqrt(p * (1 - p) / n)).all()


def texts(n=24):
    """One token repeated, of two classes, a fifth of them missing."""
    y = np.arange(n) % 2
    x = np.tile(y[:, None, None], (1, 6, 1)).astype("float32")
    return x, np.where(np.random.default_rng(0).random(x.shape) < 0.2, np.nan, x), y


METHOD = dg.Optax(optax.adam(1e-2), batch_size=8, key=KEY)


@pytest.mark.slow
def test_texts_with_gaps_are_learnt_and_their_gaps_filled_in():
    x, gaps, y = texts()
    start = dg.masked_language_model(KEY, 2, width=8, num_layers=1, dropout=0.1)
    model = dg.fit(start, gaps, None, METHOD, max_steps=400).model
    assert float(dg.perplexity(model, x)) < 1.3  # 2 ** (1 / 6) = 1.12 at best
    np.testing.assert_array_equal(dg.impute(model, gaps), x)
    assert (dg.sample_missing(model, KEY, gaps) == x).mean() > 0.95
    classes = dg.masked_language_model(KEY, 2, 2, width=8, num_layers=1)
    classes = dg.fit(classes, gaps, y, METHOD, max_steps=200).model
    np.testing.assert_array_equal(dg.predict(classes, gaps), y)


@pytest.mark.slow
def test_a_fit_in_two_parts_is_one_fit_to_the_bit(tmp_path):
    _, gaps, _ = texts()
    start = dg.masked_language_model(KEY, 2, width=8, num_layers=1, dropout=0.1)
    whole = dg.fit(start, gaps, None, METHOD, max_steps=8).model
    for steps in (4, 8):
        parts = dg.fit(start, gaps, None, METHOD, max_steps=steps, checkpoint=tmp_path / "fit").model
    jax.tree.map(np.testing.assert_array_equal, parts, whole)


@pytest.mark.slow
def test_laws_hold():
    """Without classes, whose twin would not be exact, and of a network whose orders nearly agree."""
    testing.check_model(lambda rng: make(1, "float32", 0.3), learn=False, num_draws=20)


def classifier(frozen, k=K):
    return dg.Logistic(
        np.zeros(k, "float32"), dg.Neural.start(make(1, "float32").network, dg.TokenCells(C), 1, k, frozen=frozen)
    )


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [True, False])
def test_a_classifier_learns_on_the_features(frozen):
    x, _, y = texts()
    model = dg.fit(classifier(frozen), x, y, METHOD, max_steps=300).model
    np.testing.assert_array_equal(dg.predict(model, x), y)
    before, after = make(1, "float32").network.layers, model.scorer.trunk.layers
    same = jax.tree.leaves(jax.tree.map(np.array_equal, before, after))
    assert all(same) if frozen else not any(same)


@pytest.mark.usefixtures("x64")
def test_features_of_a_text_are_the_mean_of_those_of_its_own_tokens():
    network = make(1).network
    wide = dataclasses.replace(network, output=jnp.eye(4))  # outputs that are the features
    head = dg.Linear(np.random.default_rng(0).normal(size=(K, 4)))
    scorer = dg.Neural(network, head, dg.TokenCells(C), 1)
    wanted = []
    for row, own in zip(X[..., 0], OWN, strict=True):
        tokens = [C if np.isnan(token) else int(token) for token in row[own]]
        wanted.append(np.asarray(head.weight) @ transformer_oracle.outputs(wide, np.array(tokens)).mean(0))
    np.testing.assert_allclose(jax.jit(scorer.scores)(sequences()), wanted, rtol=1e-9)


def test_the_twin_is_a_classifier_on_the_features():
    twin = dg.discriminative(dg.Mixture(np.log([0.2, 0.8]), make(dtype="float32")))
    assert twin.sequential
    assert twin.scorer.frozen
    np.testing.assert_allclose(jax.nn.softmax(twin.bias), [0.2, 0.8], rtol=1e-6)
    assert dg.num_parameters(twin) == 1 + 4


def test_it_comes_back_from_a_file(tmp_path):
    for model in (dg.Mixture(np.zeros(K), dataclasses.replace(make(), seed=3)), classifier(True)):
        dg.save(tmp_path / "model.safetensors", model)
        loaded = dg.load(tmp_path / "model.safetensors")
        assert jax.tree.structure(loaded) == jax.tree.structure(model)
        jax.tree.map(np.testing.assert_array_equal, loaded, model)


LOWERED = {
    "scores": lambda own: own.scores(rows32()),
    "draws": lambda own: own.sample_missing(jax.random.split(KEY, len(X)), rows32(), (jnp.zeros(len(X), int),)),
    "learning": jax.grad(lambda own: own.learning_scores(rows32(), None, Draws(KEY)).sum()),
    "a classifier": jax.grad(lambda own: own.discriminative()[1].scores(rows32()).sum()),
}


def rows32():
    return sequences(X.astype("float32"))


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "a classifier")) for n in LOWERED])
def test_it_lowers_for_every_platform(name):
    lower(LOWERED[name], make(dtype="float32"))


def test_no_texts_have_no_answers():
    none = np.zeros((0, 2, 1), "float32")
    assert dg.log_prob(make(1, "float32"), none).shape == (0,)
    assert dg.predict_log_proba(classifier(True), none).shape == (0, K)


TOKENS = np.zeros((1, 2, 1))
ERRORS = {
    "a token out of range": (lambda: dg.log_prob(make(1), TOKENS + C), "from 0 to 2"),
    "another number of outputs": (lambda: dg.MaskedLanguageModel(make().network, C + 1, K), "must give 4 logits"),
    "positions": (
        lambda: dg.MaskedLanguageModel(dg.Transformer.start(KEY, C + 1, C, 4, 1, 1, num_positions=9), C),
        "Type dgjax.Transformer.start",
    ),
    "an odd width": (lambda: dg.masked_language_model(KEY, C, width=5), "Type width=6"),
    "all left out": (lambda: dg.masked_language_model(KEY, C, dropout=1.0), "dropout must be a number, from 0 to 0.99"),
    "one category": (lambda: dg.masked_language_model(KEY, 1), "num_categories must be"),
    "EM": (lambda: dg.fit(make(1), TOKENS, method=dg.EM()), "learns by gradient"),
    "what comes next": (lambda: dg.complete(make(1), KEY, TOKENS, 2), "one after another"),
    "a twin of no class": (
        lambda: dg.discriminative(make(1)),
        r"Neural.start\(model.network, dgjax.TokenCells\(3\), 1, k\)",
    ),
    "pseudo of classes": (
        lambda: dg.pseudo_log_likelihood(dg.Mixture(np.zeros(K), make()), TOKENS),
        "Type dgjax.log_prob",
    ),
    "pseudo of another model": (
        lambda: dg.pseudo_log_likelihood(dg.Gaussian([[0.0]], [[[1.0]]]), [[0.0]]),
        "is for a masked",
    ),
    "fewer tokens than are encoded": (
        lambda: dg.Neural.start(make(1).network, dg.TokenCells(C + 1), 1, K),
        rf"Type cells=dgjax.TokenCells\({C}\)",
    ),
    "a model for its network": (
        lambda: dg.Neural.start(make(1), dg.TokenCells(C), 1, K),
        "got a MaskedLanguageModel. Type trunk=model.network",
    ),
    "a mixture for its network": (
        lambda: dg.Neural.start(dg.Mixture(np.zeros(K), make()), dg.TokenCells(C), 1, K),
        "got a Mixture. Type trunk=model.density.network",
    ),
    "cells of one token": (lambda: dg.TokenCells(1), "num_categories must be"),
    "a classifier of missing tokens": (lambda: dg.predict(classifier(True), X), "cannot take NaN"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_to_type(name):
    call, words = ERRORS[name]
    with pytest.raises(ValueError, match=words):
        call()
