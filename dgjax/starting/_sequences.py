"""Models of sequences, initialised: hidden Markov models at clusters of steps, linear-chain CRFs with weights 0."""

from collections.abc import Mapping, Sequence

import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import as_count, as_key, check_size, constant
from dgjax._elsewhere import told_keywords
from dgjax.data import as_sequences
from dgjax.models import HiddenMarkov, LinearChainCRF
from dgjax.starting import _training_data
from dgjax.starting._by_name import columns, gaussian, scorer
from dgjax.starting._mixtures import at_clusters


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
    sequences = as_sequences(x, lengths)
    _training_data.check_known(sequences)
    there = np.asarray(sequences.inside).reshape(-1)
    rows, summary = _training_data.rows(np.where(there[:, None], sequences.in_rows(), np.nan))
    k = as_count(num_states, "num_states")
    if k > int(there.sum()):
        raise ValueError(f"num_states must be from 1 to the number of steps, {int(there.sum())}; got {k}.")
    kinds = _training_data.named_kinds(emissions, rows.shape[1])
    if emissions == "gaussian" and num_categories is None:
        density = gaussian(summary, int(there.sum()), (k,), covariance)
    else:
        density = columns(rows, summary, kinds, k, "emissions", num_categories)
    moves = np.log(0.5 * np.eye(k) + 0.5 / k).astype(rows.dtype)
    broad = HiddenMarkov(constant(np.full(k, -np.log(k), rows.dtype)), constant(moves), density)
    weights = there.astype(rows.dtype)
    return at_clusters(broad, as_key(key), rows, summary, weights=weights)


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
