"""Model selection: candidates fitted to the same rows, compared by a criterion, in a table with the best of them."""

import contextlib
import dataclasses
import html
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._candidates import as_candidates, as_restarts, as_training_rows, check_options
from dgjax._cross_validation import fold_of_rows, scored_by_folds
from dgjax._elsewhere import told_keywords
from dgjax._selection import aic, bic, icl
from dgjax._verbs import num_parameters
from dgjax._warnings import ConvergenceWarning
from dgjax.data import as_model

CRITERIA = {"bic": bic, "aic": aic, "icl": icl}
CROSS_VALIDATION = "cross-validation"
SHOWN = 40  # rows of a table that are printed
BRIEF = 60  # characters of an error there


class Trial(NamedTuple):
    """Row of a `Selection`: what was tried, and how it went.

    `criterion` is lower for better models, `standard_error` its own, of cross-validation only. `log_likelihood` is that
    of the rows that were fitted, without the prior, in nats. `failure` is the error that a candidate ended in, whose
    numbers are then NaN; None of others.
    """

    name: str
    options: dict[str, Any]
    criterion: float
    num_parameters: int
    log_likelihood: float
    converged: bool
    seconds: float
    standard_error: float | None = None
    failure: str | None = None


@dataclasses.dataclass(frozen=True, repr=False)
class Selection:
    """Result of `select`: the best `model`, fitted to all rows, and a `table` of all trials, the best first.

    `criterion` is the name of what they are compared by. Printed it is the table; `pandas.DataFrame(found.table)` is
    one of pandas, and `dgjax.plot.selection(found)` a picture.
    """

    model: Any
    table: tuple[Trial, ...]
    criterion: str

    def __repr__(self) -> str:
        head, rows = self._cells()
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
        told = ["", *(_failure(trial) for trial in self.table[:SHOWN])]
        lines = [f"{line}{failure}" for line, failure in zip(lines, told, strict=True)]
        return "\n".join([self._title(), *(line.rstrip() for line in lines), *self._left_out()])

    def _repr_html_(self) -> str:
        head, rows = self._cells()
        rows = [[*row, _failure(trial)] for row, trial in zip(rows, self.table, strict=False)]
        lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
        title = "".join(f"<th>{html.escape(name)}</th>" for name in head)
        below = "".join(f"<p>{html.escape(line)}</p>" for line in self._left_out())
        caption = f"<caption>{html.escape(self._title())}</caption>"
        return f"<table>{caption}<tr>{title}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>{below}"

    def _title(self):
        failed = sum(trial.failure is not None for trial in self.table)
        of = f", {failed} of which failed" * bool(failed)
        return f"Selection by {self.criterion}, lower is better, of {len(self.table)} candidates{of}"

    def _left_out(self):
        return [f"... and {len(self.table) - SHOWN} more in .table"] * (len(self.table) > SHOWN)

    def _cells(self):
        """Names of columns and texts of cells. Options have a column each, and names one if they tell trials apart."""
        options = list(dict.fromkeys(name for trial in self.table for name in trial.options))
        names = [trial.name.split(",")[0] for trial in self.table]
        told = ["candidate"] if len(set(names)) > 1 or not options else []
        error = ["±"] if any(trial.standard_error is not None for trial in self.table) else []
        head = [*told, *options, self.criterion, *error, "parameters", "log-likelihood", "converged", "seconds"]
        return head, [
            [
                *([name] if told else []),
                *(_brief(trial.options.get(option, "")) for option in options),
                *_numbers(trial, bool(error)),
            ]
            for trial, name in zip(self.table[:SHOWN], names, strict=False)
        ]


def _numbers(trial, with_error):
    if trial.failure is not None:
        return ["failed", *[""] * with_error, "", "", "", f"{trial.seconds:.2f}"]
    error = [f"{trial.standard_error:.2g}" if trial.standard_error is not None else ""] if with_error else []
    ended = "yes" if trial.converged else "no"
    value = f"{trial.criterion:.4f}" if with_error else f"{trial.criterion:.2f}"
    return [value, *error, f"{trial.num_parameters}", f"{trial.log_likelihood:.2f}", ended, f"{trial.seconds:.2f}"]


def _failure(trial):
    """Beginning of the error that a trial ended in; empty of others."""
    told = trial.failure or ""
    return "" if not told else f"  {told}" if len(told) <= BRIEF else f"  {told[:BRIEF]}..."


def _brief(value):
    return value if isinstance(value, str) else _advice.shown(value)


