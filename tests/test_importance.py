"""Missing cells of flows by importance sampling: closed forms, honest errors, fills, whole numbers, what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_close

import dgjax as dg
from dgjax import testing

RNG = np.random.default_rng(0)
FACTOR = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.3, 0.5, 0.7]])
MEAN = np.array([1.0, -2.0, 0.5])
X = (MEAN + RNG.normal(size=(40, 3)) @ FACTOR.T).astype("float32")
HOLES = np.where(RNG.random(X.shape) < 0.4, np.nan, X).astype("float32")
NORMAL = dg.Gaussian(MEAN[None], FACTOR[None])


def affine(parameters, u):
    return parameters["mix"] @ u, jnp.log(jnp.abs(jnp.diag(parameters["mix"]))).sum()


def back(parameters, z):
    return jnp.linalg.solve(parameters["mix"], z), -affine(parameters, z)[1]


def flow():
    """A flow that is a normal distribution."""
    mix = {"mix": jnp.asarray(np.linalg.inv(FACTOR), "float32")}
    return dg.Flow(dg.Bijection(mix, affine, back), MEAN.astype("float32"), np.ones(3, "float32"))


def model(proposal=NORMAL, **options):
    return dg.ImportanceSampled(flow(), proposal, **options)


def broad():
    return dg.Gaussian(MEAN[None] + 0.2, 1.3 * FACTOR[None])


def test_by_its_own_conditionals_the_marginal_is_exact():
    expected = dg.log_prob(NORMAL, HOLES)
    assert_close(dg.log_prob(model(num_samples=3), HOLES), expected, 1e-3)
    assert float(dg.log_prob_error(model(num_samples=3), HOLES).max()) < 1e-3
    part = dg.marginal(model(num_samples=3), [2, 0])
    assert_close(dg.log_prob(part, X[:, [2, 0]]), dg.log_prob(dg.marginal(NORMAL, [2, 0]), X[:, [2, 0]]), 1e-3)
    assert (np.asarray(dg.log_prob(model(), np.full((1, 3), np.nan))) == 0).all()


@pytest.mark.slow
def test_by_broader_ones_it_is_within_its_error():
    expected = np.asarray(dg.log_prob(NORMAL, HOLES))
    each = [dg.log_prob(model(broad(), seed=seed), HOLES) for seed in range(20)]
    stated = np.asarray(dg.log_prob_error(model(broad()), HOLES))
    off = np.sqrt(np.mean((np.array(each) - expected) ** 2, axis=0))
    some = np.isnan(HOLES).any(1) & ~np.isnan(HOLES).all(1)
    assert 0.6 < np.median(off[some] / stated[some]) < 1.6
    assert (off[~np.isnan(HOLES).any(1)] < 1e-4).all()
    assert_close(dg.log_prob(model(broad()), HOLES[3:9]), dg.log_prob(model(broad()), HOLES)[3:9], 1e-5)


@pytest.mark.slow
def test_cells_are_filled_as_the_density_has_them():
    many = model(broad(), num_samples=2000)
    assert_close(dg.impute(many, HOLES), dg.impute(NORMAL, HOLES), 0.2)
    one = np.array([[1.5, np.nan, 0.0]], "float32")
    drawn = np.array([dg.sample_missing(many, jax.random.key(i), one)[0, 1] for i in range(200)])
    exact = np.array(dg.sample_missing(NORMAL, jax.random.key(0), np.repeat(one, 2000, 0)))[:, 1]
    assert abs(drawn.mean() - exact.mean()) < 4 * exact.std() / np.sqrt(200)
    assert 0.7 < drawn.std() / exact.std() < 1.4


@pytest.mark.slow
def test_of_classes_the_posterior_is_that_of_bayes_rule():
    classes = dg.Mixture(np.log([0.3, 0.7]), dg.Gaussian(np.stack([MEAN, MEAN + 1]), np.stack([FACTOR] * 2)))
    mix = {"mix": jnp.asarray(np.linalg.inv(FACTOR), "float32"), "shift": jnp.asarray(np.eye(2)[:, :1] * 0, "float32")}
    moves = jnp.asarray(np.array([[0.0] * 3, [1.0] * 3]), "float32")

    def forth(own, u, y):
        return own["mix"] @ (u - moves.T @ y), affine(own, u)[1]

    def again(own, z, y):
        return jnp.linalg.solve(own["mix"], z) + moves.T @ y, -affine(own, z)[1]

    density = dg.Flow(dg.Bijection(mix, forth, again), MEAN.astype("float32"), np.ones(3, "float32"), 2)
    own = dg.Mixture(np.log([0.3, 0.7]), dg.ImportanceSampled(density, classes, num_samples=300))
    assert_close(dg.predict_log_proba(own, HOLES), dg.predict_log_proba(classes, HOLES), 0.35)
    assert dg.capabilities(own).missing == "estimate"


def test_what_does_not_fit_is_refused():
    wrong = dataclasses.replace(NORMAL, mean=MEAN[None, :2], scale_tril=FACTOR[None, :2, :2])
    with pytest.raises(ValueError, match="same 3 columns; got 2"):
        model(wrong)
    whole = dataclasses.replace(flow(), whole=(1,))
    with pytest.raises(ValueError, match=r"whole numbers in column 1.*latent_class_analysis"):
        dg.ImportanceSampled(whole, NORMAL)
    with pytest.raises(ValueError, match="learned density"):
        dg.ImportanceSampled(NORMAL, NORMAL)


@pytest.mark.slow
def test_the_laws_of_densities_hold():
    def make(rng):
        bijection = dg.SplineBijection.start(jax.random.key(0), 3, 2, num_layers=2, width=4, num_bins=3)
        bijection = jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.2, leaf.shape), bijection)
        density = dg.Flow(bijection, rng.normal(size=3), np.exp(rng.normal(size=3)), 2)
        proposal = dg.Gaussian(rng.normal(size=(1, 3)), FACTOR[None])
        return dg.Mixture(rng.normal(size=2), dg.ImportanceSampled(density, proposal, num_samples=200))

    testing.check_model(make, learn=False, fixed=("proposal", "centre", "scale"))
