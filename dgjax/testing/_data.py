"""Random data for checking laws: rows in their columns' supports, missing cells and labels, every label."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import dgjax as dg
from dgjax.testing._compare import precision

MOST_LABELS = 4096
"""Paths of a sequence, or rows of discrete columns, that a law goes through one by one."""


class Sample(NamedTuple):
    """Data of a law: rows (n, d) or sequences (n, t, d), their labels, and for sequences their lengths."""

    x: Any
    y: Any
    lengths: Any = None

    def some_missing(self, seed: int = 0, share: float = 0.3) -> "Sample":
        """The sample with a random share of cells missing; in row 1 all of them."""
        mask = np.random.default_rng(seed).random(self.x.shape) < share
        mask[1] = True
        return self._replace(x=with_missing(self.x, mask))

    def some_unknown(self, seed: int = 0, share: float = 0.4) -> "Sample":
        """The sample with a random share of labels unknown; in row 0 none, in row 1 all."""
        unknown = np.random.default_rng(seed).random(np.shape(self.y)) < share
        unknown[0], unknown[1] = False, True
        return self._replace(y=jnp.where(unknown, -1, self.y))


def with_missing(x: Any, mask: Any) -> Any:
    """Rows with NaN where the mask is True."""
    return jnp.asarray(np.where(mask, np.nan, x), x.dtype)


def takes_missing(model: Any) -> bool:
    """Whether a model is generative and of cells that may be missing, of which some densities take none."""
    return is_generative(model) and all(support.missing for support in model.as_model().supports)


def is_generative(model: Any) -> bool:
    """Whether a model is generative: knows p(x, y), not only p(y | x)."""
    return bool(model.as_model().generative)


def random_sample(model: Any, seed: int = 0, num_rows: int = 12, num_steps: int = 3) -> Sample:
    """Random rows or sequences with labels, in the columns' supports.

    Samples of a generative model; for others random cells.
    """
    lifted, key = model.as_model(), jax.random.key(seed)
    steps = (num_steps,) if lifted.sequential else ()
    if is_generative(model):
        x, y = dg.sample(model, key, (num_rows, *steps))
    else:
        cells = random_rows(lifted.supports, lifted.num_features, np.random.default_rng(seed), (num_rows, *steps))
        x = jnp.asarray(cells, precision(model))
        y = dg.sample_labels(model, key, x)
    if not steps:
        return Sample(x, y)
    lengths = np.arange(num_rows) % num_steps + 1
    if y.ndim == 1:
        return Sample(x, y, jnp.asarray(lengths))
    return Sample(x, jnp.where(np.arange(num_steps) < lengths[:, None], y, -1), jnp.asarray(lengths))


def random_rows(
    supports: Sequence[Any], num_features: int | None, rng: np.random.Generator, shape: tuple[int, ...]
) -> np.ndarray:
    """Random rows (*shape, d) within their columns' supports; 5 columns where `num_features` is None."""
    num_features = 5 if num_features is None else num_features
    each = tuple(supports) * (num_features if len(supports) == 1 else 1)
    columns = [_random_cells(own, rng, shape) for own in each]
    return np.stack(columns, -1)


def _random_cells(support: Any, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    low, high = support.low, support.high
    if np.isfinite(low) and np.isfinite(high):
        return rng.integers(int(low), int(high) + 1, shape) if support.whole else rng.uniform(low, high, shape)
    drawn = rng.poisson(2.0, shape) if support.whole else rng.exponential(1.0, shape)
    if np.isfinite(low):
        return low + drawn
    return high - drawn if np.isfinite(high) else rng.normal(size=shape)


def every_row(supports: Sequence[Any]) -> np.ndarray | None:
    """Every possible row (m, d) of discrete columns; None if a column is not discrete, or m exceeds MOST_LABELS."""
    if not all(own.whole and np.isfinite([own.low, own.high]).all() for own in supports):
        return None
    values = [np.arange(int(own.low), int(own.high) + 1) for own in supports]
    if np.prod([float(len(own)) for own in values]) > MOST_LABELS:
        return None
    return np.array(list(itertools.product(*values)), float)


def every_label(model: Any, sample: Sample) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every possible label y (n,), or path (n, t), each with a mask (n,) of the rows it counts for.

    Beyond the length of a sequence only state 0 counts, so that no path occurs twice.
    """
    k, steps = model.as_model().num_labels, np.shape(sample.y)[1:]
    expected = k ** (steps[0] if steps else 1)
    if expected > MOST_LABELS:
        raise ValueError(f"laws go through at most {MOST_LABELS} labels one by one; got {expected}: take fewer steps.")
    n, found = len(sample.x), []
    for values in itertools.product(range(k), repeat=steps[0] if steps else 1):
        label = np.broadcast_to(np.reshape(values, steps), (n, *steps))
        beyond = _beyond(sample, label)
        found.append((label, ~(beyond & (label != 0)).reshape(n, -1).any(-1)))
    return found


def _beyond(sample: Sample, label: np.ndarray) -> np.ndarray:
    if sample.lengths is None or label.ndim == 1:
        return np.zeros(label.shape, bool)
    return np.arange(label.shape[1]) >= np.asarray(sample.lengths)[:, None]


def label_indicators(y: Any, num_labels: int) -> np.ndarray:
    """One-hot labels (..., k) from y (...) of 0 to k - 1, k being `num_labels`; all 0 for others, as -1 for unknown."""
    return (np.asarray(y)[..., None] == np.arange(num_labels)).astype(float)
