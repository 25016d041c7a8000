"""Metrics of predictions: log_proba (m, k) in natural logarithms, y (m,) the true labels."""

import numpy as np

NUM_BINS = 10
CHOICES = {
    "brier": "brier",
    "log-loss": "log-loss",
    "accuracy": "accuracy",
    "balanced-accuracy": "balanced accuracy",
}
"""Metrics that a winner may be chosen by: as typed, and as they are called in the records of calibration."""


def accuracy(log_proba: np.ndarray, y: np.ndarray) -> float:
    """Share of rows whose most probable class is right."""
    return float((log_proba.argmax(1) == y).mean())


def confusion(log_proba: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Confusion matrix (k, k): how many rows of each class, in rows, are taken for which, in columns."""
    k = log_proba.shape[1]
    return np.bincount(y * k + log_proba.argmax(1), minlength=k * k).reshape(k, k)


def balanced_accuracy(log_proba: np.ndarray, y: np.ndarray) -> float:
    """Mean over the classes that there are of the share of a class's rows that is right: of a guess, 1 / classes."""
    counts = confusion(log_proba, y)
    rows = counts.sum(1)
    return float((np.diag(counts)[rows > 0] / rows[rows > 0]).mean())


def log_loss(log_proba: np.ndarray, y: np.ndarray) -> float:
    """Mean of -log p(y | x), in nats."""
    return float(-log_proba[np.arange(len(y)), y].mean())


def brier(log_proba: np.ndarray, y: np.ndarray) -> float:
    """Mean over rows of sum_k (p(k | x) - [y = k])^2: 0 is perfect, 2 the worst (Brier 1950)."""
    wrong = np.exp(log_proba) - np.eye(log_proba.shape[1])[y]
    return float((wrong**2).sum(1).mean())


def confidence(log_proba: np.ndarray) -> np.ndarray:
    """Confidence: the largest class probability of each row (m,)."""
    return np.exp(log_proba.max(1))


def reliability(log_proba: np.ndarray, y: np.ndarray) -> list[list[float]]:
    """Reliability diagram: rows, mean largest probability and share right, in ten equal bins of that probability.

    Empty bins are left out.
    """
    sure, right = confidence(log_proba), log_proba.argmax(1) == y
    bins = np.minimum((sure * NUM_BINS).astype(int), NUM_BINS - 1)
    return [
        [float((bins == b).sum()), float(sure[bins == b].mean()), float(right[bins == b].mean())]
        for b in np.unique(bins)
    ]


def calibration_error(bins: list[list[float]]) -> float:
    """Expected calibration error: mean over rows of |mean probability - share right| of the row's bin."""
    rows, sure, right = np.array(bins).T
    return float((rows * np.abs(sure - right)).sum() / rows.sum())


def auroc(strange: np.ndarray, usual: np.ndarray) -> float:
    """Area under the ROC curve: the probability that a strange row scores above a usual one, ties counting half."""
    order = np.sort(usual)
    below, upto = np.searchsorted(order, strange, "left"), np.searchsorted(order, strange, "right")
    return float((below + upto).mean() / (2 * len(usual)))


def root_mean_square(error: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt((error**2).mean()))
