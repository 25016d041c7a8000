"""Multivariate normal distributions with missing cells, on rows times labels.

One identity does it all. Put a row's observed cells first and factor the reordered covariance, F F^T, F lower
triangular; with u standard normal

    [r_observed]   [F_oo   0 ] [u_o]     density of the observed cells: N(u_o; 0, I) / det F_oo
    [r_missing ] = [F_mo F_mm] [u_m]     missing cells given them: mean F_mo u_o, covariance F_mm F_mm^T

F comes by orthogonal transformation of L's reordered rows, so no covariance is ever formed and its condition number
never squared; for a complete row F is L.

Letters: x rows (n, d), NaN where missing; labels stand in g groups of m that share a factor; mean (g, m, d), r = x -
mean; L the lower Cholesky factor of a covariance (g, d, d), of which only the lower triangle is read; c counts
(n, g, m), none of them negative.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dgjax_kernels import triangular
from dgjax_kernels.blocks import map_rows, sum_rows
from dgjax_kernels.rows import LOG_TWO_PI, joint_partition


def scores(x: Float[Array, "n d"], mean: Float[Array, "g m d"], L: Float[Array, "g d d"]) -> Float[Array, "n g m"]:
    """Normal log density (n, g, m): log N(x_observed; mean_observed, (L L^T)_observed); exactly 0 for a row of NaN.

    Rows x (n, d), NaN missing; g groups of m labels with means (g, m, d), each group with a lower Cholesky factor L
    (g, d, d) of its covariance.
    """

    def block(x):
        return _by_pattern(lambda form, x: form(x, mean, L).scores(), x)

    return map_rows(block, x, row_cost=cost(mean, L))


def cost(mean: Array, L: Array) -> int:
    """Memory of one row in floats, by which the size of blocks is chosen: as many as there are in means and factors."""
    return mean.size + L.size


def complete_scores(
    x: Float[Array, "n d"], mean: Float[Array, "g m d"], L: Float[Array, "g d d"]
) -> Float[Array, "n g m"]:
    """Normal log density of complete rows (n, g, m): log N(x; mean, L L^T), for rows x (n, d) known to miss no cell.

    g groups of m labels with means (g, m, d), each group with a lower Cholesky factor L (g, d, d) of its covariance.
    """
    return map_rows(lambda x: _complete(x, mean, L).scores(), x, row_cost=cost(mean, L))


class _Rows(NamedTuple):
    """What is asked of some rows, scores (n, g, m) and at counts c (n, g, m) statistics, over what both have in common.

    An E-step asks both, and triangularizes each row's factor once.
    """

    scores: Callable[[], Array]
    statistics: Callable[[Array], tuple[Array, Array, Array]]


def _complete(x, mean, L):
    """Rows that miss no cell."""
    u = _whitened(x, mean, L)

    def scores():
        constant = _log_diagonal(L).sum(-1) + 0.5 * x.shape[1] * LOG_TWO_PI
        return none_undefined(-0.5 * (u**2).sum(-1) - constant[:, None], are_known(mean, L))

    return _Rows(scores, lambda c: _moments(u, c))


def _incomplete(x, mean, L):
    """Rows that may miss cells."""
    F, order = _reordered(x, L)
    u, leading = _leading(F, x, mean, order)

    def scores():
        constant = jnp.where(order.observed[:, None], _log_diagonal(leading) + 0.5 * LOG_TWO_PI, 0).sum(-1)
        return none_undefined(-0.5 * (u**2).sum(-2) - constant[..., None], are_known(mean, L))

    def statistics(c):
        residual, factor = _conditional_residual(x, mean, F, u, order)
        W = triangular.inverse(L)
        total, first, second = _moments(jnp.einsum("gde,ngme->ngmd", W, residual), c)
        noise = jnp.einsum("gde,ngef->ngdf", W, factor)
        weighted = c.sum(-1)[..., None, None] * noise
        return total, first, second + jnp.einsum("ngdf,ngef->gde", weighted, noise)

    return _Rows(scores, statistics)


def _by_pattern(ask, x, *arguments):
    """`ask(form, x, *arguments)`, in which the form is that of complete rows if no cell is missing."""
    forms = (functools.partial(ask, form) for form in (_incomplete, _complete))
    return jax.lax.cond(jnp.isnan(x).any(), *forms, x, *arguments)


def are_known(mean: Float[Array, "g m d"], L: Float[Array, "g d d"]) -> Bool[Array, "g m"]:
    """Check of parameters (g, m): True where a label's mean (g, m, d) and its group's lower L (g, d, d) are finite."""
    return jnp.isfinite(mean).all(-1) & jnp.isfinite(jnp.tril(L)).all((1, 2))[:, None]


def none_undefined(scores: Float[Array, "n *k"], known: Bool[Array, "*k"]) -> Float[Array, "n *k"]:
    """Scores (n, *k) with minus infinity in place of NaN, where all parameters of a label are known (*k).

    Infinity less infinity is what is left of an infinite cell, or of one whose terms overflow: it has density 0. A
    model that is NaN itself scores NaN.
    """
    return jnp.where(jnp.isnan(scores) & known, -jnp.inf, scores)


def conditional(
    residual: Float[Array, "n d"], group: Int[Array, " n"], L: Float[Array, "g d d"]
) -> Float[Array, "n d"]:
    """Conditional mean (n, d): E[r | r_observed] of r ~ N(0, L L^T), L (g, d, d) being that of each row's `group` (n,).

    r itself on observed cells. `residual` (n, d) is r = x - mean, NaN where missing. A draw is r + E[x - r | x_observed
    - r_observed], with r a draw of whole rows: it moves by as much as what is observed asks for. Source: Matheron's
    rule, Journel and Huijbregts (1978).
    """

    def of_row(row, L):
        x, mean = row[None], jnp.zeros_like(row)[None, None]
        F, order = _reordered(x, L[None])
        u, _ = _leading(F, x, mean, order)
        return _conditional_residual(x, mean, F, u, order)[0][0, 0, 0]

    return jax.vmap(of_row)(residual, L[group])


def _conditional_residual(x, mean, F, u, order):
    """Conditional mean of x - mean (n, g, m, d), and the factor of the missing cells' covariance (n, g, d, d)."""
    residual = jnp.swapaxes(_picked(F @ u, order.places), -1, -2)
    factor = _picked(jnp.where(order.observed[:, None, None], 0, F), order.places)
    return jnp.where(jnp.isnan(x)[:, None, None], residual, x[:, None, None] - mean), factor


