"""Learning by contrast: rows are told from draws of a base, or of a generator, by k classes and one more.

Where logits (n, k) are those of the classes, log p(x, y) / p0(x), and that of "drawn" is 0,

    log P(y | x) = logit_y - softplus(log sum exp logits),    log P(drawn | x) = -softplus(log sum exp logits),

and the k classes are summed out where y is unknown. At the optimum logits are those logarithms of ratios of densities
(Gutmann and Hyvarinen, 2012); with a generator it is the discriminator of a semi-supervised GAN (Salimans et al.,
2016).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import dgjax_kernels as kernels
from dgjax._arguments import is_concrete
from dgjax.densities._learned import AsLearnt, Learned
from dgjax.densities._mixture import Mixture


def log_class(logits: Float[Array, "n k"], y: Int[Array, " n"]) -> Float[Array, " n"]:
    """Log P(y | x) (n,) among k classes and "drawn"; of y = -1 log P(not drawn | x)."""
    evidence = kernels.logsumexp(logits)
    known = jnp.take_along_axis(logits, jnp.maximum(y, 0)[:, None], -1)[:, 0]
    return jnp.where(y < 0, evidence, known) - jax.nn.softplus(evidence)


def log_drawn(logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """Log P(drawn | x) (n,) among k classes and "drawn"."""
    return -jax.nn.softplus(kernels.logsumexp(logits))


def is_contrastive(model: Any) -> bool:
    """Whether a model is a mixture of a density, or of its form for learning, that learns by contrast."""
    return isinstance(model, Mixture) and bool(getattr(model.density, "contrastive", False))


def contrast(model: Any, x: Float[Array, "n d"], y: Int[Array, " n"]) -> Float[Array, " n"]:
    """Contrastive objective (n,) of rows with labels y (n,), -1 where unknown, each beside one draw.

    Draws are those of a training step where the density is in its form for learning, else by its own seed.
    """
    density: Any = model.density
    log_weights = jax.nn.log_softmax(model.log_weights)
    learnt = isinstance(density, AsLearnt)
    own: Any = density.density if learnt else density
    return own.contrast(x, y, log_weights, density.draws.key if learnt else jax.random.key(own.seed))


def settled(model: Any, x: Any) -> Any:
    """The model as a fit leaves it: what contrastive densities know of themselves, by draws, found anew, of rows x.

    A mixture keeps its p(y | x): what a new normaliser takes from a label goes to its weight. Raises
    LowEffectiveSampleSize, with the model, where a normaliser cannot be estimated.
    """

    def own(node):
        return isinstance(node, Learned) and node.contrastive

    if not any(map(own, jax.tree.leaves(model, is_leaf=own))):
        return model
    log_weights = model.log_weights if is_contrastive(model) else None
    try:
        found = jax.tree.map(lambda node: node.settled(x, log_weights) if own(node) else node, model, is_leaf=own)
    except LowEffectiveSampleSize as error:
        error.model = model
        raise
    if not is_contrastive(found):
        return found
    moved = model.log_weights + found.density.log_gain(model.density)
    if is_concrete(moved) and not np.isfinite(moved).all():
        return model  # of numbers that have no end `fit` speaks
    return type(model)(jax.nn.log_softmax(moved), found.density)


class LowEffectiveSampleSize(ValueError):
    """Error: too few draws of the base of a `Tilted` have most of the weight, so that its normaliser is not known.

    `model` is the one that `fit` has learnt, not normalised: its p(y | x) can be asked all the same; None elsewhere.
    """

    model: Any = None
