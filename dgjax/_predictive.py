"""Answers of forecasts: predictive distributions of steps ahead, as arrays, and as frames with their dates."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax._arguments import as_columns, check_number, is_concrete
from dgjax._column_quantiles import column_of
from dgjax.densities import Mixture
from dgjax.tables import Asked, Schema, made, with_zones

STEP = "step"
"""Column of the number of a step ahead, where no column orders rows."""


class Forecast(NamedTuple):
    """Forecast of each step ahead: log p(state), and the predictive distribution of a row.

    `log_proba` (n, steps, k). `rows` is a batch (n, steps) of mixtures of the density's states: use `jax.vmap` twice.
    """

    log_proba: Array
    rows: Mixture

    def mean(self, columns: ArrayLike | None = None) -> Array:
        """Means of columns at each step (n, steps, c), of all d by default.

        Of columns that are normal or of whole numbers exact, of others over 10,000 draws of each state. Raises
        ValueError for a column of categories.
        """
        return self._of_columns(columns, lambda own, proba: own.mean(proba))

    def quantile(self, share: float, columns: ArrayLike | None = None) -> Array:
        """Quantiles of columns at each step (n, steps, c): the least value up to which a share of the probability lies.

        Each of a column by itself, of all d by default. Of columns that are normal, or mixtures of normals, by
        bisection; of whole numbers by their probabilities; of others from 10,000 draws of each state. Raises ValueError
        for a share that is not between 0 and 1, or a column of categories.
        """
        check_number(share, "share", 0, 1)
        if float(share) in (0.0, 1.0):
            raise ValueError(f"share must be between 0 and 1, such as 0.05; got {share}.")
        return self._of_columns(columns, lambda own, proba: own.quantile(proba, float(share)))

    def interval(self, level: float = 0.9, columns: ArrayLike | None = None) -> tuple[Array, Array]:
        """Prediction intervals of columns at each step, low and high (n, steps, c), that hold a share `level`.

        Between the quantiles of (1 - level) / 2 and (1 + level) / 2. They take the model as it is: what its parameters
        may be off by is not in them. Raises ValueError for a level that is not between 0 and 1, or a column of
        categories.
        """
        check_number(level, "level", 0, 1)
        if float(level) in (0.0, 1.0):
            raise ValueError(f"level must be between 0 and 1, such as 0.9; got {level}.")
        return self.quantile((1 - level) / 2, columns), self.quantile((1 + level) / 2, columns)

    def _of_columns(self, columns, answer):
        if not is_concrete(self):
            raise ValueError("means and quantiles are of a known forecast; inside jit there is none. Ask outside.")
        if not len(self.log_proba):
            raise ValueError("a forecast of no sequence has no mean; got x with none.")
        density = jax.tree.map(lambda leaf: leaf[0, 0], self.rows.density)
        d = density.num_features
        picked = range(d) if columns is None else as_columns(columns, d)
        proba = np.exp(np.asarray(self.log_proba, float))
        proba /= proba.sum(-1, keepdims=True)
        cells = [answer(column_of(density, column), proba) for column in picked]
        return jnp.asarray(np.stack(cells, -1), self.log_proba.dtype)


@dataclass(frozen=True)
class TableForecast:
    """Forecast of each sequence of a frame, in frames: a row for each step ahead, with its group and date.

    Dates go on at the distance of those of the frame, of months, quarters and business days too, and in a frame of
    pandas whose index they are they are the index; numbers go on at theirs, and without either steps count from 1.
    `forecast` is the `dgjax.Forecast` of arrays, `schema` that of the model, `groups` name the n sequences, `times` (n,
    steps) are the dates that follow, in UTC where they have a `zone`, and `indexed` says that they are an index.
    """

    forecast: Forecast
    schema: Schema
    groups: list[Any]
    times: np.ndarray
    zone: str = ""
    indexed: bool = False

    def mean(self, columns: Any = None) -> Any:
        """Frame of the mean of each column at each step, of all but categories by default; else by name, or number."""
        picked, names = self._picked(columns)
        return self._frame(dict(zip(names, self._cells(self.forecast.mean(picked)), strict=True)))

    def quantile(self, share: float, columns: Any = None) -> Any:
        """Frame of a quantile of each column at each step: the least value up to which a share of it lies."""
        picked, names = self._picked(columns)
        return self._frame(dict(zip(names, self._cells(self.forecast.quantile(share, picked)), strict=True)))

    def interval(self, level: float = 0.9, columns: Any = None) -> Any:
        """Frame of the mean of each column at each step and its prediction interval, named "kW", "kW low", "kW high".

        It holds a share `level`, between the quantiles of (1 - level) / 2 and (1 + level) / 2.
        """
        picked, names = self._picked(columns)
        low, high = self.forecast.interval(level, picked)
        each = (self._cells(own) for own in (self.forecast.mean(picked), low, high))
        columns = {}
        for name, *own in zip(names, *each, strict=True):
            columns |= dict(zip((name, f"{name} low", f"{name} high"), own, strict=True))
        return self._frame(columns)

    @property
    def log_proba(self) -> Any:
        """Frame of the log-probability of each state at each step."""
        label = self.schema.label
        logs = self._cells(self.forecast.log_proba)
        names = map(str, range(len(logs)) if label is None else label.levels)
        return self._frame(dict(zip(names, logs, strict=False)))

    def _picked(self, columns):
        """Numbers and names of columns."""
        shown = self.schema.shown
        if columns is None:
            picked = [j for j, column in enumerate(shown) if column.kind != "categorical"]
            if not picked:
                raise ValueError(
                    "a forecast has means of columns of numbers, and these are all of categories. Type "
                    "forecast.forecast.rows for their distributions."
                )
        else:
            picked = as_columns(self.schema.numbers(columns), len(shown))
        return np.asarray(picked), [shown[j].name for j in picked]

    def _cells(self, values):
        """Columns of values (n, steps, c), each (n steps,)."""
        return np.asarray(values).reshape(-1, values.shape[-1]).T

    def _frame(self, columns):
        n, steps = self.times.shape
        own: Any = self.schema.steps
        order = own.order or STEP
        parts = {order: self.times.reshape(-1)}
        if own.group:
            groups = np.empty(n, object)
            groups[:] = self.groups
            parts = {own.group: np.repeat(groups, steps)} | parts
        frame = made(self.schema.library, parts | columns, [])
        frame = with_zones(frame, {order: self.zone} if self.zone else {})
        if not self.indexed:
            return frame
        return frame.set_index(order).rename_axis(None if order == "index" else order)


def of_table(asked: Asked, result: Any) -> Any:
    """Answer that is a forecast: one in frames, of the sequences of a frame."""
    places, own = asked.places, asked.schema.steps
    if places is None or own is None or asked.frame is None:
        return result
    n, steps = result.log_proba.shape[:2]
    times = places.ahead(steps, own)
    indexed = bool(own.order) and own.order not in asked.frame.names
    ahead = np.tile(np.arange(1, steps + 1), (n, 1)) if times is None else np.stack(times)
    return TableForecast(result, asked.schema, places.groups, ahead, places.times.zone, indexed)
