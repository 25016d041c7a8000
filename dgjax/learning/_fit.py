"""`fit`: checks of model, data, prior and method, the run of the method, and the closed form."""

import dataclasses
import functools
import os
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _advice, _prior
from dgjax._arguments import as_count, check_number, is_concrete, is_known, is_sharded
from dgjax._elsewhere import of_attribute, told_keywords
from dgjax._memory import told_memory
from dgjax._neural import Neural
from dgjax._pytree import described
from dgjax.data import (
    Data,
    as_labels,
    as_model,
    as_weights,
    check_cells,
    check_observed,
    check_observed_in_classes,
    check_whole,
    filled,
    float_type,
    in_size_class,
    label_counts,
    model_and_rows,
    warn_if_lost,
)
from dgjax.densities import LowEffectiveSampleSize, has_divergence, has_draws, is_contrastive, settled
from dgjax.learning import _checkpoint, _completed, _em, _endings, _objective, _semisupervised, _streamed, _zero_copy
from dgjax.learning._components import to_be_fitted
from dgjax.learning._descent import Diverged
from dgjax.learning._em import EM
from dgjax.learning._enough import check_enough, without_labels
from dgjax.learning._method import Method
from dgjax.learning._optax import Optax, is_optimizer
from dgjax.learning._progress import Interrupted, empty_trace, in_pieces, is_together, run
from dgjax.learning._usual import checked_method, reads_in_place, usual
from dgjax.models import LinearChainCRF, Logistic, Marginalized
from dgjax.priors import FactorPrior, MixturePrior, Ridge
from dgjax.sparse import RowsLike, SparseRows
from dgjax.streams import Passes, check_of_all, is_large_map, stream
from dgjax.structures import in_rows, label_shape
from dgjax.tables import fitted_to_tables

M = TypeVar("M")
MOST_STEPS = 1 << 24  # each has its place in the trace, and float32 numbers no more of them


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class Fit(Generic[M]):
    """Result of `fit`: the fitted `model`, `objective` (num_steps,) in nats after each step, `converged`, `num_steps`.

    Inside `jit` and `vmap`, where shapes are fixed, `objective` is (max_steps,), constant after the last step. With
    minibatches all but its last entry are estimates, each from the batch of the next step. `validation` is the
    objective of the held-out rows, in nats over all of them, at the end of each epoch; None without held-out rows.
    """

    __no_type_check__ = True  # JAX puts anything in place of the fields

    model: M
    objective: Array
    converged: bool
    num_steps: int
    validation: Array | None = None


Fit.__getattr__, Fit.__repr__ = of_attribute, described  # type: ignore[attr-defined]


