"""Operations on a GPU, each with the signature of its reference; Pallas is imported when one is traced."""

import jax
import jax.numpy as jnp
from jax import Array

from dgjax_kernels import chain as reference, chain_parallel
from dgjax_kernels._op import like

MOST_STATES, MOST_CELLS = 64, 1 << 31  # a table of moves in registers, offsets in 32 bits

gpu_kernels = jax.make_user_context(False)
"""`with gpu_kernels(True):` what is traced may run kernels written in Pallas on a GPU.

They have been run in Pallas's interpret mode and lowered for CUDA, and never on a GPU: until they have, off."""


def chains(initial: Array, transition: Array, scores: Array, lengths: Array) -> bool:
    """Dispatch on a GPU: True if these chains are long (`chain_parallel.long`), or may go to the kernel in Pallas."""
    return chain_parallel.long(initial, transition, scores, lengths) or (gpu_kernels.value and fits(transition, scores))


def fits(transition: Array, scores: Array) -> bool:
    """Dispatch to the kernel in Pallas: True if it can take these chains, with transition (k, k) and scores (n, t, k).

    A table of moves has to fit registers, k up to 64, and offsets 32 bits.
    """
    n, t, k = scores.shape
    padded = (n + 32) * t * 2 * k
    right = scores.size > 0 and scores.dtype in (jnp.float32, jnp.float64)
    return right and transition.ndim == 2 and k <= MOST_STATES and padded < MOST_CELLS


@like(reference.log_partition)
def chain_partition(initial, transition, scores, lengths):
    return _of(initial, transition, scores, lengths).log_partition(initial, transition, scores, lengths)


@like(reference.expectation)
def chain_expectation(initial, transition, scores, lengths):
    return _of(initial, transition, scores, lengths).expectation(initial, transition, scores, lengths)


def _of(*arguments):
    """Dispatch: all steps at once (`chain_parallel`) for long chains, too few to fill a GPU, else the Pallas kernel."""
    if chain_parallel.long(*arguments):
        return chain_parallel
    from dgjax_kernels.gpu import chain

    return chain
