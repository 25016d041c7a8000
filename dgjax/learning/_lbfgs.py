"""L-BFGS: a quasi-Newton method by inner products, with a line search of one evaluation a turn.

The idea. Each step goes along -H g, with g the gradient and H an estimate of the inverse Hessian from the last m steps:
parameter changes s and gradient changes y (a "correction pair"). Rows of M (2 m, p) are these, s above y.

    two loops    every vector in them is w M + c g with few numbers w (2 m,), c; all they need are the inner products
                 M M^T, of which a step changes two rows, and M g: M is read twice a step, four times in the textbook
    line search  steps 1, then longer or shorter, until the objective falls enough and the slope has flattened (weak
                 Wolfe); a turn is one evaluation, and the start is evaluated as a step of 0, so the gradient is
                 compiled once (three times in optax's zoom search)
    end          when the slope along the direction promises to gain less than a hundredth of `tol`

On 2 cores 20 steps of 180,099 parameters and 6 pairs take 48 ms, by optax 127; of a CRF as large 306 and 350.

Source: Nocedal and Wright (2006), algorithm 7.4; Chen, Wang and Zhou (2014), Large-scale L-BFGS using MapReduce; Lewis
and Overton (2013), Nonsmooth optimization via quasi-Newton methods, algorithm 2.6; Hager and Zhang (2005), A new
conjugate gradient method, for what rounding leaves of a value.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray
from dgjax.densities import LEARNING, Adversarial
from dgjax.learning import _newton_steps, _scales
from dgjax.learning._ascent import Ascent, ByGradient, Phase, number_of_parameters, placed
from dgjax.learning._endings import is_maximum
from dgjax.learning._objective import Frame, Problem, is_concave, make_loss
from dgjax.learning._steps import PROMISED, State, first, rounding, stepped

# Of steps that L-BFGS remembers, all of which are read and written at every step. 180,000 weights of a CRF, a pass over
# whose sentences takes 6 ms: 18 ms a step with 20 of them, 13 with 6; after 20 steps they are 1% apart.
MOST_PAIRS, FEWEST_PAIRS, PAIRS_HOLD = 20, 6, 1 << 20
# A step is taken where the value falls by this part of what the slope promises, and the slope is this part of it.
LEAST_GAIN, FLAT_ENOUGH = 1e-4, 0.9
# A step grows by at most this factor; a line search ends after so many turns; after so many without a gain the first
# step was far too long.
LONGER, MOST_TURNS, FAR_TOO_LONG = 10.0, 30, 3
# Curvatures along steps: 0.4 to 1.4 by Newton's whitener where it is right, and 1e-8 to 0.05 or 1e9 where its sample is
# not like the rest; 1e-3 to 0.4 by the columns' alone, and below 1e-5 on a way to nearly separated classes.
WHITE, SCALED = (1 / 8, 8.0), (1e-4, 1e6)
# Parameters for which a Hessian of all rows is worth it then; and after so many steps without an end too: the
# handwritten digits take 2,500, or 200 and a few of Newton's.
FEW, SLOW = 1024, 200
WINDOW = 10  # steps whose gains are compared with those of as many before
NOISE = 4  # units in the last place of a value, within which it is the slopes that tell whether a step is good


@dataclasses.dataclass(frozen=True)
class LBFGS(ByGradient):
    """L-BFGS, for any number of parameters: gradient steps, preconditioned by the curvature along the last steps.

    The usual method of conditional random fields, of large logistic regressions, and of generative models with a
    `blend`. The fit ends where a step promises to gain no more than `tol` nats for each row; with 0 only `max_steps`
    ends it.

    Raises ValueError if `tol` is negative or not finite.
    Source: Nocedal and Wright (2006), Numerical Optimization, algorithm 7.5.
    """

    tol: float = 1e-6

    def check(self, model: Any, problem: Problem) -> None:
        """Accepts every model that has an objective; one scored by random draws is fitted with its own fixed draws."""
        if isinstance(getattr(model, "density", None), Adversarial):
            raise ValueError(f"Two networks that play against each other maximise no one objective. {LEARNING}.")

    def init(self, model: Any, problem: Problem, trace: Array) -> Ascent:
        frame, moved, _ = placed(model, problem)
        frame = frame._replace(whitener=_scales.find(frame.model, moved))
        return Ascent(frame, moved, start(frame, moved, trace), PHASE)


def _exact(problem: Problem, state: Ascent, tol: float) -> Ascent | None:
    """The fit as Newton's steps on all rows continue it where L-BFGS is slow, or ended short of the maximum; else None.

    Its promises are right as far as the whitener is. Along the last steps the curvature should be about 1; on a way to
    nearly separated classes, or where rows that the whitener was not made of matter most, it is not.
    """
    inner, model = state.inner, state.frame.model
    if not is_concave(model) or number_of_parameters(model) > FEW or not float(tol):
        return None
    value, gap, converged = jax.device_get((inner.value, inner.gap, inner.converged))
    if not np.isfinite(value):
        return None
    if converged and is_maximum(state.problem, tol, inner._replace(value=value), gap) and not _is_misled(state):
        return None
    frame, moved, _ = placed(state.frame.model_at(inner.vector, problem.strength), problem, chosen=False)
    begun = _newton_steps.start(frame, moved, inner.trace)._replace(step=inner.step)
    return Ascent(frame, moved, begun, _newton_steps.NEWTON, (*state.past, inner))


def _is_misled(state):
    """Whether the curvature s . y / s . s along a step of the memory is not that of the coordinates.

    Or whether these are known to be rough: where a penalty mixes parameters, by any number of times the rows' own
    curvature.
    """
    if state.problem.mixes(state.frame.model) and np.asarray(state.problem.units.centre).any():
        return True
    products = np.asarray(state.inner.memory[1].products)
    m = len(products) // 2
    with_s, with_y = np.diagonal(products)[:m], np.diagonal(products, m)
    curvature = with_y[with_s > 0] / with_s[with_s > 0]
    whitened = state.frame.whitener is not None and state.frame.whitener.ndim == 2
    least, most = WHITE if whitened else SCALED
    return not ((curvature >= least) & (curvature <= most)).all()


class Memory(NamedTuple):
    """L-BFGS memory: number of steps, last parameters and gradient, correction pairs M (2 m, p), and M M^T."""

    steps: Array
    parameters: Array
    gradient: Array
    changes: Array  # (2 m, p)
    products: Array  # (2 m, 2 m)


class Point(NamedTuple):
    """Point of a line search: step length, and slope of the objective there."""

    step: Array
    slope: Array


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def start(frame: Frame, problem: Problem, trace: Array) -> State:
    """State before the first evaluation of the objective.

    That evaluation is a turn of the main loop: compiled apart, it would take as long to compile again.
    """
    vector, _ = frame.coordinates()
    pairs = min(MOST_PAIRS, max(FEWEST_PAIRS, PAIRS_HOLD // vector.size))
    value = jnp.full((), jnp.inf, problem.weights.dtype)
    return first(vector, (jnp.zeros_like(vector), forgotten(pairs, vector)), value, trace, -1)


@functools.partial(kernels.compiled_steps, results=kernels.shards.SUMS)
def advance(frame: Frame, problem: Problem, tol: AnyArray, state: State, until: AnyArray) -> State:
    """L-BFGS steps until step `until`, or until the next promises to gain too little.

    Too little is no more than `tol` nats per unit of weight.
    """
    _, unravel = frame.coordinates()
    value_and_grad, weight = jax.value_and_grad(make_loss(problem, unravel)), problem.weight
    whitened = frame.whitener is not None and frame.whitener.ndim == 2

    def body(state):
        gradient, memory = state.memory
        towards, memory = direction(memory, state.vector, gradient, not whitened)
        found = search(value_and_grad, state.vector, state.value, gradient, towards)
        return arrived(state, memory, found, weight, tol, whitened)

    return jax.lax.while_loop(lambda s: (s.step < until) & ~s.converged, body, state)


PHASE = Phase(advance, _exact, SLOW)


def arrived(
    state: State, memory: Memory, found: tuple[Array, ...], weight: Array, tol: AnyArray, whitened: bool
) -> State:
    """State after a step, where a line search `found` parameters, value, gradient and what the slope promised."""
    vector, value, gradient, promised = found
    steepest = jnp.vdot(gradient, gradient)
    if whitened:
        # In coordinates that are white, the gradient says that of the next step too. They are if this step gained
        # half of what a straight line promised; one that is far too short, for a curvature too large, gains it all.
        white = state.value - value <= 0.75 * promised
        promised = jnp.where(white, jnp.minimum(promised, steepest), promised)
    else:
        # In those that are only scaled the slope says too little if the changes were all in other directions.
        # These are no more than bounds, and within the tolerance is enough.
        left = jnp.maximum(steepest, 2 * _to_come(state, value, weight))
        promised = jnp.maximum(promised, PROMISED * left)
    return stepped(state, vector, (gradient, memory), value, promised, weight, tol)


def _to_come(state, value, weight):
    """Gain still to come, by extrapolating the gains of the last steps as a geometric series.

    Where columns are nearly dependent, every step gains and promises little, for hundreds of steps.
    """
    here = state.step + 1
    apart = jnp.clip(here // 3, 1, WINDOW)
    middle, early = (-state.trace[jnp.maximum(here - i * apart, 0)] / weight for i in (1, 2))
    late, before = middle - value, early - middle
    left = jnp.where(before > late, late**2 / jnp.where(before > late, before - late, 1), WINDOW * late)
    return jnp.where((here >= 3) & (late > NOISE * rounding(value)), left, 0)


def forgotten(m: int, vector: Array) -> Memory:
    """An empty memory of at most m correction pairs; zeros stand for the gradient before the first one."""
    nothing, changes = jnp.zeros_like(vector), jnp.zeros((2 * m, len(vector)), vector.dtype)
    return Memory(jnp.full((), -1, int), nothing, nothing, changes, jnp.zeros((2 * m, 2 * m), vector.dtype))


def direction(memory: Memory, vector: Array, gradient: Array, scaled: bool) -> tuple[Array, Memory]:
    """Search direction -H g (p,), H the L-BFGS inverse Hessian; and the memory with the newest correction pair.

    H starts from a multiple of the identity if `scaled`, else from the identity. After a step of length 0 all pairs are
    dropped, for they led to a direction without gain.
    """
    m, known = len(memory.changes) // 2, memory.steps > 0
    newest = (memory.steps - 1) % m
    s = jnp.where(known, vector - memory.parameters, 0)
    y = jnp.where(known, gradient - memory.gradient, 0)
    changes = memory.changes.at[newest].set(s).at[newest + m].set(y)
    with_s, with_y, with_g = (changes @ jnp.stack([s, y, gradient], 1)).T
    products = memory.products
    for row, own in ((newest, with_s), (newest + m, with_y)):
        products = products.at[row].set(own).at[:, row].set(own)
    products = jnp.where(known & (s == 0).all(), 0, products)
    scale = jnp.ones((), vector.dtype)
    if scaled:
        sy, yy = products[newest, newest + m], products[newest + m, newest + m]
        # Nocedal and Wright (2006), eq. 7.20: the size of the inverse Hessian along the newest pair. Before there is
        # one nothing is known of the curvature, and the first step that is tried is no longer than 1.
        curved = (sy > 0) & jnp.isfinite(yy)
        scale = jnp.where(curved, sy / jnp.where(curved, yy, 1), jnp.minimum(1, 1 / _length(gradient)))
    w = _two_loops(products, with_g, scale, newest)
    return -(w @ changes + scale * gradient), Memory(memory.steps + 1, vector, gradient, changes, products)


def _length(gradient):
    """Euclidean norm of a gradient, computed so that squares cannot overflow."""
    largest = jnp.abs(gradient).max()
    unit = jnp.where(largest > 0, largest, 1)
    return unit * jnp.sqrt(((gradient / unit) ** 2).sum())


def _two_loops(products, with_g, scale, newest):
    """Two-loop recursion: coefficients w (2 m,), for which the direction is -(w M + scale g)."""
    m = len(products) // 2
    sy = jnp.diagonal(products, m)
    rho = jnp.where(sy > 0, 1 / jnp.where(sy > 0, sy, 1), 0)  # a change of no curvature says nothing

    def right(age, carry):
        w, alpha = carry
        i = (newest - age) % m
        a = rho[i] * (products[i] @ w + with_g[i])
        return w.at[m + i].add(-a), alpha.at[i].set(a)

    def left(youth, w):
        i = (newest + 1 + youth) % m
        beta = rho[i] * (products[m + i] @ w + scale * with_g[m + i])
        return w.at[i].add(alpha[i] - beta)

    w, alpha = jax.lax.fori_loop(0, m, right, (jnp.zeros_like(with_g), jnp.zeros_like(rho)))
    return jax.lax.fori_loop(0, m, left, scale * w)


def search(
    value_and_grad: Callable[[Array], tuple[Array, Array]],
    vector: Array,
    value: Array,
    gradient: Array,
    direction: Array,
) -> tuple[Array, Array, Array, Array]:
    """Line search (weak Wolfe) along a direction: parameters, value, gradient, and promised gain.

    The gain is what the slope promised. Nothing moves if no step gains, as where the direction leads up. The promise is
    for a step of at least 1, since a shorter step does not say how near the minimum is. From an infinite value any
    finite one is accepted.
    """
    begun = line(value, gradient, direction)

    def turn(carry):
        return evaluated(carry, value, *value_and_grad(vector + carry.step * direction), direction)

    ended = jax.lax.while_loop(lambda own: (own.count < MOST_TURNS) & ~own.ends, turn, begun)
    return end_of_line(ended, vector, value, gradient, direction)


class Line(NamedTuple):
    """Line search under way: turns so far, the steps between which it is, the next and the last step, and what it saw.

    `slope` is that at the start; `value`, `gradient` and whether it `gains` are of the last step.
    """

    count: Any
    low: Point
    high: Point
    step: Array
    last: Array
    value: Array
    gradient: Array
    gains: Array
    ends: Array
    slope: Array


def line(value: Array, gradient: Array, direction: Array) -> Line:
    """Line search before its first turn, with a step of 1."""
    slope = jnp.vdot(gradient, direction)
    none, zero = jnp.zeros((), bool), jnp.zeros_like(slope)
    low, high = Point(zero, slope), Point(zero + jnp.inf, zero)
    return Line(0, low, high, zero + 1, zero, value, gradient, none, none, slope)


def evaluated(own: Line, value: Array, new: Array, grad: Array, direction: Array) -> Line:
    """Line search after a turn: `new` value and gradient at its step, from a `value` at the start."""
    slope, noise = own.slope, NOISE * jnp.finfo(value.dtype).eps * jnp.abs(value)
    count, low, high, step = own.count, own.low, own.high, own.step
    here = Point(step, jnp.vdot(grad, direction))
    gains = new <= value + LEAST_GAIN * step * slope
    # Approximate Wolfe condition of Hager and Zhang (2005): where values agree to rounding, slopes still tell.
    gains |= (new <= value + noise) & (here.slope <= (2 * LEAST_GAIN - 1) * slope)
    gains = (gains & (slope < 0)) | (jnp.isposinf(value) & ~jnp.isposinf(new))
    ends = (gains & (here.slope >= FLAT_ENOUGH * slope)) | ~(slope < 0)
    beyond = _beyond(low, here)
    low, high = (_where(yes, here, old) for yes, old in ((gains, low), (~gains, high)))
    upcoming = jnp.where(jnp.isinf(high.step), beyond, _between(low, high, gains, count))
    upcoming = jnp.where(count == MOST_TURNS - 2, low.step, upcoming)  # what gained, for want of better
    return Line(count + 1, low, high, upcoming, step, new, grad, gains, ends, slope)


def end_of_line(
    own: Line, vector: Array, value: Array, gradient: Array, direction: Array
) -> tuple[Array, Array, Array, Array]:
    """Parameters, value, gradient and promised gain where a line search ended."""
    there = vector + own.last * direction, own.value, own.gradient
    moved, new, grad = _where(own.gains, there, (vector, value, gradient))
    return moved, new, grad, jnp.abs(jnp.maximum(own.last, 1) * own.slope)


def _where(yes, new, old):
    return jax.tree.map(lambda a, b: jnp.where(yes, a, b), new, old)


def _beyond(before, here):
    """Next, longer step of a line search: the zero of a line through both slopes, 2 to 10 times the last step."""
    flatter = here.slope - before.slope
    further = jnp.where(flatter > 0, -here.slope * (here.step - before.step) / flatter, jnp.inf)
    return jnp.clip(here.step + further, 2 * here.step, LONGER * here.step)


def _between(low, high, gains, count):
    """Next step of a line search between `low`, which gains, and `high`, too far: by a line through both slopes.

    It stays off either end, and is the middle where the slopes do not bracket a zero. After a step too far it is at
    most the middle, as the line tends to fall near one end again and again. If some turns have gained nothing it is a
    tenth: the first step may be far too long.
    """
    share = jnp.clip(low.slope / (low.slope - high.slope), 0.1, 0.9)
    share = jnp.where(high.slope > 0, share, 0.5)
    share = jnp.where(gains, share, jnp.minimum(share, 0.5))
    share = jnp.where((low.step == 0) & (count >= FAR_TOO_LONG), 0.1, share)
    return low.step + share * (high.step - low.step)
