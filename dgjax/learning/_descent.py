"""Stochastic gradient descent: epochs of shuffled minibatches, with early stopping by a validation set.

Rows are shuffled in each epoch into s = ceil(n / batch_size) minibatches. A batch B estimates the objective

    sum_n w_n v_n + penalty    by    s sum_{n in B} w_n v_n + penalty.

A row is in exactly one batch of an epoch, and in a given batch with probability 1 / s: the estimate is unbiased, and
its mean over an epoch is the objective, whether or not batch_size divides n. Where it does not, s batch_size - n blanks
of weight 0 are shuffled with the rows. Models scored by random draws get fresh draws at every step. At the end of every
epoch the validation set judges the parameters; when it no longer gains, the fit ends.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray, is_concrete
from dgjax._pytree import trained
from dgjax.densities import Draws, settled
from dgjax.learning._method import Outcome
from dgjax.learning._objective import Problem, make_loss

LAST = 0xFFFFFFFF  # of the draws by which objectives are compared: no step's own


class Diverged(ValueError):
    """Error: `fit` diverged, to an objective or parameters that are not finite, at step `num_steps` + 1.

    `objective` (num_steps,) is that of the finite steps before. `model` is the last good one: the best by the
    validation set, or without one that of the epoch before.
    """

    def __init__(self, message: str, model: Any, objective: Array, num_steps: int) -> None:
        super().__init__(message)
        self.model, self.objective, self.num_steps = model, objective, num_steps


class State(NamedTuple):
    """State of a stochastic fit: parameters, optimizer `memory`, `order` of rows, `trace` of the objective.

    `order` is that of this epoch. `kept` are the parameters to return after divergence or early stopping: with a
    validation set the best by it, of validation objective `best`, found `stale` epochs ago; without one those of the
    last epoch's start. `average` are the averaged parameters, None without averaging: where there are any, they are
    what the validation set judges, what is kept, and what is returned.
    """

    parameters: Any
    memory: Any
    order: Array
    value: Array
    trace: Array
    step: Array
    diverged: Array
    kept: Any
    best: Array
    stale: Array
    validation: Array
    stopped: Array
    average: Any = None

    @property
    def current(self) -> Any:
        """Parameters of the model as it stands: the averaged ones, if there are any."""
        return self.parameters if self.average is None else self.average

    @property
    def converged(self) -> Array:
        """True if no step follows: the fit diverged, or early stopping ended it."""
        return self.diverged | self.stopped


class Epochs(NamedTuple):
    """Sizes of a stochastic fit: batches in an epoch, rows in a batch, steps of KL warm-up, epochs of patience, decay.

    The last is that of the average of the parameters, 0 for none.
    """

    number: int
    size: int
    warm_up: int
    patience: int
    average: float = 0.0


def last_draws(draws):
    return Draws(jax.random.fold_in(draws, np.uint32(LAST)))


def free_parameters(model: Any) -> list[Array | None]:
    """Mask of trainable entries for each leaf of a model; None where every entry is.

    The others are structural zeros (minus infinity), and constants, which weight decay would move too. None is known at
    compilation, which saves a pass over every weight and gradient at each step.
    """
    leaves, known = jax.tree.leaves(model), is_concrete(model)

    def mask(leaf, is_trained):
        if not is_trained:
            return jnp.zeros(leaf.shape, bool)
        return None if known and np.isfinite(leaf).all() else jnp.isfinite(leaf)

    return [mask(*own) for own in zip(leaves, trained(model), strict=True)]


def parameters_of(model: Any, free: list[Array | None]) -> tuple[Any, Any]:
    """Parameters with 0 in place of structural zeros, and the function that makes a model of such parameters again."""
    leaves, tree = jax.tree.flatten(model)

    def joined(moved, fixed):
        pairs = zip(moved, free, fixed, strict=True)
        return tree.unflatten(own if moves is None else jnp.where(moves, own, other) for own, moves, other in pairs)

    return joined(leaves, [0] * len(leaves)), lambda moved: joined(jax.tree.leaves(moved), leaves)


@functools.partial(kernels.compiled, static_argnums=(2, 3))
def start(model: Any, free: list[Array | None], method: Any, epochs: Epochs, trace: Array) -> State:
    parameters, _ = parameters_of(model, free)
    zero, false, value = jnp.zeros((), int), jnp.zeros((), bool), jnp.zeros((), trace.dtype)
    validation = jnp.full(-(-len(trace) // epochs.number), jnp.nan, trace.dtype)
    memory, order = method.init(parameters), jnp.arange(epochs.number * epochs.size)
    average = parameters if epochs.average else None
    best = value - jnp.inf
    return State(
        parameters, memory, order, value, trace, zero, false, parameters, best, zero, validation, false, average
    )


@functools.partial(kernels.compiled, results=kernels.shards.SUMS, static_argnums=(3, 4))
def advance(
    model: Any,
    free: list[Array | None],
    problem: Problem,
    method: Any,
    epochs: Epochs,
    shuffle: Array | None,
    draws: Array | None,
    held: Problem | None,
    state: State,
    until: AnyArray,
) -> State:
    """Steps of the optimizer until step `until`, in a loop over epochs around a loop over minibatches.

    In a single loop XLA would copy the order of the rows at every step.
    """
    number, shared = epochs.number, state.order
    _, back = parameters_of(model, free)
    dealt = shuffle is not None and kernels.shards.across.value is not None
    if dealt:
        # Each shard deals its own rows, and the order of these stays within.
        epochs = epochs._replace(size=-(-len(problem.x) // number))
        shuffle = kernels.shards.own_key(shuffle)
        state = state._replace(order=_permuted(epochs, shuffle, state.step // number))
    total = problem.weight

    def is_going(state):
        return (state.step < until) & ~state.converged

    def step(state):
        batch = problem if shuffle is None else _batch(problem, epochs, state)
        often = 1 if shuffle is None else kernels.OF_MINIBATCHES
        with kernels.repeats(often):
            stepped = step_of(batch.replace(draws=drawn_at(draws, epochs, state)), back, total, method, state)
        return averaged(epochs, stepped)

    def epoch(state):
        this, before = state.step // number, state
        state = state if shuffle is None else state._replace(order=_order(epochs, shuffle, state))
        state = jax.lax.while_loop(lambda s: is_going(s) & (s.step // number == this), step, state)
        return kept_of(epochs, before, state) if held is None else _judged(held, back, epochs, state)

    state = jax.lax.while_loop(is_going, epoch, state)
    return state._replace(order=shared) if dealt else state


def _permuted(epochs, key, epoch):
    """Order of the rows in an epoch."""
    return jax.random.permutation(jax.random.fold_in(key, epoch), epochs.number * epochs.size)


def _order(epochs, key, state):
    """Order of the rows: a new permutation at the first step of an epoch, otherwise unchanged."""
    epoch, batch = jnp.divmod(state.step, epochs.number)

    return jax.lax.cond(batch == 0, lambda _: _permuted(epochs, key, epoch), lambda order: order, state.order)


def _batch(problem, epochs, state):
    """The problem restricted to this step's minibatch, its weights multiplied by the number of batches."""
    number, size = epochs.number, epochs.size
    rows, n = jax.lax.dynamic_slice_in_dim(state.order, state.step % number * size, size), len(problem.x)
    x, y, weights = jax.tree.map(lambda leaf: leaf[jnp.minimum(rows, n - 1)], (problem.x, problem.y, problem.weights))
    return problem.replace(x=x, y=y, weights=jnp.where(rows < n, number * weights, 0))


