"""Independent columns of categories."""

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._pytree import noun
from dgjax._types import At, ColumnMoments, Support, category, num_free, possible
from dgjax.densities import _shared
from dgjax.priors import Dirichlet, expect_prior
from dgjax.scorers import Table


@noun
class Categorical:
    """Rows of categories: log p(x) = sum_j log softmax(logits_j)[x_j].

    `logits` (*labels, d, c): d columns of categories 0 to c - 1; a column with fewer has minus infinity at the rest.
    What is so for every label is padding: no parameter, of no weight in a prior, never learnt. A category that some
    label alone never showed is a parameter of every label. Cells are whole numbers, held as floats, or NaN, which
    counts for nothing.
    """

    logits: Float[Array, "*labels d c"]

    def __post_init__(self) -> None:
        if self.logits.ndim < 2:
            raise ValueError(f"Categorical expects logits (*labels, d, c); got shape {self.logits.shape}.")
        _parameters.check_possible(self, "logits")

    generative: ClassVar[Literal[True]] = True
    labelled = _shared.labelled
    settled = _shared.settled
    started = _shared.started
    as_model = _shared.as_model

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.logits.shape[:-2]

    @property
    def num_features(self) -> int:
        return self.logits.shape[-2]

    @property
    def num_categories(self) -> int:
        return self.logits.shape[-1]

    @property
    def row_cost(self) -> int:
        return self.num_features * self.num_categories + self.score_cost

    @property
    def score_cost(self) -> int:
        return self.logits.size // (self.num_features * self.num_categories)

    @property
    def num_parameters(self) -> int | Array:
        return self.score_cost * num_free(self._possible)

    @property
    def _possible(self) -> Any:
        """Which categories each column has (d, c)."""
        return possible(self.logits, len(self.label_shape))

    def _log_p(self) -> Array:
        return jax.nn.log_softmax(self.logits, axis=-1)

    def _table(self) -> Array:
        return _shared.flat(self._log_p(), self.label_shape)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return kernels.table(x, self._table()).reshape(len(x), *self.label_shape)

    def sample(self, key: Key[Array, ""], at: At) -> Float[Array, "*n d"]:
        return kernels.categorical(key, self.logits[at]).astype(self.logits.dtype)

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: At) -> Float[Array, "n d"]:
        return _shared.fill(x, jax.vmap(self.sample)(keys, at))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        p = _shared.flat(jnp.exp(self._log_p()), self.label_shape).reshape(-1, self.num_features * self.num_categories)
        mixed = (_shared.rows_by_labels(posterior) @ p).reshape(len(x), self.num_features, self.num_categories)
        return _shared.fill(x, mixed.argmax(-1).astype(x.dtype))

    def marginal(self, columns: tuple[int, ...]) -> "Categorical":
        return type(self)(self.logits[..., jnp.array(columns), :])

    def discriminative(self) -> tuple[Float[Array, "*labels"], Table]:
        """A table of log-probabilities."""
        return jnp.zeros(self.label_shape, self.logits.dtype), Table(self._log_p())

    def statistics(self, x: Float[Array, "n d"], counts: Float[Array, "n *labels"]) -> Float[Array, "*labels d c"]:
        """How often each category was observed."""
        return kernels.table_statistics(x, _shared.rows_by_labels(counts), self._table()).reshape(self.logits.shape)

    def expectation(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], weights: Float[Array, " n"], log_weights: Float[Array, " k"]
    ) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "k d c"]]:
        return kernels.table_expectation(x, y, weights, log_weights, self._table())

    def maximum(self, statistics: Float[Array, "*labels d c"], prior: Dirichlet | None = None) -> "Categorical":
        expect_prior(prior, Dirichlet, self)
        if prior is not None:
            statistics = statistics + jnp.where(jnp.isneginf(self.logits), 0, prior.concentration - 1)
        total = statistics.sum(-1, keepdims=True)
        return type(self)(jnp.where(total == 0, self.logits, jnp.log(statistics) - jnp.log(total)))

    def log_prior(self, prior: Dirichlet | None) -> Float[Array, ""]:
        expect_prior(prior, Dirichlet, self)
        return jnp.zeros((), self.logits.dtype) if prior is None else prior.log_density(self._log_p())

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> Dirichlet:
        return Dirichlet.shared(strength, self._possible, columns.mean.dtype)

    @property
    def supports(self) -> tuple[Support, ...]:
        return (category(self.num_categories),) * self.num_features
