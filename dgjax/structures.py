"""Label spaces: what a label is, held as log-potentials over it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._pytree import noun


@noun
class Classes:
    """y is one of k classes: scores s(x, y) for n rows (n, k).

    `empty` (n,) marks the rows of which nothing was observed, if the model is generative: p(x_observed) is 1 there, and
    the sum over y gives that only to rounding.
    """

    scores: Float[Array, "n k"]
    empty: Bool[Array, " n"] | None = None

    def clamped(self, y: Int[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, "n k"]]:
        """log sum exp s(x, y') over the y' that y allows, -1 allowing all, and their share in the sum."""
        value, counts = kernels.partition(self.scores, y)
        return value if self.empty is None else jnp.where(self.empty & (y < 0), 0, value), counts

    def score(self, y: Int[Array, " n"]) -> Float[Array, " n"]:
        """s(x, y); where y is unknown (-1), the log-partition, as a label summed out."""
        return self.clamped(y)[0]

    def log_partition(self) -> Float[Array, " n"]:
        """log sum_y exp s(x, y)."""
        return self.clamped(self._unknown())[0]

    def log_marginals(self) -> Float[Array, "n k"]:
        """log p(y | x)."""
        return jax.nn.log_softmax(self.scores, axis=-1)

    def marginals(self) -> Float[Array, "n k"]:
        """p(y | x): the gradient of the log-partition."""
        return self.clamped(self._unknown())[1]

    def mode(self) -> Int[Array, " n"]:
        """The most probable y; -1, unknown, where none is possible."""
        return jnp.where(self._possible(), self.scores.argmax(-1), -1)

    def sample(self, key: Key[Array, ""]) -> Int[Array, " n"]:
        """A draw of y for each row; -1, unknown, where none is possible."""
        return jnp.where(self._possible(), kernels.categorical(key, self.scores), -1)

    def _possible(self):
        return jnp.isfinite(self.scores.max(-1))

    def _unknown(self):
        return jnp.full(len(self.scores), -1)
