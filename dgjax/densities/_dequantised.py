"""What densities of rows in units of their columns share: standardised cells, and whole numbers with noise added.

x, with noise v in columns of whole numbers ─▶ u = (x + v - centre) / scale ─▶ log p(u) - sum_j log scale_j
P(x) = E_v p(x + v), v uniform in [0, 1) in columns of whole numbers, 0 in others
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._arguments import as_columns, as_count
from dgjax._twins import NetworkLogDensity
from dgjax._types import LabelIndex
from dgjax.densities._learned import Learned

NUM_SAMPLES = 8


class Dequantised(Learned):
    """Learned density of rows in units of their columns; whole numbers are dequantised, by noise that is added.

    A family is a dataclass with the fields below, and writes `estimates` and `drawn_units`. Draws of noise are fixed by
    `seed` for all rows and labels. Source: Theis, van den Oord and Bethge (2016).
    """

    centre: Float[Array, " d"]
    scale: Float[Array, " d"]
    num_classes: int
    whole: tuple[int, ...]
    num_samples: int | None
    seed: int

    untrained = ("centre", "scale")

    def estimates(self, x: Any, noise: Any, y: Int[Array, " n"] | None = None) -> Float[Array, "s n _"]:
        """Estimates of log p(x + noise | label) (s, n, k), or for labels y (n,) (s, n, 1), of which the mean counts."""
        raise NotImplementedError

    def drawn_units(self, keys: Key[Array, " n"], y: Int[Array, " n"]) -> Float[Array, "n d"]:
        """Draws of rows in units of their columns, one for each key and label."""
        raise NotImplementedError

    def check_units(self) -> None:
        """Raises ValueError for units that are none, or draws of noise where there is none; sets `num_samples`."""
        _parameters.check_same_shape(self, "centre", "scale")
        _parameters.check_least(self, "scale", float(np.finfo(np.float32).tiny))
        if self.whole:
            object.__setattr__(self, "whole", tuple(sorted(as_columns(self.whole, self.num_features))))
        elif self.num_samples not in (None, 1):
            raise ValueError(
                f"num_samples is for columns of whole numbers; got {self.num_samples} and none. Leave it out."
            )
        if self.num_samples is not None:
            as_count(self.num_samples, "num_samples")
        else:
            object.__setattr__(self, "num_samples", NUM_SAMPLES if self.whole else 1)

    @property
    def num_features(self) -> int:
        return self.centre.shape[-1]

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (self.num_classes,)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
        return self.combined(self.by_draw(x))

    def scores_at(self, x: Float[Array, "n d"], y: Int[Array, " n"]) -> Float[Array, " n"]:
        return self.combined(self.by_draw(x, y))[:, 0]

    def scores_by_draw(self, x: Float[Array, "n d"]) -> Float[Array, "s n k"]:
        """Log-densities of rows by each draw, (s, n, k): with each draw of noise, where there are whole numbers."""
        return self.by_draw(x)

    def combined(self, by_draw: Float[Array, "s n _"]) -> Float[Array, "n _"]:
        """Scores (n, k) from those by each draw: the logarithm of the mean over draws of noise."""
        if len(by_draw) == 1:
            return by_draw[0]
        return kernels.logsumexp(jnp.moveaxis(by_draw, 0, -1)) - jnp.log(jnp.asarray(len(by_draw), by_draw.dtype))

    def by_draw(self, x: Float[Array, "n d"], y: Int[Array, " n"] | None = None) -> Float[Array, "s n _"]:
        """Estimates (s, n, k): one for each draw of noise, or without whole numbers those of the density itself."""
        if not self.whole:
            return self.estimates(x, 0, y)
        key = jax.random.key(self.seed)

        def one(draw):
            return self.estimates(x, self.noise(jax.random.fold_in(key, draw), x.shape[1:], x.dtype), y).mean(0)

        return jax.lax.map(one, jnp.arange(self.num_samples))

    def noise(self, key: Key[Array, ""], shape: tuple[int, ...], dtype: Any) -> Array:
        """Noise of that shape, (..., d): uniform in [0, 1) in columns of whole numbers, 0 in others."""
        return jnp.where(is_whole(self), jax.random.uniform(key, shape, dtype), 0)

    def units(self) -> tuple[Array, Array]:
        """Centre and scale (d,) of columns, which are constants."""
        return jax.lax.stop_gradient((self.centre, self.scale))

    def in_columns(self, u: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        """Rows from units of their columns, whole numbers rounded down."""
        centre, scale = self.units()
        return jnp.where(is_whole(self), jnp.floor(centre + scale * u), centre + scale * u)

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        labels = at[0].reshape(-1)

        def block(rows, y):
            return self.in_columns(self.drawn_units(jax.vmap(jax.random.fold_in, (None, 0))(key, rows), y))

        rows = kernels.map_rows(block, jnp.arange(labels.size), labels, row_cost=self.row_cost)
        return rows.reshape(*at[0].shape, self.num_features)

    def discriminative(self) -> tuple[Float[Array, " k"], NetworkLogDensity]:
        """Discriminative twin: a bias (k,) of 0 and a scorer of log p(x | y), which has exactly the same posterior."""
        return jnp.zeros(self.num_classes, jnp.result_type(*jax.tree.leaves(self))), NetworkLogDensity(self)


def is_whole(density: Any) -> np.ndarray:
    """Mask (d,) of the columns of whole numbers."""
    return np.isin(np.arange(density.num_features), density.whole)


def supports_of_columns(real: Any, whole: Any, num_columns: int, columns: Sequence[int]) -> tuple[Any, ...]:
    """Support of each column, `whole` for those numbered in `columns`, `real` for others."""
    return tuple(whole if column in columns else real for column in range(num_columns))


def standard_normals(keys: Key[Array, " n"], d: int, dtype: Any) -> Float[Array, "n d"]:
    """Standard normal rows (n, d), by a key for each."""
    return jax.vmap(lambda key: jax.random.normal(key, (d,), dtype))(keys)