@told_keywords
def select(
    candidates: Any,
    x: Any,
    y: Any = None,
    criterion: str = "bic",
    *,
    key: jax.Array | None = None,
    restarts: int = 1,
    folds: int | ArrayLike = 5,
    lengths: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    progress: bool = False,
    **options: Any,
) -> Selection:
    """Model selection: each candidate fitted to `x`, and `y` if there are labels; the best by a criterion, and a table.

    `candidates` is what `dgjax.grid` makes of a starter and its options, or a list, or a dict by name, of functions
    that start a model, such as `dgjax.discriminant_analysis` and `lambda x, y: dgjax.naive_bayes(x, y, prior="weak")`.
    They are called with those of x, y, lengths, weights and `key` that they have as arguments. `criterion` is "bic",
    "aic" or "icl", as `dgjax.bic` and the others have it, or "cross-validation": minus the mean held-out log p(x) of a
    row, with labels log p(y | x), which compares generative with discriminative models too, as no other does.
    `restarts` fits, drawn by `key`, are tried of each where a likelihood has several maxima; `folds` are those of
    `dgjax.cross_validate`. `x` (n, d), or (n, t, d) with `lengths` (n,), or a frame, in which y is a column's name; y
    may be -1, unknown. `options` are those of `dgjax.fit`. `progress` shows a bar with the time left.

    A candidate that cannot be fitted, as one that collapses onto too few rows, is told in the table.

    Raises ValueError for bad data, another criterion, no key where one is needed, models with and without p(x) beside
    each other by another criterion than "cross-validation", or if every candidate failed.
    """
    check_options(select, options)
    rows = as_training_rows(x, y, lengths, weights)
    own, (num, key) = as_candidates(candidates), as_restarts(restarts, key)
    if criterion not in (*CRITERIA, CROSS_VALIDATION):
        known = ", ".join(f'"{name}"' for name in (*CRITERIA, CROSS_VALIDATION))
        raise ValueError(f"criterion must be one of {known}; got {_advice.shown(criterion)}.")
    fold = fold_of_rows(rows, folds, key) if criterion == CROSS_VALIDATION else None
    trials, best, kinds = [], None, set()
    with _bar(len(own) * (1 if fold is None else int(fold.max()) + 2), progress) as advance:
        for candidate in own:
            trial, model = _tried(candidate, rows, criterion, fold, key, num, options, advance)
            if best is None or trial.criterion < min(other.criterion for other in trials if other.failure is None):
                best = model
            trials.append(trial)
            kinds |= {as_model(model).generative} if model is not None else set()
            if len(kinds) > 1 and fold is None:
                raise ValueError(
                    f"{criterion} compares models of the same numbers, p(x, y) or p(y | x); got candidates of either "
                    'kind. Type criterion="cross-validation", which compares them by p(y | x) of held-out rows.'
                )
    if best is None:
        first = trials[0]
        raise ValueError(f"every one of the {len(trials)} candidates failed; the first, {first.name}: {first.failure}")
    trials.sort(key=lambda trial: np.inf if trial.failure is not None else trial.criterion)
    return Selection(best, tuple(trials), criterion)


def _tried(candidate, rows, criterion, fold, key, restarts, options, advance):
    """Trial of a candidate and its model, None if it failed."""
    began = time.perf_counter()
    told = {"name": candidate.name, "options": dict(candidate.options)}
    try:
        with warnings.catch_warnings():  # told in the table
            warnings.simplefilter("ignore", ConvergenceWarning)
            start = candidate.start(rows, key)
            fit = candidate.fit_from(start, rows, key, restarts, **options)
        given = {"lengths": rows.lengths, "y": rows.y if rows.labelled else None, "weights": rows.weights}
        # Those of the start: a probability that the fit has driven to 0 was a parameter.
        left, size = (int(num_parameters(own)) for own in (fit.model, start))
        likelihood = left - float(aic(fit.model, rows.x, **given)) / 2
        value, error = float("nan"), None
        advance()
        if fold is None:
            price = (
                2 if criterion == "aic" else (float(bic(fit.model, rows.x, **given)) + 2 * likelihood) / max(left, 1)
            )
            value = float(CRITERIA[criterion](fit.model, rows.x, **given)) + price * (size - left)
        else:
            held = scored_by_folds(candidate, rows, fold, key, restarts, options, advance)
            name, sign = ("log_loss", 1) if rows.labelled else ("log_prob", -1)
            value, error = sign * held.mean[name], held.standard_error[name]
        if np.isnan(value):
            raise ValueError(f"{criterion} is no number: rows have no probability under this model.")
    except ValueError as failed:
        nothing = {"criterion": np.nan, "num_parameters": 0, "log_likelihood": np.nan, "converged": False}
        return Trial(**told, **nothing, seconds=time.perf_counter() - began, failure=str(failed)), None
    seconds = time.perf_counter() - began
    return Trial(
        **told,
        criterion=value,
        num_parameters=size,
        log_likelihood=likelihood,
        converged=bool(fit.converged),
        seconds=seconds,
        standard_error=error,
    ), fit.model


@contextlib.contextmanager
def _bar(total: int, progress: bool) -> Iterator[Callable[[], None]]:
    """Progress bar of so many fits, with the time left; gives what is called after each."""
    if not progress:
        yield lambda: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("select"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task("select", total=total)
        yield lambda: bar.advance(task)
        bar.update(task, completed=total)
