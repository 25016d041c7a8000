"""Pictures: what is drawn is what the model says, and each takes axes and returns them."""

import numpy as np
import pytest

mpl = pytest.importorskip("matplotlib")
mpl.use("Agg")

import jax.numpy as jnp  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402

import dgjax as dg  # noqa: E402
from dgjax import plot  # noqa: E402
from dgjax.plot import _planes, _style  # noqa: E402

MEAN = np.array([[0.0, 0.0, 1.0], [4.0, 3.0, 0.0]], "float32")
MODEL = dg.Mixture(jnp.log(jnp.array([0.25, 0.75])), dg.DiagonalGaussian(jnp.array(MEAN), jnp.zeros((2, 3))))
X = np.random.default_rng(0).normal(size=(60, 3)).astype("float32") + np.repeat(MEAN, 30, 0)
Y = np.repeat([0, 1], 30)
CHAIN = dg.HiddenMarkov(
    jnp.log(jnp.array([0.5, 0.5])),
    jnp.log(jnp.array([[0.9, 0.1], [0.2, 0.8]])),
    dg.DiagonalGaussian(jnp.array([[-2.0], [3.0]]), jnp.zeros((2, 1))),
)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_clusters_are_regions_that_hold_their_share():
    ax = plot.clusters(MODEL, X, Y, columns=(0, 1), names=["a", "b", "c"], classes=["no", "yes"])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no", "yes"]
    lines = [own for own in ax.collections if isinstance(own, mpl.contour.ContourSet)]
    radii = np.sqrt(-2 * np.log1p(-np.array(_planes.SHARES)))[::-1]  # of a standard normal in two dimensions
    for label, own in enumerate(lines):
        for path, radius in zip(own.get_paths(), radii, strict=True):
            away = np.linalg.norm(path.vertices - MEAN[label, :2], axis=1)
            np.testing.assert_allclose(away, radius, rtol=0.03)


def test_regions_are_the_most_likely_labels():
    ax = plot.regions(MODEL, X, Y, columns=(0, 1))
    (picture,) = ax.images
    left, right, bottom, top = picture.get_extent()
    tints = np.array([mpl.colors.to_rgb(_style.colour(label)) for label in (0, 1)])
    for place in ([0.0, 0.0], [4.0, 3.0]):
        side = np.array(picture.get_array()).shape[0]
        column = int((place[0] - left) / (right - left) * (side - 1))
        row = int((place[1] - bottom) / (top - bottom) * (side - 1))
        shown = np.asarray(picture.get_array())[row, column]
        asked = np.array([[*place, np.nan]], "float32")
        assert np.abs(tints - shown).sum(1).argmin() == int(dg.predict(MODEL, asked)[0])


def test_levels_hold_shares():
    values = np.array([[4.0, 3.0], [2.0, 1.0]])
    np.testing.assert_array_equal(_planes._levels(values / 10, 1.0, (0.35, 0.85, 0.999)), [0.1, 0.2, 0.4])
    assert len(_planes._levels(values / 20, 1.0, (0.9,))) == 0


def test_forecasts_are_drawn_between_their_own_quantiles():
    past = np.full((5, 1), 3.0)
    ax = plot.forecast(CHAIN, past, 3)
    wanted = dg.forecast(CHAIN, past[None], 3)
    np.testing.assert_allclose(ax.lines[1].get_xydata(), np.c_[[5, 6, 7], wanted.mean()[0, :, 0]], rtol=1e-6)
    low, high = wanted.interval(0.9)
    (wide, _) = ax.collections
    heights = wide.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(float(low.min()), rel=1e-5)
    assert heights.max() == pytest.approx(float(high.max()), rel=1e-5)


def test_states_are_those_that_are_decoded():
    t = np.repeat([-2.0, 3.0, -2.0], [4, 3, 5])[:, None]
    ax = plot.states(CHAIN, t)
    spans = [(own.get_x() + 0.5, own.get_width()) for own in ax.patches]
    assert spans == [(0, 4), (4, 3), (7, 5)]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "1"]


