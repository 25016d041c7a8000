"""Fits of rows that are passed over, a `dgjax.Stream` or other `Passes`: checks of arrays asked of facts."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax import _advice, _prior
from dgjax._arguments import check_number
from dgjax._types import ColumnMoments, of_columns
from dgjax.data import Data, as_model
from dgjax.densities import column_moments
from dgjax.learning import (
    _descent_passes,
    _em,
    _em_passes,
    _endings,
    _lbfgs_passes,
    _semisupervised,
    _stepwise as stepwise,
)
from dgjax.learning._em import EM
from dgjax.learning._enough import check_enough
from dgjax.learning._lbfgs import LBFGS
from dgjax.learning._method import Outcome
from dgjax.learning._objective import Problem
from dgjax.learning._optax import Optax
from dgjax.learning._places import Places
from dgjax.learning._progress import Interrupted, empty_trace, interrupted, run
from dgjax.priors import FactorPrior, MixturePrior
from dgjax.streams import Facts, Passes, check_beside, named
from dgjax.structures import in_rows
from dgjax.tables import Tabular

SAMPLED = 1 << 14  # rows of which the coordinates of a fit by gradient are
MOST_STEPS = 500  # of a closed form that is none, for some cells or labels are missing


class Options(NamedTuple):
    """Options of `fit`; `chosen(model, data, prior)` gives a checked prior."""

    method: Any
    chosen: Callable[[Any, Data, Any], Any]
    prior: Any
    label_weight: float
    max_steps: int
    progress: bool
    checkpoint: Any = None


def fitted(model: Any, passes: Passes, beside: dict[str, Any], options: Options) -> tuple[Outcome, Any]:
    """Outcome and model of a fit to rows that are passed over; `beside` are arguments that are of arrays alone.

    Raises ValueError for what `fit` refuses of arrays, once a pass has seen it.
    """
    check_beside(beside)
    if passes.schema is not None:
        passes.schema.check_fits(model)
    try:
        outcome, found = _fitted(model, passes, options)
    except Interrupted as error:
        bare = as_model(model) is not model
        error.then(lambda own: own.density if bare else own)
        if (schema := passes.schema) is not None:
            error.then(lambda own: Tabular(own, schema))
        raise
    return outcome, found if passes.schema is None else Tabular(found, passes.schema)


def _fitted(model, passes, options):
    own = as_model(model)
    bare = own is not model
    if bare and options.prior is not None and not isinstance(options.prior, str):
        options = options._replace(prior=MixturePrior(None, options.prior))
    method = _method(own, options.method)
    if not passes.again and getattr(method, "stepwise", None) is None:
        raise ValueError(
            "x must be a stream that can be read again and again; got one of a generator, which is read once. Give a "
            "list of blocks, or a function that gives a new iterator each time, dgjax.stream(lambda: blocks(path)); or "
            "type method=dgjax.EM(stepwise=0.6), which takes one pass."
        )
    with named(passes):
        outcome, found = _by(method)(in_precision(own, passes), passes, options._replace(method=method))
        rows, words = _no_rows(passes.facts), _words(own, passes.facts)
        found = _endings.checked_result(found, outcome.value, outcome.step, rows, options.prior, words)
    _endings.warn_if_short(outcome, method.tolerance, options.max_steps)
    return outcome, found.density if bare else found


def closed_form(model: Any, passes: Passes, chosen: Any, prior: Any, label_weight: float) -> Any:
    """Closed-form fit, in one pass mostly, where every label and cell is known; else EM."""
    start = in_precision(model, passes)
    with named(passes):
        seen = functools.partial(_chosen_prior, start, passes, chosen, prior)
        found, count, dense = _em_passes.closed_form(passes, start, seen, label_weight)
        facts = passes.facts
        check_facts(start, facts, prior)
        if facts.complete and facts.labelled:
            value = np.where(dense, 0.0, np.nan)
            return _endings.checked_result(found, value, count, _no_rows(facts), prior)
    return _fitted(model, passes, Options(EM(), chosen, prior, label_weight, MOST_STEPS, False))[1]


def in_precision(model: Any, passes: Passes) -> Any:
    """Model in the wider precision of its own and the rows', to which blocks are cast where they are narrower."""
    dtype = jnp.result_type(passes.dtype, *jax.tree.leaves(model))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), model)


def check_facts(model: Any, facts: Facts, prior: Any) -> None:
    """Raises ValueError if there is too little to learn from, by the facts of all rows."""
    counted = int(facts.labels.sum())
    if not counted:
        raise ValueError("x must have at least one row with a positive weight; got none.")
    never = np.flatnonzero(~facts.seen)
    if len(never) and not isinstance(getattr(prior, "density", prior), FactorPrior):
        raise ValueError(
            f"x column(s) {', '.join(map(str, never[:10].tolist()))}{', ...' * (len(never) > 10)} are never observed, "
            "so nothing can be learnt about them. Leave them out."
        )
    seen = np.zeros(1 + model.num_labels, int)
    seen[: len(facts.labels)] = facts.labels
    check_enough(model, seen, counted)


