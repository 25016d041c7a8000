"""Functions that densities share: labels flattened for the kernels, moments of columns, cancellation limits."""

import functools
import math
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax import _kmeans
from dgjax._arguments import AnyArray, is_concrete
from dgjax._types import ColumnMoments, LabelIndex
from dgjax.sparse import SparseRows
from dgjax.structures import Sequences

T = TypeVar("T")


def flat(parameter: Array, label_shape: tuple[int, ...]) -> Array:
    """Parameter with label axes flattened: (*L, ...) -> (k, ...)."""
    return parameter.reshape(math.prod(label_shape), *parameter.shape[len(label_shape) :])


def with_labels(density: T, k: int, **led: bool) -> T:
    """Density of k labels in place of its own (k',): of the first k, or of all and copies of the first.

    `led` names every parameter, in the order of the fields: True for one whose first axis is the labels, False for one
    that they share, which stays. Without checks: a fit may have ended at NaN.
    """
    known = ((getattr(density, name), own) for name, own in led.items())
    leaves = [first_and_more(parameter, k) if own else parameter for parameter, own in known]
    return jax.tree.unflatten(jax.tree.structure(density), leaves)


def first_and_more(parameter: AnyArray, k: int, more: float | None = None) -> Array:
    """Parameter (k, ...) in place of (k', ...): its first k, or all and `more`, by default copies of the first.

    In NumPy where numbers are known, for nothing is compiled there.
    """
    xp: Any = np if is_concrete(parameter) else jnp
    own = xp.asarray(parameter)[:k]
    rest = own[:1] if more is None else xp.full_like(own[:1], more)
    return jax.device_put(xp.concatenate([own, xp.repeat(rest, k - len(own), 0)]))


def picked(parameter: Array, columns: tuple[int, ...], axis: int = -1) -> Array:
    """Entries of a parameter for some columns, along the axis of the columns; by NumPy where numbers are known."""
    if is_concrete(parameter):
        return jax.device_put(np.take(np.asarray(parameter), columns, axis))
    return jnp.take(parameter, jnp.array(columns), axis)


def flat_index(at: LabelIndex, label_shape: tuple[int, ...]) -> Array:
    """Labels as one number each, in the order of `flat`, from indices into the label axes (L); 0 if there are none."""
    index = jnp.zeros((), jnp.int32)
    for own, size in zip(at, label_shape, strict=True):
        index = index * size + own
    return index


def rows_by_labels(counts: Array) -> Array:
    """Responsibilities with label axes flattened: (n, *L) -> (n, k), of no rows too."""
    return counts.reshape(len(counts), math.prod(counts.shape[1:]))


def ratio(numerator: Array, denominator: Array, otherwise: Any) -> Array:
    """Ratio numerator / denominator, and `otherwise` where the denominator is 0: a label that no row belongs to."""
    empty = denominator == 0
    return jnp.where(empty, otherwise, numerator / jnp.where(empty, 1, denominator))


def kept_digits(dtype: Any) -> float:
    """Cancellation limit 1e-5 / eps: how many times a variance, to keep five digits, a squared shift may be."""
    return 1e-5 / float(jnp.finfo(dtype).eps)


def digits_kept(moved: Array, unchanged: Array | bool) -> Array:
    """True where something squared, in units of a scale, is near enough for that scale to have all its digits.

    A scale that stays `unchanged` where a mean has moved was kept for want of them.
    """
    return jnp.where(unchanged, moved < 1e-6, moved <= kernels.kept(moved.dtype))


def fill(x: Array, value: Array) -> Array:
    """Rows x with `value` where a cell is missing."""
    return jnp.where(jnp.isnan(x), value, x)


def no_cells(x: Any, complete: bool | None) -> Any:
    """Mask (n,) of rows without an observed cell; all False, without a pass of 1 ns a cell, for `complete` rows."""
    if complete:
        return jnp.zeros(len(x), bool)
    return x.empty if isinstance(x, Sequences | SparseRows) else jnp.isnan(x).all(-1)


