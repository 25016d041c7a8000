"""Linear-chain conditional random fields: any scorer of a row, and transition scores between neighbouring states."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dgjax import _parameters
from dgjax._pytree import dataclass, expect_part, expect_rows
from dgjax._twins import expanded
from dgjax._types import Scorer, Support, num_free, possible
from dgjax.models._discriminative import DiscriminativeModel
from dgjax.models._logistic import none_of_infinite, without_missing
from dgjax.structures import PASSES, Chain, Sequences

NO_NAN = "A CRF cannot take NaN: fill the cells with dgjax.impute(model, x), by a hidden Markov model of x"


@dataclass
class LinearChainCRF(DiscriminativeModel):
    """Linear-chain conditional random field (CRF) of paths y of t states: p(y | x) proportional to exp s(x, y).

    s(x, y) = initial_{y_0} + sum_s s(x_s, y_s) + sum_s transition_{y_s, y_{s+1}}. `initial` (k,); `transition` (k, k),
    from row to column, minus infinity where a transition is impossible; and a scorer with labels (k,). Sequences are x
    (n, t, d) with `lengths` (n,). A missing cell is an error: the model has no distribution of x to marginalise over.

    Raises ValueError if the shapes do not fit together.
    Source: Lafferty, McCallum and Pereira (2001), Conditional random fields.
    """

    initial: Float[Array, " k"]
    transition: Float[Array, "k k"]
    scorer: Scorer

    constants = ("initial", "transition")

    def __post_init__(self) -> None:
        expect_part(self, "scorer", Scorer, "a scorer, such as dgjax.Linear(weight)")
        expect_rows(self, self.scorer, "scorer")
        k = len(self.initial) if self.initial.ndim else 0
        shapes = self.initial.shape, self.transition.shape, self.scorer.label_shape
        if shapes != ((k,), (k, k), (k,)):
            raise ValueError(
                f"LinearChainCRF expects initial (k,), transition (k, k) and a scorer with labels (k,); got shapes "
                f"{shapes[0]}, {shapes[1]} and labels {shapes[2]}."
            )
        _parameters.check_possible(self, "initial")

    def expanded(self) -> "LinearChainCRF":
        """The model with a scorer that is linear in its weights, as `fit` learns them.

        Constants of a twin go to the chain.
        """
        bias, scorer = expanded(self.scorer)
        return self if scorer is self.scorer else type(self)(self.initial + bias, self.transition + bias, scorer)

    @property
    def sequential(self) -> bool:
        return True

    @property
    def num_labels(self) -> int:
        return len(self.initial)

    @property
    def num_features(self) -> int | None:
        return self.scorer.num_features

    @property
    def row_cost(self) -> int:
        return self.scorer.row_cost + PASSES * self.num_labels

    @property
    def num_parameters(self) -> int | Array:
        """Number of free parameters, up to constants that leave p(y | x) as it is.

        Constants may be added to all states, initial scores or transitions.
        """
        moves = sum(num_free(possible(own.reshape(-1), 0)) for own in (self.initial, self.transition))
        return moves + self.scorer.num_parameters // self.num_labels * (self.num_labels - 1)

    def potentials(self, x: Sequences) -> Chain:
        rows = x.in_rows()
        scores = self.scorer.scores(rows)
        scores = scores if self.complete else none_of_infinite(rows, scores)
        return Chain(self.initial, self.transition, x.in_steps(scores), x.lengths)

    def penalty(self) -> Float[Array, ""]:
        """Sum of squared weights of scorer and transitions: a ridge prior subtracts strength / 2 times it."""
        return self.scorer.penalty() + jnp.sum(jnp.where(jnp.isfinite(self.transition), self.transition, 0) ** 2)

    @property
    def supports(self) -> tuple[Support, ...]:
        return without_missing(self.scorer.supports, NO_NAN)