def statistics(
    x: Float[Array, "n d"], c: Float[Array, "n g m"], mean: Float[Array, "g m d"], L: Float[Array, "g d d"]
) -> tuple[Float[Array, "g m"], Float[Array, "g m d"], Float[Array, "g d d"]]:
    """Expected sufficient statistics: sums over rows of c (g, m), c E[u] (g, m, d) and c E[u u^T] (g, d, d).

    x = mean + L u. The last is over the m labels of a group too. Expectations are over the missing cells given the
    observed ones. Rows x (n, d), NaN missing, counts c (n, g, m), mean (g, m, d), lower Cholesky factors L (g, d, d).
    Centred at and whitened with the current component: raw second moments lose every digit of float32 on data far from
    0, and small eigenvalues to large ones.
    """

    def block(x, c):
        return _by_pattern(lambda form, x, c: form(x, mean, L).statistics(c), x, c)

    return sum_rows(block, x, c, fill=(0, 0), row_cost=cost(mean, L))


def complete_statistics(
    x: Float[Array, "n d"], c: Float[Array, "n g m"], mean: Float[Array, "g m d"], L: Float[Array, "g d d"]
) -> tuple[Float[Array, "g m"], Float[Array, "g m d"], Float[Array, "g d d"]]:
    """Sufficient statistics of complete rows: sums of c (g, m), c u (g, m, d) and c u u^T (g, d, d).

    x = mean + L u. The last is over the m labels of a group too. Rows x (n, d) known to miss no cell, counts c (n, g,
    m), mean (g, m, d), lower Cholesky factors L (g, d, d).
    """

    def block(x, c):
        return _complete(x, mean, L).statistics(c)

    return sum_rows(block, x, c, fill=(0, 0), row_cost=cost(mean, L))


def _expectation(by_form: Callable[..., Any]) -> Callable[..., Any]:
    """Makes the E-step of rows in the form that `by_form(ask, x, *arguments)` asks, in one pass over blocks of rows."""

    def expectation(
        x: Float[Array, "n d"],
        y: Int[Array, " n"],
        weights: Float[Array, " n"],
        log_weights: Float[Array, "g m"],
        mean: Float[Array, "g m d"],
        L: Float[Array, "g d d"],
    ) -> tuple[Float[Array, ""], tuple[Float[Array, "g m"], Float[Array, "g m d"], Float[Array, "g d d"]]]:
        """E-step: sum_n w_n log p(x_n, y_n), and sufficient statistics at the counts c = w p(y | x), in one pass.

        Rows x (n, d), NaN missing, labels y (n,) from 0 to g m - 1, or -1, unknown: then log p(x_n) counts; weights w
        (n,), log_weights (g, m), mean (g, m, d), lower Cholesky factors L (g, d, d). Statistics are sums of c (g, m), c
        E[u] (g, m, d) and, over the labels of a group too, c E[u u^T] (g, d, d), where x = mean + L u.
        """

        def ask(form, x, y, weights):
            rows = form(x, mean, L)
            joint = log_weights + rows.scores()
            value, c = joint_partition(x, y, weights, joint.reshape(len(x), -1))
            return value, rows.statistics(c.reshape(joint.shape))

        def block(*rows):
            return by_form(ask, *rows)

        return sum_rows(block, x, y, weights, fill=(0, -1, 0), row_cost=cost(mean, L))

    return expectation


