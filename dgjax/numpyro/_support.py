"""Supports as NumPyro constraints, and NumPyro's constraints as supports.

A support is the numbers within a column's limits, and NaN for a missing cell.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import biject_to, constraints, transforms

from dgjax._arguments import is_concrete
from dgjax._types import FINITE, Support

OPEN = (constraints.greater_than, constraints.less_than, constraints.open_interval)
CLOSED = (constraints.greater_than_eq, constraints.less_than_eq)  # which derive from the open ones


class OrMissing(constraints.Constraint):
    """Constraint: rows (..., d), or sequences, whose cells are in their column's support or NaN.

    With `steps`, sequences (..., t, d). Only real columns can be latent: NaN has no place in an unconstrained space.
    """

    def __init__(self, supports: tuple[Support, ...], steps: bool = False) -> None:
        self.supports, self.event_dim = supports, 2 if steps else 1

    @property
    def is_discrete(self) -> bool:
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


def as_support(base: Any, most: float) -> Support:
    """Support of the columns of a NumPyro distribution: bounds that are concrete, the widest over labels, to `most`.

    `most` is the largest count that the distribution's formula takes. A bound that is outside itself, as 0 is of
    positive numbers, becomes the next number.
    """
    constraint, by_cell = base.support, not base.event_shape
    low, high = limits(constraint)
    is_open = isinstance(constraint, OPEN) and not isinstance(constraint, CLOSED)
    words = [
        "a whole number" if constraint.is_discrete else "a finite number",
        *([f"{'above' if is_open else 'from'} {low:g}"] if np.isfinite(low) else []),
        *([f"{'below' if is_open else 'to'} {high:g}"] if np.isfinite(high) else []),
    ]
    if by_cell and (low, high, constraint.is_discrete) == (-np.inf, np.inf, False):
        return FINITE
    if is_open:
        one = np.dtype(jnp.result_type(float)).type
        low = low if np.isinf(low) else float(np.nextafter(one(low), one(np.inf)))
        high = high if np.isinf(high) else float(np.nextafter(one(high), one(-np.inf)))
    if not by_cell:
        return Support(f"{words[0]}; its columns cannot be marginalised", low, high, constraint.is_discrete, False)
    if most < high:
        high, lost = most, "beyond which NumPyro's formula cancels: type jax.config.update('jax_enable_x64', True)"
        words.append(f"to {most:g}, {lost}")
    return Support(" ".join(words), low, high, constraint.is_discrete)


def limits(constraint: Any) -> tuple[float, float]:
    """Bounds of a NumPyro constraint, the widest of several, infinite where there are none or they are not concrete."""
    if isinstance(constraint, type(constraints.boolean)):
        return 0.0, 1.0
    low, high = (getattr(constraint, name, None) for name in ("lower_bound", "upper_bound"))
    return (
        float(np.min(low)) if low is not None and is_concrete(low) else -np.inf,
        float(np.max(high)) if high is not None and is_concrete(high) else np.inf,
    )


def is_inside(constraint: Any, cells: Array) -> Array:
    """Mask of the cells, or of the rows if the constraint is of rows, that are finite and inside; False for NaN."""
    whole = (cells == jnp.floor(cells)) | (not constraint.is_discrete)
    finite = (jnp.isfinite(cells) & whole).all(tuple(range(-constraint.event_dim, 0)))
    return finite & constraint(cells)


def feasible(base: Any, cells: Array) -> Array:
    """Cells or rows inside the support of a NumPyro distribution, to stand for those that are not.

    The distribution's log-probability is finite there, and so are its gradients.
    """
    shape = jnp.broadcast_shapes(cells.shape, base.batch_shape + base.event_shape)
    return base.support.feasible_like(jnp.zeros(shape, cells.dtype))
