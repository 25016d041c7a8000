"""Sharded rows: arrays that lie beside them on the same devices, and what of their values can be told by sums alone.

Each device, and each process, has a part of the rows, and no values of the others. Checks ask for sums and extremes
over all, which every process gets, so that all of them raise the same error or none does.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray, is_known, is_sharded
from dgjax.structures import Sequences

MOST = 1 << 14  # rows that a start is made of


def rows_of(x: Any) -> Any:
    """Array of rows (n, d), or of sequences (n, t, d)."""
    return x.x if isinstance(x, Sequences) else x


def beside(array: Any, x: Any) -> Any:
    """Array (n, ...) on the devices of rows x (n, ...) where these are sharded, else as it is.

    NumPy's is that of all rows or, of several processes, of those that this process has.
    """
    sharding = _along(rows_of(x))
    if array is None or sharding is None or getattr(array, "sharding", None) == sharding:
        return array
    if not is_known(array, x):
        return jax.sharding.reshard(array, sharding) if len(array) == len(x) else array
    if isinstance(array, jax.Array) and len(array.sharding.device_set) > 1:
        return jax.device_put(array, sharding)
    whole = np.asarray(array)
    if len(whole) == len(x):
        return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])
    if len(whole) * jax.process_count() == len(x):
        return jax.make_array_from_process_local_data(sharding, whole)
    return array


def filled(shape: tuple[int, ...], value: Any, dtype: Any, x: Any) -> Any:
    """Array of a shape (n, ...) that is `value` everywhere: NumPy's, or on the devices of sharded rows x (n, ...)."""
    sharding = _along(rows_of(x))
    if sharding is None:
        return np.full(shape, value, dtype)
    if not is_known(x):
        return jnp.full(shape, value, dtype, out_sharding=sharding)

    def part(at):
        sizes = [len(range(*own.indices(size))) for own, size in zip(at, shape, strict=True)]
        return np.full(sizes, value, dtype)

    return jax.make_array_from_callback(shape, sharding, part)


def _along(rows):
    """Sharding of arrays beside rows that are sharded; None where they are not.

    Raises ValueError for rows of which a device has some columns only.
    """
    if not kernels.shards.several_devices():
        return None
    found = kernels.shards.spread_axes(rows)
    if found is None and is_sharded(rows):
        raise ValueError(
            f"x must be sharded along its first axis, that of rows, where it is sharded; got {rows.sharding}. Type "
            "jax.device_put(x, jax.NamedSharding(mesh, jax.P('rows'))), of a mesh with that axis."
        )
    return found and NamedSharding(found[0], PartitionSpec(found[1]))


def check_whole(x: Any, name: str = "x") -> None:
    """Raises ValueError for rows of this process alone, where each of several would learn from its own."""
    if not kernels.shards.several_devices():
        return
    if jax.process_count() > 1 and is_known(x) and not _is_placed(x):
        raise ValueError(
            f"{name} must be an array of the rows of all {jax.process_count()} processes; got a {type(x).__name__} of "
            f"this process. Type {name} = jax.make_array_from_process_local_data(sharding, {name}), with sharding = "
            f"jax.NamedSharding(mesh, jax.P('rows')), or to learn from this process's rows alone {name} = "
            f"jax.device_put({name}, jax.local_devices()[0])."
        )


def check_same_everywhere(model: Any) -> None:
    """Raises ValueError for parameters of which each device has some, which would be taken for rows."""
    if not kernels.shards.several_devices():
        return
    for leaf in jax.tree.leaves(model):
        if kernels.shards.spread_axes(leaf) is not None:
            raise ValueError(
                f"model must be the same on all devices; got a parameter {leaf.shape} whose first axis is sharded, as "
                "that of rows is. Type model = jax.device_put(model, jax.NamedSharding(mesh, jax.P())), of the mesh of "
                "the rows."
            )


def _is_placed(x):
    return isinstance(x, jax.Array) and (x.committed or len(x.sharding.device_set) > 1)


def check_unvaried(x: Any) -> None:
    """Raises ValueError inside a `jax.shard_map` that tracks which values vary between devices: loops here do not."""
    if isinstance(x, Tracer) and kernels.shards.several_devices() and kernels.shards.varying(x):
        raise ValueError(
            "x varies between the devices of a jax.shard_map, which checks what does and what does not, and loops over "
            "rows do not say. Type jax.shard_map(..., check_vma=False), and to learn from the rows of all devices with "
            "dgjax.sharded_over('rows') around dgjax.fit within it; or leave jax.shard_map out, for sharded rows need "
            "none."
        )


def gathered(arrays: Any, most: int = MOST) -> Any:
    """Sample of sharded rows, a pytree of arrays (n, ...), on one device: all of them if they are few.

    It is at multiples of the golden ratio, which no period in the data matches. Other arrays stay as they are.
    """
    sharded = [leaf for leaf in jax.tree.leaves(arrays) if is_sharded(leaf)]
    if not sharded:
        return arrays
    n, shards = len(sharded[0]), kernels.shards.shards_of(sharded[0])
    row = np.arange(n)
    if n > most:
        row = np.sort((np.arange(most) * (np.sqrt(5) - 1) / 2 % 1 * n).astype(int))
    return _picked(arrays, *np.divmod(row, n // shards))


_picked = kernels.compiled_once(kernels.shards.picked, results=kernels.shards.SUMS)


def extremes(array: AnyArray) -> tuple[Any, Any, Any, Any, Any]:
    """Least and largest number of a sharded array, the least above 0, the sum, and whether one is NaN: NumPy's."""
    return jax.device_get(_extremes(array))


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def _extremes(array):
    above = jnp.where(array > 0, array, jnp.inf).min(initial=jnp.inf)
    low, above = kernels.shards.least((array.min(), above))
    total, broken = kernels.shards.total((array.sum(), jnp.isnan(array).sum()))
    return low, kernels.shards.largest(array.max()), above, total, broken > 0


def counts(labels: AnyArray, weights: AnyArray | None, num_labels: int) -> np.ndarray:
    """Number (1 + k,) of sharded rows, of those of positive weight, with the label -1, 0, ..., k - 1."""
    return np.asarray(_counts(labels, weights, num_labels))


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS, static_argnums=2)
def _counts(labels, weights, num_labels):
    place = labels.reshape(-1) + 1
    if weights is not None:
        place = jnp.where(weights > 0, place, num_labels + 1)
    return kernels.shards.total(jnp.bincount(place, length=num_labels + 2)[:-1])


def observed(x: Any, labels: AnyArray | None, weights: AnyArray, num_labels: int = 1) -> np.ndarray:
    """Mask (k, d) of columns observed in sharded rows of positive weight, of each label; of all rows without labels."""
    return np.asarray(_observed(x, labels, weights, num_labels))


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS, static_argnums=3)
def _observed(x, labels, weights, num_labels):
    cells = (~jnp.isnan(x) & (weights > 0)[:, None]).astype(jnp.float32)
    if labels is None:
        return kernels.shards.total(cells.sum(0))[None] > 0
    return kernels.shards.total(jax.nn.one_hot(labels, num_labels, dtype=jnp.float32).T @ cells) > 0