@fitted_to_tables
@told_keywords
@told_memory
def fit(
    model: M,
    x: RowsLike | Passes,
    y: ArrayLike | None = None,
    method: Method | None = None,
    *,
    weights: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    label_weight: float = 1.0,
    prior: Any = None,
    blend: float | None = None,
    max_steps: int = 500,
    progress: bool = False,
    checkpoint: str | os.PathLike | None = None,
) -> Fit[M]:
    """Maximum-likelihood or, with a prior, penalised fit: the model that maximises an objective, started at `model`.

    Generative: sum_n w_n log p(x_n, y_n) + log prior, by expectation-maximisation. Cells may be missing (NaN) and so
    may labels (-1 or NaN, or no `y` at all): both are summed out exactly. With every label and cell known one step is
    the closed form. With `blend`, from 0 to 1: blend log p(x, y) + (1 - blend) log p(y | x) in its place, by L-BFGS.
    Discriminative: sum_n w_n log p(y_n | x_n) + log prior, by Newton's method or L-BFGS; where cells are missing, of a
    `dgjax.marginalize(classifier, density)`, by draws of them from the density, which stays as it is.

    `x` may be a `dgjax.stream` of rows that do not fit in memory, with its own labels and weights: each step is a pass.
    `x` (n, d), for a model of factors `dgjax.SparseRows` too, `y` (n,) ints; of sequences `x` (n, t, d), `y` (n, t) or
    a label for each, `lengths` (n,). `method` is `dgjax.EM()`, `Newton()`, `LBFGS()`, `Optax(optimizer, batch_size=64,
    key=key)` or `Restarts(num, key)`; the usual one is chosen by default. `weights` (n,) count a row or sequence as so
    many, those of rows that have a label `label_weight` times as many. `prior` is one of `dgjax.priors`, such as
    `Ridge(strength)` of a discriminative model, or of a generative one `dgjax.weak_prior(model, x)`, for short "weak";
    None is maximum likelihood. `max_steps` ends every fit; `progress` shows a bar. `checkpoint` is a folder where the
    state is saved every few seconds: an identical call, or one with more `max_steps`, continues from there to the same
    bits, whatever ended the process.

    A `Tilted` or `Adversarial` density learns by contrast with draws: the objective is that of its page.

    Raises ValueError for an argument that would have no effect, bad shapes, cells, labels or weights, a column never
    observed, fewer rows than components, a solution that has collapsed onto too few rows to have a density there, or
    steps that diverged: `dgjax.Diverged`, with the last good model; and for a checkpoint of another fit. Ctrl-C raises
    `dgjax.Interrupted`, a KeyboardInterrupt with the last model. Inside `jit`, where nothing can be raised, a fit
    that collapsed, or met rows of probability 0, as a cell outside its support has, gives a model of NaN.
    Source: Dempster, Laird and Rubin (1977) for EM; McCallum, Pal, Druck and Wang (2006) for the blend.
    """
    max_steps = as_count(max_steps, "max_steps", 1, MOST_STEPS)
    check_of_all(x) if isinstance(x, Passes) else check_whole(x)
    if isinstance(model, Marginalized):
        if lengths is not None or blend is not None:
            raise ValueError("lengths are of sequences and blend of generative models; leave them out.")
        own = {"method": method, "label_weight": label_weight, "prior": prior}
        options = own | {"max_steps": max_steps, "progress": progress, "checkpoint": checkpoint}
        return _completed.fitted(fit, model, x, y, weights, options)
    if is_large_map(x) and lengths is None and blend is None:
        x, y, weights = stream(x, y, weights), None, None
    if isinstance(x, Passes):
        beside = {"y": y, "weights": weights, "lengths": lengths, "blend": blend}
        options = _streamed.Options(method, _chosen_prior, prior, label_weight, max_steps, progress, checkpoint)
        outcome, fitted = _streamed.fitted(model, x, beside, options)
        return _result(fitted, outcome, max_steps)
    given = y, weights, prior, getattr(method, "tolerance", None)
    rows = _zero_copy.zero_copy_rows(model, x, *given) if lengths is None and reads_in_place(model, x, method) else None
    bare = as_model(model) is not model
    start, data = _checked(model, x, y, weights, lengths, prior, zero_copy=rows, label_weight=label_weight)
    own = MixturePrior(None, prior) if bare and _is_prior(prior) else prior
    num_labels, start = start.num_labels, to_be_fitted(start, data, prior, method, blend)
    if isinstance(data.x, SparseRows):
        _check_sparse(method, blend, x)
    problem = _problem(start, data, own, blend, method is not None and not checked_method(method).pads)
    method = usual(start, len(problem.x), blend) if method is None else checked_method(method)
    method.check(start, problem)
    kept = None if checkpoint is None else _checkpoint.checkpointer(checkpoint, start, problem, method)
    trace = empty_trace(max_steps, problem.weights.dtype)
    pieces = in_pieces(start, problem, trace, method.passes, progress)
    state = method.init(start, problem, trace)

    def finished(state):
        outcome, fitted = method.result(problem, state)
        fitted = fitted if start.num_labels == num_labels else fitted.with_components(num_labels)
        return outcome, settled(fitted, problem.x)

    try:
        advance, together = functools.partial(method.advance, problem), is_together(problem)
        state = run(advance, state, max_steps, pieces, progress, kept, together)
        outcome, fitted = finished(state)
    except Interrupted as error:
        error.then(lambda state: finished(state)[1].density if bare else finished(state)[1])
        raise
    except (Diverged, LowEffectiveSampleSize) as error:
        error.model = error.model.density if bare else error.model
        raise
    if not isinstance(method, Optax):
        _semisupervised.warn_if_labels_lost(start, problem, outcome, fitted, method.tolerance, label_weight)
    fitted = _endings.checked_result(fitted, outcome.value, outcome.step, problem, problem.prior, _words(start, y))
    if is_concrete(outcome.step, method.tolerance):
        _endings.warn_if_short(outcome, method.tolerance, max_steps)
    return _result(fitted.density if bare else fitted, outcome, max_steps)


def problem_of(model: Any, x: Any, y: Any, weights: Any, lengths: Any, prior: Any) -> tuple[Any, _objective.Problem]:
    """Model as it is learnt, and the objective that a fit to these data maximises.

    Raises ValueError for what `fit` refuses.
    """
    own, data = _checked(model, x, y, weights, lengths, prior)
    bare = as_model(model) is not model
    return own, _problem(own, data, MixturePrior(None, prior) if bare and _is_prior(prior) else prior, None, False)


