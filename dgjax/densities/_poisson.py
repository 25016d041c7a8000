"""Independent columns of counts."""

from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

import dgjax_kernels as kernels
from dgjax._pytree import noun
from dgjax._types import At
from dgjax.densities import _shared
from dgjax.densities._modes import mixture_mode
from dgjax.priors import Gamma, expect_prior
from dgjax.scorers import LogLinear


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
    expectation = _shared.expectation
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

    score_cost = row_cost

    @property
    def num_parameters(self) -> int:
        return self.log_rate.size

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return kernels.poisson(x, _shared.flat(self.log_rate, self.label_shape)).reshape(len(x), *self.label_shape)

    def sample(self, key: Key[Array, ""], at: At) -> Float[Array, "*n d"]:
        rate = jnp.exp(self.log_rate[at])
        return jax.random.poisson(key, rate).astype(rate.dtype)

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: At) -> Float[Array, "n d"]:
        return _shared.fill(x, jax.vmap(self.sample)(keys, at))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        """The mode, of the mixture of Poissons."""
        rate = jnp.exp(_shared.flat(self.log_rate, self.label_shape))

        def mass(count):
            return jnp.exp(kernels.log_poisson(count[:, None], rate))

        return _shared.fill(x, mixture_mode(_shared.rows_by_labels(posterior), rate[None], mass, jnp.floor))

    def marginal(self, columns: tuple[int, ...]) -> "Poisson":
        return type(self)(self.log_rate[..., jnp.array(columns)])

    def discriminative(self) -> tuple[Float[Array, "*labels"], LogLinear]:
        """Linear in the counts; log x! is the same for every label."""
        return -jnp.exp(self.log_rate).sum(-1), LogLinear(self.log_rate)

    def statistics(self, x: Float[Array, "n d"], counts: Float[Array, "n *labels"]) -> PoissonStatistics:
        observed = ~jnp.isnan(x)
        phi = jnp.concatenate([observed.astype(x.dtype), jnp.where(observed, x, 0)], -1)
        sums = kernels.weighted_sums(phi, _shared.rows_by_labels(counts)).reshape(*self.label_shape, -1)
        return PoissonStatistics(*jnp.split(sums, 2, axis=-1))

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

    def weak_prior(self, x: Float[Array, "n d"], strength: float | Float[Array, ""]) -> Gamma:
        mean, _ = _shared.column_moments(x)
        return Gamma(1 + strength * jnp.where(mean > 0, mean, 0.5), jnp.full_like(mean, strength))

    def invalid(self, x: Float[Array, "n d"]) -> Bool[Array, "n d"]:
        return not_counts(x)

    def support(self, column: int) -> str:
        return "a count, a whole number from 0"


def not_counts(x: Float[Array, "n d"]) -> Bool[Array, "n d"]:
    """Which cells are neither missing nor whole numbers from 0."""
    return ~(jnp.isnan(x) | ((x >= 0) & (x == jnp.floor(x)) & jnp.isfinite(x)))
