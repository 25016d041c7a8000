"""Summary of a comparison: the best model for each situation, and the table of the models."""

from dataclasses import dataclass

from dgjax.compare import _words as words
from dgjax.compare._baseline import Baseline, baseline, beaten, trusted
from dgjax.compare._metrics import rarest
from dgjax.compare._questions import DENSITY
from dgjax.compare._ranking import Line, Ranking, nearest, rank
from dgjax.compare._run import Comparison
from dgjax.compare._say import say, unlabelled


@dataclass(frozen=True)
class Situation:
    """Situation: what somebody may need, the best for it, how good it is, and what cannot be told from it."""

    need: str
    best: str
    value: str
    level: str


def headline(comparison: Comparison) -> str:
    """Headline: which model for this data, in one or two sentences."""
    ranking = _accuracy(comparison)
    if ranking is None and (reason := comparison.answers["training_rows"].reason):
        return f"How accurate the models are was not measured. {reason}"
    if ranking is None:
        return "Nothing was measured: the run was stopped before the first question had an answer."
    bench = comparison.bench
    if not beaten(bench, "accuracy", ranking.value):
        return _nothing(comparison, ranking)
    best, value = words.capital(say(bench, ranking.best)), words.percent(ranking.value)
    text = f"{best} is the most accurate on complete {bench.plan.unit}, {value}"
    if ranking.level:
        text += f", but cannot be told from {words.listing([say(bench, line) for line in ranking.level], 3)}"
    text += f" (always naming the most frequent class: {100 * bench.chance:.1f} %). "
    return text + _chosen(comparison) + _cheapest(comparison, ranking)


def _chosen(comparison: Comparison) -> str:
    """Sentence on the best model by a metric that was asked for and is no column of the table by itself."""
    bench, metric = comparison.bench, comparison.metric
    if metric in ALWAYS or (found := rank(comparison.answers["calibration"], metric)) is None:
        return ""
    level = [say(bench, line) for line in found.level]
    text = (
        f"In {_title(metric)}{_of_rarest(comparison, metric)}, as asked for, {say(bench, found.best)} is the best, "
        f"{words.number(found.value)}"
    )
    if level:
        text += f", but cannot be told from {words.listing(level, 3)}"
    base = baseline(bench, metric)
    return text + (f", beside {base.words}. " if base else ". ")


def _title(metric: str) -> str:
    return metric.replace("auroc", "AUROC")


def _of_rarest(comparison: Comparison, metric: str) -> str:
    """Words for the class that a metric of one class is of."""
    dataset = comparison.bench.dataset
    return f" of '{dataset.classes[rarest(dataset)]}'" if metric in ("auroc", "average precision") else ""


def _nothing(comparison: Comparison, ranking: Ranking) -> str:
    """Headline where no model has learnt to name the class; its probabilities may yet say something."""
    bench, answer = comparison.bench, comparison.answers["training_rows"]
    base, shares = baseline(bench, "accuracy"), baseline(bench, "log-loss")
    loss = rank(answer, "log-loss", answer.settings("accuracy")[-1])
    assert base is not None
    assert shares is not None
    text = (
        f"Nothing beats {base.words}: the best on complete {bench.plan.unit}, {say(bench, ranking.best)}, has "
        f"{words.percent(ranking.value)}, and that is no more for certain. "
    )
    if loss is not None and beaten(bench, "log-loss", loss.value):
        brier = trusted(comparison.answers["calibration"], bench, "brier")
        only = "" if brier is None or beaten(bench, "brier", brier.value) else "; in Brier score none is"
        said = (
            f"Probabilities do say something: {say(bench, loss.best)} has a log-loss of {words.number(loss.value)}, "
            f"better than {shares.words}{only}."
        )
        return text + said + _found(comparison)
    return text + f"No model found anything in these columns that tells '{bench.dataset.target}'."


def _found(comparison: Comparison) -> str:
    """Sentence on how to find the rarest class by its probability all the same; empty where no model orders rows."""
    bench, found = comparison.bench, rank(comparison.answers["calibration"], "average precision")
    base = baseline(bench, "average precision")
    if found is None or base is None or not beaten(bench, "average precision", found.value):
        return ""
    return (
        f" To find '{bench.dataset.classes[rarest(bench.dataset)]}' all the same, take the rows where its probability "
        f"is highest: average precision {words.number(found.value)} by {say(bench, found.best)}, by chance "
        f"{base.value:.3f}."
    )


