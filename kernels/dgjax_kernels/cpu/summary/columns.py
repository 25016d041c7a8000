"""Summary of columns in one pass over the rows: missing cells, limits, whether all are whole, mean and spread.

The pass reads cells as one long row. 256 (WIDTH) or so neighbouring cells, a whole number of rows, are worked on side
by side with SIMD instructions, and four such stretches at once, so that what is known of a column is fetched and stored
once for all four:

    cells   ─ a ─┬─ b ─┬─ c ─┬─ e ─┬─ a ─┬─ ...     each d × max(1, WIDTH // d) cells
    into    low, high, fraction, first, second, observed: a number for each cell of a stretch

Moments are summed about the first finite cell of a column, its origin, near which sums lose few digits. A missing cell
is taken for the origin, which adds nothing. At the end the rows of a stretch are put together, and then the pieces, by
the formula for means and variances of parts (`together`).
"""

import math
from typing import Any

import numpy as np

from dgjax_kernels.cpu import ffi, handlers
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.simd.lanes import fast
from dgjax_kernels.rows import ColumnSummary

LOW, HIGH, FRACTION, FIRST, SECOND, OBSERVED, ORIGIN = range(7)
NUM_RESULTS = 6  # all but the origin; at the end FIRST holds the mean, SECOND the standard deviation
WIDTH = 256  # cells of a stretch at least, for rows are shorter than a few SIMD registers


@jit
def _origin(x, start, stop, j):
    """The first finite cell of a column in some rows, about which its moments are summed; 0 if there is none."""
    for row in range(start, stop):
        if abs(x[row, j]) < math.inf:
            return np.float64(x[row, j])
    return 0.0


@fast
def _cell(value, origin, low, high, fraction, first, second, observed):
    """Sums of a column with one more cell added; a missing one is taken for the origin, which adds nothing."""
    present = value == value
    value = value if present else origin
    r = value - origin
    low = value if value < low else low
    high = value if value > high else high
    return low, high, fraction + (value - np.floor(value)), first + r, second + r * r, observed + present


@fast
def _add(a, b, c, e, into):
    """Adds four stretches of cells to the sums of columns, which are fetched and stored once for all of them."""
    origin, low, high, fraction = into[ORIGIN], into[LOW], into[HIGH], into[FRACTION]
    first, second, observed = into[FIRST], into[SECOND], into[OBSERVED]
    for j in range(len(origin)):
        o = origin[j]
        known = low[j], high[j], fraction[j], first[j], second[j], observed[j]
        known = _cell(np.float64(a[j]), o, *known)
        known = _cell(np.float64(b[j]), o, *known)
        known = _cell(np.float64(c[j]), o, *known)
        known = _cell(np.float64(e[j]), o, *known)
        low[j], high[j], fraction[j], first[j], second[j], observed[j] = known


@jit
def _folded(into, result):
    """Folds the sums of neighbouring rows of a stretch into one for each column, and those into mean and spread."""
    d = result.shape[1]
    for j in range(d, into.shape[1]):
        i = j % d
        into[LOW, i], into[HIGH, i] = min(into[LOW, i], into[LOW, j]), max(into[HIGH, i], into[HIGH, j])
        for total in (FRACTION, FIRST, SECOND, OBSERVED):
            into[total, i] += into[total, j]
    for j in range(d):
        cells = max(into[OBSERVED, j], 1.0)
        shift = into[FIRST, j] / cells
        into[SECOND, j] = math.sqrt(max(into[SECOND, j] - shift * into[FIRST, j], 0.0) / cells)
        into[FIRST, j] = into[ORIGIN, j] + shift
        for i in range(NUM_RESULTS):
            result[i, j] = into[i, j]


