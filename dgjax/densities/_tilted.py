"""Tilted densities: a base density times the exponential of a scorer, normalised by draws of the base.

    log p(x | y) = log p0(x | y) + t_y(x) - log Z_y,   t_y(x) = bias_y + b tanh(f_y(x) / b)
    Z_y = E[exp t_y(x)] over x ~ p0(x | y), by the mean over draws that a seed fixes

Each label has a normaliser of its own, so that p(x | y) is a density and Bayes' rule is that of every other mixture:
with log-weights log w_y, p(x, y) = w_y p(x | y) is proportional to p0(x, y) exp f_y(x), for what Z_y takes from a label
its weight gives back (`settled`).
"""

import dataclasses
import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._arguments import as_count, check_number, is_concrete
from dgjax._pytree import dataclass, expect_part, expect_rows, static
from dgjax._twins import NetworkLogDensity
from dgjax._types import FINITE, Capabilities, LabelIndex, Scorer, Support, of_columns, weakest
from dgjax.densities import _shared
from dgjax.densities._base import Density
from dgjax.densities._complete import CompleteRows, complete_support
from dgjax.densities._contrast import LowEffectiveSampleSize, log_class, log_drawn
from dgjax.densities._learned import Draws

LEAST_SHARE = 0.01
BOUND = math.acosh(LEAST_SHARE**-0.5)
"""Bound b = 2.99 of a tilt. Weights from e^-b to e^b have an effective share of at least 1 / cosh(b)^2 = 1 %.

This is Kantorovich's inequality, E[w^2] / E[w]^2 <= (m + M)^2 / (4 m M) for w from m to M.
"""


