"""Frames of any library, read and written through narwhals; dicts of columns, which need no library, by NumPy."""

import functools
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, time, timedelta
from typing import Any

import numpy as np

from dgjax.tables import _typed

NUMBERS, TRUTH, TEXT, CATEGORIES = "numbers", "true and false", "text", "categories"
DATES, DURATIONS = "dates or times", "lengths of time"
"""What the cells of a column are, in words."""
INSTALL = "Tables of pandas, Polars and PyArrow are read through narwhals: type pip install 'dgjax[tables]'."


@dataclass(frozen=True)
class Cells:
    """Cells of a column: floats (n,), NaN where missing, if it `holds` numbers; else objects, None where missing.

    `holds` is one of the words above, "" of nothing but missing cells, or else says what no model takes. `levels` are
    those of a type of categories, in its order; `whole` says that the type is of whole numbers.
    """

    name: str
    holds: str
    values: np.ndarray
    levels: tuple[Any, ...] = ()
    whole: bool = False

    @property
    def missing(self) -> np.ndarray:
        """Mask (n,) of missing cells."""
        if self.values.dtype != object:
            return np.isnan(self.values)
        return np.array([cell is None for cell in self.values], bool)

    def distinct(self) -> tuple[Any, ...]:
        """Values that there are, sorted, whole numbers as ints; or those of the type's levels that there are."""
        known = self.values[~self.missing]
        if self.levels:
            there = set(known.tolist())
            return tuple(level for level in self.levels if level in there)
        if known.dtype != object:
            return tuple(int(value) if value == int(value) else value for value in np.unique(known).tolist())
        return tuple(sorted(set(known.tolist())))


@functools.cache
def _may_be_frame(kind: type) -> bool:
    """Whether objects of a class may be frames: mappings, or what has named columns and is Arrow's to read."""
    return issubclass(kind, Mapping) or (hasattr(kind, "columns") and hasattr(kind, "__arrow_c_stream__"))


def is_frame(x: Any) -> bool:
    """Whether `x` is a frame of columns with names; with the names 0, 1, 2, ..., pandas's for none, it is an array."""
    if not _may_be_frame(type(x)):
        return False
    if isinstance(x, Mapping):
        return True
    names = list(x.columns)
    return not all(isinstance(name, numbers.Integral) and name == i for i, name in enumerate(names))


class Frame(ABC):
    """Frame: columns by name. `library` is "pandas", "polars", "pyarrow", another of narwhals's, or "dict"."""

    library: str
    names: tuple[str, ...]

    @abstractmethod
    def cells(self, name: str) -> Cells:
        """Cells of a column."""

    @abstractmethod
    def keys(self, name: str) -> list[Any]:
        """Values of a column, or of an index of that name; raises ValueError if there is neither."""

    @abstractmethod
    def times(self, name: str) -> tuple[np.ndarray, str]:
        """Numbers or dates (n,) of a column or an index, dates in UTC where they have a zone, and this zone.

        An array of objects if it holds neither. Raises ValueError if there is no such column.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def without(self, name: str) -> Any:
        """Frame of the library less a column."""

    @abstractmethod
    def filled(self, cells: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Any:
        """Frame of the library with values at places of some columns: (places, values) by name."""

    @abstractmethod
    def column(self, name: str, values: np.ndarray) -> Any:
        """Column of the library beside the frame's rows, with their index."""

    @abstractmethod
    def beside(self, columns: Mapping[str, np.ndarray]) -> Any:
        """Frame of the library of other columns, beside the frame's rows, with their index."""


def read(x: Any) -> Frame:
    """Frame of `x`. Raises ValueError for names that are no text, or twice there, and columns of unequal length."""
    frame = _Dict(x) if isinstance(x, Mapping) else _Native(x)
    other = [name for name in frame.names if not isinstance(name, str)]
    if other:
        told = _typed.of(frame.library, "renamed")
        raise ValueError(f"x must have names of columns that are text; got {other[0]!r}. {told}".rstrip())
    return frame


