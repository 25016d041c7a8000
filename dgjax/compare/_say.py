"""Sentences that verdicts are made of."""

from dataclasses import dataclass

from dgjax.compare import _words as words
from dgjax.compare._baseline import baseline, beaten
from dgjax.compare._bench import Bench
from dgjax.compare._ranking import Line, Ranking


@dataclass(frozen=True)
class Verdict:
    """Verdict: the answer in one or two sentences, and the reasons it rests on."""

    headline: str
    reasons: tuple[str, ...] = ()


def say(bench: Bench, line: Line) -> str:
    """Name of a line in a sentence."""
    return words.spoken(line, bench.named, bench.plan.unit)


def unlabelled(bench: Bench) -> str:
    """Words for what has no label: rows, sequences, or texts."""
    return "sequences without labels" if bench.plan.unit == "sequences" else f"{bench.plan.unit} without a label"


def best_of(ranking: Ranking, bench: Bench, claim: str = "is the most accurate") -> str:
    """Sentence on the best model, by name, and who else may be; or that none beats the baseline."""
    names = [say(bench, line) for line in (ranking.best, *ranking.level)]
    base = baseline(bench, "accuracy")
    if "accurate" in claim and base and not beaten(bench, "accuracy", ranking.value):
        return f"nothing beats {base.words}, not even {names[0]} ({words.percent(ranking.value)})"
    value = f" ({words.percent(ranking.value)})" if "accurate" in claim else ""
    first = f"{names[0]} {claim}{value}"
    if len(names) == 1:
        return first
    if len(names) == len(ranking.order) > 2:
        return f"{first}, but no difference to any other can be told"
    return f"{first}, not told apart from {words.listing(names[1:], 2)}"
