"""Ranking of models: every claim of a difference in the report is decided here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dgjax.compare._results import Answer, Estimate

STANDARD_ERRORS = 2.0  # of a difference that is called one
FEWEST_REPEATS = 3  # for a standard error to mean anything
LOWER_IS_BETTER = frozenset(
    {"log-loss", "brier", "calibration error", "fill error", "changes off", "training seconds", "parameters"}
)
COMPARED_BY_RATIO = frozenset({"log-loss", "training seconds", "rows per second", "parameters"})
"""What spans orders of magnitude: of 75 +- 64 nats beside 0.2 the difference says nothing, and the ratio enough."""
SMALLEST = 1e-12  # value whose logarithm is taken

Line = tuple[str, str]
"""A model and how it was used."""


@dataclass(frozen=True)
class Ranking:
    """Ranking: the best line, its value, the lines that cannot be told from it, and all lines, best first."""

    best: Line
    value: Estimate
    level: tuple[Line, ...]
    order: tuple[Line, ...]


def certain(difference: Estimate) -> bool:
    """Whether a paired difference exceeds 2 of its standard errors, over 3 repeats or more."""
    return difference.count >= FEWEST_REPEATS and abs(difference.mean) > STANDARD_ERRORS * difference.error


def better(answer: Answer, metric: str, one: Line, other: Line, setting: float = 0.0) -> int:
    """Sign of a certain difference: 1 if `one` is better, -1 if the `other` is, 0 if that cannot be told."""
    scale = _logarithm if metric in COMPARED_BY_RATIO else float
    difference = answer.difference(metric, one, other, setting, scale)
    if not certain(difference):
        return 0
    return 1 if (difference.mean < 0) == (metric in LOWER_IS_BETTER) else -1


def _logarithm(value: float) -> float:
    return math.log(max(value, SMALLEST))


def rank(answer: Answer, metric: str, setting: float = 0.0, lines: Sequence[Line] | None = None) -> Ranking | None:
    """Ranking by the mean of a metric of the lines that have a value at this setting; None if none has."""
    values = {
        line: answer.estimate(metric, line[0], setting, line[1])
        for line in (answer.lines(metric) if lines is None else lines)
    }
    sign = 1 if metric in LOWER_IS_BETTER else -1
    order = tuple(sorted((line for line in values if values[line].known), key=lambda line: sign * values[line].mean))
    if not order:
        return None
    best, *rest = order
    level = tuple(line for line in rest if not better(answer, metric, best, line, setting))
    return Ranking(best, values[best], level, order)


def nearest(settings: Sequence[float], wanted: float) -> float:
    """Nearest measured setting to the one wanted."""
    return min(settings, key=lambda setting: abs(setting - wanted))
