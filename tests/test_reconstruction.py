"""Neural classifiers with a decoder: the objective by hand, rows without a label, what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_close, assert_same_tree

import dgjax as dg

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)).astype("float32"), np.array([0, 1, -1] * 4)


def classifier(reconstruction=0.5, **options):
    return dg.neural_classifier(KEY, 3, 2, hidden=(4,), reconstruction=reconstruction, **options)


def objective(model, x, y):
    """Sum of log p(y | x) of rows with a label, and of so many times the log-likelihood of all rows, by hand."""
    neural = model.scorer
    weight, bias = (np.asarray(own[0], float) for own in (neural.trunk.weights, neural.trunk.biases))
    features = np.maximum(x @ weight + bias, 0)
    scores = np.asarray(model.bias, float) + features @ np.asarray(neural.head.weight, float).T
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    back = features @ np.asarray(neural.decoder.weights[0], float) + np.asarray(neural.decoder.biases[0], float)
    scale = np.exp(np.asarray(neural.cells.log_scale, float))
    own = (-0.5 * ((x - back) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)).sum(1)
    return sum(log_p[i, label] for i, label in enumerate(y) if label >= 0) + neural.reconstruction * own.sum()


def test_the_objective_adds_the_log_likelihood_of_every_row():
    model = jax.tree.map(lambda leaf: leaf + jnp.asarray(RNG.normal(0, 0.1, leaf.shape), leaf.dtype), classifier())
    fit = dg.fit(model, X, Y, method=dg.Optax(optax.sgd(0.0)), max_steps=1)
    assert_close(fit.objective[0], np.float32(objective(model, X.astype(float), Y)), 1e-4)


def test_rows_without_a_label_teach_the_trunk_alone_and_no_head():
    start = classifier()
    rows, some = np.concatenate([X, X + 1]), np.concatenate([Y, np.full(12, -1)])
    fit = dg.fit(start, rows, some, method=dg.Optax(optax.adam(0.01)), max_steps=20)
    assert float(fit.objective[-1]) > float(fit.objective[0])
    only = dg.fit(start, X, Y, method=dg.Optax(optax.adam(0.01)), max_steps=20).model.scorer
    assert not np.allclose(fit.model.scorer.trunk.weights[0], only.trunk.weights[0])
    assert fit.model.scorer.decoder.weights[0].shape == (4, 3)


def test_a_weight_of_0_is_a_classifier_without_decoder():
    plain = dg.neural_classifier(KEY, 3, 2, hidden=(4,))
    assert plain.scorer.decoder is None
    assert_same_tree(plain, classifier(0.0))
    assert_same_tree(plain.scorer.trunk, classifier().scorer.trunk)


def test_it_is_saved_and_loaded(tmp_path):
    model = classifier()
    dg.save(tmp_path / "model.safetensors", model)
    back = dg.load(tmp_path / "model.safetensors")
    assert back.scorer.reconstruction == 0.5
    assert_same_tree(back, model)


def test_what_does_not_go_together_is_refused():
    neural = classifier().scorer
    with pytest.raises(ValueError, match="goes with a decoder"):
        dataclasses.replace(neural, decoder=None)
    with pytest.raises(ValueError, match="goes with a decoder"):
        dataclasses.replace(neural, reconstruction=0.0)
    with pytest.raises(ValueError, match="a trunk that is frozen"):
        dataclasses.replace(neural, frozen=True)
    with pytest.raises(ValueError, match="must give 3 numbers"):
        dataclasses.replace(neural, decoder=dg.MLP.start(KEY, (4, 2)))
    with pytest.raises(ValueError, match="reconstruction must be a number"):
        classifier(-1.0)
