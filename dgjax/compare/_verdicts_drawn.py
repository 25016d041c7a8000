"""Verdict on rows drawn by generative models, as training rows of classifiers."""

from dataclasses import dataclass

from dgjax.compare import _words as words
from dgjax.compare._baseline import beaten
from dgjax.compare._bench import Bench
from dgjax.compare._drawn import classifiers, with_rows
from dgjax.compare._ranking import better, certain, rank
from dgjax.compare._results import Answer, Estimate
from dgjax.compare._say import Verdict, best_of

BY_CHANCE = 0.05  # of differences of nothing, those that exceed 2 standard errors over 6 splits in one direction


@dataclass(frozen=True)
class Case:
    """Case: a classifier trained on `size` rows and on rows drawn by a generative model, and what it gains by these."""

    learner: str
    generative: str
    size: float
    gain: Estimate


def drawn_rows(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on drawn rows: how often they help or hurt, and whether more than the model that drew them would."""
    cases = [
        Case(learner, generative, size, _gain(answer, learner, generative, size))
        for learner in classifiers(bench)
        for generative in bench.generative
        for size in answer.settings("accuracy", learner, with_rows(generative))
    ]
    if not cases:
        return Verdict("Not measured.", ("The run was stopped before any row was drawn.",))
    # A gain that leaves the classifier no better than a guess is none.
    told = [case for case in cases if certain(case.gain) and _learnt(answer, bench, case)]
    helped = [case for case in told if case.gain.mean > 0]
    hurt = [case for case in told if case.gain.mean < 0]
    headline = _headline(len(cases), helped, hurt, bench)
    reasons = [*_beyond(answer, bench, helped), _by_classifier(bench, cases, helped, hurt)]
    reasons += [_losses(answer, cases), *(_best(answer, bench, size) for size in answer.settings("accuracy"))]
    return Verdict(headline, tuple(reasons))


def _gain(answer: Answer, learner: str, generative: str, size: float) -> Estimate:
    return answer.difference("accuracy", (learner, with_rows(generative)), (learner, "exact"), size)


def _learnt(answer: Answer, bench: Bench, case: Case) -> bool:
    ways = (with_rows(case.generative), "exact")
    return any(beaten(bench, "accuracy", answer.estimate("accuracy", case.learner, case.size, way)) for way in ways)


def _headline(count: int, helped: list[Case], hurt: list[Case], bench: Bench) -> str:
    counted = (
        f"of {count} combinations of classifier, generative model and number of rows, drawn rows make "
        f"{len(helped) or 'none'} more accurate and {len(hurt) or 'none'} less, for certain"
    )
    chance, up, down = BY_CHANCE * count, len(helped), len(hurt)
    if up > count / 2:
        answer = "Mostly"
    elif max(up, down) <= chance:
        answer = "Hardly, no more often than by chance alone" if helped else "No"
    elif up > down:
        answer = "In some cases"
    else:
        answer = "No, they hurt"
        if helped:
            answer += " more often than they help" if down > up else " as often as they help"
    most = f"; {_said(max(helped, key=lambda case: case.gain.mean), bench)}" if helped else ""
    return f"{answer}: {counted}{most}."


def _said(case: Case, bench: Bench) -> str:
    learner, generative = (bench.contestants[key].short for key in (case.learner, case.generative))
    return f"the most with {words.count(case.size)} rows: {learner} by {words.points(case.gain)}, drawn by {generative}"


def _beyond(answer: Answer, bench: Bench, helped: list[Case]) -> list[str]:
    """Sentence on whether a classifier with drawn rows is better than the model that drew them; none if none gained."""
    if not helped:
        return []
    signs = [
        better(answer, "accuracy", (c.learner, with_rows(c.generative)), (c.generative, "exact"), c.size)
        for c in helped
    ]
    return [
        (
            "Those that gain, set beside the model that drew the rows, as a classifier itself: "
            f"{signs.count(1)} more accurate than it for certain, {signs.count(-1)} less, "
            f"{signs.count(0)} not told apart."
        )
    ]


def _by_classifier(bench: Bench, cases: list[Case], helped: list[Case], hurt: list[Case]) -> str:
    said = []
    for key in classifiers(bench):
        every, up, down = (sum(case.learner == key for case in some) for some in (cases, helped, hurt))
        if every:
            said.append(f"{bench.contestants[key].short} {up} and {down} of {every}")
    return f"More and less accurate, by classifier: {', '.join(said)}."


def _losses(answer: Answer, cases: list[Case]) -> str:
    signs = [
        better(answer, "log-loss", (c.learner, with_rows(c.generative)), (c.learner, "exact"), c.size) for c in cases
    ]
    return (
        f"In log-loss, drawn rows make {signs.count(1)} of the {len(cases)} better and {signs.count(-1)} worse, for "
        "certain."
    )


def _best(answer: Answer, bench: Bench, size: float) -> str:
    ranking = rank(answer, "accuracy", size)
    assert ranking is not None
    return f"With {words.count(size)} rows, of all ways {best_of(ranking, bench)}."
