"""Pictures of fits and of posteriors."""

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from dgjax._select import Selection
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


def selection(found: Any, *, ax: "Axes | None" = None) -> "Axes":
    """Criterion of each model that was tried, lower is better: a line over the number of components, one each kind.

    The first option that takes several numbers is the axis, and each combination of the others a line; without such an
    option each candidate is a point. Bars are standard errors, a ring is the best, and what failed is left out. Returns
    the axes.
    """
    from matplotlib.ticker import MaxNLocator

    if not isinstance(found, Selection):
        told = "Type dgjax.select(candidates, x)."
        raise ValueError(f"found must be what dgjax.select returns; got a {type(found).__name__}. {told}")
    ax, shown = _style.axes(ax), [trial for trial in found.table if trial.failure is None]
    axis, best = _axis_of(shown), shown[0]
    if axis is None:
        shown = shown[::-1]
        each = [("", [(place, trial) for place, trial in enumerate(shown)])]
        ax.set_xticks(range(len(shown)), [trial.name for trial in shown], rotation=30, ha="right")
    else:
        lines: dict[str, list] = {}
        for trial in sorted(shown, key=lambda trial: trial.options[axis]):
            lines.setdefault(_kind_of(trial, axis, shown), []).append((trial.options[axis], trial))
        each = list(lines.items())
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel(axis)
    for label, (name, own) in enumerate(each):
        look: dict = {"color": _style.colour(label), "marker": _style.marker(label), "markersize": 4, "label": name}
        places, values = [place for place, _ in own], [trial.criterion for _, trial in own]
        errors: Any = None if best.standard_error is None else [trial.standard_error for _, trial in own]
        ax.errorbar(places, values, errors, capsize=2, linestyle="none" if axis is None else "-", **look)
        if best in (trials := [trial for _, trial in own]):
            ring = {"facecolors": "none", "edgecolors": "#24292f", "s": 110, "zorder": 3}
            ax.scatter([places[trials.index(best)]], [best.criterion], **ring)
    ax.set_ylabel(f"{found.criterion}, lower is better")
    _style.legend(ax, len(each))
    return ax


def _axis_of(trials):
    """First option that takes several numbers, one in every trial; None if there is none."""
    for name in trials[0].options:
        values = [trial.options.get(name) for trial in trials]
        if all(isinstance(own, Real) and not isinstance(own, bool) for own in values) and len(set(values)) > 1:
            return name
    return None


def _kind_of(trial, axis, trials):
    """Name of a line: options beside the axis that are not those of all trials."""
    names = {own.name.split(",")[0] for own in trials}
    told = [trial.name.split(",")[0]] if len(names) > 1 else []
    for name, value in trial.options.items():
        if name != axis and len({repr(own.options.get(name)) for own in trials}) > 1:
            told.append(value if isinstance(value, str) else f"{name}={value}")
    return ", ".join(told)


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