@pytest.mark.parametrize("given", [False, True])
def test_every_picture_takes_axes_and_returns_them(given):
    ax = plt.subplots()[1] if given else None
    holes = np.where(np.random.default_rng(1).random(X.shape) < 0.3, np.nan, X)
    fit = dg.Fit(MODEL, jnp.arange(5.0), True, 5, None)
    drawn = [
        plot.density(MODEL, holes, ax=ax),
        plot.responsibilities(MODEL, X, ax=ax),
        plot.missing(holes, ax=ax),
        plot.images(holes, (1, 3), columns=7, ax=ax),
        plot.trace(fit, ax=ax),
        plot.trace(dg.Fit(MODEL, jnp.arange(60.0), False, 60, jnp.array([1.0, 2.0, jnp.nan])), ax=ax),
        plot.transitions(CHAIN, ax=ax),
        plot.forecast(CHAIN, np.zeros((5, 1)), 3, ax=ax),
    ]
    assert all(isinstance(own, mpl.axes.Axes) for own in drawn)
    if given:
        assert all(own is ax for own in drawn)
    for own in drawn:
        own.figure.canvas.draw()


def test_pairs_are_drawn_below_the_diagonal():
    every = plot.pairs(MODEL, X)
    assert every.shape == (3, 3)
    assert [[ax.get_visible() for ax in row] for row in every] == np.tril(np.ones((3, 3), bool)).tolist()
    every[0, 0].figure.canvas.draw()


