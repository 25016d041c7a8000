"""Style of all plots: each pair has a hue, generative solid, discriminative dashed, what stands outside grey."""

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, FAINT, GRID = "#24292f", "#6b7280", "#e5e7eb"
HUES = {
    "bayes": ("#1f6fb2",),
    "discriminant": ("#1b7f5c", "#62b58f"),
    "mixture": ("#c2570c",),
    "network": ("#7b4fa3",),
    "diagonal": ("#1f6fb2",),
    "full": ("#1b7f5c",),
    "around": ("#c2570c",),
    "alone": ("#7b4fa3",),
    "counts": ("#1f6fb2",),
    "ngrams": ("#1b7f5c",),
    "language": ("#c2570c",),
    "encoder": ("#7b4fa3",),
    "reference": ("#6b7280", "#9aa1ab", "#4b5563"),
}
# Inches of a figure that is as wide as the page, and of one of three beside one another.
WIDE, NARROW = 8.4, 4.0
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9ca3af",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.4,
    "lines.linewidth": 1.9,
    "lines.markersize": 4,
    "svg.hashsalt": "dgjax",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Look:
    """Style of one line in a plot: its legend label, colour, dashes and marker, hollow or not, thin or not."""

    label: str
    color: str
    dashes: Any = "-"
    marker: str = "o"
    hollow: bool = False
    thin: bool = False

    def options(self) -> dict:
        """Keywords of matplotlib for this look."""
        return {
            "label": self.label,
            "color": self.color,
            "linestyle": self.dashes,
            "marker": self.marker,
            "markerfacecolor": "white" if self.hollow else self.color,
            "linewidth": 1.2 if self.thin else 1.9,
            "alpha": 0.85 if self.thin else 1.0,
        }


@dataclass(frozen=True)
class Picture:
    """Picture inlined in the report, and what it shows in words."""

    source: str
    words: str
    wide: bool = False


@contextmanager
def panel(width: float = NARROW, height: float = 3.3) -> Iterator[tuple[Figure, Axes]]:
    """Context of a figure of one panel in the report's style, without any global state of pyplot."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        figure.set_layout_engine("constrained", w_pad=0.12)
        yield figure, figure.add_subplot()


LEGEND = 45
"""Characters of a legend that fit side by side in a picture of one column."""


def legend(axes: Axes, columns: int = 2, points: int = 2) -> None:
    """Draws the legend above the axes, where it covers no data: in one column where words do not fit side by side."""
    words = axes.get_legend_handles_labels()[1]
    rows = -(-len(words) // columns)
    beside = [max(map(len, words[i * rows : (i + 1) * rows]), default=0) for i in range(columns)]
    if rows:
        columns = columns if sum(beside) <= LEGEND else 1
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.12, 1.0),
            ncols=columns,
            handlelength=3.2 if points > 1 else 1.0,  # between two marks the dashes of a line can be seen
            numpoints=points,
            columnspacing=0.8,
            handletextpad=0.5,
            borderaxespad=0.2,
        )


def dot(axes: Axes, value: Any, place: float, color: str, filled: bool, **look: Any) -> None:
    """Draws the dot of an estimate in its row, filled or hollow, with its error."""
    face = color if filled else "white"
    error = np.nan_to_num(value.error)
    axes.errorbar(value.mean, place, xerr=error, fmt="o", color=color, markerfacecolor=face, **look)


def drawn(figure: Figure, words: str, wide: bool = False) -> Picture:
    """Picture of a figure: an SVG in a data URI, which the page holds, with `words` as its text for those who see none.

    If `wide`, it takes the whole width of the page, not one column of it.
    """
    # Laid out by the text's own sizes, once: with a layout engine a figure is drawn twice when it is saved.
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    # Lengths in points are refused by some renderers; the page scales pictures to its columns all the same.
    bare = re.sub(rb'(width|height)="([\d.]+)pt"', rb'\1="\2"', buffer.getvalue(), count=2)
    encoded = base64.b64encode(bare).decode()
    return Picture(f"data:image/svg+xml;base64,{encoded}", words, wide)
