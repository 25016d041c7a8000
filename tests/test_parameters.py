"""Models and priors that cannot be are refused when they are made, by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hostile import DENSITIES, assert_our_error, make

import dgjax as dg
from dgjax import priors

pytestmark = pytest.mark.usefixtures("without_the_type_checker")

INF, FLAT = np.inf, np.zeros((2, 2))
IMPOSSIBLE = {  # models that cannot be
    "no component": (make("Mixture", [-INF, -INF], DENSITIES["poisson"]), ("Mixture", "log_weights", "minus infinity")),
    "an infinite weight": (make("Mixture", [INF, 0.0], DENSITIES["poisson"]), ("Mixture", "log_weights", "inf", "[0]")),
    "a NaN weight": (make("Mixture", [0.0, np.nan], DENSITIES["poisson"]), ("Mixture", "log_weights", "nan", "[1]")),
    "a NaN weight of JAX's": (
        make("Mixture", lambda: jnp.array([0.0, np.nan]), DENSITIES["poisson"]),
        ("Mixture", "log_weights", "nan", "[1]"),
    ),
    "no category": (make("Categorical", np.full((1, 1, 2), -INF)), ("Categorical", "logits", "row 0, 0")),
    "no column": (make("Multinomial", np.full((1, 2), -INF)), ("Multinomial", "logits", "minus infinity")),
    "NaN log-odds": (make("Bernoulli", FLAT + np.nan), ("Bernoulli", "logits", "nan", "[0, 0]")),
    "an infinite rate": (make("Poisson", FLAT + INF), ("Poisson", "log_rate", "inf", "[0, 0]")),
    "an infinite mean": (make("DiagonalGaussian", FLAT - INF, FLAT), ("DiagonalGaussian", "mean", "finite", "-inf")),
    "a scale of 0": (make("DiagonalGaussian", FLAT, FLAT - INF), ("DiagonalGaussian", "log_scale", "finite", "-inf")),
    "a complex mean": (make("DiagonalGaussian", FLAT * 1j, FLAT), ("DiagonalGaussian", "mean", "real", "complex")),
    "a complex mean of JAX's": (
        make("DiagonalGaussian", lambda: jnp.zeros((2, 2), complex), FLAT),
        ("DiagonalGaussian", "mean", "real", "complex"),
    ),
    "a masked mean": (make("Poisson", np.ma.masked_array(FLAT, FLAT == 0)), ("Poisson", "log_rate", "masked")),
    "a covariance for its factor": (
        make("Gaussian", FLAT, np.array([[2.0, 0.5], [0.5, 1.0]])),
        ("Gaussian", "scale_tril", "above the diagonal", "np.linalg.cholesky(covariance)"),
    ),
    "a factor of no rank": (make("Gaussian", FLAT, FLAT), ("Gaussian", "scale_tril", "positive diagonal", "0.0")),
    "infinite moves": (
        make("HiddenMarkov", [INF, 0.0], FLAT, DENSITIES["poisson"]),
        ("HiddenMarkov", "log_initial", "inf"),
    ),
    "NaN moves of a CRF": (
        make("LinearChainCRF", [0.0, 0.0], FLAT * np.nan, lambda: dg.Linear(FLAT)),
        ("LinearChainCRF", "transition", "nan"),
    ),
    "an infinite bias": (make("Logistic", [INF, 0.0], lambda: dg.Linear(FLAT)), ("Logistic", "bias", "inf")),
    "infinite coefficients": (make("Linear", FLAT - INF), ("Linear", "weight", "-inf")),
    **{
        f"a total of {total}": (make("Multinomial", FLAT, total_count=total), ("total_count", "0 or more", str(total)))
        for total in (-1, 2.5, "many", None)
    },
    "a total that is an array": (make("Multinomial", FLAT, total_count=np.ones(2)), ("total_count", "array")),
    "a total within jit": (
        lambda: jax.jit(lambda total: dg.Multinomial(FLAT, total_count=total).logits)(3),
        ("total_count", "not known before compiling"),
    ),
    "another prior for weights": (
        lambda: priors.MixturePrior(priors.Beta(1.0, 1.0)),
        ("MixturePrior", "weights", "Dirichlet", "Beta"),
    ),
    "a number for weights": (lambda: priors.MixturePrior(3), ("MixturePrior", "weights", "Dirichlet")),
    "a number for a density's": (lambda: priors.MixturePrior(None, 3), ("MixturePrior", "density", "Gamma")),
    "another prior for moves": (
        lambda: priors.HiddenMarkovPrior(None, priors.Beta(1.0, 1.0)),
        ("HiddenMarkovPrior", "transition", "Dirichlet"),
    ),
    "a NaN prior": (
        lambda: priors.NormalInverseGamma(np.full(2, np.nan), 1.0, 1.0, np.ones(2)),
        ("NormalInverseGamma", "mean", "nan", "[0]"),
    ),
    "an indefinite scale": (
        lambda: priors.NormalInverseWishart(np.zeros(2), 1.0, np.array([[1.0, 2.0], [2.0, 1.0]]), 7.0),
        ("NormalInverseWishart", "scale", "symmetric", "-1"),
    ),
    "degrees too small": (
        lambda: priors.NormalInverseWishart(np.zeros(2), 1.0, np.eye(2), -7.0),
        ("NormalInverseWishart", "degrees", "at least -4", "-7"),
    ),
    "a shape too small": (
        lambda: priors.NormalInverseGamma(np.zeros(2), 1.0, -7.0, np.ones(2)),
        ("NormalInverseGamma", "shape", "at least -1.5", "-7"),
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_is_refused_by_name(name):
    assert_our_error(*IMPOSSIBLE[name])


def test_transformations_put_anything_in_place_of_a_parameter():
    model = dg.Mixture(np.zeros(2), dg.Gaussian(FLAT, np.stack([np.eye(2)] * 2)))
    broken = jax.tree.map(lambda leaf: leaf * np.nan, model)
    assert np.isnan(broken.density.scale_tril).all()
    made = jax.jit(lambda mean: dg.DiagonalGaussian(mean, mean))(FLAT + np.inf)
    assert np.isinf(made.mean).all()
    assert jax.vmap(lambda rate: dg.log_prob(dg.Poisson(rate[None]), FLAT[:1]))(FLAT).shape == (2, 1)


def test_a_static_number_is_pythons_and_poisons_no_later_call():
    key = jax.random.key(0)
    for total in (jnp.array(3), np.int64(3), np.array(3)):
        dg.sample(dg.Multinomial(FLAT[:1], total_count=total), key)
    assert dg.sample(dg.Multinomial(FLAT[:1], total_count=5), key)[0].sum() == 5
    assert dg.priors.ColumnsPrior((None,)).blocks == (None,)


def test_integers_are_parameters():
    for rate in (np.array([[1, 2]]), jnp.array([[1, 2]]), [[1, 2]]):
        model = dg.Poisson(rate)
        assert model.log_rate.dtype == jnp.result_type(float)
        assert dg.sample(model, jax.random.key(0))[0].shape == (2,)


def test_a_diagonal_quadratic_of_two_shapes_is_refused(without_the_type_checker):
    with pytest.raises(ValueError, match=r"weight and square .* got shapes \(1, 2\) and \(1, 3\)"):
        dg.DiagonalQuadratic(jnp.zeros((1, 2)), jnp.zeros((1, 3)))
