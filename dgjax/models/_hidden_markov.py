"""Hidden Markov models: a Markov chain of hidden states, and any density of a row given its state.

Learning is EM (Baum-Welch), of which the chain and the density each have a part:

    E-step   density: scores log p(x_s | y_s) (n, t, k) ─▶ forward-backward ─▶ p(y_s | x) (n, t, k), expected moves
             p(y_s | x) are the responsibilities of steps, taken as rows, for the density's own statistics
    M-step   initial and transition probabilities in proportion to expected counts; the density's own M-step

Known states clamp the paths that are summed over; with all of them known the counts are exact.
"""

import math
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import log_softmax
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._pytree import dataclass, expect_part
from dgjax._types import ColumnMoments, Support, num_free, possible
from dgjax.densities import Density
from dgjax.models._linear_chain import LinearChainCRF, steps_cost
from dgjax.priors import Dirichlet, HiddenMarkovPrior, expect_prior
from dgjax.structures import Chain, Sequences


class HiddenMarkovStatistics(NamedTuple):
    """Sufficient statistics: expected counts of initial states (k,) and transitions (k, k), and the density's."""

    initial: Float[Array, " k"]
    transitions: Float[Array, "k k"]
    density: Any


@dataclass
class HiddenMarkov:
    """Hidden Markov model: log p(x, y) = log p(y_0) + sum_s log p(y_{s+1} | y_s) + sum_s log p(x_s | y_s).

    `log_initial` (k,) and `log_transition` (k, k), from row to column, are both up to a constant for each distribution;
    minus infinity is a structural zero, which learning keeps. `density`, the emissions, is any density with labels
    (k,). Sequences are x (n, t, d) with `lengths` (n,); a missing cell, or a missing step, is NaN.

    Raises ValueError if the shapes do not fit, or if a state has no transition out of it.
    Source: Rabiner (1989), A tutorial on hidden Markov models.
    """

    log_initial: Float[Array, " k"]
    log_transition: Float[Array, "k k"]
    density: Density

    generative: ClassVar[Literal[True]] = True
    sequential: ClassVar[Literal[True]] = True

    def __post_init__(self) -> None:
        expect_part(self, "density", Density, "a density, such as dgjax.Gaussian(mean, scale_tril)")
        k = self.density.label_shape[-1] if self.density.label_shape else 0
        shapes = self.log_initial.shape, self.log_transition.shape, self.density.label_shape
        if shapes != ((k,), (k, k), (k,)):
            raise ValueError(
                f"HiddenMarkov expects log_initial (k,), log_transition (k, k) and a density with labels (k,); got "
                f"shapes {shapes[0]}, {shapes[1]} and labels {shapes[2]}."
            )
        for name in ("log_initial", "log_transition"):
            _parameters.check_possible(self, name, " A state that is not left gets a move to itself.")

    def as_model(self) -> "HiddenMarkov":
        return self

    @property
    def num_labels(self) -> int:
        return len(self.log_initial)

    @property
    def num_features(self) -> int:
        return self.density.num_features

    @property
    def row_cost(self) -> int:
        return self.density.row_cost + steps_cost(self.num_labels)

    @property
    def score_cost(self) -> int:
        return self.density.score_cost + steps_cost(self.num_labels)

    @property
    def num_parameters(self) -> int | Array:
        """Number of free parameters of chain and emissions; structural zeros are none."""
        chain = (num_free(possible(own, 0)) for own in (self.log_initial, self.log_transition))
        return sum(chain) + self.density.num_parameters

    @property
    def supports(self) -> tuple[Support, ...]:
        return self.density.supports

    def normals(self) -> tuple[Any, ...]:
        """Normal densities that the emissions are made of, with their columns."""
        return self.density.normals()

    def potentials(self, x: Sequences) -> Chain:
        """Label space of paths, log p(x, y): log-probabilities of the chain, and scores log p(x_s | y_s) (n, t, k)."""
        scores = x.in_steps(self.density.scores(x.in_rows()))
        # Where no cell is missing, none is looked at: that would be as long as a pass over the scores.
        missing = None if self.density.complete else (jnp.isnan(x.x).all(-1) | ~x.inside).all(-1)
        return Chain(*self._logs(), scores, x.lengths, missing)

    def _logs(self) -> tuple[Array, Array]:
        return log_softmax(self.log_initial), log_softmax(self.log_transition, axis=-1)

    def sample_labels(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Int[Array, "*n t"]:
        """Samples of state paths, ints of the given shape, whose last entry is the number of steps."""
        *batch, t = shape
        zeros = jnp.zeros((math.prod(batch), t, self.num_labels), self.log_initial.dtype)
        chain = Chain(*self._logs(), zeros, jnp.full(len(zeros), t))
        return chain.sample(key).reshape(shape)

    def sample_missing(self, keys: Key[Array, " n"], x: Sequences, at: tuple) -> Float[Array, "n t d"]:
        """Conditional samples of missing cells, given the observed cells of each sequence.

        First a path from p(y | x_observed), then cells given its states.
        """
        chain = self.potentials(x)

        def path(key, scores, lengths):
            return Chain(chain.initial, chain.transition, scores[None], lengths[None]).sample(key)[0]

        keys_y, keys_x = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        y = jax.vmap(path)(keys_y, chain.scores, chain.lengths)
        steps = jax.vmap(lambda key: jax.random.split(key, y.shape[1]))(keys_x).reshape(-1)
        filled = x.in_steps(self.density.sample_missing(steps, x.in_rows(), (jnp.maximum(y, 0).reshape(-1),)))
        return jnp.where((y >= 0)[..., None], filled, x.x)

    def impute(self, x: Sequences, posterior: Float[Array, " n"]) -> Float[Array, "n t d"]:
        """Imputation (n, t, d): each NaN of x replaced by its mean, or mode if discrete, under p(y_s | x_observed)."""
        return self.impute_given(x, self.potentials(x).marginals())

    def impute_given(self, x: Sequences, posterior: Float[Array, "n t k"]) -> Float[Array, "n t d"]:
        """Imputation (n, t, d) where the marginals of the states are known; a step that has none stays as it is."""
        possible = (posterior.sum(-1) > 0)[..., None]
        rows = posterior.reshape(-1, self.num_labels)
        return jnp.where(possible, x.in_steps(self.density.impute(x.in_rows(), rows)), x.x)

    def marginal(self, columns: tuple[int, ...]) -> "HiddenMarkov":
        """Hidden Markov model of the given columns, in that order: one chain, marginal emissions."""
        return type(self)(self.log_initial, self.log_transition, self.density.marginal(columns))

    def discriminative(self) -> LinearChainCRF:
        """Discriminative twin: the linear-chain CRF with the same p(y | x).

        The bias of the emissions' twin is added to the initial and transition scores of the state that is entered.
        """
        bias, scorer = self.density.discriminative()
        initial, transition = self._logs()
        return LinearChainCRF(initial + bias, transition + bias, scorer)

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
            value, (marginals, transitions) = self.potentials(x).clamped(y)
            counts = weights[:, None, None] * marginals
            density = self.density.statistics(x.in_rows(), counts.reshape(-1, self.num_labels))
            moves = jnp.einsum("n,nij->ij", weights, transitions)
            total = kernels.pairwise_sum(jnp.where(weights > 0, weights * value, 0))
            return total, HiddenMarkovStatistics(counts[:, 0].sum(0), moves, density)

        # The passes over rows split them by themselves.
        cost = self.score_cost * x.x.shape[1]
        return kernels.sum_rows(block, x, y, weights, fill=(0, -1, 0), row_cost=cost)

    def maximum(self, statistics: HiddenMarkovStatistics, prior: HiddenMarkovPrior | None = None) -> "HiddenMarkov":
        """M-step: the model that maximises the expected log-likelihood plus the log prior."""
        expect_prior(prior, HiddenMarkovPrior, self)
        prior = HiddenMarkovPrior() if prior is None else prior
        return type(self)(
            _maximum(self.log_initial, statistics.initial, prior.initial),
            _maximum(self.log_transition, statistics.transitions, prior.transition),
            self.density.maximum(statistics.density, prior.density),
        )

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

    def started_at(
        self, key: Key[Array, ""], x: Float[Array, "m d"], counts: Float[Array, "m k"], random: bool = False
    ) -> "HiddenMarkov":
        """Initial parameters for EM: emissions started from the weights `counts` (m, k) of steps in states.

        The chain is kept or, with `random`, gets random transitions outside its structural zeros.
        """
        key_here, key_below = jax.random.split(key)
        moves = self.log_transition
        if random:
            # Uniform among the distributions: the logs of exponentials.
            drawn = jnp.log(jax.random.exponential(key_here, moves.shape, moves.dtype))
            moves = jnp.where(jnp.isneginf(moves), moves, log_softmax(jnp.where(jnp.isneginf(moves), moves, drawn)))
        return type(self)(self.log_initial, moves, self.density.started(key_below, x, counts, random))

    def converged_in_one_step(self, before: "HiddenMarkov") -> Bool[Array, ""]:
        return self.density.converged_in_one_step(before.density)


def _maximum(logs: Array, counts: Array, prior: Dirichlet | None) -> Array:
    """M-step of the chain: log of counts plus pseudo-counts, normalised on the last axis; structural zeros stay.

    A distribution without any counts is left as it was, `logs`.
    """
    if prior is not None:
        counts = counts + jnp.where(jnp.isneginf(logs), 0, prior.concentration - 1)
    total = counts.sum(-1, keepdims=True)
    return jnp.where(total == 0, logs, jnp.log(counts) - jnp.log(total))
