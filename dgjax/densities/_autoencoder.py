"""Variational autoencoders: rows decoded from a latent normal vector, scored by a bound."""

import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._draws import LEARNING, Draws
from dgjax._pytree import noun, static
from dgjax._types import At, Support
from dgjax.densities import _shared
from dgjax.densities._margin import Margin
from dgjax.scorers import Linear, Neural


@noun
class VariationalAutoencoder:
    """p(x | y) = E[p(x | z, y)], z ~ N(0, I) of `latent_dim` dimensions, and its bound by draws from a normal q(z | x, y).

    `encoder` takes what is seen of a row, and the label, to the mean of q and the log of its scale, (..., 2 m);
    `decoder` takes z, and the label, to what `likelihood` expects, (..., d times its size): any networks
    (`dgjax.networks`). `num_classes` 1 is a density without labels, and the networks are not told of any.

    A score is the importance-weighted bound of `num_samples` draws: log p(x | y) from below in expectation, and all the
    closer for more of them. `fit` learns by the bound of `num_training_samples` fresh ones at every step, for 1 with
    the divergence in closed form. A missing cell has no part in p(x | z), and an encoder sees 0 for it. The draws of
    verbs depend on `seed` alone, so that a row's result does not depend on the rows beside it.

    Raises ValueError if what the networks give has another shape.
    Source: Kingma and Welling (2014); Burda et al. (2016); for missing cells Mattei and Frellsen (2019).
    """

    encoder: Any
    decoder: Any
    likelihood: Any
    num_features: int = static()
    latent_dim: int = static()
    num_classes: int = static(default=1)
    num_samples: int = static(default=64)
    num_training_samples: int = static(default=1)
    seed: int = static(default=0)

    generative: ClassVar[Literal[True]] = True
    as_model = _shared.as_model

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
    def label_shape(self) -> tuple[int, ...]:
        return (self.num_classes,)

    @property
    def row_cost(self) -> int:
        """What one draw needs: the widest layer, for every label."""
        widest = max(max(leaf.shape, default=1) for leaf in jax.tree.leaves((self.encoder, self.decoder)))
        return self.num_classes * max(widest, self.num_features * self.likelihood.size)

    score_cost = row_cost

    @property
    def num_parameters(self) -> int:
        """Those of the decoder and the likelihood: the encoder is no part of the model, only of the bound."""
        return sum(leaf.size for leaf in jax.tree.leaves((self.decoder, self.likelihood)))

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
        return self.bound(x, self._noise(), self.num_samples)

    def bound(self, x: Float[Array, "n d"], noise: Any, num_samples: int) -> Float[Array, "n k"]:
        """The importance-weighted bound of log p(x_observed | label); exactly 0 where nothing is observed."""
        value = kernels.importance_bound(
            *self._posterior(x), noise, self._log_likelihood(x), num_samples, self._cost(x)
        )
        return jnp.where(_empty(x), 0, value)

    def evidence(self, x: Float[Array, "n d"], noise: Any, num_samples: int, kl_weight: Any) -> Float[Array, "n k"]:
        """The evidence lower bound of log p(x_observed | label), E_q log p(x | z) - KL(q || p); 0 likewise."""
        log_likelihood, cost = self._log_likelihood(x), self._cost(x)
        value = kernels.elbo(*self._posterior(x), noise, log_likelihood, num_samples, cost, kl_weight)
        return jnp.where(_empty(x), 0, value)

    def log_weights(self, x: Float[Array, "n d"]) -> Float[Array, "s n k"]:
        """The logs of the importance weights whose mean `scores` is the log of."""
        weights = kernels.importance_log_weights(
            *self._posterior(x), self._noise(), self._log_likelihood(x), self.num_samples, self._cost(x)
        )
        return jnp.where(_empty(x), 0, weights)

    def drawn(self, draws: Draws) -> "Bound":
        """What is learnt of it with the draws of one step; or with a number of them its evidence lower bound."""
        learning = draws.number is None
        number = self.num_training_samples if learning else draws.number
        return Bound(self, draws.key, draws.kl_weight, number, learning)

    def encode(self, x: Float[Array, "n d"], y: Float[Array, "n k"]) -> tuple[Array, Array]:
        """Mean and scale (n, m) of q(z | x_observed, y), y in shares of labels."""
        mean, log_scale = jnp.split(self._called(self.encoder, self.likelihood.seen(x), y), 2, axis=-1)
        return mean, jnp.exp(log_scale)

    def decode(self, z: Float[Array, "*n m"], y: Float[Array, "*n k"]) -> Float[Array, "*n f"]:
        """What the likelihood expects of a row, y in shares of labels."""
        return self._called(self.decoder, z, y)

    def sample(self, key: Key[Array, ""], at: At) -> Float[Array, "*n d"]:
        key_z, key_x = jax.random.split(key)
        dtype = jnp.result_type(*jax.tree.leaves(self))
        y = jax.nn.one_hot(at[0], self.num_classes, dtype=dtype)
        z = jax.random.normal(key_z, (*y.shape[:-1], self.latent_dim), dtype)
        return self.likelihood.sample(key_x, self.decode(z, y))

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: At) -> Float[Array, "n d"]:
        """One of `num_samples` draws of z, in proportion to its weight, decoded: each row has draws of its own."""
        keys_noise, keys_z, keys_x = jnp.moveaxis(jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0)
        y = jax.nn.one_hot(at[0], self.num_classes, dtype=x.dtype)
        mean, scale = self.encode(x, y)

        def noise_of(key, draw):
            return jax.random.normal(jax.random.fold_in(key, draw), mean.shape[-1:], mean.dtype)

        def noise(draws):
            return jax.vmap(lambda draw: jax.vmap(noise_of, (0, None))(keys_noise, draw))(draws)

        def log_likelihood(z):
            return self.likelihood.log_prob(x, self.decode(z, y))

        weights = kernels.importance_log_weights(
            mean, jnp.log(scale), noise, log_likelihood, self.num_samples, self._cost(x) // self.num_classes
        )
        weights = jnp.where(_empty(x)[:, 0], jnp.zeros_like(weights), weights)
        chosen = jax.vmap(kernels.categorical)(keys_z, weights.T)
        z = mean + scale * jax.vmap(noise_of)(keys_noise, chosen)
        # Of an empty row z is drawn from p(z) itself: the weights of draws from q are known to no good there.
        z = jnp.where(_empty(x), jax.vmap(noise_of)(keys_noise, chosen), z)
        return _shared.fill(x, jax.vmap(self.likelihood.sample)(keys_x, self.decode(z, y)))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n k"]) -> Float[Array, "n d"]:
        """By self-normalised importance sampling."""

        def look(z):
            outputs = self._networked(self.decoder, z)
            return self.likelihood.log_prob(x[:, None], outputs), self.likelihood.mean(outputs)

        means = kernels.importance_mean(*self._posterior(x), self._noise(), look, self.num_samples, 2 * self._cost(x))
        shares = posterior / posterior.sum(-1, keepdims=True)
        return _shared.fill(x, self.likelihood.value(jnp.einsum("nk,nkf->nf", shares, means)))

    def marginal(self, columns: tuple[int, ...]) -> Margin:
        return Margin(self, columns)

    def discriminative(self) -> tuple[Float[Array, " k"], Neural]:
        """A classifier on the encoder's last hidden layer, which stays as it is; the head, at 0, is left to learn.

        Not the posterior of the bounds: that takes the decoder too.
        """
        dtype = jnp.result_type(*jax.tree.leaves(self))
        scorer = Neural.start(self.encoder, self.likelihood, self.num_features, self.num_classes, dtype, frozen=True)
        return jnp.zeros(self.num_classes, dtype), scorer

    def statistics(self, *_: Any) -> Any:
        """None: what follows from counts has no closed form, so that `fit` takes an optimizer."""
        raise ValueError(f"{LEARNING} in dgjax.fit.")

    maximum = settled = expectation = started = statistics

    def log_prior(self, prior: Any) -> Float[Array, ""]:
        if prior is not None:
            raise ValueError(f"prior must be None for a VariationalAutoencoder; got {prior!r}.")
        return jnp.zeros(())

    def weak_prior(self, x: Any, strength: Any) -> Any:
        del x, strength
        raise ValueError("weak_prior is for densities with a conjugate prior; a VariationalAutoencoder has none.")

    @property
    def supports(self) -> tuple[Support, ...]:
        return (self.likelihood.support,) * self.num_features

    def _noise(self):
        """Draws that depend on the seed alone."""
        return noise_of(jax.random.key(self.seed), (1, 1, self.latent_dim), jnp.result_type(*jax.tree.leaves(self)))

    def _posterior(self, x):
        """Mean and log scale of q(z | x_observed, y) for every label, (n, k, m)."""
        return jnp.split(self._networked(self.encoder, self.likelihood.seen(x)[:, None]), 2, axis=-1)

    def _log_likelihood(self, x):
        return lambda z: self.likelihood.log_prob(x[:, None], self._networked(self.decoder, z))

    def _networked(self, network, x):
        """Of x (..., 1 or k, f), all labels along the last axis but one."""
        return self._called(network, x, jnp.eye(self.num_classes, dtype=x.dtype))

    def _called(self, network, x, y):
        return network(x) if self.num_classes == 1 else network(x, y)

    def _cost(self, x):
        return len(x) * self.row_cost


