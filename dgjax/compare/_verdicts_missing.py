"""Verdicts on missing cells, and on what a generative model knows beside the label."""

from dgjax.compare import _words as words
from dgjax.compare._bench import Bench
from dgjax.compare._missing import EXACT, MEAN, twin_method
from dgjax.compare._ranking import Line, certain, nearest, rank
from dgjax.compare._results import Answer
from dgjax.compare._say import Verdict, best_of, say


def at_prediction(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on missing cells in rows to predict: the best with half missing, and the worth of each way of dealing."""
    return _missing(answer, bench, "of the cells to predict from missing")


def of_steps(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on whole steps missing from sequences to predict: the best, and what each way of dealing is worth."""
    return _missing(answer, bench, "of the steps to predict from missing")


def at_training(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on missing cells in training rows: the best, and what each way of dealing with them is worth."""
    found, plan = _missing(answer, bench, "of the training cells missing"), bench.plan
    if plan.missing_train_rows >= plan.train_rows:
        return found
    fewer = (
        f"Only {words.count(plan.missing_train_rows)} of the {words.count(plan.train_rows)} training rows are used "
        "here, for missing cells take long to learn from: what is measured at 0 % missing is not what other questions "
        "say of complete rows."
    )
    return Verdict(found.headline, (*found.reasons, fewer))


def _missing(answer: Answer, bench: Bench, what: str) -> Verdict:
    shares = [share for share in answer.settings("accuracy") if share]
    if not shares:
        return Verdict("Not measured.", ("The run was stopped before any cell was missing.",))
    share = nearest(shares, 0.5)
    ranking = rank(answer, "accuracy", share)
    assert ranking is not None
    headline = f"With {words.share(share)} {what}, {best_of(ranking, bench)}."
    exact = {bench.contestants[key].short: ((key, EXACT), (key, MEAN)) for key in bench.generative}
    twins = {
        say(bench, (pair.discriminative, twin_method(pair, bench.plan.unit))): (
            (pair.discriminative, twin_method(pair, bench.plan.unit)),
            (pair.discriminative, MEAN),
        )
        for pair in bench.pairs
    }
    used = "Averaging over the twin" if bench.plan.unit == "rows" else "Filling in by the generative model"
    reasons = [
        _gains(answer, share, "The exact marginal against mean imputation", exact),
        _gains(answer, share, f"{used} against mean imputation", twins),
    ]
    return Verdict(headline, tuple(reason for reason in reasons if reason))


def _gains(answer: Answer, share: float, title: str, lines: dict[str, tuple[Line, Line]]) -> str:
    said = []
    for name, (one, other) in lines.items():
        gap = answer.difference("accuracy", one, other, share)
        if certain(gap):
            said.append(f"{'+' if gap.mean > 0 else '−'}{words.points(gap)} for {name}")
        elif gap.known:
            said.append(f"no difference can be told for {name}")
    return f"{title}: {'; '.join(said)}." if said else ""


def knowledge(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on samples and imputations: whose pass for real, and how much closer than the mean cells are filled."""
    samples = rank(answer, "samples recognised", lines=[(key, "exact") for key in bench.generative])
    fills = rank(answer, "fill error", lines=[(key, EXACT) for key in bench.generative])
    parts = []
    if samples is not None:
        best = best_of(samples, bench, "draws the samples that are recognised best")
        parts.append(f"{best} ({words.percent(samples.value)} of them)")
    if fills is not None:
        parts.append(_fill(answer, bench, fills.best[0]))
    real = answer.estimate("samples recognised", "real rows")
    reasons = []
    if real.known:
        reasons.append(
            f"The judge is a random forest trained on real rows; of real test rows it recognises {words.percent(real)}."
        )
    worse = [key for key in bench.generative if _fill_gap(answer, key) > 0]
    if worse:
        names = words.listing([bench.contestants[key].short for key in worse])
        reasons.append(f"Worse than the mean at filling in, for certain: {names}.")
    headline = f"{words.capital('; '.join(parts))}." if parts else "Not measured yet."
    return Verdict(headline, tuple(reasons))


def _fill(answer: Answer, bench: Bench, key: str) -> str:
    own, mean = (answer.estimate("fill error", key, method=method).mean for method in (EXACT, MEAN))
    name = bench.contestants[key].short
    if _fill_gap(answer, key) >= 0:
        return f"no model fills hidden cells better than the mean for certain ({name} comes closest)"
    return f"{name} fills hidden cells best, with an error {100 * (1 - own / mean):.0f} % below that of the mean"


def _fill_gap(answer: Answer, key: str) -> int:
    gap = answer.difference("fill error", (key, EXACT), (key, MEAN))
    return 0 if not certain(gap) else (1 if gap.mean > 0 else -1)
