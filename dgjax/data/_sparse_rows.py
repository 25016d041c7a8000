"""Validation of sparse rows: whatever they come as, they are sorted, hold each cell once, and none that is NaN."""

from typing import Any

import numpy as np

from dgjax._arguments import as_array, is_concrete
from dgjax.data._arrays import REAL, float_type
from dgjax.sparse import SparseRows


def as_sparse_rows(x: Any, num_columns: int | None = None) -> SparseRows:
    """Sparse rows from `SparseRows`, or from scipy's sparse array: columns ascending in each row, NaN left out.

    Raises ValueError for another number of columns, a column out of range or twice in a row, or an infinite value.
    """
    rows = x if isinstance(x, SparseRows) else SparseRows.from_scipy(x)
    if num_columns is not None and rows.num_columns != num_columns:
        raise ValueError(f"x must have {num_columns} columns, as the model has; got shape {rows.shape}.")
    if not (len(rows) and rows.num_columns):
        raise ValueError(f"x must have at least one row and one column; got shape {rows.shape}.")
    if not is_concrete(rows):
        return rows
    starts, columns = (np.asarray(own) for own in (rows.starts, rows.columns))
    if starts[0] or (np.diff(starts, append=len(columns)) < 0).any() or len(columns) != len(rows.values):
        raise ValueError(
            f"SparseRows expects starts that begin with 0 and do not fall, up to the number of columns and values; got "
            f"{len(columns)} columns, {len(rows.values)} values, and starts from {starts[0]} to {starts.max()}."
        )
    cells = as_array(np.asarray(rows.values), "x", REAL)
    with np.errstate(over="ignore"):  # beyond float32 is infinity, which is told
        values = cells.astype(float_type(cells), copy=False)
    return _checked(starts, columns, values, rows)


def _checked(starts, columns, values, rows):
    of_cell, keep = rows.rows(), ~np.isnan(values)
    keep[starts[-1] :] = False
    if not keep.all():
        of_cell, columns, values = of_cell[keep], columns[keep], values[keep]
        starts = np.concatenate([[0], np.bincount(of_cell, minlength=len(rows)).cumsum()])
    _check_each(of_cell, columns, values, rows.num_columns)
    same = of_cell[1:] == of_cell[:-1]
    if (same & (columns[1:] <= columns[:-1])).any():
        order = np.lexsort((columns, of_cell))
        columns, values = columns[order], values[order]
        twice = np.flatnonzero(same & (columns[1:] == columns[:-1]))
        if len(twice):
            raise ValueError(
                f"x must hold each cell once; row {of_cell[twice[0]]} has column {columns[twice[0]]} twice. Leave one "
                "out, or if x is scipy's type x.sum_duplicates() to add them up."
            )
    given = starts.astype(np.int32, copy=False), columns.astype(np.int32, copy=False), values
    # At least one cell, for programs that look cells up.
    return SparseRows(*given, rows.num_columns).padded(len(rows), max(len(columns), 1))


def _check_each(of_cell, columns, values, num_columns):
    """Raises ValueError for a column out of range, or an infinite value."""
    outside = (columns < 0) | (columns >= num_columns)
    if outside.any():
        at = int(outside.argmax())
        told = f" Type num_columns={columns.max() + 1}." if columns.min() >= 0 else ""
        raise ValueError(
            f"x must have columns from 0 to {num_columns - 1}, of {num_columns}; got column {columns[at]} in row "
            f"{of_cell[at]}.{told}"
        )
    infinite = np.isinf(values)
    if infinite.any():
        at = int(infinite.argmax())
        raise ValueError(
            f"x must hold finite numbers; got {values[at]} in row {of_cell[at]}, column {columns[at]}. Leave the cell "
            "out if it is missing, or type np.nan for it."
        )
