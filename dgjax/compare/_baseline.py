"""Baselines: what a metric is by the shares of the classes alone, which a model must beat to have learnt anything."""

import math
from dataclasses import dataclass

import numpy as np

from dgjax.compare import _words as words
from dgjax.compare._bench import Bench
from dgjax.compare._ranking import LOWER_IS_BETTER, STANDARD_ERRORS, Line, Ranking, rank
from dgjax.compare._results import Answer, Estimate

NAMING = "always naming the most frequent class"
SHARES = "the classes' shares alone"


@dataclass(frozen=True)
class Baseline:
    """Baseline of a metric: its value without a model, and words for what reaches it, such as naming one class."""

    value: float
    words: str


def baseline(bench: Bench, metric: str) -> Baseline | None:
    """Baseline of a metric, by the shares of the classes; None for metrics that mean nothing without a model."""
    shares = _shares(bench)
    known = {
        "accuracy": Baseline(bench.chance, f"{NAMING} ({100 * bench.chance:.1f} %)"),
        "balanced accuracy": Baseline(1 / len(shares), f"a guess ({100 / len(shares):.1f} %)"),
        "brier": Baseline(float(1 - (shares**2).sum()), f"{SHARES} ({1 - (shares**2).sum():.3f})"),
        "log-loss": Baseline(entropy(bench), f"{SHARES} ({entropy(bench):.3f} nats)"),
        "auroc": Baseline(0.5, "chance (0.500)"),
        "average precision": Baseline(float(shares.min()), f"the share of the rarest class ({shares.min():.3f})"),
    }
    return known.get(metric)


def entropy(bench: Bench) -> float:
    """Entropy of the classes' shares, in nats: the log-loss of predicting them for every row."""
    shares = _shares(bench)
    return float(-(shares * np.log(np.maximum(shares, 1e-300))).sum())


def beaten(bench: Bench, metric: str, value: Estimate) -> bool:
    """Whether a metric's value is better than its baseline by more than 2 standard errors.

    As few splits may agree by chance, the error of an accuracy is at least the binomial one of the rows tested.
    """
    base = baseline(bench, metric)
    if base is None:
        return True
    error = 0.0 if math.isnan(value.error) else value.error
    if metric == "accuracy":
        _, y = bench.dataset.at(bench.dataset.labelled)
        each = len(y) / len(bench.dataset.labelled)
        tested = min(len(y), value.count * bench.plan.test_rows * each)
        error = max(error, math.sqrt(base.value * (1 - base.value) / max(tested, 1)))
    gain = base.value - value.mean if metric in LOWER_IS_BETTER else value.mean - base.value
    return gain > STANDARD_ERRORS * error


def trusted(answer: Answer, bench: Bench, metric: str, setting: float = 0.0) -> Ranking | None:
    """Ranking of the lines that are not `doubtful` in log-loss; of all lines if every one is."""
    lines = answer.lines(metric)
    doubted = doubtful(answer, bench, lines, setting)
    return rank(answer, metric, setting, [line for line in lines if line not in doubted]) or rank(
        answer, metric, setting
    )


def doubtful(answer: Answer, bench: Bench, lines: list[Line], setting: float = 0.0) -> dict[Line, Estimate]:
    """Lines whose log-loss, plus 2 standard errors, is above the entropy of the classes' shares; with that log-loss."""
    losses = {line: answer.estimate("log-loss", line[0], setting, line[1]) for line in lines}
    return {
        line: loss
        for line, loss in losses.items()
        if loss.known and loss.mean + STANDARD_ERRORS * np.nan_to_num(loss.error) > entropy(bench)
    }


def doubt(answer: Answer, bench: Bench, setting: float = 0.0) -> str:
    """Sentence that names the models whose probabilities are not to be acted on; empty if there are none."""
    found = doubtful(answer, bench, answer.lines("log-loss"), setting)
    worse = [line for line, loss in found.items() if loss.mean > entropy(bench)]
    wide = [line for line in found if line not in worse]
    base = f"{SHARES} ({entropy(bench):.3f} nats)"
    said = [
        f"{words.listing([f'{bench.contestants[k].short} ({words.number(found[k, m])})' for k, m in some], 4)}, {why}"
        for why, some in (
            (f"in log-loss worse than {base}", worse),
            (f"too uncertain in log-loss to be called better than {base}", wide),
        )
        if some
    ]
    return f"Not to be acted on: {'; '.join(said)}." if said else ""


def _shares(bench: Bench) -> np.ndarray:
    _, y = bench.dataset.at(bench.dataset.labelled)
    return np.bincount(y) / len(y)
