"""Forecasts of frames: means, quantiles and intervals beside the dates, numbers or steps that follow."""

import re

import numpy as np
import pytest
from table_cases import cells, pandas, pyarrow

import dgjax as dg

N, AHEAD = 12, 3
KW = np.random.default_rng(0).normal(size=N) + np.arange(N) // 6
CHAIN = dg.HiddenMarkov(
    np.log([0.5, 0.5]), np.log([[0.9, 0.1], [0.2, 0.8]]), dg.DiagonalGaussian([[0.0], [1.0]], np.zeros((2, 1)))
)


def framed(times, **columns):
    return pandas.DataFrame({"day": times, "kW": KW, **columns})


def told(frame, order="day", steps=AHEAD, **options):
    table = dg.Table.of(frame, order=order, **options)
    return dg.forecast(dg.Tabular(CHAIN, table.schema), frame, steps)


def arrays(x=KW):
    return dg.forecast(CHAIN, np.asarray(x)[None, :, None], AHEAD)


RULES = "h", "D", "B", "W", "MS", "ME", "QE", "YE"


@pytest.mark.parametrize("rule", RULES)
def test_dates_go_on_by_the_rule_that_they_follow(rule):
    dates = pandas.date_range("2026-01-31", periods=N + AHEAD, freq=rule)
    found = told(framed(dates[:N])).mean()
    assert found["day"].tolist() == dates[N:].tolist()
    np.testing.assert_allclose(found["kW"], arrays().mean()[0, :, 0], rtol=1e-5)


@pytest.mark.parametrize(("rule", "start"), [("h", "2026-03-28 16:00"), ("D", "2026-03-20"), ("D", "2026-03-16")])
def test_dates_keep_their_zone_when_clocks_change(rule, start):
    dates = pandas.date_range(start, periods=N + AHEAD, freq=rule, tz="Europe/Berlin")
    found = told(framed(dates[:N])).mean()
    assert found["day"].tolist() == dates[N:].tolist()
    assert str(found["day"].dt.tz) == "Europe/Berlin"
    if rule == "D":
        gone = told(framed(dates[:N]).drop(index=[9, 10]), step=np.timedelta64(1, "D")).mean()
        assert gone["day"].tolist() == dates[N:].tolist()


LIBRARIES = {
    "polars": lambda own: pytest.importorskip("polars").DataFrame(own),
    "pyarrow": pyarrow.table,
    "dict": dict,
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_frames_of_other_libraries_come_back_as_they_are(library):
    dates = np.array("2026-01-30", "M8[D]") + np.arange(N + AHEAD)
    own = {"day": dates[:N].astype(object).tolist(), "kW": KW.tolist()}
    frame = LIBRARIES[library](own)
    found = told(frame).interval(0.5)
    assert type(found) is type(frame)
    assert [np.datetime64(day, "D") for day in cells(found, "day")] == list(dates[N:])
    low, high = arrays().interval(0.5)
    for name, wanted in (("kW", arrays().mean()), ("kW low", low), ("kW high", high)):
        np.testing.assert_allclose(cells(found, name), wanted[0, :, 0], rtol=1e-5)


def test_an_index_of_dates_is_one_of_the_answer():
    dates = pandas.date_range("2026-01-31", periods=N + AHEAD, freq="D", name="day")
    frame = framed(dates[:N]).set_index("day")
    found = told(frame).quantile(0.9)
    assert found.index.tolist() == dates[N:].tolist()
    assert found.index.name == "day"
    assert found.columns.tolist() == ["kW"]
    months = pandas.DataFrame({"kW": KW}, pandas.period_range("2026-01", periods=N, freq="M"))
    assert told(months, "index").mean().index[0] == pandas.Timestamp("2027-01-01")


def test_groups_go_on_each_from_its_own_end():
    frame = framed([0, 1, 2, 3, 4, 5, 6, 0, 2, 4, 6, 8], pump=["a"] * 7 + ["b"] * 5)
    found = told(frame, group="pump").mean()
    assert found["pump"].tolist() == ["a"] * 3 + ["b"] * 3
    assert found["day"].tolist() == [7, 8, 9, 10, 12, 14]
    alone = arrays(KW[7:]).mean()[0, :, 0]
    np.testing.assert_allclose(found["kW"][3:], alone, rtol=1e-5)
    steps = told(frame.drop(columns="day"), None, group="pump").log_proba
    assert steps.columns.tolist() == ["pump", "step", "0", "1"]
    assert steps["step"].tolist() == [1, 2, 3] * 2
    np.testing.assert_allclose(np.exp(steps[["0", "1"]]).sum(axis=1), 1, rtol=1e-5)


def test_uneven_dates_are_told_what_to_type_which_helps():
    dates = pandas.date_range("2026-01-31", periods=N + 2, freq="D")
    x = framed(dates.delete([4, 5]))
    with pytest.raises(ValueError, match=r"after 2026-02-03.* comes 2026-02-06") as caught:
        told(x)
    names = {"x": x, "dgjax": dg, "np": np}
    exec(re.search(r"Type (x = .*?), with the group", str(caught.value))[1], names)
    found = dg.forecast(dg.Tabular(CHAIN, names["x"].schema), x, AHEAD).mean()
    assert found["day"].tolist() == pandas.date_range("2026-02-14", periods=AHEAD, freq="D").tolist()


def test_dates_on_no_grid_are_told_what_makes_one():
    hours = np.random.default_rng(1).random(N)
    x = framed(pandas.date_range("2026-01-31", periods=N, freq="D") + pandas.to_timedelta(hours, "h"))
    with pytest.raises(ValueError, match="at even distances") as caught:
        told(x)
    names = {"x": x}
    exec(re.search(r"in pandas type (x = .*)\.$", str(caught.value))[1], names)
    assert told(names["x"]).mean()["day"][0] == pandas.Timestamp("2026-02-12")


def test_a_single_row_and_columns_of_categories_are_told():
    with pytest.raises(ValueError, match="a single row"):
        told(framed(pandas.date_range("2026-01-31", periods=N))[:1])
    frame = framed(np.arange(N)).assign(kW=np.where(KW > 0, "on", "off"))
    schema = dg.Table.of(frame, order="day").schema
    chain = dg.HiddenMarkov(
        CHAIN.log_initial, CHAIN.log_transition, dg.Categorical(np.log([[[0.4, 0.6]], [[0.5, 0.5]]]))
    )
    with pytest.raises(ValueError, match="these are all of categories"):
        dg.forecast(dg.Tabular(chain, schema), frame, AHEAD).mean()


def test_pictures_are_over_dates():
    plot = pytest.importorskip("dgjax.plot")
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib.dates import num2date

    frame = framed(pandas.date_range("2026-01-31", periods=N))
    model = dg.Tabular(CHAIN, dg.Table.of(frame, order="day").schema)
    ax = plot.forecast(model, frame, AHEAD, column="kW")
    seen, mean = ax.lines
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("day", "kW")
    days = [num2date(at).date() for at in ax.convert_xunits(mean.get_xdata())]
    assert days == [day.date() for day in pandas.date_range("2026-02-12", periods=AHEAD)]
    assert len(seen.get_xdata()) == N
    assert plot.states(model, frame, column="kW").get_xlabel() == "day"
    own = frame.assign(pump=["a"] * 6 + ["b"] * 6)
    pumps = dg.Tabular(CHAIN, dg.Table.of(own, group="pump", order="day").schema)
    with pytest.raises(ValueError, match="x must be one sequence; got 2 groups"):
        plot.states(pumps, own)
    with pytest.raises(ValueError, match="column must be a number, or one of"):
        plot.states(model, frame, column="W")
