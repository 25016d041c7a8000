"""What all pictures share: axes, colours that colour-blind people tell apart, a marker for each, and names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d"
"""Those of Okabe and Ito (2008), without the yellow, which is too light for lines on white."""
MARKERS = "o", "s", "^", "D", "v", "P", "X"
UNKNOWN = "#6b7280"
MOST_POINTS = 5000  # that are drawn; more only hide one another


def colour(label: int) -> str:
    """Colour of a label, grey for -1, unknown."""
    return UNKNOWN if label < 0 else COLOURS[label % len(COLOURS)]


def marker(label: int) -> str:
    """Marker of a label: with as many colours as markers, moved by one when all colours were used."""
    return "." if label < 0 else MARKERS[(label + label // len(COLOURS)) % len(MARKERS)]


def axes(ax: "Axes | None", width: float = 5.5, height: float = 4.2) -> "Axes":
    """The axes, or new ones of a figure of so many inches. Raises ImportError without matplotlib."""
    return grid_of_axes(1, 1, width, height)[0, 0] if ax is None else ax


def grid_of_axes(rows: int, columns: int, width: float, height: float, **options: Any) -> np.ndarray:
    """New axes (rows, columns) of a figure of so many inches. Raises ImportError without matplotlib."""
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        raise ImportError("pictures need matplotlib: type pip install 'dgjax[plot]'.") from None
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **options)[1]


def name_of(column: int, names: Sequence[str] | None) -> str:
    """Name of a column, or its number."""
    return f"column {column}" if names is None else str(names[column])


def legend(ax: "Axes", count: int) -> None:
    """Legend, where there are labels that it tells apart, beside the axes if they are many."""
    if count > len(COLOURS):
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")
    elif count > 1:
        ax.legend(frameon=False, fontsize="small")


def some(n: int) -> np.ndarray:
    """Rows that are drawn of n: all, or `MOST_POINTS` of them at even distances."""
    return np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(int)) if n else np.arange(0)


def check_rows(rows: np.ndarray) -> None:
    """Raises ValueError for rows of other axes than (n, d), or none."""
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"x must be at least one row, of shape (n, d), for a picture of them; got shape {rows.shape}.")


def points(ax: "Axes", places: np.ndarray, labels: np.ndarray, classes: Sequence[str] | None = None) -> None:
    """Scatters places (n, 2), of each label in its colour and marker, unknown ones (-1) in grey below the others."""
    for label in np.unique(labels).tolist():
        own = labels == label
        told = "unknown" if label < 0 else str(label) if classes is None else str(classes[label])
        size, order = (12, 1) if label < 0 else (18, 2)
        look = {"c": colour(label), "marker": marker(label), "s": size, "zorder": order, "label": told}
        ax.scatter(*places[own].T, linewidths=0.4, edgecolors="white", alpha=0.85, **look)
    legend(ax, len(np.unique(labels)))
