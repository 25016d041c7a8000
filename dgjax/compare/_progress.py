"""Output in the terminal: a bar for each question, then a table and the verdicts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from dgjax.compare import _report, _summary, _words as words
from dgjax.compare._run import Comparison, Question
from dgjax.compare._verdicts import verdict


def introduce(comparison: Comparison) -> None:
    """Prints what is compared on."""
    dataset, console = comparison.bench.dataset, Console(stderr=True, highlight=False)
    sizes = ", ".join(f"{size} {name.lower()}" for name, size in dataset.sizes)
    kinds = "quick" if comparison.bench.plan.quick else "full"
    console.print(
        Text(
            f"{dataset.name}: {sizes}, {len(dataset.classes)} classes of "
            f"'{dataset.target}'; {len(comparison.bench.contestants)} models, {kinds} run. "
            "Ctrl-C writes what was measured so far."
        )
    )
    for note in dataset.notes:
        console.print(Text(f"  {note}", style="dim"))


@contextmanager
def watching(comparison: Comparison) -> Iterator["Bars | Lines"]:
    """Context of a progress display: bars in a terminal, one line for each question elsewhere."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield Lines(console, time.perf_counter())
        return
    columns = (
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[words]}", style="dim", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress, comparison)


class Bars:
    """Progress bars, one for each question, all there from the start."""

    def __init__(self, progress: Progress, comparison: Comparison) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {
            question.key: progress.add_task(question.short, total=None, start=False, words="", visible=True)
            for question in comparison.asked
        }

    def started(self, question: Question, total: int) -> None:
        self._progress.update(self._tasks[question.key], total=total)
        self._progress.start_task(self._tasks[question.key])

    def doing(self, question: Question, words: str) -> None:
        self._progress.update(self._tasks[question.key], words=words)

    def advanced(self, question: Question) -> None:
        self._progress.update(self._tasks[question.key], advance=1, words="")


class Lines:
    """Progress lines, one when a question starts: for files and logs."""

    def __init__(self, console: Console, start: float) -> None:
        self._console, self._start = console, start

    def started(self, question: Question, total: int) -> None:
        self._console.print(Text(f"{time.perf_counter() - self._start:5.0f} s  {question.title} ({total} steps)"))

    def doing(self, question: Question, words: str) -> None: ...

    def advanced(self, question: Question) -> None: ...


def conclude(comparison: Comparison, paths: tuple[Path, Path]) -> None:
    """Prints the table, the verdicts, and where the report is."""
    console = Console(highlight=False)
    console.print(_table(comparison))
    console.print(Text(_summary.headline(comparison), style="bold"))
    console.print()
    for question in comparison.asked:
        console.print(Text.assemble((f"{question.title} ", "dim"), verdict(comparison, question.key).headline))
    console.print()
    for question in comparison.failed:
        console.print(Text(f"{question.title} {comparison.answers[question.key].reason}", style="red"))
    if told := _report.taken(comparison, paths[0].parent):
        console.print(Text(f"{told}\n"))
    how = "Stopped" if comparison.interrupted else "Measured"
    console.print(
        Text(f"{how} after {words.seconds(comparison.seconds)}.\nThe report: {paths[0]}\nThe numbers: {paths[1]}"),
        soft_wrap=True,  # a path broken in two cannot be copied
    )


def _table(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    noticed = _summary.columns(comparison)[4].replace(" ", "\n")
    harder = "Half cells\nmissing %" if _summary.hides_cells(comparison) else f"{_summary.few(comparison)}\nonly %"
    second = _summary.columns(comparison)[2].replace(" ", "\n")
    for name in ("Model", "Accuracy %", second, noticed, harder, "Training"):
        table.add_column(name, justify="left" if name == "Model" else "right", no_wrap=True, min_width=6)
    keys = comparison.bench.contestants.values()
    for contestant, row in zip(keys, _summary.models(comparison), strict=True):
        _, accuracy, loss, _, unseen, missing, seconds = row
        short = (text.split(" ± ")[0] for text in (loss, unseen))
        table.add_row(
            contestant.short.replace(" regression", ""), accuracy.strip(" %"), *short, missing.strip(" %"), seconds
        )
    return table
