"""Intervals of `pandas.cut` are categories by their text; a quantity for labels is cut as the error says."""

import re

import jax
import numpy as np
import pytest
from table_cases import COLUMNS, N, lists, of_pandas, of_polars, of_pyarrow, pandas

import dgjax as dg


def cut():
    """A frame of which a column is cut into intervals of one width, and the labels into those of as many rows."""
    frame = of_pandas()
    return frame.assign(mass=pandas.cut(frame["mass"], 3), species=pandas.qcut(frame["bill"], 3)).drop(columns="bill")


def words(column):
    return [None if cell != cell else str(cell) for cell in column]


def test_intervals_are_categories_in_their_order_by_their_text(tmp_path):
    frame = cut()
    frame.loc[[103, 104], "mass"], frame.loc[105, "species"] = None, None
    model = dg.naive_bayes(frame, "species", prior="weak")
    as_text = frame.assign(mass=words(frame["mass"]), species=words(frame["species"]))
    assert model.schema.columns[0].levels == tuple(map(str, frame["mass"].cat.categories))
    assert model.schema.label.levels == tuple(map(str, frame["species"].cat.categories))
    labels = dg.predict(model, frame)
    assert labels.tolist() == dg.predict(model, as_text).tolist()
    assert set(labels) == set(words(frame["species"])) - {None}
    dg.save(tmp_path / "model.safetensors", model)
    assert dg.load(tmp_path / "model.safetensors").schema == model.schema
    assert dg.predict(dg.load(tmp_path / "model.safetensors"), frame).tolist() == labels.tolist()
    drawn = dg.sample(model, jax.random.key(0), 5)
    assert set(drawn["mass"]) <= set(model.schema.columns[0].levels)


def test_what_is_filled_in_is_an_interval_again():
    frame = cut()
    frame.loc[[103, 104], "mass"] = None
    filled = dg.impute(dg.naive_bayes(frame, "species", prior="weak"), frame)
    assert filled["mass"].dtype == frame["mass"].dtype
    assert not filled["mass"].isna().any()


@pytest.mark.parametrize("kind", [object, None])
def test_a_column_of_intervals_that_is_no_type_of_categories(kind):
    frame = cut()
    plain = frame.assign(mass=pandas.Series(frame["mass"].tolist(), frame.index, dtype=kind))
    model = dg.naive_bayes(plain, pandas.qcut(COLUMNS["bill"], 3), prior="weak")
    assert model.schema.columns[0].levels == tuple(map(str, frame["mass"].cat.categories))
    assert model.schema.label.levels == tuple(map(str, frame["species"].cat.categories))


QUANTITIES = {
    "pandas": of_pandas,
    "pandas, whole numbers": lambda: pandas.concat([of_pandas()] * 2).assign(bill=np.arange(2 * N)),
    "polars": of_polars,
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_a_quantity_for_labels_is_cut_as_the_error_says(name):
    x = QUANTITIES[name]()
    with pytest.raises(ValueError, match=r"'bill' must hold (at most 50 )?classes") as caught:
        dg.naive_bayes(x, "bill")
    names = {"x": x, "pandas": pandas, "polars": pytest.importorskip("polars")}
    exec(re.search(r"Type (x = .*) for three classes of as many rows each", str(caught.value))[1], names)
    model = dg.naive_bayes(names["x"], "bill", prior="weak")
    assert len(model.schema.label.levels) == 3
    assert np.allclose(np.exp(model.log_weights), 1 / 3, atol=0.02)


@pytest.mark.parametrize("make", [of_pyarrow, lists])
def test_of_other_libraries_it_is_said_in_words(make):
    with pytest.raises(ValueError, match=r"a quantity\. Cut it into classes, or type another column's name"):
        dg.naive_bayes(make(), "bill")