def _check_sparse(method, blend, x):
    """Raises ValueError for another method than EM on sparse rows: others look at blocks or samples of rows."""
    if blend is not None or not isinstance(method, EM | None):
        given = f"method={_advice.shown(method)}" if blend is None else f"blend={_advice.shown(blend)}"
        whole = "x" if isinstance(x, SparseRows) else "dgjax.SparseRows.from_scipy(x)"
        raise ValueError(
            f"sparse rows are fitted by EM; got {given}. Leave it out, or type {whole}.toarray(), which has NaN where "
            "nothing is stored, in place of x."
        )


def _words(model, y):
    """Words for labels and, in a mixture, for those below them."""
    own = "component" if y is None else "class"
    if not model.sequential:
        return own, "component"
    return (own, "state") if model.one_label else ("state", "component")


def _checked_blend(model, y, blend):
    if blend is not None:
        check_number(blend, "blend", 0, 1)
        if not model.generative:
            raise ValueError(
                f"blend is for generative models; {type(model).__name__} learns p(y | x) only. Leave it out."
            )
        if is_contrastive(model):
            raise ValueError(
                f"blend is for densities that learn by their likelihood; a {type(model.density).__name__} learns "
                "p(x, y) and p(y | x) by one contrast with its base. Leave it out."
            )
        if is_concrete(y) and not (np.asarray(y) >= 0).any():
            raise ValueError(
                f"blend weighs log p(x, y) and log p(y | x), which needs labels; got blend={blend}, and no label in "
                "y. Leave it out."
            )
    return blend


def _result(fitted, final, max_steps):
    judged = final.validation
    if not is_concrete(final.step):
        trace = final.trace[:max_steps]
        trace = jnp.where(jnp.arange(max_steps) < final.step, trace, trace[final.step - 1])
        return Fit(fitted, trace, final.converged, final.step, judged)
    steps = int(final.step)
    judged = None if judged is None else jax.device_put(np.asarray(judged)[~np.isnan(judged)])
    return Fit(fitted, jax.device_put(np.asarray(final.trace)[:steps]), bool(final.converged), steps, judged)


def _problem(model, data, prior, blend, exact):
    share = None if _checked_blend(model, data.y, blend) is None else _objective.as_number(blend, data.x.dtype)
    x, labels = _objective.counted(data.x, data.y.astype(np.int32), data.weights)
    given = (x, labels, data.weights) if exact else in_size_class(x, labels, data.weights)
    with jax.ensure_compile_time_eval():
        x, labels, weights = given if is_sharded(data.weights) else jax.device_put(given)
    prior = _chosen_prior(model, data.replace(x=x, weights=weights), prior)
    facts = {"complete": data.complete, "labelled": data.labelled}
    return _objective.Problem(x, labels, weights, prior=prior, blend=share, **facts)


def closed_form(model: M, data: Data, prior: Any, label_weight: float = 1.0) -> M:
    """Closed-form fit, in one pass over the rows, where every label and cell is known; else EM.

    Where the data hold a summary of the rows of each label, the rows are not read again.
    """
    start: Any = model
    if isinstance(data.x, Passes):
        return _streamed.closed_form(model, data.x, _chosen_prior, prior, label_weight)
    if isinstance(data.summary, kernels.LabelledSummary) and label_weight == 1:
        check_cells(data.x, start.supports, data.columns, data.x, lambda: ("kinds", ""))
        prior = _prior.checked_prior(start, prior, float_type(data.x))
        seen, whole = data.replace(x=data.summary, y=jnp.zeros(0, int), weights=jnp.zeros(0), summary=None), data
    else:
        given = data.x, data.y, data.weights
        start, seen = _checked(start, *given, None, prior, summary=data.columns, label_weight=label_weight)
        if not seen.known:
            return fit(model, *given[:2], weights=data.weights, prior=prior, label_weight=label_weight).model
        x, y, amounts = in_size_class(seen.x, seen.y, seen.weights)
        whole = seen = seen.replace(x=x, y=y, weights=amounts, summary=None)
        prior = _chosen_prior(start, seen, prior)
    return _checked_solution(_em.closed_form(start, seen, prior), whole, prior)


def _checked_solution(solution, data, prior):
    """Closed-form model, raised about where it has collapsed; inside jit, where nothing can be raised, NaN there."""
    fitted, passes, has_density = solution
    xp = np if is_concrete(has_density) else jnp
    return _endings.checked_result(fitted, xp.where(has_density, 0.0, np.nan), passes, data, prior)


