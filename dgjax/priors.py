"""Conjugate priors: what `fit(prior=...)` adds to the log-likelihood, for maximum a posteriori estimates.

Each broadcasts over the labels of a density: every label has the same prior, independently. Densities are in the
parameters named here, up to a constant, and may be improper; their modes with the data are the formulas below.
`dgjax.weak_prior` builds the one that fits a model and its data.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dgjax import _parameters
from dgjax._arguments import is_concrete
from dgjax._pytree import noun


@noun
class NormalInverseWishart:
    """Prior of a mean and a covariance (d, d): N(mean; m, S / c) IW(S; scale, degrees).

    Mode for one label with n rows, row mean x and scatter A about the new mean u:
    u = (c m + n x) / (c + n),  S = (scale + A + c (u - m)(u - m)^T) / (degrees + d + 2 + n).
    `unit` (d,), where given, is what each column of `scale` is in, for variances that the precision cannot hold.
    Murphy (2012), Machine Learning, section 4.6.3.
    """

    mean: Float[Array, "*#labels d"]
    mean_count: Float[Array, ""]
    scale: Float[Array, "*#labels d d"]
    degrees: Float[Array, ""]
    unit: Float[Array, " d"] | None = None

    def __post_init__(self) -> None:
        not_negative(self, mean_count=self.mean_count)
        _parameters.check_finite(self, "mean")
        _parameters.check_covariance(self, "scale")
        _parameters.check_least(self, "degrees", -2 - self.scale.shape[-1], ", -(d + 2), for the mode to exist")


@noun
class NormalInverseGamma:
    """Prior of a mean and a variance in each column: N(mean; m, v / c) IG(v; shape, rate).

    Mode for one column with n cells, cell mean x and scatter A about the new mean u:
    u = (c m + n x) / (c + n),  v = (2 rate + A + c (u - m)^2) / (2 shape + 3 + n).
    `unit` (d,) or (1,), where given, is what the rate is in, squared, for variances that the precision cannot hold.
    """

    mean: Float[Array, "*#labels d"]
    mean_count: Float[Array, ""]
    shape: Float[Array, ""]
    rate: Float[Array, "*#labels #d"]
    unit: Float[Array, " #d"] | None = None

    def __post_init__(self) -> None:
        not_negative(self, mean_count=self.mean_count, rate=self.rate)
        _parameters.check_finite(self, "mean")
        _parameters.check_least(self, "shape", -1.5, " for the mode to exist")


@noun
class Beta:
    """Prior p^(a - 1) (1 - p)^(b - 1) of a probability. Mode: p = (a - 1 + ones) / (a + b - 2 + n)."""

    a: Float[Array, "*#d"]
    b: Float[Array, "*#d"]

    def __post_init__(self) -> None:
        at_least_one(self, a=self.a, b=self.b)

    def pseudo_statistics(self) -> Float[Array, "*#d 2"]:
        """Pseudo-counts of zeros and of ones."""
        return jnp.stack(jnp.broadcast_arrays(self.b - 1, self.a - 1), -1)


@noun
class Dirichlet:
    """Prior prod_j p_j^(concentration_j - 1) of probabilities. Mode: p_j proportional to concentration_j - 1 + n_j.

    Impossible categories (p = 0) stay impossible.
    """

    concentration: Float[Array, "*#c"]

    def __post_init__(self) -> None:
        at_least_one(self, concentration=self.concentration)

    def pseudo_statistics(self) -> Float[Array, "*#c"]:
        """Pseudo-counts of each category."""
        return self.concentration - 1

    @classmethod
    def shared(cls, strength: float | Array, possible: Any, dtype: Any) -> "Dirichlet":
        """`strength` pseudo-counts for each distribution (..., c), shared by the categories that it can have."""
        count = jnp.maximum(possible.sum(-1, keepdims=True), 1)
        return cls(jnp.where(possible, 1 + strength / count, 1).astype(dtype))

    def log_density(self, log_p: Float[Array, "*c"]) -> Float[Array, ""]:
        """Summed over everything but the constant."""
        return jnp.sum(jnp.where(jnp.isneginf(log_p), 0, (self.concentration - 1) * log_p))


@noun
class Gamma:
    """Prior r^(shape - 1) exp(-rate r) of a Poisson rate r. Mode: r = (shape - 1 + counts) / (rate + n)."""

    shape: Float[Array, "*#d"]
    rate: Float[Array, "*#d"]

    def __post_init__(self) -> None:
        at_least_one(self, shape=self.shape)
        not_negative(self, rate=self.rate)

    def pseudo_statistics(self) -> Float[Array, "*#d 2"]:
        """Coefficients of -r and of log r: for Poisson columns pseudo-cells, and the sum of their counts."""
        return jnp.stack(jnp.broadcast_arrays(self.rate, self.shape - 1), -1)


@noun
class Ridge:
    """Normal prior of a discriminative model's weights: log p(w) = -strength / 2 |w|^2, of mean 0 and variance
    1 / strength, the penalty known as L2. The bias has none; `strength` is 0 or more.
    """

    strength: Float[Array, ""]

    def __post_init__(self) -> None:
        not_negative(self, strength=self.strength)


@noun
class MixturePrior:
    """Prior of a mixture: of its weights, and of its density. `None` is a flat prior."""

    weights: Dirichlet | None = None
    density: Any = None

    def __post_init__(self) -> None:
        _expect_parts(self, "weights")


@noun
class HiddenMarkovPrior:
    """Prior of a hidden Markov model: of its start, of its moves, and of its density. `None` is a flat prior.

    `Dirichlet(1 + a + b * eye(k))` for the moves makes states last: b pseudo-moves of each to itself.
    """

    initial: Dirichlet | None = None
    transition: Dirichlet | None = None
    density: Any = None

    def __post_init__(self) -> None:
        _expect_parts(self, "initial", "transition")


@noun
class ColumnsPrior:
    """Prior of a density of columns: one for each block, `None` where flat."""

    blocks: tuple[Any, ...]


def _expect_parts(prior: Any, *names: str) -> None:
    """Raises unless probabilities have a Dirichlet prior, and the density has one of its own, or None."""
    for name in names:
        if not isinstance(getattr(prior, name), Dirichlet | None):
            raise ValueError(
                f"{type(prior).__name__}({name}=...) must be a dgjax.priors.Dirichlet or None; got a "
                f"{type(getattr(prior, name)).__name__}."
            )
    if prior.density is not None and not dataclasses.is_dataclass(prior.density):
        raise ValueError(
            f"{type(prior).__name__}(density=...) must be the prior of a density, such as dgjax.priors.Gamma(shape, "
            f"rate), or None; got a {type(prior.density).__name__}."
        )


def at_least_one(prior: Any, **fields: Array) -> None:
    """Raises if a parameter is under 1: the prior's mode would lie at a probability of 0."""
    for name, value in fields.items():
        if is_concrete(value) and not (np.asarray(value) >= 1).all():
            raise ValueError(
                f"{type(prior).__name__}({name}=...) must be at least 1 for the mode to exist; got "
                f"{float(value.min())}. 1 is a flat prior, 2 adds one pseudo-count."
            )


def not_negative(prior: Any, **fields: Array) -> None:
    """Raises if a parameter is under 0 or not a number."""
    for name, value in fields.items():
        if is_concrete(value) and not (np.asarray(value) >= 0).all():
            raise ValueError(f"{type(prior).__name__}({name}=...) must be 0 or more; got {float(value.min())}.")


class WrongPriorError(ValueError):
    """A prior of another kind than the density's own."""


def expect_prior(prior: Any, kind: type, density: Any) -> None:
    """Raises if `prior` is not of the kind that is conjugate to `density`."""
    if prior is not None and type(prior) is not kind:
        raise WrongPriorError(
            f"prior of {type(density).__name__} must be a dgjax.priors.{kind.__name__}; got {type(prior).__name__}. "
            "dgjax.weak_prior(model, x) builds one."
        )
