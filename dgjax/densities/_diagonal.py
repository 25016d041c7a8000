"""Normal densities with independent columns, diagonal and spherical: log p(x) = sum_j log N(x_j; mean_j, scale_j^2).

The idea of learning. Cells are whitened with the parameters at hand, z = (x - mean) / scale, so that no digit is lost
to the columns' units or offsets, and the M-step corrects these parameters:

    E-step   sums over observed cells of c, c z and c z^2, c responsibilities
    M-step   shift = sum c z / sum c,  v = sum c (z - shift)^2 / sum c         mean + scale shift,  scale sqrt(v)

At a fixed point the shift is 0 and v is 1. A scale waits for one step where its mean moved so far that v is rounding
only.
"""

import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._pytree import dataclass
from dgjax._twins import LogDensity
from dgjax._types import FINITE, ColumnMoments, LabelIndex, Support
from dgjax.densities import _shared
from dgjax.densities._base import Density
from dgjax.densities._rank import Normal
from dgjax.priors import NormalInverseGamma, expect_prior
from dgjax.scorers import DiagonalQuadratic, Linear, Shifted


class DiagonalStatistics(NamedTuple):
    """Sufficient statistics of observed cells: sums of c, c z and c z^2, (*labels, d) each, c responsibilities.

    z = (x - mean) / scale. Sums of c z^2 are over all columns too, (*labels, 1), where these share a scale; except in
    `labelled`, where they are not yet.
    """

    total: Float[Array, "*labels d"]
    first: Float[Array, "*labels d"]
    second: Float[Array, "*labels #d"]


