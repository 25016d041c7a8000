"""A column of a table as models are shown it: its kind, its levels, and the way to numbers and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dgjax import _advice
from dgjax._pytree import dataclass, static
from dgjax.tables import _typed
from dgjax.tables._frames import CATEGORIES, DATES, DURATIONS, NUMBERS, TEXT, TRUTH, Cells

KINDS = ("gaussian", "bernoulli", "categorical", "poisson", "multinomial")
USUAL = {NUMBERS: "gaussian", TRUTH: "bernoulli", TEXT: "categorical", CATEGORIES: "categorical"}
"""Kind of a column, by what it holds. Counts are real numbers, unless kinds={"visits": "poisson"} asks for them."""
MOST_LEVELS = 50
INSIDE = {
    "bernoulli": ("0 and 1", lambda x: (x == 0) | (x == 1)),
    "poisson": ("counts, whole numbers from 0", lambda x: (x == np.floor(x)) & (x >= 0)),
    "multinomial": ("counts, numbers from 0", lambda x: x >= 0),
}
"""Kinds of columns that do not hold every finite number, with what they hold."""
SKIPPED = 2**53  # the next whole number is no float64
"""Different texts in a column of categories, or labels; more are names or free text, unless their type says not so."""
Level = str | int | float | bool


@dataclass
class Column:
    """Column of a table: its name, its kind of distribution, what it holds, and the levels of categories.

    `kind` is "gaussian", "bernoulli", "categorical", "poisson", "multinomial" or, of labels, "label". A category is
    shown to models as the number of its level, True as 1. `holds` is "numbers", "true and false", "text" or
    "categories"; `whole` says that numbers came in a type of whole ones. With `indicators` models are shown a category
    as one number for each level but the first, 1 for the cell's and 0 for the others, each "gaussian" to them.
    """

    name: str = static()
    kind: str = static()
    holds: str = static()
    levels: tuple[Level, ...] = static(default=())
    whole: bool = static(default=False)
    indicators: bool = static(default=False)

    @property
    def shown(self) -> tuple["Column", ...]:
        """Columns that models are shown: itself, or one of numbers for each indicator."""
        if not self.indicators:
            return (self,)
        return tuple(Column(f"{self.name} = {level}", "gaussian", NUMBERS) for level in self.levels[1:])

    def __repr__(self) -> str:
        return f"{self.name}: {list(self.levels) if self.kind == 'label' else self.kind}"

    def encode(self, cells: Cells, library: str) -> np.ndarray:
        """Numbers (n,), of indicators (n, w), that stand for cells, NaN where missing.

        Raises ValueError for cells of another kind.
        """
        if not cells.holds:
            return self._as_shown(np.full(len(cells.values), np.nan))
        if self.levels:
            return self._as_shown(self._numbers_of_levels(cells, library))
        check_holds(cells, library)
        if cells.holds not in (NUMBERS, TRUTH):
            # What is advised makes a cell that is no number missing: few of them, or there were nothing left.
            told = _typed.of(library, "number", name=self.name) if _mostly_numbers(cells) else ""
            words = "True and False" if self.holds == TRUTH else "numbers"
            raise ValueError(
                f"x column {self.name!r} must hold {words}, its kind being {self.kind}; got {cells.holds}, such as "
                f"{_example(cells)!r}. {told or f'Give it as {words}, as when the model was learnt.'}"
            )
        values = cells.values if cells.holds == NUMBERS else np.where(cells.missing, np.nan, cells.values).astype(float)
        self._check_numbers(values)
        return values

    def _as_shown(self, values):
        if not self.indicators:
            return values
        each = (values[:, None] == np.arange(1, len(self.levels))).astype(float)
        return np.where(np.isnan(values)[:, None], np.nan, each)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Cells of numbers (n,): of their type if it holds them all, else floats; None for a missing category.

        Of indicators (n, w) the level whose own is largest, or the first where none is above a half.
        """
        if self.indicators and values.ndim == 2:
            missing = np.isnan(values).any(axis=1)
            known = np.where(np.isnan(values).any(axis=1, keepdims=True), 0, values)
            values = np.where(missing, np.nan, np.where(known.max(1) > 0.5, known.argmax(1) + 1.0, 0.0))
        missing = np.isnan(values)
        if self.levels:
            levels = np.array([*self.levels, None], object)
            return levels[np.where(missing, len(self.levels), values).astype(int)]
        values = values.astype(float)
        if missing.any() or not len(values):
            return values
        if self.holds == TRUTH:  # of a normal column the nearer one
            return values > 0.5
        return values.astype(np.int64) if self.whole and (values == np.floor(values)).all() else values

    def _numbers_of_levels(self, cells, library):
        index = {level: float(i) for i, level in enumerate(self.levels)}
        values = cells.values.astype(object)
        values[cells.missing] = None
        codes = [np.nan if value is None else index.get(value, -1.0) for value in values.tolist()]
        found = np.array(codes, float)
        if (found == -1).any():
            value = values[int((found == -1).argmax())]
            levels = list(self.levels)
            of = "label" if self.kind == "label" else "x"
            before = f"Categories that the model has not seen are scored as missing: type {'y' * (of != 'x')}"
            before = "None is unknown: type " if of != "x" else before
            told = _typed.of(library, "masked", before, name=self.name, levels=levels)
            if not (found >= 0).any():  # without them there were nothing left
                told = "None of its cells is: give them as when the model was learnt."
            raise ValueError(
                f"{of} column {self.name!r} must hold one of {_advice.shown(levels)}; got {value!r}. {told}".rstrip()
            )
        return found

    def _check_numbers(self, values):
        """Raises ValueError for cells that no column of the kind can hold."""
        words, inside = INSIDE.get(self.kind, ("finite numbers", np.isfinite))
        with np.errstate(over="ignore", invalid="ignore"):
            if inside is np.isfinite and np.isfinite(values.sum()):  # in a tenth of the time of a look at each
                return
        wrong = np.flatnonzero(~(np.isnan(values) | (inside(values) & np.isfinite(values))))
        if len(wrong):
            other = "" if self.kind == "gaussian" else f"kinds={{{self.name!r}: 'gaussian'}}, or give "
            raise ValueError(
                f"x column {self.name!r} must hold {words}, its kind being {self.kind}; got {values[wrong[0]]:g} in "
                f"row {wrong[0]}. Type {other}NaN where it is missing."
            )


