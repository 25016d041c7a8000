"""Command `dgjax predict`: labels, their probabilities and log p(x) of the rows of a file, by a saved model."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

import dgjax as dg
from dgjax.compare._errors import InputError
from dgjax.compare._reading import Reading
from dgjax.compare._table import Wanted, listed, read_table
from dgjax.tables import TRUTH

LOG_PROB = "log p(x)"


def load(path: str) -> dg.Tabular:
    """Model of a table in a file; raises InputError for another."""
    if not Path(path).exists():
        raise InputError(f"MODEL {path}: expected a file that dgjax has saved, got none; type: dgjax compare data.csv")
    try:
        model = dg.load(path)
    except ValueError as error:
        raise InputError(f"MODEL {path}: {error}") from None
    if not isinstance(model, dg.Tabular):
        raise InputError(
            f"MODEL {path}: expected a model of a table with names, got a {type(model).__name__} of arrays; save one "
            "that was fitted to a frame, or that dgjax compare has written"
        )
    return model


def predictions(model: dg.Tabular, data: str, reading: Reading) -> dict[str, np.ndarray]:
    """Columns of predictions for the rows of a file: the label, each label's probability, log p(x) if it is known."""
    frame = _frame(model.schema, Path(data), reading)
    try:
        found = columns_of(model, frame)
    except ValueError as error:
        raise InputError(f"DATA {data}: {error}") from None
    return found


def text_of(columns: dict[str, np.ndarray]) -> str:
    """Columns as the text of a CSV file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(map(_cell, own) for own in columns.values()), strict=True))
    return out.getvalue()


def _frame(schema: dg.Schema, path: Path, reading: Reading) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"DATA {path}: expected a file, got none; check the path")
    known = {column.name: _levels(column) for column in schema.columns}
    texts = frozenset(name for name, levels in known.items() if levels)
    table = read_table(path, reading=reading, wanted=Wanted(frozenset(schema.names), texts))
    absent = next((name for name in schema.names if name not in table.names), None)
    if absent is not None:
        raise InputError(
            f"DATA {path}: expected the column '{absent}', which the model has learnt, got {listed(table.names)}; add "
            "it, with empty cells if it is missing"
        )
    return {column.name: _cells(column, known[column.name]) for column in table.columns}


def _levels(column):
    """Levels of a column by the texts that a file may have for each; none of a column of numbers."""
    if column.holds == TRUTH:
        return {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
    return {str(level): level for level in column.levels}


def _cells(column, levels):
    """Cells of a column: numbers, or levels, None where missing, which must be among those that were learnt."""
    if not levels:
        return column.values
    spelt = [
        next((own for own in (text, text.lower(), text.removesuffix(".0")) if own in levels), None)
        for text in column.levels
    ]
    if None in spelt:
        unseen = column.levels[spelt.index(None)]
        raise InputError(
            f"column '{column.name}': expected one of {listed(list(levels))}, got '{unseen}', which the model has not "
            f"seen; correct it, or type: --missing '{unseen}' for a missing cell"
        )
    found = [levels[own] for own in spelt]
    at = np.where(np.isnan(column.values), len(found), column.values).astype(int)
    return [[*found, None][i] for i in at.tolist()]


def columns_of(model: dg.Tabular, frame: Any) -> dict[str, np.ndarray]:
    """Columns of predictions for the rows of a frame."""
    x = model.schema.rows(frame)
    plain = model.model
    label, found = model.schema.label, {}
    if label is not None:
        log_proba = np.asarray(dg.predict_log_proba(plain, x), float)
        names = np.array([*label.levels, None], object)  # none of a row that no label could give
        best = np.where(np.isfinite(log_proba.max(1)), log_proba.argmax(1), len(label.levels))
        found[label.name] = names[best]
        found |= {f"p({level})": np.exp(log_proba[:, k]) for k, level in enumerate(label.levels)}
    if dg.capabilities(plain).log_prob != "none":
        found[LOG_PROB] = np.asarray(dg.log_prob(plain, x), float)
    return found


def _cell(value):
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    return "" if value is None else value
