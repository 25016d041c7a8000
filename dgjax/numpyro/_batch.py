"""Batches of models and values: values that share a model become rows of one call."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Ranks = tuple[int, ...]
"""Event axes of each leaf of a pytree: the number of its last axes, which are no batch."""


def batch_of(tree: Any, ranks: Ranks) -> tuple[int, ...]:
    """Batch shape of a pytree: what the leaves' leading axes broadcast to; `ranks` are the leaves' event axes."""
    leaves = zip(jax.tree.leaves(tree), ranks, strict=True)
    return jnp.broadcast_shapes(*(jnp.shape(leaf)[: jnp.ndim(leaf) - rank] for leaf, rank in leaves))


def by_leaf(fn: Callable[[Any, int], Any], tree: Any, ranks: Ranks) -> Any:
    """A pytree of fn(leaf, rank), with `ranks` the number of event axes of each leaf."""
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, [fn(leaf, rank) for leaf, rank in zip(leaves, ranks, strict=True)])


def one_of(tree: Any, ranks: Ranks) -> Any:
    """One element of a batched pytree, as shapes and dtypes without the batch axes."""
    return by_leaf(lambda leaf, rank: jax.ShapeDtypeStruct(_event(leaf, rank), leaf.dtype), tree, ranks)


class Arrangement(NamedTuple):
    """Layout of values with batch `shape`, and of models whose batch `models` broadcasts to it.

    Axes along which models differ come first, flattened into one; all other axes are flattened into rows.
    """

    shape: tuple[int, ...]
    models: tuple[int, ...]

    @property
    def _own(self) -> list[int]:
        padded = (1,) * (len(self.shape) - len(self.models)) + self.models
        return [i for i, size in enumerate(padded) if size > 1]

    @property
    def _order(self) -> list[int]:
        own = self._own
        return own + [i for i in range(len(self.shape)) if i not in own]

    @property
    def num_models(self) -> int | None:
        """Number of different models; None if all values share one."""
        own = self._own
        return math.prod(self.shape[i] for i in own) if own else None

    def _lead(self) -> tuple[int, ...]:
        return () if self.num_models is None else (self.num_models,)

    def model(self, model: Any, ranks: Ranks) -> Any:
        """The models along one leading axis, or the single model without one."""

        def of_leaf(leaf, rank):
            event = _event(leaf, rank)
            return jnp.broadcast_to(leaf, (*self.models, *event)).reshape(*self._lead(), *event)

        return by_leaf(of_leaf, model, ranks)

    def rows(self, values: Any, ranks: Ranks) -> Any:
        """Values as rows (n, *event), or (models, n, *event) if models differ."""
        n = math.prod(size for i, size in enumerate(self.shape) if i not in self._own)

        def of_leaf(leaf, rank):
            event = _event(leaf, rank)
            full = jnp.broadcast_to(leaf, (*self.shape, *event))
            moved = full.transpose(*self._order, *range(len(self.shape), full.ndim))
            return moved.reshape(*self._lead(), n, *event)

        return by_leaf(of_leaf, values, ranks)

    def back(self, rows: Array) -> Array:
        """Results of rows reshaped to the batch: the inverse of `rows`."""
        event = rows.shape[1 + len(self._lead()) :]
        moved = rows.reshape(*(self.shape[i] for i in self._order), *event)
        places = (int(i) for i in np.argsort(self._order))
        return moved.transpose(*places, *range(len(self.shape), moved.ndim))

    def over(self, fn: Callable[..., Array], model: Any, *values: Any) -> Array:
        """fn(model, *values) as a batch, mapped over models if they differ."""
        return self.back((fn if self.num_models is None else jax.vmap(fn))(model, *values))


def _event(leaf, rank):
    return jnp.shape(leaf)[jnp.ndim(leaf) - rank :]
