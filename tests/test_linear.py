"""Linear scores of few rows by NumPy: the textbook's posteriors, of the dtype that a program gives, and when not."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from few import left_to_program
from scipy.special import log_softmax

import dgjax as dg
from dgjax import _few_rows
from dgjax.data import model_and_rows

K, D = 3, 4


def models():
    rng = np.random.default_rng(0)
    mean, logits = 3 * rng.normal(size=(K, D)), rng.normal(size=(K, D))
    A = rng.normal(size=(D, 2 * D))
    densities = {
        "multinomial": dg.Multinomial(logits, 9),
        "bernoulli": dg.Bernoulli(logits),
        "poisson": dg.Poisson(logits),
        "two categories": dg.Categorical(np.stack([np.zeros((K, D)), logits], -1)),
        "tied": dg.Gaussian(mean, np.linalg.cholesky(A @ A.T)),
        "shared scales": dg.DiagonalGaussian(mean, np.array([0.1, -0.2, 0.3, 0.0])),
    }
    return {name: dg.Mixture(rng.normal(size=K), density) for name, density in densities.items()}


def rows_of(name, n, dtype):
    rng = np.random.default_rng(n)
    most = {"multinomial": 9, "poisson": 9, "bernoulli": 2, "two categories": 2}.get(name)
    return (3 * rng.normal(size=(n, D)) if most is None else rng.integers(most, size=(n, D))).astype(dtype)


@pytest.mark.parametrize("name", models())
def test_few_rows_have_the_textbooks_posterior(name, dtype):
    model = jax.tree.map(lambda leaf: leaf.astype(dtype), models()[name])
    for n in (1, 17):
        x = rows_of(name, n, dtype)
        expected = log_softmax(oracle.log_joint(model, x), axis=-1)
        answer, labels = dg.predict_log_proba(model, x), dg.predict(model, x)
        assert left_to_program(_few_rows.posterior_of_few, *model_and_rows(model, x)) == 0
        assert answer.dtype == dtype
        assert labels.dtype == jax.dtypes.canonicalize_dtype(int)
        np.testing.assert_allclose(answer, expected, rtol=1e-5 if dtype == "float32" else 1e-9, atol=1e-6)
        np.testing.assert_array_equal(labels, expected.argmax(-1))


def test_a_row_has_the_bits_that_it_has_alone_and_in_any_layout(x64):
    model, x = models()["multinomial"], rows_of("multinomial", 300, "float64")
    whole = np.asarray(dg.predict_log_proba(model, x))
    for other in (x.astype(int), np.asfortranarray(x), x.tolist(), jnp.asarray(x)):
        np.testing.assert_array_equal(dg.predict_log_proba(model, other), whole)
    np.testing.assert_array_equal(dg.predict_log_proba(model, x[7:8])[0], whole[7])


def test_a_model_of_arrays_that_change_answers_as_they_are_now(x64):
    model, x = jax.tree.map(np.array, models()["multinomial"]), rows_of("multinomial", 17, "float64")
    before = dg.predict_log_proba(model, x)
    model.log_weights[:] = model.log_weights[::-1].copy()
    now = dg.predict_log_proba(jax.tree.map(jnp.asarray, model), x)
    np.testing.assert_allclose(dg.predict_log_proba(model, x), now, rtol=1e-9)
    assert not np.allclose(before, now)


@pytest.mark.parametrize("why", ["none", "categories", "traced", "many"])
def test_other_rows_and_models_are_a_programs(why, x64):
    model, x = models()["poisson"], rows_of("poisson", 17, "float64")
    match why:
        case "none":
            x = x[:0]
        case "categories":
            logits = np.where(np.arange(3) == 2, -np.inf, np.zeros((K, D, 3)))
            model, x = dg.Mixture(np.zeros(K), dg.Categorical(logits)), np.zeros((17, D))
        case "many":
            x = np.resize(x, (_few_rows.FEW // (D * K) + 1, D))
    if why == "traced":
        return jax.eval_shape(lambda own: _is_left(own, x), model)
    return _is_left(model, x)


def _is_left(model, x):
    own, rows = model_and_rows(model, x)
    assert left_to_program(_few_rows.labels_of_few, own, rows) == len(x) or not len(x)
    if len(x):
        assert left_to_program(_few_rows.posterior_of_few, own, rows) == len(x)


@pytest.mark.parametrize("name", ["poisson", "multinomial", "tied", "shared scales"])
@pytest.mark.parametrize("beside", ["a row that misses a cell", "a row that is far away"])
def test_a_row_has_its_answer_whatever_is_beside_it(name, beside, dtype):
    """Of float32 a program loses nats far from 0, which NumPy keeps in float64: no other row decides who answers."""
    model = jax.tree.map(lambda leaf: leaf.astype(dtype), models()[name])
    x = rows_of(name, 17, dtype) + (np.arange(17) == 5)[:, None].astype(dtype) * 1000
    whole = np.asarray(dg.predict_log_proba(model, x)), np.asarray(dg.predict(model, x))
    other = np.r_[x[:1], [[np.nan, *x[1, 1:]] if "misses" in beside else np.full(D, 1e13, dtype)], x].astype(dtype)
    rows = model_and_rows(model, other)[1]
    assert left_to_program(_few_rows.posterior_of_few, model, rows) <= 1
    np.testing.assert_array_equal(np.delete(dg.predict_log_proba(model, other), [0, 1], 0), whole[0])
    np.testing.assert_array_equal(np.delete(dg.predict(model, other), [0, 1], 0), whole[1])
    alone = dg.predict_log_proba(model, other[1:2])
    np.testing.assert_allclose(dg.predict_log_proba(model, other)[1], alone[0], rtol=1e-5, atol=1e-6)
