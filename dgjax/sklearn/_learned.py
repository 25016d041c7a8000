"""Learned densities, by networks: one class for all kinds, and one for their classifiers."""

import functools
from typing import Any

import jax
import optax

import dgjax as dg
from dgjax.sklearn._base import DensityEstimator, Estimator, GenerativeClassifier, key_of


def _autoencoder(key, x, labels, k, options):
    del labels
    return dg.variational_autoencoder(
        key, x.shape[1], num_classes=k, **{"latent_dim": 2, "likelihood": "gaussian"} | options
    )


def _autoregressive(key, x, labels, k, options):
    return dg.autoregressive(key, x, labels, num_classes=k, **options)


def _flow(key, x, labels, k, options):
    return dg.normalizing_flow(key, x, labels, num_classes=k, **options)


def _diffusion(key, x, labels, k, options):
    return dg.diffusion(key, x, labels, num_classes=k, **options)


def _tilted(key, x, labels, k, options):
    """A tilt of the model `base`, or else of a mixture of `num_components` normal densities, fitted here."""
    options = {"base": None, "num_components": 1} | options
    base, num = options.pop("base"), options.pop("num_components")
    if base is None:
        base = dg.fit(dg.gaussian_mixture(jax.random.fold_in(key, 2), x, num), x, prior="weak").model
    return dg.tilted(key, base, x, labels, num_classes=k, **options)


STARTS = {
    "autoencoder": _autoencoder,
    "autoregressive": _autoregressive,
    "diffusion": _diffusion,
    "flow": _flow,
    "tilted": _tilted,
}
"""Starters of learned densities: of a key, rows, labels or None, the number of classes or None, and options."""


COMPLETE = "flow", "tilted"
"""Kinds that need every cell."""


class Steps:
    """Fit by minibatches of Adam, with the options of scikit-learn's networks."""

    learning_rate_init: float
    batch_size: int
    max_iter: int
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int

    def _by_steps(self, key: jax.Array, n: int) -> dict[str, Any]:
        """Arguments of `dgjax.fit` for so many epochs of n rows."""
        held = (
            {"validation": self.validation_fraction, "patience": self.n_iter_no_change} if self.early_stopping else {}
        )
        size = min(self.batch_size, n)
        method = dg.Optax(_adam(self.learning_rate_init), size, jax.random.fold_in(key, 1), **held)
        return {"method": method, "max_steps": self.max_iter * -(-(n - round(held.get("validation", 0) * n)) // size)}


@functools.cache
def _adam(rate):
    """Optimizer of a rate, always one: a program of steps is of its functions."""
    return optax.adam(rate)


class _Learned(Steps, Estimator):
    """Learned density of a `kind`, by what `dgjax` starts and `options` of the starter."""

    def __init__(
        self,
        kind: str = "autoregressive",
        *,
        options: Any = None,
        learning_rate_init: float = 1e-3,
        batch_size: int = 64,
        max_iter: int = 200,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: Any = None,
    ) -> None:
        self.kind = kind
        self.options = options
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.kind not in COMPLETE
        return tags

    def _of_kind(self, x, labels, k, weights):
        if self.kind not in STARTS:
            raise ValueError(f"kind must be one of {sorted(STARTS)}; got {self.kind!r}.")
        key = key_of(self.random_state)
        start = STARTS[self.kind](key, x, labels, k, dict(self.options or {}))
        data = (x,) if labels is None else (x, labels)
        return self._fitted(start, *data, weights=weights, **self._by_steps(key, len(x)))


class LearnedDensity(_Learned, DensityEstimator):
    """Density by a network: `kind` "autoregressive", "autoencoder", "diffusion", "flow" or "tilted".

    Cells may be missing but for flows and tilts. `options` are arguments of `dgjax.autoregressive`,
    `dgjax.variational_autoencoder`, `dgjax.diffusion`, `dgjax.normalizing_flow` or `dgjax.tilted`, in a dict; a tilt's
    `base` is by default a mixture of `num_components` normal densities, 1, of the same rows. It is learnt by
    minibatches of Adam: `learning_rate_init`, `batch_size`, `max_iter`, in epochs, and `early_stopping` with
    `validation_fraction` and `n_iter_no_change` are scikit-learn's.
    """

    def _learnt(self, x, weights):
        return self._of_kind(x, None, None, weights)


class LearnedClassifier(_Learned, GenerativeClassifier):
    """Classifier by a learned density p(x, y) of a `kind`: that of `LearnedDensity`.

    Labels may be missing, and cells but for flows and tilts. `options` are arguments of `dgjax.autoregressive`,
    `dgjax.variational_autoencoder`, `dgjax.diffusion`, `dgjax.normalizing_flow` or `dgjax.tilted`, in a dict; a tilt's
    `base` is by default a mixture of `num_components` normal densities, 1, of the same rows. It is learnt by
    minibatches of Adam: `learning_rate_init`, `batch_size`, `max_iter`, in epochs, and `early_stopping` with
    `validation_fraction` and `n_iter_no_change` are scikit-learn's.
    """

    def _learnt(self, x, labels, weights):
        return self._of_kind(x, labels, len(self.classes_), weights)
