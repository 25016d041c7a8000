"""Labels of any type as numbers 0 to k - 1, -1 where unknown."""

import numbers
from typing import Any

import numpy as np
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets


def column(y: Any) -> np.ndarray:
    """Labels as one array (n,), of the type that they have; of a list with unknown ones, objects as they are."""
    if isinstance(y, list | tuple) and len({type(one) for one in y}) > 1:
        y = np.fromiter(y, object, len(y))
    return np.asarray(column_or_1d(y, warn=True))


def unknown(y: np.ndarray, classes: Any = None) -> np.ndarray:
    """Mask (n,) of unknown labels: -1 among numbers, NaN, None or NA.

    -1 is a class where it is one of `classes`; without these, of whole numbers that are -1 and 1 alone, as binary
    labels are often written: with one class known there would be nothing to learn.
    """
    lacking = np.zeros(len(y), bool)
    if y.dtype.kind == "f":
        lacking = np.isnan(y)
    if y.dtype.kind == "O":
        lacking = np.array([one is None or type(one).__name__ == "NAType" or one != one for one in y], bool)
    known = _natural(y[~lacking])
    if known.dtype.kind in "if" and not (np.isin(known, (-1, 1)).all() if classes is None else -1 in column(classes)):
        lacking[~lacking] = known == -1
    return lacking


def _natural(known):
    """Known labels, of objects that are all whole numbers, or all true or false, as arrays of these."""
    if known.dtype != object:
        return known
    kinds = {bool if isinstance(one, bool | np.bool_) else type(one) for one in known}
    whole = kinds and all(issubclass(kind, numbers.Integral) and kind is not bool for kind in kinds)
    return known.astype(int if whole else bool if kinds == {bool} else object)


def encoded(y: Any, classes: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Classes (k,), sorted, and the number of each label among them (n,), -1 where unknown.

    `classes` are those of the labels that are known by default. Raises ValueError for labels that are real numbers,
    infinite, or none of `classes`.
    """
    labels = column(y)
    known = ~unknown(labels, classes)
    own = _natural(labels[known])
    assert_all_finite(own, input_name="y")
    if known.any():
        check_classification_targets(own.tolist() if own.dtype == object else own)
    encoder = LabelEncoder().fit(own if classes is None else column(classes))
    codes = np.full(len(labels), -1)
    codes[known] = encoder.transform(own) if known.any() else -1
    return encoder.classes_, codes


def filled(y: Any, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) with the first of `classes` in place of unknown ones, and a mask (n,) of these."""
    labels = column(y)
    lacking = unknown(labels, classes)
    if not lacking.any():
        return labels, lacking
    labels = labels.copy()
    labels[lacking] = classes[0]
    return _natural(labels), lacking
