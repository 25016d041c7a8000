"""Mixtures of any density, mixtures included; with labels given, a mixture is a generative classifier."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_softmax, softmax
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _kmeans, _parameters
from dgjax._arguments import is_concrete
from dgjax._pytree import dataclass, expect_part
from dgjax._types import Capabilities, ColumnMoments, LabelIndex, Rows, Support, num_free, possible
from dgjax.densities import _shared
from dgjax.densities._base import Density
from dgjax.densities._learned import Learned
from dgjax.densities._rank import Normal
from dgjax.priors import Dirichlet, MixturePrior, expect_prior
from dgjax.scorers import LatentScorer
from dgjax.structures import Classes, Sequences


class MixtureStatistics(NamedTuple):
    """Sufficient statistics of a mixture: the expected weight of each component, and the statistics of its density."""

    counts: Float[Array, "*labels k"]
    density: Any


@dataclass
class Mixture(Density):
    """Mixture p(x) = sum_y w_y p(x | y), w = softmax(log_weights); with labels, the joint p(x, y) = w_y p(x | y).

    `log_weights` (k,), minus infinity where a component is off, and any density with labels (k,). With y observed it is
    a generative classifier (naive Bayes, discriminant analysis), with y hidden a mixture, with some labels
    semi-supervised. Of a density of sequences, such as `HiddenMarkov` with labels (k,), it is one of sequences x (n, t,
    d), each of which has one label, y (n,). As a density within a model, `log_weights` is (*labels, k) and the
    density's labels are (*labels, k).

    Raises ValueError if the labels of weights and density differ.
    """

    one_label: ClassVar[bool] = True

    log_weights: Float[Array, "*labels k"]
    density: Density

    def __post_init__(self) -> None:
        expect_part(self, "density", Density, "a density, such as dgjax.Gaussian(mean, scale_tril)")
        if not self.log_weights.ndim or self.log_weights.shape != self.density.label_shape:
            raise ValueError(
                f"Mixture expects a density with one label for each weight; log_weights have shape "
                f"{self.log_weights.shape} and {type(self.density).__name__} has labels {self.density.label_shape}."
            )
        _parameters.check_possible(self, "log_weights")

    @classmethod
    def of_one(cls, density: Density) -> "Mixture":
        """Mixture of one component: a density of one label as a generative model."""
        dtype = jnp.result_type(*jax.tree.leaves(density))
        return cls(cast(Array, np.zeros(1, dtype)), density)

    def as_model(self) -> "Mixture":
        """The mixture as a model: unchanged, or if it has one label to condition on, that label's mixture."""
        return self if not self.label_shape else super().as_model()

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.log_weights.shape[:-1]

    @property
    def num_labels(self) -> int:
        return self.log_weights.shape[-1]

    @property
    def sequential(self) -> bool:
        """Whether it is a mixture of sequences, as its density is one of them: then each has one label, (n,)."""
        return self.density.sequential

    @property
    def takes_sparse_rows(self) -> bool:
        return self.density.takes_sparse_rows

    @property
    def num_features(self) -> int:
        return self.density.num_features

    @property
    def row_cost(self) -> int:
        return self.density.row_cost

    @property
    def columns_without_mean(self) -> tuple[int, ...]:
        return self.density.columns_without_mean

    @property
    def score_cost(self) -> int:
        return self.density.score_cost + math.prod(self.log_weights.shape)

    @property
    def capabilities(self) -> Capabilities:
        return self.density.capabilities

    @property
    def num_parameters(self) -> int | Array:
        """Number of free parameters; the weight of a component that is off is none."""
        return num_free(possible(self.log_weights, 0)) + self.density.num_parameters

    def with_components(self, k: int) -> "Mixture":
        """Mixture of k components in place of its own: the first k, or all and others that are off.

        Of densities that have `with_labels`.
        """
        density: Any = self.density
        leaves = _shared.first_and_more(self.log_weights, k, -np.inf), *jax.tree.leaves(density.with_labels(k))
        return jax.tree.unflatten(jax.tree.structure(self), leaves)  # without checks: a fit may have ended at NaN

    def _on(self, xp: Any = jnp) -> dict[str, Any]:
        """Components that are on, for a density that counts no others."""
        return {"on": xp.asarray(self.log_weights) > -np.inf} if self.density.labels_off else {}

    def normals(self) -> tuple[Normal, ...]:
        on = self._on(np if is_concrete(self.log_weights) else jnp)
        return tuple(normal._replace(**on) for normal in self.density.normals())

    def _joint(self, x: Rows) -> Array:
        """Joint log-density (n, *labels, k), log p(x, z | label), of rows and components z."""
        return log_softmax(self.log_weights, axis=-1) + self.density.scores(x)

    def _joint_of_components(self, x):
        """Joint log-density up to a function of x and label: of a single network's the posterior is 1, unasked.

        It gives every row some probability, and that of a text may take a pass for each token.
        """
        if self.num_labels == 1 and isinstance(self.density, Learned):
            return jnp.zeros((len(x), *self.log_weights.shape), x.dtype)
        return self._joint(x)

    def potentials(self, x: Rows) -> Classes:
        return Classes(self._joint(x), _shared.no_cells(x, self.complete))

    def joint_at(self, x: Rows, y: Int[Array, " n"]) -> Float[Array, " n"]:
        """Joint log-likelihood log p(x_observed, y) (n,) of known labels y (n,), without other labels' if possible."""
        return log_softmax(self.log_weights, axis=-1)[y] + self.density.scores_at(x, y)

    def scores(self, x: Rows) -> Float[Array, "n *labels"]:
        return self._evidence(x, self._joint(x))

    def _evidence(self, x: Rows, joint: Array) -> Array:
        """Log-densities (n, *labels) from those with each component (n, *labels, k); 0 without an observed cell."""
        evidence = kernels.logsumexp(joint)
        return jnp.where(_shared.no_cells(x, self.complete).reshape(-1, *[1] * (evidence.ndim - 1)), 0, evidence)

    def sample_labels(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Int[Array, "..."]:
        """Samples of components, ints of the given shape, by their weights."""
        return kernels.categorical(key, self.log_weights, shape)

    def sample(self, key: Key[Array, ""], at: LabelIndex, *steps: int) -> Float[Array, "*n d"]:
        """Samples of rows, one for each label in the index `at`: (..., d); of sequences of so many `steps`."""
        key_z, key_x = jax.random.split(key)
        z, density = kernels.categorical(key_z, self.log_weights[at]), cast(Any, self.density)
        return density.sample(key_x, (*at, z), *steps)

    def sample_missing(self, keys: Key[Array, " n"], x: Rows, at: LabelIndex) -> Float[Array, "n *t d"]:
        keys_z, keys_x = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        joint = self._joint_of_components(x)[(jnp.arange(len(x)), *at)]
        z = jax.vmap(kernels.categorical)(keys_z, joint)
        filled = self.density.sample_missing(keys_x, x, (*at, z))
        return _where(jnp.isfinite(joint.max(-1)), filled, x)

    def impute(self, x: Rows, posterior: Float[Array, "n *labels"]) -> Float[Array, "n *t d"]:
        return self.impute_given(x, self._shared_out(self._joint_of_components(x), posterior))

    def impute_given(self, x: Rows, posterior: Float[Array, "n *labels k"]) -> Float[Array, "n *t d"]:
        """Imputation (n, d) where the posterior of the components is known; a row that has none stays as it is."""
        possible = _shared.rows_by_labels(posterior).sum(-1) > 0
        return _where(possible, self.density.impute(x, posterior), x)

    @staticmethod
    def _shared_out(joint: Array, counts: Array) -> Array:
        """Responsibilities (n, *labels, k): counts (n, *labels) shared out among components by their posterior."""
        possible = jnp.isfinite(joint.max(-1, keepdims=True))
        return jnp.where(possible, counts[..., None] * softmax(jnp.where(possible, joint, 0), axis=-1), 0)

    def marginal(self, columns: tuple[int, ...]) -> "Mixture":
        return type(self)(self.log_weights, self.density.marginal(columns))

    def discriminative(self) -> tuple[Float[Array, "*labels"], LatentScorer]:
        """Discriminative twin of a mixture as a density: a bias (*labels,) and a scorer that sums components out."""
        bias, scorer = self.density.discriminative()
        log_weights = log_softmax(self.log_weights, axis=-1)
        return jnp.zeros(self.label_shape, log_weights.dtype), LatentScorer(log_weights + bias, scorer)

    def statistics(self, x: Rows, counts: Float[Array, "n *labels"]) -> MixtureStatistics:
        return self.scores_and_statistics(x)[1](counts)

    def scores_and_statistics(
        self, x: Rows
    ) -> tuple[Float[Array, "n *labels"], Callable[[Float[Array, "n *labels"]], MixtureStatistics]]:
        scores, statistics = self.density.scores_and_statistics(x)
        joint = log_softmax(self.log_weights, axis=-1) + scores

        def expected(counts):
            counts = self._shared_out(joint, counts)
            return MixtureStatistics(counts.sum(0), statistics(counts))

        return self._evidence(x, joint), expected

    def joint_statistics(self, x: Rows, counts: Float[Array, "n *labels k"]) -> MixtureStatistics:
        """Sufficient statistics of rows x (n, d) under responsibilities (n, *labels, k) of the components."""
        return MixtureStatistics(counts.sum(0), self.density.statistics(x, counts))

    def labelled_statistics(
        self, x: Rows | kernels.LabelledSummary, y: Int[Array, " n"], weights: Float[Array, " n"]
    ) -> MixtureStatistics:
        """Sufficient statistics where each row's component y (n,) is known: component weights, and the density's."""
        return MixtureStatistics(*self.density.labelled(x, y, weights))

    def joint_expectation(
        self, x: Rows, y: Int[Array, " n"], weights: Float[Array, " n"]
    ) -> tuple[Float[Array, ""], MixtureStatistics]:
        """E-step: log-likelihood sum_n w_n log p(x_n, y_n), y summed out where -1, and expected statistics."""
        value, counts, statistics = self.density.expectation(x, y, weights, log_softmax(self.log_weights))
        return value, MixtureStatistics(counts, statistics)

    def maximum(self, statistics: MixtureStatistics, prior: MixturePrior | None = None) -> "Mixture":
        expect_prior(prior, MixturePrior, self)
        density = self.density.maximum(statistics.density, None if prior is None else prior.density, **self._on())
        weights = None if prior is None else prior.weights
        return type(self)(self._weights_maximum(statistics.counts, weights), density)

    def _weights_maximum(self, counts: Array, prior: Dirichlet | None) -> Array:
        if prior is not None:
            counts = counts + jnp.where(jnp.isneginf(self.log_weights), 0, prior.concentration - 1)
        total = counts.sum(-1, keepdims=True)
        return jnp.where(total == 0, self.log_weights, jnp.log(counts) - jnp.log(total))

    def converged_in_one_step(self, before: Any) -> Bool[Array, ""]:
        """Always False for a mixture within a model: its components are hidden, so no M-step is the last."""
        del before
        return jnp.zeros((), bool)

    def recentred(
        self, statistics: MixtureStatistics, before: Any, prior: MixturePrior | None = None
    ) -> MixtureStatistics:
        own = None if prior is None else prior.density
        return statistics._replace(density=self.density.recentred(statistics.density, before.density, own))

    def log_prior(self, prior: MixturePrior | None) -> Float[Array, ""]:
        expect_prior(prior, MixturePrior, self)
        if prior is None:
            return jnp.zeros((), self.log_weights.dtype)
        density = self.density.log_prior(prior.density, **self._on())
        return density if prior.weights is None else density + prior.weights.log_density(log_softmax(self.log_weights))

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> MixturePrior:
        weights = Dirichlet.shared(strength, ~jnp.isneginf(self.log_weights), columns.mean.dtype)
        return MixturePrior(weights, self.density.weak_prior(columns, strength, **self._on()))

    def started(
        self, key: Key[Array, ""], x: Rows, counts: Float[Array, "n *labels"], random: bool = False
    ) -> "Mixture":
        """Initial parameters for EM: components at k-means++ clusters of each label's rows, or a few `random` rows."""
        key_here, key_below = jax.random.split(key)
        if random:
            return self.started_at(key_below, x, _kmeans.few_rows(key_here, counts, self.num_labels), random)
        complete = bool(self.complete)
        z = _kmeans.embedded(x, _shared.rows_by_labels(counts).sum(1), self.supports, complete)
        return self.started_at(key_below, x, _kmeans.clusters(key_here, z, counts, self.num_labels, complete=complete))

    def started_at(
        self, key: Key[Array, ""], x: Rows, counts: Float[Array, "n *labels k"], random: bool = False
    ) -> "Mixture":
        """Initial parameters for EM from responsibilities `counts` of components; one of weight 0 (off) stays off."""
        off = jnp.isneginf(self.log_weights)
        weights = self._weights_maximum(counts.sum(0), Dirichlet.shared(1.0, ~off, x.dtype))
        weights = jnp.where(off, -jnp.inf, weights)
        return type(self)(weights, self.density.started(key, x, counts, random, **self._on()))

    @property
    def supports(self) -> tuple[Support, ...]:
        return self.density.supports


def _where(possible: Array, filled: Array, x: Rows) -> Array:
    """Rows or sequences as `filled`, and where that is not possible (n,) as they were."""
    given = x.x if isinstance(x, Sequences) else x
    return jnp.where(possible.reshape(-1, *[1] * (filled.ndim - 1)), filled, given)
