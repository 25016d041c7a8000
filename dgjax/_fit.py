"""How a model learns: one verb."""

import dataclasses
import functools
import os
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import (
    _advice,
    _checkpoint,
    _checks,
    _digits,
    _em,
    _endings,
    _gradient,
    _in_place,
    _objective,
    _prior,
    _restarts,
    _semisupervised,
    _stochastic,
)
from dgjax._draws import LEARNING, has_draws
from dgjax._progress import run
from dgjax._restarts import check_result, empty_trace, fit_em
from dgjax.priors import MixturePrior
from dgjax.structures import Sequences, in_rows

M = TypeVar("M")
MOST_STEPS = 1 << 24  # each has its place in the trace, and float32 numbers no more of them


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Fit(Generic[M]):
    """What `fit` returns. `objective`, in nats over all rows, has one entry for each step, the last that of `model`.
    Inside `jit` and `vmap`, where shapes are known beforehand, it has `max_steps`, and stays at the last from there on.

    With minibatches all but the last are estimates, each from the batch of the step that follows. `validation` is the
    objective of the rows held out, in nats over all of them, at the end of each epoch; None where none were.
    """

    __no_type_check__ = True  # JAX puts anything in place of the fields

    model: M
    objective: Array
    converged: bool
    num_steps: int
    validation: Array | None = None


Fit.__getattr__ = _advice.of_attribute  # type: ignore[attr-defined]


def fit(
    model: M,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    prior: Any = None,
    l2: float = 0.0,
    label_weight: float = 1.0,
    blend: float | None = None,
    method: Any = None,
    batch_size: int | None = None,
    tol: float = 1e-6,
    max_steps: int = 500,
    num_restarts: int = 1,
    key: Array | None = None,
    validation: float = 0.0,
    patience: int = 10,
    warm_up: int = 0,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = False,
) -> Fit[M]:
    """The model that maximises an objective, started at `model`.

    Generative: sum_n w_n log p(x_n, y_n) + log prior, by EM. Cells may be missing (NaN) and so may labels (-1, or no
    `y` at all): both are summed out exactly. With every label and cell known one step is the closed form, and the last,
    unless the start was so far from the data that it lost digits. With `blend`: blend log p(x, y) + (1 - blend)
    log p(y | x) in its place, by L-BFGS.
    Discriminative: sum_n w_n log p(y_n | x_n) - l2 / 2 |weights|^2, by Newton's method or L-BFGS.
    Any of these by an optimizer of optax, on minibatches: `method=optax.adam(1e-2), batch_size=64, key=key`; of a
    variational autoencoder, which has no other way but L-BFGS, a bound, by draws that are fresh at every step.

    `x` (n, d), `y` (n,) ints; of sequences `x` (n, t, d), `y` (n, t), `lengths` (n,); `weights` (n,), of
    rows that have a label `label_weight` times as large; `prior` from
    `dgjax.weak_prior` or `dgjax.priors`, none is maximum likelihood; `method` "em", "newton", "lbfgs" or an
    `optax.GradientTransformation`, of the objective for each unit of weight, negated; `batch_size` rows or sequences,
    dealt with `key`, for each of its steps, all by default; `tol` nats for each row that a step must gain to go on (0,
    or an optimizer of optax: only `max_steps` ends it); `num_restarts` starts, the further ones by `key` at k-means++
    clusters or at random rows, the best kept; `progress` shows a bar. For an optimizer of optax: `validation`, the
    share of rows to hold out by `key`, which ends the fit `patience` epochs after their best, whose model is kept;
    `warm_up` steps in which the divergence of an autoencoder's bound comes to count in full; `checkpoint`, a folder
    that the state is kept in, from where the same call goes on.

    Raises ValueError for bad shapes, cells, labels or weights, a column never observed, fewer rows than components, a
    solution that has collapsed onto too few rows to have a density there, or steps that diverged: `dgjax.Diverged`,
    with the last good model.
    Source: Dempster, Laird and Rubin (1977); McCallum, Pal, Druck and Wang (2006) for the blend.
    """
    staying = None if lengths is not None else _in_place.rows_in_place(model, x, method, y, weights, prior, l2, tol)
    data = _checked(model, x, y, weights, lengths, prior, staying=staying, label_weight=label_weight)
    max_steps, num_restarts = _check_numbers(l2, tol, max_steps, num_restarts)
    method = _method(data.model, method, blend, data.prior, l2, len(data.x))
    whole, (data, held) = data, _stochastic.held_out(data, validation, method, key)
    data = data._replace(prior=_chosen_prior(data.model, data.x, data.weights, data.prior))
    judge = None if held is None else _problem(held, 0.0, blend)
    course = _stochastic.course(data.model, method, len(data.x), judge, batch_size, warm_up, patience, key)
    options = {"prior": data.prior, "l2": l2, "blend": blend, "tol": tol, "batch_size": batch_size, "key": key}
    options |= {"validation": validation, "patience": patience, "warm_up": warm_up}
    checkpointer = _checkpoint.checkpointer(checkpoint, num_restarts, whole, method, **options)
    tolerance = _number(tol, data.x.dtype)
    with (
        kernels.complete_rows(data.complete),
        kernels.checked_cells(data.complete is not None),
        kernels.known_labels(data.labelled),
    ):
        starts = _restarts.starts(data.model, data.x, data.y, data.weights, num_restarts, key)
        if method == "em":
            final, fitted = fit_em(starts, data, tolerance, max_steps, progress)
            if _checks.is_concrete(final.value, tol) and np.isfinite(final.value):
                _semisupervised.warn_if_labels_lost(data, fitted, tolerance, label_weight)
        else:
            begin = functools.partial(_gradient.start, method=method, tol=tolerance)
            if _stochastic.is_optimizer(method):
                begin = functools.partial(_stochastic.start, method=method, course=course)
            try:
                final, fitted = _fit_gradient(
                    starts, _problem(data, l2, blend), begin, max_steps, progress, checkpointer
                )
            except _stochastic.Diverged as error:
                error.model = error.model.density if data.bare else error.model
                raise
    label_word = "state" if _checks.is_sequential(data.model) else "component" if y is None else "class"
    check_result(fitted, final.value, final.step, data.prior, label_word, data.known)
    if not _stochastic.is_optimizer(method) and _checks.is_concrete(final.step, tol):
        _endings.warn_if_short(final, tol, max_steps)
    return _result(fitted.density if data.bare else fitted, final, max_steps)


