"""Encoding of raw columns for models: numbers standardised, categories as codes or as indicator columns."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dgjax.compare._dataset import Dataset

View = Literal["columns", "features"]


@dataclass(frozen=True)
class Encoder:
    """Two views of a row, both with NaN where a cell is missing.

    "columns": one for each column, numbers standardised and categories as codes.
    "features": numbers standardised, a category as one column of 0 and 1 for each level but the first.
    """

    num_levels: tuple[int, ...]
    mean: np.ndarray
    scale: np.ndarray
    shares: tuple[np.ndarray, ...]

    def view(self, x: np.ndarray, view: View, filled: bool = False) -> np.ndarray:
        """Encoding of rows x (n, d) in one view (n, f), missing cells `filled` by the training rows' mean if asked."""
        columns = (x - self.mean) / self.scale
        parts = [self._part(columns[:, j], j, view) for j in range(x.shape[1])]
        encoded = np.concatenate(parts, axis=1)
        return (np.where(np.isnan(encoded), self._means(view), encoded) if filled else encoded).astype(np.float32)

    def features(self, encoded: np.ndarray, view: View) -> np.ndarray:
        """Features (n, f) of rows that are `encoded` in any view."""
        return encoded if view == "features" else self.view(encoded * self.scale + self.mean, "features")

    def numbers(self, features: np.ndarray) -> np.ndarray:
        """Columns of numbers in their own units (n, numeric columns), from features."""
        number = np.array([not size for size in self.num_levels])
        return features[:, self.places] * self.scale[number] + self.mean[number]

    def rows(self, encoded: np.ndarray, view: View) -> np.ndarray:
        """Raw rows (n, d) of rows that are `encoded` in any view; between two levels of a category, the nearest one."""
        if view == "features":
            parts = [self._nearest(encoded[:, own], j) for j, own in enumerate(self.groups(view))]
            encoded = np.stack(parts, axis=1)
        return encoded * self.scale + self.mean

    def groups(self, view: View) -> list[list[int]]:
        """Positions of each column in a view: several of a category of more than two levels among the features."""
        widths = np.array([1 if view == "columns" else max(1, size - 1) for size in self.num_levels])
        ends = np.cumsum(widths)
        return [list(range(end - width, end)) for end, width in zip(ends, widths, strict=True)]

    @property
    def places(self) -> np.ndarray:
        """Positions of the columns of numbers among the features."""
        starts = np.array([own[0] for own in self.groups("features")])
        return starts[[not size for size in self.num_levels]]

    def _part(self, column: np.ndarray, j: int, view: View) -> np.ndarray:
        if view == "columns" or not self.num_levels[j]:
            return column[:, None]
        levels = np.arange(1, self.num_levels[j])
        return np.where(np.isnan(column)[:, None], np.nan, column[:, None] == levels)

    def _nearest(self, indicators: np.ndarray, j: int) -> np.ndarray:
        """A column (n,) as one number or code, from its features: the first level is where all indicators are 0."""
        if not self.num_levels[j]:
            return indicators[:, 0]
        return np.where(indicators.max(1) > 0.5, indicators.argmax(1) + 1, 0)

    def _means(self, view: View) -> np.ndarray:
        if view == "columns":
            return np.array([float(s.argmax()) if len(s) else 0.0 for s in self.shares])
        return np.concatenate([s[1:] if len(s) else np.zeros(1) for s in self.shares])


def fit_encoder(x: np.ndarray, dataset: Dataset) -> Encoder:
    """Encoder with the means and scales of training rows x (n, d); categories keep their codes."""
    seen = ~np.isnan(x)
    count = np.maximum(seen.sum(0), 1)
    mean = np.where(seen, x, 0.0).sum(0) / count
    scale = np.sqrt((np.where(seen, x - mean, 0.0) ** 2).sum(0) / count)
    number = dataset.numeric
    shares = [_shares(x[:, j], len(levels)) for j, levels in enumerate(dataset.levels)]
    return Encoder(
        num_levels=tuple(len(levels) for levels in dataset.levels),
        mean=np.where(number, mean, 0.0),
        scale=np.where(number & (scale > 0), scale, 1.0),
        shares=tuple(shares),
    )


def _shares(column: np.ndarray, num_levels: int) -> np.ndarray:
    if not num_levels:
        return np.zeros(0)
    counts = np.bincount(column[~np.isnan(column)].astype(int), minlength=num_levels)
    return counts / max(1, counts.sum())