class _Dict(Frame):
    def __init__(self, x: Mapping[str, Any]) -> None:
        self.library, self.names = "dict", tuple(x)
        self.columns = {name: _as_column(name, cells) for name, cells in x.items()}
        self.lists = {name for name, cells in x.items() if isinstance(cells, list | tuple)}
        sizes = {name: len(cells) for name, cells in self.columns.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"x must have columns of one length; got {sizes}.")

    def cells(self, name: str) -> Cells:
        column = self.columns[name]
        kind = column.dtype.kind
        if kind in "iuf":
            return Cells(name, NUMBERS, _floats(column), whole=kind != "f")
        if kind in "mM":
            return Cells(name, DATES if kind == "M" else DURATIONS, column.astype(object))
        return _inspected(name, column.astype(object))

    def keys(self, name: str) -> list[Any]:
        _check_there(name, self)
        return self.columns[name].tolist()

    def times(self, name: str) -> tuple[np.ndarray, str]:
        _check_there(name, self)
        return plain_times(self.columns[name])

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def without(self, name: str) -> Any:
        return {other: cells for other, cells in self.columns.items() if other != name}

    def filled(self, cells: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Any:
        columns = dict(self.columns)
        for name, (places, values) in cells.items():
            kind = columns[name].dtype
            column = columns[name].astype(kind if kind.kind == "f" else np.result_type(kind, values), copy=True)
            column[places] = values
            columns[name] = column
        return {name: column.tolist() if name in self.lists else column for name, column in columns.items()}

    def column(self, name: str, values: np.ndarray) -> Any:
        return values

    def beside(self, columns: Mapping[str, np.ndarray]) -> Any:
        return dict(columns)


def _as_column(name, cells):
    column = np.asarray(cells) if hasattr(cells, "dtype") else None
    if column is not None and isinstance(cells, np.ma.MaskedArray) and np.ma.is_masked(cells):
        column = column.astype(object)
        column[np.ma.getmaskarray(cells)] = None
    if column is None and isinstance(cells, Iterable) and not isinstance(cells, str | Mapping):
        column = np.empty(len(given := list(cells)), object)  # no array of NumPy's choice, which makes text of numbers
        column[:] = given
    if column is None or column.ndim != 1:
        raise ValueError(
            f"x must have a list or an array of one axis for each column; got {cells!r:.60} for column {name!r}. Type "
            "{name: [cell] for name, cell in x.items()} for a single row."
        )
    return column


class _Native(Frame):
    def __init__(self, x: Any) -> None:
        try:
            import narwhals.stable.v2 as nw
        except ImportError:
            raise ImportError(INSTALL) from None
        names = [str(name) for name in getattr(x, "column_names", None) or x.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"x must have names of columns that differ; got {twice[0]!r} {names.count(twice[0])} times. Rename one."
            )
        try:
            self.narwhals, self.frame = nw, nw.from_native(x, eager_only=True)
        except TypeError:
            raise ValueError(
                f"x must be a frame of pandas, Polars or PyArrow, or a dict; got a {type(x).__name__}. Type "
                "x = pyarrow.table(x)."
            ) from None
        self.library, self.names = self.frame.implementation.name.lower(), tuple(self.frame.columns)

    def cells(self, name: str) -> Cells:
        nw, series = self.narwhals, self.frame.get_column(name)
        kind = series.dtype
        if kind.is_numeric():
            return Cells(name, NUMBERS, self._numbers(series, kind), whole=kind.is_integer())
        if kind.is_temporal():
            return Cells(name, DURATIONS if isinstance(kind, nw.Duration) else DATES, np.zeros(len(series), object))
        objects = np.empty(len(series), object)
        objects[:] = series.to_list()
        objects[series.is_null().to_numpy()] = None
        if isinstance(kind, nw.Enum) or (isinstance(kind, nw.Categorical) and self.library != "polars"):
            return in_words(Cells(name, CATEGORIES, objects, tuple(series.cat.get_categories().to_list())))
        # Polars's Categorical knows the levels of all columns, not its own.
        found = _inspected(name, objects)
        return Cells(name, CATEGORIES, objects) if isinstance(kind, nw.Categorical) else found

    def _numbers(self, series, kind):
        if self.library == "pyarrow" and kind.is_integer():  # rounds beyond 2**53, as the other libraries do
            series = self.narwhals.from_native(series.to_native().cast("float64", safe=False), series_only=True)
        elif kind != self.narwhals.Float32:
            series = series.cast(self.narwhals.Float64)
        return np.asarray(series.to_numpy())

    def keys(self, name: str) -> list[Any]:
        return self._key(name).to_list()

    def times(self, name: str) -> tuple[np.ndarray, str]:
        nw, series = self.narwhals, self._key(name)
        zone = str(getattr(series.dtype, "time_zone", None) or "") if isinstance(series.dtype, nw.Datetime) else ""
        if zone:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        if isinstance(series.dtype, nw.Date | nw.Datetime):
            return np.asarray(series.to_numpy()).astype("M8[D]" if series.dtype == nw.Date else "M8[us]"), zone
        if series.dtype.is_numeric():
            return np.asarray(series.cast(nw.Float64).to_numpy()), ""
        return plain_times(series.to_list())

    def __len__(self) -> int:
        return len(self.frame)

    def _key(self, name):
        """Series of a column, or of an index of pandas, which is "index" where it has no name."""
        if name in self.names:
            return self.frame.get_column(name)
        index = getattr(self.frame.to_native(), "index", None) if self.library == "pandas" else None
        there = [] if index is None else [own or "index" for own in index.names]
        if name not in there:
            _check_there(name, self, there)
        values: Any = index.get_level_values(there.index(name))  # type: ignore[union-attr]
        values = values.to_timestamp() if hasattr(values, "to_timestamp") else values
        return self.narwhals.from_native(values.to_series(), series_only=True)

    def without(self, name: str) -> Any:
        return self.frame.drop(name).to_native()

    def filled(self, cells: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Any:
        columns = [self._scattered(name, places.tolist(), values) for name, (places, values) in cells.items()]
        return (self.frame.with_columns(*columns) if columns else self.frame).to_native()

    def column(self, name: str, values: np.ndarray) -> Any:
        return self.frame.with_columns(self._series(name, values)).get_column(name).to_native()

    def beside(self, columns: Mapping[str, np.ndarray]) -> Any:
        series = [self._series(name, values) for name, values in columns.items()]
        return self.frame.with_columns(*series).select(*columns).to_native()

    def _scattered(self, name, places, values):
        """A column with values at places, of its own type if that holds them, else of floats or of text."""
        nw, series = self.narwhals, self.frame.get_column(name)
        kind = series.dtype
        if kind.is_integer() and values.dtype.kind == "f":
            series = series.cast(nw.Float64)
        if isinstance(kind, nw.Categorical | nw.Enum) and self.library != "pandas":
            return series.cast(nw.String).scatter(places, values.tolist()).cast(kind)
        intervals = {str(level): level for level in intervals_of(series.to_native())}
        return series.scatter(places, [intervals.get(value, value) for value in values.tolist()])

    def _series(self, name, values):
        given = values.tolist() if values.dtype == object else values
        return self.narwhals.new_series(name, given, backend=self.frame.implementation)


def made(library: Any, columns: Mapping[str, np.ndarray], categories: Sequence[str]) -> Any:
    """New frame of a library of columns, of which some are `categories`; ImportError where it is not installed."""
    if library == "dict":
        return dict(columns)
    try:
        import narwhals.stable.v2 as nw
    except ImportError:
        raise ImportError(INSTALL) from None
    given = {name: values.tolist() if values.dtype == object else values for name, values in columns.items()}
    frame = nw.from_dict(given, backend=library)
    return frame.with_columns(*(nw.col(name).cast(nw.Categorical) for name in categories)).to_native()


def _check_there(name, frame, others=()):
    if name not in frame.names:
        index = f", and the index {list(others)}" if others else ""
        raise ValueError(f"x has no column {name!r} to group or order rows by; it has {list(frame.names)}{index}.")


def plain_times(cells: Any) -> tuple[np.ndarray, str]:
    """Times of Python's numbers or dates, in UTC where they have a zone, and this; objects of other cells."""
    values = cells if hasattr(cells, "dtype") else np.fromiter(cells, object, len(cells))
    if values.dtype.kind in "iufM":
        return values.astype("M8[us]") if values.dtype.kind == "M" and values.dtype != "M8[D]" else values, ""
    found = _inspected("", values.astype(object))
    if found.holds == NUMBERS:
        return found.values, ""
    if found.holds != DATES:
        return values.astype(object), ""
    zones = [getattr(cell, "tzinfo", None) for cell in found.values]
    plain = [
        cell if zone is None else cell.astimezone(UTC).replace(tzinfo=None)
        for cell, zone in zip(found.values, zones, strict=True)
    ]
    days = all(type(cell) is date for cell in plain)
    return np.array(plain, "M8[D]" if days else "M8[us]"), next((str(zone) for zone in zones if zone is not None), "")


def intervals_of(column: Any) -> list[Any]:
    """Intervals that are the categories of a pandas column, as `pandas.cut` makes them; none of any other."""
    levels: Any = getattr(getattr(column, "cat", None), "categories", None)
    return list(levels) if type(levels).__name__ == "IntervalIndex" else []


def in_words(cells: Cells) -> Cells:
    """Cells whose intervals are their text, as "(0.5, 1.5]": what a schema keeps, files too."""
    intervals = {level for level in (*cells.levels, *cells.values.tolist()) if _is_interval(level)}
    if not intervals:
        return cells
    values = np.empty(len(cells.values), object)
    values[:] = [str(cell) if _is_interval(cell) else cell for cell in cells.values.tolist()]
    levels = cells.levels or sorted(intervals)
    return Cells(cells.name, CATEGORIES, values, tuple(str(level) for level in levels))


def _is_interval(cell: Any) -> bool:
    return type(cell).__name__ == "Interval"


def _inspected(name: str, objects: np.ndarray) -> Cells:
    """Cells of Python objects, by what all are that are not missing; mixed types are named in `holds`."""
    gone = np.array([_is_missing(cell) for cell in objects], bool)
    known = objects[~gone]
    tests = {TRUTH: bool | np.bool, NUMBERS: numbers.Number, TEXT: str, DATES: date | time | np.datetime64}
    tests |= {DURATIONS: timedelta | np.timedelta64}
    holds = next((words for words, of in tests.items() if all(isinstance(cell, of) for cell in known)), None)
    if holds == NUMBERS and any(isinstance(cell, bool | np.bool) for cell in known):
        holds = None
    if len(known) and all(map(_is_interval, known)):
        cells = objects.copy()
        cells[gone] = None
        return in_words(Cells(name, CATEGORIES, cells))
    if holds is None:
        of = {type(cell).__name__: cell for cell in known[::-1]}
        examples = sorted(of.items())[:2]
        return Cells(name, " and ".join(f"{kind} ({cell!r:.40})" for kind, cell in examples), objects)
    cells = objects.copy()
    cells[gone] = None
    if not len(known):
        return Cells(name, "", cells)
    if holds == NUMBERS:
        return Cells(name, holds, _floats(cells), whole=all(isinstance(cell, numbers.Integral) for cell in known))
    return Cells(name, holds, cells)


def _floats(column):
    return column.astype(np.float32 if column.dtype == np.float32 else float)


def _is_missing(cell: Any) -> bool:
    return (
        cell is None or type(cell).__name__ in ("NAType", "NaTType") or bool(isinstance(cell, float) and cell != cell)
    )
