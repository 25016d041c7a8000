"""Normal rows of low rank: x = mean + scale (V f + e), f ~ N(0, I_r), e ~ N(0, I_d), with missing cells left out.

The idea. Let z = (x - mean) / scale in the observed cells of a row, and 0 in the others, and V_o the rows of V there.
Given the row its factors are normal, and only r x r matrices are needed, however many columns there are:

    f | x ~ N(m, M^-1),    M = I + V_o^T V_o,    m = M^-1 V_o^T z
    log N(x_o) = -(|z - V_o m|^2 + |m|^2) / 2 - log |M| / 2 - sum_o log scale - |o| log(2 pi) / 2

A sum of squares: |z|^2 - m^T V_o^T z, which it equals, would cancel. Nor is M formed, in which I is lost where V is
large. Of all cells its root L, L L^T = I + V^T V, is found by rotations, once for each label; and in factors that are
N(0, I) given all cells, V L^-T, what is left of a row's cells has no entry above 1:

    M = L N L^T,    N = L^-1 L^-T + sum_o (V L^-T)_j (V L^-T)_j^T,    which is I if all cells are there

m is corrected once by what it leaves over, for where cells are missing that say most of a factor N is small.

Sums for EM are of residuals u = z - V f about the parameters at hand, as for other normal densities: at a fixed point
their regression on f is 0 and their variance 1, and no digit is lost to the columns' units.
Source: Rubin and Thayer (1982), EM algorithms for ML factor analysis.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dgjax_kernels import rows, triangular
from dgjax_kernels.blocks import sum_rows


class Posterior(NamedTuple):
    """Factors given each row: their mean m (n, k, r), and a root W (n or 1, k, r, r) of their covariance W^T W.

    And log |M| (n or 1, k); what m leaves over of each cell, z - V m (n, k, d), 0 where the cell is missing; V (k, d,
    r); and the observed cells (n, d), ones and zeros, or None if all are.
    """

    mean: Float[Array, "n k r"]
    root: Float[Array, "#n k r r"]
    log_det: Float[Array, "#n k"]
    residual: Float[Array, "n k d"]
    loading: Float[Array, "k d r"]
    observed: Float[Array, "n d"] | None

    def covariance(self) -> Float[Array, "#n k r r"]:
        """Covariance M^-1 = W^T W of the factors."""
        return jnp.swapaxes(self.root, -1, -2) @ self.root


class Statistics(NamedTuple):
    """Sums over rows under responsibilities c, of residuals u = z - V f and of g = (f, 1), in expectation over f.

    c (k, d), c u g^T (k, d, r + 1) and c u^2 (k, d) are over observed cells, c g g^T (k, d, r + 1, r + 1) over the rows
    that have the cell; (k, 1, ...) where all have all. The last is over all rows (k, r + 1, r + 1).
    """

    total: Float[Array, "k d"]
    cross: Float[Array, "k d q"]
    second: Float[Array, "k d"]
    factors: Float[Array, "k #d q q"]
    latent: Float[Array, "k q q"]
    symmetric = "factors", "latent"  # of which shards send one triangle


def posterior(
    x: Float[Array, "n d"],
    mean: Float[Array, "k d"],
    loading: Float[Array, "k d r"],
    log_scale: Float[Array, "k d"],
    complete: bool = False,
) -> Posterior:
    """Factors given each row x (n, d) under each label, in units of the noise: V = loading / exp(log_scale)."""
    V, W, log_det = whitened(loading, log_scale)
    seen, residual, W, log_det = None, x[:, None] - mean, W[None], log_det[None]
    if not complete:
        seen = (~jnp.isnan(x)).astype(x.dtype)
        residual = jnp.where(seen[:, None] > 0, residual, 0)  # before anything else, for the sake of derivatives
        own = V @ jnp.swapaxes(W[0], -1, -2)
        W, log_det = conditioned(jnp.einsum("nd,kdrs->nkrs", seen, own[..., None] * own[..., None, :]), W, log_det)
    z = rows.in_units(residual, log_scale)

    def solved(b):
        each = jnp.broadcast_to(W, (len(x), *W.shape[1:]))
        return jnp.einsum("nkrs,nkr->nks", each, jnp.einsum("nkrs,nks->nkr", each, b))

    def left(m):
        fitted = jnp.einsum("kdr,nkr->nkd", V, m)
        return z - (fitted if seen is None else seen[:, None] * fitted)

    m = solved(jnp.einsum("kdr,nkd->nkr", V, z))
    m = m + solved(jnp.einsum("kdr,nkd->nkr", V, left(m)) - m)
    return Posterior(m, W, log_det, left(m), V, seen)


def whitened(
    loading: Float[Array, "k d r"], log_scale: Float[Array, "k d"]
) -> tuple[Float[Array, "k d r"], Float[Array, "k r r"], Float[Array, " k"]]:
    """V = loading / exp(log_scale), the inverse of L, L L^T = I + V^T V, and log |L L^T|: what all rows share."""
    V = rows.in_units(loading, log_scale[..., None])
    eye = jnp.broadcast_to(jnp.eye(V.shape[-1], dtype=V.dtype), (len(V), V.shape[-1], V.shape[-1]))
    L = triangular.triangularized(jnp.concatenate([jnp.swapaxes(V, 1, 2), eye], -1))
    return V, triangular.inverse(L), 2 * _log_diagonal(L)


def conditioned(
    N: Float[Array, "n k r r"], W: Float[Array, "#n k r r"], log_det: Float[Array, "#n k"]
) -> tuple[Float[Array, "n k r r"], Float[Array, "n k"]]:
    """Root of the factors' covariance given a row's cells, and log |M|, from sums of (V L^-T) (V L^-T)^T over these.

    `W` is the inverse of L, and `log_det` log |L L^T|.
    """
    # Raised by its own rounding, N is never singular; what that changes of m is corrected by what m leaves over.
    r = N.shape[-1]
    eye = r * jnp.finfo(N.dtype).eps * jnp.eye(r, dtype=N.dtype)
    C = triangular.cholesky(N + W @ jnp.swapaxes(W, -1, -2) + eye)
    return triangular.inverse(C) @ W, log_det + 2 * _log_diagonal(C)


def _log_diagonal(L):
    return jnp.log(jnp.diagonal(L, axis1=-2, axis2=-1)).sum(-1)


def evidence(of: Posterior, log_scale: Float[Array, "k d"]) -> Float[Array, "n k"]:
    """Log-density (n, k) of each row under each label, from its factors."""
    squares = (of.residual**2).sum(-1) + (of.mean**2).sum(-1)
    each = log_scale + 0.5 * rows.LOG_TWO_PI
    cells = each.sum(-1) if of.observed is None else of.observed @ each.T
    return -0.5 * (squares + of.log_det) - cells


def sums(of: Posterior, counts: Float[Array, "n k"]) -> Statistics:
    """Statistics under responsibilities `counts` (n, k), from each row's factors."""
    one = jnp.concatenate([of.mean, jnp.ones_like(of.mean[..., :1])], -1)
    weighted = counts[..., None] * of.residual
    cross, second = jnp.einsum("nkd,nkq->kdq", weighted, one), (weighted * of.residual).sum(0)
    products, covariance = (counts[..., None] * one)[..., None] * one[..., None, :], of.covariance()
    if of.observed is None:
        total = jnp.broadcast_to(counts.sum(0)[:, None], second.shape)
        spread = counts.sum(0)[:, None, None, None] * covariance[0][:, None]
        latent = products.sum(0) + bordered(spread[:, 0])
        factors = latent[:, None]
    else:
        total = counts.T @ of.observed
        spread = counts[..., None, None] * covariance
        latent = products.sum(0) + bordered(spread.sum(0))
        spread = jnp.einsum("nd,nkrs->kdrs", of.observed, spread)
        factors = jnp.einsum("nd,nkqp->kdqp", of.observed, products) + bordered(spread)
    V = of.loading
    moved = jnp.einsum("kdrs,kds->kdr", jnp.broadcast_to(spread, (*V.shape, V.shape[-1])), V)
    cross = cross - jnp.pad(moved, [(0, 0), (0, 0), (0, 1)])
    return Statistics(total, cross, second + (V * moved).sum(-1), factors, latent)


