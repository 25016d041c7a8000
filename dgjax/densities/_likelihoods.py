"""Likelihoods of learned densities: the distribution of a cell given the outputs of a network.

A decoder has `size` outputs for each column, column after column. An encoder gets `inputs` numbers for each column, 0
where a cell is missing. A likelihood of rows x (n, d) by outputs (..., f), f = d times `size`, has

    seen(x)               rows as a network gets them, (n, d * inputs)
    log_prob(x, outputs)  sum over observed cells of log p(x_j | outputs), (...)
    mean(outputs)         mean of each cell, category probabilities where it has none
    value(mean)           value to impute, (..., d): the mean, or where cells are discrete the mode
    sample(key, outputs)  a draw of each cell, (..., d)
    support               which numbers the cells may be
"""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

import dgjax_kernels as kernels
from dgjax._pytree import dataclass, static
from dgjax._types import COUNT, FINITE, Support, category, in_order


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
class GaussianMixtureCells:
    """Normal mixture likelihood of real cells: (x_j - centre_j) / scale_j is one of `num_components` normals.

    A network gives the log-weights, the means and the scales of the components, the scales through softplus and at
    least `floor`, which bounds the likelihood: a column that is constant, or has few values, makes no spike of it.
    `centre` and `scale` (d,) are constants in the columns' units, mostly their means and standard deviations; networks
    get (x_j - centre_j) / scale_j.
    """

    centre: Float[Array, " d"]
    scale: Float[Array, " d"]
    num_components: int = static(default=8)
    floor: float = static(default=0.01)

    untrained = ("centre", "scale")
    inputs: ClassVar[int] = 1
    complete: ClassVar[bool] = False
    support: ClassVar[Support] = FINITE

    @property
    def size(self) -> int:
        return 3 * self.num_components

    def seen(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return jnp.where(jnp.isnan(x), 0, self._standardised(x))

    def log_prob(self, x: Float[Array, "*n d"], outputs: Float[Array, "*b f"]) -> Float[Array, "*b"]:
        units = jnp.where(jnp.isnan(x), 0, jnp.log(jax.lax.stop_gradient(self.scale))).sum(-1)
        parameters = self._components(outputs)
        return kernels.gaussian_mixture_cells(self._standardised(x), *parameters, complete=self.complete) - units

    def mean(self, outputs: Float[Array, "*b f"]) -> Float[Array, "*b d"]:
        logits, mean, _ = self._components(outputs)
        return self._in_units((jax.nn.softmax(logits) * mean).sum(-1))

    def value(self, mean: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        return mean

    def sample(self, key: Key[Array, ""], outputs: Float[Array, "*b f"]) -> Float[Array, "*b d"]:
        key_component, key_normal = jax.random.split(key)
        logits, mean, scale = self._components(outputs)
        chosen = kernels.categorical(key_component, logits)[..., None]
        mean, scale = (jnp.take_along_axis(own, chosen, -1)[..., 0] for own in (mean, scale))
        return self._in_units(mean + scale * jax.random.normal(key_normal, mean.shape, mean.dtype))

    def _components(self, outputs):
        """Log-weights, up to a constant, means and scales (..., d, c) of the components, of standardised columns."""
        logits, mean, raw = jnp.split(by_column(outputs, self.size), 3, axis=-1)
        return logits, mean, self.floor + jax.nn.softplus(raw)

    def _standardised(self, x):
        return (x - jax.lax.stop_gradient(self.centre)) / jax.lax.stop_gradient(self.scale)

    def _in_units(self, z):
        return jax.lax.stop_gradient(self.centre) + jax.lax.stop_gradient(self.scale) * z


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
        return by_column(outputs, self.num_categories)


@dataclass
class ColumnCells:
    """Likelihood of columns of different kinds: `parts` are likelihoods, `columns` the column numbers of each.

    A network has as many outputs for each column as the widest part needs, and inputs of its own for each part.

    Raises ValueError if `columns` does not hold each column number once.
    """

    parts: tuple[Any, ...]
    columns: tuple[tuple[int, ...], ...] = static()

    complete: ClassVar[bool] = False

    def __post_init__(self) -> None:
        numbers = sorted(sum(map(tuple, self.columns), ()))
        if len(self.parts) != len(self.columns) or numbers != list(range(len(numbers))):
            raise ValueError(f"ColumnCells expects each column number in one part; got columns={self.columns}.")

    @property
    def size(self) -> int:
        return max(part.size for part in self.parts)

    @property
    def inputs(self) -> int:
        return sum(part.inputs for part in self.parts)

    @property
    def supports(self) -> tuple[Support, ...]:
        """Support of each column."""
        return in_order(self.columns, [(part.support,) for part in self.parts])

    def seen(self, x: Float[Array, "n d"]) -> Float[Array, "n f"]:
        rows, first = jnp.zeros((*x.shape, self.inputs), x.dtype), 0
        for part, own in self._by_part():
            seen = by_column(part.seen(x[:, own]), part.inputs)
            rows = rows.at[:, own, first : first + part.inputs].set(seen)
            first += part.inputs
        return rows.reshape(len(x), x.shape[1] * self.inputs)

    def log_prob(self, x: Float[Array, "*n d"], outputs: Float[Array, "*b f"]) -> Float[Array, "*b"]:
        parts = [part.log_prob(x[..., own], self._of(outputs, own, part.size)) for part, own in self._by_part()]
        return functools.reduce(jnp.add, parts)

    def mean(self, outputs: Float[Array, "*b f"]) -> Float[Array, "*b f"]:
        """Means of the parts, each in the first of a column's numbers: category probabilities, or one number."""
        whole = jnp.zeros((*outputs.shape[:-1], outputs.shape[-1] // self.size, self.size), outputs.dtype)
        for part, own in self._by_part():
            mean = part.mean(self._of(outputs, own, part.size))
            mean = by_column(mean, mean.shape[-1] // len(own))
            whole = whole.at[..., own, : mean.shape[-1]].set(mean)
        return whole.reshape(outputs.shape)

    def value(self, mean: Float[Array, "*b f"]) -> Float[Array, "*b d"]:
        return self._joined([part.value(self._of(mean, own, _num_means(part))) for part, own in self._by_part()])

    def sample(self, key: Key[Array, ""], outputs: Float[Array, "*b f"]) -> Float[Array, "*b d"]:
        keys = jax.random.split(key, len(self.parts))
        parts = zip(keys, self._by_part(), strict=True)
        return self._joined([part.sample(k, self._of(outputs, own, part.size)) for k, (part, own) in parts])

    def _by_part(self):
        return [(part, np.array(own)) for part, own in zip(self.parts, self.columns, strict=True)]

    def _of(self, outputs, columns, size):
        """The first `size` numbers of each of some columns, (..., columns * size), of outputs (..., f)."""
        own = by_column(outputs, self.size)[..., columns, :size]
        return own.reshape(*outputs.shape[:-1], len(columns) * size)

    def _joined(self, parts):
        order = np.argsort(np.concatenate(list(map(np.array, self.columns))))
        return jnp.concatenate(parts, -1)[..., order]


def by_column(outputs: Float[Array, "*b f"], size: int) -> Float[Array, "*b d size"]:
    """Numbers (..., d, size) of each column, from outputs (..., d * size), column after column."""
    return outputs.reshape(*outputs.shape[:-1], outputs.shape[-1] // size, size)


def supports_of(likelihood: Any, num_columns: int) -> tuple[Support, ...]:
    """Support of each of d columns under a likelihood of cells."""
    if isinstance(likelihood, ColumnCells):
        return likelihood.supports
    return (likelihood.support,) * num_columns


def _num_means(part):
    """Numbers of a likelihood's `mean` for each column."""
    return part.num_categories if isinstance(part, CategoricalCells) else 1
