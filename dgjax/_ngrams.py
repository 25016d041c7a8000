"""Runs of symbols in sequences: which context each follows, sums of a table's entries, and the scorer by such sums."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dgjax import _parameters
from dgjax._pytree import dataclass, static
from dgjax._types import Scorer, Support, category
from dgjax.structures import Sequences


def check_contexts(owner: object, name: str, shape: tuple[int, ...], order: int) -> None:
    """Raises ValueError unless a table (*labels, c + 1, ..., c + 1, c) has `order` axes of contexts."""
    right = isinstance(order, int) and 0 <= order < len(shape) and set(shape[-1 - order : -1]) <= {shape[-1] + 1}
    if not right:
        raise ValueError(
            f"{type(owner).__name__} expects {name} (*labels, c + 1, ..., c + 1, c) with order={order} axes before the "
            f"last, whose last index is for what lies before the beginning; got shape {shape}."
        )


def places(x: Sequences, c: int, order: int) -> Int[Array, "n t"]:
    """Place of each symbol, after the `order` symbols before it, in a table (c + 1, ..., c + 1, c) made flat."""
    symbols = x.x[..., 0].astype(int)
    seen = jnp.pad(symbols, ((0, 0), (order, 0)), constant_values=c)
    place = jnp.zeros_like(symbols)
    for before in range(order):
        place = place * (c + 1) + seen[:, before : before + symbols.shape[1]]
    return place * c + symbols


def sums(x: Sequences, table: Float[Array, "*labels_contexts c"], order: int) -> Float[Array, "n *labels"]:
    """Sum over the steps of each sequence of the entries of a table, one table for each label."""
    labels = table.shape[: table.ndim - 1 - order]
    entries = table.reshape(*labels, -1)[..., places(x, table.shape[-1], order)]
    return jnp.moveaxis(jnp.where(x.inside, entries, 0).sum(-1), -1, 0)


@dataclass
class NGrams(Scorer):
    """Scorer of sequences of symbols: s(x, y) = sum_s w_y[x_{s-m}, ..., x_{s-1}, x_s], over runs of m + 1 symbols.

    `weight` (*labels, c + 1, ..., c + 1, c) with m = `order` axes for the symbols before, of which the last index, c,
    stands for what lies before the beginning. The discriminative twin of a `MarkovChain` for each class. Cells are
    categories 0 to c - 1.

    Raises ValueError if the shape does not fit the order.
    """

    weight: Float[Array, "*labels_contexts c"]
    order: int = static(default=1)

    def __post_init__(self) -> None:
        check_contexts(self, "weight", self.weight.shape, self.order)
        _parameters.check_possible(self, "weight")

    @property
    def sequential(self) -> bool:
        return True

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.weight.shape[: self.weight.ndim - 1 - self.order]

    @property
    def num_features(self) -> int:
        return 1

    def scores(self, x: Sequences) -> Float[Array, "n *labels"]:
        return sums(x, self.weight, self.order)

    @property
    def supports(self) -> tuple[Support, ...]:
        return (category(self.weight.shape[-1]),)
