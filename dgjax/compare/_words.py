"""Words of the report: numbers and names in sentences."""

from collections.abc import Sequence

from dgjax.compare._contestants import Contestant
from dgjax.compare._ranking import Line
from dgjax.compare._results import Estimate

# Said after a model's name; none for the way that it has by itself.
METHODS = {
    "exact": "",
    "its own way": "",
    "exact marginal": "exact marginal",
    "mean imputation": "mean imputation",
    "log p(x)": "log p(x)",
    "largest probability": "largest probability",
    "labelled rows only": "labelled rows only",
    "all rows": "all rows",
    "cells summed out": "cells summed out",
    "cells of other rows": "cells of other rows",
    "column shuffled": "column shuffled",
}
HELPED = {"averaged over the twin": "averaged over"}
"""Words before a second model's name, where they are not those of the method."""


def percent(share: Estimate) -> str:
    """Text of a share with its standard error, in percent."""
    return f"{100 * share.mean:.1f}{_error(100 * share.error, 1)} %"


def points(difference: Estimate) -> str:
    """Text of a difference of shares, in percentage points, without its sign."""
    return f"{abs(100 * difference.mean):.1f}{_error(100 * difference.error, 1)} points"


def number(value: Estimate, digits: int = 3) -> str:
    """Text of a number with its standard error."""
    return f"{value.mean:.{digits}f}{_error(value.error, digits)}"


def _error(error: float, digits: int) -> str:
    return "" if error != error else f" ± {error:.{digits}f}"


def listing(words: Sequence[str], most: int = 8) -> str:
    """Text that lists words: "a", "a and b", "a, b and c"; at most `most` of them."""
    # "and 1 more" is no shorter than the name.
    shown = list(words if len(words) <= most + 1 else words[:most])
    if len(words) > len(shown):
        shown.append(f"{len(words) - len(shown)} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def seconds(value: float) -> str:
    """Text of a time in the unit that reads best."""
    size, unit = next((pair for pair in ((60, "min"), (1, "s")) if value >= pair[0]), (1e-3, "ms"))
    return f"{float(f'{value / size:.2g}'):g} {unit}"


def count(value: float | int) -> str:
    """Text of a whole number, digits in groups of three."""
    return f"{value:,.0f}"


def share(value: float) -> str:
    """Text of a share of cells or rows."""
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"


def spoken(line: Line, contestants: dict[str, Contestant], unit: str = "rows") -> str:
    """Name of a line: the model, and how it was used where there is more than one way."""
    model, method = line
    name = contestants[model].short if model in contestants else model
    if method not in METHODS:
        how, other = method.rsplit(" ", 1)
        return f"{name} {HELPED.get(how, how)} {contestants[other].short}"
    return f"{name} ({METHODS[method].replace('rows', unit)})" if METHODS[method] else name


def capital(text: str) -> str:
    """Text with a capital first letter."""
    return text[:1].upper() + text[1:]
