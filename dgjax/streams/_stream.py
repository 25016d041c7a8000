"""`stream`: rows that do not fit in memory, read in blocks of one size while the block before is at work."""

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import jax
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import as_count, as_key
from dgjax._digest import digest
from dgjax._elsewhere import told_keywords
from dgjax.data import Data
from dgjax.streams import _blocks, _reservoir, _schemas, _sources
from dgjax.streams._ahead import ahead as read_ahead
from dgjax.streams._facts import Facts
from dgjax.streams._passes import Block, Carry, Sums, added, checked, summed
from dgjax.tables import Schema, is_frame


@told_keywords
def stream(
    source: Any,
    label: str | ArrayLike | None = None,
    weight: str | ArrayLike | None = None,
    columns: Sequence[str] | None = None,
    block: int = 65_536,
    ahead: int = 2,
) -> "Stream":
    """Stream of rows that do not fit in memory: `dgjax.fit(model, stream)` and every verb take it in place of rows.

    `source` is a `numpy.memmap` or array (n, d), or (n, t, d) of sequences; a path of Parquet, Arrow, CSV or .npy files
    or a folder of Parquet files; a dataset or table of PyArrow; a frame or lazy frame of Polars; an array or frame of
    Dask; or blocks of any size, x, (x, y), (x, y, weights) or (x, y, weights, lengths): a list, or a function that
    gives an iterator of them each time it is called. Cells may be NaN, and labels -1 or NaN.

    Of a source with names `label` and `weight` are columns, `columns` those of the rows, by default all others, and
    models are `dgjax.Tabular`; levels of text and of labels are found by a pass over their columns. Beside an array
    `label` and `weight` are arrays (n,). Rows are read in blocks of `block` rows, or steps of sequences, by a thread
    that is `ahead` blocks ahead; memory is a few blocks, however many rows there are.

    Raises ValueError for what is no source, with what to type.
    """
    size, room = as_count(block, "block", 2), as_count(ahead, "ahead", 0)
    found = _sources.source_of(source, label, weight)
    size = min(size, max(found.length or size, 2))
    first = _sources.first_of(found, size)
    if first is None:
        raise ValueError("source must have at least one row; got none.")
    if not is_frame(first):
        _check_no_names(label, weight, columns)
        return Stream(found, _blocks.shape_of(first, None, size), room)
    names = _schemas.columns_of(first, label, weight, columns)
    schema = _schemas.found(found, names, first, size)
    return Stream(found, _blocks.shape_of(first, schema, size), room, names, schema)


def _check_no_names(label, weight, columns):
    for name, value in (("label", label), ("weight", weight), ("columns", columns)):
        if isinstance(value, str) or (name == "columns" and value is not None):
            raise ValueError(
                f"{name} is of sources whose columns have names, as Parquet files and frames; got "
                f"{_advice.shown(value)}. Give blocks (x, y, weights), or arrays beside an array."
            )


class Stream(_blocks.OfShape):
    """Stream of rows: `Passes` whose blocks are read on this machine. Made by `dgjax.stream(source)`.

    Where it is set, `watch(block)` is called with each block that is given to work, for a progress bar.
    """

    watch: Callable[[Block], None] | None = None

    def __init__(
        self,
        source: _sources.Source,
        shape: _blocks.Shape,
        ahead: int = 2,
        names: _schemas.Names | None = None,
        schema: Schema | None = None,
    ) -> None:
        self.source, self.shape, self.ahead, self.names, self.schema = source, shape, ahead, names, schema
        self._facts: Facts | None = None
        self.again = source.again
        self._mark = ""

    def __repr__(self) -> str:
        rows = "" if self._facts is None else f"{self._facts.num_rows} rows of "
        kind = type(self.source).__name__.removeprefix("Of")
        return f"Stream({rows}{self.num_features} columns, {self.dtype}, of {kind})"

    @property
    def block_rows(self) -> int:
        return self.shape.rows

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            with contextlib.closing(self.blocks()) as blocks:
                self._facts = functools.reduce(Facts.merged, (block.facts for block in blocks))
        return self._facts

    @property
    def mark(self) -> str:
        self._mark = self._mark or digest([self.source.mark(), self.shape, self.names, self.schema])
        return self._mark

    def of_schema(self, schema: Schema) -> "Stream":
        """The same rows, read by the schema of a model: its columns by name, and its labels."""
        if self.names is None or schema == self.schema:
            return self
        names = self.names._replace(columns=schema.names, label=None if schema.label is None else self.names.label)
        shape = self.shape._replace(num_features=len(schema.shown))
        own = Stream(self.source, shape, self.ahead, names, schema)
        own.watch = self.watch
        return own

    def blocks(self, model: Any = None) -> Generator[Block, None, None]:
        """Blocks in order, of one size. What is known of all rows after the last block is kept: `facts`.

        Where a pass before found every cell observed, and in its support under `model`, it is not looked for again.
        """
        known = self._facts
        light = known if known is not None and _is_plain(known, model) else None
        facts, rows = None, 0
        make = functools.partial(_blocks.read, self, light)
        with contextlib.closing(read_ahead(make, self.ahead)) as blocks:
            for block in blocks:
                rows += block.num_rows
                if known is None:
                    facts = block.facts if facts is None else facts.merged(block.facts)
                if self.watch is not None:
                    self.watch(block)
                yield block
        if known is None:
            self._facts = facts
        elif rows != known.num_rows:
            raise ValueError(
                f"source must give the same rows in each pass; it gave {known.num_rows} rows before, and now {rows}. A "
                "function must give a new iterator each time: dgjax.stream(lambda: blocks(path))."
            )

    def total(
        self,
        fn: Callable[[Any, Data], Sums],
        model: Any,
        start: tuple[int, Carry | None] | None = None,
        each: Callable[[int, Carry], None] | None = None,
    ) -> Sums:
        done, carry = (0, None) if start is None else start
        with contextlib.closing(self.blocks(model)) as blocks:
            for i, block in enumerate(blocks):
                if i < done:
                    continue
                before, carry = carry, added(carry, fn(model, checked(block, model)))
                jax.block_until_ready(before)  # two blocks at work at most, else memory would fill with those read
                if each is not None:
                    each(i + 1, carry)
        return summed(carry)

    def each(self, fn: Callable[..., Any], model: Any, key: Array | None = None) -> Iterator[tuple[Any, int]]:
        before = None
        with contextlib.closing(self.blocks(model)) as blocks:
            for i, block in enumerate(blocks):
                own = () if key is None else (jax.random.fold_in(key, i),)
                result = fn(model, checked(block, model), *own), block.num_rows
                if before is not None:
                    yield before
                before = result
        if before is not None:
            yield before

    def sample(self, key: Array, n: int) -> Data:
        return _reservoir.drawn(self, as_key(key), as_count(n, "n"))


def _is_plain(facts, model):
    """Whether there is nothing to look for in blocks: no cell is missing, and all are what the model takes."""
    if not facts.complete or model is None:
        return facts.complete
    if model.num_features not in (None, facts.num_features) or facts.num_classes > model.num_labels:
        return False
    supports = model.supports * (facts.num_features if len(model.supports) == 1 else 1)
    return facts.inside(supports)
