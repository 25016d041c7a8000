"""Counts of NumPyro's distributions at any size: log-probabilities that do not cancel in float32, and draws in floats.

NumPyro adds terms of the size of x log x, of which float32 loses a nat from counts of 1e6 on, and draws integers that
end at 2^31. Here are Poisson, gamma-Poisson (negative binomial), binomial and zero-inflated Poisson distributions, by
the kernels' deviances; the other distributions of counts are NumPyro's own, up to `largest_count`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from jax.nn import log_sigmoid
from numpyro.distributions.discrete import (
    BinomialLogits,
    BinomialProbs,
    GeometricLogits,
    GeometricProbs,
    ZeroInflatedProbs,
)

import dgjax_kernels as kernels
from dgjax.numpyro._support import limits

AT_ANY_SIZE = (
    dist.Poisson,
    dist.ZeroInflatedPoisson,
    dist.GammaPoisson,
    BinomialProbs,
    BinomialLogits,
    GeometricProbs,
    GeometricLogits,
)


def largest_count(family: type, dtype: Any) -> float:
    """Largest count that a distribution's log-probability takes: 2^17 in float32 where x log x cancels, else infinity.

    There the rounding of terms of its size is a tenth of a nat.
    """
    return np.inf if issubclass(family, AT_ANY_SIZE) else 2.0 ** (jnp.finfo(dtype).nmant * 3 // 4)


def log_prob(base: Any, count: Array) -> Array:
    """Log-probability of counts, held as floats, under a NumPyro distribution of columns of its own."""
    family = type(base)
    if issubclass(family, dist.Poisson):
        return kernels.log_poisson(count, base.rate)
    if issubclass(family, dist.GammaPoisson):
        return kernels.log_gamma_poisson(count, base.concentration, base.rate)
    if issubclass(family, BinomialProbs):
        return kernels.log_binomial(count, base.total_count, jnp.log(base.probs), jnp.log1p(-base.probs))
    if issubclass(family, BinomialLogits):
        return kernels.log_binomial(count, base.total_count, log_sigmoid(base.logits), log_sigmoid(-base.logits))
    if issubclass(family, ZeroInflatedProbs):
        logs = jnp.log1p(-base.gate) + log_prob(base.base_dist, count)
        return jnp.where(count == 0, jnp.log(base.gate + jnp.exp(logs)), logs)
    # Categories index a table.
    return base.log_prob(count.astype(int) if limits(base.support)[1] < 2**31 else count)


def sample(base: Any, key: Array, shape: tuple[int, ...]) -> Array:
    """Draws (*shape, *batch, *event) of a NumPyro distribution, counts as floats, which do not end at 2^31."""
    family, whole = type(base), (*shape, *base.batch_shape)
    if issubclass(family, dist.Poisson):
        return kernels.poisson_draws(key, jnp.broadcast_to(base.rate, whole))
    key, other = jax.random.split(key)
    if issubclass(family, dist.GammaPoisson):
        rate = dist.Gamma(base.concentration, base.rate).sample(key, shape)
        return kernels.poisson_draws(other, jnp.broadcast_to(rate, whole))
    if issubclass(family, (BinomialProbs, BinomialLogits)):
        return kernels.binomial_draws(key, *(jnp.broadcast_to(v, whole) for v in (base.total_count, base.probs)))
    if issubclass(family, dist.BetaBinomial):
        chance = dist.Beta(base.concentration1, base.concentration0).sample(key, shape)
        return kernels.binomial_draws(other, *(jnp.broadcast_to(v, whole) for v in (base.total_count, chance)))
    if issubclass(family, ZeroInflatedProbs):
        kept = jax.random.bernoulli(key, 1 - base.gate, whole)
        return jnp.where(kept, sample(base.base_dist, other, shape), 0)
    return base.sample(key, shape)