def column_of(cells: Cells, library: str, kind: str | None = None, indicators: bool = False) -> Column:
    """Column that cells are learnt of, of the `kind` asked for, by default that of what they hold.

    Raises ValueError for dates, mixed types, no cell at all, text of more than `MOST_LEVELS` different values, or text
    where a kind of numbers is asked for.
    """
    check_holds(cells, library)
    name, without = cells.name, leave_out(library, [cells.name])
    if not cells.holds or cells.missing.all():
        raise ValueError(f"x column {name!r} is never observed, so nothing can be learnt about it. {without}")
    kind = USUAL[cells.holds] if kind is None else kind
    if kind == "categorical":
        levels = levels_of(cells, library)
        if indicators and len(levels) < 2:
            held = _advice.shown(list(levels))
            raise ValueError(f"x column {name!r} holds one category, {held}, which no number tells. {without}")
        return Column(name, kind, cells.holds, levels, cells.whole, indicators)
    if cells.holds not in (NUMBERS, TRUTH):
        raise ValueError(
            f"x column {name!r} holds {cells.holds}, such as {_example(cells)!r}, and kind {kind!r} takes numbers. "
            "dgjax.naive_bayes(x, y) takes categories, and any model takes dgjax.Table.of(x, indicators=True), which "
            f"makes numbers of them; or leave the column out: {without.removeprefix('Type ')}"
        )
    column = Column(name, kind, cells.holds, (), cells.whole)
    column.encode(cells, library)
    return column


def label_of(cells: Cells, library: str) -> Column:
    """Label column: its levels are the values that there are, sorted, or those of a type of categories in its order.

    Raises ValueError for fewer than two, more than `MOST_LEVELS` texts or numbers, fractions, or -1, which is unknown
    in arrays and would be a class of its own here.
    """
    check_holds(cells, library, "label column")
    levels = cells.distinct() if cells.holds else ()
    if len(levels) < 2:
        got = f"only {levels[0]!r}" if levels else "no label, for every cell is missing"
        raise ValueError(f"label column {cells.name!r} must hold two classes at least; got {got}.")
    if cells.holds == NUMBERS and not all(isinstance(level, int) for level in levels):
        raise ValueError(
            f"label column {cells.name!r} must hold classes; got numbers with fractions, such as "
            f"{next(level for level in levels if not isinstance(level, int))}, a quantity. {_cut(cells, library)}"
        )
    if cells.holds == NUMBERS and max(map(abs, levels)) >= SKIPPED:
        text = _typed.of(library, "text", name=cells.name)
        raise ValueError(
            f"label column {cells.name!r} must hold whole numbers below 2**53, beyond which floats skip some; got "
            f"{max(levels, key=abs)}. {text}".rstrip()
        )
    if -1 in levels:
        raise ValueError(
            f"label column {cells.name!r} holds -1, which is unknown in arrays and would be a class in a table. Give "
            "None or NaN where the label is unknown; or text for classes."
        )
    _check_few(cells, levels, library, "label column")
    return Column(cells.name, "label", cells.holds, _plain(cells, levels), cells.whole)