@jit
def _begun(x, start, stop):
    """Sums (7, cells of a stretch) before the first of the rows from start to stop."""
    d = x.shape[1]
    into = np.zeros((7, d * max(1, WIDTH // d)))
    for j in range(into.shape[1]):
        origin = _origin(x, start, stop, j) if j < d else into[ORIGIN, j - d]
        into[ORIGIN, j] = into[LOW, j] = into[HIGH, j] = origin
    return into


@jit
def _add_at(cells, i, into):
    """Adds four stretches of cells, from the i-th cell on."""
    width = into.shape[1]
    a, b, c, e = i, i + width, i + 2 * width, i + 3 * width
    _add(cells[a:b], cells[b:c], cells[c:e], cells[e : e + width], into)


@jit
def _add_rest(cells, whole, into):
    """Column sums, last cells: adds cells[whole:], less than four stretches, to the sums `into`, in place.

    Padded with NaN, which counts for nothing. `whole` is how many cells were added before.
    """
    rest = np.full(4 * into.shape[1], math.nan, cells.dtype)
    for i in range(whole, len(cells)):
        rest[i - whole] = cells[i]
    _add_at(rest, 0, into)


@inlined
def _piece(frame, piece, dtype):
    x, result = ffi.matrix(frame, ffi.FRAME_ARGUMENTS, 0, dtype), ffi.cube(frame, ffi.FRAME_RESULTS, 0, dtype)
    n, d = x.shape
    start, stop = ffi.part(n, piece, len(result))
    into, cells = _begun(x, start, stop), x.reshape(n * d)[start * d : stop * d]
    block = 4 * into.shape[1]
    whole = len(cells) // block * block
    for i in range(0, whole, block):
        _add_at(cells, i, into)
    _add_rest(cells, whole, into)
    _folded(into, result[piece])


@handlers.from_python
def copy_piece(x, copy, result, piece):
    """Summary of columns of one piece of NumPy's rows x (n, d), and their copy, made while the cells are in the cache.

    Fills the piece's rows of `copy` (n, d), and `result` (pieces, NUM_RESULTS, d) at the piece.
    """
    n, d = x.shape
    start, stop = ffi.part(n, piece, len(result))
    given, cells = x.reshape(n * d)[start * d : stop * d], copy.reshape(n * d)[start * d : stop * d]
    into = _begun(x, start, stop)
    block = 4 * into.shape[1]
    whole = len(cells) // block * block
    for i in range(0, whole, block):
        for j in range(i, i + block):
            cells[j] = given[j]
        _add_at(cells, i, into)
    for j in range(whole, len(cells)):
        cells[j] = given[j]
    _add_rest(cells, whole, into)
    _folded(into, result[piece])


def of_pieces(of_piece: Any, n: int, xp: Any) -> ColumnSummary:
    """Summary of columns of n rows, from those of their pieces (pieces, NUM_RESULTS, d); xp is NumPy or jax.numpy."""
    pieces = len(of_piece)
    low, high, fraction, mean, spread, observed = xp.moveaxis(of_piece, 1, 0)
    missing = (np.diff(np.arange(pieces + 1) * n // pieces)[:, None] - observed).sum(0).astype(np.int32)
    whole, spread = together(observed, n - missing, mean, spread, xp)
    low = xp.where(observed > 0, low, np.inf).min(0)
    high = xp.where(observed > 0, high, -np.inf).max(0)
    return ColumnSummary(missing, low, high, fraction.sum(0) == 0, whole, spread)


def together(count: Any, total: Any, mean: Any, spread: Any, xp: Any) -> tuple[Any, Any]:
    """Pooled mean and standard deviation of parts of `count` numbers each, along the first axis; `total` in all.

    mean = sum_i share_i mean_i and var = sum_i share_i (var_i + (mean_i - mean)^2), share = count / total, for `mean`
    and `spread` (parts, ...), in units in which squares neither overflow nor vanish; xp is NumPy or jax.numpy.
    """
    share = count / xp.where(total > 0, total, 1)
    origin = mean[0]
    whole = origin + (share * (mean - origin)).sum(0)
    apart = mean - whole
    size = xp.maximum(spread, abs(apart)).max(0)
    unit = xp.where((size > 0) & xp.isfinite(size), size, 1)  # in which squares neither overflow nor vanish
    return whole, unit * xp.sqrt((share * ((spread / unit) ** 2 + (apart / unit) ** 2)).sum(0))


handler = handlers.of_pieces("columns", _piece, handlers.of_result(0))
