"""One table of models. Every law runs on every row; a new family is a new row."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import dgjax as dg

N, D, K, M = 12, 3, 3, 2


@dataclass(frozen=True)
class Case:
    """Makes a model at random; `closed_form` where labels leave nothing hidden, `fixed` what is not trained."""

    name: str
    make: Callable[[np.random.Generator], Any]
    closed_form: bool = True
    fixed: tuple[str, ...] = ()

    def model(self, dtype: Any, seed: int = 0) -> Any:
        model = self.make(np.random.default_rng(seed))
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), model)

    def rows(self, dtype: Any, seed: int = 0, n: int = N) -> tuple[Any, Any]:
        return dg.sample(self.model(dtype), jax.random.key(seed), n)

    def __repr__(self) -> str:
        return self.name


def _factor(rng, *shape):
    """Cholesky factors of covariances with condition numbers up to some tens."""
    lower = np.tril(rng.normal(0, 0.5, (*shape, D, D)), -1)
    return lower + np.eye(D) * np.exp(rng.normal(0, 0.4, (*shape, D)))[..., None]


def _full(rng, *labels):
    return dg.Gaussian(rng.normal(0, 1.5, (*labels, D)), _factor(rng, *labels))


def _diagonal(rng, columns):
    return dg.DiagonalGaussian(rng.normal(0, 1, (K, D)), rng.normal(0, 0.4, (K, columns)))


def _factors(rng, labels, scales):
    """One or two factors of D columns."""
    shapes, r = (labels, D), min(labels, 2)
    loading, log_scale = rng.normal(0, 1, (*shapes, r)), rng.normal(0, 0.3, (labels, scales))
    return dg.FactorGaussian(rng.normal(0, 1, shapes), loading, log_scale)


def _mixture(rng, density):
    return dg.Mixture(rng.normal(0, 0.5, density.label_shape), density)


def _categorical(rng, *labels):
    logits = rng.normal(0, 1, (*labels, D, 4))
    logits[..., 0, 3] = -np.inf
    return dg.Categorical(logits)


def _columns(rng):
    blocks = (
        dg.Gaussian(rng.normal(0, 1, (K, 2)), np.eye(2) + np.tril(rng.normal(0, 0.3, (K, 2, 2)), -1)),
        dg.Poisson(rng.normal(1, 0.5, (K, 1))),
        dg.Bernoulli(rng.normal(0, 1, (K, 1))),
    )
    return dg.Columns(blocks, ((3, 0), (1,), (2,)))


ZOO = [
    Case("one Gaussian", lambda rng: dg.Gaussian(rng.normal(0, 1, (1, D)), _factor(rng, 1))),
    Case("full", lambda rng: _mixture(rng, _full(rng, K))),
    Case("tied", lambda rng: _mixture(rng, dg.Gaussian(rng.normal(0, 1, (K, D)), _factor(rng)))),
    Case("diagonal", lambda rng: _mixture(rng, _diagonal(rng, D))),
    Case("spherical", lambda rng: _mixture(rng, _diagonal(rng, 1))),
    Case("factors", lambda rng: _mixture(rng, _factors(rng, K, D)), closed_form=False),
    Case("probabilistic PCA", lambda rng: _factors(rng, 1, 1), closed_form=False),
    Case("Bernoulli", lambda rng: _mixture(rng, dg.Bernoulli(rng.normal(0, 1.5, (K, D))))),
    Case("categorical", lambda rng: _mixture(rng, _categorical(rng, K))),
    Case("Poisson", lambda rng: _mixture(rng, dg.Poisson(rng.normal(1, 0.7, (K, D))))),
    Case("multinomial", lambda rng: _mixture(rng, dg.Multinomial(rng.normal(0, 1, (K, D)), 20))),
    Case("columns", lambda rng: _mixture(rng, _columns(rng))),
    Case(
        "Gaussian mixture in each class, covariance shared in the class",
        lambda rng: _mixture(rng, _mixture(rng, dg.Gaussian(rng.normal(0, 1.5, (K, M, D)), _factor(rng, K)))),
        closed_form=False,
    ),
    Case(
        "Bernoulli mixture in each class",
        lambda rng: _mixture(rng, _mixture(rng, dg.Bernoulli(rng.normal(0, 1, (K, M, D))))),
        closed_form=False,
    ),
]


def _any_order(rng):
    """One column of each kind, a network of one layer, two orders."""
    kinds = dg.CategoricalCells(3), dg.GaussianMixtureCells(rng.normal(size=1), np.ones(1), 2), dg.BernoulliCells()
    cells = dg.ColumnCells(kinds, ((1,), (2,), (0,)))
    network = dg.Transformer.start(jax.random.key(0), cells.inputs + 2 * D, cells.size, 8, 1, 2, K)
    network = jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.2, leaf.shape), network)
    return _mixture(rng, dg.Autoregressive(network, cells, D, K, num_orders=2))


def _flow(rng):
    """Two layers of few bins, well away from where they start."""
    bijection = dg.SplineBijection.start(jax.random.key(0), D, K, num_layers=2, width=4, num_bins=3)
    bijection = jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.2, leaf.shape), bijection)
    return _mixture(rng, dg.Flow(bijection, rng.normal(size=D), np.exp(rng.normal(size=D)), K))


def _diffusion(rng):
    """Few steps of a small network, well away from where it starts; a share of rows without class and of halves."""
    x = rng.normal(1, 2, (9, D))
    density = dg.diffusion(jax.random.key(0), x, np.arange(9) % K, width=6, num_layers=1, num_steps=16).density
    network = jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.2, leaf.shape).astype(leaf.dtype), density.network)
    return _mixture(rng, dataclasses.replace(density, network=network))


def _tilted(rng):
    """Normal rows, tilted for each class; its normaliser is found anew in each call."""
    base = dg.Gaussian(rng.normal(size=(1, D)), _factor(rng, 1))
    return _mixture(rng, dg.Tilted(base, dg.Linear(rng.normal(0, 0.5, (K, D))), rng.normal(size=K), num_samples=4000))


def _tilted_exactly(rng):
    """Rows of a finite space."""
    points = np.stack(np.meshgrid(*[np.arange(3.0)] * D), -1).reshape(-1, D)
    return _mixture(rng, dg.Tilted(None, dg.Linear(rng.normal(size=(K, D))), rng.normal(size=K), points=points))


LEARNED = [
    Case("any order", _any_order, closed_form=False, fixed=("centre", "scale")),
    Case("flow", _flow, closed_form=False, fixed=("centre", "scale")),
    Case("diffusion", _diffusion, closed_form=False, fixed=("centre", "scale")),
    Case("tilted, exact", _tilted_exactly, closed_form=False, fixed=("points",)),
    Case("tilted", _tilted, closed_form=False, fixed=("base",)),
]
"""Of networks, which learn by gradient alone: all laws but those of EM, in one test for each."""
CLASSIFIERS = [case for case in ZOO if case.name not in ("one Gaussian", "probabilistic PCA")]


def _chain(rng, density):
    return dg.HiddenMarkov(rng.normal(size=K), rng.normal(size=(K, K)), density)


def _chains(rng):
    density = dg.DiagonalGaussian(rng.normal(0, 1, (M, K, D)), rng.normal(0, 0.4, (M, K, D)))
    return _mixture(rng, dg.HiddenMarkov(rng.normal(size=(M, K)), rng.normal(size=(M, K, K)), density))


SEQUENTIAL = [
    Case("hidden Markov", lambda rng: _chain(rng, _diagonal(rng, D))),
    Case("hidden Markov in each class", _chains, closed_form=False),
    Case("Markov chain in each class", lambda rng: _mixture(rng, dg.MarkovChain(rng.normal(size=(K, 4, 4, 3)), 2))),
]
"""Generative models of sequences, with labels that are paths, or classes of the whole."""


def _logistic(rng, scorer):
    return dg.Logistic(rng.normal(size=scorer.label_shape), scorer)


def _scorers(rng):
    return dg.ColumnScorers(
        (dg.Linear(rng.normal(size=(K, 2))), dg.CategoryWeights(rng.normal(size=(K, 1, 4)))), ((0, 2), (1,))
    )


def _neural(rng):
    model = dg.neural_classifier(jax.random.key(0), D, K, "gaussian", hidden=(4,))
    return jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.3, leaf.shape), model)


def _neural_of_tokens(rng):
    network = dg.Transformer.start(jax.random.key(0), 4, 3, 4, 1, 2, rotary=True)
    model = _logistic(rng, dg.Neural.start(network, dg.TokenCells(3), 1, K))
    return jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.3, leaf.shape), model)


def _linear(rng, labels=K):
    return dg.Linear(rng.normal(size=(labels, D)))


DISCRIMINATIVE = [
    Case("Linear", lambda rng: _logistic(rng, _linear(rng))),
    Case("Linear of two classes", lambda rng: _logistic(rng, _linear(rng, 1))),
    Case(
        "DiagonalQuadratic",
        lambda rng: _logistic(rng, dg.DiagonalQuadratic(*rng.normal(size=(2, K, D)))),
    ),
    Case("Quadratic", lambda rng: _logistic(rng, dg.Quadratic(rng.normal(size=(K, D)), rng.normal(size=(K, 6))))),
    Case("LogLinear", lambda rng: _logistic(rng, dg.LogLinear(rng.normal(size=(K, D))))),
    Case("CategoryWeights", lambda rng: _logistic(rng, dg.CategoryWeights(rng.normal(size=(K, D, 4))))),
    Case("Indicators", lambda rng: _logistic(rng, dg.Indicators(rng.normal(size=(K, 7))))),
    Case("Shifted", lambda rng: _logistic(rng, dg.Shifted(rng.normal(size=D), _linear(rng))), fixed=("offset",)),
    Case("ColumnScorers", lambda rng: _logistic(rng, _scorers(rng))),
    Case(
        "LatentScorer",
        lambda rng: _logistic(rng, dg.LatentScorer(rng.normal(size=(K, M)), dg.Linear(rng.normal(size=(K, M, D))))),
    ),
    Case("LogDensity", lambda rng: dg.discriminative(_mixture(rng, _full(rng, K)))),
    Case("Neural", _neural),
    Case("Neural of tokens", _neural_of_tokens, fixed=("output",)),
    Case("Marginalized", lambda rng: dg.marginalize(_logistic(rng, _linear(rng)), _mixture(rng, _diagonal(rng, D)), 8)),
    Case("CRF", lambda rng: dg.LinearChainCRF(rng.normal(size=K), rng.normal(size=(K, K)), _linear(rng))),
    Case("n-grams", lambda rng: _logistic(rng, dg.NGrams(rng.normal(size=(K, 4, 3))))),
    Case("hidden-state CRF", lambda rng: dg.discriminative(_chains(rng))),
    Case("CRF of a table", lambda rng: dg.LinearChainCRF(rng.normal(size=K), rng.normal(size=(K, K)), _table(rng))),
]
"""Every scorer in a model of p(y | x), and chains of them."""


def _table(rng):
    return dg.CategoryWeights(rng.normal(size=(K, 2, 3)))


QUICK = ("one Gaussian", "full", "Poisson")
"""Enough for float64, and for laws that take long to compile; the other models are marked slow there."""
VARIATIONS = ("spherical", "probabilistic PCA", "Bernoulli mixture in each class")
"""Those that share nearly all their code with another row, marked slow everywhere."""


def every(cases: list[Case], quick: tuple[str, ...] | None = None) -> pytest.MarkDecorator:
    """A test for each; all tests of a case go to one worker, which compiles its functions once."""

    def mark(case):
        marks = [pytest.mark.xdist_group(case.name)]
        return [*marks, pytest.mark.slow] if quick is not None and case.name not in quick else marks

    marked = [pytest.param(case, marks=mark(case), id=case.name) for case in cases]
    return pytest.mark.parametrize("case", marked)


def masks(d: int):
    """Which cells are missing, some rows whole and some empty.

    At least one is: rows that are all whole are compiled apart, and a law of their own says they come out the same.
    """
    return hnp.arrays(bool, (N, d), elements=st.booleans()).filter(np.any)


def labels(k: int):
    """Labels, some of them unknown."""
    return hnp.arrays(int, N, elements=st.integers(-1, k - 1))


weights = hnp.arrays(float, N, elements=st.sampled_from([0.0, 0.5, 1.0, 3.0]))
seeds = st.integers(0, 50)


def with_missing(x, mask):
    return jnp.asarray(np.where(mask, np.nan, x), x.dtype)


def num_labels(model) -> int:
    return model.as_model().num_labels
