"""Forecasts: the distributions of the next states and rows of a sequence."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._arguments import as_count
from dgjax._elsewhere import told_keywords
from dgjax._predictive import Forecast, of_table
from dgjax._types import Generative
from dgjax.data import Data, as_model, cut, in_size_class, model_and_rows
from dgjax.densities import Mixture
from dgjax.models import HiddenMarkov
from dgjax.tables import of_tables


@told_keywords
@of_tables(of_table)
def forecast(model: Generative, x: ArrayLike, steps: int, lengths: ArrayLike | None = None) -> Forecast:
    """Forecast of the next `steps` steps of each sequence: p(state) and p(row), given all observed rows.

    log p(y_{t+h} = j | x) is log p(y_t | x) moved h times by the transition matrix; p(x_{t+h} | x) is the mixture of
    the states' densities with those weights. `x` (n, t, d) with `lengths` (n,). The log-probability of new rows (n,
    steps, m, d) is `jax.vmap(jax.vmap(dgjax.log_prob))(forecast.rows, new)`. Of a model of a table of sequences,
    given a frame, it is a `dgjax.TableForecast`, which answers in frames with the dates that follow.

    Raises ValueError for a model that is discriminative or not of sequences, bad rows or lengths, or `steps` below 1;
    of a frame for dates at uneven distances, which say not which follow.
    """
    checked = as_model(model)
    if not isinstance(checked, HiddenMarkov):
        chains = isinstance(getattr(checked, "density", None), HiddenMarkov)
        told = " Of a mixture of them, ask the chain of a class, a dgjax.HiddenMarkov without labels." * chains
        raise ValueError(f"forecast is for hidden Markov models; got a {type(model).__name__}.{told}")
    if np.ndim(steps):
        got = _advice.shown(steps)
        raise ValueError(f"steps must be one whole number; got {got}. Type dgjax.forecast(model, x, 1, lengths).")
    checked, rows = model_and_rows(checked, x, lengths)
    padded, _, _ = in_size_class(rows.x)
    return cut(_forecast(checked, rows.replace(x=padded), as_count(steps, "steps")), len(rows.x))


@functools.partial(kernels.compiled, static_argnums=2)
def _forecast(model: HiddenMarkov, rows: Data, steps: int) -> Forecast:
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
