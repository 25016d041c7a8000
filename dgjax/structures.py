"""Label spaces: what a label is, held as log-potentials over it."""

import dgjax_kernels as kernels
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from dgjax._pytree import noun


@noun
class Classes:
    """y is one of k classes: scores s(x, y) for n rows (n, k)."""

    scores: Float[Array, "n k"]

    def score(self, y: Int[Array, " n"]) -> Float[Array, " n"]:
        """s(x, y); where y is unknown (-1), the log-partition, as a label summed out."""
        return kernels.partition(self.scores, y)[0]

    def log_partition(self) -> Float[Array, " n"]:
        """log sum_y exp s(x, y)."""
        return kernels.partition(self.scores, self._unknown())[0]

    def log_marginals(self) -> Float[Array, "n k"]:
        """log p(y | x)."""
        return jax.nn.log_softmax(self.scores, axis=-1)

    def marginals(self) -> Float[Array, "n k"]:
        """p(y | x): the gradient of the log-partition."""
        return kernels.partition(self.scores, self._unknown())[1]

    def mode(self) -> Int[Array, " n"]:
        """The most probable y."""
        return self.scores.argmax(-1)

    def sample(self, key: Key[Array, ""]) -> Int[Array, " n"]:
        """A draw of y for each row."""
        return jax.random.categorical(key, self.scores, axis=-1)

    def _unknown(self):
        return jnp.full(len(self.scores), -1)
