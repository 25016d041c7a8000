"""Sparse rows: the container of rows of which few cells are observed, as of ratings."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from dgjax._arguments import AnyArray, as_array, as_count, as_whole, is_concrete
from dgjax._pytree import dataclass, static, tree


@dataclass
class SparseRows:
    """Rows (n, num_columns) of which few cells are observed: every cell that is not stored is missing.

    Row i has the cells columns[starts[i]:starts[i + 1]], with their `values` (e,). `starts` is (n + 1,); `columns` (e,)
    are from 0 to num_columns - 1, in any order. Scipy's compressed sparse rows are that, and call it indptr, data and
    indices. A stored 0 is an observed 0. Cells from starts[n] on pad, and are none.
    """

    starts: Int[AnyArray, " m"] = tree()  # NumPy's until a program takes them
    columns: Int[AnyArray, " e"] = tree()
    values: Float[AnyArray, " e"] = tree()
    num_columns: int = static()

    @classmethod
    def from_scipy(cls, matrix: Any) -> "SparseRows":
        """Rows from scipy's sparse array or matrix, of any format: the entries that it stores are the observed cells.

        Raises ValueError for one that has not two axes, or stores a cell twice.
        """
        if len(matrix.shape) != 2:
            raise ValueError(f"x must be rows of shape (n, d); got a sparse array of shape {matrix.shape}.")
        if matrix.format == "dia":
            raise ValueError(
                "x is a sparse array by diagonals, of which scipy stores every cell and drops zeros. Type "
                "scipy.sparse.coo_array((values, (rows, columns)), shape=x.shape) of the cells that are observed."
            )
        rows = matrix.tocsr()
        if matrix.format == "coo" and rows.nnz < len(matrix.data):
            raise ValueError(
                f"x must store each cell once; {len(matrix.data) - rows.nnz} of its {len(matrix.data)} entries are for "
                "a cell that has one already. Leave them out, or type x.sum_duplicates() to add them up."
            )
        return cls(rows.indptr, rows.indices, rows.data, matrix.shape[1])

    @classmethod
    def from_pairs(cls, columns: ArrayLike, values: ArrayLike, num_columns: int) -> "SparseRows":
        """Rows from pairs: the `columns` (n, m) of each row, -1 where it has no more, and their `values` (n, m).

        Raises ValueError for arrays of other shapes, or column numbers that are not whole.
        """
        expected = "column numbers, -1 where a row has no more"
        numbers = np.asarray(as_whole(as_array(columns, "columns", expected, None), "columns", expected))
        cells = np.asarray(as_array(values, "values", "real numbers"))
        if numbers.ndim != 2 or numbers.shape != cells.shape:
            raise ValueError(
                f"columns and values must be of one shape (n, m); got shapes {numbers.shape} and {cells.shape}."
            )
        given = numbers != -1
        starts = np.concatenate([[0], given.sum(1).cumsum()])
        return cls(starts, numbers[given], cells[given], as_count(num_columns, "num_columns"))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.num_columns

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    @property
    def empty(self) -> Bool[AnyArray, " n"]:
        """Mask (n,) of rows without an observed cell."""
        return self.starts[1:] == self.starts[:-1]

    def astype(self, dtype: Any) -> "SparseRows":
        """Rows with values of another precision."""
        return SparseRows(self.starts, self.columns, self.values.astype(dtype), self.num_columns)

    def __getitem__(self, rows: slice) -> "SparseRows":
        """Neighbouring rows, of known ones."""
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise TypeError(
                f"SparseRows gives neighbouring rows, x[first:last]; got {rows!r}. Of others ask scipy's sparse array."
            )
        first, last, _ = rows.indices(len(self))
        starts = np.asarray(self.starts)[first : max(first, last) + 1]
        own = slice(int(starts[0]), int(starts[-1]))
        return SparseRows(starts - starts[0], self.columns[own], self.values[own], self.num_columns)

    def rows(self) -> Int[AnyArray, " e"]:
        """Row (e,) of each cell, n of those that pad."""
        e = len(self.columns)
        if is_concrete(self):
            return np.repeat(np.arange(len(self.starts), dtype=np.int32), np.diff(self.starts, append=e))
        return jnp.repeat(jnp.arange(len(self.starts)), jnp.diff(self.starts, append=e), total_repeat_length=e)

    def padded(self, n: int, e: int) -> "SparseRows":
        """Known rows as n, by rows without cells, that store e cells; themselves if they are so."""
        more, cells = n - len(self), e - len(self.columns)
        if not (more or cells):
            return self
        starts = np.pad(np.asarray(self.starts), (0, more), mode="edge")
        columns, values = (np.pad(np.asarray(own), (0, cells)) for own in (self.columns, self.values))
        return SparseRows(starts, columns, values, self.num_columns)

    def toarray(self) -> AnyArray:
        """All cells (n, d), NaN where one is missing."""
        if not is_concrete(self):
            cells = jnp.full(self.shape, jnp.nan, self.dtype)
            return cells.at[self.rows(), self.columns].set(self.values, mode="drop")
        stored = slice(int(self.starts[-1]))
        whole = np.full(self.shape, np.nan, jax.dtypes.canonicalize_dtype(np.result_type(self.dtype, np.float32)))
        whole[self.rows()[stored], np.asarray(self.columns)[stored]] = np.asarray(self.values)[stored]
        return whole


@runtime_checkable
class SparseArray(Protocol):
    """Sparse array or matrix of scipy's, of any format."""

    shape: tuple[int, ...]

    def tocsr(self) -> Any:
        """The same in compressed sparse rows."""


RowsLike = ArrayLike | SparseRows | SparseArray
"""What becomes rows: an array, or of models that take them sparse rows."""


def is_sparse(x: Any) -> bool:
    """Whether x is `SparseRows`, or scipy's sparse array or matrix."""
    return isinstance(x, SparseRows | SparseArray)
