"""Densities without an M-step in closed form, whose parameters are learnt by gradient, such as networks.

Where log p(x) is no finite sum, scores are Monte Carlo estimates, by random draws that are fixed but while learning;
and so are the orders of an autoregressive density.
"""

from typing import Any, ClassVar, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dgjax import _advice
from dgjax._pytree import dataclass, tree
from dgjax._types import Rows
from dgjax.densities._base import Density

LEARNING = (
    "A density of networks learns by gradient: type method=dgjax.Optax(optax.adam(1e-3), batch_size=128, "
    "key=jax.random.key(0)), max_steps=2000"
)


class Draws(NamedTuple):
    """Random draws of one training step, and the weight of the KL divergence.

    `key` is the step's, or None for the model's own fixed draws. `kl_weight` is 1, or below during warm-up.
    """

    key: Array | None
    kl_weight: Array | float = 1.0


class Learned(Density):
    """Density without sufficient statistics or conjugate prior: `fit` needs a gradient method.

    One that learns by random draws says so by `by_draws`, and writes `learning_scores` and `scores_by_draw`.
    """

    by_draws: ClassVar[bool] = False
    """Whether it learns by random draws, fresh ones at each step, of which scores take fixed ones."""
    divergence: ClassVar[bool] = False
    """Whether its objective has a KL divergence, which `Draws.kl_weight` weighs."""
    contrastive: ClassVar[bool] = False
    """Whether it learns by telling rows from draws of a base, not by its likelihood: see `Tilted`."""

    def drawn(self, draws: Draws) -> Any:
        """Density as it learns, scored by the draws of one training step; itself for a key of None."""
        return self if draws.key is None else AsLearnt(self, draws)

    def learning_scores(self, x: Rows, y: Int[Array, " n"] | None, draws: Draws) -> Float[Array, "n _"]:
        """What is learnt in place of `scores`, by the draws of one step: under all labels (n, k), or those of y."""
        del draws
        return self.scores(x) if y is None else self.scores_at(x, y)[:, None]

    def scores_by_draw(self, x: Float[Array, "n d"]) -> Float[Array, "s n *labels"]:
        """Scores by each of s draws (s, n, *labels), of log-mean `scores`; one if they are exact."""
        return self.scores(x)[None]

    def error(self, logs: Float[Array, "s n"]) -> Float[Array, " n"]:
        """Standard error (n,) of the log of a mean, from the logarithms (s, n) of what it is the mean of.

        By the delta method, with v the share of each in their sum: sqrt((s sum v^2 - 1) / (s - 1)).
        """
        shares = jax.nn.softmax(logs, axis=0)
        # s sum v^2 - 1 as the sum of squares that it is: exactly 0 where all are the same.
        spread = jnp.square(len(logs) * shares - 1).sum(0) / len(logs)
        return jnp.sqrt(spread / (len(logs) - 1))

    def statistics(self, *_: Any, **__: Any) -> NoReturn:
        """Raises ValueError: there are no sufficient statistics; the message names the gradient methods."""
        raise ValueError(f"{LEARNING} in dgjax.fit.")

    def labelled(self, *_: Any, **__: Any) -> NoReturn:
        """Raises ValueError: there are no sufficient statistics for an M-step."""
        return self.statistics()

    def expectation(self, *_: Any, **__: Any) -> NoReturn:
        """Raises ValueError: there is no E-step, as there are no sufficient statistics."""
        return self.statistics()

    def maximum(self, *_: Any, **__: Any) -> NoReturn:
        """Raises ValueError: there is no M-step in closed form."""
        return self.statistics()

    def started(self, *_: Any, **__: Any) -> NoReturn:
        """Raises ValueError: the density is initialised from a random key, not from clusters."""
        return self.statistics()

    def converged_in_one_step(self, before: Any) -> Bool[Array, ""]:
        """Always False, as there is no M-step."""
        del before
        return jnp.zeros((), bool)

    def log_prior(self, prior: Any) -> Float[Array, ""]:
        """Log prior density 0 for None, a flat prior. Raises ValueError for any other prior."""
        if prior is not None:
            raise ValueError(f"prior must be None for a {type(self).__name__}; got {_advice.shown(prior)}.")
        return jnp.zeros(())

    def weak_prior(self, columns: Any, strength: Any) -> NoReturn:
        """Raises ValueError: there is no conjugate prior."""
        del columns, strength
        raise ValueError(f"weak_prior is for densities with a conjugate prior; a {type(self).__name__} has none.")


@dataclass
class AsLearnt:
    """A learned density that learns by draws, as `fit` scores it: by those of one training step."""

    density: Learned
    draws: Draws = tree()

    complete: ClassVar[bool | None] = False

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.density.label_shape

    @property
    def num_features(self) -> int:
        return self.density.num_features

    @property
    def sequential(self) -> bool:
        return self.density.sequential

    @property
    def contrastive(self) -> bool:
        return self.density.contrastive

    @property
    def score_cost(self) -> int:
        return self.density.score_cost

    def scores(self, x: Rows) -> Float[Array, "n k"]:
        return self.density.learning_scores(x, None, self.draws)

    def scores_at(self, x: Rows, y: Int[Array, " n"]) -> Float[Array, " n"]:
        """Scores (n,) of one given label for each row, at 1 / k of the work of all labels."""
        return self.density.learning_scores(x, y, self.draws)[:, 0]


def _by_draws(node: Any) -> bool:
    return isinstance(node, Learned) and node.by_draws


def has_draws(model: Any) -> bool:
    """Whether a part of a model learns by random draws."""
    return any(map(_by_draws, jax.tree.leaves(model, is_leaf=_by_draws)))


def has_divergence(model: Any) -> bool:
    """Whether the objective of a part of a model has a KL divergence: of a variational autoencoder."""
    return any(getattr(node, "divergence", False) for node in jax.tree.leaves(model, is_leaf=_by_draws))


def with_draws(model: Any, draws: Draws | None) -> Any:
    """The model with every part that learns by draws replaced by `part.drawn(draws)`, its form for learning."""
    if draws is None:
        return model
    return jax.tree.map(lambda node: node.drawn(draws) if _by_draws(node) else node, model, is_leaf=_by_draws)
