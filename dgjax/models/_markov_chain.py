"""Markov chains of observed symbols, n-gram models: exact on missing symbols by the hidden Markov model they are.

every symbol seen    log p(x) = sum of entries of a table; counts of runs are the statistics, one M-step the fit
some are missing     states are the last m symbols, emissions say the last of them: forward-backward, expected counts
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.nn import log_softmax
from jaxtyping import Array, Float, Int, Key

from dgjax import _parameters
from dgjax._arguments import is_concrete
from dgjax._ngrams import NGrams, check_contexts, places, sums
from dgjax._pytree import dataclass, static
from dgjax._types import ColumnMoments, LabelIndex, Support, category
from dgjax.densities import Categorical, TokenDensity
from dgjax.models._hidden_markov import HiddenMarkov, maximum_of_counts
from dgjax.priors import Dirichlet, expect_prior
from dgjax.structures import Sequences

MOST_STATES = 1 << 12  # whose moves fill 64 MB
SMOOTHING = 0.1
"""Share of each sequence given to all labels alike where EM starts, as it never leaves a probability of 0."""


@dataclass
class MarkovChain(TokenDensity):
    """Markov chain of symbols, the n-gram model of n = m + 1: log p(x) = sum_s log p(x_s | x_{s-m}, ..., x_{s-1}).

    `log_transition` (*labels, c + 1, ..., c + 1, c), up to a constant for each distribution, has an axis for each of
    the m = `order` symbols before, the oldest first. There the index c stands for what lies before the beginning, so
    that the first symbols have distributions of their own. Minus infinity is a structural zero. Sequences x (n, t, 1)
    are of categories 0 to c - 1, as floats; a missing one is NaN, and is summed out exactly, by (c + 1)^m states. A
    density of sequences: with labels (1,) a model by itself, with labels (k,) one in a `Mixture`.

    Raises ValueError if the shape does not fit the order, or a distribution has nothing possible.
    Source: Shannon (1948), A mathematical theory of communication, section 3.
    """

    log_transition: Float[Array, "*labels_contexts c"]
    order: int = static(default=1)

    def __post_init__(self) -> None:
        check_contexts(self, "log_transition", self.log_transition.shape, self.order)
        _parameters.check_possible(self, "log_transition")

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.log_transition.shape[: self.log_transition.ndim - 1 - self.order]

    @property
    def num_categories(self) -> int:
        """Number c of symbols."""
        return self.log_transition.shape[-1]

    @property
    def row_cost(self) -> int:
        states = math.prod(self.label_shape) * (self.num_categories + 1) ** max(self.order, 1)
        return math.prod(self.label_shape) if self.complete else 6 * states

    @property
    def num_parameters(self) -> int | Array:
        """Number of free parameters of contexts that can occur; structural zeros are none."""
        logs = self.log_transition
        xp: Any = np if is_concrete(logs) else jnp
        free = (xp.isfinite(xp.asarray(logs)).sum(-1) - 1).clip(0)
        total = (free * _possible_contexts(self.num_categories, self.order)).sum()
        return int(total) if is_concrete(logs) else total

    @property
    def supports(self) -> tuple[Support, ...]:
        return (category(self.num_categories),)

    def _logs(self) -> Array:
        return log_softmax(self.log_transition, axis=-1)

    def scores(self, x: Sequences) -> Float[Array, "n *labels"]:
        return sums(x, self._logs(), self.order) if self.complete else self._hidden()[0].scores(x)

    def scores_and_statistics(
        self, x: Sequences
    ) -> tuple[Float[Array, "n *labels"], Callable[[Float[Array, "n *labels"]], Float[Array, "*labels_contexts c"]]]:
        """Log-densities (n, *labels), and the function of responsibilities to expected counts of runs of symbols."""
        if self.complete:
            return self.scores(x), lambda counts: self._counts(x, counts)
        hidden, after = self._hidden()
        scores, statistics = hidden.scores_and_statistics(x)

        def expected(counts):
            paths = statistics(counts)
            first, later = paths.initial[..., None, :], paths.transitions
            moves = jnp.concatenate([later, first], axis=-2)  # the last context is before the beginning
            seen = jnp.take_along_axis(moves, jnp.broadcast_to(after.index, (*moves.shape[:-1], after.c)), -1)
            found = jnp.zeros((*self.label_shape, (self.num_categories + 1) ** self.order, after.c), seen.dtype)
            return found.at[..., after.context, :].add(seen).reshape(self.log_transition.shape)

        return scores, expected

    def statistics(self, x: Sequences, counts: Float[Array, "n *labels"]) -> Float[Array, "*labels_contexts c"]:
        """Expected counts of each run of m + 1 symbols under responsibilities (n, *labels)."""
        return self.scores_and_statistics(x)[1](counts)

    def _counts(self, x, counts):
        weights = jnp.where(x.inside[..., None], counts.reshape(len(x), 1, -1), 0)
        shape = math.prod(self.log_transition.shape[len(self.label_shape) :]), weights.shape[-1]
        place = places(x, self.num_categories, self.order).reshape(-1)
        found = jnp.zeros(shape, weights.dtype).at[place].add(weights.reshape(-1, shape[1]))
        return found.T.reshape(self.log_transition.shape)

    def _hidden(self) -> tuple[HiddenMarkov, "_After"]:
        """Hidden Markov model of the last m symbols, and which of its states follow each context."""
        c, logs = self.num_categories, self._logs()
        if (states := (c + 1) ** max(self.order, 1)) > MOST_STATES:
            raise ValueError(
                f"x has missing symbols, which a chain of order {self.order} of {c} symbols sums out by {states:,} "
                f"states, beyond {MOST_STATES:,}. If they only pad, type lengths=lengths, as dgjax.tokenize gives them."
            )
        after = _After(c, self.order)
        if not self.order:
            logs = jnp.broadcast_to(logs[..., None, :], (*self.label_shape, c + 1, c))
        rows = logs.reshape(*self.label_shape, -1, c)[..., after.rows, :]
        moves = jnp.full((*self.label_shape, len(after.rows), len(after.rows) - 1), -jnp.inf, logs.dtype)
        at = np.arange(len(after.rows))[:, None]
        moves = moves.at[..., at, after.index].set(rows)
        says = np.where(after.last[:, None] == np.arange(c), 0, -np.inf)[:, None]
        emitted = jnp.broadcast_to(jnp.asarray(says, logs.dtype), (*self.label_shape, *says.shape))
        return HiddenMarkov(moves[..., -1, :], moves[..., :-1, :], Categorical(emitted)), after

    def seen(self, x: Sequences, at: LabelIndex, more: int) -> Int[Array, "n m"]:
        """Last m symbols (n, m) of each sequence."""
        del at, more
        symbols = jnp.pad(x.x[..., 0].astype(int), ((0, 0), (self.order, 0)), constant_values=self.num_categories)
        return jnp.take_along_axis(symbols, x.lengths[:, None] + jnp.arange(self.order), 1)

    def next_logits(self, seen: Int[Array, "n m"], at: LabelIndex) -> Float[Array, "n c"]:
        return self._logs()[(*at, *seen.T)]

    def after(self, seen: Int[Array, "n m"], token: Int[Array, " n"], at: LabelIndex) -> Int[Array, "n m"]:
        del at
        return jnp.concatenate([seen, token[:, None]], 1)[:, 1:]

    def sample_missing(self, keys: Key[Array, " n"], x: Sequences, at: LabelIndex) -> Float[Array, "n t 1"]:
        return self._hidden()[0].sample_missing(keys, x, at)

    def impute(self, x: Sequences, posterior: Float[Array, "n *labels"]) -> Float[Array, "n t 1"]:
        return self._hidden()[0].impute(x, posterior)

    def marginal(self, columns: tuple[int, ...]) -> "MarkovChain":
        """The chain itself: it has a single column."""
        return self

    def discriminative(self) -> tuple[Float[Array, "*labels"], NGrams]:
        """Discriminative twin: no bias (*labels,), and a scorer by runs of symbols."""
        return jnp.zeros(self.label_shape, self.log_transition.dtype), NGrams(self._logs(), self.order)

    def maximum(self, statistics: Float[Array, "*labels_contexts c"], prior: Dirichlet | None = None) -> "MarkovChain":
        """M-step: probabilities in proportion to counts and pseudo-counts; a context without any stays as it is."""
        expect_prior(prior, Dirichlet, self)
        return type(self)(maximum_of_counts(self.log_transition, statistics, prior), self.order)

    def log_prior(self, prior: Dirichlet | None) -> Float[Array, ""]:
        expect_prior(prior, Dirichlet, self)
        return jnp.zeros((), self.log_transition.dtype) if prior is None else prior.log_density(self._logs())

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> Dirichlet:
        """Conjugate prior: `strength` pseudo-counts after each context, shared equally by the symbols."""
        return Dirichlet.shared(strength, ~jnp.isneginf(self.log_transition), columns.mean.dtype)

    def started(
        self, key: Key[Array, ""], x: Sequences, counts: Float[Array, "n *labels"], random: bool = False
    ) -> "MarkovChain":
        """Initial parameters for EM: counts of each label's sequences, smoothed, and pseudo-counts of each context."""
        smoothed = (1 - SMOOTHING) * counts + SMOOTHING * counts.mean(-1, keepdims=True)
        prior = Dirichlet.shared(1.0, ~jnp.isneginf(self.log_transition), x.dtype)
        return self.maximum(self.statistics(x, smoothed), prior)


