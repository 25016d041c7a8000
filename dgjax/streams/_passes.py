"""Passes: what a learner asks of rows, wherever they are. Statistics add, so that is sums over blocks, and little else.

    fn(model, block)   ─▶ a pytree of sums: statistics and log-likelihood, or a value and its gradient
    passes.total(fn, model)   ─▶ their sum over all blocks, with compensation
    passes.each(fn, model)    ─▶ results block by block, in order: scores

Rows of a file, of a generator, or on the workers of a cluster are all the same to a fit: a `Passes`. `dgjax.Stream` is
one, that reads blocks on this machine.
"""

import abc
import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._types import Support, of_columns
from dgjax.data import Data, check_cells
from dgjax.streams._facts import Facts
from dgjax.structures import Sequences, label_shape
from dgjax.tables import Schema
from dgjax_kernels.blocks import two_sum

Sums = Any
"""A pytree of arrays that add over rows."""
Carry = tuple[Sums, Sums]
"""Sums so far, and what rounding took from them."""


class Block(NamedTuple):
    """Block of rows: `data` with x (b, d), y (b,), weights (b,); its `facts`; and the number of its `first` row.

    Rows beyond `num_rows`, of the last block, repeat its first one with weight 0, so that all blocks have one shape.
    """

    data: Data
    facts: Facts
    first: int

    @property
    def num_rows(self) -> int:
        """Number of rows, without those that fill it up."""
        return self.facts.num_rows


class Passes(abc.ABC):
    """Rows that can be passed over again and again: the abstract base class of what a fit of many rows asks for.

    `fn(model, data)` is a function of a module, so that it can be sent to other processes, of a model, or None, and
    `Data`: `x` (b, d), or `Sequences`, `y` (b,) ints, -1 where unknown, `weights` (b,), 0 for rows that count for
    nothing, and what is known of the block, `complete` and `labelled`. Blocks may be of any size and any number; which
    rows are in which, and their order, are the same in every pass. A block is checked before `fn` is called: cells
    against `model.supports`, labels against `model.num_labels`, so that an error names the row and the column.
    """

    schema: Schema | None = None
    """Names of the columns and levels of labels, if the source has names."""

    again = True
    """Whether they can be passed over more than once."""

    together = False
    """Whether all processes pass over them together."""

    @property
    @abc.abstractmethod
    def num_features(self) -> int:
        """Columns d of a row."""

    @property
    @abc.abstractmethod
    def dtype(self) -> np.dtype:
        """Precision of the rows, float32 or float64."""

    @property
    @abc.abstractmethod
    def facts(self) -> Facts:
        """Number of rows, their weight, counts of labels, and a summary of each column: those of a pass before."""

    @property
    @abc.abstractmethod
    def mark(self) -> str:
        """What identifies the rows, as text: two passes with the same mark are over the same rows in the same order."""

    @abc.abstractmethod
    def total(
        self,
        fn: Callable[[Any, Data], Sums],
        model: Any,
        start: tuple[int, Carry | None] | None = None,
        each: Callable[[int, Carry], None] | None = None,
    ) -> Sums:
        """Sum of `fn(model, data)` over all blocks, with compensation.

        `each(done, carry)` is called after each block, with the number of blocks done and the sums so far; `start` is
        such a pair, from which an interrupted pass goes on.
        """

    @abc.abstractmethod
    def each(self, fn: Callable[..., Any], model: Any, key: Array | None = None) -> Iterator[tuple[Any, int]]:
        """Results of `fn(model, data)` for each block in order, with the number of rows that count.

        With a `key` of `fn(model, data, key)`, with the key of a block: `jax.random.fold_in(key, number of the block)`.
        """

    def blocks(self, model: Any = None) -> Generator[Block, None, None]:
        """Blocks one by one, for what takes them in order: steps of minibatches, stepwise EM.

        `model` is the one that they are for. Raises ValueError where rows cannot be read so.
        """
        del model
        raise ValueError(
            f"a {type(self).__name__} is summed over, and gives no block after another. Type dgjax.stream(source)."
        )

    @property
    def block_rows(self) -> int:
        """Number of rows of a block, of all but the last, where they are read one by one."""
        raise ValueError(f"a {type(self).__name__} has blocks of any size. Type dgjax.stream(source).")

    def of_schema(self, schema: Schema) -> "Passes":
        """The same rows, read by the schema of a model, if the source has names: columns found by name, and labels."""
        del schema
        return self

    @abc.abstractmethod
    def sample(self, key: Array, n: int) -> Data:
        """Sample of n rows at most, drawn by `key` without replacement, with labels and weights, on the host."""


