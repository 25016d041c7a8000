"""Forecasts: the distributions of the next states and rows of a sequence."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._arguments import as_columns, as_count, check_number, is_concrete
from dgjax._column_quantiles import column_of
from dgjax._elsewhere import told_keywords
from dgjax._types import Generative
from dgjax.data import Data, as_model, cut, in_size_class, model_and_rows
from dgjax.densities import Mixture
from dgjax.models import HiddenMarkov


class Forecast(NamedTuple):
    """Forecast of each step ahead: log p(state), and the predictive distribution of a row.

    `log_proba` (n, steps, k). `rows` is a batch (n, steps) of mixtures of the density's states: use `jax.vmap` twice.
    """

    log_proba: Array
    rows: Mixture

    def mean(self, columns: ArrayLike | None = None) -> Array:
        """Means of columns at each step (n, steps, c), of all d by default.

        Of columns that are normal or of whole numbers exact, of others over 10,000 draws of each state. Raises
        ValueError for a column of categories.
        """
        return self._of_columns(columns, lambda own, proba: own.mean(proba))

    def quantile(self, share: float, columns: ArrayLike | None = None) -> Array:
        """Quantiles of columns at each step (n, steps, c): the least value up to which a share of the probability lies.

        Each of a column by itself, of all d by default. Of columns that are normal, or mixtures of normals, by
        bisection; of whole numbers by their probabilities; of others from 10,000 draws of each state. Raises ValueError
        for a share that is not between 0 and 1, or a column of categories.
        """
        check_number(share, "share", 0, 1)
        if float(share) in (0.0, 1.0):
            raise ValueError(f"share must be between 0 and 1, such as 0.05; got {share}.")
        return self._of_columns(columns, lambda own, proba: own.quantile(proba, float(share)))

    def interval(self, level: float = 0.9, columns: ArrayLike | None = None) -> tuple[Array, Array]:
        """Prediction intervals of columns at each step, low and high (n, steps, c), that hold a share `level`.

        Between the quantiles of (1 - level) / 2 and (1 + level) / 2. They take the model as it is: what its parameters
        may be off by is not in them. Raises ValueError for a level that is not between 0 and 1, or a column of
        categories.
        """
        check_number(level, "level", 0, 1)
        if float(level) in (0.0, 1.0):
            raise ValueError(f"level must be between 0 and 1, such as 0.9; got {level}.")
        return self.quantile((1 - level) / 2, columns), self.quantile((1 + level) / 2, columns)

    def _of_columns(self, columns, answer):
        if not is_concrete(self):
            raise ValueError("means and quantiles are of a known forecast; inside jit there is none. Ask outside.")
        if not len(self.log_proba):
            raise ValueError("a forecast of no sequence has no mean; got x with none.")
        density = jax.tree.map(lambda leaf: leaf[0, 0], self.rows.density)
        d = density.num_features
        picked = range(d) if columns is None else as_columns(columns, d)
        proba = np.exp(np.asarray(self.log_proba, float))
        proba /= proba.sum(-1, keepdims=True)
        cells = [answer(column_of(density, column), proba) for column in picked]
        return jnp.asarray(np.stack(cells, -1), self.log_proba.dtype)


@told_keywords
def forecast(model: Generative, x: ArrayLike, steps: int, lengths: ArrayLike | None = None) -> Forecast:
    """Forecast of the next `steps` steps of each sequence: p(state) and p(row), given all observed rows.

    log p(y_{t+h} = j | x) is log p(y_t | x) moved h times by the transition matrix; p(x_{t+h} | x) is the mixture of
    the states' densities with those weights. `x` (n, t, d) with `lengths` (n,). The log-probability of new rows (n,
    steps, m, d) is `jax.vmap(jax.vmap(dgjax.log_prob))(forecast.rows, new)`.

    Raises ValueError for a model that is discriminative or not of sequences, bad rows or lengths, or `steps` below 1.
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
