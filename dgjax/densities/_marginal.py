"""Marginal densities of some columns, for densities whose parameters cannot be sliced by column."""

from typing import Any, ClassVar, NoReturn

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from dgjax._pytree import dataclass, static
from dgjax._types import Capabilities, LabelIndex, Support
from dgjax.densities._learned import Learned


@dataclass
class Marginal(Learned):
    """Marginal log p(x_columns) of some columns: the whole density, given NaN in all other columns."""

    density: Any
    columns: tuple[int, ...] = static()

    complete: ClassVar[bool | None] = None  # the density sees NaN in the other columns, whatever there is in these

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.density.label_shape

    @property
    def num_features(self) -> int:
        return len(self.columns)

    @property
    def row_cost(self) -> int:
        return self.density.row_cost

    @property
    def capabilities(self) -> Capabilities:
        return self.density.capabilities._replace(twin="none")

    @property
    def score_cost(self) -> int:
        return self.density.score_cost

    @property
    def num_parameters(self) -> int | Array:
        return self.density.num_parameters

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return self.density.scores(self._whole(x))

    def scores_by_draw(self, x: Float[Array, "n d"]) -> Float[Array, "s n *labels"]:
        return self.density.scores_by_draw(self._whole(x))

    def error(self, logs: Float[Array, "s n"]) -> Float[Array, " n"]:
        return self.density.error(logs)

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        return self._part(self.density.sample(key, at))

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        return self._part(self.density.sample_missing(keys, self._whole(x), at))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        return self._part(self.density.impute(self._whole(x), posterior))

    def marginal(self, columns: tuple[int, ...]) -> "Marginal":
        return type(self)(self.density, tuple(self.columns[column] for column in columns))

    def discriminative(self) -> Any:
        raise ValueError("discriminative is for a model of all columns; marginalize its twin over the others instead.")

    def statistics(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError("fit is for the model of all columns; rows of some columns have NaN in the others.")

    def weak_prior(self, columns: Any, strength: Any) -> NoReturn:
        return self.statistics()

    @property
    def supports(self) -> tuple[Support, ...]:
        whole = self.density.supports
        return tuple(whole[column] for column in self.columns)

    def _whole(self, x):
        rows = jnp.full((len(x), self.density.num_features), jnp.nan, x.dtype)
        return rows.at[:, jnp.array(self.columns)].set(x)

    def _part(self, rows):
        return rows[..., jnp.array(self.columns)]
