"""Frames of sequences: which row of a frame is which step of which sequence."""

from typing import Any, NamedTuple

import numpy as np

from dgjax import _advice
from dgjax._arguments import check_size
from dgjax._pytree import dataclass, static
from dgjax.tables import _typed
from dgjax.tables._frames import Frame
from dgjax.tables._times import EVEN, Times, following, times_of


@dataclass
class Steps:
    """Steps of a table of sequences: the names of the column of its groups and of that which orders them.

    A group is a sequence; without one, "", all rows are. Rows are steps in the order of `order`, which may be an index
    of pandas, or as they stand. `step`, 0 for none, is the distance of steps, of dates in seconds: where there is no
    row at one, its cells are missing; without it each row is the step after the one before it.
    """

    group: str = static(default="")
    order: str = static(default="")
    step: float = static(default=0.0)

    def places(self, frame: Frame) -> "Places":
        """Places of a frame's rows. Raises ValueError for rows of no group or time, or two of one group and time."""
        n = len(frame)
        groups, codes = self._groups(frame, n)
        times = times_of(frame, self.order) if self.order else Times(np.arange(n, dtype=float))
        order = np.lexsort((times.values, codes))
        new = np.diff(codes[order], prepend=-1) > 0
        self._check_differ(frame, times, order, new)
        start = np.flatnonzero(new)
        within = np.arange(n) - np.repeat(start, np.diff(start, append=n))
        if self.step:
            within = self._on_the_grid(times, order, start)
        at = np.empty(n, int)
        at[order] = within
        lengths = within[np.append(start[1:], n) - 1] + 1
        check_size((len(groups), int(lengths.max())), step=self.step)
        return Places(groups, codes, at, lengths, times, order)

    def _groups(self, frame, n):
        """Groups in the order in which they first come, and the number of each row's."""
        if not n:
            raise ValueError("x must have at least one row; got none.")
        if not self.group:
            return [None], np.zeros(n, int)
        cells = frame.keys(self.group)
        lacking = next((row for row, cell in enumerate(cells) if cell is None or cell != cell), None)
        if lacking is not None:
            raise ValueError(
                f"group column {self.group!r} must say which sequence each row is of; it is missing in row {lacking}. "
                "Leave such rows out."
            )
        number = {cell: code for code, cell in enumerate(dict.fromkeys(cells))}
        return list(number), np.array([number[cell] for cell in cells])

    def _check_differ(self, frame, times, order, new):
        same = np.flatnonzero((times.values[order][1:] == times.values[order][:-1]) & ~new[1:])
        if len(same):
            first, second = sorted(order[same[0] : same[0] + 2].tolist())
            names = [name for name in (self.group, self.order) if name]
            told = _typed.of(frame.library, "differ", after=", or give their means.", names=names)
            raise ValueError(
                f"rows of a sequence must differ in {self.order!r}; rows {first} and {second} are both at "
                f"{times.values[first]}. {told}".rstrip()
            )

    def _on_the_grid(self, times, order, start):
        """Number of the step of each row in order, by its distance from the first of its sequence."""
        numbers = times.on_clocks(self.step).numbers()[order]
        steps = (numbers - np.repeat(numbers[start], np.diff(start, append=len(numbers)))) / self.step
        whole = np.round(steps)
        off = np.abs(steps - whole) > np.maximum(EVEN, EVEN * whole)
        if off.any():
            row = int(order[off.argmax()])
            unit = " seconds" if times.dates else ""
            raise ValueError(
                f"rows must be whole steps of {self.step:g}{unit} after the first of their sequence, as step= says; "
                f"row {row}, at {times.values[row]}, is {steps[off.argmax()]:.6g}. Type another step, or leave it out: "
                "then each row is the step after the one before it."
            )
        return whole.astype(int)


class Places(NamedTuple):
    """Places of rows: `groups`, the number of each row's (n,), its step `at` (n,), and the `lengths` of sequences.

    `times` are those of rows, and `order` (n,) has the rows of a sequence beside each other, sorted by them.
    """

    groups: list[Any]
    codes: np.ndarray
    at: np.ndarray
    lengths: np.ndarray
    times: Times
    order: np.ndarray

    def padded(self, values: np.ndarray, empty: int | float) -> np.ndarray:
        """Values of rows (n, ...) as those of sequences (s, t, ...), `empty` where there is no row."""
        shape = (len(self.groups), int(self.lengths.max()), *values.shape[1:])
        steps = np.full(shape, empty, values.dtype)
        steps[self.codes, self.at] = values
        return steps

    def rows(self, steps: Any) -> np.ndarray:
        """Values of steps (s, t, ...) as those of rows (n, ...)."""
        return np.asarray(steps)[self.codes, self.at]

    def of_steps(self, own: Steps) -> Times | None:
        """Times of all steps of the first sequence; None where nothing orders rows."""
        if not own.order:
            return None
        rows = self.order[self.codes[self.order] == 0]
        if not own.step:
            return self.times.of(rows)
        times, ahead = self.times.on_clocks(own.step), own.step * np.arange(self.lengths[0])
        first = times.values[rows[0]]
        if not times.dates:
            return Times(first + ahead)
        return Times(first.astype("M8[us]") + np.round(1e6 * ahead).astype("m8[us]"), times.zone)

    def of_sequences(self, values: np.ndarray, what: str) -> np.ndarray:
        """One value for each sequence (s,), of those of its rows that are known, which are not -1.

        Raises ValueError where they differ.
        """
        found = np.full(len(self.groups), -1, values.dtype)
        known = values != -1
        found[self.codes[known]] = values[known]
        wrong = np.flatnonzero(known & (values != found[self.codes]))
        if len(wrong):
            group = self.groups[self.codes[wrong[0]]]
            raise ValueError(
                f"{what} must be the same in all rows of a sequence, for this model has one for each; in that of "
                f"{_advice.shown(group)} there are several. Start a model of steps, as dgjax.hidden_markov(key, x, "
                "num_states), or group rows otherwise."
            )
        return found

    def ahead(self, steps: int, own: Steps) -> list[np.ndarray] | None:
        """Times of the steps that follow each sequence; None where no column orders them.

        Raises ValueError for rows at uneven distances, or a single one.
        """
        if not own.order:
            return None
        every = [self.order[self.codes[self.order] == code] for code in range(len(self.groups))]
        found = [following(self.times.of(rows), steps, own.step, own.order) for rows in every]
        alone = next((group for group, times in zip(self.groups, found, strict=True) if times is None), None)
        if any(times is None for times in found):
            raise ValueError(
                f"order column {own.order!r} has a single row{f' in the group {alone!r}' if own.group else ''}, which "
                "does not say how far apart steps are. Give two rows at least, or fit a model to "
                f"dgjax.Table.of(x, order={own.order!r}, step=...)."
            )
        return [times for times in found if times is not None]
