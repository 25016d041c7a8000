"""The map of families: its table is what the code declares, and each family answers as it declares."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax as dg
from dgjax.densities import Autoregressive

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("family_map", ROOT / "docs" / "family_map.py")
family_map = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(family_map)
T = 4
QUICK = "flow, real columns", "logistic regression", "linear-chain CRF"
CASES = [
    pytest.param(own, id=own.name, marks=() if own.name in QUICK else pytest.mark.slow) for own in family_map.FAMILIES
]
EACH = pytest.mark.parametrize("family", CASES)


def rows_of(model):
    """Rows in the support of every family's columns, or sequences of these: small whole numbers."""
    shape = (3, T) if model.sequential else (6,)
    x = np.random.default_rng(0).integers(0, 2, (*shape, model.num_features)).astype("float32")
    return jnp.asarray(x)


def refuses(verb, *arguments):
    try:
        verb(*arguments)
    except ValueError:
        return True
    return False


def test_the_page_has_the_table_that_the_code_declares():
    assert family_map.table() in family_map.PAGE.read_text(), "run python docs/family_map.py"


@EACH
def test_a_family_refuses_what_it_declares_none_of(family):
    model = family.make()
    kinds, x = dg.capabilities(model), rows_of(model)
    holes, steps = x.at[0, ..., 0].set(jnp.nan), (2, T) if model.sequential else (2,)
    asked = {
        "log_prob": lambda: dg.log_prob(model, x),
        "missing": lambda: dg.log_prob(model, holes),
        "posterior": lambda: dg.predict_log_proba(model, x),
        "sample": lambda: dg.sample(model, jax.random.key(0), steps),
        "impute": lambda: dg.impute(model, holes),
    }
    refused = {name for name, verb in asked.items() if refuses(verb)}
    assert refused == {name for name in asked if getattr(kinds, name) == "none"}
    assert refuses(dg.sample_missing, model, jax.random.key(0), holes) == (kinds.impute == "none")


@EACH
def test_a_twin_that_is_exact_has_the_same_posterior(family):
    model = family.make()
    if refuses(dg.discriminative, model):
        assert dg.capabilities(model).twin == "none"
        return
    x = rows_of(model)
    same = np.allclose(dg.predict_log_proba(dg.discriminative(model), x), dg.predict_log_proba(model, x), atol=1e-4)
    assert same == (dg.capabilities(model).twin == "exact")


@EACH
def test_what_is_no_exact_number_has_an_error(family):
    model = family.make()
    kind = dg.capabilities(model).log_prob
    if kind == "none" or isinstance(model.density, Autoregressive):  # orders of an exact mixture, which disagree
        return
    error = np.asarray(dg.log_prob_error(model, rows_of(model)))
    assert (error > 0).all() if kind in ("bound", "estimate") else (error == 0).all()


def test_a_density_of_several_blocks_is_as_exact_as_its_least():
    flow = dg.Flow(dg.Bijection({}, lambda _, u: (u, jnp.zeros(())), lambda _, z: (z, jnp.zeros(()))), *np.ones((2, 1)))
    kinds = dg.capabilities(dg.Columns((flow, dg.Bernoulli(np.zeros((1, 1))))))
    assert kinds == dg.Capabilities(missing="none", impute="none")


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="must be a dgjax model"):
        dg.capabilities(3)


def test_no_estimate_has_an_error_of_zero_where_it_is_hidden_in_a_chain():
    tilt = dg.Tilted(dg.Gaussian(np.zeros((1, 2)), np.eye(2)[None]), dg.Linear(np.eye(2)), num_samples=50)
    chain = dg.HiddenMarkov(np.zeros(2), np.zeros((2, 2)), tilt)
    assert dg.capabilities(chain).log_prob == "estimate"
    with pytest.raises(ValueError, match="emits by a density of networks"):
        dg.log_prob_error(chain, np.zeros((1, 3, 2)))
    with pytest.raises(ValueError, match=r"is an estimate: type dgjax\.log_prob"):
        dg.elbo(dg.Mixture(np.zeros(2), tilt), np.zeros((1, 2)))
