"""Units of columns for densities of rows with noise added to whole numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dgjax._arguments import as_columns


def whole_columns(summary: Any, whole: Sequence[int] | None, d: int) -> tuple[int, ...]:
    """Numbers of the columns of whole numbers: those given, or every column of which all cells are whole."""
    if whole is None:
        return tuple(np.flatnonzero(np.asarray(summary.whole)).tolist())
    return as_columns(whole, d) if len(whole) else ()


def with_noise(moments: Any, is_whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (d,) of columns, of those of whole numbers with noise uniform in [0, 1)."""
    mean, spread = (np.asarray(own, float) for own in moments)
    return mean + is_whole / 2, np.sqrt(spread**2 + is_whole / 12)
