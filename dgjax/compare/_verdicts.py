"""Verdicts in words, one for each question, drawn from the numbers measured in this run and nothing else."""

from collections.abc import Callable

from dgjax.compare import (
    _verdicts_columns,
    _verdicts_deep,
    _verdicts_drawn,
    _verdicts_missing,
    _verdicts_sequences,
    _verdicts_texts,
    _words as words,
)
from dgjax.compare._baseline import baseline, beaten, doubt, doubtful, trusted
from dgjax.compare._bench import Bench
from dgjax.compare._questions import ALL_ROWS, DENSITY, LABELLED, LARGEST
from dgjax.compare._ranking import Line, Ranking, better, certain, rank
from dgjax.compare._results import Answer
from dgjax.compare._run import Comparison
from dgjax.compare._say import Verdict, best_of, say, unlabelled
from dgjax.compare._verdicts_classes import of_classes


def verdict(comparison: Comparison, key: str) -> Verdict:
    """Verdict on one question, by its key."""
    answer, bench = comparison.answers[key], comparison.bench
    if not answer.records:
        reason = answer.reason or "The run was stopped before this question."
        return Verdict("Not measured.", (reason,))
    found = VERDICTS[key](answer, bench)
    heard = answer.heard.lines({name: contestant.short for name, contestant in bench.named.items()})
    failed = [answer.reason] if answer.status == "failed" else []
    so_far = "" if answer.status == "done" else "So far: "
    return Verdict(so_far + found.headline, (*failed, *found.reasons, *heard))


