"""Sequences side by side: WIDTH of them put in lanes and back, products with moves, sums of outer products.

    in memory:     s0 s0 s0 ...   one sequence after another          ──transposed in registers──▶
    side by side:  s0 s1 ... s7   number i of all eight, then number i + 1

Addresses and offsets, as in `vectors`, not arrays. Each loop keeps 4 to 16 sums in registers, for a fused multiply-add
takes four cycles and two can start in each.
"""

from dgjax_kernels.cpu.ffi import jit, within
from dgjax_kernels.cpu.simd.vectors import (
    WIDTH,
    each,
    number,
    numbers,
    read,
    read_row,
    spread,
    transposed,
    write,
    write_row,
)


@jit
def four(address, at):
    """Vectors of four neighbouring states, read at an offset from an address."""
    return read(address, at), read(address, at + WIDTH), read(address, at + 2 * WIDTH), read(address, at + 3 * WIDTH)


@jit
def put_four(address, at, x0, x1, x2, x3):
    """Vectors of four neighbouring states, written at an offset from an address."""
    write(address, at, x0)
    write(address, at + WIDTH, x1)
    write(address, at + 2 * WIDTH, x2)
    write(address, at + 3 * WIDTH, x3)


@jit
def put_side_by_side(into, x, starts, first, size):
    """Transposition into lanes: puts number i of lane n, x[starts[n] + first + i], at place i * WIDTH + n of `into`.

    For i < size and n < WIDTH; `into` is an address. Beyond the end of x the last number is repeated.
    """
    last, whole = 0, 0
    for n in range(WIDTH):
        last = max(last, starts[n] + first + size)
    if last <= len(x):
        whole = size // WIDTH * WIDTH
    for i in range(0, whole, WIDTH):
        at = first + i
        r0, r1, r2, r3 = _four_rows(x, starts[0] + at, starts[1] + at, starts[2] + at, starts[3] + at)
        r4, r5, r6, r7 = _four_rows(x, starts[4] + at, starts[5] + at, starts[6] + at, starts[7] + at)
        c0, c1, c2, c3, c4, c5, c6, c7 = transposed((r0, r1, r2, r3, r4, r5, r6, r7))
        put_four(into, i * WIDTH, c0, c1, c2, c3)
        put_four(into, (i + 4) * WIDTH, c4, c5, c6, c7)
    side_by_side = numbers(into, size * WIDTH)
    for i in range(whole, size):
        for n in range(WIDTH):
            side_by_side[i * WIDTH + n] = x[min(starts[n] + first + i, len(x) - 1)]


@jit
def _four_rows(x, a, b, c, d):
    return read_row(x, a), read_row(x, b), read_row(x, c), read_row(x, d)


@jit
def put_one_by_one(side_by_side, x, starts, first, size, lanes):
    """Transposition out of lanes: x[starts[n] + first + i] = number i of lane n, for i < size and n < lanes.

    The reverse of `put_side_by_side`; `side_by_side` is an address, at which number i of lane n is i * WIDTH + n.
    """
    whole = size // WIDTH * WIDTH if lanes == WIDTH else 0
    for i in range(0, whole, WIDTH):
        at = first + i
        c0, c1, c2, c3 = four(side_by_side, i * WIDTH)
        c4, c5, c6, c7 = four(side_by_side, (i + 4) * WIDTH)
        r0, r1, r2, r3, r4, r5, r6, r7 = transposed((c0, c1, c2, c3, c4, c5, c6, c7))
        write_row(x, starts[0] + at, r0)
        write_row(x, starts[1] + at, r1)
        write_row(x, starts[2] + at, r2)
        write_row(x, starts[3] + at, r3)
        write_row(x, starts[4] + at, r4)
        write_row(x, starts[5] + at, r5)
        write_row(x, starts[6] + at, r6)
        write_row(x, starts[7] + at, r7)
    from_lanes = numbers(side_by_side, size * WIDTH)
    for i in range(whole, size):
        for n in range(lanes):
            x[starts[n] + first + i] = from_lanes[i * WIDTH + n]


