"""The path of flow matching from noise to data, in the angle: its network's view of a time, its draws, its integrals.

The straight path u_t = t u + (1 - t) e, divided by its own spread, is an arc between noise e and data u:

    z = sin(a) u + cos(a) e,   tan(a) = t / (1 - t),   dz/da = cos(a) u - sin(a) e

`LAST` is where learning ends: the noise left there, cos(LAST), is a thousandth of a column's spread.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

T = TypeVar("T")

FIRST, LAST = 0.0, float(np.arctan(1e3))
WAVES = (1, 2, 4, 8)
NUM_TIMES = 2 + 2 * len(WAVES)
"""How many numbers `times_of` gives."""
RUNGE_KUTTA = (0.0, 0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)
HEUN = (0.0, 1.0), (0.5, 0.5)
"""Explicit methods, where each slope is taken along the one before it: by what part of a step, of what weight."""


def times_of(angle: Float[Array, "*n"]) -> Float[Array, "*n times"]:
    """What a network is told of an angle: itself, its distance from the data on a log scale, and waves."""
    angle = jnp.asarray(angle)[..., None]
    waves = 2 * angle * jnp.array(WAVES, angle.dtype)
    near = jnp.log(jnp.cos(jnp.minimum(angle, LAST))) / np.log(1e3)
    return jnp.concatenate([angle, near, jnp.cos(waves), jnp.sin(waves)], -1)


def drawn_angles(key: Key[Array, ""], n: int, dtype: Any) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Angles (n,) of the evidence lower bound, spread evenly, and the weight tan(a) / p(a) of each.

    a = LAST (1 - s^2) for s uniform, denser towards the data and of small weights. One draw moves them all: of a sum
    over rows it leaves little variance (Kingma et al., 2021, appendix I.1).
    """
    s = (jax.random.uniform(key, (), dtype) + jnp.arange(n, dtype=dtype) / n) % 1
    angle = LAST * (1 - s**2)
    return angle, jnp.tan(angle) * (2 * LAST * s)


def log_normal_bound(u: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Evidence lower bound of a cell of standard normal rows, in closed form, by the path up to `LAST`.

    With S the signal-to-noise ratio there: -[u^2 S / (1 + S) + log(1 + 1 / S) + 1 / (1 + S) + log 2 pi] / 2.
    """
    ratio = float(np.tan(LAST) ** 2)
    constant = float(np.log1p(1 / ratio) + 1 / (1 + ratio) + np.log(2 * np.pi))
    return -0.5 * (jnp.square(u) * (ratio / (1 + ratio)) + constant)


def integrated(
    slope: Callable[[T, Float[Array, ""]], T], start: T, num_steps: int, method: Any, *, back: bool = False
) -> T:
    """Integral of d state/da = slope(state, a) from the noise to the data, or with `back` from the data to the noise.

    Steps are even in s, a = pi / 2 (1 - s^2): they shorten towards the data, where the slope turns most.
    """
    dtype = jnp.result_type(*jax.tree.leaves(start))
    parts, shares = (jnp.array(own, dtype) for own in method)
    h = jnp.asarray((1 if back else -1) / num_steps, dtype)
    begin = 0 if back else 1

    def along(state, s):
        pace = -jnp.pi * s
        return jax.tree.map(lambda own: pace * own, slope(state, jnp.pi / 2 * (1 - s**2)))

    def step(state, i):
        def stage(carry, own):
            last, total = carry
            part, share = own
            here = jax.tree.map(lambda at, moves: at + h * part * moves, state, last)
            found = along(here, begin + h * (i + part))
            return (found, jax.tree.map(lambda sum_, moves: sum_ + share * moves, total, found)), None

        zero = jax.tree.map(jnp.zeros_like, state)
        (_, total), _ = jax.lax.scan(stage, (zero, zero), (parts, shares))
        return jax.tree.map(lambda at, moves: at + h * moves, state, total), None

    return jax.lax.scan(step, start, jnp.arange(num_steps, dtype=dtype))[0]


def divergence(
    field: Callable[[Array], Array], z: Float[Array, "n k d"], directions: Float[Array, "r n d"], exact: bool
) -> tuple[Float[Array, "n k d"], Float[Array, "s n k"]]:
    """A field (n, k, d) at z, and its divergence (s, n, k): exact along unit vectors, s = 1, or by each of r probes.

    Directions are 0 at cells that take no part. Source: Hutchinson (1990); Grathwohl et al. (2019), FFJORD.
    """
    value, slope = jax.linearize(field, z)

    def along(direction):
        moved = jnp.broadcast_to(direction[:, None], z.shape)
        return (moved * slope(moved)).sum(-1)

    found = jax.vmap(along)(directions)
    return value, found.sum(0, keepdims=True) if exact else found
