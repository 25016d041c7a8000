"""Arguments as arrays of numbers, keys, counts, shapes and column numbers; or an error that names the argument."""

import math
import numbers
import os
from collections.abc import Callable
from typing import Any, NoReturn, cast

import jax
import jax.numpy as jnp
import jaxlib.xla_client
import numpy as np
from jax import Array
from jax.core import Tracer

import dgjax_kernels as kernels
from dgjax import _advice

AnyArray = Array | np.ndarray
"""An array of JAX, or of NumPy until a program takes it."""
LEAST_MEMORY = 1 << 28
"""Bytes that every machine has: the size of smaller arrays is not looked into."""
LABELS = "whole-number labels, -1 where unknown"
_put: Any = getattr(jaxlib.xla_client, "batched_device_put", None)  # no part of JAX's public interface


def is_concrete(*arrays: Any) -> bool:
    """Whether values can be looked at; inside jit, vmap and grad only shapes can.

    Of rows that are sharded over devices each has but its own, and only sums over them can be looked at.
    """
    leaves = jax.tree.leaves(arrays)
    if any(isinstance(a, Tracer) for a in leaves):
        return False
    return not kernels.shards.several_devices() or not any(map(is_sharded, leaves))


def is_known(*arrays: Any) -> bool:
    """Whether programs can be run now, of whose results values can be looked at: outside of jit, vmap and grad."""
    return not any(isinstance(a, Tracer) for a in jax.tree.leaves(arrays))


def is_sharded(array: Any) -> bool:
    """Whether an array outside of jit is sharded over devices, each of which has a part of it."""
    return isinstance(array, Array) and not isinstance(array, Tracer) and not array.is_fully_replicated


def constant(value: Any) -> Array:
    """Array of numbers worked out by NumPy: made by `jax.numpy` they would be a program for each shape."""
    return jax.device_put(np.asarray(value))


def placed(cells: np.ndarray, beside: AnyArray) -> Array:
    """JAX array of NumPy's cells, on the device of a JAX array `beside` and committed to it as that is.

    On a CPU cells of JAX's own memory are shared. By the call in which `jax.device_put` ends, 70 us later, a quarter of
    what 300 rows take; this takes 13.
    """
    if _put is None or not isinstance(beside, Array) or len(devices := beside.devices()) > 1:
        return jax.device_put(cells)
    return _put(jax.typeof(cells), beside.sharding, [cells], [*devices], beside.committed)


def as_array(value: Any, name: str, expected: str, missing: int | float | None = np.nan) -> Any:
    """Array of numbers from `value`, JAX's or NumPy's, with `missing` where it is masked or pandas has NA.

    Raises ValueError for text, objects, dates, sparse arrays and ragged lists, and if `missing` is None for masked
    cells and NA.
    """
    kernels.check_not_forked()
    kind: type = type(value)
    if kind is np.ndarray and value.dtype.kind in "biuf" and value.dtype.isnative:
        return value
    if isinstance(value, Array):
        array = value
    elif isinstance(value, np.ma.MaskedArray):
        array = _unmasked(value, name, expected, missing)
    elif hasattr(value, "toarray") or hasattr(value, "todense"):
        dense = "toarray" if hasattr(value, "toarray") else "todense"
        raise ValueError(f"{name} must be {expected}; got a sparse {type(value).__name__}. Type {name}.{dense}().")
    elif _is_nullable(value):
        array = value.to_numpy(dtype=float, na_value=np.nan if missing is None else missing)
    else:
        array = _read(value, name, expected, missing)
    if jnp.issubdtype(array.dtype, jnp.floating) or getattr(array.dtype, "kind", "?") in "biuf":
        return array if isinstance(array, Array) else array.astype(array.dtype.newbyteorder("="), copy=False)
    return _refuse(array, value, name, expected)


def _read(value, name, expected, missing):
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be {expected}; got a {type(value).__name__} of unequal rows.") from None
    if (
        isinstance(value, list | tuple)
        and array.ndim > 1
        and any(map(_is_masked, value, [array.ndim - 1] * len(value)))
    ):
        return np.stack([as_array(part, f"{name}[{i}]", expected, missing) for i, part in enumerate(value)])
    return array


