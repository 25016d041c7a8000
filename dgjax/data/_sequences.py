"""Sequences: steps in one array with lengths, validated; and ragged ones padded."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import as_array, as_whole, is_concrete
from dgjax._elsewhere import told_keywords
from dgjax.data import _shards
from dgjax.data._arrays import as_floats, limits_of, whole_labels
from dgjax.structures import Sequences


@told_keywords
def pad(sequences: Sequence[ArrayLike]) -> tuple[Array, Array]:
    """Padding of ragged sequences: a list of (t_i, d) -> x (n, t, d), NaN beyond each end, and lengths (n,).

    A list of label sequences (t_i,) becomes y (n, t), -1 beyond each end, and lengths (n,).

    Raises ValueError for no sequence, a sequence without steps, different numbers of columns, or labels that are not
    whole numbers; a series of single numbers is to be given as (t, 1).
    """
    arrays = [_one_of(one, f"sequences[{i}]") for i, one in enumerate(sequences)]
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) != 1 or not all(array.ndim in (1, 2) and len(array) for array in arrays):
        raise ValueError(
            "sequences must be a list of arrays (t_i, d), all with the same columns and at least one step, or of labels"
            f" (t_i,); got shapes {[array.shape for array in arrays][:10]}."
        )
    lengths = np.array([len(array) for array in arrays])
    labels = arrays[0].ndim == 1
    dtype = jax.dtypes.canonicalize_dtype(int) if labels else np.result_type(*arrays, np.float32)
    padded = np.full((len(arrays), lengths.max(), *shapes.pop()), -1 if labels else np.nan, dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return jnp.asarray(padded), jnp.asarray(lengths)


def _one_of(sequence, name):
    """Validated sequence in NumPy: rows (t, d), NaN for masked cells, or whole labels (t,), -1 for masked ones."""
    if np.ndim(sequence) != 1:
        return np.asarray(as_array(sequence, name, "numbers"))
    advice = f"Of a series of single numbers type {name}[:, None]."
    labels = np.asarray(whole_labels(sequence, name, advice))
    if labels.size and (labels.min() < -1 or labels.max() >= 2**31):
        raise ValueError(f"{name} must hold labels from 0, or -1 where unknown; got {labels.min()} to {labels.max()}.")
    return labels


def as_sequences(x: Any, lengths: Any = None, num_features: int | None = None, name: str = "x") -> Sequences:
    """Sequences from `x`: floats (n, t, d) and lengths (n,), t by default.

    Beyond its length a sequence repeats its first step, which counts for nothing. Raises ValueError for other shapes,
    another number of columns than `num_features`, or lengths outside 1 to t.
    """
    _check_no_texts(x, name)
    listed = enumerate(x) if isinstance(x, list | tuple) else ()
    shapes = {as_array(one, f"{name}[{i}]", "numbers").shape for i, one in listed}
    if len(shapes) > 1:
        raise ValueError(
            f"{name} must have shape (n, t, d); got sequences of unequal shape. {_advice.padded(shapes, name)}"
        )
    array: Any = as_floats(x, name)
    if array.ndim != 3 or not array.shape[1]:
        own = f"{name}.to_numpy()" if hasattr(x, "to_numpy") else name  # of a frame
        hint = _of_steps(x, array, lengths, name) or _of_sequences(array.shape, num_features, own)
        raise ValueError(f"{name} must be sequences of shape (n, t, d), t at least 1; got shape {array.shape}.{hint}")
    if num_features is not None and array.shape[2] != num_features:
        raise ValueError(
            f"{name} must have {num_features} columns, as the model has; got shape {array.shape}."
            f"{_advice.of_width(x, array.shape, num_features, name)}"
        )
    if lengths is None:
        return Sequences(array, every_step(array))
    steps: Any = _as_lengths(lengths, array)
    xp = np if all(isinstance(own, np.ndarray) for own in (array, steps)) else jnp
    inside = xp.arange(array.shape[1]) < steps[:, None]
    repeated: Any = xp.where(inside[..., None], array, array[:, :1])
    return Sequences(repeated, steps)


def _check_no_texts(x, name):
    """Raises ValueError for texts, or for sequences and their lengths in one."""
    if isinstance(x, str) or (isinstance(x, list | tuple) and any(isinstance(one, str) for one in x)):
        raise ValueError(f"{name} must be sequences of tokens; got text. Type {name}, lengths = dgjax.tokenize(texts).")
    if isinstance(x, tuple) and [np.ndim(one) for one in x if hasattr(one, "ndim")] == [3, 1]:
        raise ValueError(
            f"{name} must be sequences; got a tuple of these and their lengths. Type {name}, lengths = {name}."
        )


def every_step(x: Any) -> Any:
    """Lengths (n,) of sequences x (n, t, d) that have all of their steps, t."""
    return _shards.filled((len(x),), x.shape[1], jax.dtypes.canonicalize_dtype(int), x)


def _of_steps(given, steps, lengths, name):
    """Advice for an error: code that makes sequences of all their steps, one sequence after another; or empty.

    Where the lengths add up to the number of steps, as other libraries take sequences.
    """
    if lengths is None or steps.ndim not in (1, 2) or not is_concrete(lengths):
        return ""
    number = np.asarray(lengths)
    if number.ndim != 1 or number.dtype.kind not in "iu" or number.sum() != len(steps):
        return ""
    own = name if isinstance(given, np.ndarray) else f"np.asarray({name})"
    own = f"{own}[:, None]" if steps.ndim == 1 else own
    return f" Type {name}, lengths = dgjax.pad({_advice.split(own)})."


def _of_sequences(shape, num_features, name):
    """Advice for an error: what to type to make sequences of a matrix, or of one dimension; empty if nothing does."""
    single, numbers = f"{name}[None] for a single sequence", f"{name}[..., None] for sequences of single numbers"
    if len(shape) == 1 and num_features in (None, 1):
        return f" Type {name}[None, :, None]."
    if len(shape) != 2 or not shape[1] or num_features not in (None, 1, shape[1]):
        return ""
    if num_features is None or shape[1] == num_features == 1:
        return f" Type {single}, or {numbers}."
    return f" Type {single if shape[1] == num_features else numbers}."


def _as_lengths(lengths: Any, x: Any) -> Any:
    n, t, *_ = x.shape
    expected = "a whole number of steps for each sequence"
    given = as_whole(as_array(lengths, "lengths", expected, missing=None), "lengths", expected)
    given = _shards.beside(given, x)
    if given.shape != (n,):
        hint = " Type np.ravel(lengths)." if given.shape == (n, 1) else ""
        raise ValueError(f"lengths must be ints of shape ({n},); got {given.dtype} of shape {given.shape}.{hint}")
    if (limits := limits_of(given)) and not (limits[0] >= 1 and limits[1] <= t):
        raise ValueError(f"lengths must be from 1 to {t}; got from {limits[0]} to {limits[1]}.")
    return given.astype(jax.dtypes.canonicalize_dtype(int))
