"""Discriminative classifiers: logistic regression, missing cells by its generative twin, and networks."""

from typing import Any

import jax
import numpy as np

import dgjax as dg
from dgjax.sklearn._base import Classifier, key_of
from dgjax.sklearn._learned import Steps

TWINS = {"linear": "tied", "quadratic": "full"}
"""Covariance of the discriminant analysis whose posterior is a logistic regression on these features."""


class LogisticRegression(Classifier):
    """Logistic regression with a ridge 1 / C, at its maximum; rows without a label are left out.

    `features` "linear" is w . x, and "quadratic" adds every product. With `missing` "marginalize" cells may be missing:
    `density_`, the discriminant analysis that is its generative twin, is learnt beside it. Rows are then learnt from as
    `n_draws` draws of their missing cells given the label, and predictions are averaged over as many draws. With
    "error" a missing cell is one. `regression_` is the logistic model itself.
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        features: str = "linear",
        missing: str = "error",
        n_draws: int = 64,
        max_iter: int = 500,
        random_state: Any = None,
    ) -> None:
        self.C = C
        self.features = features
        self.missing = missing
        self.n_draws = n_draws
        self.max_iter = max_iter
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "marginalize"
        return tags

    def _learnt(self, x, labels, weights):
        if self.missing not in ("error", "marginalize"):
            raise ValueError(f'missing must be "error" or "marginalize"; got {self.missing!r}.')
        k, density = len(self.classes_), None
        if self.missing == "marginalize":
            density = dg.discriminant_analysis(x, labels, TWINS[self.features], k, weights=weights, prior="weak")
            x, labels, weights = self._drawn(density, x, labels, weights)
        start, strength = dg.logistic_regression(x.shape[1], k, self.features), np.asarray(1 / self.C, x.dtype)
        options = {"weights": weights, "prior": dg.priors.Ridge(jax.device_put(strength)), "max_steps": self.max_iter}
        self.regression_, self.density_ = self._fitted(start, x, labels, **options), density
        return self.regression_ if density is None else dg.marginalize(self.regression_, density, self.n_draws)

    def _drawn(self, density, x, labels, weights):
        """Rows without a missing cell as they are, the labelled others as draws of theirs, each of a share's weight."""
        holes = np.isnan(x).any(1)
        if not holes.any():
            return x, labels, weights
        parts, weights = [x[~holes]], np.ones(len(x), x.dtype) if weights is None else weights
        order = [np.flatnonzero(~holes)]
        for label, key in enumerate(jax.random.split(key_of(self.random_state), density.num_labels)):
            rows = np.repeat(np.flatnonzero(holes & (labels == label)), self.n_draws)
            alone = np.where(np.arange(density.num_labels) == label, 0.0, -np.inf).astype(density.log_weights.dtype)
            parts.append(
                np.asarray(dg.sample_missing(dg.Mixture(jax.device_put(alone), density.density), key, x[rows]))
            )
            order.append(rows)
        at = np.concatenate(order)
        return np.concatenate(parts).astype(x.dtype), labels[at], weights[at] / np.where(holes, self.n_draws, 1)[at]

    @property
    def coef_(self) -> np.ndarray:
        """Weights (k, d), or (1, d) of the log-odds of the second of two classes; of "linear" features."""
        return np.asarray(self.regression_.scorer.weight)

    @property
    def intercept_(self) -> np.ndarray:
        """Biases (k,), or (1,) of two classes."""
        return np.asarray(self.regression_.bias)


class NeuralClassifier(Steps, Classifier):
    """Neural classifier by minibatches of Adam, of rows without missing cells; those without a label are left out.

    `hidden_layer_sizes` are the units of the layers; columns are to be of one scale, as by `StandardScaler`.
    `likelihood` says what they are: "gaussian", "bernoulli" or "poisson". `learning_rate_init`, `batch_size`,
    `max_iter`, in epochs, and `early_stopping` with `validation_fraction` and `n_iter_no_change` are scikit-learn's.
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        *,
        likelihood: Any = "gaussian",
        learning_rate_init: float = 1e-3,
        batch_size: int = 64,
        max_iter: int = 200,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.likelihood = likelihood
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        return tags

    def _learnt(self, x, labels, weights):
        key, k = key_of(self.random_state), len(self.classes_)
        start = dg.neural_classifier(key, x.shape[1], k, self.likelihood, self.hidden_layer_sizes)
        return self._fitted(start, x, labels, weights=weights, **self._by_steps(key, len(x)))
