"""Forward-backward on a GPU, in Pallas: each program takes a few sequences through all steps, forward and then back.

    program 0: sequences 0 1 2 3    `_forward` in one loop 0 ──▶ t;  then `_backward` in one loop t ──▶ 0
    program 1: sequences 4 5 6 7    ...

So no step has to be started on its own. The kernel of `chain.expectation` and `chain.log_partition`, by the steps of
the reference. States are padded to a power of two, with moves of log-probability minus infinity. What is carried from
step to step and the expected moves stay in registers, sums over steps are compensated.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float, Int

from dgjax_kernels.blocks import two_sum
from dgjax_kernels.chain import ahead, back, existing, normalised, predicted, relative

# Entries of tables of moves that a program has at least, if not too many sequences then, and those that a warp takes.
ENTRIES, MOST_TOGETHER, ENTRIES_OF_WARP = 256, 32, 512


def log_partition(
    initial: Float[Array, " k"],
    transition: Float[Array, "k k"],
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
    interpret: bool = False,
) -> Float[Array, " n"]:
    """Log-partition (n,) by the forward recursion: log of the sum over paths of exp(score), for moves all steps share.

    The score of a path y of l steps is initial[y_0] + sum_s scores[s, y_s] + sum_s transition[y_s, y_{s+1}], with
    initial (k,), transition (k, k), scores (n, t, k) and the lengths l (n,). `interpret`: in Pallas's interpret mode.
    """
    arguments = _padded(initial, transition, scores, lengths)
    (value,) = _call(_forward, arguments, [()], interpret)
    return value[: len(scores)]


def expectation(
    initial: Float[Array, " k"],
    transition: Float[Array, "k k"],
    scores: Float[Array, "n t k"],
    lengths: Int[Array, " n"],
    interpret: bool = False,
) -> tuple[Float[Array, " n"], Float[Array, "n t k"], Float[Array, "n k k"]]:
    """Forward-backward: log-partition (n,), marginals p(y_s = i) (n, t, k), and expected transition counts (n, k, k).

    Of paths y with probability in proportion to exp(initial[y_0] + sum_s scores[s, y_s] + sum_s transition[y_s,
    y_{s+1}]), with initial (k,), transition (k, k), scores (n, t, k), lengths (n,). `interpret`: in Pallas's interpret
    mode.
    """
    n, _, k = scores.shape
    first, moves, padded, lengths = _padded(initial, transition, scores, lengths)
    steps, table = padded.shape[1:], moves.shape
    value, log_filtered = _call(_forward, (first, moves, padded, lengths), [(), steps], interpret)
    marginals, counts = _call(_backward, (moves, log_filtered, lengths), [steps, table], interpret)
    return value[:n], marginals[:n, :, :k], counts[:n, :k, :k]


def _forward(initial, transition, scores, lengths, value, *log_filtered):
    moves, length = transition[...], lengths[...]

    def write(s, after):
        for ref in log_filtered:
            ref[:, s, :] = after

    def step(s, carry):
        before, total, error = carry
        after, added = ahead(before, predicted(before, moves), scores[:, s, :], s < length)
        write(s, after)
        return after, *two_sum(total, error, added)

    first, gained = relative(initial[...] + scores[:, 0, :])
    write(0, first)
    _, total, error = jax.lax.fori_loop(1, scores.shape[1], step, (first, gained, jnp.zeros_like(gained)))
    value[...] = total + error


def _backward(transition, log_filtered, lengths, marginals, counts):
    moves, length = transition[...], lengths[...]
    final = log_filtered.shape[1] - 1

    def write(s, marginal):
        marginals[:, s, :] = jnp.where((s < length)[:, None], marginal, 0)

    def step(done, carry):
        s, (later, total, error) = final - 1 - done, carry
        here = log_filtered[:, s, :]
        marginal, pairs = back(later, moves, here, predicted(here, moves), s + 1 < length)
        write(s, marginal)
        return marginal, *two_sum(total, error, pairs)

    last = normalised(jnp.exp(log_filtered[:, final, :]))
    write(final, last)
    none = jnp.zeros(counts.shape, last.dtype)
    _, total, error = jax.lax.fori_loop(0, final, step, (last, none, none))
    counts[...] = total + error


def _padded(initial, transition, scores, lengths):
    """States up to a power of two, of which no path has the new ones, and sequences up to whole programs."""
    (n, t, k), width = scores.shape, pl.next_power_of_2(len(initial))
    states, sequences = (0, width - k), (0, -n % _together(width))
    there = jnp.where(existing(lengths, t)[..., None], scores, 0)
    return (
        jnp.pad(initial, [states], constant_values=-jnp.inf),
        jnp.pad(transition, [states, states], constant_values=-jnp.inf),
        jnp.pad(there, [sequences, (0, 0), states]),
        jnp.pad(lengths.astype(jnp.int32), [sequences]),
    )


def _together(width):
    """Number of sequences in one program, by the `width` states: tables of `width`^2 entries for each."""
    return max(1, min(MOST_TOGETHER, ENTRIES // width**2))


def _call(kernel, arguments, shapes, interpret):
    """Pallas call of a kernel: a program gets its own sequences of the last two arguments, scores and lengths.

    Other arguments are whole for all programs. `shapes` are those of one sequence's results.
    """
    *_, of_sequences, lengths = arguments
    n, _, width = of_sequences.shape
    together = _together(width)

    def own(shape):
        return pl.BlockSpec((together, *shape[1:]), lambda i: (i,) + (0,) * (len(shape) - 1))

    def whole(shape):
        return pl.BlockSpec(shape, lambda _: (0,) * len(shape))

    shared = arguments[:-2]
    results = [jax.ShapeDtypeStruct((n, *shape), of_sequences.dtype) for shape in shapes]
    return pl.pallas_call(
        kernel,
        grid=(n // together,),
        in_specs=[whole(a.shape) for a in shared] + [own(of_sequences.shape), own(lengths.shape)],
        out_specs=[own(result.shape) for result in results],
        out_shape=results,
        compiler_params=triton.CompilerParams(num_warps=_warps(together * width**2)),
        interpret=interpret,
    )(*arguments)


def _warps(entries):
    return max(1, min(8, entries // ENTRIES_OF_WARP))
