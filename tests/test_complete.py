"""Rows that are known to be complete: a model looks for no missing cell in them, and no such model is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_close

import dgjax as dg
from dgjax._pytree import DATACLASSES, for_any_rows, for_complete_rows
from dgjax.densities._marginal import Marginal

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
FULL = dg.Gaussian(jnp.zeros((2, 3)), jnp.stack([jnp.eye(3), 2 * jnp.eye(3)]))
MIXTURE = dg.Mixture(jnp.zeros(2), FULL)


def factors(call, *arguments):
    """Whether a program makes a factor of each row's observed columns, as full covariances do, by QR."""
    return " qr[" in str(jax.make_jaxpr(call)(*arguments))


def test_a_model_for_complete_rows_differs_in_that_alone():
    model = dg.HiddenMarkov(jnp.zeros(2), jnp.zeros((2, 2)), FULL)
    own = for_complete_rows(model)
    assert own.density.complete
    assert not model.density.complete
    assert isinstance(own.density, dg.Gaussian)
    assert DATACLASSES["Gaussian"] is dg.Gaussian
    assert all(a is b for a, b in zip(*map(jax.tree.leaves, (model, own)), strict=True))
    assert jax.tree.structure(for_any_rows(own)) == jax.tree.structure(model)
    again = for_complete_rows(own)
    assert jax.tree.structure(again) == jax.tree.structure(own)
    assert all(a is b for a, b in zip(*map(jax.tree.leaves, (again, own)), strict=True))


def test_the_density_of_a_marginal_has_missing_cells_all_the_same():
    model = dg.Mixture(jnp.zeros(2), Marginal(FULL, (0, 2)))
    own = for_complete_rows(model)
    assert own.complete
    assert not own.density.density.complete
    assert_close(dg.log_prob(model, X[:, [0, 2]]), dg.log_prob(dg.marginal(MIXTURE, [0, 2]), X[:, [0, 2]]), 1e-5)


def test_programs_for_complete_rows_have_no_part_for_missing_cells():
    y, weights = jnp.zeros(len(X), int), jnp.ones(len(X))
    for model, some in ((MIXTURE, True), (for_complete_rows(MIXTURE), False)):
        assert factors(lambda x, own=model: own.potentials(x).log_partition(), X) == some
        assert factors(lambda x, own=model: own.joint_expectation(x, y, weights), X) == some
        assert factors(lambda x, own=model: jax.grad(lambda m: m.potentials(x).log_partition().sum())(own), X) == some


@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
def test_what_is_learnt_from_complete_rows_is_a_model_for_any():
    y = np.arange(len(X)) % 2
    started = dg.gaussian_mixture(jax.random.key(0), X, 2)
    fitted = dg.fit(started, X, method=dg.Restarts(2, jax.random.key(1)), max_steps=2).model
    solved = dg.discriminant_analysis(X, y, "full")
    twin = dg.fit(dg.discriminative(solved), X, y, prior=dg.priors.Ridge(1.0), max_steps=2).model
    for model in (started, fitted, solved, twin):
        assert type(model) in (dg.Mixture, dg.Logistic)
        assert not model.complete
    assert {type(model.density) for model in (started, fitted, solved)} == {dg.Gaussian}
    some = np.where(np.arange(3) == 1, np.nan, X)
    assert np.isfinite(dg.log_prob(fitted, some)).all()
