"""Splits by seeded random choices: training and test rows, nested training sets, hidden cells."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """Split into row numbers; prefixes of `train` hold the classes in about their shares, two rows of each first."""

    train: np.ndarray
    test: np.ndarray


def make_split(y: np.ndarray, rows: np.ndarray, num_train: int, num_test: int, seed: int) -> Split:
    """Split of the labelled `rows` into training and test rows, stratified by label y."""
    order = _stratified(y, rows, np.random.default_rng((seed, 0)))
    test = order[np.linspace(0, len(order) - 1, num_test).round().astype(int)]
    rest = np.setdiff1d(rows, test)
    return Split(_stratified(y, rest, np.random.default_rng((seed, 1)))[:num_train], test)


def _stratified(y: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    place = np.empty(len(rows))
    for label in np.unique(y[rows]):
        members = np.flatnonzero(y[rows] == label)
        rank = random.permutation(len(members))
        place[members] = np.where(rank < 2, rank - 2.0, (rank + random.random()) / len(members))
    return rows[np.lexsort((random.random(len(rows)), place))]


def hide(x: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Rows x (n, d) with a share of all cells NaN, completely at random; each row keeps one cell at least."""
    random = np.random.default_rng((seed, 2))
    order = random.random(x.shape)
    hidden = order < share
    hidden &= order < order.max(1, keepdims=True)
    return np.where(hidden, np.nan, x)


def spaced(low: int, high: int, count: int) -> tuple[int, ...]:
    """Whole numbers from low to high, evenly spaced on a logarithmic scale, round ones where possible."""
    if high <= low:
        return (high,)
    raw = np.geomspace(low, high, count)[:-1]
    unit = 10.0 ** np.maximum(np.floor(np.log10(raw)) - 1, 0)
    return (*sorted({int(v) for v in np.round(raw / unit) * unit if v < high * 0.9}), high)
