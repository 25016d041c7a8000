"""Expectation-maximisation (EM).

    model ─E-step─▶ responsibilities p(y | x) ─▶ expected sufficient statistics ─M-step─▶ model ─▶ ...

The E-step weighs each row's labels by their responsibilities p(y | x), or by the label where it is known, and sums the
sufficient statistics; the M-step takes the parameters that maximise the expected log-likelihood plus the log prior.
Where every label and cell is known one M-step is the closed form. E-step and M-step are one turn of a compiled loop.

A step is the last (`advance`) if it gains at most `tol` nats for each unit of weight, or a few units in the last place
of the objective; if every label and cell is known and its statistics, taken about the parameters before, lost no
digits; or if a component has collapsed, whose objective is NaN.

Source: Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._arguments import AnyArray, check_number, is_concrete, is_known
from dgjax._pytree import for_complete_rows
from dgjax.data import Data
from dgjax.densities import LEARNING, collapsed, has_draws
from dgjax.learning._method import Method, Outcome, filled
from dgjax.learning._objective import Problem, tolerance
from dgjax.learning._progress import is_short
from dgjax.structures import Sequences

MOST_PASSES = 8  # M-steps of a closed form at most: one, and another for each in which digits were lost


@dataclasses.dataclass(frozen=True)
class EM(Method):
    """Expectation-maximisation (EM), the usual method of generative models: no step lowers the objective.

    That is sum_n w_n log p(x_n, y_n) + log prior, missing cells and labels summed out exactly. A step that gains no
    more than `tol` nats for each row ends the fit; with 0 only `max_steps` does. Where every label and cell is known
    one step is the closed form, and the last, unless the start was so far from the data that digits were lost.

    With `stepwise`, from 0.5 to 1, for a `dgjax.stream` alone: stepwise EM, one pass with an M-step after each block,
    of statistics averaged over blocks with rates (t + 1)^-stepwise; 0.6 is a good one. The objective of the fit is then
    that of each block, times the weight of all.

    Raises ValueError if `tol` is negative or not finite, or `stepwise` not from 0.5 to 1.
    Source: Dempster, Laird and Rubin (1977); Cappé and Moulines (2009) for stepwise EM.
    """

    tol: float = 1e-6
    stepwise: float | None = None

    def __post_init__(self) -> None:
        check_number(self.tol, "tol", 0)
        if self.stepwise is not None:
            check_number(self.stepwise, "stepwise", 0.5, 1)

    def check(self, model: Any, problem: Problem) -> None:
        if has_draws(model):
            raise ValueError(f"{LEARNING}; got method={_advice.shown(self)}.")
        if not model.generative or problem.blend is not None:
            what = "with a blend" if model.generative else f"of a {type(model).__name__}, which learns p(y | x) only"
            raise ValueError(
                f"EM maximises log p(x, y), which is not the objective {what}. Leave method out, or type "
                "method=dgjax.LBFGS()."
            )

        if self.stepwise is not None and problem.x is not None:
            raise ValueError(
                f"stepwise is for streams, whose blocks it takes one after another; got stepwise={self.stepwise} and "
                "rows in memory. Type dgjax.fit(model, dgjax.stream(x, block=4096), method=dgjax.EM(stepwise=0.6))."
            )

    def init(self, model: Any, problem: Problem, trace: Array) -> "State":
        return start(model, problem, trace)

    def restored(self, problem: Problem, state: "State", parts: list[list[np.ndarray]]) -> "State":
        shapes = _statistics_of(state.model, problem) if state.statistics is None else state.statistics
        return filled(state._replace(statistics=shapes), parts[0])

    def advance(self, problem: Problem, state: "State", until: AnyArray) -> "State":
        return advance(state, problem, tolerance(self.tol, problem), until)

    def advance_each(self, problem: Problem, states: list["State"], until: AnyArray) -> list["State"]:
        return advance_each(states, problem, tolerance(self.tol, problem), until)

    def result(self, problem: Problem, state: "State") -> tuple[Outcome, Any]:
        outcome = Outcome(state.value, state.trace, state.step, state.converged)
        return outcome, with_density(state, problem.prior, len(problem.x))


class State(NamedTuple):
    """State of EM: a model, its expected sufficient statistics, its objective, and that after each step so far.

    Before the first E-step `step` is -1, and the statistics are zeros that nothing reads, or None if the fit is short.
    """

    model: Any
    statistics: Any
    value: Array
    trace: Array
    step: Array
    converged: Array


def start(model: Any, problem: Problem, trace: Array) -> State:
    """State of EM before the first E-step; `trace` is the buffer for the objectives.

    A fit in pieces has zeros for statistics, of the shapes of all later ones, for one program to serve every piece.
    """
    return begun(
        model, trace, None if is_short(model, problem.x, trace) else _zeros(_statistics_of(model, problem), np)
    )


def begun(model: Any, trace: Array, statistics: Any = None) -> State:
    """State of EM before the first E-step, of rows that are elsewhere."""
    # NumPy's until a program takes them: JAX would take 70 us to hold each.
    step = np.full((), -1, jax.dtypes.canonicalize_dtype(int))  # of the type that programs make of it
    numbers: Any = np.full((), -np.inf, trace.dtype), step, np.zeros((), bool)
    value, step, converged = numbers
    return State(model, statistics, value, trace, step, converged)


def _statistics_of(model, problem):
    """Shapes and dtypes of the expected statistics, which do not depend on how rows are sharded."""
    if is_known(problem) and not is_concrete(problem):
        problem = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), problem)
    return jax.eval_shape(_traced_once, model, problem)[0]


def _zeros(shapes, xp):
    return jax.tree.map(lambda leaf: xp.zeros(leaf.shape, leaf.dtype), shapes)


def expectation(model: Any, problem: Problem) -> tuple[Any, Array]:
    """E-step: expected statistics, and sum_n w_n log p(x_n, y_n) + log prior, y summed out where it is -1."""
    own = problem.shown_to(model).joint_expectation(problem.x, problem.y, problem.weights)
    value, statistics = kernels.shards.total(own)
    return statistics, value + model.log_prior(problem.prior)


_traced_once = jax.jit(expectation, inline=True)
"""E-step of a program that asks for its shapes too: half of the time to trace it."""


@functools.partial(kernels.compiled_once, static_argnames="rows")
def _upcoming(state: State, prior: Any, rows: int) -> tuple[Any, Array]:
    """M-step that would come next: its model, and whether it has a density.

    The check scores one row, by the implementation that is usual for `rows` of them: the reference for few would call
    LAPACK, whose threads spin for 26 ms more, beside the next fit.
    """
    model = state.model.maximum(state.statistics, prior)
    with kernels.repeats(kernels.repeats.value * rows):
        return model, has_density(model, prior)


def has_density(model: Any, prior: Any) -> Array:
    """Check of a model: True if it has a density, no component having collapsed onto too few rows for that."""
    dtype = jnp.result_type(*jax.tree.leaves(model))
    row = jnp.zeros((1, model.num_features), dtype)
    one = Sequences(row[None], jnp.ones(1, int)) if model.sequential else row
    return for_complete_rows(model).potentials(one).has_density() & ~collapsed(model, prior is not None)


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def closed_form(model: Any, data: Data, prior: Any) -> tuple[Any, Array, Array]:
    """Closed-form maximum of likelihood and `prior` where every label and cell is known, by an M-step.

    It is repeated, about the means found, only if those of `model` were so far from the data that digits were lost.
    Returns the model, how many passes over the data it took, and whether it has a density: its covariances have not
    collapsed. `data.x` is rows or, where moments suffice, a summary of the rows of each label,
    `kernels.LabelledSummary`.
    """

    def step(carry):
        passes, model, _ = carry
        own = data.shown_to(model).labelled_statistics(data.x, data.y, data.weights)
        new = model.maximum(kernels.shards.total(own), prior)
        return passes + 1, new, new.density.converged_in_one_step(model.density) | collapsed(new, prior is not None)

    start = jnp.zeros((), int), model, jnp.zeros((), bool)
    passes, model, _ = jax.lax.while_loop(lambda c: (c[0] < MOST_PASSES) & ~c[2], step, start)
    return model, passes, has_density(model, prior)


@functools.partial(kernels.compiled_steps, results=kernels.shards.SUMS)
def advance(state: State, problem: Problem, tol: AnyArray, until: AnyArray) -> State:
    """EM steps from `state` until step `until`, or until a step gains no more than `tol` nats for each row.

    Where every label and cell is known, the first step that loses no digits is the last.
    """
    prior, total, known = problem.prior, problem.weight, problem.known
    if state.statistics is None:
        # The first E-step is a turn of the same loop: compiling it apart would take as long again.
        state = state._replace(statistics=_zeros(_statistics_of(state.model, problem), jnp))

    def body(state):
        model = jax.lax.cond(state.step < 0, lambda s: s.model, lambda s: s.model.maximum(s.statistics, prior), state)
        statistics, value = _traced_once(model, problem)
        return turned(state, model, statistics, value, total, tol, prior, known)

    return jax.lax.while_loop(lambda s: (s.step < until) & ~s.converged, body, state)


def turned(
    state: State, model: Any, statistics: Any, value: Array, total: Array, tol: AnyArray, prior: Any, known: bool
) -> State:
    """State after a turn: `model`, the last M-step's, and what the E-step found there; and whether that was the last.

    `total` is the sum of weights, and `known` says that every label and cell is.
    """
    # A start may yet widen, under a prior; what a step makes of it is at the likelihood's own end.
    value = jnp.where((state.step >= 0) & collapsed(model, prior is not None), jnp.nan, value)
    # Below a few units in the last place of the objective, a gain cannot be told from rounding.
    noise = 4 * jnp.finfo(value.dtype).eps * jnp.abs(value)
    converged: Any = (tol > 0) & (jnp.abs(value - state.value) <= tol * total + noise) & (state.step >= 0)
    if known:
        in_one_step = model.density.converged_in_one_step(state.model.density) & has_density(model, prior)
        converged |= (tol > 0) & (state.step >= 0) & in_one_step
    trace = state.trace.at[jnp.maximum(state.step, 0)].set(value)
    return State(model, statistics, value, trace, state.step + 1, converged | jnp.isnan(value))


@functools.partial(kernels.compiled_steps, results=kernels.shards.SUMS)
def advance_each(states: list[State], problem: Problem, tol: AnyArray, until: AnyArray) -> list[State]:
    """EM steps of several states, side by side in one program."""
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    moved = jax.vmap(advance, in_axes=(0, None, None, None))(together, problem, tol, until)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], moved) for i in range(len(states))]


def with_density(state: State, prior: Any, n: int) -> Any:
    """Fitted model, or where max_steps ended the fit just before its collapse, what the next M-step makes of it."""
    if not is_concrete(state) or bool(state.converged):
        return state.model
    upcoming, dense = _upcoming(state, prior, rows=1 << n.bit_length() - 1)
    return state.model if bool(dense) else upcoming
