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
from typing import Any, NoReturn, TypeVar, cast

import numpy as np

from dgjax import _advice
from dgjax._memory import told_memory
from dgjax.data import as_model
from dgjax.tables._answers import Asked, player_names
from dgjax.tables._frames import NUMBERS, is_frame, read
from dgjax.tables._schema import Schema, Table, Tabular, padded_labels

F = TypeVar("F", bound=Callable[..., Any])


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
    return lambda starter: _from_tables(starter, functools.partial(_started, kinds=kinds))


def started_from_sequences(starter: F) -> F:
    """Decorator of a starter of sequences `x`: of a table of them it starts a `Tabular` model."""
    return _from_tables(starter, _started_sequences)


def _from_tables(starter, started):
    signature = inspect.signature(starter)
    place = list(signature.parameters).index("x")

    @functools.wraps(starter)
    def call(*arguments: Any, **options: Any) -> Any:
        x = arguments[place] if len(arguments) > place else options.get("x")
        if not _is_table(x):
            return starter(*arguments, **options)
        return started(starter, signature, arguments, options)

    return cast(Any, call)


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
    places = None
    if is_frame(x):
        frame = read(x)
        _weights_by_name(given, frame)
        given["x"] = x = schema.rows_of(frame)
        if given.get("y") is not None:
            given["y"] = schema.labels(given["y"], frame)
        if schema.steps is not None:
            places = schema.steps.places(frame)
            _in_sequences(given, places, model)
    for name in given.keys() & {"background", "calibration", "density"}:
        given[name] = _encoded(schema, given[name])
    if answer is player_names and given.get("columns") is None and len(schema.shown) > len(schema.columns):
        given["columns"] = list(schema.places)  # the indicators of a column are one player
    elif "columns" in given:
        given["columns"] = _numbers(schema, given["columns"])
    asked = Asked(schema, frame, x, dict(given), places)
    result = _called(verb, given | {first: model.model}, schema)
    return result if answer is None else answer(asked, result)


def _in_sequences(given, places, model):
    """Puts sequences (s, t, d) with their lengths in place of rows, and labels and weights of steps or of sequences."""
    given["x"] = places.padded(given["x"], np.nan)
    y, weights = given.get("y"), given.get("weights")
    if np.ndim(y) == 1:  # others are told by the verb
        given["y"] = padded_labels(places, y)
    if getattr(weights, "shape", None) == places.codes.shape and len(places.groups) < len(places.codes):
        given["weights"] = places.of_sequences(weights, "weights")
    _with_lengths(given, places, model)


def _with_lengths(given, places, model):
    """Adds the lengths of sequences; of a model with a label for each it makes labels of steps those of sequences."""
    if given.get("lengths") is not None:
        raise ValueError("lengths are those of the table's groups; got others beside it. Leave them out.")
    given["lengths"] = places.lengths
    if np.ndim(given.get("y")) == 2 and as_model(model).one_label:
        given["y"] = places.of_sequences(places.rows(given["y"]), "labels")


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


def _started(starter, signature, arguments, options, kinds):
    """Model of a table that a starter gives."""
    given = _bound(signature, arguments, options)
    if given is None:
        return starter(*arguments, **options)
    own = "kinds" in signature.parameters
    schema = _table(given, given.get("kinds") if own else kinds, "y" in signature.parameters)
    if schema.steps is not None:
        raise ValueError(
            f"x is a table of sequences, and {starter.__name__} is for rows. Type x = dgjax.Table.of(frame, label), "
            "without group or order; or dgjax.hidden_markov(key, x, num_states)."
        )
    for name, what in (("num_categories", "levels of categories"), ("num_classes", "classes")):
        if given.get(name) is not None and (name == "num_categories" or schema.label is not None):
            raise ValueError(f"{name} is for arrays: the {what} are read from the table. Leave it out.")
    if own:
        given |= _emissions(schema, "kinds")
    if schema.label is not None and "num_classes" in signature.parameters:
        given["num_classes"] = len(schema.label.levels)
    if type(given.get("base")) is Tabular:
        given["base"] = _encoded(schema, given["base"])
    return Tabular(_called(starter, given, schema), schema)


def _started_sequences(starter, signature, arguments, options):
    """Model of a table of sequences that a starter gives, of which `emissions` are the kinds of columns."""
    given = _bound(signature, arguments, options)
    if given is None:
        return starter(*arguments, **options)
    table = given["x"]
    if type(table) is not Table or table.places is None:
        raise ValueError(
            "x must say which of its rows are a sequence, and in which order. Type x = dgjax.Table.of(frame, label, "
            "group=..., order=...), with the names of the columns that do."
        )
    told = next((name for name in ("emissions", "num_categories") if given.get(name) is not None), None)
    if told is not None:
        raise ValueError(f"{told} is read from the table. Leave it out, and type dgjax.Table.of(..., kinds=...).")
    schema = _table(given, None, labelled=True)
    if "emissions" in signature.parameters:
        given |= _emissions(schema, "emissions")
    y = given.pop("y")
    size = "num_components" if "y" in signature.parameters else "num_states"
    if schema.label is not None and given.setdefault(size, k := len(schema.label.levels)) != k:
        raise ValueError(f"{size} must be {k}, as {schema.label.name!r} has so many classes; got {given[size]}.")
    if "y" in signature.parameters and y is not None:
        given["y"] = table.places.of_sequences(table.places.rows(y), "labels")
    return Tabular(_called(starter, given | {"lengths": table.lengths}, schema), schema)


def _emissions(schema, name):
    """Arguments of a starter that say the kinds of columns, and the numbers of categories."""
    each = [column.kind for column in schema.shown]
    sizes = {j: len(column.levels) for j, column in enumerate(schema.shown) if column.kind == "categorical"}
    return {name: each[0] if len(set(each)) == 1 else each, "num_categories": sizes or None}


def _fitted_to_frame(fit, signature, arguments, options):
    given = _bound(signature, arguments, options)
    if given is None:
        return fit(*arguments, **options)
    table = given["x"]
    schema = _table(given, None, labelled=True)
    schema.check_fits(given["model"])
    if type(table) is Table and table.places is not None:
        _with_lengths(given, table.places, given["model"])
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
