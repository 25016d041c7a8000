"""Streams of several processes, each of which reads its part of the rows: once a pass, their sums meet."""

import functools
from collections.abc import Callable, Generator, Iterator
from typing import Any

import jax
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._arguments import as_count, as_key
from dgjax._digest import digest
from dgjax.data import Data
from dgjax.streams import _reservoir
from dgjax.streams._blocks import OfShape
from dgjax.streams._facts import Facts
from dgjax.streams._partitioned import joined
from dgjax.streams._passes import Block, Carry, Sums, summed
from dgjax.streams._stream import Stream
from dgjax.tables import Schema

ONCE_A_PASS = (
    "rows of several processes meet once a pass, for EM and L-BFGS; steps block by block are of one process. Type "
    "method=dgjax.EM(), or give arrays sharded over the processes for minibatches."
)


class Together(OfShape):
    """Rows of all processes, of which each gives a stream of its own part: `Passes` that all of them make together.

    `dgjax.streams.Together(dgjax.stream(own_part))`, the same call in every process, as every call that takes it. Sums
    over the parts are added in the order of processes, in which each sends its own once a pass, and no rows: starters
    and fits give each the same model, to the same bits. Verbs answer for the rows of this process.

    A bad row in one process is the same error in all, and Ctrl-C in one ends the fit in all, after the pass. Raises
    ValueError where columns, levels or precision of the parts differ.
    """

    together = True

    def __init__(self, own: Stream) -> None:
        self.own, self.schema, self.again = own, own.schema, own.again
        self.shape = own.shape
        self._facts: Facts | None = None
        self._mark = ""
        self._check_alike()

    def _check_alike(self):
        own = str(self.dtype), (self.num_features, self.shape.steps), digest(self.schema)
        given = kernels.processes.gathered(own)
        for i, other in enumerate(given):
            for what, one, another in zip(("precision", "columns", "names or levels"), given[0], other, strict=True):
                if one != another:
                    raise ValueError(
                        f"the streams of all processes must be alike; {what} of process {i} differ from those of the "
                        "first. Type the same dgjax.stream(...) in each, of parts of one table with the same levels."
                    )

    def __repr__(self) -> str:
        return f"Together({self.own}, process {jax.process_index()} of {jax.process_count()})"

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = functools.reduce(Facts.merged, _of_each(lambda: self.own.facts))
        return self._facts

    @property
    def mark(self) -> str:
        self._mark = self._mark or digest(_of_each(lambda: self.own.mark))
        return self._mark

    def of_schema(self, schema: Schema) -> "Together":
        """The same rows, read by the schema of a model: its columns by name, and its labels."""
        own = self.own.of_schema(schema)
        return self if own is self.own else Together(own)

    def total(
        self,
        fn: Callable[[Any, Data], Sums],
        model: Any,
        start: tuple[int, Carry | None] | None = None,
        each: Callable[[int, Carry], None] | None = None,
    ) -> Sums:
        """Sum of `fn(model, data)` over all rows; `each` is called once, at its end: a pass is not gone on with."""
        del start

        def sums():
            kept: list[Carry] = []

            def each(_, carry):
                kept[:] = [carry]
                kernels.processes.check_asked()

            self.own.total(fn, model, each=each)
            return jax.tree.map(np.asarray, kept[0])

        carry = joined(_of_each(sums))
        assert carry is not None  # no stream is empty
        if each is not None:
            each(1, carry)
        return summed(carry)

    def blocks(self, model: Any = None) -> Generator[Block, None, None]:
        """Raises ValueError: processes meet once a pass, not at each block."""
        del model
        raise ValueError(ONCE_A_PASS)

    @property
    def block_rows(self) -> int:
        raise ValueError(ONCE_A_PASS)

    def each(self, fn: Callable[..., Any], model: Any, key: Array | None = None) -> Iterator[tuple[Any, int]]:
        """Results of the blocks of this process."""
        return self.own.each(fn, model, None if key is None else jax.random.fold_in(key, jax.process_index()))

    def sample(self, key: Array, n: int) -> Data:
        seed, most = np.asarray(jax.random.key_data(as_key(key))).tolist(), as_count(n, "n")
        own = (*seed, jax.process_index())
        kept = _reservoir.best(_of_each(lambda: _reservoir.kept(self.own, own, most)), most)
        assert kept is not None
        return _reservoir.as_data(self, kept)


def _of_each(fn):
    """What `fn()` gives in each process, in their order; an error of a row, raised in all, says of which process."""

    def told():
        try:
            return fn()
        except ValueError as error:
            where = f"(In process {jax.process_index()}; rows are counted from its first.)"
            raise ValueError(f"{error} {where}") from None

    return kernels.processes.of_each(told)
