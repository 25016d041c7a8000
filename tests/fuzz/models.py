"""Models with random parameters, near the edges of what they may be too, and rows drawn from them in NumPy."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from oracle import kind as name_of, numbers, shared
from scipy.special import log_softmax, softmax

import dgjax as dg

MOST_RATE = 9.0


@dataclass(frozen=True)
class Kind:
    """`make(rng, d, *labels)` is a density; `widths` are the numbers of columns that it is made for."""

    make: Callable
    widths: tuple[int, ...] = (1, 3)
    nested: bool = False


def units(rng, d):
    """Where a column lies and how wide it is, as far apart as float32 tells its cells from one another."""
    scale = 10.0 ** rng.integers(-3, 4, d) if rng.random() < 0.4 else np.ones(d)
    offset = rng.choice([0, 0, 1, 100, -300], d) * scale
    return offset, scale


def factor(rng, d, *labels):
    """Lower triangles with condition numbers up to a thousand."""
    tightness = rng.choice([0.3, 0.3, 1.5])
    lower = np.tril(rng.normal(0, 0.6, (*labels, d, d)), -1)
    return lower + np.eye(d) * np.exp(rng.normal(0, tightness, (*labels, d)))[..., None]


def means(rng, d, *labels):
    return rng.normal(0, rng.choice([0.5, 2.0, 10.0]), (*labels, d))


def full(rng, d, *labels, shares=None):
    offset, scale = units(rng, d)
    L = factor(rng, d, *(labels if shares is None else labels[:shares]))
    return dg.Gaussian(offset + scale * means(rng, d, *labels), scale[:, None] * L)


def diagonal(rng, d, *labels, columns=None, shares=None):
    offset, scale = units(rng, d)
    if columns == 1:
        offset, scale = offset * 0, scale * 0 + scale[0]
    shape = *(labels if shares is None else labels[:shares]), d if columns is None else columns
    log_scale = rng.normal(0, 0.7, shape) + np.log(scale)[: shape[-1]]
    return dg.DiagonalGaussian(offset + scale * means(rng, d, *labels), log_scale)


def bernoulli(rng, d, *labels):
    return dg.Bernoulli(rng.normal(0, rng.choice([1.0, 1.0, 15.0]), (*labels, d)))


def categorical(rng, d, *labels):
    """Four categories; the first column has three, and any may be impossible for a label."""
    logits = rng.normal(0, rng.choice([1.0, 1.0, 8.0]), (*labels, d, 4))
    if rng.random() < 0.3:
        logits[rng.random(logits.shape) < 0.1] = -np.inf
        logits[..., 1] = np.maximum(logits[..., 1], -1.0)
    logits[..., 0, 3] = -np.inf
    return dg.Categorical(logits)


def poisson(rng, d, *labels):
    return dg.Poisson(np.minimum(rng.normal(1, rng.choice([0.7, 0.7, 4.0]), (*labels, d)), MOST_RATE))


def multinomial(rng, d, *labels):
    return dg.Multinomial(rng.normal(0, rng.choice([1.0, 4.0]), (*labels, d)), int(rng.choice([1, 7, 40])))


def columns(rng, d, *labels):
    del d
    parts = full(rng, 2, *labels), poisson(rng, 1, *labels), bernoulli(rng, 1, *labels)
    return dg.Columns(parts, ((3, 0), (1,), (2,)))


def weights(rng, *labels):
    """Of components; one in ten is off."""
    logs = rng.normal(0, 1, labels)
    if rng.random() < 0.1 and labels[-1] > 1:
        logs[..., 0] = -np.inf
    return logs


def within(make):
    """A mixture of two in each label."""
    return lambda rng, d, *labels: dg.Mixture(weights(rng, *labels, 2), make(rng, d, *labels, 2))


def columns_with_a_mixture(rng, d, *labels):
    del d
    return dg.Columns((within(bernoulli)(rng, 2, *labels), within(full)(rng, 2, *labels), poisson(rng, 1, *labels)))


DENSITIES = {
    "full": Kind(full),
    "tied": Kind(lambda rng, d, *labels: full(rng, d, *labels, shares=0)),
    "diagonal": Kind(diagonal),
    "diagonal tied": Kind(lambda rng, d, *labels: diagonal(rng, d, *labels, shares=0)),
    "spherical": Kind(lambda rng, d, *labels: diagonal(rng, d, *labels, columns=1)),
    "Bernoulli": Kind(bernoulli),
    "categorical": Kind(categorical),
    "Poisson": Kind(poisson),
    "multinomial": Kind(multinomial),
    "columns": Kind(columns, (4,)),
    "full, mixture": Kind(within(full), nested=True),
    "full, shared in the class": Kind(within(lambda *given: full(*given, shares=1)), nested=True),
    "diagonal, mixture": Kind(within(diagonal), nested=True),
    "Bernoulli, mixture": Kind(within(bernoulli), nested=True),
    "categorical, mixture": Kind(within(categorical), nested=True),
    "Poisson, mixture": Kind(within(poisson), nested=True),
    "columns with a mixture": Kind(columns_with_a_mixture, (5,), nested=True),
}
STATES = ("full", "tied", "diagonal", "Bernoulli", "categorical", "Poisson", "columns", "full, mixture")
SCORERS = ("linear", "quadratic", "indicator")


def generative(rng, name, d, k, dtype):
    """A mixture of k labels; of one label sometimes the density as it is."""
    density = DENSITIES[name].make(rng, d, k)
    return cast(density if k == 1 and rng.random() < 0.5 else dg.Mixture(weights(rng, k), density), dtype)


def zeros(rng, *shape):
    """Logarithms, some of them of 0; one in each row is not."""
    logs = rng.normal(0, 1.5, shape)
    logs[rng.random(shape) < 0.3] = -np.inf
    at = rng.integers(shape[-1], size=shape[:-1])
    np.put_along_axis(logs, at[..., None], 0.0, -1)
    return logs


def chain(rng, k, structural):
    if structural:
        return zeros(rng, k), zeros(rng, k, k)
    return rng.normal(0, 1, k), rng.normal(0, 1, (k, k)) + rng.choice([0, 3]) * np.eye(k)


def hidden_markov(rng, name, d, k, dtype, structural):
    return cast(dg.HiddenMarkov(*chain(rng, k, structural), DENSITIES[name].make(rng, d, k)), dtype)


def scorer(rng, name, d, k):
    size = rng.choice([0.5, 3.0])
    match name:
        case "linear":
            return dg.Linear(rng.normal(0, size, (k, d)))
        case "quadratic":
            return dg.Quadratic(rng.normal(0, size, (k, d)), rng.normal(0, size, (k, d * (d + 1) // 2)))
    return dg.Indicators(rng.normal(0, size, (k, 7)))


def logistic(rng, name, d, k, dtype):
    rows = 1 if k == 2 else k
    return cast(dg.Logistic(rng.normal(0, 1, rows), scorer(rng, name, d, rows)), dtype)


def crf(rng, name, d, k, dtype, structural):
    return cast(dg.LinearChainCRF(*chain(rng, k, structural), scorer(rng, name, d, k)), dtype)


def cast(model, dtype):
    """In this precision, with arrays that hold no more than it can."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), dtype), model)


