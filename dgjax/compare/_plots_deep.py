"""Plots of deep densities: one row for each, and for what stands beside, by what was asked."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from dgjax.compare._bench import Bench
from dgjax.compare._deep import FEW
from dgjax.compare._missing import EXACT
from dgjax.compare._pictures import pictures
from dgjax.compare._questions import ALL_ROWS, DENSITY, LABELLED
from dgjax.compare._results import Answer
from dgjax.compare._style import HUES, Picture, dot, drawn, legend, panel

ASKED = (
    ("samples recognised", ("exact",), "Samples recognised as their class", True),
    ("fill error", (EXACT,), "Error of filled cells (standard deviations)", False),
    ("auroc", (DENSITY,), "AUROC of an unseen class by log p(x)", False),
    (FEW, (ALL_ROWS, LABELLED), "Accuracy with few labels", True),
)


def shown(answer: Answer, bench: Bench, below: Callable[[Axes, list[str]], None]) -> list[Picture]:
    """Pictures of draws and filled rows, then dots for each thing asked: hollow ones without the unlabelled rows."""
    seen = pictures(answer, bench, list(bench.deep))
    return seen + [_dots(answer, bench, below, *asked) for asked in ASKED if answer.lines(asked[0])]


def _dots(answer, bench, below, metric, methods, label, percent):
    keys = list(dict.fromkeys(model for model, _ in answer.lines(metric)))
    with panel(height=1.2 + 0.36 * len(keys)) as (figure, axes):
        for place, key in enumerate(keys):
            color = HUES["network" if key in bench.deep else "discriminant"][0]
            for method in methods:
                value = answer.estimate(metric, key, 0.0, method)
                if value.known:
                    dot(axes, value, float(place), color, method != LABELLED, capsize=2.5, markersize=6)
        if len(methods) > 1:
            for method, face in zip(methods, ("0.4", "white"), strict=True):
                axes.plot([], [], "o", color="0.4", markerfacecolor=face, label=method)
            legend(axes, points=1)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        if percent:
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        below(axes, [bench.named[key].short for key in keys])
        axes.set_xlabel(label)
        return drawn(figure, f"{label}, by model")
