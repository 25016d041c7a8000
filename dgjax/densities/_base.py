"""Density: the abstract base class of all families, with members to write and members that follow from them.

A family writes scores, draws, marginals, sufficient statistics and the M-step; the E-step, sums of labelled rows,
initial parameters and the model of one label follow.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _kmeans
from dgjax._types import Capabilities, ColumnMoments, LabelIndex, Rows, Scorer, Support
from dgjax.densities import _shared
from dgjax.densities._rank import Normal
from dgjax.structures import Classes, num_steps

SMOOTHING = 0.1
"""Share of each row given to all labels alike where a start could give a value no probability."""


class Density(ABC):
    """Density log p(x | label) of rows x (n, d), for labels of shape `label_shape`, mostly (k,), all at once.

    A missing cell is NaN and is marginalised exactly. A family is a frozen dataclass of parameters whose first axes are
    the labels. It writes the abstract members, and the others follow. Families of independent columns derive from
    `Independent`, which needs fewer members.
    """

    generative: ClassVar[Literal[True]] = True
    complete: ClassVar[bool | None] = False
    """True where rows are known to miss no cell, and to hold none outside its support: see `for_complete_rows`."""
    one_label: ClassVar[bool] = False
    """As a model of sequences, True if each of them has one label, not a path of them."""
    labels_off: ClassVar[bool] = False
    """True if M-step, priors and start take `on` (*labels): a label that is off counts for nothing there."""

    @property
    def sequential(self) -> bool:
        """Whether rows are steps of sequences, which it is a density of as wholes: see `SequenceDensity`."""
        return False

    @property
    def takes_sparse_rows(self) -> bool:
        """Whether rows may be `SparseRows` where scores, statistics and starts are asked: those of few columns none."""
        return False

    @property
    @abstractmethod
    def label_shape(self) -> tuple[int, ...]:
        """Shape L of the labels, mostly (k,); () for a density of one label without an axis."""

    @property
    @abstractmethod
    def num_features(self) -> int:
        """Columns d of a row."""

    @property
    @abstractmethod
    def num_parameters(self) -> int | Array:
        """Number of free parameters of all labels together."""

    @property
    @abstractmethod
    def supports(self) -> tuple[Support, ...]:
        """Support of each column, d entries."""

    @abstractmethod
    def scores(self, x: Rows) -> Float[Array, "n *labels"]:
        """Log-densities log p(x_observed | label), (n, d) -> (n, *labels); 0 for a row without observed cells."""

    @abstractmethod
    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        """Samples of rows, one for each label in the index `at`: (..., d)."""

    @abstractmethod
    def sample_missing(self, keys: Key[Array, " n"], x: Rows, at: LabelIndex) -> Float[Array, "n *t d"]:
        """Conditional samples (n, d): missing cells of `x` drawn from p(x_missing | x_observed, label), a key a row."""

    @abstractmethod
    def impute(self, x: Rows, posterior: Float[Array, "n *labels"]) -> Float[Array, "n *t d"]:
        """Imputation (n, d): each NaN of `x` replaced by its mean given the row's observed cells, or mode if discrete.

        Mean and mode are those of the mixture of labels with weights `posterior` (n, *labels), which sum to 1 in each
        row.
        """

    @abstractmethod
    def marginal(self, columns: tuple[int, ...]) -> Any:
        """Marginal density of the given columns, in that order; the others are integrated out."""

    @abstractmethod
    def discriminative(self) -> tuple[Float[Array, "*labels"], Scorer]:
        """Discriminative twin: a bias (*labels,) and a scorer; their sum is `scores` up to a function of x."""

    @abstractmethod
    def statistics(self, x: Rows, counts: Float[Array, "n *labels"]) -> Any:
        """Expected sufficient statistics of rows x (n, d) under responsibilities `counts` (n, *labels), 0 or more.

        A pytree that adds over rows.
        """

    @abstractmethod
    def maximum(self, statistics: Any, prior: Any = None) -> Any:
        """M-step: the density whose parameters maximise the expected log-likelihood plus the log prior."""

    @abstractmethod
    def log_prior(self, prior: Any) -> Float[Array, ""]:
        """Log prior density of these parameters, up to a constant; 0 for None, a flat prior."""

    @abstractmethod
    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> Any:
        """Conjugate prior worth `strength` rows with the means and standard deviations of `columns`."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can be asked, and what kind of number each answer is: all exact, where a family says no other."""
        return Capabilities()

    def scores_and_statistics(
        self, x: Rows
    ) -> tuple[Float[Array, "n *labels"], Callable[[Float[Array, "n *labels"]], Any]]:
        """Scores (n, *labels), and the function of responsibilities (n, *labels) that gives `statistics`.

        For densities of which both share work, as the passes along a chain.
        """
        return self.scores(x), lambda counts: self.statistics(x, counts)

    def scores_at(self, x: Rows, y: Int[Array, " n"]) -> Float[Array, " n"]:
        """Log-density log p(x_observed | y) (n,) of each row under its own label y (n,), all of which are known."""
        return jnp.take_along_axis(self.scores(x), y[:, None], -1)[:, 0]

    def kernel(self) -> kernels.Pass | None:
        """CPU kernel that scores rows where NumPy has them, and its parameters; None for a family that has none."""
        return None

    def normals(self) -> tuple[Normal, ...]:
        """Normal densities that this one is made of, with their columns: `fit` checks their rank; () for none."""
        return ()

    @property
    def row_cost(self) -> int:
        """Memory for one row, in floats, of the most costly operation; it sets how many rows form a block."""
        return math.prod(self.label_shape) * self.num_features

    @property
    def columns_without_mean(self) -> tuple[int, ...]:
        """Columns in which a missing cell has no finite mean, nor mode, and cannot be imputed: mostly none, ()."""
        return ()

    @property
    def score_cost(self) -> int:
        """Memory for one row, in floats, when only scores are computed; it sets how many rows form a block."""
        return self.row_cost

    def expectation(
        self, x: Rows, y: Int[Array, " n"], weights: Float[Array, " n"], log_weights: Float[Array, " k"]
    ) -> tuple[Float[Array, ""], Float[Array, " k"], Any]:
        """E-step: log-likelihood, summed responsibilities (k,), and expected sufficient statistics.

        The log-likelihood is sum_n w_n log p(x_n, y_n) with `log_weights` (k,) = log p(label); y (n,) is summed out
        where it is -1.
        """

        def block(x, y, weights):
            scores, statistics = self.scores_and_statistics(x)
            value, counts = Classes(log_weights + scores, _shared.no_cells(x, self.complete)).clamped(y)
            counts = weights[:, None] * counts
            total = kernels.pairwise_sum(jnp.where(weights > 0, weights * value, 0))
            return total, counts.sum(0), statistics(counts)

        return kernels.sum_rows(block, x, y, weights, fill=(0, -1, 0), row_cost=self.row_cost * num_steps(x))

    def labelled(self, x: Any, y: Int[Array, " n"], weights: Float[Array, " n"]) -> tuple[Float[Array, " k"], Any]:
        """M-step sums when every label is known: the total weight of each label (k,), and sufficient statistics.

        No cell is missing. Where moments suffice, `x` may be a summary of each label's rows, `kernels.LabelledSummary`.
        """
        counts = weights[:, None] * jax.nn.one_hot(y, self.label_shape[-1], dtype=weights.dtype)
        return counts.sum(0), self.statistics(x, counts)

    def converged_in_one_step(self, before: Any) -> Bool[Array, ""]:
        """True if another M-step would change nothing: statistics, centred at the parameters `before`, lost no digits.

        Always True for statistics that are plain counts and sums.
        """
        del before
        return jnp.ones((), bool)

    def recentred(self, statistics: Any, before: Any, prior: Any = None) -> Any:
        """Statistics about these parameters, of those about the parameters `before`; both have the same maximum.

        For statistics to which others, of further rows, are added after an M-step with this `prior`. Plain counts and
        sums stay as they are.
        """
        del before, prior
        return statistics

    def started(self, key: Key[Array, ""], x: Rows, counts: Float[Array, "n *labels"], random: bool = False) -> Any:
        """Initial parameters for EM from `counts`, the weight of each row in each label.

        Within a label, hidden components start at k-means++ clusters or, with `random`, at random rows. Discrete
        columns start from smoothed counts and a pseudo-row, because EM never leaves a probability of 0.
        """
        del key, random
        mean = _kmeans.means(x, _shared.rows_by_labels(counts).sum(1, keepdims=True), complete=bool(self.complete))[0]
        smoothed = (1 - SMOOTHING) * counts + SMOOTHING * counts.mean(-1, keepdims=True)
        return self.maximum(self.statistics(x, smoothed), self.weak_prior(ColumnMoments(mean, mean), 1.0))

    def as_model(self) -> Any:
        """The density as a generative model: a density of one label becomes a mixture of one component.

        Raises ValueError for a density of several labels, which needs weights: a `Mixture`.
        """
        from dgjax.densities._mixture import Mixture

        if self.label_shape != (1,):
            raise ValueError(
                f"a bare density is a model with one label, so its parameters must lead with an axis of size 1; this "
                f"{type(self).__name__} has labels of shape {self.label_shape}. Type dgjax.Mixture(log_weights, "
                "density)."
            )
        return Mixture.of_one(self)
