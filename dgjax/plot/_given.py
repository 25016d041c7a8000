"""What pictures are drawn from: arrays, and names of columns and labels, those of a schema if the model has one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgjax._verbs import predict
from dgjax.plot import _style
from dgjax.tables import Tabular, is_frame

NOT_ASKED = np.zeros(0, int)  # labels of a picture that shows none


class Given(NamedTuple):
    """Model of arrays, rows (n, d), labels (n,); names of columns and of labels, None for their numbers.

    `levels` are the names of the categories of each column, none for numbers.
    """

    model: Any
    x: np.ndarray
    y: np.ndarray
    names: Sequence[str] | None
    classes: Sequence[str] | None
    levels: Sequence[Sequence[Any]] | None = None

    def numbers(self, columns: Any) -> tuple[int, ...]:
        """Numbers of columns, told by number or name. Raises ValueError for another name."""
        names = [] if self.names is None else list(self.names)
        wrong = next((own for own in columns if isinstance(own, str) and own not in names), None)
        if wrong is not None:
            raise ValueError(
                f"columns must be numbers, or names of columns; got {wrong!r}, where names are {names}. Type "
                "names=[...] in the order of the columns of x, or make the model from a table with names."
            )
        return tuple(names.index(own) if isinstance(own, str) else int(own) for own in columns)


def given(model: Any, x: Any, y: Any, names: Sequence[str] | None, classes: Sequence[str] | None) -> Given:
    """What a picture is drawn from; labels that are not given are those that the model finds most likely.

    Raises ValueError for no rows, and for names of labels where the model has none.
    """
    levels = None
    if isinstance(model, Tabular):
        schema = model.schema
        if y is not None and _has_names(y):
            y = schema.labels(y, x if is_frame(x) else None)
        x = schema.rows(x) if is_frame(x) else x
        names = [column.name for column in schema.shown] if names is None else names
        levels = [column.levels for column in schema.shown]
        if classes is None and schema.label is not None:
            classes = [str(level) for level in schema.label.levels]
        model = model.model
    if y is not None and _has_names(y):
        raise ValueError(
            "y must be labels 0 to k - 1, -1 unknown, for this model was learnt from arrays; got names. Type "
            "y=np.unique(y, return_inverse=True)[1], or make the model from a table with names."
        )
    if names is None:
        names = getattr(x, "columns", None)
    rows = np.asarray(x, float)
    _style.check_rows(rows)
    labels = np.asarray(predict(model, x) if y is None else y).astype(int)
    return Given(model, rows, labels, names, classes, levels)


def _has_names(y):
    return isinstance(y, str) or np.asarray(y).dtype.kind not in "biuf"
