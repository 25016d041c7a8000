"""Run of a comparison: questions asked one after another; what was measured is kept, come what may."""

import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from threadpoolctl import threadpool_limits

from dgjax.compare import _deep, _drawn, _explained, _missing, _questions
from dgjax.compare._bench import Bench
from dgjax.compare._contestants import contestants, pairs
from dgjax.compare._dataset import Dataset
from dgjax.compare._heard import Heard, hearing, listening
from dgjax.compare._plan import Plan, make_plan
from dgjax.compare._questions import Task
from dgjax.compare._results import Answer, Record


@dataclass(frozen=True)
class Question:
    """Question of a comparison, in the words of the report, the function that measures it, and what that does."""

    key: str
    title: str
    short: str
    tasks: Callable[[Bench, Answer], list[Task]]
    measured: str
    # Compiling takes one core: two tasks at once halve it. What is timed runs alone.
    workers: int = 2
    asked: Callable[[Plan], object] = lambda plan: True


QUESTIONS = (
    Question(
        "training_rows",
        "How many training rows does each side need?",
        "training rows",
        _questions.training_rows,
        "Every model learns from the same first rows of each split and is tested on the same test rows.",
    ),
    Question(
        "calibration",
        "Can its probabilities be believed?",
        "calibration",
        _questions.calibration,
        "Models trained on all training rows; the share that is right in ten bins of the largest class "
        "probability, bins of fewer than ten rows left out, bars one binomial standard error.",
    ),
    Question(
        "held_out",
        "Does it notice a class it has never seen?",
        "unseen class",
        _questions.held_out,
        "One class is left out of training at a time; its rows are to be told from test rows of the others, "
        "by low log p(x) or by a low largest class probability.",
    ),
    Question(
        "labelled_rows",
        "Do rows without a label help?",
        "unlabelled rows",
        _questions.labelled_rows,
        "The labels of a part of the training rows are kept. Generative models learn from the labelled "
        "rows only, and from all rows; the discriminative ones cannot use a row without a label.",
    ),
    Question(
        "drawn_rows",
        "Do drawn rows help?",
        "drawn rows",
        _drawn.drawn_rows,
        "Classifiers learn from few rows, alone and with four rows for each that a generative model, fitted to the "
        "same few, has drawn. That model as a classifier stands beside: endless draws teach a classifier what the "
        "model itself says, so that within one family it is the limit that they lead to.",
        asked=lambda plan: plan.drawn_sizes,
    ),
    Question(
        "missing_prediction",
        "What if cells are missing at prediction?",
        "missing at prediction",
        _missing.at_prediction,
        "Cells of the test rows are hidden completely at random; models were trained on complete "
        "rows. Trees take missing cells natively, the SVM after mean imputation.",
    ),
    Question(
        "missing_training",
        "What if cells are missing at training?",
        "missing at training",
        _missing.at_training,
        "Cells of the training rows are hidden completely at random; the test rows are complete. "
        "Over the twin: logistic regression is trained on rows completed several times by its generative twin, "
        "fitted on the same rows.",
    ),
    Question(
        "knowledge",
        "What do the generative models know?",
        "samples and filling in",
        _missing.knowledge,
        "Samples, as many of each class, are judged by a random forest trained on real rows; beside them real test "
        "rows, a mean over classes too. The error of filled cells is the root "
        "mean square in units of each column's standard deviation, over columns of numbers.",
    ),
    Question(
        "deep",
        "What do deep densities add?",
        "deep densities",
        _deep.densities,
        "Densities of networks, learnt for the same number of steps each, and others beside: samples judged by the "
        "random forest, the root mean square error of filled cells, the AUROC of low log p(x) for a class that has no "
        "training rows, accuracy with all labels, and with few of them, from the labelled rows only and from all rows.",
        asked=lambda plan: plan.deep_repeats,
    ),
    Question(
        "columns",
        "Which columns decide?",
        "columns that decide",
        _explained.columns,
        "Mean absolute Shapley values of each column for p(y | x) of a test row's class, as shares of their sum. Cells "
        "that are not known are summed out, which generative models can, so that a column has a part in what others "
        "say that go along with it; or they are those of training rows, for both sides alike. For references, the mean "
        "loss of p(y | x) when the column is shuffled among test rows. No share says what changing a cell would do.",
        asked=lambda plan: plan.explained_repeats,
    ),
    Question(
        "cost",
        "What does it cost?",
        "cost",
        _questions.cost,
        "On all training rows, compiled beforehand, best read as ratios; references on one thread. "
        "For trees and the SVM the numbers kept are splits and leaves, or support vectors.",
        workers=1,
    ),
)


