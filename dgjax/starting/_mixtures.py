"""Mixtures started at k-means++ clusters, which `fit` goes on with."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _checks
from dgjax.densities import Mixture
from dgjax.learning import restarted
from dgjax.starting import _training_data
from dgjax.starting._by_name import gaussian, uniform


def gaussian_mixture(key: Array, x: ArrayLike, num_components: int, covariance: str = "full") -> Mixture:
    """A Gaussian mixture started at k-means++ clusters of `x` (n, d); cells may be missing. `dgjax.fit` does the rest.

    `covariance` is "full", "tied" (one for all components), "diagonal" or "spherical".

    Raises ValueError for bad rows, more components than rows, or another covariance.
    Source: Arthur and Vassilvitskii (2007), k-means++.
    """
    rows, summary = _training_data.rows(x)
    k = _checks.as_count(num_components, "num_components")
    if k > len(rows):
        raise ValueError(f"num_components must be from 1 to the number of rows, {len(rows)}; got {k}.")
    key = _checks.as_key(key)
    broad = uniform(gaussian(summary, len(rows), (k,), covariance))
    return at_clusters(broad, key, rows, summary)


def mixture_discriminant_analysis(
    key: Array,
    x: ArrayLike,
    y: ArrayLike,
    num_components: int = 2,
    covariance: str = "full",
    num_classes: int | None = None,
) -> Mixture:
    """A Gaussian mixture for each class, started at k-means++ clusters of its rows; `dgjax.fit(model, x, y)` goes on.

    `x` (n, d) may have NaN, `y` (n,) -1. `covariance` as for `gaussian_mixture`; "tied" is one for all classes.

    Raises ValueError for bad cells or labels, or a single class.
    Source: Hastie and Tibshirani (1996), Discriminant analysis by Gaussian mixtures.
    """
    rows, summary, labels, k, *_ = _training_data.labelled(x, y, num_classes)
    loose, *own = _checks.label_counts(np.asarray(labels), k)
    smallest = int(min(own) + loose)
    m = _checks.as_count(num_components, "num_components")
    if m > smallest:
        raise ValueError(
            f"num_components must be at most the number of rows of each class; got {m}, and a class has {smallest} "
            "rows."
        )
    key = _checks.as_key(key)
    within = uniform(gaussian(summary, len(rows), (k, m), covariance))
    return at_clusters(uniform(within), key, rows, summary, labels)


def at_clusters(broad, key, rows, summary, labels=None, weights=None):
    """Compiled for what is missing alone."""
    weights = jnp.ones(len(rows), rows.dtype) if weights is None else weights
    complete = not np.asarray(summary.missing).any() if _checks.is_concrete(summary.missing) else None
    known = labels is not None and not (np.asarray(labels) < 0).any()
    with kernels.complete_rows(complete):
        return restarted(broad, key, rows, labels, weights, labelled=known)
