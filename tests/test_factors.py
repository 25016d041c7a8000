"""Factor models: what the laws of the zoo do not ask, of encoding, ranks, starts and recommendations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_close

import dgjax as dg

pytestmark = pytest.mark.xdist_group("factors")
KEY, N, D, R = jax.random.key(0), 60, 5, 2


def truth(seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    loading, log_scale = rng.normal(size=(1, D, R)), np.full((1, D), np.log(noise))
    return dg.FactorGaussian(rng.normal(size=(1, D)), loading, log_scale)


def rows(seed=0, n=N, share=0.3):
    rng = np.random.default_rng(seed)
    x = np.array(dg.sample(truth(), jax.random.key(seed), n)[0], float)
    return np.where(rng.random(x.shape) < share, np.nan, x)


def conditional(density, row):
    """Mean and covariance of all cells given the observed ones, by inverting the covariance of these."""
    covariance = density.loading[0] @ density.loading[0].T + np.diag(np.exp(2 * density.log_scale[0]))
    seen = ~np.isnan(row)
    gain = covariance[:, seen] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    return density.mean[0] + gain @ (row - density.mean[0])[seen], covariance - gain @ covariance[seen]


def test_the_whole_covariance_is_that_of_a_gaussian(x64):
    density, x = truth(), rows(share=0.5)
    x[0] = np.nan
    same = density.as_gaussian()
    assert_close(dg.log_prob(density, x), dg.log_prob(same, x))
    assert_close(dg.impute(density, x), dg.impute(same, x))


def test_small_noise_loses_no_digits():
    """Scales a million times smaller than what the factors move: M has the condition 1e12, and float32 seven digits."""
    exact = truth(noise=1e-6)
    x = np.asarray(dg.sample(exact, KEY, 20)[0], "float32")
    with jax.enable_x64(True):
        wanted = dg.log_prob(dg.FactorGaussian(*(np.asarray(leaf, float) for leaf in jax.tree.leaves(exact))), x)
    # A cell's own rounding, of 1e-7, is a tenth of its noise.
    np.testing.assert_allclose(dg.log_prob(exact, x), wanted, rtol=2e-2, atol=2)


def test_factors_given_a_row(x64):
    """E[f | x] = W^T C^-1 (x - mean), Cov[f | x] = I - W^T C^-1 W, over observed cells."""
    density, x = truth(), rows()
    mean, scale = dg.encode(density, x)
    for i in (0, 7):
        seen = ~np.isnan(x[i])
        own = np.asarray(density.loading[0])[seen]
        gain = own.T @ np.linalg.inv(own @ own.T + np.diag(np.exp(2 * density.log_scale[0]))[np.ix_(seen, seen)])
        assert_close(mean[i], gain @ (x[i] - density.mean[0])[seen])
        assert_close(scale[i] ** 2, np.diag(np.eye(R) - gain @ own))
    two = dg.Mixture(np.zeros(2), jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf + 1]), density))
    for label, own in enumerate((density, jax.tree.map(lambda leaf: leaf + 1, density))):
        assert_close(dg.encode(two, x, np.full(len(x), label))[0], dg.encode(own, x)[0])
    assert_close(dg.encode(two, x)[0], dg.encode(two, x, dg.predict(two, x))[0])


@pytest.mark.parametrize("noise", ["diagonal", "shared"])
def test_a_fit_finds_what_drew_the_rows(noise, x64):
    x = rows(1, 400)
    fitted = dg.fit(dg.factor_analysis(KEY, x, R, noise), x, method=dg.EM(1e-9), max_steps=2000)
    assert fitted.converged
    assert fitted.objective[-1] > dg.log_prob(truth(), x).sum()
    found, wanted = (own.as_gaussian().scale_tril[0] for own in (fitted.model.density, truth()))
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=0.5)
    weak = dg.fit(fitted.model, x, prior="weak", max_steps=2000)
    assert weak.converged
    assert np.diff(weak.objective).min() > -1e-9 * abs(weak.objective[-1])


def test_a_factor_may_become_a_column():
    """A Heywood case: the noise of a column goes to what is resolved, and the likelihood has a maximum nevertheless."""
    f, e = np.split(np.random.default_rng(0).normal(size=(200, 5)).astype("float32"), [1], 1)
    x = np.concatenate([f, f + e[:, :3]], 1)
    fitted = dg.fit(dg.factor_analysis(KEY, x, 1), x, max_steps=3000)
    assert fitted.converged
    scale = np.exp(fitted.model.density.log_scale[0])
    assert scale[0] < 0.25 < 0.8 < scale[1:].min()
    there = dg.FactorGaussian(x.mean(0)[None], np.ones((1, 4, 1)), [[-30.0, 0.0, 0.0, 0.0]])
    went = dg.fit(there, x, method=dg.EM(0.0), max_steps=50)
    assert went.objective[-1] > fitted.objective[-1] - 0.5
    assert 1e-4 < np.exp(went.model.log_scale[0, 0]) < 1e-2


def test_an_item_that_nobody_has_rated_is_what_the_prior_says(x64):
    x = rows(7)
    x[:, 3] = np.nan
    with pytest.raises(ValueError, match="never observed"):
        dg.fit(truth(), x, prior="weak")
    prior = dg.priors.FactorPrior(1.5, 2.0, 3.0, 2.0, 1.0, loading=[0.4, 0.0])
    fitted = dg.fit(truth(), x, prior=prior, max_steps=400)
    assert_close(fitted.model.mean[0, 3], 1.5, 1e-6)
    assert_close(fitted.model.loading[0, 3], np.array([0.4, 0.0]), 1e-6)
    assert_close(np.exp(2 * fitted.model.log_scale[0, 3]), 2 * 1.0 / (2 * 2.0 + 3 + R), 1e-6)
    assert np.diff(fitted.objective).min() > -1e-9


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_units_are_the_user_s(scale):
    x = rows(8).astype("float32")
    one, other = (dg.factor_analysis(KEY, x * own, R, noise) for own, noise in ((1, "diagonal"), (scale, "diagonal")))
    fits = [
        dg.fit(start, x * own, method=dg.EM(0.0), max_steps=50).model
        for start, own in ((one, 1), (other, np.float32(scale)))
    ]
    filled = [
        np.asarray(dg.impute(model, x * own)) / own for model, own in zip(fits, (1, np.float32(scale)), strict=True)
    ]
    np.testing.assert_allclose(*filled, rtol=2e-2, atol=2e-2)
    assert np.isfinite(dg.recommend(fits[1], x * np.float32(scale), 1).scale[:3]).any()


def test_float32_beside_x64(x64):
    x = rows(9).astype("float32")
    model = dg.fit(dg.factor_analysis(KEY, x, R), x, method=dg.EM(0.0), max_steps=3).model
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {np.dtype("float32")}


def test_a_start_of_equal_rows_is_finite():
    x = np.tile(rows(1, share=0)[:1], (6, 1)).astype("float32")
    start = dg.factor_analysis(KEY, x, R)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(start))
    assert np.isfinite(dg.fit(start, x, prior="weak").objective).all()


def test_far_from_the_rows_it_comes_back():
    x = rows(2, share=0.2).astype("float32")
    far = truth()
    far = dg.FactorGaussian(far.mean + 1e4, far.loading, far.log_scale)
    fitted = dg.fit(far, x, max_steps=500)
    near = dg.fit(truth(), x, max_steps=500)
    assert fitted.objective[-1] > near.objective[-1] - 1


def test_columns_that_say_the_same_are_named():
    x = rows(2, share=0).astype("float32")
    x = np.concatenate([x, x[:, :2]], 1)
    with pytest.raises(ValueError, match=r"column [56] is a combination of") as told:
        dg.fit(dg.factor_analysis(KEY, x, 3), x, max_steps=20_000)
    assert 'prior="weak"' in str(told.value)
    assert np.isfinite(dg.fit(dg.factor_analysis(KEY, x, 3), x, prior="weak", max_steps=100).objective).all()


def test_clusters_of_factors():
    rng = np.random.default_rng(3)
    x = np.concatenate([rows(3, share=0), rows(4, share=0) * rng.normal(size=D) + 12]).astype("float32")
    fitted = dg.fit(dg.factor_analysis(KEY, x, 1, num_components=2), x, prior="weak")
    labels = np.asarray(dg.predict(fitted.model, x))
    assert (labels[:N] == labels[0]).all()
    assert (labels[N:] == 1 - labels[0]).all()


def test_many_columns_take_memory_for_columns_and_not_for_their_products():
    n, d = 40, 3000
    x = np.random.default_rng(0).normal(size=(n, d)).astype("float32")
    model = dg.factor_analysis(KEY, x, 2)
    step = jax.jit(lambda model, x: dg.fit(model, x, max_steps=1, method=dg.EM(0.0)).model)
    used = step.lower(model, x).compile().memory_analysis().temp_size_in_bytes
    assert used < 60 * 4 * n * d < 4 * d * d


def test_recommendations_are_conditional_means(x64):
    density, x = truth(), rows(5, share=0.6)
    x[0], x[1] = np.nan, 1.0
    best = dg.recommend(density, x, 3)
    assert best.items.shape == best.mean.shape == best.scale.shape == (N, 3)
    for i in range(8):
        mean, covariance = conditional(density, x[i])
        unseen = np.flatnonzero(np.isnan(x[i]))
        order = unseen[np.argsort(-mean[unseen])][:3]
        count = len(order)
        np.testing.assert_array_equal(best.items[i], np.pad(order, (0, 3 - count), constant_values=-1))
        assert_close(best.mean[i, :count], mean[order])
        assert_close(best.scale[i, :count], np.sqrt(np.diag(covariance)[order]))
        assert np.isnan(best.mean[i, count:]).all()
        assert np.isnan(best.scale[i, count:]).all()
    low, high = best.interval(0.9)
    known = np.asarray(best.items) >= 0
    assert_close(np.asarray(high - low)[known], 2 * 1.6448536269514722 * np.asarray(best.scale)[known])


def test_a_mixture_recommends_by_all_its_components(x64):
    one = truth()
    two = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), one, truth(1))
    x = rows(6)[:5]
    mixture = dg.Mixture(np.zeros(2), two)
    best = dg.recommend(mixture, x, 1)
    filled = np.asarray(dg.impute(mixture, x))
    for i, item in enumerate(best.items[:, 0]):
        if item >= 0:
            assert_close(best.mean[i, 0], filled[i, item])
            draws = jax.vmap(lambda key, i=i: dg.sample_missing(mixture, key, x[i : i + 1])[0])(
                jax.random.split(KEY, 4000)
            )
            np.testing.assert_allclose(best.scale[i, 0], draws[:, item].std(), rtol=0.06)
