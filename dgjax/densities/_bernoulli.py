"""Independent binary columns."""

from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._pytree import noun
from dgjax._types import At, ColumnMoments, Support
from dgjax.densities import _shared
from dgjax.priors import Beta, expect_prior
from dgjax.scorers import Table


class BernoulliStatistics(NamedTuple):
    """Counts of observed zeros and ones."""

    zeros: Float[Array, "*labels d"]
    ones: Float[Array, "*labels d"]


@noun
class Bernoulli:
    """Binary rows: log p(x) = sum_j x_j log p_j + (1 - x_j) log(1 - p_j), p = sigmoid(logits).

    `logits` (*labels, d), infinite where p is 0 or 1. Cells are 0, 1 or NaN, which counts for nothing.
    """

    logits: Float[Array, "*labels d"]

    unchecked: ClassVar[bool] = True  # plus infinity is p = 1

    def __post_init__(self) -> None:
        _shared.check_features(self, "logits", self.logits)
        _parameters.check_given(self, "logits")

    generative: ClassVar[Literal[True]] = True
    settled = _shared.settled
    started = _shared.started
    as_model = _shared.as_model

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.logits.shape[:-1]

    @property
    def num_features(self) -> int:
        return self.logits.shape[-1]

    @property
    def row_cost(self) -> int:
        return 2 * self.num_features + self.score_cost

    @property
    def score_cost(self) -> int:
        return self.logits.size // self.num_features

    @property
    def num_parameters(self) -> int:
        return self.logits.size

    def _log_p(self) -> Array:
        """log p of 0 and of 1, (*labels, d, 2): both logs kept, for their difference would cancel near 0 and 1."""
        return jnp.stack([jax.nn.log_sigmoid(-self.logits), jax.nn.log_sigmoid(self.logits)], -1)

    def _table(self) -> Array:
        return _shared.flat(self._log_p(), self.label_shape)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return kernels.table(x, self._table()).reshape(len(x), *self.label_shape)

    def sample(self, key: Key[Array, ""], at: At) -> Float[Array, "*n d"]:
        p = jax.nn.sigmoid(self.logits[at])
        return jax.random.bernoulli(key, p).astype(p.dtype)

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: At) -> Float[Array, "n d"]:
        return _shared.fill(x, jax.vmap(self.sample)(keys, at))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        p = _shared.rows_by_labels(posterior) @ jax.nn.sigmoid(_shared.flat(self.logits, self.label_shape))
        return _shared.fill(x, (p > 0.5).astype(x.dtype))

    def marginal(self, columns: tuple[int, ...]) -> "Bernoulli":
        return type(self)(self.logits[..., jnp.array(columns)])

    def discriminative(self) -> tuple[Float[Array, "*labels"], Table]:
        """A table of both log-probabilities: the linear form logits . x is their difference, and fails at p = 1."""
        return jnp.zeros(self.label_shape, self.logits.dtype), Table(self._log_p())

    def statistics(self, x: Float[Array, "n d"], counts: Float[Array, "n *labels"]) -> BernoulliStatistics:
        sums = kernels.table_statistics(x, _shared.rows_by_labels(counts), self._table())
        return BernoulliStatistics(*jnp.moveaxis(sums.reshape(*self.logits.shape, 2), -1, 0))

    def expectation(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], weights: Float[Array, " n"], log_weights: Float[Array, " k"]
    ) -> tuple[Float[Array, ""], Float[Array, " k"], BernoulliStatistics]:
        value, counts, sums = kernels.table_expectation(x, y, weights, log_weights, self._table())
        return value, counts, BernoulliStatistics(*jnp.moveaxis(sums, -1, 0))

    def labelled(
        self, x: Float[Array, "n d"] | kernels.LabelledSummary, y: Int[Array, " n"], weights: Float[Array, " n"]
    ) -> tuple[Float[Array, " k"], BernoulliStatistics]:
        counts, (cells, ones, _) = _shared.labelled_moments(x, y, weights, jnp.zeros_like(self.logits))
        return counts, BernoulliStatistics(cells - ones, ones)

    def maximum(self, statistics: BernoulliStatistics, prior: Beta | None = None) -> "Bernoulli":
        expect_prior(prior, Beta, self)
        a, b = (1, 1) if prior is None else (prior.a, prior.b)
        ones, zeros = statistics.ones + (a - 1), statistics.zeros + (b - 1)
        return type(self)(jnp.where(ones + zeros == 0, self.logits, jnp.log(ones) - jnp.log(zeros)))

    def log_prior(self, prior: Beta | None) -> Float[Array, ""]:
        expect_prior(prior, Beta, self)
        if prior is None:
            return jnp.zeros((), self.logits.dtype)
        log_q, log_p = jnp.moveaxis(self._log_p(), -1, 0)
        terms = jnp.where(prior.a == 1, 0, (prior.a - 1) * log_p) + jnp.where(prior.b == 1, 0, (prior.b - 1) * log_q)
        return terms.sum()

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> Beta:
        half = jnp.full(self.num_features, 1 + strength / 2, columns.mean.dtype)
        return Beta(half, half)

    @property
    def supports(self) -> tuple[Support, ...]:
        return (Support("0 or 1", low=0, high=1, whole=True),) * self.num_features
