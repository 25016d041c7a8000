"""Command `dgjax fit`: a model of a table that may be larger than memory, fitted in passes over its file."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

import dgjax as dg
from dgjax.compare._errors import InputError
from dgjax.compare._large import dataset, rows_of, watched
from dgjax.streams import Block, Stream


class Asked(NamedTuple):
    """What is fitted: the model's name, the columns of labels and weights, those left out, components, most steps.

    Where no model is named, it is chosen by the kinds of the columns.
    """

    model: str | None
    target: str | None
    weight: str | None
    drop: tuple[str, ...]
    components: int
    max_steps: int


def _logistic(rows: Stream, _: int) -> Any:
    assert rows.schema is not None
    assert rows.schema.label is not None
    return dg.logistic_regression(num_features=rows.num_features, num_classes=len(rows.schema.label.levels))


KEY = jax.random.key(0)
of_streams: Any = dg  # whose starters find the labels in the rows
WITH_LABELS: dict[str, Callable[[Any, int], Any]] = {
    "naive-bayes": lambda rows, _: of_streams.naive_bayes(rows, prior="weak"),
    "lda": lambda rows, _: of_streams.discriminant_analysis(rows, prior="weak"),
    "qda": lambda rows, _: of_streams.discriminant_analysis(rows, covariance="full", prior="weak"),
    "logistic": _logistic,
}
WITHOUT: dict[str, Callable[[Any, int], Any]] = {
    "clusters": lambda rows, k: dg.gaussian_mixture(KEY, rows, k),
    "gaussian": lambda rows, _: dg.gaussian_mixture(KEY, rows, 1),
}
IN_PASSES = ("logistic", "clusters")
"""Models that starters do not have at their maximum at once."""


def fit(data: str, asked: Asked) -> tuple[dg.Tabular, str]:
    """Model fitted to the rows of a file, and a sentence on how it ended."""
    source = dataset(data)
    _check(data, asked, source.schema.names)
    left_out = {asked.target, asked.weight, *asked.drop}
    columns = [name for name in source.schema.names if name not in left_out]
    try:
        rows = dg.stream(source, label=asked.target, weight=asked.weight, columns=columns)
        name = asked.model or default_model(rows)
        _check_kinds(name, rows)
        with watched(rows_of(data, source), f"fit {name}") as told:
            seen = False

            def watch(block: Block) -> None:
                nonlocal seen
                told(block.num_rows, seen and not block.first)
                seen = True

            rows.watch = watch
            model = (WITH_LABELS | WITHOUT)[name](rows, asked.components)
            if name not in IN_PASSES:
                return model, f"{name}, fitted to {rows.facts.num_rows:,} rows"
            found = dg.fit(model, rows, max_steps=asked.max_steps)
    except ValueError as error:
        raise InputError(f"DATA {data}: {error}") from None
    ended = "converged" if found.converged else "not converged: raise --max-steps"
    return found.model, f"{name}, fitted to {rows.facts.num_rows:,} rows in {found.num_steps} steps, {ended}"


def default_model(rows):
    """Name of the model that is fitted where none is named: naive Bayes if a column is text, else LDA."""
    return "naive-bayes" if _texts(rows) else "lda"


def _texts(rows):
    return [column.name for column in rows.schema.columns if column.kind == "categorical"]


def _check_kinds(model, rows):
    """Raises InputError for a column of text of a model that takes numbers alone."""
    texts = _texts(rows)
    if texts and model != "naive-bayes":
        left_out = " ".join(f"--drop '{name}'" for name in texts)
        raise InputError(
            f"--model {model}: expected columns of numbers, got text in '{texts[0]}'; type: {left_out}, or "
            "--model naive-bayes"
        )


def _check(data, asked, names):
    """Raises InputError for a model or columns that are not there, or a target where none is asked for."""
    if asked.model is not None and asked.model not in WITH_LABELS | WITHOUT:
        known = ", ".join(WITH_LABELS | WITHOUT)
        raise InputError(f"--model {asked.model}: expected one of {known}, got another; type: --model lda")
    if asked.model not in WITHOUT and asked.target is None:
        raise InputError(
            f"--model {asked.model or 'lda'}: expected with a target, got none; type: --target COLUMN, one of "
            f"{', '.join(names[:12])}, or --model clusters"
        )
    if asked.model in WITHOUT and asked.target is not None:
        raise InputError(
            f"--target {asked.target}: expected without it of --model {asked.model}, which has no labels, got it; "
            f"type: --drop '{asked.target}' in its place"
        )
    given = [("--target", asked.target), ("--weight", asked.weight), *(("--drop", name) for name in asked.drop)]
    for option, name in given:
        if name is not None and name not in names:
            raise InputError(
                f"{option} {name}: expected a column of {data}, got none of that name; it has {', '.join(names[:12])}"
            )