def _checked(model, x, y, weights, lengths, prior, summary=None, zero_copy=None, label_weight=1.0):
    """Model to start a fit from, and its validated training data.

    A discriminative model is returned in the form in which it is learnt (`expanded`). Without a prior each class must
    show each column that has missing cells.
    """
    if zero_copy is None:
        model, data = model_and_rows(model, x, lengths, summary, lambda: _option(model, summary), sparse=True)
        warn_if_lost(x)
    else:
        data = Data(zero_copy, complete=True)
    model = model if model.generative else model.expanded()
    labels = _labels(model, y, data.x)
    amounts = _semisupervised.weighted(label_weight, model, y, labels, as_weights(weights, data.x))
    rows = in_rows(data.x, labels, amounts)
    of_rows = len(label_shape(data.x)) == 1  # or of steps, which are rows of `rows`
    each = (labels, amounts) if of_rows else rows[1:]
    labelled = _check_data(model, rows, *each, data.complete or _of_items(prior))
    # The classes of networks share what they say of a column.
    if prior is None and model.generative and not data.complete and not has_draws(model):
        check_observed_in_classes(*rows, model.num_labels)
    return model, data.replace(y=labels, weights=amounts, labelled=labelled)


def _option(model, summary):
    """Advice for errors of cells: the option of a starter that says which cells a model takes, and when it is given.

    "likelihood" of an autoencoder or a neural classifier, "emissions" of a chain, else "kinds"; None for any other
    discriminative model.
    """
    if not model.generative and not (isinstance(model, Logistic | LinearChainCRF) and isinstance(model.scorer, Neural)):
        return None
    networks = not model.generative or has_divergence(model)
    usual = "likelihood" if networks else "emissions" if model.sequential else "kinds"
    return usual, " where the model is started" if summary is None else ""


def _labels(model, y, x):
    if y is None:
        if not model.generative:
            raise ValueError(
                "y is needed to fit a discriminative model, which learns p(y | x) only; got None. "
                f"{without_labels(model)}"
            )
        return filled(label_shape(x), -1, jax.dtypes.canonicalize_dtype(int), x)
    if isinstance(y, Method) or is_optimizer(y):
        raise ValueError(f"y must be labels, and the method comes after them; got {_advice.shown(y)}. Type method=....")
    return as_labels(y, x, model.num_labels)


def _of_items(prior):
    """Whether a prior says what is expected of columns that nobody has rated."""
    return isinstance(getattr(prior, "density", prior), FactorPrior)


def _is_prior(prior):
    return prior is not None and not isinstance(prior, str)


def _chosen_prior(model, data, prior):
    """Validated prior, "weak" made into one from the data; for a discriminative model a ridge, of 0 for None."""
    if not model.generative:
        if not isinstance(prior, Ridge | None):
            raise ValueError(
                f"prior of a {type(model).__name__} must be dgjax.priors.Ridge(strength) or None, for it learns "
                f"p(y | x) only; got {_advice.shown(prior)}."
            )
        return Ridge(_objective.as_number(0.0 if prior is None else prior.strength, data.x.dtype))
    if isinstance(prior, Ridge):
        raise ValueError(
            f"prior=dgjax.priors.Ridge is for discriminative models; {type(model).__name__} takes "
            "prior=dgjax.weak_prior(model, x)."
        )
    if isinstance(prior, str):
        if prior != "weak":
            raise ValueError(f'prior must be "weak", None or a prior of dgjax.priors; got {_advice.shown(prior)}.')
        rows, _, counted = in_rows(data.x, data.weights, data.weights)
        return _prior.weak_prior(model, rows, counted, 1.0)
    return _prior.checked_prior(model, prior, data.x.dtype)


def _check_data(model, rows, y, weights, complete):
    """Check that there is enough to learn from; True if every row that counts has a label, False inside jit.

    `rows` are what has cells, with labels and weights: the steps of sequences, of which each may have one label.

    Raises ValueError for no row of positive weight, a column never observed, a single class, or fewer rows than
    components.
    """
    x, _, of_cells = rows
    if not is_known(x, y, weights):
        return False
    seen = label_counts(y, model.num_labels, weights)
    num_counted = seen.sum()
    if not num_counted:
        raise ValueError("x must have at least one row with a positive weight; got none.")
    if not complete:
        check_observed(x, of_cells)
    check_enough(model, seen, int(num_counted))
    return not seen[0]
