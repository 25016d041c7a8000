"""Chains: forward-backward, its derivative, Viterbi and Baum-Welch, beside hmmlearn and dynamax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chain_peers import (
    baum_welch_of_dynamax,
    baum_welch_of_hmmlearn,
    forward_backward_of_hmmlearn,
    gradient_of_dynamax,
    smoother_of_dynamax,
    viterbi_of_hmmlearn,
)
from peers import installed
from problems import chain, chain_at, emissions

import dgjax as dg
import dgjax_kernels as kernels

SHAPES = [(64, 1000, 3), (64, 1000, 8), (64, 1000, 16), (64, 1000, 64), (1024, 100, 8), (1, 50_000, 5), (1024, 1000, 4)]
LEARNT = [(64, 1000, 4, 8, "full"), (1024, 100, 8, 8, "diagonal"), (64, 1000, 16, 4, "full")]
TOLERANCE, MOST_STEPS = 1e-4, 20


def problem(n, t, k, dtype, quick):
    """Start, moves and scores of a few sequences in a quick run, and how long they are."""
    n = max(1, n // 8) if quick else n
    return n, *chain(n, t, k, dtype), jnp.full(n, t)


chains = pytest.mark.parametrize(("n", "t", "k"), SHAPES)


@chains
def test_forward_backward(beside, quick, dtype, n, t, k):
    n, *arguments = problem(n, t, k, dtype, quick)
    ours, peers = jax.jit(kernels.chain_expectation), {}
    if dtype == "float64" and installed("hmmlearn"):
        peers["hmmlearn"] = lambda: forward_backward_of_hmmlearn(*arguments[:3])
    if dtype == "float32" and installed("dynamax"):
        peers["dynamax"] = smoother_of_dynamax(*arguments[:3])

    def check():
        value, marginals, counts = ours(*arguments)
        digits = 1e-9 if dtype == "float64" else 3e-5
        for peer in peers.values():
            theirs = peer()
            np.testing.assert_allclose(theirs[0], value, rtol=digits)
            np.testing.assert_allclose(theirs[1], marginals, atol=100 * digits)
            np.testing.assert_allclose(theirs[2], counts, rtol=1e3 * digits, atol=100 * digits)

    facts = {"n": n, "t": t, "k": k, "dtype": dtype, "family": "forward-backward"}
    beside(lambda: ours(*arguments), peers, check=check, rounds=7, **facts)


@chains
def test_value_and_gradient(beside, quick, single, n, t, k):
    n, *arguments, lengths = problem(n, t, k, single, quick)

    @jax.jit
    def ours(*arguments):
        return jax.value_and_grad(lambda *a: kernels.chain_partition(*a, lengths).sum(), (0, 1, 2))(*arguments)

    peers = {}
    if installed("dynamax"):
        peers["dynamax, differentiated"] = gradient_of_dynamax(*arguments)

    def check():
        value, gradient = ours(*arguments)
        for peer in peers.values():
            theirs = peer()
            np.testing.assert_allclose(theirs[0], value, rtol=3e-5)
            np.testing.assert_allclose(theirs[1][2], gradient[2], atol=3e-3)

    facts = {"n": n, "t": t, "k": k, "dtype": single, "family": "chain, value and gradient"}
    beside(lambda: ours(*arguments), peers, check=check, rounds=7, **facts)


@chains
def test_viterbi(beside, quick, x64, n, t, k):
    n, *arguments = problem(n, t, k, "float64", quick)
    ours, peers = jax.jit(kernels.chain_mode), {}
    if installed("hmmlearn"):
        peers["hmmlearn"] = lambda: viterbi_of_hmmlearn(*arguments[:3])

    def check():
        for peer in peers.values():
            np.testing.assert_array_equal(peer(), ours(*arguments))

    facts = {"n": n, "t": t, "k": k, "family": "Viterbi"}
    beside(lambda: ours(*arguments), peers, check=check, rounds=7, **facts)


@pytest.mark.parametrize(("n", "t", "k", "d", "covariance"), LEARNT)
def test_baum_welch(beside, quick, dtype, n, t, k, d, covariance):
    """Until a step gains no more than TOLERANCE nats for each sequence, or MOST_STEPS; peers take as many steps."""
    n = n // 8 if quick else n
    x, mean = emissions(n, t, k, d, dtype)
    start, x = chain_at(mean, covariance), jnp.asarray(x)

    def ours(steps=MOST_STEPS):
        return dg.fit(start, x, method=dg.EM(tol=TOLERANCE), max_steps=steps)

    makers = {}
    if dtype == "float64" and installed("hmmlearn"):
        makers["hmmlearn"] = baum_welch_of_hmmlearn, lambda model: model.means_
    if dtype == "float32" and installed("dynamax"):
        makers["dynamax"] = baum_welch_of_dynamax, lambda model: model.emissions.means
    runs, peers = {}, {name: lambda name=name: runs[name]() for name in makers}

    def check():
        for name, (make, means) in makers.items():
            runs[name] = make(x, mean, covariance, ours().num_steps)
            # One step, for dynamax has a prior of covariances that is never quite flat.
            theirs = means(make(x, mean, covariance, 1)())
            np.testing.assert_allclose(ours(1).model.density.mean, theirs, atol=1e-9 if dtype == "float64" else 1e-5)

    facts = {"n": n, "t": t, "d": d, "k": k, "dtype": dtype}
    beside(lambda: ours().objective, peers, check=check, family=f"hidden Markov EM, {covariance}", **facts)