def _method(model, given):
    if given is None:
        return EM() if model.generative else LBFGS()
    if isinstance(given, EM | LBFGS):
        given.check(model, Problem(None))
        return given
    if isinstance(given, Optax):
        _descent_passes.check(given)
        return given
    raise ValueError(
        "method of a stream must be dgjax.EM() of a generative model, dgjax.LBFGS() of a discriminative one or "
        f"dgjax.Optax(optimizer, batch_size=64, key=key); got {_advice.shown(given)}. Leave it out for the usual one."
    )


def _by_em(model, passes, options):
    prior = _chosen_prior(model, passes, options.chosen, options.prior)
    tol = np.asarray(options.method.tol, jnp.result_type(*jax.tree.leaves(model)))
    check_number(options.label_weight, "label_weight", 0)
    places = Places(passes)
    places.keep(model, options, functools.partial(_em_passes.parts, model, passes, options.label_weight))
    moved = functools.partial(_em_passes.advance, places, prior, tol, options.label_weight)

    def advance(state, until):
        if int(state.step) < 0:
            state = moved(state, np.zeros((), int))
            check_facts(model, passes.facts, prior)
            _check_observed_in_classes(model, passes, prior)
        return moved(state, until)

    def model_of(state):
        return state.model if int(state.step) < 0 else _em.with_density(state, prior, passes.facts.num_rows)

    state = _em.begun(model, empty_trace(options.max_steps, tol.dtype))
    state = _run(advance, state, options, model_of, places)
    outcome, found = Outcome(state.value, state.trace, state.step, state.converged), model_of(state)
    if not passes.facts.labelled and passes.facts.num_classes:
        sample = _sample(passes, tol.dtype, prior)
        _semisupervised.warn_if_labels_lost(model, sample, outcome, found, tol, options.label_weight)
    return outcome, found


def _sample(passes, dtype, prior):
    """Rows of a sample, which have the weight of all together."""
    facts, drawn = passes.facts, passes.sample(jax.random.key(0), SAMPLED)
    x, y, weights = jax.tree.map(jnp.asarray, (drawn.x, drawn.y, drawn.weights))
    x = jax.tree.map(lambda own: own.astype(dtype) if own.dtype.kind == "f" else own, x)
    weights = jnp.full(len(weights), facts.weight / len(weights), dtype)
    return Problem(x, y, weights, prior=prior, complete=facts.complete, labelled=facts.labelled)


def _run(advance, state, options, model_of, places):
    """State after the last step; where Ctrl-C ends the fit, its model is `model_of(state)`.

    It is cut in pieces for a bar alone: in each further one the rows of an epoch so far are read again.
    """
    places.last = state

    def tracked(state, until):
        places.last = advance(state, until)
        return places.last

    together = places.passes.together
    bar = options.progress and not (together and jax.process_index())
    try:
        with kernels.processes.ended_together() if together else contextlib.nullcontext():
            return run(tracked, state, options.max_steps, bar, bar, places.checkpointer)
    except KeyboardInterrupt as stopped:
        if isinstance(stopped, Interrupted) and not together:
            stopped.then(model_of)
            raise
        # Within the one piece; or in another process's, which has no bar.
        error = interrupted(places.last, places.checkpointer)
        error.then(model_of)
        raise error from None


def _by(method):
    """The way by which a method learns from passes."""
    if isinstance(method, LBFGS):
        return _by_lbfgs
    if isinstance(method, Optax):
        return _by_descent
    return _by_em if method.stepwise is None else _stepwise


def _by_lbfgs(model, passes, options):
    if options.label_weight != 1:
        raise ValueError("label_weight is for EM; leave it out.")
    model = model if model.generative else model.expanded()
    dtype, facts = jnp.result_type(*jax.tree.leaves(model)), passes.facts
    check_facts(model, facts, options.prior)
    _check_support(model, passes)
    sample = _sample(passes, dtype, _chosen_prior(model, passes, options.chosen, options.prior))
    options.method.check(model, sample)
    tol = np.asarray(options.method.tol, dtype)
    state = _lbfgs_passes.begun(model, passes, sample, empty_trace(options.max_steps, dtype))
    places = Places(passes)
    places.keep(model, options, _lbfgs_passes.parts)
    advance = functools.partial(_lbfgs_passes.advance, places, tol)
    result = functools.partial(_lbfgs_passes.result, tol)
    return result(_run(advance, state, options, lambda state: result(state)[1], places))


