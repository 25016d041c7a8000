"""Columns of a table: numbers with NaN where a cell is missing, or categories; errors for what cannot be either."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dgjax.compare._errors import InputError
from dgjax.compare._numbers import (
    POINT,
    Style,
    ambiguous,
    has_decimal_commas,
    other_styles,
    parse_numbers,
    without_unit,
)
from dgjax.compare._reading import Reading
from dgjax.tables import MOST_LEVELS

# Those of pandas, and a question mark.
MISSING = frozenset(
    {"", "na", "n/a", "nan", "-nan", "null", "none", "<na>", "#n/a", "#n/a n/a", "#na", "?"}
    | {f"{sign}1.#{word}" for sign in ("", "-") for word in ("ind", "qnan")}
)
FEW_LEVELS = 20  # different texts, mostly numbers, that may still be categories
# Free text: so many words in half of the cells, and so large a share of them that differ.
MANY_WORDS, NEARLY_ALL = 4, 0.8
DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d{2}(:\d{2})?)"
    r"([ T]\d{1,2}:\d{2}.*)?|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4}|[A-Za-z]{3,9} \d{1,2},? \d{4}"
)


@dataclass(frozen=True)
class Column:
    """Values (n,): numbers, or where there are levels the index of the cell's level. NaN is missing."""

    name: str
    values: np.ndarray
    levels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Named:
    """Column that an option names, of any number of different texts: how to parse it, and the columns read beside it.

    `holds` says in words what is in it.
    """

    option: str
    column: str
    holds: str
    parse: Callable[[str, Sequence[str], Sequence[int], str], Column]
    beside: Callable[[list[str]], list[str]] = list