def _cheapest(comparison: Comparison, ranking: Ranking) -> str:
    """Sentence on the generative models among those that are level in accuracy, and what else they can answer."""
    bench = comparison.bench
    lines = [ranking.best, *ranking.level]
    exact, also = ALSO.get(bench.plan.unit, ALSO["rows"])
    generative = [line for line in lines if bench.contestants[line[0]].side == "generative"]
    if not generative:
        return (
            f"No generative model keeps up with it: take one only for what the others cannot do, as {exact}, "
            f"{unlabelled(bench)}, or noticing what is unusual."
        )
    names = words.listing([say(bench, line) for line in generative])
    many = "" if len(generative) > 1 else "s"
    more = f"learn{many} from {unlabelled(bench)} and tell{many} how usual a {bench.plan.unit[:-1]} is"
    return f"Of these, {names} also {also.format(s=many)}, {more}."


# What only generative models can do, by what is compared on: as a noun, and as a verb.
ALSO = {
    "rows": ("exact missing cells", "fill{s} in missing cells"),
    "texts": ("drawing texts", "draw{s} texts"),
}


def _accuracy(comparison: Comparison) -> Ranking | None:
    answer = comparison.answers["training_rows"]
    sizes = answer.settings("accuracy")
    return rank(answer, "accuracy", sizes[-1]) if sizes else None


def situations(comparison: Comparison) -> list[Situation]:
    """Situations that were measured, with the best model for each."""
    notice, noticing, _ = NOTICED[comparison.bench.plan.unit]
    rows = [_rows(comparison, last=True), _rows(comparison, last=False), *_shares(comparison)]
    rows += [
        _one(
            comparison, "calibration", "brier", "Probabilities to act on (Brier score, lower is better)", words.number
        ),
        _one(comparison, "calibration", "average precision", _finding(comparison), words.number),
        _one(comparison, notice, "auroc", f"{noticing} (AUROC)", words.number),
        _one(comparison, "cost", "training seconds", "Quick to train", lambda value: words.seconds(value.mean)),
    ]
    return [row for row in rows if row is not None]


def _finding(comparison: Comparison) -> str:
    dataset = comparison.bench.dataset
    return f"Finding '{dataset.classes[rarest(dataset)]}', the rarest class (average precision)"


def _rows(comparison: Comparison, last: bool) -> Situation | None:
    answer = comparison.answers["training_rows"]
    sizes = answer.settings("accuracy")
    if not sizes or (len(sizes) == 1 and not last):
        return None
    size = sizes[-1 if last else 0]
    unit, count = comparison.bench.plan.unit, words.count(size)
    need = f"Complete {unit}, {count} to train on" if last else f"Only {count} {unit} to train on"
    base = _base(comparison, "accuracy", found := rank(answer, "accuracy", size))
    return _situation(comparison, need, found, words.percent, base)


def _shares(comparison: Comparison) -> list[Situation | None]:
    wanted = (
        ("missing_prediction", 0.5, "of the cells missing at prediction"),
        ("missing_steps", 0.5, "of the steps missing at prediction"),
        ("missing_training", 0.5, "of the training cells missing"),
        ("labelled_rows", 0.0, f"of the {comparison.bench.plan.unit} labelled"),
    )
    found = []
    for key, share, what in (one for one in wanted if one[0] in comparison.answers):
        answer = comparison.answers[key]
        shares = [s for s in answer.settings("accuracy") if 0 < s < 1]
        if shares:
            at = nearest(shares, share)
            base = _base(comparison, "accuracy", ranking := rank(answer, "accuracy", at))
            found.append(_situation(comparison, f"{words.share(at)} {what}", ranking, words.percent, base))
    return found


def _one(comparison: Comparison, key: str, metric: str, need: str, form) -> Situation | None:
    answer = comparison.answers[key]
    ranking = trusted(answer, comparison.bench, metric) if metric == "brier" else rank(answer, metric)
    return _situation(comparison, need, ranking, form, _base(comparison, metric, ranking))


def _base(comparison: Comparison, metric: str, ranking: Ranking | None) -> Baseline | None:
    """Baseline of a metric where no model beats it; else None."""
    if ranking is None or beaten(comparison.bench, metric, ranking.value):
        return None
    return baseline(comparison.bench, metric)


