"""Discriminative twins that keep their density: of normal densities its whitened, float32-safe form; of networks."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dgjax._pytree import dataclass, trained
from dgjax._types import Rows, Scorer, Support
from dgjax.scorers import ColumnScorers, LatentChain, LatentScorer


@dataclass
class _OfDensity(Scorer):
    """Scorer s(x, y) = log p(x | y) of a density, (n, d) -> (n, *labels): the twin that has its posterior."""

    density: Any

    @property
    def sequential(self) -> bool:
        return self.density.sequential

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.density.label_shape

    @property
    def num_features(self) -> int:
        return self.density.num_features

    @property
    def row_cost(self) -> int:
        return self.density.row_cost

    def scores(self, x: Rows) -> Float[Array, "n *labels"]:
        return self.density.scores(x)

    @property
    def supports(self) -> tuple[Support, ...]:
        return self.density.supports


@dataclass
class LogDensity(_OfDensity):
    """Scorer s(x, y) = log p(x | y) of a normal density, (n, d) -> (n, *labels), by its whitened residuals.

    The discriminative twin of normal densities whose labels differ in covariance or variance. Expanded to w_y . x +
    x^T M_y x, the score would lose in float32 what is small beside its largest term. `dgjax.fit` does learn w and M:
    the model that it returns has a `Quadratic` or `DiagonalQuadratic` scorer, and the ridge penalty is on these.
    """

    @property
    def num_parameters(self) -> int | Array:
        return jax.eval_shape(self.density.expanded)[1].num_parameters

    def penalty(self) -> Float[Array, ""]:
        return self.density.expanded()[1].penalty()


@dataclass
class NetworkLogDensity(_OfDensity):
    """Scorer s(x, y) = log p(x | y) of a density of networks, (n, d) -> (n, *labels): the twin that has its posterior.

    Its parameters are those of the density, which learns log p(y | x) as a whole.
    """

    @property
    def row_cost(self) -> int:
        return self.density.score_cost

    @property
    def num_parameters(self) -> int | Array:
        return self.density.num_parameters

    def penalty(self) -> Float[Array, ""]:
        """Sum of squares of all parameters of the networks."""
        leaves = zip(jax.tree.leaves(self), trained(self), strict=True)
        return sum(((leaf**2).sum() for leaf, is_trained in leaves if is_trained), start=jnp.zeros(()))


def expanded(scorer: Scorer) -> tuple[Any, Scorer]:
    """Expansion of a scorer into the sum of a bias (*labels,) and a scorer that is linear in its weights."""
    if isinstance(scorer, LogDensity):
        return scorer.density.expanded()
    if isinstance(scorer, ColumnScorers):
        biases, scorers = zip(*map(expanded, scorer.scorers), strict=True)
        changed = any(new is not old for new, old in zip(scorers, scorer.scorers, strict=True))
        return sum(biases), ColumnScorers(scorers, scorer.columns) if changed else scorer
    if isinstance(scorer, LatentScorer):
        bias, inner = expanded(scorer.scorer)
        return 0, scorer if inner is scorer.scorer else LatentScorer(scorer.bias + bias, inner)
    if isinstance(scorer, LatentChain):
        bias, inner = expanded(scorer.scorer)
        return 0, scorer if inner is scorer.scorer else scorer.moved(bias, inner)
    return 0, scorer
