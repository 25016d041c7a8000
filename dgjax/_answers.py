"""Answers of verbs, once their arguments are checked: compiled, in blocks of rows, few rows in size classes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax._arguments import is_concrete
from dgjax.data import Data, cut, in_size_class, size_class
from dgjax.densities import Density
from dgjax.sparse import SparseRows
from dgjax.structures import Sequences, num_steps


def _by_rows(cost):
    """Decorator: compiles a function of (model, rows, ...) and runs it on blocks of rows, so that memory stays flat.

    `cost(model)` is the memory for one row, in floats.
    """

    def decorate(fn):
        @functools.partial(kernels.compiled_steps, results=kernels.shards.ROWS)
        @functools.wraps(fn)
        def compiled(model, rows, *arrays):
            own, of_one = rows.shown_to(model), cost(model) * num_steps(rows.x)
            if isinstance(rows.x, SparseRows):  # little for each row
                return fn(own, rows.x, *arrays)
            return kernels.map_rows(lambda *block: fn(own, *block), rows.x, *arrays, row_cost=of_one)

        return _in_size_class(compiled)

    return decorate


def _in_size_class(compiled):
    """A compiled function of (model, data, labels or nothing) that pads few rows to their size class."""

    @functools.wraps(compiled)
    def run(model, data, *labels, **others):
        x, y, _ = in_size_class(data.x, *labels)
        result = compiled(model, data.replace(x=x), *[y] * len(labels), **others)
        steps = (num_steps(data.x), 3 if data.x.one_label else 2) if isinstance(data.x, Sequences) else ()
        return cut(result, len(data.x), *steps)

    return run


by_scores = _by_rows(lambda model: model.score_cost)


def label_scores(density: Density, x: np.ndarray) -> np.ndarray:
    """Log-densities log p(x_observed | label) of rows under every label of a density, in float64."""
    dtype = jnp.result_type(*jax.tree.leaves(density))
    return np.asarray(_label_scores(density, Data(x.astype(dtype), complete=False)), float)


@by_scores
def _label_scores(density, x):
    return density.scores(x)


@by_scores
def log_prob(model, x):
    return model.potentials(x).log_partition()


@by_scores
def log_joint(model, x, y):
    return model.potentials(x).score(y)


@by_scores
def log_conditional(model, x, y):
    potentials = model.potentials(x)
    # Exactly 0 for an unknown label: the two terms are compiled apart and may differ in the last bit.
    unknown = (y < 0).all(tuple(range(1, y.ndim)))
    score, partition = potentials.score(y), potentials.log_partition()
    return jnp.where(unknown, 0, jnp.where(jnp.isneginf(score), -jnp.inf, score - partition))


@by_scores
def predict_log_proba(model, x):
    return model.potentials(x).log_marginals()


@by_scores
def predict(model, x):
    return model.potentials(x).mode()


@by_scores
def predict_log_proba_given(model, x, y):
    return model.potentials(x).given(y).log_marginals()


@by_scores
def predict_given(model, x, y):
    return model.potentials(x).given(y).mode()


@_by_rows(lambda model: model.row_cost)
def impute(model, x):
    return model.impute(x, jnp.ones(len(x), x.dtype))


@_by_rows(lambda model: model.row_cost)
def impute_given(model, x, y):
    return model.impute_given(x, model.potentials(x).given(y).marginals())


def drawn(model, key, shape):
    key_y, key_x = jax.random.split(key)
    if model.sequential and model.one_label:
        *batch, steps = shape
        y = model.sample_labels(key_y, tuple(batch))
        return model.density.sample(key_x, (y,), steps), y
    y = model.sample_labels(key_y, shape)
    return model.density.sample(key_x, (y,)), y


few_drawn = kernels.compiled_steps(drawn, static_argnums=2)
many_samples = kernels.compiled(drawn, static_argnums=2)


def few_samples(model, key, shape):
    """As many samples as a size class holds, of which the first are kept: they are those of fewer drawn alone."""
    if len(shape) == model.sequential or not is_concrete(model, key):
        return few_drawn(model, key, shape)
    return cut(few_drawn(model, key, (size_class(shape[0]), *shape[1:])), shape[0])


@_in_size_class
@functools.partial(kernels.compiled_steps, results=kernels.shards.ROWS)
def sample_labels(model, data, *labels, key):
    own, x = data.shown_to(model), data.x

    def block(rows, x, *y):
        space = own.potentials(x)
        # A key for each block, and none of jax.random.split(key), which folds in 0 and 1: `sample` has used those.
        return (space.given(*y) if y else space).sample(jax.random.fold_in(key, ~rows[:1].sum()))

    return kernels.map_rows(
        block, kernels.shards.row_numbers(len(x)), x, *labels, row_cost=model.score_cost * num_steps(x)
    )


@_in_size_class
@functools.partial(kernels.compiled_steps, results=kernels.shards.ROWS)
def sample_missing(model, data, key):
    x = data.x

    def block(rows, x):
        return model.sample_missing(jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows), x, ())

    return kernels.map_rows(block, kernels.shards.row_numbers(len(x)), x, row_cost=model.row_cost * num_steps(x))