def drawn_at(draws: Array | None, epochs: Epochs, state: State) -> Draws | None:
    """Random draws of a step: a fresh key, and the weight of the KL divergence during warm-up."""
    if draws is None:
        return None
    weight = 1.0 if not epochs.warm_up else jnp.minimum(1, (state.step + 1) / epochs.warm_up)
    return Draws(jax.random.fold_in(draws, state.step), weight)


def step_of(problem: Problem, back: Any, total: Array, method: Any, state: State) -> State:
    """State after a step of the optimizer on a minibatch, whose weights are those of all rows, of this `total`."""
    import optax

    solver, loss = optax.with_extra_args_support(method), make_loss(problem, back, 1 / total)
    value, grad = jax.value_and_grad(loss)(state.parameters)
    more = {"value": value, "grad": grad, "value_fn": loss}
    updates, memory = solver.update(grad, state.memory, state.parameters, **more)
    # Parameters that are not finite are told by the value that they lead to, with no pass over them at every step.
    parameters, sound = optax.apply_updates(state.parameters, updates), jnp.isfinite(value)
    # What is seen before a step is said of the step before it; `_finish` says it of the last.
    trace = state.trace.at[jnp.maximum(state.step - 1, 0)].set(-value * total)
    moved = {"parameters": parameters, "memory": memory, "value": value, "trace": trace}
    return state._replace(**moved, step=state.step + sound, diverged=~sound)


