"""A method of learning is one class: four parts, and no edit anywhere else."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dgjax as dg
from dgjax.learning import Method, Outcome

X = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)
RIDGE = dg.priors.Ridge(1.0)


class State(NamedTuple):
    model: Any
    trace: Any
    step: Any
    converged: Any


@dataclasses.dataclass(frozen=True)
class GradientAscent(Method):
    rate: float

    def init(self, model, problem, trace):
        return State(model, trace, jnp.zeros((), int), jnp.zeros((), bool))

    def advance(self, problem, state, until):
        def step(state):
            value, slope = problem.value_and_grad(state.model)
            model = jax.tree.map(lambda w, s: w + self.rate / problem.weights.sum() * s, state.model, slope)
            return State(model, state.trace.at[state.step].set(value), state.step + 1, state.converged)

        return jax.lax.while_loop(lambda state: state.step < until, step, state)

    def result(self, problem, state):
        return Outcome(state.trace[state.step - 1], state.trace, state.step, state.converged), state.model


def test_a_method_of_ten_lines_climbs_to_where_newton_does():
    start = dg.logistic_regression(2, 2)
    best = dg.fit(start, X, Y, prior=RIDGE)
    slowly = dg.fit(start, X, Y, GradientAscent(2.0), prior=RIDGE, max_steps=400)
    np.testing.assert_allclose(slowly.model.scorer.weight, best.model.scorer.weight, atol=1e-3)
    assert len(slowly.objective) == slowly.num_steps == 400
    inside = jax.jit(lambda x: dg.fit(start, x, Y, GradientAscent(2.0), prior=RIDGE, max_steps=400).model)(X)
    np.testing.assert_allclose(inside.scorer.weight, slowly.model.scorer.weight, atol=1e-5)


def test_several_starts_take_any_method():
    start = dg.Mixture(jnp.zeros(2), dg.DiagonalGaussian(np.array([[0.1, 0.0], [-0.1, 0.0]]), np.zeros((2, 2))))
    alone, best = (
        dg.fit(start, X, method=method, max_steps=50)
        for method in (GradientAscent(0.1), dg.Restarts(3, jax.random.key(0), GradientAscent(0.1)))
    )
    assert best.objective[-1] >= alone.objective[-1]


def test_the_usual_method_is_the_one_that_is_named():
    start = dg.gaussian_mixture(jax.random.key(0), X, 2)
    usual, named = dg.fit(start, X), dg.fit(start, X, method=dg.EM())
    jax.tree.map(np.testing.assert_array_equal, usual.model, named.model)
    assert dg.EM() == dg.EM(1e-6) != dg.EM(1e-3)


def test_an_incomplete_method_is_not_one():
    class Half(Method):
        def init(self, model, problem, trace):
            return None

    with pytest.raises(TypeError, match="abstract method"):
        Half()


SGD, KEY = optax.sgd(0.1), jax.random.key(0)
# Options of which one would have no effect, and what the error says to type beside them.
IGNORED = {
    "patience": ({"optimizer": SGD, "batch_size": 10, "key": KEY, "patience": 3}, {"validation": 0.1}),
    "key": ({"optimizer": SGD, "key": KEY}, {"batch_size": 64}),
}


@pytest.mark.parametrize("name", IGNORED)
def test_an_option_that_would_be_ignored_is_told_and_what_is_told_works(name):
    options, more = IGNORED[name]
    told = "".join(f"{option}={value}" for option, value in more.items())

    def fitted(options):
        return dg.fit(dg.logistic_regression(2, 2), X, Y, dg.Optax(**options), max_steps=2)

    with pytest.raises(ValueError, match=rf"{name} is for .* got .* Type {told}, or leave {name} out"):
        fitted(options)
    assert fitted(options | more).num_steps == 2
    assert fitted({own: value for own, value in options.items() if own != name}).num_steps == 2


def test_a_bar_is_for_outside_of_jit():
    with pytest.raises(ValueError, match=r"progress is for .* Leave it out"):
        jax.jit(lambda x: dg.fit(dg.logistic_regression(2, 2), x, Y, max_steps=2, progress=True).model)(X)
