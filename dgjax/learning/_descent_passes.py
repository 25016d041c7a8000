"""Minibatches of a stream: rows are shuffled within each block, blocks come in the order of the source.

A block of b rows is cut into ceil(b / batch_size) minibatches, each a step of `_descent`, in one program for all
blocks. A row is in exactly one minibatch of an epoch; with s of them in an epoch a batch B estimates the objective by

    s sum_{n in B} w_n v_n + penalty.

Where the order of the rows says something of them, as if classes come one after another, a larger `block` mixes more.
"""

import contextlib
import dataclasses
import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray
from dgjax.data import Data
from dgjax.densities import has_draws, settled
from dgjax.learning import _descent
from dgjax.learning._descent import Epochs, State
from dgjax.learning._method import Outcome, filled
from dgjax.learning._objective import Problem
from dgjax.learning._optax import Optax
from dgjax.learning._places import Parts, Places, place_of
from dgjax.learning._steps import UnderWay
from dgjax.priors import Ridge
from dgjax.streams import Passes, checked

KEYS = 2  # of shuffling and of draws


@dataclasses.dataclass(frozen=True)
class Descent(UnderWay):
    """A fit under way: its start, which parameters are free, the objective without rows, keys, sizes and the state."""

    model: Any
    free: list[Array | None]
    problem: Problem
    keys: tuple[Array, Array | None]
    epochs: Epochs
    weight: Array
    inner: State


def check(method: Optax) -> None:
    """Raises ValueError for options that are of rows in memory alone."""
    if method.validation:
        raise ValueError(
            f"validation is for rows in memory, and x is a stream; got validation={method.validation}. Leave it out."
        )
    if method.batch_size is None:
        raise ValueError(
            "batch_size must be given for a stream, whose rows are not in memory at once; got None. Type "
            "method=dgjax.Optax(optimizer, batch_size=256, key=jax.random.key(0))."
        )


def begun(model: Any, passes: Passes, method: Optax, prior: Any, trace: Array) -> Descent:
    """State before the first step; the number of rows is that of the facts."""
    size = int(method.batch_size or 1)
    number = _num_batches(passes, size)
    epochs = Epochs(number, size, method.warm_up, 1, float(method.average))
    free = _descent.free_parameters(model)
    small = epochs._replace(number=1, size=1)  # an order is made within each block
    state = _descent.start(model, free, method.both(), small, trace)
    shuffle, draws = cast(tuple[Array, Array], method.keys())
    problem = Problem(None, prior=prior)
    weight = jnp.asarray(passes.facts.weight, trace.dtype)
    return Descent(model, free, problem, (shuffle, draws if has_draws(model) else None), epochs, weight, state)