def _result(fitted, final, max_steps):
    judged = getattr(final, "validation", None)
    if not _checks.is_concrete(final.step):
        trace = final.trace[:max_steps]
        trace = jnp.where(jnp.arange(max_steps) < final.step, trace, trace[final.step - 1])
        return Fit(fitted, trace, final.converged, final.step, judged)
    steps = int(final.step)
    judged = None if judged is None else jax.device_put(np.asarray(judged)[~np.isnan(judged)])
    return Fit(fitted, jax.device_put(np.asarray(final.trace)[:steps]), bool(final.converged), steps, judged)


def _problem(data, l2, blend):
    share = None if blend is None else _number(blend, data.x.dtype)
    x, labels = _objective.counted(data.x, data.y.astype(np.int32), data.weights)
    return _objective.Problem(x, labels, data.weights, data.prior, _number(l2, data.x.dtype), share)


def solved(
    model: M,
    x: Any,
    y: Array,
    weights: ArrayLike | None,
    prior: Any,
    looked: kernels.ColumnSummary,
    label_weight: float,
) -> M:
    """What `fit` comes to, in one pass over the rows where every label and cell is known."""
    data = _checked(model, x, y, weights, None, prior, looked, label_weight=label_weight)
    if not data.known:
        return fit(model, x, y, weights=weights, prior=prior, label_weight=label_weight).model
    _method(data.model, "em", None, data.prior, 0)
    prior = _chosen_prior(data.model, data.x, data.weights, data.prior)
    with kernels.complete_rows(True):
        solution = _em.closed_form(data.model, data.x, data.y, data.weights, prior)
    return _checked_solution(solution, prior)


def solved_by_label(model: Any, x: np.ndarray, seen: kernels.LabelledSummary, prior: Any) -> Any:
    """The same with what was seen of rows, all of whose cells and labels are known, without another look at them."""
    _checks.check_cells(x, model.supports, seen.columns, x, lambda: ("kinds", ""))
    prior = _prior.checked_prior(model, prior, _checks.float_type(x))
    with kernels.complete_rows(True):
        solution = _em.closed_form(model, seen, jnp.zeros(0, int), jnp.zeros(0), prior)
    return _checked_solution(solution, prior)


