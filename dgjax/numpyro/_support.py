"""Supports as NumPyro constraints: numbers within a column's limits, or NaN for a missing cell."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to, constraints, transforms

from dgjax._types import Support


class OrMissing(constraints.Constraint):
    """Constraint: rows (..., d), or with `steps` sequences (..., t, d), whose cells are in their column's support or
    NaN.

    Only real columns can be latent: NaN has no place in an unconstrained space.
    """

    def __init__(self, supports: tuple[Support, ...], steps: bool = False) -> None:
        self.supports, self.event_dim = supports, 2 if steps else 1

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return any(support.whole for support in self.supports)

    @property
    def real(self) -> bool:
        """Whether every column's support is all real numbers."""
        return all(s.low == -np.inf and s.high == np.inf and not s.whole for s in self.supports)

    def __call__(self, x: Any) -> Any:
        x = x if isinstance(x, np.ndarray) else jnp.asarray(x)
        xp = np if isinstance(x, np.ndarray) else jnp
        low, high, whole, missing = (np.array(field) for field in list(zip(*self.supports, strict=True))[1:])
        inside = xp.isfinite(x) & (x >= low) & (x <= high) & (~whole | (x == xp.floor(x)))
        return (inside | (missing & xp.isnan(x))).all(axis=tuple(range(-self.event_dim, 0)))

    def feasible_like(self, prototype: Any) -> Any:
        lowest = np.array([0 if np.isinf(support.low) else support.low for support in self.supports])
        return jnp.broadcast_to(jnp.asarray(lowest, jnp.result_type(float)), jnp.shape(prototype))

    def tree_flatten(self):
        return (), ((), {"supports": self.supports, "event_dim": self.event_dim})

    def eq(self, other: object, static: bool = False) -> Any:
        return isinstance(other, OrMissing) and self.tree_flatten() == other.tree_flatten()


class Logs(constraints.Constraint):
    """Constraint: log-weights (..., k) up to a constant, finite or minus infinity, at least one of them finite."""

    event_dim = 1

    def __call__(self, x: Any) -> Any:
        x = jnp.asarray(x)
        return (x < jnp.inf).all(-1) & jnp.isfinite(x).any(-1)

    def tree_flatten(self):
        return (), ((), {})

    def feasible_like(self, prototype: Any) -> Any:
        return jnp.zeros_like(prototype)


@biject_to.register(OrMissing)
def _to_unconstrained(constraint):
    if not constraint.real:
        words = next(s.words for s in constraint.supports if s.whole or np.isfinite([s.low, s.high]).any())
        raise NotImplementedError(
            f"rows with a column that expects {words} are observed, or drawn with numpyro.infer.Predictive; NUTS and "
            "guides have no unconstrained form of them. Give obs=."
        )
    return transforms.IndependentTransform(transforms.IdentityTransform(), constraint.event_dim)
