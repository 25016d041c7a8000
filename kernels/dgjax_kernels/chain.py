"""Chains: sums, maxima and draws over all paths of k states, from log-potentials.

The score of a path y of l steps is initial[y_0] + sum_s scores[s, y_s] + sum_s transition[y_s, y_{s+1}], where the
transition may differ by step. Everything stays in logarithms, and each step is taken relative to its own total, so that
structural zeros, a surprising step and a million steps cost no digits.

All of it follows from two things: log p(y_s = j, steps up to s), and p(y_s = i | y_{s+1} = j, steps up to s), which is
their ratio. The first gives the log-partition, the second, run backwards, marginals, counts and draws: sums of positive
numbers, without a backward recursion whose errors would have to cancel those of the forward one.
Source: Rabiner (1989), A tutorial on hidden Markov models, section III; Hernando, Crespi and Cybenko (2005), entropy.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key

from dgjax_kernels._op import Op
from dgjax_kernels.blocks import pairwise_sum, two_sum
from dgjax_kernels.rows import categorical

Transition = Float[Array, "k k"] | Float[Array, "t_less_1 k k"]


class Forward(NamedTuple):
    """What a pass forward leaves, steps first: log p(y_s | steps up to s) and the log of what each step adds."""

    log_filtered: Float[Array, "t n k"]
    gained: Float[Array, "t n"]


def log_partition(
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Float[Array, " n"]:
    """log of the sum over paths of exp score; minus infinity where no path is possible."""
    return _total(_forward(initial, transition, scores, lengths))


def expectation(
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> tuple[Float[Array, " n"], Float[Array, "n t k"], Float[Array, "n *steps k k"]]:
    """The log-partition, p(y_s = i), and the expected number of transitions, for each step if they differ by step.

    Nothing but zeros beyond a sequence's length, and for a sequence that no path could give.
    """
    forward = _forward(initial, transition, scores, lengths)
    (n, t, k), per_step = scores.shape, transition.ndim == 3

    def step(carry, xs):
        later, counts = carry
        s, log_filtered, own = xs
        pairs = later[:, None] * _conditional(log_filtered, own if per_step else transition)
        inside = (s + 1 < lengths)[:, None]
        pairs = jnp.where(inside[..., None], pairs, 0)
        marginal = _normalised(jnp.where(inside, pairs.sum(2), later))
        counts = None if counts is None else two_sum(*counts, pairs)
        return (marginal, counts), (marginal, pairs if per_step else None)

    last = jnp.exp(forward.log_filtered[-1])
    none = None if per_step else (jnp.zeros((n, k, k), scores.dtype),) * 2
    xs = (jnp.arange(t - 1), forward.log_filtered[:-1], transition if per_step else None)
    run: Any = jax.lax.scan(step, (last, none), xs, reverse=True)
    (_, counts), (earlier, pairs) = run
    counts = jnp.swapaxes(pairs, 0, 1) if per_step else counts[0] + counts[1]
    marginals = jnp.swapaxes(jnp.concatenate([earlier, last[None]]), 0, 1)
    there = (jnp.arange(t) < lengths[:, None])[..., None]
    return _total(forward), jnp.where(there, marginals, 0), counts


def log_marginals(
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Float[Array, "n t k"]:
    """log p(y_s = i), those far too small for p itself included."""
    forward, per_step = _forward(initial, transition, scores, lengths), transition.ndim == 3

    def step(later, xs):
        s, log_filtered, own = xs
        joint = log_filtered[:, :, None] + (own if per_step else transition)
        share = joint - _finite(_log_sum(joint, 1))[:, None]
        earlier = _log_sum(later[:, None] + share, 2)
        earlier = earlier - _finite(_log_sum(earlier, 1))[:, None]
        earlier = jnp.where((s + 1 < lengths)[:, None], earlier, later)
        return earlier, earlier

    t, last = scores.shape[1], forward.log_filtered[-1]
    xs = (jnp.arange(t - 1), forward.log_filtered[:-1], transition if per_step else None)
    _, earlier = jax.lax.scan(step, last, xs, reverse=True)
    logs = jnp.swapaxes(jnp.concatenate([earlier, last[None]]), 0, 1)
    return jnp.where((jnp.arange(t) < lengths[:, None])[..., None], logs, -jnp.inf)


def mode(
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Int[Array, "n t"]:
    """The most probable path (Viterbi 1967); -1 beyond a sequence's length, and where no path is possible."""
    k, per_step = len(initial), transition.ndim == 3

    def forward(best, xs):
        s, score, own = xs
        through = best[:, :, None] + (own if per_step else transition)
        new = _relative(through.max(1) + score)
        inside = (s < lengths)[:, None]
        came = jnp.where(inside, through.argmax(1), jnp.arange(k))
        return jnp.where(inside, new, best), came

    def backward(state, came):
        earlier = jnp.take_along_axis(came, state[:, None], axis=1)[:, 0]
        return earlier, earlier

    steps = _steps(scores, lengths)
    first = _relative(initial + steps[0])
    best, came = jax.lax.scan(forward, first, (jnp.arange(1, len(steps)), steps[1:], transition if per_step else None))
    last = best.argmax(-1)
    _, earlier = jax.lax.scan(backward, last, came, reverse=True)
    path = jnp.swapaxes(jnp.concatenate([earlier, last[None]]), 0, 1)
    return _there(path, lengths, jnp.isfinite(best.max(-1)))


