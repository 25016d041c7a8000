"""Pictures of rows: as images, and of which cells they lack."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dgjax.plot import _style
from dgjax.tables import Table, is_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PATTERNS = 25


def images(x: ArrayLike, shape: Sequence[int] | None = None, *, columns: int = 10, ax: "Axes | None" = None) -> "Axes":
    """Rows as grey images side by side, `columns` in a line; missing cells are orange. Returns the axes.

    `shape` is (height, width), by default that of a square image.

    Raises ValueError for no rows, or of another number of cells.
    """
    rows = np.asarray(x, float)
    _style.check_rows(rows)
    side = round(rows.shape[-1] ** 0.5)
    height, width = (side, side) if shape is None else (int(size) for size in shape)
    if height * width != rows.shape[1]:
        raise ValueError(
            f"shape must be (height, width) of {rows.shape[-1]} cells, for rows of shape {rows.shape}; got "
            f"{(height, width)}. Type dgjax.plot.images(x, shape=(height, width))."
        )
    lines = -(-len(rows) // columns)
    shown = np.full((lines * columns, height + 1, width + 1), np.nan)
    shown[: len(rows), :-1, :-1] = rows.reshape(-1, height, width)
    lacking = np.zeros(shown.shape, bool)
    lacking[: len(rows), :-1, :-1] = np.isnan(shown[: len(rows), :-1, :-1])
    picture, holes = (
        own.reshape(lines, columns, height + 1, width + 1).swapaxes(1, 2).reshape(lines * (height + 1), -1)
        for own in (shown, lacking)
    )
    ax = _style.axes(ax, min(columns, len(rows)) * 0.75 + 0.4, lines * 0.75 * height / width + 0.4)
    ax.imshow(picture, cmap="gray_r", interpolation="nearest")
    cover = np.zeros((*holes.shape, 4))
    cover[holes] = (0.902, 0.624, 0.0, 0.75)
    ax.imshow(cover, interpolation="nearest")
    ax.set_axis_off()
    return ax


def missing(x: Any, *, names: Sequence[str] | None = None, ax: "Axes | None" = None) -> "Axes":
    """Which cells are missing together: a line for each pattern, the most frequent on top, with its share of rows.

    Dark is observed, light is missing. With each column comes the share of its cells that is missing. Returns the axes.
    Raises ValueError for no rows.
    """
    if is_frame(x):
        table = Table.of(x)
        x, names = table.x, [column.name for column in table.schema.shown] if names is None else names
    rows = np.asarray(x, float)
    _style.check_rows(rows)
    lacking = np.isnan(rows)
    patterns, counts = np.unique(lacking, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_PATTERNS]
    n, d = lacking.shape
    ax = _style.axes(ax, 1.8 + 0.42 * d, 1.6 + 0.26 * len(order))
    ax.imshow(~patterns[order], cmap="Blues", vmin=-0.15, vmax=1.2, aspect="auto", interpolation="nearest")
    told = [f"{_style.name_of(i, names)}  {share:.0%}" for i, share in enumerate(lacking.mean(0))]
    ax.set_xticks(range(d), told, rotation=90)
    ax.set_yticks(range(len(order)), [f"{count / n:.1%}" for count in counts[order]])
    ax.set_xticks(np.arange(d - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(len(order) - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1)
    ax.tick_params(which="minor", length=0)
    rest = len(counts) - len(order)
    ax.set(xlabel="share missing", ylabel="share of rows")
    told = f"{len(counts)} patterns" + (f", {rest} rarer ones not shown" if rest else "")
    ax.set_title(told, fontsize="medium", loc="left")
    return ax
