"""Plots of the questions: one small picture for each pair, so that they read on a narrow screen too."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import (
    EngFormatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    PercentFormatter,
)

from dgjax.compare import _plots_columns, _plots_deep, _plots_drawn, _plots_sequences
from dgjax.compare._bench import Bench
from dgjax.compare._contestants import Pair
from dgjax.compare._metrics import NUM_BINS
from dgjax.compare._missing import EXACT, MEAN, OWN, twin_method
from dgjax.compare._plots_classes import of_classes
from dgjax.compare._questions import ALL_ROWS, DENSITY, LABELLED, LARGEST
from dgjax.compare._ranking import Line, nearest, rank
from dgjax.compare._results import Answer
from dgjax.compare._run import Comparison
from dgjax.compare._style import FAINT, HUES, INK, WIDE, Look, Picture, drawn, legend, panel

FEWEST_IN_BIN = 10  # rows, for a share of them to be drawn
# Losses that differ by more than this factor go on a logarithmic axis.
MUCH, SMALLEST = 6.0, 1e-3


def plots(comparison: Comparison, key: str) -> list[Picture]:
    """Pictures of one question, by its key; none if it was not reached."""
    answer = comparison.answers[key]
    return PLOTS[key](answer, comparison.bench) if answer.records else []


def _look(bench: Bench, pair: Pair, model: str, **more) -> Look:
    generative = model in pair.generative
    hue = HUES[pair.key][pair.generative.index(model) if generative else 0]
    label = bench.contestants[model].short.replace(" regression", "")
    return Look(**{"label": label, "color": hue, "dashes": "-" if generative else (0, (4, 2)), **more})


def _curves(answer: Answer, axes: Axes, metric: str, lines: Sequence[tuple[Line, Look]]) -> None:
    """Draws lines of means with bars of one standard error."""
    for (model, method), look in lines:
        settings = answer.settings(metric, model, method)
        values = [answer.estimate(metric, model, setting, method) for setting in settings]
        if values:
            mean, error = (np.array([getattr(v, part) for v in values]) for part in ("mean", "error"))
            axes.errorbar(settings, mean, yerr=np.nan_to_num(error), capsize=2, elinewidth=1, **look.options())


def _reference(answer: Answer, bench: Bench, metric: str, method: str, setting: float) -> list[tuple[Line, Look]]:
    """Style of the best outside reference at a setting: a thin grey line."""
    lines = [(c.key, method) for c in bench.contestants.values() if c.side == "reference"]
    best = rank(answer, metric, setting, lines)
    if best is None:
        return []
    label = bench.contestants[best.best[0]].short
    return [(best.best, Look(label, HUES["reference"][1], ":", "o", thin=True))]


def _limits(answer: Answer, metric: str, settings: Sequence[float], lines: Sequence[Line]) -> tuple[float, float]:
    """Range of an axis that the panels of a question share, so that they compare."""
    values = [answer.estimate(metric, m, s, method) for m, method in lines for s in settings]
    mean, error = (np.array([getattr(v, part) for v in values]) for part in ("mean", "error"))
    low, high = np.nanmin(mean - np.nan_to_num(error)), np.nanmax(mean + np.nan_to_num(error))
    margin = 0.06 * max(high - low, 0.02)
    return float(low - margin), float(high + margin)


def training_rows(answer: Answer, bench: Bench) -> list[Picture]:
    """Plots of accuracy, then log-loss, against the number of training rows, for each pair."""
    return [
        *_by_pair(answer, bench, "accuracy", _plain, _axis_rows, "exact", "Accuracy", ""),
        *_by_pair(answer, bench, "log-loss", _plain, _axis_rows, "exact", "Log-loss (nats)", ""),
    ]


Lines = Callable[[Bench, Pair], list[tuple[Line, Look]]]


def _by_pair(
    answer: Answer, bench: Bench, metric: str, lines: Lines, axis: Callable, reference: str, label: str, about: str
) -> list[Picture]:
    settings = answer.settings(metric)
    # Where cells are missing the verdict is on half of them.
    outside = _reference(answer, bench, metric, reference, nearest(settings, 0.5) if reference == OWN else settings[-1])
    every = [line for pair in bench.pairs for line, _ in lines(bench, pair)] + [line for line, _ in outside]
    low, high = _limits(answer, metric, settings, every)
    pictures = []
    for pair in bench.pairs:
        if not any(answer.settings(metric, *line) for line, _ in lines(bench, pair)):
            continue
        with panel() as (figure, axes):
            _curves(answer, axes, metric, lines(bench, pair) + outside)
            axes.set_ylabel(label)
            if metric == "log-loss" and high > MUCH * max(low, SMALLEST):
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            else:
                axes.set_ylim(low, high if metric == "log-loss" else min(high, 1.02))
                axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
                if metric == "accuracy":
                    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
            axis(axes, settings, bench.plan.unit)
            legend(axes)
            pictures.append(drawn(figure, f"{pair.name}: {label.lower()} {about}".strip()))
    return pictures


def _plain(bench: Bench, pair: Pair) -> list[tuple[Line, Look]]:
    return [((model, "exact"), _look(bench, pair, model)) for model in (*pair.generative, pair.discriminative)]


def _axis_rows(axes: Axes, settings: Sequence[float], unit: str) -> None:
    axes.set_xscale("log")
    axes.set_xlabel(f"Training {unit}")
    shown = list(settings) if len(settings) <= 6 else [*settings[:-1:2], settings[-1]]
    axes.set_xticks(shown, [f"{s:g}" for s in shown])
    axes.xaxis.set_minor_locator(NullLocator())


def _axis_labelled(axes: Axes, settings: Sequence[float], unit: str) -> None:
    axes.set_xscale("log")
    axes.set_xlabel(f"Share of the training {unit} labelled")
    axes.set_xticks(settings, [f"{100 * s:.2g} %" if s < 1 else "all" for s in settings])
    axes.xaxis.set_minor_locator(NullLocator())


def _axis_missing(axes: Axes, settings: Sequence[float], unit: str) -> None:
    axes.set_xlabel("Share missing")
    axes.set_xticks(settings)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def labelled_rows(answer: Answer, bench: Bench) -> list[Picture]:
    """Plots of accuracy with and without the rows that have no label, for each pair."""

    def lines(bench: Bench, pair: Pair) -> list[tuple[Line, Look]]:
        every, unit = [], bench.plan.unit
        for model in pair.generative:
            short = bench.contestants[model].short
            every.append(((model, ALL_ROWS), _look(bench, pair, model, label=f"{short}, all {unit}")))
            look = _look(bench, pair, model, label=f"{short}, labelled only", dashes=":", hollow=True)
            every.append(((model, LABELLED), look))
        return [*every, ((pair.discriminative, LABELLED), _look(bench, pair, pair.discriminative))]

    return _by_pair(answer, bench, "accuracy", lines, _axis_labelled, "none", "Accuracy", "by share labelled")


def missing(answer: Answer, bench: Bench) -> list[Picture]:
    """Plots of accuracy against missing cells, by each way of dealing with them, for each pair."""

    def lines(bench: Bench, pair: Pair) -> list[tuple[Line, Look]]:
        every = []
        for model in pair.generative:
            short = bench.contestants[model].short
            every.append(((model, EXACT), _look(bench, pair, model, label=f"{short}, exact")))
            every.append(((model, MEAN), _look(bench, pair, model, label=f"{short}, mean", dashes=":", hollow=True)))
        own, unit = pair.discriminative, bench.plan.unit
        name = bench.contestants[own].short
        short, twin = (name.split(" ")[0], "over twin") if unit == "rows" else (name, "by model")
        method = twin_method(pair, unit)
        every.append(((own, method), _look(bench, pair, own, label=f"{short}, {twin}", marker="s")))
        look = _look(
            bench, pair, own, label=f"{short}, mean", dashes=(0, (1.5, 1.5)), marker="s", hollow=True, thin=True
        )
        return [*every, ((own, MEAN), look)]

    return _by_pair(answer, bench, "accuracy", lines, _axis_missing, OWN, "Accuracy", "by share missing")


def calibration(answer: Answer, bench: Bench) -> list[Picture]:
    """Reliability diagrams for each pair and for the references, Brier scores, curves, and confusions."""
    groups = [
        (pair.name, [(m, _look(bench, pair, m)) for m in (*pair.generative, pair.discriminative)])
        for pair in bench.pairs
    ]
    outside = [c for c in bench.contestants.values() if c.side == "reference"]
    marks = zip(outside, HUES["reference"], ("-", "--", ":"), strict=False)
    groups.append(("Outside references", [(c.key, Look(c.short, color, dashes)) for c, color, dashes in marks]))
    scores = _dots(answer, bench, "brier", "Brier score (0 is perfect)")
    return [*(_reliability(answer, *group) for group in groups), scores, *of_classes(answer, bench)]


def _reliability(answer: Answer, name: str, lines: Sequence[tuple[str, Look]]) -> Picture:
    with panel(height=3.7) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, zorder=1)
        for model, look in lines:
            x, y, error = _pooled(answer.extra.get("reliability", {}).get(model, []))
            axes.errorbar(x, y, yerr=error, capsize=2, elinewidth=1, **look.options())
        axes.set(xlim=(0, 1.02), ylim=(0, 1.04), xlabel="Largest class probability", ylabel="Share that is right")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        axes.annotate("too modest", (0.05, 0.93), color=FAINT, fontsize=8)
        axes.annotate("too sure", (0.98, 0.06), color=FAINT, fontsize=8, ha="right")
        legend(axes)
        return drawn(figure, f"{name}: how often they are right, by how sure they say they are")


def _pooled(repeats: list[list[list[float]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reliability bins over all splits: mean probability, share right, and its binomial standard error.

    Small bins are left out.
    """
    totals = np.zeros((NUM_BINS, 3))
    for rows, sure, right in (bin for repeat in repeats for bin in repeat):
        totals[min(int(sure * NUM_BINS), NUM_BINS - 1)] += rows, rows * sure, rows * right
    rows, sure, right = totals[totals[:, 0] >= FEWEST_IN_BIN].T
    share = right / rows
    return sure / rows, share, np.sqrt(share * (1 - share) / rows)


