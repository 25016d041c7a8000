"""Imputation by the fitted density's own conditional distribution of the missing cells."""

from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin, clone, is_classifier

import dgjax as dg
from dgjax.sklearn._base import E, Estimator, key_of
from dgjax.sklearn._densities import GaussianMixture


class ExactImputer(OneToOneFeatureMixin, TransformerMixin, Estimator):
    """Imputer by a density p(x): missing cells become their mean given the observed ones, or most likely category.

    `estimator` is any generative one of this module, by default a `GaussianMixture` of one component, the multivariate
    normal density; `estimator_` is the fitted one. With `sample_posterior` cells are drawn from p(x_missing |
    x_observed) in place of their means: transforms by several `random_state` are multiple imputations. Observed cells
    keep every digit.
    """

    def __init__(self, estimator: Any = None, *, sample_posterior: bool = False, random_state: Any = None) -> None:
        self.estimator = estimator
        self.sample_posterior = sample_posterior
        self.random_state = random_state

    def fit(self: E, X: Any, y: Any = None, sample_weight: Any = None) -> E:
        """Fits the density to rows X (n, d), NaN where a cell is missing; a classifier's to the labels y (n,) too."""
        x = self._rows(X, reset=True, least=2)
        own = GaussianMixture(random_state=self.random_state) if self.estimator is None else clone(self.estimator)
        self.estimator_ = own.fit(x, y if is_classifier(own) else None, sample_weight=sample_weight)
        self.model_ = self.estimator_.model_
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Rows X (n, d) with missing cells filled, or drawn by `random_state`, and of its precision."""
        model, x = self._asked(X)
        missing = np.isnan(x)
        if not missing.any():
            return x.copy()
        filled = (
            dg.sample_missing(model, key_of(self.random_state), x) if self.sample_posterior else dg.impute(model, x)
        )
        return np.where(missing, np.asarray(filled), x).astype(x.dtype)
