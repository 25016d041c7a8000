"""Training data of starters: validated rows, labels and weights, and summaries of columns."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._arguments import LABELS, AnyArray, as_count, is_known, is_sharded
from dgjax._types import FINITE
from dgjax.data import (
    Data,
    as_labels,
    as_sparse_rows,
    as_weights,
    beside,
    check_cells,
    check_observed,
    check_whole,
    column_summary,
    float_type,
    in_size_class,
    label_counts,
    limits_of,
    readable_rows,
    rows_and_summary,
    warn_if_lost,
    whole_labels,
)
from dgjax.densities import weighted_moments
from dgjax.sparse import SparseRows

KINDS = ("gaussian", "bernoulli", "categorical", "poisson", "multinomial")
MOST = 1 << 16  # labels or categories of fewer rows: one above is an identifier, and all those below take memory


def rows(x: ArrayLike) -> tuple[AnyArray, kernels.ColumnSummary]:
    """Validated rows (n, d), n >= 1, of finite numbers or NaN, and a summary of each column."""
    check_whole(x)
    return rows_of_sample(x)


def rows_of_sample(x: ArrayLike) -> tuple[AnyArray, kernels.ColumnSummary]:
    """What `rows` gives, of what may be a sample of sharded rows."""
    warn_if_lost(x)
    array, summary = rows_and_summary(x)
    return _checked(array, column_summary(array) if summary is None and array.size else summary, x)


def sparse_rows(x: Any) -> tuple[SparseRows, None]:
    """Validated sparse rows (n, d), of which every column is observed somewhere; they have no summary."""
    rows = as_sparse_rows(x)
    check_known(rows)
    warn_if_lost(x)
    check_observed(rows, np.ones(len(rows)))
    return rows, None


def labelled(
    x: ArrayLike, y: ArrayLike, num_classes: int | None, zero_copy: bool = False, weights: ArrayLike | None = None
) -> Data:
    """Validated rows x (n, d), labels y (n,), -1 where unknown, of at least two classes, and summaries of columns.

    `num_classes` is one more than the highest label by default, and each class must then have a row. With `weights`
    (n,), means and spreads of columns are weighted, and rows of weight 0 dropped; without, and with `zero_copy`, large
    NumPy arrays on a CPU are read where they are.

    Raises ValueError inside jit, without labels, for bad rows, labels or weights, or with rows of fewer than two
    classes.
    """
    if y is None:
        raise ValueError(f"y must be {LABELS}; got None. {_advice.WITHOUT_LABELS}")
    check_known(x, y, weights)
    own = readable_rows(x) if zero_copy and weights is None else None
    if own is not None:
        warn_if_lost(own)
        labels, k = _labels(y, own, num_classes)
        summary_by_label = _summary_by_label(own, np.asarray(labels), k)
        if summary_by_label is not None:
            _checked(own, summary_by_label.columns, x)
            return Data(own, labels, None, summary_by_label, complete=True, labelled=True, num_classes=k)
    array, summary = rows(x)
    if weights is None:
        labels, k = _labels(y, array, num_classes)
        return Data(array, labels, None, summary, num_classes=k)
    amounts = as_weights(weights, array)
    if is_sharded(array):
        labels, k = _labels(y, array, num_classes, amounts=amounts)
        return Data(array, labels, amounts, _weighted(summary, array, amounts), num_classes=k)
    given = whole_labels(y, "y")
    some = np.flatnonzero(amounts)
    if 0 < len(some) < len(array) == len(given):
        array, given, amounts = array[some], given[some], amounts[some]
        summary = column_summary(array)
    labels, k = _labels(given, array, num_classes, y)
    return Data(array, labels, amounts, _weighted(summary, array, amounts), num_classes=k)


def perhaps_labelled(x: ArrayLike, y: ArrayLike | None, num_classes: int | None) -> tuple[AnyArray, Any, int]:
    """Validated rows (n, d), a summary of each column, and the number of classes of labels y (n,), 1 without any.

    Raises ValueError as `labelled` does, and for `num_classes` of rows without labels.
    """
    if y is not None:
        data = labelled(x, y, num_classes)
        return data.x, data.columns, data.num_classes
    if num_classes is not None:
        raise ValueError(f"num_classes is for rows with labels; got num_classes={num_classes} and no y. Leave it out.")
    check_known(x)
    return *rows(x), 1


def _weighted(summary, rows, weights):
    """A summary of columns with the mean and standard deviation of weighted rows."""
    padded, _, amounts = in_size_class(rows, None, weights)
    return summary._replace(**_weighted_moments(padded, amounts)._asdict())


_weighted_moments = kernels.compiled_once(weighted_moments, results=kernels.shards.SUMS)


def category_counts(num_categories: Any, kinds: Sequence[str], x: AnyArray, summary: Any) -> np.ndarray:
    """Number of categories of each column (d,): `num_categories`, by default one more than the highest; 0 of others.

    One number for all columns of categories, or a list of d, or a dict by the columns' numbers. Raises ValueError for
    fewer categories than a column has, or if a column has more than rows and than MOST: its cells must be identifiers.
    """
    categorical = np.array([kind == "categorical" for kind in kinds])
    if num_categories is not None and not categorical.any():
        raise ValueError('num_categories is for columns of kind "categorical", of which there are none; leave it out.')
    highest, most = np.where(categorical, np.asarray(summary.high, float), -1), max(len(x), MOST)
    column = int(highest.argmax())
    if highest[column] >= most:
        raise ValueError(
            f"x column {column} must hold categories from 0 to {most - 1}; got {highest[column]:.0f}. Number "
            f"them: np.unique(x[:, {column}], return_inverse=True)[1]."
        )
    seen = highest.astype(int) + 1
    given = _given_counts(num_categories, seen, categorical, most)
    if (few := categorical & (given < seen)).any():
        column = int(few.argmax())
        raise ValueError(
            f"num_categories must be at least {seen[column]} for column {column}, which holds category "
            f"{seen[column] - 1}; got {given[column]}."
        )
    return np.where(categorical, given, 0)


def _given_counts(num_categories, seen, categorical, most):
    if isinstance(num_categories, Mapping):
        columns = np.flatnonzero(categorical).tolist()
        if not set(num_categories) <= set(columns):
            raise ValueError(
                f"num_categories must be of columns of categories, {_advice.shown(columns)}; got "
                f"{_advice.shown(num_categories)}."
            )
        named = [num_categories.get(column) for column in range(len(seen))]
    else:
        named = [num_categories] * len(seen)
        if num_categories is not None and np.ndim(num_categories):
            named = list(num_categories)
        if len(named) != len(seen):
            raise ValueError(
                f"num_categories must be one number, or a list with one for each of the {len(seen)} columns; got "
                f"{_advice.shown(num_categories)}."
            )
    given = [own is not None and at for own, at in zip(named, categorical, strict=True)]
    counts = [as_count(own, "num_categories", 1, most) if at else 0 for own, at in zip(named, given, strict=True)]
    return np.where(given, counts, seen)


def _checked(array, summary, given) -> tuple[Any, Any]:
    if not array.size:
        raise ValueError(f"x must have at least one row and one column; got shape {array.shape}.")
    if not check_cells(array, (FINITE,) * array.shape[1], summary, given):
        check_observed(array, as_weights(None, array))
    return array, summary if isinstance(summary.low, Array) else jax.device_put(summary)


def _summary_by_label(x, labels, k):
    if labels.min() < 0:
        return None
    seen = kernels.summarise_by_label(x, labels, k, float_type(x))
    return None if seen.columns.missing.any() else jax.device_put(seen)


def check_known(*arrays: Any) -> None:
    """Raises ValueError inside jit, vmap and grad: a starter reads sizes and parameters off concrete numbers."""
    if not is_known(arrays):
        raise ValueError(
            "x, y and weights must be known numbers here, and inside jit, vmap or grad they are not. Type the starter "
            "outside, and dgjax.fit(model, x, y) inside."
        )


def _labels(y, array, num_classes, given=None, amounts=None):
    """Validated labels (n,) and the number of classes, of rows of positive weight if `amounts` are weights.

    `given` is what the user wrote, for messages.
    """
    y = beside(y if isinstance(y, jax.Array) else whole_labels(y, "y"), array) if is_sharded(array) else y
    given = y if given is None else given
    most = max(len(array), MOST)
    if num_classes is not None:
        num_classes = as_count(num_classes, "num_classes", 2, most)
    k = _num_classes(y, most, given) if num_classes is None else num_classes
    labels = as_labels(y, array, k)
    check_known(labels, array)
    loose, *seen = label_counts(labels, k, amounts)
    found, given = (_distinct(loose, seen),) * 2 if is_sharded(labels) else (np.asarray(labels), given)
    if np.count_nonzero(seen) < 2:
        raise ValueError(_too_few(found, given))
    if num_classes is None and not all(seen):
        raise ValueError(_gaps(found, given))
    return labels, k


def _distinct(loose, seen):
    """Labels that some row has, of their numbers."""
    return np.flatnonzero([loose, *seen]) - 1


def _num_classes(y, most, given):
    """Number of classes, one more than the highest label; raises ValueError if that is more than `most`."""
    if is_sharded(y):
        limits = limits_of(y)
        y = given = np.array(limits)
    labels = np.asarray(whole_labels(y, "y"))
    highest = int(labels.max(initial=0))
    if highest >= most or labels.min(initial=0) < -1:
        raise ValueError(_gaps(labels, given))
    return highest + 1


def _gaps(labels, given):
    unknown = _advice.of_unknown(labels, "y")
    known = np.unique(labels[labels != -1] if unknown else labels[labels >= 0])
    some = ", ".join(map(str, known[:10].tolist())) + ", ..." * (len(known) > 10)
    every = np.asarray(whole_labels(given, "y"))
    told = [f"num_classes={known[-1] + 1} if classes may have no row"] * int(known[-1] < MOST)
    if unknown:
        told = [unknown]
    elif len(np.unique(every[every >= 0])) <= every.max():  # not all there, if with a weight of 0
        told = [f"{_advice.numbered(given, every, 'y')} to number them", *told]
    return f"y must hold each of the labels 0 to k - 1, or -1 where unknown; got {some}. Type {', or '.join(told)}."


def _too_few(labels, given):
    seen = np.unique(labels).tolist()
    few = f"y must hold at least two classes; got {seen if seen != [-1] else 'no label, every one is -1, unknown'}."
    every = np.asarray(whole_labels(given, "y"))
    if len(np.unique(every[every >= 0])) > 1:
        return f"{few} Rows of the other classes have weight 0: give some of them more, or leave weights out."
    if seen[0] == -1 and len(seen) > 1 and _advice.signed(given, "y") == "y":
        return f"{few} -1 is unknown; if it is a class, type np.unique(y, return_inverse=True)[1]."
    return f"{few} {_advice.WITHOUT_LABELS}"


def named_kinds(kinds, d, name="emissions"):
    """Kind of each of d columns, from one kind, a list of them, or a dict by the columns' numbers.

    Raises ValueError for unknown kinds, or columns.
    """
    if isinstance(kinds, dict):
        columns = list(range(d))
        if set(kinds) != set(columns):
            raise ValueError(
                f"{name} must give the kind of every column, {_advice.shown(columns)}, and of no other; got "
                f"{_advice.shown(kinds)}."
            )
        kinds = [kinds[column] for column in columns]
    named = [kinds] * d if isinstance(kinds, str) or not isinstance(kinds, Iterable) else list(kinds)
    if len(named) != d or not set(named) <= set(KINDS) or ("multinomial" in named and len(set(named)) > 1):
        raise ValueError(
            f"{name} must be one of {KINDS}, or a list of the first four with one for each of the {d} columns; got "
            f"{_advice.shown(kinds)}."
        )
    return named
