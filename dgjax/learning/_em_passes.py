"""EM over passes: the same turns as `_em`, each with its sums over blocks wherever these are.

in memory   jax.lax.while_loop:  maximum ─▶ expectation ─▶ turned ─▶ ...      one program
passes      a loop of Python:    maximum ─▶ passes.total ─▶ turned ─▶ ...     one program for all blocks
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray
from dgjax.data import Data
from dgjax.densities import collapsed
from dgjax.learning._em import MOST_PASSES, State, has_density, turned
from dgjax.learning._method import filled
from dgjax.learning._places import Parts, Places, place_of
from dgjax.streams import Passes
from dgjax.structures import Sequences, label_shape


@kernels.compiled_steps
def expected(model: Any, data: Data, label_weight: AnyArray) -> tuple[Array, Any, Array]:
    """E-step of a block: sum_n w_n log p(x_n, y_n), expected statistics, and the sum of weights."""
    weights = _weighted(data, label_weight)
    value, statistics = data.shown_to(model).joint_expectation(data.x, data.y, weights)
    return value, statistics, weights.sum()


@kernels.compiled_steps
def counted(model: Any, data: Data, label_weight: AnyArray) -> Any:
    """Sufficient statistics of a block of which every label and cell is known."""
    return data.shown_to(model).labelled_statistics(data.x, data.y, _weighted(data, label_weight))


def _weighted(data, label_weight):
    known = (data.y.reshape(len(data.y), -1) >= 0).any(-1)
    return jnp.where(known, jnp.asarray(label_weight, data.weights.dtype), 1) * data.weights


@kernels.compiled_once
def maximum(model: Any, statistics: Any, prior: Any) -> Any:
    """M-step: the model that statistics are about, moved to their maximum."""
    return model.maximum(statistics, prior)


@functools.partial(kernels.compiled_once, static_argnames="known")
def _turned(
    state: State, model: Any, statistics: Any, value: Array, total: Array, tol: AnyArray, prior: Any, known: bool
) -> State:
    return turned(state, model, statistics, value + model.log_prior(prior), total, tol, prior, known)


def shapes_of_sums(model: Any, passes: Passes, label_weight: float) -> Any:
    """Shapes and dtypes of what `expected` gives of any block."""
    x: Any = np.zeros((2, passes.num_features), passes.dtype)
    if model.sequential:
        lengths: Any = np.ones(2, jax.dtypes.canonicalize_dtype(int))
        x = Sequences(x[:, None], lengths, model.one_label)
    data = Data(x, np.zeros(label_shape(x), np.int32), np.zeros(2, passes.dtype))
    return jax.eval_shape(expected, model, data, np.asarray(label_weight))


def parts(model: Any, passes: Passes, label_weight: float) -> Parts:
    """What a checkpoint keeps: a state, with statistics after the first pass, and the sums of a pass so far."""
    sums = shapes_of_sums(model, passes, label_weight)

    def back(state, leaves):
        first = len(leaves) == len(jax.tree.leaves(state))
        return filled(state if first else state._replace(statistics=sums[1]), leaves)

    return Parts(lambda state: state, back, lambda _: place_of((), sums))


def advance(places: Places, prior: Any, tol: AnyArray, label_weight: float, state: State, until: AnyArray) -> State:
    """EM steps from `state` until step `until`, or until a step gains too little: a pass for each, and one before."""
    fn = functools.partial(expected, label_weight=np.asarray(label_weight))
    while int(state.step) < int(until) and not bool(state.converged):
        model = state.model if int(state.step) < 0 else maximum(state.model, state.statistics, prior)
        value, statistics, total = places.total(state, fn, model)
        facts = places.passes.facts  # of this very pass
        before = state._replace(statistics=None)
        state = _turned(before, model, statistics, value, total, tol, prior, known=facts.complete and facts.labelled)
    return state


@kernels.compiled_once
def _checked(model: Any, before: Any, prior: Any) -> tuple[Array, Array]:
    ended = model.density.converged_in_one_step(before.density) | collapsed(model, prior is not None)
    return ended, has_density(model, prior)


def closed_form(passes: Passes, model: Any, prior: Any, label_weight: float) -> tuple[Any, int, Any]:
    """Closed-form maximum of likelihood and `prior` where every label and cell is known: a pass.

    And another, about the means found, only if those of `model` were so far from the data that digits were lost.
    `prior()` gives the prior, once the rows were seen. Returns what `_em.closed_form` does.
    """
    fn, dense = functools.partial(counted, label_weight=np.asarray(label_weight)), jnp.zeros((), bool)
    count, ended = 0, False
    while count < MOST_PASSES and not ended:
        statistics = passes.total(fn, model)
        chosen = prior()
        before, model = model, maximum(model, statistics, chosen)
        count += 1
        if not (passes.facts.complete and passes.facts.labelled):
            break  # it is none
        ended, dense = jax.device_get(_checked(model, before, chosen))
    return model, count, dense
