"""Multinomial density: rows of counts given their total."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._arguments import as_count
from dgjax._pytree import dataclass, static
from dgjax._types import AMOUNT, ColumnMoments, LabelIndex, Support, num_free, possible
from dgjax.densities import _shared
from dgjax.densities._base import Density
from dgjax.densities._count_modes import mixture_mode
from dgjax.priors import Dirichlet, expect_prior
from dgjax.scorers import LogLinear


@dataclass
class Multinomial(Density):
    """Multinomial density of a row of counts given its total N: log N! + sum_j x_j log p_j - log x_j!.

    p = softmax(logits), `logits` (*labels, d); `total_count` is the total of sampled rows only (a scored row has its
    own total). With missing cells N is unknown: observed counts are scored given their own total, as Multinomial(p
    observed / sum p observed). That is the marginal where counts are Poisson of rate lambda p_j, and the unknown
    exposure lambda has density 1 / lambda, which gives the distribution of missing cells too.

    Counts need not be whole, as tf-idf weights are not: with Gamma(x + 1) for x!, posteriors of labels are those of
    multinomial naive Bayes everywhere, while `log_prob` is a score, no log-probability, of rows that are not whole.
    Counts drawn or filled in are whole.

    Raises ValueError if logits have no axis of columns or are minus infinity for all of them, or if `total_count` is
    negative or no whole number.
    """

    logits: Float[Array, "*labels d"]
    total_count: int = static(default=1)

    def __post_init__(self) -> None:
        if not self.logits.ndim:
            raise ValueError("Multinomial expects logits (*labels, d); got shape ().")
        _parameters.check_possible(self, "logits")
        object.__setattr__(self, "total_count", as_count(self.total_count, "Multinomial(total_count=...)", 0))

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.logits.shape[:-1]

    @property
    def num_features(self) -> int:
        return self.logits.shape[-1]

    @property
    def row_cost(self) -> int:
        return self.logits.size

    @property
    def score_cost(self) -> int:
        return self.logits.size // self.num_features

    @property
    def num_parameters(self) -> int | Array:
        return self.score_cost * num_free(self._possible)

    @property
    def _possible(self) -> Any:
        """Mask (d,) of the columns that may have counts; those that may not under any label have no parameter."""
        return possible(self.logits, len(self.label_shape))

    def _log_p(self) -> Array:
        return jax.nn.log_softmax(self.logits, axis=-1)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return kernels.multinomial(x, _shared.flat(self._log_p(), self.label_shape)).reshape(len(x), *self.label_shape)

    def kernel(self) -> kernels.Pass:
        return kernels.Pass("multinomial", (_shared.flat(self._log_p(), self.label_shape)[..., None],))

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        p = jnp.exp(self._log_p()[at])
        return kernels.multinomial_draws(key, self.total_count, p)

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        """Conditional samples of missing counts: the exposure from its gamma posterior, then Poisson counts.

        All are 0 in a row whose observed total is 0.
        """
        p = jnp.broadcast_to(jnp.exp(self._log_p()[at]), x.shape)
        return _shared.fill(x, jax.vmap(_draw_counts)(keys, x, p))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        """Imputation by the mode of missing counts, each negative binomial given the row's observed total N.

        Its odds are p_j / p_observed; the mode is that of the mixture of labels with weights `posterior`.
        """
        log_p = _shared.flat(self._log_p(), self.label_shape)
        odds, total = kernels.observed_share(x, log_p)

        def log_mass(count):
            return kernels.log_negative_binomial(count[:, None], total[:, None, None], odds)

        def mode_at(chance, rest):
            n = total.reshape(-1, *[1] * (chance.ndim - 1))
            mode = jnp.minimum((n - 1) * (chance / rest), 1 / jnp.finfo(x.dtype).tiny)
            return jnp.where(n > 1, jnp.floor(mode), 0)

        chances = (
            odds / (1 + odds),
            1 / (1 + odds),
        )  # of either, 1 - p would lose the other's digits
        return _shared.fill(x, mixture_mode(_shared.rows_by_labels(posterior), chances, log_mass, mode_at))

    def marginal(self, columns: tuple[int, ...]) -> "Multinomial":
        return type(self)(self.logits[..., jnp.array(columns)], self.total_count)

    def discriminative(self) -> tuple[Float[Array, "*labels"], LogLinear]:
        """Discriminative twin, linear in the counts: a bias of 0, and weights log p_yj up to a term all labels share.

        The common part is left out, so that rounding is relative to the differences between labels, not to log p.
        """
        weight, p, excess = _shared.about_the_median(_shared.flat(self._log_p(), self.label_shape))
        weight = weight - jnp.log1p(_shared.ratio(excess.sum(-1, keepdims=True), p.sum(), 0))
        return jnp.zeros(self.label_shape, self.logits.dtype), LogLinear(weight.reshape(self.logits.shape), whole=False)

    def statistics(self, x: Float[Array, "n d"], counts: Float[Array, "n *labels"]) -> Float[Array, "*labels d"]:
        """Sufficient statistics (*labels, d): expected counts of each category under responsibilities `counts`."""
        log_p = _shared.flat(self._log_p(), self.label_shape)
        return kernels.multinomial_statistics(x, _shared.rows_by_labels(counts), log_p).reshape(self.logits.shape)

    def expectation(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], weights: Float[Array, " n"], log_weights: Float[Array, " k"]
    ) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "k d"]]:
        return kernels.multinomial_expectation(
            x, y, weights, log_weights, _shared.flat(self._log_p(), self.label_shape)
        )

    def labelled(
        self, x: Float[Array, "n d"] | kernels.LabelledSummary, y: Int[Array, " n"], weights: Float[Array, " n"]
    ) -> tuple[Float[Array, " k"], Float[Array, "k d"]]:
        counts, (_, first, _) = _shared.labelled_moments(x, y, weights, jnp.zeros_like(self.logits))
        return counts, first

    def maximum(self, statistics: Float[Array, "*labels d"], prior: Dirichlet | None = None) -> "Multinomial":
        expect_prior(prior, Dirichlet, self)
        if prior is not None:
            statistics = statistics + jnp.where(jnp.isneginf(self.logits), 0, prior.concentration - 1)
        some = ~(statistics == 0).all(-1, keepdims=True)
        logs = jnp.log(jnp.where(some, statistics, 1))  # whose total may be beyond all floats
        logits = jnp.where(some, jax.nn.log_softmax(logs, axis=-1), self.logits)
        return type(self)(logits, self.total_count)

    def log_prior(self, prior: Dirichlet | None) -> Float[Array, ""]:
        expect_prior(prior, Dirichlet, self)
        return jnp.zeros((), self.logits.dtype) if prior is None else prior.log_density(self._log_p())

    def weak_prior(self, columns: ColumnMoments, strength: float | Float[Array, ""]) -> Dirichlet:
        return Dirichlet.shared(strength, self._possible, columns.mean.dtype)

    @property
    def supports(self) -> tuple[Support, ...]:
        return (AMOUNT,) * self.num_features


def _draw_counts(key, row, p):
    key_exposure, key_counts = jax.random.split(key)
    observed = ~jnp.isnan(row)
    total, mass = jnp.where(observed, row, 0).sum(), jnp.where(observed, p, 0).sum()
    draw = jax.random.gamma(key_exposure, jnp.where(total > 0, total, 1))
    exposure = jnp.where(total > 0, draw / jnp.where(mass > 0, mass, 1), 0)
    return kernels.poisson_draws(key_counts, exposure * p)
