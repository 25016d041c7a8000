"""Fit of a classifier of rows with missing cells: to draws of these, as its density says what they may hold."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import dgjax_kernels as kernels
from dgjax._arguments import is_concrete
from dgjax.data import as_labels, as_weights, model_and_rows
from dgjax.learning._descent import Diverged
from dgjax.learning._progress import Interrupted
from dgjax.models import Marginalized

MOST_DRAWS = 16
"""Draws of a row, at most, that a classifier learns from: many rows leave little of their noise."""


def fitted(fit: Callable[..., Any], model: Marginalized, x: Any, y: Any, weights: Any, options: dict[str, Any]) -> Any:
    """Fit whose model is the marginalised one, its classifier learnt by `fit` from rows completed by its density.

    It maximises sum_n w_n E log p(y_n | x_n) over p(x_missing | x_observed, y_n), by draws, given the label where the
    density's are the classes. Complete rows stay as they are, and rows without a label are left out.
    """
    rows = model_and_rows(model, x)[1].x
    if not is_concrete(rows, y, weights):
        raise ValueError(
            "fit of a marginalized classifier looks which cells are missing, and cannot inside jit, vmap or grad, nor "
            "where rows are sharded: fit outside of jit, and of sharded rows type dgjax.fit(model.classifier, "
            "dgjax.sample_missing(model.density, key, x), y)."
        )
    cells = np.asarray(rows)
    if y is None:
        return fit(
            model.classifier, np.nan_to_num(cells), None, weights=weights, **options
        )  # which says what is missing
    labels = np.asarray(as_labels(y, rows, model.num_labels))
    holes = np.isnan(cells).any(1) & (labels >= 0)
    if np.isnan(cells).any():
        amounts = np.asarray(as_weights(weights, rows))
        cells, labels, weights = _completed(model, cells, labels, amounts, holes)

    def whole(classifier):
        return dataclasses.replace(model, classifier=classifier)

    try:
        found = fit(model.classifier, cells, labels, weights=weights, **options)
    except Interrupted as error:
        error.then(whole)
        raise
    except Diverged as error:
        error.model = whole(error.model)
        raise
    return dataclasses.replace(found, model=whole(found.model))


def _completed(model, x, y, weights, holes):
    """Rows without a missing cell, and draws of those with some, which share a row's weight."""
    draws = min(model.num_samples, MOST_DRAWS)
    whole, torn = np.flatnonzero(~np.isnan(x).any(1)), np.repeat(np.flatnonzero(holes), draws)
    at = np.concatenate([whole, torn])
    drawn = np.asarray(_drawn(model, x[torn], y[torn]))
    share = np.concatenate([np.ones(len(whole)), np.full(len(torn), 1 / draws)])
    return np.concatenate([x[whole], drawn.astype(x.dtype)]), y[at], (weights[at] * share).astype(weights.dtype)


@functools.partial(kernels.compiled_steps, results=kernels.shards.ROWS)
def _drawn(model, x, y):
    """Rows with their missing cells drawn, given the label where the density has one for each class."""
    density = model.density
    key = jax.random.key(model.seed)
    of_classes = density.num_labels == model.num_labels

    def block(rows, x, y):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)
        return density.density.sample_missing(keys, x, (y,)) if of_classes else density.sample_missing(keys, x, ())

    return kernels.map_rows(block, kernels.shards.row_numbers(len(x)), x, y, row_cost=density.row_cost)
