"""Pictures of classes: curves of how the rarest is told from the rest, and which class is taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import PercentFormatter

from dgjax.compare import _words as words
from dgjax.compare._bench import Bench
from dgjax.compare._metrics import GRID, rarest
from dgjax.compare._ranking import rank
from dgjax.compare._results import Answer
from dgjax.compare._style import FAINT, Picture, drawn, legend, panel

MOST_CLASSES, MOST_NAMED = 20, 12
SIDES = {"generative": ("#1b7f5c", "-"), "discriminative": ("#c2570c", (0, (4, 2))), "reference": (FAINT, ":")}


def of_classes(answer: Answer, bench: Bench) -> list[Picture]:
    """Curves of the rarest class, of the best model of each side, and a confusion matrix."""
    return [*curves(answer, bench), *confusion(answer, bench)]


def curves(answer: Answer, bench: Bench) -> list[Picture]:
    """ROC and precision-recall curves of the rarest class against the rest; none where no split tested it."""
    found = answer.extra.get("curves", {})
    best = [(side, ranking.best[0]) for side in SIDES if (ranking := _best(answer, bench, side)) is not None]
    lines = [(bench.contestants[key].short, *SIDES[side], found[key]) for side, key in best if key in found]
    if not lines:
        return []
    name, share = bench.dataset.classes[rarest(bench.dataset)], rarest_share(bench)
    chance = np.full_like(GRID, share)
    return [
        _curve(lines, "roc", GRID, ("Others taken for it", f"'{name}' found"), f"ROC curves of '{name}'"),
        _curve(
            lines,
            "precision",
            chance,
            (f"'{name}' found (recall)", "Right of those (precision)"),
            f"Precision and recall of '{name}'",
        ),
    ]


def rarest_share(bench: Bench) -> float:
    """Share of the rarest class among the rows with a label."""
    _, y = bench.dataset.at(bench.dataset.labelled)
    return float((y == rarest(bench.dataset)).mean())


def _best(answer, bench, side):
    """Ranking of one side's models by average precision."""
    own = [(key, "exact") for key, contestant in bench.contestants.items() if contestant.side == side]
    return rank(answer, "average precision", lines=own)


def _curve(lines: Sequence, kind: str, chance: np.ndarray, labels: tuple[str, str], title: str) -> Picture:
    first = 1 if kind == "precision" else 0  # of nothing found, none is right or wrong
    with panel(height=3.7) as (figure, axes):
        axes.plot(GRID, chance, color=FAINT, linewidth=1, zorder=1)
        for short, color, dashes, curve in lines:
            shares = np.asarray(curve[kind]) / curve["splits"]
            axes.plot(GRID[first:], shares[first:], color=color, linestyle=dashes, label=short)
        axes.set(xlim=(0, 1.01), ylim=(0, 1.03), xlabel=labels[0], ylabel=labels[1])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        legend(axes)
        return drawn(figure, f"{title}: {words.listing([line[0] for line in lines])}; the thin line is chance")


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
