"""Facts of rows: how many there are, what their columns hold and how many have which label; facts of parts add up."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

import dgjax_kernels as kernels
from dgjax._types import Support
from dgjax.data import label_counts

LEAST, MOST = np.finfo(float).min, np.finfo(float).max


class Facts(NamedTuple):
    """Facts of rows: number, weight, steps (rows, or steps of sequences), counts of labels, and of columns.

    `labels` (1 + k,): rows of positive weight with the label -1, 0, ..., k - 1, k one more than the highest there is.
    `cells` (d,) observed, with `low`, `high`, whether all are `whole`, `mean` and `spread` (standard deviation), which
    mean nothing where there is no cell. `seen` (d,) says of a column that a row of positive weight has a cell in it,
    `even` that all weights are 1.
    """

    num_rows: int
    weight: float
    num_steps: int
    labels: Int[np.ndarray, " labels"]
    cells: Float[np.ndarray, " d"]
    low: Float[np.ndarray, " d"]
    high: Float[np.ndarray, " d"]
    whole: Bool[np.ndarray, " d"]
    mean: Float[np.ndarray, " d"]
    spread: Float[np.ndarray, " d"]
    seen: Bool[np.ndarray, " d"]
    even: bool

    @property
    def num_features(self) -> int:
        """Columns d of a row."""
        return len(self.cells)

    @property
    def complete(self) -> bool:
        """Whether every cell is observed."""
        return bool((self.cells == self.num_steps).all())

    @property
    def labelled(self) -> bool:
        """Whether every label of a row that counts is known."""
        return int(self.labels[0]) == 0

    @property
    def num_classes(self) -> int:
        """One more than the highest label; 0 where no label is known."""
        return len(self.labels) - 1

    def inside(self, supports: Sequence[Support]) -> bool:
        """Whether all cells lie in their columns' supports."""
        _, low, high, whole, missing = (np.array(own) for own in zip(*supports, strict=True))
        outside = ~((self.low >= np.maximum(low, LEAST)) & (self.high <= np.minimum(high, MOST)))
        outside |= whole & ~self.whole
        return not ((outside & (self.cells > 0)) | (~missing & (self.cells < self.num_steps))).any()

    def merged(self, other: "Facts") -> "Facts":
        """Facts of both, by the formula for means and variances of parts."""
        k = max(len(self.labels), len(other.labels))
        labels = [np.pad(own.labels, (0, k - len(own.labels))) for own in (self, other)]
        mean, spread = _together(self, other)
        return Facts(
            self.num_rows + other.num_rows,
            self.weight + other.weight,
            self.num_steps + other.num_steps,
            labels[0] + labels[1],
            self.cells + other.cells,
            _either(np.minimum(self.low, other.low), self, other, "low"),
            _either(np.maximum(self.high, other.high), self, other, "high"),
            _either(self.whole & other.whole, self, other, "whole"),
            mean,
            spread,
            self.seen | other.seen,
            self.even and other.even,
        )

    def summary(self, dtype: np.dtype) -> kernels.ColumnSummary:
        """Summary of each column, as starters take it."""
        missing = (self.num_steps - self.cells).astype(np.int64)
        with np.errstate(over="ignore"):
            low, high, mean, spread = (own.astype(dtype) for own in (self.low, self.high, self.mean, self.spread))
            fields: Any = (
                np.minimum(missing, np.iinfo(np.int32).max).astype(np.int32),
                low,
                high,
                self.whole,
                mean,
                spread,
            )
            return kernels.ColumnSummary(*fields)


def _either(both, one, other, name):
    """What holds of both, of a column without a cell in one of them that of the other."""
    return np.where(one.cells == 0, getattr(other, name), np.where(other.cells == 0, getattr(one, name), both))


def _together(one, other):
    cells = np.maximum(one.cells + other.cells, 1)
    a, b = one.cells / cells, other.cells / cells
    mean_a, mean_b = (np.where(own.cells > 0, own.mean, 0) for own in (one, other))
    var_a, var_b = (np.where(own.cells > 0, own.spread, 0) ** 2 for own in (one, other))
    with np.errstate(all="ignore"):  # of cells that are not finite
        return a * mean_a + b * mean_b, np.sqrt(a * var_a + b * var_b + a * b * (mean_a - mean_b) ** 2)


def facts_of(
    rows: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "..."],
    weights: Float[np.ndarray, " b"],
    inside: Bool[np.ndarray, "b t"] | None = None,
) -> Facts:
    """Facts of rows, or of the steps of b sequences, all of which are in `rows` in order, those `inside` counted."""
    counted = weights > 0
    known = labels if counted.all() else labels[counted]
    highest = int(known.max(initial=-1))
    steps = rows if inside is None or inside.all() else rows[inside.reshape(-1)]
    summary = _summary(steps)
    cells = len(steps) - np.asarray(summary.missing, float)
    seen = np.asarray(cells > 0)
    if not counted.all() and seen.any():
        each = np.ones(len(weights), int) if inside is None else inside.sum(1)
        seen = np.asarray(~np.isnan(steps[np.repeat(counted, each)]).all(0))
    return Facts(
        len(weights),
        float(weights.sum(dtype=float)),
        len(steps),
        label_counts(known.reshape(-1), highest + 1),
        cells,
        np.asarray(summary.low, float),
        np.asarray(summary.high, float),
        np.asarray(summary.whole),
        np.asarray(summary.mean, float),
        np.asarray(summary.spread, float),
        seen,
        bool((weights == 1).all()),
    )


def _summary(rows):
    readable = kernels.as_readable(rows)
    if readable is not None:
        return kernels.copy_and_summarise(readable, readable)  # in place, which changes nothing
    with np.errstate(all="ignore"):
        return kernels.column_summary.reference(rows.astype(float))
