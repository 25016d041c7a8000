"""Densities without labels: Gaussian mixtures and factor analysis."""

from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

import dgjax as dg
from dgjax.sklearn._base import DensityEstimator, covariance_of, em_options, key_of


class GaussianMixture(DensityEstimator):
    """Mixture of `n_components` normal densities, exact on missing cells, learnt by EM; parameters as scikit-learn's.

    `covariance_type` is "full", "tied", "diag" or "spherical". `n_init` starts are drawn by `random_state`, and the
    best fit is kept. EM ends at a step that gains no more than `tol` nats for each row, or after `max_iter`. In place
    of `reg_covar`, which depends on units, `prior` "weak" adds a pseudo-row to each component; None is maximum
    likelihood.
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        max_iter: int = 100,
        n_init: int = 1,
        prior: Any = "weak",
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.prior = prior
        self.random_state = random_state

    def _learnt(self, x, weights):
        key = key_of(self.random_state)
        start = dg.gaussian_mixture(key, x, self.n_components, covariance_of(self.covariance_type))
        return self._fitted(start, x, weights=weights, **em_options(self, key))

    def predict(self, X: Any) -> np.ndarray:
        """Most probable component of each row: (n, d) -> (n,)."""
        return np.asarray(dg.predict(*self._asked(X)))

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """Most probable component of each row that the mixture is fitted to: (n, d) -> (n,)."""
        return self.fit(X).predict(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each component given the observed cells, its responsibility: (n, d) -> (n, k)."""
        return np.exp(self._log_proba(X))

    @property
    def weights_(self) -> np.ndarray:
        """Weights of the components (k,)."""
        return np.exp(np.asarray(self.model_.log_weights))

    @property
    def means_(self) -> np.ndarray:
        """Means of the components (k, d)."""
        return np.asarray(self.model_.density.mean)

    @property
    def covariances_(self) -> np.ndarray:
        """Covariances: "full" (k, d, d), "tied" (d, d), "diag" (k, d), "spherical" (k,)."""
        density = self.model_.density
        if isinstance(density, dg.Gaussian):
            factor = np.asarray(density.scale_tril)
            return factor @ np.swapaxes(factor, -1, -2)
        variances = np.exp(2 * np.asarray(density.log_scale))
        return variances[..., 0] if covariance_of(self.covariance_type) == "spherical" else variances


class FactorAnalysis(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityEstimator):
    """Factor analysis x = mean + W f + e with `n_components` factors f ~ N(0, I), exact on missing cells, by EM.

    It transforms rows to the posterior means of their factors. `noise` is "diagonal", a variance for each column, or
    "shared", one for all: probabilistic PCA. EM ends at a step that gains no more than `tol` nats for each row, or
    after `max_iter`.
    """

    least_features = 2

    def __init__(
        self,
        n_components: int = 1,
        *,
        noise: str = "diagonal",
        tol: float = 1e-4,
        max_iter: int = 1000,
        prior: Any = "weak",
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.noise = noise
        self.tol = tol
        self.max_iter = max_iter
        self.prior = prior
        self.random_state = random_state

    def _learnt(self, x, weights):
        key = key_of(self.random_state)
        start = dg.factor_analysis(key, x, self.n_components, self.noise)
        self._n_features_out = self.n_components
        return self._fitted(start, x, weights=weights, **em_options(self, key))

    def transform(self, X: Any) -> np.ndarray:
        """Posterior means of the factors given a row's observed cells: (n, d) -> (n, m), of the precision of X."""
        model, x = self._asked(X)
        return np.asarray(dg.encode(model, x)[0]).astype(x.dtype)
