"""Loops over blocks of rows, so that memory stays flat however many there are; and how often they run.

    map_rows   results joined:  x ─▶ [block, block, ...] ─▶ jax.lax.map ─▶ [result, result, ...] ─▶ one array
    sum_rows   results summed:  x ─▶ [block, block, ...] ─▶ jax.lax.scan, with the rounding error of each sum kept

Both call the function once if the rows fit one block. Statistics add, which is why blocks, batches of a stream and
devices are all the same to a model.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

T = TypeVar("T")

# Floats that one block may hold for its largest array: 16 MB in float32, small enough for the last-level cache of a
# server, large enough that the loop's own cost is below 1% of the work.
BUDGET = 1 << 22
LARGEST = 8192  # rows of a block at most

repeats = jax.make_user_context(1)
"""`with repeats(16):` what is traced runs so many times for each time that it is called for, as in a loop over blocks.
It decides only whether a handler is worth compiling, never what is computed.

The more there is to do, the more kernels are worth the seconds that they take to compile. A sampler runs a program some
10,000 times, but where there is less than a sixteenth of what is worth it at once, no kernel is faster than its
reference: `OF_SAMPLERS`. So with learning by minibatches: `OF_MINIBATCHES`."""
OF_SAMPLERS = OF_MINIBATCHES = 16


def block_size(row_cost: int) -> int:
    """Block size, rows in a block, when one row needs `row_cost` floats: a power of two from 16 to 8,192."""
    return min(LARGEST, max(16, 1 << max(0, (BUDGET // max(row_cost, 1)).bit_length() - 1)))


def map_rows(fn: Callable[..., T], *arrays: Any, row_cost: int) -> T:
    """Blocking: `fn` on blocks of rows of the arrays, or pytrees of them, its results joined along their first axis.

    One call if the rows fit a block, whose size follows from `row_cost`, the floats that a row needs.
    """
    n, size = len(jax.tree.leaves(arrays)[0]), block_size(row_cost)
    if n <= size or n * row_cost <= BUDGET:
        return fn(*arrays)
    blocks = _split(arrays, size, [0] * len(arrays))
    with repeats(_times(n, size)):
        joined = jax.lax.map(lambda block: fn(*block), blocks)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:n], joined)


def sum_rows(fn: Callable[..., T], *arrays: Any, fill: tuple[int | float, ...], row_cost: int) -> T:
    """Blocked sum: `fn` on blocks of rows of the arrays, or pytrees of them, its results added with compensation.

    The last block is filled up with `fill`, for each array what a row that counts for nothing holds. One call if the
    rows fit a block, whose size follows from `row_cost`, the floats that a row needs.
    """
    n, size = len(jax.tree.leaves(arrays)[0]), block_size(row_cost)
    if n <= size:
        return fn(*arrays)
    blocks = _split(arrays, size, fill)
    first = jax.tree.map(lambda leaf: leaf[0], blocks)
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(fn, *first))

    def step(carry, block):
        return jax.tree.transpose(
            jax.tree.structure(zero), jax.tree.structure((0, 0)), jax.tree.map(two_sum, *carry, fn(*block))
        ), None

    swap = jax.tree.transpose(
        jax.tree.structure(zero), jax.tree.structure((0, 0)), jax.tree.map(lambda z: (z, z), zero)
    )
    with repeats(_times(n, size)):
        (total, error), _ = jax.lax.scan(step, swap, blocks)
    return jax.tree.map(jnp.add, total, error)


def _times(n, size):
    """Number of times that a block of `size` rows runs: blocks in n rows, times what `repeats` says."""
    return repeats.value * -(-n // size)


def _split(arrays, size, fill):
    padding = -len(jax.tree.leaves(arrays)[0]) % size

    def split(array, value):
        widths = [(0, padding)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, widths, constant_values=value).reshape(-1, size, *array.shape[1:])

    values = [jax.tree.map(lambda _, value=value: value, own) for own, value in zip(arrays, fill, strict=True)]
    return jax.tree.map(split, arrays, tuple(values))


def two_sum(total: Array, error: Array, value: Array) -> tuple[Array, Array]:
    """Compensated sum (Knuth's two-sum): total + value as rounded, and `error` plus what rounding took from it."""
    new = total + value
    virtual = new - total
    lost = (total - (new - virtual)) + (value - virtual)
    return new, error + jnp.where(jnp.isfinite(new), lost, 0)


@jax.custom_jvp
def pairwise_sum(values: Array) -> Array:
    """Pairwise sum over the first axis, as a balanced tree: its rounding error grows with log n, not with n.

    In reverse each has the sum's cotangent; back along the tree would be as much to compile again.
    """
    while len(values) > 1:
        half = (len(values) + 1) // 2
        values = values[:half] + jnp.pad(values[half:], [(0, 2 * half - len(values))] + [(0, 0)] * (values.ndim - 1))
    return values.sum(0)


@pairwise_sum.defjvp
def _(primals, tangents):
    return pairwise_sum(*primals), tangents[0].sum(0)
