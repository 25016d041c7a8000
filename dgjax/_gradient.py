"""Learning by gradient: Newton's method where the curvature is small enough to hold, L-BFGS elsewhere."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

import dgjax_kernels as kernels

# Newton holds and factors a matrix of this many parameters squared; above it L-BFGS took less time on every shape.
NEWTON_LIMIT = 256
HALVINGS = 30


class Problem(NamedTuple):
    """A mean loss over weighted rows: minus [blend log p(x, y) + (1 - blend) log p(y | x)], prior and l2 included."""

    x: Array
    y: Array
    weights: Array
    prior: Any
    l2: Array
    blend: Array | None

    def row_values(self, model: Any, x: Array, y: Array) -> Array:
        """What each row adds to the objective; nothing where its label is unknown and only p(y | x) is asked."""
        potentials = model.potentials(x)
        joint, evidence = potentials.score(y), potentials.log_partition()
        return joint - evidence if self.blend is None else joint - (1 - self.blend) * evidence

    def penalty(self, model: Any) -> Array:
        """Log prior of a generative model, minus l2 / 2 |w|^2 of a discriminative one."""
        return model.log_prior(self.prior) if model.generative else -0.5 * self.l2 * model.penalty()

    def objective(self, model: Any, derivative: Any = lambda f: f, row_cost: int | None = None) -> Any:
        """The objective, or what `derivative` makes of it as a function of the model, summed over blocks of rows."""

        def block(x, y, weights):
            def value(m):
                return kernels.pairwise_sum(jnp.where(weights > 0, weights * self.row_values(m, x, y), 0))

            return derivative(value)(model)

        cost = model.row_cost if row_cost is None else row_cost
        fill = (0, -1, 0)
        rows = kernels.sum_rows(block, self.x, self.y, self.weights, fill=fill, row_cost=cost)
        return jax.tree.map(jnp.add, rows, derivative(self.penalty)(model))


class State(NamedTuple):
    """Parameters as one vector, the optimizer's memory, and the objective after each step so far."""

    vector: Array
    memory: Any
    value: Array
    trace: Array
    step: Array
    converged: Array


def coordinates(model: Any) -> tuple[Array, Any]:
    """The parameters of a model as one vector, and the way back. Those at minus infinity, structural zeros, stay."""
    vector, unravel = ravel_pytree(model)
    free = jnp.isfinite(vector)
    return jnp.where(free, vector, 0), lambda moved: unravel(jnp.where(free, moved, vector))


def make_loss(problem: Problem, unravel: Any) -> Any:
    """The loss for each unit of weight as a function of the vector, with a gradient whose memory stays flat too."""
    scale = 1 / problem.weights.sum()

    @jax.custom_vjp
    def loss(vector):
        return -scale * problem.objective(unravel(vector))

    def forward(vector):
        model, pull = jax.vjp(unravel, vector)
        value, grad = problem.objective(model, jax.value_and_grad)
        return -scale * value, -scale * pull(grad)[0]

    loss.defvjp(forward, lambda grad, cotangent: (cotangent * grad,))
    return loss


def start(model: Any, problem: Problem, method: str, tol: Array, trace: Array) -> tuple[State, Any, Any]:
    """The first state, a function that advances it, and one that turns its vector into a model."""
    vector, unravel = coordinates(model)
    value = _loss(model, problem)
    memory = _solver().init(vector) if method == "lbfgs" else None
    step, converged = jax.device_put((np.zeros((), int), np.zeros((), bool)))
    state = State(vector, memory, value, trace, step, converged)
    advance = _advance_lbfgs if method == "lbfgs" else _advance_newton
    return state, functools.partial(advance, model, problem, tol), unravel


@kernels.compiled
def _loss(model, problem):
    vector, unravel = coordinates(model)
    return make_loss(problem, unravel)(vector)


def _solver():
    import optax

    return optax.lbfgs(memory_size=20, linesearch=optax.scale_by_zoom_linesearch(max_linesearch_steps=HALVINGS))


@kernels.compiled
def _advance_lbfgs(model: Any, problem: Problem, tol: Array, state: State, until: Array) -> State:
    import optax

    _, unravel = coordinates(model)
    loss, solver = make_loss(problem, unravel), _solver()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def body(state):
        value, grad = value_and_grad(state.vector, state=state.memory)
        updates, memory = solver.update(grad, state.memory, state.vector, value=value, grad=grad, value_fn=loss)
        vector = optax.apply_updates(state.vector, updates)
        new = optax.tree.get(memory, "value")
        # Twice the gain that the quadratic model promises: unlike the gain itself, not small merely for a short step.
        promised = jnp.abs(optax.tree.vdot(grad, updates))
        return _stepped(state, vector, memory, new, promised, problem, tol)

    return jax.lax.while_loop(lambda s: (s.step < until) & ~s.converged, body, state)


@kernels.compiled
def _advance_newton(model: Any, problem: Problem, tol: Array, state: State, until: Array) -> State:
    _, unravel = coordinates(model)
    loss = make_loss(problem, unravel)
    scale = 1 / problem.weights.sum()

    def derivatives(vector):
        def of_vector(fn):
            flat = lambda v: fn(unravel(v))  # noqa: E731
            return lambda m: (jax.grad(flat)(ravel_pytree(m)[0]), jax.hessian(flat)(ravel_pytree(m)[0]))

        m = unravel(vector)
        grad, hessian = problem.objective(m, of_vector, row_cost=vector.size * m.num_labels)
        return -scale * grad, -scale * hessian

    def body(state):
        grad, hessian = derivatives(state.vector)
        direction = _newton_direction(grad, hessian)
        decrement = -jnp.vdot(grad, direction)
        vector, value = _backtrack(loss, state.vector, state.value, direction, decrement)
        return _stepped(state, vector, None, value, decrement, problem, tol)

    return jax.lax.while_loop(lambda s: (s.step < until) & ~s.converged, body, state)


def _newton_direction(grad, hessian):
    """-H^-1 g, with just enough ridge for the directions that the loss is flat in (softmax is one of a constant)."""
    eps = jnp.finfo(grad.dtype).eps
    ridge = 10 * len(grad) * eps * jnp.maximum(jnp.trace(hessian) / len(grad), eps)
    return -jax.scipy.linalg.solve(hessian + ridge * jnp.eye(len(grad), dtype=grad.dtype), grad, assume_a="pos")


def _backtrack(loss, vector, value, direction, decrement):
    """The first of the steps 1, 1/2, 1/4 ... that gains a part of what the gradient promises; none if none does."""

    def cond(carry):
        step, new, count = carry
        return ~(new <= value - 1e-4 * step * decrement) & (count < HALVINGS)

    def body(carry):
        step, _, count = carry
        return step / 2, loss(vector + step / 2 * direction), count + 1

    one = jnp.ones((), vector.dtype)
    step, new, _ = jax.lax.while_loop(cond, body, (one, loss(vector + direction), 0))
    better = new <= value
    return jnp.where(better, vector + step * direction, vector), jnp.where(better, new, value)


def _stepped(state, vector, memory, value, promised, problem, tol):
    noise = jnp.finfo(value.dtype).eps * jnp.abs(value)
    settled = (tol > 0) & (promised <= 1e-2 * tol + noise)
    trace = state.trace.at[state.step].set(-value * problem.weights.sum())
    stuck = ~(value < state.value) & (jnp.abs(promised) <= 1e-2 * jnp.maximum(tol, 1e-12) + 64 * noise)
    return State(vector, memory, value, trace, state.step + 1, settled | stuck | jnp.isnan(value))
