"""Decorators by which functions of arrays take tables: frames are encoded before, and answers decoded after.

    verb(Tabular(model, schema), frame) ─▶ verb(model, schema.rows(frame)) ─▶ answer in frames and names of labels
    starter(frame, "label")             ─▶ starter(x, y, kinds)            ─▶ Tabular(model, schema)

Models, densities and kernels see arrays only. Arrays given to a model of a table are its columns in order, and are
answered as by the model itself. The way of arrays is one look at a type longer: 0.2 us.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, TypeVar, cast

import numpy as np

from dgjax import _advice
from dgjax._arguments import is_concrete
from dgjax._memory import told_memory
from dgjax.tables._frames import NUMBERS, Frame, is_frame, read
from dgjax.tables._schema import Schema, Table, Tabular

F = TypeVar("F", bound=Callable[..., Any])


class Asked(NamedTuple):
    """What a verb was asked: the schema, the frame if there was one, the rows of it, and the arguments by name."""

    schema: Schema
    frame: Frame | None
    x: Any
    given: dict[str, Any]


Answer = Callable[[Asked, Any], Any]


def of_tables(answer: Answer | None = None) -> Callable[[F], F]:
    """Decorator of a verb, whose first argument is a model: of a `Tabular` model rows may be a frame.

    `answer(asked, result)` makes frames or names of a result, which is left as it is by default.
    """

    def decorate(verb: F) -> F:
        verb, signature = told_memory(verb), inspect.signature(verb)
        first = next(iter(signature.parameters))

        @functools.wraps(verb)
        def call(*arguments: Any, **options: Any) -> Any:
            model = arguments[0] if arguments else options.get(first)
            if type(model) is not Tabular:
                return verb(*arguments, **options)
            return _asked(verb, signature, answer, arguments, options)

        return cast(F, call)

    return decorate


def started_from_tables(kinds: str | None = None) -> Callable[[F], F]:
    """Decorator of a starter of rows `x`: of a frame it starts a `Tabular` model, its columns' kinds read from types.

    `kinds` is that of all columns where the starter has one alone.
    """

    def decorate(starter: F) -> F:
        signature = inspect.signature(starter)
        place = list(signature.parameters).index("x")

        @functools.wraps(starter)
        def call(*arguments: Any, **options: Any) -> Any:
            x = arguments[place] if len(arguments) > place else options.get("x")
            if not _is_table(x):
                return starter(*arguments, **options)
            return _started(starter, signature, kinds, arguments, options)

        return cast(F, call)

    return decorate


def fitted_to_tables(fit: F) -> F:
    """Decorator of `fit`: of a frame the fitted model is `Tabular`, whether the model it started at was or not."""
    signature = inspect.signature(fit)

    @functools.wraps(fit)
    def call(*arguments: Any, **options: Any) -> Any:
        model = arguments[0] if arguments else options.get("model")
        if type(model) is Tabular:
            given = _bound(signature, arguments, options)
            if given is None:
                return fit(*arguments, **options)
            x = given.get("x")
            if type(x) is Table and x.schema.label is not None:
                given.setdefault("y", x.schema.label.name)
            return _answered(fit, _fitted, "model", given)
        if _is_table(arguments[1] if len(arguments) > 1 else options.get("x")):
            return _fitted_to_frame(fit, signature, arguments, options)
        return fit(*arguments, **options)

    return cast(F, call)


def _is_table(x: Any) -> bool:
    return type(x) is Table or is_frame(x)


def _asked(verb, signature, answer, arguments, options):
    """Answer of a verb about a `Tabular` model."""
    given = _bound(signature, arguments, options)
    return verb(*arguments, **options) if given is None else _answered(verb, answer, next(iter(given)), given)


def _answered(verb, answer, first, given):
    """Answer of a verb about a `Tabular` model, its argument `first`, of all arguments by name."""
    model, frame = given[first], None
    schema = model.schema
    x = given["x"].frame if type(given.get("x")) is Table else given.get("x")
    if hasattr(x, "of_schema"):  # a stream
        given["x"] = x = x.of_schema(schema)
    else:
        _check_rows(x)
    if is_frame(x):
        frame = read(x)
        _weights_by_name(given, frame)
        given["x"] = x = schema.rows_of(frame)
        if given.get("y") is not None:
            given["y"] = schema.labels(given["y"], frame)
    for name in given.keys() & {"background", "calibration", "density"}:
        given[name] = _encoded(schema, given[name])
    if answer is player_names and given.get("columns") is None and len(schema.shown) > len(schema.columns):
        given["columns"] = list(schema.places)  # the indicators of a column are one player
    elif "columns" in given:
        given["columns"] = _numbers(schema, given["columns"])
    asked = Asked(schema, frame, x, dict(given))
    result = _called(verb, given | {first: model.model}, schema)
    return result if answer is None else answer(asked, result)


def _check_rows(x):
    """Raises ValueError for a single row of a frame, which has the names of columns no longer as such."""
    if getattr(x, "ndim", 2) == 1 and hasattr(x, "to_frame"):
        raise ValueError(f"x must be a frame; got a {type(x).__name__}, of one row or column. Type frame.iloc[[0]].")


def _weights_by_name(given, frame):
    """Weights that were told by the name of the frame's column of them, in its place."""
    name = given.get("weights")
    if not isinstance(name, str):
        return
    if name not in frame.names:
        raise ValueError(
            f"weights must be a number for each row, or the name of x's column of them; x has no column {name!r}, but "
            f"{_advice.shown(list(frame.names))}."
        )
    cells = frame.cells(name)
    if cells.holds != NUMBERS:
        raise ValueError(f"weights must be numbers; column {name!r} holds {cells.holds or 'nothing'}.")
    given["weights"] = cells.values


