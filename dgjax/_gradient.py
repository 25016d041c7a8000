"""Learning by gradient: Newton's method where the curvature is small enough to hold, L-BFGS elsewhere.

Newton's method needs the curvature of all rows at every step. On many rows it takes the steps on a sample of them, as
far as a sample can tell, and then L-BFGS takes over on all rows, in coordinates in which the sample's curvature is the
identity: a few passes over the rows are left to do.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

import dgjax_kernels as kernels
from dgjax import _lbfgs
from dgjax._checks import is_concrete, is_sequential
from dgjax._draws import Draws, with_draws
from dgjax.structures import num_steps

# Newton holds and factors a matrix of this many parameters squared; above it L-BFGS took less time on every shape, and
# with kernels for the derivatives above the second, or where there are too few rows for a sample.
NEWTON_LIMIT, LINEAR_NEWTON_LIMIT = 256, 1024
HALVINGS = 30
# Of steps that L-BFGS remembers, all of which are read and written at every step. 180,000 weights of a CRF, a pass over
# whose sentences takes 6 ms: 18 ms a step with 20 of them, 13 with 6; after 20 steps they are 1% apart.
MOST_PAIRS, FEWEST_PAIRS, PAIRS_HOLD = 20, 6, 1 << 20
# A sample has so many rows for each parameter, or one of so many rows. Its curvature is worked out again so many times,
# as long as that takes no more multiplications than so many passes over all rows: a pass, bound by memory, is slower.
SAMPLED_FOR_EACH_PARAMETER, SAMPLED_SHARE = 16, 16
RENEWALS, PASSES_FOR_RENEWALS = 2, 20


class Problem(NamedTuple):
    """A mean loss over weighted rows: minus [blend log p(x, y) + (1 - blend) log p(y | x)], prior and l2 included.

    Without `blend`, log p(x, y) of a generative model and log p(y | x) of a discriminative one. Where a model is scored
    by draws, by these if there are any, else by its own.
    """

    x: Any
    y: Array
    weights: Array
    prior: Any
    l2: Array
    blend: Array | None
    draws: Draws | None = None

    def row_values(self, model: Any, x: Any, y: Array) -> Array:
        """What each row adds to the objective; nothing where its label is unknown and only p(y | x) is asked."""
        model = with_draws(model, self.draws)
        if self.blend is None and kernels.known_labels.value and hasattr(type(model), "joint_at"):
            return model.joint_at(x, y)
        potentials = model.potentials(x)
        joint = potentials.score(y)
        if self.blend is None and model.generative:
            return joint
        evidence = potentials.log_partition()
        return joint - evidence if self.blend is None else joint - (1 - self.blend) * evidence

    def penalty(self, model: Any) -> Array:
        """Log prior of a generative model, minus l2 / 2 |w|^2 of a discriminative one."""
        return model.log_prior(self.prior) if model.generative else -0.5 * self.l2 * model.penalty()

    @staticmethod
    def linear(model: Any) -> bool:
        """Whether there are kernels for the derivatives."""
        return not model.generative and getattr(model, "linear", False)

    def value_and_grad(self, model: Any) -> tuple[Array, Any]:
        """The objective and its gradient."""
        if not self.linear(model):
            return self.objective(model, jax.value_and_grad)
        rows = model.gradient(self.x, self.y, self.weights)
        return jax.tree.map(jnp.add, rows, jax.value_and_grad(self.penalty)(model))

    def derivatives(self, vector: Array, unravel: Any) -> tuple[Array, Array]:
        """Gradient and Hessian of the objective as a function of a vector."""
        model = unravel(vector)
        if self.linear(model):
            hessian = jax.hessian(lambda v: self.penalty(unravel(v)))(vector)
            hessian -= model.curvature(self.x, self.y, self.weights)
            return ravel_pytree(self.value_and_grad(model)[1])[0], hessian

        def of_vector(fn):
            flat = lambda v: fn(unravel(v))  # noqa: E731
            return lambda m: (jax.grad(flat)(ravel_pytree(m)[0]), jax.hessian(flat)(ravel_pytree(m)[0]))

        return self.objective(model, of_vector, row_cost=vector.size * model.num_labels)

    def objective(self, model: Any, derivative: Any = lambda f: f, row_cost: int | None = None) -> Any:
        """The objective, or what `derivative` makes of it as a function of the model, summed over blocks of rows."""

        def block(x, y, weights):
            def value(m):
                return kernels.pairwise_sum(jnp.where(weights > 0, weights * self.row_values(m, x, y), 0))

            return derivative(value)(model)

        cost = model.row_cost * num_steps(self.x) if row_cost is None else row_cost
        fill = (0, -1, 0)
        rows = kernels.sum_rows(block, self.x, self.y, self.weights, fill=fill, row_cost=cost)
        return jax.tree.map(jnp.add, rows, derivative(self.penalty)(model))


def counted(x: Any, y: Array, weights: Array) -> tuple[Any, Array]:
    """Rows and labels, those of weight 0 as the first that counts: their infinities would reach the gradient as NaN."""
    counts = weights > 0
    if isinstance(x, kernels.RowsInPlace) or (is_concrete(counts) and np.asarray(counts).all()):
        return x, y

    def first_where_none(leaf):
        return jnp.where(counts.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, leaf[counts.argmax()])

    return jax.tree.map(first_where_none, (x, y))


class State(NamedTuple):
    """Parameters as one vector, the optimizer's memory, and the objective after each step so far.

    That of L-BFGS are the gradient and the changes. Before its first evaluation `step` is -1, and the value infinite.
    """

    vector: Array
    memory: Any
    value: Array
    trace: Array
    step: Array
    converged: Array
    validation: Array | None = None


def coordinates(model: Any, whitener: Array | None = None) -> tuple[Array, Any]:
    """The parameters of a model as one vector, and the way back. Those at minus infinity, structural zeros, stay.

    With a `whitener` F, in coordinates v, plain + F v, in which a matrix with the inverse F F^T is the identity.
    """
    vector, unravel = ravel_pytree(model)
    free = jnp.isfinite(vector)
    plain = jnp.where(free, vector, 0)
    back = lambda moved: unravel(jnp.where(free, moved, vector))  # noqa: E731
    if whitener is None:
        return plain, back
    return jnp.zeros_like(plain), lambda v: back(plain + whitener @ v)


def make_loss(problem: Problem, unravel: Any, scale: Array | None = None) -> Any:
    """The loss for each unit of weight as a function of the vector, with a gradient whose memory stays flat too.

    In place of a vector, any pytree that `unravel` makes a model of.
    """
    scale = 1 / problem.weights.sum() if scale is None else scale

    @jax.custom_vjp
    def loss(vector):
        model = unravel(vector)
        return -scale * (problem.value_and_grad(model)[0] if problem.linear(model) else problem.objective(model))

    def forward(vector):
        model, pull = jax.vjp(unravel, vector)
        value, grad = problem.value_and_grad(model)
        return -scale * value, jax.tree.map(lambda leaf: -scale * leaf, pull(grad)[0])

    loss.defvjp(forward, lambda grad, cotangent: (jax.tree.map(lambda leaf: cotangent * leaf, grad),))
    return loss


def start(model: Any, problem: Problem, method: str, tol: Array, trace: Array) -> tuple[State, Any, Any]:
    """The first state, a function that advances it, and one that turns the last into a result and its model."""
    whitener, sample = None, sample_size(ravel_size(model), len(problem.x))
    if method == "newton" and sample < len(problem.x):
        model, whitener = _sample_start(model, _sampled(problem, sample), len(problem.x), problem.weights.sum())
        method = "lbfgs"
    vector, memory, value, step = (_lbfgs_start if method == "lbfgs" else _newton_start)(model, whitener, problem)
    state = State(vector, memory, value, trace, step, jax.device_put(np.zeros((), bool)))
    advance = _advance_lbfgs if method == "lbfgs" else _advance_newton
    finished = lambda last: (last, _unravelled(model, whitener, last.vector))  # noqa: E731
    return state, functools.partial(advance, model, whitener, problem, tol), finished


@kernels.compiled
def _unravelled(model, whitener, vector):
    return coordinates(model, whitener)[1](vector)


def is_finite(state: State) -> bool:
    """Whether every number of the last gradient is, where L-BFGS is."""
    return bool(np.isfinite(state.memory[0]).all())


def ravel_size(model: Any) -> int:
    """How many parameters there are."""
    return sum(leaf.size for leaf in jax.tree.leaves(model))


def is_for_newton(model: Any, n: int) -> bool:
    """Whether Newton's method is the usual one: for few parameters, for more where a sample of the rows is enough.

    Not for chains, whose curvature takes as many passes as there are parameters.
    """
    if is_sequential(model):
        return False
    size = ravel_size(model)
    sampled = Problem.linear(model) and size <= LINEAR_NEWTON_LIMIT and sample_size(size, n) < n
    return size <= NEWTON_LIMIT or sampled


def sample_size(num_parameters: int, n: int) -> int:
    """How many of n rows Newton's method starts on: all of them, unless a part is enough."""
    size = max(SAMPLED_FOR_EACH_PARAMETER * num_parameters, n // SAMPLED_SHARE)
    return size if 2 * size <= n else n


@functools.partial(kernels.compiled, static_argnums=1)
def _sampled(problem: Problem, size: int) -> Problem:
    """The same on so many of the rows, one at random from each of as many stretches, with as much weight.

    At random, for labels and weights may follow a period.
    """
    n, within = len(problem.x), np.random.default_rng(0).random(size)
    picked = ((np.arange(size) + within) * n / size).astype(int)
    x = problem.x.picked(picked) if isinstance(problem.x, kernels.RowsInPlace) else problem.x[picked]
    y, weights = problem.y[picked], problem.weights[picked]
    counted = jnp.where(y >= 0, weights, 0).sum()
    share = jnp.where(problem.y >= 0, problem.weights, 0).sum() / jnp.where(counted > 0, counted, 1)
    return problem._replace(x=x, y=y, weights=share * weights)


@functools.partial(kernels.compiled, static_argnums=2)
def _sample_start(model: Any, sample: Problem, n: int, weight: Array) -> tuple[Any, Array]:
    """Newton steps on a sample of n rows, down to its noise; and a whitener of its curvature there.

    At the solution of all rows, the gain that a sample promises is half the number of parameters times rows for each
    row of the sample: no step is taken for less than twice that.
    """
    vector, unravel = coordinates(model)
    scale, loss, size = 1 / weight, make_loss(sample, unravel, 1 / weight), len(sample.x)
    noise = scale * vector.size * n / size
    renewals = min(RENEWALS, PASSES_FOR_RENEWALS * n // (vector.size * size))

    def renewed(carry):
        step, vector, *_ = carry
        grad, hessian = sample.derivatives(vector, unravel)
        whitener = _whitener(-scale * hessian, sample.x, n // size)
        direction = whitener @ (whitener.T @ (scale * grad))
        decrement = scale * jnp.vdot(grad, direction)
        moved, _ = _backtrack(loss, vector, loss(vector), direction, decrement)
        worthwhile = decrement / 2 > noise
        return step + 1, jnp.where(worthwhile, moved, vector), whitener, worthwhile

    def goes_on(carry):
        step, *_, worthwhile = carry
        return worthwhile & (step <= renewals)

    # Within the loop from its first step on: what stands before it too is compiled once more.
    first = 0, vector, jnp.zeros((vector.size, vector.size), vector.dtype), jnp.array(True)
    _, vector, whitener, _ = jax.lax.while_loop(goes_on, renewed, first)
    return unravel(vector), whitener


@kernels.compiled
def _newton_start(model, whitener, problem):
    vector, unravel = coordinates(model, whitener)
    return vector, None, make_loss(problem, unravel)(vector), jnp.zeros((), int)


@kernels.compiled
def _lbfgs_start(model, whitener, problem):
    """Before the first evaluation, which is a turn of the same loop: compiling it apart would take as long again."""
    vector, _ = coordinates(model, whitener)
    pairs = min(MOST_PAIRS, max(FEWEST_PAIRS, PAIRS_HOLD // vector.size))
    memory = jnp.zeros_like(vector), _lbfgs.start(pairs, vector)
    return vector, memory, jnp.full((), jnp.inf, problem.weights.dtype), jnp.full((), -1)


@kernels.compiled
def _advance_lbfgs(
    model: Any, whitener: Array | None, problem: Problem, tol: Array, state: State, until: Array
) -> State:
    _, unravel = coordinates(model, whitener)
    value_and_grad = jax.value_and_grad(make_loss(problem, unravel))

    def body(state):
        gradient, memory = state.memory
        direction, memory = _lbfgs.direction(memory, state.vector, gradient, whitener is None)
        # Twice the gain that the quadratic model promises: unlike the gain itself, not small merely for a short step.
        vector, value, gradient, promised = _lbfgs.search(
            value_and_grad, state.vector, state.value, gradient, direction
        )
        if whitener is not None:
            # In coordinates that are white, the gradient says that of the next step too. They are if this step gained
            # half of what a straight line promised; one that is far too short, for a curvature too large, gains it all.
            white = state.value - value <= 0.75 * promised
            promised = jnp.where(white, jnp.minimum(promised, jnp.vdot(gradient, gradient)), promised)
        return _stepped(state, vector, (gradient, memory), value, promised, problem, tol)

    return jax.lax.while_loop(lambda s: (s.step < until) & ~s.converged, body, state)


@kernels.compiled
def _advance_newton(model: Any, whitener: None, problem: Problem, tol: Array, state: State, until: Array) -> State:
    _, unravel = coordinates(model, whitener)
    loss, scale = make_loss(problem, unravel), 1 / problem.weights.sum()

    def body(state):
        grad, hessian = problem.derivatives(state.vector, unravel)
        direction = _newton_direction(-scale * grad, -scale * hessian, problem.x)
        decrement = scale * jnp.vdot(grad, direction)
        vector, value = _backtrack(loss, state.vector, state.value, direction, decrement)
        return _stepped(state, vector, None, value, decrement, problem, tol)

    return jax.lax.while_loop(lambda s: (s.step < until) & ~s.converged, body, state)


def _whitener(hessian, x, share=1):
    """F with F F^T = H^-1; of no curvature, or none that can be told from rounding, the identity.

    Of many rows, those of `x` so many times, passes come next: LAPACK's threads would be in their way.
    """
    beside = kernels.many_cells(share * sum(leaf.size for leaf in jax.tree.leaves(x)))
    F = (kernels.whitener if beside else kernels.whitener.reference)(_ridged(hessian))
    curved = jnp.isfinite(F).all() & (jnp.trace(hessian) > 0)
    return jnp.where(curved, F, jnp.eye(len(F), dtype=F.dtype))


def _newton_direction(grad, hessian, x):
    """-H^-1 g."""
    F = _whitener(hessian, x)
    return -F @ (F.T @ grad)


def _ridged(hessian):
    """With just enough ridge for the directions that the loss is flat in (softmax is one of a constant)."""
    p, eps = len(hessian), jnp.finfo(hessian.dtype).eps
    ridge = 10 * p * eps * jnp.maximum(jnp.trace(hessian) / p, eps)
    return hessian + ridge * jnp.eye(p, dtype=hessian.dtype)


def _backtrack(loss, vector, value, direction, decrement):
    """The first of the steps 1, 1/2, 1/4 ... that gains a part of what the gradient promises; none if none does."""

    def cond(carry):
        step, new, count = carry
        return ~(new <= value - 1e-4 * step * decrement) & (count < HALVINGS)

    def body(carry):
        step, _, count = carry
        return step / 2, loss(vector + step / 2 * direction), count + 1

    before = jnp.full((), 2, vector.dtype), jnp.full_like(value, jnp.inf), -1
    step, new, _ = jax.lax.while_loop(cond, body, before)
    better = new <= value
    return jnp.where(better, vector + step * direction, vector), jnp.where(better, new, value)


def _stepped(state, vector, memory, value, promised, problem, tol):
    first, noise = state.step < 0, jnp.finfo(value.dtype).eps * jnp.abs(value)
    settled = (tol > 0) & (promised <= 1e-2 * tol + noise)
    trace = state.trace.at[jnp.maximum(state.step, 0)].set(-value * problem.weights.sum())
    stuck = ~(value < state.value) & (jnp.abs(promised) <= 1e-2 * jnp.maximum(tol, 1e-12) + 64 * noise)
    broken = jnp.isnan(value) | jnp.isnan(promised)  # with a gradient of NaN there is no going on from any value
    value = jnp.where(broken, jnp.nan, value)
    return State(vector, memory, value, trace, state.step + 1, (~first & (settled | stuck)) | broken)
