"""Models of sequences, initialised: hidden Markov models at clusters of steps, linear-chain CRFs with weights 0."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import as_count, as_key, check_size, constant
from dgjax._elsewhere import told_keywords
from dgjax.data import as_labels, as_sequences, check_whole, float_type, gathered, label_counts, limits_of, whole_labels
from dgjax.densities import Mixture
from dgjax.learning import fit
from dgjax.models import HiddenMarkov, LinearChainCRF, MarkovChain
from dgjax.starting import _training_data
from dgjax.starting._by_name import columns, gaussian, scorer, uniform
from dgjax.starting._mixtures import at_clusters
from dgjax.starting._streams import started_from_streams
from dgjax.structures import Sequences
from dgjax.tables import started_from_sequences


@started_from_streams
@started_from_sequences
@told_keywords
def hidden_markov(
    key: Array,
    x: ArrayLike,
    num_states: int,
    emissions: str | Sequence[str] = "gaussian",
    covariance: str = "full",
    lengths: ArrayLike | None = None,
    num_categories: int | Sequence[int | None] | Mapping[int, int] | None = None,
) -> HiddenMarkov:
    """Hidden Markov model initialised at k-means++ clusters of the steps of `x` (n, t, d), to be fitted by `dgjax.fit`.

    `emissions` is one kind, or one for each column: "gaussian", "bernoulli", "categorical", "poisson"; or "multinomial"
    for all columns. `covariance`, for "gaussian" columns only, is "full", "tied", "diagonal" or "spherical". Initial
    states are equally likely, and each state stays with probability 1/2. `lengths` (n,) for ragged sequences
    (`dgjax.pad`); cells and steps may be missing. `num_categories` of categorical columns is one more than the highest
    by default; one number, or one for each column, in a list or in a dict by its number.

    Raises ValueError for bad sequences or lengths, more states than steps, or another kind or covariance.
    Source: Rabiner (1989), A tutorial on hidden Markov models.
    """
    steps = _steps(x, lengths)
    broad = _broad(steps, (), num_states, emissions, covariance, num_categories)
    weights = steps.inside.astype(steps.rows.dtype)
    return at_clusters(broad, as_key(key), steps.rows, steps.summary, weights=weights)


@started_from_streams
@started_from_sequences
@told_keywords
def hidden_markov_mixture(
    key: Array,
    x: ArrayLike,
    num_components: int,
    num_states: int,
    y: ArrayLike | None = None,
    emissions: str | Sequence[str] = "gaussian",
    covariance: str = "full",
    lengths: ArrayLike | None = None,
    num_categories: int | Sequence[int | None] | Mapping[int, int] | None = None,
) -> Mixture:
    """Mixture of hidden Markov models of whole sequences x (n, t, d), initialised, to be fitted by `dgjax.fit`.

    One chain of `num_states` states for each of `num_components` clusters of sequences or, where labels `y` (n,) are
    given, -1 where unknown, for each class: a generative classifier of sequences. Fit it by `dgjax.fit(model, x, y,
    lengths=lengths)`. It starts at k-means++ clusters of the sequences, by the mean, spread and change from step to
    step of each column, and at k-means++ clusters of the steps within each. `emissions`, `covariance`, `lengths` and
    `num_categories` are as in `hidden_markov`; a "tied" covariance is one for all states of all components.

    Raises ValueError for bad sequences, lengths or labels, more components than sequences, a class without any, more
    states than steps, or another kind or covariance.
    Source: Smyth (1997), Clustering sequences with hidden Markov models.
    """
    steps = _steps(x, lengths)
    sequences, n = steps.sequences.of_one_label(), len(steps.sequences)
    k = as_count(num_components, "num_components")
    if k > n:
        raise ValueError(f"num_components must be from 1 to the number of sequences, {n}; got {k}.")
    labels = None if y is None else gathered(_classes(y, steps.given.of_one_label(), k))
    chains = _broad(steps, (k,), num_states, emissions, covariance, num_categories)
    return at_clusters(uniform(chains), as_key(key), sequences, steps.summary, labels)


def _classes(y, sequences, k):
    """Labels (n,) of sequences; raises ValueError for a class of which nothing is known."""
    labels = as_labels(y, sequences, k)
    _training_data.check_known(labels)
    seen = label_counts(labels, k)
    if not seen[0] and not seen[1:].all():
        raise ValueError(
            f"y must hold each of the labels 0 to {k - 1}, or -1 where unknown; no sequence has label "
            f"{int(seen[1:].argmin())}. Type a smaller num_components, and number the labels by np.unique(y, "
            "return_inverse=True)[1]."
        )
    return labels


@told_keywords
def markov_chain(
    x: ArrayLike,
    y: ArrayLike | None = None,
    order: int = 1,
    num_classes: int | None = None,
    lengths: ArrayLike | None = None,
    num_categories: int | None = None,
    *,
    weights: ArrayLike | None = None,
    prior: Any = None,
) -> MarkovChain | Mixture:
    """Markov chain of symbols, an n-gram model of n = `order` + 1, fitted to sequences `x` (n, t, 1) of categories.

    With labels `y` (n,), -1 where unknown, a mixture of one chain for each class: a generative classifier of sequences
    of symbols. Counted where all symbols and labels are known, else by EM. `prior="weak"` adds one pseudo-count after
    each context, without which a symbol that never followed one is impossible there. `num_categories` c is one more
    than the highest symbol by default, `num_classes` than the highest label.

    Raises ValueError for bad sequences, lengths or labels, more than one column, or fewer categories than there are.
    Source: Shannon (1948), A mathematical theory of communication.
    """
    steps, m = _steps(x, lengths), as_count(order, "order", 0)
    if steps.rows.shape[1] != 1:
        raise ValueError(f"x must be sequences (n, t, 1) of one column of symbols; got {steps.rows.shape[1]} columns.")
    seen = _training_data.category_counts(num_categories, ["categorical"], steps.rows, steps.summary)
    c, k = int(seen[0]), 1
    if y is not None:
        highest = max((limits_of(whole_labels(y, "y")) or (0, 0))[1], 0) + 1
        k = highest if num_classes is None else as_count(num_classes, "num_classes", 2)
        _classes(y, steps.given.of_one_label(), k)
    shape = (k, *[c + 1] * m, c)
    check_size(shape, order=order)
    model = uniform(MarkovChain(constant(np.full(shape, -np.log(c), float_type(steps.rows))), m))
    fitted: Any = fit(model, x, y, lengths=lengths, weights=weights, prior=prior).model
    return fitted.density if y is None else fitted


class _Steps(NamedTuple):
    """Sequences, their steps as rows (n t, d), NaN beyond a length, and the summary of their columns.

    Of sharded sequences, `given`, all but these are of a sample.
    """

    given: Sequences
    sequences: Sequences
    rows: Any
    summary: Any
    inside: np.ndarray


def _steps(x, lengths):
    check_whole(x)
    given = as_sequences(x, lengths)
    _training_data.check_known(given)
    sequences = gathered(given)
    there = np.asarray(sequences.inside).reshape(-1)
    rows, summary = _training_data.rows_of_sample(np.where(there[:, None], sequences.in_rows(), np.nan))
    return _Steps(given, sequences, rows, summary, there)


def _broad(steps, labels, num_states, emissions, covariance, num_categories):
    """Hidden Markov model of labels of a given shape, whose states are all alike; each stays with probability 1/2."""
    k, num_steps = as_count(num_states, "num_states"), int(steps.inside.sum())
    if k > num_steps:
        raise ValueError(f"num_states must be from 1 to the number of steps, {num_steps}; got {k}.")
    kinds = _training_data.named_kinds(emissions, steps.rows.shape[1])
    if emissions == "gaussian" and num_categories is None:
        density = gaussian(steps.summary, num_steps, (*labels, k), covariance)
    else:
        density = columns(steps.rows, steps.summary, kinds, (*labels, k), "emissions", num_categories)
    moves = np.log(0.5 * np.eye(k) + 0.5 / k).astype(steps.rows.dtype)
    initial = np.full((*labels, k), -np.log(k), moves.dtype)
    return HiddenMarkov(constant(initial), constant(np.broadcast_to(moves, (*labels, k, k))), density)


@told_keywords
def linear_chain_crf(num_features: int, num_states: int, features: str = "linear") -> LinearChainCRF:
    """Linear-chain CRF with weights 0, to be fitted by `dgjax.fit(model, x, y, prior=dgjax.priors.Ridge(1.0))`.

    `features` "linear" is w . x, and "quadratic" adds every product x_i x_j. With "indicator" a row lists its active
    feature indices, 0 to num_features - 1, padded with -1.

    Raises ValueError for fewer than one feature or two states, other features, or sizes beyond this machine's memory.
    Source: Lafferty, McCallum and Pereira (2001), Conditional random fields.
    """
    k = as_count(num_states, "num_states", 2, of_data=_advice.CRF)
    check_size((k, k), num_states=k)
    score = scorer(features, num_features, k, _advice.CRF, num_states=k)
    return LinearChainCRF(constant(np.zeros(k)), constant(np.zeros((k, k))), score)
