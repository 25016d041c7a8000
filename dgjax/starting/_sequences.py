"""Models of sequences, started: hidden Markov models at clusters of steps, conditional random fields at 0."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice, _checks
from dgjax.models import HiddenMarkov, LinearChainCRF
from dgjax.starting import _training_data
from dgjax.starting._by_name import columns, gaussian, scorer
from dgjax.starting._mixtures import at_clusters


def hidden_markov(
    key: Array,
    x: ArrayLike,
    num_states: int,
    emissions: str | Sequence[str] = "gaussian",
    covariance: str = "full",
    lengths: ArrayLike | None = None,
) -> HiddenMarkov:
    """A hidden Markov model started at k-means++ clusters of the steps of `x` (n, t, d); `dgjax.fit` does the rest.

    `emissions` is one kind, or one for each column, as for `naive_bayes`; `covariance`, as for `gaussian_mixture`, goes
    with "gaussian" for all. All states are as likely at the start, and half of the moves stay. `lengths` (n,) where
    sequences are ragged (`dgjax.pad`); cells and steps may be missing.

    Raises ValueError for bad sequences or lengths, more states than steps, or another kind or covariance.
    """
    sequences = _checks.as_sequences(x, lengths)
    there = sequences.inside.reshape(-1)
    rows, summary = _training_data.rows(jnp.where(there[:, None], sequences.in_rows(), jnp.nan))
    k = _checks.as_count(num_states, "num_states")
    _training_data.check_known(rows, there)
    if k > int(there.sum()):
        raise ValueError(f"num_states must be from 1 to the number of steps, {int(there.sum())}; got {k}.")
    density = (
        gaussian(summary, int(there.sum()), (k,), covariance)
        if emissions == "gaussian"
        else columns(rows, summary, _training_data.named_kinds(emissions, rows.shape[1]), k, "emissions")
    )
    moves = jnp.log(0.5 * jnp.eye(k, dtype=rows.dtype) + 0.5 / k)
    broad = HiddenMarkov(jnp.full(k, -np.log(k), rows.dtype), moves, density)
    weights = there.astype(rows.dtype)
    return at_clusters(broad, _checks.as_key(key), rows, summary, weights=weights)


def linear_chain_crf(num_features: int, num_states: int, features: str = "linear") -> LinearChainCRF:
    """A linear-chain CRF with weights 0; `dgjax.fit(model, x, y, prior=dgjax.priors.Ridge(1.0))` does the rest.

    `features` "linear" is w . x, "quadratic" adds every product x_i x_j, and with "indicator" a row holds the numbers
    of those that are on, 0 to num_features - 1, filled up with -1.

    Raises ValueError for fewer than one feature or two states, or other features.
    """
    k = _checks.as_count(num_states, "num_states", 2, of_data=_advice.CRF)
    return LinearChainCRF(jnp.zeros(k), jnp.zeros((k, k)), scorer(features, num_features, k, _advice.CRF))
