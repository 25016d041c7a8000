"""Training linear-chain CRFs: minibatches beside pytorch-crf, L-BFGS on sparse indicators beside CRFsuite."""

import jax
import numpy as np
import optax
import pytest
from chain_peers import adam_of_pytorch_crf, lbfgs_of_crfsuite
from peers import installed

import dgjax as dg

RATE, L2, STEPS = 1e-2, 1.0, 20


@pytest.mark.parametrize(("n", "t", "d", "k", "batch_size"), [(512, 100, 32, 8, 64), (256, 500, 32, 16, 16)])
def test_epoch(beside, quick, single, n, t, d, k, batch_size):
    n, rng = batch_size if quick else n, np.random.default_rng(0)
    x = rng.normal(size=(n, t, d)).astype(single)
    y = (x @ rng.normal(size=(d, k)) + 3 * rng.gumbel(size=(n, t, k))).argmax(-1)
    start = dg.linear_chain_crf(d, k)

    def epoch(size):
        method = dg.Optax(optimizer, batch_size=size, key=jax.random.key(0))
        return dg.fit(start, x, y, method, max_steps=n // size).model.scorer.weight

    optimizer, peers = optax.adam(RATE), {}
    if installed("torchcrf"):
        peers["pytorch-crf"] = adam_of_pytorch_crf(x, y, batch_size, RATE)

    def check():
        if peers:
            # Batches are dealt by chance, so that only steps on all sequences can be the same.
            np.testing.assert_allclose(epoch(n), adam_of_pytorch_crf(x, y, n, RATE)(), atol=1e-4)

    facts = {"n": n, "t": t, "d": d, "k": k, "dtype": single, "batch_size": batch_size}
    beside(lambda: epoch(batch_size), peers, check=check, family="CRF, epoch of minibatches", **facts)


def test_indicators(beside, quick, x64):
    n, t, m, v, k = *((100, 25, 10, 1_000) if quick else (2_000, 25, 10, 20_000)), 9
    rng = np.random.default_rng(0)
    ids = np.minimum(rng.zipf(1.3, size=(n, t, m)) - 1, v - 1).astype(float)
    y = (rng.normal(size=(v, k))[ids.astype(int)].sum(2) + 3 * rng.gumbel(size=(n, t, k))).argmax(-1)
    start, peers = dg.linear_chain_crf(v, k, "indicator"), {}

    def fit(some=slice(None), steps=STEPS):
        return dg.fit(
            start, ids[some], y[some], prior=dg.priors.Ridge(L2), method=dg.LBFGS(tol=0.0), max_steps=steps
        ).objective

    if installed("pycrfsuite"):
        peers["CRFsuite"] = lbfgs_of_crfsuite(ids, y, L2, STEPS)

    def check():
        if peers:
            # After few steps each is somewhere else on the way; and weights of the first step are penalised there.
            some, most = slice(100), 300
            ours = -float(fit(some, most)[-1])
            assert ours == pytest.approx(lbfgs_of_crfsuite(ids[some], y[some], L2, most)(), rel=1e-3)

    facts = {"n": n, "t": t, "d": v, "k": k, "steps": STEPS}
    beside(fit, peers, check=check, family="CRF, L-BFGS on indicators", **facts)
