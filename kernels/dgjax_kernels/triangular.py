"""Triangular factors of many small matrices (*b, d, d): Cholesky, inverse, solve, orthogonal triangularization.

On a CPU never by a batched LAPACK call: jaxlib 0.10 runs one as tasks on the thread pool of which it occupies a thread,
so that two such calls at once on two cores wait for each other for ever. There, matrices of up to 16 columns lie side
by side, batch last, and go through the algorithm together; larger ones go to LAPACK one at a time:

    d <= 16    (b, d, d) ─▶ blocks (d, d, 64) ─▶ one loop over d for 64 or more matrices        d > 16    jax.lax.map

Microseconds for one matrix by `triangularized`, float32, two cores, in lanes / one at a time / batched: d = 4: 0.05,
0.6, 0.3; d = 16: 2.6, 3.1, 2.5; d = 32: 25, 11, 9; d = 64: 188, 35, 37. Derivatives are closed forms. Rows may be in
units that differ by more than float32 can hold: `solve`, `inverse` and `triangularized` put them in powers of two of
their own, which changes no digit, and take the result out of them.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LARGEST_IN_LANES = 16  # columns: by the timings above
BLOCK, THREADED = 4, 1 << 13
"""Columns of a block, in rows, of a wide matrix, and numbers from which OpenBLAS works on one by threads. These wait
for each other, where another program has a core, and for the next call, on every core: beside others (20, 1700) takes
110 ms of CPU by one call, and 0.4 by blocks; an E-step with it 94 and 59."""
LANES, FEWEST = 1 << 12, 64  # floats that lie side by side, or the matrices, if there are more
"""From 2^13 floats on XLA hands each turn of the loop to threads: `solve` of 2,048 matrices of 4 columns takes 0.81 ms,
by 2^12 floats at once 0.24, by 64 matrices 0.28; up to there, the more the better, and no loop is the least to compile.
"""


@jax.custom_jvp
def solve(L: Float[Array, "*b d d"], B: Float[Array, "*b d m"]) -> Float[Array, "*b d m"]:
    """Triangular solve: L^-1 B (*b, d, m) for lower triangular L (*b, d, d) and B (*b, d, m).

    Only the lower triangle of L is read.
    """
    unit = _units(L)
    return _on_each(_solve_one, _solve_lanes, L / unit, B / unit)


@solve.defjvp
def _(primals, tangents):
    L, B = primals
    dL, dB = tangents
    X = solve(L, B)
    return X, inverse(L) @ (dB - jnp.tril(dL) @ X)


def solve_transposed(L: Float[Array, "*b d d"], B: Float[Array, "*b d m"]) -> Float[Array, "*b d m"]:
    """Triangular solve: L^-T B (*b, d, m) for lower triangular L (*b, d, d), by a solve from the last row up."""
    return jnp.flip(solve(jnp.flip(_t(L), (-2, -1)), jnp.flip(B, -2)), -2)


@jax.custom_jvp
def inverse(L: Float[Array, "*b d d"]) -> Float[Array, "*b d d"]:
    """Triangular inverse: L^-1 (*b, d, d) for lower L (*b, d, d), of which only the lower triangle is read."""
    unit = _units(L)
    eye = jnp.broadcast_to(jnp.eye(L.shape[-1], dtype=L.dtype), L.shape)
    return _on_each(_solve_one, _solve_lanes, L / unit, eye) / _t(unit)


@inverse.defjvp
def _(primals, tangents):
    W = inverse(*primals)
    return W, -W @ jnp.tril(tangents[0]) @ W


@jax.custom_jvp
def cholesky(S: Float[Array, "*b d d"]) -> Float[Array, "*b d d"]:
    """Cholesky factor: the lower L (*b, d, d) with L L^T = S, for each symmetric S (d, d).

    Where S is not positive definite, the diagonal of L has NaN. The rest of L may be NaN too, or, for small S on a CPU,
    the columns before the first pivot that is not positive stay finite.
    """
    return _on_each(jnp.linalg.cholesky, _cholesky_lanes, S)


@cholesky.defjvp
def _(primals, tangents):
    L = cholesky(*primals)
    W = inverse(L)
    return L, L @ _half(W @ tangents[0] @ _t(W))


@jax.custom_jvp
def triangularized(A: Float[Array, "*b d e"]) -> Float[Array, "*b d d"]:
    """Orthogonal triangularization of A (*b, d, e), d <= e: lower F (*b, d, d), F F^T = A A^T, with positive diagonal.

    By QR of A^T, or Gram-Schmidt on the rows of A. A A^T is never formed, so that its condition number is not squared.
    Of a triangular A it is A, but for the signs of columns and the last bits.
    """
    unit = _units(A)
    d, e = A.shape[-2:]
    on_cpu = _triangularize_blocks if d * e > THREADED and e > 2 * BLOCK * d else _triangularize_one
    return unit * _on_each(on_cpu, _triangularize_lanes, A / unit, elsewhere=_triangularize_one)


@triangularized.defjvp
def _(primals, tangents):
    (A,), (dA,) = primals, tangents
    F = triangularized(A)
    W = inverse(F)
    moved = W @ dA @ _t(W @ A)
    return F, F @ _half(moved + _t(moved))


def _units(A):
    """Units of rows: powers of two (*b, d, 1) near the largest of each row, 1 where that is 0 or not finite."""
    largest = jnp.abs(A).max(-1, keepdims=True)
    info = jnp.finfo(A.dtype)
    power = jax.lax.reduce_precision(largest, exponent_bits=info.bits - info.nmant - 1, mantissa_bits=0)
    return jnp.where((power > 0) & jnp.isfinite(power), power, 1)


def _half(M):
    """The lower triangle, the diagonal halved."""
    return jnp.tril(M) - 0.5 * M * jnp.eye(M.shape[-1], dtype=M.dtype)


def _t(M):
    return jnp.swapaxes(M, -1, -2)


def _on_each(
    one: Callable[..., Array],
    lanes: Callable[..., Array],
    *matrices: Array,
    elsewhere: Callable[..., Array] | None = None,
) -> Array:
    """Applies `one` to each of a batch of matrices, in the way that suits the platform; `lanes` does it batch last.

    `elsewhere` is for other platforms than a CPU, where it is another than `one`.
    """
    batch = matrices[0].shape[:-2]
    flat = tuple(m.reshape(math.prod(batch), *m.shape[-2:]) for m in matrices)
    on_cpu = _in_lanes(lanes) if matrices[0].shape[-2] <= LARGEST_IN_LANES else _one_at_a_time(one)
    result = jax.lax.platform_dependent(*flat, cpu=on_cpu, default=jax.vmap(elsewhere or one))
    return result.reshape(*batch, *result.shape[1:])


def _one_at_a_time(one):
    # Under vmap too: a batched call is what must not happen.
    @jax.custom_batching.sequential_vmap
    def run(*matrices):
        return jax.lax.map(lambda pair: one(*pair), matrices)

    return run


def _in_lanes(lanes):
    def run(*matrices):
        n, size = len(matrices[0]), max(FEWEST, LANES // max(math.prod(own.shape[1:]) for own in matrices))
        if n <= size:  # one block, and no loop: half of what is to be traced
            return jnp.moveaxis(lanes(*(jnp.moveaxis(matrix, 0, -1) for matrix in matrices)), -1, 0)
        count = -(-n // size)
        ends = [(0, count * size - n), (0, 0), (0, 0)]

        def blocks(matrix):
            padded = jnp.pad(matrix, ends, mode="edge")
            return jnp.moveaxis(padded.reshape(count, size, *matrix.shape[1:]), 1, -1)

        result = jax.lax.map(lambda block: lanes(*block), tuple(map(blocks, matrices)))
        return jnp.moveaxis(result, -1, 1).reshape(count * size, *result.shape[1:-1])[:n]

    return run


def _solve_one(L, B):
    return jax.lax.linalg.triangular_solve(L, B, left_side=True, lower=True)


def _solve_lanes(L, B):
    """Forward substitution."""

    def step(i, X):
        known = jnp.where((jnp.arange(len(L)) < i)[:, None], L[i], 0)
        return X.at[i].set((B[i] - (known[:, None] * X).sum(0)) / L[i, i])

    return jax.lax.fori_loop(0, len(L), step, jnp.zeros_like(B))


def _cholesky_lanes(S):
    def step(j, L):
        column = S[:, j] - (L * L[j]).sum(1)
        return L.at[:, j].set(jnp.where((jnp.arange(len(S)) >= j)[:, None], column / jnp.sqrt(column[j]), 0))

    return jax.lax.fori_loop(0, len(S), step, jnp.zeros_like(S))


def _triangularize_one(A):
    R = jnp.linalg.qr(A.T, mode="r")
    return (R * jnp.where(jnp.diagonal(R) < 0, -1, 1).astype(R.dtype)[:, None]).T


def _triangularize_blocks(A):
    """Triangularization of one wide matrix (d, e): of blocks of columns, and again of what these leave."""
    d, e = A.shape
    while e > 2 * BLOCK * d:
        blocks = -(-e // (BLOCK * d))
        wide = jnp.pad(A, [(0, 0), (0, blocks * BLOCK * d - e)]).reshape(d, blocks, BLOCK * d)
        narrow = jax.lax.map(lambda block: jnp.linalg.qr(block, mode="r"), jnp.moveaxis(wide, 0, -1))
        A, e = narrow.reshape(blocks * d, d).T, blocks * d
    return _triangularize_one(A)


def _triangularize_lanes(A):
    """Modified Gram-Schmidt on the rows, whose triangular factor is as accurate as Householder's: Bjorck (1967)."""

    def step(i, carry):
        A, F = carry
        unit = A[i] / jnp.sqrt((A[i] ** 2).sum(0))
        column = jnp.where((jnp.arange(len(A)) >= i)[:, None], (A * unit).sum(1), 0)
        return A - column[:, None] * unit, F.at[:, i].set(column)

    return jax.lax.fori_loop(0, len(A), step, (A, jnp.zeros((len(A), len(A), A.shape[-1]), A.dtype)))[1]


def whitener(A: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Inverse Cholesky factor of one large matrix A (d, d): the upper triangular F with F F^T = A^-1.

    All NaN where A is not positive definite.
    """
    factor = jnp.linalg.cholesky(A)
    return _solve_one(factor, jnp.eye(len(A), dtype=A.dtype)).T
