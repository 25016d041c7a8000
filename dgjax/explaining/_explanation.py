"""Explanation: Shapley values of rows, and their pictures."""

import importlib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

MOST = 20  # players that a picture shows
GREEN, RED = "#1b7837", "#b2182b"  # told apart by those who do not see red and green by their lightness too
UNITS = {"probability": "p(y | x)", "log_odds": "log-odds of y", "log_prob": "log p(x), nats"}


class Explanation(NamedTuple):
    """Shapley values of each row: `base` + the sum of `values` is the model's value of the row.

    `values` (n, p) of p players, the columns `names`; `base` (n,) is the value where no cell is known; `x` (n, d) are
    the rows, or sequences (n, t, d). `standard_error` (n, p) is that of random orders, None where none were drawn; what
    a `Marginalized` model draws for its own answers is not in it. `value` says of what the values are: "probability",
    "log_odds" or "log_prob".
    """

    values: Float[np.ndarray, "n p"]
    base: Float[np.ndarray, " n"]
    x: Float[np.ndarray, "n *cells"]
    names: tuple[str, ...]
    standard_error: Float[np.ndarray, "n p"] | None
    value: str

    def waterfall(self, row: int = 0, ax: Any = None) -> Any:
        """Waterfall plot of one row: from the base to the row's value, the largest shares last; returns the axes."""
        order, rest = _largest(np.abs(self.values[row]))
        values = [*([self.values[row, rest].sum()] if len(rest) else []), *self.values[row, order[::-1]]]
        names = [*([f"{len(rest)} others"] if len(rest) else []), *(self._cell(row, j) for j in order[::-1])]
        ends = self.base[row] + np.cumsum(values)
        ax = _axes(ax, len(values))
        ax.barh(range(len(values)), values, left=ends - values, color=[GREEN if v >= 0 else RED for v in values])
        for place, (value, end) in enumerate(zip(values, ends, strict=True)):
            ax.annotate(
                f"{value:+.2g}", (max(end, end - value), place), (4, 0), textcoords="offset points", va="center"
            )
        ax.axvline(self.base[row], color="0.6", linewidth=0.8)
        ax.set_yticks(range(len(values)), names)
        ax.margins(x=0.12)
        ax.set_xlabel(f"{UNITS[self.value]}: {self.base[row]:.3g} of no cell, {ends[-1]:.3g} of all")
        return ax

    def bar(self, ax: Any = None) -> Any:
        """Bar chart of the mean absolute value of each column over rows, the largest on top; returns the axes.

        Of many columns it shows the largest. `ax` are matplotlib's axes, new ones by default.
        """
        size = np.abs(self.values).mean(0)
        order, _ = _largest(size)
        ax = _axes(ax, len(order))
        ax.barh(range(len(order)), size[order[::-1]], color=GREEN)
        ax.set_yticks(range(len(order)), [self.names[j] for j in order[::-1]])
        ax.set_xlabel(f"mean absolute Shapley value, {UNITS[self.value]}")
        return ax

    def beeswarm(self, ax: Any = None) -> Any:
        """Beeswarm plot: a point for each row and column at its value, its colour the rank of its cell; returns axes.

        Cells of groups of columns have no rank, and missing ones are left out.
        """
        order, _ = _largest(np.abs(self.values).mean(0))
        ax = _axes(ax, len(order))
        for place, j in enumerate(order[::-1]):
            cells = self.x[:, j] if self._one_cell_each else np.zeros(len(self.values))
            there = np.flatnonzero(~np.isnan(cells))
            rank = np.argsort(np.argsort(cells[there])) / max(len(there) - 1, 1)
            values = self.values[there, j]
            ax.scatter(values, place + _beside(values), c=rank, cmap="viridis", vmin=0, vmax=1, s=8, linewidths=0)
        ax.axvline(0, color="0.6", linewidth=0.8)
        ax.set_yticks(range(len(order)), [self.names[j] for j in order[::-1]])
        ax.set_xlabel(f"Shapley value, {UNITS[self.value]}; dark: low cells, light: high")
        return ax

    def to_shap(self) -> Any:
        """The same as `shap.Explanation`, for the pictures of the package shap; ImportError if it is not installed."""
        try:
            shap = importlib.import_module("shap")
        except ImportError:
            raise ImportError("to_shap needs the package shap: type pip install shap.") from None
        data = self.x if self._one_cell_each else None
        return shap.Explanation(self.values, self.base, data, feature_names=list(self.names))

    @property
    def _one_cell_each(self) -> bool:
        return self.x.ndim == 2 and self.x.shape == self.values.shape

    def _cell(self, row, j):
        return f"{self.names[j]} = {self.x[row, j]:.4g}" if self._one_cell_each else self.names[j]


def _largest(size):
    """Players in order of size, the largest first, as many as a picture shows; and the rest."""
    order = np.argsort(-size, kind="stable")
    return (order, order[:0]) if len(order) <= MOST else (order[: MOST - 1], order[MOST - 1 :])


def _beside(values):
    """Offsets, up to 0.4, of points so that those of nearly the same value lie beside each other."""
    if not len(values):
        return values
    spread = np.ptp(values) or 1.0
    bins = np.round((values - values.min()) / spread * 60).astype(int)
    order = np.argsort(bins, kind="stable")
    starts = np.searchsorted(bins[order], bins[order])
    place = np.empty(len(values))
    place[order] = np.arange(len(values)) - starts
    most = max(int(place.max()), 1)
    return np.where(place % 2, -1, 1) * np.ceil(place / 2) / most * 0.8


def _axes(ax, bars):
    """Axes of a figure of its own, as high as there are bars, if none are given."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        raise ImportError("pictures need matplotlib: type pip install 'dgjax[compare]'.") from None
    _, ax = plt.subplots(figsize=(7, 1 + 0.3 * bars), layout="constrained")
    return ax
