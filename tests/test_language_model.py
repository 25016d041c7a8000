"""Language models: every answer beside a transformer in NumPy's loops, and the laws of what sees what."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import transformer_oracle

import dgjax as dg
from dgjax.structures import Sequences

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.xdist_group("language models")]
C, K, T, KEY = 3, 2, 4, jax.random.key(0)
LENGTHS = np.array([4, 2, 1, 3])


def make():
    """Classes of a network of random parameters, larger than those it starts with, in float64."""
    model = dg.language_model(KEY, C, K, width=4, num_layers=2)
    model = jax.tree.map(lambda leaf: 1.5 * leaf.astype(float), model)
    return dg.Mixture(jnp.array([0.4, -0.3]), model.density)


def tokens(seed=1):
    return np.random.default_rng(seed).integers(0, C, (len(LENGTHS), T, 1)).astype(float)


def logits_of(network, seen, label):
    """Logits of the token after those of a list."""
    causal = np.tril(np.ones((len(seen), len(seen)), bool))
    return transformer_oracle.outputs(network, np.array(seen), np.eye(K)[label], causal)[-1]


def log_p(network, row, label):
    """log p of the tokens of a list."""
    total = 0.0
    for s, token in enumerate(row):
        logits = logits_of(network, [C, *row[:s]], label)
        total += logits[token] - np.logaddexp.reduce(logits)
    return total


def test_log_p_is_that_of_loops():
    model, x = make(), tokens()
    wanted = np.array(
        [
            [log_p(model.density.network, row[:length, 0].astype(int), label) for label in range(K)]
            for row, length in zip(x, LENGTHS, strict=True)
        ]
    )
    joint = wanted + np.asarray(jax.nn.log_softmax(model.log_weights))
    evidence = np.logaddexp.reduce(joint, 1)
    np.testing.assert_allclose(dg.log_prob(model, x, LENGTHS), evidence, rtol=1e-9)
    y, wanted = [0, 1, -1, 1], [joint[0, 0], joint[1, 1], evidence[2], joint[3, 1]]
    np.testing.assert_allclose(dg.log_joint(model, x, y, LENGTHS), wanted, rtol=1e-9)
    np.testing.assert_allclose(dg.predict_log_proba(model, x, LENGTHS), joint - evidence[:, None], rtol=1e-8, atol=1e-9)
    twin = dg.discriminative(model)
    np.testing.assert_allclose(dg.predict_log_proba(twin, x, LENGTHS), joint - evidence[:, None], rtol=1e-8, atol=1e-9)


def test_probabilities_of_all_texts_add_to_1():
    every = np.array(list(itertools.product(range(C), repeat=3)), float)[..., None]
    np.testing.assert_allclose(np.exp(dg.log_prob(make(), every)).sum(), 1, rtol=1e-12)


class Bare:
    """The network as another package's, which keeps nothing of the tokens before."""

    def __new__(cls, network):
        call = lambda own, x, y, mask: own(x, y, mask)  # noqa: E731
        return _Called(network, call)


@dg.dataclass
class _Called:
    network: object
    call: object = dg.static()

    def __call__(self, x, y=None, mask=None):
        return self.call(self.network, x, y, mask)


@pytest.mark.parametrize("keeps", [True, False])
def test_what_is_kept_of_tokens_gives_the_logits_of_all_of_them(keeps):
    density, x = make().density, tokens()
    if not keeps:
        density = dg.LanguageModel(Bare(density.network), C, K)
    at, more = (jnp.array([0, 1, 1, 0]),), np.random.default_rng(2).integers(0, C, (len(x), 2))
    begun, after = (jax.jit(own) for own in (lambda rows: density.seen(rows, at, 2), density.after))
    for lengths in (LENGTHS, np.zeros(4, int)):
        seen = begun(Sequences(jnp.asarray(x), jnp.asarray(lengths), True))
        for t in range(3):
            came = np.asarray(jax.nn.log_softmax(density.next_logits(seen, at)))
            for n, length in enumerate(lengths):
                row = [C, *x[n, :length, 0].astype(int), *more[n, :t]]
                wanted = logits_of(make().density.network, row, int(at[0][n]))
                np.testing.assert_allclose(came[n], wanted - np.logaddexp.reduce(wanted), rtol=1e-9)
            if t < 2:
                seen = after(seen, jnp.asarray(more[:, t]), at)


