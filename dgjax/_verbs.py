"""Verbs: what can be asked of a model. Each checks its arrays once, then evaluates the model's potentials."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _advice, _answers, _zero_copy
from dgjax._arguments import as_columns, as_count, as_key, as_shape, check_size, is_concrete
from dgjax._elsewhere import told_keywords
from dgjax._few_rows import labels_of_few, log_prob_of_few, posterior_of_few
from dgjax._types import Capabilities, Discriminative, Generative
from dgjax.data import Data, as_floats, as_labels, as_model, model_and_rows
from dgjax.densities import Density, MaskedLanguageModel, check_has_density
from dgjax.models import HiddenMarkov, LinearChainCRF, Logistic, Marginalized
from dgjax.sparse import RowsLike
from dgjax.streams import of_streams
from dgjax.structures import Sequences
from dgjax.tables import drawn_rows, filled_rows, label_names, log_proba_by_name, named_model, of_tables

G = TypeVar("G", bound=Generative)
FEW_CELLS = 1 << 16  # of samples that take longer to compile for than to draw


@of_streams()
@told_keywords
@of_tables()
def log_prob(model: Generative, x: RowsLike, lengths: ArrayLike | None = None) -> Array:
    """Marginal log-likelihood log p(x_observed) = log sum_y p(x_observed, y), in nats.

    `x` (n, d), NaN where missing; returns (n,). A row of NaN has log-probability 0. For a model of sequences `x` is
    (n, t, d), with `lengths` (n,).

    Raises ValueError for a discriminative model, a wrong shape, or a cell outside its column's support.
    """
    return log_prob_in_form(model, x, lengths)


def log_prob_in_form(
    model: Generative, x: RowsLike, lengths: Any = None, form: Callable[[Any, Any], Any] | None = None
) -> Array:
    """Marginal log-likelihood as `log_prob` has it, where it takes a program by that of the model `form(model, x)`.

    That is one with the same density: of components that are off beside its own, for instance, so that the program is
    one for other numbers of components too. `x` (n, d) or (n, t, d); returns (n,).

    Raises ValueError for a discriminative model, a wrong shape, or a cell outside its column's support.
    """
    checked = require_generative(model)
    check_has_density(checked, "log_prob")
    found = None if lengths is not None else _zero_copy.log_prob(checked, x)
    if found is not None:
        return found
    own, rows = model_and_rows(checked, x, lengths, sparse=True)

    def answer(own, rows):
        return _answers.log_prob(own if form is None else form(own, rows.x), rows)

    return log_prob_of_few(own, rows, answer)


@of_streams()
@told_keywords
@of_tables()
def log_joint(model: Generative, x: RowsLike, y: ArrayLike, lengths: ArrayLike | None = None) -> Array:
    """Joint log-likelihood log p(x_observed, y), in nats; where y is -1, unknown, log p(x_observed).

    `x` (n, d), `y` (n,) ints from 0 to k - 1 or -1; returns (n,). For a model of sequences `x` is (n, t, d), with
    `lengths` (n,), and `y` (n, t), or (n,) where each sequence has one label.

    Raises ValueError for a discriminative model, a wrong shape, a cell or a label out of range.
    """
    own = require_generative(model)
    check_has_density(own, "log_joint")
    checked, rows = model_and_rows(own, x, lengths, sparse=True)
    return _answers.log_joint(checked, rows, as_labels(y, rows.x, checked.num_labels))


@of_streams()
@told_keywords
@of_tables()
def log_conditional(
    model: Generative | Discriminative, x: RowsLike, y: ArrayLike, lengths: ArrayLike | None = None
) -> Array:
    """Log-posterior of given labels, log p(y | x_observed) = s(x, y) - log sum_y' exp s(x, y').

    `x` (n, d), `y` (n,) ints from 0 to k - 1 or -1, unknown; returns (n,): 0 where y is -1, even of a row that no label
    could give, minus infinity for any label of such a row. For a model of sequences `x` is (n, t, d), with `lengths`
    (n,), and `y` (n, t), or (n,) where each sequence has one label.

    Raises ValueError for a wrong shape, a cell or a label out of range, or NaN given to a logistic model.
    """
    checked, rows = model_and_rows(model, x, lengths, sparse=True)
    return _answers.log_conditional(checked, rows, as_labels(y, rows.x, checked.num_labels))


@of_streams()
@told_keywords
@of_tables(log_proba_by_name)
def predict_log_proba(
    model: Generative | Discriminative, x: RowsLike, lengths: ArrayLike | None = None, *, y: ArrayLike | None = None
) -> Array:
    """Log-posterior log p(y | x_observed) of every label: (n, d) -> (n, k).

    Minus infinity in a row that no label could give. For a model of sequences log-marginals log p(y_s | x) of every
    step: (n, t, d), with `lengths` (n,) -> (n, t, k), or (n, k) where each sequence has one label. `y` are labels that
    are known already, -1 where not, (n,) or (n, t): of the others it is the posterior given these too.

    Raises ValueError for a wrong shape, a cell or a label out of range, or NaN given to a logistic model.
    """
    checked = as_model(model)
    if y is not None:
        return _answers.predict_log_proba_given(*_with_labels(checked, x, lengths, y))
    posterior = None if lengths is not None else _zero_copy.log_posterior(checked, x)
    if posterior is not None:
        return posterior
    own, rows = model_and_rows(checked, x, lengths, sparse=True)
    return posterior_of_few(own, rows, _answers.predict_log_proba)


@of_streams(labels=True)
@told_keywords
@of_tables(label_names)
def predict(
    model: Generative | Discriminative, x: RowsLike, lengths: ArrayLike | None = None, *, y: ArrayLike | None = None
) -> Array:
    """Most probable label given the observed cells: (n, d) -> (n,) ints; -1 for a row that no label could give.

    For a model of sequences the Viterbi path: (n, t, d), with `lengths` (n,) -> (n, t), -1 beyond a length; or (n,)
    where each sequence has one label. `y` are labels that are known already, -1 where not, (n,) or (n, t): the result
    is the most probable that agrees with them.

    Raises ValueError for a wrong shape, a cell or a label out of range, `lengths` of rows, or NaN given to a logistic
    model.
    """
    checked = as_model(model)
    if y is not None:
        return _answers.predict_given(*_with_labels(checked, x, lengths, y))
    labels = None if lengths is not None else _zero_copy.labels(checked, x)
    if labels is not None:
        return labels
    own, rows = model_and_rows(checked, x, lengths, sparse=True)
    return labels_of_few(own, rows, _answers.predict)


@told_keywords
@of_tables(drawn_rows)
def sample(model: Generative, key: Array, shape: int | tuple[int, ...] = ()) -> tuple[Array, Array]:
    """Samples (x, y) of p(x, y): x (*shape, d), y (*shape,) ints. For a model of sequences, the last of `shape` is t.

    Where each sequence has one label, y has no axis of steps. `key` is a typed key, `jax.random.key(seed)`.

    Raises ValueError for a discriminative model, or more samples than memory holds.
    """
    checked, sizes = require_generative(model), as_shape(shape)
    if checked.sequential and not (sizes and sizes[-1]):
        raise ValueError(
            f"shape must end with the number of steps of a sequence, 1 or more; got {_advice.shown(shape)}. "
            "Type (n, t) for n sequences of t steps."
        )
    check_size((*sizes, checked.num_features), shape=shape)
    few = math.prod(sizes) * checked.num_features < FEW_CELLS
    return (_answers.few_samples if few else _answers.many_samples)(checked, as_key(key), sizes)


@of_streams(labels=True)
@told_keywords
@of_tables(label_names)
def sample_labels(
    model: Generative | Discriminative,
    key: Array,
    x: ArrayLike,
    lengths: ArrayLike | None = None,
    *,
    y: ArrayLike | None = None,
) -> Array:
    """Samples y of the posterior p(y | x_observed): (n, d) -> (n,) ints; -1 for a row no label could give.

    For a model of sequences, whole paths: (n, t, d), with `lengths` (n,) -> (n, t), -1 beyond a length; or (n,) where
    each sequence has one label. `y` are labels that are known already, -1 where not, (n,) or (n, t): samples agree.

    Raises ValueError for a wrong shape, a cell or a label out of range, or NaN given to a logistic model.
    """
    checked, rows, *labels = _with_labels(as_model(model), x, lengths, y)
    return _answers.sample_labels(checked, rows, *labels, key=as_key(key))


@of_streams()
@told_keywords
@of_tables(filled_rows)
def impute(model: Generative, x: ArrayLike, lengths: ArrayLike | None = None, *, y: ArrayLike | None = None) -> Array:
    """Imputation: `x` with missing cells replaced by E[x_missing | x_observed], or by the mode in discrete columns.

    `x` (n, d); returns (n, d), observed cells untouched. Labels are averaged over their posterior p(y | x_observed). A
    row that no label could give is returned unchanged. `y` are labels that are known already, -1 where not, (n,) or of
    the steps of sequences (n, t).

    Raises ValueError for a discriminative model, a wrong shape, a cell or a label out of range, or a missing cell whose
    distribution has no mean. Inside `jit` that cell stays missing.
    """
    check_has_density(require_generative(model), "impute")
    found = None if lengths is not None or y is not None else _zero_copy.imputation(require_generative(model), x)
    if found is not None:
        return found
    checked, rows, *labels = _with_labels(require_generative(model), x, lengths, y)
    _check_means(checked.density.columns_without_mean, rows.x)
    return _within(rows, _answers.impute_given(checked, rows, *labels) if labels else _answers.impute(checked, rows), x)


@of_streams()
@told_keywords
@of_tables(filled_rows)
def sample_missing(model: Generative, key: Array, x: ArrayLike, lengths: ArrayLike | None = None) -> Array:
    """Multiple imputation: `x` with missing cells drawn from p(x_missing | x_observed), (n, d) -> (n, d).

    Observed cells are untouched.

    Raises ValueError for a discriminative model, a wrong shape, or a cell out of range.
    """
    check_has_density(require_generative(model), "sample_missing")
    checked, rows = _generative(model, x, lengths)
    return _within(rows, _answers.sample_missing(checked, rows, key=as_key(key)), x)


@told_keywords
@of_tables(named_model)
def marginal(model: G, columns: ArrayLike) -> G:
    """Marginal model p(x_columns, y) of some columns, in the order given; the others are integrated out.

    Its log p(x) is that of the whole model with NaN in the other columns. `columns` are distinct column numbers.

    Raises ValueError for a column out of range or given twice.
    """
    whole: Any = model
    if not isinstance(whole, Density):
        require_generative(whole)
    return whole.marginal(as_columns(columns, whole.num_features))


@told_keywords
@of_tables(named_model)
def discriminative(model: Generative) -> Logistic | LinearChainCRF:
    """Discriminative twin: the logistic model, or CRF, with exactly the p(y | x) of a generative model.

    By Bayes' rule s(x, y) = log w_y + log p(x | y), up to a function of x. It is linear in x for LDA, quadratic for QDA
    and Gaussian naive Bayes, a table or linear for discrete columns, a log-sum-exp for mixtures within classes. The
    posteriors agree on complete rows; the twin takes no missing cells.

    Raises ValueError for a model with a single label, whose p(y | x) is 1.
    """
    mixture = require_generative(model)
    if mixture.num_labels < 2:
        raise ValueError(
            "discriminative expects a model with 2 or more labels; this one has 1, so p(y | x) is 1."
            f"{_on_features(mixture)}"
        )
    return _discriminative(mixture)


def _on_features(model):
    """Advice for an error: code for a classifier of texts on the features of a masked language model."""
    if not isinstance(getattr(model, "density", None), MaskedLanguageModel):
        return ""
    cells = f"dgjax.TokenCells({model.density.num_categories})"
    return (
        f" For k classes of texts type dgjax.Logistic(np.zeros(k), dgjax.Neural.start(model.network, {cells}, 1, k))."
    )


@kernels.compiled_once
def _discriminative(model):
    if isinstance(model, HiddenMarkov):
        return model.crf()
    bias, scorer = model.density.discriminative()
    return Logistic(jax.nn.log_softmax(model.log_weights) + bias, scorer)


@told_keywords
@of_tables(named_model)
def marginalize(classifier: Discriminative, density: Generative, num_samples: int = 64, seed: int = 0) -> Marginalized:
    """Classifier of rows with missing cells: the mean of p(y | x) over p(x_missing | x_observed).

    The cells' distribution is that of `density`, any generative model of the same columns, for instance the generative
    twin. The mean is over `num_samples` Monte Carlo draws, with a standard error of at most 0.5 / sqrt(num_samples) in
    each probability. Rows without NaN get the classifier's own prediction.

    Raises ValueError if classifier and density have different columns.
    """
    model, mixture = as_model(classifier), require_generative(density)
    if model.sequential or mixture.sequential:
        raise ValueError("marginalize is for models of rows; of sequences, fill the cells with dgjax.impute(model, x).")
    if model.num_features not in (None, mixture.num_features):
        raise ValueError(
            f"marginalize expects a classifier and a density of the same columns; got {model.num_features} and "
            f"{mixture.num_features}."
        )
    return Marginalized(model, mixture, as_count(num_samples, "num_samples"), as_count(seed, "seed", 0))


@told_keywords
def num_parameters(model: Any) -> int | Array:
    """Number of free parameters of a model, as `bic` and `aic` count them.

    Structural zeros do not count: a category of probability 0 under every label of its column, a transition or a
    component at minus infinity.
    """
    return as_model(model).num_parameters


@told_keywords
def capabilities(model: Any) -> Capabilities:
    """What a model can be asked, and what kind of number each answer is: a named tuple of words.

    `log_prob` of complete rows, of rows with cells `missing`, the `posterior` of labels, `sample`, `impute`, and
    whether its `twin` has the same posterior. "exact" is up to rounding; a "bound" is in expectation below what it
    stands for; an "estimate" a mean over draws or a numerical integral, of which `dgjax.log_prob_error` says how far
    off log p(x) may be; "learnt" exact as one network answers, which agrees with its other answers as far as it has
    learnt to; "none" is an error that says what to take.

    Raises TypeError for what is no model.
    """
    return as_model(model).capabilities


def require_generative(model: Any) -> Any:
    """The generative model, made from a bare density if one is given; raises ValueError for a discriminative model."""
    checked = as_model(model)
    if not checked.generative:
        raise ValueError(
            f"{type(model).__name__} is discriminative: it knows p(y | x), and no p(x) to score, sample or impute from."
            " Ask log_conditional or predict_log_proba of it, or fit a generative model: dgjax.naive_bayes, "
            "dgjax.discriminant_analysis, dgjax.gaussian_mixture, dgjax.hidden_markov."
        )
    return checked


def _check_means(lacking: tuple[int, ...], x: Any) -> None:
    """Raises ValueError for a missing cell in a column that is `lacking` a mean, before an imputation."""
    if not lacking or not is_concrete(x):
        return
    missing = np.isnan(x.x[x.inside] if isinstance(x, Sequences) else x)[:, list(lacking)].any(0)
    if missing.any():
        raise ValueError(
            f"impute has no mean for the missing cells of column {lacking[int(missing.argmax())]}, as its distribution "
            "has no finite mean; draw values with dgjax.sample_missing(model, key, x)."
        )


def _within(rows: Data, filled: Array, x: ArrayLike) -> Array:
    """Imputed sequences (n, t, d), with the user's cells beyond each length; rows (n, d) are unchanged."""
    if not isinstance(rows.x, Sequences):
        return filled
    given = as_floats(x, "x")
    xp = np if is_concrete(given, filled) else jnp
    whole: Any = xp.where(rows.x.inside[..., None], filled, given.astype(filled.dtype))
    return jax.device_put(whole) if xp is np else whole


def _with_labels(model: Any, x: Any, lengths: Any, y: Any) -> tuple[Any, ...]:
    """Model and rows, and the labels y if there are any."""
    checked, rows = model_and_rows(model, x, lengths)
    return (checked, rows) if y is None else (checked, rows, as_labels(y, rows.x, checked.num_labels))


def _generative(model: Any, x: Any, lengths: Any) -> tuple[Any, Data]:
    return model_and_rows(require_generative(model), x, lengths)
