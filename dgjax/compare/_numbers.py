"""Numbers as people write them: decimal commas, thousands in groups, units of money and percent."""

import contextlib
import functools
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

SPACES = " \u00a0\u2009\u202f"
UNITS = "%‰$€£¥"
UNIT = re.compile(
    r"([+\-\u2212]?)\s*([$€£¥]?)\s*([+\-\u2212]?[\d.,'’_\s]*\d[\d.,'’_\s]*(?:[eE][+\-]?\d+)?)\s*([%‰$€£¥]?)"
)


class Style(NamedTuple):
    """Style of numbers: the decimal mark, and the mark between groups of digits, if there is one."""

    decimal: str = "."
    thousands: str = ""

    def number(self, text: str) -> float | None:
        """Number that a text stands for in this style; None if it is none."""
        text = text.replace("\u2212", "-")
        grouped = None
        if self.thousands and (grouped := _grouped(self).fullmatch(text)):
            text = "".join(one for one in text if one not in (SPACES if self.thousands in SPACES else self.thousands))
        elif self.thousands == "." and "." in text:
            return None
        if self.decimal != ".":
            if "." in text and (self.decimal in text or (self.thousands and not grouped)):
                return None
            text = text.replace(self.decimal, ".")
        try:
            return None if "_" in text else float(text)
        except ValueError:
            return None

    @property
    def options(self) -> str:
        """Options of the command for this style, as one types them."""
        thousands = f" --thousands {shlex.quote(self.thousands)}" if self.thousands else ""
        return f"--decimal {shlex.quote(self.decimal)}{thousands}"


POINT = Style()
STYLES = (Style(","), Style(".", ","), Style(",", "."), *(Style(d, t) for t in (" ", "'", "’", "_") for d in ".,"))


@functools.cache
def _grouped(style: Style) -> re.Pattern[str]:
    """Pattern of digits in groups of three, or in groups of two before the last, as in India."""
    mark = f"[{SPACES}]" if style.thousands in SPACES else re.escape(style.thousands)
    return re.compile(rf"[+-]?\d{{1,3}}(?:{mark}\d{{2,3}})*{mark}\d{{3}}(?:{re.escape(style.decimal)}\d*)?")


def parse_numbers(cells: Sequence[str], style: Style = POINT) -> tuple[list[float], int | None]:
    """Numbers of cells, NaN where one is none; and the place of the first that is none."""
    if style == POINT and "_" not in "".join(cells):
        with contextlib.suppress(ValueError):
            return list(map(float, cells)), None
    known = {cell: style.number(cell) for cell in set(cells)}
    found = [known[cell] for cell in cells]
    stray = next((i for i, value in enumerate(found) if value is None), None)
    return [math.nan if value is None else value for value in found], stray


def has_decimal_commas(cells: Sequence[str], thousands: str = "") -> bool:
    """Whether all cells are numbers, some with a comma that is no mark of thousands."""
    if not any("," in cell for cell in cells):
        return False
    style, group, found = Style(",", "" if thousands == "," else thousands), _grouped(Style(".", ",")), False
    for cell in cells:
        if style.number(cell) is None:
            return False
        found = found or ("," in cell and not group.fullmatch(cell))
    return found


def other_styles(cells: Sequence[str], style: Style) -> tuple[str, list[Style]]:
    """A cell that is no number in this style, and the styles in which it, most cells, and more than here, are.

    An empty text and no styles if there are none.
    """
    counts = Counter(cells)
    numbers = {other: {cell for cell in counts if other.number(cell) is not None} for other in (style, *STYLES)}
    share = {other: sum(counts[cell] for cell in found) for other, found in numbers.items()}
    best = max(share.values())
    if best <= max(len(cells) / 2, share[style]):
        return "", []
    better = [other for other in STYLES if share[other] == best]
    example = next(cell for cell in cells if cell in numbers[better[0]] and cell not in numbers[style])
    # A mark of thousands that no cell has is none to tell of.
    plain = [other for other in better if not other.thousands or _grouped(other).fullmatch(example)]
    return example, plain or better


def ambiguous(cells: Iterable[str], mark: str) -> str | None:
    """Cell whose mark may be of decimals or of thousands, where no other cell tells which; None if one does."""
    group = _grouped(Style("," if mark == "." else ".", mark))
    marked = [cell for cell in cells if mark in cell]
    return marked[0] if marked and all(group.fullmatch(cell) and cell.count(mark) == 1 for cell in marked) else None


def without_unit(cells: Sequence[str]) -> tuple[list[str], str, int | None]:
    """Cells less a unit that most have, such as %, the unit, and the place of a cell that lacks it.

    Unchanged if most have none.
    """
    together = "".join(cells)
    if not any(unit in together for unit in UNITS):
        return list(cells), "", None
    found = [UNIT.fullmatch(cell) for cell in cells]
    units = Counter(match[2] or match[4] for match in found if match and (match[2] or match[4]))
    if not units or units.total() <= len(cells) / 2:
        return list(cells), "", None
    unit = units.most_common(1)[0][0]
    bare = [match[1] + match[3].strip() if match and unit in (match[2], match[4]) else "" for match in found]
    lacking = bare.index("") if "" in bare else None
    return (bare if lacking is None else list(cells)), unit, lacking
