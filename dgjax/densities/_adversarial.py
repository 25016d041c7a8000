"""Generative adversarial networks: draws of a generator, told from rows by a discriminator of k classes and one more.

    z ~ N(0, I), and the class y ─▶ generator ─▶ u ─▶ x = centre + scale u
    x ─▶ u = (x - centre) / scale ─▶ discriminator ─▶ D_y(x), with log-weights log w_y the logits log w_y + D_y(x)

At its optimum D_y(x) = log p(x | y) / p_G(x). Of log p(x) itself neither network knows anything.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax import _parameters
from dgjax._arguments import as_count, check_number
from dgjax._pytree import dataclass, static
from dgjax._twins import NetworkLogDensity
from dgjax._types import FINITE, Capabilities, LabelIndex, Support
from dgjax.densities import _shared
from dgjax.densities._complete import CompleteRows, complete_support
from dgjax.densities._contrast import log_class, log_drawn

NEIGHBOURS, MOST_ROWS = 5, 2000
"""Neighbours within whose distance a row counts as covered, and the most rows that are looked at."""


@dataclass
class Adversarial(CompleteRows):
    """Generative adversarial network: rows x = centre + scale G(z, y), z ~ N(0, I) of `latent_dim` m dimensions.

    `generator` G maps z (..., m), and the class, to a row in units of its columns (..., d); `discriminator` D maps such
    a row (..., d) to k numbers, which with the log-weights of a `Mixture` are the logits of k classes against "drawn",
    of logit 0. Both are networks (`dgjax.networks`). `centre` and `scale` (d,) are constants in the columns' units.
    With `num_classes` 1 there are no labels, and the generator gets none.

    `dgjax.sample` draws, of a class too; `dgjax.predict` and p(y | x) are those of the discriminator. There is no
    density: `dgjax.log_prob` and what needs it raise ValueError, which says what to take instead.

    `fit` maximises for the discriminator, on as many draws as rows, the log-probabilities of class and "drawn", less
    `penalty` / 2 times the squared slope of log (1 - P(drawn)) / P(drawn) at rows, by u; and for the generator the
    log-probability that the discriminator gives to the class of its draws (non-saturating). `dgjax.Optax` takes a
    `generator` optimizer beside that of the discriminator. When it ends, `coverage` says which share of the rows has a
    draw within the distance of their fifth neighbour among rows, of as many draws: about 97 % for draws of the rows'
    own distribution, and less where modes are missed.

    Raises ValueError if the networks' outputs have other shapes.
    Source: Goodfellow et al. (2014); classes Salimans et al. (2016), section 5; penalty R1 Mescheder, Geiger and
    Nowozin (2018), eq. 9; coverage Naeem et al. (2020), eq. 9.
    """

    generator: Any
    discriminator: Any
    centre: Float[Array, " d"]
    scale: Float[Array, " d"]
    latent_dim: int = static()
    num_classes: int = static(default=1)
    penalty: float = static(default=1.0)
    seed: int = static(default=0)
    coverage: Float[Array, ""] | None = None

    untrained = ("centre", "scale", "coverage")
    by_draws = contrastive = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "latent_dim", as_count(self.latent_dim, "latent_dim"))
        object.__setattr__(self, "penalty", float(self.penalty))
        check_number(self.penalty, "penalty", 0)
        _parameters.check_same_shape(self, "centre", "scale")
        _parameters.check_least(self, "scale", float(np.finfo(np.float32).tiny))
        d, k = self.num_features, self.num_classes
        dtype = jnp.result_type(float, *jax.tree.leaves(self))
        z, u = (jax.ShapeDtypeStruct((2, size), dtype) for size in (self.latent_dim, d))
        _expect("generator", lambda z: self._generated(z, jnp.zeros(2, int)), z, (2, d))
        _expect("discriminator", self.discriminator, u, (2, k))

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("none", "none", "learnt", "exact", "none")

    @property
    def num_features(self) -> int:
        return self.centre.shape[-1]

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (self.num_classes,)

    @property
    def row_cost(self) -> int:
        """Memory for one row, in floats: the widest layer."""
        return self.num_classes * max(max(leaf.shape, default=1) for leaf in jax.tree.leaves(self))

    @property
    def num_parameters(self) -> int:
        """Number of parameters of the generator: the discriminator only learns what it does."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.generator))

    @property
    def supports(self) -> tuple[Support, ...]:
        return (complete_support(FINITE, "An adversary"),) * self.num_features

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Log-ratios D_y(x) (n, k), at the optimum log p(x | y) / p_G(x): what p(y | x) is made of."""
        empty = _shared.no_cells(x, self.complete)[:, None]
        u = jnp.where(empty, 0, (x - self._constant("centre")) / self._constant("scale"))
        return jnp.where(empty, 0, self.discriminator(u))

    def contrast(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], log_weights: Float[Array, " k"], key: Key[Array, ""]
    ) -> Float[Array, " n"]:
        """Objective (n,) of both networks, of each row and one draw: a gradient of it is one step of the game.

        Each network's part has the other's parameters as constants.
        """
        key_y, key_z = jax.random.split(key)
        log_weights = jax.lax.stop_gradient(log_weights)
        drawn = kernels.categorical(key_y, log_weights, (len(x),))
        u = self._generated(jax.random.normal(key_z, (len(x), self.latent_dim), x.dtype), drawn)
        rows = (x - self._constant("centre")) / self._constant("scale")
        logits = log_weights + self.discriminator(jnp.concatenate([rows, jax.lax.stop_gradient(u)]))
        told = log_class(logits[: len(x)], y) + log_drawn(logits[len(x) :])
        if self.penalty:
            told = told - self.penalty / 2 * self._squared_slope(rows, log_weights)
        frozen = jax.lax.stop_gradient(self.discriminator)
        return told + log_class(log_weights + frozen(u), drawn)

    def settled(self, x: Any, log_weights: Any) -> "Adversarial":
        """The networks with the `coverage` of rows x, of up to 2,000 of these, by draws of classes by `log_weights`."""
        weights = jnp.zeros(self.num_classes) if log_weights is None else log_weights
        return dataclasses.replace(self, coverage=_coverage(self, x, weights))

    def log_gain(self, before: "Adversarial") -> Float[Array, " k"]:
        """Zeros (k,): nothing moves the classes' weights."""
        del before
        return jnp.zeros(self.num_classes)

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        labels = at[0].reshape(-1)
        dtype = jnp.result_type(*jax.tree.leaves(self))
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(labels.size))
        z = jax.vmap(lambda key: jax.random.normal(key, (self.latent_dim,), dtype))(keys)
        rows = self._constant("centre") + self._constant("scale") * self._generated(z, labels)
        return rows.reshape(*at[0].shape, self.num_features)

    def discriminative(self) -> tuple[Float[Array, " k"], NetworkLogDensity]:
        """Discriminative twin: a bias (k,) of 0 and the discriminator as a scorer, which has the same p(y | x)."""
        return jnp.zeros(self.num_classes, jnp.result_type(*jax.tree.leaves(self))), NetworkLogDensity(self)

    def _generated(self, z, y):
        """Rows (n, d), in units of their columns, for latent rows z (n, m) and classes y (n,)."""
        if self.num_classes == 1:
            return self.generator(z)
        return self.generator(z, jax.nn.one_hot(y, self.num_classes, dtype=z.dtype))

    def _squared_slope(self, u, log_weights):
        """Squared norm (n,) of the gradient of log sum_y w_y exp D_y by each row u (n, d)."""

        def evidence(u):
            return kernels.logsumexp(log_weights + self.discriminator(u)).sum()

        return jnp.square(jax.grad(evidence)(u)).sum(-1)

    def _constant(self, name):
        return jax.lax.stop_gradient(getattr(self, name))


