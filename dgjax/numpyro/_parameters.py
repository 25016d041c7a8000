"""Parameters of NumPyro distributions: validated, broadcast to one batch, and built into a model."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike
from numpyro.distributions import constraints

from dgjax import _advice
from dgjax._arguments import is_concrete
from dgjax.data import as_floats
from dgjax.numpyro._support import Logs

simplex, positive, unit = constraints.simplex, constraints.positive, constraints.unit_interval
real, lower_cholesky = constraints.real, constraints.lower_cholesky


def each(constraint: Any, ndim: int = 1) -> Any:
    """A NumPyro constraint on arrays with `ndim` more event axes."""
    return constraints.independent(constraint, ndim)


WORDS = {
    type(simplex): "probabilities that add up to 1",
    type(positive): "positive numbers",
    type(unit): "probabilities",
    type(real): "finite numbers",
    type(lower_cholesky): "lower Cholesky factors",
    Logs: "logarithms, minus infinity where impossible and something possible in each row",
}


def checked(owner: str, name: str, value: ArrayLike, constraint: Any) -> Array:
    """A parameter as a float array; raises ValueError for too few axes, or concrete values outside the constraint."""
    array = jnp.asarray(as_floats(value, f"{owner}({name}=...)", "real numbers"))
    inner = constraint
    while isinstance(inner, type(each(real))):
        inner = inner.base_constraint
    words = WORDS[type(inner)]
    if array.ndim < constraint.event_dim:
        raise ValueError(
            f"{owner}({name}=...) must be {words}, with {constraint.event_dim} axes at least; got shape {array.shape}."
        )
    if is_concrete(array):
        with jax.ensure_compile_time_eval():
            inside = bool(np.all(constraint(array)))
        if not inside:
            raise ValueError(f"{owner}({name}=...) must be {words}; got {_advice.shown(np.asarray(array))}.")
    return array


def log_weights(
    owner: str, probs: ArrayLike | None, logits: ArrayLike | None, names: tuple[str, str], ndim: int = 0
) -> Array:
    """Log-probabilities from either `probs` or `logits`, with `ndim` axes of distributions.

    Raises ValueError unless just one is given.
    """
    if (probs is None) == (logits is None):
        raise ValueError(
            f"{owner} takes one of {names[0]} and {names[1]}; got {'neither' if probs is None else 'both'}."
        )
    if probs is None:
        return checked(owner, names[1], logits, each(Logs(), ndim))  # type: ignore[arg-type]
    p = checked(owner, names[0], probs, each(simplex, ndim))
    # The gradient at a zero is that of a zero that stays.
    return jnp.where(p > 0, jnp.log(jnp.where(p > 0, p, 1)), -jnp.inf)


def together(build: Callable[..., Any], *parameters: tuple[Array, int]) -> tuple[Any, int]:
    """A batched model: build(*parameters) for each element of the batch, and its number of batch axes.

    Each of `parameters` is (array, number of event axes).
    """
    batch = jnp.broadcast_shapes(*(array.shape[: array.ndim - rank] for array, rank in parameters))
    arrays = [jnp.broadcast_to(array, (*batch, *array.shape[array.ndim - rank :])) for array, rank in parameters]
    for _ in batch:
        build = jax.vmap(build)
    return build(*arrays), len(batch)