def draw(density, label, rng):
    """A row from p(x | label)."""
    match name_of(density):
        case "Gaussian":
            mean = numbers(density.mean)[label]
            return mean + np.tril(shared(density.scale_tril, label, 2)) @ rng.normal(size=len(mean))
        case "DiagonalGaussian":
            mean = numbers(density.mean)[label]
            return mean + np.exp(shared(density.log_scale, label, 1)) * rng.normal(size=len(mean))
        case "Bernoulli":
            return (rng.logistic(size=density.logits.shape[-1]) < numbers(density.logits)[label]) * 1.0
        case "Categorical":
            return np.array([pick(rng, logits) for logits in numbers(density.logits)[label]], float)
        case "Poisson":
            return rng.poisson(np.exp(numbers(density.log_rate)[label])) * 1.0
        case "Multinomial":
            return rng.multinomial(int(rng.choice([0, 1, 6, 40])), softmax(numbers(density.logits)[label])) * 1.0
        case "Columns":
            row = np.zeros(density.num_features)
            for block, at in zip(density.blocks, density.columns, strict=True):
                row[list(at)] = draw(block, label, rng)
            return row
    return draw(density.density, (*label, pick(rng, numbers(density.log_weights)[label])), rng)


def pick(rng, logits):
    return int(rng.choice(len(logits), p=np.exp(log_softmax(logits))))


def draw_rows(rng, model, n):
    """Rows of a mixture, or of a density with one label, and their labels."""
    if not model.label_shape:
        y = [pick(rng, numbers(model.log_weights)) for _ in range(n)]
        density = model.density
    else:
        y, density = [0] * n, model
    x = np.array([draw(density, (label,), rng) for label in y]).reshape(n, density.num_features)
    return x, np.array(y, int).reshape(n)


def draw_paths(rng, model, n, t):
    """Sequences (n, t, d) and their states."""
    initial, transition = numbers(model.log_initial), numbers(model.log_transition)
    y = np.zeros((n, t), int)
    for path in y:
        path[0] = pick(rng, initial)
        for s in range(1, t):
            path[s] = pick(rng, transition[path[s - 1]])
    x = np.array([draw(model.density, (state,), rng) for state in y.ravel()])
    return x.reshape(n, t, model.num_features), y
