"""Exponential families of independent columns: log p(x | y) = <T(x), theta_y> + h(x); a missing cell adds 0 to T.

For every such family scores, sufficient statistics, the E-step, marginals, imputation and the conjugate prior follow
from theta. A prior is pseudo-statistics: its log density is their score, and the M-step adds them.
"""

import dataclasses
import functools
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._types import LabelIndex, Support
from dgjax.densities import _shared
from dgjax.densities._base import Density
from dgjax.priors import expect_prior
from dgjax.scorers import CategoryWeights


class Family(NamedTuple):
    """Kernels of a family: scores (n, k), statistics (k, d, s) and E-step.

    Of rows (n, d) and natural parameters (k, d, s). Statistics are summed under responsibilities (n, k). An E-step of
    None is composed of scores and statistics. `complete` are kernels for rows that are known to miss no cell, where
    there are any; None for the same kernels.
    """

    scores: Callable[..., Array]
    statistics: Callable[..., Array]
    expectation: Callable[..., Any] | None = None
    complete: Any = None


def family_of(cell_statistics: Callable[[Array], tuple[Array, ...]]) -> Family:
    """Kernels of a family from its sufficient statistics of a cell, `cell_statistics(x)`: s arrays in x's shape.

    Scores and statistics are plain matrix products of these with the natural parameters.
    """

    def observed(x):
        missing = jnp.isnan(x)
        return [jnp.where(missing, 0, own) for own in cell_statistics(jnp.where(missing, 0, x))]

    def scores(x, theta):
        return functools.reduce(jnp.add, (own @ theta[..., i].T for i, own in enumerate(observed(x))))

    def statistics(x, counts, theta):
        del theta
        return jnp.stack([kernels.weighted_sums(own, counts) for own in observed(x)], -1)

    return Family(scores, statistics)


