"""Tiny models of every family, with rows and priors for them: what is held against the oracle."""

import zlib

import numpy as np
import pytest

import dgjax as dg
from dgjax import priors

N, K = 8, 2


def triangles(rng, *shape):
    diagonal = np.exp(0.3 * rng.normal(size=shape[:-1]))
    return np.tril(rng.normal(size=shape) * 0.4, -1) + diagonal[..., None] * np.eye(shape[-1])


def reals(rng, n, d):
    return rng.normal(size=(n, d)) * 1.5


def counts(rng, n, d):
    return rng.poisson(3.0, size=(n, d)) * 1.0


def bits(rng, n, d):
    return rng.integers(0, 2, size=(n, d)) * 1.0


def categories(rng, n, d):
    return rng.integers(0, 3, size=(n, d)) * 1.0


def side_by_side(rng, n, _):
    return np.concatenate([counts(rng, n, 1), reals(rng, n, 2), bits(rng, n, 1)], axis=1)


def mixed(rng):
    parts = (
        dg.Gaussian(rng.normal(size=(K, 2)), triangles(rng, K, 2, 2)),
        dg.Poisson(rng.normal(size=(K, 1))),
        dg.Bernoulli(rng.normal(size=(K, 1))),
    )
    return dg.Columns(parts, columns=((2, 1), (0,), (3,)))


def nested(rng, scale_axes):
    # Broad and close together: no component may take fewer rows than its covariance needs.
    inner = dg.Gaussian(rng.normal(size=(K, 2, 2)) * 0.3, 2 * triangles(rng, *(K, 2)[:scale_axes], 2, 2))
    return dg.Mixture(rng.normal(size=(K, 2)) * 0.3, inner)


def factors(rng, scales):
    return dg.FactorGaussian(rng.normal(size=(K, 3)), rng.normal(size=(K, 3, 1)), rng.normal(size=(K, scales)) * 0.3)


DENSITIES = {
    "full": (reals, 2, lambda r: dg.Gaussian(r.normal(size=(K, 2)), triangles(r, K, 2, 2))),
    "tied": (reals, 2, lambda r: dg.Gaussian(r.normal(size=(K, 2)), triangles(r, 2, 2))),
    "diagonal": (reals, 2, lambda r: dg.DiagonalGaussian(r.normal(size=(K, 2)), r.normal(size=(K, 2)) * 0.3)),
    "diagonal tied": (reals, 2, lambda r: dg.DiagonalGaussian(r.normal(size=(K, 2)), r.normal(size=2) * 0.3)),
    "spherical": (reals, 2, lambda r: dg.DiagonalGaussian(r.normal(size=(K, 2)), r.normal(size=(K, 1)) * 0.3)),
    "spherical tied": (reals, 2, lambda r: dg.DiagonalGaussian(r.normal(size=(K, 2)), r.normal(size=1) * 0.3)),
    "factors": (reals, 3, lambda r: factors(r, 3)),
    "probabilistic PCA": (reals, 3, lambda r: factors(r, 1)),
    "bernoulli": (bits, 3, lambda r: dg.Bernoulli(r.normal(size=(K, 3)))),
    "categorical": (categories, 3, lambda r: dg.Categorical(r.normal(size=(K, 3, 3)))),
    "poisson": (counts, 3, lambda r: dg.Poisson(r.normal(size=(K, 3)) * 0.5 + 1)),
    "multinomial": (counts, 3, lambda r: dg.Multinomial(r.normal(size=(K, 3)), total_count=6)),
    "columns": (side_by_side, 4, mixed),
    "nested": (reals, 2, lambda r: nested(r, 2)),
    "nested, shared in each class": (reals, 2, lambda r: nested(r, 1)),
    "nested, shared by all": (reals, 2, lambda r: nested(r, 0)),
    "nested categories": (
        categories,
        3,
        lambda r: dg.Mixture(r.normal(size=(K, 2)), dg.Categorical(r.normal(size=(K, 2, 3, 3)))),
    ),
    "columns with a mixture": (
        side_by_side,
        4,
        lambda r: dg.Columns(
            (dg.Poisson(r.normal(size=(K, 1))), nested(r, 2), dg.Bernoulli(r.normal(size=(K, 1)))),
        ),
    ),
}


RARE = {
    "tied",
    "probabilistic PCA",
    "nested, shared in each class",
    "diagonal tied",
    "spherical tied",
    "nested, shared by all",
    "nested categories",
    "columns with a mixture",
}
FAMILIES = [pytest.param(name, marks=pytest.mark.slow) if name in RARE else name for name in DENSITIES]


def random_of(*names):
    return np.random.default_rng(zlib.crc32(" ".join(names).encode()))


def model_of(name):
    rng = random_of(name)
    return dg.Mixture(rng.normal(size=K) * 0.5, DENSITIES[name][2](rng))


EMPTY_ROW = 2
HOLES = np.zeros((N, 4), bool)
HOLES[[2, 2, 2, 2, 4, 1, 7, 0, 3, 5, 6], [0, 1, 2, 3, 0, 1, 0, 2, 2, 3, 3]] = True


def rows_of(name, holes="some"):
    """Rows of the family; with "some" holes every class keeps what it needs for a maximum, with "many" it may not."""
    draw, d, _ = DENSITIES[name]
    rng = random_of(name, "rows")
    x = draw(rng, N, d)
    if holes == "some":
        x[HOLES[:, :d]] = np.nan
    elif holes == "many":
        x[rng.random(x.shape) < 0.4] = np.nan
        x[EMPTY_ROW] = np.nan
    return x


def prior_of(density, rng):
    """A conjugate prior with no round number in it."""
    d = 2
    match type(density).__name__:
        case "Gaussian":
            factor = triangles(rng, d, d)
            return priors.NormalInverseWishart(rng.normal(size=d), 0.7, factor @ factor.T, d + 1.3)
        case "DiagonalGaussian":
            rate = rng.random(density.log_scale.shape[-1]) + 0.5
            return priors.NormalInverseGamma(rng.normal(size=d), 0.7, 1.9, rate)
        case "FactorGaussian":
            rate = rng.random(density.log_scale.shape[-1]) + 0.5
            return priors.FactorPrior(rng.normal(size=3), 0.7, 0.4, 1.9, rate, loading=[0.3])
        case "Bernoulli":
            return priors.Beta(1 + rng.random(density.logits.shape[-1]), 1.6)
        case "Poisson":
            return priors.Gamma(1 + rng.random(density.log_rate.shape[-1]), 0.8)
        case "Columns":
            return priors.ColumnsPrior(tuple(prior_of(block, rng) for block in density.blocks))
        case "Mixture":
            size = density.log_weights.shape[-1]
            return priors.MixturePrior(priors.Dirichlet(1 + rng.random(size)), prior_of(density.density, rng))
    return priors.Dirichlet(1 + rng.random(density.logits.shape[-1]))
