"""Every fit as a case of the accelerator benchmark, from rows that the device holds to a model."""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from accelerator_case import SMALLEST, Case, Peer, Size
from accelerator_kernels import rows
from problems import chain_at, clusters, em_flops, emissions, start_at

import dgjax as dg

COVARIANCES = "full", "diagonal", "tied", "spherical"
KINDS = {"gaussian": "x", "bernoulli": "bits", "categorical": "categories", "poisson": "counts"}
L2, RATE = 1.0, 1e-3
CLOSE = {"float32": 1e-3, "float64": 1e-7}
# A line search, and networks learnt step after step, carry rounding on; what is compared is how good they become.
LOOSE = {"float32": 3e-3, "float64": 1e-5}


def cases(size: Size) -> list[Case]:
    """Every fit, those of most use first."""
    found = [_mixture(size, covariance) for covariance in COVARIANCES[:2]]
    found += [_hidden_markov(size, "full"), _newton(size), _hidden_markov(size, "diagonal"), _lbfgs(size)]
    if importlib.util.find_spec("optax") is None:
        print("optax is not installed, so the autoencoder and the CRF's minibatches are left out", flush=True)
    else:
        found += [_autoencoder(size), _crf(size, minibatches=True)]
    found += [_crf(size, minibatches=False)]
    found += [_mixture(size, covariance) for covariance in COVARIANCES[2:]]
    found += [_discriminant(size, covariance) for covariance in ("tied", "full")]
    return found + [_naive_bayes(size, kind) for kind in KINDS]


def fitted(result: Any) -> tuple:
    """What is compared: the objective at the end, and all parameters."""
    return result.objective[-1], jax.tree.leaves(result.model)


