"""Text as sequences of tokens: bytes, or the tokens of a tokenizer; and tokens as text."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._elsewhere import told_keywords
from dgjax.data import as_sequences, pad

NUM_BYTES = 256
"""Tokens where there is no tokenizer: the bytes of UTF-8."""
MOST = 1 << 24
"""Token numbers stay below: float32 holds all of those."""


@told_keywords
def tokenize(texts: Iterable[str], tokenizer: Any = None) -> tuple[Array, Array]:
    """Tokens of texts: x (n, t, 1), NaN beyond each end, and lengths (n,), as densities of sequences take them.

    Without a `tokenizer` they are the bytes of UTF-8, 256 categories. A tokenizer is one of the package tokenizers or
    transformers, or any object whose `encode(text)` gives token numbers, or what has them as `ids`. Tokens that it adds
    at the ends of a text, or to pad it, are left out.

    Raises ValueError for anything but texts, or for one without a token.
    """
    if isinstance(texts, str):
        raise ValueError(f"texts must be a list of texts; got one. Type dgjax.tokenize([{_advice.shown(texts)}]).")
    listed = list(texts)
    if not listed:
        raise ValueError("texts must be a list of one text or more; got none.")
    wrong = next((i for i, text in enumerate(listed) if not isinstance(text, str)), None)
    if wrong is not None:
        kind = type(listed[wrong]).__name__
        raise ValueError(
            f"texts must be str; texts[{wrong}] is a {kind}. Type [text for text in texts if isinstance(text, str)]."
        )
    tokens = [np.asarray(own, np.float32)[:, None] for own in token_numbers(listed, tokenizer)]
    empty = next((i for i, own in enumerate(tokens) if not len(own)), None)
    if empty is not None:
        raise ValueError(
            f"texts must have one token or more; texts[{empty}] has none. Type [text for text in texts if text]."
        )
    return pad(tokens)


def token_numbers(texts: Sequence[str], tokenizer: Any = None) -> list[np.ndarray]:
    """Numbers of the tokens of each text, without those that a tokenizer adds at its ends or to pad it."""
    if tokenizer is None:
        return [np.frombuffer(_as_bytes(text, i), np.uint8) for i, text in enumerate(texts)]
    if not (callable(getattr(tokenizer, "encode", None)) and callable(getattr(tokenizer, "decode", None))):
        raise ValueError(
            f"tokenizer must have encode(text) and decode(numbers), or be None for bytes; got a "
            f"{type(tokenizer).__name__}."
        )
    return [_numbers(_encoded(tokenizer, text), i) for i, text in enumerate(texts)]


def _as_bytes(text, i):
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"texts[{i}] holds half of a surrogate pair, which UTF-8 cannot. Type text.encode('utf-8', "
            "'replace').decode()."
        ) from None


def _encoded(tokenizer, text):
    """What a tokenizer makes of a text, without special tokens: the beginning is a token of the model's own."""
    try:
        return tokenizer.encode(text, add_special_tokens=False)
    except TypeError:  # one that knows of none
        return tokenizer.encode(text)


def _numbers(encoded, i):
    numbers: Any = np.asarray(getattr(encoded, "ids", encoded))
    if numbers.size and (numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= MOST):
        raise ValueError(
            f"tokenizer must give whole numbers from 0, below {MOST:,}; of texts[{i}] it gave {_advice.shown(numbers)}."
        )
    mask = getattr(encoded, "attention_mask", None)
    return numbers.reshape(-1) if mask is None else numbers[np.asarray(mask, bool)]


@told_keywords
def detokenize(x: ArrayLike, lengths: ArrayLike | None = None, tokenizer: Any = None) -> list[str]:
    """Texts of tokens x (n, t, 1) of so many `lengths` (n,), the inverse of `tokenize`.

    Without lengths a text ends at its first NaN. Bytes that are no UTF-8 are shown as a question mark in a diamond.

    Raises ValueError for a wrong shape, or numbers that are no tokens.
    """
    rows: Any = as_sequences(x, lengths, 1)
    cells = np.asarray(rows.x)[..., 0]
    ends = np.where(np.isnan(cells), np.arange(cells.shape[1]), cells.shape[1]).min(1)
    ends = np.minimum(ends, np.asarray(rows.lengths))
    numbers = [row[:end] for row, end in zip(cells, ends, strict=True)]
    wrong = next((i for i, own in enumerate(numbers) if not _are_tokens(own, tokenizer)), None)
    if wrong is not None:
        most = f"whole numbers from 0 to {NUM_BYTES - 1}" if tokenizer is None else "whole numbers from 0"
        raise ValueError(f"x must hold tokens, {most}; x[{wrong}] has {_advice.shown(numbers[wrong])}.")
    if tokenizer is None:
        return [own.astype(np.uint8).tobytes().decode(errors="replace") for own in numbers]
    return [tokenizer.decode(own.astype(int).tolist()) for own in numbers]


def _are_tokens(numbers, tokenizer):
    most = NUM_BYTES - 1 if tokenizer is None else np.inf
    return bool(((numbers >= 0) & (numbers <= most) & (numbers == np.floor(numbers))).all())
