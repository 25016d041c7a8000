"""Tables: names, kinds and levels of columns travel with a model, whatever library a frame is of."""

import re

import jax
import numpy as np
import pytest
from advised import typed

import dgjax as dg

pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
pytestmark = pytest.mark.usefixtures("without_the_type_checker")

N = 30
RNG = np.random.default_rng(0)
CLASS = np.arange(N) % 3
NAMES = np.array(["Adelie", "Chinstrap", "Gentoo"], object)
COLUMNS = {
    "bill": 40 + 5 * CLASS + RNG.normal(size=N),
    "mass": 4000 + 300 * CLASS + RNG.integers(0, 200, N),
    "island": np.where(RNG.random(N) < 0.3 + 0.2 * CLASS, "Dream", "Biscoe").astype(object),
    "banded": RNG.random(N) < 0.5,
    "species": NAMES[CLASS],
}
FEATURES = [name for name in COLUMNS if name != "species"]
HOLES = {"bill": 2, "mass": 3, "island": 4, "banded": 5}
"""Row in which a column has a missing cell, in frames with holes."""


def lists(holes=False):
    """Columns as lists, with None in the row of a hole."""
    return {
        name: [None if holes and HOLES.get(name) == i else cell for i, cell in enumerate(cells.tolist())]
        for name, cells in COLUMNS.items()
    }


def of_pandas(holes=False):
    types = {"mass": "Int64", "banded": "boolean"} if holes else {}
    return pandas.DataFrame(lists(holes), index=np.arange(N) + 100).astype(types)


def of_pyarrow(holes=False):
    return pyarrow.table(lists(holes))


def of_polars(holes=False):
    return pytest.importorskip("polars").DataFrame(lists(holes))


LIBRARIES = {
    "pandas": of_pandas,
    "pandas, categories": lambda holes=False: of_pandas(holes).astype({"island": "category", "species": "category"}),
    "pandas, Arrow": lambda holes=False: of_pandas(holes).convert_dtypes(dtype_backend="pyarrow"),
    "pandas, objects": lambda holes=False: of_pandas(holes).astype(object).where(lambda x: x.notna(), None),
    "polars": of_polars,
    "pyarrow": of_pyarrow,
    "pyarrow, dictionary": lambda holes=False: of_pyarrow(holes).set_column(
        2, "island", of_pyarrow(holes)["island"].dictionary_encode()
    ),
    "lists": lists,
    "arrays": lambda holes=False: (
        {name: np.array(cells, float if name in ("bill", "mass") else object) for name, cells in lists(True).items()}
        if holes
        else COLUMNS
    ),
}
ENCODED = np.column_stack(
    [COLUMNS["bill"], COLUMNS["mass"], (COLUMNS["island"] == "Dream").astype(float), COLUMNS["banded"]]
)
KINDS = ["gaussian", "gaussian", "categorical", "bernoulli"]


@pytest.fixture(scope="module")
def plain():
    """A model of the arrays that tables are shown as."""
    reals = dg.DiagonalGaussian([[40, 4100], [45, 4400], [50, 4700]], np.log([[1, 70.0]] * 3))
    islands, bands = dg.Categorical(np.log([[[0.7, 0.3]], [[0.4, 0.6]], [[0.3, 0.7]]])), dg.Bernoulli(np.zeros((3, 1)))
    return dg.Mixture(np.log([0.5, 0.3, 0.2]), dg.Columns((reals, islands, bands), ((0, 1), (2,), (3,))))


@pytest.fixture(scope="module")
def model(plain):
    return dg.Tabular(plain, dg.Table.of(of_pandas(), "species").schema)


def cells(frame, name):
    """Cells of a column of any library, None where missing."""
    if isinstance(frame, dict):
        column = list(frame[name])
    else:
        column = frame[name].to_pylist() if hasattr(frame[name], "to_pylist") else frame[name].to_list()
    return [None if cell is None or cell is pandas.NA or cell != cell else cell for cell in column]


def series(answer):
    return answer.to_pylist() if hasattr(answer, "to_pylist") else list(answer)


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


def interval():
    return of_pandas().assign(bill=pandas.cut(COLUMNS["bill"], 3))


TWICE = of_pandas().rename(columns={"mass": "bill"})
LEARNT = {
    "a name twice": (lambda: TWICE, "names of columns that differ; got 'bill' 2 times"),
    "a label twice": (lambda: of_pandas().rename(columns={"mass": "species"}), "got 'species' 2 times"),
    "no rows": (lambda: of_pandas()[:0], "label column 'species' must hold two classes"),
    "no columns but labels": (lambda: of_pandas()[["species"]], "a column at least beside the labels"),
    "no label column": (
        lambda: of_pandas().rename(columns={"species": "Species"}),
        "no column 'species'. Type 'Species'",
    ),
    "a column without a cell": (lambda: of_pandas().assign(mass=np.nan), "column 'mass' is never observed"),
    "a column of None": (lambda: lists(False) | {"mass": [None] * N}, "column 'mass' is never observed"),
    "dates": (lambda: of_pandas().assign(mass=pandas.Timestamp("2020-01-01")), "column 'mass'.*dates or times"),
    "dates in Arrow": (lambda: of_pyarrow().set_column(1, "mass", _dates()), "column 'mass'.*dates or times"),
    "dates in a dict": (lambda: lists(False) | {"mass": np.arange(N).astype("M8[D]")}, "column 'mass'.*dates or times"),
    "lengths of time": (
        lambda: of_pandas().assign(mass=pandas.Timedelta("1h")),
        "'mass'.*numbers; got lengths of time",
    ),
    "mixed types": (lambda: lists(False) | {"mass": [1, "x"] * 15}, r"column 'mass'.*one type; got int \(1\) and str"),
    "mixed objects": (
        lambda: of_pandas().assign(mass=[1, "x"] * 15),
        r"column 'mass'.*one type; got int \(1\) and str",
    ),
    "intervals": (interval, "column 'bill' must hold categories that are text.*Interval"),
    "infinity": (lambda: of_pandas().assign(bill=np.inf), "column 'bill' must hold finite numbers"),
    "one class": (lambda: of_pandas().assign(species="Adelie"), "two classes at least; got only 'Adelie'"),
    "a quantity for labels": (lambda: of_pandas().assign(species=COLUMNS["bill"]), "'species'.*fractions"),
    "-1 for a label": (lambda: of_pandas().assign(species=CLASS - 1), "'species' holds -1"),
    "names that are numbers": (
        lambda: of_pandas().rename(columns={"mass": 7}),
        "names of columns that are text; got 7",
    ),
    "columns of unequal length": (lambda: lists(False) | {"mass": [1]}, "columns of one length"),
    "a row in a dict": (lambda: {"bill": 40.0, "species": "Adelie"}, "a list or an array of one axis"),
}


