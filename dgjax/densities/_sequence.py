"""Densities of whole sequences: what a mixture, `fit` and the verbs need of a hidden Markov or language model."""

from abc import abstractmethod

from jaxtyping import Array, Float, Key

from dgjax._types import LabelIndex
from dgjax.densities._base import Density


class SequenceDensity(Density):
    """Density of whole sequences: log p(x | label) for every label, where x are `Sequences` of rows.

    It writes the members of `Density` with `Sequences` of x (n, t, d) for rows (n, d): scores are (n, *labels), that of
    a sequence without observed cells exactly 0, and what lies beyond a sequence's length counts for nothing. Then it
    can be the density of a `Mixture`: clusters of sequences, or with labels (n,) a generative classifier of them, with
    labels, cells and steps missing. One with labels () may be a model of its own, by `as_model`.
    """

    @property
    def sequential(self) -> bool:
        return True

    @abstractmethod
    def sample(self, key: Key[Array, ""], at: LabelIndex, steps: int = 1) -> Float[Array, "*n t d"]:
        """Samples of sequences of so many `steps`, one for each label in the index `at`: (..., steps, d)."""
