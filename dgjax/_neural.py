"""Neural scorer: a linear, or any other, scorer on the features that a neural network makes of a row."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dgjax._pytree import dataclass, expect_part, static
from dgjax._types import Scorer, Support
from dgjax.scorers import Linear


@dataclass
class Neural(Scorer):
    """Neural scorer: s(x, y) = head_y(features(x)), with features (n, h) from the last hidden layer of a network.

    `trunk` is the network, and `head` a scorer of h features. `cells` is a likelihood of `dgjax`, such as
    `GaussianCells`, which encodes `num_columns` raw columns as network inputs. A trunk that takes labels as input gets
    1 / num_classes for each. With `frozen` True the trunk is constant and only the head is learnt.

    Raises ValueError if `trunk` is no network with a last hidden layer, `cells` no likelihood of cells, or `head` no
    scorer.
    """

    trunk: Any
    head: Scorer
    cells: Any
    num_columns: int = static()
    frozen: bool = static(default=False)

    def __post_init__(self) -> None:
        for name, method, kind in (("trunk", "features", "a network"), ("cells", "seen", "a likelihood of cells")):
            expect_part(self, name, method, kind)
        expect_part(self, "head", Scorer, "a scorer")

    @classmethod
    def start(
        cls, trunk: Any, cells: Any, num_features: int, num_classes: int, dtype: Any = float, frozen: bool = False
    ) -> "Neural":
        """A neural scorer with a linear head of zeros, weights (num_classes, h), for the h features of `trunk`.

        `cells` encodes rows of `num_features` columns for the network; with `frozen` True only the head is learnt.
        """
        x = jax.ShapeDtypeStruct((1, num_features), jnp.result_type(dtype))
        features = jax.eval_shape(lambda x: _features(trunk, cells, x, num_classes), x)
        head = Linear(jnp.zeros((num_classes, features.shape[-1]), dtype))
        return cls(trunk, head, cells, num_features, frozen)

    @property
    def untrained(self) -> tuple[str, ...]:
        """Fields that are constant: a frozen trunk."""
        return ("trunk",) * self.frozen

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.head.label_shape

    @property
    def num_features(self) -> int:
        return self.num_columns

    @property
    def row_cost(self) -> int:
        return max(max(leaf.shape, default=1) for leaf in jax.tree.leaves(self))

    @property
    def num_parameters(self) -> int | Array:
        trunk = 0 if self.frozen else sum(leaf.size for leaf in jax.tree.leaves(self.trunk))
        return trunk + self.head.num_parameters

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        trunk = jax.lax.stop_gradient(self.trunk) if self.frozen else self.trunk
        return self.head.scores(_features(trunk, self.cells, x, self.label_shape[-1]))

    def penalty(self) -> Float[Array, ""]:
        """Sum of squared weights of the head and, where the trunk is learnt, of all parameters of the trunk."""
        trunk = [] if self.frozen else jax.tree.leaves(self.trunk)
        return sum(((leaf**2).sum() for leaf in trunk), start=self.head.penalty())

    @property
    def supports(self) -> tuple[Support, ...]:
        return (self.cells.support,) * self.num_features


def _features(trunk, cells, x, num_classes):
    """Features (n, h) of rows (n, d), from the trunk's last hidden layer, with label inputs of 1 / num_classes each."""
    return trunk.features(cells.seen(x), jnp.full((1, num_classes), 1 / num_classes, x.dtype))
