"""Asks the questions one after another and keeps what was measured, come what may."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from threadpoolctl import threadpool_limits

from dgjax.compare import _missing, _questions
from dgjax.compare._bench import Bench
from dgjax.compare._dataset import Dataset
from dgjax.compare._plan import Plan, make_plan
from dgjax.compare._questions import Task
from dgjax.compare._results import Answer, Record


@dataclass(frozen=True)
class Question:
    """What is asked, in the words of the report, and the function that measures it."""

    key: str
    title: str
    short: str
    tasks: Callable[[Bench, Answer], list[Task]]
    # Compiling takes one core: two tasks at once halve it. What is timed runs alone.
    workers: int = 2


QUESTIONS = (
    Question("training_rows", "How many training rows does each side need?", "training rows", _questions.training_rows),
    Question("calibration", "Can its probabilities be believed?", "calibration", _questions.calibration),
    Question("held_out", "Does it notice a class it has never seen?", "unseen class", _questions.held_out),
    Question("labelled_rows", "Do rows without a label help?", "unlabelled rows", _questions.labelled_rows),
    Question(
        "missing_prediction",
        "What if cells are missing at prediction?",
        "missing at prediction",
        _missing.at_prediction,
    ),
    Question("missing_training", "What if cells are missing at training?", "missing at training", _missing.at_training),
    Question("knowledge", "What do the generative models know?", "samples and filling in", _missing.knowledge),
    Question("cost", "What does it cost?", "cost", _questions.cost, workers=1),
)


@runtime_checkable
class Watcher(Protocol):
    """Told how far a comparison is."""

    def started(self, question: Question, total: int) -> None: ...
    def doing(self, question: Question, words: str) -> None: ...
    def advanced(self, question: Question) -> None: ...


@dataclass
class Comparison:
    """A bench and the answers so far."""

    bench: Bench
    answers: dict[str, Answer]
    seconds: float = 0.0
    interrupted: bool = False
    asked: tuple[Question, ...] = field(default=QUESTIONS)


def begin(dataset: Dataset, quick: bool, plan: Plan | None = None) -> Comparison:
    """Nothing measured yet."""
    bench = Bench(dataset, plan or make_plan(dataset, quick))
    return Comparison(bench, {question.key: Answer(question.key) for question in QUESTIONS})


def ask(comparison: Comparison, watcher: Watcher) -> None:
    """Measure everything; on Ctrl-C what was measured stays, and `interrupted` says so."""
    start = time.perf_counter()
    try:
        # LAPACK's own threads gain nothing on matrices this small, and fight with XLA's for the cores.
        with threadpool_limits(1, user_api="blas"):
            for question in comparison.asked:
                _ask_one(comparison, question, watcher)
    except KeyboardInterrupt:
        comparison.interrupted = True
    comparison.seconds = time.perf_counter() - start


def _ask_one(comparison: Comparison, question: Question, watcher: Watcher) -> None:
    answer = comparison.answers[question.key]
    tasks = question.tasks(comparison.bench, answer)
    watcher.started(question, len(tasks))

    def run(task: Task) -> list[Record]:
        watcher.doing(question, task.doing)
        return task.run()

    pool = ThreadPoolExecutor(question.workers)
    try:
        for records in pool.map(run, tasks):
            answer.records += records
            answer.status = "partial"
            watcher.advanced(question)
    finally:
        pool.shutdown(cancel_futures=True)
    answer.status = "done"
