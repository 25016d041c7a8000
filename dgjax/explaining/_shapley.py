"""Shapley values of a game: from the worth of every coalition, or of the prefixes of random orders.

    phi_j = sum over S without j of |S|! (p - |S| - 1)! / p!  (v(S with j) - v(S))

Coalitions of p players are numbered by their bits: player j is in coalition c where bit j of c is 1. In the sums below
each v(S) is read once: with a(S) = (|S| - 1)! (p - |S|)! / p! where it holds j, and b(S) = |S|! (p - |S| - 1)! / p!
where it does not, phi_j = sum_{S with j} (a + b) v(S) - sum_S b v(S).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

EXACT = 20
"""Players up to which all coalitions are worth their time: 2^20 of them, in 0.3 s a row for Gaussian models."""


def members(p: int) -> Bool[np.ndarray, "c p"]:
    """Who is in each of the 2^p coalitions."""
    return (np.arange(1 << p)[:, None] >> np.arange(p)) & 1 == 1


def shapley_values(v: Float[np.ndarray, "n c"], p: int) -> Float[np.ndarray, "n p"]:
    """Shapley values of p players from the worth v of all 2^p coalitions, by the number of each."""
    if not p:
        return np.zeros((len(v), 0))
    of_size = _weights(p)
    size = np.zeros(1, int)
    for _ in range(p):
        size = np.concatenate([size, size + 1])
    gain = v - v[:, :1]  # of the empty coalition: what all have in common would cost digits
    with_j = gain * np.r_[0, of_size][size]
    without_j = gain * np.r_[of_size, 0][size]
    both, rest = with_j + without_j, without_j.sum(1)
    return np.stack([both.reshape(len(v), -1, 2, 1 << j)[:, :, 1].sum((1, 2)) - rest for j in range(p)], 1)


def _weights(p):
    """|S|! (p - |S| - 1)! / p! for |S| = 0 ... p - 1."""
    weights = np.full(p, 1 / p)
    for s in range(1, p):  # p choose s grows too large for floats, and ratios do not
        weights[s] = weights[s - 1] * s / (p - s)
    return weights


def estimated(
    prefixes: Callable[[Int[np.ndarray, " p"]], Float[np.ndarray, "n q"]], p: int, pairs: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, "n p"]]:
    """Estimates of Shapley values, and their standard errors, from `pairs` of random orders and their reverses.

    `prefixes(order)` is the worth (n, p + 1) of the first 0, 1, ..., p players of an order. The values of a row sum to
    the worth of all players less that of none, for those of each order do.
    Source: Mitchell, Cooper, Frank and Holmes (2022), antithetic sampling.
    """
    total, squares = np.zeros(()), np.zeros(())
    for _ in range(pairs):
        order = rng.permutation(p)
        both = np.zeros(())
        for one in (order, order[::-1]):
            both = both + np.diff(prefixes(one), axis=1)[:, np.argsort(one)] / 2
        total, squares = total + both, squares + both**2
    mean = total / pairs
    if pairs < 2:
        return mean, np.full_like(mean, np.nan)
    return mean, np.sqrt(np.maximum(squares / pairs - mean**2, 0) / (pairs - 1))
