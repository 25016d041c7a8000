"""Tables: names, kinds and levels of columns travel with a model, whatever library a frame is of."""

import re

import jax
import numpy as np
import pytest
from table_cases import (
    CLASS,
    COLUMNS,
    ENCODED,
    FEATURES,
    HOLES,
    KINDS,
    LIBRARIES,
    NAMES,
    N,
    cells,
    of_pandas,
    pandas,
    plain_model,
    series,
    tabular,
)

import dgjax as dg

pytestmark = pytest.mark.usefixtures("without_the_type_checker")


@pytest.fixture
def plain():
    return plain_model()


@pytest.fixture
def model():
    return tabular()


@pytest.mark.parametrize("library", LIBRARIES)
def test_frames_of_any_library_are_one_table(library, plain):
    frame = LIBRARIES[library]()
    table = dg.Table.of(frame, "species")
    assert [column.kind for column in table.schema.columns] == KINDS
    assert table.schema.columns[2].levels == ("Biscoe", "Dream")
    assert table.schema.label.levels == tuple(NAMES)
    np.testing.assert_array_equal(table.x, ENCODED)
    np.testing.assert_array_equal(table.y, CLASS)
    model = dg.Tabular(plain, table.schema)
    predicted = dg.predict(model, frame)
    assert series(predicted) == list(NAMES[np.asarray(dg.predict(plain, ENCODED))])
    assert type(predicted) is type(np.zeros(0) if isinstance(frame, dict) else frame["species"])
    np.testing.assert_array_equal(dg.log_prob(model, frame), dg.log_prob(plain, ENCODED))


@pytest.mark.slow
def test_a_model_learnt_from_a_frame_is_that_of_its_arrays():
    found = dg.naive_bayes(of_pandas(), "species", prior="weak")
    plain = dg.naive_bayes(ENCODED, CLASS, KINDS, prior="weak")
    for own, other in zip(jax.tree.leaves(found.model), jax.tree.leaves(plain), strict=True):
        np.testing.assert_array_equal(own, other)
    with pytest.raises(ValueError, match="column 'mass' has no spread in class 0"):
        dg.naive_bayes(of_pandas().assign(mass=CLASS), "species")


@pytest.mark.parametrize("library", LIBRARIES)
def test_missing_cells_are_filled_in_a_frame_of_its_kind(library, plain, model):
    frame = LIBRARIES[library](True)
    rows = ENCODED.copy()
    for j, row in enumerate(HOLES.values()):
        rows[row, j] = np.nan
    np.testing.assert_array_equal(model.schema.rows(frame), rows)
    filled, expected = dg.impute(model, frame), np.asarray(dg.impute(plain, rows))
    assert type(filled) is type(frame)
    for j, name in enumerate(FEATURES):
        before, after, row = cells(frame, name), cells(filled, name), HOLES[name]
        assert before[:row] + before[row + 1 :] == after[:row] + after[row + 1 :]
        value = expected[row, j]
        assert after[row] == (["Biscoe", "Dream"][int(value)] if name == "island" else value)
    assert cells(filled, "species") == list(COLUMNS["species"])
    if library.startswith("pandas"):
        assert list(filled.index) == list(frame.index)
        kept = ["bill", "island", "banded", "species"]
        assert [*filled.dtypes[kept]] == [*frame.dtypes[kept]]


def test_columns_are_found_by_name_and_others_not_looked_at(model):
    frame = of_pandas()
    other = frame[["species", "banded", "island", "mass", "bill"]].assign(when=pandas.Timestamp("2020-01-01"))
    np.testing.assert_array_equal(dg.log_prob(model, other), dg.log_prob(model, frame))
    assert dg.impute(model, other).equals(other)
    without = frame.drop(columns="species")
    assert dg.predict(model, without).equals(dg.predict(model, frame))


def test_arrays_are_columns_in_order_and_answered_by_the_model_itself(model, plain):
    np.testing.assert_array_equal(dg.predict(model, ENCODED), dg.predict(plain, ENCODED))
    np.testing.assert_array_equal(dg.log_prob(model, ENCODED), dg.log_prob(plain, ENCODED))
    with pytest.raises(ValueError, match="4 columns, as the model has"):
        dg.predict(model, ENCODED[:, :3])


@pytest.mark.slow
def test_transformations_apply_to_models_of_tables(model, plain):
    np.testing.assert_array_equal(jax.jit(dg.log_prob)(model, ENCODED), jax.jit(dg.log_prob)(plain, ENCODED))
    x, y = jax.jit(dg.sample, static_argnums=2)(model, jax.random.key(0), 5)
    assert x.shape == (5, 4)
    assert y.shape == (5,)
    slope = jax.grad(lambda model: dg.log_prob(model, ENCODED).sum())(model)
    assert type(slope) is dg.Tabular
    assert slope.schema == model.schema
    both = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), model)
    assert jax.vmap(dg.log_prob, in_axes=(0, None))(both, ENCODED).shape == (2, N)


def test_log_posteriors_have_the_names_of_labels(model):
    frame = of_pandas()
    logs = dg.predict_log_proba(model, frame)
    assert list(logs.columns) == list(NAMES)
    assert list(logs.index) == list(frame.index)
    np.testing.assert_array_equal(logs, dg.predict_log_proba(model, ENCODED))
    some = dg.marginal(model, ["island", "bill"])
    assert some.schema.names == ("island", "bill")
    assert type(some.model) is dg.Mixture
    twin = dg.discriminative(model)
    assert type(twin.model) is dg.Logistic
    assert twin.schema == model.schema


