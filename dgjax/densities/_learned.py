"""Densities without an M-step in closed form, whose parameters are learnt by gradient, such as networks."""

from typing import Any, NoReturn

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dgjax import _advice
from dgjax._draws import LEARNING
from dgjax.densities._base import Density


class Learned(Density):
    """Density without sufficient statistics or conjugate prior: `fit` needs a gradient method."""

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
