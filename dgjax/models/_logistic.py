"""Logistic (softmax) regression on the scores of any scorer."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._pytree import dataclass, expect_part
from dgjax._twins import expanded
from dgjax._types import Rows, Scorer, Support
from dgjax.models._discriminative import DiscriminativeModel
from dgjax.scorers import Linear
from dgjax.structures import Classes, Sequences

NO_NAN = (
    "A logistic model cannot take NaN: fill the cells with dgjax.impute(density, x), or average its prediction over a "
    "generative model of x with dgjax.marginalize(classifier, density)"
)

OF_SEQUENCES = (
    "A logistic model cannot take NaN: fill the cells with dgjax.impute(model, x), by a mixture of hidden Markov models"
    " of x, or of tokens a masked language model"
)


@dataclass
class Logistic(DiscriminativeModel):
    """Logistic regression: p(y | x) proportional to exp(bias_y + s(x, y)), the softmax of a bias and any scorer.

    `bias` (k,) and a scorer with labels (k,): k classes. With k = 1 there are two classes, and the one score is the
    log-odds of the second. Classes are those of rows or, where the scorer is sequential, of whole sequences. A
    missing cell is an error: the model has no distribution of x to marginalise over.

    Raises ValueError if the labels of bias and scorer differ.
    """

    bias: Float[Array, " k"]
    scorer: Scorer

    constants = ("bias",)
    one_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        expect_part(self, "scorer", Scorer, "a scorer, such as dgjax.Linear(weight)")
        if self.bias.ndim != 1 or self.bias.shape != self.scorer.label_shape:
            raise ValueError(
                f"Logistic expects a bias (k,) and a scorer with labels (k,); got {self.bias.shape} and "
                f"{self.scorer.label_shape}."
            )
        if len(self.bias) > 1:
            _parameters.check_possible(self, "bias")

    def expanded(self) -> "Logistic":
        """The model with a scorer that is linear in its weights, as `fit` learns them.

        Constants of a twin go to the bias.
        """
        bias, scorer = expanded(self.scorer)
        return self if scorer is self.scorer else type(self)(self.bias + bias, scorer)

    @property
    def sequential(self) -> bool:
        """Whether it is a model of sequences, as its scorer is of them: then each has one label, (n,)."""
        return self.scorer.sequential

    @property
    def num_labels(self) -> int:
        return max(2, len(self.bias))

    @property
    def num_features(self) -> int | None:
        return self.scorer.num_features

    @property
    def row_cost(self) -> int:
        return self.scorer.row_cost

    @property
    def num_parameters(self) -> int | Array:
        """Number of free parameters: one function of x added to every score does not change p(y | x)."""
        rows = len(self.bias)
        return (rows + self.scorer.num_parameters) // rows * (self.num_labels - 1)

    def potentials(self, x: Rows) -> Classes:
        scores = self.bias + self.scorer.scores(x)
        if len(self.bias) == 1:
            scores = jnp.concatenate([jnp.zeros_like(scores), scores], -1)
        cells = x.x.reshape(len(x), math.prod(x.x.shape[1:])) if isinstance(x, Sequences) else x
        return Classes(scores if self.complete else none_of_infinite(cells, scores))

    def auxiliary(self, x: Rows) -> Float[Array, "..."]:
        return self.scorer.auxiliary(x)

    @property
    def linear(self) -> bool:
        """Whether the scores are linear in finite parameters, as `gradient` and `curvature` require."""
        return self.scorer.linear

    def gradient(
        self, x: Float[Array, "n d"] | kernels.ZeroCopyRows, y: Int[Array, " n"], weights: Float[Array, " n"]
    ) -> tuple[Float[Array, ""], "Logistic"]:
        """Log-likelihood sum_n w_n log p(y_n | x_n) and its gradient, a model; rows with label -1 are left out."""
        (bias, weight), pull = self._coefficients()
        if isinstance(x, kernels.ZeroCopyRows):
            value, *sums = kernels.logistic_gradient_zero_copy(x.first, x.cells, y, weights, bias, weight)
        else:
            value, *sums = self._summed(kernels.logistic_gradient, x, y, weights, bias, weight)
        return value, pull(tuple(sums))[0]

    def curvature(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], weights: Float[Array, " n"]
    ) -> Float[Array, "p p"]:
        """Negative Hessian (p, p) of sum_n w_n log p(y_n | x_n) by the p parameters, in the order of `ravel_pytree`."""
        (bias, weight), pull = self._coefficients()
        shape = bias.size + weight.size, len(bias), 1 + weight.shape[1]

        @jax.vmap
        def pulled(row):
            return ravel_pytree(pull((row[:, 0], row[:, 1:]))[0])[0]

        whole = self._summed(kernels.logistic_curvature, x, y, weights, bias, weight)
        half = pulled(whole.reshape(shape))
        return pulled(half.T.reshape(-1, *shape[1:]))

    def _coefficients(self):
        """Bias (k,) and weights (k, f) of the features, and what takes their derivatives to those of the model."""

        def of_features(model):
            return model.bias, model.scorer.coefficients

        return jax.vjp(of_features, self)

    def _summed(self, op: kernels.Op, x, y, weights, bias, weight):
        """Sums over all rows of a kernel `op`, gradient or curvature, by the bias and weights of the scorer's features.

        Features that have to be made are made in blocks, and summed by the reference: on 2 cores the kernel, at 3.7,
        1.2, 13.4 and 14.3 ms for four shapes of quadratic features, is no faster than its 3.7, 1.4, 16.3 and 16.1 ms,
        and takes 14 s to compile where the reference takes 0.4 s.
        """
        scorer: Any = self.scorer
        if isinstance(scorer, Linear):
            return op(x, y, weights, bias, weight)

        def block(x, y, weights):
            return op.reference(scorer.features(x), y, weights, bias, weight)

        return kernels.sum_rows(block, x, y, weights, fill=(0, -1, 0), row_cost=self.row_cost)

    def penalty(self) -> Float[Array, ""]:
        """Sum of squared weights of the scorer, without the bias: a ridge prior subtracts strength / 2 times it."""
        return self.scorer.penalty()

    @property
    def supports(self) -> tuple[Support, ...]:
        return without_missing(self.scorer.supports, OF_SEQUENCES if self.sequential else NO_NAN)


def none_of_infinite(x: Float[Array, "n d"], scores: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Scores (n, k) with minus infinity for every label of a row with an infinite cell, which has probability 0.

    The cells are searched only if some score is not finite.
    """
    return jax.lax.cond(
        jnp.isfinite(scores).all(),
        lambda x, scores: scores,
        lambda x, scores: jnp.where(jnp.isinf(x).any(-1, keepdims=True), -jnp.inf, scores),
        x,
        scores,
    )


def without_missing(supports: tuple[Support, ...], remedy: str) -> tuple[Support, ...]:
    """Supports of columns in which NaN is an error; the message adds `remedy`, what to type instead."""
    return tuple(own._replace(words=f"{own.words}. {remedy}", missing=False) for own in supports)
