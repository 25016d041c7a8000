"""Normalising flows: densities of rows that a bijection maps to standard normal noise.

    x ─▶ u = (x - centre) / scale ─▶ z = f(u; y)
    log p(x | y) = log N(z; 0, I) + log |det df/du| - sum_j log scale_j

Columns of whole numbers are dequantised: P(x | y) is the mean of p(x + v | y) over noise v, uniform in [0, 1) of these.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._arguments import is_concrete
from dgjax._pytree import dataclass, expect_part, static
from dgjax._types import FINITE, Capabilities, Kind, Support
from dgjax.densities import _shared
from dgjax.densities._complete import CompleteRows, complete_support
from dgjax.densities._dequantised import Dequantised, standard_normals, supports_of_columns
from dgjax.densities._learned import Draws
from dgjax.networks import Bijection, SplineBijection

REAL, WHOLE = (complete_support(own, "A flow") for own in (FINITE, Support("a whole number", whole=True)))

LARGEST_MOVE = 0.01
"""What an inverse may move a cell of a standard normal row by: float32 loses digits in steep places, not these."""


@dataclass
class Flow(CompleteRows, Dequantised):
    """Normalising flow: log p(x | y) = log N(f(u; y)) + log |det df/du| - sum_j log scale_j, u = (x - centre) / scale.

    `bijection` is f: a `dgjax.SplineBijection`, a `dgjax.Bijection` of any pure function, or any other pytree of floats
    with `transform_and_log_det(u, y)` and `inverse_and_log_det(z, y)` of one row (d,), y (k,) one-hot or, of a single
    class, left out. `centre` and `scale` (d,) are constants in the columns' units, mostly means and standard
    deviations.

    Columns numbered in `whole` hold whole numbers. Of rows with such columns, log P(x | y) = log E_v p(x + v | y), with
    v uniform in [0, 1) in these columns, is estimated by the mean over `num_samples` draws of v, which `seed` fixes for
    all rows: in expectation below it, and closer with more draws. `fit` maximises E_v log p(x + v | y), by one fresh
    draw for each row and step. Without such columns the density is exact.

    No cell may be missing: verbs raise ValueError, which names what to take instead; inside `jit` a row with a missing
    cell has a score of NaN.

    Raises ValueError for a bijection that gives other shapes or numbers that are not finite, or does not invert.
    Source: Papamakarios et al. (2021), Normalizing flows for probabilistic modeling and inference, eq. 6; dequantised
    Theis, van den Oord and Bethge (2016), A note on the evaluation of generative models.
    """

    bijection: Any
    centre: Float[Array, " d"]
    scale: Float[Array, " d"]
    num_classes: int = static(default=1)
    whole: tuple[int, ...] = static(default=())
    num_samples: int | None = static(default=None)
    seed: int = static(default=0)

    def __post_init__(self) -> None:
        expect_part(self, "bijection", "transform_and_log_det", "a bijection, such as dgjax.Bijection(...)")
        self.check_units()
        _check_shapes(self)
        if is_concrete(self) and not isinstance(self.bijection, SplineBijection):
            _check_images(self)

    @property
    def by_draws(self) -> bool:  # type: ignore[override]
        """Whether it learns by random draws: of the noise that is added to whole numbers."""
        return bool(self.whole)

    @property
    def row_cost(self) -> int:
        """Memory for one row, in floats: the widest layer, for every label."""
        widest = max(max(leaf.shape, default=1) for leaf in jax.tree.leaves(self))
        return self.num_classes * widest

    @property
    def capabilities(self) -> Capabilities:
        kind: Kind = "bound" if self.whole else "exact"
        return Capabilities(kind, "none", "estimate" if self.whole else "exact", impute="none")

    @property
    def num_parameters(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.bijection))

    @property
    def supports(self) -> tuple[Support, ...]:
        return supports_of_flow(self.num_features, self.whole)

    def learning_scores(self, x: Float[Array, "n d"], y: Int[Array, " n"] | None, draws: Draws) -> Float[Array, "n _"]:
        """Log-density of rows with fresh noise added to whole numbers, by the key of one step."""
        if not self.whole or draws.key is None:
            return super().learning_scores(x, y, draws)
        return self._score(x, self.noise(draws.key, x.shape, x.dtype), y)

    def estimates(self, x: Any, noise: Any, y: Int[Array, " n"] | None = None) -> Float[Array, "1 n _"]:
        """Log-density of rows with noise added: a single one, exact."""
        return self._score(x, noise, y)[None]

    def drawn_units(self, keys: Key[Array, " n"], y: Int[Array, " n"]) -> Float[Array, "n d"]:
        """Images of standard normal rows under the inverse."""
        z = standard_normals(keys, self.num_features, jnp.result_type(*jax.tree.leaves(self)))
        return self._mapped(self.bijection.inverse_and_log_det, z, y)[0][:, 0]

    def _score(self, x, noise, y=None):
        """Log-density (n, k), or for labels y (n,) (n, 1), of rows with noise added."""
        centre, scale = self.units()
        empty = _shared.no_cells(x, self.complete)[:, None]
        u = jnp.where(empty, 0, (x - centre + noise) / scale)
        z, log_det = self._mapped(self.bijection.transform_and_log_det, u, y)
        normal = -0.5 * (jnp.square(z) + jnp.log(2 * jnp.pi)).sum(-1)
        return jnp.where(empty, 0, normal + log_det - jnp.log(scale).sum())

    def _mapped(self, function, rows, y=None):
        """Images (n, k, d) and log-determinants (n, k) of rows under every class, or under that of y (n,) (n, 1)."""
        if self.num_classes == 1:
            images, log_dets = jax.vmap(function)(rows)
            return images[:, None], log_dets[:, None]
        classes = jnp.eye(self.num_classes, dtype=rows.dtype)
        if y is None:
            return jax.vmap(jax.vmap(function, (None, 0)), (0, None))(rows, classes)
        images, log_dets = jax.vmap(function)(rows, classes[y])
        return images[:, None], log_dets[:, None]


def supports_of_flow(num_columns: int, whole: Sequence[int]) -> tuple[Support, ...]:
    """Support of each column of a flow, of which those numbered in `whole` hold whole numbers: no cell is missing."""
    return supports_of_columns(REAL, WHOLE, num_columns, whole)


def _check_shapes(flow):
    """Raises ValueError unless the bijection maps a row (d,) to a row and a number."""
    d = flow.num_features
    rows = jax.ShapeDtypeStruct((2, d), jnp.result_type(float, *jax.tree.leaves(flow)))
    try:
        images, log_dets = jax.eval_shape(lambda rows: flow._mapped(flow.bijection.transform_and_log_det, rows), rows)
    except (TypeError, ValueError) as error:
        raise ValueError(f"bijection cannot take a row of shape ({d},): {error}") from None
    shapes = tuple(own.shape[2:] for own in (images, log_dets))
    if shapes != ((d,), ()):
        raise ValueError(
            f"bijection must map a row ({d},) to noise ({d},) and a log-determinant (); it gave shapes {shapes[0]} and "
            f"{shapes[1]}."
        )


def _check_images(flow):
    """Raises ValueError if the bijection gives numbers that are not finite, or its inverse is none."""
    rows = np.random.default_rng(0).normal(size=(4, flow.num_features))
    z, log_det, back, more = jax.device_get(_there_and_back(flow, rows.astype(jnp.result_type(*jax.tree.leaves(flow)))))
    if not (np.isfinite(z).all() and np.isfinite(log_det).all()):
        raise ValueError(
            "bijection must give finite numbers; of standard normal rows it gave some that are not, as "
            f"{float(z[~np.isfinite(z)][0]) if not np.isfinite(z).all() else 'a log-determinant'}."
        )
    moved, apart = np.abs(back - rows[:, None]).max(), np.abs(log_det + more).max()
    if not (moved <= LARGEST_MOVE and apart <= LARGEST_MOVE * flow.num_features):
        raise ValueError(
            f"bijection must be inverted by inverse_and_log_det; of standard normal rows it moved cells by up to "
            f"{moved:.3g}, and the log-determinants add to {apart:.3g} in place of 0."
        )


@kernels.compiled_once
def _there_and_back(flow: Flow, rows: Any) -> tuple[Array, ...]:
    z, log_det = flow._mapped(flow.bijection.transform_and_log_det, rows)
    if isinstance(flow.bijection, Bijection) and flow.bijection.inverse is None:
        return z, log_det, jnp.broadcast_to(rows[:, None], z.shape), -log_det
    labels = jnp.arange(flow.num_classes)

    def inverse(z, label):
        back, more = flow._mapped(flow.bijection.inverse_and_log_det, z, jnp.full(len(z), label))
        return back[:, 0], more[:, 0]

    back, more = jax.vmap(inverse, (1, 0), 1)(z, labels)
    return z, log_det, back, more