@kernels.compiled
def moments(summary: kernels.ColumnSummary, n: int | Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column; a column without spread gets that of the mean variance, or 1."""
    columns = column_moments(summary, n)
    return columns.mean, spread(columns.spread)


def column_moments(summary: kernels.ColumnSummary, n: int | Array) -> ColumnMoments:
    """Mean and standard deviation of each column of n rows, from their summary; 0 for a column without any cell."""
    observed = (n - summary.missing).astype(summary.mean.dtype)
    return ColumnMoments(jnp.where(observed > 0, summary.mean, 0), jnp.where(observed > 0, summary.spread, 0))


def weighted_moments(x: Any, weights: Array) -> ColumnMoments:
    """Mean and standard deviation of each column of weighted rows.

    Second moments are taken about a first estimate of the mean, near which no digit of them is lost.
    """
    if isinstance(x, SparseRows):
        observed, means, spread = _sparse_moments(x, weights[:, None])
        return ColumnMoments(means[0], jnp.where(observed > 0, spread, 0))
    shares, one = weights / kernels.shards.largest(weights.max()), jnp.zeros(len(x), jnp.int32)

    def sums(centre, unit):
        _, moments = kernels.labelled_moments(x, one, shares, centre[None], jnp.log(unit)[None])
        return kernels.shards.total([total[0] for total in moments])

    cells = jnp.where((weights > 0)[:, None], x, jnp.nan)
    low = kernels.shards.least(jnp.where(jnp.isnan(cells), jnp.inf, cells).min(0, initial=jnp.inf))
    # From a cell on, a column that is constant has no spread at all, not that of its mean's rounding.
    low = jnp.where(jnp.isfinite(low), low, 0)
    observed, first, _ = sums(low, jnp.ones_like(low))
    rough = low + ratio(first, observed, 0)
    size = jnp.max(jnp.abs(jnp.where(jnp.isnan(cells), 0, cells - rough)), axis=0, initial=0)
    unit = kernels.unit_of(kernels.shards.largest(size))
    _, first, second = sums(rough, unit)
    shift = ratio(first, observed, 0)
    variance = jnp.maximum(ratio(second, observed, 0) - shift**2, 0)
    return ColumnMoments(rough + unit * shift, unit * jnp.sqrt(variance))


def spread(spread: Array) -> Array:
    """Standard deviations (d,) of columns; where a column has none, that of the mean variance, or 1."""
    return jnp.where(spread > 0, spread, root_mean_square(spread))


def root_mean_square(spread: Array) -> Array:
    """Root mean square of standard deviations, 1 if all are 0.

    Worked out in units of the largest, for squares may be beyond what float32 holds.
    """
    unit = jnp.where(spread.max() > 0, spread.max(), 1)
    return jnp.where(spread.max() > 0, unit * jnp.sqrt(((spread / unit) ** 2).mean()), 1)


def prior_unit(spread: Array) -> Array:
    """Unit (d,) of a prior: 1, or the spread itself where its square might be beyond what the precision can hold."""
    most = float(jnp.finfo(spread.dtype).max) ** 0.25
    return jnp.where((spread > 1 / most) & (spread < most), 1, spread)


def labelled_moments(
    x: Array | kernels.LabelledSummary, y: Array, weights: Array, centre: Array, log_scale: Array | None = None
) -> tuple[Array, Any]:
    """Sums over each label's rows of w, w z and w z^2, z = (x - centre) / scale, from rows or their summary.

    Total weights (k,), and three sums (k, d) over observed cells, as by `kernels.labelled_moments`; the scale is 1 by
    default.
    """
    log_scale = jnp.zeros_like(centre) if log_scale is None else log_scale
    if isinstance(x, kernels.LabelledSummary):
        return x.moments(centre, log_scale)
    return kernels.labelled_moments(x, y, weights, centre, log_scale)


def moments_of_clusters(x: Array, counts: Array, complete: bool | None) -> tuple[Array, Array]:
    """Means (k, d) under counts (n, k), and the standard deviation that the columns have within clusters (d,).

    Never of rows from more than one cluster, or the spread of one would be lost in the distance to another. Where the
    spread within is nothing but rounding, it is that of all rows; and where that is too, what `moments` gives.
    """
    weights = counts.sum(1, keepdims=True)
    means = functools.partial(_kmeans.means, complete=bool(complete))
    centre = means(x, weights)
    residual, unit = _kmeans.in_units(x - centre)
    shift = means(residual, counts)
    left = residual - ratio(counts, weights, 0) @ shift
    overall, within = (jnp.sqrt(means(cells**2, weights)[0]) for cells in (residual, left))
    size = jnp.abs(centre[0]) / unit
    rounding = 4 * jnp.finfo(x.dtype).eps
    overall = jnp.where(overall > rounding * size, overall, 0)
    resolved = within > rounding * jnp.maximum(size, overall)
    return centre + unit * shift, jnp.where(resolved, unit * within, spread(unit * overall))


def moments_of_sparse_clusters(x: SparseRows, counts: Array) -> tuple[Array, Array]:
    """Means (k, d) under counts (n, k), and the deviation within clusters (d,), as `moments_of_clusters` has them."""
    observed, means, within = _sparse_moments(x, counts)
    rounding = 4 * jnp.finfo(x.dtype).eps * jnp.abs(means).max(0)
    resolved = (observed > 0) & (within > rounding)
    return means, jnp.where(resolved, within, spread(jnp.where(resolved, within, 0)))


def _sparse_moments(x, counts):
    """Total weight (d,) of the observed cells of each column, means (k, d), and deviations about these (d,)."""
    d, row = x.num_columns, x.rows()
    column = jnp.where(row < len(x), x.columns, d)
    values, counts = x.values, counts[row]
    weights = counts.sum(1)

    def sums(cells):
        return jax.ops.segment_sum(cells, column, d)

    # About a mean of all, and in units of the largest distance from it: squares lose no digits, nor overflow.
    total = sums(weights)
    rough = ratio(sums(jnp.where(weights > 0, values, 0) * weights), total, 0)
    residual = jnp.where((weights > 0) & (column < d), values - rough[column], 0)
    unit = kernels.unit_of(jax.ops.segment_max(jnp.abs(residual), column, d))
    residual = residual / unit[column]
    shift = ratio(sums(counts * residual[:, None]), sums(counts), 0)  # (d, k)
    left = residual - (ratio(counts, weights[:, None], 0) * shift[column]).sum(-1)
    return total, rough + unit * shift.T, unit * jnp.sqrt(ratio(sums(weights * left**2), total, 0))


def check_label_axes(density: Any, name: str, shape: tuple[int, ...], leading: tuple[int, ...]) -> None:
    """Check of a field: raises unless its label axes are those of the mean, or the first of them."""
    if shape != leading[: len(shape)]:
        raise ValueError(
            f"{type(density).__name__}: the label axes of {name}, {shape}, must be those of mean, {leading}, or the "
            "first of them (the labels of the others then share it)."
        )


@kernels.compiled
def about_the_median(logs: Array) -> tuple[Array, Array, Array]:
    """Log-rates (k, d) about their median over labels, `ref` (d,): logs - ref, exp(ref), and exp(logs) - exp(ref).

    What is of the size of a rate and common to most labels cancels here, before any count multiplies it. A median, for
    one label far from the others leaves theirs small.
    """
    ref = jnp.nanmedian(jnp.where(jnp.isfinite(logs), logs, jnp.nan), axis=0)
    ref = jax.lax.stop_gradient(jnp.where(jnp.isfinite(jnp.exp(ref)), ref, 0))
    w, rate = logs - ref, jnp.exp(ref)
    near = w < 1
    return w, rate, jnp.where(near, rate * jnp.expm1(jnp.where(near, w, 0)), jnp.exp(logs) - rate)
