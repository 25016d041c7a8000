"""`partial_fit` of classifiers whose statistics add over rows: naive Bayes and discriminant analysis."""

import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

import dgjax as dg
from dgjax._types import ColumnMoments
from dgjax.sklearn._base import E, GenerativeClassifier

DEPENDENT = dg.Gaussian, dg.Multinomial
"""Densities of columns that depend on each other, of which a missing cell's statistics are those of a model."""


class Additive(GenerativeClassifier):
    """Generative classifier that may be fitted to one batch of rows after another, as to all of them at once."""

    prior: Any
    _sums: Any = None

    def fit(self: E, X: Any, y: Any, sample_weight: Any = None) -> E:
        """Fits the classifier to rows X (n, d) and their labels y (n,), of which some may be unknown."""
        self._sums = None
        fitted: Any = super().fit(X, y, sample_weight)
        return fitted

    def partial_fit(self: E, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> E:
        """Fits the classifier to rows X (n, d) and labels y (n,) beside those of earlier calls, as `fit` to them all.

        The first call names all `classes`. Sums are in float64, about the first batch's means.

        Raises ValueError without `classes` at first, for an unknown label, or for a missing cell where columns depend
        on each other. After `fit`, which keeps no sums, it warns and begins anew.
        """
        first, known = self._sums is None, self.classes_ if hasattr(self, "model_") else None
        if first and known is not None:
            warnings.warn("partial_fit begins anew, for fit keeps no sums of the rows that it had.", stacklevel=2)
        classes = known if classes is None or not first else classes
        if classes is None:
            raise ValueError("partial_fit needs the classes of all batches at first. Type classes=np.unique(y).")
        x, labels, weights = self._training(X, y, sample_weight, first, classes, least=1)
        if (labels < 0).any():
            raise ValueError("partial_fit needs every label, and y has unknown ones. Type fit(X, y), of all rows.")
        counts = np.eye(len(self.classes_))[labels] * (1 if weights is None else weights[:, None])
        with jax.enable_x64(True):
            centre, sums, moments = self._begun(x) if first else self._sums
            _check(centre, x)
            added = jax.tree.map(np.asarray, _statistics(centre, x.astype(float), counts))
            sums = added if sums is None else jax.tree.map(np.add, sums, added)
            moments = clone(moments) if first else moments
            moments.partial_fit(x, sample_weight=weights)
            columns = ColumnMoments(jnp.asarray(moments.mean_), jnp.sqrt(jnp.asarray(moments.var_)))
            prior, weak = (None, True) if self.prior == "weak" else (self.prior, False)
            fitted = jax.tree.map(np.asarray, _maximum(centre, sums, columns, prior, weak=weak))
        self._sums, self.model_ = (centre, sums, moments), jax.tree.map(jnp.asarray, fitted)
        return self

    def _begun(self, x):
        """Centre of sums, a model of classes that are all alike; no sums yet, and no moments of columns."""
        n = max(len(x), 2 * len(self.classes_))
        centre = clone(self).set_params(prior="weak")
        centre.classes_ = self.classes_
        rows = np.resize(x.astype(float), (n, x.shape[1]))
        return centre._learnt(rows, np.arange(n) % len(self.classes_), None), None, StandardScaler()


def _check(centre, x):
    """Raises ValueError for a cell outside its column's support, or a missing one where statistics would not add."""
    if isinstance(centre.density, DEPENDENT) and np.isnan(x).any():
        row, column = np.argwhere(np.isnan(x))[0].tolist()
        raise ValueError(
            f"partial_fit needs every cell where columns depend on each other, and X[{row}, {column}] is missing: its "
            'statistics are those of a model, which do not add. Type fit(X, y), of all rows, or covariance="diagonal".'
        )
    dg.log_prob(centre, x)


@jax.jit
def _statistics(centre, x, counts):
    return centre.joint_statistics(x, counts)


@functools.partial(jax.jit, static_argnames="weak")
def _maximum(centre, statistics, columns, prior, weak):
    return centre.maximum(statistics, centre.weak_prior(columns, 1.0) if weak else prior)
