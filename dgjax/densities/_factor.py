"""Normal densities of low rank plus diagonal: factor analysis, probabilistic PCA, and with missing cells a recommender.

    x = mean + loading f + scale e,  f ~ N(0, I_r),  e ~ N(0, I_d):    log p(x) = log N(x; mean, W W^T + diag(scale^2))

The idea of learning. The factors f of each row are hidden, and normal given its cells (`dgjax_kernels.factor`). Each
column is then a regression on (f, 1) over the rows that have it, in units of its noise and about the parameters at
hand, as in all normal densities here:

    E-step   sums of c, c E[u g^T], c E[u^2] and c E[g g^T], u = z - V f, g = (f, 1), c responsibilities
    M-step   shift = E[u g^T] E[g g^T]^-1, v = E[u^2] - shift E[u g^T]^T       (V, 0) + shift,  scale sqrt(v)

Without a prior f may have any mean and covariance for one step, which the loadings then take up (`_absorbed`): EM of a
larger model with the same likelihood, which needs far fewer steps (Liu, Rubin and Wu, 1998, Parameter expansion to
accelerate EM). Loadings are known up to a rotation of the factors.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._arguments import is_concrete
from dgjax._pytree import dataclass
from dgjax._twins import LogDensity
from dgjax._types import FINITE, ColumnMoments, LabelIndex, Rows, Scorer, Support
from dgjax.densities import _factor_rank, _factor_start, _rank, _shared
from dgjax.densities._base import Density
from dgjax.densities._gaussian import Gaussian
from dgjax.priors import FactorPrior, expect_prior
from dgjax.sparse import SparseRows

WHOLE = 64
"""Columns up to which the rank of the whole covariance is looked at after each step, and not of each column alone."""


@dataclass
class FactorGaussian(Density):
    """Normal density of low rank plus diagonal: log N(x; mean, W W^T + diag(exp(log_scale)^2)), W the loadings.

    `mean` (*labels, d); `loading` W (*labels, d, r), of r factors; `log_scale` (*labels, d), the log standard deviation
    of each column's own noise, as in factor analysis, or (*labels, 1) if all columns share it, as in probabilistic PCA.
    Missing cells (NaN) are marginalised exactly, whatever the pattern; a row takes r x r matrices, however large d.

    Raises ValueError if the shapes do not fit together.
    Source: Tipping and Bishop (1999), Probabilistic principal component analysis; Rubin and Thayer (1982).
    """

    mean: Float[Array, "*labels d"]
    loading: Float[Array, "*labels d r"]
    log_scale: Float[Array, "*labels c"]

    def __post_init__(self) -> None:
        d, labels = (self.mean.shape[-1], self.mean.shape[:-1]) if self.mean.ndim else (0, ())
        if (
            not self.mean.ndim
            or self.loading.shape[:-1] != self.mean.shape
            or self.log_scale.shape not in ((*labels, d), (*labels, 1))
            or not self.loading.shape[-1]
        ):
            raise ValueError(
                "FactorGaussian expects mean (*labels, d), loading (*labels, d, r), r > 0, log_scale (*labels, d) or "
                f"(*labels, 1), for one that columns share; got shapes {self.mean.shape}, {self.loading.shape} and "
                f"{self.log_scale.shape}."
            )
        _parameters.check_finite(self, "mean", "loading", "log_scale")

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.mean.shape[:-1]

    @property
    def num_features(self) -> int:
        return self.mean.shape[-1]

    @property
    def num_factors(self) -> int:
        """Number of factors r."""
        return self.loading.shape[-1]

    @property
    def row_cost(self) -> int:
        return kernels.factor_row_cost(math.prod(self.label_shape), self.num_features, self.num_factors)

    @property
    def num_parameters(self) -> int:
        """Number of free parameters: a rotation of the factors changes nothing."""
        r = min(self.num_factors, self.num_features)
        rotations = math.prod(self.label_shape) * r * (r - 1) // 2
        return self.mean.size + self.loading.size + self.log_scale.size - rotations

    def as_gaussian(self) -> Gaussian:
        """The same density as a `Gaussian`, with the Cholesky factor (d, d) of each covariance."""
        scale = jnp.exp(self._log_scale())
        roots = jnp.concatenate([self.loading, scale[..., None] * jnp.eye(self.num_features, dtype=scale.dtype)], -1)
        return Gaussian(self.mean, kernels.triangularized(roots))

    def normals(self) -> tuple[_rank.Normal, ...]:
        one = _rank.Normal(self.mean, tuple(range(self.num_features)), resolved=_factor_rank.resolved(self.mean.dtype))
        if self.num_features <= WHOLE and not is_concrete(self.loading):
            return (one._replace(scale_tril=self.as_gaussian().scale_tril),)
        if is_concrete(self.loading) and not _factor_rank.apart(self):
            return (one._replace(scale_tril=_factor_rank.factors_in_double(self)),)
        return (one._replace(log_scale=jnp.log(_factor_rank.spread(self.loading, self._log_scale()))),)

    @property
    def _sharing(self) -> int:
        """Number of columns that share a scale."""
        return self.num_features // self.log_scale.shape[-1]

    def _log_scale(self) -> Array:
        """Log-scales (*labels, d) of every column."""
        return jnp.broadcast_to(self.log_scale, self.mean.shape)

    def _flat(self) -> tuple[Array, Array, Array]:
        """Parameters as the kernels take them: mean (k, d), loading (k, d, r), log_scale (k, d)."""
        parameters = self.mean, self.loading, self._log_scale()
        mean, loading, log_scale = (_shared.flat(own, self.label_shape) for own in parameters)
        return mean, loading, log_scale

    @property
    def takes_sparse_rows(self) -> bool:
        """Always True: a row takes time for its observed cells alone, if it comes as `SparseRows`."""
        return True

    def _asked(self, dense: Any, sparse: Any, x: Any, *others: Array) -> Any:
        """Result of a kernel of `dense` rows x (n, d), or of `sparse` ones."""
        if isinstance(x, SparseRows):
            return sparse(x.starts, x.columns, x.values, *others, *self._flat())
        return dense(x, *others, *self._flat(), bool(self.complete))

    def _posterior(self, x: Any) -> Any:
        return self._asked(kernels.factor_posterior, kernels.sparse_factor_posterior, x)

    def scores(self, x: Rows) -> Float[Array, "n *labels"]:
        scores = self._asked(kernels.factor_scores, kernels.sparse_factor_scores, x)
        return scores.reshape(len(x), *self.label_shape)

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        labels, (mean, loading, log_scale) = _shared.flat_index(at, self.label_shape), self._flat()
        key_factors, key_noise = jax.random.split(key)
        factors = jax.random.normal(key_factors, (*labels.shape, self.num_factors), mean.dtype)
        noise = jax.random.normal(key_noise, (*labels.shape, self.num_features), mean.dtype)

        def own(rows, parameters):  # label after label: loadings of each row, gathered, would be n x d x r
            label, mean, loading, log_scale = parameters
            drawn = mean + factors @ loading.T + jnp.exp(log_scale) * noise
            return jnp.where((labels == label)[..., None], drawn, rows), None

        return jax.lax.scan(own, noise, (jnp.arange(len(mean)), mean, loading, log_scale))[0]

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        found, rows = self._posterior(x), jnp.arange(len(x))
        label = jnp.broadcast_to(_shared.flat_index(at, self.label_shape), len(x))
        m, root = found.mean[rows, label], found.root[rows % len(found.root), label]
        mean, loading, log_scale = self._flat()

        def draw(key, m, root, label):
            factors, noise = jax.random.split(key)
            f = m + jax.random.normal(factors, m.shape, m.dtype) @ root  # M^-1 = W^T W
            e = jax.random.normal(noise, mean.shape[1:], m.dtype)
            return mean[label] + loading[label] @ f + jnp.exp(log_scale[label]) * e

        return _shared.fill(x, jax.vmap(draw)(keys, m, root, label))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        share, (mean, loading, _) = _shared.rows_by_labels(posterior), self._flat()
        factors = share[..., None] * self._posterior(x).mean
        return _shared.fill(x, share @ mean + jnp.einsum("nkr,kdr->nd", factors, loading))

    def cell_moments(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> tuple[Array, Array]:
        """Mean and standard deviation (n, d) of each cell given the observed ones, averaged over labels.

        An observed cell counts as one more that is drawn: as a rating that would be made again.
        """
        share, (mean, loading, log_scale), found = _shared.rows_by_labels(posterior), self._flat(), self._posterior(x)
        # In units of each column's largest noise, for squares may be beyond what float32 holds.
        log_unit = log_scale.max(0)
        means = mean + jnp.einsum("nkr,kdr->nkd", found.mean, loading)
        centre = jnp.einsum("nk,nkd->nd", share, means)
        W, apart = kernels.in_units(loading, log_unit[:, None]), kernels.in_units(means - centre[:, None], log_unit)
        covariance = jnp.broadcast_to(found.covariance(), (*found.mean.shape, self.num_factors))
        own = jnp.einsum("nkrs,kdrs->nkd", covariance, W[..., None] * W[..., None, :]) + jnp.exp(
            2 * (log_scale - log_unit)
        )
        return centre, jnp.exp(log_unit) * jnp.sqrt(jnp.einsum("nk,nkd->nd", share, own + apart**2))

    def encode(self, x: Rows, shares: Float[Array, "n k"]) -> tuple[Array, Array]:
        """Mean and standard deviation (n, r) of the factors given each row, under the labels of weights `shares`."""
        found = self._posterior(x)
        variance = jnp.broadcast_to((found.root**2).sum(-2), found.mean.shape)
        return jnp.einsum("nk,nkr->nr", shares, found.mean), jnp.sqrt(jnp.einsum("nk,nkr->nr", shares, variance))

    def marginal(self, columns: tuple[int, ...]) -> "FactorGaussian":
        picked = jnp.array(columns)
        log_scale = self.log_scale if self.log_scale.shape[-1] == 1 else self.log_scale[..., picked]
        return type(self)(self.mean[..., picked], self.loading[..., picked, :], log_scale)

    def discriminative(self) -> tuple[Float[Array, "*labels"], Scorer]:
        return jnp.zeros(self.label_shape, self.mean.dtype), LogDensity(self)

    def expanded(self) -> tuple[Float[Array, "*labels"], Scorer]:
        """Discriminative twin as a bias (*labels,) and a scorer linear in its weights, quadratic in the row."""
        return self.as_gaussian().expanded()

    def statistics(self, x: Rows, counts: Float[Array, "n *labels"]) -> Any:
        counts = _shared.rows_by_labels(counts)
        return self._asked(kernels.factor_statistics, kernels.sparse_factor_statistics, x, counts)

    def expectation(
        self, x: Rows, y: Int[Array, " n"], weights: Float[Array, " n"], log_weights: Float[Array, " k"]
    ) -> tuple[Float[Array, ""], Float[Array, " k"], Any]:
        asked = kernels.factor_expectation, kernels.sparse_factor_expectation
        return self._asked(*asked, x, y, weights, log_weights)

    def maximum(self, statistics: Any, prior: FactorPrior | None = None) -> "FactorGaussian":
        """M-step: the regression of each column on the factors, and the noise that is left."""
        expect_prior(prior, FactorPrior, self)
        (mean, loading, log_scale), (total, cross, raw, factors, latent) = self._flat(), statistics
        pull, precision, rate, cells = self._whitened_prior(prior)
        cross, eye = cross + precision * pull, jnp.eye(precision.shape[-1], dtype=mean.dtype)
        factors, raw = factors + precision[..., None] * eye, raw + (precision * pull**2).sum(-1) + 2 * rate
        # Of a column without cells and prior nothing is known, and it stays; all are raised by their rounding.
        diagonal = jnp.diagonal(factors, axis1=-2, axis2=-1)
        raised = jnp.where(diagonal == 0, 1, 8 * len(eye) * jnp.finfo(mean.dtype).eps * diagonal)
        root = kernels.cholesky(factors + raised[..., None] * eye)
        half = kernels.solve(root, cross[..., None])
        shift = kernels.solve_transposed(root, half)[..., 0]
        explained = (half[..., 0] ** 2).sum(-1)
        log_scale = self._noise(raw, explained, total + cells)
        scale = jnp.exp(_shared.flat(self._log_scale(), self.label_shape))
        moved = scale[..., None] * shift
        mean, loading = mean + moved[..., -1], loading + moved[..., :-1]
        if prior is None:
            mean, loading = _absorbed(mean, loading, latent)
        return self._of(mean, loading, log_scale)

    def _of(self, mean, loading, log_scale):
        """Density of these parameters, labels in one axis; no scale is below what is resolved of a column."""
        size = _factor_rank.spread(loading, log_scale)
        size = size if self.log_scale.shape[-1] > 1 or self.num_features == 1 else size.max(-1, keepdims=True)
        log_scale = jnp.maximum(log_scale, jnp.log(0.5 * _factor_rank.resolved(size.dtype) * size))[
            ..., : self.log_scale.shape[-1]
        ]
        parts = ((mean, self.mean), (loading, self.loading), (log_scale, self.log_scale))
        return type(self)(*(own.reshape(was.shape) for own, was in parts))

    def _noise(self, raw, explained, cells):
        """Log-scales (k, d) from squares `raw` (k, d) about the parameters at hand and what of them is `explained`.

        What is left is never less than the rounding of the squares. Where nearly all is explained, since parameters
        moved far, the scale is kept for one step, rather than lost to rounding.
        """
        log_scale = self._flat()[2]
        if self.log_scale.shape[-1] == 1:
            raw, explained, cells = (
                jnp.broadcast_to(own.sum(-1, keepdims=True), own.shape) for own in (raw, explained, cells)
            )
        least = 8 * float(jnp.finfo(raw.dtype).eps) * raw
        variance = _shared.ratio(jnp.maximum(raw - explained, least), cells, 1)
        moved = _shared.ratio(explained, cells, 0)
        far = (moved > 1) & ~(moved <= _shared.kept_digits(raw.dtype) * variance)
        return log_scale + 0.5 * jnp.log(jnp.where(far, 1, variance))

    def converged_in_one_step(self, before: Any) -> Bool[Array, ""]:
        """Always False: the factors are hidden, so no M-step is the last."""
        del before
        return jnp.zeros((), bool)

    def recentred(self, statistics: Any, before: Any, prior: FactorPrior | None = None) -> Any:
        """Statistics about these parameters, and about factors h, g = M h, that the M-step has made N(0, I)."""
        (mean, W, log_scale), (old_mean, old_W, old_log_scale) = self._flat(), before._flat()
        total, cross, raw, factors, latent = statistics
        centre, root = _moments_of_factors(latent) if prior is None else (jnp.zeros_like(W[:, 0]), _identity(W))
        M = jnp.concatenate([jnp.concatenate([root, centre[..., None]], -1), _last_row(W)], 1)
        back = jnp.linalg.inv(M)
        factors = jnp.einsum("kpq,kdqr,ksr->kdps", back, factors, back)
        latent = jnp.einsum("kpq,kqr,ksr->kps", back, latent, back)
        # x = mean_0 + (W_0, mean_0) M h + scale_0 u, so in units of the new noise v = a u + b h.
        old = jnp.concatenate([old_W, old_mean[..., None] - mean[..., None]], -1) @ M
        b = kernels.in_units(old - jnp.concatenate([W, jnp.zeros_like(mean)[..., None]], -1), log_scale[..., None])
        a = jnp.exp(old_log_scale - log_scale)
        cross = a[..., None] * jnp.einsum("kdq,kpq->kdp", cross, back)
        b_factors = jnp.einsum("kdq,kdqr->kdr", b, jnp.broadcast_to(factors, (*b.shape, b.shape[-1])))
        raw = a**2 * raw + ((2 * cross + b_factors) * b).sum(-1)
        return type(statistics)(total, cross + b_factors, raw, factors, latent)

    def _whitened_prior(self, prior: FactorPrior | None) -> tuple[Array, Array, Array | int, Array | int]:
        """Prior in units of the noise: where (V, mean) are drawn to, (k, d, r + 1), from here, and with what precision.

        And, for each column, the rate of the noise, and how many cells the prior is worth there.
        """
        mean, loading, log_scale = self._flat()
        if prior is None:
            none = jnp.zeros((*mean.shape, self.num_factors + 1), mean.dtype)
            return none, none, 0, 0
        centre = kernels.in_units(_shared.flat(self._labelled(prior.mean), self.label_shape) - mean, log_scale)
        own = jnp.zeros((), mean.dtype) if prior.loading is None else prior.loading
        away = _shared.flat(jnp.broadcast_to(own, self.loading.shape), self.label_shape) - loading
        pull = jnp.concatenate([kernels.in_units(away, log_scale[..., None]), centre[..., None]], -1)
        counts = jnp.append(jnp.broadcast_to(prior.loading_count, self.num_factors), prior.mean_count)
        precision = jnp.broadcast_to(counts.astype(mean.dtype), pull.shape)
        rate = _shared.flat(self._labelled(self._whitened_rate(prior)), self.label_shape) / self._sharing
        return pull, precision, rate, (2 * prior.shape + 2) / self._sharing + 1 + self.num_factors

    def _labelled(self, parameter: Array) -> Array:
        """Parameter of each label and column (*labels, d), which a prior may have for all of them."""
        return jnp.broadcast_to(parameter, self.mean.shape)

    def _whitened_rate(self, prior: FactorPrior) -> Array:
        """Inverse-gamma rate over this density's variances: rate (unit / scale)^2; `unit` is 1 where there is none."""
        unit = jnp.ones((), self.mean.dtype) if prior.unit is None else prior.unit
        return prior.rate * kernels.in_units(unit, self.log_scale) ** 2

    def log_prior(self, prior: FactorPrior | None) -> Float[Array, ""]:
        expect_prior(prior, FactorPrior, self)
        if prior is None:
            return jnp.zeros((), self.mean.dtype)
        if prior.rate.ndim and prior.rate.shape[-1] > self.log_scale.shape[-1]:
            raise ValueError(
                "FactorPrior(rate=...) must be one number, for the columns share their noise; got one for each of "
                f"{prior.rate.shape[-1]} columns."
            )
        pull, precision, _, _ = self._whitened_prior(prior)
        cells = 2 * prior.shape + 2 + self._sharing * (1 + self.num_factors)
        return -0.5 * (precision * pull**2).sum() - (cells * self.log_scale + self._whitened_rate(prior)).sum()

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> FactorPrior:
        mean, spread = columns.mean, _shared.spread(columns.spread)
        spread = spread if self.log_scale.shape[-1] > 1 else _shared.root_mean_square(spread)[None]
        unit, cells = _shared.prior_unit(spread), strength * self._sharing
        shape = jnp.asarray((cells - 2 - self._sharing * (1 + self.num_factors)) / 2, mean.dtype)
        count = jnp.asarray(strength, mean.dtype)
        return FactorPrior(mean, count, count, shape, cells * (spread / unit) ** 2 / 2, unit)

    def started(
        self, key: Key[Array, ""], x: Rows, counts: Float[Array, "n *labels"], random: bool = False
    ) -> "FactorGaussian":
        """Initial parameters for EM: means of each label's rows, and loadings by principal components of the rest.

        A missing cell is at its mean there.
        """
        del random
        counts = _shared.rows_by_labels(counts)
        means, spread, scaled = _factor_start.moments(x, counts, self.complete)

        def loadings(part):
            key, mean, weights = part
            z = scaled(weights, mean)
            return _factor_start.components(key, z, self.num_features, self.num_factors, means.dtype)

        loading = jax.lax.map(loadings, (jax.random.split(key, len(means)), means, counts.T))
        left = jnp.maximum(1 - (loading**2).sum(-1), 0.1)
        scale = spread * jnp.sqrt(left)
        if self.log_scale.shape[-1] == 1:
            scale = jax.vmap(_shared.root_mean_square)(scale)[:, None]
        return self._of(means, spread[:, None] * loading, jnp.broadcast_to(jnp.log(scale), means.shape))

    @property
    def supports(self) -> tuple[Support, ...]:
        return (FINITE,) * self.num_features


