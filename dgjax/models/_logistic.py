"""Logistic regression, and any other softmax of scores."""

from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dgjax._pytree import expect_part, noun
from dgjax._types import Scorer
from dgjax.structures import Classes


@noun
class Logistic:
    """p(y | x) proportional to exp(bias_y + s(x, y)).

    `bias` (k,) and a scorer with labels (k,): k classes. With k = 1 there are two classes, and the one score is the
    log-odds of the second. A missing cell is an error: the model has no distribution of x to marginalise over.

    Raises ValueError if the labels of bias and scorer differ.
    """

    bias: Float[Array, " k"]
    scorer: Scorer

    generative: ClassVar[Literal[False]] = False

    def __post_init__(self) -> None:
        expect_part(self, "scorer", "penalty", "a scorer, such as dgjax.Linear(weight)")
        if self.bias.ndim != 1 or self.bias.shape != self.scorer.label_shape:
            raise ValueError(
                f"Logistic expects a bias (k,) and a scorer with labels (k,); got {self.bias.shape} and "
                f"{self.scorer.label_shape}."
            )

    def as_model(self) -> "Logistic":
        return self

    @property
    def num_labels(self) -> int:
        return max(2, len(self.bias))

    @property
    def num_features(self) -> int:
        return self.scorer.num_features

    @property
    def row_cost(self) -> int:
        return self.scorer.row_cost

    score_cost = row_cost

    @property
    def num_parameters(self) -> int:
        """Free ones: adding the same function of x to every score changes nothing."""
        rows = len(self.bias)
        return (rows + self.scorer.num_parameters) // rows * (self.num_labels - 1)

    def potentials(self, x: Float[Array, "n d"]) -> Classes:
        scores = self.bias + self.scorer.scores(x)
        return Classes(scores if len(self.bias) > 1 else jnp.concatenate([jnp.zeros_like(scores), scores], -1))

    def penalty(self) -> Float[Array, ""]:
        """Sum of squared weights, the bias excepted: what `l2` / 2 multiplies."""
        return self.scorer.penalty()

    def invalid(self, x: Float[Array, "n d"]) -> Bool[Array, "n d"]:
        return jnp.isnan(x) | self.scorer.invalid(x)

    def support(self, column: int) -> str:
        return (
            f"{self.scorer.support(column)}. A logistic model cannot take NaN: fill the cells with "
            "dgjax.impute(density, x), or average its prediction over a generative model of x with "
            "dgjax.marginalize(classifier, density)"
        )
