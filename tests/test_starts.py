"""Where fits start: at models that have a density, whose components differ, and at others each time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import slow
from zoo import CLASSIFIERS, ZOO, Case, every, num_labels

import dgjax as dg
from dgjax.learning import restarted  # what the starters and the restarts of a fit have in common

KEY = jax.random.key(0)
QUICK = ("full", "Poisson")


def chain(case):
    """The same density in a hidden Markov model."""

    def make(rng):
        density = case.make(rng).density
        k = density.label_shape[-1]
        return dg.HiddenMarkov(np.zeros(k), np.zeros((k, k)), density)

    return Case(f"chain of {case.name}", make)


CHAINS = [chain(case) for case in CLASSIFIERS if case.closed_form]


def starts_of(case, dtype, rows):
    """Two starts at clusters and two at random, of rows some of whose cells are missing."""
    model = case.model(dtype)
    x, y, ones = jnp.asarray(rows, dtype), jnp.full(len(rows), -1), jnp.ones(len(rows), dtype)
    keys = jax.random.split(KEY, 4)
    return [restarted(model, key, x, y, ones, random=i > 1) for i, key in enumerate(keys)], x


def components(model):
    """The parameters of each, side by side."""
    density, k = model.density, num_labels(model)
    own = [leaf.reshape(k, -1) for leaf in jax.tree.leaves(density) if leaf.shape[:1] == (k,)]
    return np.concatenate(own, axis=1)


def assert_start(start, x):
    assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(start))
    assert np.isfinite(dg.log_prob(start, x[None] if isinstance(start, dg.HiddenMarkov) else x)).all()
    own = components(start)
    assert all((own[i] != own[j]).any() for i in range(len(own)) for j in range(i))


@pytest.mark.parametrize("dtype", ["float32", *slow("float64")])
@every(CLASSIFIERS + CHAINS, QUICK)
def test_starts_have_a_density_and_components_that_differ(case, dtype, x64):
    """Of rows with missing cells; and of two distinct rows, fewer than there are components."""
    sampled = next(own for own in ZOO if case.name.endswith(own.name)).rows(dtype)[0]
    rows = np.where(np.random.default_rng(0).random(sampled.shape) < 0.2, np.nan, sampled)
    starts, x = starts_of(case, dtype, rows)
    for start in starts:
        assert_start(start, x)
    for one, other in ((0, 2), (1, 2), (2, 3)):
        assert (components(starts[one]) != components(starts[other])).any()
    sampled = np.unique(np.asarray(sampled), axis=0)
    starts, x = starts_of(case, dtype, sampled[np.arange(len(rows)) % 2])
    for start in starts:
        assert_start(start, x)


def two_tight(seed):
    """Rows of two clusters, 10^4 times as far from each other as wide, and which each is of."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(2, 16))
    centres *= 16 / np.linalg.norm(centres[0] - centres[1])
    y = rng.integers(2, size=120)
    return (centres[y] + 10 ** rng.uniform(-3.7, -2.2) * rng.normal(size=(120, 16))).astype(np.float32), y


@pytest.mark.parametrize("covariance", ["full", "diagonal", *slow("tied", "spherical")])
def test_tight_clusters_far_apart_start_with_their_own_covariances(covariance):
    """Of which four in ten were NaN, for a share of each row went to the other cluster."""
    for seed in range(20):
        x, y = two_tight(seed)
        density = dg.gaussian_mixture(jax.random.key(seed), x, 2, covariance).density
        scale = np.exp(density.log_scale) if hasattr(density, "log_scale") else density.scale_tril
        variance = (scale**2).sum(-1) if hasattr(density, "scale_tril") else scale**2
        within = np.mean([x[y == k].astype(float).var(0) for k in range(2)])
        assert 0.5 < variance.mean() / within < 2


@pytest.mark.slow
def test_chains_and_mixtures_in_classes_start_right_on_tight_clusters():
    for seed in range(10):
        x, _ = two_tight(seed)
        chain = dg.hidden_markov(jax.random.key(seed), x.reshape(6, 20, 16), 2)
        classes = dg.mixture_discriminant_analysis(jax.random.key(seed), x, np.arange(120) % 2)
        for model, rows in ((chain, x.reshape(6, 20, 16)), (classes, x)):
            assert np.isfinite(dg.log_prob(model, rows)).all()
            labels = None if model is chain else np.arange(120) % 2
            assert np.isfinite(dg.fit(model, rows, labels, prior="weak").objective[-1])


