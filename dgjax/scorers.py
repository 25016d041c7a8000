"""Scorers: functions s(x, y) of a row for every label, the building block of logistic models and CRFs."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._pytree import noun, static
from dgjax._types import FINITE, Scorer, Support, category, in_order, num_free, possible


def _flat(weight: Array, event_ndim: int) -> Array:
    return weight.reshape(-1, math.prod(weight.shape[weight.ndim - event_ndim :]))


def _linear_scores(self: Any, x: Array) -> Array:
    """Scores (n, *labels) that are linear: features of the rows (n, f) times coefficients (k, f), all finite."""
    return (self.features(x) @ self.coefficients.T).reshape(len(x), *self.label_shape)


@noun
class Linear:
    """Linear scorer: s(x, y) = w_y . x; `weight` (*labels, d)."""

    weight: Float[Array, "*labels d"]

    def __post_init__(self) -> None:
        _parameters.check_finite(self, "weight")

    @property
    def supports(self) -> tuple[Support, ...]:
        return (FINITE,)

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

    def features(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return x

    @property
    def coefficients(self) -> Float[Array, "k d"]:
        return _flat(self.weight, 1)

    scores = _linear_scores

    def penalty(self) -> Float[Array, ""]:
        return (self.weight**2).sum()


@noun
class DiagonalQuadratic:
    """Quadratic scorer, one column at a time: s(x, y) = w_y . x + q_y . x^2; `weight` and `square` (*labels, d)."""

    weight: Float[Array, "*labels d"]
    square: Float[Array, "*labels d"]

    def __post_init__(self) -> None:
        _parameters.check_same_shape(self, "weight", "square")

    @property
    def supports(self) -> tuple[Support, ...]:
        return (FINITE,)

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

    def features(self, x: Float[Array, "n d"]) -> Float[Array, "n f"]:
        return jnp.concatenate([x, x**2], -1)

    @property
    def coefficients(self) -> Float[Array, "k f"]:
        return _flat(jnp.concatenate([self.weight, self.square], -1), 1)

    scores = _linear_scores

    def penalty(self) -> Float[Array, ""]:
        return (self.weight**2).sum() + (self.square**2).sum()


@noun
class Quadratic:
    """Quadratic scorer: s(x, y) = w_y . x + sum_{i <= j} q_yij x_i x_j.

    `weight` (*labels, d), `products` (*labels, d (d + 1) / 2), ordered by rows of the upper triangle.
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
        """Quadratic scorer w . x + x^T M x, from symmetric matrices M (*labels, d, d)."""
        i, j = np.triu_indices(weight.shape[-1])
        return cls(weight, matrix[..., i, j] * jnp.where(i == j, 1, 2).astype(matrix.dtype))

    @property
    def supports(self) -> tuple[Support, ...]:
        return (FINITE,)

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

    def features(self, x: Float[Array, "n d"]) -> Float[Array, "n f"]:
        i, j = np.triu_indices(self.num_features)
        return jnp.concatenate([x, x[:, i] * x[:, j]], -1)

    @property
    def coefficients(self) -> Float[Array, "k f"]:
        return _flat(jnp.concatenate([self.weight, self.products], -1), 1)

    scores = _linear_scores

    def penalty(self) -> Float[Array, ""]:
        return (self.weight**2).sum() + (self.products**2).sum()


@noun
class LogLinear:
    """Log-linear scorer of counts: s(x, y) = sum_j x_j w_yj for x >= 0; 0 times minus infinity is 0. `weight` (*labels,
    d).
    """

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

    @property
    def supports(self) -> tuple[Support, ...]:
        return (Support("a finite number from 0", low=0),) * self.num_features


@noun
class Table:
    """Table scorer of categories: s(x, y) = sum_j w_y[j, x_j], columns being 0 to c - 1; `weight` (*labels, d, c), may
    be -inf.
    """

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
    def num_parameters(self) -> int | Array:
        """Number of free parameters: a constant for each column is the bias's, and padding at -inf for all labels is
        none.
        """
        return math.prod(self.label_shape) * num_free(possible(self.weight, len(self.label_shape)))

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        weight = self.weight.reshape(-1, *self.weight.shape[-2:])
        return kernels.table(x, weight).reshape(len(x), *self.label_shape)

    def penalty(self) -> Float[Array, ""]:
        return jnp.where(jnp.isneginf(self.weight), 0, self.weight**2).sum()

    @property
    def supports(self) -> tuple[Support, ...]:
        return (category(self.weight.shape[-1]),) * self.num_features


