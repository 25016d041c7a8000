"""The checks that every verb makes once, before anything is compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


def is_concrete(*arrays: Any) -> bool:
    """Whether values can be looked at; inside jit, vmap and grad only shapes can."""
    return not any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves(arrays))


def as_rows(x: ArrayLike, num_features: int | None = None, name: str = "x") -> Array:
    """`x` as floats of shape (n, d)."""
    x = as_floats(x, name)
    if x.ndim != 2:
        hint = " For a single row type x[None]." if x.ndim == 1 else ""
        raise ValueError(f"{name} must be rows of shape (n, d); got shape {x.shape}.{hint}")
    if num_features is not None and x.shape[1] != num_features:
        raise ValueError(f"{name} must have {num_features} columns, as the model has; got shape {x.shape}.")
    return x


def as_floats(x: ArrayLike, name: str) -> Array:
    """`x` as an array of floats; text and objects are refused by name."""
    try:
        array = jnp.asarray(x)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be an array of numbers, NaN where a cell is missing; got {type(x).__name__} ({error})."
        ) from None
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"{name} must be real numbers; got dtype {array.dtype}.")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def check_cells(x: Array, invalid: Array, describe: Any, name: str = "x") -> None:
    """Raises if a cell lies outside its column's support; `describe(column)` says what the column expects."""
    if not is_concrete(x, invalid) or not bool(invalid.any()):
        return
    row, column = (int(i) for i in np.argwhere(np.asarray(invalid))[0])
    raise ValueError(
        f"{name} has {int(invalid.sum())} cell(s) outside their column's support: {name}[{row}, {column}] is "
        f"{float(x[row, column])!r}, and column {column} expects {describe(column)}."
    )


def as_labels(y: ArrayLike, n: int, num_labels: int, name: str = "y") -> Array:
    """`y` as int labels of shape (n,), from -1 (unknown) to num_labels - 1."""
    array = jnp.asarray(y)
    if jnp.issubdtype(array.dtype, jnp.floating) and is_concrete(array) and bool((array == jnp.round(array)).all()):
        array = array.astype(int)
    if not jnp.issubdtype(array.dtype, jnp.integer) and array.dtype != bool:
        raise ValueError(
            f"{name} must hold whole-number labels, -1 where unknown; got dtype {array.dtype}. "
            "Type np.unique(labels, return_inverse=True)[1] to number them."
        )
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one label for each row of x; got shape {array.shape}.")
    if is_concrete(array) and n and not bool(((array >= -1) & (array < num_labels)).all()):
        raise ValueError(
            f"{name} must hold labels from 0 to {num_labels - 1}, or -1 where unknown; got values from "
            f"{int(array.min())} to {int(array.max())}."
        )
    return array.astype(int)


def as_weights(weights: ArrayLike | None, x: Array) -> Array:
    """`weights` as floats of shape (n,), all one by default."""
    if weights is None:
        return jnp.ones(len(x), x.dtype)
    array = as_floats(weights, "weights").astype(x.dtype)
    if array.shape != (len(x),):
        raise ValueError(f"weights must have shape ({len(x)},), one for each row of x; got shape {array.shape}.")
    if is_concrete(array) and not bool((jnp.isfinite(array) & (array >= 0)).all()):
        raise ValueError("weights must be finite and nonnegative; a row counts for nothing at weight 0.")
    return array


def as_columns(columns: Any, num_features: int) -> tuple[int, ...]:
    """`columns` as distinct ints from 0 to num_features - 1."""
    picked = tuple(int(c) for c in np.atleast_1d(np.asarray(columns)).tolist())
    inside = all(-num_features <= c < num_features for c in picked)
    picked = tuple(c % num_features for c in picked) if inside else picked
    if not picked or not inside or len(set(picked)) < len(picked):
        raise ValueError(
            f"columns must be distinct column numbers from 0 to {num_features - 1}, at least one; got {columns!r}."
        )
    return picked


def check_observed(x: Array, weights: Array, name: str = "x") -> None:
    """Raises if a column is never observed: nothing can be learnt about it."""
    if not is_concrete(x, weights):
        return
    counted = weights[:, None] > 0
    never = np.flatnonzero(~np.asarray((~jnp.isnan(x) & counted).any(0)))
    if len(never):
        raise ValueError(
            f"{name} column(s) {', '.join(map(str, never[:10]))} are never observed, so nothing can be learnt about "
            f"them. Remove them, for instance with np.delete({name}, {never.tolist()[:10]}, axis=1)."
        )


def model_and_rows(model: Any, x: ArrayLike, lengths: Any = None) -> tuple[Any, Array]:
    """The model, lifted from a bare density if it is one, and its rows, after every check possible before compiling."""
    if lengths is not None:
        raise ValueError("lengths is for models of sequences, and this is a model of rows; leave it out.")
    lifted = model.as_model()
    rows = as_rows(x, lifted.num_features)
    if is_concrete(rows, lifted):
        or_nan = ", or NaN where missing" if lifted.generative else ""
        check_cells(rows, _invalid(lifted, rows), lambda column: lifted.support(column) + or_nan)
    return lifted, rows


_invalid = jax.jit(lambda model, x: model.invalid(x))