def _color(bench: Bench, model: str) -> str:
    for pair in bench.pairs:
        if model in pair.generative:
            return HUES[pair.key][pair.generative.index(model)]
    side = [pair.key for pair in bench.pairs if pair.discriminative == model]
    return HUES[side[0] if side else "reference"][0]


def _dots(
    answer: Answer, bench: Bench, metric: str, label: str, unit: str | None = None, truth: str | None = None
) -> Picture:
    """Dot plot of a metric, models below one another, with a line at the `truth`; logarithmic if there is a `unit`."""
    lines = [line for line in answer.lines(metric) if line[0] in bench.contestants]
    values = [answer.estimate(metric, model, 0.0, method) for model, method in lines]
    with panel(height=0.9 + 0.31 * len(lines)) as (figure, axes):
        for place, ((model, _), value) in enumerate(zip(lines, values, strict=True)):
            generative = bench.contestants[model].side == "generative"
            color, error = _color(bench, model), np.nan_to_num(value.error)
            face = color if generative else "white"
            axes.errorbar(
                value.mean, place, xerr=error, fmt="o", color=color, markerfacecolor=face, capsize=2.5, markersize=6
            )
        _below(axes, [bench.contestants[model].short.replace(" regression", "") for model, _ in lines])
        axes.set_xlabel(label)
        if truth is not None:
            axes.axvline(answer.estimate(metric, truth).mean, color=FAINT, linewidth=1.2, label=f"in {truth}")
            legend(axes)
        if unit is not None:
            _log_axis(axes, unit)
        return drawn(figure, f"{label} of each model")