class Independent(Density):
    """Density of independent columns of one exponential family, derived from its natural parameter and a few members.

    The dataclass has one field of parameters, (*labels, d) or, with `event_ndim` 2, (*labels, d, c).

    Raises ValueError if the parameters have fewer axes than an event.
    """

    family: ClassVar[Family]
    conjugate: ClassVar[type]
    support: ClassVar[Support]
    event_ndim: ClassVar[int] = 1
    _of_sums: ClassVar[Any] = None
    """Sufficient statistics, as a function of the number of observed cells and their sum; None if they take more."""

    def __post_init__(self) -> None:
        if self._parameter.ndim < self.event_ndim:
            (field,), axes = dataclasses.fields(cast(Any, self)), ", ".join(("d", "c")[: self.event_ndim])
            name, shape = type(self).__name__, self._parameter.shape
            raise ValueError(f"{name} expects {field.name} (*labels, {axes}); got shape {shape}.")

    @abstractmethod
    def natural_parameter(self) -> Float[Array, "*labels d s"]:
        """Natural parameter theta (*labels, d, s): the coefficients of a cell's s sufficient statistics."""

    @abstractmethod
    def maximizer(self, statistics: Float[Array, "*labels d s"]) -> Any:
        """M-step without prior: argmax over parameters of <statistics, theta>; unchanged where the statistics are 0."""

    @abstractmethod
    def centre(self, posterior: Float[Array, "n k"]) -> Float[Array, "n d"]:
        """Mean of each cell (n, d), or mode if discrete, in the mixture of labels with weights `posterior` (n, k)."""

    @property
    def _parameter(self) -> Any:
        return jax.tree.leaves(self)[0]  # anything that JAX puts there

    def _flat(self) -> Float[Array, "k d *s"]:
        """Parameters as the kernels take them: natural parameters, with labels in one axis (k, d, ...)."""
        return _shared.flat(self.natural_parameter(), self.label_shape)

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self._parameter.shape[: -self.event_ndim]

    @property
    def num_features(self) -> int:
        return self._parameter.shape[-self.event_ndim]

    @property
    def num_parameters(self) -> int | Array:
        return self._parameter.size

    @property
    def score_cost(self) -> int:
        return math.prod(self.label_shape)

    @property
    def supports(self) -> tuple[Support, ...]:
        return (self.support,) * self.num_features

    @property
    def _kernels(self) -> Family:
        return self.family.complete if self.complete and self.family.complete is not None else self.family

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return self._kernels.scores(x, self._flat()).reshape(len(x), *self.label_shape)

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        return _shared.fill(x, jax.vmap(self.sample)(keys, at))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        return _shared.fill(x, self.centre(_shared.rows_by_labels(posterior)))

    def marginal(self, columns: tuple[int, ...]) -> Any:
        return jax.tree.map(lambda leaf: _shared.picked(leaf, columns, -self.event_ndim), self)

    def statistics(self, x: Float[Array, "n d"], counts: Float[Array, "n *labels"]) -> Float[Array, "*labels d s"]:
        sums = self._kernels.statistics(x, _shared.rows_by_labels(counts), self._flat())
        return sums.reshape(*self.label_shape, *sums.shape[1:])

    def expectation(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], weights: Float[Array, " n"], log_weights: Float[Array, " k"]
    ) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "k d s"]]:
        if self._kernels.expectation is None:
            return super().expectation(x, y, weights, log_weights)
        return self._kernels.expectation(x, y, weights, log_weights, self._flat())

    def labelled(self, x: Any, y: Int[Array, " n"], weights: Float[Array, " n"]) -> tuple[Float[Array, " k"], Any]:
        if self._of_sums is None:
            return super().labelled(x, y, weights)
        counts, (cells, total, _) = _shared.labelled_moments(x, y, weights, jnp.zeros_like(self._parameter))
        return counts, jnp.stack(self._of_sums(cells, total), -1)

    def maximum(self, statistics: Float[Array, "*labels d s"], prior: Any = None) -> Any:
        expect_prior(prior, self.conjugate, self)
        return self.maximizer(statistics if prior is None else statistics + self._pseudo_statistics(prior))

    def log_prior(self, prior: Any) -> Float[Array, ""]:
        expect_prior(prior, self.conjugate, self)
        if prior is None:
            return jnp.zeros((), self._parameter.dtype)
        pseudo = self._pseudo_statistics(prior)
        return jnp.where(pseudo == 0, 0, pseudo * self.natural_parameter()).sum()

    def _pseudo_statistics(self, prior: Any) -> Array:
        """Pseudo-statistics (*labels, d, s) that the conjugate prior adds to the statistics."""
        return prior.pseudo_statistics()


class Tabular(Independent):
    """Density of columns with few values: theta is a table of log-probabilities, statistics count each value."""

    family = Family(
        kernels.table,
        kernels.table_statistics,
        kernels.table_expectation,
        Family(kernels.complete_table, kernels.table_statistics, kernels.complete_table_expectation),
    )

    def kernel(self) -> kernels.Pass:
        return kernels.Pass("table", (self._flat(),))

    @property
    def row_cost(self) -> int:
        values = 2 if self.event_ndim == 1 else self._parameter.shape[-1]  # from the shape: it is asked at every call
        return self.num_features * values + self.score_cost

    def centre(self, posterior: Float[Array, "n k"]) -> Float[Array, "n d"]:
        """Most probable value of each cell (n, d), in the mixture of labels with weights `posterior` (n, k)."""
        p = jnp.exp(self._flat())
        return (posterior @ p.reshape(len(p), -1)).reshape(-1, *p.shape[1:]).argmax(-1).astype(posterior.dtype)

    def discriminative(self) -> tuple[Float[Array, "*labels"], CategoryWeights]:
        """Discriminative twin: a table of the log-probability of each value, a bias of 0.

        Both log-probabilities of a binary column are kept: their difference alone fails where p is 0 or 1.
        """
        return jnp.zeros(self.label_shape, self._parameter.dtype), CategoryWeights(self.natural_parameter())
