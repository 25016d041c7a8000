"""Softmax regression on rows: the log-likelihood with its gradient, and its curvature (minus the Hessian).

    p(y | x) = softmax(s)_y, s = b + W x        gradient: sum_n w_n (onehot(y_n) - p_n) (1, x_n)^T

Letters: x rows (n, d), weights w (n,), bias b (k,) and weight W (k, d) of the scores s; y labels (n,), -1 where
unknown. With k = 1 there are two classes, the scores of which are 0 and s.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dgjax_kernels.blocks import pairwise_sum, sum_rows
from dgjax_kernels.rows import partition
from dgjax_kernels.zero_copy import ZeroCopyRows


def gradient(
    x: Float[Array, "n d"], y: Int[Array, " n"], w: Float[Array, " n"], b: Float[Array, " k"], W: Float[Array, "k d"]
) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "k d"]]:
    """Log-likelihood of softmax regression, sum_n w_n log p(y_n | x_n), with its gradients in b (k,) and W (k, d).

    p(y | x) = softmax(b + W x)_y; the gradients are sums of w_n (onehot(y_n) - p_n), and of that times x_n^T. Rows x
    (n, d), labels y (n,), weights w (n,); a row without a label, -1, adds nothing. With k = 1 there are two classes,
    the scores of which are 0 and b + W x.
    """

    def block(x, y, w):
        scores = _scores(x, b, W)
        value, p = partition(scores, jnp.full_like(y, -1))
        given, hard = partition(scores, y)
        counted = jnp.where(y >= 0, w, 0)
        value = pairwise_sum(jnp.where(counted > 0, counted * (given - value), 0))
        residual = (counted[:, None] * (hard - p))[:, -len(b) :]
        return value, residual.sum(0), residual.T @ x

    return sum_rows(block, x, y, w, fill=(0, -1, 0), row_cost=W.size)


def gradient_zero_copy(
    first: Float[Array, "few d"],
    cells: Float[Array, " rest"],
    y: Int[Array, " n"],
    w: Float[Array, " n"],
    b: Float[Array, " k"],
    W: Float[Array, "k d"],
) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "k d"]]:
    """Log-likelihood of softmax regression on zero-copy rows, with its gradients in b (k,) and W (k, d).

    sum_n w_n log p(y_n | x_n) with p(y | x) = softmax(b + W x)_y, a row without a label, -1, adding nothing. `first`
    and `cells` are the two parts of `ZeroCopyRows`: the first few rows, and all cells from the first aligned one on.
    """
    return gradient(ZeroCopyRows(first, cells).whole(), y, w, b, W)


def gram(x: Float[Array, "n d"], a: Float[Array, "n q"]) -> Float[Array, "q e e"]:
    """Weighted Gram matrices (q, e, e): sum_n a_nq z_n z_n^T, z = (1, x), e = 1 + d, for each column of a (n, q)."""
    z = jnp.concatenate([jnp.ones((len(x), 1), x.dtype), x], -1)
    return jnp.einsum("nq,nd,ne->qde", a, z, z)


def curvature(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    w: Float[Array, " n"],
    b: Float[Array, " k"],
    W: Float[Array, "k d"],
    gram: Callable = gram,
    most_at_once: int = 0,
) -> Float[Array, "k e k e"]:
    """Curvature (minus the Hessian) of the log-likelihood of softmax regression (k, e, k, e).

    Entry (i, a, j, b) is sum_n w_n p_ni ([i = j] - p_nj) z_na z_nb, z = (1, x) with e = 1 + d, p = softmax(b + W x),
    for rows x (n, d), weights w (n,), bias b (k,) and W (k, d); rows without a label y, -1, add nothing. With k = 1
    there are two classes, the scores of which are 0 and b + W x. By `gram`, weighted Gram matrices (x, a) -> (q, e, e),
    one for each pair of labels; on blocks of rows, or all at once if rows times pairs are at most `most_at_once`.
    """
    k, (i, j) = len(b), np.tril_indices(len(b))

    def block(x, y, w):
        p = jax.nn.softmax(_scores(x, b, W), axis=-1)[:, -k:]
        counted = jnp.where(y >= 0, w, 0)[:, None]
        return gram(x, counted * p[:, i] * ((i == j) - p[:, j]))

    if len(x) * len(i) <= most_at_once:
        pairs = block(x, y, w)
    else:
        pairs = sum_rows(block, x, y, w, fill=(0, -1, 0), row_cost=len(i) + W.shape[1])
    full = jnp.zeros((k, k, *pairs.shape[1:]), x.dtype).at[i, j].set(pairs).at[j, i].set(pairs)
    return full.swapaxes(1, 2)


def _scores(x, b, W):
    scores = b + x @ W.T
    return scores if len(b) > 1 else jnp.concatenate([jnp.zeros_like(scores), scores], -1)
