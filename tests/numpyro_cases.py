"""The named distributions: parameters with a batch (2,), and what NumPyro or an enumeration says of the same."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import dgjax as dg
import dgjax.numpyro as dgn

B, K, D, T = 2, 3, 2, 4


class Case(NamedTuple):
    """A distribution of parameters, those of a batch of it, and log p(value) of one of the batch, worked out anew."""

    name: str
    make: Callable[..., Any]
    parameters: dict[str, np.ndarray]
    expected: Callable[[dict[str, np.ndarray], np.ndarray], float]

    def batched(self, dtype=jnp.float32):
        return {name: jnp.asarray(value, dtype) for name, value in self.parameters.items()}

    def one(self, i):
        return {name: value[i] for name, value in self.parameters.items()}


def _simplex(rng, *shape):
    return rng.dirichlet(2 * np.ones(shape[-1]), shape[:-1])


def _factors(rng, *labels):
    lower = np.tril(rng.normal(0, 0.5, (*labels, D, D)), -1)
    return lower + np.eye(D) * np.exp(rng.normal(0, 0.3, (*labels, D)))[..., None]


def _normal(row, loc, scale_tril):
    """Of what is observed of a row."""
    seen = ~np.isnan(row)
    if not seen.any():
        return 0.0
    covariance = (scale_tril @ scale_tril.T)[np.ix_(seen, seen)]
    return float(dist.MultivariateNormal(jnp.asarray(loc[seen]), jnp.asarray(covariance)).log_prob(row[seen]))


def _cells(family):
    """Independent columns, those observed."""

    def log_prob(parameters, row):
        seen = ~np.isnan(row)
        logs = family(parameters).log_prob(jnp.where(seen, row, 0).astype(int))
        return float(jnp.where(seen, logs, 0).sum())

    return log_prob


def _mixture(parameters, row):
    each = [_normal(row, m, L) for m, L in zip(parameters["loc"], parameters["scale_tril"], strict=True)]
    return float(jax.nn.logsumexp(np.log(parameters["probs"]) + np.array(each)))


def _paths(start, moves, steps):
    """log sum over all paths of exp score."""
    scores = [
        start[path[0]] + sum(moves[pair] for pair in itertools.pairwise(path)) + sum(steps[range(len(steps)), path])
        for path in itertools.product(range(len(start)), repeat=len(steps))
    ]
    return float(jax.nn.logsumexp(np.array(scores)))


def _hidden_markov(parameters, x):
    rate = parameters["rate"]
    seen = ~np.isnan(x)
    steps = np.where(seen, dist.Poisson(jnp.asarray(rate)).log_prob(np.where(seen, x, 0)), 0)
    return _paths(np.log(parameters["initial_probs"]), np.log(parameters["transition_probs"]), steps)


def _crf(parameters, path):
    start, moves, scores = (parameters[name] for name in ("initial", "transition", "scores"))
    given = np.where((path[:, None] >= 0) & (np.arange(K) != path[:, None]), -1e6, scores)
    return _paths(start, moves, given) - _paths(start, moves, scores)


def _of_labels(rng, loc, factors, weights, rates):
    """Mixtures, classifiers and chains."""
    chain = {"initial_probs": _simplex(rng, B, K), "transition_probs": _simplex(rng, B, K, K)}

    def hidden_markov(rate, **own):
        return dgn.HiddenMarkov(**own, emission=dist.Poisson(rate), num_steps=T)

    def by_vmap(make):
        """Of an emission, a batch comes by `jax.vmap`."""
        return lambda **own: jax.vmap(lambda own: make(**own))(own) if own["rate"].ndim == 2 else make(**own)

    mixture = {"probs": weights, "loc": loc, "scale_tril": factors}
    crf = {"initial": rng.normal(size=(B, K)), "transition": rng.normal(size=(B, K, K))}
    return [
        Case("GaussianMixture", dgn.GaussianMixture, mixture, _mixture),
        Case("HiddenMarkov", by_vmap(hidden_markov), {**chain, "rate": rates}, _hidden_markov),
        Case("LinearChainCRF", dgn.LinearChainCRF, {**crf, "scores": rng.normal(size=(B, T, K))}, _crf),
        Case(
            "GenerativeClassifier",
            lambda probs: dgn.GenerativeClassifier(probs, dg.Gaussian(loc[0].astype(probs.dtype), factors[0])),
            {"probs": weights},
            lambda p, row: _mixture({**p, "loc": loc[0], "scale_tril": factors[0]}, row),
        ),
    ]


def _of_rows(rng, loc, factors, weights, rates):
    """Distributions of rows in which cells may be missing."""
    categories = {"probs": _simplex(rng, B, D, 4)}
    return [
        Case(
            "NaNMultivariateNormal",
            dgn.NaNMultivariateNormal,
            {"loc": loc[:, 0], "scale_tril": factors[:, 0]},
            lambda p, row: _normal(row, p["loc"], p["scale_tril"]),
        ),
        Case(
            "NaNNormal",
            dgn.NaNNormal,
            {"loc": loc[:, 0], "scale": np.exp(loc[:, 1])},
            lambda p, row: _normal(row, p["loc"], np.diag(p["scale"])),
        ),
        Case(
            "NaNBernoulli",
            dgn.NaNBernoulli,
            {"probs": weights},
            _cells(lambda p: dist.Bernoulli(jnp.asarray(p["probs"]))),
        ),
        Case("NaNCategorical", dgn.NaNCategorical, categories, _cells(lambda p: dist.Categorical(p["probs"]))),
        Case("NaNPoisson", dgn.NaNPoisson, {"rate": rates}, _cells(lambda p: dist.Poisson(jnp.asarray(p["rate"])))),
        Case(
            "NaNMultinomial",
            lambda probs: dgn.NaNMultinomial(6, probs),
            {"probs": weights},
            lambda p, row: float(dist.Multinomial(int(row.sum()), p["probs"]).log_prob(row.astype(int))),
        ),
    ]


def _cases():
    rng = np.random.default_rng(0)
    loc, factors, weights = 2 * rng.normal(size=(B, K, D)), _factors(rng, B, K), _simplex(rng, B, K)
    shared = loc, factors, weights, np.exp(rng.normal(1, 0.5, (B, K)))
    return [*_of_labels(rng, *shared), *_of_rows(rng, *shared)]


CASES = _cases()
