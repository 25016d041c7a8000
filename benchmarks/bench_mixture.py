"""Gaussian mixture EM beside scikit-learn's: the same data, start, steps and precision, and the same likelihood."""

import jax
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

import dgjax as dg

STEPS = 10


@pytest.fixture(params=[(20_000, 8, 8), (100_000, 2, 4)], ids=lambda shape: "n={} d={} k={}".format(*shape))
def problem(request):
    n, d, k = request.param
    rng = np.random.default_rng(0)
    mean = 3 * rng.normal(size=(k, d))
    x = mean[rng.integers(0, k, n)] + rng.normal(size=(n, d))
    with jax.enable_x64(True):
        yield x, dg.Mixture(np.zeros(k), dg.Gaussian(mean, np.stack([np.eye(d)] * k)))


def ours(x, start):
    return dg.fit(start, x, tol=0.0, max_steps=STEPS).model


def theirs(x, start):
    k, d = start.density.mean.shape
    peer = GaussianMixture(
        k,
        tol=0,
        reg_covar=0,
        max_iter=STEPS,
        weights_init=np.full(k, 1 / k),
        means_init=start.density.mean,
        precisions_init=np.stack([np.eye(d)] * k),
    )
    return peer.fit(x)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_they_agree(problem):
    x, start = problem
    peer = theirs(x, start).score(x)
    assert float(dg.log_prob(ours(x, start), x).mean()) == pytest.approx(peer, rel=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("fit", [ours, theirs])
def test_expectation_maximisation(benchmark, problem, fit):
    fit(*problem)
    benchmark.pedantic(lambda: jax.block_until_ready(jax.tree.leaves(fit(*problem))), rounds=5)
