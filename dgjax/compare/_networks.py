"""Networks of a comparison: a variational autoencoder with classes, and a classifier of the encoder's size."""

import functools
import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax as dg
from dgjax.compare._plan import Plan
from dgjax.compare._training import Fitted, Training, wrapped

HIDDEN, LATENT, BATCH = (128,), 16, 100
# What a row with a label counts for where others have none.
LABELLED = 10.0
LEARNING_RATE = 1e-3


def fit_autoencoder(training: Training, plan: Plan) -> Fitted:
    """Fit of a variational autoencoder to standardised features; cells and labels may be missing."""
    x, y, key = training.view("features", False), training.labels, jax.random.key(training.seed)
    weights = semisupervised_weights(training)
    classes = training.num_classes if training.num_classes > 1 else None
    latent = min(LATENT, x.shape[1])
    start = dg.variational_autoencoder(key, x.shape[1], latent, "gaussian", classes, HIDDEN).as_model()
    begin = time.perf_counter()
    model = learnt(start, x, y, weights, plan.network_steps, key)
    return wrapped(model, training, plan, "features", time.perf_counter() - begin)


def fit_classifier(
    training: Training, plan: Plan, rows: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
) -> Fitted:
    """Fit of a neural classifier with the autoencoder's layers, to mean-filled rows or to the `rows` given.

    `rows` are features, labels and weights.
    """
    x, y, weights = rows or (training.view("features", True), training.labels, training.weights)
    key, weights = jax.random.key(training.seed), weights * (y >= 0)
    start = dg.neural_classifier(key, x.shape[1], training.num_classes, "gaussian", HIDDEN)
    begin = time.perf_counter()
    prior = dg.priors.Ridge(jnp.asarray(0.1 * training.strength))
    model = learnt(start, x, np.maximum(y, 0), weights, plan.network_steps, key, prior)
    fitted = wrapped(model, training, plan, "features", time.perf_counter() - begin)
    return replace(fitted, log_prob=None)


def walks(fitted: Fitted, x: np.ndarray, y: np.ndarray, num_steps: int) -> np.ndarray:
    """Interpolations in latent space from each raw row to the next, as numbers (walks, num_steps, columns)."""
    assert fitted.encoder is not None
    rows = fitted.encoder.view(x, fitted.view)
    pairs = zip(rows[:-1], rows[1:], y[:-1], y[1:], strict=True)
    ways = [dg.interpolate(fitted.model, a, b, num_steps, np.array([i, j])) for a, b, i, j in pairs]
    return np.stack([fitted.encoder.numbers(np.asarray(way, float)) for way in ways])


def semisupervised_weights(training: Training) -> np.ndarray:
    """Weights (size,) of rows: those that have a label weigh more where others have none."""
    y = training.labels
    return training.weights * np.where((y >= 0) & (y < 0).any(), LABELLED, 1.0).astype(np.float32)


def learnt(start: Any, x: Any, y: Any, weights: Any, steps: int, key: Any, prior: Any = None) -> Any:
    """Model learnt by so many steps of Adam on minibatches."""
    method = dg.Optax(_adam(), batch_size=BATCH, key=key)
    options = {"prior": prior, "method": method, "max_steps": steps}
    return jax.block_until_ready(dg.fit(start, x, y, weights=weights, **options).model)


@functools.cache
def _adam() -> Any:
    """Optimizer of all fits: a single object, so that their program is compiled once."""
    import optax

    return optax.adam(LEARNING_RATE)