@jit
def product(M, k, x, at, y, into):
    """Matrix-vector products of WIDTH sequences: y_j = sum_i M_ij x_i, M (k, k), x and y (k, WIDTH) at addresses.

    Eight j at a time, for a machine that starts two multiplications in a cycle, each of which takes four, has to have
    eight at work. 64 sequences of 1,000 steps and 64 states: 21.8 ms by four, 19.8 by eight.
    """
    for j in range(0, k - 7, 8):
        _eight_of_product(M, k, x, at, y, into, j)
    for j in range(k // 8 * 8, k - 3, 4):
        y0, y1, y2, y3 = spread(0.0), spread(0.0), spread(0.0), spread(0.0)
        for i in range(k):
            m, xi = i * k + j, read(x, at + i * WIDTH)
            y0 = y0 + spread(number(M, m)) * xi
            y1 = y1 + spread(number(M, m + 1)) * xi
            y2 = y2 + spread(number(M, m + 2)) * xi
            y3 = y3 + spread(number(M, m + 3)) * xi
        put_four(y, into + j * WIDTH, y0, y1, y2, y3)
    for j in range(k // 4 * 4, k):
        y0 = spread(0.0)
        for i in range(k):
            y0 = y0 + spread(number(M, i * k + j)) * read(x, at + i * WIDTH)
        write(y, into + j * WIDTH, y0)


@jit
def _eight_of_product(M, k, x, at, y, into, j):
    y0, y1, y2, y3 = spread(0.0), spread(0.0), spread(0.0), spread(0.0)
    y4, y5, y6, y7 = spread(0.0), spread(0.0), spread(0.0), spread(0.0)
    for i in range(k):
        m, xi = i * k + j, read(x, at + i * WIDTH)
        y0, y1 = y0 + spread(number(M, m)) * xi, y1 + spread(number(M, m + 1)) * xi
        y2, y3 = y2 + spread(number(M, m + 2)) * xi, y3 + spread(number(M, m + 3)) * xi
        y4, y5 = y4 + spread(number(M, m + 4)) * xi, y5 + spread(number(M, m + 5)) * xi
        y6, y7 = y6 + spread(number(M, m + 6)) * xi, y7 + spread(number(M, m + 7)) * xi
    put_four(y, into + j * WIDTH, y0, y1, y2, y3)
    put_four(y, into + (j + 4) * WIDTH, y4, y5, y6, y7)


@within
def product_of_one(M, k, K, x, at, j):
    """Matrix-vector product of one sequence, vectors being of states: sum over i of M_ij x_i, for a register of j.

    K is the number of states with those that fill up registers.
    """
    if K == WIDTH:
        x0, x1, x2, x3, x4, x5, x6, x7 = each(read(x, at))
        low = (x0 * read(M, 0) + x1 * read(M, K)) + (x2 * read(M, 2 * K) + x3 * read(M, 3 * K))
        return low + ((x4 * read(M, 4 * K) + x5 * read(M, 5 * K)) + (x6 * read(M, 6 * K) + x7 * read(M, 7 * K)))
    even, odd = spread(0.0), spread(0.0)
    for i in range(0, k, 2):
        even = even + spread(number(x, at + i)) * read(M, i * K + j)
        odd = odd + spread(number(x, at + i + 1)) * read(M, (i + 1) * K + j)
    return even + odd


@jit
def _add_tile(left, right, counts, k, steps, i, j):
    """Adds outer products of four states by four: 16 sums stay in registers over all steps of a block."""
    size, row, at = k * WIDTH, k * WIDTH, (i * k + j) * WIDTH
    c00, c01, c02, c03 = four(counts, at)
    c10, c11, c12, c13 = four(counts, at + row)
    c20, c21, c22, c23 = four(counts, at + 2 * row)
    c30, c31, c32, c33 = four(counts, at + 3 * row)
    for s in range(steps):
        x0, x1, x2, x3 = four(left, s * size + i * WIDTH)
        y0, y1, y2, y3 = four(right, (s + 1) * size + j * WIDTH)
        c00, c01, c02, c03 = c00 + x0 * y0, c01 + x0 * y1, c02 + x0 * y2, c03 + x0 * y3
        c10, c11, c12, c13 = c10 + x1 * y0, c11 + x1 * y1, c12 + x1 * y2, c13 + x1 * y3
        c20, c21, c22, c23 = c20 + x2 * y0, c21 + x2 * y1, c22 + x2 * y2, c23 + x2 * y3
        c30, c31, c32, c33 = c30 + x3 * y0, c31 + x3 * y1, c32 + x3 * y2, c33 + x3 * y3
    put_four(counts, at, c00, c01, c02, c03)
    put_four(counts, at + row, c10, c11, c12, c13)
    put_four(counts, at + 2 * row, c20, c21, c22, c23)
    put_four(counts, at + 3 * row, c30, c31, c32, c33)


@jit
def add_counts(left, right, counts, k, steps):
    """Outer products of WIDTH sequences: counts_ij += sum over steps of left_i times the next step's right_j."""
    size, whole = k * WIDTH, k // 4 * 4
    for i in range(0, whole, 4):
        for j in range(0, whole, 4):
            _add_tile(left, right, counts, k, steps, i, j)
    for i in range(k):
        for j in range(whole if i < whole else 0, k):
            at = (i * k + j) * WIDTH
            c = read(counts, at)
            for s in range(steps):
                c = c + read(left, s * size + i * WIDTH) * read(right, (s + 1) * size + j * WIDTH)
            write(counts, at, c)


@jit
def add_counts_of_one(left, right, counts, k, K, steps):
    """Outer products of one sequence, vectors being of states: counts_ij += sum over steps of left_i times right_j.

    Left and right are of one step, unlike in `add_counts`; K is the number of states with those that fill up registers.
    """
    for j in range(0, K, WIDTH):
        for i in range(0, k - 3, 4):
            at = i * K + j
            c0, c1, c2, c3 = read(counts, at), read(counts, at + K), read(counts, at + 2 * K), read(counts, at + 3 * K)
            for s in range(0, steps * K, K):
                u = read(right, s + j)
                c0, c1 = c0 + spread(number(left, s + i)) * u, c1 + spread(number(left, s + i + 1)) * u
                c2, c3 = c2 + spread(number(left, s + i + 2)) * u, c3 + spread(number(left, s + i + 3)) * u
            write(counts, at, c0)
            write(counts, at + K, c1)
            write(counts, at + 2 * K, c2)
            write(counts, at + 3 * K, c3)
        for i in range(k // 4 * 4, k):
            c0 = read(counts, i * K + j)
            for s in range(0, steps * K, K):
                c0 = c0 + spread(number(left, s + i)) * read(right, s + j)
            write(counts, i * K + j, c0)
