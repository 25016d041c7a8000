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
    draws of their missing cells given the label, 16 at most, and predictions are averaged over `n_draws`. With
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
        k, self.density_ = len(self.classes_), None
        start: Any = dg.logistic_regression(x.shape[1], k, self.features)
        if self.missing == "marginalize":
            self.density_ = dg.discriminant_analysis(x, labels, TWINS[self.features], k, weights=weights, prior="weak")
            seed = int(jax.random.randint(key_of(self.random_state), (), 0, np.iinfo(np.int32).max))
            start = dg.marginalize(start, self.density_, self.n_draws, seed)
        strength = np.asarray(1 / self.C, x.dtype)
        options = {"weights": weights, "prior": dg.priors.Ridge(jax.device_put(strength)), "max_steps": self.max_iter}
        model = self._fitted(start, x, labels, **options)
        self.regression_ = model if self.density_ is None else model.classifier
        return model

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
