"""Twins of densities that are scored as the densities are."""

from typing import Any

import jax
from jaxtyping import Array, Float

from dgjax._pytree import noun
from dgjax._types import Scorer, Support
from dgjax.scorers import ColumnScorers, LatentScorer


@noun
class LogDensity:
    """s(x, y) = log p(x | y) of a normal density, as exact as that however far a row is from any mean.

    What the twin of a density is made of if each label has covariances, or variances, of its own: expanded to
    w . x + x^T M x it would lose what float32 cannot hold beside the largest term. `dgjax.fit` learns those weights, so
    that the model it returns has a `Quadratic` or `DiagonalQuadratic` scorer; the penalty is theirs.
    """

    density: Any

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.density.label_shape

    @property
    def num_features(self) -> int:
        return self.density.num_features

    @property
    def row_cost(self) -> int:
        return self.density.row_cost

    @property
    def num_parameters(self) -> int:
        return jax.eval_shape(self.density.expanded)[1].num_parameters

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return self.density.scores(x)

    def penalty(self) -> Float[Array, ""]:
        return self.density.expanded()[1].penalty()

    @property
    def supports(self) -> tuple[Support, ...]:
        return self.density.supports


def expanded(scorer: Scorer) -> tuple[Any, Scorer]:
    """A bias (*labels,) and a scorer that add up to this one, linear in what is to be learnt."""
    if isinstance(scorer, LogDensity):
        return scorer.density.expanded()
    if isinstance(scorer, ColumnScorers):
        biases, scorers = zip(*map(expanded, scorer.scorers), strict=True)
        changed = any(new is not old for new, old in zip(scorers, scorer.scorers, strict=True))
        return sum(biases), ColumnScorers(scorers, scorer.columns) if changed else scorer
    if isinstance(scorer, LatentScorer):
        bias, inner = expanded(scorer.scorer)
        return 0, scorer if inner is scorer.scorer else LatentScorer(scorer.bias + bias, inner)
    return 0, scorer
