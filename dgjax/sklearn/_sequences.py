"""Hidden Markov models: sequences as stacked rows with lengths, as hmmlearn has them, or as padded arrays."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

import dgjax as dg
from dgjax.sklearn._base import E, Estimator, GenerativeClassifier, covariance_of, em_options, key_of


class Sequences(Estimator):
    """Estimator of sequences: X stacked (sum t, d), with `lengths` (n,), or padded (n, t, d), NaN beyond an end.

    Of stacked rows without lengths all are one sequence. Lengths of padded ones are up to the last step with a cell.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags

    def _sequences(self, X: Any, lengths: Any, reset: bool = False) -> tuple[np.ndarray, np.ndarray, bool]:
        """Validated sequences (n, t, d), their lengths (n,), and whether they were stacked."""
        shape = np.shape(X)
        if len(shape) == 3:
            x = self._rows(np.reshape(X, (-1, shape[2])), reset).reshape(shape)
            there: Any = ~np.isnan(x).all(2)
            last = np.maximum(shape[1] - there[:, ::-1].argmax(1), 1) * there.any(1)
            return x, np.maximum(last, 1) if lengths is None else np.asarray(lengths), False
        x = self._rows(X, reset, least=2 if reset else 1)
        ends = np.array([len(x)]) if lengths is None else np.asarray(lengths)
        if ends.ndim != 1 or ends.dtype.kind not in "iu" or ends.sum() != len(x):
            raise ValueError(
                f"lengths must be whole numbers that add to the {len(x)} rows of X, or X be of shape (n, t, d); got "
                f"{lengths}."
            )
        padded, ends = dg.pad(np.split(x, np.cumsum(ends)[:-1]))
        return np.asarray(padded), np.asarray(ends), True

    def _asked(self, X: Any, lengths: Any = None) -> Any:
        """Model, sequences (n, t, d) and lengths (n,), as the verbs take them; raises NotFittedError before `fit`."""
        x, ends, _ = self._sequences(X, lengths)
        return self.model_, x, ends

    def _of_steps(self, steps: Any, X: Any, lengths: Any) -> np.ndarray:
        """Answers of steps (n, t, ...) as the sequences were given: stacked, or padded."""
        _, ends, stacked = self._sequences(X, lengths)
        steps = np.asarray(steps)
        return np.concatenate([own[:end] for own, end in zip(steps, ends, strict=True)]) if stacked else steps

    def score_samples(self, X: Any, lengths: Any = None) -> np.ndarray:
        """Log-density log p(x_observed) of each sequence, in nats: (n,)."""
        return np.asarray(dg.log_prob(*self._asked(X, lengths)))

    def bic(self, X: Any, lengths: Any = None) -> float:
        """Bayesian information criterion of the sequences X: lower is better."""
        return float(dg.bic(*self._asked(X, lengths)))

    def aic(self, X: Any, lengths: Any = None) -> float:
        """Akaike's information criterion of the sequences X: lower is better."""
        return float(dg.aic(*self._asked(X, lengths)))


