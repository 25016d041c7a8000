"""Few complete rows by NumPy: the textbook's log-densities, posteriors and labels, the same bits in any company."""

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

K, D, C = 3, 4, 3
NAMES = "full", "tied", "tied, far apart", "diagonal", "spherical", "one spread", "categories", "off"


def models(dtype="float64", k=K, d=D):
    rng = np.random.default_rng(0)
    mean, A = 3 * rng.normal(size=(k, d)), rng.normal(size=(k, d, 2 * d))
    factors, log_weights = np.linalg.cholesky(A @ A.swapaxes(1, 2)), rng.normal(size=k)
    densities = {
        "full": dg.Gaussian(mean, factors),
        "tied": dg.Gaussian(mean, factors[0]),
        "tied, far apart": dg.Gaussian(1e6 * mean, factors[0]),
        "diagonal": dg.DiagonalGaussian(mean, rng.normal(size=(k, d))),
        "spherical": dg.DiagonalGaussian(mean, rng.normal(size=(k, 1))),
        "one spread": dg.DiagonalGaussian(mean, rng.normal(size=1)),
        "categories": dg.Categorical(rng.normal(size=(k, d, C))),
    }
    found = {name: dg.Mixture(log_weights, density) for name, density in densities.items()}
    found["off"] = dg.Mixture(np.r_[-np.inf, log_weights[1:]] if k > 1 else log_weights, densities["full"])
    return {name: jax.tree.map(lambda leaf: leaf.astype(dtype), model) for name, model in found.items()}


def rows_of(name, n, dtype="float64", d=D):
    rng = np.random.default_rng(n)
    return (rng.integers(C, size=(n, d)) if name == "categories" else 3 * rng.normal(size=(n, d))).astype(dtype)


@pytest.mark.parametrize("name", NAMES)
def test_few_rows_have_the_textbooks_answers(name, dtype):
    model = models(dtype)[name]
    for n in (1, 17):
        x = rows_of(name, n, dtype)
        joint = oracle.log_joint(model, x)
        assert left_to_program(_few_rows.log_prob_of_few, *model_and_rows(model, x)) == 0
        assert (dg.log_prob(model, x).dtype, dg.predict_log_proba(model, x).dtype) == (dtype, dtype)
        np.testing.assert_allclose(
            dg.log_prob(model, x), oracle.log_prob(model, x), rtol=1e-5 if dtype == "float32" else 1e-10
        )
        np.testing.assert_allclose(
            dg.predict_log_proba(model, x), log_softmax(joint, -1), rtol=1e-5 if dtype == "float32" else 1e-9
        )
        np.testing.assert_array_equal(dg.predict(model, x), joint.argmax(-1))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_has_the_bits_that_it_has_alone_and_in_any_layout(name, x64):
    for k, d in ((K, D), (9, 1)):
        model, x = models(k=k, d=d)[name], rows_of(name, 41, d=d)
        for verb in (dg.log_prob, dg.predict_log_proba):
            whole = np.asarray(verb(model, x))
            for other in (np.asfortranarray(x), np.repeat(x, 2, 0)[::2], x.tolist(), jnp.asarray(x)):
                np.testing.assert_array_equal(verb(model, other), whole)
            for n in (1, 2, 5, 16, 19):
                np.testing.assert_array_equal(verb(model, x[7 : 7 + n]), whole[7 : 7 + n])


def test_a_program_has_the_same_log_densities(x64):
    model, x = models()["spherical"], rows_of("spherical", 17)
    np.testing.assert_allclose(jax.jit(dg.log_prob)(model, x), dg.log_prob(model, x), rtol=1e-12)


def test_a_twin_has_the_posterior_of_its_original_to_the_bit(x64):
    model, x = models()["full"], rows_of("full", 17)
    np.testing.assert_array_equal(dg.predict_log_proba(dg.discriminative(model), x), dg.predict_log_proba(model, x))


def test_criteria_are_the_textbooks(dtype):
    model, x = models(dtype)["full"], rows_of("full", 17, dtype)
    total, free = oracle.log_prob(model, x).sum(), K - 1 + K * D + K * D * (D + 1) // 2
    np.testing.assert_allclose(dg.bic(model, x), -2 * total + free * np.log(17), rtol=1e-5)
    np.testing.assert_allclose(dg.aic(model, x), -2 * total + 2 * free, rtol=1e-5)
    assert dg.bic(model, x).dtype == dtype


@pytest.mark.parametrize(
    "why", ["missing", "ill-conditioned", "overflow", "nested", "an impossible category", "many", "NumPy's", "traced"]
)
def test_other_rows_and_models_are_a_programs(why, x64):
    model, x = models()["full"], rows_of("full", 17)
    match why:
        case "missing":
            x[3, 1] = np.nan
        case "ill-conditioned":
            factor = np.tril(np.ones((D, D))) * np.array([1, 1, 1e-4, 1e-8])
            model = dg.Mixture(np.zeros(K), dg.Gaussian(np.zeros((K, D)), np.stack([factor] * K)))
        case "overflow":
            x[3] = 1e300
        case "nested":
            model = dg.Mixture(
                np.zeros(1), dg.Mixture(np.zeros((1, K)), jax.tree.map(lambda p: p[None], model.density))
            )
        case "an impossible category":
            logits = np.where(np.arange(C) == 2, -np.inf, np.zeros((K, D, C)))
            model, x = dg.Mixture(np.zeros(K), dg.Categorical(logits)), np.zeros((17, D))
        case "many":
            x = np.resize(x, (_few_rows.FEW_OF_FULL // (D * D * K) + 1, D))
        case "NumPy's":
            model = jax.tree.map(np.array, model)
    if why == "traced":
        jax.eval_shape(lambda own: _is_left(own, x), model)
    else:
        _is_left(model, x)


def _is_left(model, x):
    own, rows = model_and_rows(model, x)
    left = 1 if (np.isnan(x) | (np.abs(x) > 1e200)).any() else len(x)
    for of_few in (_few_rows.log_prob_of_few, _few_rows.labels_of_few, _few_rows.posterior_of_few):
        assert left_to_program(of_few, own, rows) == left
