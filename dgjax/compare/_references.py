"""Outside references: scikit-learn's trees and support vector machine, and of texts its tf-idf weights."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from dgjax.compare._training import Fitted, Training

View = Callable[[np.ndarray, bool], np.ndarray]
# A forest may give a class probability 0, whose log-loss is infinite.
SMALLEST_PROBABILITY = 1e-6


def fit_forest(training: Training, view: View | None = None) -> Fitted:
    """Fit of a random forest of 100 trees; missing cells are split on natively."""
    return _fit(training, RandomForestClassifier(100, random_state=training.seed), native=True, view=view)


def fit_boosting(training: Training, steps: int) -> Fitted:
    """Fit of histogram gradient boosting; missing cells are split on natively."""
    model = HistGradientBoostingClassifier(
        max_iter=steps,
        max_leaf_nodes=8,
        min_samples_leaf=5,
        early_stopping=False,
        random_state=training.seed,
    )
    return _fit(training, model, native=True)


def fit_svm(training: Training) -> Fitted:
    """Fit of a support vector machine with RBF kernel; missing cells are filled by the mean.

    Probabilities are by Platt's method on two folds.
    """
    model = CalibratedClassifierCV(SVC(), cv=2, ensemble=False)
    return _fit(training, model, native=False)


def fit_tfidf(training: Training, **pieces: Any) -> Fitted:
    """Fit of logistic regression to tf-idf weights of the `pieces` of texts, as scikit-learn calls them."""
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True, **pieces), LogisticRegression(C=10, max_iter=1000))
    return _fit(training, model, native=True, view=lambda texts, _: texts)


def _fit(training: Training, model: Any, native: bool, view: View | None = None) -> Fitted:
    """Fit of a scikit-learn model as a contestant, to the `view` of rows, or without one to the encoder's features."""
    look: View = view or (lambda rows, filled: training.encoder.view(rows, "features", filled))
    labels = training.y if training.y.dtype != object else np.concatenate(training.y)
    known = labels >= 0
    x, y = look(training.x, not native)[known], labels[known]
    # Threads gain nothing on so few rows, and cost much where the machine has other work.
    with threadpool_limits(1):
        start = time.perf_counter()
        model.fit(x, y)
        seconds = time.perf_counter() - start

    def predict(rows: np.ndarray, filled: bool) -> np.ndarray:
        with threadpool_limits(1):
            known = model.predict_proba(look(rows, filled))
        proba = np.zeros((len(known), training.num_classes))
        proba[:, model.classes_] = known
        return np.log(np.maximum(proba, SMALLEST_PROBABILITY))

    return Fitted(
        log_proba=lambda rows: predict(rows, not native),
        filled=lambda rows: predict(rows, True),
        parameters=_num_parameters(model),
        seconds=seconds,
        model=model,
        encoder=training.encoder,
    )


def _num_parameters(model: Any) -> int:
    """Number of parameters of a fitted model: splits and leaves of trees, support vectors and their coefficients."""
    if isinstance(model, RandomForestClassifier):
        return int(
            sum(
                2 * (t.tree_.node_count - t.tree_.n_leaves) + t.tree_.n_leaves * t.tree_.n_classes[0]
                for t in model.estimators_
            )
        )
    if isinstance(model, HistGradientBoostingClassifier):
        leaves = model.n_iter_ * model.n_trees_per_iteration_ * model.max_leaf_nodes
        return int(3 * leaves)
    if isinstance(model, Pipeline):
        return int(model[-1].coef_.size + model[-1].intercept_.size)
    svm = model.calibrated_classifiers_[0].estimator
    return int(svm.support_vectors_.size + svm.dual_coef_.size + svm.intercept_.size)
