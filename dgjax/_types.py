"""Contracts: scorers, generative and discriminative models; and the support of a column.

A density or scorer has labels of some shape `*L`, mostly `(k,)`, and returns values for all labels at once.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, get_args, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dgjax._arguments import is_concrete
from dgjax.structures import Structure

Statistics = TypeVar("Statistics")
LabelIndex = tuple[Array, ...]
"""One index array for each label axis: the label of each row."""


Rows = Any
"""Rows (n, d); of a density of sequences, `Sequences` (n, t, d)."""


def possible(logs: Array, label_ndim: int) -> Any:
    """Mask (..., c) of the categories whose log-probability is finite under at least one label; the others are padding.

    The first `label_ndim` axes of `logs` are labels, and are reduced. A category at minus infinity under one label
    alone stays a parameter.
    """
    off = np.asarray(logs) == -np.inf if is_concrete(logs) else jnp.isneginf(logs)
    return ~off.all(axis=tuple(range(label_ndim)))


def num_free(possible: Any) -> int | Array:
    """Number of free parameters of categorical distributions: one less than categories for each.

    `possible` (..., c) says which categories can occur.
    """
    free = possible.sum(-1) - 1
    return int(np.maximum(free, 0).sum()) if is_concrete(free) else free.clip(0).sum()


class ColumnMoments(NamedTuple):
    """Mean and standard deviation of the observed cells of each column (d,); both 0 for a column without any."""

    mean: Array
    spread: Array

    def of(self, columns: Sequence[int]) -> "ColumnMoments":
        """Moments of the given columns only, in the order given."""
        at = np.array(columns, int)
        return ColumnMoments(self.mean[at], self.spread[at])


class Support(NamedTuple):
    """Support of a column: which finite numbers its cells may be, in words and as limits.

    NaN is allowed too, unless `missing` is False.
    """

    words: str
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    missing: bool = True


FINITE = Support("a finite number")
COUNT = Support("a count, a whole number from 0", low=0, whole=True)
AMOUNT = Support("a count, whole or not, from 0", low=0)


def category(num_categories: int) -> Support:
    """Support of a column of categories 0 to num_categories - 1."""
    top = num_categories - 1
    return Support(f"a category, a whole number from 0 to {top}", low=0, high=top, whole=True)


def of_columns(supports: Sequence[Support], num_columns: int) -> tuple[Support, ...]:
    """One support for each of d columns; a tuple of a single support is repeated for all."""
    return tuple(supports) * (num_columns if len(supports) == 1 else 1)


def in_order(columns: Sequence[Sequence[int]], supports: Sequence[Sequence[Support]]) -> tuple[Support, ...]:
    """Supports of d columns in column order, given those of blocks of columns and the column numbers of each block."""
    each = [of_columns(own, len(of)) for own, of in zip(supports, columns, strict=True)]
    placed = zip(itertools.chain(*columns), itertools.chain(*each), strict=True)
    return tuple(support for _, support in sorted(placed))


Kind = Literal["exact", "learnt", "bound", "estimate", "none"]
"""What kind of number an answer is: see `Capabilities`."""


class Capabilities(NamedTuple):
    """What a model can be asked, and what kind of number each answer is.

    "exact": up to rounding. "bound": in expectation below what it stands for, as an evidence lower bound is.
    "estimate": a mean over draws or a numerical integral. "learnt": exact as one network answers, which agrees with its
    other answers as far as it has learnt to. "none": an error says why, and what to take.
    """

    log_prob: Kind = "exact"
    """log p(x) of a complete row."""
    missing: Kind = "exact"
    """log p(x_observed) of a row with cells missing."""
    posterior: Kind = "exact"
    """p(y | x)."""
    sample: Kind = "exact"
    """New rows."""
    impute: Kind = "exact"
    """Missing cells given the observed ones, and draws of these."""
    twin: Kind = "exact"
    """Whether `discriminative` gives a classifier of the same p(y | x)."""


def weakest(kinds: Iterable[Kind]) -> Kind:
    """The kind of a number that is made of several: that of the one which is known least."""
    return max(kinds, key=get_args(Kind).index)


class Scorer(ABC):
    """Scorer: a function s(x, y) of a row, computed for every label at once; labels have shape `label_shape`, as (k,).

    A scorer is a frozen dataclass of weights. It writes the abstract members, and the others follow: every number in it
    is a parameter and is penalised, and a cell may be any finite number.
    """

    @property
    @abstractmethod
    def label_shape(self) -> tuple[int, ...]:
        """Shape L of the labels, mostly (k,)."""

    @property
    @abstractmethod
    def num_features(self) -> int | None:
        """Columns d of a row; None for a scorer of rows of any width."""

    @abstractmethod
    def scores(self, x: Rows) -> Float[Array, "n *labels"]:
        """Scores of rows under every label: (n, d) -> (n, *labels)."""

    @property
    def sequential(self) -> bool:
        """Whether it scores whole sequences, `Sequences` of rows, rather than rows."""
        return False

    @property
    def row_cost(self) -> int:
        """Memory for one row, in floats, when all labels are scored; it sets how many rows form a block."""
        return (self.num_features or 0) + math.prod(self.label_shape)

    @property
    def num_parameters(self) -> int | Array:
        """Number of free parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self))

    def penalty(self) -> Float[Array, ""]:
        """Sum of squared weights, |w|^2: a ridge prior subtracts strength / 2 times it. Minus infinity adds 0."""
        weights = jax.tree.leaves(self)
        squares = (jnp.where(jnp.isneginf(w), 0, w**2).sum() for w in weights)
        return sum(squares, start=jnp.zeros((), jnp.result_type(float, *weights)))

    def auxiliary(self, x: Rows) -> Float[Array, "..."]:
        """What learning adds to log p(y | x) of each row, in nats, whatever its label: (n,), or 0 for nothing."""
        del x
        return jnp.zeros(())

    @property
    def supports(self) -> tuple[Support, ...]:
        """Support of each column; a tuple of one support stands for all columns."""
        return (FINITE,)

    @property
    def linear(self) -> bool:
        """Whether scores are features(x) @ coefficients.T, all finite, as the kernels for derivatives require."""
        return False

    def features(self, x: Float[Array, "n d"]) -> Float[Array, "n f"]:
        """Features (n, f) of rows, where the scorer is `linear`."""
        raise NotImplementedError

    @property
    def coefficients(self) -> Float[Array, "k f"]:
        """Coefficients (k, f) of the features, labels in one axis, where the scorer is `linear`."""
        raise NotImplementedError


