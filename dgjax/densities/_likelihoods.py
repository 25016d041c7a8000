"""Likelihoods of variational autoencoders: the distribution of a cell given the decoder's outputs.

A decoder has `size` outputs for each column, column after column. An encoder gets `inputs` numbers for each column, 0
where a cell is missing. A likelihood of rows x (n, d) by outputs (..., f), f = d times `size`, has

    seen(x)               rows as the encoder gets them, (n, d * inputs)
    log_prob(x, outputs)  sum over observed cells of log p(x_j | outputs), (...)
    mean(outputs)         mean of each cell, category probabilities where it has none
    value(mean)           value to impute, (..., d): the mean, or where cells are discrete the mode
    sample(key, outputs)  a draw of each cell, (..., d)
    support               which numbers the cells may be
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import dgjax_kernels as kernels
from dgjax._pytree import dataclass, static
from dgjax._types import COUNT, FINITE, Support, category


@dataclass
class BernoulliCells:
    """Bernoulli likelihood of cells 0 and 1: p(x_j = 1 | z) = sigmoid(decoder output_j). The encoder gets -1 and 1."""

    size: ClassVar[int] = 1
    inputs: ClassVar[int] = 1
    complete: ClassVar[bool] = False
    support: ClassVar[Support] = Support("0 or 1", low=0, high=1, whole=True)

    def seen(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return jnp.where(jnp.isnan(x), 0, 2 * x - 1)

    def log_prob(self, x: Float[Array, "*n d"], outputs: Float[Array, "*b d"]) -> Float[Array, "*b"]:
        return kernels.bernoulli_cells(x, outputs, complete=self.complete)

    def mean(self, outputs: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        return jax.nn.sigmoid(outputs)

    def value(self, mean: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """Mode of each cell, 0 or 1, from the probabilities of 1."""
        return (mean > 0.5).astype(mean.dtype)

    def sample(self, key: Key[Array, ""], outputs: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        return jax.random.bernoulli(key, jax.nn.sigmoid(outputs)).astype(outputs.dtype)


@dataclass
class GaussianCells:
    """Normal likelihood: p(x_j | z) = N(decoder output_j, exp(log_scale_j)^2), with `log_scale` (d,) learnt.

    A column's scale does not depend on z: if the decoder gave it, the likelihood would be unbounded (Mattei and
    Frellsen, 2018). It is unbounded too for a constant column: remove that column, or add noise. Centre and scale the
    columns beforehand: the encoder gets them as they are.
    """

    log_scale: Float[Array, " d"]

    size: ClassVar[int] = 1
    inputs: ClassVar[int] = 1
    complete: ClassVar[bool] = False
    support: ClassVar[Support] = FINITE

    def seen(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return jnp.where(jnp.isnan(x), 0, x)

    def log_prob(self, x: Float[Array, "*n d"], outputs: Float[Array, "*b d"]) -> Float[Array, "*b"]:
        return kernels.gaussian_cells(x, outputs, self.log_scale, complete=self.complete)

    def mean(self, outputs: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        return outputs

    value = mean

    def sample(self, key: Key[Array, ""], outputs: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        return outputs + jnp.exp(self.log_scale) * jax.random.normal(key, outputs.shape, outputs.dtype)


@dataclass
class PoissonCells:
    """Poisson likelihood of counts: p(x_j | z) = Poisson(exp(decoder output_j)). The encoder gets log(1 + x_j)."""

    size: ClassVar[int] = 1
    inputs: ClassVar[int] = 1
    complete: ClassVar[bool] = False
    support: ClassVar[Support] = COUNT

    def seen(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return jnp.log1p(jnp.where(jnp.isnan(x), 0, x))

    def log_prob(self, x: Float[Array, "*n d"], outputs: Float[Array, "*b d"]) -> Float[Array, "*b"]:
        return kernels.poisson_cells(x, outputs, complete=self.complete)

    def mean(self, outputs: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        return jnp.exp(outputs)

    def value(self, mean: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """Mode of the Poisson distribution with the given mean, for each cell."""
        return jnp.floor(mean)

    def sample(self, key: Key[Array, ""], outputs: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        return kernels.poisson_draws(key, jnp.exp(outputs))


@dataclass
class CategoricalCells:
    """Categorical likelihood of categories 0 to c - 1: p(x_j | z) = softmax(c decoder outputs); encoded one-hot."""

    num_categories: int = static()

    complete: ClassVar[bool] = False

    @property
    def size(self) -> int:
        return self.num_categories

    inputs = size

    @property
    def support(self) -> Support:
        return category(self.num_categories)

    def seen(self, x: Float[Array, "n d"]) -> Float[Array, "n f"]:
        return (x[..., None] == jnp.arange(self.num_categories)).astype(x.dtype).reshape(len(x), -1)

    def log_prob(self, x: Float[Array, "*n d"], outputs: Float[Array, "*b f"]) -> Float[Array, "*b"]:
        return kernels.categorical_cells(x, self._by_category(outputs), complete=self.complete)

    def mean(self, outputs: Float[Array, "*b f"]) -> Float[Array, "*b f"]:
        """Category probabilities (..., d c), from the decoder's outputs (..., d c)."""
        return jax.nn.softmax(self._by_category(outputs), axis=-1).reshape(outputs.shape)

    def value(self, mean: Float[Array, "*b f"]) -> Float[Array, "*b d"]:
        """Most probable category of each cell, (..., d), from the probabilities (..., d c)."""
        return self._by_category(mean).argmax(-1).astype(mean.dtype)

    def sample(self, key: Key[Array, ""], outputs: Float[Array, "*b f"]) -> Float[Array, "*b d"]:
        return kernels.categorical(key, self._by_category(outputs)).astype(outputs.dtype)

    def _by_category(self, outputs):
        return outputs.reshape(*outputs.shape[:-1], -1, self.num_categories)
