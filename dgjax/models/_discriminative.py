"""Discriminative models: an abstract base class, with members to write and members that follow from them."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from jax import Array

from dgjax._types import Capabilities, Support
from dgjax.structures import Structure


class DiscriminativeModel(ABC):
    """Model of p(y | x) alone: a frozen dataclass of parameters that writes the abstract members.

    One that `fit` can learn also writes `penalty`, the sum of squared weights that a ridge prior multiplies. If scores
    are linear in its parameters it is `linear`, and writes `gradient` and `curvature`, for which there are kernels.
    """

    generative: ClassVar[Literal[False]] = False
    complete: ClassVar[bool] = False
    """True where rows are known to miss no cell, and to hold none outside its support: see `for_complete_rows`."""
    constants: ClassVar[tuple[str, ...]] = ()
    """Fields to which a constant for each label is added where columns are centred, such as the bias."""
    one_label: ClassVar[bool] = False
    """True of a model of sequences each of which has one label, not a path of them."""

    @property
    def sequential(self) -> bool:
        """Whether it is a model of sequences."""
        return False

    @property
    @abstractmethod
    def num_labels(self) -> int:
        """Number of classes, or of states of each step."""

    @property
    @abstractmethod
    def num_features(self) -> int | None:
        """Columns d of a row; None for rows of any width."""

    @property
    @abstractmethod
    def num_parameters(self) -> int | Array:
        """Number of free parameters."""

    @property
    @abstractmethod
    def supports(self) -> tuple[Support, ...]:
        """Support of each column."""

    @property
    @abstractmethod
    def row_cost(self) -> int:
        """Memory for one row, in floats, whatever is asked: it sets how many rows form a block."""

    @abstractmethod
    def potentials(self, x: Any) -> Structure:
        """Scores of every label, as a label space: s(x, y) up to a function of x."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can be asked: p(y | x) of complete rows alone, which is exact."""
        return Capabilities("none", "none", "exact", "none", "none", "none")

    def auxiliary(self, x: Any) -> Array:
        """What learning adds to log p(y | x) of each row, in nats, whatever its label: (n,), or 0 for nothing."""
        del x
        return jnp.zeros(())

    @property
    def score_cost(self) -> int:
        """Memory for one row, in floats, where only scores are asked."""
        return self.row_cost

    @property
    def linear(self) -> bool:
        """Whether the scores are linear in finite parameters, and `gradient` and `curvature` are there."""
        return False

    def normals(self) -> tuple[Any, ...]:
        """Normal densities that the model is made of: none, as it has no density of x."""
        return ()

    def as_model(self) -> Any:
        """The model itself: unlike a density, it needs no labels added to be a model."""
        return self

    def expanded(self) -> Any:
        """The same model with a scorer that is linear in its weights, as `fit` learns them: itself where it is already.

        Models whose scorer may be log p(x | y) of a density (`as_discriminative`) return that of its coefficients:
        one of the columns and their products for normal distributions.
        """
        return self
