"""Question of drawn rows: classifiers trained on few rows, alone and with rows that a generative model draws."""

import jax
import numpy as np

import dgjax as dg
from dgjax.compare import _metrics
from dgjax.compare._bench import Bench
from dgjax.compare._plan import DRAWN_TIMES
from dgjax.compare._questions import Task, each
from dgjax.compare._results import Answer, Record
from dgjax.compare._training import Fitted

WITH_ROWS = "with rows drawn by"


def drawn_rows(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure classifiers trained on few rows, and with rows added that a generative model draws.

    That model is fitted to the same few rows, and measured as a classifier itself.
    """
    plan, learners = bench.plan, classifiers(bench)

    def measure(repeat: int, key: str) -> list[Record]:
        records = []
        for size in plan.drawn_sizes:
            records += _scores(bench.told(key, repeat, size), key, repeat, size)
            if key not in learners:
                records += added(repeat, key, size)
        return records

    def added(repeat: int, key: str, size: int) -> list[Record]:
        own = bench.split(repeat).train[:size]
        x, y = bench.dataset.at(own)
        fitted = bench.fit(key, bench.training(own, repeat))
        drawn, labels = draw_rows(fitted, plan.train_rows, repeat)
        count = min(DRAWN_TIMES * size, plan.train_rows - size)
        x, y = np.concatenate([x, drawn[:count]]), np.concatenate([y, labels[:count]])
        training, records = bench.given(x, y, repeat), []
        for learner in learners:
            told = bench.fit(learner, training).log_proba(bench.test(repeat)[0])
            records += _scores(told, learner, repeat, size, with_rows(key))
        return records

    def _scores(told: np.ndarray, key: str, repeat: int, size: int, method: str = "exact") -> list[Record]:
        _, y = bench.test(repeat)
        values = {"accuracy": _metrics.accuracy(told, y), "log-loss": _metrics.log_loss(told, y)}
        return [Record(metric, key, repeat, value, float(size), method) for metric, value in values.items()]

    return each(bench, plan.drawn_repeats, [*learners, *bench.generative], measure)


def classifiers(bench: Bench) -> list[str]:
    """Keys of the contestants that are no generative models: the discriminative ones and the references."""
    return [key for key in bench.contestants if key not in bench.generative]


def with_rows(generative: str) -> str:
    """Name of the method by which a classifier learns from rows drawn by a generative model too."""
    return f"{WITH_ROWS} {generative}"


def draw_rows(fitted: Fitted, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (count, d) and labels (count,) drawn by a generative contestant, raw as those of the data set."""
    assert fitted.encoder is not None
    x, y = dg.sample(fitted.model, jax.random.key(seed), count)
    return fitted.encoder.rows(np.asarray(x, float), fitted.view), np.asarray(y)
