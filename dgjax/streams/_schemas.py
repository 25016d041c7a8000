"""Names of a stream: which columns are rows, labels and weights, and the schema that a first pass finds of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgjax import _advice
from dgjax.streams._sources import Source
from dgjax.tables import MOST_LEVELS, Cells, Column, Schema, check_holds, column_of, label_of, read

MOST = 1 << 10  # different labels, or texts that are no categories, beyond which none are looked for


class Names(NamedTuple):
    """Names of the columns of rows, and of labels and weights where there are such."""

    columns: tuple[str, ...]
    label: str | None
    weight: str | None

    @property
    def all(self) -> tuple[str, ...]:
        """Names of all columns that are read."""
        return (*self.columns, *(name for name in (self.label, self.weight) if name is not None))

    def read(self, frame: Any, schema: Schema) -> tuple[np.ndarray, Any, Any]:
        """Rows (n, d), labels (n,), -1 where unknown, or None, and weights (n,) or None, of a frame."""
        own = read(frame)
        x = schema.rows_of(own)
        y = None if self.label is None or schema.label is None else schema.labels(self.label, frame)
        return x, y, None if self.weight is None else own.cells(self.weight).values


def columns_of(frame: Any, label: Any, weight: Any, columns: Sequence[str] | None) -> Names:
    """Names of what is read of a source, by its first frame. Raises ValueError for a name that is not there."""
    names = read(frame).names
    for option, name in (("label", label), ("weight", weight)):
        if name is not None and not isinstance(name, str):
            raise ValueError(f"{option} must be the name of a column, for the source has names; got {type(name)}.")
    if isinstance(columns, str):
        raise ValueError(f"columns must be a list of names; got {columns!r}. Type columns=[{columns!r}].")
    rest = tuple(name for name in names if name not in (label, weight)) if columns is None else tuple(columns)
    for option, name in (("label", label), ("weight", weight), *(("columns", name) for name in rest)):
        if name is not None and name not in names:
            raise ValueError(f"{option} must be of the source's columns {_advice.shown(list(names))}; got {name!r}.")
    if not rest:
        raise ValueError("columns must be one at least, beside labels and weights; got none.")
    return Names(rest, label, weight)


def found(source: Source, names: Names, first: Any, size: int) -> Schema:
    """Schema of a stream: kinds by the types of its first part, levels of text and labels by a pass over these."""
    frame = read(first)
    rows_and_labels = names._replace(weight=None).all
    cells = {name: frame.cells(name) for name in rows_and_labels}
    open_ = [name for name, own in cells.items() if name == names.label or own.values.dtype == object]
    if open_:
        if not source.again:
            raise ValueError(
                f"source can be read once alone, and the levels of column {open_[0]!r} are found by a pass of their "
                "own. Give numbers: dgjax.stream(blocks) of tuples (x, y)."
            )
        cells |= _levels(source, open_, names.label, size)
    columns = tuple(_column(cells[name], frame.library) for name in names.columns)
    label = None if names.label is None else label_of(cells[names.label], frame.library)
    return Schema(columns, label, frame.library)


def _column(cells: Cells, library: str) -> Column:
    if cells.values.dtype != object and not np.isfinite(cells.values).any():
        return Column(cells.name, "gaussian", cells.holds, (), cells.whole)  # other parts may have some
    return column_of(cells, library)


def _levels(source, names, label, size):
    """Cells of columns with every value that they hold once, by a pass over these columns."""
    seen: dict[str, dict[Any, None]] = {name: {} for name in names}
    kinds: dict[str, Cells] = {}
    for part in source.parts(size, tuple(names)):
        frame = read(part)
        for name in names:
            own = frame.cells(name)
            _check_holds(own, name == label)
            if own.holds and not (kinds.get(name) and kinds[name].holds):
                kinds[name] = own
            seen[name].update(dict.fromkeys(own.distinct() if own.holds else ()))
            if len(seen[name]) > MOST:
                _refuse(name, len(seen[name]))
    return {name: _of_values(kinds.get(name), name, list(values)) for name, values in seen.items()}


def _check_holds(cells, is_label):
    try:
        check_holds(cells, "", "label column" if is_label else "x column")
    except ValueError as error:
        told = "label= with the name of another" if is_label else "columns=[...] with the names of the others"
        said = str(error).partition(" Type ")[0].removesuffix(" Leave it out.")
        raise ValueError(f"{said} Type {told}.") from None


def _of_values(kind, name, values):
    if kind is None:
        return Cells(name, "", np.full(1, None, object))
    own = np.empty(len(values), object)
    own[:] = values
    numbers = kind.values.dtype != object
    levels = kind.levels if set(values) <= set(kind.levels) else ()
    return Cells(name, kind.holds, own.astype(float) if numbers else own, levels, kind.whole)


def _refuse(name, count):
    raise ValueError(
        f"x column {name!r} must hold {MOST_LEVELS} different texts at most; got {count} and more. Leave it out: type "
        "columns=[...] with the names of the others."
    )
