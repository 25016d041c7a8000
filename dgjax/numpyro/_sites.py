"""Sample sites: for each class of model or density, the distributions that its parameters are drawn from.

A site is named by the path to its field, `density.mean`, and holds natural quantities: weights, not their logarithms.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import Distribution, transforms

from dgjax import priors
from dgjax._arguments import is_concrete
from dgjax.densities import (
    Bernoulli,
    Categorical,
    Columns,
    DiagonalGaussian,
    FactorGaussian,
    Gaussian,
    Mixture,
    Multinomial,
    Poisson,
)
from dgjax.models import HiddenMarkov
from dgjax.numpyro._emission import Emission, natural, unconstrained
from dgjax.numpyro._sparse import SparseDirichlet

SiteFn = Callable[[str, Distribution, tuple[str, ...]], Array]
"""site(name, distribution, names of its axes): the value there."""


class Place(NamedTuple):
    """Context of a part of a model: its path, the sampling function, user-given distributions, and names of axes.

    `sites` are distributions by name, or one for every site without a prior.
    """

    path: str
    site: SiteFn
    sites: Any
    labels: tuple[str, ...] = ()
    column: str = "column"

    def inside(self, field: str, labels: tuple[str, ...] | None = None) -> "Place":
        return self._replace(path=f"{self.path}{field}.", labels=self.labels if labels is None else labels)

    def draw(self, name: str, shape: tuple[int, ...], dims: tuple[str, ...], prior: Distribution | None) -> Array:
        """Sample of a parameter of the given shape at a site, from its prior distribution.

        That is the user's distribution for the site, or else `prior`.

        Raises ValueError if there is neither.
        """
        full = self.path + name
        if isinstance(self.sites, dict):
            prior = self.sites.get(full, prior)
        elif prior is None:
            prior = self.sites
        if prior is None:
            raise ValueError(
                f"{full} has no proper prior: type prior=dgjax.numpyro.proper_prior(model, x), or "
                f"sites={{{full!r}: ...}} with a NumPyro distribution."
            )
        batch = shape[: len(shape) - prior.event_dim]
        labels = self.labels[: len(shape) - len(dims)]
        return self.site(full, prior.expand(batch).to_event(len(batch)), labels + dims)


def draw(part: Any, prior: Any, place: Place) -> Any:
    """A model with all parameters drawn at NumPyro sites; of an unknown class, one site for each field."""
    return PROGRAMS.get(type(part), _fields)(part, prior, place)


def _mixture(part, prior, place):
    prior = priors.MixturePrior() if prior is None else prior
    nested = place.labels[: part.log_weights.ndim - 1]
    own = (*nested, "subcomponent" if nested else "component")
    weights = _simplex("weights", part.log_weights, prior.weights, place._replace(labels=nested), own[-1:])
    return Mixture(weights, draw(part.density, prior.density, place.inside("density", own)))


def _hidden_markov(part, prior, place):
    prior = priors.HiddenMarkovPrior() if prior is None else prior
    labels = place.labels[: part.log_initial.ndim - 1]
    one, from_state = place._replace(labels=labels), place._replace(labels=(*labels, "state"))
    initial = _simplex("initial", part.log_initial, prior.initial, one, ("state",))
    transition = _simplex("transition", part.log_transition, prior.transition, from_state, ("state_to",))
    return HiddenMarkov(
        initial, transition, draw(part.density, prior.density, place.inside("density", (*labels, "state")))
    )


def _gaussian(part, prior, place):
    d, cov = part.num_features, None
    if prior is not None:
        _proper(place, degrees=prior.degrees - (d - 1), mean_count=prior.mean_count)
        unit = jnp.ones(d) if prior.unit is None else prior.unit
        scale = jnp.broadcast_to(unit[:, None] * jnp.linalg.cholesky(prior.scale), part.scale_tril.shape)
        cov = dist.InverseWishartCholesky(prior.degrees, scale_tril=scale)
    L = place.draw("scale_tril", part.scale_tril.shape, (place.column, f"{place.column}_to"), cov)
    mean = None
    if prior is not None:
        each = L.reshape(*L.shape[:-2], *[1] * (part.mean.ndim + 1 - L.ndim), d, d) / jnp.sqrt(prior.mean_count)
        mean = dist.MultivariateNormal(jnp.broadcast_to(prior.mean, part.mean.shape), scale_tril=each)
    return Gaussian(place.draw("mean", part.mean.shape, (place.column,), mean), L)


def _scale(part, prior, place):
    """Standard deviation of each column, or of all, drawn by an inverse-gamma prior of its square."""
    spread = None
    shared = (place.column if part.log_scale.shape[-1] == part.num_features else f"{place.column}_shared",)
    if prior is not None:
        _proper(place, shape=prior.shape, mean_count=prior.mean_count)
        rate = prior.rate if prior.unit is None else prior.rate * prior.unit**2
        square = dist.InverseGamma(prior.shape, jnp.broadcast_to(rate, part.log_scale.shape))
        spread = dist.TransformedDistribution(square, transforms.PowerTransform(0.5))
    return place.draw("scale", part.log_scale.shape, shared, spread)


def _factors(part, prior, place):
    scale, mean, loading = _scale(part, prior, place), None, None
    if prior is not None:
        _proper(place, loading_count=prior.loading_count)
        spread = jnp.broadcast_to(scale, part.mean.shape)
        mean = dist.Normal(jnp.broadcast_to(prior.mean, part.mean.shape), spread / jnp.sqrt(prior.mean_count))
        each = jnp.broadcast_to((spread / jnp.sqrt(prior.loading_count))[..., None], part.loading.shape)
        loading = dist.Normal(0 if prior.loading is None else jnp.broadcast_to(prior.loading, each.shape), each)
    mean = place.draw("mean", part.mean.shape, (place.column,), mean)
    loading = place.draw("loading", part.loading.shape, (place.column, f"{place.column}_factor"), loading)
    return FactorGaussian(mean, loading, jnp.log(scale))


def _diagonal(part, prior, place):
    mean, scale = None, _scale(part, prior, place)
    if prior is not None:
        spread = DiagonalGaussian(part.mean, scale)._log_scale() / jnp.sqrt(prior.mean_count)
        mean = dist.Normal(jnp.broadcast_to(prior.mean, part.mean.shape), spread)
    return DiagonalGaussian(place.draw("mean", part.mean.shape, (place.column,), mean), jnp.log(scale))


def _bernoulli(part, prior, place):
    a, b = (1.0, 1.0) if prior is None else (prior.a, prior.b)
    p = place.draw("probs", part.logits.shape, (place.column,), dist.Beta(*_over(part.logits, a, b)))
    return Bernoulli(jnp.log(p) - jnp.log1p(-p))


def _categorical(part, prior, place):
    return Categorical(_simplex("probs", part.logits, prior, place, (place.column, f"{place.column}_category")))


def _multinomial(part, prior, place):
    return Multinomial(_simplex("probs", part.logits, prior, place, (place.column,)), part.total_count)


def _poisson(part, prior, place):
    rate = None
    if prior is not None:
        _proper(place, rate=prior.rate)
        rate = dist.Gamma(*_over(part.log_rate, prior.shape, prior.rate))
    return Poisson(jnp.log(place.draw("rate", part.log_rate.shape, (place.column,), rate)))


def _columns(part, prior, place):
    own = (None,) * len(part.blocks) if prior is None else prior.blocks

    def of(i):
        return draw(part.blocks[i], own[i], place.inside(f"blocks.{i}")._replace(column=f"block_{i}_{place.column}"))

    return Columns(tuple(of(i) for i in range(len(own))), part.columns)


def _emission(part, prior, place):
    del prior

    def of(name, value):
        constraint = part.form.constraint(name)
        if constraint.is_discrete:
            return value
        shape = natural(constraint, value).shape
        dims = tuple(f"{name}_{i}" for i in range(len(shape)))
        return unconstrained(constraint, place._replace(labels=()).draw(name, shape, dims, None))

    return Emission({name: of(name, value) for name, value in part.parameters.items()}, part.form)


def _fields(part, prior, place):
    """A part of an unknown class with real-valued fields drawn, one site each; minus infinity stays."""
    if prior is not None:
        raise ValueError(
            f"{type(part).__name__} takes priors as NumPyro distributions: type sites=dist.Normal(0, 1), or a dict of "
            "them by name."
        )

    def of(field):
        name, value = field.name, getattr(part, field.name)
        if field.metadata.get("static", False) or value is None:
            return value
        if isinstance(value, tuple):
            return tuple(draw(one, None, place.inside(f"{name}.{i}")) for i, one in enumerate(value))
        if dataclasses.is_dataclass(value):
            return draw(value, None, place.inside(name))
        dims = tuple(f"{name}_{i}" for i in range(value.ndim))
        drawn = place._replace(labels=()).draw(name, value.shape, dims, None)
        return jnp.where(jnp.isneginf(value), value, drawn)

    return type(part)(**{field.name: of(field) for field in dataclasses.fields(part)})


PROGRAMS: dict[type, Callable[[Any, Any, Place], Any]] = {
    Mixture: _mixture,
    HiddenMarkov: _hidden_markov,
    Gaussian: _gaussian,
    DiagonalGaussian: _diagonal,
    FactorGaussian: _factors,
    Bernoulli: _bernoulli,
    Categorical: _categorical,
    Multinomial: _multinomial,
    Poisson: _poisson,
    Columns: _columns,
    Emission: _emission,
}


def _simplex(name, logs, prior, place, dims):
    """Log-probabilities drawn as a simplex site with a Dirichlet prior.

    Structural zeros, and single categories, are fixed.
    """
    if logs.shape[-1] == 1:
        return jnp.zeros_like(logs)
    a = jnp.broadcast_to(1.0 if prior is None else prior.concentration, logs.shape).astype(logs.dtype)
    possible = np.isfinite(np.asarray(logs))
    p = place.draw(name, logs.shape, dims, dist.Dirichlet(a) if possible.all() else SparseDirichlet(a, possible))
    return jnp.where(p > 0, jnp.log(jnp.where(p > 0, p, 1)), -jnp.inf)


def _over(parameter, *values):
    return (jnp.broadcast_to(value, parameter.shape) for value in values)


def _proper(place, **amounts):
    for name, amount in amounts.items():
        if is_concrete(amount) and not bool((np.asarray(amount) > 0).all()):
            limit = "the number of columns less 1" if name == "degrees" else "0"
            raise ValueError(
                f"prior of {place.path or 'the model'} is not proper, so that it cannot be drawn from: its {name} must "
                f"exceed {limit}. Type prior=dgjax.numpyro.proper_prior(model, x)."
            )
