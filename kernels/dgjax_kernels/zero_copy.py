"""Zero-copy rows: NumPy's memory, shared with XLA although it does not start where XLA wants it.

XLA takes an array without a copy only if it starts at a multiple of 64 bytes; large NumPy arrays start 16 or 32 bytes
beyond one. But some cell within the first 64 bytes does lie there, and from it on everything can be shared:

    NumPy's rows   │ row 0 │ row 1 │ row 2 │ ...
    first          └── a copy of the first few ──┘
    cells               ^ first aligned cell: shared from here to the end, flat
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

ALIGNMENT = 64  # bytes, what XLA asks of memory that it shares
MOST_CELLS = 1 << 31  # that an index of 32 bits can number


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ZeroCopyRows:
    """Zero-copy rows (n, d) shared with NumPy: all cells from the first aligned one on; rows before it are copied.

    NumPy must not change them as long as XLA works on them.
    """

    first: Float[Array, "few d"]  # the rows before that cell; the last of them may reach beyond it
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
        """Copy of all rows (n, d), in one array."""
        return jnp.concatenate([self.first.reshape(-1)[: self._skipped], self.cells]).reshape(self.shape)

    def picked(self, rows: np.ndarray) -> Float[Array, "m d"]:
        """Copy of some rows (m, d), whose numbers (m,) are given in ascending order."""
        few, d = self.first.shape
        early = rows[rows < few]
        starts = jnp.asarray(rows[len(early) :] * d - self._skipped)
        later = jax.vmap(lambda start: jax.lax.dynamic_slice(self.cells, (start,), (d,)))(starts)
        return jnp.concatenate([self.first[early], later])


def can_share(x: np.ndarray) -> bool:
    """Zero-copy check: True if XLA can share rows: in one piece, of a precision that JAX has, under 2^31 cells."""
    known = x.dtype in (np.float32, np.float64) and x.dtype == jax.dtypes.canonicalize_dtype(x.dtype)
    return known and x.ndim == 2 and x.flags.c_contiguous and x.flags.aligned and 0 < x.size < MOST_CELLS


def zero_copy_rows(x: np.ndarray) -> ZeroCopyRows:
    """Zero-copy input: shares NumPy's rows (n, d) with XLA, but for a copy of the first few; only where `can_share`."""
    skipped = -x.ctypes.data % ALIGNMENT // x.itemsize
    few = -(-skipped // x.shape[1])
    cells = jax.device_put(x.reshape(-1)[skipped:], may_alias=True)
    return ZeroCopyRows(jnp.array(x[:few]), cells)