def _is_masked(value: Any, ndim: int) -> bool:
    """Whether a part of a list, `ndim` axes of it, has masked cells or NA, which NumPy would read as numbers."""
    if isinstance(value, list | tuple):
        return ndim > 1 and any(_is_masked(part, ndim - 1) for part in value)
    return isinstance(value, np.ma.MaskedArray) or _is_nullable(value)


def _is_nullable(value: Any) -> bool:
    """Whether pandas keeps numbers there that are not all NumPy's own, or not of one kind."""
    if not hasattr(value, "to_numpy") or isinstance(getattr(value, "dtype", None), np.dtype):
        return False
    types = list(value.dtypes) if getattr(value, "ndim", 1) == 2 else [value.dtype]
    numbers = all(getattr(one, "kind", "O") in "biuf" for one in types)
    return numbers and (len({one.kind for one in types}) > 1 or not all(isinstance(one, np.dtype) for one in types))


def _unmasked(value: Any, name: str, expected: str, missing: int | float | None) -> np.ndarray:
    mask: Any = np.ma.getmaskarray(value)
    if missing is None and mask.any():
        raise ValueError(f"{name} must be {expected}; got masked ones. Type {name}.filled(0).")
    data = np.asarray(value.data)
    if data.dtype.kind not in "biuf" and mask.any():  # which is refused, and what is masked is no part of it
        data = data.astype(object)
        data[mask] = None
        return data
    return np.where(mask, np.int64(-1) if missing == -1 else np.nan, data) if mask.any() else data


def _refuse(array: Any, value: Any, name: str, expected: str) -> NoReturn:
    given = f"dtype {array.dtype}" if array.dtype != object or array.ndim else _advice.shown(array.item())
    kind = array.dtype.kind if isinstance(array, np.ndarray) else "c" * jnp.issubdtype(array.dtype, np.complexfloating)
    texts = [i for i, cell in np.ndenumerate(array) if isinstance(cell, str)] if kind in ("O", "U", "S") else []
    advice, seconds = "", "np.timedelta64(1, 's')"
    dates, told = _advice.of_dates(value, name) if array.ndim == 2 and hasattr(value, "dtypes") else ([], "")
    if dates:
        given, advice = f"dates or times in column(s) {_advice.shown(dates)}", f"Type {told}."
    elif texts and array.ndim:
        given += f", {name}[{', '.join(map(str, texts[0]))}] is {_advice.shown(array[texts[0]])}"
        advice = _advice.of_text(value, array, name, expected == LABELS)
    elif kind == "O" and array.ndim:
        advice = _advice.of_objects(value, array, name, expected == LABELS)
    elif kind == "M":
        least = f"np.nanmin({name})" if np.isnat(array).any() else f"{name}.min()"
        advice = f"Type ({name} - {least}) / {seconds}."
    elif kind in "mc" and kind:
        advice = f"Type {name} / {seconds}." if kind == "m" else f"Type np.real({name})."
    advice = "" if "(" in name else advice  # which is about a variable
    raise ValueError(f"{name} must be {expected}; got {given}. {advice}".rstrip())


def as_whole(array: Any, name: str, expected: str, advice: Callable[[np.ndarray], str] | None = None) -> Any:
    """An array of whole numbers, those that are floats made ints; inside jit they must be ints.

    Raises ValueError for fractions, with `advice(array)` on what to type.
    """
    # In NumPy: inside jit, jax.numpy would trace even arrays whose values are known.
    array = np.asarray(array) if is_concrete(array) else array
    if array.dtype == bool or jnp.issubdtype(array.dtype, jnp.integer):
        return array
    given, told = f"dtype {array.dtype}", ""
    if is_concrete(array):
        whole = (array == np.floor(array)) & (np.abs(array) < 2**53)
        if whole.all():
            return array.astype(np.int64)
        place = tuple(int(i) for i in np.argwhere(~whole)[0])
        given = f"{name}[{', '.join(map(str, place))}] = {array[place]}"
        told = "" if advice is None else advice(array)
    raise ValueError(f"{name} must hold {expected}; got {given}. {told}".rstrip())