@dataclass
class Tilted(CompleteRows):
    """Tilted density: p(x | y) = p0(x | y) exp(t_y(x)) / Z_y, t_y = bias_y + b tanh(f_y / b): an energy-based model.

    `base` p0 is a fitted density, which stays as it is: of one label or none, such as a `Mixture` as a whole, which all
    k classes share, or of labels (k,). `scorer` f is any scorer of rows with labels (k,), such as `dgjax.Neural`;
    `bound` b keeps it within +-b. The normaliser Z_y = E_p0[exp t_y] is estimated by the mean over `num_samples` draws
    of the base, which `seed` fixes: anew in each call, or once and for all in `log_normalizer` (k,), in which `fit`
    stores it. Who changes parameters of a stored one by other means sets `log_normalizer=None`. With the default bound
    the effective sample size is at least 1 % of the draws, whatever the scorer.

    Without a base, None, the density is p(x | y) = exp(t_y(x)) / Z_y on the rows `points` (m, d) of a finite space, or
    of a grid of cells of `volume` each, and Z_y = volume sum_m exp t_y(points_m) is exact.

    `fit` maximises the noise-contrastive objective: rows are told from as many draws of the base, by k classes and one
    more, "drawn from the base", which is the discriminator of a semi-supervised GAN; a missing label is summed out.
    `dgjax.log_prob` is an estimate, with the same error for all rows, `dgjax.log_prob_error`. Samples are resampled, by
    weight, from `num_proposals` draws of the base each.

    No cell may be missing: verbs raise ValueError, which names what to take instead. Raises ValueError for parts that
    do not fit together, and `dgjax.LowEffectiveSampleSize` where a wider bound leaves less than 1 % of the draws.
    Source: Gutmann and Hyvarinen (2012), eq. 8; Salimans et al. (2016), section 5; Grathwohl et al. (2020), JEM.
    """

    base: Any
    scorer: Scorer
    bias: Float[Array, " k"] = None  # type: ignore[assignment]
    log_normalizer: Float[Array, " k"] | None = None
    points: Float[Array, "m d"] | None = None
    bound: float = static(default=BOUND)
    num_samples: int = static(default=10_000)
    num_proposals: int = static(default=128)
    seed: int = static(default=0)
    volume: float = static(default=1.0)

    untrained = ("base", "log_normalizer", "points")

    def __post_init__(self) -> None:
        expect_part(self, "scorer", Scorer, "a scorer, such as dgjax.Linear(weight)")
        expect_rows(self, self.scorer, "scorer")
        _check_labels(self)
        if self.bias is None:
            dtype = jnp.result_type(float, *jax.tree.leaves(self.scorer))
            object.__setattr__(self, "bias", jax.device_put(np.zeros(self.label_shape, dtype)))
        for name in ("num_samples", "num_proposals"):
            object.__setattr__(self, name, as_count(getattr(self, name), name, 2))
        object.__setattr__(self, "bound", float(self.bound))
        check_number(self.bound, "bound", 1e-6)
        if self.by_draws and self.bound > BOUND and is_concrete(self):
            _check_share(self)

    @property
    def by_draws(self) -> bool:  # type: ignore[override]
        """Whether it is normalised, and learns, by random draws: those of its base."""
        return self.base is not None

    @property
    def contrastive(self) -> bool:  # type: ignore[override]
        """Whether `fit` learns it by contrast with draws of its base; without a base by its exact likelihood."""
        return self.base is not None

    @property
    def capabilities(self) -> Capabilities:
        if self.base is None:
            return Capabilities(missing="none", impute="none")
        own = self.base.capabilities
        posterior = "exact" if self.shared else own.posterior
        return Capabilities(weakest(("estimate", own.log_prob)), "none", posterior, "estimate", "none")

    @property
    def shared(self) -> bool:
        """Whether all labels have one base."""
        return self.base is not None and self.base.label_shape in ((), (1,))

    @property
    def num_features(self) -> int:
        return self._space().shape[-1] if self.base is None else self.base.num_features

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.scorer.label_shape

    @property
    def row_cost(self) -> int:
        """Memory for one row, in floats, of scorer and base."""
        return self.scorer.row_cost + self.label_shape[0] + (0 if self.base is None else self.base.row_cost)

    @property
    def num_parameters(self) -> int | Array:
        """Number of free parameters of scorer and base; normalisers, and biases, which they cancel, are none."""
        return self.scorer.num_parameters + (0 if self.base is None else self.base.num_parameters)

    @property
    def supports(self) -> tuple[Support, ...]:
        own = _of_points(self._space()) if self.base is None else of_columns(self.base.supports, self.num_features)
        return tuple(complete_support(support, "A tilt") for support in own)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
        return self._score(x, self.normalizer())

    def scores_by_draw(self, x: Float[Array, "n d"]) -> Float[Array, "s 1 k"]:
        """Log-weights of the base's draws less log Z_y (s, 1, k), of which the error of every row's score is made."""
        del x
        return (self.log_weights_of_draws() - self.normalizer())[:, None]

    def learning_scores(self, x: Float[Array, "n d"], y: Any, draws: Draws) -> Float[Array, "n _"]:
        """Log-densities normalised by fresh draws: what is learnt where the density is a part of a greater one."""
        scores = self._score(x, self._log_mean(self.log_weights_of_draws(draws.key)))
        return scores if y is None else jnp.take_along_axis(scores, y[:, None], -1)

    def normalizer(self) -> Float[Array, " k"]:
        """Log Z_y of each label (k,): what is stored, or by draws of the base, or exact without a base."""
        if self.log_normalizer is not None:
            return jax.lax.stop_gradient(self.log_normalizer)
        return self._log_mean(self.log_weights_of_draws())

    def effective_share(self) -> Float[Array, " k"]:
        """Effective sample size of each label's normaliser (k,), as a share of the draws: 1 where it is exact."""
        if self.base is None:
            return jnp.ones(self.label_shape, self.bias.dtype)
        shares = jax.nn.softmax(self.log_weights_of_draws(), axis=0)
        return 1 / (len(shares) * jnp.square(shares).sum(0))

    def log_weights_of_draws(self, key: Key[Array, ""] | None = None) -> Float[Array, "s k"]:
        """Tilts t_y (s, k) of the base's draws, those that `seed` fixes or by a key; without a base of its points."""
        if self.base is None:
            return self._tilt(self._space())
        key = jax.random.key(self.seed) if key is None else key
        # By draws in float32 the normaliser is the same, to rounding, in both precisions.
        base = jax.tree.map(_single, self.base)

        def tilts(keys, label=None):
            return self._tilt(self._drawn(keys, label, base).astype(self.bias.dtype))

        def block(rows):
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)
            if self.shared:
                return tilts(keys)
            return jnp.stack([tilts(keys, label)[:, label] for label in range(self.label_shape[0])], -1)

        return kernels.map_rows(block, jnp.arange(self.num_samples), row_cost=self.row_cost)

    def contrast(
        self, x: Float[Array, "n d"], y: Int[Array, " n"], log_weights: Float[Array, " k"], key: Key[Array, ""]
    ) -> Float[Array, " n"]:
        """Noise-contrastive objective (n,): log P(y | x) of each row, and log P(drawn) of one draw of the base.

        `log_weights` (k,) are log w, those of the classes. Where y is -1 the classes are summed out.
        """
        key_y, key_x = jax.random.split(key)
        drawn = None if self.shared else kernels.categorical(key_y, jax.lax.stop_gradient(log_weights), (len(x),))
        noise = jax.lax.stop_gradient(self._drawn(jax.random.split(key_x, len(x)), drawn))
        logits = self.logits(jnp.concatenate([x, noise]), log_weights)
        return log_class(logits[: len(x)], y) + log_drawn(logits[len(x) :])

    def logits(self, x: Float[Array, "n d"], log_weights: Float[Array, " k"]) -> Float[Array, "n k"]:
        """Logits (n, k) of each class against the base: log w_y p(x | y) / p0(x), by the normaliser that is stored.

        `log_weights` (k,) are log w; p0(x) is the base, mixed by these where it has labels.
        """
        stored = 0 if self.log_normalizer is None else jax.lax.stop_gradient(self.log_normalizer)
        logits = log_weights + self._tilt(x) - stored
        if self.shared:
            return logits
        base = self._log_base(x)
        return logits + base - kernels.logsumexp(jax.lax.stop_gradient(log_weights) + base)[:, None]

    def settled(self, x: Any, log_weights: Any) -> "Tilted":
        """The density with its normaliser stored, found anew from the parameters that it has.

        Raises LowEffectiveSampleSize where it cannot be estimated; inside jit it is NaN there.
        """
        del x, log_weights
        return dataclasses.replace(self, log_normalizer=_normalizer(self))

    def log_gain(self, before: "Tilted") -> Float[Array, " k"]:
        """What the stored normaliser (k,) is above that of the density before it was settled."""
        stored: Any = self.log_normalizer
        return stored if before.log_normalizer is None else stored - before.log_normalizer

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        """Samples by sampling-importance-resampling: one of `num_proposals` draws of the base, by its weight.

        Without a base they are exact.
        """
        labels = at[0].reshape(-1)

        def one(key, label):
            key_x, key_z = jax.random.split(key)
            rows: Any = self._space() if self.base is None else None
            if self.base is not None:
                keys = jax.random.split(key_x, self.num_proposals)
                rows = self._drawn(keys, None if self.shared else label)
            return rows[kernels.categorical(key_z, self._tilt(rows)[:, label])]

        def block(rows, labels):
            return jax.vmap(one)(jax.vmap(jax.random.fold_in, (None, 0))(key, rows), labels)

        cost = self.row_cost * (len(self._space()) if self.base is None else self.num_proposals)
        rows = kernels.map_rows(block, jnp.arange(labels.size), labels, row_cost=cost)
        return rows.reshape(*at[0].shape, self.num_features)

    def discriminative(self) -> tuple[Float[Array, " k"], NetworkLogDensity]:
        """Discriminative twin: a bias (k,) of 0 and a scorer of log p(x | y), which has exactly the same posterior."""
        return jnp.zeros(self.label_shape, self.bias.dtype), NetworkLogDensity(self)

    def _score(self, x, log_normalizer):
        """Log-densities (n, k); of a row without cells 0, and NaN for one that misses some."""
        if self.complete:
            return self._tilt(x) - log_normalizer + self._log_base(x)
        empty, missing = _shared.no_cells(x, self.complete), jnp.isnan(x).any(-1)
        filled = jnp.where(missing[:, None], 0, x)
        scores = self._tilt(filled) - log_normalizer + self._log_base(filled)
        return jnp.where(empty[:, None], 0, jnp.where(missing[:, None], jnp.nan, scores))

    def _tilt(self, x):
        """Tilts t_y(x) (n, k) of complete rows."""
        return self.bias + self.bound * jnp.tanh(self.scorer.scores(x) / self.bound)

    def _log_base(self, x):
        """Log-density of the base (n, k), or (n, 1) where labels share it; of a space without one 0."""
        if self.base is None:
            return jnp.zeros((len(x), 1), self.bias.dtype)
        return jax.lax.stop_gradient(self.base).scores(x).reshape(len(x), -1)

    def _drawn(self, keys, label=None, base=None):
        """Draws of the base (n, d), one for each key (n,), under a label, one for all or (n,), where it has some."""
        base = jax.lax.stop_gradient(self.base if base is None else base)
        if self.shared:
            at = (jnp.zeros((), int),) * len(base.label_shape)
            return jax.vmap(lambda key: base.sample(key, at))(keys)
        labels = jnp.broadcast_to(jnp.asarray(label), keys.shape)
        return jax.vmap(lambda key, label: base.sample(key, (label,)))(keys, labels)

    def _space(self):
        """Points (m, d) of a finite space, or of a grid, where there is no base."""
        return jax.lax.stop_gradient(cast(Array, self.points))

    def _log_mean(self, logs):
        """Log Z_y (k,) from the tilts of draws (s, k), exactly 0 where all are; of points their sum."""
        highest = jax.lax.stop_gradient(logs.max(0))
        mean = highest + jnp.log(jnp.exp(logs - highest).mean(0))
        return mean if self.base is not None else mean + math.log(len(logs) * self.volume)


