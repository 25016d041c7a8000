"""Validation of cells: each lies in its column's support, and each column is observed somewhere."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._arguments import AnyArray, is_concrete, is_known, is_sharded
from dgjax._types import Support, of_columns
from dgjax.data import _shards
from dgjax.data._arrays import float_type, label_counts
from dgjax.data._size_classes import LARGE
from dgjax.sparse import SparseRows

FEW = 1 << 10  # rows that mostly say of every column that it is observed
LEAST, MOST = np.finfo(float).min, np.finfo(float).max

_column_summary = kernels.compiled_once(kernels.column_summary, results=kernels.shards.SUMS)


def column_summary(x: Any) -> kernels.ColumnSummary:
    """Summary of each column of rows x (n, d): few are read by NumPy, where XLA would compile for 0.2 s."""
    if is_concrete(x) and x.nbytes < LARGE and x.dtype in (np.float32, np.float64):
        with np.errstate(all="ignore"):  # of cells that are not finite
            exact = kernels.column_summary.reference(np.asarray(x, float))  # float32 sums row by row: 1e-5 of a spread
            return jax.tree.map(lambda own: own.astype(x.dtype) if own.dtype == float else own, exact)
    return _column_summary(x)


def check_cells(
    x: Any,
    supports: Sequence[Support],
    summary: kernels.ColumnSummary | None = None,
    given: Any = None,
    option: Callable[[], Any] | None = None,
    steps: int | None = None,
    first: int = 0,
) -> bool | None:
    """Validation of cells: True if all are observed, False if some are missing, None if unknown (inside jit).

    Raises ValueError if a cell lies outside its column's support. The message goes by `given`, what the user passed,
    and `option()`, the option of a starter by which the model would take other cells; rows may be `steps` of sequences,
    and are counted from `first`.
    """
    if not is_known(x):
        return None
    complete = plainly_complete(x, supports)
    if complete is not None:
        return complete
    summary = column_summary(x) if summary is None else summary
    if not is_concrete(summary):  # inside jit, even of rows that are known
        return None
    summary = kernels.ColumnSummary(*jax.device_get(tuple(summary)))
    _, low, high, whole, missing = zip(*supports, strict=True)
    outside = (summary.low < np.maximum(low, LEAST)) | (summary.high > np.minimum(high, MOST))
    outside |= np.array(whole) & ~summary.whole
    wrong = (outside & (summary.missing < len(x))) | (~np.array(missing) & (summary.missing > 0))
    if wrong.any():
        if is_sharded(x):
            _refuse_sharded(x, supports, summary, wrong)
        with np.errstate(over="ignore"):  # what is infinite in the precision that it is for
            _refuse(
                np.asarray(x).astype(float_type(x), copy=False),
                supports,
                x if given is None else given,
                option,
                steps,
                first,
            )
    return not summary.missing.any()


def plainly_complete(x, supports):
    """Quick validation by the least and the largest of all cells: True if no cell is missing, False if some are.

    None if that does not show that all lie inside every column's support; mostly it does. (1, 4) in 8 us and (5000, 8)
    in 30, where a summary of each column takes 70 and 310, and a compilation for each new number of rows.
    """
    if is_sharded(x) or not x.size or x.nbytes >= LARGE or jax.default_backend() != "cpu":
        return None
    cells, (low, high, whole, missing) = np.asarray(x), _common(tuple(supports))
    least, most, complete = np.minimum.reduce(cells, None), np.maximum.reduce(cells, None), True
    if least != least and missing:  # NaN
        least, most, complete = np.fmin.reduce(cells, None), np.fmax.reduce(cells, None), False
    if not (low <= float(least) and float(most) <= high):
        return None
    if whole and not ((cells == np.floor(cells)) | np.isnan(cells)).all():
        return None
    return complete


@functools.lru_cache
def _common(supports):
    """Support of what every column may hold: least and largest, whether any is whole, whether all may be missing."""
    _, low, high, whole, missing = zip(*supports, strict=True)
    return float(max(*low, LEAST)), float(min(*high, MOST)), any(whole), all(missing)


def _refuse_sharded(x, supports, summary, wrong):
    """Raises ValueError in every process, none of which has the rows of the others; `wrong` (d,) masks columns."""
    column, each = int(wrong.argmax()), of_columns(supports, x.shape[1])
    found = f"cells from {summary.low[column]} to {summary.high[column]}"
    if summary.missing[column] and not each[column].missing:
        found = f"{summary.missing[column]} missing cell(s)"
    raise ValueError(
        f"x has cells outside their column's support: column {column} holds {found}, and expects "
        f"{each[column].words}{', or NaN where missing' if each[column].missing else ''}. To look at those of this "
        f"process type [part.data[:, {column}] for part in x.addressable_shards]."
    )


def _refuse(x, supports, given, option, steps, first):
    _, low, high, whole, missing = (np.array(field) for field in zip(*supports, strict=True))
    inside = np.isfinite(x) & (x >= low) & (x <= high) & (~whole | (x == np.floor(x)))
    invalid = ~(inside | (missing & np.isnan(x)))
    row, column = (int(i) for i in np.argwhere(invalid)[0])
    each, place = of_columns(supports, x.shape[1]), f"{first + row}"
    if steps is not None:
        place = f"{first + row // steps}, {row % steps}"
    words = each[column].words if np.isnan(x[row, column]) else each[column].words.partition(". ")[0]  # on NaN
    raise ValueError(
        f"x has {int(invalid.sum())} cell(s) outside their column's support: x[{place}, {column}] is "
        f"{x[row, column]!s}, and column {column} expects {words}"
        f"{', or NaN where missing' if each[column].missing else ''}."
        f"{_advice.of_cell(given, x, column, each, invalid, option and option())}"
    )


def check_observed(x: Any, weights: AnyArray, name: str = "x") -> None:
    """Check of columns: raises ValueError if one is never observed in rows of positive weight."""
    if not is_known(x, weights):
        return
    if not is_concrete(x, weights):
        never = np.flatnonzero(~_shards.observed(x, None, weights)[0])
    elif observed_columns(x[:FEW], weights[:FEW] > 0).all():  # mostly a few rows say it of all columns
        return
    else:
        never = np.flatnonzero(~observed_columns(x, weights > 0))
    if len(never):
        raise ValueError(
            f"{name} column(s) {', '.join(map(str, never[:10]))}{', ...' * (len(never) > 10)} are never observed, so "
            f"nothing can be learnt about them. Start and fit a model without them: type np.delete({name}, "
            f"{never.tolist()}, axis=-1)."
        )


def check_observed_in_classes(x: Any, y: AnyArray, weights: AnyArray, num_labels: int) -> None:
    """Check of labelled rows with missing cells: raises if a class never shows a column, for it is unknown there."""
    if not is_known(x, y, weights) or num_labels == 1:
        return
    unlabelled, *seen = label_counts(y, num_labels, weights)
    if unlabelled:
        return
    each = _shards.observed(x, y, weights, num_labels) if is_sharded(y) else None
    for label in np.flatnonzero(seen):
        own = observed_columns(x, (np.asarray(weights) > 0) & (np.asarray(y) == label)) if each is None else each[label]
        never = np.flatnonzero(~own)
        if len(never):
            raise ValueError(
                f"x column {never[0]} is never observed in class {label}, so nothing is known of it there. Type "
                'prior="weak", which takes it to be as in the other classes, or remove the column.'
            )


def observed_columns(x: Any, counted: AnyArray) -> Any:
    """Mask (d,) of columns that are observed somewhere in those of known rows that are `counted` (n,)."""
    counted = np.asarray(counted)
    if isinstance(x, SparseRows):
        own = np.append(counted, False)[x.rows()]
        return np.bincount(np.asarray(x.columns)[own], minlength=x.num_columns) > 0
    rows = np.asarray(x)
    return (~np.isnan(rows if counted.all() else rows[counted])).any(0)
