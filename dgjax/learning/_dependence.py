"""Nearly dependent columns, made independent for the optimizer: z R^-1 in place of z, where z = Q R.

Two columns 1e-4 of their spread apart give a linear model a direction of 1e-8 times the curvature of the others, less
than what float32 keeps of a Hessian: Newton's steps along it were a thousandth of what they should be, promised as
little, and the fit was said to have converged 6e-3 nats for each row short of its maximum. The rows themselves know
that direction: their difference has three digits left. So R is worked out of the rows, in float64, and the rows are
turned before they are rounded.

    rows x ─▶ z = (x - centre) / scale ─▶ Q R = z ─▶ u = z R^-1, whose curvature is about the identity's
    weights of u, found by the fit ─▶ R^-1 times them ─▶ those of z ─▶ those of x

Source: Golub and Van Loan (2013), Matrix Computations, section 5.3, for least squares by Q R in place of z^T z.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._arguments import is_concrete
from dgjax.learning._units import Units, whole
from dgjax.scorers import Linear
from dgjax.structures import Sequences, in_rows

# Least eigenvalue of the columns' correlations for which a Hessian is good enough, in units of what rounding leaves of
# it: with ten times as much, a step is a tenth too short.
RESOLVED = 100
MOST_COLUMNS = 64  # whose correlations are looked at: of more it would be felt beside a fit
# What is left of a column beside the others, in units of the rounding of its cells, for it to be more than rounding.
MORE_THAN_ROUNDING = 4


def correlations(model: Any, problem: Any, units: Units) -> Array | None:
    """Correlations (d, d) of the columns in these units, which tell whether a closer look pays; None of many columns.

    In the precision of the rows, within a program. Of linear scores only, for which columns are made independent.
    """
    if not isinstance(model.scorer, Linear) or model.num_features > MOST_COLUMNS:
        return None
    x, _, weights = in_rows(problem.x, jnp.zeros(0, int), problem.weights)
    share = (weights / kernels.shards.total(weights.sum()))[:, None]
    z = jnp.where(weights[:, None] > 0, (x - units.centre) / units.scale, 0)
    z = (z - kernels.shards.total((share * z).sum(0))) * jnp.sqrt(share)
    spread = jnp.sqrt(kernels.shards.total((z**2).sum(0)))
    z = z / jnp.where(spread > 0, spread, 1)
    return kernels.shards.total(z.T @ z) + jnp.diag((spread == 0).astype(z.dtype))


def independent(model: Any, problem: Any, sample: Any, units: Units, seen: Array | None) -> Units | None:
    """Units in which the columns of `sample` are independent, where in `units` they nearly are not; else None.

    Of linear scores of known rows only, `seen` being their `correlations`. A penalty that is felt along every direction
    is curvature enough.
    """
    if seen is None or not is_concrete(model, problem, sample, units, seen):
        return None
    eps = float(jnp.finfo(units.scale.dtype).eps)
    if not np.isfinite(seen).all() or np.linalg.eigvalsh(np.asarray(seen, float))[0] > 2 * RESOLVED * len(seen) * eps:
        return None
    return _independent(problem, sample, units)


def _independent(problem, sample, units):
    """What `independent` gives, by a look in float64 at columns centred at their means, and at the penalty."""
    eps = float(jnp.finfo(units.scale.dtype).eps)
    x, y, weights = in_rows(whole(sample.x), np.asarray(sample.y), np.asarray(sample.weights))
    x, weights = np.asarray(x), np.where(np.asarray(y) >= 0, np.asarray(weights, float), 0)
    x, weights = x[weights > 0].astype(float), weights[weights > 0]
    if len(weights) == 0 or not np.isfinite(x).all():
        return None
    centre, scale = np.asarray(units.centre, float), np.asarray(units.scale, float)
    centre = np.asarray(centre + np.average(x - centre, 0, weights), units.centre.dtype).astype(float)
    z = (x - centre) / scale * np.sqrt(weights / weights.sum())[:, None]
    d, spread = z.shape[1], np.sqrt((z**2).sum(0))
    if d < 2 or not np.isfinite(spread).all():
        return None
    size = np.where(spread > 0, spread, 1)
    penalty = 4 * float(problem.strength) / float(np.asarray(problem.weights, float).sum()) / scale**2
    correlation = (z / size).T @ (z / size) + np.diag(penalty / size**2 + (spread == 0))
    if np.linalg.eigvalsh(correlation)[0] > RESOLVED * d * eps:
        return None
    turn = np.linalg.inv(_triangle(z, np.abs(x).max(0) / scale, eps))
    return Units(*(jnp.asarray(own, units.scale.dtype) for own in (centre, scale, turn)))


def _triangle(z, largest, eps):
    """R (d, d) of z = Q R; a column that is a combination of those before, but for rounding, stays as it is."""
    R = np.linalg.qr(z, mode="r")
    R = np.vstack([R, np.zeros((z.shape[1] - len(R), z.shape[1]))])
    own = np.abs(np.diagonal(R))
    nothing = own <= MORE_THAN_ROUNDING * eps * np.maximum(largest, np.abs(R).max(0))
    R[nothing] = 0
    R[:, nothing] = 0
    R[nothing, nothing] = 1
    return R


def turned_rows(x: Any, units: Units) -> Any:
    """Rows (n, d), or sequences, in units with a turn: by NumPy in float64, rounded at the end."""
    rows = np.asarray(x.x if isinstance(x, Sequences) else whole(x))
    z = (rows.astype(float) - np.asarray(units.centre, float)) / np.asarray(units.scale, float)
    u = jnp.asarray((z @ np.asarray(units.turn, float)).astype(rows.dtype))
    return x.holding(u) if isinstance(x, Sequences) else u