def _single(leaf: Array) -> Array:
    return leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _of_points(points: Array) -> tuple[Support, ...]:
    """Supports of the columns of a finite space: whole numbers where all points are."""
    if not is_concrete(points) or (np.asarray(points) != np.floor(points)).any():
        return (FINITE,) * points.shape[-1]
    low, high = (np.asarray(own).tolist() for own in (np.min(points, 0), np.max(points, 0)))
    words = "a whole number from {:g} to {:g}"
    return tuple(Support(words.format(*ends), *ends, whole=True) for ends in zip(low, high, strict=True))


def _check_labels(tilted):
    """Raises ValueError unless base or points, and scorer, are of the same columns and labels."""
    base, shape = tilted.base, tilted.label_shape
    if (base is None) != (tilted.points is not None):
        given = "neither" if base is None else "both"
        raise ValueError(
            "Tilted expects a base, or base=None and points (m, d), every row of a finite space; got "
            f"{given}. Type dgjax.tilted(key, base, x)."
        )
    if base is not None:
        expect_part(tilted, "base", Density, "a density, such as a fitted Mixture")
        expect_rows(tilted, base, "density")
    labels = () if base is None else base.label_shape
    if len(shape) != 1 or labels not in ((), (1,), shape):
        raise ValueError(
            f"Tilted expects a scorer with labels (k,), and a base of one label or of as many; got {shape} and "
            f"{labels}. A mixture of components is a base as a whole: type dgjax.Mixture(log_weights, base)."
        )
    if tilted.scorer.num_features not in (None, tilted.num_features):
        raise ValueError(
            f"Tilted expects a scorer of the base's {tilted.num_features} columns; got one of "
            f"{tilted.scorer.num_features}."
        )


def _check_share(tilted):
    """Raises LowEffectiveSampleSize where a wide bound leaves fewer effective draws than 1 %."""
    share = float(np.min(jax.device_get(_share(tilted))))
    if not share >= LEAST_SHARE:
        raise LowEffectiveSampleSize(
            f"of the {tilted.num_samples} draws of the base, {share:.2%} carry the weight of the tilt, and its "
            f"normaliser is not known by fewer than {LEAST_SHARE:.0%}. Type bound={BOUND:.4g}, by which there are "
            f"never fewer, in place of bound={tilted.bound:.4g}, a base nearer to the rows, such as a mixture of more "
            "components, or validation=0.1 in dgjax.Optax, which ends the fit before."
        )


@kernels.compiled_once
def _share(tilted: Tilted) -> Array:
    return tilted.effective_share()


@kernels.compiled_once
def _normalizer(tilted: Tilted) -> Array:
    """Log Z_y (k,) from the parameters; NaN where too few draws are effective, for inside jit nothing is raised."""
    found = dataclasses.replace(tilted, log_normalizer=None)
    return jnp.where(found.effective_share() >= LEAST_SHARE, found.normalizer(), jnp.nan)