@dataclass(frozen=True)
class Cells:
    """The texts of a column, less those that are missing, their places in it, and how to say where they stand."""

    name: str
    texts: list[str]
    given: list[int]
    size: int
    lines: Sequence[int]
    place: str
    unit: str = ""
    lacking: int | None = None

    def at(self, i: int) -> str:
        """Where the i-th of the texts stands, for a message."""
        return f"column '{self.name}', {self.place} {self.lines[self.given[i]]}"

    def spread(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Values of the texts among NaN for the cells that are missing."""
        column = np.full(self.size, np.nan)
        column[self.given] = values
        return column


def date_error(name: str, example: str) -> InputError:
    """Error for a column of dates, which are neither quantities nor categories to these models."""
    return InputError(
        f"column '{name}': expected numbers or categories, got dates ({example}), and no model here knows of time; "
        f"leave it out: --drop '{name}', or store what matters of it as a number, as the year or the day of the week"
    )


def cells_of(name: str, cells: Sequence[str], lines: Sequence[int], reading: Reading, place: str = "line") -> Cells:
    """Cells of a column of texts, without those that are missing, and without a unit that all have."""
    stripped = list(map(str.strip, cells))
    given = [i for i, cell in enumerate(map(str.lower, stripped)) if cell not in MISSING]
    if reading.missing:
        given = [i for i in given if stripped[i] not in reading.missing]
    if numbers := {POINT.number(text) for text in reading.missing} - {None}:
        given = [i for i in given if POINT.number(stripped[i]) not in numbers]
    texts, unit, lacking = without_unit([stripped[i] for i in given])
    return Cells(name, texts, given, len(stripped), lines, place, unit, lacking)


def style_of(columns: Sequence[Cells], reading: Reading, separator: str) -> Style:
    """Style in which the numbers of a file are written: as told, or decimal commas where commas separate no cells."""
    commas = reading.decimal is None and separator != ","
    if commas and any(has_decimal_commas(column.texts, reading.thousands or "") for column in columns):
        return Style(",", reading.thousands or "")
    return Style(reading.decimal or ".", reading.thousands or "")


def parse(cells: Cells, style: Style) -> Column:
    """Column of numbers if all texts are numbers in the style, else of categories, sorted and numbered from 0.

    Raises InputError for a number without the unit that most have, infinity, numbers in another style, dates, a few
    texts among numbers, or too many categories.
    """
    if cells.lacking is not None:
        text = cells.texts[cells.lacking]
        raise InputError(
            f"{cells.at(cells.lacking)}: expected a number with {cells.unit}, as in most of its cells, got '{text}'; "
            f"correct the cell, leave it empty if it is missing, or type: --missing '{text}'"
        )
    values, stray = parse_numbers(cells.texts, style)
    if stray is not None:
        return _categories(cells, style, values, stray)
    found = np.array(values, float)
    _check_finite(cells, found)
    if style.decimal == "," and not style.thousands and (dubious := ambiguous(cells.texts, ".")):
        raise InputError(
            f"column '{cells.name}': expected decimal commas, as in the file, got {dubious}; type: --decimal , "
            f"--thousands . if that is {dubious.replace('.', '')}, or leave it out: --drop '{cells.name}'"
        )
    notes = (f"Column '{cells.name}' is in {cells.unit}.",) if cells.unit else ()
    return Column(cells.name, cells.spread(found), (), notes)


def parse_for(cells: Cells, style: Style, text: bool) -> Column:
    """Column of what a model has learnt from: any texts if it is one of `text`, else numbers alone.

    Raises InputError for a cell that is no number, with where it stands and what to type.
    """
    if text:
        levels = tuple(dict.fromkeys(cells.texts))
        index = {level: float(i) for i, level in enumerate(levels)}
        return Column(cells.name, cells.spread([index[own] for own in cells.texts]), levels)
    values, stray = parse_numbers(cells.texts, style)
    if stray is not None:
        _check_style(cells, style)
        raise InputError(
            f"{cells.at(stray)}: expected a number, as the model has learnt from, got '{cells.texts[stray]}'; correct "
            f"the cell, leave it empty if it is missing, or type: --missing '{cells.texts[stray]}'"
        )
    found = np.array(values, float)
    _check_finite(cells, found)
    return Column(cells.name, cells.spread(found))


def parse_names(name: str, cells: Sequence[str], lines: Sequence[int], place: str = "line") -> Column:
    """Column of names, any number of different ones, in the order in which they come first; none may be missing."""
    stripped = [cell.strip() for cell in cells]
    for cell, line in zip(stripped, lines, strict=True):
        if not cell:
            raise InputError(
                f"column '{name}', {place} {line}: expected the name of the row's sequence, got an empty cell; "
                "fill it in, or leave the row out"
            )
    index = {text: float(i) for i, text in enumerate(dict.fromkeys(stripped))}
    return Column(name, np.array([index[cell] for cell in stripped]), tuple(index))


def parse_texts(name: str, cells: Sequence[str], lines: Sequence[int], place: str = "line") -> Column:
    """Column of texts, any number of different ones, NaN where there is none."""
    stripped = [cell.strip() for cell in cells]
    index = {text: float(i) for i, text in enumerate(dict.fromkeys(filter(None, stripped)))}
    return Column(name, np.array([index.get(cell, np.nan) for cell in stripped]), tuple(index))


def _check_finite(cells: Cells, values: np.ndarray) -> None:
    for i in np.flatnonzero(np.isinf(values)).tolist():
        raise InputError(
            f"{cells.at(i)}: expected a finite number, got {cells.texts[i]}; correct the cell, or leave it empty if it "
            "is missing"
        )


def is_free_text(texts: Sequence[str]) -> bool:
    """Whether texts are of several words and nearly all different, as sentences are, and names or codes are not."""
    if len(set(texts)) < NEARLY_ALL * len(texts) or len(texts) < FEW_LEVELS:
        return False
    return bool(np.median([len(text.split()) for text in texts]) >= MANY_WORDS)


def _categories(cells: Cells, style: Style, numbers: list[float], first: int) -> Column:
    texts, name = cells.texts, cells.name
    levels = tuple(sorted(set(texts)))
    if all(DATE.fullmatch(text) for text in levels):
        raise date_error(name, texts[0])
    _check_style(cells, style)
    stray, share = texts[first], 1 - float(np.mean(np.isnan(numbers)))
    if share > 0.5 and len(levels) > FEW_LEVELS:
        raise InputError(
            f"{cells.at(first)}: expected a number, as in {share:.0%} of its cells, got '{stray}'; correct the cell, "
            f"leave it empty if it is missing, or type: --missing '{stray}'"
        )
    if len(levels) > min(MOST_LEVELS, max(2, len(texts) // 2)):
        raise InputError(
            f"column '{name}': expected numbers, or text of at most {MOST_LEVELS} categories that repeat, "
            f"got {len(levels)} different texts in {len(texts)} cells, as '{stray}'; leave it out: --drop '{name}', or "
            f"compare on it as text: --text '{name}'"
        )
    index = {level: float(i) for i, level in enumerate(levels)}
    note = (
        f"Column '{name}' is of categories, for not all of its cells are numbers: '{stray}' is none. If that stands "
        f"for a missing one, type: --missing '{stray}'"
    )
    return Column(name, cells.spread([index[text] for text in texts]), levels, (note,) if share > 0.5 else ())


def _check_style(cells: Cells, style: Style) -> None:
    """Raises if most texts are numbers that are written in another way."""
    example, styles = other_styles(cells.texts, style)
    if styles:
        told = f" and no --thousands {style.thousands}" if style.thousands == styles[0].decimal else ""
        ways = [f"{other.options}{told} if that is {other.number(example):.12g}" for other in styles[:2]]
        raise InputError(
            f"{cells.at(cells.texts.index(example))}: expected a number, got '{example}'; type: {', or '.join(ways)}; "
            f"or leave it out: --drop '{cells.name}'"
        )
