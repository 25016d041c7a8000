"""Classifiers of rows with missing cells, by averaging a classifier over a generative model."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dgjax._arguments import as_count
from dgjax._pytree import dataclass, static
from dgjax._types import Capabilities, Model, Support
from dgjax.models._discriminative import DiscriminativeModel
from dgjax.structures import Classes


@dataclass
class Marginalized(DiscriminativeModel):
    """Classifier of rows with missing cells: p(y | x_observed) = E[p(y | x)] over p(x_missing | x_observed).

    p(x_missing | x_observed) is the density's. The expectation is the mean over `num_samples` Monte Carlo draws, with a
    standard error of at most 0.5 / sqrt(num_samples) in each probability. Draws depend on `seed` alone, so that a row's
    prediction does not depend on the rows beside it; a row without missing cells gets the classifier's own prediction.
    `dgjax.fit` learns the classifier from rows with missing cells, of which 16 draws at most take a row's place.
    """

    classifier: Model
    density: Any
    num_samples: int = static(default=64)
    seed: int = static(default=0)

    def __post_init__(self) -> None:
        as_count(self.num_samples, "Marginalized(num_samples=...)")

    @property
    def num_labels(self) -> int:
        return self.classifier.num_labels

    @property
    def num_features(self) -> int:
        return self.density.num_features

    @property
    def row_cost(self) -> int:
        return self.density.row_cost + self.num_samples * (self.num_features**2 + self.classifier.row_cost)

    @property
    def capabilities(self) -> Capabilities:
        return super().capabilities._replace(posterior="estimate")

    @property
    def num_parameters(self) -> int | Array:
        return self.classifier.num_parameters + self.density.num_parameters

    def potentials(self, x: Float[Array, "n d"]) -> Classes:
        """Log of the mean probability of each class. All draws form one batch, so that shared work is done once."""
        if self.complete:
            return Classes(self.classifier.potentials(x).log_marginals())

        def draw(key):
            filled = self.density.sample_missing(jnp.broadcast_to(key, len(x)), x, ())
            return self.classifier.potentials(filled).log_marginals()

        keys = jax.random.split(jax.random.key(self.seed), self.num_samples)
        each = jax.vmap(draw)(keys)
        mean = jax.nn.logsumexp(each, axis=0) - math.log(self.num_samples)
        # Of a complete row every draw is the row itself.
        return Classes(jnp.where(jnp.isnan(x).any(-1, keepdims=True), mean, each[0]))

    @property
    def supports(self) -> tuple[Support, ...]:
        return self.density.supports
