"""Means and quantiles of forecasts, beside scipy's distributions and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax as dg

stats = pytest.importorskip("scipy.stats")

MOVES = np.log([[0.9, 0.1], [0.2, 0.8]])
SHARES = 0.05, 0.5, 0.9


def chain(density):
    return dg.HiddenMarkov(np.log([0.5, 0.5]), MOVES, density)


def ahead(density, d, last=np.nan):
    x = np.full((2, 4, d), np.nan)
    x[1, :] = last
    return dg.forecast(chain(density), x, 3)


def proba(found):
    logs = np.asarray(found.log_proba, float)
    return np.exp(logs) / np.exp(logs).sum(-1, keepdims=True)


NORMALS = {
    "diagonal": dg.DiagonalGaussian(np.array([[-2.0, 1], [3, 5]]), np.log([[1.0, 2], [0.5, 1]])),
    "spherical": dg.DiagonalGaussian(np.array([[-2.0, 1], [3, 5]]), np.log([[1.0], [0.5]])),
    "full": dg.Gaussian(np.array([[-2.0, 1], [3, 5]]), np.array([[[1.0, 0], [2, 1]], [[0.5, 0], [-1, 0.3]]])),
    "tied": dg.Gaussian(np.array([[-2.0, 1], [3, 5]]), np.array([[1.0, 0], [2, 1]])),
    "factors": dg.FactorGaussian(
        np.array([[-2.0, 1, 0], [3, 5, 0]]), np.array([[[1.0], [2], [0]], [[0.5], [-1], [1]]]), np.zeros((2, 3))
    ),
}


@pytest.mark.parametrize("density", NORMALS.values(), ids=NORMALS)
def test_below_a_quantile_of_normals_lies_its_share(density):
    d = density.num_features
    found = ahead(density, d, last=3.0)
    if isinstance(density, dg.DiagonalGaussian):
        spreads = np.broadcast_to(np.exp(density.log_scale), density.mean.shape)
    else:
        whole = density.as_gaussian() if isinstance(density, dg.FactorGaussian) else density
        covariances = whole.scale_tril @ jnp.swapaxes(whole.scale_tril, -1, -2)
        spreads = np.broadcast_to(np.sqrt(np.diagonal(covariances, axis1=-2, axis2=-1)), density.mean.shape)
    for share in SHARES:
        values = np.asarray(found.quantile(share), float)
        assert values.shape == (2, 3, d)
        below = stats.norm.cdf(values[:, :, None], np.asarray(density.mean), spreads)
        np.testing.assert_allclose((proba(found)[..., None] * below).sum(2), share, atol=2e-6)
    np.testing.assert_allclose(found.mean(), proba(found) @ np.asarray(density.mean, float), rtol=1e-5)


def test_mixtures_in_states_and_columns_of_several_kinds():
    within = dg.Mixture(
        np.log([[0.3, 0.7], [0.5, 0.5]]), dg.DiagonalGaussian(np.arange(4.0).reshape(2, 2, 1), np.zeros((2, 2, 1)))
    )
    density = dg.Columns((dg.Poisson(np.log([[2.0], [30.0]])), within), ((1,), (0,)))
    found = ahead(density, 2)
    weights = proba(found)
    for share in SHARES:
        real, count = np.moveaxis(np.asarray(found.quantile(share), float), -1, 0)
        inner = np.array([[0.3, 0.7], [0.5, 0.5]]) * stats.norm.cdf(real[..., None, None], np.arange(4.0).reshape(2, 2))
        np.testing.assert_allclose((weights * inner.sum(-1)).sum(-1), share, atol=2e-6)
        at, before = (
            (weights * stats.poisson.cdf(value[..., None], [2.0, 30.0])).sum(-1) for value in (count, count - 1)
        )
        assert (at >= share - 1e-5).all()
        assert (before < share + 1e-5).all()
    np.testing.assert_allclose(found.mean([1])[..., 0], weights @ [2.0, 30.0], rtol=1e-4)
    assert found.quantile(0.5, columns=[1]).shape == (2, 3, 1)


def test_a_column_of_another_kind_is_drawn_from():
    """A multinomial's column is binomial."""
    density = dg.Multinomial(np.log([[0.2, 0.8], [0.6, 0.4]]), 20)
    found = ahead(density, 2)
    weights = proba(found)
    values = np.asarray(found.quantile(0.5))[..., 0]
    at = (weights * stats.binom.cdf(values[..., None], 20, [0.2, 0.6])).sum(-1)
    before = (weights * stats.binom.cdf(values[..., None] - 1, 20, [0.2, 0.6])).sum(-1)
    assert (at > 0.48).all()
    assert (before < 0.52).all()
    np.testing.assert_allclose(found.mean()[..., 0], weights @ [4.0, 12.0], rtol=0.01)


def test_an_interval_holds_its_share_of_what_follows():
    model = chain(NORMALS["diagonal"])
    x, _ = dg.sample(model, jax.random.key(0), (4000, 7))
    found = dg.forecast(model, x[:, :5], 2)
    low, high = found.interval(0.8)
    np.testing.assert_array_equal(low, found.quantile(0.1))
    inside = (np.asarray(x[:, 5:]) >= low) & (np.asarray(x[:, 5:]) <= high)
    np.testing.assert_allclose(inside.mean(0), 0.8, atol=4 * np.sqrt(0.8 * 0.2 / 4000))


REFUSED = {
    "a percentage": (lambda found: found.quantile(5), "share"),
    "a share of 1": (lambda found: found.quantile(1.0), "between 0 and 1"),
    "a level of 0": (lambda found: found.interval(0.0), "between 0 and 1"),
    "a column too many": (lambda found: found.mean([2]), "columns"),
    "inside jit": (lambda found: jax.jit(lambda found: found.mean())(found), "Ask outside"),
}


@pytest.mark.parametrize(("call", "told"), REFUSED.values(), ids=REFUSED)
@pytest.mark.usefixtures("without_the_type_checker")
def test_what_is_refused_is_told(call, told):
    with pytest.raises(ValueError, match=told):
        call(ahead(NORMALS["diagonal"], 2))


def test_categories_have_no_quantiles_and_the_advice_works():
    density = dg.Columns(
        (dg.Categorical(np.zeros((2, 1, 3))), dg.DiagonalGaussian(np.zeros((2, 1)), np.zeros((2, 1)))), ((0,), (1,))
    )
    found = ahead(density, 2)
    with pytest.raises(ValueError, match=r"Leave it out: columns=\["):
        found.mean()
    np.testing.assert_allclose(found.quantile(0.5, columns=[1]), 0, atol=1e-6)