@pytest.mark.slow
def test_samples_have_names(model):
    frame, key = of_pandas(), jax.random.key(0)
    drawn = dg.sample(model, key, 5)
    x, y = dg.sample(model.model, key, 5)
    assert list(drawn.columns) == [*FEATURES, "species"]
    assert list(drawn["species"]) == list(NAMES[np.asarray(y)])
    assert drawn["banded"].dtype == bool
    assert set(drawn["island"]) <= {"Biscoe", "Dream"}
    np.testing.assert_array_equal(drawn["bill"], x[:, 0])
    np.testing.assert_array_equal(dg.log_joint(model, frame, "species"), dg.log_joint(model, ENCODED, CLASS))
    np.testing.assert_array_equal(
        dg.log_joint(model, frame, list(frame["species"])), dg.log_joint(model, ENCODED, CLASS)
    )


@pytest.mark.slow
def test_explanations_name_columns_and_groups_of_them(model):
    frame = of_pandas()[:3]
    found = dg.explain(model, frame, columns=[["bill", "mass"], "island", "banded"])
    assert found.names == ("bill, mass", "island", "banded")
    with pytest.raises(ValueError, match=r"columns must be of .*; got 'beak'"):
        dg.explain(model, frame, columns=[["beak", "mass"], "island", "banded"])


def test_a_schema_is_saved(model, tmp_path):
    dg.save(tmp_path / "model.safetensors", model)
    again = dg.load(tmp_path / "model.safetensors")
    assert again.schema == model.schema
    assert dg.predict(again, of_pandas()).equals(dg.predict(model, of_pandas()))


def test_unknown_labels_are_missing_cells():
    frame = of_pandas()[["bill", "mass", "species"]].assign(
        species=np.where(np.arange(N) < 6, None, COLUMNS["species"])
    )
    table = dg.Table.of(frame, "species")
    np.testing.assert_array_equal(table.y, np.where(np.arange(N) < 6, -1, CLASS))
    assert table.schema.label.levels == tuple(NAMES)


@pytest.mark.slow
def test_a_fit_takes_a_frame_whatever_it_starts_at():
    """Labels may be numbers, or truth; a table is given in place of rows and labels."""
    frame = of_pandas()[["bill", "mass"]].assign(heavy=COLUMNS["mass"] > 4400)
    start = dg.discriminant_analysis(ENCODED[:, :2], CLASS // 2, "diagonal")
    found = dg.fit(start, frame, "heavy").model
    assert dg.predict(found, frame).dtype == bool
    table = dg.Table.of(frame, "heavy")
    again = dg.fit(found, table).model
    other = dg.fit(found, frame[["heavy", "mass", "bill"]], "heavy").model
    for own in (again, other):
        np.testing.assert_allclose(dg.log_prob(own, frame), dg.log_prob(found, frame), rtol=1e-5)
    whole = dg.naive_bayes(frame.assign(heavy=np.where(frame["heavy"], 7, 3)), "heavy")
    assert set(dg.predict(whole, frame)) == {3, 7}
    assert dg.bic(whole, frame) == dg.bic(whole, whole.schema.rows(frame))


@pytest.mark.slow
def test_clusters_of_a_labelled_table_are_no_classes():
    table = dg.Table.of(of_pandas()[["bill", "mass", "species"]], "species")
    model = dg.gaussian_mixture(jax.random.key(0), table, 3)
    assert model.schema.label is None
    with pytest.raises(ValueError, match=r"whole-number labels.*Type dgjax\.fit\(model\.model, x, y\)"):
        dg.fit(model, table.frame, "species")
    with pytest.raises(ValueError, match="must have 2 columns, as the model has; got 1"):
        dg.Tabular(model.model, model.schema.of([0]))


def test_kinds_are_read_from_types_or_asked_for():
    frame = {"visits": [0, 3, 1, 2], "smokes": [1, 0, 0, 1], "code": [7, 5, 7, 9], "y": ["a", "b", "a", "b"]}
    of = {column.name: column.kind for column in dg.Table.of(frame, "y").schema.columns}
    assert set(of.values()) == {"gaussian"}
    kinds = {"visits": "poisson", "smokes": "bernoulli", "code": "categorical"}
    table = dg.Table.of(frame, "y", kinds)
    assert {column.name: column.kind for column in table.schema.columns} == kinds
    assert table.schema.columns[2].levels == (5, 7, 9)
    np.testing.assert_array_equal(table.x[:, 2], [1, 0, 1, 2])
    assert (
        repr(table) == "Table(4 rows of Schema(visits: poisson, smokes: bernoulli, code: categorical; y: ['a', 'b']))"
    )


def test_many_levels_are_taken_of_a_type_of_categories():
    texts = [f"name {i}" for i in range(60)]
    frame = pandas.DataFrame({"a": texts, "y": ["a", "b"] * 30})
    with pytest.raises(ValueError, match="column 'a' must hold at most 50 categories; got 60") as caught:
        dg.Table.of(frame, "y")
    x = eval(re.search(r"Type x = (.*?) if they are", str(caught.value))[1], {"x": frame})
    assert len(dg.Table.of(x, "y").schema.columns[0].levels) == 60
