"""Sample of a stream in one pass: each row draws a number by its place, and those with the largest are kept.

The number is u^(1/w), u uniform and w the row's weight: a sample without replacement by weight.

Source: Efraimidis and Spirakis (2006), Weighted random sampling with a reservoir.
"""

import contextlib
from typing import Any, cast

import jax
import numpy as np
from jax import Array

from dgjax.data import Data
from dgjax.structures import Sequences


def drawn(stream: Any, key: Array, n: int) -> Data:
    """Sample of n rows at most, of positive weight, in the order of the stream."""
    seed = np.asarray(jax.random.key_data(key)).astype(np.uint64).tolist()
    kept: tuple[np.ndarray, ...] | None = None
    with contextlib.closing(stream.blocks()) as blocks:
        for block in blocks:
            own = _of_block(block, np.random.default_rng([*seed, block.first]))
            kept = own if kept is None else tuple(map(np.concatenate, zip(kept, own, strict=True)))
            if len(kept[0]) > n:
                most = np.sort(np.argpartition(kept[0], len(kept[0]) - n)[len(kept[0]) - n :])
                kept = tuple(array[most] for array in kept)
    assert kept is not None
    rows: Any = kept[1]
    y, weights, lengths = kept[2:]
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
