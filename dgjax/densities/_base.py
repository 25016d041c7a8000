"""What a density is: the members that a family writes, and those that follow from them."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _kmeans
from dgjax._types import ColumnMoments, LabelIndex, Scorer, Support
from dgjax.densities import _shared

SMOOTHING = 0.1
"""Share of each row given to all labels alike where a start could give a value no probability."""


class Density(ABC):
    """log p(x | label) for rows x and labels of shape `label_shape`, mostly (k,), all of them at once.

    A missing cell is NaN and is marginalised exactly, everywhere. A family is a frozen dataclass that holds parameters,
    their label axes first, and writes the abstract members; the others follow. Families of independent columns derive
    from `Independent`, which needs fewer.
    """

    generative: ClassVar[Literal[True]] = True

    @property
    @abstractmethod
    def label_shape(self) -> tuple[int, ...]:
        """Shape L of the labels; () for a density with a single one that has no axis."""

    @property
    @abstractmethod
    def num_features(self) -> int:
        """Columns d of a row."""

    @property
    @abstractmethod
    def num_parameters(self) -> int | Array:
        """Free parameters, those of all labels together."""

    @property
    @abstractmethod
    def supports(self) -> tuple[Support, ...]:
        """What each column may hold, one entry for each."""

    @abstractmethod
    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        """log p(x_observed | label), 0 for a row of which nothing is observed."""

    @abstractmethod
    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        """A draw of a row for each label in `at`."""

    @abstractmethod
    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        """`x` with its missing cells drawn from p(x_missing | x_observed, label), each row by its own key."""

    @abstractmethod
    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        """Imputation: each NaN of `x` at its conditional mean given the row's observed cells, or mode if discrete.

        Both are of the mixture of labels with weights `posterior`, which sum to 1 in each row; no mode is averaged.
        """

    @abstractmethod
    def marginal(self, columns: tuple[int, ...]) -> Any:
        """The density of some columns, the others integrated out."""

    @abstractmethod
    def discriminative(self) -> tuple[Float[Array, "*labels"], Scorer]:
        """The twin: a bias and a scorer that differ from the scores by one amount for every label."""

    @abstractmethod
    def statistics(self, x: Float[Array, "n d"], counts: Float[Array, "n *labels"]) -> Any:
        """Expected sufficient statistics under responsibilities `counts`, 0 or more: a pytree that adds over rows."""

    @abstractmethod
    def maximum(self, statistics: Any, prior: Any = None) -> Any:
        """The M-step: parameters that maximise the expected log-likelihood plus the log prior."""

    @abstractmethod
    def log_prior(self, prior: Any) -> Float[Array, ""]:
        """Log prior density at these parameters, up to a constant; 0 for None, a flat prior."""

    @abstractmethod
    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> Any:
        """The conjugate prior worth `strength` rows that look like the columns."""

    @property
    def row_cost(self) -> int:
        """Floats that one row needs at most, whatever is asked: it sets the size of blocks of rows."""
        return math.prod(self.label_shape) * self.num_features

    @property
    def score_cost(self) -> int:
        """Floats that one row needs where nothing but scores is asked."""
        return self.row_cost

    def expectation(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], weights: Float[Array, " n"], log_weights: Float[Array, " k"]
    ) -> tuple[Float[Array, ""], Float[Array, " k"], Any]:
        """The E-step, of one label axis with log p(label) given: sum_n w_n log p(x_n, y_n), y summed out where it is
        -1; the responsibilities summed for each label; and the expected sufficient statistics.
        """

        def block(x, y, weights):
            value, counts = kernels.joint_partition(x, y, weights, log_weights + self.scores(x))
            return value, counts.sum(0), self.statistics(x, counts)

        return kernels.sum_rows(block, x, y, weights, fill=(0, -1, 0), row_cost=self.row_cost)

    def labelled(self, x: Any, y: Int[Array, " n"], weights: Float[Array, " n"]) -> tuple[Float[Array, " k"], Any]:
        """The weight of each label and the statistics, where every label is known.

        Where moments say all, `x` may be the summary of each label's rows, `kernels.LabelledSummary`.
        """
        counts = weights[:, None] * jax.nn.one_hot(y, self.label_shape[-1], dtype=weights.dtype)
        return counts.sum(0), self.statistics(x, counts)

    def converged_in_one_step(self, before: Any) -> Bool[Array, ""]:
        """True if another M-step would change nothing: the statistics, taken at `before`, lost no digits.

        Plain counts and sums never do.
        """
        del before
        return jnp.ones((), bool)

    def started(
        self, key: Key[Array, ""], x: Float[Array, "n d"], counts: Float[Array, "n *labels"], random: bool = False
    ) -> Any:
        """Where EM starts, from `counts`: clusters of its own or, `random`, rows drawn for each label.

        A density of discrete columns starts from smoothed counts and a pseudo-row, for what is at 0 stays there.
        """
        del key, random
        mean = _kmeans.means(x, _shared.rows_by_labels(counts).sum(1, keepdims=True))[0]
        smoothed = (1 - SMOOTHING) * counts + SMOOTHING * counts.mean(-1, keepdims=True)
        return self.maximum(self.statistics(x, smoothed), self.weak_prior(ColumnMoments(mean, mean), 1.0))

    def as_model(self) -> Any:
        """The model of which this is the density: of one label, a mixture of one component."""
        from dgjax.densities._mixture import Mixture

        if self.label_shape != (1,):
            raise ValueError(
                f"a bare density is a model with one label, so its parameters must lead with an axis of size 1; this "
                f"{type(self).__name__} has labels of shape {self.label_shape}. Type dgjax.Mixture(log_weights, "
                "density)."
            )
        return Mixture.of_one(self)