def test_tables_are_drawn_by_name():
    frame = {"a": X[:, 0].tolist(), "b": X[:, 1].tolist(), "c": X[:, 2].tolist(), "kind": ["no", "yes"] * 30}
    schema = dg.Table.of(frame, "kind").schema
    model = dg.Tabular(MODEL, schema)
    ax = plot.clusters(model, frame, "kind", columns=("c", "a"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("c", "a")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no", "yes"]
    places = np.concatenate([own.get_offsets() for own in ax.collections if own.get_label() in ("no", "yes")])
    np.testing.assert_allclose(np.sort(places[:, 0]), np.sort(X[:, 2]))
    told = plot.responsibilities(model, frame).get_legend().get_texts()
    assert [text.get_text() for text in told] == ["no", "yes"]
    holes = {"left": [1.0, None, 2.0], "right": ["x", "y", "x"]}
    assert [text.get_text() for text in plot.missing(holes).get_xticklabels()] == ["left  33%", "right  0%"]


def test_whole_numbers_stand_for_the_interval_around_them():
    parts = dg.Bernoulli(jnp.array([[0.0], [2.0]])), dg.DiagonalGaussian(jnp.array(MEAN[:, :1]), jnp.zeros((2, 1)))
    mixed = dg.Mixture(jnp.zeros(2), dg.Columns(parts))
    x = np.column_stack([Y, X[:, 0]]).astype("float32")
    x[3] = np.nan
    every = plot.pairs(mixed, x, Y)
    line = every[0, 0].lines[1]
    assert np.isclose(np.trapezoid(line.get_ydata(), line.get_xdata()), 0.5, atol=0.02)  # p(y = 1)
    assert plot.regions(mixed, x, Y).get_xlim()[0] < -0.5
    plot.density(mixed, x)
    rows, inside = _planes._rows_at(np.array([[-0.7, 0.0], [0.4, 0.0], [1.6, 0.0]]), mixed.supports)
    assert rows[:, 0].tolist() == [0, 0, 1]
    assert inside.tolist() == [False, True, False]


def test_one_label_one_row_and_a_column_that_nobody_saw():
    one = dg.Mixture(jnp.zeros(1), dg.DiagonalGaussian(jnp.zeros((1, 3)), jnp.zeros((1, 3))))
    tint = np.asarray(plot.regions(one, X).images[0].get_array())[0, 0]
    assert tint.tolist() == np.asarray(plot.regions(one, X[:1]).images[0].get_array())[-1, -1].tolist()
    plot.pairs(MODEL, np.where([True, False, False], np.nan, X))[0, 0].figure.canvas.draw()


def test_patterns_are_counted():
    ax = plot.missing([[np.nan, 1.0], [2.0, 3.0], [2.0, 1.0], [np.nan, 1.0], [0.0, 0.0]], names=["a", "b"])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["60.0%", "40.0%"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a  40%", "b  0%"]


LINEAR = dg.Logistic(jnp.zeros(2), dg.Linear(jnp.zeros((2, 3))))
ERRORS = {
    "three columns": (lambda: plot.clusters(MODEL, X, columns=(0, 1, 2)), r"Type dgjax.plot.pairs\(model, x\)"),
    "a discriminative model": (lambda: plot.regions(LINEAR, X), "Type dgjax.plot.regions"),
    "a name": (lambda: plot.clusters(MODEL, X, columns=("a", "b")), r"got 'a'.*Type names=\[\.\.\.\]"),
    "names of labels": (lambda: plot.clusters(MODEL, X, ["a"] * 60), "Type y=np.unique"),
    "a model for its fit": (lambda: plot.trace(MODEL), "fit must be what dgjax.fit returns; got a Mixture"),
    "no rows": (lambda: plot.clusters(MODEL, X[:0]), "x must be at least one row"),
    "no rows to miss cells": (lambda: plot.missing(X[:0]), "x must be at least one row"),
    "no images": (lambda: plot.images(np.ones((0, 4))), "x must be at least one row"),
    "no square": (lambda: plot.images(X), r"Type dgjax.plot.images\(x, shape="),
    "several sequences": (lambda: plot.states(CHAIN, np.zeros((2, 5, 1))), r"Type x\[0\]"),
    "no chain": (lambda: plot.transitions(MODEL), "is for a dgjax.HiddenMarkov"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_to_type(name):
    call, words = ERRORS[name]
    with pytest.raises(ValueError, match=words):
        call()


def test_labels_keep_apart_without_colours():
    looks = [(_style.colour(label), _style.marker(label)) for label in range(49)]
    assert len(set(looks)) == 49


def test_a_selection_is_a_line_for_each_covariance_and_failures_are_left_out():
    def trial(k, covariance, criterion, **more):
        return dg.Trial(
            f"m, {k}, {covariance}", {"k": k, "covariance": covariance}, criterion, k, -1.0, True, 0.1, **more
        )

    table = (trial(2, "full", 1.0), trial(1, "full", 3.0), trial(1, "tied", 4.0), trial(2, "tied", 5.0))
    ax = plot.selection(dg.Selection(MODEL, (*table, trial(3, "full", np.nan, failure="collapsed")), "bic"))
    assert [container.get_label() for container in ax.containers] == ["full", "tied"]
    assert [own.lines[0].get_xydata().tolist() for own in ax.containers] == [[[1, 3], [2, 1]], [[1, 4], [2, 5]]]
    assert ax.collections[-1].get_offsets().tolist() == [[2, 1]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("k", "bic, lower is better")
    with pytest.raises(ValueError, match=r"Type dgjax\.select"):
        plot.selection(3)


def test_a_selection_without_numbers_is_points_with_standard_errors():
    table = tuple(
        dg.Trial(name, {}, value, 3, -1.0, True, 0.1, error)
        for name, value, error in (("a", 1.0, 0.1), ("b", 2.0, 0.3))
    )
    ax = plot.selection(dg.Selection(MODEL, table, "cross-validation"))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["b", "a"]
    assert ax.containers[0].has_yerr


def test_a_picture_that_is_not_there_is_told_the_nearest_or_all():
    with pytest.raises(AttributeError, match=r"Type dgjax.plot.pairs"):
        plot.pears  # noqa: B018
    with pytest.raises(AttributeError, match=r"There are clusters, density"):
        plot.violin  # noqa: B018


def test_pairs_of_many_columns_say_that_they_are_the_first_and_name_categories():
    frame = {name: [0.1 * i, 1.0, i, 3.0 - i] for i, name in enumerate("abcd")} | {"e": [2.0, 1.0, 0.5, 1.5]}
    model = dg.naive_bayes(frame | {"y": ["no", "yes", "no", "yes"]}, "y", prior="weak")
    assert plot.pairs(model, frame)[0, 0].figure.get_suptitle() == "The first 4 of 5 columns"
    mixed = {"size": [1.0, 2.0, 1.5, 2.5], "colour": ["red", "blue", "red", "blue"], "y": ["no", "yes", "no", "yes"]}
    every = plot.pairs(dg.naive_bayes(mixed, "y", prior="weak"), mixed)
    assert [tick.get_text() for tick in every[1, 1].get_xticklabels()] == ["blue", "red"]
    assert not every[0, 0].figure.get_suptitle()
