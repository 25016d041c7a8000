"""Sparse Dirichlet distributions: some categories are impossible, and stay so."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution, biject_to, constraints
from numpyro.distributions.transforms import Transform


class SparseSimplex(constraints.Constraint):
    """Constraint: rows of probabilities (*rows, k) that are 0 where `possible`, a mask of that shape, is False."""

    def __init__(self, possible: np.ndarray) -> None:
        self.possible, self.shape = tuple(possible.ravel().tolist()), possible.shape

    @property
    def mask(self) -> np.ndarray:
        return np.array(self.possible).reshape(self.shape)

    @property
    def event_dim(self) -> int:
        return len(self.shape)

    def __call__(self, x: Any) -> Any:
        x = jnp.asarray(x)
        inside = (jnp.where(self.mask, x >= 0, x == 0)).all(-1) & (abs(x.sum(-1) - 1) < 1e-5)
        return inside.all(axis=tuple(range(-(len(self.shape) - 1), 0))) if len(self.shape) > 1 else inside

    def feasible_like(self, prototype: Any) -> Any:
        return jnp.broadcast_to(self.mask / self.mask.sum(-1, keepdims=True), jnp.shape(prototype))

    def tree_flatten(self):
        return (), ((), {"possible": self.possible, "shape": self.shape})

    def eq(self, other: object, static: bool = False) -> Any:
        return isinstance(other, SparseSimplex) and self.tree_flatten() == other.tree_flatten()


class ToSparseSimplex(Transform):
    """Transform from log-ratios to the first possible category, of all rows in one vector, to sparse simplexes.

    log |det| = sum of log p over possible categories. Source: Aitchison (1982), The statistical analysis of
    compositional data.
    """

    def __init__(self, constraint: SparseSimplex) -> None:
        self.sparse = constraint

    @property
    def domain(self) -> Any:
        return constraints.real_vector

    @property
    def codomain(self) -> SparseSimplex:
        return self.sparse

    def tree_flatten(self):
        return (), ((), {"sparse": self.sparse})

    def eq(self, other: object, static: bool = False) -> Any:
        return isinstance(other, ToSparseSimplex) and self.sparse.eq(other.sparse)

    @property
    def _free(self) -> tuple[np.ndarray, ...]:
        mask = self.sparse.mask
        return np.nonzero(mask & (mask.cumsum(-1) > 1))

    def _log_p(self, u: Array) -> Array:
        logits = jnp.where(self.sparse.mask, 0.0, -jnp.inf)
        logits = jnp.broadcast_to(logits, (*u.shape[:-1], *logits.shape)).astype(u.dtype)
        return jax.nn.log_softmax(logits.at[(..., *self._free)].set(u), axis=-1)

    def __call__(self, x: Any) -> Any:
        return jnp.exp(self._log_p(x))

    def _inverse(self, y: Any) -> Any:
        mask = self.sparse.mask
        first = jnp.take_along_axis(y, jnp.broadcast_to(mask.argmax(-1)[..., None], (*y.shape[:-1], 1)), axis=-1)
        return (jnp.log(jnp.where(mask, y, 1)) - jnp.log(first))[(..., *self._free)]

    def log_abs_det_jacobian(self, x: Any, y: Any, intermediates: Any = None) -> Any:
        logs = jnp.where(self.sparse.mask, self._log_p(x), 0)
        return logs.sum(axis=tuple(range(-len(self.sparse.shape), 0)))

    def forward_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], *self.sparse.shape)

    def inverse_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[: len(shape) - len(self.sparse.shape)], len(self._free[0]))


@biject_to.register(SparseSimplex)
def _to_sparse_simplex(constraint):
    return ToSparseSimplex(constraint)


class SparseDirichlet(Distribution):
    """Distribution of independent rows (*rows, k), each Dirichlet over its `possible` categories; 0 elsewhere."""

    arg_constraints = {"concentration": constraints.dependent}
    pytree_data_fields = ("concentration",)
    pytree_aux_fields = ("sparse",)

    def __init__(self, concentration: Array, possible: np.ndarray, *, validate_args: bool | None = None) -> None:
        self.concentration = jnp.broadcast_to(concentration, possible.shape)
        self.sparse = SparseSimplex(possible)
        super().__init__((), possible.shape, validate_args=validate_args)

    @property
    def support(self) -> SparseSimplex:
        return self.sparse

    def log_prob(self, value: Any, intermediates: Any = None) -> Array:
        mask, a = self.sparse.mask, self.concentration
        logs = jnp.log(jnp.where(mask, value, 1))
        total = jnp.where(mask, a, 0).sum(-1)
        lgamma = jax.scipy.special.gammaln
        rows = jnp.where(mask, (a - 1) * logs - lgamma(a), 0).sum(-1) + lgamma(total)
        return rows.sum(axis=tuple(range(rows.ndim - mask.ndim + 1, rows.ndim)))

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        logs = jax.random.loggamma(key, self.concentration, (*sample_shape, *self.event_shape))
        return jax.nn.softmax(jnp.where(self.sparse.mask, logs, -jnp.inf), axis=-1)
