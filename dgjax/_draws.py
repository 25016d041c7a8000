"""Random draws of models whose scores are Monte Carlo estimates, such as autoencoders."""

from typing import Any, NamedTuple

import jax
from jax import Array

LEARNING = (
    "A variational autoencoder learns by gradient: type method=dgjax.Optax(optax.adam(1e-3), batch_size=128, "
    "key=jax.random.key(0)), max_steps=2000"
)


class Draws(NamedTuple):
    """Random draws of one training step: a key, or None for the model's own fixed draws, and the weight of the KL
    divergence.

    `kl_weight` is 1, or below during warm-up.
    """

    key: Array | None
    kl_weight: Array | float = 1.0


def _draws(node: Any) -> bool:
    return hasattr(type(node), "drawn")


def has_draws(model: Any) -> bool:
    """Whether a part of a model is scored by random draws."""
    return any(map(_draws, jax.tree.leaves(model, is_leaf=_draws)))


def with_draws(model: Any, draws: Draws | None) -> Any:
    """The model with every part that is scored by draws replaced by `part.drawn(draws)`, its form for learning."""
    if draws is None:
        return model
    return jax.tree.map(lambda node: node.drawn(draws) if _draws(node) else node, model, is_leaf=_draws)
