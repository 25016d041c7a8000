"""What print shows of models and fits, and `summary`: parameters by hand, names, every family, inside jit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from zoo import LEARNED, SEQUENTIAL, ZOO

import dgjax as dg

MEAN, DEVIATION = np.array([[1.0, -2.0], [1234.4, 0.5]]), np.array([[0.5, 3.0], [2.0, 0.25]])
FULL = np.array([[[3.0, 0.0], [4.0, 3.0]], [[1.0, 0.0], [0.0, 2.0]]])
FRAME = {"size": [1.0, 2.0, 5.0, 6.0], "colour": ["red", "red", "blue", "red"], "kind": ["cat", "cat", "dog", "dog"]}


def rows_of(model):
    shown = dg.summary(model)
    return [dict(zip(shown.head, row, strict=True)) for row in shown.rows]


def test_normal_columns_are_means_and_deviations():
    model = dg.Mixture(np.log([0.25, 0.75]), dg.DiagonalGaussian(MEAN, np.log(DEVIATION)))
    first, second = rows_of(model)
    assert first == {"label": "0", "weight": "0.25", "column 0": "1 ± 0.5", "column 1": "-2 ± 3"}
    assert second["column 0"] == "1,234 ± 2"
    full = rows_of(dg.Mixture(np.zeros(2), dg.Gaussian(MEAN, FULL)))
    assert [row["column 1"] for row in full] == ["-2 ± 5", "0.5 ± 2"]
    tied = rows_of(dg.Mixture(np.zeros(2), dg.Gaussian(MEAN, FULL[0])))
    assert [row["column 1"] for row in tied] == ["-2 ± 5", "0.5 ± 5"]
    factors = rows_of(dg.FactorGaussian(MEAN[:1], np.array([[[3.0], [0.0]]]), np.log([[4.0, 2.0]])))
    assert (factors[0]["column 0"], factors[0]["column 1"]) == ("1 ± 5", "-2 ± 2")


def test_columns_of_other_kinds_and_names_of_a_table():
    model = dg.naive_bayes(FRAME, "kind", prior="weak")
    cat, dog = rows_of(model)
    assert (cat["label"], dog["label"]) == ("cat", "dog")
    assert cat["colour"].startswith("red: 0.")
    assert "size" in str(model)
    assert "dog" in model._repr_html_()
    counts = rows_of(dg.Mixture(np.zeros(2), dg.Poisson(np.log([[3.0], [0.5]]))))
    assert [row["column 0"] for row in counts] == ["3", "0.5"]


def test_states_of_a_chain_begin_and_stay():
    chain = dg.HiddenMarkov(np.log([0.75, 0.25]), np.log([[0.9, 0.1], [0.5, 0.5]]), dg.Gaussian(MEAN, FULL))
    first, second = rows_of(chain)
    assert (first["state"], first["begins"], first["stays"], second["stays"]) == ("0", "0.75", "0.9", "0.5")
    assert ("moves from 1", "0 0.50, 1 0.50") in dg.summary(chain).facts


def test_weights_of_a_linear_classifier():
    two = dg.Logistic(np.array([0.5]), dg.Linear(np.array([[2.0, -1.0]])))
    assert rows_of(two) == [{"label": "log-odds of 1", "bias": "0.5", "column 0": "2", "column 1": "-1"}]


@pytest.mark.parametrize("case", [*ZOO, *SEQUENTIAL, *LEARNED], ids=lambda case: case.name)
def test_every_family_is_shown_without_a_compilation(case):
    model = case.model("float32")
    text = str(model)
    assert f"{int(dg.num_parameters(model)):,} parameters" in text
    assert str(dg.summary(model))
    assert model._repr_html_()


def test_a_fit_says_how_it_ended():
    x = np.random.default_rng(0).normal(size=(30, 2)).astype("float32")
    fit = dg.fit(dg.gaussian_mixture(jax.random.key(0), x, 1), x)
    assert f"converged after {fit.num_steps} step(s)" in str(fit)
    method = dg.Optax(optax.sgd(1e-3), 10, jax.random.key(0), validation=0.2)
    held = dg.fit(fit.model, x, method=method, max_steps=9)
    assert "of 4 epochs by held-out rows: epoch" in str(held) or "of 3 epochs by held-out rows: epoch" in str(held)


def test_wide_tables_are_cut_by_print_and_turned_by_summary():
    model = dg.Mixture(np.zeros(14), dg.DiagonalGaussian(np.zeros((14, 20)), np.zeros((14, 1))))
    assert "2 rows and 14 columns more: dgjax.summary(model)" in str(model)
    shown = dg.summary(model)
    assert shown.head == ("label", *map(str, range(14)))
    assert len({len(line) for line in str(shown).splitlines()[-20:]}) == 1


def test_inside_jit_shapes_are_shown():
    model, seen = dg.Mixture(np.zeros(2), dg.Gaussian(MEAN, FULL)), []
    jax.jit(lambda own: seen.append(str(own)))(model)
    assert seen == [repr(model)]
    with pytest.raises(ValueError, match="inside jit"):
        jax.jit(lambda own: len(dg.summary(own).rows))(model)
    assert str(jax.tree.map(lambda leaf: None, model)).startswith("Mixture(")


def test_html_is_escaped():
    model = dg.naive_bayes({"<b>": [1.0, 2.0, 3.0, 5.0], "y": ["a&b", "a&b", "c", "c"]}, "y")
    assert "<b>" not in model._repr_html_()
    assert "&lt;b&gt;" in model._repr_html_()
    assert "a&amp;b" in model._repr_html_()


def test_a_classifier_of_missing_cells_shows_the_classifier_and_names_the_density():
    density = dg.Mixture(jnp.zeros(1), dg.Gaussian(jnp.zeros((1, 2)), jnp.eye(2)[None]))
    classifier = dg.Logistic(jnp.array([0.5]), dg.Linear(jnp.array([[1.0, -2.0]])))
    text = str(dg.summary(dg.marginalize(classifier, density)))
    assert "Marginalized of 2 labels: Logistic, cells by Gaussian" in text
    assert "log-odds of 1" in text
    assert "-2" in text
