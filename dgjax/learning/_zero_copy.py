"""Zero-copy learning: logistic regression reads large NumPy arrays where they are, without a validation pass.

A copy would take as long as several passes over the rows, and validating every cell as long as one.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax._arguments import is_concrete
from dgjax.data import LARGE, check_cells
from dgjax.learning._steps import State


def zero_copy_rows(model: Any, x: Any, *given: Any) -> kernels.ZeroCopyRows | None:
    """NumPy rows shared with XLA without a copy, or None if they cannot be.

    Never inside a transformation: the passes might then run after `fit`, when the memory holds something else.
    """
    rows = type(x) is np.ndarray and x.nbytes >= LARGE and kernels.can_share(x)
    if not (rows and jax.default_backend() == "cpu"):
        return None
    if not is_concrete(model, given, jnp.zeros(())) or x.shape[1] != model.num_features:
        return None
    own = all(leaf.dtype == x.dtype and np.isfinite(leaf).all() for leaf in jax.tree.leaves(model))
    return kernels.zero_copy_rows(x) if own else None


def check_finite(model: Any, x: Any, last: State) -> None:
    """Raises ValueError for a NaN or infinite cell of zero-copy rows, which are validated only after the fit.

    Such a cell makes the gradient NaN, or the loss infinite where a fit starts, which ends the fit.
    """
    if not isinstance(x, kernels.ZeroCopyRows):
        return
    if not (np.isfinite(np.asarray(last.value)) and np.isfinite(np.asarray(last.memory[0])).all()):
        check_cells(x.whole(), model.supports)