def training_rows(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on training rows: who leads with few, who with many, and where each pair crosses."""
    sizes = answer.settings("accuracy")
    few, many = (rank(answer, "accuracy", size) for size in (sizes[0], sizes[-1]))
    assert few is not None
    assert many is not None
    if sizes[0] == sizes[-1]:
        headline = f"With {words.count(sizes[0])} training {bench.plan.unit}, {best_of(few, bench)}."
    else:
        headline = (
            f"With {words.count(sizes[0])} training {bench.plan.unit}, {best_of(few, bench)}; "
            f"with {words.count(sizes[-1])}, {best_of(many, bench)}."
        )
    reasons = [
        _crossing(answer, bench, generative, pair.discriminative, sizes)
        for pair in bench.pairs
        for generative in pair.generative
    ]
    loss = rank(answer, "log-loss", sizes[-1])
    if loss is not None:
        reasons.append(
            f"Lowest log-loss with {words.count(sizes[-1])} {bench.plan.unit}: {say(bench, loss.best)}, "
            f"{words.number(loss.value)} nats{_level(loss, bench, answer, sizes[-1])}."
        )
    return Verdict(headline, tuple(reasons))


def _crossing(answer: Answer, bench: Bench, generative: str, discriminative: str, sizes: list[float]) -> str:
    one, other = (generative, "exact"), (discriminative, "exact")
    signs = {size: better(answer, "accuracy", one, other, size) for size in sizes}
    ahead, behind = ([size for size in sizes if signs[size] == sign] for sign in (1, -1))
    first, second, unit = words.capital(say(bench, one)), say(bench, other), bench.plan.unit
    won, lost = (_span(some, sizes, unit) if some else "" for some in (ahead, behind))
    if ahead and behind and max(ahead) < min(behind):
        return (
            f"{first} is the more accurate {won} and {second} {lost}: "
            f"their curves cross between {words.count(max(ahead))} and {words.count(min(behind))} {unit}."
        )
    if ahead and behind:
        return f"{first} is the more accurate {won}, {second} {lost}."
    if ahead:
        return f"{first} is more accurate than {second} {won}, and nowhere less for certain."
    if behind:
        first, second = words.capital(second), say(bench, one)
        return f"{first} is more accurate than {second} {lost}, and nowhere less for certain."
    return f"Between {say(bench, one)} and {second} no difference can be told at any size."


def _span(some: list[float], sizes: list[float], unit: str) -> str:
    """Text of sizes: a run of neighbours by its ends."""
    if len(some) == len(sizes) > 1:
        return "at every size"
    if len(some) > 1 and sizes.index(some[-1]) - sizes.index(some[0]) == len(some) - 1:
        return f"from {words.count(some[0])} to {words.count(some[-1])} {unit}"
    return f"at {words.listing([words.count(size) for size in some])} {unit}"


def _level(ranking: Ranking, bench: Bench, answer: Answer, size: float) -> str:
    if not ranking.level:
        return ", for certain below all others"
    wide = doubtful(answer, bench, list(ranking.level), size)
    level = [say(bench, line) for line in ranking.level if line not in wide]
    said = [f"not told from it: {words.listing(level)}"] if level else []
    if wide:
        names = [f"{say(bench, line)} ({words.number(loss)})" for line, loss in wide.items()]
        said.append(f"too uncertain to be told from anything: {words.listing(names)}")
    return f"; {'; '.join(said)}"


def calibration(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on probabilities: whose are best, and who is too sure of itself."""
    ranking, base = trusted(answer, bench, "brier"), baseline(bench, "brier")
    assert ranking is not None
    assert base is not None
    best = words.capital(best_of(ranking, bench, "gives the best probabilities"))
    headline = f"{best} (Brier score {words.number(ranking.value)})."
    if not beaten(bench, "brier", ranking.value):
        headline = (
            f"No model's probabilities are better than {base.words[:-1]} in Brier score): the best, "
            f"{say(bench, ranking.best)}, has {words.number(ranking.value)}."
        )
    headline = f"{headline} {doubt(answer, bench)}".rstrip()
    gaps = {key: _sureness(answer, key) for key, _ in answer.lines("brier")}
    sure = [f"{bench.contestants[k].short} by {words.points(g)}" for k, g in gaps.items() if certain(g) and g.mean > 0]
    modest = [
        f"{bench.contestants[k].short} by {words.points(g)}" for k, g in gaps.items() if certain(g) and g.mean < 0
    ]
    right = [bench.contestants[k].short for k, g in gaps.items() if not certain(g)]
    reasons = []
    if sure:
        reasons.append(f"Too sure, mean confidence above accuracy: {words.listing(sure)}.")
    if modest:
        reasons.append(f"Too modest, mean confidence below accuracy: {words.listing(modest)}.")
    if right:
        reasons.append(f"As right as they say, on average, within 2 standard errors: {words.listing(right)}.")
    return Verdict(headline, (*reasons, *of_classes(answer, bench)))


def _sureness(answer: Answer, key: str):
    """Overconfidence: mean confidence less accuracy, paired by split."""
    from dgjax.compare._results import estimate

    sure, right = answer.values("confidence", key), answer.values("accuracy", key)
    return estimate(sure[r] - right[r] for r in sorted(sure.keys() & right.keys()))


def held_out(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on an unseen class: whether log p(x) tells it better than the largest class probability does."""
    lines = answer.lines("auroc")
    density = rank(answer, "auroc", lines=[line for line in lines if line[1] == DENSITY])
    largest = rank(answer, "auroc", lines=[line for line in lines if line[1] == LARGEST])
    if density is None or largest is None:
        return _one_kind(density or largest, bench)
    gap = answer.difference("auroc", density.best, largest.best)
    one, two = (bench.contestants[ranking.best[0]].short for ranking in (density, largest))
    who = f"log p(x) of {one} (AUROC {words.number(density.value)})"
    other = f"the best largest class probability, that of {two} ({words.number(largest.value)})"
    if not certain(gap):
        headline = f"No difference can be told between {who} and {other}."
    elif gap.mean > 0:
        headline = f"{words.capital(who)} tells an unseen class better than {other}."
    else:
        headline = f"{words.capital(other)} tells an unseen class better than {who}."
    signs = {key: better(answer, "auroc", (key, DENSITY), (key, LARGEST)) for key in bench.generative}
    parts = {1: "better", -1: "worse", 0: "no different for certain"}
    said = [
        f"{part} for {words.listing([bench.contestants[k].short for k, own in signs.items() if own == sign])}"
        for sign, part in parts.items()
        if sign in signs.values()
    ]
    return Verdict(
        headline, (f"Within one generative model, log p(x) against its own largest probability: {'; '.join(said)}.",)
    )


def _one_kind(ranking: Ranking | None, bench: Bench) -> Verdict:
    assert ranking is not None
    told = certain(type(ranking.value)(ranking.value.mean - 0.5, ranking.value.error, ranking.value.count))
    best, value = best_of(ranking, bench, "tells the unseen class best"), f"AUROC {words.number(ranking.value)}"
    headline = f"No model tells the unseen class better than chance for certain: the best has {value}."
    if told and ranking.value.mean > 0.5:
        headline = f"{words.capital(best)} ({value})."
    return Verdict(
        headline,
        ("With two classes, one is left to train on: every class probability is 1, and only log p(x) can tell.",),
    )


def labelled_rows(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on rows, or sequences, without labels: whether they raise the accuracy."""
    gains = [
        (key, share, answer.difference("accuracy", (key, ALL_ROWS), (key, LABELLED), share))
        for key in bench.generative
        for share in answer.settings("accuracy", key, ALL_ROWS)
    ]
    # A gain that leaves the model no better than a guess is none.
    told = [gain for gain in gains if certain(gain[2]) and _learnt(answer, bench, gain[0], gain[1])]
    helped = [gain for gain in told if gain[2].mean > 0]
    hurt = [gain for gain in told if gain[2].mean < 0]
    said = [f"{_most(some, bench)}" for some in (helped, hurt) if some]
    verb = {(True, True): "Both", (True, False): "Yes", (False, True): "No, they hurt"}.get((bool(helped), bool(hurt)))
    headline = f"{verb}: {'; '.join(said)}." if verb else f"No gain from {unlabelled(bench)} can be told, nor a loss."
    if not verb and any(certain(gain) for _, _, gain in gains):
        base = baseline(bench, "accuracy")
        assert base is not None
        headline = (
            f"Not so that it counts: where {unlabelled(bench)} moved a model, it was no better than {base.words}."
        )
    return Verdict(headline, (_each_gain(gains, bench), *_few_labels(answer, bench)))


def _learnt(answer: Answer, bench: Bench, key: str, share: float) -> bool:
    ways = (answer.estimate("accuracy", key, share, method) for method in (ALL_ROWS, LABELLED))
    return any(beaten(bench, "accuracy", way) for way in ways)


def _most(gains: list, bench: Bench) -> str:
    key, share, gain = max(gains, key=lambda one: abs(one[2].mean))
    verb = "gains" if gain.mean > 0 else "loses"
    size = words.count(share * bench.plan.train_rows)
    labels, rest = (f"{size} labelled", "labels") if bench.plan.unit == "sequences" else (f"{size} labels", "one")
    name = bench.contestants[key].short
    return f"with {labels}, {name} {verb} {words.points(gain)} from the {bench.plan.unit} without {rest}"


def _each_gain(gains: list, bench: Bench) -> str:
    said = []
    for key in bench.generative:
        if not any(model == key for model, _, _ in gains):
            continue
        own = [(share, gain) for model, share, gain in gains if model == key and certain(gain)]
        up, down = ([words.share(s) for s, g in own if (g.mean > 0) == up] for up in (True, False))
        parts = [f"{verb} at {words.listing(at)}" for verb, at in (("helped", up), ("hurt", down)) if at]
        said.append(f"{bench.contestants[key].short}: {', '.join(parts) or 'no change for certain'}")
    return f"By share of {bench.plan.unit} labelled: {'; '.join(said)}."


def _few_labels(answer: Answer, bench: Bench) -> list[str]:
    shares = answer.settings("accuracy")
    lines: list[Line] = answer.lines("accuracy")
    ranking = rank(answer, "accuracy", shares[0], lines)
    if ranking is None:
        return []
    return [f"With {words.share(shares[0])} of the {bench.plan.unit} labelled, {best_of(ranking, bench)} of all ways."]


def cost(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on cost: the quickest and the smallest model."""
    fit, small = rank(answer, "training seconds"), rank(answer, "parameters")
    fast = rank(answer, "rows per second")
    assert fit is not None
    assert fast is not None
    assert small is not None
    other = "" if fast.best == fit.best else f"{say(bench, fast.best)} "
    headline = (
        f"{words.capital(say(bench, fit.best))} trains quickest ({words.seconds(fit.value.mean)}), "
        f"{other or 'and '}predicts quickest ({words.count(fast.value.mean)} {bench.plan.unit} a second)."
    )
    slowest = fit.order[-1]
    slow = answer.estimate("training seconds", *slowest[:1]).mean
    times = f"{slow / max(fit.value.mean, 1e-9):.3g} times as long"
    reasons = (
        f"Slowest to train: {say(bench, slowest)}, {words.seconds(slow)}, {times}.",
        f"Fewest parameters: {say(bench, small.best)}, {words.count(small.value.mean)}.",
    )
    return Verdict(headline, reasons)


VERDICTS: dict[str, Callable[[Answer, Bench], Verdict]] = {
    "training_rows": training_rows,
    "calibration": calibration,
    "held_out": held_out,
    "labelled_rows": labelled_rows,
    "drawn_rows": _verdicts_drawn.drawn_rows,
    "columns": _verdicts_columns.columns,
    "missing_prediction": _verdicts_missing.at_prediction,
    "missing_training": _verdicts_missing.at_training,
    "knowledge": _verdicts_missing.knowledge,
    "deep": _verdicts_deep.densities,
    "cost": cost,
    "paths": _verdicts_sequences.paths,
    "missing_steps": _verdicts_missing.of_steps,
    "unusual": _verdicts_sequences.unusual,
    "sounds": _verdicts_texts.sounds,
}
