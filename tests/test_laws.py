"""What is true of every model, whatever its parameters and rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from laws import assert_close, assert_same_tree
from scipy.special import logsumexp
from zoo import CLASSIFIERS, QUICK, ZOO, D, K, N, every, labels, masks, num_labels, seeds, with_missing

import dgjax as dg

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
        x = with_missing(case.rows(dtype, seed)[0], mask)
        joint = np.stack([dg.log_joint(model, x, np.full(N, k)) for k in range(num_labels(model))], -1)
        evidence = np.asarray(dg.log_prob(model, x))
        assert_close(logsumexp(joint, axis=-1), evidence)
        assert_close(dg.log_joint(model, x, np.full(N, -1)), evidence)
        assert_close(joint - evidence[:, None], dg.predict_log_proba(model, x))
        assert (evidence[mask.all(1)] == 0).all()

    law()


@every_model
def test_conditional_is_joint_less_evidence(case, dtype):
    model = case.model(dtype)

    @given(seeds, masks(width(case)), labels(num_labels(model)))
    def law(seed, mask, y):
        x = with_missing(case.rows(dtype, seed)[0], mask)
        conditional = np.asarray(dg.log_conditional(model, x, y))
        assert_close(conditional, np.asarray(dg.log_joint(model, x, y)) - np.asarray(dg.log_prob(model, x)))
        assert (conditional[y < 0] == 0).all()
        log_proba = np.asarray(dg.predict_log_proba(model, x))
        assert_close(np.exp(log_proba).sum(-1), np.ones(N, dtype))
        assert (np.asarray(dg.predict(model, x)) == log_proba.argmax(-1)).all()

    law()


@every_classifier
def test_twin_has_the_same_posterior(case, dtype):
    model = case.model(dtype)
    twin = dg.discriminative(model)

    @given(seeds)
    def law(seed):
        x, y = case.rows(dtype, seed)
        tolerance = 1e-6 if dtype == "float64" else 1e-3
        assert_close(dg.predict_log_proba(twin, x), dg.predict_log_proba(model, x), tolerance)
        assert_close(dg.log_conditional(twin, x, y), dg.log_conditional(model, x, y), tolerance)

    law()


@every(CLASSIFIERS, quick=("tied",))
def test_twin_has_the_same_gradient(case, dtype):
    """The offset, which is not trained, is not differentiated either."""
    model, (x, y) = case.model(dtype), case.rows(dtype, n=5)
    as_it_is = jax.grad(lambda model: dg.log_conditional(model, x, y).sum())(model)
    through_its_twin = jax.grad(lambda model: dg.log_conditional(dg.discriminative(model), x, y).sum())(model)
    assert_same_tree(through_its_twin, as_it_is, 1e-8 if dtype == "float64" else 1e-2)


@every_model
def test_marginal_is_missing_elsewhere(case, dtype):
    model = case.model(dtype)
    d = width(case)
    columns = [d - 1, 0]
    part = dg.marginal(model, columns)
    elsewhere = np.isin(range(d), columns, invert=True)

    @given(seeds, masks(d))
    def law(seed, mask):
        x = with_missing(case.rows(dtype, seed)[0], mask)
        assert_close(dg.log_prob(part, np.asarray(x)[:, columns]), dg.log_prob(model, with_missing(x, elsewhere)))

    law()


@every_model
def test_a_row_does_not_depend_on_the_rows_beside_it(case, dtype):
    """Complete rows beside incomplete ones take the general path, and agree to the last bits; so do rows alone."""
    model = case.model(dtype)
    x, y = case.rows(dtype)
    mixed = x.at[::3, 0].set(jnp.nan).at[1].set(jnp.nan)
    complete = ~np.isnan(mixed).any(1)
    few_bits = 64 * jnp.finfo(dtype).eps
    assert_close(np.asarray(dg.log_prob(model, mixed))[complete], np.asarray(dg.log_prob(model, x))[complete], few_bits)
    assert_close(dg.log_prob(model, mixed[:1]), dg.log_prob(model, mixed)[:1], few_bits)
    alone = jnp.full_like(x, jnp.nan).at[4].set(mixed[4])
    for verb in (dg.log_prob, dg.predict_log_proba, dg.impute):
        assert_close(verb(model, mixed)[4], verb(model, alone)[4], few_bits)
    assert_close(dg.log_joint(model, mixed, y)[4], dg.log_joint(model, alone, y)[4], few_bits)


@every_model
def test_jit_and_vmap_change_nothing(case, dtype):
    one, other = case.model(dtype), case.model(dtype, seed=1)
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), one, other)
    x = case.rows(dtype)[0].at[::3, 0].set(jnp.nan).at[1].set(jnp.nan)
    stacked = jax.jit(jax.vmap(dg.log_prob, in_axes=(0, None)))(both, x)
    assert_close(stacked, np.stack([dg.log_prob(one, x), dg.log_prob(other, x)]))


@pytest.mark.slow
@every_model
def test_nothing_compiled_is_the_same(case, dtype):
    x = case.rows(dtype)[0].at[::3, 0].set(jnp.nan).at[1].set(jnp.nan)
    compiled = dg.log_prob(case.model(dtype), x), dg.impute(case.model(dtype), x)
    with jax.disable_jit():
        assert_close(dg.log_prob(case.model(dtype), x), compiled[0])
        assert_close(dg.impute(case.model(dtype), x), compiled[1])


@every_model
def test_gradient_is_a_model_and_right(case, dtype):
    """Finite on empty rows and impossible categories too; in float64 along a random line as differences say."""
    model = case.model(dtype)
    x = case.rows(dtype)[0].at[::3, 0].set(jnp.nan).at[1].set(jnp.nan)

    def total(m):
        return dg.log_prob(m, x).sum()

    grad = jax.grad(total)(model)
    assert type(grad) is type(model)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(grad))
    if dtype == "float64":
        rng = np.random.default_rng(1)
        line = jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(leaf), rng.normal(size=leaf.shape), 0), model)
        moved = [total(jax.tree.map(lambda a, b, h=h: a + h * b, model, line)) for h in (-1e-5, 1e-5)]
        slope = sum(float((a * b).sum()) for a, b in zip(jax.tree.leaves(grad), jax.tree.leaves(line), strict=True))
        assert slope == pytest.approx(float(moved[1] - moved[0]) / 2e-5, rel=1e-5)


@every_model
def test_counts_are_gradients(case, dtype):
    """The gradient by the log-weights is what rows add to each label, less what its weight predicts."""
    model = case.model(dtype).as_model()
    x = case.rows(dtype)[0].at[::3, 0].set(jnp.nan)

    def total(log_weights):
        return dg.log_prob(dg.Mixture(log_weights, model.density), x).sum()

    counts = jnp.exp(dg.predict_log_proba(model, x)).sum(0)
    assert_close(jax.grad(total)(model.log_weights), counts - N * jax.nn.softmax(model.log_weights))


@every_model
def test_float32_is_float64_to_the_contract(case):
    model = case.model("float32")

    @given(seeds, masks(width(case)))
    def law(seed, mask):
        x = with_missing(case.rows("float32", seed)[0], mask)
        value = np.asarray(dg.log_prob(model, x))
        assert value.dtype == "float32"
        with jax.enable_x64(True):
            exact = np.asarray(dg.log_prob(*jax.tree.map(lambda leaf: leaf.astype("float64"), (model, x))))
        assert (np.abs(value - exact) <= 1e-3 + 1e-5 * np.abs(exact)).all()

    law()


@every_model
def test_filling_in_keeps_what_was_observed(case, dtype):
    model = case.model(dtype)

    @given(seeds, masks(width(case)))
    def law(seed, mask):
        x = with_missing(case.rows(dtype, seed)[0], mask)
        for filled in (dg.impute(model, x), dg.sample_missing(model, jax.random.key(seed), x)):
            assert filled.dtype == dtype
            assert (np.asarray(filled)[~mask] == np.asarray(x)[~mask]).all()
            assert np.isfinite(dg.log_prob(model, filled)).all()

    law()


@every_model
def test_own_samples_have_the_predicted_labels(case, dtype):
    """E[(1[y = k] - p(k | x)) (1, x)] = 0 exactly where x and y come from the model: within five standard errors."""
    model = case.model(dtype)
    terms = [label_surplus(model, *case.rows(dtype, seed), jax.random.key(seed)) for seed in range(150)]
    for surplus in np.concatenate(terms, 1):
        error = surplus.std(0) / np.sqrt(len(surplus)) + 1e-6
        assert (np.abs(surplus.mean(0)) < 5 * error).all()


def label_surplus(model, x, y, key):
    """What each row has of each label above its posterior, times (1, x): for y, and for a draw of y given x."""
    assert x.dtype == jax.tree.leaves(model)[0].dtype
    posterior = np.exp(dg.predict_log_proba(model, x))
    surplus = [np.eye(num_labels(model))[drawn] - posterior for drawn in (y, dg.sample_labels(model, key, x))]
    return np.stack(surplus)[..., None] * np.concatenate([np.ones((N, 1)), x], 1)[:, None]


@every_model
def test_saved_and_loaded_to_the_bit(case, dtype, tmp_path):
    model = case.model(dtype)
    dg.save(tmp_path / "model.safetensors", model)
    assert_same_tree(dg.load(tmp_path / "model.safetensors"), model, 0)


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
