"""Conjugate priors, and ridge: what `fit(prior=...)` adds to the log-likelihood, for maximum a posteriori estimates.

Every label has the same prior, independently. Prior densities are in the parameters named in each docstring, up to a
constant, and may be improper. `dgjax.weak_prior` builds the prior that fits a model and its data.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dgjax import _parameters
from dgjax._arguments import is_concrete
from dgjax._pytree import dataclass


@dataclass
class NormalInverseWishart:
    """Conjugate prior of a normal's mean u and covariance S (d, d): N(u; m, S / c) IW(S; scale, degrees).

    `mean` m (d,), `mean_count` c. With n rows, row mean x and scatter A about u, the mode of one label is

        u = (c m + n x) / (c + n),  S = (scale + A + c (u - m)(u - m)^T) / (degrees + d + 2 + n).

    With `unit` (d,) the scale matrix is diag(unit) `scale` diag(unit), for variances too small or large for the
    precision; None is 1.

    Raises ValueError for a negative `mean_count`, a `scale` that is not symmetric and positive semi-definite, or
    `degrees` below -(d + 2), where there is no mode.
    Source: Murphy (2012), Machine Learning, section 4.6.3.
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


@dataclass
class NormalInverseGamma:
    """Conjugate prior of a normal column's mean u and variance v: N(u; m, v / c) IG(v; shape, rate).

    `mean` m (d,), `mean_count` c. With n cells of mean x and scatter A about u, the mode of one column is

        u = (c m + n x) / (c + n),  v = (2 rate + A + c (u - m)^2) / (2 shape + 3 + n).

    With `unit` (d,) or (1,) the rate is unit^2 `rate`, for variances too small or large for the precision; None is 1.

    Raises ValueError for a negative `mean_count` or `rate`, or a `shape` below -1.5, where there is no mode.
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


@dataclass
class FactorPrior:
    """Conjugate prior of a column's mean u, loadings w (r,) and noise variance v in a `FactorGaussian`.

    N(u; m, v / c) N(w; b, v / l I) IG(v; shape, rate), with `mean` m (d,), `mean_count` c, `loading_count` l, and
    `loading` b (r,) or (d, r), 0 by default: as c cells more at the mean m, and l for each loading. Given the factors f
    (n, r) of n cells, u and w are a ridge regression on (f, 1), and with S its sum of squares, penalties included,

        v = (2 rate + S) / (2 shape + 3 + r + n).

    With `unit` (d,) or (1,) the rate is unit^2 `rate`, for variances too small or large for the precision; None is 1.

    Raises ValueError for a negative count or rate.
    """

    mean: Float[Array, "*#labels d"]
    mean_count: Float[Array, ""]
    loading_count: Float[Array, ""]
    shape: Float[Array, ""]
    rate: Float[Array, "*#labels #d"]
    unit: Float[Array, " #d"] | None = None
    loading: Float[Array, "*#labels_d r"] | None = None

    def __post_init__(self) -> None:
        not_negative(self, mean_count=self.mean_count, loading_count=self.loading_count, rate=self.rate)
        _parameters.check_finite(self, "mean", "shape")


@dataclass
class Beta:
    """Conjugate prior p^(a - 1) (1 - p)^(b - 1) of a binary column's probability p.

    With n cells the mode is p = (a - 1 + ones) / (a + b - 2 + n).

    Raises ValueError for a or b below 1, where the mode would be a probability of 0 or 1.
    """

    a: Float[Array, "*#d"]
    b: Float[Array, "*#d"]

    def __post_init__(self) -> None:
        at_least_one(self, a=self.a, b=self.b)

    def pseudo_statistics(self) -> Float[Array, "*#d 2"]:
        """Pseudo-counts (..., d, 2) of zeros, b - 1, and of ones, a - 1."""
        return jnp.stack(jnp.broadcast_arrays(self.b - 1, self.a - 1), -1)


@dataclass
class Dirichlet:
    """Conjugate prior prod_j p_j^(concentration_j - 1) of category probabilities p.

    With n_j cells of category j the mode is p_j ~ concentration_j - 1 + n_j. Impossible categories (p = 0) stay
    impossible.

    Raises ValueError for a concentration below 1, where the mode would be a probability of 0.
    """

    concentration: Float[Array, "*#c"]

    def __post_init__(self) -> None:
        at_least_one(self, concentration=self.concentration)

    def pseudo_statistics(self) -> Float[Array, "*#c"]:
        """Pseudo-counts (..., c) of each category: concentration - 1."""
        return self.concentration - 1

    @classmethod
    def shared(cls, strength: float | Array, possible: Any, dtype: Any) -> "Dirichlet":
        """Dirichlet prior of `strength` pseudo-counts in all, shared equally by the `possible` (..., c)."""
        count = jnp.maximum(possible.sum(-1, keepdims=True), 1)
        return cls(jnp.where(possible, 1 + strength / count, 1).astype(dtype))

    def log_density(self, log_p: Float[Array, "*c"]) -> Float[Array, ""]:
        """Log prior density sum_j (concentration_j - 1) log p_j, summed over distributions (..., c), up to a constant.

        An impossible category, log p = minus infinity, adds 0.
        """
        return jnp.sum(jnp.where(jnp.isneginf(log_p), 0, (self.concentration - 1) * log_p))


@dataclass
class Gamma:
    """Conjugate prior r^(shape - 1) exp(-rate r) of a Poisson rate r.

    With n cells the mode is r = (shape - 1 + sum of counts) / (rate + n).

    Raises ValueError for a `shape` below 1 or a negative `rate`.
    """

    shape: Float[Array, "*#d"]
    rate: Float[Array, "*#d"]

    def __post_init__(self) -> None:
        at_least_one(self, shape=self.shape)
        not_negative(self, rate=self.rate)

    def pseudo_statistics(self) -> Float[Array, "*#d 2"]:
        """Pseudo-statistics (..., d, 2) of a Poisson column: numbers of pseudo-cells, and sums of their counts.

        They are `rate`, and shape - 1.
        """
        return jnp.stack(jnp.broadcast_arrays(self.rate, self.shape - 1), -1)


@dataclass
class Ridge:
    """Ridge (L2) prior of a discriminative model's weights: log p(w) = -strength / 2 |w|^2; the bias has none.

    That is a normal prior of mean 0 and variance 1 / strength; `strength` is 0 or more.

    Raises ValueError for a negative strength.
    """

    strength: Float[Array, ""]

    def __post_init__(self) -> None:
        not_negative(self, strength=self.strength)


@dataclass
class MixturePrior:
    """Prior of a mixture: `weights`, a Dirichlet prior of its component weights, and `density`, one of its density.

    `None` for either is a flat prior.

    Raises ValueError if `weights` is no Dirichlet prior, or `density` no prior.
    """

    weights: Dirichlet | None = None
    density: Any = None

    def __post_init__(self) -> None:
        _expect_parts(self, "weights")


@dataclass
class HiddenMarkovPrior:
    """Prior of a hidden Markov model: Dirichlet priors of initial and transition probabilities, and one of its density.

    `None` for any of them is a flat prior. `Dirichlet(1 + a + b * eye(k))` for the transitions favours long stays: b
    pseudo-transitions from each state to itself.

    Raises ValueError if `initial` or `transition` is no Dirichlet prior, or `density` no prior.
    """

    initial: Dirichlet | None = None
    transition: Dirichlet | None = None
    density: Any = None

    def __post_init__(self) -> None:
        _expect_parts(self, "initial", "transition")


@dataclass
class ColumnsPrior:
    """Prior of a `Columns` density: a tuple of one prior for each block; `None` is flat."""

    blocks: tuple[Any, ...]


def _expect_parts(prior: Any, *names: str) -> None:
    """Raises ValueError unless the named fields are Dirichlet priors or None, and `density` a prior or None."""
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
    """Raises ValueError if a concentration is under 1: the mode would lie at a probability of 0."""
    for name, value in fields.items():
        if is_concrete(value) and not (np.asarray(value) >= 1).all():
            raise ValueError(
                f"{type(prior).__name__}({name}=...) must be at least 1 for the mode to exist; got "
                f"{float(value.min())}. 1 is a flat prior, 2 adds one pseudo-count."
            )


def not_negative(prior: Any, **fields: Array) -> None:
    """Raises ValueError if a parameter of a prior is negative or NaN."""
    for name, value in fields.items():
        if is_concrete(value) and not (np.asarray(value) >= 0).all():
            raise ValueError(f"{type(prior).__name__}({name}=...) must be 0 or more; got {float(value.min())}.")


class WrongPriorError(ValueError):
    """Error: the prior is not the one conjugate to the density."""


def expect_prior(prior: Any, kind: type, density: Any) -> None:
    """Raises WrongPriorError if `prior` is not of the class `kind`, conjugate to `density`."""
    if prior is not None and type(prior) is not kind:
        raise WrongPriorError(
            f"prior of {type(density).__name__} must be a dgjax.priors.{kind.__name__}; got {type(prior).__name__}. "
            "dgjax.weak_prior(model, x) builds one."
        )