@noun
class Bound:
    """An autoencoder scored by given draws: its evidence lower bound.

    In `learning` each row has draws of its own, and more than one give the importance-weighted bound.
    """

    density: VariationalAutoencoder
    key: Key[Array, ""]
    kl_weight: Float[Array, ""]
    num_samples: int = static()
    learning: bool = static()

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.density.label_shape

    @property
    def num_features(self) -> int:
        return self.density.num_features

    @property
    def score_cost(self) -> int:
        return self.density.score_cost

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
        own, rows = self.density, len(x) if self.learning else 1
        noise = noise_of(self.key, (rows, 1, own.latent_dim), jnp.result_type(*jax.tree.leaves(own)))
        if self.learning and self.num_samples > 1:
            return own.bound(x, noise, self.num_samples)
        return own.evidence(x, noise, self.num_samples, self.kl_weight)


def noise_of(key: Key[Array, ""], shape: tuple[int, ...], dtype: Any) -> Any:
    """Standard normal numbers of a shape for draws by their numbers: the same whatever draws are taken with them."""

    def one(draw: Int[Array, ""]) -> Array:
        return jax.random.normal(jax.random.fold_in(key, draw), shape, dtype)

    return jax.vmap(one)


def _empty(x):
    return jnp.isnan(x).all(-1, keepdims=True)


def _expect(model, name, network, rows, size):
    """Raises unless a network gives so many numbers for each row and label."""
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
