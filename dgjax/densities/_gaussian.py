"""Multivariate normal densities, full or tied: log N(x; mean, L L^T), L the lower Cholesky factor of a covariance.

The idea of learning. Rows are whitened with the parameters at hand, u = L^-1 (x - mean), so that no digit is lost to
the columns' units, offsets or condition, and the M-step corrects these parameters:

    E-step   sums over rows of c, c E[u] and c E[u u^T], c responsibilities, E over the missing cells
    M-step   shift = sum c E[u] / sum c                               mean + L shift
             S = sum c E[(u - shift)(u - shift)^T] / sum c            L times the Cholesky factor of S

At a fixed point the shift is 0 and S the identity. What rounding can do to S is met by three decisions: its diagonal is
raised by what its terms were rounded by (`_factored`); L waits for one step where means moved so far that nothing of S
is left (`_digits_lost`); and no pivot of L falls below half the rounding tolerance of its column (`_rank.at_least`).
Whether a fitted factor has spread in every direction is then decided by `_rank`.
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
from dgjax.densities import _rank, _shared
from dgjax.densities._base import Density
from dgjax.priors import NormalInverseWishart, expect_prior
from dgjax.scorers import Linear, Quadratic, Shifted


class GaussianStatistics(NamedTuple):
    """Sufficient statistics in whitened u, x = mean + L u: sums of c, c u and c u u^T, c responsibilities."""

    total: Float[Array, "g m"]
    first: Float[Array, "g m d"]
    second: Float[Array, "g d d"]
    symmetric = ("second",)  # of which shards send one triangle


@dataclass
class Gaussian(Density):
    """Multivariate normal density: log N(x; mean, L L^T) = -|L^-1 (x - mean)|^2 / 2 - log |L| - d log(2 pi) / 2.

    `mean` (*labels, d); `scale_tril` (*labels, d, d) is the lower Cholesky factor L of each covariance, or (d, d) for
    one that all labels share. With nested labels (k, m), (k, d, d) is shared by the m labels within each of the k.
    Missing cells (NaN) are marginalised exactly, whatever the pattern.

    Raises ValueError if the shapes do not fit together, or if numbers stand above the diagonal, as in a covariance.
    """

    labels_off: ClassVar[bool] = True

    mean: Float[Array, "*labels d"]
    scale_tril: Float[Array, "*_ d d"]

    def __post_init__(self) -> None:
        d = self.mean.shape[-1] if self.mean.ndim else 0
        if self.mean.ndim < 1 or self.scale_tril.shape[-2:] != (d, d):
            raise ValueError(
                f"Gaussian expects mean (*labels, d) and scale_tril (*labels, d, d) or (d, d); got shapes "
                f"{self.mean.shape} and {self.scale_tril.shape}."
            )
        _shared.check_label_axes(self, "scale_tril", self.scale_tril.shape[:-2], self.label_shape)
        _parameters.check_finite(self, "mean", "scale_tril")
        _parameters.check_factor(self, "scale_tril")

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.mean.shape[:-1]

    @property
    def num_features(self) -> int:
        return self.mean.shape[-1]

    @property
    def row_cost(self) -> int:
        return self.mean.size + self.scale_tril.size

    @property
    def score_cost(self) -> int:
        return math.prod(self.label_shape)

    @property
    def num_parameters(self) -> int:
        d = self.num_features
        return self.mean.size + math.prod(self.scale_tril.shape[:-2]) * d * (d + 1) // 2

    def normals(self) -> tuple[_rank.Normal, ...]:
        return (_rank.Normal(self.mean, tuple(range(self.num_features)), scale_tril=self.scale_tril),)

    def _grouped(self) -> tuple[Array, Array]:
        """Parameters as the kernels take them: mean (g, m, d) and L (g, d, d), m labels sharing each of g factors."""
        d = self.num_features
        L = self.scale_tril.reshape(-1, d, d)
        return self.mean.reshape(len(L), -1, d), L

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        scores = kernels.complete_gaussian if self.complete else kernels.gaussian
        return scores(x, *self._grouped()).reshape(len(x), *self.label_shape)

    def kernel(self) -> kernels.Pass:
        return kernels.Pass("gaussian", self._grouped())

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        labels = _shared.flat_index(at, self.label_shape)
        return kernels.gaussian_draws(key, labels.reshape(-1), *self._grouped()).reshape(
            *labels.shape, self.num_features
        )

    def _factor(self, at: LabelIndex) -> Array:
        own = at[: self.scale_tril.ndim - 2]
        L = jnp.tril(self.scale_tril)
        return L[own] if own else L

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        """Conditional samples of missing cells: a whole row is drawn, and moved by its residual's conditional mean."""
        _, L = self._grouped()
        shape = self.scale_tril.shape[:-2]
        groups = jnp.arange(len(L)).reshape(shape)[at[: len(shape)]]
        noise = jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)
        drawn = self.mean[at] + jnp.einsum("...ij,...j->...i", self._factor(at), noise)
        moved = kernels.gaussian_conditional(_residual(x, drawn), jnp.broadcast_to(groups, len(x)), L)
        return _shared.fill(x, drawn + moved)

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        """Imputation (n, d) by E[x | x_observed], linear in the mean: labels that share a factor are averaged."""
        (mean, L), n = self._grouped(), len(x)
        share = posterior.reshape(n, *mean.shape[:2])
        total = share.sum(-1)[..., None]
        centre = _shared.ratio(jnp.einsum("ngm,gmd->ngd", share, mean), total, mean[:, 0])
        groups = jnp.tile(jnp.arange(len(L)), n)
        moved = kernels.gaussian_conditional(_residual(x[:, None], centre).reshape(-1, x.shape[1]), groups, L)
        return _shared.fill(x, (total * (centre + moved.reshape(centre.shape))).sum(1))

    def marginal(self, columns: tuple[int, ...]) -> "Gaussian":
        factor = _factor_of_rows(self.scale_tril, np.array(columns))
        return type(self)(_shared.picked(self.mean, columns), factor)

    def discriminative(self) -> tuple[Float[Array, "*labels"], Shifted | LogDensity]:
        """Discriminative twin: quadratic in x, or linear where all labels share a covariance (x^T P x cancels)."""
        if self.scale_tril.ndim == 2:
            return self.expanded()
        return jnp.zeros(self.label_shape, self.mean.dtype), LogDensity(self)

    def expanded(self) -> tuple[Float[Array, "*labels"], Shifted]:
        """Discriminative twin as a bias (*labels,) and a scorer linear in its weights, about the mean of the means."""
        d = self.num_features
        mean, L = self._grouped()
        W = kernels.inverse(L)
        offset = jax.lax.stop_gradient(self.mean.reshape(-1, d).mean(0))
        whitened = jnp.einsum("gde,gme->gmd", W, mean - offset)
        weight = jnp.einsum("gde,gmd->gme", W, whitened).reshape(self.mean.shape)
        log_det = jnp.log(jnp.abs(jnp.diagonal(L, axis1=1, axis2=2))).sum(-1)
        bias = (-0.5 * (whitened**2).sum(-1) - log_det[:, None]).reshape(self.label_shape)
        if self.scale_tril.ndim == 2:
            return bias, Shifted(offset, Linear(weight))
        precision = jnp.einsum("gde,gdf->gef", W, W)[:, None]
        products = jnp.broadcast_to(precision, (*mean.shape, d)).reshape(*self.mean.shape, d)
        return bias, Shifted(offset, Quadratic.from_matrix(weight, -0.5 * products))

    def statistics(self, x: Float[Array, "n d"], counts: Float[Array, "n *labels"]) -> GaussianStatistics:
        mean, L = self._grouped()
        statistics = kernels.complete_gaussian_statistics if self.complete else kernels.gaussian_statistics
        return GaussianStatistics(*statistics(x, counts.reshape(len(x), *mean.shape[:2]), mean, L))

    def expectation(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], weights: Float[Array, " n"], log_weights: Float[Array, " k"]
    ) -> tuple[Float[Array, ""], Float[Array, " k"], GaussianStatistics]:
        mean, L = self._grouped()
        joint = log_weights.reshape(mean.shape[:2])
        expectation = kernels.complete_gaussian_expectation if self.complete else kernels.gaussian_expectation
        value, statistics = expectation(x, y, weights, joint, mean, L)
        return value, statistics[0].reshape(log_weights.shape), GaussianStatistics(*statistics)

    def with_labels(self, k: int) -> "Gaussian":
        """Density of k labels in place of its own (k',): the first k, or all and copies of the first."""
        return _shared.with_labels(self, k, mean=True, scale_tril=self.scale_tril.ndim > 2)

    def maximum(
        self,
        statistics: GaussianStatistics,
        prior: NormalInverseWishart | None = None,
        on: Bool[Array, "*labels"] | None = None,
    ) -> "Gaussian":
        """M-step in whitened coordinates: mean + L shift, and L times the Cholesky factor of the whitened scatter.

        At a fixed point of EM the shift is 0 and the factor the identity. L stays as it is for one step where no row
        belongs to a label, or where means moved so far that the scatter about them would be lost to rounding. Labels
        that are not `on` stay.
        """
        expect_prior(prior, NormalInverseWishart, self)
        mean, L = self._grouped()
        total, first, second = statistics
        counted = self._on(on)
        count, pull, scale, extra = self._whitened_prior(prior, counted)
        shift = _shared.ratio(first + count * pull, (total + count)[..., None], 0)
        cross = jnp.einsum("gmd,gme->gde", shift, first)
        left = shift - pull
        second = second + scale
        scatter = second - cross - jnp.swapaxes(cross, 1, 2) + jnp.einsum("gm,gmd,gme->gde", total, shift, shift)
        scatter = scatter + count * jnp.einsum("gmd,gme->gde", left, left)
        rows = (total.sum(-1) + extra)[:, None, None]
        factor, dead = _factored(scatter, second, rows)
        moved = _shared.ratio((total[..., None] * shift**2).sum(1), rows[..., 0], 0).max(1)
        keep = _digits_lost(moved, factor)[:, None, None] | (rows == 0) | ~counted.any(1)[:, None, None]
        L = jnp.tril(L)
        new_mean = mean + jnp.where(counted[..., None], jnp.einsum("gde,gme->gmd", L, shift), 0)
        new_L = jnp.where(keep, L, _rank.at_least(L @ factor, dead))
        return type(self)(new_mean.reshape(self.mean.shape), new_L.reshape(self.scale_tril.shape))

    def converged_in_one_step(self, before: Any) -> Bool[Array, ""]:
        """True if another M-step would change nothing: means and scales moved so little that no digits were lost.

        Statistics are centred at and whitened with the parameters `before`.
        """
        (mean, L), (old_mean, old_L) = self._grouped(), before._grouped()
        z = kernels.solve(L, (mean - old_mean).swapaxes(1, 2))
        narrowed = kernels.solve(L, jnp.tril(old_L))
        unchanged = (old_L == L).all(axis=(1, 2), keepdims=True)
        return _shared.digits_kept(z**2, unchanged).all() & _shared.digits_kept(narrowed**2, False).all()

    def recentred(
        self, statistics: GaussianStatistics, before: Any, prior: NormalInverseWishart | None = None
    ) -> GaussianStatistics:
        """Statistics of v = L^-1 (x - mean) from those of u = L_0^-1 (x - mean_0), v = A u + b."""
        del prior
        (mean, L), (old_mean, old_L), (total, first, second) = self._grouped(), before._grouped(), statistics
        A = kernels.solve(L, jnp.tril(old_L))
        b = kernels.solve(L, (old_mean - mean).swapaxes(1, 2)).swapaxes(1, 2)
        turned = jnp.einsum("gde,gme->gmd", A, first)
        cross = jnp.einsum("gmd,gme->gde", turned, b)
        moved = cross + cross.swapaxes(1, 2) + jnp.einsum("gm,gmd,gme->gde", total, b, b)
        return GaussianStatistics(total, turned + total[..., None] * b, A @ second @ A.swapaxes(1, 2) + moved)

    def _on(self, on: Any) -> Any:
        """Labels that are on, as the kernels take them, (g, m): all by default."""
        shape = self._grouped()[0].shape[:2]
        return np.ones(shape, bool) if on is None else on.reshape(shape)

    def _whitened_prior(self, prior, on):
        """Prior in whitened coordinates: count, pull L^-1 (m - mean), L^-1 scale L^-T, rows added to the count.

        m and `scale` are the prior's; pull is (g, m, d), the scale (g, d, d), the rows (g,).
        """
        mean, L = self._grouped()
        if prior is None:
            return 0, jnp.zeros_like(mean), 0, 0
        d = self.num_features
        scale = jnp.broadcast_to(prior.scale, self.scale_tril.shape).reshape(L.shape)
        pull = (jnp.broadcast_to(prior.mean, self.mean.shape).reshape(mean.shape) - mean).swapaxes(1, 2)
        unit = jnp.ones(d, L.dtype) if prior.unit is None else prior.unit
        units = kernels.solve(L, jnp.broadcast_to(jnp.diag(unit), L.shape))
        whole = units @ scale @ jnp.swapaxes(units, 1, 2)
        pull = jnp.where(on[..., None], kernels.solve(L, pull).swapaxes(1, 2), 0)
        return prior.mean_count, pull, whole, prior.degrees + d + 1 + on.sum(1)

    def log_prior(
        self, prior: NormalInverseWishart | None, on: Bool[Array, "*labels"] | None = None
    ) -> Float[Array, ""]:
        expect_prior(prior, NormalInverseWishart, self)
        if prior is None:
            return jnp.zeros((), self.mean.dtype)
        counted = self._on(on)
        count, pull, scale, extra = self._whitened_prior(prior, counted)
        log_det = jnp.log(jnp.abs(jnp.diagonal(self._grouped()[1], axis1=1, axis2=2))).sum(-1)
        each = -0.5 * (count * (pull**2).sum((1, 2)) + jnp.einsum("gdd->g", scale)) - extra * log_det
        return jnp.where(counted.any(1), each, 0).sum()

    def weak_prior(
        self, columns: ColumnMoments, strength: float | Float[Array, ""], on: Bool[Array, "*labels"] | None = None
    ) -> NormalInverseWishart:
        mean, spread = columns.mean, _shared.spread(columns.spread)
        unit = _shared.prior_unit(spread)
        degrees = strength - self.num_features - 1 - self._on(on).sum(1).max()
        return NormalInverseWishart(
            mean,
            jnp.asarray(strength, mean.dtype),
            strength * jnp.diag((spread / unit) ** 2),
            jnp.asarray(degrees, mean.dtype),
            unit,
        )

    def started(
        self,
        key: Key[Array, ""],
        x: Float[Array, "n d"],
        counts: Float[Array, "n *labels"],
        random: bool = False,
        on: Bool[Array, "*labels"] | None = None,
    ) -> "Gaussian":
        """Initial parameters for EM: means and covariances of each label's rows, with a pseudo-row for each label `on`.

        The pseudo-rows have the columns' standard deviations within labels, uncorrelated.
        """
        del key, random
        means, spread = _shared.moments_of_clusters(x, _shared.rows_by_labels(counts), self.complete)
        factor = jnp.broadcast_to(jnp.diag(spread), self.scale_tril.shape)
        start = type(self)(means.reshape(self.mean.shape), factor)
        total, first, second = start.statistics(x, counts)
        pseudo = self._on(on).astype(x.dtype)
        identity = pseudo.sum(1)[:, None, None] * jnp.eye(self.num_features, dtype=x.dtype)
        return start.maximum(GaussianStatistics(total + pseudo, first, second + identity))

    @property
    def supports(self) -> tuple[Support, ...]:
        return (FINITE,) * self.num_features


