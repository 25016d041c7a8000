"""Verdict that only texts have: on those that are drawn of each class."""

from dgjax.compare import _words as words
from dgjax.compare._bench import Bench
from dgjax.compare._ranking import certain, rank
from dgjax.compare._results import Answer
from dgjax.compare._say import Verdict, best_of
from dgjax.compare._text_questions import REAL


def sounds(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on texts drawn: whose are taken for their class most often, beside real ones; and who copies."""
    lines = [line for line in answer.lines("samples recognised") if line[0] in bench.contestants]
    ranking = rank(answer, "samples recognised", lines=lines)
    assert ranking is not None
    real = answer.estimate("samples recognised", REAL)
    claim = best_of(ranking, bench, "draws the texts that are most often taken for those of their class")
    headline = f"{words.capital(claim)} ({words.percent(ranking.value)}; real test texts {words.percent(real)})."
    reasons = [_beside_real(answer, bench), _copies(answer, bench)]
    return Verdict(headline, tuple(reason for reason in reasons if reason))


def _beside_real(answer: Answer, bench: Bench) -> str:
    gaps = {
        key: answer.difference("samples recognised", (key, "exact"), (REAL, "exact"))
        for key in bench.generative
        if answer.values("samples recognised", key)
    }
    more, less = (
        [f"{bench.contestants[key].short} ({words.points(gap)})" for key, gap in gaps.items() if own(gap)]
        for own in (lambda gap: certain(gap) and gap.mean > 0, lambda gap: certain(gap) and gap.mean < 0)
    )
    said = [f"{how} {words.listing(names)}" for how, names in (("more often", more), ("less often", less)) if names]
    return f"Taken for their class, against real texts: {'; '.join(said)}." if said else ""


def _copies(answer: Answer, bench: Bench) -> str:
    shares = {key: answer.estimate("samples copied", key) for key in bench.generative}
    said = [f"{bench.contestants[key].short} {words.percent(share)}" for key, share in shares.items() if share.known]
    return f"Copies of training texts, word for word: {', '.join(said)}."
