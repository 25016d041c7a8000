"""Scorers: a function of a row for every label, linear in its parameters. What a logistic model is made of."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

import dgjax_kernels as kernels
from dgjax._pytree import noun, static
from dgjax._types import Scorer


def _flat(weight: Array, event_ndim: int) -> Array:
    return weight.reshape(-1, math.prod(weight.shape[weight.ndim - event_ndim :]))


def _not_finite(self: Any, x: Array) -> Array:
    return ~jnp.isfinite(x)


def _finite(self: Any, column: int) -> str:
    return "a finite number"


@noun
class Linear:
    """s(x, y) = w_y . x; `weight` (*labels, d)."""

    weight: Float[Array, "*labels d"]

    invalid = _not_finite
    support = _finite

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.weight.shape[:-1]

    @property
    def num_features(self) -> int:
        return self.weight.shape[-1]

    @property
    def row_cost(self) -> int:
        return self.num_features + math.prod(self.label_shape)

    @property
    def num_parameters(self) -> int:
        return self.weight.size

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return (x @ _flat(self.weight, 1).T).reshape(len(x), *self.label_shape)

    def penalty(self) -> Float[Array, ""]:
        return (self.weight**2).sum()


@noun
class DiagonalQuadratic:
    """s(x, y) = w_y . x + q_y . x^2; `weight` and `square` (*labels, d)."""

    weight: Float[Array, "*labels d"]
    square: Float[Array, "*labels d"]

    invalid = _not_finite
    support = _finite

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.weight.shape[:-1]

    @property
    def num_features(self) -> int:
        return self.weight.shape[-1]

    @property
    def row_cost(self) -> int:
        return 2 * self.num_features + math.prod(self.label_shape)

    @property
    def num_parameters(self) -> int:
        return self.weight.size + self.square.size

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return Linear(jnp.concatenate([self.weight, self.square], -1)).scores(jnp.concatenate([x, x**2], -1))

    def penalty(self) -> Float[Array, ""]:
        return (self.weight**2).sum() + (self.square**2).sum()


@noun
class Quadratic:
    """s(x, y) = w_y . x + sum_{i <= j} q_yij x_i x_j; `weight` (*labels, d), `products` (*labels, d (d + 1) / 2).

    Products are ordered by rows of the upper triangle.
    """

    weight: Float[Array, "*labels d"]
    products: Float[Array, "*labels p"]

    def __post_init__(self) -> None:
        d = self.weight.shape[-1]
        if self.products.shape != (*self.weight.shape[:-1], d * (d + 1) // 2):
            raise ValueError(
                f"Quadratic expects weight (*labels, d) and products (*labels, d (d + 1) / 2); got shapes "
                f"{self.weight.shape} and {self.products.shape}."
            )

    @classmethod
    def from_matrix(cls, weight: Float[Array, "*labels d"], matrix: Float[Array, "*labels d d"]) -> "Quadratic":
        """w . x + x^T M x for symmetric M."""
        i, j = np.triu_indices(weight.shape[-1])
        return cls(weight, matrix[..., i, j] * jnp.where(i == j, 1, 2).astype(matrix.dtype))

    invalid = _not_finite
    support = _finite

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.weight.shape[:-1]

    @property
    def num_features(self) -> int:
        return self.weight.shape[-1]

    @property
    def row_cost(self) -> int:
        return self.num_features + self.products.shape[-1] + math.prod(self.label_shape)

    @property
    def num_parameters(self) -> int:
        return self.weight.size + self.products.size

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        i, j = np.triu_indices(self.num_features)
        phi = jnp.concatenate([x, x[:, i] * x[:, j]], -1)
        return Linear(jnp.concatenate([self.weight, self.products], -1)).scores(phi)

    def penalty(self) -> Float[Array, ""]:
        return (self.weight**2).sum() + (self.products**2).sum()


@noun
class LogLinear:
    """s(x, y) = sum_j x_j w_yj for counts x >= 0, with 0 times minus infinity = 0; `weight` (*labels, d)."""

    weight: Float[Array, "*labels d"]

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.weight.shape[:-1]

    @property
    def num_features(self) -> int:
        return self.weight.shape[-1]

    @property
    def row_cost(self) -> int:
        return self.num_features + math.prod(self.label_shape)

    @property
    def num_parameters(self) -> int:
        return self.weight.size

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return kernels.log_linear(x, _flat(self.weight, 1)).reshape(len(x), *self.label_shape)

    def penalty(self) -> Float[Array, ""]:
        return jnp.where(jnp.isneginf(self.weight), 0, self.weight**2).sum()

    def invalid(self, x: Float[Array, "n d"]) -> Bool[Array, "n d"]:
        return ~(jnp.isfinite(x) & (x >= 0))

    def support(self, column: int) -> str:
        return "a finite number from 0"


@noun
class Table:
    """s(x, y) = sum_j w_y[j, x_j] for columns of categories 0 to c - 1; `weight` (*labels, d, c), may be -inf."""

    weight: Float[Array, "*labels d c"]

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.weight.shape[:-2]

    @property
    def num_features(self) -> int:
        return self.weight.shape[-2]

    @property
    def row_cost(self) -> int:
        return math.prod(self.weight.shape[-2:]) + math.prod(self.label_shape)

    @property
    def num_parameters(self) -> int:
        return self.weight.size

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        phi = indicators(x, self.weight.shape[-1])
        return kernels.log_linear(phi, _flat(self.weight, 2)).reshape(len(x), *self.label_shape)

    def penalty(self) -> Float[Array, ""]:
        return jnp.where(jnp.isneginf(self.weight), 0, self.weight**2).sum()

    def invalid(self, x: Float[Array, "n d"]) -> Bool[Array, "n d"]:
        return ~((x >= 0) & (x < self.weight.shape[-1]) & (x == jnp.floor(x)))

    def support(self, column: int) -> str:
        return f"a category, a whole number from 0 to {self.weight.shape[-1] - 1}"


def indicators(x: Float[Array, "n d"], num_categories: int) -> Float[Array, "n f"]:
    """One-hot columns (n, d c), all zero for a missing cell."""
    return (
        (x[..., None] == jnp.arange(num_categories, dtype=x.dtype))
        .astype(x.dtype)
        .reshape(len(x), x.shape[1] * num_categories)
    )


@noun
class Shifted:
    """s(x, y) = scorer(x - offset, y); the offset (d,), where the scorer's numbers are small, is never trained."""

    offset: Float[Array, " d"]
    scorer: Scorer

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.scorer.label_shape

    @property
    def num_features(self) -> int:
        return self.scorer.num_features

    @property
    def row_cost(self) -> int:
        return self.scorer.row_cost

    @property
    def num_parameters(self) -> int:
        return self.scorer.num_parameters

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return self.scorer.scores(x - jax.lax.stop_gradient(self.offset))

    def penalty(self) -> Float[Array, ""]:
        return self.scorer.penalty()

    def invalid(self, x: Float[Array, "n d"]) -> Bool[Array, "n d"]:
        return self.scorer.invalid(x)

    def support(self, column: int) -> str:
        return self.scorer.support(column)