def levels_of(cells: Cells, library: str) -> tuple[Level, ...]:
    """Levels of a column of categories: those of its type in their order, else the values there are, sorted."""
    if cells.levels:
        return _plain(cells, cells.levels)
    levels = cells.distinct()
    _check_few(cells, levels, library, "x column")
    return _plain(cells, levels)


def check_holds(cells: Cells, library: str, of: str = "x column") -> None:
    """Raises ValueError, with what to type, for a column of dates, of mixed types, or of what is no cell."""
    name = cells.name
    if cells.holds in (NUMBERS, TRUTH, TEXT, CATEGORIES, ""):
        return
    without = leave_out(library, [name], before="or leave it out: ")
    if cells.holds == DATES:
        year = _typed.of(library, "year", after=" for the year; ", name=name)
        raise ValueError(
            f"{of} {name!r} must hold numbers or categories; got dates or times, and no model here knows of time. "
            f"{year or 'Give what matters of it as a number, as the year; '}{without}"
        )
    if cells.holds == DURATIONS:
        seconds = _typed.of(library, "seconds", after=", ", name=name)
        raise ValueError(f"{of} {name!r} must hold numbers; got {DURATIONS}. {seconds or 'Give seconds, '}{without}")
    text = _typed.of(library, "text", after=" if they are categories; ", name=name)
    raise ValueError(f"{of} {name!r} must hold cells of one type; got {cells.holds}. {text}{without}")


def leave_out(library: str, names: Sequence[str], before: str = "Type ") -> str:
    """Advice for an error: code for a frame without some columns."""
    return _typed.of(library, "without", before, names=list(names)) or "Leave it out."


def _check_few(cells, levels, library, of):
    if len(levels) <= MOST_LEVELS or (cells.holds == CATEGORIES and of != "label column"):
        return
    if of == "label column":
        raise ValueError(
            f"{of} {cells.name!r} must hold at most {MOST_LEVELS} classes; got {len(levels)} different values, such as "
            f"{levels[0]!r}. {_cut(cells, library)}"
        )
    whole = _typed.of(library, "category", after=" if they are; ", name=cells.name)
    raise ValueError(
        f"{of} {cells.name!r} must hold at most {MOST_LEVELS} categories; got {len(levels)} different values, such as "
        f"{levels[0]!r}, which look like names or free text. {whole}"
        f"{leave_out(library, [cells.name], before='or leave it out: ')}"
    )


def _cut(cells, library):
    """Advice on a column of too many values to be classes: of numbers, the code that cuts it into three."""
    if cells.holds != NUMBERS:
        return "Type the name of another column."
    code = _typed.of(library, "quantiles", after=" for three classes of as many rows each, ", name=cells.name)
    return f"{code}or the name of another column." if code else "Cut it into classes, or type another column's name."


def _plain(cells, levels):
    """Levels as plain values of Python's. Raises ValueError for others, such as dates."""
    levels = tuple(level.item() if isinstance(level, np.generic) else level for level in levels)
    strange = next((level for level in levels if not isinstance(level, str | int | float | bool)), None)
    if strange is not None:
        raise ValueError(
            f"column {cells.name!r} must hold categories that are text, numbers or truth values; got "
            f"{type(strange).__name__}, {strange!r}. Type x = x.astype({{{cells.name!r}: str}})."
        )
    return levels


def _mostly_numbers(cells: Cells) -> bool:
    """Whether half of the texts of a column can be read as numbers."""
    texts = [text for text in cells.values[~cells.missing].tolist() if isinstance(text, str)]

    def reads(text):
        try:
            return np.isfinite(float(text))
        except ValueError:
            return False

    return 2 * sum(map(reads, texts)) >= len(texts)


def _example(cells: Cells) -> Any:
    return cells.values[~cells.missing][0]
