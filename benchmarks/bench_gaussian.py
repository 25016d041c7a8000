"""Mixtures of normal distributions by EM: every covariance, beside other libraries."""

import pytest
from peers import mixture_of_gmmx, mixture_of_scikit_learn
from problems import clusters, em_flops, start_at

import dgjax as dg

STEPS = 10
FULL = [(204_800, 8, 8), (204_800, 16, 16), (102_400, 32, 32), (1_024_000, 2, 4), (20_000, 64, 16)]
OTHERS = [(204_800, 16, 16), (204_800, 32, 16), (1_024_000, 2, 4)]


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
    beside(fit, peers, flops=em_flops(n, d, k, covariance, STEPS), check=check, **facts)
