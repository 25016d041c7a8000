"""Mixtures initialised at k-means++ clusters, to be fitted by `fit`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax._arguments import as_count, as_key, is_concrete
from dgjax._elsewhere import told_keywords
from dgjax.data import component_class, gathered, in_size_class, label_counts
from dgjax.densities import Mixture
from dgjax.learning import restarted
from dgjax.starting import _training_data
from dgjax.starting._by_name import columns, gaussian, uniform
from dgjax.starting._streams import started_from_streams
from dgjax.tables import started_from_tables


@started_from_streams
@started_from_tables("gaussian")
@told_keywords
def gaussian_mixture(key: Array, x: ArrayLike, num_components: int, covariance: str = "full") -> Mixture:
    """Gaussian mixture initialised at k-means++ clusters of `x` (n, d), to be fitted by `dgjax.fit(model, x)`.

    `covariance` is "full", "tied" (one for all components), "diagonal" or "spherical". Cells may be missing.

    Raises ValueError for bad rows, more components than rows, or another covariance.
    Source: Arthur and Vassilvitskii (2007), k-means++.
    """
    rows, summary = _training_data.rows(x)
    k = as_count(num_components, "num_components")
    if k > len(rows):
        raise ValueError(f"num_components must be from 1 to the number of rows, {len(rows)}; got {k}.")
    key = as_key(key)
    # Components beyond the k are off, and cut off again: one program for all numbers of a class.
    padded = component_class(k, *rows.shape)
    broad = uniform(gaussian(summary, len(rows), (padded,), covariance), k)
    start = at_clusters(broad, key, rows, summary)
    return start if padded == k else start.with_components(k)


@started_from_streams
@started_from_tables()
@told_keywords
def latent_class_analysis(
    key: Array,
    x: ArrayLike,
    num_components: int,
    kinds: str | Sequence[str] | Mapping[Any, str] = "gaussian",
    *,
    num_categories: int | Sequence[int | None] | Mapping[int, int] | None = None,
) -> Mixture:
    """Latent class analysis: clusters of rows whose columns, of any kinds, are independent within a cluster.

    A mixture, initialised at k-means++ clusters of `x` (n, d), to be fitted by `dgjax.fit(model, x)`; `prior="weak"`
    there keeps a category that a cluster never shows from being impossible in it. `kinds` is one kind, or one for each
    column, in a list or in a dict by column: "gaussian", "bernoulli", "categorical", "poisson"; or "multinomial" for
    all columns together; of a table they are read from types. Cells may be missing. `num_categories` of categorical
    columns is one more than the highest by default.

    Raises ValueError for bad cells, more components than rows, another kind, or fewer categories than a column has.
    Source: Vermunt and Magidson (2002), Latent class cluster analysis.
    """
    rows, summary = _training_data.rows(x)
    k = as_count(num_components, "num_components")
    if k > len(rows):
        raise ValueError(f"num_components must be from 1 to the number of rows, {len(rows)}; got {k}.")
    named = _training_data.named_kinds(kinds, rows.shape[1], "kinds")
    density = columns(rows, summary, named, (k,), "kinds", num_categories)
    return at_clusters(uniform(density), as_key(key), rows, summary)


@started_from_streams
@started_from_tables("gaussian")
@told_keywords
def mixture_discriminant_analysis(
    key: Array,
    x: ArrayLike,
    y: ArrayLike,
    num_components: int = 2,
    covariance: str = "full",
    num_classes: int | None = None,
) -> Mixture:
    """Gaussian mixture for each class, initialised at k-means++ clusters of its rows.

    Fit it by `dgjax.fit(model, x, y)`. `x` (n, d) may have NaN, `y` (n,) -1. `covariance` is "full", "diagonal",
    "spherical", or "tied", one for all classes. `num_classes` is one more than the highest label by default.

    Raises ValueError for bad cells or labels, a single class, or a class with fewer rows than `num_components`, those
    without a label counted for each class.
    Source: Hastie and Tibshirani (1996), Discriminant analysis by Gaussian mixtures.
    """
    data = _training_data.labelled(x, y, num_classes)
    loose, *own = label_counts(data.y, data.num_classes)
    smallest = int(min(own) + loose)
    m = as_count(num_components, "num_components")
    if m > smallest:
        raise ValueError(
            f"num_components must be at most the number of rows of each class; got {m}, and a class has {smallest} "
            "rows."
        )
    key = as_key(key)
    within = uniform(gaussian(data.columns, len(data.x), (data.num_classes, m), covariance))
    return at_clusters(uniform(within), key, data.x, data.columns, data.y)


def at_clusters(broad, key, rows, summary, labels=None, weights=None):
    """Initial mixture with components at k-means++ clusters of the rows.

    Compiled once for complete rows, and once for others. `summary` is None for sparse rows. Of sharded rows the
    clusters are those of a sample.
    """
    rows, labels, weights = gathered((rows, labels, weights))
    weights = np.ones(len(rows), rows.dtype) if weights is None else weights
    complete = summary is not None and is_concrete(summary.missing) and not np.asarray(summary.missing).any()
    known = labels is not None and not (np.asarray(labels) < 0).any()
    rows, labels, weights = in_size_class(rows, labels, weights)
    return restarted(broad, key, rows, labels, weights, labelled=known, complete=complete)
