"""Verbs of text: tokens and back, perplexity, completions and choices, beside log p of whole sequences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax as dg
from dgjax._language import _likely
from dgjax.data import as_sequences

pytestmark = pytest.mark.xdist_group("language")
C, K, KEY = 3, 2, jax.random.key(0)
TEXTS = ["naïve Bayes", "été 🎲", "a"]
rng = np.random.default_rng(0)
CHAINS = dg.Mixture(np.array([0.3, -0.2]), dg.MarkovChain(rng.normal(size=(K, C + 1, C + 1, C)), order=2))


class Words:
    """A tokenizer of words that it has seen."""

    def __init__(self):
        self.known = {}

    def encode(self, text):
        return [self.known.setdefault(word, len(self.known)) for word in text.split()]

    def decode(self, numbers):
        return " ".join(list(self.known)[number] for number in numbers)


class Batched:
    """A tokenizer as those of the package tokenizers are: numbers are the `ids` of what it gives."""

    class Encoding:
        def __init__(self, ids):
            self.ids = ids

    def encode(self, text):
        return self.Encoding([ord(letter) - 97 for letter in text])

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, numbers):
        return "".join(chr(97 + number) for number in numbers)


class Fixed:
    """A tokenizer that adds a token at the end, where it is not told to leave it out, or pads."""

    def __init__(self, ids, mask=None):
        self.ids, self.attention_mask = ids, mask

    def encode(self, text, add_special_tokens=True):
        own = Fixed([*self.ids, *[9] * add_special_tokens], self.attention_mask)
        return own if self.attention_mask else own.ids

    def decode(self, numbers):
        return str(numbers)


def test_tokens_that_a_tokenizer_adds_are_left_out():
    assert dg.tokenize(["a"], Fixed([1, 2]))[0].ravel().tolist() == [1, 2]
    x, lengths = dg.tokenize(["a"], Fixed([0, 0, 5], [0, 1, 1]))
    assert (x.ravel().tolist(), lengths.tolist()) == ([0, 5], [2])


def test_a_token_across_the_end_of_a_prompt_is_told():
    with pytest.warns(UserWarning, match="share a token"):
        dg.choose(CHAINS, "a", ["b"], Words())


def test_texts_come_back():
    x, lengths = dg.tokenize(TEXTS)
    assert lengths.tolist() == [len(text.encode()) for text in TEXTS]
    assert dg.detokenize(x, lengths) == TEXTS == dg.detokenize(x)
    for tokenizer, texts in ((Words(), ["to be", "or not to be"]), (Batched(), ["abc", "a"])):
        x, lengths = dg.tokenize(texts, tokenizer)
        assert dg.detokenize(x, lengths, tokenizer) == texts
    cut_short = np.asarray(dg.tokenize(["é"])[0])[:, :1]
    assert dg.detokenize(cut_short) == ["\N{REPLACEMENT CHARACTER}"]


def test_perplexity_is_of_all_tokens_together():
    x = rng.integers(0, C, (4, 5, 1)).astype("float32")
    lengths = np.array([5, 2, 1, 3])
    nats = np.asarray(dg.log_prob(CHAINS, x, lengths), float).sum()
    np.testing.assert_allclose(dg.perplexity(CHAINS, x, lengths), np.exp(-nats / 11), rtol=1e-6)
    bits = np.log2(dg.perplexity(CHAINS, x, lengths, units=2 * lengths))
    np.testing.assert_allclose(bits, -nats / 22 / np.log(2), rtol=1e-5)
    x[0, 1] = np.nan
    nats = np.asarray(dg.log_prob(CHAINS, x, lengths), float).sum()
    np.testing.assert_allclose(dg.perplexity(CHAINS, x, lengths), np.exp(-nats / 10), rtol=1e-6)


@pytest.mark.parametrize("missing", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_completions_come_as_often_as_the_joint_says(missing):
    """Two tokens after prompts of two lengths, or with a token missing, and of no length."""
    n, every = 4000, np.array(list(itertools.product(range(C), repeat=2)), float)[..., None]
    begun = [[[1.0], [np.nan if missing else 2.0]], [[0.0]], []]
    prompts = np.zeros((2 * n, 2, 1))
    prompts[:n], prompts[n:, :1] = begun[0], begun[1]
    came = np.asarray(dg.complete(CHAINS, KEY, prompts, 2, np.repeat([2, 1], n))).reshape(2, n, 2)
    came = [*came, np.asarray(dg.complete(CHAINS, KEY, np.zeros((n, 0, 1)), 2))[..., 0]]
    for own, drawn in zip(begun, came, strict=True):
        whole = np.concatenate([np.broadcast_to(np.reshape(own, (-1, 1)), (9, len(own), 1)), every], 1)
        p = np.exp(np.asarray(dg.log_prob(CHAINS, whole), float))
        p /= p.sum()
        found = np.bincount((drawn @ [C, 1]).astype(int), minlength=9) / n
        assert (np.abs(found - p) <= 5 * np.sqrt(p * (1 - p) / n) + 1e-9).all()


def test_the_class_of_a_completion_may_be_known():
    model = dg.Mixture(jnp.zeros(2), dg.MarkovChain(jnp.log(jnp.eye(2))[:, None].repeat(3, 1)))
    prompts = np.zeros((4, 0, 1))
    came = np.asarray(dg.complete(model, KEY, prompts, 3, y=[0, 1, 0, 1]))[..., 0]
    np.testing.assert_array_equal(came, np.repeat([[0], [1], [0], [1]], 3, axis=1))
    assert np.isnan(dg.complete(model, KEY, np.ones((1, 1, 1)), 3, y=[0])).all()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(0.5, None, None), (2.0, 3, None), (1.0, None, 0.6), (0.7, 4, 0.8)]
)
def test_tokens_that_stay(temperature, top_k, top_p):
    """Beside a loop over tokens, the most probable first."""
    logits = np.random.default_rng(1).normal(size=(20, 6)).astype("float32")
    came = np.asarray(_likely(jnp.asarray(logits), temperature, top_k, top_p))
    for row, own in zip(logits.astype(float), came, strict=True):
        p = np.exp(row / temperature)
        order, total, kept = np.argsort(-row), 0.0, []
        p_k = p * (p >= np.sort(p)[-top_k]) if top_k else p
        for token in order[: top_k or None]:
            if total < (1 if top_p is None else top_p):
                kept.append(token)
            total += p_k[token] / p_k.sum()
        wanted = np.full(6, -np.inf)
        wanted[kept] = row[kept] / temperature
        np.testing.assert_allclose(own, wanted, rtol=1e-5)


def test_of_equal_tokens_as_many_stay_as_are_asked_for():
    equal = jnp.zeros((2, 5))
    for options, wanted in (((1.0, 2, None), 2), ((0.0, None, None), 1), ((1.0, None, 0.5), 3), ((1.0, 4, 0.5), 2)):
        assert (np.isfinite(_likely(equal, *options)).sum(1) == wanted).all()


def test_at_temperature_0_the_most_probable_token_comes():
    prompts = rng.integers(0, C, (7, 3, 1)).astype(float)
    came = [
        dg.complete(CHAINS, KEY, prompts, 4, y=np.ones(7, int), **own) for own in ({"temperature": 0.0}, {"top_k": 1})
    ]
    logs = np.asarray(CHAINS.density.log_transition)[1]
    for row, *each in zip(prompts[..., 0].astype(int), *came, strict=True):
        for found in each:
            seen = list(row)
            for token in np.asarray(found)[:, 0]:
                seen.append(logs[seen[-2], seen[-1]].argmax())
                assert token == seen[-1]


def test_choices_are_differences_of_whole_texts():
    tokenizer = Batched()
    prompt, ends = "ab", ["c", "ca", "b"]
    whole = [
        dg.log_prob(CHAINS, *dg.tokenize([text], tokenizer))[0] for text in [*(prompt + end for end in ends), prompt]
    ]
    wanted = np.array(whole[:-1]) - whole[-1]
    np.testing.assert_allclose(dg.choose(CHAINS, prompt, ends, tokenizer), wanted, rtol=1e-5)
    np.testing.assert_allclose(
        dg.choose(CHAINS, "", ["ab"], tokenizer), dg.log_prob(CHAINS, *dg.tokenize(["ab"], tokenizer)), rtol=1e-6
    )


GAUSSIAN = dg.HiddenMarkov(jnp.zeros(2), jnp.zeros((2, 2)), dg.DiagonalGaussian(jnp.zeros((2, 1)), jnp.zeros((2, 1))))
BYTES = dg.MarkovChain(jnp.zeros((1, 257, 257, 256)), order=2)
ERRORS = {
    "texts": (lambda: dg.log_prob(CHAINS, ["a", "b"]), "Type x, lengths = dgjax.tokenize"),
    "a text to complete": (lambda: dg.complete(CHAINS, KEY, "a", 2), "Type x, lengths = dgjax.tokenize"),
    "tokens and lengths in one": (lambda: as_sequences(dg.tokenize(["a"])), "Type x, lengths = x"),
    "lengths left out": (lambda: dg.log_prob(BYTES, dg.tokenize(["abc", "a"])[0]), "type lengths=lengths"),
    "lengths of no tokens": (lambda: dg.complete(CHAINS, KEY, np.zeros((2, 0, 1)), 2, [5, 1]), "must be 0"),
    "half a surrogate pair": (lambda: dg.tokenize(["\ud800"]), "surrogate"),
    "tokens that are no numbers": (lambda: dg.tokenize(["a"], Fixed([1.5, -3])), "whole numbers from 0"),
    "one text": (lambda: dg.tokenize("abc"), r"Type dgjax.tokenize\(\['abc'\]\)"),
    "no text": (lambda: dg.tokenize([]), "one text or more"),
    "a number": (lambda: dg.tokenize(np.array(["a", 3.0], object)), r"texts\[1\] is a float. Type \[text for"),
    "empty": (lambda: dg.tokenize(["a", ""]), r"texts\[1\] has none"),
    "no tokenizer": (lambda: dg.tokenize(["a"], 5), "encode"),
    "no token": (lambda: dg.detokenize(np.full((1, 2, 1), 300.0)), "0 to 255"),
    "perplexity of numbers": (lambda: dg.perplexity(GAUSSIAN, np.zeros((1, 2, 1))), "Type dgjax.log_prob"),
    "units": (lambda: dg.perplexity(CHAINS, np.zeros((2, 2, 1)), units=[1.0]), "units must be positive"),
    "complete": (lambda: dg.complete(GAUSSIAN, KEY, np.zeros((1, 2, 1)), 2), "Type dgjax.markov_chain"),
    "temperature": (lambda: dg.complete(CHAINS, KEY, np.zeros((1, 2, 1)), 2, temperature=-1.0), "temperature must be"),
    "top_k": (lambda: dg.complete(CHAINS, KEY, np.zeros((1, 2, 1)), 2, top_k=4), "from 1 to 3"),
    "top_p": (lambda: dg.complete(CHAINS, KEY, np.zeros((1, 2, 1)), 2, top_p=2.0), "from 0 to 1"),
    "a token out of range": (lambda: dg.complete(CHAINS, KEY, np.full((1, 2, 1), 3.0), 2), "from 0 to 2"),
    "no continuation": (lambda: dg.choose(CHAINS, "a", []), "none of them empty"),
    "empty continuation": (lambda: dg.choose(CHAINS, "a", ["b", ""], Batched()), "none of them empty"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_to_type(name):
    call, words = ERRORS[name]
    with pytest.raises(ValueError, match=words):
        call()


def test_an_impossible_prompt_is_told():
    model = dg.markov_chain(*dg.tokenize(["abab"])[:1], num_categories=256)
    with pytest.raises(ValueError, match="minus infinity"):
        dg.choose(model, "ba", ["b"])
