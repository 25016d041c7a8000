"""Matrix products on a CPU inside of kernels: blocked for the caches, by tiles whose sums stay in registers.

C (m, n) is the sum over p of a_ip b_pj. The scheme is that of GotoBLAS (Goto and van de Geijn 2008, Anatomy of
high-performance matrix multiplication):

    b ─▶ block of columns (1 MB, second-level cache) ─▶ panels: ACROSS registers of neighbouring columns, row after row
    a ─▶ DOWN rows (first-level cache)
    tile = DOWN rows of a times one panel: DOWN x ACROSS registers of sums, one load of b for DOWN products

Either factor may be given as its transpose, which packing turns (`vectors.turned`). Where a product is all there is to
do, XLA's own is the faster one with AVX2 (120 GFLOP/s on 2 cores for 105) and hardly slower with AVX-512 (275 for 299).
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils

from dgjax_kernels.cpu.ffi import intrinsic, jit
from dgjax_kernels.cpu.simd.tiles import BITS, CONTRACT, empty, picked, word
from dgjax_kernels.cpu.simd.vectors import turned

DOWN, ACROSS = (8, 3) if BITS == 512 else (4, 2)  # of 32 registers 24 for sums, or of 16 eight
LONGEST, LONGEST_TURNED, BLOCK = 1024, 512, 1 << 20  # terms of a sum at a time (a turned: half), bytes of a block


class _Flat:
    """An array of one axis, read and written in LLVM's vectors."""

    def __init__(self, context, builder, kind, value):
        self.builder, self.number = builder, context.get_value_type(kind.dtype)
        self.size, self.data = kind.dtype.bitwidth // 8, context.make_array(kind)(context, builder, value).data

    def _at(self, offset, count):
        place = self.builder.gep(self.data, [offset])
        return self.builder.bitcast(place, ir.VectorType(self.number, count).as_pointer())

    def read(self, offset, count):
        return self.builder.load(self._at(offset, count), align=self.size)

    def write(self, offset, numbers):
        self.builder.store(numbers, self._at(offset, numbers.type.count), align=self.size)

    def spread(self, offset, count):
        one = self.read(offset, 1)
        return picked(self.builder, one, one, [0] * count)


def _steps(b, start, step, count):
    places = [start]
    for _ in range(count - 1):
        places.append(b.add(places[-1], step))
    return places


def _tile(down, across):
    """Instructions of a tile, `down` rows by `across` vectors: c = a times a panel, or c += that if there is `more`."""

    def build(b, a, at, row, column, panel, start, c, to, width, length, more):
        lanes = BITS // (8 * a.size)
        kind = ir.VectorType(a.number, lanes)
        sums = [cgutils.alloca_once(b, kind) for _ in range(down * across)]
        rows = _steps(b, at, row, down)
        places = [b.add(place, word(v * lanes)) for place in _steps(b, to, width, down) for v in range(across)]
        with b.if_else(more) as (then, otherwise):
            with then:
                for place, s in zip(places, sums, strict=True):
                    b.store(c.read(place, lanes), s)
            with otherwise:
                for s in sums:
                    b.store(ir.Constant(kind, [0.0] * lanes), s)
        with cgutils.for_range(b, length) as loop:
            first, along = b.add(start, b.mul(loop.index, word(across * lanes))), b.mul(loop.index, column)
            vectors = [panel.read(b.add(first, word(v * lanes)), lanes) for v in range(across)]
            for r in range(down):
                same = a.spread(b.add(rows[r], along), lanes)
                for v, s in enumerate(sums[r * across : (r + 1) * across]):
                    product = b.fmul(same, vectors[v], flags=CONTRACT)
                    b.store(b.fadd(b.load(s), product, flags=CONTRACT), s)
        for place, s in zip(places, sums, strict=True):
            c.write(place, b.load(s))

    @intrinsic
    def tile(typingctx, a, at, row, column, panel, start, c, to, width, length, more):
        def code(x, b, s, given):
            flat = {i: _Flat(x, b, s.args[i], given[i]) for i in (0, 4, 6)}
            build(b, *(flat.get(i, value) for i, value in enumerate(given)))
            return x.get_dummy_value()

        integer = types.intp
        return types.void(
            a, integer, integer, integer, panel, integer, c, integer, integer, integer, types.boolean
        ), code

    return tile


_large, _small, _large_of_one, _small_of_one = (_tile(d, a) for d in (DOWN, 1) for a in (ACROSS, 1))


@intrinsic
def _turn(typingctx, x, at, step, into, to, width):
    """Copies a square of DOWN rows of x, which lie `step` apart, transposed."""

    def build(c, b, s, a):
        source, target = _Flat(c, b, x, a[0]), _Flat(c, b, into, a[3])
        rows = turned(b, [source.read(place, DOWN) for place in _steps(b, a[1], a[2], DOWN)])
        for place, row in zip(_steps(b, a[4], a[5], DOWN), rows, strict=True):
            target.write(place, row)
        return c.get_dummy_value()

    integer = types.intp
    return types.void(x, integer, integer, into, integer, integer), build


@intrinsic
def _copy(typingctx, x, at, into, to):
    """Copies DOWN neighbouring numbers."""

    def build(c, b, s, a):
        _Flat(c, b, into, a[2]).write(a[3], _Flat(c, b, x, a[0]).read(a[1], DOWN))
        return c.get_dummy_value()

    return types.void(x, types.intp, into, types.intp), build


