"""What is refused before it is allocated or written, and one rule for rows of probability 0, whatever the family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax as dg

KEY = jax.random.key(0)
HALF = jnp.log(jnp.array([0.5, 0.5]))
MODEL = dg.Mixture(HALF, dg.DiagonalGaussian(np.zeros((2, 2)), np.zeros((2, 2))))
HUGE = 10**9
BEYOND = {
    "logistic regression": (lambda: dg.logistic_regression(HUGE, HUGE), "num_features=1000000000 and num_classes="),
    "quadratic": (lambda: dg.logistic_regression(HUGE, 2, "quadratic"), "num_features=1000000000"),
    "features of a CRF": (lambda: dg.linear_chain_crf(10**15, 3), "num_features=1000000000000000 and num_states=3"),
    "states of a CRF": (lambda: dg.linear_chain_crf(1, HUGE), "num_states=1000000000"),
    "network": (lambda: dg.neural_classifier(KEY, HUGE, 2, hidden=(10**5,)), "num_features=1000000000 and num_classes"),
    "classes": (lambda: dg.neural_classifier(KEY, 2, HUGE, hidden=(10**5,)), "num_classes=1000000000"),
    "hidden": (lambda: dg.neural_classifier(KEY, 2, 2, hidden=(HUGE, HUGE)), "hidden="),
    "autoencoder": (lambda: dg.variational_autoencoder(KEY, HUGE, 2, hidden=(10**5,)), "num_features=1000000000"),
    "latent": (lambda: dg.variational_autoencoder(KEY, 2, HUGE, hidden=(10**5,)), "latent_dim=1000000000"),
    "samples": (lambda: dg.sample(MODEL, KEY, 10**15), "shape=1000000000000000"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_what_exceeds_the_memory_is_an_error_that_names_the_argument(name):
    ask, words = BEYOND[name]
    with pytest.raises(ValueError, match=r"fit into memory; .* bytes, and this machine has") as error:
        ask()
    assert words in str(error.value)


def test_saving_inside_jit_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"model\.log_weights is a value that is not known before compiling\. Save"):
        jax.jit(lambda weights: dg.save(tmp_path / "model", dg.Mixture(weights, MODEL.density)))(HALF)
    assert not (tmp_path / "model").exists()


def test_an_empty_list_is_told_how_no_rows_are_typed():
    with pytest.raises(ValueError, match=r"Type np\.empty\(\(0, 2\)\) for no rows\."):
        dg.predict(MODEL, [])
    assert dg.predict(MODEL, np.empty((0, 2))).shape == (0,)


LOGITS = jnp.array([[1.0, 2.0], [-1.0, 0.0]])
FAMILIES = {
    "Bernoulli": dg.Bernoulli(LOGITS),
    "categorical": dg.Categorical(jnp.stack([LOGITS, 0 * LOGITS], -1)),
    "Poisson": dg.Poisson(LOGITS),
    "multinomial": dg.Multinomial(LOGITS, 3),
}
ODD = np.array([[-1.0, 0.0], [1.5, 0.0], [np.inf, 0.0], [1.0, 1.0]], np.float32)


@pytest.mark.parametrize("name", FAMILIES)
def test_inside_jit_a_twin_gives_no_label_where_the_density_gives_none(name):
    model = dg.Mixture(HALF, FAMILIES[name])

    @jax.jit
    def ask(x):
        twin = dg.discriminative(model)
        return [(dg.predict_log_proba(m, x), dg.predict(m, x)) for m in (model, twin)]

    for log_p, labels in ask(ODD):
        impossible = np.array([0, 1, 2] if name != "multinomial" else [0, 2])  # whose counts need not be whole
        assert np.isneginf(log_p[impossible]).all()
        assert [n for n, label in enumerate(labels.tolist()) if label == -1] == impossible.tolist()
        np.testing.assert_allclose(np.exp(log_p[-1]).sum(), 1, rtol=1e-6)


@pytest.mark.parametrize("name", [*FAMILIES, "diagonal"])
@pytest.mark.parametrize("labels", [np.array([0, 1, 0, 1]), None])
def test_inside_jit_a_fit_to_rows_of_probability_0_is_nan(name, labels):
    """Outside, it is an error: a start that is given back, or a step from some of the rows, would look like a fit."""
    model = dg.Mixture(HALF, FAMILIES.get(name, MODEL.density))
    fitted = jax.jit(lambda x: dg.fit(model, x, labels, max_steps=2).model)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(fitted(ODD)))
    good = np.array([[0.0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
    assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(fitted(good)))


def test_an_unknown_label_of_an_impossible_row_has_a_log_posterior_of_0():
    """Whatever the row: nothing is asked of it. Any label of it has probability 0."""
    impossible = dg.Bernoulli(jnp.array([[-jnp.inf], [-jnp.inf]]))
    got = dg.log_conditional(dg.Mixture(HALF, impossible), [[1.0], [1.0], [0.0], [0.0]], [-1, 0, -1, 0])
    np.testing.assert_allclose(got, [0, -np.inf, 0, np.log(0.5)], rtol=1e-6)
    chain = dg.HiddenMarkov(HALF, jnp.zeros((2, 2)), impossible)
    got = dg.log_conditional(chain, np.ones((3, 2, 1)), [[-1, -1], [0, 0], [-1, 0]])
    assert got.tolist() == [0, -np.inf, -np.inf]


def test_the_gradient_of_an_impossible_row_is_0():
    """The responsibilities are the gradient of the log-partition, and those of such a row are 0; they were NaN."""
    inner = dg.Mixture(jnp.zeros((2, 2)), dg.Poisson(jnp.zeros((2, 2, 2))))
    for density in (FAMILIES["Poisson"], inner):
        model = dg.Mixture(HALF, density)
        alone = jax.grad(lambda model: dg.log_prob(model, ODD[-1:]).sum())(model)
        # Inside jit the rows must be unknown, or their cells are checked.
        got = jax.jit(jax.grad(lambda model, x: jnp.where(jnp.isfinite(v := dg.log_prob(model, x)), v, 0).sum()))
        for a, b in zip(jax.tree.leaves(got(model, ODD)), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
