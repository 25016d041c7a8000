"""Cross-validation: each fold of the rows scored by a model that was fitted to the others."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import as_array, as_count, as_key, as_whole
from dgjax._candidates import Candidate, Rows, as_candidates, as_restarts, as_training_rows, check_options
from dgjax._elsewhere import told_keywords
from dgjax._verbs import log_conditional, log_joint, log_prob, predict
from dgjax._warnings import ConvergenceWarning
from dgjax.data import as_model


@dataclasses.dataclass(frozen=True, repr=False)
class CrossValidation:
    """Result of `cross_validate`: for each score its means over the rows of each fold (folds,), and over all of them.

    `scores` has, in nats for each row or sequence, "log_prob", the mean log p(x), of rows without labels; of rows with
    labels "log_joint", the mean log p(x, y), of a generative model, "accuracy", a share of the labels, and "log_loss",
    minus the mean log p(y | x). `mean` and `standard_error` are those over the folds; the latter is the standard
    deviation of their means by sqrt(folds), which takes folds to be independent, and they share training rows.
    """

    scores: dict[str, np.ndarray]

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each score over the folds."""
        return {name: float(own.mean()) for name, own in self.scores.items()}

    @property
    def standard_error(self) -> dict[str, float]:
        """Standard error of each mean. Source: Bengio and Grandvalet (2004), on why it is an estimate with a bias."""
        return {name: float(own.std(ddof=1) / np.sqrt(len(own))) for name, own in self.scores.items()}

    def __repr__(self) -> str:
        means, errors = self.mean, self.standard_error
        told = [f"{name} {means[name]:.5g} ± {errors[name]:.2g}" for name in self.scores]
        return f"CrossValidation of {len(next(iter(self.scores.values())))} folds: {', '.join(told)}"


@told_keywords
def cross_validate(
    candidate: Any,
    x: Any,
    y: Any = None,
    *,
    key: jax.Array | None = None,
    folds: int | ArrayLike = 5,
    restarts: int = 1,
    lengths: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    **options: Any,
) -> CrossValidation:
    """Cross-validation of a function that starts a model: fitted to all folds but one, and scored on that, in turn.

    `candidate` is a starter, such as `dgjax.discriminant_analysis`, one of `dgjax.grid`, or a function such as
    `lambda x, y: dgjax.naive_bayes(x, y, prior="weak")`, called with those of x, y, lengths, weights and key that it
    has as arguments; so all that it learns of the rows it learns of the training rows. `x` (n, d), or (n, t, d) with
    `lengths`, or a frame, in which y is a column's name. Rows without a label (-1) beside others that have one are
    always trained on. `folds` is a number, of folds drawn by `key` with as many of each class in each; or the number
    of each row's fold (n,), such as that of its group. `restarts` fits are tried where a likelihood has several maxima.
    `weights` (n,) count in fits and in means. `options` are those of `dgjax.fit`, such as prior and method.

    Raises ValueError for bad data, fewer than two folds, a class of a single row, or no key where one is needed, and
    what starting and fitting raise.
    Source: Stone (1974), Cross-validatory choice and assessment of statistical predictions.
    """
    check_options(cross_validate, options)
    rows = as_training_rows(x, y, lengths, weights)
    num, key = as_restarts(restarts, key)
    own = as_candidates(candidate)
    if len(own) > 1:
        raise ValueError(f"candidate must be one; got {len(own)}. Type dgjax.select(candidates, x, y).")
    return scored_by_folds(own[0], rows, fold_of_rows(rows, folds, key), key, num, options)


def fold_of_rows(rows: Rows, folds: Any, key: jax.Array | None) -> np.ndarray:
    """Number of each row's fold (n,), -1 of rows that are always trained on. Raises ValueError for bad folds."""
    n = len(rows.x)
    known = (rows.y >= 0).reshape(n, -1).any(1) if rows.labelled else np.ones(n, bool)
    if np.ndim(folds):
        given = np.asarray(
            as_whole(as_array(folds, "folds", "whole numbers"), "folds", "the number of each row's fold")
        )
        if given.shape != (n,) or len(np.unique(given[known])) < 2:
            raise ValueError(
                f"folds must be a number, or of each of the {n} rows the number of its fold, of two at least; got "
                f"{_advice.shown(folds)}."
            )
        numbers = np.unique(given[known], return_inverse=True)[1]
        return _placed(known, numbers)
    num = as_count(folds, "folds", 2)
    if num > known.sum():
        raise ValueError(f"folds must be at most the number of rows that are scored, {known.sum()}; got {num}.")
    if key is None:
        raise ValueError("folds are drawn by a key. Type key=jax.random.key(0), or give the fold of each row as folds.")
    order = np.asarray(jax.random.permutation(as_key(key), int(known.sum())))
    if rows.labelled and rows.y.ndim == 1:
        labels = rows.y[known]
        classes, counts = np.unique(labels, return_counts=True)
        if counts.min() < 2:
            raise ValueError(
                "y must have two rows at least of each class, one to learn from; got one of "
                f"{classes[counts.argmin()]}. Type x[y != {classes[counts.argmin()]}], and y so, to leave it out."
            )
        order = order[np.argsort(labels[order], kind="stable")]
    numbers = np.empty(len(order), int)
    numbers[order] = np.arange(len(order)) % num
    return _placed(known, numbers)


def _placed(known, numbers):
    fold = np.full(len(known), -1)
    fold[known] = numbers
    return fold


def scored_by_folds(
    candidate: Candidate,
    rows: Rows,
    fold: np.ndarray,
    key: jax.Array | None,
    restarts: int,
    options: dict[str, Any],
    advance: Callable[[], None] = lambda: None,
) -> CrossValidation:
    """Scores of each fold; `advance` is called after each."""
    each = []
    for number in range(fold.max() + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = candidate.fit(rows.at(np.flatnonzero(fold != number)), key, restarts, **options).model
        each.append(_scores(model, rows.at(np.flatnonzero(fold == number))))
        advance()
    return CrossValidation({name: np.array([own[name] for own in each]) for name in each[0]})


def _scores(model, held):
    """Mean of each score over held-out rows."""

    def mean(values):
        return float(np.average(np.asarray(values, float), weights=held.weights))

    if not held.labelled:
        return {"log_prob": mean(log_prob(model, held.x, held.lengths))}
    scores = {}
    if as_model(model).generative:
        scores["log_joint"] = mean(log_joint(model, held.x, held.y, held.lengths))
    right = (np.asarray(predict(model, held.x, held.lengths)) == held.y) & (held.y >= 0)
    known = held.y >= 0
    if held.lengths is not None and held.y.ndim == 2:
        known = known & (np.arange(held.y.shape[1]) < held.lengths[:, None])
    amounts = 1.0 if held.weights is None else held.weights.reshape(-1, *[1] * (held.y.ndim - 1))
    scores["accuracy"] = float((amounts * (right & known)).sum() / (amounts * known).sum())
    scores["log_loss"] = -mean(log_conditional(model, held.x, held.y, held.lengths))
    return scores
