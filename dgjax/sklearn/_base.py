"""Base classes of estimators: rows as scikit-learn checks them, labels of any type, keys, and answers of `model_`.

An estimator holds its options; fitting it makes `model_`, a model of dgjax, and every answer is a verb of that model.
"""

from numbers import Integral
from typing import Any, TypeVar

import jax
import numpy as np
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, DensityMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import dgjax as dg
from dgjax.sklearn import _labels

E = TypeVar("E", bound=Any)
COVARIANCES = {"diag": "diagonal", "shared": "tied"}
"""Other libraries' names of covariances, and dgjax's."""


def covariance_of(name: str) -> str:
    """Name of a covariance in dgjax, from its own or scikit-learn's: "diag" is "diagonal", "shared" is "tied"."""
    return COVARIANCES.get(name, name)


def key_of(random_state: Any) -> jax.Array:
    """Random key of a whole number, its own seed; of None or a `RandomState`, of a number that these draw.

    Raises ValueError for anything else.
    """
    if isinstance(random_state, Integral) and not isinstance(random_state, bool):
        check_random_state(random_state)
        return jax.random.key(int(random_state))
    return jax.random.key(check_random_state(random_state).randint(np.iinfo(np.int32).max))


class Estimator(BaseEstimator):
    """Estimator of rows X (n, d) that may miss cells (NaN), whose `model_` is a model of dgjax."""

    least_features = 1
    model_: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _rows(self, X: Any, reset: bool = False, least: int = 1, **y: Any) -> np.ndarray:
        """Validated rows (n, d), float32 or float64; names and number of columns are kept at `reset`, else compared."""
        if not reset:
            check_is_fitted(self)
        return validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan" if self.__sklearn_tags__().input_tags.allow_nan else True,
            ensure_min_samples=least,
            ensure_min_features=self.least_features if reset else 1,
            **y,
        )

    def _fitted(self, start: Any, *data: Any, **options: Any) -> Any:
        """Model fitted from a start; `converged_`, `n_iter_` and `lower_bound_`, in nats for each row, say how."""
        fit, weights = dg.fit(start, *data, **options), options.get("weights")
        self.converged_, self.n_iter_ = bool(fit.converged), int(fit.num_steps)
        self.lower_bound_ = float(fit.objective[-1]) / float(len(data[0]) if weights is None else weights.sum())
        return fit.model

    def _log_proba(self, *given: Any) -> np.ndarray:
        """Log-probabilities of labels given rows, that add to 1 in float64, as scikit-learn's metrics ask."""
        logs = np.asarray(dg.predict_log_proba(*self._asked(*given)), float)
        _check_possible(logs.max(-1) > -np.inf)
        return log_softmax(logs, axis=-1)

    def _asked(self, X: Any) -> tuple[Any, np.ndarray]:
        """Model and validated rows (n, d), as the verbs take them; raises NotFittedError before `fit`."""
        x = self._rows(X)
        return self.model_, x

    def _weights(self, sample_weight: Any, x: np.ndarray) -> np.ndarray | None:
        """Validated weights (n,), None if none are given; raises ValueError for negative ones, or zero everywhere."""
        if sample_weight is None:
            return None
        weights = _check_sample_weight(sample_weight, x, dtype=x.dtype, ensure_non_negative=True)
        if not weights.any():
            raise ValueError("sample_weight must not be zero for every row: give some of them more, or leave it out.")
        return weights


def em_options(estimator: Any, key: jax.Array) -> dict[str, Any]:
    """Arguments of `dgjax.fit` by the options of an estimator that is learnt by EM, from several starts or one."""
    method: Any = dg.EM(estimator.tol)
    num = getattr(estimator, "n_init", 1)
    method = method if num == 1 else dg.Restarts(num, jax.random.fold_in(key, 1), method)
    return {"method": method, "prior": estimator.prior, "max_steps": estimator.max_iter}