class HiddenMarkovModel(Sequences):
    """Hidden Markov model of `n_components` states, learnt by EM (Baum-Welch), cells and steps missing or not.

    X is stacked rows (sum t, d), with `lengths` (n,), or padded sequences (n, t, d). `emissions` is one kind, or one
    for each column: "gaussian", "bernoulli", "categorical", "poisson"; `covariance_type` of "gaussian" ones is "full",
    "tied", "diag" or "spherical". `n_init` starts are drawn by `random_state`, and the best fit is kept. EM ends at a
    step that gains no more than `tol` nats for each sequence, or after `max_iter`. `prior` "weak" adds a pseudo-row to
    each state.
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        emissions: Any = "gaussian",
        covariance_type: str = "full",
        prior: Any = "weak",
        tol: float = 1e-3,
        max_iter: int = 500,
        n_init: int = 1,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.emissions = emissions
        self.covariance_type = covariance_type
        self.prior = prior
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state

    def fit(self: E, X: Any, lengths: Any = None) -> E:
        """Fits the model to sequences, stacked with their `lengths` (n,) or padded."""
        x, ends, _ = self._sequences(X, lengths, reset=True)
        key, covariance = key_of(self.random_state), covariance_of(self.covariance_type)
        start = dg.hidden_markov(key, x, self.n_components, self.emissions, covariance, ends)
        self.model_ = self._fitted(start, x, lengths=ends, **em_options(self, key))
        return self

    def predict(self, X: Any, lengths: Any = None) -> np.ndarray:
        """Most probable path of states (Viterbi): (sum t,), or (n, t), -1 beyond an end."""
        return self._of_steps(dg.predict(*self._asked(X, lengths)), X, lengths)

    def predict_proba(self, X: Any, lengths: Any = None) -> np.ndarray:
        """Probability of each state at each step given all observed cells: (sum t, k), or (n, t, k)."""
        return self._of_steps(np.exp(np.asarray(dg.predict_log_proba(*self._asked(X, lengths)), float)), X, lengths)

    def decode(self, X: Any, lengths: Any = None) -> tuple[float, np.ndarray]:
        """Log-probability log p(x, path) of the most probable paths together, in nats, and these paths."""
        model, x, ends = self._asked(X, lengths)
        paths = dg.predict(model, x, ends)
        return float(np.sum(dg.log_joint(model, x, paths, ends), dtype=float)), self._of_steps(paths, X, lengths)

    def score(self, X: Any, lengths: Any = None) -> float:
        """Log-density of all sequences together, in nats, as hmmlearn has it."""
        return float(self.score_samples(X, lengths).sum(dtype=float))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """One sequence of `n_samples` steps X (t, d), and its states (t,)."""
        check_is_fitted(self)
        key = key_of(self.random_state if random_state is None else random_state)
        x, states = dg.sample(self.model_, key, n_samples)
        return np.asarray(x), np.asarray(states)

    @property
    def startprob_(self) -> np.ndarray:
        """Probabilities of the initial state (k,)."""
        return np.asarray(_probabilities(self.model_.log_initial))

    @property
    def transmat_(self) -> np.ndarray:
        """Transition probabilities (k, k), from the state of a row to that of a column."""
        return np.asarray(_probabilities(self.model_.log_transition))


class HiddenMarkovClassifier(Sequences, GenerativeClassifier):
    """Classifier of whole sequences: a hidden Markov model of `n_components` states for each class, learnt by EM.

    X is padded sequences (n, t, d), or stacked rows (sum t, d) with `lengths` (n,), and y (n,) has a label for each
    sequence, which may be unknown. `emissions`, `covariance_type`, `prior`, `tol`, `max_iter` and `random_state` are as
    in `HiddenMarkovModel`.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        emissions: Any = "gaussian",
        covariance_type: str = "full",
        prior: Any = "weak",
        tol: float = 1e-3,
        max_iter: int = 500,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.emissions = emissions
        self.covariance_type = covariance_type
        self.prior = prior
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self: E, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> E:
        """Fits the classifier to sequences, padded or stacked with their `lengths` (n,), and their labels y (n,)."""
        x, ends, _ = self._sequences(X, lengths, reset=True)
        labels = self._encoded(y, x)
        key, covariance = key_of(self.random_state), covariance_of(self.covariance_type)
        options = labels, self.emissions, covariance, ends
        start = dg.hidden_markov_mixture(key, x, len(self.classes_), self.n_components, *options)
        weights = self._weights(sample_weight, x[:, 0])
        self.model_ = self._fitted(start, x, labels, lengths=ends, weights=weights, **em_options(self, key))
        return self

    def predict_log_proba(self, X: Any, lengths: Any = None) -> np.ndarray:
        """Log-probability of each class of each sequence: (n, k), in the order of `classes_`."""
        return self._log_proba(X, lengths)

    def predict_proba(self, X: Any, lengths: Any = None) -> np.ndarray:
        """Probability of each class of each sequence: (n, k), in the order of `classes_`."""
        return np.exp(self._log_proba(X, lengths))

    def predict(self, X: Any, lengths: Any = None) -> np.ndarray:
        """Most probable class of each sequence: (n,)."""
        return self._named(np.asarray(dg.predict(*self._asked(X, lengths))))

    def score(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> float:
        """Accuracy on the sequences whose label y (n,) is known. Raises ValueError if none is."""
        return self._accuracy(y, self.predict(X, lengths), sample_weight)

    def sample(self, n_samples: int = 1, random_state: Any = None, n_steps: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Samples of sequences X (n, t, d) of `n_steps`, and the label of each y (n,)."""
        return super().sample((n_samples, n_steps), random_state)


def _probabilities(logs):
    """Probabilities along the last axis, from logarithms up to a constant."""
    shares = np.exp(np.asarray(logs) - np.max(np.asarray(logs), -1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)
