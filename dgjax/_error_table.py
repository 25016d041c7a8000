"""Standard errors with the names of columns and labels: a table of a model that was learnt from one."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from dgjax._parameter_table import Words, number
from dgjax._summary import Summary, words_of
from dgjax.densities import Categorical, Columns
from dgjax.models import Logistic
from dgjax.scorers import CategoryWeights, ColumnScorers, Shifted
from dgjax.tables import made

OF_COLUMNS = {"mean": 1, "log_scale": 1, "scale_tril": 2, "loading": 2, "logits": 1, "log_rate": 1}
OF_COLUMNS |= {"weight": 1, "square": 1, "products": 1}
"""Axes after those of labels, by the name of a field; of categories one more, for their levels."""
OF_LEVELS = Categorical, CategoryWeights
HEAD = "parameter", "label", "column", "estimate", "standard_error"
MOVES = "log_transition", "transition"


class Entry(NamedTuple):
    """One number of a model: its field, the names of its label and column, "" for none, and its standard error."""

    parameter: str
    label: str
    column: str
    estimate: float
    standard_error: float


@dataclasses.dataclass(frozen=True, repr=False)
class StandardErrors:
    """Standard errors of a model of a table, by the names of its columns and labels: printed they are a table.

    `errors` are named tuples of the shape of the model, and what is asked of fields is theirs: `found.density.mean`.
    `entries` are the rows of the table, and `frame()` is one of the library that the model was learnt from.
    """

    errors: Any
    entries: tuple[Entry, ...]
    library: str

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "errors" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.errors, name)

    def frame(self) -> Any:
        """Frame with a row for each number of the model: parameter, label, column, estimate, standard_error."""
        every = [np.array([entry[i] for entry in self.entries], float if i > 2 else object) for i in range(len(HEAD))]
        return made(self.library, dict(zip(HEAD, every, strict=True)), [])

    def table(self) -> Summary:
        """Table of texts, as `print` shows it."""
        rows = tuple((*map(str, entry[:3]), *map(number, entry[3:])) for entry in self.entries)
        return Summary("Standard errors", (), tuple(name.replace("_", " ") for name in HEAD), rows)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def __rich__(self) -> Any:
        return self.table().__rich__()

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def named_errors(tabular: Any, model: Any, errors: Any) -> StandardErrors:
    """Errors of a `Tabular` model by name, of the `model` of arrays within it, in the coordinates that they are of."""
    words = words_of(tabular)
    entries = tuple(_entries(model, errors, words, range(len(tabular.schema.shown)), ()))
    return StandardErrors(errors, entries, tabular.schema.library)


def _entries(part: Any, errors: Any, words: Words, columns: Any, labels: tuple[int, ...]) -> Iterator[Entry]:
    """Entries of a part of a model, about columns of these numbers."""
    labels = getattr(part, "label_shape", labels) or labels
    if isinstance(part, Columns | ColumnScorers):
        blocks = "blocks" if isinstance(part, Columns) else "scorers"
        each = getattr(part, blocks), getattr(errors, blocks), part.columns or ()
        for block, own, places in zip(*each, strict=True):
            yield from _entries(block, own, words, [columns[j] for j in places], labels)
        return
    for field in dataclasses.fields(part):
        constant = isinstance(part, Shifted) and field.name == "offset"
        if constant or not hasattr(errors, field.name):
            continue
        value, own = getattr(part, field.name), getattr(errors, field.name)
        if dataclasses.is_dataclass(value):
            yield from _entries(value, own, words, columns, labels)
        elif value is not None:
            yield from _of_array(part, field.name, np.asarray(value, float), np.asarray(own, float), words, columns)


def _of_array(part, name, values, errors, words, columns):
    rank = OF_COLUMNS.get(name, 0) + isinstance(part, OF_LEVELS)
    moves = name in MOVES
    rank = 0 if moves else min(rank, values.ndim)
    binary = isinstance(part, Logistic) and len(part.bias) == 1
    for at in np.ndindex(*values.shape):
        own, rest = at[: len(at) - rank], at[len(at) - rank :]
        above = name == "scale_tril" and rest[1] > rest[0]
        if above or not np.isfinite(values[at]):
            continue
        label = _label(words, own, moves, binary)
        yield Entry(name, label, _column(part, name, words, columns, rest), float(values[at]), float(errors[at]))


def _label(words, at, moves, binary):
    if binary and at:
        return f"log-odds of {words.label(1)}"
    if moves:
        *before, i, j = at
        return ".".join([*map(str, before), f"{words.label(i)} to {words.label(j)}"])
    return ".".join([words.label(i) if n == 0 else str(i) for n, i in enumerate(at)])


def _column(part, name, words, columns, rest):
    if not rest:
        return ""
    first, *others = rest
    if name == "log_scale" and len(columns) != part.log_scale.shape[-1]:
        return ""  # spherical: one for all columns
    if name == "products":
        i, j = (own[first] for own in np.triu_indices(len(columns)))
        return f"{words.column(columns[i])} * {words.column(columns[j])}"
    told = words.column(columns[first])
    if isinstance(part, OF_LEVELS):
        return f"{told} = {words.level(columns[first], others[0])}"
    if name == "scale_tril":
        return told if others[0] == first else f"{told}, {words.column(columns[others[0]])}"
    return told if not others else f"{told}, factor {others[0]}"
