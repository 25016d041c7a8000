"""Categorical density: independent columns of categories."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._pytree import dataclass
from dgjax._types import ColumnMoments, LabelIndex, Support, category, num_free, possible
from dgjax.densities._independent import Tabular
from dgjax.priors import Dirichlet


@dataclass
class Categorical(Tabular):
    """Categorical density of rows: log p(x) = sum_j log softmax(logits_j)[x_j].

    `logits` (*labels, d, c) for d columns of categories 0 to c - 1; a column with fewer categories has minus infinity
    at the others. A category at minus infinity for every label is padding: no parameter, without prior weight, never
    learnt. Cells are whole numbers, held as floats, or NaN; a missing cell adds 0.

    Raises ValueError if logits have fewer than two axes, or are minus infinity for every category of a column.
    """

    logits: Float[Array, "*labels d c"]

    event_ndim, conjugate = 2, Dirichlet

    def __post_init__(self) -> None:
        super().__post_init__()
        _parameters.check_possible(self, "logits")

    @property
    def supports(self) -> tuple[Support, ...]:
        return (category(self.logits.shape[-1]),) * self.num_features

    @property
    def num_parameters(self) -> int | Array:
        return self.score_cost * num_free(possible(self.logits, len(self.label_shape)))

    def natural_parameter(self) -> Float[Array, "*labels d c"]:
        """Log-probabilities of all categories, (*labels, d, c)."""
        return jax.nn.log_softmax(self.logits, axis=-1)

    def maximizer(self, statistics: Float[Array, "*labels d c"]) -> "Categorical":
        total = statistics.sum(-1, keepdims=True)
        return type(self)(jnp.where(total == 0, self.logits, jnp.log(statistics) - jnp.log(total)))

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        return kernels.categorical(key, self.logits[at]).astype(self.logits.dtype)

    def _pseudo_statistics(self, prior: Dirichlet) -> Array:
        """Pseudo-counts of the prior (*labels, d, c), 0 for a category of probability 0."""
        return jnp.where(jnp.isneginf(self.logits), 0, prior.pseudo_statistics())

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> Dirichlet:
        return Dirichlet.shared(strength, possible(self.logits, len(self.label_shape)), columns.mean.dtype)
