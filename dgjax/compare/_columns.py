"""One column: numbers with NaN where a cell is missing, or categories; and what cannot be either."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dgjax.compare._errors import InputError

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
MOST_LEVELS = 50
FEW_LEVELS = 20
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


def date_error(name: str, example: str) -> InputError:
    """Dates are neither quantities nor categories, and none of the models says anything of time."""
    return InputError(
        f"column '{name}': expected numbers or categories, got dates ({example}), and no model here knows of time; "
        f"leave it out: --drop '{name}', or store what matters of it as a number, as the year or the day of the week"
    )


def parse_text(
    name: str, cells: Sequence[str], lines: Sequence[int], comma: bool = False, place: str = "line"
) -> Column:
    """Numbers if all cells are, else categories; `lines` are the cells' places in the file, for messages."""
    stripped = [cell.strip() for cell in cells]
    given = [i for i, cell in enumerate(stripped) if cell.lower() not in MISSING]
    values, stray = parse_numbers([stripped[i] for i in given])
    if stray is not None and comma:
        values, stray = parse_numbers([stripped[i].replace(",", ".") for i in given])
    for index, value in zip(given, values, strict=True):
        if math.isinf(value) and stray is None:
            raise InputError(
                f"column '{name}', {place} {lines[index]}: expected a finite number, got {stripped[index]}; "
                "correct the cell, or leave it empty if it is missing"
            )
    if stray is None:
        return Column(name, _spread(len(cells), given, values))
    return _categories(name, stripped, given, values, f"{place} {lines[given[stray]]}")


def parse_names(name: str, cells: Sequence[str], lines: Sequence[int], place: str = "line") -> Column:
    """Any number of different names, in the order in which they come first; none may be missing."""
    stripped = [cell.strip() for cell in cells]
    for cell, line in zip(stripped, lines, strict=True):
        if not cell:
            raise InputError(
                f"column '{name}', {place} {line}: expected the name of the row's sequence, got an empty cell; "
                "fill it in, or leave the row out"
            )
    index = {text: float(i) for i, text in enumerate(dict.fromkeys(stripped))}
    return Column(name, np.array([index[cell] for cell in stripped]), tuple(index))


def parse_numbers(cells: Sequence[str]) -> tuple[list[float], int | None]:
    """The cells as numbers, NaN where one is none, and the place of the first that is none."""
    values: list[float] = []
    stray: int | None = None
    for i, cell in enumerate(cells):
        try:
            values.append(float("none" if "_" in cell else cell))
        except ValueError:
            values.append(math.nan)
            stray = i if stray is None else stray
    return values, stray


def _spread(size: int, given: list[int], values: Sequence[float]) -> np.ndarray:
    column = np.full(size, np.nan)
    column[given] = values
    return column


def _categories(name: str, cells: list[str], given: list[int], numbers: list[float], first_stray: str) -> Column:
    texts = [cells[i] for i in given]
    levels = tuple(sorted(set(texts)))
    if all(DATE.fullmatch(text) for text in texts):
        raise date_error(name, texts[0])
    stray = next(text for text, value in zip(texts, numbers, strict=True) if math.isnan(value))
    share = 1 - float(np.mean(np.isnan(numbers)))
    if share > 0.5 and len(levels) > FEW_LEVELS:
        raise InputError(
            f"column '{name}', {first_stray}: expected a number, as in {share:.0%} of its cells, got '{stray}'; "
            "correct the cell, or leave it empty if it is missing"
        )
    if len(levels) > min(MOST_LEVELS, max(2, len(texts) // 2)):
        raise InputError(
            f"column '{name}': expected numbers, or text of at most {MOST_LEVELS} categories that repeat, "
            f"got {len(levels)} different texts in {len(texts)} cells, as '{stray}'; leave it out: --drop '{name}'"
        )
    index = {level: float(i) for i, level in enumerate(levels)}
    return Column(name, _spread(len(cells), given, [index[text] for text in texts]), levels)
