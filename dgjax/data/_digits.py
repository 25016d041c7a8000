"""Precision: a warning where float64 columns lose their differences in float32."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgjax._arguments import as_array
from dgjax._warnings import PrecisionWarning, warn

STEPS = 128
"""A column whose range is fewer steps of float32 than that has lost a hundredth of its spread, or more, to rounding."""


def warn_if_lost(x: Any) -> None:
    """Warns (PrecisionWarning) of columns whose differences float32 rounds away, such as time stamps.

    Two passes over NumPy rows; none where nothing is narrowed.
    """
    if isinstance(x, jax.Array) or jax.dtypes.canonicalize_dtype(float) == np.float64:
        return
    array = as_array(x, "x", "numbers", np.nan)
    if not isinstance(array, np.ndarray) or array.dtype.itemsize < 8 or array.ndim not in (2, 3) or array.size == 0:
        return
    rows = array.reshape(-1, array.shape[-1])
    low, high = (fn.reduce(rows, axis=0) for fn in (np.fmin, np.fmax))
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