def _num_batches(passes, size):
    """Minibatches in an epoch: of each block of the rows so many as hold them."""
    block = passes.block_rows
    whole, rest = divmod(passes.facts.num_rows, block)
    return whole * -(-block // size) + -(-rest // size)


def parts() -> Parts:
    """What a checkpoint keeps: the inner state, whose step says at which minibatch of an epoch it is."""

    def back(state, leaves):
        return dataclasses.replace(state, inner=filled(state.inner, leaves))

    return Parts(lambda state: None if bool(state.inner.diverged) else state.inner, back, lambda _: place_of((), ()))


def advance(places: Places, method: Any, state: Descent, until: AnyArray) -> Descent:
    """Steps until step `until`: passes over the rows, from the minibatch on that the state is at."""
    own, epochs = state.inner, state.epochs
    while int(own.step) < int(until) and not bool(own.converged):
        epoch, at = divmod(int(own.step), epochs.number)
        before, begun_at, last = own, 0, None
        with contextlib.closing(places.passes.blocks(state.model)) as blocks:
            for i, block in enumerate(blocks):
                batches = -(-block.num_rows // epochs.size)
                if at < begun_at + batches and epoch * epochs.number + begun_at < int(until):
                    key = jax.random.fold_in(jax.random.fold_in(state.keys[0], epoch), i)
                    first = np.asarray(max(at - begun_at, 0))
                    rows = np.asarray(block.num_rows)
                    data = checked(block, state.model)
                    own = _of_block(state, own, data, method, key, first, rows, np.asarray(until))
                    jax.block_until_ready(last)
                    last = own.step
                    own = _descent.kept_of(epochs, before, own)
                    places.reached(dataclasses.replace(state, inner=own))
                begun_at += batches
    return dataclasses.replace(state, inner=own)


def _of_block(state, own, data, method, key, first, rows, until):
    fixed = state.model, state.free, state.problem
    return _batches(*fixed, data, method, state.epochs, key, state.keys[1], state.weight, own, first, rows, until)


@functools.partial(kernels.compiled, static_argnums=(4, 5))
def _batches(
    model: Any,
    free: list[Array | None],
    problem: Problem,
    data: Data,
    method: Any,
    epochs: Epochs,
    key: Array,
    draws: Array | None,
    weight: Array,
    state: State,
    first: AnyArray,
    rows: AnyArray,
    until: AnyArray,
) -> State:
    """Steps on the minibatches of a block, from the `first` on, of which `rows` rows are no filling."""
    size, _ = epochs.size, data.weights.dtype
    _, back = _descent.parameters_of(model, free)
    b, padding = len(data.weights), -len(data.weights) % size
    mixed = jax.random.permutation(key, b)
    order = mixed[jnp.argsort(mixed >= rows, stable=True)]
    order = jnp.pad(order, (0, padding), constant_values=b)
    facts = {"complete": data.complete, "labelled": data.labelled}
    given = data.x, data.y, data.weights

    def step(carry):
        i, state = carry
        own = jax.lax.dynamic_slice_in_dim(order, i * size, size)
        x, y, weights = jax.tree.map(lambda leaf: leaf[jnp.minimum(own, b - 1)], given)
        weights = jnp.where(own < b, epochs.number * weights, 0)
        batch = problem.replace(x=x, y=y, weights=weights, draws=_descent.drawn_at(draws, epochs, state), **facts)
        with kernels.repeats(kernels.OF_MINIBATCHES):
            stepped = _descent.step_of(batch, back, weight, method, state)
        return i + 1, _descent.averaged(epochs, stepped)

    def is_going(carry):
        i, state = carry
        return (i * size < rows) & (state.step < until) & ~state.converged

    return jax.lax.while_loop(is_going, step, (first, state))[1]


def current(state: Descent) -> Any:
    """The model as it stands."""
    return _descent.parameters_of(state.model, state.free)[1](state.inner.current)


def result(passes: Passes, state: Descent, x: Any) -> tuple[Outcome, Any]:
    """Outcome and model; its objective is that of all rows, by one more pass.

    Raises Diverged if an objective or a parameter is no longer finite, with the last good model.
    """
    own, (_, back) = state.inner, _descent.parameters_of(state.model, state.free)
    fitted = back(own.kept if bool(own.diverged) else own.current)
    draws = None if state.keys[1] is None else _descent.last_draws(state.keys[1])
    problem = state.problem.replace(draws=draws)
    value = passes.total(functools.partial(_objective, problem=problem), fitted) + problem.penalty(fitted)
    if bool(own.diverged) or not np.isfinite(float(value)):
        _descent.refuse(settled(back(own.kept), x), own)
    trace = own.trace.at[jnp.maximum(own.step - 1, 0)].set(value)
    return Outcome(value, trace, own.step, own.stopped), settled(fitted, x)


@kernels.compiled
def _objective(model: Any, data: Data, problem: Problem) -> Array:
    prior = Ridge(jnp.zeros_like(problem.strength)) if isinstance(problem.prior, Ridge) else None
    facts = {"complete": data.complete, "labelled": data.labelled}
    return problem.replace(x=data.x, y=data.y, weights=data.weights, prior=prior, **facts).objective(model)
