"""Pictures of sequences: decoded states over time, forecasts as fans, and transitions."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dgjax import _forecast
from dgjax._types import Generative
from dgjax._verbs import predict
from dgjax.plot import _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BANDS = 0.9, 0.5
WRITTEN = 12  # states, of which the probabilities are written into the picture


def states(
    model: Any,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    column: int = 0,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """One column of a sequence (t, d) over its steps, on the colours of the most likely path of states, or of `y` (t,).

    Returns the axes.
    """
    rows = _one(x)
    path = np.asarray(predict(model, rows[None])[0] if y is None else y).astype(int)
    ax = _style.axes(ax, 8.0, 2.8)
    edges = np.flatnonzero(np.diff(path, prepend=-2, append=-2))
    told: set[int] = set()
    for start, end in itertools.pairwise(edges):
        label = int(path[start])
        name = "unknown" if label < 0 else str(label) if classes is None else str(classes[label])
        ax.axvspan(
            start - 0.5,
            end - 0.5,
            color=_style.colour(label),
            alpha=0.3,
            linewidth=0,
            label=None if label in told else name,
        )
        told.add(label)
    ax.plot(rows[:, column], color="#24292f", linewidth=1.0)
    ax.set(xlim=(-0.5, len(rows) - 0.5), xlabel="step", ylabel=_style.name_of(column, names))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small", title="state")
    return ax


def forecast(
    model: Generative,
    x: ArrayLike,
    steps: int,
    *,
    column: int = 0,
    names: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """What follows a sequence (t, d): the mean of a column at each of `steps` steps, and bands of 50 and 90 %.

    Each step's band is between quantiles of its own predictive distribution. Returns the axes.
    """
    rows = _one(x)
    ax = _style.axes(ax, 8.0, 2.8)
    expected = _forecast.forecast(model, rows[None], steps)
    mean = expected.mean([column])[0, :, 0]
    ahead = len(rows) + np.arange(len(mean))
    ax.plot(rows[:, column], color="#24292f", linewidth=1.0)
    for share in BANDS:
        low, high = (own[0, :, 0] for own in expected.interval(share, [column]))
        alpha = 0.22 if share == BANDS[0] else 0.4
        ax.fill_between(ahead, low, high, color=_style.COLOURS[0], alpha=alpha, linewidth=0, label=f"{share:.0%}")
    ax.plot(ahead, mean, color=_style.COLOURS[0], label="mean")
    ax.set(xlabel="step", ylabel=_style.name_of(column, names))
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


def _one(x):
    """One sequence (t, d). Raises ValueError for another number of axes."""
    rows = np.asarray(x, float)
    if rows.ndim != 2:
        raise ValueError(
            f"x must be one sequence (t, d); got shape {rows.shape}. "
            + ("Type x[0] for the first." if rows.ndim == 3 else "Type x[:, None].")
        )
    return rows
