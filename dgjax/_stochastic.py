"""Learning by any optimizer of optax, on all rows at once or on minibatches of them.

Rows are dealt into s = ceil(n / batch_size) batches, afresh in each epoch, and of the objective

    sum_n w_n v_n + penalty    the batch B sees    s sum_{n in B} w_n v_n + penalty.

Each row is in exactly one batch of an epoch, and in each batch with probability 1 / s: the estimate is unbiased, and
its mean over an epoch is the objective, whether or not batch_size divides n. Where it does not, the s batch_size - n
blanks, of weight 0, are dealt as rows are.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax import _checks, _gradient
from dgjax._gradient import Problem


class State(NamedTuple):
    """Parameters, the optimizer's memory, the order of the rows in this epoch, and the objective before each step."""

    parameters: Any
    memory: Any
    order: Array
    value: Array
    trace: Array
    step: Array
    diverged: Array

    @property
    def converged(self) -> Array:
        """Whether there is no going on."""
        return self.diverged


class Batches(NamedTuple):
    """How many batches of how many rows there are, and the key by which they are dealt; None where one is all rows."""

    number: int
    size: int
    key: Array | None


def is_optimizer(method: Any) -> bool:
    """Whether a method is a gradient transformation of optax."""
    return callable(getattr(method, "init", None)) and callable(getattr(method, "update", None))


def batches(method: Any, batch_size: Any, key: Any, n: int) -> Batches:
    """The batches of n rows, after checking that the arguments go together."""
    if batch_size is None:
        return Batches(1, n, None)
    if not is_optimizer(method):
        raise ValueError(
            f"batch_size is for an optimizer of optax, such as method=optax.adam(1e-2); got method={method!r}, which "
            "takes all rows at every step. Leave batch_size out."
        )
    size = min(_checks.as_count(batch_size, "batch_size"), n)
    if key is None:
        raise ValueError("batch_size needs key=jax.random.key(seed), by which batches are dealt; got key=None.")
    key = jax.random.fold_in(_checks.as_key(key), np.uint32(0xFFFFFFFF))  # none of those of restarts
    return Batches(-(-n // size), size, key if size < n else None)


def start(model: Any, problem: Problem, method: Any, batches: Batches, trace: Array) -> tuple[State, Any, Any]:
    """The first state, a function that advances it, and one that turns the last into a result and its model."""
    sizes = batches.number, batches.size
    state = _start(model, method, sizes, trace)

    def advance(state, until):
        return _advance(model, problem, method, sizes, batches.key, state, until)

    return state, advance, functools.partial(_finish, model, problem)


def _parameters(model):
    """The model with 0 for what is at minus infinity, and the way back, on which these structural zeros stay."""
    free = jax.tree.map(jnp.isfinite, model)

    def back(moved):
        return jax.tree.map(jnp.where, free, moved, model)

    return jax.tree.map(lambda free, leaf: jnp.where(free, leaf, 0), free, model), back


@functools.partial(kernels.compiled, static_argnums=(1, 2))
def _start(model: Any, method: Any, sizes: tuple[int, int], trace: Array) -> State:
    parameters, _ = _parameters(model)
    order, step = jnp.arange(sizes[0] * sizes[1]), jnp.zeros((), int)
    value, diverged = jnp.zeros((), trace.dtype), jnp.zeros((), bool)
    return State(parameters, method.init(parameters), order, value, trace, step, diverged)


@functools.partial(kernels.compiled, static_argnums=(2, 3))
def _advance(
    model: Any, problem: Problem, method: Any, sizes: tuple[int, int], key: Array | None, state: State, until: Array
) -> State:
    """Epoch by epoch, for the order of the rows would be copied at every step of a single loop."""
    number, _ = sizes
    _, back = _parameters(model)
    total = problem.weights.sum()

    def is_going(state):
        return (state.step < until) & ~state.diverged

    def step(state):
        batch = problem if key is None else _batch(problem, sizes, state)
        return _step(batch, back, total, method, state)

    def epoch(state):
        this = state.step // number
        state = state if key is None else state._replace(order=_order(sizes, key, state))
        return jax.lax.while_loop(lambda s: is_going(s) & (s.step // number == this), step, state)

    return jax.lax.while_loop(is_going, epoch, state)


def _order(sizes, key, state):
    """The order of the rows, new where an epoch begins."""
    number, size = sizes
    epoch, batch = jnp.divmod(state.step, number)

    def deal(_):
        return jax.random.permutation(jax.random.fold_in(key, epoch), number * size)

    return jax.lax.cond(batch == 0, deal, lambda order: order, state.order)


def _batch(problem, sizes, state):
    """The problem of this step's batch."""
    number, size = sizes
    rows, n = jax.lax.dynamic_slice_in_dim(state.order, state.step % number * size, size), len(problem.x)
    x, y, weights = jax.tree.map(lambda leaf: leaf[jnp.minimum(rows, n - 1)], (problem.x, problem.y, problem.weights))
    return problem._replace(x=x, y=y, weights=jnp.where(rows < n, number * weights, 0))


def _step(problem, back, total, method, state):
    import optax

    solver, loss = optax.with_extra_args_support(method), _gradient.make_loss(problem, back, 1 / total)
    # Of rows with missing cells, a batch may have none.
    with kernels.complete_rows(kernels.complete_rows.value or None):
        value, grad = jax.value_and_grad(loss)(state.parameters)
        more = {"value": value, "grad": grad, "value_fn": loss}
        updates, memory = solver.update(grad, state.memory, state.parameters, **more)
    moved = optax.apply_updates(state.parameters, updates)
    sound = functools.reduce(jnp.logical_and, (jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((value, moved))))
    parameters = jax.tree.map(lambda new, old: jnp.where(sound, new, old), moved, state.parameters)
    # What is seen before a step is said of the step before it; `_finish` says it of the last.
    trace = state.trace.at[jnp.maximum(state.step - 1, 0)].set(-value * total)
    return State(parameters, memory, state.order, value, trace, state.step + sound, ~sound)


@kernels.compiled
def _objective(model: Any, problem: Problem) -> Array:
    return problem.objective(model)


def _finish(model: Any, problem: Problem, state: State) -> tuple[_gradient.State, Any]:
    """The last state, with the objective of all rows, and its model.

    Raises ValueError if the steps led to an objective or a parameter that is not finite.
    """
    fitted = _parameters(model)[1](state.parameters)
    value = _objective(fitted, problem)
    if _checks.is_concrete(value, state) and (bool(state.diverged) or not np.isfinite(float(value))):
        value = _objective(model, problem)
        if np.isfinite(float(value)):  # else the start is to blame, and `fit` says what for
            _refuse(state)
    trace = state.trace.at[jnp.maximum(state.step - 1, 0)].set(value)
    return _gradient.State(fitted, None, -value, trace, state.step, jnp.zeros((), bool)), fitted


def _refuse(state):
    """Raises, naming the step that led here: the next one, unless the last one itself has no objective."""
    step = int(state.step) + (bool(state.diverged) and bool(np.isfinite(float(state.value))))
    before = f", or max_steps={step - 1}, which ends before it" if step > 1 else ""
    raise ValueError(
        f"fit diverged at step {step}: the objective or a parameter is no longer finite. Type a smaller learning rate, "
        f"or clipped gradients, method=optax.chain(optax.clip_by_global_norm(1.0), ...){before}. Where a class or "
        "component of a generative model has lost its spread, type prior=dgjax.weak_prior(model, x)."
    )
