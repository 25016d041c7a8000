"""Learning from rows where NumPy has them: no copy, which takes as long as several passes, and no look beforehand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax import _checks, _gradient
from dgjax.models import Logistic
from dgjax.scorers import Linear


def rows_in_place(model: Any, x: Any, method: Any, *given: Any) -> kernels.RowsInPlace | None:
    """The rows, if they can stay where they are: a kernel passes over them, a sample is taken, and that is all.

    Not within a transformation, where the passes may come after `fit`, when the memory may hold something else.
    """
    rows = type(x) is np.ndarray and x.nbytes >= _checks.LARGE and kernels.can_stay(x)
    if not (rows and jax.default_backend() == "cpu" and _only_passes(model, method, len(x))):
        return None
    if not _checks.is_concrete(model, given, jnp.zeros(())) or x.shape[1] != model.num_features:
        return None
    own = all(leaf.dtype == x.dtype and np.isfinite(leaf).all() for leaf in jax.tree.leaves(model))
    return kernels.rows_in_place(x) if own else None


def _only_passes(model, method, n):
    """Whether nothing but a gradient is asked of all rows."""
    if not (isinstance(model, Logistic) and isinstance(model.scorer, Linear)):
        return False
    usual = "newton" if _gradient.is_for_newton(model, n) else "lbfgs"
    method = usual if method is None else method
    return isinstance(method, str) and (method == "lbfgs" or _gradient.sample_size(_gradient.ravel_size(model), n) < n)


def check_rows(model: Any, x: Any, start: Any) -> None:
    """Raises if a cell of rows in place is NaN or infinite: that makes the first gradient so, as 0 times it does."""
    if isinstance(x, kernels.RowsInPlace) and not _gradient.is_finite(start):
        _checks.check_cells(x.whole(), model.supports)