expectation = _expectation(_by_pattern)
complete_expectation = _expectation(lambda ask, *rows: ask(_complete, *rows))


def backward(scores: Callable[..., Any], statistics: Callable[..., Any]) -> Callable[..., tuple[Array, Array, Array]]:
    """Vector-Jacobian product of `scores` (x, mean, L): cotangents of x, means and L from c (n, g, m), the scores' own.

    Returns back((x, mean, L), perturbed, c); for means and L by sums that EM needs too, `statistics` at c. For d log
    p(x_observed) = E[d log p(x) | x_observed], which gives a mean L^-T u, and L the lower part of L^-T (u u^T - I).
    Source: Fisher's identity, as in Dempster, Laird and Rubin (1977), discussion.
    """

    def back(arguments, perturbed, c):
        x, mean, L = arguments
        total, first, second = _of_either_sign(statistics, x, c, mean, L)
        spread = second - total.sum(-1)[:, None, None] * jnp.eye(x.shape[1], dtype=x.dtype)
        W = jnp.swapaxes(triangular.inverse(L), 1, 2)
        of_x = jax.vjp(lambda x: scores(x, mean, L), x)[1](c)[0] if perturbed[0] else jnp.zeros_like(x)
        return of_x, jnp.einsum("gde,gme->gmd", W, first), jnp.tril(W @ spread)

    return back


def _of_either_sign(statistics, x, c, mean, L):
    """Statistics at counts that may be negative, as cotangents are: those of the two signs apart."""

    def apart():
        parts = [statistics(x, jnp.maximum(own, 0), mean, L) for own in (c, -c)]
        return jax.tree.map(jnp.subtract, *parts)

    return jax.lax.cond((c < 0).any(), apart, lambda: statistics(x, c, mean, L))


def _moments(u, c):
    weighted = c[..., None] * u
    return c.sum(0), weighted.sum(0), jnp.einsum("ngmd,ngme->gde", weighted, u)


def _whitened(x, mean, L):
    """L^-1 (x - mean), (n, g, m, d).

    By the inverse, as matrix products, and one step of refinement, which makes it as accurate as substitution; without
    it float32 misses 1e-3 nats + 1e-5 relative already at condition numbers of 1e5. By substitution where that is less
    work than the inverse: of a single row of 4 columns it leaves a program that XLA hands to no other thread (55 us).
    """
    residual = x[:, None, None] - mean
    n, g, m, d = residual.shape
    if n * m <= d:
        u = triangular.solve(L, jnp.moveaxis(residual, 0, -1).swapaxes(1, 2).reshape(g, d, m * n))
        return jnp.moveaxis(u.reshape(g, d, m, n).swapaxes(1, 2), -1, 0)
    W, L = triangular.inverse(L), jnp.tril(L)
    u = jnp.einsum("gde,ngme->ngmd", W, residual)
    return u + jnp.einsum("gde,ngme->ngmd", W, residual - jnp.einsum("gde,ngme->ngmd", L, u))


class _Order(NamedTuple):
    """Order of each row's cells that has the observed ones first, all (n, d): cells in it, of which lead `observed`."""

    cells: Array
    places: Array  # of each cell
    observed: Array


def _ordered(x):
    """By counting how many cells come before each: XLA can write no program with a sort to disk."""
    missing, numbers = jnp.isnan(x), jnp.arange(x.shape[-1])
    rank = jnp.where(missing, numbers + len(numbers), numbers)
    places = (rank[:, None] < rank[..., None]).sum(-1)
    cells = jnp.where(places[:, None] == numbers[:, None], numbers, 0).sum(-1)
    return _Order(cells, places, numbers < (~missing).sum(-1, keepdims=True))


def _picked(A, index):
    """Rows `index` (n, d) of matrices A (n, g, d, m)."""
    return jnp.take_along_axis(A, index[:, None, :, None], axis=-2, mode="promise_in_bounds")


def _reordered(x, L):
    """The factor of each row's covariance in the order that has observed cells first (n, g, d, d), and that order."""
    order = _ordered(x)
    rows = jnp.tril(L).at[:, order.cells].get(mode="promise_in_bounds")
    return triangular.triangularized(jnp.swapaxes(rows, 0, 1)), order


def _leading(F, x, mean, order):
    """u (n, g, d, m) with F u = residual on the observed cells and 0 elsewhere, and F with identity rows there."""
    residual = jnp.swapaxes(jnp.where(jnp.isnan(x)[:, None, None], 0, x[:, None, None] - mean), -1, -2)
    F = jnp.where(order.observed[:, None, :, None], F, jnp.eye(x.shape[1], dtype=F.dtype))
    return triangular.solve(F, _picked(residual, order.cells)), F


def _log_diagonal(L):
    return jnp.log(jnp.abs(jnp.diagonal(L, axis1=-2, axis2=-1)))
