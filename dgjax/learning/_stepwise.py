"""Stepwise EM: an M-step after each block, of statistics averaged over blocks; for rows that come once, or many.

    s ← (1 - γ_t) s + γ_t s(block),  γ_t = (t + 1)^-κ            model ← the maximum of s

s are statistics for each unit of weight, expected under the model of the step; they are about its parameters, and are
moved about the next model's (`recentred`) before others are added. Under a prior they count for all rows seen so far.

Source: Cappé and Moulines (2009), On-line expectation-maximization algorithm for latent data models, eq. 12.
"""

import contextlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray, check_number
from dgjax._elsewhere import told_keywords
from dgjax.data import as_labels, as_model, as_weights, in_size_class, model_and_rows
from dgjax.densities import LEARNING, has_draws
from dgjax.learning._em_passes import expected, shapes_of_sums
from dgjax.learning._method import filled
from dgjax.learning._places import Parts, Places, place_of
from dgjax.priors import MixturePrior
from dgjax.streams import Passes, checked
from dgjax.tables import Tabular

EXPONENT = 0.6
"""Of the rate: between 0.5, above which the average converges, and 1; small ones forget the start sooner."""


class Averaged(NamedTuple):
    """What stepwise EM knows of the rows so far: statistics for each unit of weight, and how many blocks and rows.

    `statistics` are about the parameters of the model that `update` gave with them. `objective` is the last block's
    sum_n w_n log p(x_n, y_n) for each unit of weight, under the model before it.
    """

    statistics: Any
    num_blocks: Array
    weight: Array
    objective: Array


@kernels.compiled_steps
def step(
    model: Any, averaged: Averaged | None, value: Array, statistics: Any, weight: Array, exponent: AnyArray, prior: Any
) -> tuple[Any, Averaged]:
    """Model and averages after a block, of its log-likelihood, statistics and weight; one of weight 0 changes none."""
    each = jax.tree.map(lambda own: own / jnp.where(weight > 0, weight, 1), statistics)
    if averaged is None:
        mean, count, total = each, jnp.zeros((), int), jnp.zeros_like(weight)
    else:
        count, total = averaged.num_blocks, averaged.weight
        rate = jnp.where(weight > 0, (count + 1.0) ** -exponent, 0).astype(weight.dtype)
        mean = jax.tree.map(lambda old, new: (1 - rate) * old + rate * new, averaged.statistics, each)
    total = total + weight
    after = model.maximum(jax.tree.map(lambda own: total * own, mean), prior)
    objective = value / jnp.where(weight > 0, weight, 1)
    return after, Averaged(after.recentred(mean, model, prior), count + (weight > 0), total, objective)


@told_keywords
def update(
    model: Any,
    averaged: Averaged | None,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    stepwise: float = EXPONENT,
    prior: Any = None,
) -> tuple[Any, Averaged]:
    """One step of stepwise EM: the model after a block of rows that comes once, and what is known of the rows so far.

    `averaged` is what the call before gave, None at the first. Begin at a model that fits the rows roughly, such as
    `dgjax.gaussian_mixture(key, x, k)` of a first block, and go on: `model, averaged = dgjax.update(model, averaged,
    x)`. `x` (n, d), `y` (n,), -1 where unknown, or none, and `weights` (n,) are as in `dgjax.fit`; blocks should have
    at least some hundred rows for each component. The rate of block t is (t + 1)^-stepwise, `stepwise` from 0.5 to 1.

    Raises ValueError for a model that EM does not fit, and bad rows, labels or weights.
    Source: Cappé and Moulines (2009), On-line expectation-maximization algorithm for latent data models.
    """
    if type(model) is Tabular:
        found, averaged = update(
            model.model,
            averaged,
            model.schema.rows(x),
            None if y is None else model.schema.labels(y, x),
            weights=weights,
            stepwise=stepwise,
            prior=prior,
        )
        return Tabular(found, model.schema), averaged
    check_exponent(stepwise)
    own, rows = model_and_rows(model, x, lengths)
    bare = as_model(model) is not model
    if has_draws(own) or not own.generative:
        raise ValueError(LEARNING if has_draws(own) else "update is for generative models, which EM fits.")
    if isinstance(prior, str):
        raise ValueError(f"prior must be one of dgjax.priors, or None; got {prior!r}. Type dgjax.weak_prior(model, x).")
    labels = np.full(rows.x.x.shape[:2] if own.sequential and not own.one_label else len(rows.x), -1)
    labels = labels if y is None else as_labels(y, rows.x, own.num_labels)
    x, labels, amounts = in_size_class(rows.x, np.asarray(labels, np.int32), as_weights(weights, rows.x))
    block = rows.replace(x=x, y=labels, weights=amounts)
    prior = MixturePrior(None, prior) if bare and prior is not None else prior
    after, averaged = step(own, averaged, *expected(own, block, np.ones(())), np.asarray(stepwise), prior)
    return (after.density if bare else after), averaged


def check_exponent(stepwise: Any) -> None:
    """Raises ValueError for an exponent of the rate with which averages do not converge."""
    check_number(stepwise, "stepwise", 0.5, 1)


class State(NamedTuple):
    """State of one pass: model, averages, each block's objective for a unit of weight, and whether it has ended."""

    model: Any
    averaged: Averaged | None
    values: list[Array]
    converged: Array

    @property
    def step(self) -> Array:
        """Number of blocks."""
        return jnp.asarray(len(self.values))


def begun(model: Any) -> State:
    """State before the first block."""
    return State(model, None, [], jnp.zeros((), bool))


def parts(model: Any, passes: Passes, exponent: AnyArray, prior: Any, label_weight: float) -> Parts:
    """What a checkpoint keeps: all of a state; the number of objectives is the place in the pass."""
    value, *sums = shapes_of_sums(model, passes, label_weight)

    def of(state):
        values = np.array(jax.device_get(state.values))
        return None if state.averaged is None else (state.model, state.averaged, values, state.converged)

    def back(state, leaves):
        averaged = jax.eval_shape(step, model, None, value, *sums, exponent, prior)[1]
        values = np.zeros_like(leaves[-2])  # of any number of blocks
        found = State(*filled((state.model, averaged, values, state.converged), leaves))
        return found._replace(values=list(found.values))

    return Parts(of, back, lambda _: place_of((), ()))


def advance(
    places: Places, exponent: AnyArray, prior: Any, label_weight: float, state: State, until: AnyArray
) -> State:
    """One pass, from the block on that the state is at, or as far as block `until`.

    Raises ValueError for passes that cannot be read block by block.
    """
    if bool(state.converged):
        return state
    values = list(state.values)
    with contextlib.closing(places.passes.blocks(state.model)) as blocks:
        for i, block in enumerate(blocks):
            if i < len(values):
                continue  # done before
            if i == int(until):
                return state
            sums = expected(state.model, checked(block, state.model), np.asarray(label_weight))
            model, averaged = step(state.model, state.averaged, *sums, exponent, prior)
            if i:
                jax.block_until_ready(values[-1])  # two blocks at work at most
            values.append(averaged.objective)
            state = State(model, averaged, values, state.converged)
            places.reached(state)
    return state._replace(converged=jnp.ones((), bool))