def _situation(
    comparison: Comparison, need: str, ranking: Ranking | None, form, base: Baseline | None
) -> Situation | None:
    if ranking is None:
        return None
    if base is not None:
        return Situation(need, "No model", f"{form(ranking.value)} at best", base.words)
    names = [say(comparison.bench, line) for line in ranking.level]
    level = "" if not names else ("all others" if len(names) == len(ranking.order) - 1 else words.listing(names, 3))
    return Situation(need, words.capital(say(comparison.bench, ranking.best)), form(ranking.value), level)


# The question of what is unusual, what somebody needs its answer for, and its column in the table.
NOTICED = {
    "rows": ("held_out", "Noticing a class it has never seen", "Unseen class"),
    "sequences": ("unusual", "Noticing a sensor that is off", "Sensor off"),
    "texts": ("held_out", "Noticing a class it has never seen", "Unseen class"),
}


ALWAYS = ("accuracy", "log-loss", "brier")
"""Metrics that the table of models has whatever is asked for; another one takes the place of the second."""


def columns(comparison: Comparison) -> tuple[str, ...]:
    """Names of the columns in the table of models."""
    second = "Log-loss" if comparison.metric in ALWAYS else words.capital(_title(comparison.metric))
    noticed = NOTICED[comparison.bench.plan.unit][2]
    harder = "Half of the cells missing" if hides_cells(comparison) else f"{few(comparison)} only"
    return "Model", "Accuracy", second, "Brier score", noticed, harder, "Training"


def hides_cells(comparison: Comparison) -> bool:
    """Whether cells are hidden from what is compared on; a text has none."""
    return "missing_prediction" in comparison.answers


def few(comparison: Comparison) -> str:
    """Words for the smallest training set."""
    plan = comparison.bench.plan
    return f"{words.count(plan.sizes[0])} {plan.unit}"


def models(comparison: Comparison) -> list[tuple[str, ...]]:
    """Rows of the table of models, one for each: the cells of `columns`, a dash where nothing was measured."""
    answers = comparison.answers
    sizes = answers["training_rows"].settings("accuracy")
    notice, rows = NOTICED[comparison.bench.plan.unit][0], []
    for key, contestant in comparison.bench.contestants.items():
        size = sizes[-1] if sizes else 0.0
        second = ("training_rows", "log-loss", (key, "exact"), size)
        if comparison.metric not in ALWAYS:
            second = ("calibration", comparison.metric, (key, "exact"), 0.0)
        rows.append(
            (
                contestant.name,
                _cell(comparison, "training_rows", "accuracy", (key, "exact"), size, words.percent),
                _cell(comparison, *second, words.number),
                _cell(comparison, "calibration", "brier", (key, "exact"), 0.0, words.number),
                _cell(comparison, notice, "auroc", _detector(comparison, notice, key), 0.0, words.number),
                _harder(comparison, key),
                _cell(comparison, "cost", "training seconds", (key, "exact"), 0.0, lambda v: words.seconds(v.mean)),
            )
        )
    return rows


def _cell(comparison: Comparison, key: str, metric: str, line: Line, setting: float, form) -> str:
    value = comparison.answers[key].estimate(metric, line[0], setting, line[1])
    return form(value) if value.known else "–"


def _detector(comparison: Comparison, question: str, key: str) -> Line:
    own = [line for line in comparison.answers[question].lines("auroc") if line[0] == key]
    return next((line for line in own if line[1] == DENSITY), own[0] if own else (key, DENSITY))


def _harder(comparison: Comparison, key: str) -> str:
    """Accuracy with half of the cells missing, as text, by the model's own way of dealing with them; or of few rows."""
    if not hides_cells(comparison):
        size = float(comparison.bench.plan.sizes[0])
        return _cell(comparison, "training_rows", "accuracy", (key, "exact"), size, words.percent)
    answer = comparison.answers["missing_prediction"]
    shares = [share for share in answer.settings("accuracy") if share]
    own = [line for line in answer.lines("accuracy") if line[0] == key]
    if not shares or not own:
        return "–"
    return _cell(comparison, "missing_prediction", "accuracy", own[0], nearest(shares, 0.5), words.percent)