@kernels.compiled_once
def _factor_of_rows(L, columns):
    """Cholesky factors (*_, m, m) of the covariances of some columns, from those of all (*_, d, d)."""
    return kernels.triangularized(jnp.tril(L)[..., columns, :])


def _residual(x, mean):
    """Residual x - mean, NaN only where a cell is missing: a mean of NaN makes it infinite."""
    residual = x - mean
    return jnp.where(jnp.isnan(residual) & ~jnp.isnan(x), jnp.inf, residual)


def _factored(scatter, raw, rows):
    """Cholesky factor of the whitened covariance (g, d, d), and where nothing at all is left of a column (g, d).

    Added up about the old mean, `raw`, the covariance is only known to eps for each term, and each is rounded some
    eight times: a narrower direction becomes as wide as that, and the next step, whitened with it, sees further down.
    """
    d = scatter.shape[-1]
    size = jnp.diagonal(raw, axis1=1, axis2=2)
    dead = (size <= 0) & (rows[..., 0] != 0)
    noise = max(d, 8) * float(jnp.finfo(scatter.dtype).eps) * size + dead
    spread = scatter + noise[:, None] * jnp.eye(d, dtype=scatter.dtype)
    return kernels.cholesky(_shared.ratio(spread, rows, jnp.eye(d, dtype=scatter.dtype))), dead


def _digits_lost(moved, factor):
    """True (g,) where means moved so far that their squares, on average `moved` (g,), swamp the new covariance.

    The covariance is then kept for one step, an expectation-conditional-maximisation step that still climbs; the next
    one is centred right. Without it, float32 would subtract two numbers that agree to every digit.
    """
    pivot = (jnp.diagonal(factor, axis1=1, axis2=2) ** 2).min(-1)
    return (moved > 1) & ~(moved <= _shared.kept_digits(moved.dtype) * pivot)
