"""What only sequences need: padding ragged ones, and looking ahead."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

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
    """log p(state) of each step ahead (n, steps, k), and p(row) there: mixtures, one for each (n, steps)."""

    log_proba: Array
    rows: Mixture


def pad(sequences: Sequence[ArrayLike]) -> tuple[Array, Array]:
    """Sequences of unequal length as one array: list of (t_i, d) -> x (n, t, d), NaN beyond each, and lengths (n,).

    Of labels, list of (t_i,) -> y (n, t), -1 beyond each.

    Raises ValueError for no sequence, one without steps, unequal columns, or labels that are no whole numbers: a series
    of single numbers is (t, 1).
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
    """Rows (t, d), with NaN where a cell is masked; or labels (t,), whole numbers, with -1."""
    if np.ndim(sequence) != 1:
        return np.asarray(_checks.as_array(sequence, name, "numbers"))
    advice = f"Of a series of single numbers type {name}[:, None]."
    labels = np.asarray(_checks.whole_labels(sequence, name, advice))
    if labels.size and (labels.min() < -1 or labels.max() >= 2**31):
        raise ValueError(f"{name} must hold labels from 0, or -1 where unknown; got {labels.min()} to {labels.max()}.")
    return labels


def forecast(model: Generative, x: ArrayLike, steps: int, lengths: ArrayLike | None = None) -> Forecast:
    """What comes after each sequence: p(state) and p(row) at the next `steps` steps, given all rows observed.

    log p(y_{t+h} = j | x) by h moves from p(y_t | x), in logarithms; p(x_{t+h} | x) is the mixture of the density's
    states by it. `x` (n, t, d) with `lengths` (n,); use `jax.vmap(jax.vmap(dgjax.log_prob))(forecast.rows, new)` for
    the log-probability of new rows (n, steps, m, d).

    Raises ValueError for a model that is not of sequences or is discriminative, bad rows or lengths, or no steps.
    """
    checked = _checks.as_model(model)
    if not isinstance(checked, HiddenMarkov):
        raise ValueError(f"forecast is for hidden Markov models; got a {type(model).__name__}.")
    checked, rows = _checks.model_and_rows(checked, x, lengths)
    with kernels.complete_rows(rows.complete), kernels.checked_cells(rows.complete is not None):
        return _forecast(checked, rows.x, _checks.as_count(steps, "steps"))


@functools.partial(kernels.compiled, static_argnums=2)
def _forecast(model: HiddenMarkov, x: Any, steps: int) -> Forecast:
    log_proba = _log_ahead(model, x, steps)
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
