"""Missing cells of densities that take complete rows alone, by importance sampling from another model's conditionals.

    p(x_o | y) = E_q [ p(x_o, x_m | y) / q(x_m | x_o) ],   log q(x_m | x_o) = log q(x_o, x_m) - log q(x_o)

The draws of q are those of fixed keys, common to all rows and labels, so that a row has one score in any batch.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._arguments import as_count
from dgjax._pytree import dataclass, expect_part, static
from dgjax._twins import NetworkLogDensity
from dgjax._types import Capabilities, LabelIndex, Support, of_columns
from dgjax.densities import _shared
from dgjax.densities._learned import Draws, Learned
from dgjax.densities._marginal import Marginal


@dataclass
class ImportanceSampled(Learned):
    """Density with missing cells summed out by importance sampling: p(x_o | y) = E_q p(x_o, x_m | y) / q(x_m | x_o).

    `density` is one that takes complete rows alone, such as a `Flow` or a `Tilted`, of which rows without a missing
    cell keep the score. `proposal` is a generative model of the same columns, whose draws x_m^s of the missing cells
    given the observed ones are `num_samples`, fixed by `seed`: the nearer its conditionals, the smaller the error,
    which `dgjax.log_prob_error` says; with the density's own it is 0. Let it be broader than the density, for example
    a mixture of Gaussians fitted with a weak prior. It is constant, and `fit` learns the density alone.

    Imputation is the mean of the draws by their weights, and draws of missing cells are one of these.

    Raises ValueError for another number of columns, or a proposal of real numbers in columns of whole ones.
    Source: Owen (2013), Monte Carlo theory, methods and examples, chapter 9.
    """

    density: Any
    proposal: Any
    num_samples: int = static(default=100)
    seed: int = static(default=0)

    untrained = ("proposal",)
    by_draws = True

    def __post_init__(self) -> None:
        expect_part(self, "density", Learned, "a learned density, such as that of dgjax.normalizing_flow(key, x)")
        expect_part(
            self, "proposal", "as_model", "a generative model, such as dgjax.gaussian_mixture(key, x, 5), fitted"
        )
        as_count(self.num_samples, "num_samples")
        own, d = self.proposal.as_model(), self.density.num_features
        if not own.generative or own.sequential or own.num_features != d:
            raise ValueError(f"proposal must be a generative model of the same {d} columns; got {own.num_features}.")
        pairs = zip(of_columns(self.density.supports, d), of_columns(own.supports, d), strict=True)
        real = next((j for j, (asked, given) in enumerate(pairs) if asked.whole and not given.whole), None)
        if real is not None:
            raise ValueError(
                f"proposal must give whole numbers in column {real}, as the density has there; it gives real ones. Fit "
                'dgjax.latent_class_analysis(key, x, 5, kinds) with "poisson" or "categorical" there.'
            )

    @property
    def capabilities(self) -> Capabilities:
        """What needs a missing cell is an estimate."""
        return self.density.capabilities._replace(missing="estimate", posterior="estimate", impute="estimate")

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.density.label_shape

    @property
    def num_features(self) -> int:
        return self.density.num_features

    @property
    def row_cost(self) -> int:
        return self.density.row_cost + self.num_samples * (self.num_features + math.prod(self.label_shape))

    @property
    def num_parameters(self) -> int | Array:
        return self.density.num_parameters

    @property
    def supports(self) -> tuple[Support, ...]:
        return tuple(own._replace(words=own.words.partition(". ")[0], missing=True) for own in self.density.supports)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n *labels"]:
        return self._mean(x, self.scores_by_draw(x))

    def scores_by_draw(self, x: Float[Array, "n d"]) -> Float[Array, "s n *labels"]:
        """Log-weights of each draw of the missing cells (s, n, k): of a complete row its log-density."""
        return self._by_draw(x, jax.random.key(self.seed))[1]

    def learning_scores(self, x: Float[Array, "n d"], y: Int[Array, " n"] | None, draws: Draws) -> Float[Array, "n _"]:
        """Log-density of complete rows as the density learns it; of others by fresh draws of their missing cells."""
        key = draws.key if draws.key is not None else jax.random.key(self.seed)
        filled, log_q = self._filled(x, key)
        own = self.density.learning_scores(filled, y, draws)
        return jnp.where(_shared.no_cells(x, self.complete)[:, None], 0, own - log_q[:, None])

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        return self.density.sample(key, at)

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        """One of the draws of the missing cells, by its weight: sampling-importance-resampling."""
        keys_draws, keys_choice = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        filled, logs = self._by_draw(x, keys_draws)
        chosen = jax.vmap(kernels.categorical)(keys_choice, jnp.moveaxis(logs, 0, -1)[(jnp.arange(len(x)), *at)])
        return filled[chosen, jnp.arange(len(x))]

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n *labels"]) -> Float[Array, "n d"]:
        """Mean of the draws of the missing cells by their weights, over labels by their posterior."""
        filled, logs = self._by_draw(x, jax.random.key(self.seed))
        shares = jax.nn.softmax(logs, axis=0) * (posterior / posterior.sum(-1, keepdims=True))
        mean = jnp.einsum("snk,snd->nd", shares, filled)
        whole = jnp.array([own.whole for own in self.supports])
        return _shared.fill(x, jnp.where(whole, jnp.round(mean), mean))

    def marginal(self, columns: tuple[int, ...]) -> Marginal:
        return Marginal(self, columns)

    def discriminative(self) -> tuple[Float[Array, "*labels"], NetworkLogDensity]:
        """Discriminative twin of the density, of complete rows."""
        return self.density.discriminative()

    def _mean(self, x, by_draw):
        mean = kernels.logsumexp(jnp.moveaxis(by_draw, 0, -1)) - jnp.log(jnp.asarray(len(by_draw), by_draw.dtype))
        return jnp.where(_shared.no_cells(x, self.complete)[:, None], 0, mean)

    def _by_draw(self, x, key):
        """Filled rows (s, n, d) and their log-weights (s, n, k), by a key for all rows, or one for each."""

        def one(draw):
            own = jax.vmap(jax.random.fold_in, (0, None))(key, draw) if key.ndim else jax.random.fold_in(key, draw)
            filled, log_q = self._filled(x, own)
            return filled, self.density.scores(filled) - log_q[:, None]

        return jax.lax.map(one, jnp.arange(self.num_samples))

    def _filled(self, x, key):
        """Rows with missing cells drawn from the proposal (n, d), and log q of what was drawn (n,); 0 of whole rows."""
        proposal = jax.lax.stop_gradient(self.proposal).as_model()
        # Drawn in float32 whatever the precision: of random bits in another one others would come.
        single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), proposal)
        drawn = single.sample_missing(jnp.broadcast_to(key, len(x)), x.astype(jnp.float32), ())
        filled = jnp.where(jnp.isnan(x), drawn.astype(x.dtype), x)
        log_q = proposal.potentials(filled).log_partition() - proposal.potentials(x).log_partition()
        return filled, jnp.where(jnp.isnan(x).any(-1), log_q, 0)