class MoreLabels(ValueError):
    """Error: rows have a label beyond those of a model."""


@contextlib.contextmanager
def named(passes: Passes) -> Iterator[None]:
    """Context in which errors about columns by number are raised as such about columns by name, if there are any."""
    try:
        yield
    except ValueError as error:
        schema = passes.schema
        if schema is not None:
            error.args = tuple(schema.named(part) if isinstance(part, str) else part for part in error.args)
        raise


@jax.jit
def plus(carry: Carry, sums: Sums) -> Carry:
    """Sums so far with more of them, and what rounding took from both."""
    both = jax.tree.map(two_sum, *carry, sums)
    return jax.tree.transpose(jax.tree.structure(sums), jax.tree.structure((0, 0)), both)


def added(carry: Carry | None, sums: Sums) -> Carry:
    """Sums so far with those of one more block: what rounding takes from them is kept beside them."""
    return (sums, jax.tree.map(jnp.zeros_like, sums)) if carry is None else plus(carry, sums)


@jax.jit
def summed(carry: Carry) -> Sums:
    """Sums, with what rounding took from them."""
    return jax.tree.map(jnp.add, *carry)


def checked(block: Block, model: Any) -> Data:
    """Data of a block as `fn` is shown them, once cells and labels are known to be such as the model takes.

    Raises ValueError with the row's number in the stream and the column; nothing is checked of None.
    """
    data = block.data
    if model is None:
        return data.replace(summary=None)
    if model.num_features not in (None, block.facts.num_features):
        raise ValueError(
            f"x must have {model.num_features} columns, as the model has; got a stream of "
            f"{block.facts.num_features} columns."
        )
    _check_cells(block, model.supports)
    given = block.facts.labels
    if len(given) - 1 > model.num_labels:
        row = int((np.asarray(data.y).reshape(len(data.y), -1).max(1) >= model.num_labels).argmax())
        raise MoreLabels(
            f"y must hold labels from 0 to {model.num_labels - 1}, or -1 where unknown; got {len(given) - 2} in row "
            f"{block.first + row}. Start a model of {len(given) - 1} labels."
        )
    if isinstance(data.x, Sequences) is not bool(model.sequential):
        what = ("rows (n, d)", "sequences (n, t, d)") if model.sequential else ("sequences (n, t, d)", "rows (n, d)")
        raise ValueError(f"this {type(model).__name__} is of {what[1]}; got a stream of {what[0]}.")
    if not model.sequential:
        return data.replace(summary=None)
    return _as_sequences(data, model.one_label)


def _as_sequences(data, one_label):
    x = Sequences(data.x.x, data.x.lengths, one_label)
    if data.y.shape != label_shape(x):
        if (np.asarray(data.y) >= 0).any():
            one, each = "one label for each sequence", "one label for each step"
            raise ValueError(f"y must have {one if one_label else each}; got {each if one_label else one}.")
        data = data.replace(y=jax.device_put(np.full(label_shape(x), -1, np.int32)))
    return data.replace(x=x, summary=None)


def _check_cells(block, supports: tuple[Support, ...]):
    """Check of a block's cells by its summary; the rows are looked at where that is not as it should be."""
    x, own = block.data.x, of_columns(supports, block.facts.num_features)
    if block.facts.inside(own):
        return
    steps = x.x.shape[1] if isinstance(x, Sequences) else None
    rows = np.asarray(x.x).reshape(-1, x.x.shape[-1]) if isinstance(x, Sequences) else np.asarray(x)
    with np.errstate(all="ignore"):  # of cells that are not finite
        summary = kernels.ColumnSummary(*kernels.column_summary.reference(rows))
    try:
        check_cells(rows, own, summary, steps=steps, first=block.first)
    except ValueError as error:
        said = str(error).partition(" Type ")[0]
        raise ValueError(f"{said} Give blocks in which it is so: dgjax.stream(lambda: map(mended, blocks)).") from None
