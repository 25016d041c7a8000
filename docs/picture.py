"""Draws docs/_static/picture.png: one generative model each for iris and for digits, asked four kinds of question.

Run it from the root of the repository: python docs/picture.py
"""

from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from sklearn.datasets import load_digits, load_iris

import dgjax as dg

COLOURS = np.array([[0.12, 0.47, 0.71], [0.90, 0.45, 0.10], [0.20, 0.60, 0.30]])
GREY = "#555555"
OUT = Path(__file__).parent / "_static" / "picture.png"


def main():
    """Draw and save."""
    plt.rcParams.update({"font.size": 10, "axes.titlesize": 12, "font.family": "sans-serif"})
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.9), width_ratios=[1, 1, 1, 1.05])
    x, y = load_iris(return_X_y=True)
    x = jnp.asarray(x[:, [0, 2]])
    model = dg.discriminant_analysis(x, jnp.asarray(y), covariance="full")
    draw_density(axes[0], model, x)
    draw_classes(axes[1], model, x, y)
    draw_missing(axes[2], model, x)
    draw_digits(axes[3])
    figure.tight_layout(w_pad=2.2)
    figure.savefig(OUT, dpi=110)


def grid(x):
    """A fine grid over the rows, with a margin."""
    low, high = np.asarray(x.min(0)) - 0.7, np.asarray(x.max(0)) + 0.7
    a, b = np.meshgrid(np.linspace(low[0], high[0], 220), np.linspace(low[1], high[1], 220))
    return a, b, jnp.stack([a.ravel(), b.ravel()], 1)


def label(axis, title, verb):
    """A question, and what one types to ask it."""
    axis.set_title(title, loc="left", fontweight="bold", pad=24)
    axis.text(0, 1.03, verb, transform=axis.transAxes, family="monospace", fontsize=9, color=GREY)


def draw_density(axis, model, x):
    """Contours of log p(x)."""
    a, b, cells = grid(x)
    log_p = np.asarray(dg.log_prob(model, cells)).reshape(a.shape)
    colours = LinearSegmentedColormap.from_list("paper", ["#ffffff", "#26456e"])
    axis.contourf(a, b, log_p, levels=np.linspace(log_p.max() - 9, log_p.max(), 11), cmap=colours, alpha=0.8)
    axis.scatter(*np.asarray(x).T, s=7, color="black", alpha=0.55, linewidths=0)
    axis.set(xlabel="sepal length (cm)", ylabel="petal length (cm)")
    label(axis, "How usual is a row?", "dg.log_prob(model, x)")


def draw_classes(axis, model, x, y):
    """The colour mixed from the posterior of the three classes."""
    a, b, cells = grid(x)
    posterior = np.exp(np.asarray(dg.predict_log_proba(model, cells)))
    extent = (a.min(), a.max(), b.min(), b.max())
    image = (1 - 0.45 * (1 - posterior @ COLOURS)).reshape(*a.shape, 3)
    axis.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
    axis.scatter(*np.asarray(x).T, s=11, c=COLOURS[y], edgecolors="white", linewidths=0.3)
    axis.set(xlabel="sepal length (cm)", ylabel="petal length (cm)")
    label(axis, "Which class?", "dg.predict_log_proba(model, x)")


def draw_missing(axis, model, x):
    """The posterior of a row whose petal length is missing."""
    length = jnp.linspace(float(x[:, 0].min()) - 0.7, float(x[:, 0].max()) + 0.7, 220)
    rows = jnp.stack([length, jnp.full_like(length, jnp.nan)], 1)
    posterior = np.exp(np.asarray(dg.predict_log_proba(model, rows)))
    for k, name in enumerate(("setosa", "versicolor", "virginica")):
        axis.plot(length, posterior[:, k], color=COLOURS[k], lw=2.2)
        axis.fill_between(length, posterior[:, k], color=COLOURS[k], alpha=0.12)
        peak = int(posterior[:, k].argmax())
        place = {0: (length[6], 0.9), 1: (length[peak], posterior[peak, k] + 0.04), 2: (length[-6], 0.9)}[k]
        axis.text(*place, name, color=COLOURS[k], ha=["left", "center", "right"][k])
    axis.set(xlabel="sepal length (cm)", ylabel="p(class | sepal length)", ylim=(0, 1.02))
    axis.set_xlim(float(length[0]), float(length[-1]))
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    label(axis, "And with a cell missing?", "x[:, 1] = nan")


def draw_digits(axis):
    """Digits that the model has not seen, their lower half taken away, and filled in."""
    x, y = (jnp.asarray(part) for part in load_digits(return_X_y=True))
    model = dg.discriminant_analysis(x[:1500], y[:1500], covariance="full", prior="weak")
    test = jnp.stack([x[1500:][np.flatnonzero(np.asarray(y[1500:]) == k)[0]] for k in range(10)])
    holes = test.at[:, 32:].set(jnp.nan)
    rows = [test, holes, dg.impute(model, holes)]
    tiles = np.stack(
        [np.pad(np.asarray(r).reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)), constant_values=-1) for r in rows]
    )
    picture = np.concatenate([np.concatenate(list(r[:10:2]), 1) for r in tiles])
    colours = plt.get_cmap("gray_r").copy()
    colours.set_bad("#f2d7c4")
    colours.set_under("white")
    axis.imshow(np.ma.masked_invalid(picture), cmap=colours, vmin=0, vmax=16, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([4.5, 14.5, 24.5], ["digit", "half of it", "filled in"], rotation=90, va="center")
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    label(axis, "What was in the cells?", "dg.impute(model, x)")


if __name__ == "__main__":
    main()
