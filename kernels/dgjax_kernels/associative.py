"""Parallel prefix: many tables joined by an associative operation, in a few rounds.

Blocks side by side go through their steps at once, and then the ends of blocks do, recursively:

    x0 x1 x2 │ x3 x4 x5 │ x6 x7 x8      3 rounds within blocks of 3, all blocks at once
          └───▶ +    └───▶ +            then blocks by what is before them

`join` takes two pytrees of one structure, along whose leading axes it maps. The loop over a block is compiled once,
where each halving by `jax.lax.associative_scan` is a program of its own: for 100,000 steps of a chain that takes five
times as long to compile, for a program that is no faster on a CPU.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")

# Rounds at each level. More make fewer levels, and so a shorter program, of more rounds one after another.
BLOCK = 64


def scan(join: Callable[[T, T], T], tables: T) -> T:
    """Prefix scan along the first axis: x_0, join(x_0, x_1), join(join(x_0, x_1), x_2), ...

    `tables` is a pytree whose leaves have t entries along their first axis, as has the result; `join` is associative,
    takes two such pytrees and works on all entries of their leading axes at once.
    """
    t, blocks = _length(tables), _side_by_side(tables)
    first = _each(lambda leaf: leaf[0], blocks)

    def step(upto, own):
        upto = join(upto, own)
        return upto, upto

    _, rest = jax.lax.scan(step, first, _each(lambda leaf: leaf[1:], blocks))
    within = _each(lambda a, b: jnp.concatenate([a[None], b]), first, rest)
    if _length(first) > 1:
        before = scan(join, _each(lambda leaf: leaf[-1, :-1], within))
        before = _each(lambda leaf: jnp.broadcast_to(leaf, (_length(within), *leaf.shape)), before)
        later = join(before, _each(lambda leaf: leaf[:, 1:], within))
        within = _each(lambda a, b: jnp.concatenate([a[:, :1], b], 1), within, later)
    return _each(lambda leaf: jnp.swapaxes(leaf, 0, 1).reshape(-1, *leaf.shape[2:])[:t], within)


def fold(join: Callable[[T, T], T], tables: T, neutral: T) -> T:
    """Reduction along the first axis: all tables joined in their order, for half the work of `scan`.

    `tables` is a pytree whose leaves have t entries along their first axis; `join` is associative and takes two such
    pytrees; `neutral` is a table that changes nothing when it is joined. The result has no first axis.
    """
    while _length(tables) > 1:
        blocks = _side_by_side(tables, neutral)
        first, rest = (_each(lambda leaf, s=s: leaf[s], blocks) for s in (0, slice(1, None)))
        tables, _ = jax.lax.scan(lambda upto, own: (join(upto, own), None), first, rest)
    return _each(lambda leaf: leaf[0], tables)


def _side_by_side(tables: Any, filling: Any = None) -> Any:
    """Blocks of equal size, steps of a block first. What fills the last one up is arbitrary unless it is given."""
    t = _length(tables)
    count = -(-t // BLOCK)
    size = -(-t // count)

    def cut(leaf, fill=0):
        more = jnp.broadcast_to(jnp.asarray(fill, leaf.dtype), (count * size - t, *leaf.shape[1:]))
        return jnp.swapaxes(jnp.concatenate([leaf, more]).reshape(count, size, *leaf.shape[1:]), 0, 1)

    return _each(cut, tables) if filling is None else _each(cut, tables, filling)


def _length(tables):
    return len(jax.tree.leaves(tables)[0])


_each = jax.tree.map
