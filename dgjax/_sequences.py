"""Sequences of unequal length padded into one array, and forecasts of the next steps."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _checks
from dgjax._types import Generative
from dgjax.densities import Mixture
from dgjax.models import HiddenMarkov


class Forecast(NamedTuple):
    """Forecast of each step ahead: `log_proba` log p(state), (n, steps, k), and `rows`, the predictive distribution of
    a row.

    `rows` is a batch (n, steps) of mixtures of the density's states: use `jax.vmap` twice.
    """

    log_proba: Array
    rows: Mixture


def pad(sequences: Sequence[ArrayLike]) -> tuple[Array, Array]:
    """Padding of ragged sequences: a list of (t_i, d) -> x (n, t, d), NaN beyond each end, and lengths (n,).

    A list of label sequences (t_i,) becomes y (n, t), -1 beyond each end, and lengths (n,).

    Raises ValueError for no sequence, a sequence without steps, different numbers of columns, or labels that are not
    whole numbers; a series of single numbers is to be given as (t, 1).
    """
    arrays = [_one_of(one, f"sequences[{i}]") for i, one in enumerate(sequences)]
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) != 1 or not all(array.ndim in (1, 2) and len(array) for array in arrays):
        raise ValueError(
            "sequences must be a list of arrays (t_i, d), all with the same columns and at least one step, or of labels"
            f" (t_i,); got shapes {[array.shape for array in arrays][:10]}."
        )
    lengths = np.array([len(array) for array in arrays])
    labels = arrays[0].ndim == 1
    dtype = jax.dtypes.canonicalize_dtype(int) if labels else np.result_type(*arrays, np.float32)
    padded = np.full((len(arrays), lengths.max(), *shapes.pop()), -1 if labels else np.nan, dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return jnp.asarray(padded), jnp.asarray(lengths)


def _one_of(sequence, name):
    """One checked sequence in NumPy: rows (t, d) with NaN for masked cells, or whole labels (t,) with -1 for masked
    ones.
    """
    if np.ndim(sequence) != 1:
        return np.asarray(_checks.as_array(sequence, name, "numbers"))
    advice = f"Of a series of single numbers type {name}[:, None]."
    labels = np.asarray(_checks.whole_labels(sequence, name, advice))
    if labels.size and (labels.min() < -1 or labels.max() >= 2**31):
        raise ValueError(f"{name} must hold labels from 0, or -1 where unknown; got {labels.min()} to {labels.max()}.")
    return labels


def forecast(model: Generative, x: ArrayLike, steps: int, lengths: ArrayLike | None = None) -> Forecast:
    """Forecast of the next `steps` steps of each sequence: p(state) and p(row), given all observed rows.

    log p(y_{t+h} = j | x) is log p(y_t | x) moved h times by the transition matrix; p(x_{t+h} | x) is the mixture of
    the states' densities with those weights. `x` (n, t, d) with `lengths` (n,). The log-probability of new rows (n,
    steps, m, d) is `jax.vmap(jax.vmap(dgjax.log_prob))(forecast.rows, new)`.

    Raises ValueError for a model that is discriminative or not of sequences, bad rows or lengths, or `steps` below 1.
    """
    checked = _checks.as_model(model)
    if not isinstance(checked, HiddenMarkov):
        raise ValueError(f"forecast is for hidden Markov models; got a {type(model).__name__}.")
    checked, rows = _checks.model_and_rows(checked, x, lengths)
    return _forecast(checked, rows, _checks.as_count(steps, "steps"))


@functools.partial(kernels.compiled, static_argnums=2)
def _forecast(model: HiddenMarkov, rows: _checks.Data, steps: int) -> Forecast:
    log_proba = _log_ahead(rows.shown_to(model), rows.x, steps)
    shape = log_proba.shape[:2]
    density = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*shape, *leaf.shape)), model.density)
    return Forecast(log_proba, Mixture(log_proba, density))


def _log_ahead(model, x, steps):
    def step(now, _):
        ahead = jax.nn.logsumexp(now[:, :, None] + moves, axis=1)
        return ahead, ahead

    moves = jax.nn.log_softmax(model.log_transition, axis=-1)
    logs = model.potentials(x).log_marginals()
    now = jnp.take_along_axis(logs, (x.lengths - 1)[:, None, None], axis=1)[:, 0]
    _, logs = jax.lax.scan(step, now, None, length=steps)
    return jnp.swapaxes(logs, 0, 1)
