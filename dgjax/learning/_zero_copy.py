"""Zero-copy learning: logistic regression reads large NumPy arrays where they are, without a validation pass.

A copy takes as long as several passes over the rows, and a look at every cell as long as one.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax import _checks
from dgjax.learning._steps import State


def zero_copy_rows(model: Any, x: Any, *given: Any) -> kernels.ZeroCopyRows | None:
    """The rows, if they can stay where they are.

    Not within a transformation, where the passes may come after `fit`, when the memory may hold something else.
    """
    rows = type(x) is np.ndarray and x.nbytes >= _checks.LARGE and kernels.can_share(x)
    if not (rows and jax.default_backend() == "cpu"):
        return None
    if not _checks.is_concrete(model, given, jnp.zeros(())) or x.shape[1] != model.num_features:
        return None
    own = all(leaf.dtype == x.dtype and np.isfinite(leaf).all() for leaf in jax.tree.leaves(model))
    return kernels.zero_copy_rows(x) if own else None


def check_finite(model: Any, x: Any, last: State) -> None:
    """Raises if a cell of rows that were not validated is NaN or infinite: 0 times it is NaN, so that the gradient is
    not finite, which ends the fit.
    """
    if isinstance(x, kernels.ZeroCopyRows) and not np.isfinite(np.asarray(last.memory[0])).all():
        _checks.check_cells(x.whole(), model.supports)