def bordered(matrices: Float[Array, "*b r r"]) -> Float[Array, "*b q q"]:
    """Matrices (*b, r, r) with a row and a column of zeros more."""
    return jnp.pad(matrices, [(0, 0)] * (matrices.ndim - 2) + [(0, 1), (0, 1)])


def scores(
    x: Float[Array, "n d"],
    mean: Float[Array, "k d"],
    loading: Float[Array, "k d r"],
    log_scale: Float[Array, "k d"],
    complete: bool = False,
) -> Float[Array, "n k"]:
    """Log-densities (n, k) of rows x (n, d) with k means, loadings (k, d, r) and log-scales of the noise (k, d)."""
    return evidence(posterior(x, mean, loading, log_scale, complete), log_scale)


def statistics(
    x: Float[Array, "n d"],
    counts: Float[Array, "n k"],
    mean: Float[Array, "k d"],
    loading: Float[Array, "k d r"],
    log_scale: Float[Array, "k d"],
    complete: bool = False,
) -> Statistics:
    """Statistics of rows x (n, d) under responsibilities `counts` (n, k)."""
    return sums(posterior(x, mean, loading, log_scale, complete), counts)


def expectation(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weights: Float[Array, " n"],
    log_weights: Float[Array, " k"],
    mean: Float[Array, "k d"],
    loading: Float[Array, "k d r"],
    log_scale: Float[Array, "k d"],
    complete: bool = False,
) -> tuple[Float[Array, ""], Float[Array, " k"], Statistics]:
    """E-step: log-likelihood, summed responsibilities (k,), and statistics; each row's factors are found once."""

    def block(x, y, weights):
        found = posterior(x, mean, loading, log_scale, complete)
        value, counts = rows.joint_partition(x, y, weights, log_weights + evidence(found, log_scale))
        return value, counts.sum(0), sums(found, counts)

    return sum_rows(block, x, y, weights, fill=(0, -1, 0), row_cost=factor_row_cost(*loading.shape))


def factor_row_cost(k: int, d: int, r: int) -> int:
    """Memory for one row, in floats, of the largest arrays: residuals, and products of factors."""
    return 2 * k * (d + (r + 1) ** 2)
