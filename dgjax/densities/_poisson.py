"""Independent columns of counts."""

from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._pytree import noun
from dgjax._types import At, ColumnMoments, Support
from dgjax.densities import _shared
from dgjax.densities._modes import mixture_mode
from dgjax.priors import Gamma, expect_prior
from dgjax.scorers import LogLinear

COUNT = Support("a count, a whole number from 0", low=0, whole=True)


class PoissonStatistics(NamedTuple):
    """How many cells were observed, and the sum of their counts."""

    observed: Float[Array, "*labels d"]
    sums: Float[Array, "*labels d"]


@noun
class Poisson:
    """Rows of counts: log p(x) = sum_j x_j log r_j - r_j - log x_j!, r = exp(log_rate).

    `log_rate` (*labels, d). Cells are whole numbers from 0, held as floats, or NaN, which counts for nothing.
    """

    log_rate: Float[Array, "*labels d"]

    def __post_init__(self) -> None:
        _shared.check_features(self, "log_rate", self.log_rate)

    generative: ClassVar[Literal[True]] = True
    settled = _shared.settled
    started = _shared.started
    as_model = _shared.as_model

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.log_rate.shape[:-1]

    @property
    def num_features(self) -> int:
        return self.log_rate.shape[-1]

    @property
    def row_cost(self) -> int:
        return self.log_rate.size

    @property
    def score_cost(self) -> int:
        return self.log_rate.size // self.num_features

    @property
    def num_parameters(self) -> int:
        return self.log_rate.size

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return kernels.poisson(x, self._flat()).reshape(len(x), *self.label_shape)

    def _flat(self) -> Array:
        return _shared.flat(self.log_rate, self.label_shape)

    def sample(self, key: Key[Array, ""], at: At) -> Float[Array, "*n d"]:
        rate = jnp.exp(self.log_rate[at])
        return kernels.poisson_draws(key, rate)

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: At) -> Float[Array, "n d"]:
        return _shared.fill(x, jax.vmap(self.sample)(keys, at))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        """The mode, of the mixture of Poissons."""
        rate = jnp.exp(self._flat())

        def mass(count):
            return jnp.exp(kernels.log_poisson(count[:, None], rate, self._flat()))

        return _shared.fill(x, mixture_mode(_shared.rows_by_labels(posterior), rate[None], mass, jnp.floor))

    def marginal(self, columns: tuple[int, ...]) -> "Poisson":
        return type(self)(self.log_rate[..., jnp.array(columns)])

    def discriminative(self) -> tuple[Float[Array, "*labels"], LogLinear]:
        """Linear in the counts; log x! is the same for every label, and so is their median's score."""
        weight, _, excess = _shared.about_the_median(self._flat())
        return -excess.sum(-1).reshape(self.label_shape), LogLinear(weight.reshape(self.log_rate.shape))

    def statistics(self, x: Float[Array, "n d"], counts: Float[Array, "n *labels"]) -> PoissonStatistics:
        sums = kernels.poisson_statistics(x, _shared.rows_by_labels(counts), self._flat())
        return PoissonStatistics(*jnp.moveaxis(sums.reshape(*self.log_rate.shape, 2), -1, 0))

    def expectation(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], weights: Float[Array, " n"], log_weights: Float[Array, " k"]
    ) -> tuple[Float[Array, ""], Float[Array, " k"], PoissonStatistics]:
        value, counts, sums = kernels.poisson_expectation(x, y, weights, log_weights, self._flat())
        return value, counts, PoissonStatistics(*jnp.moveaxis(sums, -1, 0))

    def labelled(
        self, x: Float[Array, "n d"] | kernels.LabelledSummary, y: Int[Array, " n"], weights: Float[Array, " n"]
    ) -> tuple[Float[Array, " k"], PoissonStatistics]:
        counts, (cells, first, _) = _shared.labelled_moments(x, y, weights, jnp.zeros_like(self.log_rate))
        return counts, PoissonStatistics(cells, first)

    def maximum(self, statistics: PoissonStatistics, prior: Gamma | None = None) -> "Poisson":
        expect_prior(prior, Gamma, self)
        shape, rate = (1, 0) if prior is None else (prior.shape, prior.rate)
        cells = statistics.observed + rate
        log_rate = jnp.log(statistics.sums + (shape - 1)) - jnp.log(cells)
        return type(self)(jnp.where(cells == 0, self.log_rate, log_rate))

    def log_prior(self, prior: Gamma | None) -> Float[Array, ""]:
        expect_prior(prior, Gamma, self)
        if prior is None:
            return jnp.zeros((), self.log_rate.dtype)
        power = jnp.where(prior.shape == 1, 0, (prior.shape - 1) * self.log_rate)
        return (power - prior.rate * jnp.exp(self.log_rate)).sum()

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> Gamma:
        mean = columns.mean
        return Gamma(1 + strength * jnp.where(mean > 0, mean, 0.5), jnp.full_like(mean, strength))

    @property
    def supports(self) -> tuple[Support, ...]:
        return (COUNT,) * self.num_features
