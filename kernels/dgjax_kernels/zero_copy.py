"""Rows where NumPy has them: memory that XLA would only take as a copy, for it does not start where XLA wants it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

ALIGNMENT = 64
MOST_CELLS = 1 << 31  # that an index can number


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ZeroCopyRows:
    """Rows (n, d), from the first cell on that lies where XLA wants memory to start, and a copy of those before.

    XLA shares the cells with NumPy, so that they must not change as long as it works on them.
    """

    first: Float[Array, "few d"]  # the rows before that cell, the last of which may go beyond it
    cells: Float[Array, " rest"]

    __no_type_check__ = True  # JAX puts anything in place of the fields

    def __len__(self) -> int:
        few, d = self.first.shape
        return (len(self.cells) + few * d) // d

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.first.shape[1]

    @property
    def dtype(self) -> np.dtype:
        return self.cells.dtype

    @property
    def _skipped(self) -> int:
        n, d = self.shape
        return n * d - len(self.cells)

    def whole(self) -> Float[Array, "n d"]:
        """A copy in one piece."""
        return jnp.concatenate([self.first.reshape(-1)[: self._skipped], self.cells]).reshape(self.shape)

    def picked(self, rows: np.ndarray) -> Float[Array, "m d"]:
        """A copy of some rows, whose numbers ascend."""
        few, d = self.first.shape
        early = rows[rows < few]
        starts = jnp.asarray(rows[len(early) :] * d - self._skipped)
        later = jax.vmap(lambda start: jax.lax.dynamic_slice(self.cells, (start,), (d,)))(starts)
        return jnp.concatenate([self.first[early], later])


def can_share(x: np.ndarray) -> bool:
    """Whether rows are in one piece and of a precision that JAX has."""
    known = x.dtype in (np.float32, np.float64) and x.dtype == jax.dtypes.canonicalize_dtype(x.dtype)
    return known and x.ndim == 2 and x.flags.c_contiguous and x.flags.aligned and 0 < x.size < MOST_CELLS


def zero_copy_rows(x: np.ndarray) -> ZeroCopyRows:
    """The rows, shared with NumPy but for the first few."""
    skipped = -x.ctypes.data % ALIGNMENT // x.itemsize
    few = -(-skipped // x.shape[1])
    cells = jax.device_put(x.reshape(-1)[skipped:], may_alias=True)
    return ZeroCopyRows(jnp.array(x[:few]), cells)
