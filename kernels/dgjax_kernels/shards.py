"""Shards: rows that lie on several devices, each of which computes on its own; what is summed over rows meets once.

    x (n, d), sharded on its first axis ─▶ each device its (n / s, d) ─▶ the same loop there ─▶ `total` of its sums

A compiled function (`compiled`, `compiled_once`, `compiled_steps`) that is given such rows runs as one program for each
shard (`jax.shard_map`), kernels and all; it is told of the others by `across`, and only `total` and its like ever
communicate. Arguments that are no rows are the same everywhere, and so are results that are no rows: these come back as
arrays of this process's first device, as they do without shards. Source: Chu et al. (2006), Map-reduce for machine
learning on multicore, for statistics that add.
"""

import enum
import functools
import math
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import jaxlib.xla_client
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec

T = TypeVar("T")

across = jax.make_user_context(None)
"""`with across(("rows",)):` the rows of what is traced are a shard of more, along these axes of a mesh."""
_put: Any = getattr(jaxlib.xla_client, "batched_device_put", None)  # no part of JAX's public interface


class Results(enum.Enum):
    """What a compiled function gives of sharded rows: sums, the same on all shards, rows, or both.

    Of both those are rows whose first axis is longer where there are more rows.
    """

    SUMS, ROWS, BOTH = range(3)


SUMS, ROWS, BOTH = Results


class Layout(NamedTuple):
    """How arguments lie on devices: the mesh, the axes that rows are sharded along, and which arguments are rows."""

    mesh: Any
    axes: tuple[str, ...]
    rows: tuple[bool, ...]


def total(sums: T) -> T:
    """Sum over all shards of a pytree of sums over the rows of one; as it is where rows are not sharded.

    All numbers of one dtype are sent together, so that a step of EM communicates once. A type whose `symmetric` names
    fields (..., d, d) that are symmetric sends their lower triangles.
    """
    if across.value is None:
        return sums
    leaves, tree = jax.tree.flatten(_with_symmetric(_triangle, sums))
    leaves, met = [jnp.asarray(leaf) for leaf in leaves], {}
    for dtype in sorted({leaf.dtype for leaf in leaves}, key=str):
        flat = [leaf.reshape(-1) for leaf in leaves if leaf.dtype == dtype]
        met[dtype] = iter(jnp.split(jax.lax.psum(jnp.concatenate(flat), across.value), _ends(flat)))
    found = jax.tree.unflatten(tree, [next(met[leaf.dtype]).reshape(leaf.shape) for leaf in leaves])
    return _with_symmetric(_square, found)


def _with_symmetric(change, sums):
    """A pytree with each field that its type says is symmetric changed."""

    def changed(node):
        names = getattr(type(node), "symmetric", ())
        return node._replace(**{name: change(getattr(node, name)) for name in names}) if names else node

    return jax.tree.map(changed, sums, is_leaf=lambda node: hasattr(type(node), "symmetric"))


def _triangle(square):
    """Lower triangle (..., d (d + 1) / 2) of symmetric arrays (..., d, d)."""
    return square[..., *np.tril_indices(square.shape[-1])]


def _square(triangle):
    """Symmetric arrays (..., d, d) of a lower triangle."""
    number = triangle.shape[-1]
    d = (math.isqrt(8 * number + 1) - 1) // 2
    place = np.zeros((d, d), int)
    place[np.tril_indices(d)] = np.arange(number)
    return triangle[..., np.maximum(place, place.T)]


def _ends(flat):
    return np.cumsum([leaf.size for leaf in flat])[:-1]


def least(values: T) -> T:
    """Elementwise minimum over all shards of a pytree of minima over the rows of one."""
    return values if across.value is None else jax.lax.pmin(values, across.value)


def largest(values: T) -> T:
    """Elementwise maximum over all shards of a pytree of maxima over the rows of one."""
    return values if across.value is None else jax.lax.pmax(values, across.value)


def number(n: int) -> int:
    """Number of rows of all shards, of which this one has n."""
    return n * _count()


def here() -> Any:
    """Number of this shard, from 0; 0 where rows are not sharded."""
    return 0 if across.value is None else jax.lax.axis_index(across.value)


def _count():
    """Number of shards."""
    return 1 if across.value is None else jax.lax.axis_size(across.value)


def row_numbers(n: int) -> Any:
    """Numbers (n,) of the n rows of this shard among those of all."""
    return here() * n + jnp.arange(n)


def own_key(key: Any) -> Any:
    """Random key of this shard, for draws that are to differ between shards; the key itself where rows are not sharded.

    None stays.
    """
    return key if key is None or across.value is None else jax.random.fold_in(key, here())


