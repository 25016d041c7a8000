"""Chains on a CPU, with the signatures of `dgjax_kernels.chain`; numba is imported when one is traced.

Moves are the same at each step: `worth.many_steps` takes no others.
"""

import os

import jax
import jax.numpy as jnp

from dgjax_kernels import chain as reference
from dgjax_kernels._op import like
from dgjax_kernels.cpu.calls import called


def _posterior(initial, transition, scores, lengths, wanted):
    """Forward-backward: log-partitions, and marginals and counts if they are wanted.

    By states side by side (`few`) where there are fewer sequences than lanes. On one core that takes this part of the
    time of sequences side by side (`many`), for sequences, steps and states (1, 50000, 5) 0.26, (2, 20000, 5) 0.5, (4,
    10000, 8) 0.6, (7, 5000, 8) 1.1; and it is spread over two threads for each sequence.
    """
    from dgjax_kernels.cpu.chain import few, many

    n, t, k = scores.shape
    shown = n if wanted else 0
    arguments, results = (initial, transition, scores, lengths.astype(jnp.int32)), [(n,), (shown, t, k), (shown, k, k)]
    if n >= many.WIDTH:
        return called(many.handler, results, *arguments)
    buffer = jax.ShapeDtypeStruct((8 * (n * few.words_of_sequence(t, k) + many.WIDTH),), jnp.uint8)
    return called(few.handler, [*results, buffer], *arguments)[:3]


@like(reference.log_partition)
def log_partition(initial, transition, scores, lengths):
    return _posterior(initial, transition, scores, lengths, wanted=False)[0]


@like(reference.expectation)
def expectation(initial, transition, scores, lengths):
    return _posterior(initial, transition, scores, lengths, wanted=True)


def paths(initial, transition, scores, lengths, parts):
    """Viterbi: the best path (n, t) of each sequence, whose steps are cut into so many parts, worked on side by side.

    The path y of the largest initial[y_0] + sum_s scores[s, y_s] + sum_s transition[y_s, y_{s+1}], with initial (k,),
    transition (k, k), scores (n, t, k), lengths (n,); -1 beyond a sequence's length, and where no path is possible.
    """
    from dgjax_kernels.cpu.chain import viterbi

    (n, t, k), width = scores.shape, viterbi.WIDTH
    step, groups = -(-t // parts), -(-n * parts // width)
    came = groups if parts > 1 else 0, min(t, step + 2 * viterbi.MARGIN), k, width
    integer = jnp.int32 if scores.dtype == jnp.float32 else jnp.int64
    shapes = ((n, t), integer), ((groups * width, 8 * (2 * k + viterbi.NOTES)), jnp.uint8), (came, jnp.uint8)
    results, cut = [jax.ShapeDtypeStruct(*shape) for shape in shapes], jnp.array([parts, step], jnp.int32)
    path, *_ = called(viterbi.handler, results, initial, transition, scores, lengths.astype(jnp.int32), cut)
    return path.astype(int)


@like(reference.mode)
def mode(initial, transition, scores, lengths):
    from dgjax_kernels.cpu.chain import viterbi

    n, t, _ = scores.shape
    parts = max(1, min(viterbi.WIDTH * (os.cpu_count() or 1) // n, t // (8 * viterbi.MARGIN)))
    return paths(initial, transition, scores, lengths, parts)


def _of_paths(chain, wanted, uniforms=None):
    """What is wanted of "path" (n, t), "marginals" (n, t, k) and "entropy" (n,), by one handler."""
    from dgjax_kernels.cpu.chain import posterior

    initial, transition, scores, lengths = chain
    n, t, k = scores.shape
    integer = jnp.int32 if scores.dtype == jnp.float32 else jnp.int64
    shapes = {"path": ((n, t), integer), "marginals": ((n, t, k), scores.dtype), "entropy": ((n,), scores.dtype)}
    results = [
        jax.ShapeDtypeStruct(shape if name == wanted else (0, *shape[1:]), dtype)
        for name, (shape, dtype) in shapes.items()
    ]
    uniforms = jnp.zeros((0, 0), scores.dtype) if uniforms is None else uniforms
    found = called(posterior.handler, results, initial, transition, scores, lengths.astype(jnp.int32), uniforms)
    return dict(zip(shapes, found, strict=True))[wanted]


@like(reference.log_marginals)
def log_marginals(initial, transition, scores, lengths):
    # Few by states side by side: sequences, steps and states (1, 40000, 4) 2.5 ms, by sequences side by side 16; (7,
    # 5000, 8) 2.2 and 3.9.
    from dgjax_kernels.cpu.chain import many, posterior_few

    n, t, k = scores.shape
    if n >= many.WIDTH:
        return _of_paths((initial, transition, scores, lengths), "marginals")
    buffer = jax.ShapeDtypeStruct((8 * (n * posterior_few.words_of_sequence(t, k) + many.WIDTH),), jnp.uint8)
    arguments = initial, transition, scores, lengths.astype(jnp.int32)
    return called(posterior_few.handler, [(n, t, k), buffer], *arguments)[0]


@like(reference.sample)
def sample(key, initial, transition, scores, lengths):
    n, t, _ = scores.shape
    uniforms = jax.vmap(lambda key: jax.random.uniform(key, (n,), scores.dtype))(jax.random.split(key, t))
    return _of_paths((initial, transition, scores, lengths), "path", uniforms).astype(int)


@like(reference.entropy)
def entropy(initial, transition, scores, lengths):
    return _of_paths((initial, transition, scores, lengths), "entropy")
