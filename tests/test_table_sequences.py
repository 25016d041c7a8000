"""Frames of sequences: rows in any order, groups and times by name, steps without a row, answers beside rows."""

import re
from datetime import timedelta

import jax
import numpy as np
import pytest
from laws import slow
from table_cases import cells, pandas, pyarrow, series

import dgjax as dg

KEY = jax.random.key(0)
LENGTHS = 7, 5
N = sum(LENGTHS)
RNG = np.random.default_rng(0)
DAYS = np.array("2026-02-26", "M8[D]") + np.concatenate([np.arange(n) for n in LENGTHS])
COLUMNS = {
    "bird": ["owl"] * 7 + ["kite"] * 5,
    "day": DAYS.astype("M8[us]").tolist(),
    "speed": (RNG.normal(size=N) + 3 * (np.arange(N) % 2)).tolist(),
    "wind": RNG.choice(["calm", "gust"], N).tolist(),
    "act": np.where(np.arange(N) % 2, "fly", "sit").tolist(),
}
ORDER = RNG.permutation(N)


def shuffled(library):
    """The frame with its rows in another order."""
    columns = {name: [values[i] for i in ORDER] for name, values in COLUMNS.items()}
    make = {
        "pandas": lambda own: pandas.DataFrame(own, index=100 + ORDER),
        "polars": lambda own: pytest.importorskip("polars").DataFrame(own),
        "pyarrow": pyarrow.table,
        "dict": dict,
    }
    return make[library](columns)


def chain():
    """A chain of the frame's columns, of arrays."""
    density = dg.Columns(
        (dg.DiagonalGaussian([[3.0], [0.0]], np.zeros((2, 1))), dg.Categorical(np.log([[[0.5, 0.5]], [[0.4, 0.6]]])))
    )
    return dg.HiddenMarkov(np.log([0.5, 0.5]), np.log([[0.3, 0.7], [0.6, 0.4]]), density)


def arrays():
    """The two sequences as arrays, and their lengths."""
    steps = np.column_stack([COLUMNS["speed"], np.array(COLUMNS["wind"]) == "gust"])
    return dg.pad([steps[:7], steps[7:]])


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "dict"])
def test_rows_in_any_order_are_the_sequences_and_answers_are_beside_them(library):
    frame = shuffled(library)
    table = dg.Table.of(frame, "act", group="bird", order="day")
    assert set(table.groups) == {"owl", "kite"}
    x, lengths = arrays()
    back = [table.groups.index(name) for name in ("owl", "kite")]
    np.testing.assert_allclose(table.x[back], x)
    assert table.lengths[back].tolist() == lengths.tolist()
    assert table.y[back][0].tolist() == [1, 0, 1, 0, 1, 0, 1]
    model = dg.Tabular(chain(), table.schema)
    path = np.asarray(dg.predict(chain(), x, lengths))
    told = np.array(["fly", "sit"])[np.concatenate([path[0], path[1, :5]])][ORDER]
    labels = dg.predict(model, frame)
    assert series(labels) == told.tolist()
    if library == "pandas":
        assert labels.index.tolist() == frame.index.tolist()
    np.testing.assert_allclose(np.asarray(dg.log_prob(model, frame))[back], dg.log_prob(chain(), x, lengths), rtol=1e-5)
    logs = dg.predict_log_proba(model, frame)
    wanted = np.asarray(dg.predict_log_proba(chain(), x, lengths))
    np.testing.assert_allclose(
        cells(logs, "fly"), np.concatenate([wanted[0], wanted[1, :5]])[ORDER][:, 0], rtol=1e-4, atol=1e-5
    )
    log_joint = dg.log_joint(model, frame, "act")
    wanted = dg.log_joint(chain(), x, table.y[back], lengths)
    np.testing.assert_allclose(np.asarray(log_joint)[back], wanted, rtol=1e-5)


