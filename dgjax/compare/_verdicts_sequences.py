"""Verdicts that only sequences have: on what is said step by step, and on what is unusual."""

from dgjax.compare import _words as words
from dgjax.compare._bench import Bench
from dgjax.compare._questions import DENSITY, LARGEST
from dgjax.compare._ranking import better, certain, rank
from dgjax.compare._results import Answer, Estimate
from dgjax.compare._say import Verdict, best_of, say
from dgjax.compare._sequence_questions import WRONG

TRUTH = ("truth", "exact")


def paths(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on paths: whose states change as often as the true ones do, and who flickers."""
    ranking = rank(answer, "changes off")
    assert ranking is not None
    real = answer.estimate("changes", *TRUTH[:1])
    best, worst = ranking.best, ranking.order[-1]
    headline = (
        f"In truth the state changes {words.number(real, 1)} times in 100 steps; by {say(bench, best)} "
        f"{_times(answer, best[0])} times, {_closest(bench, ranking)}, and by {say(bench, worst)} "
        f"{_times(answer, worst[0])} times."
    )
    gaps = {key: answer.difference("changes", (key, "exact"), TRUTH) for key, _ in ranking.order}
    more, fewer = (
        [f"{bench.contestants[key].short} ({_times(answer, key)})" for key, gap in gaps.items() if sign(gap)]
        for sign in (lambda gap: certain(gap) and gap.mean > 0, lambda gap: certain(gap) and gap.mean < 0)
    )
    reasons = [
        f"{what} changes than there are, for certain: {words.listing(names)}."
        for what, names in (("More", more), ("Fewer", fewer))
        if names
    ]
    return Verdict(headline, tuple(reasons))


def _closest(bench: Bench, ranking) -> str:
    if not ranking.level:
        return "the closest"
    return f"the closest, not told apart from {words.listing([say(bench, line) for line in ranking.level], 2)}"


def _times(answer: Answer, key: str) -> str:
    return f"{answer.estimate('changes', key).mean:.1f}"


def unusual(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on unusual sequences: who notices each thing that is wrong, by log p(x) or the largest probability."""
    said = []
    for wrong, what in WRONG.items():
        ranking = rank(answer, "auroc", wrong)
        assert ranking is not None
        told = Estimate(ranking.value.mean - 0.5, ranking.value.error, ranking.value.count)
        value = f"AUROC {words.number(ranking.value)}"
        if certain(told) and told.mean > 0:
            said.append(f"{best_of(ranking, bench, f'notices {what} best')} ({value})")
        else:
            said.append(f"nobody notices {what} for certain (the best has {value})")
    reasons = tuple(_within(answer, bench, wrong, what) for wrong, what in WRONG.items())
    return Verdict(f"{words.capital('; '.join(said))}.", reasons)


def _within(answer: Answer, bench: Bench, wrong: float, what: str) -> str:
    """Sentence that sets log p(x) of each generative model against its own largest probability."""
    signs = {key: better(answer, "auroc", (key, DENSITY), (key, LARGEST), wrong) for key in bench.generative}
    parts = {1: "better", -1: "worse", 0: "no different for certain"}
    found = [
        f"{part} for {words.listing([bench.contestants[key].short for key, own in signs.items() if own == sign])}"
        for sign, part in parts.items()
        if sign in signs.values()
    ]
    return f"With {what}, log p(x) against the same model's own largest probability: {'; '.join(found)}."
