"""Contestants on sequences: hidden Markov models, CRFs, and models that look at one step alone."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax as dg
from dgjax.compare import _references
from dgjax.compare._contestants import NUM_COMPONENTS, Contestant, Pair
from dgjax.compare._encode import Encoder
from dgjax.compare._plan import Plan
from dgjax.compare._sequence_data import ragged
from dgjax.compare._training import Fitted, Predict, Training

# Steps on either side that the models see which look around.
REACH = 2
WINDOW = 1 + 2 * REACH
# Nats for each sequence that a step must gain to go on: of EM, and of L-BFGS.
TOL, GRADIENT_TOL = 1e-3, 1e-4


def pairs(plan: Plan) -> list[Pair]:
    """Pairs on sequences: hidden Markov models and CRFs, then models without order.

    Mixtures take long to compile: only in full runs.
    """
    return [
        Pair("diagonal", "Diagonal HMM and linear CRF", ("hmm_diagonal",), "crf_linear"),
        Pair("full", "Full HMM and its twin", ("hmm_full",), "crf_twin"),
        Pair("around", "HMM and wide CRF", ("hmm_full" if plan.quick else "hmm_mixture",), "crf_around"),
        Pair("alone", "One step at a time", ("qda",), "logistic"),
    ]


def contestants(plan: Plan) -> dict[str, Contestant]:
    """Contestants that the pairs name, by key, and the references."""
    named = {key for pair in pairs(plan) for key in (*pair.generative, pair.discriminative)}
    everyone = (
        Contestant("hmm_diagonal", "HMM, diagonal Gaussians", "diagonal HMM", "generative", _fit_diagonal),
        Contestant("hmm_full", "HMM, full Gaussians", "full HMM", "generative", _fit_full),
        Contestant("hmm_mixture", "HMM, Gaussian mixtures", "mixture HMM", "generative", _fit_mixture),
        Contestant("qda", "QDA of single steps", "1-step QDA", "generative", _fit_qda),
        Contestant("crf_linear", "CRF, linear", "linear CRF", "discriminative", _fit_linear),
        Contestant("crf_twin", "CRF, quadratic, from the full HMM's twin", "twin CRF", "discriminative", _fit_twin),
        Contestant("crf_around", f"CRF, linear in {WINDOW} steps", f"{WINDOW}-step CRF", "discriminative", _fit_around),
        Contestant(
            "logistic", "Logistic regression of single steps", "1-step logistic", "discriminative", _fit_logistic
        ),
        Contestant("forest", "Random forest of single steps", "1-step forest", "reference", _fit_forest),
        Contestant(
            "forest_around",
            f"Random forest of {WINDOW} steps",
            f"{WINDOW}-step forest",
            "reference",
            lambda training, plan: _fit_forest(training, plan, REACH),
        ),
    )
    return {c.key: c for c in everyone if c.key in named or c.side == "reference"}


def padded(arrays: np.ndarray, size: int, steps: int) -> np.ndarray:
    """Padding of arrays (n,) of (t_i, ...) to one array (size, steps, ...), 0 beyond their ends."""
    whole = np.zeros((size, steps, *arrays[0].shape[1:]), np.float32)
    for row, one in zip(whole, arrays, strict=False):
        row[: len(one)] = one
    return whole


def inside(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Values (m, ...) at the steps that exist, all in turn, from padded values (n, t, ...)."""
    return values[np.arange(values.shape[1]) < lengths[:, None]]


def windows(x: np.ndarray, reach: int) -> np.ndarray:
    """Windows of steps: each step beside those around it, x (n, t, f) -> (n, t, f (1 + 2 reach)).

    Beyond the ends 0, the mean.
    """
    t = x.shape[1]
    wide = np.pad(x, ((0, 0), (reach, reach), (0, 0)))
    return np.concatenate([wide[:, i : i + t] for i in range(1 + 2 * reach)], axis=-1)