def _below(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _log_axis(axes: Axes, unit: str) -> None:
    axes.set_xscale("log")
    low, high = (np.log10(end) for end in axes.get_xlim())
    axes.set_xlim(10 ** np.floor(low), 10 ** np.ceil(high))
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(EngFormatter(unit, sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())


def held_out(answer: Answer, bench: Bench) -> list[Picture]:
    """Plot of how well an unseen class is told, by log p(x) (filled) and by the largest class probability (hollow)."""
    models = list(dict.fromkeys(model for model, _ in answer.lines("auroc")))
    with panel(WIDE, 1.3 + 0.34 * len(models)) as (figure, axes):
        for place, model in enumerate(models):
            for method, shift in ((DENSITY, -0.13), (LARGEST, 0.13)):
                value, color = answer.estimate("auroc", model, 0.0, method), _color(bench, model)
                if value.known:
                    face = color if method == DENSITY else "white"
                    error = np.nan_to_num(value.error)
                    axes.errorbar(
                        value.mean,
                        place + shift,
                        xerr=error,
                        fmt="o",
                        color=color,
                        markerfacecolor=face,
                        capsize=2.5,
                        markersize=6,
                    )
        axes.axvline(0.5, color=FAINT, linewidth=1)
        for label, face in (("log p(x)", INK), ("largest class probability", "white")):
            axes.plot([], [], "o", color=INK, markerfacecolor=face, markersize=6, label=label)
        _below(axes, [bench.contestants[model].short for model in models])
        axes.set_xlabel("AUROC: 0.5 is chance, 1 is perfect")
        legend(axes)
        return [drawn(figure, "How well each model tells an unseen class from those it knows", wide=True)]


def cost(answer: Answer, bench: Bench) -> list[Picture]:
    """Dot plots of training time, prediction throughput and number of parameters."""
    return [
        _dots(answer, bench, "training seconds", "Time to train", unit="s"),
        _dots(answer, bench, "rows per second", f"{bench.plan.unit.capitalize()} predicted in a second", unit=""),
        _dots(answer, bench, "parameters", "Numbers it keeps", unit=""),
    ]


def knowledge(answer: Answer, bench: Bench) -> list[Picture]:
    """Pictures of what was drawn and filled in, then plots of how good it is in numbers."""
    from dgjax.compare import _pictures

    lines, keys = [("fill error", EXACT), ("samples recognised", "exact")], bench.generative
    numbers = [m for m, method in lines if any((key, method) in answer.lines(m) for key in keys)]
    return [*_pictures.pictures(answer, bench, keys), *(_know(answer, bench, own, keys) for own in numbers)]


def deep(answer: Answer, bench: Bench) -> list[Picture]:
    """Pictures of what deep densities draw and fill in, then dots of how good it is, with others beside."""
    return _plots_deep.shown(answer, bench, _below)


def _know(answer: Answer, bench: Bench, metric: str, keys: list[str]) -> Picture:
    filling = metric == "fill error"
    label = "Error of filled cells (standard deviations)" if filling else "Samples recognised as their class"
    method, rival = (EXACT, MEAN) if filling else ("exact", "exact")
    with panel(height=1.2 + 0.36 * len(keys)) as (figure, axes):
        for place, key in enumerate(keys):
            value = answer.estimate(metric, key, 0.0, method)
            if value.known:
                axes.errorbar(
                    value.mean,
                    place,
                    xerr=np.nan_to_num(value.error),
                    fmt="o",
                    color=_color(bench, key),
                    capsize=2.5,
                    markersize=6,
                )
        other = answer.estimate(metric, keys[0] if filling else "real rows", 0.0, rival)
        if other.known:
            axes.axvline(
                other.mean,
                color=FAINT,
                linewidth=1.2,
                label="filled by the mean" if filling else f"real test {bench.plan.unit}",
            )
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        if not filling:
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        _below(axes, [bench.contestants[key].short for key in keys])
        axes.set_xlabel(label)
        legend(axes)
        return drawn(figure, f"{label}, by model")


def paths(answer: Answer, bench: Bench) -> list[Picture]:
    """Picture of one sequence, then a plot of how often its state changes by each model."""
    return [
        *_plots_sequences.path(answer, bench),
        _dots(answer, bench, "changes", "Changes of state in 100 steps", truth="truth"),
    ]


def unusual(answer: Answer, bench: Bench) -> list[Picture]:
    """Plot of how well spoilt sequences are told, a panel for each thing that is wrong."""
    return _plots_sequences.unusual(answer, bench, _color, _below)


def drawn_rows(answer: Answer, bench: Bench) -> list[Picture]:
    """Plots of what drawn rows gain each classifier, a panel for each number of rows that it has of its own."""
    return _plots_drawn.gains(answer, bench, _color, _below)


def columns(answer: Answer, bench: Bench) -> list[Picture]:
    """Bar charts of each column's share, the two sides of a pair against each other; then of the references."""
    return _plots_columns.shares(answer, bench, _color, _below)


def sounds(answer: Answer, bench: Bench) -> list[Picture]:
    """Plot of how many of the texts that are drawn are taken for those of their class; the texts are in a table."""
    return [_know(answer, bench, "samples recognised", bench.generative)]


PLOTS: dict[str, Callable[[Answer, Bench], list[Picture]]] = {
    "training_rows": training_rows,
    "calibration": calibration,
    "held_out": held_out,
    "labelled_rows": labelled_rows,
    "drawn_rows": drawn_rows,
    "columns": columns,
    "missing_prediction": missing,
    "missing_training": missing,
    "knowledge": knowledge,
    "deep": deep,
    "cost": cost,
    "paths": paths,
    "missing_steps": missing,
    "unusual": unusual,
    "sounds": sounds,
}