class _After:
    """States of the chain as a hidden Markov model, the runs of 1 to m symbols from a beginning or anywhere.

    `rows` are the flat contexts of all of them, and last that before the beginning; `index` (contexts, c) the state
    that each symbol leads to; `last` (states,) the symbol that a state ends with.
    """

    def __init__(self, c: int, order: int) -> None:
        m = max(order, 1)
        states = [z for z in itertools.product(range(c + 1), repeat=m) if z[-1] < c and _from_a_beginning(z, c)]
        number, every = {z: i for i, z in enumerate(states)}, [*states, (c,) * m]
        self.c = c
        self.index = np.array([[number[(*z[1:], symbol)] for symbol in range(c)] for z in every])
        self.rows = np.array([np.ravel_multi_index(z, (c + 1,) * m) for z in every])
        self.context = self.rows if order else np.zeros_like(self.rows)
        self.last = np.array([z[-1] for z in states])


def _from_a_beginning(z, c):
    """Whether what lies before the beginning, c, comes in `z` before all symbols."""
    return all(later < c or earlier == c for earlier, later in itertools.pairwise(z))


def _possible_contexts(c: int, order: int) -> np.ndarray:
    """Mask (c + 1, ..., c + 1) of the contexts that can occur."""
    shape = (c + 1,) * order
    return np.array([_from_a_beginning(z, c) for z in np.ndindex(*shape)], bool).reshape(shape)
