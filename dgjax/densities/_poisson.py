"""Poisson density: independent columns of counts."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import dgjax_kernels as kernels
from dgjax._pytree import dataclass
from dgjax._types import COUNT, ColumnMoments, LabelIndex
from dgjax.densities import _shared
from dgjax.densities._count_modes import mixture_mode
from dgjax.densities._independent import Family, Independent
from dgjax.priors import Gamma
from dgjax.scorers import LogLinear


@dataclass
class Poisson(Independent):
    """Poisson density of rows of counts: log p(x) = sum_j x_j log r_j - r_j - log x_j!, r = exp(log_rate).

    `log_rate` (*labels, d). Cells are whole numbers from 0, held as floats, or NaN; a missing cell adds 0.

    Raises ValueError if `log_rate` has no axis of columns.
    """

    log_rate: Float[Array, "*labels d"]

    family = Family(kernels.poisson, kernels.poisson_statistics, kernels.poisson_expectation)
    conjugate, support = Gamma, COUNT
    _of_sums = staticmethod(lambda cells, total: (cells, total))

    def natural_parameter(self) -> Float[Array, "*labels d 2"]:
        """Natural parameter (*labels, d, 2): -r and log r, the coefficients of 1 and of x."""
        return jnp.stack([-jnp.exp(self.log_rate), self.log_rate], -1)

    def _flat(self) -> Float[Array, "k d"]:
        """Log-rates (k, d), which the kernels take: what is of a rate's size must cancel before counts multiply it."""
        return _shared.flat(self.log_rate, self.label_shape)

    def maximizer(self, statistics: Float[Array, "*labels d 2"]) -> "Poisson":
        cells, total = jnp.moveaxis(statistics, -1, 0)
        return type(self)(jnp.where(cells == 0, self.log_rate, jnp.log(total) - jnp.log(cells)))

    def kernel(self) -> kernels.Pass:
        return kernels.Pass("poisson", (self._flat()[..., None],))

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        return kernels.poisson_draws(key, jnp.exp(self.log_rate[at]))

    def centre(self, posterior: Float[Array, "n k"]) -> Float[Array, "n d"]:
        """Mode of the mixture of Poisson distributions with weights `posterior` (n, k), for each cell (n, d)."""
        logs, rate = self._flat(), jnp.exp(self._flat())
        log_mass = lambda n: kernels.log_poisson(n[:, None], rate, logs)  # noqa: E731
        return mixture_mode(posterior, (rate[None],), log_mass, jnp.floor)

    def discriminative(self) -> tuple[Float[Array, "*labels"], LogLinear]:
        """Discriminative twin, linear in the counts: bias (*labels,) and log r_yj less its median over labels.

        log x! is common to all labels and left out.
        """
        weight, _, excess = _shared.about_the_median(self._flat())
        return -excess.sum(-1).reshape(self.label_shape), LogLinear(weight.reshape(self.log_rate.shape))

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> Gamma:
        mean = columns.mean
        return Gamma(1 + strength * jnp.where(mean > 0, mean, 0.5), jnp.full_like(mean, strength))
