"""Candidates of model selection: starters called by the names of their arguments, and grids of their options."""

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import LABELS, as_array, as_count, as_key
from dgjax._elsewhere import of_keyword, told_keywords
from dgjax.data import as_model, whole_labels
from dgjax.densities import has_draws
from dgjax.learning import Restarts, fit
from dgjax.tables import Table, Tabular, is_frame

OFFERED = ("key", "x", "y", "lengths", "weights")
"""Arguments of a starter that are given to it by name."""
SIZES = ("num_features", "num_classes")
"""Those that are read off the data, of a starter that must have them."""
OF_DATA = ("model", *OFFERED, "progress")


class Rows(NamedTuple):
    """Training data in NumPy: rows x (n, ...), labels y or None, lengths or None, weights or None, a table or None."""

    x: Any
    y: Any = None
    lengths: Any = None
    weights: Any = None
    table: Table | None = None

    def at(self, rows: np.ndarray) -> "Rows":
        """The rows of these numbers."""
        x, y, lengths, weights = (None if own is None else own[rows] for own in self[:4])
        table = self.table and dataclasses.replace(self.table, x=x, y=y)
        return Rows(x, y, lengths, weights, table)

    @property
    def labelled(self) -> bool:
        """Whether any label is known."""
        return self.y is not None and bool((self.y >= 0).any())


def as_training_rows(x: Any, y: Any, lengths: Any, weights: Any) -> Rows:
    """Training data in NumPy, of arrays or of a frame, in which y is the name of a column.

    Raises ValueError for labels or weights of another number than that of rows.
    """
    if type(x) is Table and y is not None:
        raise ValueError(
            f"y is that of the table x; got {_advice.shown(y)} beside it. Leave it out, and give what follows it by "
            'name, as criterion="bic".'
        )
    table = x if type(x) is Table else Table.of(x, y) if is_frame(x) else None
    if table is not None:
        x, y = table.x, table.y
    rows = np.asarray(as_array(x, "x", "real numbers, NaN where a cell is missing"))
    if rows.ndim < 2 or not len(rows):
        raise ValueError(f"x must be rows (n, d), or sequences (n, t, d), one at least; got shape {rows.shape}.")
    labels = None if y is None else np.asarray(whole_labels(y, "y"))
    sizes = None if lengths is None else np.asarray(as_array(lengths, "lengths", "numbers"))
    amounts = None if weights is None else np.asarray(as_array(weights, "weights", "numbers"))
    for name, own in (("y", labels), ("lengths", sizes), ("weights", amounts)):
        if own is not None and own.shape[:1] != rows.shape[:1]:
            raise ValueError(f"{name} must have one entry for each of the {len(rows)} rows of x; got {own.shape}.")
    return Rows(rows, labels, sizes, amounts, table)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Model to be tried: a starter, and the options that it and `fit` are called with."""

    starter: Callable[..., Any]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    label: str | None = None

    @property
    def name(self) -> str:
        """Name in a table: that of the starter, and its options."""
        own = [f"{name}={_advice.shown(value)}" for name, value in self.options.items()]
        return ", ".join([self.label or _name_of(self.starter), *own])

    def start(self, rows: Rows, key: jax.Array | None) -> Any:
        """Model to start a fit from: the starter is given what it has arguments for, by their names.

        Raises ValueError for an argument that is neither an option nor part of the data.
        """
        x, y = (rows.x, rows.y) if rows.table is None else (rows.table, None)
        offered = {"key": key, "x": x, "y": y, "lengths": rows.lengths, "weights": rows.weights}
        taken = {name: value for name, value in self.options.items() if name in _parameters(self.starter)}
        for name, own in _parameters(self.starter).items():
            needed = own.default is inspect.Parameter.empty and own.kind is not inspect.Parameter.VAR_KEYWORD
            if name in taken or not (needed or (name in offered and offered[name] is not None)):
                continue
            if name in SIZES:
                taken[name] = rows.x.shape[-1] if name == "num_features" else _num_classes(rows.y)
            elif name in offered:
                taken[name] = _checked_key(key, self.starter) if name == "key" else offered[name]
            else:
                raise ValueError(_unknown(self.starter, name))
        start = self.starter(**taken)
        return start if rows.table is None or isinstance(start, Tabular) else Tabular(start, rows.table.schema)

    def fit(self, rows: Rows, key: jax.Array | None, restarts: int, **options: Any) -> Any:
        """Fit from the start, the best of so many where there can be several maxima."""
        return self.fit_from(self.start(rows, key), rows, key, restarts, **options)

    def fit_from(self, start: Any, rows: Rows, key: jax.Array | None, restarts: int, **options: Any) -> Any:
        """Fit from a start, the best of so many where there can be several maxima."""
        own = options | {name: value for name, value in self.options.items() if name in FIT_OPTIONS}
        model = as_model(start)
        if restarts > 1 and model.generative and not has_draws(model):
            fold = jax.random.fold_in(_checked_key(key, self.starter), 1)
            own["method"] = Restarts(restarts, fold, own.get("method"))
        return fit(start, rows.x, rows.y, weights=rows.weights, lengths=rows.lengths, **own)


FIT_OPTIONS = tuple(name for name in inspect.signature(fit).parameters if name not in OF_DATA)


def check_options(function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raises TypeError for an option that neither the function nor `fit` has, with what to type."""
    for name in options:
        if name not in FIT_OPTIONS:
            own = [one for one in (*_parameters(function), *FIT_OPTIONS) if one != "options"]
            raise TypeError(
                f"neither {function.__name__} nor fit has an argument {name!r}. {of_keyword(name, options[name], own)}"
            )