@dataclass
class DiagonalGaussian(Density):
    """Normal density with independent columns: log p(x) = sum_j log N(x_j; mean_j, exp(log_scale_j)^2).

    `mean` (*labels, d); `log_scale` (*labels, d), the log standard deviation, or (*labels, 1) if all columns share it
    (spherical). Labels whose axes `log_scale` lacks share it. A missing cell (NaN) adds 0.

    Raises ValueError if the shapes do not fit together.
    """

    labels_off: ClassVar[bool] = True

    mean: Float[Array, "*labels d"]
    log_scale: Float[Array, "*_ c"]

    def __post_init__(self) -> None:
        d = self.mean.shape[-1] if self.mean.ndim else 0
        if not self.mean.ndim or not self.log_scale.ndim or self.log_scale.shape[-1] not in (d, 1):
            raise ValueError(
                f"DiagonalGaussian expects mean (*labels, d) and log_scale (*labels, d), or (*labels, 1) for spherical;"
                f" got shapes {self.mean.shape} and {self.log_scale.shape}."
            )
        _shared.check_label_axes(self, "log_scale", self.log_scale.shape[:-1], self.label_shape)
        _parameters.check_finite(self, "mean", "log_scale")

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.mean.shape[:-1]

    @property
    def num_features(self) -> int:
        return self.mean.shape[-1]

    @property
    def row_cost(self) -> int:
        return self.mean.size

    @property
    def score_cost(self) -> int:
        return math.prod(self.label_shape)

    @property
    def num_parameters(self) -> int:
        return self.mean.size + self.log_scale.size

    def normals(self) -> tuple[Normal, ...]:
        return (Normal(self.mean, tuple(range(self.num_features)), log_scale=self.log_scale),)

    def _log_scale(self) -> Array:
        """Log-scales (*labels, d) of every label and column."""
        own = self.log_scale.ndim - 1
        spread = jnp.expand_dims(self.log_scale, tuple(range(own, self.mean.ndim - 1)))
        return jnp.broadcast_to(spread, self.mean.shape)

    def _shared_sum(self, cells: Array) -> Array:
        """Sum of cells (*labels, d) over the labels and columns that share a scale, in the shape of log_scale."""
        own = self.log_scale.ndim - 1
        summed = cells.sum(axis=tuple(range(own, self.mean.ndim - 1)))
        return summed.sum(-1, keepdims=True) if self.log_scale.shape[-1] == 1 else summed

    def _cells_per_scale(self, on: Any = None) -> Any:
        """Number of a row's cells that a scale is for, of labels that are `on`, in the shape of log_scale."""
        cells = self.mean.size // self.log_scale.size
        if on is None:
            return np.full(self.log_scale.shape, cells)
        return self._shared_sum(jnp.broadcast_to(on[..., None], self.mean.shape).astype(int))

    def with_labels(self, k: int) -> "DiagonalGaussian":
        """Density of k labels in place of its own (k',): the first k, or all and copies of the first."""
        return _shared.with_labels(self, k, mean=True, log_scale=self.log_scale.ndim > 1)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return kernels.diagonal(x, *self._flat()).reshape(len(x), *self.label_shape)

    def _flat(self) -> tuple[Array, Array]:
        """Parameters as the kernels take them: mean (k, d), and log_scale (k, d), or (k, 1) where columns share it."""
        log_scale = self._log_scale()[..., : self.log_scale.shape[-1]]
        return _shared.flat(self.mean, self.label_shape), _shared.flat(log_scale, self.label_shape)

    def kernel(self) -> kernels.Pass:
        return kernels.Pass("diagonal", self._flat())

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        labels = _shared.flat_index(at, self.label_shape)
        mean, scale = (
            _shared.flat(self.mean, self.label_shape),
            jnp.exp(_shared.flat(self._log_scale(), self.label_shape)),
        )
        return kernels.diagonal_draws(key, labels.reshape(-1), mean, scale).reshape(*labels.shape, self.num_features)

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        return _shared.fill(x, jax.vmap(self.sample)(keys, at))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        return _shared.fill(x, _shared.rows_by_labels(posterior) @ _shared.flat(self.mean, self.label_shape))

    def marginal(self, columns: tuple[int, ...]) -> "DiagonalGaussian":
        own = self.log_scale.shape[-1] > 1
        log_scale = _shared.picked(self.log_scale, columns) if own else self.log_scale
        return type(self)(_shared.picked(self.mean, columns), log_scale)

    def discriminative(self) -> tuple[Float[Array, "*labels"], Shifted | LogDensity]:
        """Discriminative twin: quadratic in each column, or linear where all labels share the scales (x^2 cancels)."""
        if self.log_scale.ndim == 1:
            return self.expanded()
        return jnp.zeros(self.label_shape, self.mean.dtype), LogDensity(self)

    def expanded(self) -> tuple[Float[Array, "*labels"], Shifted]:
        """Discriminative twin as a bias (*labels,) and a scorer linear in its weights, about the mean of the means."""
        log_scale = self._log_scale()
        offset = jax.lax.stop_gradient(self.mean.reshape(-1, self.num_features).mean(0))
        z = self._whitened(offset)
        bias = -(0.5 * z**2 + log_scale).sum(-1)
        weight = kernels.in_units(z, log_scale)
        if self.log_scale.ndim == 1:
            return bias, Shifted(offset, Linear(weight))
        return bias, Shifted(offset, DiagonalQuadratic(weight, -0.5 * jnp.exp(-2 * log_scale)))

    def statistics(self, x: Float[Array, "n d"], counts: Float[Array, "n *labels"]) -> DiagonalStatistics:
        sums = kernels.diagonal_statistics(x, _shared.rows_by_labels(counts), *self._flat())
        return DiagonalStatistics(*(s.reshape(*self.label_shape, -1) for s in sums))

    def expectation(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], weights: Float[Array, " n"], log_weights: Float[Array, " k"]
    ) -> tuple[Float[Array, ""], Float[Array, " k"], DiagonalStatistics]:
        value, counts, sums = kernels.diagonal_expectation(x, y, weights, log_weights, *self._flat())
        return value, counts, DiagonalStatistics(*sums)

    def labelled(
        self, x: Float[Array, "n d"] | kernels.LabelledSummary, y: Int[Array, " n"], weights: Float[Array, " n"]
    ) -> tuple[Float[Array, " k"], DiagonalStatistics]:
        counts, sums = _shared.labelled_moments(x, y, weights, self.mean, self._log_scale())
        return counts, DiagonalStatistics(*sums)

    def maximum(
        self,
        statistics: DiagonalStatistics,
        prior: NormalInverseGamma | None = None,
        on: Bool[Array, "*labels"] | None = None,
    ) -> "DiagonalGaussian":
        expect_prior(prior, NormalInverseGamma, self)
        total, first, second = statistics
        count, pull = (0, 0) if prior is None else (prior.mean_count, -self._whitened(prior.mean))
        if on is not None:
            pull = jnp.where(on[..., None], pull, 0)
        shift = _shared.ratio(first + count * pull, total + count, 0)
        scatter = self._shared_sum(total * shift**2 - 2 * shift * first + count * (shift - pull) ** 2)
        raw, cells = self._shared_sum(second), self._shared_sum(total)
        scatter = scatter + raw
        if prior is not None:
            rate = self._whitened_rate(prior)
            scatter, raw = scatter + 2 * rate, raw + 2 * rate
            cells = cells + 2 * prior.shape + 2 + self._cells_per_scale(on)
        # What is left of the squares about the old mean is never less than their rounding.
        least = float(jnp.finfo(raw.dtype).eps) * raw
        variance = _shared.ratio(jnp.maximum(scatter, least), cells, 1)
        # A mean that moved very far keeps its scale for one step, rather than lose it to rounding.
        moved = _shared.ratio(self._shared_sum(total * shift**2), cells, 0)
        far = (moved > 1) & ~(moved <= _shared.kept_digits(total.dtype) * variance)
        stays = far if on is None else far | (self._cells_per_scale(on) == 0)
        log_scale = self.log_scale + 0.5 * jnp.log(jnp.where(stays, 1, variance))
        half = jnp.exp(0.5 * self._log_scale())
        return type(self)(self.mean + shift * half * half, log_scale)

    def recentred(
        self, statistics: DiagonalStatistics, before: Any, prior: NormalInverseGamma | None = None
    ) -> DiagonalStatistics:
        """Statistics of w = (x - mean) / scale from those of z = (x - mean_0) / scale_0, w = a z + b."""
        del prior
        total, first, second = statistics
        a = jnp.exp(before._log_scale() - self._log_scale())
        b = kernels.in_units(before.mean - self.mean, self._log_scale())
        moved = 2 * a * b * first + total * b**2
        moved = moved if second.shape == moved.shape else moved.sum(-1, keepdims=True)
        return DiagonalStatistics(total, a * first + total * b, a[..., : second.shape[-1]] ** 2 * second + moved)

    def _whitened(self, centre: Array) -> Array:
        """Whitened distance (mean - centre) / scale (*labels, d)."""
        return kernels.in_units(self.mean - centre, self._log_scale())

    def _whitened_rate(self, prior: NormalInverseGamma) -> Array:
        """Inverse-gamma rate over this density's variances: rate * (unit / scale)^2, scale = exp(log_scale).

        `unit` is the prior's, 1 where it has none. The result has the shape in which `rate` and `log_scale` broadcast.
        """
        unit = jnp.ones((), self.mean.dtype) if prior.unit is None else prior.unit
        return prior.rate * kernels.in_units(unit, self.log_scale) ** 2

    def converged_in_one_step(self, before: Any) -> Bool[Array, ""]:
        """True if another M-step would change nothing: statistics whitened by `before` lost no digits.

        That is, no mean moved far in units of the new scale, and no variance shrank by more than a factor of 10.
        """
        z = self._whitened(before.mean)
        narrowed = before._log_scale() - self._log_scale()
        return (_shared.digits_kept(z**2, narrowed == 0) & (narrowed <= 0.5 * math.log(10))).all()

    def log_prior(self, prior: NormalInverseGamma | None, on: Bool[Array, "*labels"] | None = None) -> Float[Array, ""]:
        expect_prior(prior, NormalInverseGamma, self)
        if prior is None:
            return jnp.zeros((), self.mean.dtype)
        z, cells = self._whitened(prior.mean), self._cells_per_scale(on)
        z = z if on is None else jnp.where(on[..., None], z, 0)
        each = (2 * prior.shape + 2 + cells) * self.log_scale + self._whitened_rate(prior)
        return -0.5 * prior.mean_count * (z**2).sum() - jnp.where(cells > 0, each, 0).sum()

    def weak_prior(
        self, columns: ColumnMoments, strength: float | Float[Array, ""], on: Bool[Array, "*labels"] | None = None
    ) -> NormalInverseGamma:
        mean, spread = columns.mean, _shared.spread(columns.spread)
        spherical = self.log_scale.shape[-1] == 1
        cells = strength * (math.prod(self.mean.shape[-1:]) if spherical else 1)
        spread = _shared.root_mean_square(spread)[None] if spherical else spread
        unit = _shared.prior_unit(spread)
        shape = jnp.asarray((cells - 2 - self._cells_per_scale(on).max()) / 2, mean.dtype)
        count = jnp.asarray(strength, mean.dtype)
        return NormalInverseGamma(mean, count, shape, cells * (spread / unit) ** 2 / 2, unit)

    def started(
        self,
        key: Key[Array, ""],
        x: Float[Array, "n d"],
        counts: Float[Array, "n *labels"],
        random: bool = False,
        on: Bool[Array, "*labels"] | None = None,
    ) -> "DiagonalGaussian":
        """Initial parameters for EM: means and variances of each label's rows, with a pseudo-row for each label `on`.

        The pseudo-rows have the columns' standard deviations within labels.
        """
        del key, random
        means, spread = _shared.moments_of_clusters(x, _shared.rows_by_labels(counts), self.complete)
        spread = _shared.root_mean_square(spread)[None] if self.log_scale.shape[-1] == 1 else spread
        log_scale = jnp.broadcast_to(jnp.log(spread), self.log_scale.shape)
        start = type(self)(means.reshape(self.mean.shape), log_scale)
        total, first, second = start.statistics(x, counts)
        pseudo = 1 if on is None else on[..., None]
        squares = pseudo * (total.shape[-1] // second.shape[-1])
        return start.maximum(DiagonalStatistics(total + pseudo, first, second + squares))

    @property
    def supports(self) -> tuple[Support, ...]:
        return (FINITE,) * self.num_features
