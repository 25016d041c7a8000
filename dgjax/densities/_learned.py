"""Densities whose parameters are learnt by gradient: networks, and what has no M-step in closed form."""

from typing import Any, NoReturn

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dgjax import _advice
from dgjax._draws import LEARNING
from dgjax.densities._base import Density


class Learned(Density):
    """A density with neither sufficient statistics nor a conjugate prior, so that `fit` takes a method by gradient."""

    def statistics(self, *_: Any, **__: Any) -> NoReturn:
        """None: raises ValueError that names the methods by gradient."""
        raise ValueError(f"{LEARNING} in dgjax.fit.")

    def labelled(self, *_: Any, **__: Any) -> NoReturn:
        """None, as there are no sufficient statistics."""
        return self.statistics()

    def expectation(self, *_: Any, **__: Any) -> NoReturn:
        """None, as there are no sufficient statistics."""
        return self.statistics()

    def maximum(self, *_: Any, **__: Any) -> NoReturn:
        """None: there is no M-step in closed form."""
        return self.statistics()

    def started(self, *_: Any, **__: Any) -> NoReturn:
        """None: it starts from a key, not from clusters."""
        return self.statistics()

    def converged_in_one_step(self, before: Any) -> Bool[Array, ""]:
        """Never, as there is no M-step."""
        del before
        return jnp.zeros((), bool)

    def log_prior(self, prior: Any) -> Float[Array, ""]:
        """0, of no prior at all. Raises ValueError for any other."""
        if prior is not None:
            raise ValueError(f"prior must be None for a {type(self).__name__}; got {_advice.shown(prior)}.")
        return jnp.zeros(())

    def weak_prior(self, columns: Any, strength: Any) -> NoReturn:
        """None. Raises ValueError."""
        del columns, strength
        raise ValueError(f"weak_prior is for densities with a conjugate prior; a {type(self).__name__} has none.")
