"""Training a variational autoencoder, 784-400-20: whole epochs beside loops of other libraries."""

import jax
import numpy as np
import optax
import pytest
import vae_peers
from peers import installed

import dgjax as dg

D, LATENT, RATE = 784, 20, 1e-3


@pytest.mark.parametrize("batch_size", [128, 1024])
def test_training(beside, quick, batch_size):
    n, epochs = (4_096, 3) if quick else (12_288, 10)
    x = (np.random.default_rng(0).random((n, D)) < 0.3).astype("float32")
    start = dg.variational_autoencoder(jax.random.key(0), D, LATENT, hidden=(vae_peers.HIDDEN,))
    method, steps = optax.adam(RATE), epochs * n // batch_size

    def ours():
        return dg.fit(
            start, x, method=dg.Optax(method, batch_size=batch_size, key=jax.random.key(0)), max_steps=steps
        ).objective

    facts = {"latent": LATENT, "batch_size": batch_size, "rate": RATE, "num_steps": steps}
    settings = x, LATENT, batch_size, RATE, steps
    peers = {"numpyro SVI": vae_peers.numpyro_svi(*settings)}
    if installed("flax"):
        peers["Flax and optax"] = vae_peers.flax_loop(*settings)
    if installed("torch"):
        peers["PyTorch eager"] = vae_peers.pytorch(*settings)
        if not quick:  # it compiles for seconds
            peers["torch.compile"] = vae_peers.pytorch(*settings, compiled=True)
        peers["products alone, PyTorch"] = vae_peers.pytorch_products(D, LATENT, batch_size, steps)

    def check():
        # Of noise, all of them come near the loss of the columns' own means.
        entropy = -D * (0.3 * np.log(0.3) + 0.7 * np.log(0.7))
        assert -float(ours()[-1]) / n == pytest.approx(entropy, rel=0.1)
        if "PyTorch eager" in peers:
            assert peers["PyTorch eager"]() == pytest.approx(entropy, rel=0.1)

    # Three products of the layer of the data less its first gradient, and of all others, forward and twice back.
    flops = 2 * epochs * n * (2 * D * 400 + 3 * (400 * 2 * LATENT + LATENT * 400 + 400 * D))
    beside(ours, peers, check=check, family="variational autoencoder, epochs of minibatches", n=epochs * n,
           dtype="float32", d=D, flops=flops, **facts)  # fmt: skip
