"""The protocols: what a density, a scorer and a model are. Everything concrete satisfies one of them.

A density or scorer has labels of some shape `*L`, mostly `(k,)`, and answers for all of them at once.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array

from dgjax._arguments import is_concrete
from dgjax.structures import Structure

Statistics = TypeVar("Statistics")
LabelIndex = tuple[Array, ...]
"""One index array for each label axis: the label of each row."""


def possible(logs: Array, label_ndim: int) -> Any:
    """Which categories have a probability above 0 under some label; what has none under any is padding.

    A category that one label never showed, at minus infinity there alone, is a parameter like the others.
    """
    xp = np if is_concrete(logs) else jnp
    return ~xp.isneginf(logs).all(axis=tuple(range(label_ndim)))


def num_free(possible: Any) -> int | Array:
    """Free parameters of distributions over what is `possible` (..., c): one less than there are categories."""
    free = (possible.sum(-1) - 1).clip(0).sum()
    return int(free) if is_concrete(free) else free


class ColumnMoments(NamedTuple):
    """Mean and standard deviation of the observed cells of each column (d,); of a column without any, 0."""

    mean: Array
    spread: Array

    def of(self, columns: Sequence[int]) -> "ColumnMoments":
        """Moments of some of the columns."""
        at = np.array(columns, int)
        return ColumnMoments(self.mean[at], self.spread[at])


class Support(NamedTuple):
    """What a column expects: finite numbers, in words and within limits; or NaN, unless `missing` is False."""

    words: str
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    missing: bool = True


FINITE = Support("a finite number")


def category(num_categories: int) -> Support:
    """One of so many categories."""
    top = num_categories - 1
    return Support(f"a category, a whole number from 0 to {top}", low=0, high=top, whole=True)


def of_columns(supports: Sequence[Support], num_columns: int) -> tuple[Support, ...]:
    """One for each column, where a single one is that of all."""
    return tuple(supports) * (num_columns if len(supports) == 1 else 1)


def in_order(columns: Sequence[Sequence[int]], supports: Sequence[Sequence[Support]]) -> tuple[Support, ...]:
    """The supports of blocks, by the columns that they are of."""
    each = [of_columns(own, len(of)) for own, of in zip(supports, columns, strict=True)]
    placed = zip(itertools.chain(*columns), itertools.chain(*each), strict=True)
    return tuple(support for _, support in sorted(placed))


@runtime_checkable
class Scorer(Protocol):
    """s(x, label): any function of a row for every label."""

    @property
    def label_shape(self) -> tuple[int, ...]: ...
    @property
    def num_features(self) -> int | None:
        """Columns of a row; None where there may be any number of them."""
        ...

    @property
    def row_cost(self) -> int:
        """Floats that one row needs for all labels: sets the size of blocks."""
        ...

    def scores(self, x: Array) -> Array:
        """(n, d) -> (n, *L)."""
        ...

    def penalty(self) -> Array:
        """Sum of squared weights, what half of a ridge's strength multiplies."""
        ...

    @property
    def num_parameters(self) -> int | Array: ...

    @property
    def supports(self) -> tuple[Support, ...]:
        """What each column expects; a single one is that of all."""
        ...


@runtime_checkable
class Model(Protocol):
    """p(y | x) for rows, and whether p(x, y) too."""

    @property
    def num_features(self) -> int | None: ...
    @property
    def row_cost(self) -> int: ...
    @property
    def score_cost(self) -> int: ...
    @property
    def num_parameters(self) -> int | Array: ...
    @property
    def num_labels(self) -> int: ...

    def potentials(self, x: Array) -> Structure: ...
    @property
    def supports(self) -> tuple[Support, ...]: ...
    def as_model(self) -> Any: ...


@runtime_checkable
class Generative(Protocol):
    """A model that knows p(x, y), so log p(x), samples and missing cells too."""

    generative: ClassVar[Literal[True]]

    def as_model(self) -> Any: ...


@runtime_checkable
class Discriminative(Protocol):
    """A model that knows p(y | x) only."""

    generative: ClassVar[Literal[False]]

    def as_model(self) -> Any: ...
