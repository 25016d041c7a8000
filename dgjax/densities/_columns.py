"""Density of rows whose columns have different kinds: blocks of columns, independent given the label."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from dgjax import _advice
from dgjax._arguments import as_count
from dgjax._pytree import dataclass, expect_rows, static
from dgjax._types import Capabilities, ColumnMoments, LabelIndex, Support, in_order, weakest
from dgjax.densities._base import Density
from dgjax.densities._rank import Normal
from dgjax.priors import ColumnsPrior, expect_prior
from dgjax.scorers import ColumnScorers


@dataclass
class Columns(Density):
    """Density of rows with columns of different kinds: blocks independent given the label, log p(x) = sum over blocks.

    `blocks` are densities with the same labels; `columns` are the column numbers of each block, by default side by
    side.

    Raises ValueError if the labels differ, or if `columns` does not hold each column number once.
    """

    blocks: tuple[Density, ...]
    columns: tuple[tuple[int, ...], ...] | None = static(default=None)

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, tuple) or not all(isinstance(b, Density) for b in self.blocks):
            raise ValueError(f"Columns(blocks=...) must be a tuple of densities; got {_advice.shown(self.blocks)}.")
        for block in self.blocks:
            expect_rows(self, block, "density")
        sizes = [block.num_features for block in self.blocks]
        edges = np.cumsum([0, *sizes]).tolist()
        columns = self.columns
        if columns is None:
            columns = tuple(tuple(range(a, b)) for a, b in itertools.pairwise(edges))
        if not all(isinstance(group, tuple | list) for group in columns):
            raise ValueError(
                f"Columns(columns=...) must be a tuple of column numbers for each block, such as ((0,), (1, 2)); got "
                f"{_advice.shown(columns)}."
            )
        columns = tuple(tuple(as_count(c, "Columns(columns=...)", 0) for c in group) for group in columns)
        object.__setattr__(self, "columns", columns)
        if [len(group) for group in columns] != sizes or sorted(sum(columns, ())) != list(range(edges[-1])):
            raise ValueError(
                f"Columns expects each of the columns 0 to {edges[-1] - 1} in one block, with {sizes} columns in the "
                f"blocks; got columns={columns}."
            )
        if len({block.label_shape for block in self.blocks}) != 1:
            raise ValueError(
                f"Columns expects blocks with the same labels; got {[block.label_shape for block in self.blocks]}."
            )

    def _parts(self, x: Array) -> list[tuple[Any, Array]]:
        return [(b, x[:, jnp.array(c)]) for b, c in zip(self.blocks, self.columns or (), strict=True)]

    def _joined(self, parts: list[Array]) -> Array:
        """Rows (..., d) from the blocks' `parts`, with each column back in its place."""
        back = np.argsort(sum(self.columns or (), ()))
        return jnp.concatenate(parts, axis=-1)[..., back]

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.blocks[0].label_shape

    @property
    def num_features(self) -> int:
        return sum(block.num_features for block in self.blocks)

    @property
    def row_cost(self) -> int:
        return sum(block.row_cost for block in self.blocks)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(*map(weakest, zip(*(block.capabilities for block in self.blocks), strict=True)))

    @property
    def num_parameters(self) -> int | Array:
        return sum(block.num_parameters for block in self.blocks)

    def normals(self) -> tuple[Normal, ...]:
        parts = zip(self.blocks, self.columns or (), strict=True)
        found = [(normal, columns) for block, columns in parts for normal in block.normals()]
        return tuple(normal._replace(columns=tuple(columns[i] for i in normal.columns)) for normal, columns in found)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return functools.reduce(jnp.add, (block.scores(part) for block, part in self._parts(x)))

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        keys = jax.random.split(key, len(self.blocks))
        return self._joined([block.sample(k, at) for block, k in zip(self.blocks, keys, strict=True)])

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        keys = jax.vmap(lambda key: jax.random.split(key, len(self.blocks)))(keys)
        parts = enumerate(self._parts(x))
        return self._joined([block.sample_missing(keys[:, i], part, at) for i, (block, part) in parts])

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        return self._joined([block.impute(part, posterior) for block, part in self._parts(x)])

    def marginal(self, columns: tuple[int, ...]) -> "Columns":
        blocks, places = [], []
        for block, own in zip(self.blocks, self.columns or (), strict=True):
            kept = [(own.index(c), i) for i, c in enumerate(columns) if c in own]
            if kept:
                blocks.append(block.marginal(tuple(j for j, _ in kept)))
                places.append(tuple(i for _, i in kept))
        return type(self)(tuple(blocks), tuple(places))

    def discriminative(self) -> tuple[Float[Array, "*labels"], ColumnScorers]:
        """Discriminative twin: the sum of the blocks' biases (*labels,), and their scorers each on its columns."""
        twins = [block.discriminative() for block in self.blocks]
        bias = functools.reduce(jnp.add, (bias for bias, _ in twins))
        return bias, ColumnScorers(tuple(scorer for _, scorer in twins), self.columns or ())

    def statistics(self, x: Float[Array, "n d"], counts: Float[Array, "n *labels"]) -> tuple[Any, ...]:
        return tuple(block.statistics(part, counts) for block, part in self._parts(x))

    def labelled(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], weights: Float[Array, " n"]
    ) -> tuple[Float[Array, " k"], tuple[Any, ...]]:
        parts = [block.labelled(part, y, weights) for block, part in self._parts(x)]
        return parts[0][0], tuple(statistics for _, statistics in parts)

    def maximum(self, statistics: tuple[Any, ...], prior: ColumnsPrior | None = None) -> "Columns":
        parts = zip(self.blocks, statistics, self._priors(prior), strict=True)
        return type(self)(tuple(block.maximum(s, p) for block, s, p in parts), self.columns)

    def started(
        self, key: Key[Array, ""], x: Float[Array, "n d"], counts: Float[Array, "n *labels"], random: bool = False
    ) -> "Columns":
        """Initial parameters for EM from the weights `counts` of rows in labels: each block starts by itself."""
        return type(self)(
            tuple(block.started(key, part, counts, random) for block, part in self._parts(x)), self.columns
        )

    def converged_in_one_step(self, before: Any) -> Bool[Array, ""]:
        pairs = zip(self.blocks, before.blocks, strict=True)
        return functools.reduce(jnp.logical_and, (block.converged_in_one_step(was) for block, was in pairs))

    def recentred(self, statistics: tuple[Any, ...], before: Any, prior: ColumnsPrior | None = None) -> tuple[Any, ...]:
        parts = zip(self.blocks, statistics, before.blocks, self._priors(prior), strict=True)
        return tuple(block.recentred(own, was, p) for block, own, was, p in parts)

    def _priors(self, prior: ColumnsPrior | None) -> tuple[Any, ...]:
        expect_prior(prior, ColumnsPrior, self)
        return (None,) * len(self.blocks) if prior is None else prior.blocks

    def log_prior(self, prior: ColumnsPrior | None) -> Float[Array, ""]:
        terms = [block.log_prior(p) for block, p in zip(self.blocks, self._priors(prior), strict=True)]
        return functools.reduce(jnp.add, terms)

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> ColumnsPrior:
        parts = zip(self.blocks, self.columns or (), strict=True)
        return ColumnsPrior(tuple(block.weak_prior(columns.of(own), strength) for block, own in parts))

    @property
    def columns_without_mean(self) -> tuple[int, ...]:
        parts = zip(self.blocks, self.columns or (), strict=True)
        return tuple(own[i] for block, own in parts for i in block.columns_without_mean)

    @property
    def supports(self) -> tuple[Support, ...]:
        return in_order(self.columns or (), [block.supports for block in self.blocks])
