"""Verbs of text: perplexity, completions, the choice among continuations, pseudo-log-likelihood."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._answers import by_scores
from dgjax._arguments import as_count, as_key, check_number, is_concrete
from dgjax._elsewhere import told_keywords
from dgjax._text import token_numbers, tokenize
from dgjax._types import Generative
from dgjax._verbs import log_prob
from dgjax._warnings import warn
from dgjax.data import as_labels, as_model, cut, in_size_class, model_and_rows
from dgjax.densities import MaskedLanguageModel, Mixture, TokenDensity


@told_keywords
def perplexity(
    model: Generative, x: ArrayLike, lengths: ArrayLike | None = None, *, units: ArrayLike | None = None
) -> Array:
    """Perplexity of sequences of tokens together: exp(-sum_n log p(x_n) / number of tokens), lower is better.

    `x` (n, t, 1) with `lengths` (n,); tokens that are missing are summed out and not counted. `units` (n,) are what
    is counted in place of tokens, such as the bytes of each text: of those log2(perplexity) is the bits per byte, which
    can be compared between tokenizers.

    Raises ValueError for a model of anything but sequences of one column of categories, or bad sequences.
    Source: Jelinek et al. (1977), Perplexity, a measure of the difficulty of speech recognition tasks.
    """
    checked = as_model(model)
    if not (checked.generative and checked.sequential and checked.num_features == 1 and checked.supports[0].whole):
        raise ValueError(
            f"perplexity is for models of sequences of tokens, (n, t, 1); got a {type(model).__name__}. Type "
            "dgjax.log_prob(model, x) for log-densities of other data."
        )
    values = log_prob(checked, x, lengths)
    if units is None:
        rows: Any = model_and_rows(checked, x, lengths)[1].x
        counted: Any = (rows.inside & ~jnp.isnan(rows.x[..., 0])).sum()
    else:
        counted = jnp.asarray(units)
        if counted.shape != values.shape or (is_concrete(counted) and not (np.asarray(counted) > 0).all()):
            raise ValueError(
                f"units must be positive numbers of shape {values.shape}, one for each sequence, such as "
                f"[len(text.encode()) for text in texts]; got {_advice.shown(units)}."
            )
    return jnp.exp(-values.sum() / counted.sum())


@told_keywords
def pseudo_log_likelihood(model: Generative, x: ArrayLike, lengths: ArrayLike | None = None) -> Array:
    """Pseudo-log-likelihood of texts under a masked language model: sum_s log p(x_s | all other tokens), in nats, (n,).

    `x` (n, t, 1) with `lengths` (n,). It is no log-probability: exp of it does not add to 1 over texts, and it is not
    to be compared with `dgjax.log_prob`, which is one, nor between tokenizers. It ranks texts of about one length, at a
    pass for each token. Tokens that are missing are masked, and have no term.

    Raises ValueError for a model that is no masked language model, or one of classes, bad sequences or tokens.
    Source: Besag (1975), Statistical analysis of non-lattice data; Salazar et al. (2020), Masked language model
    scoring.
    """
    checked = as_model(model)
    if not isinstance(getattr(checked, "density", None), MaskedLanguageModel) or checked.num_labels > 1:
        raise ValueError(
            "pseudo_log_likelihood is for a masked language model without classes, dgjax.masked_language_model(key, "
            f"num_categories); got a {type(model).__name__}. Type dgjax.log_prob(model, x, lengths) for log p."
        )
    checked, rows = model_and_rows(checked, x, lengths)
    return _pseudo_log_likelihood(checked, rows)


@by_scores
def _pseudo_log_likelihood(model, x):
    return model.density.pseudo_log_likelihood(x)[:, 0]


@told_keywords
def complete(
    model: Generative,
    key: Array,
    prompts: ArrayLike,
    num_tokens: int,
    lengths: ArrayLike | None = None,
    *,
    y: ArrayLike | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Array:
    """Completions: the next `num_tokens` tokens (n, num_tokens, 1) of sequences of tokens, drawn one after another.

    `prompts` (n, t, 1) with `lengths` (n,); of (n, 0, 1) the text begins. Of a mixture the class of each is drawn
    first, from its posterior given the prompt, or is that of `y` (n,), -1 where unknown. Tokens of a prompt that are
    missing are drawn too, if the model can. NaN for a prompt that is impossible.

    Probabilities are taken to the power 1 / `temperature`; at 0 the most probable token comes. Then those of the
    `top_k` tokens stay, or of the fewest that have a probability of `top_p` together, or both.

    Raises ValueError for a model that does not say which token comes next, bad prompts, or options out of range.
    Source: Holtzman et al. (2020), The curious case of neural text degeneration, for `top_p`.
    """
    checked = as_model(model)
    density = checked.density if isinstance(checked, Mixture) else None
    if not isinstance(density, TokenDensity):
        raise ValueError(
            f"complete is for models of tokens one after another; got a {type(model).__name__}. Type "
            "dgjax.markov_chain(x, order=3) for an n-gram model."
        )
    check_number(temperature, "temperature", 0)
    if top_p is not None:
        check_number(top_p, "top_p", 0, 1)
    c = int(checked.supports[0].high) + 1
    sizes = as_count(num_tokens, "num_tokens"), None if top_k is None else as_count(top_k, "top_k", 1, c)
    checked, rows = _prompted(checked, prompts, lengths)
    labels = None if y is None else as_labels(y, rows.x, checked.num_labels)
    padded, labels, _ = in_size_class(rows.x, labels)
    options = temperature, None if top_p is None else jnp.asarray(top_p)
    drawn = _completed(checked, rows.replace(x=padded), labels, as_key(key), *options, *sizes)
    return cut(drawn, len(rows.x))


def _prompted(model, prompts, lengths):
    """Model and prompts, those of no token with lengths of 0."""
    shape = getattr(prompts, "shape", ())
    if len(shape) != 3 or shape[1]:
        return model_and_rows(model, prompts, lengths)
    if lengths is not None and np.any(lengths):
        raise ValueError(f"lengths of prompts {shape} must be 0; got {_advice.shown(lengths)}. Leave them out.")
    model, rows = model_and_rows(model, np.zeros((shape[0], 1, *shape[2:])))
    return model, rows.replace(x=rows.x.holding(rows.x.x, np.zeros_like(rows.x.lengths)))


@functools.partial(kernels.compiled, static_argnums=(6, 7))
def _completed(model, data, y, key, temperature, top_p, num_tokens, top_k):
    key_y, key_missing, key_next = jax.random.split(key, 3)
    own, x = data.shown_to(model), data.x
    potentials = own.potentials(x)
    labels = (potentials if y is None else potentials.given(y)).sample(key_y)
    at = (jnp.maximum(labels, 0),)
    if not data.complete:
        keys = jax.random.split(key_missing, len(x))
        x = x.holding(own.density.sample_missing(keys, x, at))
    tokens = own.density.continued(key_next, x, at, num_tokens, lambda own: _likely(own, temperature, top_k, top_p))
    return jnp.where(labels[:, None, None] < 0, jnp.nan, tokens)


def _likely(logits, temperature, top_k, top_p):
    """Log-probabilities (n, c), up to a constant, of those tokens that are drawn from."""
    first = jnp.arange(logits.shape[-1]) == logits.argmax(-1, keepdims=True)
    warm = jnp.where(temperature > 0, temperature, 1)
    logits = jnp.where((temperature > 0) | first, logits / warm, -jnp.inf)
    if top_k is None and top_p is None:  # nothing to sort, which of 50,000 tokens takes longer than to draw one
        return logits
    most = count = logits.shape[-1] if top_k is None else top_k
    falling = jnp.sort(logits, axis=-1, descending=True)
    if top_p is not None:
        p = jax.nn.softmax(jnp.where(jnp.arange(logits.shape[-1]) < most, falling, -jnp.inf), axis=-1)
        before = jnp.cumsum(p, axis=-1) - p
        count = jnp.minimum(count, (before <= top_p * (1 - jnp.finfo(p.dtype).eps)).sum(-1, keepdims=True))
    least = jnp.take_along_axis(falling, jnp.broadcast_to(count - 1, (*logits.shape[:-1], 1)), -1)
    # Of tokens as probable as the last that stays, the first ones stay, so that no more stay than are asked for.
    above, same = logits > least, logits == least
    room = count - above.sum(-1, keepdims=True)
    return jnp.where(above | (same & (jnp.cumsum(same, axis=-1) <= room)), logits, -jnp.inf)


@told_keywords
def choose(model: Generative, prompt: str, continuations: Sequence[str], tokenizer: Any = None) -> Array:
    """Log-probabilities log p(continuation | prompt) (m,), in nats, of several texts that may follow a prompt.

    The largest is the model's choice: of an answer to a question (zero-shot), or to one after examples (few-shot).
    The tokens are those of prompt and continuation as one text, as they are learnt, less log p of the tokens of the
    prompt alone. A sum over tokens prefers short texts: give continuations of about one length. `tokenizer` as for
    `dgjax.tokenize`.

    Raises ValueError for no continuation, an empty one, or a prompt that is impossible.
    Source: Brown et al. (2020), Language models are few-shot learners.
    """
    if not isinstance(prompt, str):
        raise ValueError(f"prompt must be one text; got {_advice.shown(prompt)}. Type dgjax.choose for each.")
    listed = [continuations] if isinstance(continuations, str) else list(continuations)
    if not listed or not all(isinstance(one, str) and one for one in listed):
        raise ValueError(f"continuations must be texts, none of them empty; got {_advice.shown(listed)}.")
    x, lengths = tokenize([*(prompt + one for one in listed), *[prompt] * bool(prompt)], tokenizer)
    values = log_prob(model, x, lengths)
    if not prompt:
        return values
    if is_concrete(values) and float(values[-1]) == -np.inf:
        raise ValueError(f"prompt must be possible; log p of {prompt[:40]!r} is minus infinity. Fit with a prior.")
    _warn_if_merged(prompt, listed, tokenizer)
    return values[:-1] - values[-1]


def _warn_if_merged(prompt, continuations, tokenizer):
    """Warns if the tokens of a whole text do not begin with those of the prompt: the difference is no log p then."""
    begun, *whole = token_numbers([prompt, *(prompt + one for one in continuations)], tokenizer)
    merged = [i for i, own in enumerate(whole) if not np.array_equal(own[: len(begun)], begun)]
    if merged:
        warn(
            f"the end of the prompt and the beginning of continuations[{merged[0]}] share a token, so that what is "
            "given is no log-probability and may be above 0. Let the prompt end where a token does, as before a space.",
            UserWarning,
        )