def test_cells_are_filled_where_they_are_missing():
    frame = shuffled("pandas")
    frame.loc[103, "speed"], frame.loc[108, "wind"] = None, None
    model = dg.Tabular(chain(), dg.Table.of(shuffled("pandas"), "act", group="bird", order="day").schema)
    filled = dg.impute(model, frame)
    x, lengths = (np.array(own) for own in arrays())
    x[0, 3, 0], x[1, 1, 1] = np.nan, np.nan
    wanted = np.asarray(dg.impute(chain(), x, lengths))
    assert np.isclose(filled.loc[103, "speed"], wanted[0, 3, 0])
    assert filled.loc[108, "wind"] == ["calm", "gust"][int(wanted[1, 1, 1])]
    assert filled.index.tolist() == frame.index.tolist()
    assert filled.drop(index=[103, 108]).equals(frame.drop(index=[103, 108]))


def test_steps_without_a_row_have_no_cell_and_no_label():
    frame = pandas.DataFrame(COLUMNS).drop(index=[2, 3, 9])
    for step in (np.timedelta64(1, "D"), np.timedelta64(24, "h"), timedelta(days=1)):
        table = dg.Table.of(frame, "act", group="bird", order="day", step=step)
        assert table.lengths.tolist() == [7, 5]
        assert np.isnan(table.x[0, [2, 3]]).all()
        assert table.y[0].tolist() == [1, 0, -1, -1, 1, 0, 1]
        assert table.y[1, :5].tolist() == [0, 1, -1, 1, 0]
    x, lengths = (np.array(own) for own in arrays())
    x[0, [2, 3]], x[1, 2] = np.nan, np.nan
    model = dg.Tabular(chain(), table.schema)
    np.testing.assert_allclose(dg.log_prob(model, frame), dg.log_prob(chain(), x, lengths), rtol=1e-5)
    assert dg.predict(model, frame).index.tolist() == frame.index.tolist()
    close = dg.Table.of(frame, "act", group="bird", order="day")
    assert close.lengths.tolist() == [5, 4]


def test_an_index_orders_rows_too():
    frame = pandas.DataFrame(COLUMNS)
    wanted = dg.Table.of(frame, "act", group="bird", order="day")
    for own, name in ((frame.set_index("day"), "day"), (frame.set_index("day").rename_axis(None), "index")):
        table = dg.Table.of(own, "act", group="bird", order=name)
        assert (table.x[0] == wanted.x[0]).all()
    both = dg.Table.of(frame.set_index(["bird", "day"]), "act", group="bird", order="day")
    assert both.groups == ["owl", "kite"]
    assert both.schema.names == ("speed", "wind")


