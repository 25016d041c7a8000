"""Pictures of fits and of posteriors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dgjax._types import Discriminative, Generative
from dgjax._verbs import predict_log_proba
from dgjax.learning import Fit
from dgjax.plot import _style
from dgjax.plot._given import NOT_ASKED, given

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def trace(fit: Any, *, ax: "Axes | None" = None) -> "Axes":
    """Objective of a fit after each step, in nats, and that of held-out rows at the end of each epoch.

    Of minibatches the steps are estimates, faint, and their running mean is the line. Returns the axes.
    """
    from matplotlib.ticker import MaxNLocator

    if not isinstance(fit, Fit):
        raise ValueError(f"fit must be what dgjax.fit returns; got a {type(fit).__name__}. Type dgjax.fit(model, x).")
    ax, values = _style.axes(ax), np.asarray(fit.objective, float)
    steps = np.arange(1, len(values) + 1)
    if fit.validation is None:
        ax.plot(steps, values, color=_style.COLOURS[0], marker="o" if len(values) < 30 else None, markersize=3.5)
    else:
        window = max(1, len(values) // 50)
        smooth = np.convolve(values, np.ones(window) / window, "valid")
        ax.plot(steps, values, color=_style.UNKNOWN, linewidth=0.7, alpha=0.6, label="minibatches")
        ax.plot(steps[window - 1 :], smooth, color=_style.COLOURS[0], label="their running mean")
        held, ends = _held_out(fit, len(values))
        own = ax.twinx()
        own.plot(ends, held, color=_style.COLOURS[1], marker="s", markersize=3.5, label="held-out rows (right)")
        own.set_ylabel("objective of held-out rows, nats")
        told = [part for axis in (ax, own) for part in axis.get_legend_handles_labels()[0]]
        ax.legend(handles=told, frameon=False, fontsize="small", loc="lower right")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="step", ylabel="objective, nats")
    ended = "converged" if bool(fit.converged) else "not converged"
    ax.set_title(f"{ended} after {int(fit.num_steps)} steps", fontsize="medium", loc="left")
    return ax


def _held_out(fit, num_steps):
    """Objectives of held-out rows, and the steps after which they are."""
    held = np.asarray(fit.validation, float)
    held = held[np.isfinite(held)]
    return held, np.linspace(num_steps / max(len(held), 1), num_steps, len(held))


def responsibilities(
    model: Generative | Discriminative,
    x: Any,
    *,
    classes: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """p(y | x) of each row as a bar from 0 to 1, rows in order of their most likely label and how sure it is.

    Where clusters overlap, bars of two colours show how many rows are in doubt. Returns the axes.
    """
    ax = _style.axes(ax, 6.5, 3.0)
    own = given(model, x, NOT_ASKED, None, classes)
    rows = own.x[_style.some(len(own.x))]
    proba = np.exp(np.asarray(predict_log_proba(own.model, rows), float))
    surest = proba.argmax(1)
    proba = proba[np.lexsort((-proba.max(1), surest))]
    below = np.zeros(len(proba))
    for label in range(proba.shape[1]):
        told = str(label) if own.classes is None else str(own.classes[label])
        above, places = below + proba[:, label], np.arange(len(proba))
        ax.fill_between(places, below, above, step="mid", color=_style.colour(label), linewidth=0, label=told)
        below = above
    ax.set(xlim=(-0.5, len(proba) - 0.5), ylim=(0, 1), xlabel="rows, by label and sureness", ylabel="p(y | x)")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")
    return ax