def test_the_future_and_padding_count_for_nothing():
    network, density, x = make().density.network, make().density, tokens()
    other = x.copy()
    other[:, 2:] = (other[:, 2:] + 1) % C
    logits = jax.jit(density._logits)
    first, second = (np.asarray(logits(jnp.asarray(own[..., 0], int))) for own in (x, other))
    np.testing.assert_array_equal(first[:, :, :3], second[:, :, :3])
    assert not np.allclose(first[:, :, 3], second[:, :, 3])
    padded = np.where(np.arange(T)[:, None] < LENGTHS[:, None, None], x, np.nan)
    one_by_one = [dg.log_prob(make(), row[None, :length])[0] for row, length in zip(x, LENGTHS, strict=True)]
    np.testing.assert_allclose(dg.log_prob(make(), padded, LENGTHS), one_by_one, rtol=1e-12)

    def of_embedded(z, place):
        out = jax.vmap(lambda row: network(row, jnp.eye(K)[:1], jnp.tril(jnp.ones((T, T), bool))))(z)
        return out[:, place].sum()

    z = jax.random.normal(KEY, (2, T, C + 1))
    slope = jax.jit(jax.grad(of_embedded), static_argnums=1)(z, 1)
    assert (np.asarray(slope[:, 2:]) == 0).all()
    assert (np.asarray(slope[:, :2]) != 0).any()


@pytest.mark.slow
def test_texts_are_learnt_of_known_and_unknown_classes():
    """Two classes of alternating tokens, that begin with one or the other; of a third of texts the class is known."""
    y = np.arange(24) % 2
    x = ((y[:, None] + np.arange(6)) % 2)[..., None].astype("float32")
    start = dg.language_model(KEY, 2, 2, width=8, num_layers=1, dropout=0.1)
    method = dg.Optax(optax.adam(1e-2), batch_size=8, key=KEY)
    known = np.where(np.arange(24) % 3, -1, y)
    model = dg.fit(start, x, known, method, max_steps=150).model
    np.testing.assert_array_equal(dg.predict(model, x), y)
    assert float(dg.perplexity(model, x)) < 1.3
    drawn = dg.complete(model, KEY, x[:2, :2], 4, temperature=0.0)
    np.testing.assert_array_equal(drawn, x[:2, 2:])


def test_inside_jit_what_is_no_token_is_impossible_and_a_missing_one_has_no_answer():
    x = tokens()
    x[0, 1], x[1, 0], x[3, 3] = np.nan, C, 1.5
    came = np.asarray(jax.jit(lambda x: dg.log_prob(make(), x, LENGTHS))(x))
    assert np.isnan(came[0])
    assert came[1] == -np.inf
    np.testing.assert_allclose(came[2:], dg.log_prob(make(), tokens(), LENGTHS)[2:])  # of the last beyond its length


def test_its_scores_have_no_error():
    assert not np.asarray(dg.log_prob_error(make(), tokens())).any()


def test_it_comes_back_from_a_file(tmp_path):
    model = make()
    dg.save(tmp_path / "model.safetensors", model)
    loaded = dg.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(dg.log_prob(loaded, tokens()), dg.log_prob(model, tokens()))


ERRORS = {
    "a missing token": (lambda: dg.log_prob(make(), np.full((1, 2, 1), np.nan)), "takes no missing tokens"),
    "a token out of range": (lambda: dg.log_prob(make(), np.full((1, 2, 1), 3.0)), "from 0 to 2"),
    "another number of outputs": (lambda: dg.LanguageModel(make().density.network, C + 1, K), "must give 4 logits"),
    "a network of rows": (lambda: dg.LanguageModel(dg.MLP.start(KEY, (4, 3)), C), "cannot take sequences of tokens"),
    "positions": (
        lambda: dg.LanguageModel(dg.Transformer.start(KEY, C + 1, C, 4, 1, 1, num_positions=9), C),
        "Type dgjax.Transformer.start",
    ),
    "an odd width": (lambda: dg.language_model(KEY, C, width=5), "Type width=6"),
    "one category": (lambda: dg.language_model(KEY, 1), "num_categories must be"),
    "one class": (lambda: dg.language_model(KEY, 2, 1), "num_classes must be"),
    "explanations": (lambda: dg.explain(make(), tokens()), "Compare dgjax.predict_log_proba"),
    "EM": (lambda: dg.fit(make(), tokens(), np.arange(4) % 2, dg.EM()), "learns by gradient"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_to_type(name):
    call, words = ERRORS[name]
    with pytest.raises(ValueError, match=words):
        call()
