"""Two columns of a table as a plane: densities, clusters and regions of classes, by the model's own marginal there.

A model of a table with names takes its frames, columns by name, and labels as they are written; `y` may be the name of
a column.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dgjax._types import Discriminative, Generative
from dgjax._verbs import log_joint, log_prob, marginal, predict_log_proba
from dgjax.plot import _style
from dgjax.plot._given import NOT_ASKED, given

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE = 200  # points of the grid along each axis
MARGIN = 0.12  # beyond the rows that is shown, of their range
BEYOND = 0.6
"""As far the grid goes on which regions are measured, so that it holds what lies beyond what is shown."""
SHAKEN = 0.25  # that whole numbers are moved by, at most, so that equal rows show
SHARES = 0.5, 0.95
"""Of a cluster's probability, within its inner and outer line: of a normal one 1.18 and 2.45 standard deviations."""
FIRST = 4  # columns of which pairs are shown
SHADES = 0.99, 0.9, 0.75, 0.5, 0.25
BLUES = "#eaf2fa", "#c6dcf0", "#97c3e3", "#5fa3d1", "#2f7fba"


def clusters(
    model: Generative,
    x: Any,
    y: Any = None,
    *,
    columns: Sequence[int] | Sequence[str] = (0, 1),
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Rows in two columns, and of each label the smallest regions that hold half and 95 % of p(x | y).

    Rows have the colours of `y`, or without it those that the model finds most likely. Of normal densities the regions
    are ellipses, 1.18 and 2.45 standard deviations around; of other ones they are what they are. The other columns are
    integrated out. `names` are of all columns, `classes` of labels. Returns the axes.
    """
    own = given(model, x, y, names, classes)
    columns = _two(own, columns)
    plane, supports = _plane(own.model, columns)
    rows, ax = _in_plane(own, columns, supports, ax)
    a, b, grid, inside = _grid(rows, BEYOND, supports)
    weights = _label_weights(plane)
    for label in range(len(weights)):
        values = np.where(inside, np.exp(_joint(plane, grid, label) - weights[label]), 0).reshape(a.shape)
        levels = _levels(values, _area(a, b), SHARES)
        ax.contour(a, b, values, levels, colors=_style.colour(label), linewidths=(1.0, 1.8)[-len(levels) :])
    shown = _style.some(len(rows))
    _style.points(ax, rows[shown], own.y[shown], own.classes)
    return ax


def regions(
    model: Generative | Discriminative,
    x: Any,
    y: Any = None,
    *,
    columns: Sequence[int] | Sequence[str] = (0, 1),
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Which label is the most likely at each place of two columns, the fainter the less sure, and the rows.

    A generative model tells by these two columns alone, p(y | x_columns): the others are integrated out. A
    discriminative one has to be a model of these two columns. Returns the axes.

    Raises ValueError for a discriminative model of more columns, which cannot leave any out.
    """
    from matplotlib.colors import to_rgb

    own = given(model, x, y, names, classes)
    columns = _two(own, columns)
    plane: Any = own.model
    if plane.as_model().generative:
        plane = marginal(plane, np.array(columns))
    elif (d := plane.as_model().num_features) != 2:
        raise ValueError(
            f"regions shows two columns, and a discriminative model cannot leave out the other {d - 2} of its {d}. "
            "Type dgjax.plot.regions(dgjax.marginalize(model, density), ...), or fit it to these two."
        )
    supports = plane.as_model().supports
    rows, ax = _in_plane(own, columns, supports, ax)
    a, b, grid, _ = _grid(rows, MARGIN, supports)
    proba = np.exp(np.asarray(predict_log_proba(plane, grid), float))
    surest = proba.argmax(1)
    k = proba.shape[1]
    tint = np.array([to_rgb(_style.colour(label)) for label in range(k)])[surest]
    sure = ((proba.max(1) - 1 / k) / (1 - 1 / k) if k > 1 else np.ones(len(proba)))[:, None]
    picture = 1 - (1 - tint) * (0.08 + 0.34 * sure)
    extent = (a.min(), a.max(), b.min(), b.max())
    ax.imshow(picture.reshape(*a.shape, 3), extent=extent, origin="lower", aspect="auto", interpolation="bilinear")
    shown = _style.some(len(rows))
    _style.points(ax, rows[shown], own.y[shown], own.classes)
    return ax


def density(
    model: Generative,
    x: Any,
    *,
    columns: Sequence[int] | Sequence[str] = (0, 1),
    names: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """p(x) in two columns, the others integrated out: the smallest regions that hold 25 to 99 % of it, and the rows.

    Returns the axes.
    """
    own = given(model, x, NOT_ASKED, names, None)
    columns = _two(own, columns)
    plane, supports = _plane(own.model, columns)
    rows, ax = _in_plane(own, columns, supports, ax)
    a, b, grid, inside = _grid(rows, BEYOND, supports)
    values = np.where(inside, np.exp(np.asarray(log_prob(plane, grid), float)), 0).reshape(a.shape)
    levels = _levels(values, _area(a, b), SHADES)
    if len(levels):
        ax.contourf(a, b, values, [*levels, values.max() * 2], colors=BLUES[-len(levels) :])
    shown = _style.some(len(rows))
    ax.scatter(*rows[shown].T, c="#24292f", s=5, alpha=0.5, linewidths=0)
    return ax


def pairs(
    model: Generative,
    x: Any,
    y: Any = None,
    *,
    columns: Sequence[int] | Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
) -> "np.ndarray":
    """Every pair of some columns as `clusters`, and on the diagonal each column's histogram beside p(x_column, y).

    `columns` are the first four by default, and a line above says so where there are more. Returns the axes (columns,
    columns).
    """
    own = given(model, x, y, names, classes)
    d = own.x.shape[1]
    chosen = tuple(range(min(FIRST, d))) if columns is None else own.numbers(columns)
    size = max(2.0 * len(chosen), 4.0)
    every = _style.grid_of_axes(len(chosen), len(chosen), size, size, sharex="col")
    for i, row in enumerate(chosen):
        for j, column in enumerate(chosen):
            ax = every[i, j]
            if j > i:
                ax.set_visible(False)
                continue
            if i == j:
                _marginal(ax, own, row)
            else:
                clusters(own.model, own.x, own.y, columns=(column, row), names=own.names, classes=own.classes, ax=ax)
                if ax.get_legend():
                    ax.get_legend().remove()
            if i < len(chosen) - 1:
                ax.set_xlabel("")
                ax.tick_params(labelbottom=False)
            if j:
                ax.set_ylabel("")
    if columns is None and d > FIRST:
        every[0, 0].figure.suptitle(f"The first {FIRST} of {d} columns", fontsize="medium")
    handles, told = every[1, 0].get_legend_handles_labels() if len(chosen) > 1 else ([], [])
    if len(told) > 1:
        every[0, 0].figure.legend(handles, told, loc="upper right", frameon=False)
    return every


def _marginal(ax, own, column):
    """Histogram of the cells of a column, and p(x_column, y) of each label y."""
    (one, supports), cells = _plane(own.model, (column,)), own.x[:, column]
    known = cells[~np.isnan(cells)]
    places = np.linspace(*_range(known, MARGIN, supports[0]), SIDE)
    rows, inside = _rows_at(places[:, None], supports)
    bins: Any = min(30, max(8, round(len(known) ** 0.5)))
    if supports[0].whole and len(known):
        bins = np.arange(known.min() - 0.5, known.max() + 1)
    if len(known):
        ax.hist(known, bins=bins, density=True, color="#e5e7eb")
    for label in range(len(_label_weights(one))):
        ax.plot(
            places, np.where(inside, np.exp(_joint(one, rows, label)), 0), color=_style.colour(label), linewidth=1.6
        )
    ax.set_yticks([])
    if own.levels is not None and len(own.levels[column]):
        ax.set_xticks(range(len(own.levels[column])), [str(level) for level in own.levels[column]])
    ax.set_xlabel(_style.name_of(column, own.names))


def _two(own, columns):
    """Numbers of two columns. Raises ValueError for more or fewer."""
    if len(columns) != 2 or isinstance(columns, str):
        raise ValueError(f"columns must be two columns of x; got {columns!r}. Type dgjax.plot.pairs(model, x).")
    return own.numbers(columns)


def _plane(model, columns):
    """Marginal model of some columns, and their supports."""
    plane = marginal(model, np.array(columns))
    return plane, plane.as_model().supports


def _in_plane(own, columns, supports, ax):
    """Places (n, 2) of rows in two columns, whole numbers shaken a little apart, and axes named after these.

    Raises ValueError for another number of columns.
    """
    ax, (first, second) = _style.axes(ax), columns
    rows = own.x[:, [first, second]]
    known = rows[~np.isnan(rows).any(1)]
    ax.set(xlabel=_style.name_of(first, own.names), ylabel=_style.name_of(second, own.names))
    ax.set(xlim=_range(known[:, 0], MARGIN, supports[0]), ylim=_range(known[:, 1], MARGIN, supports[1]))
    for column, ticks in ((first, ax.set_xticks), (second, ax.set_yticks)):
        if own.levels is not None and len(own.levels[column]):
            ticks(range(len(own.levels[column])), [str(level) for level in own.levels[column]])
    shaken = np.random.default_rng(0).uniform(-SHAKEN, SHAKEN, rows.shape)
    return rows + shaken * [support.whole for support in supports], ax


def _range(cells, margin, support):
    """Range of an axis: that of the cells, and a margin; at least the interval around a whole number."""
    low, high = (float(cells.min()), float(cells.max())) if len(cells) else (0.0, 1.0)
    beyond = margin * (high - low) or 1.0
    beyond = max(beyond, 0.6) if support.whole else beyond
    return low - beyond, high + beyond


def _grid(rows, margin, supports):
    """Grid over the rows with both cells: two matrices of places, rows (SIDE^2, 2) there, and which are possible."""
    known = rows[~np.isnan(rows).any(1)]
    a, b = np.meshgrid(*(np.linspace(*_range(known[:, i], margin, supports[i]), SIDE) for i in range(2)))
    return a, b, *_rows_at(np.stack([a.ravel(), b.ravel()], 1), supports)


def _rows_at(places, supports):
    """Rows (m, c) that the model takes at places, a whole number for the interval around it; and which are possible."""
    rows = np.stack(
        [
            np.clip(np.round(own) if support.whole else own, support.low, support.high)
            for own, support in zip(places.T, supports, strict=True)
        ],
        1,
    )
    reach = np.where([support.whole for support in supports], 0.5, 0.0)
    return rows, (np.abs(rows - places) <= reach).all(1)


def _area(a, b):
    return (a[0, 1] - a[0, 0]) * (b[1, 0] - b[0, 0])


def _joint(model, rows, label):
    return np.asarray(log_joint(model, rows, np.full(len(rows), label)), float)


def _label_weights(model):
    """Log-probability (k,) of each label, its posterior given a row without cells."""
    return np.asarray(predict_log_proba(model, np.full((1, model.as_model().num_features), np.nan))[0], float)


def _levels(values, area, shares):
    """Densities above which so large shares lie, in order; without those that the grid does not hold."""
    order = np.sort(values.ravel())[::-1]
    held = np.cumsum(order) * area
    at = np.searchsorted(held, shares)
    return np.unique(order[at[at < len(order)]])
