"""Sums over the paths of long chains, all steps at once: operations of `chain` for accelerators.

A stretch of steps is a table over the states before it and at its end: log p(end = j | before = i, its steps), and the
log of what its steps add given i. Two stretches join into one, in any grouping, which is an associative scan:

    steps  0 │ 1 │ 2 │ 3 │ 4 │ 5 │ ...        (i, j) of 0..2  joined with  (j, l) of 3..5  ─▶  (i, l) of 0..5

That is some hundred rounds instead of t steps one after another, for k times the work and memory (t, n, k, k). Nothing
cancels. What a row holds is relative to the row's own total, for what follows may differ by any factor between states,
and totals are sums of two floats. The way back joins p(y_s = i | y_{s+1} = j, steps up to s), which add to 1 for each
j, with the probabilities at the last step.
Source: Hassan, Särkkä and García-Fernández (2021), Temporal parallelization of inference in hidden Markov models.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from dgjax_kernels import associative, chain as reference
from dgjax_kernels._op import like
from dgjax_kernels.blocks import pairwise_sum, two_sum
from dgjax_kernels.chain import existing, finite, log_sum, relative, steps_first

FEWEST_STEPS, MOST_WORK, MOST_MEMORY = 512, 1 << 18, 1 << 26  # exponentials of a step, floats of a table: `long`


class Stretch(NamedTuple):
    """Transfer table of a stretch of steps: log p(end = j | before = i) (..., i, j); the log of what it adds given i.

    That log (..., i) is the sum of `total` and `error`, so that it is right beyond one float's digits.
    """

    log_share: Float[Array, "*batch k k"]
    total: Float[Array, "*batch k"]
    error: Float[Array, "*batch k"]


def long(initial: Array, transition: Array, scores: Array, lengths: Array) -> bool:
    """Dispatch of long chains: True if steps are many, each too small to fill an accelerator, and their tables fit.

    With scores (n, t, k): t of 512 or more, n k^3 up to 2^18 and n t k^2 up to 2^26. Counted, not measured: a step of
    the reference is several kernels of some microseconds each, in which time an accelerator takes a million
    exponentials. Six tables or so are held for each step: 1.5 GiB in float32 at most.
    """
    del initial, transition, lengths
    n, t, k = scores.shape
    return t >= FEWEST_STEPS and n * k**3 <= MOST_WORK and n * t * k**2 <= MOST_MEMORY


@like(reference.log_partition)
def log_partition(initial, transition, scores, lengths):
    stretches = _stretches(initial, transition, scores, lengths)
    zero = jnp.zeros((), scores.dtype)
    whole = associative.fold(_join, stretches, Stretch(_stay(stretches.log_share), zero, zero))
    return (whole.total + whole.error)[:, 0]


@like(reference.expectation)
def expectation(initial, transition, scores, lengths):
    value, share, log_p = _posterior(initial, transition, scores, lengths)
    inside = existing(lengths, len(log_p)).T[..., None]
    pairs = jnp.where(inside[1:, :, None], jnp.exp(share + log_p[1:, :, None]), 0)
    if transition.ndim == 3:
        counts = jnp.swapaxes(pairs, 0, 1)
    else:
        counts = pairwise_sum(jnp.concatenate([pairs, jnp.zeros_like(share, shape=(1, *share.shape[1:]))]))
    return value, jnp.swapaxes(jnp.where(inside, jnp.exp(log_p), 0), 0, 1), counts


@like(reference.log_marginals)
def log_marginals(initial, transition, scores, lengths):
    _, _, log_p = _posterior(initial, transition, scores, lengths)
    return jnp.where(existing(lengths, len(log_p))[..., None], jnp.swapaxes(log_p, 0, 1), -jnp.inf)


def _posterior(initial, transition, scores, lengths):
    """The log-partition, log p(y_s = i | y_{s+1} = j, steps up to s) (t - 1, n, i, j) and log p(y_s = i) (t, n, i)."""
    upto = associative.scan(_join, _stretches(initial, transition, scores, lengths))
    log_filtered = upto.log_share[:, :, 0]
    share = _where_inside(lengths, _of_columns(log_filtered[:-1, :, :, None] + _moves(transition)))
    last = jnp.broadcast_to(log_filtered[-1, :, :, None], upto.log_share.shape[1:])
    log_p = associative.scan(_before, jnp.concatenate([share, last[None]])[::-1])[::-1, ..., 0]
    return (upto.total + upto.error)[-1, :, 0], share, log_p


def _stretches(initial, transition, scores, lengths):
    """Tables of single steps, steps first; that of step 0 is alike for every state before it, as there is none."""
    steps, k = steps_first(scores, lengths), len(initial)
    first = jnp.broadcast_to((initial + steps[0])[:, None], (*steps[0].shape, k))
    later = _where_inside(lengths, _moves(transition) + steps[1:, :, None])
    log_share, total = relative(jnp.concatenate([first[None], later]))
    return Stretch(log_share, total, jnp.zeros_like(total))


def _join(first, second):
    """Table of two neighbouring stretches as one: sums over the state between them.

    What the second adds is relative to the state from which the first gives it most.
    """
    base = finite((first.log_share + second.total[..., None, :]).max(-1))
    added = (second.total[..., None, :] - base[..., None]) + second.error[..., None, :]
    log_share, gained = relative(_log_product(first.log_share + added, second.log_share))
    return Stretch(log_share, *two_sum(*two_sum(first.total, first.error, base), gained))


def _before(later, earlier):
    return _of_columns(_log_product(earlier, later))


def _log_product(a, b):
    return log_sum(a[..., None] + b[..., None, :, :], -2)


def _of_columns(tables):
    """Tables with columns relative to their totals, log p(before | end); -inf where a state is not reached."""
    return tables - finite(log_sum(tables, -2))[..., None, :]


def _moves(transition):
    return transition if transition.ndim == 2 else transition[:, None]


def _where_inside(lengths, tables):
    """Tables of each step from the second on; beyond the length of a sequence, those that stay in the same state."""
    inside = existing(lengths, len(tables) + 1).T[1:, :, None, None]
    return jnp.where(inside, tables, _stay(tables))


def _stay(tables):
    return jnp.where(jnp.eye(tables.shape[-1], dtype=bool), 0, -jnp.inf).astype(tables.dtype)