def awkward():
    """Rows on which a fit without a prior has no maximum."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3))
    constant, same = rows.copy(), np.tile(rows[:1], (60, 1))
    constant[:, 1] = 3.0
    return {"constant column": constant, "percentages": 100 * rng.dirichlet(np.ones(3), 60), "same rows": same}


@pytest.mark.parametrize("covariance", ["full", *slow("tied", "diagonal", "spherical")])
def test_with_a_weak_prior_every_start_leads_to_a_fit(covariance):
    for x in awkward().values():
        start = dg.gaussian_mixture(KEY, x, 2, covariance)
        assert np.isfinite(dg.fit(start, x, prior="weak").objective[-1])
    one = dg.gaussian_mixture(KEY, x[:1], 1, covariance)
    assert np.isfinite(dg.fit(one, x[:1], prior="weak").objective[-1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the fit ended at max_steps:dgjax.ConvergenceWarning")
@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal", "spherical"])
def test_pixels_that_are_always_0_need_a_weak_prior_and_no_more(covariance):
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    mixture = dg.gaussian_mixture(KEY, x, 10, covariance)
    classes = dg.mixture_discriminant_analysis(KEY, x, y, 2, covariance)
    chain = dg.hidden_markov(KEY, x[None, :500], 3, covariance=covariance)
    for start, rows, labels in ((mixture, x, None), (classes, x, y), (chain, x[None, :500], None)):
        assert np.isfinite(dg.fit(start, rows, labels, prior="weak", max_steps=20).objective[-1])


def islands():
    """Letters A, C, G, T, rich in C and G or in A and T in turn: states that differ in pairs of categories."""
    rng = np.random.default_rng(0)
    p = np.array([[0.15, 0.35, 0.35, 0.15], [0.35, 0.15, 0.15, 0.35]])
    moved = rng.random((20, 100)) > 0.95
    state = (rng.integers(0, 2, (20, 1)) + np.cumsum(moved, 1)) % 2
    return (rng.random((20, 100, 1)) > np.cumsum(p, 1)[state]).sum(-1)[..., None].astype(float), "categorical", 2


def cycle():
    """On and off, from a cycle of four states."""
    rng = np.random.default_rng(0)
    p = np.array([0.05, 0.1, 0.95, 0.9])
    slips = np.cumsum(rng.random((20, 100)) < 0.05, 1)
    state = (np.arange(100) + rng.integers(0, 4, (20, 1)) + slips) % 4
    return (rng.random((20, 100)) < p[state])[..., None].astype(float), "bernoulli", 4


@pytest.mark.slow
@pytest.mark.parametrize("data", [islands, cycle])
def test_restarts_of_discrete_chains_come_to_what_the_best_of_random_starts_does(data):
    x, kind, k = data()
    start = dg.hidden_markov(KEY, x, k, kind)
    best = dg.fit(start, x, method=dg.Restarts(20, jax.random.key(1)))
    rng, found = np.random.default_rng(0), []
    for _ in range(20):
        logits = rng.dirichlet(np.ones(4), (k, 1)) if kind == "categorical" else rng.normal(size=(k, 1))
        density = dg.Categorical(jnp.log(logits)) if kind == "categorical" else dg.Bernoulli(jnp.asarray(logits))
        moves = jnp.log(rng.dirichlet(np.ones(k), k))
        found.append(float(dg.fit(dg.HiddenMarkov(jnp.zeros(k), moves, density), x).objective[-1]))
    assert best.objective[-1] > max(found) - 1


def test_starts_that_collapse_are_dropped_and_told():
    """The one given has a component on a single row; clusters have several."""
    x = np.array([[0.0], [1.0], [0.5], [0.2], [10.0], [10.8], [10.4]])
    start = dg.Mixture(jnp.zeros(2), dg.DiagonalGaussian(jnp.array([[5.0], [10.4]]), jnp.array([[2.0], [-6.0]])))
    with pytest.warns(dg.ConvergenceWarning, match="starts were dropped"):
        best = dg.fit(start, x, method=dg.Restarts(2, KEY))
    assert np.isfinite(best.objective[-1])