@noun
class Indicators:
    """Scorer of sparse binary features: s(x, y) = sum_j w_y[x_j]; a row lists its active feature indices, padded with
    -1.

    `weight` (*labels, v), may be -inf; indices go from 0 to v - 1. Rows (n, m) may have any width m, and an index that
    occurs twice counts twice. It equals `Linear` on the counts of each feature (n, v), which are never formed.

    Raises ValueError for more features than floats can index exactly, 2^24 in float32.
    """

    weight: Float[Array, "*labels v"]

    def __post_init__(self) -> None:
        most = round(2 / float(jnp.finfo(self.weight.dtype).eps))
        if self.weight.shape[-1] > most:
            raise ValueError(
                f"Indicators(weight=...) must have at most {most} features in {self.weight.dtype}, whose whole numbers "
                f"end there; got shape {self.weight.shape}. Type jax.config.update('jax_enable_x64', True)."
            )

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.weight.shape[:-1]

    @property
    def num_features(self) -> None:
        return None

    @property
    def row_cost(self) -> int:
        return math.prod(self.label_shape)

    @property
    def num_parameters(self) -> int | Array:
        return self.weight.size

    def scores(self, x: Float[Array, "n m"]) -> Float[Array, "n *labels"]:
        return kernels.indicator_scores(x, _flat(self.weight, 1)).reshape(len(x), *self.label_shape)

    def penalty(self) -> Float[Array, ""]:
        return jnp.where(jnp.isneginf(self.weight), 0, self.weight**2).sum()

    @property
    def supports(self) -> tuple[Support, ...]:
        top = self.weight.shape[-1] - 1
        words = f"the number of a feature, a whole number from 0 to {top}, or -1 for none"
        return (Support(words, low=-1, high=top, whole=True),)


@noun
class Shifted:
    """Scorer about an offset: s(x, y) = scorer(x - offset, y); the offset (d,) is constant, never trained.

    It lies where the scorer's numbers are small, which keeps their digits.
    """

    offset: Float[Array, " d"]
    scorer: Scorer

    def __post_init__(self) -> None:
        if self.num_features not in (None, *self.offset.shape):
            raise ValueError(
                f"Shifted expects an offset (d,) for the scorer's {self.num_features} features; got shape "
                f"{self.offset.shape}."
            )

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.scorer.label_shape

    @property
    def num_features(self) -> int | None:
        return self.scorer.num_features

    @property
    def row_cost(self) -> int:
        return self.scorer.row_cost

    @property
    def num_parameters(self) -> int | Array:
        return self.scorer.num_parameters

    @property
    def features(self) -> Callable[[Array], Array]:
        inner = self.scorer.features  # type: ignore[attr-defined]
        return lambda x: inner(x - jax.lax.stop_gradient(self.offset))

    @property
    def coefficients(self) -> Float[Array, "k f"]:
        return self.scorer.coefficients  # type: ignore[attr-defined]

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return self.scorer.scores(x - jax.lax.stop_gradient(self.offset))

    def penalty(self) -> Float[Array, ""]:
        return self.scorer.penalty()

    @property
    def supports(self) -> tuple[Support, ...]:
        return self.scorer.supports


@noun
class ColumnScorers:
    """Sum of scorers on blocks of columns: s(x, y) = sum_i scorers_i(x[columns_i], y)."""

    scorers: tuple[Scorer, ...]
    columns: tuple[tuple[int, ...], ...] = static()

    def __post_init__(self) -> None:
        widths = [scorer.num_features for scorer in self.scorers]
        right = len(widths) == len(self.columns) > 0
        right = right and all(w in (None, len(of)) for w, of in zip(widths, self.columns, strict=True))
        if not right or sorted(sum(self.columns, ())) != list(range(self.num_features)):
            raise ValueError(
                f"ColumnScorers expects columns for each scorer, as many as it has features, each column once; got "
                f"{self.columns} for scorers of {widths} features."
            )

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
    def num_parameters(self) -> int | Array:
        return sum(scorer.num_parameters for scorer in self.scorers)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        parts = zip(self.scorers, self.columns, strict=True)
        return sum((scorer.scores(x[:, jnp.array(columns)]) for scorer, columns in parts), start=jnp.zeros((), x.dtype))

    def penalty(self) -> Float[Array, ""]:
        return sum((scorer.penalty() for scorer in self.scorers), start=jnp.zeros(()))

    @property
    def supports(self) -> tuple[Support, ...]:
        return in_order(self.columns, [scorer.supports for scorer in self.scorers])


@noun
class LatentScorer:
    """Scorer with hidden components: s(x, y) = log sum_z exp(bias_yz + s(x, y, z)); `bias` (*labels, m), scorer
    (*labels, m).

    The discriminative twin of a mixture within each label.
    """

    bias: Float[Array, "*labels m"]
    scorer: Scorer

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.bias.shape[:-1]

    @property
    def num_features(self) -> int | None:
        return self.scorer.num_features

    @property
    def row_cost(self) -> int:
        return self.scorer.row_cost

    @property
    def num_parameters(self) -> int | Array:
        return self.bias.size + self.scorer.num_parameters

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return kernels.logsumexp(self.bias + self.scorer.scores(x))

    def penalty(self) -> Float[Array, ""]:
        return self.scorer.penalty()

    @property
    def supports(self) -> tuple[Support, ...]:
        return self.scorer.supports
