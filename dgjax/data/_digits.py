"""Precision: a warning where float64 columns lose their differences in float32."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgjax._arguments import as_array, is_concrete
from dgjax._warnings import PrecisionWarning, warn
from dgjax.sparse import SparseRows, is_sparse

STEPS = 128
"""A column whose range is fewer steps of float32 than that has lost a hundredth of its spread, or more, to rounding."""


def warn_if_lost(x: Any) -> None:
    """Warns (PrecisionWarning) of columns whose differences float32 rounds away, such as time stamps.

    Two passes over NumPy rows; none where nothing is narrowed.
    """
    if isinstance(x, jax.Array) or jax.dtypes.canonicalize_dtype(float) == np.float64:
        return
    low, high = _limits_of_sparse(x) if is_sparse(x) else _limits(x)
    step = float(jnp.finfo(jnp.float32).eps) * np.maximum(np.abs(low), np.abs(high))
    with np.errstate(invalid="ignore", over="ignore"):  # infinite cells are another check's
        lost = np.flatnonzero((high > low) & (high - low < STEPS * step))
    if len(lost):
        j = int(lost[0])
        others = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        warn(
            f"x column {j}{others} loses its differences in float32: it ranges over {high[j] - low[j]:.3g}, and "
            f"numbers near {high[j]:.6g} are {step[j]:.2g} apart. Type x[..., {j}] -= x[..., {j}].mean() before, or "
            "jax.config.update('jax_enable_x64', True).",
            PrecisionWarning,
        )


def _limits(x):
    """Least and largest cell (d,) of each column, in float64; of no columns where nothing is narrowed."""
    array = as_array(x, "x", "numbers", np.nan)
    if not isinstance(array, np.ndarray) or array.dtype.itemsize < 8 or array.ndim not in (2, 3) or array.size == 0:
        return np.zeros((2, 0))
    rows = array.reshape(-1, array.shape[-1])
    return tuple(fn.reduce(rows, axis=0) for fn in (np.fmin, np.fmax))


def _limits_of_sparse(x):
    """Least and largest cell (d,) of each column; of no columns where float32 holds every cell, as it does ratings."""
    rows = x if isinstance(x, SparseRows) else SparseRows.from_scipy(x)
    if not is_concrete(rows) or rows.dtype.itemsize < 8 or not len(rows.columns):
        return np.zeros((2, 0))
    columns, values = np.asarray(rows.columns), np.asarray(rows.values, float)
    if ((values == values.astype(np.float32)) | np.isnan(values)).all():
        return np.zeros((2, 0))
    limits = np.full((2, rows.num_columns), np.nan)
    for limit, fn in zip(limits, (np.fmin, np.fmax), strict=True):
        fn.at(limit, columns, values)
    return limits