@pytest.mark.parametrize("name", ["steps", *slow("sequences", "states", "crf")])
def test_what_is_learnt_is_what_arrays_teach(name, tmp_path):
    frame = pandas.DataFrame(COLUMNS)
    where = {"group": "bird", "order": "day"}
    x, lengths = arrays()
    if name == "steps":
        table = dg.Table.of(frame, "act", **where)
        start = dg.hidden_markov(KEY, table)
        model = dg.fit(start, table, prior="weak").model
        wanted = dg.fit(start.model, x, np.asarray(table.y), lengths=lengths, prior="weak").model
    elif name == "states":
        table = dg.Table.of(frame.drop(columns="act"), **where)
        model = dg.fit(dg.hidden_markov(KEY, table, 2), table, prior="weak", max_steps=300).model
        start = dg.hidden_markov(KEY, x, 2, ["gaussian", "categorical"], lengths=lengths)
        wanted = dg.fit(start, x, lengths=lengths, prior="weak", max_steps=300).model
        assert dg.predict(model, frame).name == "state"
    elif name == "sequences":
        own = frame.assign(act=frame["bird"].map({"owl": "night", "kite": "day"}))
        table = dg.Table.of(own, "act", **where)
        start = dg.hidden_markov_mixture(KEY, table, num_states=2)
        model = dg.fit(start, table, prior="weak").model
        wanted = dg.fit(start.model, x, [1, 0], lengths=lengths, prior="weak").model
        assert dg.predict(model, own).to_dict("list") == {"bird": ["owl", "kite"], "act": ["night", "day"]}
        assert dg.predict_log_proba(model, own).columns.tolist() == ["bird", "day", "night"]
        with pytest.raises(ValueError, match=r"the same in all rows of a sequence.*'owl'"):
            dg.fit(start, dg.Table.of(frame.replace({"fly": "night", "sit": "day"}), "act", **where))
    else:
        table = dg.Table.of(frame, "act", indicators=True, **where)
        start = dg.linear_chain_crf(2, 2)
        model = dg.fit(start, table, prior=dg.priors.Ridge(1.0)).model
        wanted = dg.fit(start, x, np.asarray(table.y), lengths=lengths, prior=dg.priors.Ridge(1.0)).model
        assert set(dg.predict(model, frame)) <= {"fly", "sit"}
    for one, other in zip(*map(jax.tree.leaves, (model.model, wanted)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    dg.save(tmp_path / "model.safetensors", model)
    loaded = dg.load(tmp_path / "model.safetensors")
    assert loaded.schema == model.schema
    assert loaded.schema.steps == dg.Steps("bird", "day")


FRAME = pandas.DataFrame(COLUMNS)
TWICE = pandas.concat([FRAME, FRAME.iloc[:1]])
TOLD = {
    "no time": (FRAME.assign(day=FRAME["day"].mask(FRAME.index == 3)), {}, "missing in row 3"),
    "no group": (FRAME.assign(bird=FRAME["bird"].mask(FRAME.index == 3)), {}, "missing in row 3"),
    "no such column": (FRAME, {"order": "time"}, "no column 'time'.*index"),
    "off the grid": (FRAME, {"step": np.timedelta64(2, "D")}, "whole steps of 172800 seconds"),
    "a step of text": (FRAME, {"step": "1D"}, r"np.timedelta64\(1, 'D'\)"),
    "a step of months": (FRAME, {"step": np.timedelta64(1, "M")}, "one size"),
    "a step without order": (FRAME, {"order": None, "step": 1}, "Type order="),
}


@pytest.mark.usefixtures("without_the_type_checker")
@pytest.mark.parametrize("name", TOLD)
def test_rows_that_have_no_place_are_told(name):
    frame, options, message = TOLD[name]
    with pytest.raises(ValueError, match=message):
        dg.Table.of(frame, "act", **({"group": "bird", "order": "day"} | options))


@pytest.mark.parametrize("name", ["a row twice", "text for dates"])
def test_what_is_told_to_type_about_rows_helps(name):
    frame = TWICE if name == "a row twice" else FRAME.assign(day=FRAME["day"].astype(str))
    with pytest.raises(ValueError, match="'day'") as caught:
        dg.Table.of(frame, "act", group="bird", order="day")
    names = {"x": frame, "pandas": pandas}
    exec(re.search(r"Type (x = .*?)(?:, or give their means)?\.$", str(caught.value))[1], names)
    assert dg.Table.of(names["x"], "act", group="bird", order="day").lengths.tolist() == [7, 5]


def test_tables_of_rows_and_of_sequences_are_not_taken_for_each_other():
    table = dg.Table.of(FRAME, "act", group="bird", order="day")
    with pytest.raises(ValueError, match="naive_bayes is for rows"):
        dg.naive_bayes(table)
    with pytest.raises(ValueError, match=r"Type x = dgjax.Table.of\(frame, label, group"):
        dg.hidden_markov(KEY, FRAME, 2)
    with pytest.raises(ValueError, match="num_states must be 2"):
        dg.hidden_markov(KEY, table, 3)
    with pytest.raises(ValueError, match="emissions is read from the table"):
        dg.hidden_markov(KEY, table, emissions="gaussian")
    model = dg.Tabular(chain(), table.schema)
    with pytest.raises(ValueError, match="lengths are those of the table's groups"):
        dg.predict(model, FRAME, [7, 5])