def _dates():
    return pyarrow.array(np.arange(N).astype("M8[D]"))


@pytest.mark.parametrize("name", LEARNT)
def test_what_cannot_be_learnt_from_is_told_by_name(name):
    make, message = LEARNT[name]
    with pytest.raises(ValueError, match=message):
        dg.naive_bayes(make(), "species")


ASKED = {
    "a missing column": (of_pandas, lambda x: x.drop(columns="mass"), "must have the column 'mass'"),
    "a missing column, in Arrow": (of_pyarrow, lambda x: x.drop_columns("mass"), "must have the column 'mass'"),
    "a missing column, in a dict": (lists, lambda x: {k: v for k, v in x.items() if k != "mass"}, "the column 'mass'"),
    "another name": (of_pandas, lambda x: x.rename(columns={"mass": "Mass"}), "must have the column 'mass'"),
    "an unseen category": (
        of_pandas,
        lambda x: x.assign(island=["Torgersen", "Dream"] * 15),
        "'island'.*got 'Torgersen'",
    ),
    "an unseen category, in Arrow": (
        of_pyarrow,
        lambda x: x.set_column(2, "island", pyarrow.array(["Torgersen", "Dream"] * 15)),
        "'island'.*got 'Torgersen'",
    ),
    "an unseen category, in a dict": (lists, lambda x: x | {"island": ["Torgersen", "Dream"] * 15}, "got 'Torgersen'"),
    "text for numbers": (of_pandas, lambda x: x.assign(mass=["4000", "heavy"] * 15), "'mass' must hold numbers.*text"),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_frame_that_is_no_such_table_is_told_what_to_type(name, model):
    make, change, message = ASKED[name]
    frame = change(make(False))
    with pytest.raises(ValueError, match=message) as caught:
        dg.predict(model, frame)
    told = re.search(r"(?:Type|type) x = (.*?)(?: if it is missing in every row)?\.$", str(caught.value))[1]
    names = {"x": frame, "np": np, "pandas": pandas, "pyarrow": pyarrow}
    exec("import pyarrow.compute", names)
    assert len(series(dg.predict(model, eval(told, names)))) == N


def test_no_advice_makes_a_whole_column_missing(model):
    for change, words in (
        ({"mass": ["heavy"] * N}, "Give it as numbers, as when the model was learnt"),
        ({"island": ["0", "1"] * (N // 2)}, "None of its cells is"),
    ):
        with pytest.raises(ValueError, match=words):
            dg.predict(model, of_pandas(False).assign(**change))


def test_categories_are_no_quantities():
    frame = of_pandas()
    for call in (
        lambda: dg.discriminant_analysis(frame, "species"),
        lambda: dg.fit(dg.logistic_regression(4, 3), frame, "species"),
    ):
        with pytest.raises(ValueError, match=r"column 'island'.*naive_bayes.*") as caught:
            call()
        assert "x = x.drop(columns=['island'])" in str(caught.value)
    with pytest.raises(ValueError, match="num_classes is for arrays"):
        dg.naive_bayes(frame, "species", num_classes=4)
    with pytest.raises(ValueError, match="at most the model's 2 classes"):
        dg.fit(dg.logistic_regression(2, 2), frame[["bill", "mass", "species"]], "species")
    with pytest.raises(ValueError, match="5 columns"):
        dg.fit(dg.logistic_regression(5, 3), frame, "species")


def test_a_label_is_a_name_or_unknown(model):
    frame = of_pandas()
    with pytest.raises(ValueError, match=r"label column 'species' must hold one of .*; got 'Emperor'"):
        dg.log_joint(model, frame.assign(species="Emperor"), "species")
    unknown = dg.log_joint(model, frame.assign(species=None), "species")
    np.testing.assert_array_equal(unknown, dg.log_joint(model, ENCODED, np.full(N, -1)))


def test_frames_whose_columns_are_numbers_are_arrays(plain, model):
    """As pandas names columns that have no name."""
    frame = pandas.DataFrame(ENCODED)
    np.testing.assert_array_equal(dg.predict(model, frame), dg.predict(plain, ENCODED))
    with pytest.raises(ValueError, match="frame must be a table with names"):
        dg.Table.of(frame)


def test_what_to_type_where_an_array_is_no_table():
    with pytest.raises(ValueError, match="frame must be a table with names"):
        dg.Table.of(ENCODED)
    with pytest.raises(ValueError) as caught:
        dg.Table.of(of_pandas().assign(y=0), "Y")
    assert typed(str(caught.value)) == "'y'"
