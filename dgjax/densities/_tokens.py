"""Densities of tokens one after another: what completing a text needs of an n-gram or language model."""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._types import LabelIndex
from dgjax.densities._sequence import SequenceDensity
from dgjax.structures import Sequences


class TokenDensity(SequenceDensity):
    """Density of sequences of tokens x (n, t, 1) that says which may come next: p(x | y) = prod_s p(x_s | before, y).

    It writes the members of a `SequenceDensity` and three on what was seen of sequences, any pytree: `seen`, the
    `next_logits` given that, and what was seen `after` one more token. `sample` follows, and so does `dgjax.complete`.
    """

    @property
    def num_features(self) -> int:
        return 1

    @abstractmethod
    def seen(self, x: Sequences, at: LabelIndex, more: int) -> Any:
        """What was seen of sequences x (n, t, 1), none of whose tokens is missing, to go on for `more` tokens.

        Sequences of length 0 have seen nothing.
        """

    @abstractmethod
    def next_logits(self, seen: Any, at: LabelIndex) -> Float[Array, "n c"]:
        """Log-probabilities, up to a constant, of the next token after what was seen."""

    @abstractmethod
    def after(self, seen: Any, token: Int[Array, " n"], at: LabelIndex) -> Any:
        """What was seen after one more token (n,)."""

    def sample(self, key: Key[Array, ""], at: LabelIndex, steps: int = 1) -> Float[Array, "*n t 1"]:
        """Samples of sequences (*n, t, 1) of so many `steps`, one for each label in the index `at`."""
        shape = jnp.broadcast_shapes(*(own.shape for own in at))
        labels = tuple(jnp.broadcast_to(own, shape).reshape(-1) for own in at)
        nothing = jnp.zeros((labels[0].size, 1, 1), jnp.result_type(*jax.tree.leaves(self)))
        none = Sequences(nothing, jnp.zeros(labels[0].size, int), True)
        return self.continued(key, none, labels, steps).reshape(*shape, steps, 1)

    def continued(
        self, key: Key[Array, ""], x: Sequences, at: LabelIndex, steps: int, likely: Any = lambda logits: logits
    ) -> Float[Array, "n t 1"]:
        """Samples (n, steps, 1) of the tokens that follow sequences x, given their labels `at`.

        `likely` makes of log-probabilities (n, c) those that are drawn by.
        """

        def step(seen, key):
            token = kernels.categorical(key, likely(self.next_logits(seen, at)))
            return self.after(seen, token, at), token

        _, tokens = jax.lax.scan(step, self.seen(x, at, steps), jax.random.split(key, steps))
        return tokens.T[..., None].astype(x.dtype)
