"""Scorers: functions s(x, y) of a row for every label, the building block of logistic models and CRFs."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._pytree import dataclass, expect_rows, static
from dgjax._types import AMOUNT, COUNT, Rows, Scorer, Support, category, in_order, num_free, possible
from dgjax.structures import PASSES, Chain, Sequences, of_each_label


class Weighted(Scorer):
    """Scorer of one field `weight`, (*labels, d) or, with `event_ndim` 2, (*labels, d, c)."""

    event_ndim: ClassVar[int] = 1
    weight: Float[Array, "..."]

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.weight.shape[: -self.event_ndim]

    @property
    def num_features(self) -> int | None:
        return self.weight.shape[-self.event_ndim]

    def _flat(self) -> Float[Array, "k *f"]:
        """Weights with labels in one axis, as the kernels take them."""
        return self.weight.reshape(-1, *self.weight.shape[len(self.label_shape) :])


class Polynomial(Weighted):
    """Scorer that is linear in finite weights, fields (*labels, f_i) for features of the columns, in their order."""

    @property
    def row_cost(self) -> int:
        return sum(own.shape[-1] for own in jax.tree.leaves(self)) + math.prod(self.label_shape)

    @property
    def linear(self) -> bool:
        return True

    @property
    def coefficients(self) -> Float[Array, "k f"]:
        weights = jnp.concatenate(jax.tree.leaves(self), -1)
        return weights.reshape(-1, weights.shape[-1])

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return (self.features(x) @ self.coefficients.T).reshape(len(x), *self.label_shape)


@dataclass
class Linear(Polynomial):
    """Linear scorer: s(x, y) = w_y . x; `weight` (*labels, d).

    Raises ValueError if a weight is infinite.
    """

    weight: Float[Array, "*labels d"]

    def __post_init__(self) -> None:
        _parameters.check_finite(self, "weight")

    def features(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return x


@dataclass
class DiagonalQuadratic(Polynomial):
    """Quadratic scorer, one column at a time: s(x, y) = w_y . x + q_y . x^2.

    `weight` w and `square` q (*labels, d).

    Raises ValueError if their shapes differ.
    """

    weight: Float[Array, "*labels d"]
    square: Float[Array, "*labels d"]

    def __post_init__(self) -> None:
        _parameters.check_same_shape(self, "weight", "square")

    def features(self, x: Float[Array, "n d"]) -> Float[Array, "n f"]:
        return jnp.concatenate([x, x**2], -1)


@dataclass
class Quadratic(Polynomial):
    """Quadratic scorer: s(x, y) = w_y . x + sum_{i <= j} q_yij x_i x_j.

    `weight` (*labels, d), `products` (*labels, d (d + 1) / 2), ordered by rows of the upper triangle.

    Raises ValueError if the shapes do not fit together.
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

    def features(self, x: Float[Array, "n d"]) -> Float[Array, "n f"]:
        i, j = np.triu_indices(self.weight.shape[-1])
        return jnp.concatenate([x, x[:, i] * x[:, j]], -1)


@dataclass
class LogLinear(Weighted):
    """Log-linear scorer of counts: s(x, y) = sum_j x_j w_yj, where 0 times minus infinity is 0; `weight` (*labels, d).

    `whole` says that counts are whole numbers, as Poisson's are and a multinomial's need not be. Inside `jit` a row
    with another cell, a negative or an infinite one, scores minus infinity for every label.
    """

    weight: Float[Array, "*labels d"]
    whole: bool = static(default=True)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        count = (kernels.is_count if self.whole else kernels.is_amount)(x) | jnp.isnan(x)
        scores = kernels.log_linear(jnp.where(count, x, 0), self._flat())
        return jnp.where(count.all(-1, keepdims=True), scores, -jnp.inf).reshape(len(x), *self.label_shape)

    @property
    def supports(self) -> tuple[Support, ...]:
        return (COUNT if self.whole else AMOUNT,)


@dataclass
class CategoryWeights(Weighted):
    """Table scorer of categories: s(x, y) = sum_j w_y[j, x_j].

    `weight` (*labels, d, c), may be -inf; cells of the d columns are categories 0 to c - 1.
    """

    event_ndim = 2
    weight: Float[Array, "*labels d c"]

    @property
    def row_cost(self) -> int:
        return math.prod(self.weight.shape[-2:]) + math.prod(self.label_shape)

    @property
    def num_parameters(self) -> int | Array:
        """Number of free parameters, up to constants and padding.

        A constant for each column is the bias's, and padding at -inf for all labels is none.
        """
        return math.prod(self.label_shape) * num_free(possible(self.weight, len(self.label_shape)))

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return kernels.table(x, self._flat()).reshape(len(x), *self.label_shape)

    @property
    def supports(self) -> tuple[Support, ...]:
        return (category(self.weight.shape[-1]),)


