"""A prior of a model: its own, or one that is given, after checking that it fits."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax.priors import WrongPriorError


@kernels.compiled
def weak_prior(model: Any, x: Array, strength: ArrayLike) -> Any:
    """The model's own, in one compilation."""
    return model.weak_prior(x, strength)


@jax.jit
def _log_prior(model, prior):
    """Compiled only so that its shapes are found once for each kind of model."""
    return model.log_prior(prior)


def checked_prior(model: Any, prior: Any, dtype: Any) -> Any:
    """The prior in this precision.

    Raises ValueError if it is none of the model's.
    """
    if prior is not None:
        try:
            if jax.tree_util.all_leaves([prior]):
                model.log_prior(prior)  # says that it is none, in its own words
            prior = jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(dtype), prior)
            jax.eval_shape(_log_prior, model, prior)
        except WrongPriorError:
            raise
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"prior does not fit the model: its parameters must broadcast over the model's labels and columns "
                f"({error}). dgjax.weak_prior(model, x) makes one that does."
            ) from None
    return prior
