"""What a variational autoencoder must show on scikit-learn's digits, beside the models it is set against."""

import functools

import jax
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

import dgjax as dg

TRAINING, KEY = 1437, jax.random.key(0)
ADAM, QUICK_ADAM = optax.adam(1e-3), optax.adam(3e-3)
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("autoencoder digits")]


@functools.cache
def digits():
    """Rows in an order of chance, pixels 0 to 16; the first are to learn from."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return x[order], y[order]


def with_draws_of(model, number, training=1):
    parts = model.encoder, model.decoder, model.likelihood, model.num_features, model.latent_dim, model.num_classes
    return dg.VariationalAutoencoder(*parts, num_samples=number, num_training_samples=training)


def learnt(x, latent, likelihood, training=1, max_steps=6000):
    start = dg.variational_autoencoder(KEY, 64, latent, likelihood, hidden=(256,))
    method = dg.Optax(ADAM, batch_size=128, key=KEY, validation=0.1, patience=50)
    return dg.fit(with_draws_of(start, 64, training), x, method=method, max_steps=max_steps).model


def best_by_bic(starts, x):
    fits = [dg.fit(start, x, prior=dg.weak_prior(start, x)).model for start in starts]
    return min(fits, key=lambda model: float(dg.bic(model, x)))


def report(**numbers):
    print(" ".join(f"{name}={value:.4g}" for name, value in numbers.items()))


def test_a_better_bound_than_a_mixture_of_bernoullis_has_exactly():
    x = (digits()[0] > 7.5).astype("float32")
    rng = np.random.default_rng(1)
    starts = [dg.Mixture(np.zeros(k), dg.Bernoulli(rng.normal(size=(k, 64)))) for k in (5, 10, 15, 20, 30, 40)]
    mixture = best_by_bic(starts, x[:TRAINING])
    autoencoder = with_draws_of(learnt(x[:TRAINING], 16, "bernoulli"), 500)
    exact, bound = (dg.log_prob(model, x[TRAINING:]) for model in (mixture, autoencoder))
    report(components=mixture.num_labels, mixture=exact.mean(), autoencoder=bound.mean())
    surplus = bound - exact
    assert surplus.mean() > 3 * surplus.std() / np.sqrt(len(surplus))


def test_at_least_the_bound_of_a_gaussian_mixture():
    """Pixels made continuous by uniform noise, in units of the training rows."""
    x = digits()[0]
    x = (x + np.random.default_rng(0).random(x.shape)) / 17
    x = ((x - x[:TRAINING].mean(0)) / x[:TRAINING].std(0)).astype("float32")
    kinds = [("full", (1, 2, 5)), ("diagonal", (5, 10, 20, 30)), ("tied", (10, 20))]
    starts = [dg.gaussian_mixture(KEY, x[:TRAINING], k, kind) for kind, numbers in kinds for k in numbers]
    mixture = best_by_bic(starts, x[:TRAINING])
    autoencoder = with_draws_of(learnt(x[:TRAINING], 32, "gaussian", training=8), 2000)
    exact, bound = (dg.log_prob(model, x[TRAINING:]) for model in (mixture, autoencoder))
    errors = dg.log_prob_error(autoencoder, x[TRAINING:])
    report(components=mixture.num_labels, mixture=exact.mean(), autoencoder=bound.mean(), error=errors.mean())
    assert bound.mean() > exact.mean()


def ten_of_each(y, seed):
    rng = np.random.default_rng(100 + seed)
    return np.concatenate([rng.choice(np.flatnonzero(y == k), 10, replace=False) for k in range(10)])


def test_ten_labels_of_each_class_and_many_rows_without_beat_a_classifier_on_the_labels():
    """The mean over five draws of the labels; the classifier's penalty is the best for it of four on the test rows."""
    x, y = digits()
    x = (x > 7.5).astype("float32")
    scores = {"autoencoder": [], "classifier": []}
    for seed in range(5):
        known, key = ten_of_each(y[:TRAINING], seed), jax.random.key(seed)
        some, weights = np.full(TRAINING, -1), np.ones(TRAINING)
        # A row with a label counts as much as ten: in place of a classifier's loss of its own.
        some[known], weights[known] = y[known], 10
        start = dg.variational_autoencoder(key, 64, 16, "bernoulli", 10, hidden=(128,))
        method = dg.Optax(QUICK_ADAM, batch_size=128, key=key)
        model = dg.fit(start, x[:TRAINING], some, method, weights=weights, max_steps=2500).model
        scores["autoencoder"].append(np.mean(dg.predict(model, x[TRAINING:]) == y[TRAINING:]))
        classifier = dg.neural_classifier(key, 64, 10, "bernoulli", hidden=(128,))
        fits = [
            dg.fit(
                classifier, x[known], y[known], prior=dg.priors.Ridge(l2), method=dg.Optax(ADAM), max_steps=1000
            ).model
            for l2 in (0.0, 0.01, 0.1, 1.0)
        ]
        scores["classifier"].append(max(np.mean(dg.predict(m, x[TRAINING:]) == y[TRAINING:]) for m in fits))
    means = {name: np.mean(own) for name, own in scores.items()}
    errors = {f"{name}_error": np.std(own, ddof=1) / np.sqrt(5) for name, own in scores.items()}
    report(**means, **errors)
    assert means["autoencoder"] - means["classifier"] > 3 * np.hypot(*errors.values())


def test_half_of_the_cells_missing_are_filled_better_than_by_the_mean_and_by_a_gaussian():
    """Learnt from rows with half of their cells missing, and asked for those of others: root mean squared errors."""
    x = (digits()[0] / 16).astype("float32")
    holes = np.random.default_rng(2).random(x.shape) < 0.5
    rows, asked = np.where(holes, np.nan, x), holes[TRAINING:]
    start = dg.Gaussian(np.zeros((1, 64)), np.eye(64))
    gaussian = dg.fit(start, rows[:TRAINING], prior="weak", method=dg.EM(1e-3)).model
    fills = {"mean": np.broadcast_to(np.nanmean(rows[:TRAINING], 0), asked.shape)}
    fills["gaussian"] = dg.impute(gaussian, rows[TRAINING:])
    autoencoder = with_draws_of(learnt(rows[:TRAINING] * 2 - 1, 16, "gaussian", training=8), 1000)
    fills["autoencoder"] = (dg.impute(autoencoder, rows[TRAINING:] * 2 - 1) + 1) / 2
    errors = {
        name: float(np.sqrt(np.mean((np.asarray(own) - x[TRAINING:])[asked] ** 2))) for name, own in fills.items()
    }
    report(**errors)
    assert errors["autoencoder"] < 0.97 * errors["gaussian"] < errors["mean"]


def test_the_twin_of_all_labels_learns_on_the_encoder():
    x, y = digits()
    x = ((x - 8) / 8).astype("float32")
    start = dg.variational_autoencoder(KEY, 64, 16, "gaussian", 10, hidden=(128,))
    model = dg.fit(
        start, x[:TRAINING], y[:TRAINING], method=dg.Optax(ADAM, batch_size=128, key=KEY), max_steps=1500
    ).model
    twin = dg.fit(dg.discriminative(model), x[:TRAINING], y[:TRAINING], prior=dg.priors.Ridge(1.0)).model
    models = {"autoencoder": model, "twin": twin}
    right = {name: float(np.mean(dg.predict(own, x[TRAINING:]) == y[TRAINING:])) for name, own in models.items()}
    report(**right)
    assert min(right.values()) > 0.93