def _identity(W):
    return jnp.broadcast_to(jnp.eye(W.shape[-1], dtype=W.dtype), (len(W), *2 * W.shape[-1:]))


def _last_row(W):
    """The last row (k, 1, r + 1) of a change of coordinates of (f, 1)."""
    r = W.shape[-1]
    return jnp.broadcast_to(jnp.eye(r + 1, dtype=W.dtype)[r:], (len(W), 1, r + 1))


def _absorbed(mean, loading, latent):
    """Means and loadings of factors N(0, I) in place of those with the mean and covariance that were found."""
    centre, root = _moments_of_factors(latent)
    return mean + jnp.einsum("kdr,kr->kd", loading, centre), loading @ root


def _moments_of_factors(latent):
    """Mean (k, r) of the factors, and Cholesky factor (k, r, r) of their covariance.

    `latent` (k, r + 1, r + 1) are sums of their products, with ones. Those of a label without rows stay.
    """
    r = latent.shape[-1] - 1
    eye = jnp.eye(r, dtype=latent.dtype)
    moments = _shared.ratio(latent[:, :-1], latent[:, -1:, -1:], jnp.eye(r, r + 1, dtype=latent.dtype))
    centre, second = moments[..., -1], moments[..., :-1]
    # Of factors far from 0 the covariance is a difference, which is raised by its rounding.
    rounding = 8 * r * jnp.finfo(latent.dtype).eps * jnp.diagonal(second, axis1=1, axis2=2)
    return centre, kernels.cholesky(second - centre[..., None] * centre[:, None] + rounding[..., None] * eye)
