"""Bar charts of the columns that decide: the sides of a pair against each other, and the references."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dgjax.compare._bench import Bench
from dgjax.compare._explained import LENT, SHUFFLED, SUMMED_OUT
from dgjax.compare._results import Answer, Estimate
from dgjax.compare._style import HUES, INK, WIDE, Picture, drawn, panel

MOST_SHOWN = 12
LONGEST_NAME = 20


def shares(answer: Answer, bench: Bench, color, below) -> list[Picture]:
    """Bar charts: generative to the left, discriminative to the right, the largest columns on top; then references."""
    lines = answer.lines("share")
    couples = [(key, pair.discriminative) for pair in bench.pairs for key in pair.generative]
    found = [
        _sides(answer, bench, one, other, color, below)
        for one, other in couples
        if (one, SUMMED_OUT) in lines and (other, LENT) in lines
    ]
    outside = [key for key, contestant in bench.contestants.items() if (key, SHUFFLED) in lines]
    return [*found, *([_references(answer, bench, outside, below)] if outside else [])]


def _sides(answer: Answer, bench: Bench, one: str, other: str, color, below) -> Picture:
    """Bar chart of a generative model and its twin, mirrored; an outline is the generative one with others' cells."""
    left, right = _shares(answer, one, SUMMED_OUT), _shares(answer, other, LENT)
    order = _largest([left, right])
    lent = _shares(answer, one, LENT) if (one, LENT) in answer.lines("share") else []
    names = [bench.contestants[key].short.replace(" regression", "") for key in (one, other)]
    with panel(WIDE / 2, 1.3 + 0.3 * len(order)) as (figure, axes):
        for side, (values, hue) in enumerate(((left, color(bench, one)), (right, color(bench, other)))):
            _bars(axes, [values[j] for j in order], 2 * side - 1, color=hue, alpha=0.85 if side == 0 else 0.45)
        if lent:
            widths = [-lent[j].mean for j in order]
            axes.barh(
                range(len(order)), widths, 0.62, fill=False, edgecolor=INK, linewidth=0.9, linestyle=(0, (2, 1.5))
            )
        axes.axvline(0, color=INK, linewidth=0.8)
        _named(axes, bench, order, below)
        end = max(abs(value) for value in axes.get_xlim())
        axes.set_xlim(-end, end)
        axes.xaxis.set_major_locator(MaxNLocator(4, symmetric=True, steps=[1, 2, 5, 10]))
        dashed = "(dashed: with cells of other rows)" if lent else ""
        axes.set_xlabel(f"Share of what all columns add\n{dashed}".rstrip())
        for place, side, text in (
            (0.48, "right", f"← {names[0]}"),
            (0.52, "left", f"{names[1]} →".replace(" ", "\n", names[1].count(" "))),
        ):
            axes.text(place, 1.02, text, ha=side, weight="bold", transform=axes.transAxes)
        return drawn(figure, " ".join(f"Which columns decide, by {names[0]} {dashed} and {names[1]}".split()))


def _references(answer: Answer, bench: Bench, keys: list[str], below) -> Picture:
    """Bar chart of the references, a bar for each below one another in every column."""
    values = [_shares(answer, key, SHUFFLED) for key in keys]
    order, height = _largest(values), 0.75 / len(keys)
    with panel(WIDE / 2, 1.3 + 0.36 * len(order)) as (figure, axes):
        for i, (key, own) in enumerate(zip(keys, values, strict=True)):
            shift = (i - (len(keys) - 1) / 2) * height
            label, hue = bench.contestants[key].short, HUES["reference"][i]
            _bars(axes, [own[j] for j in order], 1, shift, height, color=hue, label=label)
        _named(axes, bench, order, below)
        axes.set_xlabel("Share of the loss\nwhen a column is shuffled")
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.2, handletextpad=0.4, columnspacing=0.9)
        return drawn(figure, "Which columns decide, by the references, each column shuffled")


def _shares(answer: Answer, key: str, method: str) -> list[Estimate]:
    return [answer.estimate("share", key, j, method) for j in answer.settings("share", key, method)]


def _largest(sides: list[list[Estimate]]) -> list[int]:
    """Columns by their mean share over sides, the largest first, as many as a picture shows."""
    means = np.mean([[value.mean for value in side] for side in sides], axis=0)
    return [int(j) for j in np.argsort(-means, kind="stable")[:MOST_SHOWN]]


def _bars(axes: Axes, values: list[Estimate], sign: int, shift: float = 0.0, height: float = 0.62, **look) -> None:
    error = np.nan_to_num([value.error for value in values])
    means = np.array([value.mean for value in values])
    ink = {"elinewidth": 0.9, "ecolor": INK, "capsize": 1.5}
    axes.barh(np.arange(len(values)) + shift, sign * means, height, xerr=error, error_kw=ink, **look)


def _named(axes: Axes, bench: Bench, order: list[int], below) -> None:
    names = [bench.dataset.columns[j] for j in order]
    below(axes, [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * abs(value):.0f} %"))
