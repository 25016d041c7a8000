"""Rank of normal densities of low rank plus diagonal: what is resolved of a column, and whether it has a spread."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def spread(loading: Float[Array, "*labels d r"], log_scale: Float[Array, "*labels d"]) -> Float[Array, "*labels d"]:
    """Standard deviations (*labels, d) of columns; in units of the largest term, whose square may be no number."""
    scale = jnp.exp(log_scale)
    unit = jnp.maximum(jnp.abs(loading).max(-1), scale)
    unit = jnp.where(unit > 0, unit, 1)
    return unit * jnp.sqrt(((loading / unit[..., None]) ** 2).sum(-1) + (scale / unit) ** 2)


def resolved(dtype: Any) -> float:
    """Least noise, as a share of a column's spread, that is told from none: 8 sqrt(eps), 0.3% in float32.

    In units of its noise a column has loadings V of up to 1 / (4 sqrt(eps)) then. Where cells are missing, what a row
    says of a factor may be 1 / |V|^2 of what whole rows say, which is to stay above eps, its rounding.
    """
    return 8 * float(jnp.finfo(dtype).eps) ** 0.5


def apart(density: Any) -> bool:
    """Whether every column has a spread of its own given all others, by d x r matrices alone, in float64.

    The variance of column j given all others is psi_j / (1 - v_j M^-1 v_j^T), v_j its loadings in units of its noise.
    """
    loading, log_scale = np.asarray(density.loading, float), np.asarray(density._log_scale(), float)
    with np.errstate(all="ignore"):
        scale, size = np.exp(log_scale), np.hypot(np.exp(log_scale), np.linalg.norm(loading, axis=-1))
        V = loading / scale[..., None]
        M = np.eye(V.shape[-1]) + np.swapaxes(V, -1, -2) @ V
        if not np.isfinite(M).all():
            return False
        left = 1 - (V * np.swapaxes(np.linalg.solve(M, np.swapaxes(V, -1, -2)), -1, -2)).sum(-1)
        return bool((scale / np.sqrt(left) > 4 * resolved(density.mean.dtype) * size).all())


def factors_in_double(density: Any) -> Float[np.ndarray, "*labels d d"]:
    """Cholesky factors (*labels, d, d) of the covariances, whose last pivots are the noise of what is explained.

    Worked out in float64: float32 would see its own rounding there.
    """
    scale = np.exp(np.broadcast_to(np.asarray(density.log_scale, float), density.mean.shape))
    noise = scale[..., None] * np.eye(density.num_features)
    roots = np.concatenate([np.asarray(density.loading, float), noise], -1)
    L = np.swapaxes(np.linalg.qr(np.swapaxes(roots, -1, -2), mode="r"), -1, -2)
    signs = np.where(np.diagonal(L, axis1=-2, axis2=-1) < 0, -1, 1)
    return (L * signs[..., None, :]).astype(density.loading.dtype)
