"""Rows, and rows with labels, as models are started from them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _checks, _fit
from dgjax._types import FINITE
from dgjax.densities._shared import weighted_moments


class Table(NamedTuple):
    """Rows, what there is in each column, labels and their number; and what there is of each label.

    That is all there is to know of rows of independent columns where no label and no cell is missing; NumPy's then stay
    where they are.
    """

    rows: Any
    looked: kernels.ColumnSummary
    labels: Array
    num_classes: int
    seen: kernels.LabelledSummary | None
    weights: Array | None = None


def rows(x: ArrayLike) -> tuple[Array, kernels.ColumnSummary]:
    """Rows, one at least, of finite numbers where they are not missing, and what there is in each column."""
    array, looked = _checks.rows_and_summary(x)
    return _checked(array, _checks.column_summary(array) if looked is None and array.size else looked)


def labelled(
    x: ArrayLike, y: ArrayLike, num_classes: int | None, in_place: bool = False, weights: ArrayLike | None = None
) -> Table:
    """Rows and labels of at least two classes; those that NumPy holds are read `in_place`, if they may be.

    With `weights`, what is there counts as often: a row of weight 0 is none.
    """
    own = _checks.readable_rows(x) if in_place else None
    if own is not None:
        labels, k = _labels(y, own, num_classes)
        seen = _seen_by_label(own, np.asarray(labels), k)
        if seen is not None:
            return Table(*_checked(own, seen.columns), labels, k, seen)
    array, looked = rows(x)
    if weights is None:
        return Table(array, looked, *_labels(y, array, num_classes), None)
    amounts = _checks.as_weights(weights, array)
    given = _checks.as_array(y, "y", "whole-number labels, -1 where unknown")
    some = np.flatnonzero(amounts)
    if 0 < len(some) < len(array) == len(given):
        array, given, amounts = array[some], given[some], amounts[some]
        looked = _checks.column_summary(array)
    return Table(array, _weighted(looked, array, amounts), *_labels(given, array, num_classes), None, amounts)


@kernels.compiled
def _weighted(looked, rows, weights):
    """With the moments of rows that count so many times."""
    mean, variance = weighted_moments(rows, weights)
    observed = (len(rows) - looked.missing).astype(variance.dtype)
    return looked._replace(mean=mean, scatter=variance * observed)


def solved(model: Any, table: Table, prior: Any) -> Any:
    """A model fitted to all of it."""
    if table.seen is not None:
        return _fit.solved_by_label(model, table.rows, table.seen, prior)
    return _fit.solved(model, table.rows, table.labels, table.weights, prior, table.looked)


def _checked(array, looked):
    if not array.size:
        raise ValueError(f"x must have at least one row and one column; got shape {array.shape}.")
    if not _checks.check_cells(array, (FINITE,) * array.shape[1], looked):
        _checks.check_observed(array, jnp.ones(len(array)))
    return array, jax.device_put(looked)


def _seen_by_label(x, labels, k):
    if labels.min() < 0:
        return None
    seen = kernels.looked_by_label(x, labels, k, _checks.float_type(x))
    return None if seen.columns.missing.any() else jax.device_put(seen)


def _labels(y, array, num_classes):
    if num_classes is None:
        given = np.asarray(_checks.as_array(y, "y", "whole-number labels, -1 where unknown"))
        given = given if given.dtype.kind in "biu" else given[np.isfinite(given)]
        num_classes = max(1, int(given.max()) + 1) if given.size else 1
    else:
        _checks.as_count(num_classes, "num_classes", 2)
    labels = _checks.as_labels(y, array, num_classes)
    seen = _checks.label_counts(np.asarray(labels), num_classes)
    if np.count_nonzero(seen[1:]) < 2:
        raise ValueError(f"y must hold at least two classes; got {(np.flatnonzero(seen) - 1).tolist()}.")
    return labels, num_classes
