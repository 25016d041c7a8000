"""Validation of rows, labels and weights: their shapes and types, before anything is compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._arguments import LABELS, AnyArray, as_array, as_whole, is_concrete, is_sharded
from dgjax.data import _shards
from dgjax.data._buffer_pool import aligned
from dgjax.data._size_classes import LARGE
from dgjax.structures import Sequences, label_shape

REAL = "real numbers, NaN where a cell is missing"


def as_rows(x: ArrayLike, num_features: int | None = None, name: str = "x") -> AnyArray:
    """Rows (n, d) of floats from `x`. Raises ValueError for another shape, or what is no array of real numbers."""
    return rows_and_summary(x, num_features, name)[0]


def rows_and_summary(
    x: ArrayLike, num_features: int | None = None, name: str = "x"
) -> tuple[AnyArray, kernels.ColumnSummary | None]:
    """Rows (n, d) of floats from `x`, and the summary of each column if copying them gave it, else None."""
    return _on_device(_as_matrix(x, num_features, name))


def readable_rows(x: ArrayLike, num_features: int | None = None) -> np.ndarray | None:
    """Zero-copy input: large rows that NumPy or JAX holds, if kernels can read them where they lie; else None."""
    array = _as_matrix(x, num_features, "x")
    if jax.default_backend() != "cpu" or not (is_concrete(array) and _is_large(array)):
        return None
    if isinstance(array, jax.Array) and array.devices() != {jax.local_devices()[0]}:
        return None
    own = np.asarray(array)
    own = own if own.dtype in (np.float32, np.float64) else own.astype(float_type(own))
    return kernels.as_readable(own)


def float_type(x: AnyArray) -> np.dtype:
    """Precision that rows have in JAX: float32 or float64."""
    return jax.dtypes.canonicalize_dtype(x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else float)


def _is_large(array):
    """Size test: 1 MB as floats, so that the same numbers in any dtype and layout go one way, to the bit."""
    return array.size * float_type(array).itemsize >= LARGE


def _as_matrix(x, num_features, name):
    array = _as_real(x, name)
    if isinstance(array, np.ndarray) and _is_large(array):  # so that every layout goes the same way, to the bit
        array = np.require(array, requirements=["C", "A"])
    if array.ndim != 2:
        raise ValueError(
            f"{name} must be rows of shape (n, d); got shape {array.shape}.{_of_rows(array.shape, num_features, name)}"
        )
    if num_features is not None and array.shape[1] != num_features:
        raise ValueError(
            f"{name} must have {num_features} columns, as the model has; got shape {array.shape}."
            f"{_advice.of_width(x, array.shape, num_features, name)}"
        )
    return array


def _of_rows(shape, num_features, name):
    """Advice for an error: what to type to make rows of an array of one dimension; empty if it cannot become rows."""
    if shape == (0,):
        return f" Type np.empty((0, {'d' if num_features is None else num_features})) for no rows."
    row, column = f"{name}[None] for a single row", f"{name}[:, None] for a single column"
    if len(shape) != 1 or num_features not in (None, 1, *shape):
        return ""
    return f" Type {f'{column}, or {row}' if num_features is None else column if num_features == 1 else row}."


def as_floats(x: ArrayLike, name: str, expected: str = REAL) -> AnyArray:
    """Array of floats of the shape of `x`: float32 and float64 stay as they are, as far as JAX has float64 enabled.

    Integers, booleans and longer floats become JAX's default float. `name` and `expected` are for errors: raises
    ValueError for what are no real numbers, and for floats of less than 32 bits.
    """
    return _on_device(_as_real(x, name, expected))[0]


def _as_real(x: Any, name: str, expected: str = REAL, missing: int | float | None = np.nan) -> Any:
    """Array of real numbers from `x`, in NumPy or JAX. Raises ValueError for floats of less than 32 bits."""
    array = as_array(x, name, expected, missing)
    _shards.check_unvaried(array)
    if array.dtype.itemsize < 4 and jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} must be float32 or float64; got {array.dtype}. Type {name}.astype('float32').")
    if array.dtype.itemsize > 8:
        array = array.astype(float)
    return array


def _on_device(array):
    """Rows as an array of floats, and a summary of each column where NumPy holds many: one pass does both.

    Few rows of NumPy's stay there until a program takes them, so that they can be padded (`in_size_class`).
    """
    if isinstance(array, np.ndarray):
        if _is_large(array) and jax.default_backend() == "cpu":
            return _copied(array)
        if array.dtype != float_type(array):
            with np.errstate(over="ignore"):  # beyond float32 is infinity, which the checks find
                array = array.astype(float_type(array))
        return (array if array.nbytes < LARGE else jnp.asarray(array)), None
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float), None


def _copied(array):
    """Aligned copy of NumPy's array, as XLA wants it, in a seventh of `jnp.asarray`'s time (160 MB: 16 and 120 ms).

    Rows are summarised while they are copied.
    """
    copy, summary, readable = aligned(array.shape, float_type(array)), None, kernels.as_readable(array)
    if readable is not None:
        summary = kernels.copy_and_summarise(readable, copy)
    else:
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which the checks find
            np.copyto(copy, array, casting="unsafe")
    return jax.device_put(copy, may_alias=True), summary


def as_labels(y: ArrayLike, x: Any, num_labels: int, name: str = "y", rows: str = "x") -> AnyArray:
    """Labels from `y`, ints (n,) one for each row of x, or (n, t) one for each step: from 0 to k - 1, or -1, unknown.

    NaN is unknown too. k = `num_labels`; -1 where a sequence has ended. Raises ValueError for another shape or range,
    or fractions.
    """
    try:
        array = whole_labels(y, name)
    except ValueError:
        _check_equal(y, x, name)
        raise
    shape, of, array = label_shape(x), _labelled(x), _shards.beside(array, x)
    if array.shape != shape:
        _check_upright(x, array.shape, f"labels {name}", rows)
        raise ValueError(
            f"{name} must have shape {shape}, one label for each {of} of x; got shape {array.shape}."
            f"{_of_labels(array, shape, name, x)}"
        )
    if (limits := limits_of(array)) and (limits[0] < -1 or limits[1] >= num_labels):
        told = _advice.relabelled(y, array, num_labels, name) if is_concrete(array) else ""
        raise ValueError(
            f"{name} must hold labels from 0 to {num_labels - 1}, or -1 where unknown; got values from "
            f"{limits[0]} to {limits[1]}. {told}".rstrip()
        )
    labels = array.astype(jax.dtypes.canonicalize_dtype(int))
    if len(shape) == 1:
        return labels
    xp = np if is_concrete(labels, x.lengths) else jnp
    return xp.where(xp.arange(x.x.shape[1]) < x.lengths[:, None], labels, -1)


def limits_of(array: Any) -> tuple[int, int] | None:
    """Least and largest of whole numbers, which may be sharded; None if there are none, or inside jit."""
    if is_sharded(array):
        low, high, *_ = _shards.extremes(array)
        return int(low), int(high)
    return (int(array.min()), int(array.max())) if is_concrete(array) and array.size else None


def _labelled(x):
    """What has a label of its own, in words."""
    if not isinstance(x, Sequences):
        return "row"
    return "sequence" if x.one_label else "step"


def _check_upright(x, shape, of, name="x"):
    """Check of orientation: raises if rows are columns, to judge by the shape of labels or weights."""
    if not isinstance(x, Sequences) and x.ndim == 2 and x.shape[1:] == shape:
        raise ValueError(
            f"{name} must be rows of shape (n, d), one for each of the {of}; got shape {x.shape}. Type {name}.T."
        )


def _check_equal(y, x, name):
    """Check of sequences: raises if labels are those of sequences of unequal length."""
    if len(label_shape(x)) == 2 and isinstance(y, list | tuple) and len({np.shape(one) for one in y}) > 1:
        raise ValueError(
            f"{name} must have shape {x.x.shape[:2]}, one label for each step of x; got sequences of unequal length. "
            f"{_advice.padded(set(), name, True)}"
        ) from None


def whole_labels(y: Any, name: str, advice: str = "") -> Any:
    """Labels from `y` as whole numbers, of any shape; -1, unknown, for masked ones and for NaN beside whole numbers.

    Raises ValueError for fractions.
    """
    array = as_array(y, name, LABELS, missing=-1)
    known = array
    if is_concrete(array) and jnp.issubdtype(array.dtype, jnp.floating):
        array = np.asarray(array)
        known = np.where(np.isnan(array), -1, array)
    return as_whole(known, name, LABELS, lambda _: advice or _advice.of_fractions(y, array, name))


def _of_labels(labels, expected, name, x):
    """Advice for an error: what to type to make labels of a matrix, or of sequences; empty if nothing does."""
    given = labels.shape
    if len(expected) == 2 and is_concrete(x) and given == (int(x.lengths.sum()),) and expected[0] > 1:
        return f" Type {name} = dgjax.pad({_advice.split(f'np.asarray({name})')})[0]."
    if len(expected) == 2 and expected == (1, *given):
        return f" Type np.reshape({name}, (1, -1))."
    if len(expected) == 2 and given == expected[:1]:
        return " Of one class for each sequence, dgjax.hidden_markov_mixture starts a model."
    if len(given) != len(expected) + 1 or given[:-1] != expected:
        return ""
    if given[-1] == 1:
        return f" Type {f'np.ravel({name})' if len(given) == 2 else f'{name}[..., 0]'}."
    if not is_concrete(labels):
        return ""
    each = np.asarray(labels)
    if (each == each[..., :1]).all():  # the label of a sequence, at each of its steps
        return f" Type {name}[..., 0]."
    return f" Type np.argmax({name}, -1)." if (np.sort(each, -1) == np.eye(given[-1])[-1]).all() else ""


def label_counts(labels: AnyArray, num_labels: int, weights: AnyArray | None = None) -> np.ndarray:
    """Number of rows (1 + k,), of those of positive weight, with the label -1, 0, ..., k - 1, k = `num_labels`.

    Counted some at a time, for NumPy makes wider copies of them to count; on several devices by each its own.
    """
    if is_sharded(labels):
        return _shards.counts(labels, weights, num_labels)
    labels, counted = np.asarray(labels), None if weights is None else np.asarray(weights) > 0
    labels = labels if counted is None or counted.all() else labels[counted]
    parts = (labels[start : start + LARGE] + 1 for start in range(0, len(labels), LARGE))
    return sum((np.bincount(part, minlength=1 + num_labels) for part in parts), np.zeros(1 + num_labels, int))


def as_weights(weights: ArrayLike | None, x: Any) -> AnyArray:
    """Weights (n,) as floats, one for each row or sequence of x, all 1 by default.

    Raises ValueError unless they are finite, 0 or more, and neither too small nor too large for the precision of x.
    """
    if weights is None:
        return _shards.filled((len(x),), 1, x.dtype, x)
    each = "sequence" if isinstance(x, Sequences) else "row"
    given = _shards.beside(_as_real(weights, "weights", f"a finite number for each {each}, 0 or more", missing=None), x)
    if given.shape != (len(x),):
        _check_upright(x, given.shape, "weights")
        hint = " Type np.ravel(weights)." if given.shape == (len(x), 1) else ""
        raise ValueError(
            f"weights must have shape ({len(x)},), one for each {each} of x; got shape {given.shape}.{hint}"
        )
    if is_sharded(given):
        _check_sharded_amounts(given, x.dtype)
    elif is_concrete(given) and given.size:
        check_amounts(np.asarray(given), x.dtype)
    array = _on_device(given)[0]
    return array if array.dtype == x.dtype else array.astype(x.dtype)


def _check_sharded_amounts(weights, dtype):
    """Raises ValueError, in every process, for weights that `check_amounts` would refuse."""
    low, high, above, total, broken = _shards.extremes(weights)
    if broken or not (low >= 0 and high < np.inf):
        raise ValueError(
            "weights must be finite and 0 or more, 0 for a row that counts for nothing; got "
            f"{'NaN' if broken else f'values from {low} to {high}'}."
        )
    least, most = _limits_of(dtype)
    if high > 0 and (above < least or total > most):
        raise ValueError(
            f"weights must be 0 or more than {least:.2g}, and add to less than {most:.2g}, the limits of {dtype}; got "
            f"values from {above} to {high}. Type weights / {high}."
        )


def _limits_of(dtype):
    """Least weight with all digits in this precision, and the largest that a sum may be."""
    limits = np.finfo(dtype)
    return float(limits.tiny / limits.eps), float(limits.max * limits.eps)


def check_amounts(weights: np.ndarray, dtype: Any) -> None:
    """Raises ValueError unless weights (n,) are 0 or normal numbers of this precision, with all digits, in sum too."""
    least, most = _limits_of(dtype)
    low, high = float(weights.min()), float(weights.max())  # no float32, in which `most` is no number
    if not (low >= 0 and high < np.inf):
        wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))[0]
        raise ValueError(
            f"weights must be finite and 0 or more, 0 for a row that counts for nothing; got weights[{wrong}] = "
            f"{weights[wrong]}."
        )
    if high == 0 or (low >= least and high * len(weights) <= most):
        return
    small = np.flatnonzero((weights > 0) & (weights < least))
    if len(small) or weights.sum(dtype=float) > most:
        wrong = small[0] if len(small) else weights.argmax()
        scaled = high < 1 or high > 1 / least or not len(small)
        told = "weights / np.max(weights)" if scaled else f"np.where(np.less(weights, {least:.2g}), 0, weights)"
        raise ValueError(
            f"weights must be 0 or more than {least:.2g}, and add to less than {most:.2g}, the limits of {dtype}; got "
            f"weights[{wrong}] = {weights[wrong]}. Type {told}."
        )