def _checked_solution(solution, prior):
    fitted, passes, has_density = solution
    if not _checks.is_concrete(has_density):  # nothing can be raised
        return jax.tree.map(lambda leaf: jnp.where(has_density, leaf, jnp.nan), fitted)
    check_result(fitted, 0.0 if bool(has_density) else np.nan, passes, prior, "class")
    return fitted


class _Data(NamedTuple):
    """What a model is fitted to, checked."""

    model: Any
    x: Any
    y: Array
    weights: Array
    prior: Any
    bare: bool
    complete: bool | None  # every cell is observed, if that can be known
    labelled: bool  # every label is known

    @property
    def known(self) -> bool:
        """Whether nothing is missing."""
        return bool(self.complete) and self.labelled


def _checked(model, x, y, weights, lengths, prior, looked=None, staying=None, label_weight=1.0):
    if staying is None:
        lifted, (rows, complete) = _checks.model_and_rows(model, x, lengths, looked, lambda: _option(model, looked))
        _digits.warn_if_lost(x)
    else:
        lifted, rows, complete = model, staying, True
    bare = _checks.as_model(model) is not model
    lifted = lifted.expanded() if hasattr(lifted, "scorer") else lifted
    if not (lifted.generative or hasattr(lifted, "penalty")):
        raise ValueError(
            f"model must have parameters of its own; those of a {type(model).__name__} are its parts'. Type "
            f"{_parts(lifted, y, complete)}."
        )
    labels = _labels(lifted, y, rows)
    amounts = _semisupervised.weighted(label_weight, lifted, y, labels, _checks.as_weights(weights, rows))
    labelled = _check_data(lifted, *in_rows(rows, labels, amounts), complete)
    # The classes of an autoencoder share what they say of a column.
    if prior is None and lifted.generative and not complete and not has_draws(lifted):
        _check_observed_in_classes(lifted, *in_rows(rows, labels, amounts))
    prior = MixturePrior(None, prior) if bare and _is_noun(prior) else prior
    return _Data(lifted, rows, labels, amounts, prior, bare, complete, labelled)


def _option(model, looked):
    """By which option of a starter a model takes the cells that it takes, and when."""
    if not model.generative:
        return None
    usual = "likelihood" if has_draws(model) else "emissions" if _checks.is_sequential(model) else "kinds"
    return usual, " where the model is started" if looked is None else ""


def _parts(model, y, complete):
    """What fits the parts of a marginalized classifier, and puts them together."""
    whole = "x" if complete else "dgjax.impute(density, x)"
    labels = ", y" if y is None or model.density.num_labels == model.num_labels else ""
    return (
        f"density = dgjax.fit(model.density, x{labels}).model, then dgjax.marginalize(dgjax.fit(model.classifier, "
        f"{whole}, y).model, density)"
    )


def _labels(model, y, x):
    if y is None:
        if not model.generative:
            raise ValueError(
                "y is needed to fit a discriminative model, which learns p(y | x) only; got None. Without labels, fit "
                "a generative model: dgjax.gaussian_mixture."
            )
        return jnp.full(x.x.shape[:2] if isinstance(x, Sequences) else len(x), -1)
    return _checks.as_labels(y, x, model.num_labels)


def _check_numbers(l2, tol, max_steps, num_restarts):
    _checks.check_number(l2, "l2", 0)
    _checks.check_number(tol, "tol", 0)
    return _checks.as_count(max_steps, "max_steps", 1, MOST_STEPS), _checks.as_count(num_restarts, "num_restarts")


def _is_noun(prior):
    return prior is not None and not isinstance(prior, str)


def _chosen_prior(model, x, weights, prior):
    """The prior, "weak" made into one, after checking that it fits the model."""
    if isinstance(prior, str):
        if prior != "weak":
            raise ValueError(f'prior must be "weak", None or a prior of dgjax.priors; got {_advice.shown(prior)}.')
        rows, _, counted = in_rows(x, weights, weights)
        return _prior.weak_prior(model, rows, counted, 1.0)
    return _prior.checked_prior(model, prior, x.dtype)


