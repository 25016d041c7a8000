"""Mixtures of normal distributions by EM: every covariance, beside other libraries."""

import numpy as np
import pytest
from peers import mixture_of_gmmx, mixture_of_scikit_learn

import dgjax as dg

STEPS = 10
FULL = [(204_800, 8, 8), (204_800, 16, 16), (102_400, 32, 32), (1_024_000, 2, 4), (20_000, 64, 16)]
OTHERS = [(204_800, 16, 16), (204_800, 32, 16), (1_024_000, 2, 4)]


def clusters(n, d, k, dtype, missing=0.0, seed=0):
    """Rows of k normal clusters with their own spread in each column, and k of them to start from."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(k, d))
    x = (centres[rng.integers(k, size=n)] + rng.normal(size=(n, d)) * rng.uniform(0.5, 1.5, d)).astype(dtype)
    mean = (centres + 0.5 * rng.normal(size=(k, d))).astype(dtype)
    return np.where(rng.random((n, d)) < missing, np.nan, x).astype(dtype), mean


def start_at(mean, covariance):
    """Equal weights and unit covariances."""
    k, d = mean.shape
    density = {
        "full": lambda: dg.Gaussian(mean, np.stack([np.eye(d, dtype=mean.dtype)] * k)),
        "tied": lambda: dg.Gaussian(mean, np.eye(d, dtype=mean.dtype)),
        "diagonal": lambda: dg.DiagonalGaussian(mean, np.zeros((k, d), mean.dtype)),
        "spherical": lambda: dg.DiagonalGaussian(mean, np.zeros((k, 1), mean.dtype)),
    }[covariance]()
    return dg.Mixture(np.zeros(k, mean.dtype), density)


def em_flops(n, d, k, covariance, steps=STEPS):
    """What the scores and statistics of EM need, each covariance in its cheapest form."""
    per_row = {"full": 2 * k * d * (d + 1), "tied": 2 * d * (d + 1) + 6 * k * d}.get(covariance, 8 * k * d)
    return n * per_row * (steps + 1)


CASES = [("full", *shape) for shape in FULL]
CASES += [(covariance, *shape) for covariance in ("tied", "diagonal", "spherical") for shape in OTHERS]


@pytest.mark.parametrize(("covariance", "n", "d", "k"), CASES)
def test_mixture(beside, quick, dtype, covariance, n, d, k):
    n = n // 10 if quick else n
    x, mean = clusters(n, d, k, dtype)
    start = start_at(mean, covariance)

    def fit():
        return dg.fit(start, x, method=dg.EM(tol=0.0), max_steps=STEPS).model

    peers = {"scikit-learn": mixture_of_scikit_learn(x, mean, covariance, STEPS)}
    in_jax = mixture_of_gmmx(x, mean, covariance, STEPS)
    if in_jax is not None:
        peers["gmmx"] = in_jax

    def check():
        ours = float(dg.log_prob(fit(), x).mean())
        assert ours == pytest.approx(peers["scikit-learn"]().score(x), rel=1e-6 if dtype == "float64" else 1e-4)

    facts = {"n": n, "d": d, "k": k, "dtype": dtype, "steps": STEPS, "family": f"{covariance} mixture"}
    beside(fit, peers, flops=em_flops(n, d, k, covariance), check=check, **facts)
