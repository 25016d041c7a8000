"""Models whose scores are estimates by random draws: the draws of a step of learning."""

from typing import Any, NamedTuple

import jax
from jax import Array

LEARNING = (
    "A variational autoencoder learns by gradient: type method=dgjax.Optax(optax.adam(1e-3), batch_size=128, "
    "key=jax.random.key(0)), max_steps=2000"
)


class Draws(NamedTuple):
    """The key of a step's draws, None for a model's own, and how much the divergence of a bound counts in it.

    That is 1 but for warm-up.
    """

    key: Array | None
    kl_weight: Array | float = 1.0


def _draws(node: Any) -> bool:
    return hasattr(type(node), "drawn")


def has_draws(model: Any) -> bool:
    """Whether some part of a model is scored by draws."""
    return any(map(_draws, jax.tree.leaves(model, is_leaf=_draws)))


def with_draws(model: Any, draws: Draws | None) -> Any:
    """The model with every such part replaced by what is learnt of it with these draws: `part.drawn(draws)`."""
    if draws is None:
        return model
    return jax.tree.map(lambda node: node.drawn(draws) if _draws(node) else node, model, is_leaf=_draws)
