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
    """Forward pass, steps first: log p(y_s | steps up to s), what each step adds to the log-partition, and predictions.

    Those are log p(y_s | steps before s) of all steps but the first: what the way back divides by.
    """

    log_filtered: Float[Array, "t n k"]
    gained: Float[Array, "t n"]
    log_predicted: Float[Array, "t_less_1 n k"]


def log_partition(
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Float[Array, " n"]:
    """Log-partition (n,) by the forward recursion: log of the sum over paths of exp(score).

    Minus infinity where no path is possible. The score of a path y of l steps is initial[y_0] + sum_s scores[s, y_s] +
    sum_s transition[y_s, y_{s+1}], with initial (k,), transition (k, k) or one for each move (t - 1, k, k), scores (n,
    t, k) and the lengths l (n,). Source: Rabiner (1989), section III.
    """
    return _total(_forward(initial, transition, scores, lengths))


def expectation(
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> tuple[Float[Array, " n"], Float[Array, "n t k"], Float[Array, "n *steps k k"]]:
    """Forward-backward: log-partition (n,), marginals p(y_s = i) (n, t, k), and expected transition counts (n, k, k).

    Of paths y with probability in proportion to exp(initial[y_0] + sum_s scores[s, y_s] + sum_s transition[y_s,
    y_{s+1}]), with initial (k,), transition (k, k) or (t - 1, k, k), scores (n, t, k), lengths (n,). If the transition
    differs by step, so do the counts: (n, t - 1, k, k). Marginals and counts are the gradient of the log-partition.
    They are 0 beyond a sequence's length, and for a sequence that no path could give. Source: Rabiner (1989), section
    III.
    """
    forward = _forward(initial, transition, scores, lengths)
    (n, t, k), per_step = scores.shape, transition.ndim == 3

    def step(carry, s, moves, log_filtered, log_predicted):
        later, counts = carry
        marginal, pairs = back(later, moves, log_filtered, log_predicted, s + 1 < lengths)
        counts = None if counts is None else two_sum(*counts, pairs)
        return (marginal, counts), (marginal, pairs if per_step else None)

    last = normalised(jnp.exp(forward.log_filtered[-1]))
    none = None if per_step else (jnp.zeros((n, k, k), scores.dtype),) * 2
    passed = forward.log_filtered[:-1], forward.log_predicted
    (_, counts), (earlier, pairs) = _over_moves(step, (last, none), transition, *passed, reverse=True)
    counts = jnp.swapaxes(pairs, 0, 1) if per_step else counts[0] + counts[1]
    there = existing(lengths, t)[..., None]
    return _total(forward), jnp.where(there, _joined(earlier, last), 0), counts


def log_marginals(
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Float[Array, "n t k"]:
    """Log-marginals by forward-backward (n, t, k): log p(y_s = i), those far too small for p itself included.

    Of paths y with probability in proportion to exp(initial[y_0] + sum_s scores[s, y_s] + sum_s transition[y_s,
    y_{s+1}]), with initial (k,), transition (k, k) or (t - 1, k, k), scores (n, t, k), lengths (n,). Minus infinity
    beyond a sequence's length.
    """
    forward = _forward(initial, transition, scores, lengths)

    def step(later, s, moves, log_filtered, log_predicted):
        ratio = later - finite(log_predicted)
        earlier = log_filtered + log_sum(moves + ratio[:, None], 2)
        earlier = earlier - finite(log_sum(earlier, 1))[:, None]
        earlier = jnp.where((s + 1 < lengths)[:, None], earlier, later)
        return earlier, earlier

    last = forward.log_filtered[-1]
    passed = forward.log_filtered[:-1], forward.log_predicted
    _, earlier = _over_moves(step, last, transition, *passed, reverse=True)
    return jnp.where(existing(lengths, scores.shape[1])[..., None], _joined(earlier, last), -jnp.inf)


def mode(
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Int[Array, "n t"]:
    """Viterbi: the most probable path (n, t), states 0 to k - 1.

    -1 beyond a sequence's length, and where no path is possible. The path y of the largest initial[y_0] + sum_s
    scores[s, y_s] + sum_s transition[y_s, y_{s+1}], with initial (k,), transition (k, k) or (t - 1, k, k), scores (n,
    t, k), lengths (n,); of equals, the lowest state, from the last step back. Source: Viterbi (1967).
    """

    def forward(best, s, moves, score):
        through = best[:, :, None] + moves
        new = _relative_to_best(through.max(1) + score)
        inside = (s + 1 < lengths)[:, None]
        came = jnp.where(inside, through.argmax(1), jnp.arange(len(initial)))
        return jnp.where(inside, new, best), came

    def backward(state, came):
        earlier = jnp.take_along_axis(came, state[:, None], axis=1)[:, 0]
        return earlier, earlier

    steps = steps_first(scores, lengths)
    best, came = _over_moves(forward, _relative_to_best(initial + steps[0]), transition, steps[1:])
    last = best.argmax(-1)
    _, earlier = jax.lax.scan(backward, last, came, reverse=True)
    return _there(_joined(earlier, last), lengths, jnp.isfinite(best.max(-1)))


def sample(
    key: Key[Array, ""],
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Int[Array, "n t"]:
    """Forward filtering, backward sampling: a path (n, t) drawn by its probability, states 0 to k - 1.

    The probability is in proportion to exp(initial[y_0] + sum_s scores[s, y_s] + sum_s transition[y_s, y_{s+1}]), with
    initial (k,), transition (k, k) or (t - 1, k, k), scores (n, t, k), lengths (n,). -1 beyond a sequence's length, and
    where no path is possible.
    """
    forward = _forward(initial, transition, scores, lengths)

    def step(state, s, moves, log_filtered, key):
        drawn = categorical(key, log_filtered + moves.T[state])
        earlier = jnp.where(s + 1 < lengths, drawn, state)
        return earlier, earlier

    keys = jax.random.split(key, scores.shape[1])
    last = categorical(keys[-1], forward.log_filtered[-1])
    _, earlier = _over_moves(step, last, transition, forward.log_filtered[:-1], keys[:-1], reverse=True)
    return _there(_joined(earlier, last), lengths, jnp.isfinite(_total(forward)))


def entropy(
    initial: Float[Array, " k"],
    transition: Transition,
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
) -> Float[Array, " n"]:
    """Entropy of paths (n,), in nats: - sum over paths of p log p; 0 where no path is possible.

    p is in proportion to exp(initial[y_0] + sum_s scores[s, y_s] + sum_s transition[y_s, y_{s+1}]), with initial (k,),
    transition (k, k) or (t - 1, k, k), scores (n, t, k), lengths (n,). By one forward pass: with H_s(j) the
    entropy of the steps before s given y_s = j, and q_ij = p(y_s = i | y_{s+1} = j, steps up to s), H_{s+1}(j) is
    sum_i q_ij (H_s(i) - log q_ij). Source: Hernando, Crespi and Cybenko (2005).
    """
    forward = _forward(initial, transition, scores, lengths)

    def step(carry, s, moves, log_filtered, log_predicted):
        share = _conditional(log_filtered, moves, log_predicted)
        new = (share * carry[:, :, None] + _surprise(share)).sum(1)
        return jnp.where((s + 1 < lengths)[:, None], new, carry), None

    passed = forward.log_filtered[:-1], forward.log_predicted
    given_last, _ = _over_moves(step, jnp.zeros_like(scores[:, 0]), transition, *passed)
    last = jnp.exp(forward.log_filtered[-1])
    return (last * given_last + _surprise(last)).sum(-1)


def _over_moves(step: Any, start: Any, transition: Array, *arrays: Array, reverse: bool = False) -> Any:
    """Scan over the t - 1 moves: step(carry, s, transition from s to s + 1, each array's entry for s)."""

    def run(carry, xs):
        s, own, *rest = xs
        return step(carry, s, transition if own is None else own, *rest)

    xs = (jnp.arange(len(arrays[0])), transition if transition.ndim == 3 else None, *arrays)
    return jax.lax.scan(run, start, xs, reverse=reverse)


def _joined(earlier, last):
    """Results of all t steps, sequences first (n, t, ...), from those `earlier` (t - 1, n, ...) and `last` (n, ...)."""
    return jnp.swapaxes(jnp.concatenate([earlier, last[None]]), 0, 1)


def existing(lengths, t):
    """Mask (n, t) of the steps that a sequence has: True where the step is below its length (n,)."""
    return jnp.arange(t) < lengths[:, None]


def steps_first(scores, lengths):
    """Scores (n, t, k) with steps first (t, n, k), and 0 beyond a sequence's length, where they may be anything."""
    return jnp.swapaxes(jnp.where(existing(lengths, scores.shape[1])[..., None], scores, 0), 0, 1)


def with_posterior(partition: Op, expectation: Op) -> Callable[..., Array]:
    """Log-partition with its derivative by forward-backward: one pass for the value and its gradient, the posterior.

    `partition` and `expectation` take (initial, transition, scores, lengths); the first gives the log-partitions, the
    other those, marginals (n, t, k) and transition counts. The gradient in scores is the marginals, in initial those of
    step 0, in the transition the counts. Returns a function of the arguments of `partition`.
    """

    @jax.custom_jvp
    def call(initial, transition, scores, lengths):
        return partition(initial, transition, scores, lengths)

    @call.defjvp
    def _(primals, tangents):
        value, marginals, counts = expectation(*primals)
        n = len(value)
        parts = zip((marginals[:, 0], counts, marginals), tangents, strict=False)
        moved = (jnp.where(share == 0, 0, share * tangent).reshape(n, -1).sum(1) for share, tangent in parts)
        return value, sum(moved)

    return call


def _forward(initial, transition, scores, lengths):
    steps = steps_first(scores, lengths)

    def step(before, s, moves, score):
        log_predicted = predicted(before, moves)
        after, added = ahead(before, log_predicted, score, s + 1 < lengths)
        return after, (after, added, log_predicted)

    first, gained = relative(initial + steps[0])
    _, (after, added, log_predicted) = _over_moves(step, first, transition, steps[1:])
    return Forward(jnp.concatenate([first[None], after]), jnp.concatenate([gained[None], added]), log_predicted)


def predicted(log_filtered, moves):
    """Prediction: log p(y_{s+1} | steps up to s) (n, k), by the transition `moves` (k, k) from s to s + 1.

    `log_filtered` (n, k) is log p(y_s | steps up to s).
    """
    return log_sum(log_filtered[:, :, None] + moves, 1)


def ahead(before, log_predicted, score, inside):
    """Forward step (filtering): log p(y_{s+1} | steps up to s + 1) (n, k), and the log of what that step adds (n,).

    `before` (n, k) is log p(y_s | steps up to s), `log_predicted` (n, k) log p(y_{s+1} | steps up to s), `score` (n, k)
    that of step s + 1. Where a sequence has ended (not `inside`, (n,)), `before` and 0.
    """
    after, gained = relative(log_predicted + score)
    return jnp.where(inside[:, None], after, before), jnp.where(inside, gained, 0)


def back(later, moves, log_filtered, log_predicted, inside):
    """Backward step (smoothing): marginals p(y_s) (n, k) from p(y_{s+1}), and pairs p(y_s = i, y_{s+1} = j) (n, k, k).

    `later` (n, k) is p(y_{s+1} | all steps), `moves` the transition (k, k) from s to s + 1, `log_filtered` (n, k) is
    log p(y_s | steps up to s), `log_predicted` (n, k) log p(y_{s+1} | steps up to s). Where a sequence has ended by
    step s + 1 (not `inside`, (n,)), `later` and pairs of 0.
    """
    share = _conditional(log_filtered, moves, log_predicted)
    pairs = jnp.where(inside[:, None, None], later[:, None] * share, 0)
    return normalised(jnp.where(inside[:, None], pairs.sum(2), later)), pairs


def _total(forward):
    return pairwise_sum(forward.gained)


def _conditional(log_filtered, moves, log_predicted):
    """p(y_s = i | y_{s+1} = j, steps up to s) (n, i, j); all 0 for a j that is not reached."""
    return jnp.exp(log_filtered[:, :, None] + moves - finite(log_predicted)[:, None])


def log_sum(values, axis):
    """Log-sum-exp over an axis, whose derivative too is right where no term is finite, or one."""
    top = finite(jax.lax.stop_gradient(values.max(axis, keepdims=True)))
    total = jnp.exp(values - top).sum(axis)
    none = total == 0
    return jnp.where(none, -jnp.inf, jnp.log(jnp.where(none, 1, total)) + top.squeeze(axis))


def relative(values):
    """Normalisation of logs: values less the log of the sum of their exp over the last axis, and that log.

    Where all values are minus infinity, so is the log, and the values stay.
    """
    total = log_sum(values, -1)
    return values - finite(total)[..., None], total


def finite(values):
    """Values with 0 in place of minus infinity, so that minus infinity is never taken from itself."""
    return jnp.where(jnp.isneginf(values), 0, values)


def _relative_to_best(values):
    return values - finite(values.max(-1, keepdims=True))


def normalised(values):
    """Normalisation of probabilities to a sum of 1 over the last axis, as rounding adds up over steps; 0 if all are."""
    total = values.sum(-1, keepdims=True)
    return values / jnp.where(total > 0, total, 1)


def _surprise(p):
    some = p > 0
    return jnp.where(some, -p * jnp.log(jnp.where(some, p, 1)), 0)


def _there(path, lengths, possible):
    return jnp.where(existing(lengths, path.shape[1]) & possible[:, None], path, -1)