def encode(x: np.ndarray, encoder: Encoder, plan: Plan, filled: bool, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Encoding of raw sequences x (n,): standardised, padded (size, t, f), and lengths (size,), 1 where none is."""
    lengths = np.array([len(one) for one in x])
    flat = encoder.view(np.concatenate(x), "features", filled)
    steps = ragged(np.split(flat, np.cumsum(lengths)[:-1]))
    return padded(steps, size, plan.longest), np.concatenate([lengths, np.ones(size - len(x), int)])


def fill(fitted: Fitted, x: np.ndarray, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Imputation of raw sequences by a generative contestant's conditional means, encoded; and lengths."""
    assert fitted.encoder is not None
    steps, lengths = encode(x, fitted.encoder, plan, filled=False, size=plan.test_rows)
    if isinstance(fitted.model, dg.HiddenMarkov):
        return np.asarray(dg.impute(fitted.model, steps, lengths)), lengths
    rows = np.asarray(dg.impute(fitted.model, steps.reshape(-1, steps.shape[-1])))
    return rows.reshape(steps.shape), lengths


def filled_by(classifier: Fitted, twin: Fitted, plan: Plan) -> Predict:
    """Function to log p(y_s | x) of a discriminative contestant, from sequences that a generative one fills."""
    assert classifier.encoded is not None
    predict = classifier.encoded
    return lambda x: predict(*fill(twin, x, plan))[: sum(map(len, x))]


def _arrays(training: Training, plan: Plan, filled: bool) -> dict[str, Any]:
    """Arguments of `dg.fit`: sequences, states, lengths and weights, always of one shape."""
    x, lengths = encode(training.x, training.encoder, plan, filled, training.size)
    y = padded(training.y, training.size, plan.longest).astype(np.int32)
    return {"x": x, "y": y, "lengths": lengths, "weights": training.weights}


def _by_step(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `dg.fit` for rows without order, each a step; a step beyond the end has no weight."""
    x, there = arrays["x"], np.arange(arrays["x"].shape[1]) < arrays["lengths"][:, None]
    weights = (arrays["weights"][:, None] * there).astype(np.float32)
    return {"x": x.reshape(-1, x.shape[-1]), "y": arrays["y"].reshape(-1), "weights": weights.reshape(-1)}


def _unit(model: Any, training: Training, width: int) -> Any:
    """Weak prior of a model, by steps of mean 0 and variance 1, as standardised columns have."""
    steps = np.stack([-np.ones(width, np.float32), np.ones(width, np.float32)])
    return dg.weak_prior(model, steps[None] if isinstance(model, dg.HiddenMarkov) else steps, training.strength)


def _fit_generative(start: Any, training: Training, plan: Plan) -> Fitted:
    """Fit of a hidden Markov model to the labelled sequences, and from there to all, by Baum-Welch.

    The first is in closed form but for mixtures.
    """
    arrays = _arrays(training, plan, filled=False)
    if not isinstance(start, dg.HiddenMarkov):
        arrays = _by_step(arrays)
    y, weights = arrays.pop("y"), arrays.pop("weights")
    known = (y >= 0).reshape(len(y), -1).all(1)
    options = {
        "prior": _unit(start, training, start.num_features),
        "max_steps": plan.mixture_steps,
        "method": dg.EM(TOL),
    }
    begin = time.perf_counter()
    model = dg.fit(start, y=np.maximum(y, 0), weights=weights * known, **arrays, **options).model
    if not known.all():
        model = dg.fit(model, y=y, weights=weights, **arrays, **options).model
    jax.block_until_ready(model)
    return _wrapped(model, training, plan, time.perf_counter() - begin)


def _markov(density: Any, num_states: int) -> dg.HiddenMarkov:
    return dg.HiddenMarkov(jnp.zeros(num_states), jnp.zeros((num_states, num_states)), density)


def _gaussian(training: Training) -> dg.Gaussian:
    k, f = training.num_classes, _width(training)
    return dg.Gaussian(jnp.zeros((k, f)), jnp.tile(jnp.eye(f), (k, 1, 1)))


def _width(training: Training) -> int:
    return training.encoder.view(training.x[0][:1], "features").shape[1]


def _fit_diagonal(training: Training, plan: Plan) -> Fitted:
    zeros = jnp.zeros((training.num_classes, _width(training)))
    return _fit_generative(_markov(dg.DiagonalGaussian(zeros, zeros), training.num_classes), training, plan)


def _fit_full(training: Training, plan: Plan) -> Fitted:
    return _fit_generative(_markov(_gaussian(training), training.num_classes), training, plan)


def _fit_mixture(training: Training, plan: Plan) -> Fitted:
    """Fit of a hidden Markov model of mixtures: each state starts as two halves of its Gaussian, about its mean."""
    known = np.array([(y >= 0).all() for y in training.y])
    labelled = replace(training, x=training.x[known], y=training.y[known])
    whole = _fit_full(labelled, plan).model.density
    aside = 0.8 * np.asarray(whole.scale_tril)[:, :, 0]
    means = np.asarray(whole.mean)[:, None] + np.array([-1, 1])[:, None] * aside[:, None]
    halves = dg.Gaussian(jnp.asarray(means), jnp.repeat(whole.scale_tril[:, None], NUM_COMPONENTS, axis=1))
    start = dg.Mixture(jnp.zeros((training.num_classes, NUM_COMPONENTS)), halves)
    return _fit_generative(_markov(start, training.num_classes), training, plan)


def _fit_qda(training: Training, plan: Plan) -> Fitted:
    return _fit_generative(dg.Mixture(jnp.zeros(training.num_classes), _gaussian(training)), training, plan)


def _fit_linear(training: Training, plan: Plan) -> Fitted:
    start = dg.linear_chain_crf(_width(training), training.num_classes)
    return _fit_discriminative(start, training, plan)


def _fit_around(training: Training, plan: Plan) -> Fitted:
    start = dg.linear_chain_crf(WINDOW * _width(training), training.num_classes)
    return _fit_discriminative(start, training, plan, REACH)


def _fit_twin(training: Training, plan: Plan) -> Fitted:
    """Fit of a CRF, started at the exact twin of the hidden Markov model of the training sequences."""
    start = dg.discriminative(_fit_full(replace(training, strength=1.0), plan).model)
    return _fit_discriminative(start, training, plan)


def _fit_logistic(training: Training, plan: Plan) -> Fitted:
    return _fit_discriminative(dg.logistic_regression(_width(training), training.num_classes), training, plan)


def _fit_discriminative(start: Any, training: Training, plan: Plan, reach: int = 0) -> Fitted:
    arrays = _arrays(training, plan, filled=True)
    arrays["x"] = windows(arrays["x"], reach)
    if not isinstance(start, dg.LinearChainCRF):
        arrays = _by_step(arrays)
    begin = time.perf_counter()
    model = dg.fit(start, prior=training.ridge, method=dg.LBFGS(GRADIENT_TOL), **arrays).model
    jax.block_until_ready(model)
    return replace(_wrapped(model, training, plan, time.perf_counter() - begin, reach), log_prob=None)


def _wrapped(model: Any, training: Training, plan: Plan, seconds: float, reach: int = 0) -> Fitted:
    chain = isinstance(model, dg.HiddenMarkov | dg.LinearChainCRF)

    def ask(verb: Callable, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Answer of a verb on sequences (n, t, f)."""
        if chain:
            return np.asarray(verb(model, x, lengths), float)
        rows = np.asarray(verb(model, x.reshape(-1, x.shape[-1])), float)
        return rows.reshape(*x.shape[:2], *rows.shape[1:])

    def encoded(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return inside(ask(dg.predict_log_proba, windows(x, reach), lengths), lengths)

    def proba(x: np.ndarray, filled: bool) -> np.ndarray:
        steps = encode(x, training.encoder, plan, filled, plan.test_rows)
        return encoded(*steps)[: sum(map(len, x))]

    def log_prob(x: np.ndarray) -> np.ndarray:
        """Log-density per step, so that lengths compare: log p(x) / length, or its sum over steps / length."""
        steps, lengths = encode(x, training.encoder, plan, False, plan.test_rows)
        values = ask(dg.log_prob, steps, lengths)
        there = np.arange(steps.shape[1]) < lengths[:, None]
        total = values if chain else np.where(there, values, 0).sum(1)
        return (total / lengths)[: len(x)]

    return Fitted(
        log_proba=lambda x: proba(x, filled=not model.generative),
        filled=lambda x: proba(x, filled=True),
        parameters=int(dg.num_parameters(model)),
        seconds=seconds,
        log_prob=log_prob,
        model=model,
        encoder=training.encoder,
        encoded=encoded,
    )


def _fit_forest(training: Training, plan: Plan, reach: int = 0) -> Fitted:
    """Fit of a random forest to rows, each a step beside those within `reach`; missing cells are split on natively."""

    def rows(x: np.ndarray) -> np.ndarray:
        encoded = encode(x, training.encoder, plan, False, len(x))
        return inside(windows(encoded[0], reach), encoded[1]).astype(float)

    return _references.fit_forest(training, lambda x, _: rows(x))
