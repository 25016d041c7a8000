"""Pictures of sequences: decoded states over time, forecasts as fans, and transitions."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dgjax import _forecast
from dgjax._predictive import TableForecast
from dgjax._types import Generative
from dgjax._verbs import predict
from dgjax.data import as_model
from dgjax.plot import _style
from dgjax.tables import Tabular, Times, is_frame, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BANDS = 0.9, 0.5
WRITTEN = 12  # states, of which the probabilities are written into the picture


def states(
    model: Any,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    column: int | str = 0,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """One column of a sequence (t, d) over its steps, on the colours of the most likely path of states, or of `y` (t,).

    Of a model of a table, `x` may be a frame of one sequence: it is drawn over its dates or numbers. Returns the axes.
    """
    model, rows, at, names, classes, when = _one(model, x, names, classes)
    column = _number(column, names)
    path = np.asarray(predict(model, rows[None])[0] if y is None else y).astype(int)
    half = (at[-1] - at[0]) / max(len(at) - 1, 1) / 2 if len(at) > 1 else 0.5
    ax = _style.axes(ax, 8.0, 2.8)
    edges = np.flatnonzero(np.diff(path, prepend=-2, append=-2))
    told: set[int] = set()
    for start, end in itertools.pairwise(edges):
        label = int(path[start])
        name = "unknown" if label < 0 else str(label) if classes is None else str(classes[label])
        ax.axvspan(
            at[start] - half,
            at[end - 1] + half,
            color=_style.colour(label),
            alpha=0.3,
            linewidth=0,
            label=None if label in told else name,
        )
        told.add(label)
    ax.plot(at, rows[:, column], color="#24292f", linewidth=1.0)
    ax.set(xlim=(at[0] - half, at[-1] + half), xlabel=when, ylabel=_style.name_of(column, names))
    _dated(ax, at)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small", title="state")
    return ax


def forecast(
    model: Generative,
    x: ArrayLike,
    steps: int,
    *,
    column: int | str = 0,
    names: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """What follows a sequence (t, d): the mean of a column at each of `steps` steps, and bands of 50 and 90 %.

    Each step's band is between quantiles of its own predictive distribution. Of a model of a table, `x` may be a frame
    of one sequence: it is drawn over its dates or numbers, and those that follow. Returns the axes.
    """
    told = _forecast.forecast(model, x, steps) if _is_sequence(model, x) else None
    model, rows, at, names, _, when = _one(model, x, names, None)
    column = _number(column, names)
    ax = _style.axes(ax, 8.0, 2.8)
    expected = told.forecast if isinstance(told, TableForecast) else _forecast.forecast(model, rows[None], steps)
    mean = expected.mean([column])[0, :, 0]
    ahead = len(rows) + np.arange(len(mean))
    if isinstance(told, TableForecast) and when != "step":
        ahead = Times(told.times[0], told.zone).told()
    ax.plot(at, rows[:, column], color="#24292f", linewidth=1.0)
    for share in BANDS:
        low, high = (own[0, :, 0] for own in expected.interval(share, [column]))
        alpha = 0.22 if share == BANDS[0] else 0.4
        ax.fill_between(ahead, low, high, color=_style.COLOURS[0], alpha=alpha, linewidth=0, label=f"{share:.0%}")
    ax.plot(ahead, mean, color=_style.COLOURS[0], label="mean")
    ax.set(xlabel=when, ylabel=_style.name_of(column, names))
    _dated(ax, at)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")
    return ax


def transitions(model: Any, *, classes: Sequence[str] | None = None, ax: "Axes | None" = None) -> "Axes":
    """Probabilities of the next state, a row for each state that it follows. Returns the axes.

    Raises ValueError for a model without transitions.
    """
    log_transition = getattr(model, "log_transition", None)
    if log_transition is None or np.ndim(log_transition) != 2:
        raise ValueError(f"transitions is for a dgjax.HiddenMarkov of one chain; got a {type(model).__name__}.")
    proba = np.exp(np.asarray(log_transition, float))
    proba /= proba.sum(1, keepdims=True)
    k = len(proba)
    ax = _style.axes(ax, 2.2 + 0.45 * k, 1.4 + 0.45 * k)
    ax.imshow(proba, cmap="Blues", vmin=0, vmax=1)
    told = [str(label) if classes is None else str(classes[label]) for label in range(k)]
    ax.set_xticks(range(k), told)
    ax.set_yticks(range(k), told)
    for i in range(k if k <= WRITTEN else 0):
        for j in range(k):
            ax.text(
                j,
                i,
                f"{proba[i, j]:.2f}",
                ha="center",
                va="center",
                fontsize="small",
                color="white" if proba[i, j] > 0.6 else "#24292f",
            )
    ax.set(xlabel="next state", ylabel="state")
    return ax


class _One(NamedTuple):
    """One sequence: the model of arrays, rows (t, d), where they are drawn (t,), and names, of this axis too."""

    model: Any
    rows: np.ndarray
    at: np.ndarray
    names: Sequence[str] | None
    classes: Sequence[str] | None
    when: str


def _is_sequence(model, x):
    return isinstance(model, Tabular) and model.schema.steps is not None and is_frame(x)


def _one(model, x, names, classes):
    """One sequence (t, d), of arrays or of a frame. Raises ValueError for another number of axes, or several groups."""
    if isinstance(model, Tabular):
        schema = model.schema
        names = [column.name for column in schema.shown] if names is None else names
        if classes is None and schema.label is not None:
            classes = [str(level) for level in schema.label.levels]
    if _is_sequence(model, x):
        return _of_frame(model, x, names, classes)
    rows = np.asarray(x, float)
    if rows.ndim != 2:
        raise ValueError(
            f"x must be one sequence (t, d); got shape {rows.shape}. "
            + ("Type x[0] for the first." if rows.ndim == 3 else "Type x[:, None].")
        )
    return _One(as_model(model), rows, np.arange(len(rows)), names, classes, "step")


def _of_frame(model, x, names, classes):
    schema, frame = model.schema, read(x)
    places = schema.steps.places(frame)
    if len(places.groups) > 1:
        first = places.groups[0]
        raise ValueError(
            f"x must be one sequence; got {len(places.groups)} groups. Of the first type x = "
            f"x[x[{schema.steps.group!r}] == {first!r}], of a frame of pandas."
        )
    rows, times = places.padded(schema.rows_of(frame), np.nan)[0], places.of_steps(schema.steps)
    at, when = (np.arange(len(rows)), "step") if times is None else (times.told(), schema.steps.order)
    return _One(as_model(model), rows, at, names, classes, when)


def _number(column, names):
    """Number of a column that is told by number or name. Raises ValueError for another name."""
    if not isinstance(column, str):
        return column
    if names is None or column not in list(names):
        raise ValueError(f"column must be a number, or one of {[] if names is None else list(names)}; got {column!r}.")
    return list(names).index(column)


def _dated(ax, at):
    """Few dates, as short as they can be."""
    if at.dtype.kind == "M":
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator()
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
