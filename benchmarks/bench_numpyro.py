"""NUTS in NumPyro: effective draws for each second, beside the same models without dgjax.

A chain beside NumPyro's own enumeration of its states (`contrib.funsor`), a mixture beside `MixtureSameFamily`. All go
on from the same state, with the step size and mass matrix of one warm-up and the same random key, so that they draw
from the same posterior in as many steps for each effective draw: their rates are as their times.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import NUTS, init_to_value
from peers import installed

import dgjax as dg
import dgjax.numpyro as dgn

MOST_DOUBLINGS = 5
QUICK = 5, 5, 5  # the same, so that one compilation is enough


class Sampler:
    """NUTS of a model, and where it is."""

    def __init__(self, model, x, start):
        self.kernel = NUTS(model, init_strategy=init_to_value(values=start), max_tree_depth=MOST_DOUBLINGS)
        self.x = x

    def _init(self, steps):
        """Compiled: one operation after another, that of enumerated states takes 16 s."""
        return jax.jit(lambda key: self.kernel.init(key, steps, None, (self.x,), {}))(jax.random.key(0))

    def warm(self, steps):
        """After so many steps of adaptation."""
        self.state = self._init(steps)
        self.state, _ = self.run(steps)(self.state)
        return self

    def like(self, other):
        """From where the other is, and as it is adapted."""
        own = self._init(int(other.state.i))
        names = "i", "z", "z_grad", "potential_energy", "adapt_state", "rng_key"
        self.state = own._replace(**{name: getattr(other.state, name) for name in names})
        return self

    @functools.cache  # noqa: B019
    def run(self, steps):
        """A compiled function of a state: the last one, and all positions on the way."""

        def step(state, _):
            state = self.kernel.sample(state, (self.x,), {})
            return state, state.z

        return jax.jit(lambda state: jax.lax.scan(step, state, None, length=steps))

    def gradient(self):
        """Of the potential energy where it is."""
        return jax.jit(jax.grad(self.kernel._potential_fn_gen(self.x)))(self.state.z)


def compare(beside, ours, others, start, x, sizes, **facts):
    """Times of so many draws, and what share of many is effective, of the parameter that has the fewest."""
    warmup, draws, many = sizes
    own = Sampler(ours, x, start).warm(warmup)
    peers = {name: Sampler(model, x, start).like(own) for name, model in others.items()}

    def check():
        for peer in peers.values():
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-2, atol=0.3), own.gradient(), peer.gradient()
            )

    def timed(sampler):
        run = sampler.run(draws)
        return lambda: run(sampler.state)[1]

    calls = {name: timed(peer) for name, peer in peers.items()}
    for call in calls.values():
        jax.block_until_ready(call())  # compiles
    drawn = own.run(many)(own.state)[1]
    effective = min(float(np.min(effective_sample_size(np.asarray(value)[None]))) for value in drawn.values())
    beside(timed(own), calls, check=check, draws=draws, effective_share=effective / many, **facts)


def _enumerated(parameters):
    """The chain in NumPyro's own words, states summed out by funsor."""
    from numpyro.contrib.control_flow import scan
    from numpyro.contrib.funsor import config_enumerate

    def cells(t, state, moves, loc, scale, rows):
        with numpyro.plate("sequences", len(rows), dim=-1):
            state = numpyro.sample(f"state{t}", dist.Categorical(moves[state]))
            numpyro.sample(f"x{t}", dist.Normal(loc[state], scale[state]), obs=rows)
        return state

    @config_enumerate
    def model(x):
        moves, loc, scale = parameters()
        even = jnp.full_like(moves, 1 / len(moves))  # from any state: the first step has none before it
        first = cells("_0", 0, even, loc, scale, x[:, 0, 0])
        scan(lambda state, row: (cells("", state, moves, loc, scale, row), None), first, x[:, 1:, 0].T)

    return model


def test_chain(beside, quick):
    if quick:
        pytest.skip("it compiles for 15 s; the mixture is enough")
    n, t, k = 8, 500, 4
    truth = dg.HiddenMarkov(
        jnp.zeros(k),
        jnp.log(jnp.eye(k) * 0.8 + 0.05),
        dg.DiagonalGaussian(3.0 * jnp.arange(k)[:, None], jnp.zeros((k, 1))),
    )
    x, _ = dg.sample(truth, jax.random.key(0), (n, t))
    start = {"moves": jnp.eye(k) * 0.8 + 0.05, "loc": 3.0 * jnp.arange(k), "scale": jnp.ones(k)}

    def parameters():
        moves = numpyro.sample("moves", dist.Dirichlet(jnp.ones(k)).expand([k]).to_event(1))
        loc = numpyro.sample("loc", dist.Normal(0, 10).expand([k]).to_event(1))
        return moves, loc, numpyro.sample("scale", dist.HalfNormal(3).expand([k]).to_event(1))

    def ours(x):
        moves, loc, scale = parameters()
        density = dg.DiagonalGaussian(loc[:, None], jnp.log(scale)[:, None])
        with numpyro.plate("sequences", n):
            numpyro.sample("x", dgn.HiddenMarkov(jnp.full(k, 1 / k), moves, density, t), obs=x)

    others = {"NumPyro, states enumerated": _enumerated(parameters)} if installed("funsor") else {}
    facts = {"n": n, "t": t, "d": 1, "k": k, "dtype": "float32"}
    sizes = 200, 40, 200
    compare(beside, ours, others, start, x, sizes, family="NUTS, hidden Markov model", **facts)


def test_mixture(beside, quick, single):
    n, d, k, dtype = 1_000 if quick else 10_000, 8, 8, single
    rng = np.random.default_rng(0)
    mean = rng.normal(0, 3, (k, d)).astype(dtype)
    L = (np.eye(d) + np.tril(rng.normal(0, 0.2, (k, d, d)), -1)).astype(dtype)
    z = rng.integers(k, size=n)
    x = (mean[z] + np.einsum("nij,nj->ni", L[z], rng.normal(size=(n, d)))).astype(dtype)
    start = {"weights": jnp.full(k, 1 / k), "loc": jnp.asarray(mean), "scale_tril": jnp.asarray(L)}

    def parameters():
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(k)))
        loc = numpyro.sample("loc", dist.Normal(0, 10).expand([k, d]).to_event(2))
        prior = dist.InverseWishartCholesky(d + 2.0, scale_tril=jnp.eye(d)).expand([k]).to_event(1)
        return weights, loc, numpyro.sample("scale_tril", prior)

    def ours(x):
        mixture = dgn.GaussianMixture(*parameters())
        with numpyro.plate("rows", n):
            numpyro.sample("x", mixture, obs=x)

    def same_family(x):
        weights, loc, L = parameters()
        components = dist.MultivariateNormal(loc, scale_tril=L)
        with numpyro.plate("rows", n):
            numpyro.sample("x", dist.MixtureSameFamily(dist.Categorical(weights), components), obs=x)

    facts = {"n": n, "d": d, "k": k, "dtype": dtype}
    sizes = QUICK if quick else (100, 5, 200)
    others = {"NumPyro, MixtureSameFamily": same_family}
    compare(beside, ours, others, start, x, sizes, family="NUTS, Gaussian mixture, full covariances", **facts)
