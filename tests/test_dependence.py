"""Columns that nearly determine each other: what converged is the maximum there too, by float64's Newton steps."""

import warnings

import jax
import numpy as np
import pytest

import dgjax as dg


def left_to_gain(x, y, model):
    """What is left to gain at these parameters, in nats for each row: float64, columns made independent by Q R."""
    design, triangle = np.linalg.qr(np.c_[np.ones(len(x)), x.astype(float)])
    found = triangle @ np.r_[model.bias, model.scorer.weight[0]].astype(float)

    def loss(v):
        score = design @ v
        return (np.logaddexp(0, score) - y * score).mean()

    best = found
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ best))
        best = best - np.linalg.solve(design.T @ ((p * (1 - p))[:, None] * design), design.T @ (p - y))
    return loss(found) - loss(best)


@pytest.mark.parametrize("method", [dg.Newton(), pytest.param(dg.LBFGS(), marks=pytest.mark.slow)])
@pytest.mark.parametrize("apart", [1e-3, 1e-4, 1e-5])
def test_a_fit_of_nearly_dependent_columns_is_at_its_maximum_or_says_how_far(apart, method):
    """Newton's steps along their difference were a thousandth of what they should be, and promised as little."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        first, difference = rng.normal(size=(2, 300))
        x = np.c_[first, first + apart * difference].astype(np.float32)
        y = (rng.random(300) < 1 / (1 + np.exp(-1.5 * difference))).astype(int)
        with jax.enable_x64(False), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            fit = dg.fit(dg.logistic_regression(2, 2), x, y, method=method)
        left = left_to_gain(x, y, fit.model)
        assert fit.num_steps < 50
        assert left < 5e-5
        if fit.converged:
            assert not said
            assert left < 2e-6
        else:
            assert apart < 1e-4
            estimate = float(str(said[0].message).removeprefix("the fit ended ").split()[0])
            assert left <= 2 * estimate
            assert "column(s) 0, 1" in str(said[0].message)


def test_a_column_that_is_a_combination_of_others_takes_nothing_from_the_rest():
    """Beside nearly dependent columns there may be one that is nothing but a sum of others, or constant."""
    rng = np.random.default_rng(7)
    first, difference, other = rng.normal(size=(3, 300))
    pair = np.c_[first, first + 1e-3 * difference, other].astype(np.float32)
    y = (rng.random(300) < 1 / (1 + np.exp(-difference - other))).astype(int)
    wide = np.c_[np.ones(300), pair, pair[:, 0] * 2, pair[:, 2]].astype(np.float32)
    best, found = (dg.fit(dg.logistic_regression(own.shape[1], 2), own, y) for own in (pair, wide))
    assert best.converged
    assert found.converged
    np.testing.assert_allclose(found.objective[-1], best.objective[-1], rtol=1e-6)


def test_chains_of_nearly_dependent_columns_are_fitted_to_the_end():
    rng = np.random.default_rng(8)
    first, difference = rng.normal(size=(2, 20, 10))
    x = np.stack([first, first + 1e-4 * difference], -1).astype(np.float32)
    y = (rng.random((20, 10)) < 1 / (1 + np.exp(-2 * difference))).astype(int)
    near = dg.fit(dg.linear_chain_crf(2, 2), x, y)
    apart = np.stack([x[..., 0], 1e4 * (x[..., 1].astype(float) - x[..., 0])], -1).astype(np.float32)
    plain = dg.fit(dg.linear_chain_crf(2, 2), apart, y)
    np.testing.assert_allclose(near.objective[-1], plain.objective[-1], atol=1e-5 * x.shape[0])
