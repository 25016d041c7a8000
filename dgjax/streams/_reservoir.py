"""Sample of a stream in one pass: each row draws a number by its place, and those with the largest are kept.

The number is u^(1/w), u uniform and w the row's weight: a sample without replacement by weight.

Source: Efraimidis and Spirakis (2006), Weighted random sampling with a reservoir.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, cast

import jax
import numpy as np
from jax import Array

from dgjax.data import Data
from dgjax.structures import Sequences


def drawn(stream: Any, key: Array, n: int) -> Data:
    """Sample of n rows at most, of positive weight, in the order of the stream."""
    return as_data(stream, kept(stream, np.asarray(jax.random.key_data(key)).tolist(), n))


def kept(stream: Any, seed: Sequence[int], n: int) -> tuple[np.ndarray, ...]:
    """The n rows of the largest numbers: those numbers, cells, labels, weights and lengths, in the stream's order."""
    own: tuple[np.ndarray, ...] | None = None
    with contextlib.closing(stream.blocks()) as blocks:
        for block in blocks:
            here = _of_block(block, np.random.default_rng([*seed, block.first]))
            own = here if own is None else best([own, here], n)
    found = best([own], n)
    assert found is not None
    return found


def best(parts: Sequence[tuple[np.ndarray, ...] | None], n: int) -> tuple[np.ndarray, ...] | None:
    """The n rows of the largest numbers of several parts, in their order."""
    given = [part for part in parts if part is not None]
    if not given:
        return None
    together = tuple(map(np.concatenate, zip(*given, strict=True)))
    if len(together[0]) <= n:
        return together
    most = np.sort(np.argpartition(together[0], len(together[0]) - n)[len(together[0]) - n :])
    return tuple(array[most] for array in together)


def as_data(stream: Any, own: tuple[np.ndarray, ...]) -> Data:
    """Data of the rows that were kept, of a stream that knows its facts."""
    rows: Any = own[1]
    y, weights, lengths = own[2:]
    rows = Sequences(rows, cast(Any, lengths), not stream.shape.labels_of_steps) if stream.sequential else rows
    facts = stream.facts
    return Data(rows, y, weights, complete=facts.complete, labelled=facts.labelled)


def _of_block(block, random):
    x, y, weights = block.data.x, np.asarray(block.data.y), np.asarray(block.data.weights)
    cells, lengths = (np.asarray(x.x), np.asarray(x.lengths)) if isinstance(x, Sequences) else (np.asarray(x), weights)
    n = block.num_rows
    with np.errstate(divide="ignore"):
        order = np.log(random.random(n)) / weights[:n]
    counted = np.flatnonzero(weights[:n] > 0)
    return order[counted], cells[counted], y[counted], weights[counted], lengths[counted]