@jit
def _packed(b, first, length, j, width, n, k, turned, panels, to):
    """Packs rows first .. first + length and columns j .. j + width of b (k, n) into `panels`, row after row.

    From the place `to` on, with zeros for columns beyond n. `turned`: b is given as its transpose, (n, k).
    """
    whole = min(width, n - j) // DOWN * DOWN
    if turned:
        for v in range(0, whole, DOWN):
            for p in range(0, length - DOWN + 1, DOWN):
                _turn(b, (j + v) * k + first + p, k, panels, to + p * width + v, width)
    for p in range(length // DOWN * DOWN if turned else 0, length):
        for v in range(0, whole, DOWN):
            if not turned:
                _copy(b, (first + p) * n + j + v, panels, to + p * width + v)
            for u in range(v, v + DOWN if turned else v):
                panels[to + p * width + u] = b[(j + u) * k + first + p]
    for p in range(length):
        for v in range(whole, width):
            at = (j + v) * k + first + p if turned else (first + p) * n + j + v
            panels[to + p * width + v] = b[at] if j + v < n else 0


@jit
def _rows(a, at, row, column, panels, c, i, down, start, stop, n, length, more, edge):
    """Multiplies DOWN rows of a, or one, with all panels of a block of columns."""
    lanes = len(edge) // DOWN
    j = start
    while j < stop:
        to = (j - start) * length
        if min(stop, n) - j >= ACROSS * lanes:
            if down == DOWN:
                _large(a, at, row, column, panels, to, c, i * n + j, n, length, more)
            else:
                _large_of_one(a, at, row, column, panels, to, c, i * n + j, n, length, more)
            j += ACROSS * lanes
            continue
        whole = j + lanes <= n
        into, place, width = (c, i * n + j, n) if whole else (edge, 0, lanes)
        if down == DOWN:
            _small(a, at, row, column, panels, to, into, place, width, length, more and whole)
        else:
            _small_of_one(a, at, row, column, panels, to, into, place, width, length, more and whole)
        if not whole:
            for r in range(down):
                for v in range(n - j):
                    place = (i + r) * n + j + v
                    c[place] = edge[r * lanes + v] + (c[place] if more else 0)
        j += lanes


@jit
def _block(a, b, c, sizes, rows, columns, terms, turned, more, buffers):
    """Adds a range of the n-th terms a_in b_nj of a product to a range of rows i and columns j of c.

    Packs that block of b into `panels` once, then goes down the rows of a, DOWN at a time. Ranges are (first, last);
    without `more` the first terms replace what c holds.
    """
    (m, n, k), (first, last), (start, stop), (panels, some, edge) = sizes, terms, columns, buffers
    length, lanes = last - first, len(edge) // DOWN
    j = start
    while j < stop:
        width = ACROSS * lanes if min(stop, n) - j >= ACROSS * lanes else lanes
        _packed(b, first, length, j, width, n, k, turned[1], panels, (j - start) * length)
        j += width
    i = rows[0]
    while i < rows[1]:
        down = DOWN if rows[1] - i >= DOWN else 1
        if turned[0] and down == DOWN:
            for p in range(length):
                _copy(a, (first + p) * m + i, some, p * DOWN)
            _rows(some, 0, 1, DOWN, panels, c, i, down, start, stop, n, length, more, edge)
        elif turned[0]:
            _rows(a, first * m + i, 1, m, panels, c, i, down, start, stop, n, length, more, edge)
        else:
            _rows(a, i * k + first, k, 1, panels, c, i, down, start, stop, n, length, more, edge)
        i += down


@jit
def _lengths(n, k, turned, itemsize):
    """Parts of a sum over k, terms of the longest, and columns of a block."""
    lanes = BITS // (8 * itemsize)
    parts = -(-k // (LONGEST_TURNED if turned else LONGEST))
    longest, large = -(-k // parts), ACROSS * lanes
    return parts, longest, min(max(large, BLOCK // (longest * itemsize) // large * large), -(-n // lanes) * lanes)


@jit
def _most(n, k, itemsize):
    """Numbers of a block at most, for products of up to n columns and sums over up to k terms: see `_lengths`."""
    lanes = BITS // (8 * itemsize)
    return min(min(k, LONGEST) * (-(-n // lanes) * lanes), max(BLOCK // itemsize, LONGEST * ACROSS * lanes))


@jit
def buffers(n, k, c):
    """Memory for products like c, of up to n columns and sums over up to k terms, and the other way round.

    A sum over fewer terms may have longer parts: 1,025 are two of 513, 1,024 are one.
    """
    size = max(_most(n, k, c.itemsize), _most(k, n, c.itemsize))
    longest, lanes = min(max(n, k), LONGEST), BITS // (8 * c.itemsize)
    return empty((size,), c.dtype), empty((longest * DOWN,), c.dtype), empty((DOWN * lanes,), c.dtype)


@jit
def multiply(a, b, c, sizes, turned, more, buffers):
    """Matrix product: c (m, n) = a (m, k) b (k, n), all flat, or with `more` c plus that.

    `sizes` is (m, n, k), `turned` says whether a and b are given as transposes.
    """
    (m, n, k), lanes = sizes, BITS // (8 * c.itemsize)
    parts, _, across = _lengths(n, k, turned[0], c.itemsize)
    for start in range(0, -(-n // lanes) * lanes, across):
        block = start, min(start + across, -(-n // lanes) * lanes)
        for part in range(parts):
            terms = part * k // parts, (part + 1) * k // parts
            _block(a, b, c, sizes, (0, m), block, terms, turned, more or part > 0, buffers)