@dataclass
class Indicators(Weighted):
    """Scorer of sparse binary features: s(x, y) = sum_j w_y[x_j], over the indices x_j of active features.

    A row lists its active feature indices, padded with -1. `weight` (*labels, v), may be -inf; indices go from 0 to v -
    1. Rows (n, m) may have any width m, and an index that occurs twice counts twice. It equals `Linear` on the counts
    of each feature (n, v), which are never formed.

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
    def num_features(self) -> None:
        return None

    def scores(self, x: Float[Array, "n m"]) -> Float[Array, "n *labels"]:
        return kernels.indicator_scores(x, self._flat()).reshape(len(x), *self.label_shape)

    @property
    def supports(self) -> tuple[Support, ...]:
        top = self.weight.shape[-1] - 1
        words = f"the number of a feature, a whole number from 0 to {top}, or -1 for none"
        return (Support(words, low=-1, high=top, whole=True),)


class OfScorer(Scorer):
    """Scorer made of another, of which it has columns, costs, penalty and supports."""

    scorer: Scorer

    @property
    def num_features(self) -> int | None:
        return self.scorer.num_features

    @property
    def sequential(self) -> bool:
        return self.scorer.sequential

    @property
    def row_cost(self) -> int:
        return self.scorer.row_cost

    def penalty(self) -> Float[Array, ""]:
        return self.scorer.penalty()

    @property
    def supports(self) -> tuple[Support, ...]:
        return self.scorer.supports


@dataclass
class Shifted(OfScorer):
    """Scorer about an offset: s(x, y) = scorer(x - offset, y); the offset (d,) is constant, never trained.

    It lies where the scorer's numbers are small, which keeps their digits.

    Raises ValueError if the offset has another number of columns than the scorer.
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
    def num_parameters(self) -> int | Array:
        return self.scorer.num_parameters

    @property
    def linear(self) -> bool:
        return self.scorer.linear

    @property
    def coefficients(self) -> Float[Array, "k f"]:
        return self.scorer.coefficients

    def features(self, x: Float[Array, "n d"]) -> Float[Array, "n f"]:
        return self.scorer.features(x - jax.lax.stop_gradient(self.offset))

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return self.scorer.scores(x - jax.lax.stop_gradient(self.offset))


@dataclass
class ColumnScorers(Scorer):
    """Sum of scorers on blocks of columns: s(x, y) = sum_i scorers_i(x[columns_i], y).

    Raises ValueError if `columns` does not hold each column number once, or as many for each scorer as it has features.
    """

    scorers: tuple[Scorer, ...]
    columns: tuple[tuple[int, ...], ...] = static()

    def __post_init__(self) -> None:
        for scorer in self.scorers:
            expect_rows(self, scorer, "scorer")
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


@dataclass
class LatentScorer(OfScorer):
    """Scorer with hidden components: s(x, y) = log sum_z exp(bias_yz + s(x, y, z)).

    `bias` (*labels, m), scorer of labels (*labels, m). The discriminative twin of a mixture within each label.
    """

    bias: Float[Array, "*labels m"]
    scorer: Scorer

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.bias.shape[:-1]

    @property
    def num_parameters(self) -> int | Array:
        return self.bias.size + self.scorer.num_parameters

    def scores(self, x: Rows) -> Float[Array, "n *labels"]:
        return kernels.logsumexp(self.bias + self.scorer.scores(x))


@dataclass
class LatentChain(OfScorer):
    """Scorer of sequences with hidden paths z: s(x, y) = log sum_z exp(score of z under the label y).

    A path scores initial_{y, z_0} + sum_s s(x_s, y, z_s) + sum_s transition_{y, z_s, z_{s+1}}, with `initial` (*labels,
    k), `transition` (*labels, k, k) and a scorer of rows with labels (*labels, k). In a `Logistic` model it is the
    hidden-state conditional random field: the discriminative twin of a hidden Markov model for each class.

    Raises ValueError if the shapes do not fit together.
    Source: Quattoni, Wang, Morency, Collins and Darrell (2007), Hidden conditional random fields.
    """

    initial: Float[Array, "*labels k"]
    transition: Float[Array, "*labels k k"]
    scorer: Scorer

    def __post_init__(self) -> None:
        expect_rows(self, self.scorer, "scorer")
        own = self.scorer.label_shape
        if not own or (self.initial.shape, self.transition.shape) != (own, (*own, own[-1])):
            raise ValueError(
                f"LatentChain expects initial (*labels, k), transition (*labels, k, k) and a scorer with labels "
                f"(*labels, k); got shapes {self.initial.shape}, {self.transition.shape} and labels {own}."
            )
        _parameters.check_possible(self, "initial")

    @property
    def sequential(self) -> bool:
        return True

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.initial.shape[:-1]

    @property
    def row_cost(self) -> int:
        return self.scorer.row_cost + PASSES * self.initial.size

    @property
    def num_parameters(self) -> int | Array:
        return sum(jnp.isfinite(own).sum() for own in (self.initial, self.transition)) + self.scorer.num_parameters

    def penalty(self) -> Float[Array, ""]:
        return self.scorer.penalty() + jnp.sum(jnp.where(jnp.isfinite(self.transition), self.transition, 0) ** 2)

    def moved(self, bias: Float[Array, "*labels k"], scorer: Scorer) -> "LatentChain":
        """The scorer with another of rows, and a bias of each state that is added wherever a path enters it."""
        return type(self)(self.initial + bias, self.transition + bias[..., None, :], scorer)

    def scores(self, x: Sequences) -> Float[Array, "n *labels"]:
        scores = x.in_steps(self.scorer.scores(x.in_rows()))
        return of_each_label(Chain.log_partition, (0,), self.initial, self.transition, scores, x.lengths)
