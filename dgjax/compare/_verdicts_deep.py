"""Verdict on deep densities: what they add to what closed forms and mixtures say already."""

from dgjax.compare import _words as words
from dgjax.compare._bench import Bench
from dgjax.compare._deep import FEW
from dgjax.compare._missing import EXACT
from dgjax.compare._questions import ALL_ROWS, DENSITY, LABELLED
from dgjax.compare._ranking import certain, rank
from dgjax.compare._results import Answer
from dgjax.compare._say import Verdict

ASKED = (
    ("samples recognised", "exact", "samples are recognised most", words.percent),
    ("fill error", EXACT, "fills hidden cells best", words.number),
    ("auroc", DENSITY, "tells an unseen class best", words.number),
    ("accuracy", "exact", "is the most accurate", words.percent),
)
LIKELIHOODS = {
    "exact": "exact",
    "learnt": "exact along what the network has learnt",
    "bound": "a lower bound",
    "estimate": "an estimate",
    "none": "not to be had",
}


def densities(answer: Answer, bench: Bench) -> Verdict:
    """Verdict: who is best at each of the things asked, what labels missing cost, and what their numbers are."""
    said = []
    for metric, method, claim, told in ASKED:
        ranking = rank(answer, metric, lines=[line for line in answer.lines(metric) if line[1] == method])
        if ranking is None:
            continue
        name, level = bench.named[ranking.best[0]].short, [bench.named[key].short for key, _ in ranking.level]
        who = f"{name}'s" if claim.startswith("samples") else name
        beside = f", not told from {words.listing(level, 3)}" if level else ""
        said.append(f"{who} {claim} ({told(ranking.value)}{beside})")
    headline = f"{words.capital('; '.join(said))}." if said else "Not measured yet."
    return Verdict(headline, tuple(filter(None, (_few(answer, bench), _kinds(answer, bench)))))


def _few(answer: Answer, bench: Bench) -> str:
    """Sentence on what rows without a label gain each density."""
    parts = []
    for key in dict.fromkeys(model for model, _ in answer.lines(FEW)):
        gain = answer.difference(FEW, (key, ALL_ROWS), (key, LABELLED))
        name = bench.named[key].short
        sign = "no change for certain" if not certain(gain) else f"{'+' if gain.mean > 0 else '−'}{words.points(gain)}"
        parts.append(f"{name} {sign}")
    if not parts:
        return ""
    return f"With {words.count(answer.extra['few_labels'])} labels, the rows without one: {'; '.join(parts)}."


def _kinds(answer: Answer, bench: Bench) -> str:
    """Sentence on what kind of number log p(x) of each density is."""
    kinds = answer.extra.get("kinds", {})
    parts = [f"of {bench.named[key].short} {LIKELIHOODS[own['log_prob']]}" for key, own in kinds.items()]
    return f"Log p(x) is {', '.join(parts)}." if parts else ""
