"""Size classes: rows are padded to few different numbers, so that one compiled program serves all numbers of a class.

    147 rows ─▶ padded to 256 ─▶ the program of 256 rows ─▶ 256 results ─▶ cut to 147

A program is for one shape, and compiling it takes a hundred times as long as running it on few rows. Rows that pad are
copies of the first, so that they are in its support and complete if it is; their results are cut off, and where rows
are learnt from, their weights are 0. Padding is done in NumPy: in JAX it would be a program for each number itself.

Up to 2,048 rows a class holds up to twice as many as the one below, above that an eighth more: 20 to 2,000 rows are 7
classes. Arrays of `LARGE` bytes keep their size, for there a copy costs more than a program saves; so do arrays inside
jit, and those that another device holds.

Components of a mixture are padded too while it is started and fitted on little data: those that pad are off, of weight
log 0, and count for nothing. Then one program serves 1 to 8 components, and so a whole search for their number.
"""

from typing import Any

import jax
import numpy as np

from dgjax._arguments import is_concrete, placed
from dgjax.sparse import SparseRows
from dgjax.structures import Sequences

LARGE = 1 << 20  # bytes of an array
DOUBLING = 1 << 11  # rows up to which each class is twice the one below
SMALLEST = 16  # rows of the least class
FEW_COMPONENTS = 8  # of the least class, each further one is twice as large
LITTLE_WORK = 1 << 20  # multiplications of an E-step that padded components may come to: n k d^2


def size_class(n: int, doubling: int = DOUBLING) -> int:
    """Size class of n rows: the number that they are padded to, n or more; 0 and 1 are their own.

    A power of two from 16 up to `doubling` rows, and one of eight steps from a power of two to the next beyond. With
    `doubling` 0 all classes are such steps, and there is no least one.
    """
    if n < 2:
        return n
    step = 1 << (n - 1).bit_length()
    if n > doubling:
        step = max(step >> 4, 1)
    return max(-(-n // step) * step, SMALLEST if doubling else 1)


def component_class(k: int, n: int, d: int) -> int:
    """Size class of k components, of n rows with d columns: the number that they are padded to, k for much data."""
    padded = max(FEW_COMPONENTS, 1 << (k - 1).bit_length())
    little = jax.default_backend() == "cpu" and size_class(n) * padded * d * d <= LITTLE_WORK
    return padded if little else k


def in_size_class(x: Any, y: Any = None, weights: Any = None, fill: Any = None) -> tuple[Any, Any, Any]:
    """Padding of rows or sequences x, their labels and weights, to size classes; or all as they are.

    Rows that pad are copies of the first row, or `fill`; of sparse rows they have no cells. Their weights are 0. Arrays
    that are large, traced, or held by another device stay as they are.
    """
    sequences, sparse = isinstance(x, Sequences), isinstance(x, SparseRows)
    whole = x.x if sequences else x.values if sparse else x
    if not _can_pad(whole, x, y, weights):
        return x, y, weights
    n = size_class(len(x))
    if sparse:
        return x.padded(n, size_class(len(whole))), _longer(y, n), _longer(weights, n, 0)
    if not sequences:
        return _longer(x, n, fill), _longer(y, n), _longer(weights, n, 0)
    t = size_class(whole.shape[1], 0)
    longer: Any = _longer(_steps(whole, t), n)
    steps = x.holding(longer, _longer(x.lengths, n))
    return steps, _longer(y if x.one_label else _steps(y, t, -1), n), _longer(weights, n, 0)


def cut(result: Any, n: int, t: int | None = None, least: int = 2) -> Any:
    """Results of padded rows, without those of the rows that pad; of sequences (n, t, ...), t is their steps.

    Those have `least` axes or more: 3 where each sequence has one label, of which (n, k) are results too.
    """

    def one(leaf):
        shape = (n,) if t is None or leaf.ndim < least else (n, t)
        if leaf.shape[: len(shape)] == shape:
            return leaf
        known = is_concrete(leaf)
        host = np.asarray(leaf) if known else leaf
        cells = host[tuple(map(slice, shape))]
        return placed(cells, leaf) if known else cells

    return one(result) if isinstance(result, jax.Array) else jax.tree.map(one, result)


def _can_pad(whole, *arrays):
    """Whether rows are to be padded: few, and known, and on the host or where NumPy can look at them."""
    if not hasattr(whole, "nbytes") or whole.nbytes >= LARGE or not whole.size or not is_concrete(whole, arrays):
        return False
    return isinstance(whole, np.ndarray) or (whole.is_fully_addressable and _on_cpu(whole))


def _on_cpu(array):
    return all(device.platform == "cpu" for device in array.devices())


def _longer(array: Any, n: int, fill: Any = None) -> Any:
    """Array with n rows: followed by copies of its first row, or by `fill`; None stays.

    A copy even where no row is added: XLA reads NumPy's memory where it is, when the caller may have changed it.
    """
    if array is None:
        return array
    array = np.asarray(array)
    if len(array) == n:
        return array.copy()
    longer = np.empty((n, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    longer[len(array) :] = array[:1] if fill is None else fill
    return longer


def _steps(array, t, fill=None):
    """Array (n, t', ...) with t steps: followed by copies of the first step, or by `fill`; None stays."""
    if array is None or array.shape[1] == t:
        return array
    array = np.asarray(array)
    longer = np.empty((len(array), t, *array.shape[2:]), array.dtype)
    longer[:, : array.shape[1]] = array
    longer[:, array.shape[1] :] = array[:, :1] if fill is None else fill
    return longer