def sample(
    key: Key[Array, ""],
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Int[Array, "n t"]:
    """A path drawn by its probability; -1 beyond a sequence's length, and where no path is possible."""
    forward, per_step = _forward(initial, transition, scores, lengths), transition.ndim == 3

    def step(state, xs):
        s, key, log_filtered, own = xs
        towards = own if per_step else transition
        drawn = categorical(key, log_filtered + towards.T[state])
        earlier = jnp.where(s + 1 < lengths, drawn, state)
        return earlier, earlier

    t = scores.shape[1]
    keys = jax.random.split(key, t)
    last = categorical(keys[-1], forward.log_filtered[-1])
    xs = (jnp.arange(t - 1), keys[:-1], forward.log_filtered[:-1], transition if per_step else None)
    _, earlier = jax.lax.scan(step, last, xs, reverse=True)
    path = jnp.swapaxes(jnp.concatenate([earlier, last[None]]), 0, 1)
    return _there(path, lengths, jnp.isfinite(_total(forward)))


def entropy(
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Float[Array, " n"]:
    """- sum over paths of p log p, in nats; 0 where no path is possible."""
    forward, per_step = _forward(initial, transition, scores, lengths), transition.ndim == 3

    def step(carry, xs):
        s, log_filtered, own = xs
        share = _conditional(log_filtered, own if per_step else transition)
        new = (share * carry[:, :, None] + _surprise(share)).sum(1)
        return jnp.where((s + 1 < lengths)[:, None], new, carry), None

    start = jnp.zeros_like(scores[:, 0])
    xs = (jnp.arange(scores.shape[1] - 1), forward.log_filtered[:-1], transition if per_step else None)
    given_last, _ = jax.lax.scan(step, start, xs)
    last = jnp.exp(forward.log_filtered[-1])
    return (last * given_last + _surprise(last)).sum(-1)


def _steps(scores, lengths):
    """Steps first, and nothing beyond a sequence's length, which may hold anything."""
    inside = jnp.arange(scores.shape[1]) < lengths[:, None]
    return jnp.swapaxes(jnp.where(inside[..., None], scores, 0), 0, 1)


def with_posterior(partition: Op, expectation: Op) -> Callable[..., Array]:
    """The log-partition with its derivative: marginals and counts, from the one pass that also gives its value."""

    @jax.custom_jvp
    def call(initial, transition, scores, lengths):
        return partition(initial, transition, scores, lengths)

    @call.defjvp
    def _(primals, tangents):
        value, marginals, counts = expectation(*primals)
        n = len(value)
        parts = zip((marginals[:, 0], counts, marginals), tangents, strict=False)
        moved = (jnp.where(share > 0, share * tangent, 0).reshape(n, -1).sum(1) for share, tangent in parts)
        return value, sum(moved)

    return call


def _forward(initial, transition, scores, lengths):
    steps, per_step = _steps(scores, lengths), transition.ndim == 3

    def step(before, xs):
        s, score, own = xs
        joint = _log_sum(before[:, :, None] + (own if per_step else transition), 1) + score
        gained = _log_sum(joint, 1)
        inside = s < lengths
        after = jnp.where(inside[:, None], joint - _finite(gained)[:, None], before)
        return after, (after, jnp.where(inside, gained, 0))

    joint = initial + steps[0]
    gained = _log_sum(joint, 1)
    first = joint - _finite(gained)[:, None]
    xs = (jnp.arange(1, len(steps)), steps[1:], transition if per_step else None)
    _, (after, added) = jax.lax.scan(step, first, xs)
    return Forward(jnp.concatenate([first[None], after]), jnp.concatenate([gained[None], added]))


def _total(forward):
    return pairwise_sum(forward.gained)


def _conditional(log_filtered, transition):
    """p(y_s = i | y_{s+1} = j, steps up to s) (n, i, j); all 0 for a j that is not reached."""
    joint = log_filtered[:, :, None] + transition
    return jnp.exp(joint - _finite(_log_sum(joint, 1))[:, None])


def _log_sum(values, axis):
    """Its derivative too is right where nothing or but one term is finite."""
    top = _finite(jax.lax.stop_gradient(values.max(axis, keepdims=True)))
    total = jnp.exp(values - top).sum(axis)
    none = total == 0
    return jnp.where(none, -jnp.inf, jnp.log(jnp.where(none, 1, total)) + top.squeeze(axis))


def _finite(values):
    """0 in place of minus infinity: nothing is then divided by nothing."""
    return jnp.where(jnp.isneginf(values), 0, values)


def _relative(values):
    return values - _finite(values.max(-1, keepdims=True))


def _normalised(values):
    """A share of the whole again, for rounding adds up over many steps."""
    total = values.sum(-1, keepdims=True)
    return values / jnp.where(total > 0, total, 1)


def _surprise(p):
    some = p > 0
    return jnp.where(some, -p * jnp.log(jnp.where(some, p, 1)), 0)


def _there(path, lengths, possible):
    inside = (jnp.arange(path.shape[1]) < lengths[:, None]) & possible[:, None]
    return jnp.where(inside, path, -1)
