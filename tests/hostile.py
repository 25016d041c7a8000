"""Calls that are mistaken, made when a test runs, and what their errors must say."""

from functools import cache
from pathlib import Path
from types import FunctionType

import jax
import numpy as np
import pytest

import dgjax as dg

X = np.array([[0.1, 1.2], [0.9, -0.3], [1.7, 0.4], [-0.8, 2.1], [0.3, 0.6], [1.1, -1.4], [-0.2, 0.5], [2.0, 1.0]])
Y = np.array([0, 1] * 4)
COUNTS = np.array([[0.0, 1], [1, 2], [2, 0], [3, 1], [0, 4], [1, 1], [2, 2], [5, 0]])
CONSTANT = np.where((Y[:, None] == 0) & [[True, False]], 2.0, X)


def with_cell(value, x=X):
    x = x.astype(type(value)) if isinstance(value, complex) else x.copy()
    x[0, 1] = value
    return x


DENSITIES = {
    "gaussian": lambda: dg.Gaussian(np.array([[0.0, 1.0], [1.0, 0.0]]), np.stack([np.eye(2)] * 2)),
    "bernoulli": lambda: dg.Bernoulli(np.zeros((2, 2))),
    "categorical": lambda: dg.Categorical(np.zeros((2, 2, 3))),
    "poisson": lambda: dg.Poisson(np.zeros((2, 2))),
}


@cache
def model(kind="gaussian"):
    """Two labels, two columns."""
    if kind == "logistic":
        return dg.Logistic(np.zeros(2), dg.Linear(np.eye(2)))
    return dg.Mixture(np.zeros(2), DENSITIES[kind]())


def make(name, *arguments, **options):
    """A call of `dg.name`; arguments that are functions are called first, when the test runs."""

    def made(value):
        return value() if isinstance(value, FunctionType) else value

    return lambda: getattr(dg, name)(*map(made, arguments), **{option: made(v) for option, v in options.items()})


def ask(verb, *arguments, kind="gaussian", **options):
    return make(verb, lambda: model(kind), *arguments, **options)


def score(x, kind="gaussian"):
    return ask("log_prob", x, kind=kind)


def fit(x=X, y=Y, kind="gaussian", **options):
    return ask("fit", x, y, kind=kind, **options)


def key():
    return jax.random.key(0)


def column(blocks, **options):
    return lambda: dg.Columns(tuple(dg.Bernoulli(np.zeros(shape)) for shape in blocks), **options)


def assert_our_error(call, fragments):
    """Ours: raised by a line of this package, in words that no library below it wrote."""
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        call()
    message = str(caught.value)
    missing = [fragment for fragment in fragments if fragment not in message]
    assert not missing, f"{missing} not in: {message}"
    assert not [word for word in ("Tracer", "JAX", "jnp.", "object at 0x", "interpreting") if word in message], message
    assert Path(dg.__file__).parent in Path(caught.traceback[-1].path).parents, f"raised by {caught.traceback[-1]}"
