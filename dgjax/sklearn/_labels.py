"""Labels of any type as numbers 0 to k - 1, -1 where unknown."""

from typing import Any

import numpy as np
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets


def column(y: Any) -> np.ndarray:
    """Labels as one array (n,), of the type that they have."""
    return np.asarray(column_or_1d(y, warn=True))


def unknown(y: np.ndarray) -> np.ndarray:
    """Mask (n,) of unknown labels: -1 among whole numbers, NaN among real ones, None, NaN or NA among objects.

    Of whole numbers that are -1 and 1 alone, as binary labels are often written, -1 is a class: with one class known
    there would be nothing to learn.
    """
    match y.dtype.kind:
        case "i":
            return (y == -1) & (not np.isin(y, (-1, 1)).all())
        case "f":
            return np.isnan(y)
        case "O":
            return np.array([one is None or type(one).__name__ == "NAType" or one != one for one in y], bool)
    return np.zeros(len(y), bool)


def encoded(y: Any, classes: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Classes (k,), sorted, and the number of each label among them (n,), -1 where unknown.

    `classes` are those of the labels that are known by default. Raises ValueError for labels that are real numbers,
    infinite, or none of `classes`.
    """
    labels = column(y)
    known = ~unknown(labels)
    assert_all_finite(labels[known], input_name="y")
    if known.any():
        check_classification_targets(labels[known].tolist() if labels.dtype == object else labels[known])
    encoder = LabelEncoder().fit(labels[known] if classes is None else column(classes))
    codes = np.full(len(labels), -1)
    codes[known] = encoder.transform(labels[known]) if known.any() else -1
    return encoder.classes_, codes