def _method(model, method, blend, prior, l2, n=0):
    """The method to use, after checking that the arguments go together."""
    if blend is not None:
        _checks.check_number(blend, "blend", 0, 1)
        if not model.generative:
            raise ValueError(
                f"blend is for generative models; {type(model).__name__} learns p(y | x) only. Leave it out."
            )
    if prior is not None and not model.generative:
        raise ValueError(f"prior is for generative models; {type(model).__name__} takes l2.")
    if l2 and model.generative:
        raise ValueError(
            f"l2 is for discriminative models; {type(model).__name__} takes prior=dgjax.weak_prior(model, x)."
        )
    small = _gradient.is_for_newton(model, n)
    usual = "newton" if not model.generative and small else "lbfgs"
    usual = "em" if model.generative and blend is None else usual
    if _stochastic.is_optimizer(method):
        return method
    if has_draws(model) and method != "lbfgs":
        raise ValueError(f"{LEARNING}, or method='lbfgs' for draws that stay; got method={_advice.shown(method)}.")
    method = usual if method is None else method
    allowed = ("em", "lbfgs", "newton") if model.generative and blend is None else ("lbfgs", "newton")
    if method not in allowed:
        raise ValueError(
            f"method must be one of {allowed} here, or an optimizer of optax such as optax.adam(1e-2); got "
            f"{_advice.shown(method)}. Leave it out for {usual!r}."
        )
    return method


def _number(value, dtype):
    """A number as an array, without a compilation."""
    return value.astype(dtype) if isinstance(value, Array) else jax.device_put(np.asarray(value, dtype))


def _check_data(model, x, y, weights, complete):
    """Raises if nothing, or not enough, can be learnt from these rows. Whether every label is known."""
    if not _checks.is_concrete(x, y, weights):
        return False
    counted, labels = np.asarray(weights) > 0, np.asarray(y)
    num_counted = np.count_nonzero(counted)
    if not num_counted:
        raise ValueError("x must have at least one row with a positive weight; got none.")
    if not complete:
        _checks.check_observed(x, weights)
    seen = _checks.label_counts(labels if num_counted == len(labels) else labels[counted], model.num_labels)
    known, unlabelled = np.flatnonzero(seen[1:]), seen[0] > 0
    if len(known) == 1 and model.num_labels > 1 and not (unlabelled and model.generative):
        raise ValueError(f"y must hold at least two classes; every label given is {int(known[0])}.")
    if not len(known) and not model.generative:
        raise ValueError("y must hold at least two classes; every label is -1, unknown.")
    if not len(known) and num_counted < model.num_labels:
        raise ValueError(
            f"x must have at least as many rows as the model has components; got {num_counted} rows for "
            f"{model.num_labels} components. Type a smaller num_components."
        )
    return not unlabelled


def _check_observed_in_classes(model, x, y, weights):
    """Raises if all labels are known and a class never shows a column: nothing says what it is like there."""
    if not _checks.is_concrete(x, y, weights):
        return
    counted, labels = np.asarray(weights) > 0, np.asarray(y)
    if model.num_labels == 1 or (labels[counted] < 0).any():
        return
    observed = ~np.isnan(np.asarray(x)) & counted[:, None]
    for label in np.unique(labels[counted]):
        never = np.flatnonzero(~observed[labels == label].any(0))
        if len(never):
            raise ValueError(
                f"x column {never[0]} is never observed in class {label}, so nothing is known of it there. Type "
                'prior="weak", which takes it to be as in the other classes, or remove the column.'
            )


def _fit_gradient(starts, problem, begin, max_steps, progress, checkpointer=None):
    trace, fits = empty_trace(max_steps, problem.x.dtype), []
    for model in starts:
        state, advance, finish = begin(model, problem, trace=trace)
        state = run(advance, state, max_steps, progress, checkpointer)
        _in_place.check_rows(model, problem.x, state)
        fits.append(finish(state))
        if _gradient.is_misled(begin.keywords["method"], problem, fits[-1], max_steps):
            state, advance, finish = begin(model, problem, trace=trace, method="lbfgs")
            fits.append(finish(run(advance, state, max_steps, progress)))
    return max(fits, key=lambda f: float(jnp.nan_to_num(f[0].value, nan=-jnp.inf))) if len(fits) > 1 else fits[0]
