"""Metrics of predictions: log_proba (m, k) in natural logarithms, y (m,) the true labels."""

from typing import Any

import numpy as np

NUM_BINS = 10
GRID = np.linspace(0, 1, 101)  # of shares, at which curves are kept
CHOICES = {
    "brier": "brier",
    "log-loss": "log-loss",
    "accuracy": "accuracy",
    "balanced-accuracy": "balanced accuracy",
    "auroc": "auroc",
    "average-precision": "average precision",
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


def rarest(dataset: Any) -> int:
    """Label of the class with the fewest rows, of equal ones the last: what somebody looks for, as a rule."""
    _, y = dataset.at(dataset.labelled)
    counts = np.bincount(y, minlength=len(dataset.classes))
    return len(counts) - 1 - int(counts[::-1].argmin())


def told_from_rest(log_proba: np.ndarray, y: np.ndarray, label: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """How well a class's probability tells it from the rest: AUROC and average precision; and both curves.

    The curves are the share found at each share of others taken for it ("roc"), and the share that is right among those
    taken for it at each share found ("precision"), at the shares of `GRID`. Empty if the rows are all of it, or none.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

    own, score = y == label, log_proba[:, label]
    if own.all() or not own.any():
        return {}, {}
    others, found, _ = roc_curve(own, score, drop_intermediate=False)
    right, recall, _ = precision_recall_curve(own, score)
    at = np.searchsorted(-recall, -GRID, "right") - 1  # the strictest threshold that finds so many
    curves = {"roc": np.interp(GRID, others, found), "precision": right[at]}
    values = {"auroc": auroc(score[own], score[~own]), "average precision": average_precision_score(own, score)}
    return {name: float(value) for name, value in values.items()}, curves


def root_mean_square(error: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt((error**2).mean()))
