"""Expectation-maximisation: the closed form where every label and cell is known, for then one step is all."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._checks import is_sequential
from dgjax.densities import collapsed
from dgjax.structures import Sequences

MOST_PASSES = 8


class State(NamedTuple):
    """A model, the statistics and the objective at it, and the objective after each step so far.

    Before the first expectation, `step` is -1 and there are no statistics yet.
    """

    model: Any
    statistics: Any
    value: Array
    trace: Array
    step: Array
    converged: Array


def start(model: Any, trace: Array) -> State:
    """The state before anything was computed; `trace` is room for the objectives."""
    value, step, converged = jax.device_put((np.full((), -np.inf, trace.dtype), np.full((), -1), np.zeros((), bool)))
    return State(model, None, value, trace, step, converged)


def expectation(model: Any, x: Any, y: Array, weights: Array, prior: Any) -> tuple[Any, Array]:
    """Expected statistics, and the objective sum_n w_n log p(x_n, y_n) + log prior, y summed out where it is -1."""
    value, statistics = model.joint_expectation(x, y, weights)
    return statistics, value + model.log_prior(prior)


@kernels.compiled
def upcoming(state: State, prior: Any) -> tuple[Any, Array]:
    """The model of the next step, and whether it has a density."""
    model = state.model.maximum(state.statistics, prior)
    return model, sound(model, prior)


def sound(model: Any, prior: Any) -> Array:
    """Whether a model has a density."""
    dtype = jnp.result_type(*jax.tree.leaves(model))
    row = jnp.zeros((1, model.num_features), dtype)
    one = Sequences(row[None], jnp.ones(1, int)) if is_sequential(model) else row
    return model.potentials(one).sound() & ~collapsed(model, prior is not None)


@kernels.compiled
def closed_form(model: Any, x: Any, y: Array, weights: Array, prior: Any) -> tuple[Any, Array, Array]:
    """The maximum where every label and cell is known, how many passes it took, one unless digits were lost, and
    whether it has a density.
    """

    def step(carry):
        passes, model, _ = carry
        new = model.maximum(model.labelled_statistics(x, y, weights), prior)
        return passes + 1, new, new.density.settled(model.density) | collapsed(new, prior is not None)

    start = jnp.zeros((), int), model, jnp.zeros((), bool)
    passes, model, _ = jax.lax.while_loop(lambda c: (c[0] < MOST_PASSES) & ~c[2], step, start)
    return model, passes, sound(model, prior)


@functools.partial(kernels.compiled, static_argnames="known")
def advance(
    state: State, x: Any, y: Array, weights: Array, prior: Any, tol: Array, until: Array, known: bool = False
) -> State:
    """EM from `state` until step `until`, or until a step gains no more than `tol` nats for each row.

    With every label and cell `known`, the first step that loses no digits is the last.
    """
    if state.statistics is None:
        # The first expectation is a turn of the same loop: compiling it apart would take as long again.
        shapes, _ = jax.eval_shape(expectation, state.model, x, y, weights, prior)
        state = state._replace(statistics=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))

    def body(state):
        model = jax.lax.cond(state.step < 0, lambda s: s.model, lambda s: s.model.maximum(s.statistics, prior), state)
        statistics, value = expectation(model, x, y, weights, prior)
        # A start may yet widen, under a prior; what a step makes of it is at the likelihood's own end.
        value = jnp.where((state.step >= 0) & collapsed(model, prior is not None), jnp.nan, value)
        # Below a few units in the last place of the objective, a gain cannot be told from rounding.
        noise = 4 * jnp.finfo(value.dtype).eps * jnp.abs(value)
        settled = (tol > 0) & (jnp.abs(value - state.value) <= tol * weights.sum() + noise) & (state.step >= 0)
        if known:
            in_place = model.density.settled(state.model.density) & sound(model, prior)
            settled |= (tol > 0) & (state.step >= 0) & in_place
        trace = state.trace.at[jnp.maximum(state.step, 0)].set(value)
        return State(model, statistics, value, trace, state.step + 1, settled | jnp.isnan(value))

    return jax.lax.while_loop(lambda s: (s.step < until) & ~s.converged, body, state)


advance_all = jax.jit(jax.vmap(advance, in_axes=(0, None, None, None, None, None, None)))
"""The same for several states on a leading axis."""
