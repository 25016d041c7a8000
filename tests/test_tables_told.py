"""Tables: what is no table, or another one, is told by the names of columns, and what to type."""

import re

import jax
import numpy as np
import pytest
from advised import typed
from table_cases import (
    CLASS,
    COLUMNS,
    ENCODED,
    N,
    lists,
    of_pandas,
    of_pyarrow,
    pandas,
    plain_model,
    pyarrow,
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


def _of_dates():
    days = pandas.to_datetime(["2026-01-01", "2026-01-02"] * 15)
    return of_pandas().assign(bill=pandas.Categorical(days))


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
    "categories of dates": (_of_dates, "column 'bill' must hold categories that are text.*Timestamp"),
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


FRAME = {"height": [1.0, 2.0, 3.0, 2.5], "kind": ["a", "b", "a", "b"], "times": [1, 3, 2, 2]}


def test_weights_may_be_the_name_of_their_column():
    named = dg.naive_bayes(FRAME, "kind", weights="times")
    assert named.schema.names == ("height",)
    without = {name: cells for name, cells in FRAME.items() if name != "times"}
    plain = dg.naive_bayes(without, "kind", weights=FRAME["times"])
    assert all(map(np.array_equal, jax.tree.leaves(named.model), jax.tree.leaves(plain.model)))
    fitted = dg.fit(named, FRAME, "kind", weights="times").model
    again = dg.fit(plain, without, "kind", weights=FRAME["times"]).model
    assert all(map(np.array_equal, jax.tree.leaves(fitted.model), jax.tree.leaves(again.model)))
    assert dg.bic(named, FRAME, y="kind", weights="times") == dg.bic(plain, without, y="kind", weights=FRAME["times"])


@pytest.mark.parametrize(("weights", "words"), [("tims", "has no column 'tims'"), ("kind", "holds text")])
def test_other_names_of_weights_are_refused(weights, words):
    with pytest.raises(ValueError, match=words):
        dg.naive_bayes(FRAME, "kind", weights=weights)


def test_a_kind_or_a_column_that_is_misspelt_is_told_the_nearest():
    frame = {name: FRAME[name] for name in ("height", "kind")}
    with pytest.raises(ValueError, match=r"Type 'poisson' for 'poison'"):
        dg.naive_bayes(frame, "kind", kinds={"height": "poison"})
    with pytest.raises(ValueError, match=r"Type 'height' for 'hight'"):
        dg.naive_bayes(frame, "kind", kinds={"hight": "poisson"})


def test_a_single_row_of_a_frame_is_told_how_to_stay_one():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(FRAME)[["height", "kind"]]
    model = dg.naive_bayes(frame, "kind")
    with pytest.raises(ValueError, match=r"Type frame.iloc\[\[0\]\]"):
        dg.predict(model, frame.iloc[0])
    assert list(dg.predict(model, frame.iloc[[0]])) == ["a"]


def test_a_frame_in_place_of_sequences_is_told_how_to_be_one():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
    with pytest.raises(ValueError, match="which of its rows are a sequence") as caught:
        dg.hidden_markov(jax.random.key(0), frame, 2)
    told = typed(str(caught.value)).removeprefix("x = ")
    told = told.replace("label, ", "").replace("group=...", "group=None").replace("order=...", "order='index'")
    x = eval(told, {"dgjax": dg, "frame": frame})
    assert dg.hidden_markov(jax.random.key(0), x, 2).num_labels == 2