def averaged(epochs: Epochs, state: State) -> State:
    """The state with the exponential moving average of the parameters brought up to date, its start corrected for.

    After t steps they are sum_s d^(t - s) theta_s (1 - d) / (1 - d^t), as in Adam (Kingma and Ba, 2015, section 3).
    """
    if state.average is None:
        return state
    decay = jnp.asarray(epochs.average, state.value.dtype)
    rate = (1 - decay) / (1 - decay ** jnp.maximum(state.step, 1))
    moved = jax.tree.map(lambda own, new: own + rate.astype(own.dtype) * (new - own), state.average, state.parameters)
    return state._replace(average=moved)


def kept_of(epochs: Epochs, before: State, state: State) -> State:
    """The state with `kept` set to the parameters at the epoch's start, if the epoch had a finite step.

    Where a fit goes on within an epoch they are kept already.
    """
    sound = (state.step > before.step) & (before.step % epochs.number == 0)
    kept = jax.tree.map(lambda new, old: jnp.where(sound, new, old), before.current, state.kept)
    return state._replace(kept=kept)


def _judged(held, back, epochs, state):
    """Validation: the state after the held-out rows were scored at the end of an epoch, with the best parameters kept.

    Early stopping sets `stopped` after `patience` epochs without a gain; epochs of warm-up do not count.
    """

    def judge(state):
        value = held.objective(back(state.current))
        better = value > state.best
        kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.current, state.kept)
        # In warm-up it is another objective that is gained on.
        stale = jnp.where(better | (state.step < epochs.warm_up), 0, state.stale + 1)
        validation = state.validation.at[state.step // epochs.number - 1].set(value)
        best, stopped = jnp.where(better, value, state.best), stale >= epochs.patience
        return state._replace(kept=kept, best=best, stale=stale, validation=validation, stopped=stopped)

    whole = (state.step % epochs.number == 0) & ~state.diverged
    return jax.lax.cond(whole, judge, lambda state: state, state)


@functools.partial(kernels.compiled, results=kernels.shards.SUMS, static_argnums=4)
def _ended(
    model: Any, free: list[Array | None], problem: Problem, draws: Array | None, judged: bool, state: State
) -> tuple[Any, Array, Array]:
    """Final model (after divergence or early stopping the kept one), its objective over all rows, and the trace."""
    go_back = state.diverged | (judged & jnp.isfinite(state.best))
    chosen = jax.tree.map(lambda kept, last: jnp.where(go_back, kept, last), state.kept, state.current)
    fitted = parameters_of(model, free)[1](chosen)
    value = _objective(fitted, free, problem, draws)
    return fitted, value, state.trace.at[jnp.maximum(state.step - 1, 0)].set(value)


@functools.partial(kernels.compiled, results=kernels.shards.SUMS)
def _objective(model: Any, free: list[Array | None], problem: Problem, draws: Array | None) -> Array:
    """Objective over all rows; NaN if a trainable parameter is not finite."""
    problem = problem if draws is None else problem.replace(draws=last_draws(draws))
    plain = jax.tree.leaves(parameters_of(model, free)[0])
    sound = jnp.stack([jnp.isfinite(leaf).all() for leaf in plain]).all()
    return jnp.where(sound, problem.objective(model), jnp.nan)


def finish(
    model: Any, free: list[Array | None], problem: Problem, draws: Array | None, judged: bool, state: State
) -> tuple[Outcome, Any]:
    """Outcome of a stochastic fit and its model; with a validation set the best model by it.

    Raises Diverged if an objective or a parameter is no longer finite.
    """
    fitted, value, trace = _ended(model, free, problem, draws, judged, state)
    if is_concrete(value, state) and (bool(state.diverged) or not np.isfinite(float(value))):
        value = _objective(model, free, problem, draws)
        if np.isfinite(float(value)):  # else the start is to blame, and `fit` says what for
            refuse(settled(parameters_of(model, free)[1](state.kept), problem.x), state)
    validation = state.validation if judged else None
    return Outcome(value, trace, state.step, state.stopped, validation), fitted


def refuse(model: Any, state: State) -> None:
    """Raises Diverged, with the step at which the fit diverged and the last good model."""
    step = max(1, int(state.step))
    before = f", or max_steps={step - 1}, which ends before it" if step > 1 else ""
    message = (
        f"fit diverged at step {step}: the objective or a parameter is no longer finite. Type a smaller learning rate, "
        f"or clipped gradients, method=optax.chain(optax.clip_by_global_norm(1.0), ...){before}. Where a class or "
        "component of a generative model has lost its spread, type prior=dgjax.weak_prior(model, x). The last good "
        "model is this error's `model`."
    )
    raise Diverged(message, model, state.trace[: step - 1], step - 1)
