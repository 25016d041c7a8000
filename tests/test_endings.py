"""Endings of fits by gradient: what is said of a maximum that was not reached is no more than what is known."""

import dataclasses
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from advised import typed
from sklearn.datasets import load_wine

import dgjax as dg

Y = np.arange(60) % 3
UNITS = np.array([1, 1e3, 1e5])
X = (np.random.default_rng(0).normal(size=(60, 3)) + Y[:, None] + [0, 3, 7]) * UNITS
Z = (X - X.mean(0)) / X.std(0)


class Stopped(dg.LBFGS):
    """A fit whose steps no longer gain, though a step promises two nats for each row."""

    def result(self, problem, state):
        return super().result(
            problem, dataclasses.replace(state, inner=state.inner._replace(gap=jnp.full((), 2.0), converged=True))
        )


def said(*arguments, **options):
    """A fit, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = dg.fit(*arguments, **options)
    return fit, " ".join(str(one.message) for one in caught)


def network(d=3):
    return dg.neural_classifier(jax.random.key(0), d, 3, hidden=(5,))


@pytest.mark.slow
def test_a_network_on_columns_with_units_gains_by_what_is_told():
    """Wine: in units of their own the columns stop L-BFGS short; scaled, the classes are separated; then a ridge."""
    x, y = load_wine(return_X_y=True)
    start = dg.neural_classifier(jax.random.key(0), 13, 3)
    raw, told = said(start, x, y, max_steps=5000)
    assert not raw.converged
    assert "not concave" in told
    x = eval(typed(told).removeprefix("x = "), {"x": x})
    scaled, told = said(start, x, y)
    assert scaled.objective[-1] > raw.objective[-1]
    assert "separated" in told
    held, told = said(start, x, y, prior=dg.priors.Ridge(0.01))
    assert held.converged
    assert not told


def test_of_a_network_no_distance_from_a_maximum_is_told():
    fit, told = said(network(), X, Y, Stopped(), max_steps=2)
    assert f"at {fit.objective[-1] / 60:.3g} nats" in told
    assert "not concave" in told
    assert "short" not in told
    assert "column(s)" not in told
    assert "x_enable" not in told
    np.testing.assert_allclose(eval(typed(told).removeprefix("x = "), {"x": X}), Z)
    constant = np.c_[X, np.ones(60)]
    _, told = said(network(4), constant, Y, Stopped(), max_steps=2)
    names = {"x": constant, "np": np}
    np.testing.assert_allclose(eval(typed(told).removeprefix("x = "), names), np.c_[Z, np.zeros(60)], atol=1e-12)


def test_a_network_on_scaled_columns_is_told_another_method():
    _, told = said(network(), Z, Y, Stopped(), max_steps=2)
    method = eval(typed(told).removeprefix("method="), {"dgjax": dg, "optax": optax})
    assert np.isfinite(dg.fit(network(), Z, Y, method, max_steps=3).objective).all()


def test_of_a_blend_no_distance_from_a_maximum_is_told():
    start = dg.discriminant_analysis(Z, Y)
    _, told = said(start, Z, Y, Stopped(), blend=0.5, max_steps=2)
    assert "not concave" in told
    assert "short" not in told
    assert np.isfinite(
        dg.fit(start, Z, Y, blend=0.5, prior=eval(typed(told)[6:], {"dgjax": dg, "model": start, "x": Z})).objective
    ).all()


@pytest.mark.parametrize("strength", [0.0, 0.1])
def test_what_is_left_to_gain_is_at_most_the_loss(strength):
    """Since log p(y | x) is at most 0, and a ridge at least."""
    y = (Y > 0).astype(int)
    fit, told = said(dg.logistic_regression(3, 2), Z, y, Stopped(), prior=dg.priors.Ridge(strength), max_steps=20)
    left = float(re.search(r"ended (\S+) nats", told)[1])
    assert 0 < left <= -1.01 * fit.objective[-1] / 60 < 1
