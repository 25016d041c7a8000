"""Modes of mixtures of count distributions, by which `impute` fills a missing count."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LONGEST_CLIMB = 100
"""Steps; each goes to the mode of the average component, and a few do unless two modes are about to merge."""


def mixture_mode(
    weight: Float[Array, "n k"],
    parameters: tuple[Float[Array, "#n k d"], ...],
    log_mass: Callable[[Array], Array],
    mode_at: Callable[..., Array],
) -> Float[Array, "n d"]:
    """Mode of a mixture of counts: the count c that maximises sum_k w_k exp(log_mass(c)_k), for each cell (n, d).

    `weight` (n, k); `log_mass` (n, d) -> (n, k, d) gives the components' log-probabilities of counts; `mode_at` gives
    the mode (n, d) at a parameter (n, d), which may come as several arrays: a probability, and what it lacks of 1. A
    climb starts at each component's mode, and the best end is taken. In families where p(c + 1) / p(c) is linear in the
    parameter, that ratio in the mixture is the one at E[parameter | c], which rises with c. So if the mode at
    E[parameter | c] is above c, every step up to it climbs; below c, every step down climbs.
    """

    def mixed(count):
        each = log_weight + log_mass(count)
        share = jax.nn.softmax(each, axis=1)
        return jax.nn.logsumexp(each, axis=1), [(share * parameter).sum(1) for parameter in parameters]

    def step(carry):
        count, _, steps = carry
        above = mode_at(*mixed(count)[1])
        below = mode_at(*mixed(jnp.maximum(count - 1, 0))[1])
        new = jnp.where(above > count, above, jnp.where((count > 0) & (below < count), below, count))
        return new, (new != count).any(), steps + 1

    def moving(carry):
        return carry[1] & (carry[2] < LONGEST_CLIMB)

    def climb(best, start):
        count, _, _ = jax.lax.while_loop(moving, step, (start, jnp.ones((), bool), 0))
        total = mixed(count)[0]
        return (jnp.maximum(best[0], total), jnp.where(total > best[0], count, best[1])), None

    log_weight, modes = jnp.log(weight)[..., None], mode_at(*parameters)
    starts = jnp.moveaxis(jnp.broadcast_to(modes, (len(weight), *modes.shape[1:])), 1, 0)
    nothing = jnp.full(starts.shape[1:], -jnp.inf, starts.dtype)
    (_, mode), _ = jax.lax.scan(climb, (nothing, jnp.zeros_like(nothing)), starts)
    return mode
