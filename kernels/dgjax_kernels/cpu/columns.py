"""What there is in each column, by one pass over the rows: `rows.ColumnSummary`."""

import math

import numpy as np

from dgjax_kernels.cpu import ffi
from dgjax_kernels.cpu.ffi import inlined, jit
from dgjax_kernels.cpu.lanes import fast

LOW, HIGH, FRACTION, FIRST, SECOND, OBSERVED, ORIGIN = range(7)
NUM_RESULTS = 6  # the first six, with the mean in place of the sum, and the sum of squares about it
WIDTH = 256  # cells of neighbouring rows that are worked on side by side


@jit
def _origin(x, start, stop, j):
    """The first finite cell of a column, near which sums lose few digits."""
    for row in range(start, stop):
        if abs(x[row, j]) < math.inf:
            return np.float64(x[row, j])
    return 0.0


@fast
def _cell(value, origin, low, high, fraction, first, second, observed):
    """One more cell; a missing one is as the origin, which adds nothing."""
    present = value == value
    value = value if present else origin
    r = value - origin
    low = value if value < low else low
    high = value if value > high else high
    return low, high, fraction + (value - math.floor(value)), first + r, second + r * r, observed + present


@fast
def _add(a, b, c, e, into):
    """Four stretches of rows, so that what is known of a column is fetched once for all of them."""
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
    """The rows of a stretch put together."""
    d = result.shape[1]
    for j in range(d, into.shape[1]):
        i = j % d
        into[LOW, i], into[HIGH, i] = min(into[LOW, i], into[LOW, j]), max(into[HIGH, i], into[HIGH, j])
        for total in (FRACTION, FIRST, SECOND, OBSERVED):
            into[total, i] += into[total, j]
    for j in range(d):
        shift = into[FIRST, j] / max(into[OBSERVED, j], 1.0)
        into[SECOND, j] -= shift * into[FIRST, j]
        into[FIRST, j] = into[ORIGIN, j] + shift
        for i in range(NUM_RESULTS):
            result[i, j] = into[i, j]


@inlined
def _piece(frame, piece, dtype):
    x, result = ffi.matrix(frame, ffi.FRAME_ARGUMENTS, 0, dtype), ffi.cube(frame, ffi.FRAME_RESULTS, 0, dtype)
    n, d = x.shape
    start, stop = piece * n // len(result), (piece + 1) * n // len(result)
    width = d * max(1, WIDTH // d)
    into, cells = np.zeros((7, width)), x.reshape(n * d)[start * d : stop * d]
    for j in range(width):
        origin = _origin(x, start, stop, j) if j < d else into[ORIGIN, j - d]
        into[ORIGIN, j] = into[LOW, j] = into[HIGH, j] = origin
    whole = len(cells) // (4 * width) * (4 * width)
    for i in range(0, whole, 4 * width):
        a, b, c, e = i, i + width, i + 2 * width, i + 3 * width
        _add(cells[a:b], cells[b:c], cells[c:e], cells[e : e + width], into)
    rest = np.full(4 * width, math.nan, x.dtype)
    for i in range(whole, len(cells)):
        rest[i - whole] = cells[i]
    _add(rest[:width], rest[width : 2 * width], rest[2 * width : 3 * width], rest[3 * width :], into)
    _folded(into, result[piece])


def handler(dtype, sources):
    """What XLA calls."""

    def columns(address):
        if ffi.introduced(address):
            return 0
        if ffi.called(address):
            pieces = ffi.size(address, ffi.FRAME_RESULTS, 0, 0)
            return ffi.spread(address, pieces, ffi.own_address(), sources)
        piece = ffi.next_piece(address)
        while piece >= 0:
            _piece(ffi.load(address, ffi.FRAME), piece, dtype)
            ffi.done(address)
            piece = ffi.next_piece(address)
        return ffi.leave(address)

    return columns