class Drawn(Estimator):
    """Estimator whose `model_` draws rows."""

    def sample(self, n_samples: int = 1, random_state: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Samples of rows X (n, d), and the label of each y (n,), by `random_state` or else the estimator's own."""
        check_is_fitted(self)
        own = getattr(self, "random_state", None) if random_state is None else random_state
        x, y = dg.sample(self.model_, key_of(own), n_samples)
        return np.asarray(x), self._named(np.asarray(y))

    def _named(self, labels: np.ndarray) -> np.ndarray:
        return labels


class Generative(Drawn):
    """Estimator whose `model_` is generative: it scores rows, compares models and draws."""

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density log p(x_observed) of each row, in nats: (n, d) -> (n,)."""
        return np.asarray(dg.log_prob(*self._asked(X)))

    def bic(self, X: Any) -> float:
        """Bayesian information criterion of rows X (n, d): lower is better."""
        return float(dg.bic(*self._asked(X)))

    def aic(self, X: Any) -> float:
        """Akaike's information criterion of rows X (n, d): lower is better."""
        return float(dg.aic(*self._asked(X)))


class DensityEstimator(DensityMixin, Generative):
    """Estimator of a density p(x) from rows without labels, by `_learnt`, which gives `model_`."""

    def fit(self: E, X: Any, y: Any = None, sample_weight: Any = None) -> E:
        """Fits the density to rows X (n, d), NaN where a cell is missing; `y` is ignored, as by convention."""
        x = self._rows(X, reset=True, least=2)
        weights = self._weights(sample_weight, x)
        if weights is not None and not weights.all():
            x, weights = x[weights > 0], weights[weights > 0]
        self.model_ = self._learnt(x, weights)
        return self

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-density of rows X (n, d), in nats."""
        return float(np.mean(self.score_samples(X), dtype=float))

    def _learnt(self, x: np.ndarray, weights: np.ndarray | None) -> Any:
        raise NotImplementedError


class Classifier(ClassifierMixin, Estimator):
    """Classifier of rows by `model_`, which `_learnt` makes of rows, labels 0 to k - 1, -1 unknown, and weights.

    Labels are of any type. Unknown ones are -1 among whole numbers, NaN among real ones, None or NaN among objects; -1
    beside 1 alone is a class.
    """

    classes_: np.ndarray

    def fit(self: E, X: Any, y: Any, sample_weight: Any = None) -> E:
        """Fits the classifier to rows X (n, d) and their labels y (n,), of which some may be unknown."""
        self.model_ = self._learnt(*self._training(X, y, sample_weight))
        return self

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Log-probability of each class given the observed cells: (n, d) -> (n, k), in the order of `classes_`."""
        return self._log_proba(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class given the observed cells: (n, d) -> (n, k), in the order of `classes_`."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """Most probable class given the observed cells: (n, d) -> (n,)."""
        return self._named(np.asarray(dg.predict(*self._asked(X))))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy on the rows of X (n, d) whose label y (n,) is known. Raises ValueError if none is."""
        return self._accuracy(y, self.predict(X), sample_weight)

    def _accuracy(self, y, predicted, sample_weight):
        labels, unknown = _labels.filled(y, self.classes_)
        if len(unknown) and unknown.all():
            raise ValueError("score needs labels, and y has none that is known. Type predict(X).")
        if unknown.any():
            sample_weight = np.where(unknown, 0, 1 if sample_weight is None else sample_weight)
        return float(accuracy_score(labels, predicted, sample_weight=sample_weight))

    def _training(self, X, y, sample_weight, reset=True, classes=None, least=2):
        """Validated rows, labels as numbers, weights or None; a y of None is told as scikit-learn does."""
        x = self._rows(X, reset, least, **({"y": None} if y is None else {}))
        return x, self._encoded(y, x, classes), self._weights(sample_weight, x)

    def _encoded(self, y, x, classes=None):
        """Labels as numbers; `classes_` are set."""
        self.classes_, labels = _labels.encoded(y, classes)
        check_consistent_length(x, labels)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must hold at least two classes; the labels that are known are {self.classes_.tolist()}."
            )
        return labels

    def _learnt(self, x: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> Any:
        raise NotImplementedError

    def _named(self, labels: np.ndarray) -> np.ndarray:
        _check_possible(labels >= 0)
        return self.classes_[labels]


class GenerativeClassifier(Classifier, Generative):
    """Classifier by p(x, y), which rows without a label teach too: semi-supervised."""


def _check_possible(possible):
    if not possible.all():
        raise ValueError(
            f"X row {int(np.argmin(possible))} has probability 0 under every class, so that it has no label. Type "
            'prior="weak", by which every value that is known has some.'
        )
