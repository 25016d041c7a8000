"""Picture of which class is taken for which, by the model of the best probabilities."""

import numpy as np
from matplotlib import colormaps

from dgjax.compare._bench import Bench
from dgjax.compare._ranking import rank
from dgjax.compare._results import Answer
from dgjax.compare._style import Picture, drawn, panel

MOST_CLASSES, MOST_NAMED = 20, 12


def confusion(answer: Answer, bench: Bench) -> list[Picture]:
    """Confusion matrix of the model of the lowest Brier score, in percent of the true class; none of many classes."""
    ranking, classes = rank(answer, "brier"), bench.dataset.classes
    if ranking is None or len(classes) > MOST_CLASSES or ranking.best[0] not in answer.extra.get("confusion", {}):
        return []
    counts = answer.extra["confusion"][ranking.best[0]]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    name = bench.contestants[ranking.best[0]].short
    with panel(height=1.6 + 0.22 * max(len(classes), 6)) as (figure, axes):
        axes.imshow(shares, cmap=colormaps["Blues"], vmin=0, vmax=1, aspect="auto")
        for i, j in np.ndindex(*shares.shape):
            if shares[i, j] >= 0.005 and len(classes) <= MOST_NAMED:
                ink = "white" if shares[i, j] > 0.55 else "#24292f"
                axes.text(j, i, f"{100 * shares[i, j]:.0f}", ha="center", va="center", fontsize=8, color=ink)
        axes.set_xticks(range(len(classes)), classes, rotation=45 if max(map(len, classes)) > 3 else 0, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        axes.grid(visible=False)
        axes.set(xlabel=f"Taken for, by {name} (%)", ylabel="True class")
        return [drawn(figure, f"Confusion matrix of {name}: rows are true classes, columns what they are taken for")]
