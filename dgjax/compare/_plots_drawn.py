"""Plots of what rows drawn by generative models gain classifiers."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from dgjax.compare._bench import Bench
from dgjax.compare._drawn import classifiers, with_rows
from dgjax.compare._results import Answer
from dgjax.compare._style import FAINT, INK, WIDE, Picture, dot, drawn, panel

SPREAD = 0.72  # of a classifier's strip, which its dots share


def gains(answer: Answer, bench: Bench, color, below) -> list[Picture]:
    """Plots of the gain in accuracy by drawn rows (filled), and by the model that drew them instead (hollow)."""
    learners = [key for key in classifiers(bench) if answer.settings("accuracy", key)]
    models = [key for key in bench.generative if answer.settings("accuracy", method=with_rows(key))]
    pictures = []
    for size in answer.settings("accuracy") if models else []:
        shifts = np.linspace(-SPREAD / 2, SPREAD / 2, len(models) + 2)[1:-1]
        with panel(WIDE / 2, 1.2 + 0.13 * (len(models) + 1.5) * len(learners)) as (figure, axes):
            for place, learner in enumerate(learners):
                for model, shift in zip(models, shifts, strict=True):
                    alone = (learner, "exact")
                    for line, filled in (((learner, with_rows(model)), True), ((model, "exact"), False)):
                        gain = answer.difference("accuracy", line, alone, size)
                        if gain.known:
                            look = {"capsize": 1.5, "elinewidth": 1, "markersize": 4, "alpha": 1.0 if filled else 0.75}
                            dot(axes, gain, place + shift, color(bench, model), filled, **look)
            axes.axvline(0, color=FAINT, linewidth=1)
            _legend(axes, models, bench, color)
            below(axes, [bench.contestants[key].short.replace(" regression", "") for key in learners])
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.0f}" if value else "0"))
            axes.set_xlabel(f"Accuracy gained over {size:,.0f} rows alone, points")
            pictures.append(drawn(figure, f"What drawn rows gain each classifier that has {size:,.0f} rows of its own"))
    return pictures


def _legend(axes: Axes, models: list[str], bench: Bench, color) -> None:
    """Draws what hues and marks mean, above the axes."""
    for model in models:
        axes.plot([], [], "s", color=color(bench, model), markersize=6, label=bench.contestants[model].short)
    for label, face in (("with drawn rows", INK), ("the model itself", "white")):
        axes.plot([], [], "o", color=INK, markerfacecolor=face, markersize=5, label=label)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.3, 1.0), ncols=3, handletextpad=0.2, columnspacing=0.9)