def _some(size: Size, share: int) -> int:
    """Rows of a fit by steps: a share of all, for the CPU takes all steps too."""
    return max(SMALLEST.n, size.n // share)


def _fit(name: str, facts: dict, arrays: Callable, prepare: Callable, **more: Any) -> Case:
    return Case("fit", name, facts, arrays, prepare, **{"close": CLOSE} | more)


def _mixture(size, covariance):
    n, d, k, steps = _some(size, 4), size.d, 2 * size.k, size.iterations

    def prepare(x, mean):
        start, method = start_at(mean, covariance), dg.EM(tol=0.0)
        return lambda: fitted(dg.fit(start, x, method=method, max_steps=steps))

    def means(result):
        return result[1][1]

    def torch(arrays, dtype):
        import torch_peers

        return Peer(torch_peers.em(*arrays, covariance, steps), lambda mean: mean, means)

    def gmmx(arrays, dtype):
        from peers import mixture_of_gmmx

        run = mixture_of_gmmx(*map(np.asarray, arrays), covariance, steps)
        return run and Peer(run, lambda fitted: jnp.squeeze(fitted.gmm.means), means)

    peers = {"PyTorch": torch, "gmmx": gmmx} if covariance in COVARIANCES[:2] else {}
    facts = {"n": n, "d": d, "k": k, "steps": steps}
    return _fit(
        f"mixture by EM, {covariance}",
        facts,
        functools.partial(clusters, n, d, k, "float64"),
        prepare,
        peers=peers,
        flops=em_flops(n, d, k, covariance, steps),
    )


def _hidden_markov(size, covariance):
    n, t, k, d, steps = size.sequences, size.steps, size.states, size.d // 2 + 1, size.iterations

    def prepare(x, mean):
        start, method = chain_at(mean, covariance), dg.EM(tol=0.0)
        return lambda: fitted(dg.fit(start, x, method=method, max_steps=steps))

    def dynamax(arrays, dtype):
        from chain_peers import baum_welch_of_dynamax

        # Its prior of covariances is never quite flat, so that only starts and moves, and means nearly, are the same.
        run = baum_welch_of_dynamax(arrays[0], np.asarray(arrays[1]), covariance, steps)
        return Peer(run, lambda fitted: fitted.emissions.means, lambda result: result[1][2])

    facts = {"n": n, "t": t, "d": d, "k": k, "steps": steps}
    arrays = functools.partial(emissions, n, t, k, d, "float64")
    return _fit(f"hidden Markov by EM, {covariance}", facts, arrays, prepare, peers={"dynamax": dynamax})


@functools.cache
def labelled(n: int, d: int, k: int) -> tuple:
    """Rows and labels of a softmax regression."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    return x, (x @ rng.normal(size=(d, k)) / np.sqrt(d) + rng.gumbel(size=(n, k))).argmax(-1).astype(np.int32)


def _newton(size):
    n, d, tol = _some(size, 8), 4 * size.d, 1e-9

    def prepare(x, y):
        start, prior, method = dg.logistic_regression(d, 2), dg.priors.Ridge(L2), dg.Newton(tol=tol)
        return lambda: fitted(dg.fit(start, x, y, method, prior=prior))

    def torch(arrays, dtype):
        import torch_peers

        return Peer(torch_peers.newton(*arrays, L2, 6), lambda weight: weight, lambda result: result[1][1][0])

    arrays = functools.partial(labelled, n, d, 2)
    return _fit("logistic by Newton", {"n": n, "d": d, "k": 2}, arrays, prepare, peers={"PyTorch": torch})


def _lbfgs(size):
    n, d, k, steps = _some(size, 8), 4 * size.d, size.k + 2, 2 * size.iterations

    def prepare(x, y):
        start, prior, method = dg.logistic_regression(d, k), dg.priors.Ridge(L2), dg.LBFGS(tol=0.0)
        return lambda: (dg.fit(start, x, y, method, prior=prior, max_steps=steps).objective[-1],)

    def torch(arrays, dtype):
        import torch_peers

        return Peer(torch_peers.lbfgs(*arrays, k, L2, steps), np.asarray, lambda result: result[0])

    facts = {"n": n, "d": d, "k": k, "steps": steps}
    arrays = functools.partial(labelled, n, d, k)
    return _fit("logistic by L-BFGS", facts, arrays, prepare, peers={"PyTorch": torch}, close=LOOSE)


@functools.cache
def tagged(n: int, t: int, d: int, k: int) -> tuple:
    """Sequences and the label of each step."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, t, d))
    return x, (x @ rng.normal(size=(d, k)) + 3 * rng.gumbel(size=(n, t, k))).argmax(-1).astype(np.int32)


def _crf(size, minibatches):
    n, t, d, k = 8 * size.sequences, max(2, size.steps // 10), size.d, size.states
    steps, batch = (n // (n // 8), n // 8) if minibatches else (size.iterations, n)

    def prepare(x, y):
        start, prior, method = dg.linear_chain_crf(d, k), dg.priors.Ridge(L2), dg.LBFGS(tol=0.0)
        if minibatches:
            import optax

            prior, method = None, dg.Optax(optax.adam(RATE), batch_size=batch, key=jax.random.key(0))
        return lambda: (dg.fit(start, x, y, method, prior=prior, max_steps=steps).objective[-1],)

    facts = {"n": n, "t": t, "d": d, "k": k, "steps": steps, "batch_size": batch}
    name = "CRF, an epoch of Adam" if minibatches else "CRF by L-BFGS"
    arrays = functools.partial(tagged, n, t, d, k)
    return _fit(name, facts, arrays, prepare, own_precision=minibatches, close=LOOSE)


def _autoencoder(size):
    small = size is SMALLEST
    n, d, latent, batch, steps = (24, size.pixels, 2, 8, 3) if small else (24_576, size.pixels, 20, 1024, 120)
    from vae_peers import HIDDEN

    def arrays():
        return ((np.random.default_rng(0).random((n, d)) < 0.3).astype(float),)

    def prepare(x):
        import optax

        start = dg.variational_autoencoder(jax.random.key(0), d, latent, hidden=(4 if small else HIDDEN,))
        method = dg.Optax(optax.adam(RATE), batch_size=batch, key=jax.random.key(0))
        return lambda: (dg.fit(start, x, method=method, max_steps=steps).objective[-1],)

    def torch(arrays, dtype):
        import vae_peers

        # A loss of one batch beside that of all rows: near it, both near the columns' own entropy.
        run = vae_peers.pytorch(np.asarray(arrays[0]), latent, batch, RATE, steps)
        return Peer(run, lambda loss: np.asarray(-loss * n), lambda result: result[0])

    facts = {"n": n, "d": d, "latent": latent, "batch_size": batch, "steps": steps}
    flops = 2 * steps * batch * (2 * d * HIDDEN + 3 * (HIDDEN * 3 * latent + HIDDEN * d))
    return _fit(
        "autoencoder, epochs of Adam",
        facts,
        arrays,
        prepare,
        peers={"PyTorch": torch},
        own_precision=True,
        close=LOOSE,
        flops=None if small else flops,
        precisions=("float32",),
    )


def _discriminant(size, covariance):
    name = {"tied": "linear", "full": "quadratic"}[covariance] + " discriminant analysis"
    return _closed_form(size, name, "x", lambda x, y: dg.discriminant_analysis(x, y, covariance, size.k))


def _naive_bayes(size, kind):
    prior = None if kind == "gaussian" else "weak"
    start = functools.partial(dg.naive_bayes, kinds=kind, num_classes=size.k, prior=prior)
    return _closed_form(size, f"naive Bayes, {kind}", KINDS[kind], start)


def _closed_form(size, name, columns, start):
    def arrays():
        own = rows(size.n, size)
        return getattr(own, columns), own.label

    def prepare(x, y):
        return lambda: jax.tree.leaves(start(x, y))

    return _fit(name, {"n": size.n, "d": size.d, "k": size.k}, arrays, prepare)