@noun
class ColumnScorers:
    """s(x, y) = sum of scorers, each on its own `columns` of x."""

    scorers: tuple[Scorer, ...]
    columns: tuple[tuple[int, ...], ...] = static()

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.scorers[0].label_shape

    @property
    def num_features(self) -> int:
        return sum(map(len, self.columns))

    @property
    def row_cost(self) -> int:
        return sum(scorer.row_cost for scorer in self.scorers)

    @property
    def num_parameters(self) -> int:
        return sum(scorer.num_parameters for scorer in self.scorers)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        parts = zip(self.scorers, self.columns, strict=True)
        return sum((scorer.scores(x[:, jnp.array(columns)]) for scorer, columns in parts), start=jnp.zeros((), x.dtype))

    def penalty(self) -> Float[Array, ""]:
        return sum((scorer.penalty() for scorer in self.scorers), start=jnp.zeros(()))

    def invalid(self, x: Float[Array, "n d"]) -> Bool[Array, "n d"]:
        parts = [scorer.invalid(x[:, jnp.array(c)]) for scorer, c in zip(self.scorers, self.columns, strict=True)]
        return jnp.concatenate(parts, axis=-1)[:, np.argsort(sum(self.columns, ()))]

    def support(self, column: int) -> str:
        places = (s.support(c.index(column)) for s, c in zip(self.scorers, self.columns, strict=True) if column in c)
        return next(places)


@noun
class LatentScorer:
    """s(x, y) = log sum_z exp(bias_yz + s(x, y, z)): the twin of a mixture within each label; `bias` (*labels, m)."""

    bias: Float[Array, "*labels m"]
    scorer: Scorer

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.bias.shape[:-1]

    @property
    def num_features(self) -> int:
        return self.scorer.num_features

    @property
    def row_cost(self) -> int:
        return self.scorer.row_cost

    @property
    def num_parameters(self) -> int:
        return self.bias.size + self.scorer.num_parameters

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return jax.nn.logsumexp(self.bias + self.scorer.scores(x), axis=-1)

    def penalty(self) -> Float[Array, ""]:
        return self.scorer.penalty()

    def invalid(self, x: Float[Array, "n d"]) -> Bool[Array, "n d"]:
        return self.scorer.invalid(x)

    def support(self, column: int) -> str:
        return self.scorer.support(column)
