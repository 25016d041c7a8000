"""Variational autoencoders: densities of rows decoded from a latent normal vector, scored by a variational bound.

    x, NaN where missing ─▶ encoder ─▶ q(z | x_observed, y) = N(mean, scale^2) ─▶ draws z_s = mean + scale e_s
    log p(x_observed | z_s, y), observed cells only ◀─ likelihood ◀─ decoder ◀─ z_s, and the class y
    bound = log mean_s p(x_observed | z_s, y) p(z_s) / q(z_s | x_observed, y)

Verbs take fixed draws e_s, by the seed and a row's own cells, so that scores are a function of the row; `fit` takes
fresh ones at each step (`learning_scores`). Imputation weighs the decoded draws by these ratios.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._neural import Neural
from dgjax._pytree import dataclass, static
from dgjax._types import Capabilities, LabelIndex, Support
from dgjax.densities import _shared
from dgjax.densities._learned import AsLearnt, Draws, Learned
from dgjax.densities._likelihoods import supports_of
from dgjax.densities._marginal import Marginal


@dataclass
class VariationalAutoencoder(Learned):
    """Variational autoencoder: p(x | y) = E[p(x | z, y)] over z ~ N(0, I) of `latent_dim` m dimensions.

    `encoder` maps the encoded row, and the label, to the mean and log scale of the normal q(z | x, y), (..., 2 m);
    `decoder` maps z, and the label, to the parameters of `likelihood`, (..., d times its size). Both are networks
    (`dgjax.networks`). With `num_classes` 1 the density has no labels and the networks get none.

    A score is the importance-weighted bound by `num_samples` draws of z: in expectation below log p(x | y), and closer
    with more draws. `fit` maximises the bound by `num_training_samples` fresh draws at each step; with 1 it is the
    evidence lower bound, its divergence in closed form. Missing cells are left out of p(x | z), and are 0 to the
    encoder. The draws of verbs depend on `seed` and the row's own cells only, so that a row's result does not depend on
    the rows beside it.

    Raises ValueError if the networks' outputs have other shapes.
    Source: Kingma and Welling (2014); Burda et al. (2016); for missing cells Mattei and Frellsen (2019).
    """

    encoder: Any
    decoder: Any
    likelihood: Any
    num_columns: int = static()
    latent_dim: int = static()
    num_classes: int = static(default=1)
    num_samples: int = static(default=64)
    num_training_samples: int = static(default=1)
    seed: int = static(default=0)

    by_draws = divergence = True

    def __post_init__(self) -> None:
        dtype = jnp.result_type(float, *jax.tree.leaves(self))
        x, z = (jax.ShapeDtypeStruct((2, size), dtype) for size in (self.num_features, self.latent_dim))
        _expect(
            self,
            "encoder",
            lambda x: self._networked(self.encoder, self.likelihood.seen(x)[:, None]),
            x,
            2 * z.shape[1],
        )
        _expect(
            self, "decoder", lambda z: self._networked(self.decoder, z[:, None]), z, x.shape[1] * self.likelihood.size
        )

    @property
    def num_features(self) -> int:
        return self.num_columns

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (self.num_classes,)

    @property
    def row_cost(self) -> int:
        """Memory for one row and one draw, in floats: the widest layer, for every label."""
        widest = max(max(leaf.shape, default=1) for leaf in jax.tree.leaves((self.encoder, self.decoder)))
        return self.num_classes * max(widest, self.num_features * self.likelihood.size)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("bound", "bound", "estimate", impute="estimate", twin="none")

    @property
    def num_parameters(self) -> int:
        """Number of parameters of p(x | y), those of decoder and likelihood: the encoder only approximates p(z | x)."""
        return sum(leaf.size for leaf in jax.tree.leaves((self.decoder, self.likelihood)))

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
        return self.bound(x, self.noise(x), self.num_samples)

    def bound(
        self, x: Float[Array, "n d"], noise: Any, num_samples: int, y: Int[Array, " n"] | None = None
    ) -> Float[Array, "n _"]:
        """Importance-weighted bound of log p(x_observed | label) by `num_samples` draws: (n, k), or with y (n, 1).

        A row without observed cells has exactly 0.
        """
        log_likelihood, cost = self._log_likelihood(x, y), self._cost(x, y)
        mean, log_scale = self._posterior(x, y)
        value = kernels.importance_bound(mean, log_scale, noise, log_likelihood, num_samples, cost)
        return jnp.where(self._empty(x), 0, value)

    def evidence(
        self, x: Float[Array, "n d"], noise: Any, num_samples: int, kl_weight: Any, y: Int[Array, " n"] | None = None
    ) -> Float[Array, "n _"]:
        """Evidence lower bound E_q log p(x_observed | z) - kl_weight KL(q || p) by `num_samples` draws.

        (n, k), or with labels y (n,), (n, 1). A row without observed cells has exactly 0.
        """
        log_likelihood, cost = self._log_likelihood(x, y), self._cost(x, y)
        mean, log_scale = self._posterior(x, y)
        value = kernels.elbo(mean, log_scale, noise, log_likelihood, num_samples, cost, kl_weight)
        return jnp.where(self._empty(x), 0, value)

    def scores_by_draw(self, x: Float[Array, "n d"]) -> Float[Array, "s n k"]:
        """Log importance weights of all draws, (s, n, k); `scores` is the log of their mean over s."""
        mean, log_scale = self._posterior(x)
        weights = kernels.importance_log_weights(
            mean, log_scale, self.noise(x), self._log_likelihood(x), self.num_samples, self._cost(x)
        )
        return jnp.where(self._empty(x), 0, weights)

    def drawn(self, draws: Draws) -> AsLearnt:
        """Autoencoder as it learns, by its bound; with a key of None by its own draws."""
        return AsLearnt(self, draws)

    def learning_scores(self, x: Float[Array, "n d"], y: Int[Array, " n"] | None, draws: Draws) -> Float[Array, "n _"]:
        """Evidence lower bound, or with several training samples the importance-weighted one: what `fit` maximises.

        With a key of None draws are the autoencoder's own; with a key, fresh ones of one training step. A KL weight
        below 1 is KL warm-up.
        """
        if draws.key is None:
            return self.evidence(x, self.noise(x), self.num_samples, draws.kl_weight, y)
        noise = noise_of(draws.key, (len(x), 1, self.latent_dim), x.dtype)
        if self.num_training_samples > 1:
            return self.bound(x, noise, self.num_training_samples, y)
        return self.evidence(x, noise, 1, draws.kl_weight, y)

    def encode(self, x: Float[Array, "n d"], y: Float[Array, "n k"]) -> tuple[Array, Array]:
        """Encoding: mean and scale (n, m) of q(z | x_observed, y); y (n, k) one-hot, or memberships that sum to 1."""
        mean, log_scale = jnp.split(self._called(self.encoder, self.likelihood.seen(x), y), 2, axis=-1)
        return mean, jnp.exp(log_scale)

    def decode(self, z: Float[Array, "*n m"], y: Float[Array, "... k"]) -> Float[Array, "*n f"]:
        """Decoding: parameters of the likelihood (..., f) for latent vectors z (..., m).

        y (..., k) is one-hot, or memberships that sum to 1.
        """
        return self._called(self.decoder, z, y)

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        key_z, key_x = jax.random.split(key)
        dtype = jnp.result_type(*jax.tree.leaves(self))
        y = jax.nn.one_hot(at[0], self.num_classes, dtype=dtype)
        z = jax.random.normal(key_z, (*y.shape[:-1], self.latent_dim), dtype)
        return self.likelihood.sample(key_x, self.decode(z, y))

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        """Imputation by sampling-importance-resampling: one draw of z of `num_samples`, by its weight, is decoded.

        `x` (n, d) with a key and a label for each row. For a row without observed cells z is a draw from p(z).
        """
        keys_noise, keys_z, keys_x = jnp.moveaxis(jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0)
        noise = noise_of_rows(keys_noise, self.latent_dim, x.dtype)
        y = jax.nn.one_hot(at[0], self.num_classes, dtype=x.dtype)[:, None]
        mean, log_scale = jnp.split(self._called(self.encoder, self.likelihood.seen(x)[:, None], y), 2, axis=-1)
        mean, log_scale = (jnp.where(self._empty(x)[..., None], 0, own) for own in (mean, log_scale))

        def log_likelihood(z):
            return self.likelihood.log_prob(x[:, None], self.decode(z, y))

        cost = self._cost(x) // self.num_classes
        weights = kernels.importance_log_weights(mean, log_scale, noise, log_likelihood, self.num_samples, cost)
        chosen = jax.vmap(kernels.categorical)(keys_z, weights[..., 0].T)
        e = jax.vmap(lambda key, draw: noise_of(key, (1, self.latent_dim), x.dtype)(draw[None])[0])(keys_noise, chosen)
        outputs = self.decode(mean + jnp.exp(log_scale) * e, y)[:, 0]
        return _shared.fill(x, jax.vmap(self.likelihood.sample)(keys_x, outputs))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n k"]) -> Float[Array, "n d"]:
        """Imputation by self-normalised importance sampling: E[x_missing | x_observed], or the mode if discrete."""

        def look(z):
            outputs = self._networked(self.decoder, z)
            return self.likelihood.log_prob(x[:, None], outputs), self.likelihood.mean(outputs)

        mean, log_scale = self._posterior(x)
        means = kernels.importance_mean(mean, log_scale, self.noise(x), look, self.num_samples, 2 * self._cost(x))
        shares = posterior / posterior.sum(-1, keepdims=True)
        return _shared.fill(x, self.likelihood.value(jnp.einsum("nk,nkf->nf", shares, means)))

    def marginal(self, columns: tuple[int, ...]) -> Marginal:
        return Marginal(self, columns)

    def discriminative(self) -> tuple[Float[Array, " k"], Neural]:
        """Classifier on the encoder's last hidden layer: bias (k,) of 0, and a neural scorer, trunk frozen, head 0.

        The head is left to `fit`. It is not the posterior of the bounds, which depends on the decoder too.
        """
        dtype = jnp.result_type(*jax.tree.leaves(self))
        scorer = Neural.start(self.encoder, self.likelihood, self.num_features, self.num_classes, dtype, frozen=True)
        return jnp.zeros(self.num_classes, dtype), scorer

    @property
    def supports(self) -> tuple[Support, ...]:
        return supports_of(self.likelihood, self.num_features)

    def noise(self, x: Float[Array, "n d"]) -> Any:
        """Standard normal draws for the rows of x, as a function of draw numbers (s,) -> (s, n, 1, m).

        Keys are the seed and each row's own cells.
        """
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(self.seed), _digest(x))
        return noise_of_rows(keys, self.latent_dim, x.dtype)

    def _posterior(self, x, y=None):
        """Mean and log scale of q(z | x_observed, y) for every label, (n, k, m), or for that of y, (n, 1, m)."""
        return jnp.split(self._networked(self.encoder, self.likelihood.seen(x)[:, None], y), 2, axis=-1)

    def _log_likelihood(self, x, y=None):
        return lambda z: self.likelihood.log_prob(x[:, None], self._networked(self.decoder, z, y))

    def _networked(self, network, x, y=None):
        """Neural network of x (..., 1 or k, f) and one-hot labels: all k, on the axis before the last, or y (n,) alone.

        Gives (..., k, out), or (..., n, 1, out) for y. With a single class the network gets x alone.
        """
        labels = jnp.arange(self.num_classes) if y is None else y[:, None]
        return self._called(network, x, jax.nn.one_hot(labels, self.num_classes, dtype=x.dtype))

    def _called(self, network, x, y):
        return network(x) if self.num_classes == 1 else network(x, y)

    def _empty(self, x):
        return _shared.no_cells(x, self.complete)[:, None]

    def _cost(self, x, y=None):
        return len(x) * (self.row_cost if y is None else self.row_cost // self.num_classes)


def noise_of(key: Key[Array, ""], shape: tuple[int, ...], dtype: Any) -> Any:
    """Standard normal draws (s, *shape) as a function of draw numbers (s,), each by key and number only."""

    def one(draw: Int[Array, ""]) -> Array:
        return jax.random.normal(jax.random.fold_in(key, draw), shape, dtype)

    return jax.vmap(one)


def noise_of_rows(keys: Key[Array, " n"], latent_dim: int, dtype: Any) -> Any:
    """Standard normal draws (s, n, 1, m) as a function of draw numbers (s,): a key a row, shared by its labels."""
    return lambda draws: jax.vmap(lambda key: noise_of(key, (1, latent_dim), dtype)(draws), out_axes=1)(keys)


def _digest(x):
    """Hash (n,) of each row's cells, whatever their zeros' signs and the bits of their NaN."""
    cells = jnp.where(jnp.isnan(x), jnp.inf, x + 0)
    words = jax.lax.bitcast_convert_type(cells, jnp.uint32)
    words = words.reshape(len(x), words.size // max(len(x), 1))
    # Knuth's multiplicative hashing: odd factors that have nothing in common.
    factors = jnp.arange(1, 2 * words.shape[1], 2, dtype=jnp.uint32) * jnp.uint32(2654435761)
    mixed = (words ^ (words >> 15)) * factors
    return (mixed ^ (mixed >> 13)).sum(-1, dtype=jnp.uint32)


def _expect(model, name, network, rows, size):
    """Check of a network: raises unless it gives so many numbers for each row and label."""
    try:
        shape = jax.eval_shape(network, rows).shape
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot take rows of {rows.shape[1:]}: {error}") from None
    expected = (2, model.num_classes, size)
    if shape != expected:
        raise ValueError(
            f"{name} must give {size} numbers for each row; of 2 rows and {model.num_classes} label(s) it gave shape "
            f"{shape}, not {expected}."
        )