def as_key(key: Any, name: str = "key") -> Array:
    """Random key, one and typed: `jax.random.key(seed)`, or made of what `jax.random.PRNGKey(seed)` gives.

    Raises ValueError for anything else, such as a seed or several keys.
    """
    kernels.check_not_forked()
    untyped = isinstance(key, Array | np.ndarray) and key.dtype == np.uint32
    if untyped and key.shape == jax.random.key_data(jax.random.key(0)).shape:
        return jax.random.wrap_key_data(jnp.asarray(key))
    typed = isinstance(key, Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not typed or key.shape != ():
        given = f"keys of shape {key.shape}" if typed else f"{type(key).__name__}"
        seed = int(key) if isinstance(key, numbers.Integral) and not isinstance(key, bool) else 0
        raise ValueError(f"{name} must be one random key; got {given}. Type jax.random.key({seed}).")
    return cast(Array, key)


def as_count(value: Any, name: str, least: int = 1, most: int | None = None, of_data: str = "") -> int:
    """A whole number from `least`, to `most` if there is one; `of_data` says what to type where it is data instead.

    Raises ValueError for anything else.
    """
    if isinstance(value, Array | np.ndarray) and value.ndim == 0 and is_concrete(value):
        value = value.item()
    if isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool):
        count = int(value)
    else:
        count = least - 1
    if count < least or (most is not None and count > most):
        limits = f"{least} or more" if most is None else f"from {least} to {most}"
        given = _advice.shown(value) if is_concrete(value) else "a value that is not known before compiling"
        told = f" {of_data}" if of_data and np.ndim(cast(Any, value)) else ""
        raise ValueError(f"{name} must be a whole number, {limits}; got {given}.{told}")
    return count


def check_size(shape: tuple[int, ...], /, **arguments: Any) -> None:
    """Raises ValueError if an array of floats of this shape exceeds this machine's memory.

    `arguments` names what asks for the shape. The check comes before anything is allocated.
    """
    needed = math.prod(shape) * jnp.dtype(jax.dtypes.canonicalize_dtype(float)).itemsize
    if needed <= LEAST_MEMORY or needed <= _memory() * jax.process_count():
        return
    given = " and ".join(f"{name}={_advice.shown(value)}" for name, value in arguments.items())
    names = " and ".join(arguments)
    raise ValueError(
        f"{names} must be such that arrays fit into memory; got {given}, which need one of shape {shape}, {needed:.3g} "
        f"bytes, and this machine has {_memory():.3g}."
    )


def _memory() -> int:
    """Bytes of this machine's memory; a terabyte where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 40


def as_shape(shape: Any) -> tuple[int, ...]:
    """A tuple of sizes from an int or a sequence of ints."""
    many = isinstance(shape, tuple | list) or (isinstance(shape, np.ndarray) and shape.ndim == 1)
    sizes = tuple(shape) if many else (shape,)
    return tuple(as_count(size, "shape", 0) for size in sizes)


def check_number(value: Any, name: str, least: int | float, most: int | float = np.inf) -> None:
    """Raises unless `value` is a finite number from `least` to `most`; inside jit its value is taken on trust."""
    if not is_concrete(value):
        return
    number = isinstance(value, numbers.Real) or (isinstance(value, Array | np.ndarray) and value.shape == ())
    if not number or not (np.isfinite(float(value)) and least <= float(value) <= most):
        limits = f"{least} or more" if most == np.inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be a number, {limits}; got {_advice.shown(value)}.")


def as_columns(columns: Any, num_features: int) -> tuple[int, ...]:
    """Column numbers from `columns`: distinct ints from 0 to num_features - 1, at least one.

    Negative ones count from the last column, as in NumPy. Raises ValueError for booleans, repeated numbers, or others.
    """
    array = np.atleast_1d(np.asarray(columns))
    if array.dtype == bool:
        raise ValueError("columns must be column numbers; got booleans. Type np.flatnonzero(columns).")
    inside = array.dtype.kind in "iu" and ((array >= -num_features) & (array < num_features)).all()
    picked = tuple(int(c) % num_features for c in array.ravel()) if inside else ()
    if not picked or array.ndim != 1 or len(set(picked)) < len(picked):
        raise ValueError(
            f"columns must be distinct column numbers from 0 to {num_features - 1}, at least one; got "
            f"{_advice.shown(columns)}."
        )
    return picked