def _by_descent(model, passes, options):
    model = model if model.generative else model.expanded()
    check_facts(model, passes.facts, options.prior)
    _check_support(model, passes)
    sample = passes.sample(jax.random.key(0), SAMPLED)
    options.method.check(model, Problem(sample.x, sample.y))
    prior = _chosen_prior(model, passes, options.chosen, options.prior)
    trace = empty_trace(options.max_steps, jnp.result_type(*jax.tree.leaves(model)))
    state = _descent_passes.begun(model, passes, options.method, prior, trace)
    places = Places(passes)
    places.keep(model, options, _descent_passes.parts)
    advance = functools.partial(_descent_passes.advance, places, options.method.both())
    state = _run(advance, state, options, _descent_passes.current, places)
    return _descent_passes.result(passes, state, sample.x)


def _check_support(model, passes):
    """Raises ValueError for a cell outside its support, before a sample is looked at."""
    if not passes.facts.inside(of_columns(model.supports, passes.num_features)):
        passes.total(_nothing, model)


def _nothing(model, data):
    del model, data
    return ()


def _stepwise(model, passes, options):
    prior = _chosen_prior(model, passes, options.chosen, options.prior)
    given = np.asarray(options.method.stepwise), prior, options.label_weight
    places, most = Places(passes), options.max_steps
    places.keep(model, options, functools.partial(stepwise.parts, model, passes, *given), facts=False)
    advance, state = functools.partial(stepwise.advance, places, *given), stepwise.begun(model)
    state = _run(advance, state, options._replace(progress=False), lambda state: state.model, places)
    whole, warning = bool(state.converged), None
    if not whole:
        warning = f"the fit ended at max_steps={most} blocks, before the end of the stream. Type max_steps={10 * most}."
    else:
        check_facts(model, passes.facts, options.prior)
    weight = passes.facts.weight if whole else 1.0
    trace = jnp.asarray(np.asarray(jax.device_get(state.values)) * weight)
    return Outcome(trace[-1], trace, state.step, state.converged, None, warning), state.model


def _check_observed_in_classes(model, passes, prior):
    """Check of labelled rows with missing cells: raises if a class never shows a column, for it is unknown there."""
    facts = passes.facts
    if prior is not None or facts.complete or not facts.labelled or model.num_labels == 1:
        return
    seen = np.asarray(passes.total(functools.partial(_observed, k=model.num_labels), None))
    never = np.argwhere(
        (seen == 0) & (np.pad(facts.labels[1:], (0, model.num_labels - facts.num_classes)) > 0)[:, None]
    )
    if len(never):
        label, column = never[0].tolist()
        raise ValueError(
            f"x column {column} is never observed in class {label}, so nothing is known of it there. Type "
            'prior="weak", which takes it to be as in the other classes, or remove the column.'
        )


@functools.partial(kernels.compiled_once, static_argnames="k")
def _observed(model: Any, data: Data, k: int) -> Any:
    del model
    x, y, weights = in_rows(data.x, data.y, data.weights)
    of_label = (y[:, None] == jnp.arange(k)) & (weights > 0)[:, None]
    return of_label.astype(x.dtype).T @ (~jnp.isnan(x)).astype(x.dtype)


def _chosen_prior(model, passes, chosen, prior):
    """Validated prior; "weak" is made of the moments of all columns, weighted as the rows are."""
    dtype = jnp.result_type(*jax.tree.leaves(model))
    if isinstance(prior, str) and prior == "weak" and model.generative:
        return _prior.of_moments(model, moments(passes, dtype), 1.0)
    return chosen(model, Data(np.zeros((1, passes.num_features), dtype)), prior)


def moments(passes: Passes, dtype: Any) -> ColumnMoments:
    """Mean and standard deviation of the observed cells of each column, of rows as their weights say."""
    facts = passes.facts
    if facts.even:
        return column_moments(kernels.ColumnSummary(*map(jnp.asarray, facts.summary(dtype))), facts.num_steps)
    scale = np.where(facts.spread > 0, facts.spread, 1)
    centre = jnp.asarray(facts.mean, dtype), jnp.asarray(scale, dtype)
    cells, first, second = passes.total(functools.partial(_weighted_sums, centre=centre), None)
    cells = jnp.maximum(cells, jnp.finfo(dtype).tiny)
    shift = first / cells
    return ColumnMoments(centre[0] + centre[1] * shift, centre[1] * jnp.sqrt(jnp.maximum(second / cells - shift**2, 0)))


@kernels.compiled_steps
def _weighted_sums(model: Any, data: Data, centre: Any) -> Any:
    del model
    x, _, weights = in_rows(data.x, data.y, data.weights)
    z = (x - centre[0]) / centre[1]
    own = jnp.where(jnp.isnan(z), 0, weights[:, None])
    z = jnp.where(own > 0, z, 0)
    return own.sum(0), (own * z).sum(0), (own * z**2).sum(0)


def _no_rows(facts):
    return Data(np.zeros((1, facts.num_features)), complete=False)


def _words(model, facts):
    own = "class" if facts.num_classes else "component"
    if not model.sequential:
        return own, "component"
    return (own, "state") if model.one_label else ("state", "component")