@runtime_checkable
class Watcher(Protocol):
    """Watcher: an object that is told how far a comparison is."""

    def started(self, question: Question, total: int) -> None:
        """Tells that a question of `total` tasks has begun."""

    def doing(self, question: Question, words: str) -> None:
        """Tells in words what task of a question runs now."""

    def advanced(self, question: Question) -> None:
        """Tells that a task of a question has ended."""


@dataclass
class Comparison:
    """Comparison: a bench and the answers so far."""

    bench: Bench
    answers: dict[str, Answer]
    asked: tuple[Question, ...]
    seconds: float = 0.0
    interrupted: bool = False
    winner: Any = None
    no_winner: str = ""
    metric: str = "brier"
    """By which models are judged where one must be chosen, as the records of calibration call it."""

    @property
    def failed(self) -> list[Question]:
        """Questions that an error ended."""
        return [question for question in self.asked if self.answers[question.key].status == "failed"]


def begin(dataset: Dataset, quick: bool, plan: Plan | None = None, max_rows: int | None = None) -> Comparison:
    """Comparison on a data set before anything is measured."""
    plan = plan or make_plan(dataset, quick, max_rows)
    asked = tuple(question for question in QUESTIONS if question.asked(plan))
    return asking(asked, Bench(dataset, plan, contestants(plan), pairs(plan), _deep.contestants(plan)))


def asking(questions: tuple[Question, ...], bench: Bench) -> Comparison:
    """Comparison of those questions, none answered yet."""
    return Comparison(bench, {question.key: Answer(question.key) for question in questions}, questions)


def ask(comparison: Comparison, watcher: Watcher) -> None:
    """Measures everything, question after question.

    What was measured stays: on Ctrl-C, `interrupted` says so; an error ends one question.
    """
    start = time.perf_counter()
    try:
        # LAPACK's own threads gain nothing on matrices this small, and fight with XLA's for the cores.
        with threadpool_limits(1, user_api="blas"), listening():
            for question in comparison.asked:
                _ask_or_fail(comparison, question, watcher)
    except KeyboardInterrupt:
        comparison.interrupted = True
    comparison.seconds = time.perf_counter() - start


def _ask_or_fail(comparison: Comparison, question: Question, watcher: Watcher) -> None:
    answer = comparison.answers[question.key]
    try:
        _ask_one(comparison, question, watcher)
    except Exception as error:  # whatever it is, hours of other questions are not to be lost to it
        first = next(iter(str(error).splitlines()), "")
        answer.status, answer.extra["error"] = "failed", traceback.format_exc()
        answer.reason = f"An error ended this question: {type(error).__name__}: {first[:200]}".rstrip(": ")


def _ask_one(comparison: Comparison, question: Question, watcher: Watcher) -> None:
    answer = comparison.answers[question.key]
    tasks = question.tasks(comparison.bench, answer)
    watcher.started(question, len(tasks))

    def run(task: Task) -> tuple[list[Record], Heard]:
        watcher.doing(question, task.doing)
        with hearing() as heard:
            return task.run(), heard

    pool = ThreadPoolExecutor(question.workers)
    try:
        for records, heard in pool.map(run, tasks):
            answer.records += records
            answer.heard.add(heard)
            answer.status = "partial"
            watcher.advanced(question)
    finally:
        pool.shutdown(cancel_futures=True)
    answer.status = "done"
