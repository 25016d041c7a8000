"""What is true of every model, whatever its parameters and rows."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from laws import assert_close
from zoo import CLASSIFIERS, QUICK, SEQUENTIAL, ZOO, D, K, N, every, labels, masks, num_labels, seeds, with_missing

import dgjax as dg
from dgjax import testing

pytestmark = pytest.mark.usefixtures("form")
every_model = every(ZOO)
every_classifier = every(CLASSIFIERS)


def width(case):
    return case.model("float32").num_features


@every_model
def test_evidence_is_the_sum_over_labels(case, dtype):
    model = case.model(dtype)

    @given(seeds, masks(width(case)))
    def law(seed, mask):
        x, y = case.rows(dtype, seed)
        sample = testing.Sample(with_missing(x, mask), y)
        testing.evidence_is_the_sum_over_labels(model, sample)
        testing.posterior_is_the_share_of_each_label(model, sample)

    law()


@every_model
def test_conditional_is_joint_less_evidence(case, dtype):
    model = case.model(dtype)

    @given(seeds, masks(width(case)), labels(num_labels(model)))
    def law(seed, mask, y):
        x = with_missing(case.rows(dtype, seed)[0], mask)
        testing.conditional_is_joint_less_evidence(model, testing.Sample(x, y))

    law()


@every_classifier
def test_twin_has_the_same_posterior(case, dtype):
    model = case.model(dtype)

    @given(seeds)
    def law(seed):
        testing.twin_has_the_same_posterior(model, testing.Sample(*case.rows(dtype, seed)))

    law()


@every(CLASSIFIERS, quick=("tied",))
def test_twin_has_the_same_gradient(case, dtype):
    """The offset, which is not trained, is not differentiated either."""
    testing.twin_has_the_same_gradient(case.model(dtype), testing.Sample(*case.rows(dtype, n=5)))


@every_model
def test_marginal_is_missing_elsewhere(case, dtype):
    model = case.model(dtype)

    @given(seeds, masks(width(case)))
    def law(seed, mask):
        x, y = case.rows(dtype, seed)
        testing.marginal_is_missing_elsewhere(model, testing.Sample(with_missing(x, mask), y))

    law()


def some_missing(case, dtype):
    """Rows of which every third lacks a cell, and row 1 all."""
    x, y = case.rows(dtype)
    return testing.Sample(x.at[::3, 0].set(jnp.nan).at[1].set(jnp.nan), y)


@every_model
def test_a_row_does_not_depend_on_the_rows_beside_it(case, dtype):
    """Complete rows beside incomplete ones take the general path, and agree to the last bits; so do rows alone."""
    testing.a_row_does_not_depend_on_the_rows_beside_it(case.model(dtype), some_missing(case, dtype))


@every_model
def test_jit_and_vmap_change_nothing(case, dtype):
    models = case.model(dtype), case.model(dtype, seed=1)
    testing.jit_and_vmap_change_nothing(*models, some_missing(case, dtype))


@pytest.mark.slow
@every_model
def test_nothing_compiled_is_the_same(case, dtype):
    x = some_missing(case, dtype).x
    compiled = dg.log_prob(case.model(dtype), x), dg.impute(case.model(dtype), x)
    with jax.disable_jit():
        assert_close(dg.log_prob(case.model(dtype), x), compiled[0])
        assert_close(dg.impute(case.model(dtype), x), compiled[1])


@every_model
def test_gradient_is_a_model_and_right(case, dtype):
    """Finite on empty rows and impossible categories too; in float64 along a random line as differences say."""
    testing.gradient_is_a_model_and_right(case.model(dtype), some_missing(case, dtype))


@every_model
def test_counts_are_gradients(case, dtype):
    """The gradient by the log-weights is what rows add to each label, less what its weight predicts."""
    testing.counts_are_gradients(case.model(dtype), some_missing(case, dtype))


@every_model
def test_float32_is_float64_to_the_contract(case):
    model = case.model("float32")

    @given(seeds, masks(width(case)))
    def law(seed, mask):
        x, y = case.rows("float32", seed)
        testing.float32_is_float64_to_the_contract(model, testing.Sample(with_missing(x, mask), y))

    law()


@every_model
def test_filling_in_keeps_what_was_observed(case, dtype):
    model = case.model(dtype)

    @given(seeds, masks(width(case)))
    def law(seed, mask):
        x, y = case.rows(dtype, seed)
        testing.filling_in_keeps_what_was_observed(model, testing.Sample(with_missing(x, mask), y))

    law()


@every_model
def test_own_samples_have_the_predicted_labels(case, dtype):
    testing.own_samples_have_the_predicted_labels(case.model(dtype))


@every(ZOO, QUICK)
def test_own_samples_have_no_slope(case):
    testing.own_samples_have_no_slope(case.model("float32"))


@every_model
def test_saved_and_loaded_to_the_bit(case, dtype):
    testing.saved_and_loaded_to_the_bit(case.model(dtype))


@pytest.mark.parametrize("name", ["Bernoulli", pytest.param("categorical", marks=pytest.mark.slow)])
def test_probabilities_add_to_one(name):
    testing.probabilities_add_to_one(next(case for case in ZOO if case.name == name).model("float32"))


VERBS = {
    "log_prob": lambda model, x, y, key: dg.log_prob(model, x),
    "log_joint": lambda model, x, y, key: dg.log_joint(model, x, y),
    "log_conditional": lambda model, x, y, key: dg.log_conditional(model, x, y),
    "predict": lambda model, x, y, key: dg.predict(model, x),
    "predict_log_proba": lambda model, x, y, key: dg.predict_log_proba(model, x),
    "sample": lambda model, x, y, key: dg.sample(model, key, N),
    "sample_labels": lambda model, x, y, key: dg.sample_labels(model, key, x),
    "impute": lambda model, x, y, key: dg.impute(model, x),
    "sample_missing": lambda model, x, y, key: dg.sample_missing(model, key, x),
}


@every([*ZOO, *SEQUENTIAL], ("Poisson",))
def test_keys_of_another_kind_draw(case):
    """Those of the generator that accelerators are fond of."""
    model, key = case.model("float32"), jax.random.key(3, impl="rbg")
    x, y = dg.sample(model, key, (4, N) if case in SEQUENTIAL else N)
    assert jnp.isfinite(dg.log_joint(model, x, y)).all()
    x = x.at[..., 0].set(jnp.nan)
    assert jnp.isfinite(dg.log_joint(model, x, dg.sample_labels(model, key, x))).all()
    assert jnp.isfinite(dg.log_prob(model, dg.sample_missing(model, key, x))).all()


@every(ZOO, QUICK)
def test_a_second_call_compiles_nothing(case):
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: compiled.append(event))
    for verb in VERBS.values():
        verb(case.model("float32"), *case.rows("float32"), jax.random.key(0))
    model, (x, y), key = case.model("float32", seed=1), case.rows("float32", seed=1), jax.random.key(1)
    compiled.clear()
    for verb in VERBS.values():
        verb(model, x, y, key)
    assert [event for event in compiled if "backend_compile" in event] == []


assert D == K  # rows and labels of one size, so that few shapes are compiled