@told_keywords
def grid(starter: Callable[..., Any], **options: Any) -> list[Candidate]:
    """Candidates for `dgjax.select`: a starter, such as `dgjax.gaussian_mixture`, with each combination of options.

    An option that is a list, a tuple or a range takes each of its values in turn, any other is fixed. Options are those
    of the starter and of `dgjax.fit`, such as `prior=(None, "weak")`. Lists are added up: `grid(...) + grid(...)`. The
    starter may be any function that gives a model: it is called with those of x, y, lengths, weights and key that it
    has as arguments, and with num_features and num_classes if it must have them.

    Raises TypeError for an option that neither has, ValueError for one without values.
    """
    if not callable(starter):
        raise ValueError(
            f"starter must be a function that starts a model; got {_advice.shown(starter)}. Type "
            "dgjax.grid(dgjax.gaussian_mixture, num_components=range(1, 9))."
        )
    named = _parameters(starter)
    anything = any(own.kind is inspect.Parameter.VAR_KEYWORD for own in named.values())
    for name in options:
        if not (anything or name in named or name in FIT_OPTIONS):
            told = of_keyword(name, options[name], [own for own in named if own not in OFFERED])
            raise TypeError(f"neither {_name_of(starter)} nor fit has an argument {name!r}. {told}")
    values = [list(own) if isinstance(own, list | tuple | range) else [own] for own in options.values()]
    if not all(values):
        empty = list(options)[[len(own) for own in values].index(0)]
        raise ValueError(f"{empty} must have one value at least; got {_advice.shown(options[empty])}.")
    return [Candidate(starter, dict(zip(options, own, strict=True))) for own in itertools.product(*values)]


def as_candidates(given: Any) -> list[Candidate]:
    """Candidates of a list of functions and candidates, or of a dict by their names, or of one of them.

    Raises ValueError for others, as for models, or none.
    """
    if isinstance(given, Candidate) or callable(given):
        given = [given]
    if isinstance(given, Mapping):
        pairs = [(str(name), own) for name, own in given.items()]
    elif isinstance(given, Sequence) and not isinstance(given, str):
        pairs = [(None, own) for own in given]
    else:
        pairs = []
    if not pairs or not all(isinstance(own, Candidate) or callable(own) for _, own in pairs):
        raise ValueError(
            "candidates must be a list of functions that start a model, or a dict of them by name; got "
            f"{_advice.shown(given)}. Type dgjax.grid(dgjax.gaussian_mixture, num_components=range(1, 9))."
        )
    return [
        Candidate(own.starter, own.options, name or own.label)
        if isinstance(own, Candidate)
        else Candidate(own, {}, name)
        for name, own in pairs
    ]


def as_restarts(restarts: Any, key: Any) -> tuple[int, jax.Array | None]:
    """Number of starts, and the key, None if there is none. Raises ValueError for several starts without a key."""
    num = as_count(restarts, "restarts")
    if num > 1 and key is None:
        raise ValueError(f"restarts={num} needs a key, by which they are drawn. Type key=jax.random.key(0).")
    return num, None if key is None else as_key(key)


def _parameters(starter):
    return inspect.signature(starter).parameters


def _name_of(starter):
    if hasattr(starter, "func"):  # of functools.partial
        return _name_of(starter.func)
    return getattr(starter, "__name__", type(starter).__name__)


def _checked_key(key, starter):
    if key is None:
        raise ValueError(f"{_name_of(starter)} needs a key, by which it draws. Type key=jax.random.key(0).")
    return key


def _num_classes(y: ArrayLike | None) -> int:
    if y is None or np.max(y) < 1:
        raise ValueError(f"y must be {LABELS}, of two classes at least; got {'None' if y is None else 'others'}.")
    return int(np.max(y)) + 1


def _unknown(starter, name):
    own = _name_of(starter)
    return (
        f"a starter is given those of {', '.join(OFFERED)} that it has as arguments, by these names; {own} needs "
        f"{name!r} too. Type dgjax.grid({own}, {name}=[...]), or a function of these names alone: lambda x, y: ..."
    )
