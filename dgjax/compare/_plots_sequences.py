"""Plots that only sequences have: one of them with what each model says of it, and what is unusual."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dgjax.compare._bench import Bench
from dgjax.compare._questions import DENSITY, LARGEST
from dgjax.compare._results import Answer
from dgjax.compare._sequence_questions import WRONG
from dgjax.compare._style import FAINT, INK, WIDE, Picture, dot, drawn, panel

MOST_LINES = 4
BAND = 0.24  # inches of height
STATES = ("#2f4b7c", "#7fb0d6", "#7a9e3f", "#e3b23c", "#c4502f", "#7d4f8c", "#4fa39a", "#9a8f86")
SIGNALS = ("#24292f", "#d1495b", "#8d99ae", "#e09f3e")
EDGE = {"markeredgecolor": INK, "markeredgewidth": 0.5}


def path(answer: Answer, bench: Bench) -> list[Picture]:
    """Plot of one test sequence: its columns of numbers, its true states, and what the models of each pair say."""
    said = answer.pictures.get("said", {})
    rows = bench.split(0).test
    if not said:
        return []
    states = list(bench.dataset.y[rows])
    shown = _typical(said, states)
    x, truth = bench.dataset.x[rows[shown]], states[shown]
    models = [key for pair in bench.pairs for key in (*pair.generative, pair.discriminative) if key in said]
    bands = {"in truth": truth, **{bench.contestants[key].short: said[key][shown] for key in models}}
    high = 1.9 + BAND * len(bands)
    with panel(WIDE, high + 0.5) as (figure, axes):
        axes.remove()
        lines, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.9, BAND * len(bands)])
        _signal(lines, x, bench)
        _bands(below, bands, truth, len(bench.dataset.classes))
        _states(figure, bench, truth, bands)
        return [drawn(figure, "One test sequence: what was measured, its true states, and those each model says", True)]


def _typical(said: dict[str, list[np.ndarray]], states: list[np.ndarray]) -> int:
    """Index of the sequence whose accuracy by all models is nearest the median, among those of many states."""
    right = np.array([np.mean([(own[i] == y).mean() for own in said.values()]) for i, y in enumerate(states)])
    several = np.array([len(np.unique(y)) for y in states])
    near = np.abs(right - np.median(right)) + (several < np.median(several))
    return int(np.argmin(near))


def _signal(axes: Axes, x: np.ndarray, bench: Bench) -> None:
    """Draws the columns of numbers that vary most from state to state, standardised."""
    numbers = np.flatnonzero(bench.dataset.numeric)
    every, states = bench.dataset.table(bench.dataset.x), np.concatenate(bench.dataset.y)
    known = [label for label in np.unique(states) if label >= 0]
    mean, scale = np.nanmean(every, axis=0), np.nanstd(every, axis=0)
    apart = [np.nanstd([np.nanmean(every[states == label, j]) for label in known]) / scale[j] for j in numbers]
    kept = np.sort(numbers[np.argsort(apart)[::-1][:MOST_LINES]])
    for j, color in zip(kept, SIGNALS, strict=False):
        axes.plot(
            np.arange(len(x)),
            (x[:, j] - mean[j]) / scale[j],
            color=color,
            linewidth=1.4,
            label=bench.dataset.columns[j],
        )
    axes.set_ylabel("Standardised")
    axes.margins(x=0)
    axes.tick_params(axis="x", length=0)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=MOST_LINES, handlelength=1.4, columnspacing=1.2)


def _colors(count: int) -> list[str]:
    """Colours of states, told apart from their neighbours."""
    if count <= len(STATES):
        return list(STATES[:count])
    return [to_hex(tuple(color)) for color in colormaps["turbo"](np.linspace(0.02, 0.98, count)).tolist()]


def _bands(axes: Axes, bands: dict[str, np.ndarray], truth: np.ndarray, count: int) -> None:
    """Draws a band of coloured steps for each model, dots where it is wrong."""
    colors = to_rgba_array(_colors(count))
    for place, states in enumerate(bands.values()):
        image = colors[states][None]
        axes.imshow(image, extent=(-0.5, len(truth) - 0.5, place + 0.42, place - 0.42), aspect="auto", zorder=2)
        wrong = np.flatnonzero(states != truth)
        axes.plot(wrong, np.full(len(wrong), place), "o", color="white", markersize=3.4, zorder=3, **EDGE)
    share = [f"{name}  {100 * (states == truth).mean():.0f} %" for name, states in bands.items()]
    share[0] = next(iter(bands))
    axes.set_yticks(range(len(bands)), share)
    axes.set_ylim(len(bands) - 0.5, -0.6)
    axes.set_xlim(-0.5, len(truth) - 0.5)
    axes.set_xlabel("Step")
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _states(figure: Figure, bench: Bench, truth: np.ndarray, bands: dict[str, np.ndarray]) -> None:
    """Draws a legend of the states that are seen, by their colours."""
    seen = np.unique(np.concatenate(list(bands.values())))
    colors = _colors(len(bench.dataset.classes))
    handles = [Patch(color=colors[label], label=bench.dataset.classes[label]) for label in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(8, len(handles)), handlelength=1.1)


def unusual(answer: Answer, bench: Bench, color, below) -> list[Picture]:
    """Plot of a panel for each thing that is wrong: log p(x) filled, the largest probability hollow."""
    models = list(bench.contestants)
    pictures = []
    for wrong, what in WRONG.items():
        with panel(WIDE / 2, 1.3 + 0.3 * len(models)) as (figure, axes):
            for place, model in enumerate(models):
                for method, shift in ((DENSITY, -0.13), (LARGEST, 0.13)):
                    value = answer.estimate("auroc", model, wrong, method)
                    if value.known:
                        dot(
                            axes,
                            value,
                            place + shift,
                            color(bench, model),
                            method == DENSITY,
                            capsize=2.5,
                            markersize=6,
                        )
            axes.axvline(0.5, color=FAINT, linewidth=1)
            for label, face in (("log p(x)", INK), ("largest probability", "white")):
                axes.plot([], [], "o", color=INK, markerfacecolor=face, markersize=6, label=label)
            below(axes, [bench.contestants[model].short for model in models])
            axes.set(xlabel="AUROC: 0.5 is chance, 1 is perfect", xlim=(None, 1.02))
            axes.set_title(what[:1].upper() + what[1:], pad=22)
            axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=2, handletextpad=0.2)
            pictures.append(drawn(figure, f"How well each model notices {what}"))
    return pictures
