"""Priors of a model: its weak conjugate prior, and the check that a given prior fits."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray, is_concrete
from dgjax._types import ColumnMoments
from dgjax.data import in_size_class
from dgjax.densities import column_moments, weighted_moments
from dgjax.priors import WrongPriorError
from dgjax.sparse import SparseRows


def weak_prior(model: Any, x: Any, weights: AnyArray, strength: float) -> Any:
    """Weak conjugate prior of a model, worth `strength` rows spread like those of `x`.

    A row of weight w counts as w rows, one of weight 0 as none.
    """
    x, _, weights = in_size_class(x, None, weights)
    if isinstance(x, SparseRows):
        return _of_weighted_rows(model, x, weights, strength)
    amounts = np.asarray(weights) if is_concrete(weights) else None
    if amounts is not None and (amounts == 1).all():
        return _of_rows(model, x, strength)
    if amounts is not None and np.isin(amounts, (0, 1)).all():
        xp = np if is_concrete(x) else jnp
        return _of_rows(model, xp.where(amounts[:, None] > 0, x, np.nan), strength)
    return _of_weighted_rows(model, x, weights, strength)


@kernels.compiled_once
def of_moments(model: Any, columns: ColumnMoments, strength: Any) -> Any:
    """Weak conjugate prior of a model, worth `strength` rows with the means and standard deviations of `columns`."""
    return model.weak_prior(columns, strength)


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def _of_rows(model, x, strength):
    return model.weak_prior(column_moments(kernels.column_summary(x), kernels.shards.number(len(x))), strength)


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def _of_weighted_rows(model, x, weights, strength):
    return model.weak_prior(weighted_moments(x, weights), strength)


@jax.jit
def _log_prior(model, prior):
    """Log prior density; jitted only so that its shapes are traced once for each kind of model."""
    return model.log_prior(prior)


def checked_prior(model: Any, prior: Any, dtype: Any) -> Any:
    """The prior in the precision `dtype`; raises ValueError if it does not fit the model."""
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
