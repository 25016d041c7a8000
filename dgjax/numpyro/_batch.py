"""A batch of models and of values: which values share a model, and so are rows of one call."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Ranks = tuple[int, ...]
"""Of each leaf of a pytree, the axes that are no batch: its last ones."""


def batch_of(tree: Any, ranks: Ranks) -> tuple[int, ...]:
    """What the other axes broadcast to."""
    leaves = zip(jax.tree.leaves(tree), ranks, strict=True)
    return jnp.broadcast_shapes(*(jnp.shape(leaf)[: jnp.ndim(leaf) - rank] for leaf, rank in leaves))


def by_leaf(fn: Callable[[Any, int], Any], tree: Any, ranks: Ranks) -> Any:
    """fn(leaf, rank) for every leaf."""
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, [fn(leaf, rank) for leaf, rank in zip(leaves, ranks, strict=True)])


def one_of(tree: Any, ranks: Ranks) -> Any:
    """One of the batch, as shapes."""
    return by_leaf(lambda leaf, rank: jax.ShapeDtypeStruct(_event(leaf, rank), leaf.dtype), tree, ranks)


class Arrangement(NamedTuple):
    """Values in a batch of `shape`, and models in a batch that broadcasts to it.

    The axes along which models differ lead, as one; all others are rows.
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
        """None where one model is that of all."""
        own = self._own
        return math.prod(self.shape[i] for i in own) if own else None

    def _lead(self) -> tuple[int, ...]:
        return () if self.num_models is None else (self.num_models,)

    def model(self, model: Any, ranks: Ranks) -> Any:
        """Models in one axis, or the one there is."""

        def of_leaf(leaf, rank):
            event = _event(leaf, rank)
            return jnp.broadcast_to(leaf, (*self.models, *event)).reshape(*self._lead(), *event)

        return by_leaf(of_leaf, model, ranks)

    def rows(self, values: Any, ranks: Ranks) -> Any:
        """Values as rows (n, *event), or (models, n, *event)."""
        n = math.prod(size for i, size in enumerate(self.shape) if i not in self._own)

        def of_leaf(leaf, rank):
            event = _event(leaf, rank)
            full = jnp.broadcast_to(leaf, (*self.shape, *event))
            moved = full.transpose(*self._order, *range(len(self.shape), full.ndim))
            return moved.reshape(*self._lead(), n, *event)

        return by_leaf(of_leaf, values, ranks)

    def back(self, rows: Array) -> Array:
        """What each row has, in the batch."""
        event = rows.shape[1 + len(self._lead()) :]
        moved = rows.reshape(*(self.shape[i] for i in self._order), *event)
        places = (int(i) for i in np.argsort(self._order))
        return moved.transpose(*places, *range(len(self.shape), moved.ndim))

    def over(self, fn: Callable[..., Array], model: Any, *values: Any) -> Array:
        """fn(model, *values), for each model where there are several."""
        return self.back((fn if self.num_models is None else jax.vmap(fn))(model, *values))


def _event(leaf, rank):
    return jnp.shape(leaf)[jnp.ndim(leaf) - rank :]