NO_DENSITY = (
    "{} needs log p(x), and an Adversarial has none: its generator draws rows, and its discriminator tells classes. "
    "For a density type dgjax.normalizing_flow(key, x), or dgjax.tilted(key, base, x), which learns as a "
    "discriminator does and has one."
)


def check_has_density(model: Any, verb: str) -> None:
    """Raises ValueError, which names the verb, for a model of a density that knows no log p(x)."""
    kinds = getattr(model, "capabilities", None)
    if kinds is not None and kinds.log_prob == "none":
        raise ValueError(NO_DENSITY.format(verb))


def _expect(name, network, rows, expected):
    """Raises ValueError unless a network gives numbers of the expected shape."""
    try:
        shape = jax.eval_shape(network, rows).shape
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot take rows of {rows.shape[1:]}: {error}") from None
    if shape != expected:
        raise ValueError(f"{name} must give {expected[1]} numbers for each row; it gave {shape[1:]}.")


@kernels.compiled_once
def _coverage(density: Adversarial, x: Any, log_weights: Array) -> Array:
    """Share of rows with a draw no farther than their fifth neighbour among rows, in units of the columns."""
    x = x[jnp.linspace(0, len(x) - 1, min(len(x), MOST_ROWS)).astype(int)]
    key_y, key_x = jax.random.split(jax.random.key(density.seed))
    drawn = density.sample(key_x, (kernels.categorical(key_y, log_weights, (len(x),)),))
    rows, draws = (own / density.scale for own in (x - density.centre, drawn - density.centre))
    k = min(NEIGHBOURS, len(x) - 1)

    def covered(u):
        apart, found = (jnp.square(own - u).sum(-1) for own in (rows, draws))
        return found.min() <= -jax.lax.top_k(-apart, k + 1)[0][k]  # the nearest is the row itself

    return jax.lax.map(covered, rows).mean().astype(x.dtype)
