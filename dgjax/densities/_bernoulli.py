"""Bernoulli density: independent binary columns."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from dgjax import _parameters
from dgjax._pytree import dataclass
from dgjax._types import ColumnMoments, LabelIndex, Support
from dgjax.densities._independent import Tabular
from dgjax.priors import Beta


@dataclass
class Bernoulli(Tabular):
    """Bernoulli density of binary rows: log p(x) = sum_j x_j log p_j + (1 - x_j) log(1 - p_j), p = sigmoid(logits).

    `logits` (*labels, d), infinite where p is 0 or 1. Cells are 0, 1 or NaN; a missing cell adds 0.

    Raises ValueError if logits have no axis of columns, or one is NaN.
    """

    logits: Float[Array, "*labels d"]

    unchecked: ClassVar[bool] = True  # plus infinity is p = 1
    conjugate, support = Beta, Support("0 or 1", low=0, high=1, whole=True)
    _of_sums = staticmethod(lambda cells, ones: (jnp.maximum(cells - ones, 0), ones))  # two sums, each rounded

    def __post_init__(self) -> None:
        super().__post_init__()
        _parameters.check_given(self, "logits")

    def natural_parameter(self) -> Float[Array, "*labels d 2"]:
        """Log-probabilities of 0 and 1, (*labels, d, 2); their difference alone would cancel near p of 0 or 1."""
        return jnp.stack([jax.nn.log_sigmoid(-self.logits), jax.nn.log_sigmoid(self.logits)], -1)

    def maximizer(self, statistics: Float[Array, "*labels d 2"]) -> "Bernoulli":
        zeros, ones = jnp.moveaxis(statistics, -1, 0)
        return type(self)(jnp.where(ones + zeros == 0, self.logits, jnp.log(ones) - jnp.log(zeros)))

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        p = jax.nn.sigmoid(self.logits[at])
        return jax.random.bernoulli(key, p).astype(p.dtype)

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> Beta:
        half = jnp.full(self.num_features, 1 + strength / 2, columns.mean.dtype)
        return Beta(half, half)
