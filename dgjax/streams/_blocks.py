"""Blocks: parts of any size, of arrays or frames, put together to blocks of one size, and checked as they are read."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from dgjax._arguments import as_array
from dgjax.data import Data, aligned, as_rows, check_amounts, float_type, whole_labels
from dgjax.streams._facts import Facts, facts_of
from dgjax.streams._passes import Block, Passes
from dgjax.structures import Sequences
from dgjax.tables import Schema, is_frame

MOST_LABELS = np.iinfo(np.int32).max
KINDS = "x, (x, y), (x, y, weights) or (x, y, weights, lengths)"


class Shape(NamedTuple):
    """Shape of blocks: `rows` of `num_features` columns of a dtype; of sequences `steps` each, and labels of steps."""

    rows: int
    num_features: int
    dtype: np.dtype
    steps: int | None = None
    labels_of_steps: bool = False

    @property
    def cells(self) -> tuple[int, ...]:
        """Shape of the cells of a block."""
        middle = () if self.steps is None else (self.steps,)
        return (self.rows, *middle, self.num_features)

    @property
    def labels(self) -> tuple[int, ...]:
        """Shape of the labels of a block."""
        return self.cells[:-1] if self.labels_of_steps else (self.rows,)


class OfShape(Passes):
    """Passes over rows of which the `shape` of blocks is known: an abstract base class."""

    shape: Shape

    @property
    def num_features(self) -> int:
        return self.shape.num_features

    @property
    def dtype(self) -> np.dtype:
        return self.shape.dtype

    @property
    def sequential(self) -> bool:
        """Whether the rows are sequences (n, t, d)."""
        return self.shape.steps is not None


def shape_of(first: Any, schema: Schema | None, size: int) -> Shape:
    """Shape of a stream's blocks, by its first part. Raises ValueError for what are no rows or sequences."""
    if schema is not None:
        x = schema.rows(first)
        return Shape(size, x.shape[1], float_type(x))
    x = as_array(_wide(first[0]), "x", "rows (n, d) or sequences (n, t, d) of real numbers")
    if x.ndim not in (2, 3):
        hint = " Type x[None] for a single row." if x.ndim == 1 else ""
        raise ValueError(f"source must give blocks of rows (n, d), {KINDS}; got x of shape {x.shape}.{hint}")
    if x.ndim == 2:
        as_rows(x[:1])
        return Shape(size, x.shape[1], float_type(x))
    of_steps = len(first) > 1 and first[1] is not None and np.ndim(first[1]) == 2
    return Shape(max(2, size // x.shape[1]), x.shape[2], float_type(x), x.shape[1], of_steps)


class _Filling:
    """Block that is being filled: arrays on the host, and how many rows are in them."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.have = shape, 0
        self.x = aligned(shape.cells, shape.dtype)
        self.y, self.weights = np.full(shape.labels, -1, np.int32), np.ones(shape.rows, shape.dtype)
        self.lengths = np.full(shape.rows, shape.steps or 1, jax.dtypes.canonicalize_dtype(int))

    def take(self, part: tuple[Any, ...], at: int) -> int:
        """Takes as many rows of a part as there is room for, from row `at` on; how many that were."""
        x, y, weights, lengths = part
        many = min(len(x) - at, self.shape.rows - self.have)
        here, there = slice(self.have, self.have + many), slice(at, at + many)
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which the checks find
            np.copyto(self.x[here], x[there], casting="unsafe")
            for into, own in ((self.y, y), (self.weights, weights), (self.lengths, lengths)):
                if own is not None:
                    np.copyto(into[here], own[there], casting="unsafe")
        self.have += many
        return many

    def block(self, first: int, light: Facts | None) -> Block:
        """The block, filled up with copies of its first row of weight 0, on the device."""
        n, own = self.have, self.shape
        inside = None
        if own.steps is not None:
            inside = np.arange(own.steps) < self.lengths[:n, None]
            self.x[:n][~inside] = self.x[:n, :1].repeat(own.steps, 1)[~inside]
            if own.labels_of_steps:
                self.y[:n][~inside] = -1
        rows = self.x[:n].reshape(-1, own.num_features)
        facts = facts_of(rows, self.y[:n], self.weights[:n], inside) if light is None else light._replace(num_rows=n)
        # Of this block, whatever is known of all rows: a program, and so the bits, depend on it.
        labelled = bool((self.y[:n] >= 0)[self.weights[:n] > 0].all())
        for array in (self.x, self.y, self.lengths):
            array[n:] = array[:1]
        self.weights[n:] = 0
        x: Any = jax.device_put(self.x, may_alias=True)
        if own.steps is not None:
            x = Sequences(x, jax.device_put(self.lengths), not own.labels_of_steps)
        y, weights = jax.device_put((self.y, self.weights))
        return Block(Data(x, y, weights, complete=facts.complete, labelled=labelled), facts, first)


def read(stream: Any, light: Facts | None) -> Iterator[Block]:
    """Blocks of a stream in order; with `light`, facts of all its rows, these are not looked for again.

    Raises ValueError, with the row's number, for what are no rows, labels or weights.
    """
    first, filling = 0, _Filling(stream.shape)
    columns = None if stream.names is None else stream.names.all
    for given in stream.source.parts(stream.shape.rows, columns):
        before = first + filling.have
        part = _of_frame(given, stream, before) if is_frame(given) else _of_arrays(given, stream.shape, before)
        at = 0
        while at < len(part[0]):
            at += filling.take(part, at)
            if filling.have == stream.shape.rows:
                yield filling.block(first, light)
                first, filling = first + filling.have, _Filling(stream.shape)
    if filling.have:
        yield filling.block(first, light)
    elif not first:
        raise ValueError("source must have at least one row; got none.")


def _wide(x):
    """Rows, those of float16 as float32: of arrays that is left to the user, who has no room for it here."""
    return np.asarray(x, np.float32) if getattr(x, "dtype", None) == np.float16 else x


def _of_frame(frame, stream, first):
    if stream.schema is None:
        raise ValueError("source must give blocks of one kind; got a frame after arrays.")
    try:
        x, y, weights = stream.names.read(frame, stream.schema)
    except ValueError as error:
        raise ValueError(f"{error} (In the part of the stream that begins with row {first}.)") from None
    return _checked(x, y, weights, None, stream.shape, first)


def _of_arrays(part, shape, first):
    if not 1 <= len(part) <= 4:
        raise ValueError(f"source must give blocks {KINDS}; got a tuple of {len(part)}.")
    x, y, weights, lengths = (*part, *[None] * (4 - len(part)))
    x = as_array(_wide(x), "x", "rows (n, d) of real numbers")
    expected = shape.cells[1:]
    if x.shape[1:] != expected or x.ndim != 1 + len(expected):
        want = ", ".join(("n", *map(str, expected)))
        raise ValueError(
            f"source must give blocks of one width, x of shape ({want}) as the first is; got shape {x.shape} from row "
            f"{first} on."
        )
    return _checked(np.asarray(x), y, weights, lengths, shape, first)


def _checked(x, y, weights, lengths, shape, first):
    """Arrays of a part, its labels and weights checked; raises ValueError with the number of the row."""
    n = len(x)
    if y is not None:
        y = np.asarray(whole_labels(y, "y"))
        _check_length(y, (n, *shape.labels[1:]), "y", first)
        if y.size and y.max() > MOST_LABELS:
            row = int((y.reshape(n, -1).max(1) > MOST_LABELS).argmax())
            raise ValueError(
                f"y must hold labels 0 to k - 1, or -1 where unknown; got {int(y.max())} in row {first + row}. Type "
                "np.unique(y, return_inverse=True)[1] to number labels."
            )
        if y.size and y.min() < -1:
            row = int((y.reshape(n, -1).min(1) < -1).argmax())
            raise ValueError(
                f"y must hold labels from 0, or -1 where unknown; got {int(y.min())} in row {first + row}. Type "
                "np.unique(y, return_inverse=True)[1] to number labels."
            )
    if weights is not None:
        weights = np.asarray(as_array(weights, "weights", "a finite number for each row, 0 or more", missing=None))
        _check_length(weights, (n,), "weights", first)
        wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
        if len(wrong):
            raise ValueError(
                f"weights must be finite and 0 or more, 0 for a row that counts for nothing; got {weights[wrong[0]]} "
                f"in row {first + int(wrong[0])}."
            )
        check_amounts(weights, shape.dtype)
    if lengths is not None:
        lengths = np.asarray(lengths)
        _check_length(lengths, (n,), "lengths", first)
        if shape.steps is None or lengths.dtype.kind not in "iu" or lengths.min() < 1 or lengths.max() > shape.steps:
            raise ValueError(
                f"lengths must be whole numbers from 1 to {shape.steps}, of sequences (n, t, d); got "
                f"{lengths.min(initial=0)} to {lengths.max(initial=0)} from row {first} on."
            )
    return x, y, weights, lengths


def _check_length(own, expected, name, first):
    if own.shape != expected:
        raise ValueError(f"{name} must have shape {expected} beside x; got shape {own.shape} from row {first} on.")
