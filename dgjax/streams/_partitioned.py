"""Passes over partitions, each where it lies: on the workers of a cluster, which send sums, and never rows.

    task(partition)      on the worker that has it: a stream of its own, in blocks of one size, whose sums are added
    combine(results)     of a few partitions, again on a worker, in a tree that is the same in every pass

A scheduler that loses a worker runs its tasks again, and as the tree is the same, so are the bits.
"""

import abc
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from dgjax._arguments import as_count, as_key
from dgjax._digest import digest
from dgjax.data import Data
from dgjax.streams import _reservoir, _sources
from dgjax.streams._blocks import OfShape
from dgjax.streams._facts import Facts
from dgjax.streams._passes import Carry, Sums, plus, summed
from dgjax.streams._stream import Stream
from dgjax.tables import Schema, is_frame

Task = Callable[[int, Any], Any]
"""A function of a partition's number and its rows, a frame or a tuple (x,), (x, y) or (x, y, weights)."""


class Partitioned(OfShape):
    """Passes over partitions that lie elsewhere; an abstract base class with one method, `results`.

    `like` is a stream of the same rows, or of the first partition, for its columns, precision, block size and schema.
    """

    def __init__(self, like: Stream) -> None:
        self.shape, self.names, self.schema = like.shape, like.names, like.schema
        self._parts: list[Facts] | None = None

    @abc.abstractmethod
    def results(self, task: Task, combine: Callable[[list[Any]], Any] | None = None) -> Iterable[Any]:
        """Results of `task(i, partition)` of every partition, in order; with `combine` one, of all of them.

        `combine` takes a list of results, of neighbouring partitions or itself, and gives one. Which results it is
        given together must be the same in every pass.
        """

    @property
    def parts(self) -> list[Facts]:
        """Facts of each partition, by a pass over all of them; None for one without rows."""
        if self._parts is None:
            self._parts = list(self.results(functools.partial(_facts, self._spec)))
            if not any(self._parts):
                raise ValueError("source must have at least one row; got none.")
            largest = max(own.num_rows for own in self._parts if own is not None)
            self.shape = self.shape._replace(rows=min(self.shape.rows, max(largest, 2)))  # no block is all filling
        return self._parts

    @property
    def facts(self) -> Facts:
        return functools.reduce(Facts.merged, filter(None, self.parts))

    @property
    def mark(self) -> str:
        known = [None if own is None else jax.tree.map(np.asarray, own._asdict()) for own in self.parts]
        return f"{len(self.parts)} partitions {digest(known)}, blocks of {self.shape.rows}"

    @property
    def _spec(self):
        return self.shape, self.names, self.schema

    def of_schema(self, schema: Schema) -> "Partitioned":
        """The same rows, read by the schema of a model: its columns by name, and its labels."""
        if self.names is None or schema == self.schema:
            return self
        own = object.__new__(type(self))
        vars(own).update(vars(self))
        own.names = self.names._replace(columns=schema.names, label=None if schema.label is None else self.names.label)
        own.shape, own.schema, own._parts = self.shape._replace(num_features=len(schema.shown)), schema, None
        return own

    def total(
        self,
        fn: Callable[[Any, Data], Sums],
        model: Any,
        start: tuple[int, Carry | None] | None = None,
        each: Callable[[int, Carry], None] | None = None,
    ) -> Sums:
        """Sum of `fn(model, data)` over all rows; `each` is called once, at its end: a pass is not gone on with."""
        del start
        parts = self.parts  # after which the size of blocks is known
        task = functools.partial(_sums, self._spec, parts, fn, _host(model))
        (carry,) = self.results(task, joined)
        if carry is None:
            raise ValueError("source must have at least one row; got none.")
        if each is not None:
            each(len(self.parts), carry)
        return summed(carry)

    def each(self, fn: Callable[..., Any], model: Any, key: Array | None = None) -> Iterator[tuple[Any, int]]:
        parts = self.parts
        task = functools.partial(_each, self._spec, parts, fn, _host(model), _key_data(key))
        for results in self.results(task):
            yield from results

    def sample(self, key: Array, n: int) -> Data:
        seed, most = jax.random.key_data(as_key(key)), as_count(n, "n")
        parts = self.parts
        task = functools.partial(_kept, self._spec, parts, np.asarray(seed), most)
        (kept,) = self.results(task, functools.partial(_reservoir.best, n=most))
        return _reservoir.as_data(self, kept)


def _host(model):
    """Model with arrays of NumPy, which any process reads."""
    return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, model)


def _stream(spec, facts, i, partition):
    """The rows of a partition as a stream, of which all is known that an earlier pass has found; None of no rows."""
    shape, names, schema = spec
    part = partition if is_frame(partition) else _as_tuple(partition)
    if not len(part if is_frame(part) else part[0]):
        return None
    source = _sources.OfBlocks(lambda: _cut(part, shape.rows), f"partition {i}")
    own = Stream(source, shape, 0, names, schema)
    own._facts = None if facts is None else facts[i]
    return own


def _as_tuple(partition):
    return partition if isinstance(partition, tuple) else (partition,)


def _cut(part, size) -> Iterable[Any]:
    """Parts of a partition, so that no copy of it is made as a whole."""
    if is_frame(part):
        yield from _sources.OfFrame(part).parts(size, None)
        return
    for at in range(0, len(part[0]), size):
        yield tuple(own if own is None else own[at : at + size] for own in part)


def _told(i, fn):
    """What `fn()` gives; an error of a row says of which partition."""
    try:
        return fn()
    except ValueError as error:
        raise ValueError(f"{error} (In partition {i} of the source; rows are counted from its first.)") from None


def _facts(spec, i, partition):
    own = _stream(spec, None, i, partition)
    return None if own is None else _told(i, lambda: own.facts)


def _sums(spec, facts, fn, model, i, partition):
    """Sums over a partition, and what rounding took from them, as arrays of NumPy; None of no rows."""
    own, kept = _stream(spec, facts, i, partition), []
    if own is None:
        return None

    def each(_, carry):
        kept[:] = [carry]

    _told(i, lambda: own.total(fn, model, each=each))
    return jax.tree.map(np.asarray, kept[0])


def joined(carries: Sequence[Carry | None]) -> Carry | None:
    """Sums of several, in their order, with compensation."""
    given = [carry for carry in carries if carry is not None]
    if not given:
        return None
    return jax.tree.map(np.asarray, functools.reduce(lambda one, other: plus(plus(one, other[0]), other[1]), given))


def _key_data(key):
    """A key as an array of NumPy and the name of its kind, which any process reads; None of none."""
    return None if key is None else (np.asarray(jax.random.key_data(key)), str(jax.random.key_impl(key)))


def _each(spec, facts, fn, model, key, i, partition):
    """Results of the blocks of a partition, as arrays of NumPy, each with its number of rows."""
    own = _stream(spec, facts, i, partition)
    if own is None:
        return []
    key = None if key is None else jax.random.fold_in(jax.random.wrap_key_data(key[0], impl=key[1]), i)
    return _told(i, lambda: [(jax.tree.map(np.asarray, result), n) for result, n in own.each(fn, model, key)])


def _kept(spec, facts, seed, n, i, partition):
    own = _stream(spec, facts, i, partition)
    return None if own is None else _reservoir.kept(own, (*seed.tolist(), i), n)
