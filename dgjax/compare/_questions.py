"""Questions of a comparison: one function for each gives the tasks that measure it, which return records."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from dgjax.compare import _metrics
from dgjax.compare._bench import Bench
from dgjax.compare._contestants import log_prob, strangeness
from dgjax.compare._results import Answer, Record
from dgjax.compare._training import Predict

DENSITY, LARGEST = "log p(x)", "largest probability"
LABELLED, ALL_ROWS = "labelled rows only", "all rows"


@dataclass(frozen=True)
class Task:
    """Task: one step of a question, with the words shown while it runs."""

    doing: str
    run: Callable[[], list[Record]]


def training_rows(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure accuracy and log-loss against the number of training rows."""

    def measure(repeat: int, key: str) -> list[Record]:
        _, y = bench.test(repeat)
        records = []
        for size in bench.plan.sizes:
            log_proba = bench.told(key, repeat, size)
            records.append(Record("accuracy", key, repeat, _metrics.accuracy(log_proba, y), float(size)))
            records.append(Record("log-loss", key, repeat, _metrics.log_loss(log_proba, y), float(size)))
        return records

    # On a machine's first day the kernels of Gaussian models compile for half a minute, one at a time: the first task
    # sets that off, and all that need none keep the other core busy meanwhile. Cut short then, it has only those.
    *models, slowest = bench.generative
    first, *later = each(bench, bench.plan.repeats, [slowest, *models], measure)
    others = [key for key in bench.contestants if key not in bench.generative]
    return [first, *each(bench, bench.plan.repeats, others, measure), *later]


def held_out(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure how well rows of a class without training rows are told from the others."""
    counts = np.bincount(bench.dataset.y[bench.dataset.labelled])
    shown = np.argsort(-counts, kind="stable")[: bench.plan.held_out_runs]
    answer.extra["classes"] = [bench.dataset.classes[label] for label in shown]

    def measure(run: int, key: str) -> list[Record]:
        label, repeat = int(shown[run % len(shown)]), run % bench.plan.repeats
        side = bench.contestants[key].side
        dataset, split = bench.dataset, bench.split(repeat)
        rows = split.train[dataset.y[split.train] != label]
        usual = dataset.x[split.test[dataset.y[split.test] != label]]
        strange = dataset.x[dataset.y == label][: bench.plan.test_rows]
        if len(counts) == 2:
            fitted = bench.fit(key, bench.of_one_class(rows, repeat))
            scores: dict[str, Predict] = {DENSITY: lambda x: -log_prob(fitted, x)}
        else:
            fitted = bench.fit(key, bench.training(rows, repeat))
            scores = {LARGEST: lambda x: -_without(fitted.log_proba(x), label).max(1)}
            if side == "generative":
                scores[DENSITY] = strangeness(fitted, label)
        return [
            Record("auroc", key, run, _metrics.auroc(score(strange), score(usual)), method=method)
            for method, score in scores.items()
        ]

    # With one class left to know, every class probability is 1 and says nothing: only a density can tell.
    keys = bench.generative if len(counts) == 2 else list(bench.contestants)
    return each(bench, bench.plan.held_out_runs, keys, measure)


def _without(log_proba: np.ndarray, label: int) -> np.ndarray:
    """Log-posteriors (m, k - 1) of the other classes given that the label is not this one."""
    rest = np.delete(log_proba, label, axis=1)
    return rest - np.logaddexp.reduce(rest, axis=1, keepdims=True)


def labelled_rows(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure accuracy against the share of labelled rows, with and without the unlabelled ones."""
    unlabelled = np.flatnonzero(bench.dataset.y < 0)

    def measure(repeat: int, key: str) -> list[Record]:
        x, y = bench.test(repeat)
        train = bench.split(repeat).train
        records = []
        for share in bench.plan.labelled_shares:
            labelled, rest = np.split(train, [round(share * len(train))])
            told = {LABELLED: bench.told(key, repeat, len(labelled))}
            spare = np.concatenate([rest, unlabelled])[: bench.plan.train_rows - len(labelled)]
            if bench.contestants[key].side == "generative" and len(spare):
                everyone = np.concatenate([labelled, spare])
                known = np.where(np.arange(len(everyone)) < len(labelled), bench.dataset.y[everyone], -1)
                training = bench.given(bench.dataset.x[everyone], known, repeat)
                told[ALL_ROWS] = bench.fit(key, training).log_proba(x)
            for method, log_proba in told.items():
                records.append(Record("accuracy", key, repeat, _metrics.accuracy(log_proba, y), share, method))
        return records

    keys = [*bench.generative, *dict.fromkeys(pair.discriminative for pair in bench.pairs)]
    return each(bench, bench.plan.label_repeats, keys, measure)


def calibration(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure the Brier score, reliability, how sure a model is, and how it tells the rarest class."""
    rarest = _metrics.rarest(bench.dataset)

    def measure(repeat: int, key: str) -> list[Record]:
        x, y = bench.test(repeat)
        log_proba = bench.full(key, repeat).log_proba(x)
        pooled = answer.extra.setdefault("reliability", {}).setdefault(key, [])
        pooled.append(_metrics.reliability(log_proba, y))
        counts = answer.extra.setdefault("confusion", {})
        counts[key] = counts.get(key, 0) + _metrics.confusion(log_proba, y)
        told, curves = _metrics.told_from_rest(log_proba, y, rarest)
        _add_curves(answer.extra.setdefault("curves", {}), key, curves)
        values = {
            "brier": _metrics.brier(log_proba, y),
            "accuracy": _metrics.accuracy(log_proba, y),
            "balanced accuracy": _metrics.balanced_accuracy(log_proba, y),
            "log-loss": _metrics.log_loss(log_proba, y),
            "confidence": float(_metrics.confidence(log_proba).mean()),
            "calibration error": _metrics.calibration_error(_metrics.reliability(log_proba, y)),
        }
        return [Record(metric, key, repeat, value) for metric, value in (values | told).items()]

    return each(bench, bench.plan.repeats, list(bench.contestants), measure)


def _add_curves(kept: dict, key: str, curves: dict) -> None:
    """Adds a split's curves to the sums of those before."""
    if not curves:
        return
    own = kept.setdefault(key, {"splits": 0})
    own["splits"] += 1
    for name, curve in curves.items():
        own[name] = own.get(name, 0) + curve


def cost(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure training time, prediction throughput, and number of parameters, all compiled beforehand."""

    def measure(repeat: int, key: str) -> list[Record]:
        x, _ = bench.test(repeat)
        again = bench.fit(key, bench.training(bench.split(repeat).train, repeat))
        again.log_proba(x)
        start = time.perf_counter()
        again.log_proba(x)
        seconds = time.perf_counter() - start
        return [
            Record("training seconds", key, repeat, again.seconds),
            Record("rows per second", key, repeat, len(x) / seconds),
            Record("parameters", key, repeat, float(again.parameters)),
        ]

    return each(bench, min(3, bench.plan.repeats), list(bench.contestants), measure)


def each(bench: Bench, repeats: int, keys: list[str], measure: Callable[[int, str], list[Record]]) -> list[Task]:
    """Tasks of one measurement, for each repeat and contestant.

    Repeats are outermost: a question cut short still compares like with like.
    """
    return [
        Task(f"{bench.named[key].short}, {repeat + 1} of {repeats}", partial(measure, repeat, key))
        for repeat in range(repeats)
        for key in keys
    ]
