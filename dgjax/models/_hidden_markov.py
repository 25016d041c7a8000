"""Hidden Markov models: a Markov chain of hidden states, and any density of a row given its state.

Learning is EM (Baum-Welch), of which the chain and the density each have a part:

    E-step   density: scores log p(x_s | y_s) (n, t, k) ─▶ forward-backward ─▶ p(y_s | x) (n, t, k), expected moves
             p(y_s | x) are the responsibilities of steps, taken as rows, for the density's own statistics
    M-step   initial and transition probabilities in proportion to expected counts; the density's own M-step

Known states clamp the paths that are summed over; with all of them known the counts are exact.

As a density of sequences it has labels before the states: one chain for each, whose log-partition is the label's score.
The density scores the states of all labels at once; the chains are mapped over labels, and a label's responsibilities
weigh its expected counts.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import log_softmax
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _kmeans, _parameters
from dgjax._pytree import dataclass, expect_part, expect_rows
from dgjax._types import Capabilities, ColumnMoments, LabelIndex, Scorer, Support, num_free, possible
from dgjax.densities import Density, SequenceDensity, rows_by_labels
from dgjax.models._linear_chain import LinearChainCRF
from dgjax.priors import Dirichlet, HiddenMarkovPrior, expect_prior
from dgjax.scorers import LatentChain
from dgjax.structures import PASSES, Chain, Sequences, of_each_label


class HiddenMarkovStatistics(NamedTuple):
    """Sufficient statistics: expected counts of initial states and of transitions, and those of the density."""

    initial: Float[Array, "*labels k"]
    transitions: Float[Array, "*labels k k"]
    density: Any


@dataclass
class HiddenMarkov(SequenceDensity):
    """Hidden Markov model: log p(x, y) = log p(y_0) + sum_s log p(y_{s+1} | y_s) + sum_s log p(x_s | y_s).

    `log_initial` (k,) and `log_transition` (k, k), from row to column, are both up to a constant for each distribution;
    minus infinity is a structural zero, which learning keeps. `density`, the emissions, is any density with labels
    (k,). Sequences are x (n, t, d) with `lengths` (n,); a missing cell, or a missing step, is NaN.

    With labels before the states, `log_initial` (*labels, k), `log_transition` (*labels, k, k) and emissions of labels
    (*labels, k), it is a density of sequences, with one chain for each label: see `Mixture`.

    Raises ValueError if the shapes do not fit, or if a state has no transition out of it.
    Source: Rabiner (1989), A tutorial on hidden Markov models; Smyth (1997), Clustering sequences with hidden Markov
    models.
    """

    log_initial: Float[Array, "*labels k"]
    log_transition: Float[Array, "*labels k k"]
    density: Density

    def __post_init__(self) -> None:
        expect_part(self, "density", Density, "a density, such as dgjax.Gaussian(mean, scale_tril)")
        expect_rows(self, self.density, "density")
        own = self.density.label_shape
        shapes = self.log_initial.shape, self.log_transition.shape, own
        if not own or shapes != (own, (*own, own[-1]), own):
            raise ValueError(
                f"HiddenMarkov expects log_initial (k,), log_transition (k, k) and a density with labels (k,), or "
                f"labels before all of these; got shapes {shapes[0]}, {shapes[1]} and labels {shapes[2]}."
            )
        for name in ("log_initial", "log_transition"):
            _parameters.check_possible(self, name, " A state that is not left gets a move to itself.")

    def as_model(self) -> Any:
        """The chain as a model of paths; one with a label before its states becomes a mixture of one component."""
        return self if not self.label_shape else super().as_model()

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.log_initial.shape[:-1]

    @property
    def num_labels(self) -> int:
        return self.log_initial.shape[-1]

    @property
    def num_features(self) -> int:
        return self.density.num_features

    @property
    def row_cost(self) -> int:
        return self.density.row_cost + PASSES * self.log_initial.size

    @property
    def score_cost(self) -> int:
        return self.density.score_cost + PASSES * self.log_initial.size

    @property
    def capabilities(self) -> Capabilities:
        return self.density.capabilities

    @property
    def num_parameters(self) -> int | Array:
        """Number of free parameters of chain and emissions; structural zeros are none."""
        chain = (num_free(possible(own, 0)) for own in (self.log_initial, self.log_transition))
        return sum(chain) + self.density.num_parameters

    @property
    def supports(self) -> tuple[Support, ...]:
        return self.density.supports

    @property
    def columns_without_mean(self) -> tuple[int, ...]:
        return self.density.columns_without_mean

    def normals(self) -> tuple[Any, ...]:
        """Normal densities that the emissions are made of, with their columns."""
        return self.density.normals()

    def potentials(self, x: Sequences) -> Chain:
        """Label space of paths, log p(x, y): log-probabilities of the chain, and scores log p(x_s | y_s) (n, t, k)."""
        return Chain(*self._logs(), self._emitted(x), x.lengths, self._empty(x))

    def _logs(self) -> tuple[Array, Array]:
        return log_softmax(self.log_initial), log_softmax(self.log_transition, axis=-1)

    def _emitted(self, x: Sequences) -> Float[Array, "n t *labels k"]:
        return x.in_steps(self.density.scores(x.in_rows()))

    def _empty(self, x: Sequences) -> Bool[Array, " n"] | None:
        # Where no cell is missing, none is looked at: that would be as long as a pass over the scores.
        return None if self.density.complete else x.empty

    def scores(self, x: Sequences) -> Float[Array, "n *labels"]:
        return of_each_label(Chain.log_partition, (0,), *self._logs(), self._emitted(x), x.lengths, self._empty(x))

    def scores_and_statistics(
        self, x: Sequences
    ) -> tuple[Float[Array, "n *labels"], Callable[[Float[Array, "n *labels"]], HiddenMarkovStatistics]]:
        """Log-densities (n, *labels) and, by the same forward-backward, the function of responsibilities to statistics.

        Those count the paths of each sequence by p(path | x, label), times the responsibility.
        """
        given = *self._logs(), self._emitted(x), x.lengths, self._empty(x)
        scores, marginals, transitions = of_each_label(_expected, (0, 1, 0), *given)
        return scores, lambda counts: self._statistics(x, counts, marginals, transitions)

    def statistics(self, x: Sequences, counts: Float[Array, "n *labels"]) -> HiddenMarkovStatistics:
        return self.scores_and_statistics(x)[1](counts)

    def _statistics(
        self,
        x: Sequences,
        weights: Float[Array, "n *labels"],
        marginals: Float[Array, "n t *labels k"],
        transitions: Float[Array, "n *labels k k"],
    ) -> HiddenMarkovStatistics:
        counts = weights[:, None, ..., None] * marginals
        density = self.density.statistics(x.in_rows(), counts.reshape(-1, *self.log_initial.shape))
        moves = jnp.einsum("n...,n...ij->...ij", weights, transitions)
        return HiddenMarkovStatistics(counts[:, 0].sum(0), moves, density)

    def sample_labels(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Int[Array, "*n t"]:
        """Samples of state paths, ints of the given shape, whose last entry is the number of steps."""
        *batch, t = shape
        zeros = jnp.zeros((math.prod(batch), t, self.num_labels), self.log_initial.dtype)
        chain = Chain(*self._logs(), zeros, jnp.full(len(zeros), t))
        return chain.sample(key).reshape(shape)

    def sample(self, key: Key[Array, ""], at: LabelIndex, steps: int = 1) -> Float[Array, "*n t d"]:
        """Samples of sequences (*n, t, d), one for each label in the index `at`: a path, then cells given its states.

        Of a model of paths, whose labels are the states, `at` are paths (*n, t), and there are no `steps`.
        """
        if not self.label_shape:
            return self.density.sample(key, at)
        key_y, key_x = jax.random.split(key)
        keys = jax.random.split(key_y, steps)

        def step(state, key):
            state = kernels.categorical(key, self.log_transition[(*at, state)])
            return state, state

        first = kernels.categorical(keys[0], self.log_initial[at])
        _, later = jax.lax.scan(step, first, keys[1:])
        y = jnp.moveaxis(jnp.concatenate([first[None], later]), 0, -1)
        return self.density.sample(key_x, (*(jnp.broadcast_to(own[..., None], y.shape) for own in at), y))

    def sample_missing(self, keys: Key[Array, " n"], x: Sequences, at: LabelIndex) -> Float[Array, "n t d"]:
        """Conditional samples of missing cells, given the observed cells of each sequence, and its label.

        First a path from p(y | x_observed), then cells given its states.
        """
        initial, transition = (own[at] for own in self._logs())
        scores = jnp.moveaxis(self._emitted(x), 1, -2)[(jnp.arange(len(x)), *at)]

        def path(key, initial, transition, scores, lengths):
            return Chain(initial, transition, scores[None], lengths[None]).sample(key)[0]

        keys_y, keys_x = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        own = 0 if at else None
        y = jax.vmap(path, (0, own, own, 0, 0))(keys_y, initial, transition, scores, x.lengths)
        steps = jax.vmap(lambda key: jax.random.split(key, y.shape[1]))(keys_x).reshape(-1)
        labels = *(jnp.repeat(label, y.shape[1]) for label in at), jnp.maximum(y, 0).reshape(-1)
        filled = x.in_steps(self.density.sample_missing(steps, x.in_rows(), labels))
        return jnp.where((y >= 0)[..., None], filled, x.x)

    def impute(self, x: Sequences, posterior: Float[Array, "n *labels"]) -> Float[Array, "n t d"]:
        """Imputation (n, t, d): each NaN of x replaced by its mean, or mode if discrete, under p(y_s | x_observed).

        States are those of each label, weighed by its `posterior` (n, *labels).
        """
        given = *self._logs(), self._emitted(x), x.lengths, self._empty(x)
        marginals = of_each_label(Chain.marginals, (1,), *given)
        return self.impute_given(x, posterior[:, None, ..., None] * marginals)

    def impute_given(self, x: Sequences, posterior: Float[Array, "n t *labels k"]) -> Float[Array, "n t d"]:
        """Imputation (n, t, d) where the marginals of the states are known; a step that has none stays as it is."""
        rows = posterior.reshape(-1, *self.log_initial.shape)
        possible = rows_by_labels(rows).sum(-1, keepdims=True) > 0
        return x.in_steps(jnp.where(possible, self.density.impute(x.in_rows(), rows), x.in_rows()))

    def marginal(self, columns: tuple[int, ...]) -> "HiddenMarkov":
        """Hidden Markov model of the given columns, in that order: one chain, marginal emissions."""
        return type(self)(self.log_initial, self.log_transition, self.density.marginal(columns))

    def discriminative(self) -> tuple[Float[Array, "*labels"], LatentChain]:
        """Discriminative twin of a density of sequences: no bias (*labels,), and a scorer that sums paths out."""
        initial, transition, scorer = self._conditional()
        return jnp.zeros(self.label_shape, initial.dtype), LatentChain(initial, transition, scorer)

    def crf(self) -> LinearChainCRF:
        """Discriminative twin of a model of paths: the linear-chain CRF with the same p(y | x).

        The bias of the emissions' twin is added to the initial and transition scores of the state that is entered.
        """
        return LinearChainCRF(*self._conditional())

    def _conditional(self) -> tuple[Array, Array, Scorer]:
        bias, scorer = self.density.discriminative()
        initial, transition = self._logs()
        return initial + bias, transition + bias[..., None, :], scorer

    def joint_at(self, x: Sequences, y: Int[Array, "n t"]) -> Float[Array, " n"]:
        """Joint log-likelihood log p(x_observed, y) (n,) of known paths y (n, t)."""
        return self.potentials(x).score(y, known=True)

    def joint_expectation(
        self, x: Sequences, y: Int[Array, "n t"], weights: Float[Array, " n"]
    ) -> tuple[Float[Array, ""], HiddenMarkovStatistics]:
        """E-step (forward-backward): sum_n w_n log p(x_n, y_n), and expected statistics.

        States are summed out where y is -1.
        """

        def block(x, y, weights):
            value, counts = self.potentials(x).clamped(y)
            total = kernels.pairwise_sum(jnp.where(weights > 0, weights * value, 0))
            return total, self._statistics(x, weights, *counts)

        # The passes over rows split them by themselves.
        cost = self.score_cost * x.x.shape[1]
        return kernels.sum_rows(block, x, y, weights, fill=(0, -1, 0), row_cost=cost)

    def maximum(self, statistics: HiddenMarkovStatistics, prior: HiddenMarkovPrior | None = None) -> "HiddenMarkov":
        """M-step: the model that maximises the expected log-likelihood plus the log prior."""
        expect_prior(prior, HiddenMarkovPrior, self)
        prior = HiddenMarkovPrior() if prior is None else prior
        return type(self)(
            maximum_of_counts(self.log_initial, statistics.initial, prior.initial),
            maximum_of_counts(self.log_transition, statistics.transitions, prior.transition),
            self.density.maximum(statistics.density, prior.density),
        )

    def recentred(
        self, statistics: HiddenMarkovStatistics, before: Any, prior: HiddenMarkovPrior | None = None
    ) -> HiddenMarkovStatistics:
        """Statistics about these parameters, of those about the parameters `before`; only those of the density move."""
        own = None if prior is None else prior.density
        return statistics._replace(density=self.density.recentred(statistics.density, before.density, own))

    def log_prior(self, prior: HiddenMarkovPrior | None) -> Float[Array, ""]:
        """Log prior density of these parameters, up to a constant; 0 for None, a flat prior."""
        expect_prior(prior, HiddenMarkovPrior, self)
        if prior is None:
            return jnp.zeros((), self.log_initial.dtype)
        parts = zip((prior.initial, prior.transition), self._logs(), strict=True)
        return self.density.log_prior(prior.density) + sum(own.log_density(p) for own, p in parts if own is not None)

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> HiddenMarkovPrior:
        """Conjugate prior: `strength` pseudo-counts for each distribution of the chain, and rows for the emissions."""
        initial, transition = (
            Dirichlet.shared(strength, ~jnp.isneginf(own), columns.mean.dtype)
            for own in (self.log_initial, self.log_transition)
        )
        return HiddenMarkovPrior(initial, transition, self.density.weak_prior(columns, strength))

    def started(
        self, key: Key[Array, ""], x: Sequences, counts: Float[Array, "n *labels"], random: bool = False
    ) -> "HiddenMarkov":
        """Initial parameters for EM: states at k-means++ clusters of the steps of each label's sequences.

        Sequences have weights `counts` (n, *labels) in labels. With `random`, states at a few random steps. Chains are
        then those of one step of EM, in which each label has its sequences: states alone would not tell labels apart
        whose sequences differ in their moves.
        """
        key_here, key_below = jax.random.split(key)
        weights = jnp.where(x.inside.reshape(*x.inside.shape, *[1] * (counts.ndim - 1)), counts[:, None], 0)
        rows, weights = x.in_rows(), weights.reshape(-1, *self.label_shape)
        if random:
            shares = _kmeans.few_rows(key_here, weights, self.num_labels)
        else:
            complete = bool(self.density.complete)
            z = _kmeans.embedded(rows, rows_by_labels(weights).sum(1), self.supports, complete)
            shares = _kmeans.clusters(key_here, z, weights, self.num_labels, complete=complete)
        start = self.started_at(key_below, rows, shares, random)
        paths = start.statistics(x, counts)

        def moved(logs, seen):
            return maximum_of_counts(logs, seen, Dirichlet.shared(1.0, ~jnp.isneginf(logs), x.dtype))

        initial, transition = moved(start.log_initial, paths.initial), moved(start.log_transition, paths.transitions)
        return type(self)(initial, transition, start.density)

    def started_at(
        self, key: Key[Array, ""], x: Float[Array, "m d"], counts: Float[Array, "m *labels k"], random: bool = False
    ) -> "HiddenMarkov":
        """Initial parameters for EM: emissions started from the weights `counts` of steps (m, d) in states.

        The chain is kept or, with `random`, gets random transitions outside its structural zeros.
        """
        key_here, key_below = jax.random.split(key)
        moves = self.log_transition
        if random:
            # Uniform among the distributions: the logs of exponentials.
            drawn = jnp.log(jax.random.exponential(key_here, moves.shape, moves.dtype))
            moves = jnp.where(jnp.isneginf(moves), moves, log_softmax(jnp.where(jnp.isneginf(moves), moves, drawn)))
        return type(self)(self.log_initial, moves, self.density.started(key_below, x, counts, random))

    def converged_in_one_step(self, before: Any) -> Bool[Array, ""]:
        """Always False for chains within a mixture: their states are hidden, so no M-step is the last."""
        del before
        return jnp.zeros((), bool)


def _expected(chain: Chain) -> tuple[Array, Array, Array]:
    """Log-partition (n,), marginals (n, t, k) and expected transitions (n, k, k) of paths."""
    value, counts = chain.clamped(chain.unknown())
    return value, *counts


def maximum_of_counts(logs: Array, counts: Array, prior: Dirichlet | None) -> Array:
    """M-step of the chain: log of counts plus pseudo-counts, normalised on the last axis; structural zeros stay.

    A distribution without any counts is left as it was, `logs`.
    """
    if prior is not None:
        counts = counts + jnp.where(jnp.isneginf(logs), 0, prior.concentration - 1)
    total = counts.sum(-1, keepdims=True)
    return jnp.where(total == 0, logs, jnp.log(counts) - jnp.log(total))
