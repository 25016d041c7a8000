"""Newton's method, started on a sample of the rows where there are many.

The idea. A step solves H s = g, with g the gradient and H the negative Hessian of the objective, and is halved until it
gains. Few steps suffice, but each needs H of all rows. So on many rows:

    1. Newton steps on a random sample, until the gain is within the sample's own noise (`sample_start`)
    2. a whitener F with F F^T = H^-1 of the sample: in coordinates v, parameters = start + F v, the curvature of all
       rows is about the identity
    3. L-BFGS on all rows in these coordinates: a few passes over the rows remain

H is factored in units of each parameter's own curvature. A ridge for rounding alone is then far below the curvature of
a column in small units, which a ridge in units of the mean curvature would swamp.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax.learning import _lbfgs
from dgjax.learning._ascent import Ascent, ByGradient, number_of_parameters, placed
from dgjax.learning._newton_steps import NEWTON, backtrack, start
from dgjax.learning._objective import Frame, Problem, make_loss
from dgjax.learning._scales import whitener_of
from dgjax.learning._sum_to_zero import contrast

# Below so many multiplications for a Hessian of all rows a sample saves nothing, and may miss the rows that make the
# maximum, where columns have heavy tails or classes are nearly separated.
WORTH_SAMPLING = 1 << 19
# A sample has so many rows for each parameter, or one of so many rows. Its curvature is worked out again so many times,
# as long as that takes no more multiplications than so many passes over all rows: a pass, bound by memory, is slower.
SAMPLED_FOR_EACH_PARAMETER, SAMPLED_SHARE = 16, 16
RENEWALS, PASSES_FOR_RENEWALS = 2, 20


@dataclasses.dataclass(frozen=True)
class Newton(ByGradient):
    """Newton's method, for few parameters: a few steps, each of which factors the objective's Hessian.

    The usual method of logistic regression. On many rows it starts on a sample of them, and L-BFGS continues on all
    rows, preconditioned by the sample's Hessian. The fit ends where a step promises to gain no more than `tol` nats for
    each row; with 0 only `max_steps` ends it.

    Raises ValueError if `tol` is negative or not finite.
    Source: Boyd and Vandenberghe (2004), Convex Optimization, algorithm 9.5.
    """

    tol: float = 1e-6

    def init(self, model: Any, problem: Problem, trace: Array) -> Ascent:
        size = sample_size(number_of_parameters(model), len(problem.x), kernels.shards.shards_of(problem.weights))
        sample = sampled(problem, size) if size < len(problem.x) else None
        frame, moved, sample = placed(model, problem, sample, chosen=sample is not None)
        if sample is None:
            return Ascent(frame, moved, start(frame, moved, trace), NEWTON)
        started, whitener = sample_start(frame.model, sample, len(moved.x), moved.weights.sum())
        frame = frame._replace(model=started, whitener=whitener)
        return Ascent(frame, moved, _lbfgs.start(frame, moved, trace), _lbfgs.PHASE)


def sample_size(num_parameters: int, n: int, shards: int = 1) -> int:
    """Size of the sample, of n rows, that Newton's method starts on; n if a sample would not save work.

    A multiple of the number of `shards` that the rows lie in, each of which has its part of the sample.
    """
    size = max(SAMPLED_FOR_EACH_PARAMETER * num_parameters, n // SAMPLED_SHARE)
    size = -(-size // shards) * shards
    return size if 2 * size <= n and n * num_parameters**2 > WORTH_SAMPLING else n


def sampled(problem: Problem, size: int) -> Problem:
    """The problem on a stratified sample: one random row of each of `size` stretches, weights scaled up to the whole.

    Rows are random within stretches because labels and weights may be periodic. Of sharded rows it is sharded too.
    """
    x, y, weights = _picked(problem, size)
    return problem.replace(x=x, y=y, weights=weights)


@functools.partial(kernels.compiled, results=kernels.shards.ROWS, static_argnums=1)
def _picked(problem: Problem, size: int) -> tuple[Any, Any, Any]:
    n, within = kernels.shards.number(len(problem.x)), np.random.default_rng(0).random(size)
    picked: Any = ((np.arange(size) + within) * n / size).astype(int)
    if (own := len(problem.x)) < n:  # stretches end where shards do
        part = size * own // n
        picked = np.clip(picked - np.arange(size) // part * own, 0, own - 1)
        picked = jax.lax.dynamic_slice_in_dim(jnp.asarray(picked), kernels.shards.here() * part, part)
    x = problem.x.picked(picked) if isinstance(problem.x, kernels.ZeroCopyRows) else problem.x[picked]
    y, weights = problem.y[picked], problem.weights[picked]
    sums = jnp.where(problem.y >= 0, problem.weights, 0).sum(), jnp.where(y >= 0, weights, 0).sum()
    whole, counted = kernels.shards.total(sums)
    share = whole / jnp.where(counted > 0, counted, 1)
    return x, y, share * weights


@functools.partial(kernels.compiled, results=kernels.shards.SUMS, static_argnums=2)
def sample_start(model: Any, sample: Problem, n: int, weight: Array) -> tuple[Any, Array]:
    """Newton steps on a sample of n rows, down to its noise: the model, and a whitener F of its Hessian, F F^T = H^-1.

    At the maximum of all rows, the gain that the sample promises is about half the number of parameters, times n over
    the sample size: a step that promises less than twice that is not taken.
    """
    vector, unravel = Frame(model).coordinates()
    scale, loss, size = 1 / weight, make_loss(sample, unravel, 1 / weight), kernels.shards.number(len(sample.x))
    noise = scale * vector.size * n / size
    renewals = min(RENEWALS, PASSES_FOR_RENEWALS * n // (vector.size * size))

    def renewed(carry):
        step, vector, *_ = carry
        grad, hessian = sample.derivatives(vector, unravel)
        F = whitener_of(-scale * hessian, sample.x, n // size)
        direction = contrast(model, F @ (F.T @ (scale * grad)))
        decrement = scale * jnp.vdot(grad, direction)
        moved, _ = backtrack(loss, vector, loss(vector), direction, decrement)
        worthwhile = decrement / 2 > noise
        return step + 1, jnp.where(worthwhile, moved, vector), F, worthwhile

    def goes_on(carry):
        step, *_, worthwhile = carry
        return worthwhile & (step <= renewals)

    # Within the loop from its first step on: what stands before it too is compiled once more.
    first = 0, vector, jnp.zeros((vector.size, vector.size), vector.dtype), jnp.array(True)
    _, vector, whitener, _ = jax.lax.while_loop(goes_on, renewed, first)
    return unravel(vector), whitener
