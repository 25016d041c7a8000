"""What a user gave, as arrays of numbers, keys, counts, shapes and column numbers; or an error that names it."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer


def is_concrete(*arrays: Any) -> bool:
    """Whether values can be looked at; inside jit, vmap and grad only shapes can."""
    return not any(isinstance(a, Tracer) for a in jax.tree.leaves(arrays))


def as_array(value: Any, name: str, expected: str, missing: str = "np.nan") -> Any:
    """`value` as an array of numbers; text, objects, dates and ragged lists are refused by name."""
    if isinstance(value, Array):
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name} must be {expected}; got a masked array. Type {name}.filled({missing}).")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be {expected}; got a {type(value).__name__} of unequal rows.") from None
    if array.dtype.kind in "biuf" or jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    given = f"dtype {array.dtype}" if array.dtype != object or array.ndim else repr(value)
    raise ValueError(f"{name} must be {expected}; got {given}." + _remedy(array, name))


def _remedy(array: np.ndarray, name: str) -> str:
    if name in ("x", "y") and (array.dtype.kind in "US" or (array.size and isinstance(array.flat[0], str))):
        number = f"np.unique({name}, return_inverse=True)[1]" if array.ndim == 1 else "pandas.factorize on each column"
        return f" Number the values with {number}."
    return f" Type np.asarray({name}, float)." if array.dtype == object and array.ndim else ""


def as_key(key: Any, name: str = "key") -> Array:
    """One typed random key."""
    typed = isinstance(key, Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not typed or key.shape != ():
        given = f"keys of shape {key.shape}" if typed else f"{type(key).__name__}"
        raise ValueError(f"{name} must be one typed random key; got {given}. Type jax.random.key(0).")
    return key


def as_count(value: Any, name: str, least: int = 1) -> int:
    """A whole number from `least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more; got {value!r}.")
    return int(value)


def as_shape(shape: Any) -> tuple[int, ...]:
    """A tuple of sizes from an int or a sequence of ints."""
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    return tuple(as_count(size, "shape", 0) for size in sizes)


def check_number(value: Any, name: str, least: int | float, most: int | float = np.inf) -> None:
    """Raises unless `value` is a finite number from `least` to `most`; inside jit its value is taken on trust."""
    if not is_concrete(value):
        return
    number = isinstance(value, numbers.Real) or (isinstance(value, Array | np.ndarray) and value.shape == ())
    if not number or not (np.isfinite(float(value)) and least <= float(value) <= most):
        limits = f"{least} or more" if most == np.inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be a number, {limits}; got {value!r}.")


def as_columns(columns: Any, num_features: int) -> tuple[int, ...]:
    """`columns` as distinct ints from 0 to num_features - 1."""
    array = np.atleast_1d(np.asarray(columns))
    if array.dtype == bool:
        raise ValueError("columns must be column numbers; got booleans. Type np.flatnonzero(columns).")
    inside = array.dtype.kind in "iu" and ((array >= -num_features) & (array < num_features)).all()
    picked = tuple(int(c) % num_features for c in array.ravel()) if inside else ()
    if not picked or array.ndim != 1 or len(set(picked)) < len(picked):
        raise ValueError(
            f"columns must be distinct column numbers from 0 to {num_features - 1}, at least one; got {columns!r}."
        )
    return picked
