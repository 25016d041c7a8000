"""Schema of a table, `Table`, which is a frame read by one, and `Tabular`, a model that goes by one."""

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from dgjax import _advice
from dgjax._pytree import dataclass, static
from dgjax._types import of_columns
from dgjax.data import as_model
from dgjax.tables import _typed
from dgjax.tables._columns import KINDS, Column, column_of, label_of, leave_out
from dgjax.tables._frames import CATEGORIES, TEXT, Cells, Frame, in_words, is_frame, made, read
from dgjax.tables._sequences import Places, Steps
from dgjax.tables._times import step_of

M = TypeVar("M")


@dataclass
class Schema:
    """Schema of a table: its columns, in the order in which models have them, and the column of labels.

    `label` is None where labels are numbers, or there are none. `library` is that of the frame it was read from:
    "pandas", "polars", "pyarrow", or "dict". `steps` are those of a table of sequences, None of rows by themselves.
    """

    columns: tuple[Column, ...]
    label: Column | None = None
    library: str = static(default="dict")
    steps: Steps | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def shown(self) -> tuple[Column, ...]:
        """Columns that models are shown, in order: several for the indicators of one."""
        return tuple(itertools.chain.from_iterable(column.shown for column in self.columns))

    @property
    def places(self) -> tuple[list[int], ...]:
        """Numbers of the columns that models are shown of each column."""
        ends = np.cumsum([0, *(len(column.shown) for column in self.columns)]).tolist()
        return tuple(list(range(a, b)) for a, b in itertools.pairwise(ends))

    def __repr__(self) -> str:
        label = "" if self.label is None else f"; {self.label!r}"
        steps = "" if self.steps is None else f"; {self.steps!r}"
        return f"Schema({', '.join(map(repr, self.columns))}{label}{steps})"

    def rows(self, frame: Any) -> np.ndarray:
        """Rows (n, d) of a frame: its columns found by name, categories as numbers of levels, NaN where missing.

        Other columns are not looked at. Raises ValueError for a column that is not there, or holds something else.
        """
        return self.rows_of(read(frame))

    def rows_of(self, frame: Frame) -> np.ndarray:
        """Rows (n, d) of a frame that is read."""
        there = set(frame.names)
        missing = next((name for name in self.names if name not in there), None)
        if missing is not None:
            raise ValueError(_lacking(missing, self, frame))
        encoded = [column.encode(frame.cells(column.name), frame.library) for column in self.columns]
        return np.column_stack(encoded)

    def labels(self, y: Any, frame: Any = None) -> Any:
        """Labels (n,) as numbers, -1 where unknown: of a column of the frame, if `y` is its name, or of values `y`."""
        frame = read(frame) if is_frame(frame) else frame
        if self.label is None:
            if isinstance(y, str):
                raise ValueError(
                    f"y must be whole-number labels, for the model was learnt without classes; got {y!r}. "
                    "Type dgjax.fit(model.model, x, y) to learn them."
                )
            return y
        cells = _label_cells(y, frame)
        numbers = self.label.encode(cells, "" if frame is None else frame.library)
        return np.where(np.isnan(numbers), -1, numbers).astype(int)

    def numbers(self, columns: Any) -> Any:
        """Numbers of columns given by their names; numbers stay as they are."""
        given = [columns] if isinstance(columns, str) else columns
        if isinstance(given, Sequence) and any(isinstance(name, str) for name in given):
            unknown = next((name for name in given if name not in self.names), None)
            if unknown is not None:
                raise ValueError(f"columns must be of {_advice.shown(list(self.names))}; got {unknown!r}.")
            places = self.places
            return list(itertools.chain.from_iterable(places[self.names.index(name)] for name in given))
        return columns

    def of(self, columns: Sequence[int]) -> "Schema":
        """Schema of some columns, by their numbers in models; raises ValueError for a part of a column's indicators."""
        whole, left, shown = [], list(columns), self.shown
        while left:
            column, own = next(pair for pair in zip(self.columns, self.places, strict=True) if left[0] in pair[1])
            if left[: len(own)] != own:
                raise ValueError(
                    f"columns must have all indicators of a column, {[shown[i].name for i in own]}; got some of them. "
                    f"Type columns=[{column.name!r}]."
                )
            whole.append(column)
            left = left[len(own) :]
        return Schema(tuple(whole), self.label, self.library, self.steps)

    def named(self, text: str) -> str:
        """Message about columns of arrays, by number, as one about these, by name."""
        return _advice.named(
            text, [column.name for column in self.shown], lambda names: leave_out(self.library, names, "")
        )

    def frame(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Frame, of the schema's library, of rows (n, d) and labels (n,)."""
        parts = {
            column.name: column.decode(x[:, own] if column.indicators else x[:, own[0]])
            for column, own in zip(self.columns, self.places, strict=True)
        }
        every = [*self.columns, *([self.label] if self.label else [])]
        if self.label is not None:
            parts[self.label.name] = self.label.decode(np.where(y < 0, np.nan, y.astype(float)))
        return made(self.library, parts, [column.name for column in every if column.holds == CATEGORIES])

    def check_fits(self, model: Any) -> None:
        """Raises ValueError for a model of other columns or labels, or that would take categories for quantities."""
        own = as_model(model)
        shown = self.shown
        if own.num_features not in (None, len(shown)):
            raise ValueError(
                f"x must have {own.num_features} columns, as the model has; got {len(shown)}: "
                f"{_advice.shown([column.name for column in shown])}."
            )
        if self.label is not None and len(self.label.levels) > own.num_labels:
            raise ValueError(
                f"label column {self.label.name!r} must hold at most the model's {own.num_labels} classes; got "
                f"{_advice.shown(list(self.label.levels))}. Start a model of {len(self.label.levels)} labels."
            )
        for column, support in zip(shown, of_columns(own.supports, len(shown)), strict=True):
            if column.kind == "categorical" and not (support.whole and len(column.levels) - 1 <= support.high < np.inf):
                raise ValueError(
                    f"x column {column.name!r} is of {len(column.levels)} categories, and the model expects "
                    f"{support.words} there. dgjax.naive_bayes(x, y) takes categories, and "
                    "dgjax.discriminative(dgjax.naive_bayes(x, y)) starts a regression on them; or "
                    f"{leave_out(self.library, [column.name], before='leave the column out: ')}"
                )


@plain_dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Table: a frame read by a schema. `x` (n, d) are its cells and `y` (n,) its labels, as models are shown them.

    Made by `dgjax.Table.of(frame, label)`. Starters and `dgjax.fit` take it in place of rows and labels. Of sequences
    they are (n, t, d) and (n, t), with `lengths` (n,), and `groups` are the names of the n.
    """

    frame: Any
    schema: Schema
    x: np.ndarray
    y: Any = None
    places: Places | None = None

    @property
    def lengths(self) -> np.ndarray | None:
        """Lengths (n,) of sequences; None of rows by themselves."""
        return None if self.places is None else self.places.lengths

    @property
    def groups(self) -> list[Any] | None:
        """Groups of sequences (n,), in the order in which they first come; None of rows by themselves."""
        return None if self.places is None else self.places.groups

    @classmethod
    def of(
        cls,
        frame: Any,
        label: Any = None,
        kinds: str | Sequence[str] | Mapping[str, str] | None = None,
        *,
        indicators: bool = False,
        group: str | None = None,
        order: str | None = None,
        step: Any = None,
    ) -> "Table":
        """Table of a frame of pandas, Polars or PyArrow, or a dict of columns, and the name of its label column.

        Kinds are read from types: numbers, counts too, are "gaussian", true and false "bernoulli", text and categories
        "categorical", whose levels are those of the type in its order, or the texts there are, sorted. `kinds` is one
        kind for all columns, a list, or a dict of those that are others, such as {"visits": "poisson"}. `label` may be
        labels (n,) themselves: names, or numbers from 0. None, NA and NaN are missing, and in labels unknown. With
        `indicators` a category is shown to models as numbers, one for each level but the first, so that those of
        numbers alone take it: covariances, clusters, regressions, networks.

        With `group` or `order`, names of columns, it is a table of sequences: a group is one, or else all rows are, and
        they are in the order of numbers or dates, or as they stand. `order` may be an index of pandas, "index" if it
        has no name. Each row is the step after the one before it; or by `step`, a number or of dates such as
        `np.timedelta64(1, "D")`, steps are at that distance, and those without a row have no cell and no label.

        Raises ValueError, with the column's name and what to type, for dates, mixed types, more than 50 different
        texts, a column without a cell, names twice, or no rows; and for rows of no group or time, or of the same.
        """
        if not is_frame(frame):
            raise ValueError(
                "frame must be a table with names of columns: of pandas, Polars or PyArrow, or a dict of arrays; got "
                f"{_advice.shown(frame)}. Arrays go to dgjax.naive_bayes(x, y) as they are."
            )
        own, steps = read(frame), _steps(group, order, step)
        places = None if steps is None else steps.places(own)
        label_column, y = _labels(own, label)
        names = [
            name for name in own.names if name not in (group, order) and not (isinstance(label, str) and name == label)
        ]
        if not names:
            raise ValueError("x must have a column at least beside the labels; got none.")
        chosen = _kinds(kinds, names)
        cells = {name: own.cells(name) for name in names}
        if not len(cells[names[0]].values):
            raise ValueError("x must have at least one row; got none.")
        columns = tuple(column_of(cells[name], own.library, chosen.get(name), indicators) for name in names)
        schema = Schema(columns, label_column, own.library, steps)
        x = np.column_stack([column.encode(cells[column.name], own.library) for column in columns])
        if places is None:
            return cls(frame, schema, x, y)
        return cls(frame, schema, places.padded(x, np.nan), None if y is None else padded_labels(places, y), places)

    def __repr__(self) -> str:
        return f"Table({len(self.x)} rows of {self.schema!r})"


@dataclass
class Tabular(Generic[M]):
    """Model of a table: a `model` of arrays, and the `schema` that names its columns, their levels and its labels.

    Verbs take frames, whose columns they find by name, and answer in frames and labels' names. Arrays are its columns
    in order, categories as numbers of levels, and are answered by the model itself, inside `jit`, `vmap` and `grad`
    too. What is asked of its fields is the model's.
    """

    model: M
    schema: Schema

    def __post_init__(self) -> None:
        own, d = as_model(self.model), len(self.schema.shown)
        if own.num_features not in (None, d):
            raise ValueError(f"Tabular(schema=...) must have {own.num_features} columns, as the model has; got {d}.")

    def as_model(self) -> Any:
        """The model within, of arrays."""
        return as_model(self.model)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "model" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.model, name)


def _steps(group, order, step):
    """Steps of a table of sequences, None of one of rows."""
    if group is None and order is None:
        if step is not None:
            raise ValueError("step is of sequences that are ordered by a column. Type order=, its name, beside it.")
        return None
    if step is not None and order is None:
        raise ValueError("step needs the column that orders rows. Type order=, its name, beside it.")
    return Steps(group or "", order or "", 0.0 if step is None else step_of(step))


def padded_labels(places: Places, y: Any) -> np.ndarray:
    """Labels of rows (n,) as those of steps (s, t), -1 where there is no row. Raises ValueError for another number."""
    labels = np.asarray(y)
    if labels.shape != places.codes.shape:
        raise ValueError(f"y must have a label for each of the {len(places.codes)} rows of x; got {labels.shape}.")
    return places.padded(labels.astype(int), -1)


def _labels(frame, label):
    """Column and numbers of labels; the column is None of labels that are numbers already, or none."""
    if label is None:
        return None, None
    if getattr(getattr(label, "dtype", None), "kind", "") in ("b", "i", "u", "f"):
        return None, label
    cells = _label_cells(label, frame)
    if not isinstance(label, str) and cells.holds not in (TEXT, CATEGORIES):
        return None, label
    column = label_of(cells, frame.library)
    numbers = column.encode(cells, frame.library)
    return column, np.where(np.isnan(numbers), -1, numbers).astype(int)


def _label_cells(y: Any, frame: Frame | None) -> Cells:
    """Cells of labels: of a column of the frame, or values by themselves."""
    if isinstance(y, str):
        if frame is None:
            raise ValueError(f"y must be labels where x is an array; got {y!r}. Give x as a frame with that column.")
        if y not in frame.names:
            near = _nearest(y, frame.names)
            told = f"It has {_advice.shown(list(frame.names))}." if near is None else f"Type {near!r}."
            raise ValueError(f"y must be labels, or the name of x's column of labels; x has no column {y!r}. {told}")
        return frame.cells(y)
    name = getattr(y, "name", None)
    name = name if isinstance(name, str) else "y"
    given = y.to_list() if hasattr(y, "to_list") else y.to_pylist() if hasattr(y, "to_pylist") else y
    cells = read({name: given}).cells(name)
    if hasattr(getattr(y, "cat", None), "categories"):  # pandas's
        return in_words(Cells(name, CATEGORIES, cells.values, tuple(y.cat.categories)))
    return cells


def _kinds(kinds, names):
    """Kinds asked for, by names of columns."""
    if kinds is None:
        return {}
    if isinstance(kinds, str):
        kinds = dict.fromkeys(names, kinds)
    elif not isinstance(kinds, Mapping):
        given = list(kinds)
        if len(given) != len(names):
            raise ValueError(f"kinds must be one for each of the {len(names)} columns; got {_advice.shown(given)}.")
        kinds = dict(zip(names, given, strict=True))
    wrong = next(
        itertools.chain((n for n in kinds if n not in names), (k for k in kinds.values() if k not in KINDS)), None
    )
    if wrong is not None or ("multinomial" in kinds.values() and {*map(kinds.get, names)} != {"multinomial"}):
        near = None if wrong is None else _nearest(str(wrong), names if wrong in kinds else KINDS)
        raise ValueError(
            f'kinds must give some of the columns {_advice.shown(names)} one of the kinds {KINDS}, "multinomial" to '
            f"all of them; got {_advice.shown(kinds)}.{'' if near is None else f' Type {near!r} for {wrong!r}.'}"
        )
    return kinds


def _nearest(name: str, names: Sequence[str]) -> str | None:
    """Name among others that is spelt most alike, whatever the case; None if none is."""
    spelt = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), spelt, 1, 0.8)
    return spelt[near[0]] if near else None


def _lacking(name, schema, frame):
    """Error message for a column that a frame does not have."""
    other = _nearest(name, [other for other in frame.names if other not in schema.names])
    told = _typed.of(frame.library, "missing", after=" if it is missing in every row.", name=name)
    if other is not None:
        told = _typed.of(frame.library, "rename", name=name, other=other)
    got = _advice.shown(list(frame.names))
    return f"x must have the column {name!r}, which the model was learnt with; got {got}. {told}".rstrip()
