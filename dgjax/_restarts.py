"""Where EM starts, from several places too, and what came of it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax import _advice, _checks, _em
from dgjax._draws import has_draws
from dgjax._kmeans import clusters, embedded, few_rows
from dgjax._progress import run
from dgjax._warnings import ConvergenceWarning, warn
from dgjax.densities import check_rank
from dgjax.structures import in_rows


def starts(model: Any, x: Any, y: Array, weights: Array, num_restarts: int, key: Any) -> list[Any]:
    """Models to start from: the one given, then k-means++ starts with the labels that are known."""
    if num_restarts == 1:
        return [model]
    if key is None or not model.generative:
        raise ValueError(
            "num_restarts above 1 needs key=jax.random.key(seed), and a generative model (a logistic model's objective "
            f"has one maximum); got key={_advice.shown(key)} for {type(model).__name__}."
        )
    if has_draws(model):
        raise ValueError(
            "num_restarts starts at clusters, which are no place to start an autoencoder from; leave it out, and type "
            "another key in dgjax.variational_autoencoder."
        )
    keys = jax.random.split(_checks.as_key(key), num_restarts - 1)
    return [model, *(restarted(model, own, x, y, weights, random=i % 2 == 1) for i, own in enumerate(keys))]


@functools.partial(kernels.compiled, static_argnames="random")
def restarted(model: Any, key: Array, x: Any, y: Array | None, weights: Array, random: bool = False) -> Any:
    """A new start: known labels as they are, and other rows in k-means++ clusters or, `random`, a few for each label.

    `y` is None where no label is known.
    """
    x, labels, weights = in_rows(x, jnp.full(x.shape[:1], -1) if y is None else y, weights)
    known = None if y is None else jax.nn.one_hot(labels, model.num_labels, dtype=x.dtype)
    key_here, key_below = jax.random.split(key)
    if kernels.known_labels.value and known is not None:
        counts = weights[:, None] * known
    elif random:
        own = 0 if known is None else weights[:, None] * known
        counts = own + few_rows(key_here, jnp.where(labels < 0, weights, 0), model.num_labels)
    else:
        counts = clusters(key_here, embedded(x, weights, model.supports), weights, model.num_labels, known)
    return model.started_at(key_below, x, counts, random)


def fit_em(starts: list[Any], data: Any, tol: Array, max_steps: int, progress: bool) -> tuple[Any, Any]:
    """The last state of EM and its model, of several starts the best."""
    _, x, y, weights, prior, *_ = data
    trace = empty_trace(max_steps, x.dtype)
    if len(starts) == 1:
        state = _em.start(starts[0], trace)

        def advance(state, until):
            return _em.advance(state, x, y, weights, prior, tol, until, known=data.known)

        state = run(advance, state, max_steps, progress)
        return state, _sound(state, prior)
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(_em.start(one, trace) for one in starts))
    states = run(lambda s, until: _em.advance_all(s, x, y, weights, prior, tol, until), states, max_steps, progress)
    return _best(states, prior)


def empty_trace(max_steps: int, dtype: Any) -> Array:
    """Room for the objectives: of few sizes, so that another max_steps is rarely another compilation."""
    return jax.device_put(np.full(max(512, 1 << (max_steps - 1).bit_length()), np.nan, dtype))


def _best(states, prior):
    """Of the starts that have not collapsed the one that came to most, and its model."""
    value = jnp.where(jnp.isfinite(states.value), states.value, -jnp.inf)

    def taken(index):
        state = jax.tree.map(lambda leaf: leaf[index], states)
        return state, _sound(state, prior)

    if not _checks.is_concrete(value):
        return taken(jnp.argmax(value))
    lost = int(np.isneginf(value).sum())
    first, *others = np.argsort(-np.asarray(value))[: max(len(value) - lost, 1)]
    best, model = taken(first)
    for index in others:
        if not _broken(model):
            break
        lost, (best, model) = lost + 1, taken(index)
    if lost and np.isfinite(best.value) and not _broken(model):
        warn(
            f"{lost} of {len(value)} starts were dropped: a component collapsed onto too few distinct rows, or rows "
            "had probability 0. The fit is the best of the others. A prior keeps them all: type "
            "prior=dgjax.weak_prior(model, x).",
            ConvergenceWarning,
        )
    return best, model


def _broken(model):
    return _checks.is_concrete(model) and any(np.isnan(leaf).any() for leaf in jax.tree.leaves(model))


def _sound(state, prior):
    """The model, or where max_steps ended the fit just before its collapse, what the next step makes of it.

    Inside jit, where nothing can be raised, a collapsed one is NaN.
    """
    if not _checks.is_concrete(state):
        return jax.tree.map(lambda leaf: jnp.where(jnp.isnan(state.value), jnp.nan, leaf), state.model)
    if bool(state.converged):
        return state.model
    upcoming, sound = _em.upcoming(state, prior)
    return state.model if bool(sound) else upcoming


def check_result(
    model: Any, value: Any, steps: Any, prior: Any = None, labels: str = "class", known: bool = True
) -> None:
    """Raises if the fit ran into a point where the density is not defined, or that no row can come from.

    Where all labels and cells are `known`, what it found is all that there is to find.
    """
    if not _checks.is_concrete(model, value):
        return
    check_rank(model, prior is not None, labels, known)
    value, broken = float(value), _broken(model)
    if (broken or np.isnan(value)) and has_draws(model):
        raise ValueError(
            f"fit diverged after {int(steps)} step(s). Standardise the columns, x = (x - x.mean(0)) / x.std(0), or "
            "type a smaller step, such as method=optax.adam(1e-4)."
        )
    if broken or np.isnan(value) or value == np.inf:
        raise ValueError(
            f"fit collapsed after {int(steps)} step(s): a class or component has no spread in some direction, as "
            "when it holds too few distinct rows or a column is constant in it, and its likelihood is unbounded. Type "
            "prior=dgjax.weak_prior(model, x), or remove the column."
        )
    if value == -np.inf:
        raise ValueError(
            "x has rows, or y labels, of probability 0 under the model, so its objective is minus infinity. Start "
            "where everything is possible: "
            "jax.tree.map(lambda a: jax.numpy.nan_to_num(a, neginf=-9.0, posinf=9.0), model)."
        )