def _encoded(schema, other):
    """Rows of a frame, or the model within another of the same columns."""
    if type(other) is Tabular:
        if other.schema.names != schema.names:
            raise ValueError(
                f"expected a model of the same columns, {list(schema.names)}; got {list(other.schema.names)}."
            )
        return other.model
    return schema.rows(other) if is_frame(other) else other


def _numbers(schema, columns):
    """Numbers of columns, or of groups of them."""
    if isinstance(columns, list | tuple) and any(isinstance(group, list | tuple) for group in columns):
        return [schema.numbers([group] if isinstance(group, str) else group) for group in columns]
    return schema.numbers(columns)


def _started(starter, signature, kinds, arguments, options):
    """Model of a table that a starter gives."""
    given = _bound(signature, arguments, options)
    if given is None:
        return starter(*arguments, **options)
    own = "kinds" in signature.parameters
    schema = _table(given, given.get("kinds") if own else kinds, "y" in signature.parameters)
    for name, what in (("num_categories", "levels of categories"), ("num_classes", "classes")):
        if given.get(name) is not None and (name == "num_categories" or schema.label is not None):
            raise ValueError(f"{name} is for arrays: the {what} are read from the table. Leave it out.")
    if own:
        each = [column.kind for column in schema.shown]
        given["kinds"] = each[0] if len(set(each)) == 1 else each
        sizes = {j: len(column.levels) for j, column in enumerate(schema.shown) if column.kind == "categorical"}
        given["num_categories"] = sizes or None
    if schema.label is not None and "num_classes" in signature.parameters:
        given["num_classes"] = len(schema.label.levels)
    if type(given.get("base")) is Tabular:
        given["base"] = _encoded(schema, given["base"])
    return Tabular(_called(starter, given, schema), schema)


def _fitted_to_frame(fit, signature, arguments, options):
    given = _bound(signature, arguments, options)
    if given is None:
        return fit(*arguments, **options)
    schema = _table(given, None, labelled=True)
    schema.check_fits(given["model"])
    return _fitted(Asked(schema, None, None, given), _called(fit, given, schema))


def _table(given, kinds, labelled):
    """Schema of the frame among the arguments, whose place its rows take, and its labels if the function has some."""
    if is_frame(given["x"]) and isinstance(name := given.get("weights"), str):
        frame = read(given["x"])
        _weights_by_name(given, frame)
        given["x"] = frame.without(name)
    table, y = given["x"], given.get("y")
    if type(table) is not Table:
        table = Table.of(table, y, kinds)
    elif y is not None or kinds not in (None, "gaussian"):
        raise ValueError("y and kinds are those of the table x; got others beside it. Leave them out.")
    codes = next((column.name for column in table.schema.shown if column.kind == "categorical"), None)
    if kinds == "gaussian" and codes is not None:
        raise ValueError(
            f"x column {codes!r} is of categories, whose numbers are no quantities, which the model takes. Type "
            "x = dgjax.Table.of(frame, label, indicators=True), of the frame and the name of its label, if it has one."
        )
    given["x"] = table.x
    if labelled:
        given["y"] = table.y
        return table.schema
    return dataclasses.replace(table.schema, label=None)  # clusters are no classes


def _bound(signature, arguments, options):
    """Arguments by name; None where they are not those of the function, which says so itself."""
    try:
        return dict(signature.bind_partial(*arguments, **options).arguments)
    except TypeError:
        return None


def _called(function, given, schema):
    """Result of a function of arrays, whose errors name the schema's columns."""
    try:
        return function(**given)
    except ValueError as error:
        _raise_named(error, schema)


def _raise_named(error: Any, schema: Schema) -> NoReturn:
    """Raises an error about columns of arrays, by number, as one about those of a table, by name."""
    error.args = tuple(schema.named(part) if isinstance(part, str) else part for part in error.args)
    if hasattr(error, "model"):  # the last good one of a fit that diverged
        error.model = Tabular(error.model, schema)
    raise error


def _fitted(asked: Asked, result: Any) -> Any:
    """Fit whose model is one of the table."""
    if type(result.model) is Tabular:  # of a stream, which has a schema itself
        return result
    changed = object.__new__(type(result))
    changed.__dict__.update(result.__dict__, model=Tabular(result.model, asked.schema))
    return changed


def named_model(asked: Asked, result: Any) -> Any:
    """Answer that is a model: one of the table, or of the columns that were asked for."""
    columns = asked.given.get("columns")
    if columns is None:
        return Tabular(result, asked.schema)
    own = np.atleast_1d(columns) % len(asked.schema.shown)
    return Tabular(result, asked.schema.of(own.tolist()))


def label_names(asked: Asked, result: Any) -> Any:
    """Answer that is labels: a column of the frame's library with their names, None where unknown."""
    label = asked.schema.label
    if asked.frame is None or label is None or not is_concrete(result):
        return result
    labels = np.asarray(result)
    return asked.frame.column(label.name, label.decode(np.where(labels < 0, np.nan, labels.astype(float))))


def log_proba_by_name(asked: Asked, result: Any) -> Any:
    """Answer that is a log-probability of every label: a frame with a column for each, by its name."""
    label = asked.schema.label
    if asked.frame is None or label is None or not is_concrete(result):
        return result
    logs = np.asarray(result)
    return asked.frame.beside({str(level): logs[:, k] for k, level in enumerate(label.levels)})


def filled_rows(asked: Asked, result: Any) -> Any:
    """Answer that is rows whose missing cells are filled: the frame with these, and all else as it was."""
    if asked.frame is None or not is_concrete(result):
        return result
    rows, cells = np.asarray(result), {}
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
