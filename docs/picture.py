"""Draws docs/_static/picture.png: one generative model for iris and one for digits, asked four questions.

Run it from the root of the repository, where dgjax[docs] is installed: python docs/picture.py
"""

from pathlib import Path

import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from sklearn.datasets import load_digits, load_iris

import dgjax as dg

NAMES = ("setosa", "versicolor", "virginica")
COLOURS = np.array([[0.16, 0.44, 0.66], [0.87, 0.49, 0.16], [0.27, 0.56, 0.37]])
INK, GREY, MISSING = "#222222", "#5f6368", "#f3dcc9"
OUT = Path(__file__).parent / "_static" / "picture.png"
# Of the size that a page shows it, so that the type is as large as the text around it; twice the dots for sharpness.
STYLE = {
    "figure.figsize": (9.2, 6.5),
    "figure.facecolor": "white",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": GREY,
    "axes.edgecolor": "#b5b8bc",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def main():
    """Draw and save."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2)
        x, y = load_iris(return_X_y=True)
        x = jnp.asarray(x[:, [0, 2]])
        model = dg.discriminant_analysis(x, jnp.asarray(y), covariance="full")
        draw_density(axes[0, 0], model, x)
        draw_classes(axes[0, 1], model, x, y)
        draw_missing(axes[1, 0], model, x)
        draw_digits(axes[1, 1])
        figure.tight_layout(w_pad=2.5, h_pad=2.0)
        figure.savefig(OUT, dpi=180)


def grid(x):
    """A fine grid over the rows, with a margin."""
    low, high = np.asarray(x.min(0)) - 0.7, np.asarray(x.max(0)) + 0.7
    a, b = np.meshgrid(np.linspace(low[0], high[0], 220), np.linspace(low[1], high[1], 220))
    return a, b, jnp.stack([a.ravel(), b.ravel()], 1)


def label(axis, title, verb):
    """A question, and what one types to ask it."""
    axis.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=23)
    axis.text(0, 1.035, verb, transform=axis.transAxes, family="monospace", fontsize=9.5, color=GREY)


def draw_density(axis, model, x):
    """Contours of log p(x)."""
    a, b, cells = grid(x)
    log_p = np.asarray(dg.log_prob(model, cells)).reshape(a.shape)
    colours = LinearSegmentedColormap.from_list("paper", ["#ffffff", "#d9e4ef", "#5d83ab"])
    levels = np.linspace(log_p.max() - 9, log_p.max(), 10)
    axis.contourf(a, b, log_p, levels=levels, cmap=colours)
    axis.contour(a, b, log_p, levels=levels, colors="white", linewidths=0.6, linestyles="solid")
    axis.scatter(*np.asarray(x).T, s=9, color=INK, alpha=0.6, linewidths=0, zorder=3)
    axis.set(xlabel="sepal length (cm)", ylabel="petal length (cm)")
    label(axis, "How usual is a row?", "dg.log_prob(model, x)")


def draw_classes(axis, model, x, y):
    """The colour mixed from the posterior of the three classes."""
    a, b, cells = grid(x)
    posterior = np.exp(np.asarray(dg.predict_log_proba(model, cells)))
    extent = (a.min(), a.max(), b.min(), b.max())
    image = (1 - 0.35 * (1 - posterior @ COLOURS)).reshape(*a.shape, 3)
    axis.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
    axis.scatter(*np.asarray(x).T, s=17, c=COLOURS[y], edgecolors="white", linewidths=0.5)
    for name, colour, place in zip(NAMES, COLOURS, ((7.0, 1.2), (7.3, 3.9), (4.0, 6.4)), strict=True):
        axis.text(*place, name, color=0.75 * colour, fontweight="bold")
    axis.set(xlabel="sepal length (cm)", ylabel="petal length (cm)")
    label(axis, "Which class?", "dg.predict_log_proba(model, x)")


def draw_missing(axis, model, x):
    """The posterior of a row whose petal length is missing."""
    length = jnp.linspace(float(x[:, 0].min()) - 0.7, float(x[:, 0].max()) + 0.7, 220)
    rows = jnp.stack([length, jnp.full_like(length, jnp.nan)], 1)
    posterior = np.exp(np.asarray(dg.predict_log_proba(model, rows)))
    places = ((4.2, 0.82), (5.92, 0.71), (7.9, 0.82))
    for name, colour, place, p in zip(NAMES, COLOURS, places, posterior.T, strict=True):
        axis.plot(length, p, color=colour, lw=2.2)
        axis.fill_between(length, p, color=colour, alpha=0.14, linewidth=0)
        axis.text(*place, name, color=0.75 * colour, fontweight="bold", ha="center")
    axis.set(xlabel="sepal length (cm)", ylabel="p(class | sepal length)", ylim=(0, 1.02))
    axis.set_xlim(float(length[0]), float(length[-1]))
    label(axis, "And with the petals not measured?", "the same, with x[:, 1] = nan")


def draw_digits(axis):
    """Digits that the model has not seen, their lower half taken away, and filled in."""
    x, y = (jnp.asarray(part) for part in load_digits(return_X_y=True))
    model = dg.discriminant_analysis(x[:1500], y[:1500], covariance="full", prior="weak")
    unseen = np.stack([x[1500:][np.flatnonzero(np.asarray(y[1500:]) == k)[0]] for k in range(0, 10, 2)])
    holes = np.where(np.arange(64) < 32, unseen, np.nan)
    tiles = [np.asarray(rows).reshape(-1, 8, 8) for rows in (unseen, holes, dg.impute(model, holes))]
    padded = [np.pad(rows, ((0, 0), (1, 1), (1, 1)), constant_values=-1) for rows in tiles]
    picture = np.concatenate([np.concatenate(list(rows), 1) for rows in padded])
    colours = plt.get_cmap("gray_r").copy()
    colours.set_bad(MISSING)
    colours.set_under("white")
    axis.imshow(np.ma.masked_invalid(picture), cmap=colours, vmin=0, vmax=16, interpolation="nearest", aspect="auto")
    axis.set_xticks([])
    axis.set_yticks([4.5, 14.5, 24.5], ["unseen\ndigit", "half of it\nmissing", "filled in"])
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    label(axis, "What was in the cells?", "dg.impute(model, x)")


if __name__ == "__main__":
    main()
