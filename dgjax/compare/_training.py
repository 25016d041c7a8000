"""Training data of a contestant, and the fitted contestant."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

import dgjax as dg
from dgjax.compare._dataset import Dataset
from dgjax.compare._encode import Encoder, View, fit_encoder
from dgjax.compare._plan import Plan


@dataclass(frozen=True)
class Training:
    """Training data: raw rows x (n, d), labels y (n,), -1 unknown; padded to `size` rows for compilation.

    `strength` is the strength of regularisation: rows of the prior of each class, or the penalty of a logistic model.
    """

    dataset: Dataset
    x: np.ndarray
    y: np.ndarray
    size: int
    seed: int
    encoder: Encoder
    strength: float = 1.0

    @property
    def num_classes(self) -> int:
        """Number of classes to tell apart."""
        return len(self.dataset.classes)

    @property
    def ridge(self) -> dg.priors.Ridge:
        """Ridge prior of a logistic model, by the strength of regularisation."""
        return dg.priors.Ridge(jnp.asarray(self.strength))

    @property
    def weights(self) -> np.ndarray:
        """Weights (size,): 1 for each row and 0 for the padding."""
        return (np.arange(self.size) < len(self.x)).astype(np.float32)

    @property
    def labels(self) -> np.ndarray:
        """Labels (size,), padded."""
        return self.padded(self.y).astype(np.int32)

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """Padding of rows up to `size`, by those from the start, whose weight is then 0."""
        return rows[np.arange(self.size) % len(rows)]

    def view(self, view: View, filled: bool) -> np.ndarray:
        """Encoding of the rows (size, f) as a model takes them, padded by complete rows: missing cells cost time."""
        spare = self.padded(self.x)[len(self.x) :]
        rows = [self.encoder.view(self.x, view, filled)]
        return np.concatenate([*rows, self.encoder.view(spare, view, filled=True)] if len(spare) else rows)


def make_training(dataset: Dataset, x: np.ndarray, y: np.ndarray, size: int, seed: int) -> Training:
    """Training data, with the encoder that these rows, and no others, give."""
    return Training(dataset, x, y, size, seed, fit_encoder(dataset.table(x), dataset))


Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fitted:
    """A fitted contestant: raw rows (m, d) in, log-probabilities (m, k) out.

    `log_proba` takes missing cells as the contestant does by itself, `filled` after mean imputation, and `log_prob`
    is log p(x) (m,) where there is one. Of sequences x is (m,) arrays of steps, and log-probabilities are those of all
    their steps in turn; `encoded` takes them encoded and padded (m, t, f), with their lengths (m,). Of texts x is (m,)
    of str; `draw` takes a class, a number of texts and a seed to so many new texts of that class. `density` is
    `log_prob` of any model that takes what the fitted one takes.
    """

    log_proba: Predict
    filled: Predict
    parameters: int
    seconds: float
    log_prob: Predict | None = None
    model: Any = None
    view: View = "features"
    encoder: Encoder | None = None
    encoded: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    density: Callable[[Any], Predict] | None = None
    draw: Callable[[int, int, int], list[str]] | None = None


def in_blocks(predict: Predict, sizes: tuple[int, ...]) -> Predict:
    """Function `predict`, called on blocks of exactly one of these sizes, so that it is compiled for no others."""

    def blocked(x: np.ndarray) -> np.ndarray:
        size = next((size for size in sorted(sizes) if size >= len(x)), max(sizes))
        padded = x[np.minimum(np.arange(-(-len(x) // size) * size), len(x) - 1)]
        blocks = [predict(block).astype(float) for block in padded.reshape(-1, size, *x.shape[1:])]
        return np.concatenate(blocks)[: len(x)]

    return blocked


def wrapped(model: Any, training: Training, plan: Plan, view: View, seconds: float) -> Fitted:
    """Fitted contestant from a fitted model."""
    encoder = training.encoder
    filled = prediction(dg.predict_log_proba, model, encoder, view, plan, filled=True)
    exact = prediction(dg.predict_log_proba, model, encoder, view, plan)
    return Fitted(
        log_proba=exact if model.generative else filled,
        filled=filled,
        parameters=int(dg.num_parameters(model)),
        seconds=seconds,
        log_prob=prediction(dg.log_prob, model, encoder, view, plan),
        model=model,
        view=view,
        encoder=encoder,
        density=lambda other: prediction(dg.log_prob, other, encoder, view, plan),
    )


def prediction(verb: Callable, model: Any, encoder: Encoder, view: View, plan: Plan, filled: bool = False) -> Predict:
    """Function of raw rows that asks a verb of a model, on rows encoded in a view."""
    sizes = (plan.missing_test_rows, plan.test_rows)
    return in_blocks(lambda x: np.asarray(verb(model, encoder.view(x, view, filled))), sizes)