def picked(rows: T, shard: Any, place: Any) -> T:
    """Rows (m, ...) of all shards, on every device: those at `place` (m,) in the shards numbered `shard` (m,)."""

    def one(leaf):
        own = leaf[jnp.clip(place, 0, len(leaf) - 1)]
        mine = (shard == here()).reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.where(mine, own, jnp.zeros_like(own))

    return total(jax.tree.map(one, rows))


@functools.cache
def several_devices() -> bool:
    """Whether JAX has more than one device, without which nothing is sharded; asking JAX each time takes 3 us."""
    return jax.device_count() > 1


def spread_axes(leaf: Any) -> tuple[Any, tuple[str, ...]] | None:
    """Mesh and axes that an array's first axis is sharded along, over more than one device; else None.

    Within a program it is known of meshes of explicit axes.
    """
    sharding = jax.typeof(leaf).sharding if isinstance(leaf, Tracer) else getattr(leaf, "sharding", None)
    if not isinstance(sharding, NamedSharding) or not getattr(leaf, "ndim", 0) or not len(sharding.spec):
        return None
    first = sharding.spec[0]
    axes = first if isinstance(first, tuple) else (first,)
    if not all(isinstance(axis, str) for axis in axes):
        return None
    return (sharding.mesh, axes) if any(sharding.mesh.shape[axis] > 1 for axis in axes) else None


def is_part(leaf: Any) -> bool:
    """Whether rows are those of several shards: sharded, or within a program for one of them."""
    return several_devices() and (across.value is not None or spread_axes(leaf) is not None)


def shards_of(leaf: Any) -> int:
    """Number of shards that the rows of an array lie in; 1 where they are not sharded."""
    found = spread_axes(leaf)
    return 1 if found is None else int(np.prod([found[0].shape[axis] for axis in found[1]]))


def varying(leaf: Tracer) -> frozenset[str]:
    """Axes of a `jax.shard_map` along which a value varies between devices, as far as that is tracked."""
    kind: Any = jax.typeof(leaf)
    return frozenset(kind.mat.varying if hasattr(kind, "mat") else getattr(kind, "vma", ()))


def layout(leaves: list[Any]) -> Layout | None:
    """Layout of arguments of which some are sharded rows; None if none is."""
    found = [spread_axes(leaf) for leaf in leaves]
    first = next(filter(None, found), None)
    return first and Layout(*first, tuple(one is not None for one in found))


def over_shards(fn: Any, where: Layout, tree: Any, results: Results | None, shapes: list[Any]) -> Any:
    """Function of the leaves of (args, kwargs), of these `shapes`, that runs `fn(*args, **kwargs)` on each shard."""
    along, everywhere = PartitionSpec(where.axes), PartitionSpec()

    def body(*leaves):
        args, kwargs = jax.tree.unflatten(tree, leaves)
        with across(where.axes):
            return fn(*args, **kwargs)

    def mapped(out):
        given = tuple(along if own else everywhere for own in where.rows)
        return jax.shard_map(body, mesh=where.mesh, in_specs=given, out_specs=out, check_vma=False)

    if results is not BOTH:
        return mapped(along if results is ROWS else everywhere)

    def longer(times):
        def size(leaf, own):
            shape = (times * leaf.shape[0], *leaf.shape[1:]) if own else leaf.shape
            sharding = NamedSharding(where.mesh, along) if own else None
            return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=sharding)

        return jax.eval_shape(mapped(everywhere), *map(size, shapes, where.rows))

    return mapped(jax.tree.map(lambda a, b: everywhere if a.shape == b.shape else along, longer(1), longer(2)))


def to_devices(leaf: Any) -> Any:
    """Argument of a program for several devices: what one of them holds, and is bound to, is bound no more."""
    if isinstance(leaf, Tracer) or not isinstance(leaf, jax.Array) or len(leaf.sharding.device_set) > 1:
        return leaf
    return _unbound(leaf) if leaf.committed else leaf


def from_devices(leaf: Any) -> Any:
    """Result of a program for several devices: what is the same on all, as an array of this process's first one."""
    if isinstance(leaf, Tracer) or not leaf.is_fully_replicated:
        return leaf
    return _unbound(leaf.addressable_data(0))


def _unbound(leaf):
    """Array of one device, without a copy if it can be, that other devices' programs take too."""
    if _put is None or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf
    return _put(jax.typeof(leaf), leaf.sharding, [leaf], [*leaf.devices()], False)
