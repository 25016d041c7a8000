"""Rows of one shard: a fit or verb inside a user's own `jax.shard_map`, told that there are others."""

import contextlib
from collections.abc import Iterator

import jax

import dgjax_kernels as kernels

Lost = kernels.processes.Lost


@contextlib.contextmanager
def sharded_over(*axes: str) -> Iterator[None]:
    """Context manager for use inside `jax.shard_map`: rows are a shard of all, along these `axes` of its mesh.

    There `dgjax.fit` sums over the rows of all devices, once a step, and gives each the same model; verbs that draw go
    by a row's number among all. Without it each device learns from its own rows. Arrays that are sharded need neither:
    outside of `jax.shard_map` it is read from them.

    Raises ValueError for an axis that no `jax.shard_map` here has.
    """
    known = jax.sharding.get_abstract_mesh().manual_axes
    if not axes or not set(axes) <= set(known):
        told = f"Type dgjax.sharded_over({', '.join(map(repr, known))})" if known else "Leave it out: it is read from x"
        raise ValueError(
            f"axes must be those of the mesh of a jax.shard_map around this call, {known}; got {axes}. {told}."
        )
    with kernels.shards.across(axes):
        yield
