"""Steps of gradient fits: the optimizer state, and the test of whether a step was the last."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from dgjax._arguments import AnyArray

PROMISED = 1e-2  # of the tolerance: what a further step may promise to gain where a fit ends
MOST_IDLE = 2  # steps in a row without a gain, the second of them with what was known of the curvature forgotten


class UnderWay:
    """Fit under way, a dataclass: what a method has set up once, and the `inner` state that its steps change."""

    inner: Any

    @property
    def step(self) -> Array:
        """Number of steps taken."""
        return self.inner.step

    @property
    def converged(self) -> Array:
        """True if no step follows."""
        return self.inner.converged

    @property
    def trace(self) -> Array:
        """Objective of each step so far."""
        return self.inner.trace


class State(NamedTuple):
    """Optimizer state: parameters as one `vector`, loss `value` per unit of weight, `trace` of the objective.

    `memory`: the gradient, then the parameters before it (Newton) or a `Memory` (L-BFGS). L-BFGS starts at `step` -1
    with an infinite value. `converged`: no step follows; it is a maximum if `gap`, the promised gain, is within tol.
    `idle`: number of steps in a row without gain.
    """

    vector: Array
    memory: Any
    value: Array
    trace: Array
    step: Array
    converged: Array
    gap: Array
    idle: Array


def first(vector: Array, memory: Any, value: Array, trace: Array, step: int) -> State:
    """State before the first step."""
    none, idle = jnp.zeros((), bool), jnp.zeros((), int)
    # Integers of a known type, as those of a saved state are, or its steps would be compiled again.
    return State(vector, memory, value, trace, jnp.full((), step, int), none, jnp.full_like(value, jnp.inf), idle)


def stepped(
    state: State, vector: Array, memory: Any, value: Array, promised: Array, weight: Array, tol: AnyArray
) -> State:
    """State after a step; it is the last if the next step promises too little, or if several in a row gained nothing.

    `promised` is twice the gain that a quadratic model promises. Unlike the last step's gain or promise, it is not
    small merely because that step was short.
    """
    before_first, noise = state.step < 0, rounding(value)
    idle = jnp.where(value < state.value, 0, state.idle + 1)
    enough = (tol > 0) & (promised <= PROMISED * tol + noise)
    ended = enough | (idle >= MOST_IDLE) | ((idle > 0) & (promised <= PROMISED * jnp.maximum(tol, 1e-12) + 64 * noise))
    broken = jnp.isnan(value) | jnp.isnan(promised)  # with a gradient of NaN there is no going on from any value
    value = jnp.where(broken, jnp.nan, value)
    trace = state.trace.at[jnp.maximum(state.step, 0)].set(-value * weight)
    ended = (~before_first & ended) | broken
    return State(vector, memory, value, trace, state.step + 1, ended, promised / 2, jnp.where(before_first, 0, idle))


def rounding(value: Any) -> Any:
    """Rounding error of a value: eps times its size."""
    return jnp.finfo(value.dtype).eps * abs(value)