@runtime_checkable
class Model(Protocol):
    """Model of labels given rows, p(y | x); `generative` is True if it also knows p(x, y)."""

    @property
    def num_features(self) -> int | None:
        """Columns d of a row; None for rows of any width."""
        ...

    @property
    def row_cost(self) -> int:
        """Memory for one row, in floats, of the most costly operation; it sets how many rows form a block."""
        ...

    @property
    def score_cost(self) -> int:
        """Memory for one row, in floats, when only scores are computed."""
        ...

    @property
    def num_parameters(self) -> int | Array:
        """Number of free parameters; structural zeros are none."""
        ...

    @property
    def sequential(self) -> bool:
        """Whether it is a model of sequences."""
        ...

    @property
    def one_label(self) -> bool:
        """Whether each sequence has one label, (n,), not a path of them, (n, t)."""
        ...

    @property
    def num_labels(self) -> int:
        """Number k of labels: classes, components, or states of each step."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can be asked, and what kind of number each answer is."""
        ...

    def potentials(self, x: Array) -> Structure:
        """Label space of rows (n, d), or sequences: scores s(x, y) of every label, log p(x, y) if generative."""
        ...

    @property
    def supports(self) -> tuple[Support, ...]:
        """Support of each column; a tuple of one support stands for all columns."""
        ...

    def as_model(self) -> Any:
        """The model itself, or the one that a bare density is; ValueError for a density of several labels."""


@runtime_checkable
class Generative(Protocol):
    """Generative model: knows p(x, y), and so log p(x), samples, and what missing cells may hold."""

    generative: ClassVar[Literal[True]]

    def as_model(self) -> Any:
        """The model itself, or the one that a bare density is; ValueError for a density of several labels."""


@runtime_checkable
class Discriminative(Protocol):
    """Discriminative model: knows p(y | x) only."""

    generative: ClassVar[Literal[False]]

    def as_model(self) -> Any:
        """The model itself."""
