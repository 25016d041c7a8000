"""What pictures are drawn from: arrays, and names of columns and labels, those of a schema if the model has one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgjax._verbs import predict
from dgjax.tables import Tabular, is_frame

NOT_ASKED = np.zeros(0, int)  # labels of a picture that shows none


class Given(NamedTuple):
    """Model of arrays, rows (n, d), labels (n,), names of columns and of labels, None for their numbers."""

    model: Any
    x: np.ndarray
    y: np.ndarray
    names: Sequence[str] | None
    classes: Sequence[str] | None


def given(model: Any, x: Any, y: Any, names: Sequence[str] | None, classes: Sequence[str] | None) -> Given:
    """What a picture is drawn from; labels that are not given are those that the model finds most likely."""
    if isinstance(model, Tabular):
        schema = model.schema
        named = y is not None and (isinstance(y, str) or np.asarray(y).dtype.kind not in "iuf")
        y = schema.labels(y, x if is_frame(x) else None) if named else y
        x = schema.rows(x) if is_frame(x) else x
        names = schema.names if names is None else names
        if classes is None and schema.label is not None:
            classes = [str(level) for level in schema.label.levels]
        model = model.model
    if names is None:
        names = getattr(x, "columns", None)
    rows = np.asarray(x, float)
    labels = np.asarray(predict(model, x) if y is None else y).astype(int)
    return Given(model, rows, labels, names, classes)


def numbers(model: Any, columns: Any) -> tuple[int, ...]:
    """Numbers of columns, which a model with a schema may be asked for by name."""
    chosen = model.schema.numbers(columns) if isinstance(model, Tabular) else columns
    return tuple(int(column) for column in chosen)
