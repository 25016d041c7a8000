"""What verbs answer about a table: frames, and names of columns and labels, in place of arrays."""

from typing import Any, NamedTuple

import numpy as np

from dgjax._arguments import is_concrete
from dgjax.tables._frames import Frame, made
from dgjax.tables._schema import Schema, Tabular
from dgjax.tables._sequences import Places

STATE = "state"
"""Column of labels that have no names, as the states of a chain that was learnt without any."""


class Asked(NamedTuple):
    """What a verb was asked: the schema, the frame if there was one, the rows of it, and the arguments by name.

    Of sequences also the `places` of the frame's rows.
    """

    schema: Schema
    frame: Frame | None
    x: Any
    given: dict[str, Any]
    places: Places | None = None


def named_model(asked: Asked, result: Any) -> Any:
    """Answer that is a model: one of the table, or of the columns that were asked for."""
    columns = asked.given.get("columns")
    if columns is None:
        return Tabular(result, asked.schema)
    own = np.atleast_1d(columns) % len(asked.schema.shown)
    return Tabular(result, asked.schema.of(own.tolist()))


def label_names(asked: Asked, result: Any) -> Any:
    """Answer that is labels: a column of the frame's library with their names, None where unknown."""
    label, places = asked.schema.label, asked.places
    if asked.frame is None or (label is None and places is None) or not is_concrete(result):
        return result
    labels = np.asarray(result)
    if places is not None and labels.ndim == 1:
        return _by_group(asked, {_label(asked): _decoded(label, labels)})
    labels = labels if places is None else places.rows(labels)
    return asked.frame.column(_label(asked), _decoded(label, labels))


def log_proba_by_name(asked: Asked, result: Any) -> Any:
    """Answer that is a log-probability of every label: a frame with a column for each, by its name."""
    label, places = asked.schema.label, asked.places
    if asked.frame is None or (label is None and places is None) or not is_concrete(result):
        return result
    logs = np.asarray(result)
    levels = range(logs.shape[-1]) if label is None else label.levels
    whole = places is not None and logs.ndim == 2
    logs = logs if whole or places is None else places.rows(logs)
    columns = {str(level): logs[:, k] for k, level in enumerate(levels)}
    return _by_group(asked, columns) if whole else asked.frame.beside(columns)


def _by_group(asked, columns):
    """Frame of one row for each group: its name, and these columns."""
    name = asked.schema.steps.group
    groups = np.empty(len(asked.places.groups), object)
    groups[:] = asked.places.groups
    return made(asked.schema.library, ({name: groups} if name else {}) | columns, [])


def _label(asked):
    return STATE if asked.schema.label is None else asked.schema.label.name


def _decoded(label, labels):
    return labels if label is None else label.decode(np.where(labels < 0, np.nan, labels.astype(float)))


def filled_rows(asked: Asked, result: Any) -> Any:
    """Answer that is rows whose missing cells are filled: the frame with these, and all else as it was."""
    if asked.frame is None or not is_concrete(result):
        return result
    rows, cells = np.asarray(result), {}
    rows = rows if asked.places is None else asked.places.rows(rows)
    for column, own in zip(asked.schema.columns, asked.schema.places, strict=True):
        j = own[0]
        at = np.flatnonzero(np.isnan(asked.x[:, j]) & ~np.isnan(rows[:, j]))
        if len(at):
            cells[column.name] = at, column.decode(rows[at][:, own] if column.indicators else rows[at, j])
    return asked.frame.filled(cells)


def drawn_rows(asked: Asked, result: Any) -> Any:
    """Answer that is samples: a frame of the schema's library, if there is one axis of them and all are known."""
    x, y = result
    return asked.schema.frame(np.asarray(x), np.asarray(y)) if x.ndim == 2 and is_concrete(x, y) else result


def player_names(asked: Asked, result: Any) -> Any:
    """Answer that is an explanation: its players are columns by their names."""
    schema, columns = asked.schema, asked.given.get("columns")
    names = [column.name for column in schema.shown]
    if columns is None:
        return result._replace(names=tuple(names))
    whole = {tuple(own): name for own, name in zip(schema.places, schema.names, strict=True)}
    groups = [tuple(np.atleast_1d(group).tolist()) for group in columns]
    return result._replace(names=tuple(whole.get(own) or ", ".join(names[j] for j in own) for own in groups))
