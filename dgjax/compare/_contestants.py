"""Contestants of a comparison: pairs of models from dgjax, and outside references from scikit-learn."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import dgjax as dg
from dgjax.compare import _networks, _references
from dgjax.compare._encode import View
from dgjax.compare._heard import fitting
from dgjax.compare._plan import Plan
from dgjax.compare._training import Fitted, Predict, Training, prediction, wrapped

Side = Literal["generative", "discriminative", "reference"]
NUM_COMPONENTS = 2  # of each class or state, in mixtures
STRENGTHS = {"generative": (1.0, 3.0, 10.0), "discriminative": (0.1, 1.0, 10.0)}
FEATURES = {"logistic": "linear", "quadratic": "quadratic"}
NETWORKS = ("autoencoder", "network")


@dataclass(frozen=True)
class Contestant:
    """Contestant of a comparison: one model; `fit` takes `Training`, missing cells and missing labels included."""

    key: str
    name: str
    short: str
    side: Side
    fit: Callable[[Training, Plan], Fitted]
    full: bool = False
    held_back: bool = True

    @property
    def strengths(self) -> tuple[float, ...]:
        """Strengths of regularisation to choose from; () for the references, and for what is not `held_back` so."""
        return STRENGTHS.get(self.side, ()) if self.held_back else ()


@dataclass(frozen=True)
class Pair:
    """Generative models and the discriminative twin that they are set against."""

    key: str
    name: str
    generative: tuple[str, ...]
    discriminative: str


PAIRS = (
    Pair("bayes", "Naive Bayes and logistic regression", ("naive_bayes",), "logistic"),
    Pair("discriminant", "Discriminant analysis and logistic regression", ("lda", "qda"), "logistic"),
    Pair("mixture", "Mixtures and quadratic logistic regression", ("mda",), "quadratic"),
    Pair("network", "Variational autoencoder and neural classifier", ("autoencoder",), "network"),
)


def contestants(plan: Plan) -> dict[str, Contestant]:
    """Contestants that the plan affords, by key, pairs first."""
    everyone = (
        Contestant("naive_bayes", "Gaussian naive Bayes", "naive Bayes", "generative", _fit_naive_bayes),
        Contestant("lda", "Linear discriminant analysis", "LDA", "generative", _fit_lda, full=True),
        Contestant("qda", "Quadratic discriminant analysis", "QDA", "generative", _fit_qda, full=True),
        Contestant("mda", "Mixture discriminant analysis", "MDA", "generative", _fit_mda, full=True),
        Contestant(
            "autoencoder",
            "Variational autoencoder",
            "autoencoder",
            "generative",
            _networks.fit_autoencoder,
            held_back=False,
        ),
        Contestant("logistic", "Logistic regression", "logistic regression", "discriminative", _fit_linear),
        Contestant(
            "quadratic",
            "Quadratic logistic regression",
            "quadratic logistic regression",
            "discriminative",
            _fit_quadratic,
            full=True,
        ),
        Contestant("network", "Neural classifier", "neural classifier", "discriminative", _networks.fit_classifier),
        Contestant("forest", "Random forest", "random forest", "reference", lambda t, _: _references.fit_forest(t)),
        Contestant("boosting", "Gradient boosting", "gradient boosting", "reference", _fit_boosting),
        Contestant("svm", "RBF SVM", "RBF SVM", "reference", lambda t, _: _references.fit_svm(t)),
    )
    left_out = () if plan.network_steps else NETWORKS
    return {c.key: c for c in everyone if (plan.full_covariance or not c.full) and c.key not in left_out}


def pairs(plan: Plan) -> list[Pair]:
    """Pairs all of whose models the plan affords."""
    return [pair for pair in PAIRS if {*pair.generative, pair.discriminative} <= contestants(plan).keys()]


def average_over(classifier: Fitted, twin: Fitted, plan: Plan) -> Predict:
    """Posterior of a discriminative contestant, averaged over its twin's p(x_missing | x_observed), as a function.

    It takes raw rows (m, d) to log p(y | x_observed) (m, k).
    """
    assert classifier.encoder is not None
    model = dg.marginalize(classifier.model, twin.model, num_samples=plan.twin_draws)
    return prediction(dg.predict_log_proba, model, classifier.encoder, "features", plan)


def complete(fitted: Fitted, x: np.ndarray, seed: int) -> np.ndarray:
    """Features of rows x (n, d), each missing cell drawn by a generative contestant."""
    assert fitted.encoder is not None
    return np.asarray(dg.sample_missing(fitted.model, jax.random.key(seed), fitted.encoder.view(x, fitted.view)))


def fit_drawn(training: Training, twin: Fitted, key: str, plan: Plan) -> Fitted:
    """Fit of a discriminative contestant to rows completed by its twin `twin_completions` times.

    Each completion of a row has an equal part of the row's weight.
    """
    # Rows times completions fit into the number of rows that everything else is compiled for.
    times, n = plan.twin_completions, len(training.x)
    draws = [complete(twin, training.x, training.seed + i) for i in range(times)]
    spare = max(0, training.size - times * n)
    x = np.concatenate([*draws, np.zeros((spare, draws[0].shape[1]), np.float32)])
    labels = np.concatenate([np.tile(training.y, times), np.zeros(spare, int)]).astype(np.int32)
    weights = (np.arange(len(x)) < times * n).astype(np.float32) / times
    with fitting(key, plan.chosen_steps):
        if key == "network":
            return _networks.fit_classifier(training, plan, (x, labels, weights))
        return _fit_logistic(training, plan, FEATURES[key], (x, labels, weights))


def draw(fitted: Fitted, label: int, count: int, seed: int) -> np.ndarray:
    """Samples of p(x | y = label) from a generative contestant, as features (count, f)."""
    assert fitted.encoder is not None
    weights = fitted.model.log_weights
    only = jnp.where(jnp.arange(len(weights)) == label, 0.0, -jnp.inf).astype(weights.dtype)
    rows, _ = dg.sample(dg.Mixture(only, fitted.model.density), jax.random.key(seed), count)
    return fitted.encoder.features(np.asarray(rows, float), fitted.view)


def fill(fitted: Fitted, x: np.ndarray) -> np.ndarray:
    """Imputation of raw rows (n, d) by conditional means, or modes, as features (n, f)."""
    assert fitted.encoder is not None
    rows = dg.impute(fitted.model, fitted.encoder.view(x, fitted.view))
    return fitted.encoder.features(np.asarray(rows, float), fitted.view)


def log_prob(fitted: Fitted, x: np.ndarray) -> np.ndarray:
    """Log-density log p(x) (m,) by a generative contestant."""
    assert fitted.log_prob is not None
    return fitted.log_prob(x)


def without_class(model: Any, label: int) -> Any:
    """Mixture without a class: the model with the weight of that label at zero."""
    return dg.Mixture(model.log_weights.at[label].set(-jnp.inf), model.density)


def strangeness(fitted: Fitted, label: int) -> Predict:
    """Function from rows to -log p(x) (m,), by a generative contestant whose class `label` had no training rows."""
    assert fitted.density is not None
    density = fitted.density(without_class(fitted.model, label))
    return lambda x: -density(x)


def _fit_naive_bayes(training: Training, plan: Plan) -> Fitted:
    levels = np.array([len(names) for names in training.dataset.levels])
    if not levels.any():
        return _fit_generative(training, plan, _diagonal(training.num_classes, len(levels)), "features")
    blocks: list[Any] = [_diagonal(training.num_classes, int((levels == 0).sum()))]
    columns = [tuple(np.flatnonzero(levels == 0).tolist())]
    for size in np.unique(levels[levels > 0]):
        own = np.flatnonzero(levels == size)
        blocks.append(dg.Categorical(jnp.zeros((training.num_classes, len(own), int(size)), jnp.float32)))
        columns.append(tuple(own.tolist()))
    return _fit_generative(training, plan, dg.Columns(tuple(blocks), tuple(columns)), "columns")


def _diagonal(num_classes: int, num_features: int) -> Any:
    zeros = jnp.zeros((num_classes, num_features), jnp.float32)
    return dg.DiagonalGaussian(zeros, zeros)


def _fit_lda(training: Training, plan: Plan) -> Fitted:
    d = training.view("features", True).shape[1]
    return _fit_generative(training, plan, dg.Gaussian(jnp.zeros((training.num_classes, d)), jnp.eye(d)), "features")


def _fit_qda(training: Training, plan: Plan) -> Fitted:
    d, k = training.view("features", True).shape[1], training.num_classes
    density = dg.Gaussian(jnp.zeros((k, d)), jnp.tile(jnp.eye(d), (k, 1, 1)))
    return _fit_generative(training, plan, density, "features")


def _fit_mda(training: Training, plan: Plan) -> Fitted:
    """Fit of mixture discriminant analysis, from clusters of each class with covariances of the identity.

    In standardised units no class is narrower than that.
    """
    # The start needs complete rows and labels; EM then sees the rows as they are.
    x = training.view("features", True)
    key, rows = jax.random.key(training.seed), np.resize(np.flatnonzero(training.y >= 0), training.size)
    if training.num_classes == 1:
        start: Any = dg.gaussian_mixture(key, x[rows], NUM_COMPONENTS)
        mean = start.density.mean[None]
    else:
        labels, k = training.y[rows].astype(np.int32), training.num_classes
        # A class held out has no rows of its own to start at: it borrows the last ones.
        absent = np.repeat(np.setdiff1d(np.arange(k), labels), NUM_COMPONENTS)
        labels[len(labels) - len(absent) :] = absent
        start: Any = dg.mixture_discriminant_analysis(key, x[rows], labels, NUM_COMPONENTS, num_classes=k)
        mean = start.density.density.mean
    factor = jnp.broadcast_to(jnp.eye(x.shape[1]), (*mean.shape, x.shape[1]))
    density = dg.Mixture(jnp.zeros(mean.shape[:-1]), dg.Gaussian(mean, factor))
    return _fit_generative(training, plan, density, "features")


def _fit_generative(training: Training, plan: Plan, density: Any, view: View) -> Fitted:
    """Fit of a generative classifier by EM from `density`, in closed form where every cell and label is known."""
    x, y = training.view(view, False), training.labels
    start = dg.Mixture(jnp.zeros(training.num_classes), density)
    prior = dg.weak_prior(start, _unit_rows(training, view), training.strength)
    # One number of steps for all, as another would be compiled again; what takes long stops at smaller gains instead.
    partly = np.isnan(training.x).any() or (y < 0).any()
    steps, tol = plan.mixture_steps, plan.em_tol if partly else 1e-3
    if (y < 0).any():
        labelled = training.weights * (y >= 0)
        start = dg.fit(
            start, x, np.maximum(y, 0), weights=labelled, prior=prior, max_steps=steps, method=dg.EM(tol=tol)
        ).model
    begin = time.perf_counter()
    model = dg.fit(start, x, y, weights=training.weights, prior=prior, max_steps=steps, method=dg.EM(tol=tol)).model
    jax.block_until_ready(model)
    return wrapped(model, training, plan, view, time.perf_counter() - begin)


def _unit_rows(training: Training, view: View) -> np.ndarray:
    """Rows of mean 0 and variance 1 in every number, as standardised columns have: what a weak prior is made of."""
    width = training.view(view, True).shape[1]
    rows = np.ones((2, width), np.float32)
    rows[0] = -1
    if view == "columns":
        rows[0, ~training.dataset.numeric] = 0
    return rows


def _fit_linear(training: Training, plan: Plan) -> Fitted:
    return _fit_logistic(training, plan, "linear")


def _fit_quadratic(training: Training, plan: Plan) -> Fitted:
    return _fit_logistic(training, plan, "quadratic")


def _fit_logistic(
    training: Training, plan: Plan, features: Any, rows: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
) -> Fitted:
    x, y, weights = rows or (training.view("features", True), training.labels, training.weights)
    weights = weights * (y >= 0)
    start = dg.logistic_regression(x.shape[1], training.num_classes, features=features)
    begin = time.perf_counter()
    model = dg.fit(start, x, np.maximum(y, 0), weights=weights, prior=training.ridge).model
    jax.block_until_ready(model)
    return replace(wrapped(model, training, plan, "features", time.perf_counter() - begin), log_prob=None)


def _fit_boosting(training: Training, plan: Plan) -> Fitted:
    return _references.fit_boosting(training, plan.boosting_steps)
