"""Vocabulary of texts: their words, or their letters, as numbers; and numbers as texts."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

WORD = re.compile(r"\w+|[^\w\s]")
OTHER, END, FIRST = 0, 1, 2  # whatever is not in the vocabulary, the end of a text, and the first that is
SHOWN = "…"  # in place of what is not in the vocabulary


def words(text: str) -> list[str]:
    """Words of a text, in lower case, and its marks, each alone."""
    return WORD.findall(text.lower())


def letters(text: str) -> list[str]:
    """Letters of a text, in lower case, its spaces and marks."""
    return list(" ".join(text.lower().split()))


@dataclass(frozen=True)
class Vocabulary:
    """Vocabulary: the most frequent pieces of training texts, numbered from FIRST; `size` numbers in all, not all used.

    `split` makes pieces of a text, `between` stands between them where they are put together again.
    """

    split: Callable[[str], list[str]]
    between: str
    pieces: tuple[str, ...]
    size: int

    def numbers(self, text: str) -> np.ndarray:
        """Numbers of the pieces of a text, in turn, those of no piece of the vocabulary being OTHER."""
        known = self._known
        return np.array([known.get(piece, OTHER) for piece in self.split(text)], int)

    def counts(self, texts: Iterable[str]) -> np.ndarray:
        """Counts (n, size) of the pieces of each text."""
        rows = [np.bincount(self.numbers(text), minlength=self.size) for text in texts]
        return np.array(rows, np.float32).reshape(-1, self.size)

    def sequences(self, texts: Iterable[str], longest: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of each text as a padded sequence (n, longest, 1), and lengths (n,).

        END is the last, but where a text was cut.
        """
        cut = [np.append(self.numbers(text), END)[:longest] for text in texts]
        x = np.full((len(cut), longest, 1), float(END), np.float32)
        for row, own in zip(x, cut, strict=True):
            row[: len(own), 0] = own
        return x, np.array(list(map(len, cut)), int)

    def texts(self, x: np.ndarray) -> list[str]:
        """Texts of sequences of numbers x (n, t, 1), each up to its end."""
        rows = [own[: np.flatnonzero(own == END)[0]] if (own == END).any() else own for own in x[..., 0].astype(int)]
        return [_tidy(self.between.join(self._shown(own) for own in row)) for row in rows]

    @cached_property
    def _known(self) -> dict[str, int]:
        return {piece: FIRST + i for i, piece in enumerate(self.pieces)}

    def _shown(self, number: Any) -> str:
        return self.pieces[number - FIRST] if FIRST <= number < FIRST + len(self.pieces) else SHOWN


def learn(texts: Iterable[str], split: Callable[[str], list[str]], between: str, size: int) -> Vocabulary:
    """Vocabulary of the most frequent pieces of training texts, `size` numbers at most."""
    found = Counter(piece for text in texts for piece in split(text))
    pieces = sorted(found, key=lambda piece: (-found[piece], piece))[: size - FIRST]
    return Vocabulary(split, between, tuple(pieces), size)


def _tidy(text: str) -> str:
    """Text without the spaces before marks, and around apostrophes, that joining words leaves."""
    return re.sub(r"(?<=\w) (['’]) (?=\w)", r"\1", re.sub(r"\s+([.,;:!?)])", r"\1", text))
