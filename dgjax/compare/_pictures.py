"""Pictures of what generative models know: samples of each class, and hidden cells filled in."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from dgjax.compare._bench import Bench
from dgjax.compare._missing import MEAN
from dgjax.compare._results import Answer
from dgjax.compare._style import FAINT, WIDE, Picture, drawn, panel

NUM_SHOWN = 8
MOST_CLASSES = 10
MOST_DOTS = 400


def pictures(answer: Answer, bench: Bench, keys: list[str]) -> list[Picture]:
    """Pictures by those models: grids of images where columns are pixels, else real and drawn rows in two columns."""
    drawn_by, occluded = answer.pictures.get("samples", {}), answer.pictures.get("occluded")
    samples = {key: drawn_by[key] for key in keys if key in drawn_by}
    if bench.dataset.image is None:
        return _scatters(samples, bench)
    drawn_rows = [_sample_grid(rows, bench.named[key].short, bench) for key, rows in samples.items()]
    walked = [_walks(rows, bench) for rows in answer.pictures.get("walks", {}).values()]
    return drawn_rows + ([_occluded(occluded, bench, keys)] if occluded else []) + walked


def _mosaic(rows: np.ndarray, gap: int = 1) -> np.ndarray:
    """Mosaic of images (r, c, h, w) as one, white between them."""
    r, c, h, w = rows.shape
    whole = np.full((r * (h + gap) + gap, c * (w + gap) + gap), np.nan)
    for i in range(r):
        for j in range(c):
            whole[gap + i * (h + gap) :, gap + j * (w + gap) :][:h, :w] = rows[i, j]
    return whole


def _show(axes: Axes, rows: np.ndarray, low: float, high: float) -> None:
    ink = colormaps["Greys"].with_extremes(bad="white", under="#fde7c7")
    axes.imshow(_mosaic(rows), cmap=ink, vmin=low, vmax=high, interpolation="nearest", aspect="equal")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _sample_grid(rows: np.ndarray, name: str, bench: Bench) -> Picture:
    """Grid of sampled images, a row for each class."""
    image = bench.dataset.image
    assert image is not None
    shown = rows[:MOST_CLASSES, :NUM_SHOWN]
    pixels = np.stack([image.pixels(np.clip(own, image.low, image.high)) for own in shown])
    with panel(height=4.9) as (figure, axes):
        _show(axes, pixels, image.low, image.high)
        axes.set_yticks(
            1 + image.height / 2 + (image.height + 1) * np.arange(len(shown)), bench.dataset.classes[: len(shown)]
        )
        axes.set_xticks([])
        axes.set_title(name[:1].upper() + name[1:])
        return drawn(figure, f"Samples of each class drawn by {name}")


def _occluded(occluded: dict[str, np.ndarray], bench: Bench, keys: list[str]) -> Picture:
    """Grid of images: the truth, what the models saw, and what each made of the hidden half."""
    image = bench.dataset.image
    assert image is not None
    models = [key for key in keys if key in occluded]
    kinds = {"as it is": "truth", "lower half hidden": "covered", "filled by the mean": MEAN}
    kinds |= {f"filled by {bench.named[key].short}": key for key in models}
    below = image.low - 1.0
    pixels = []
    for source in kinds.values():
        rows = image.pixels(np.clip(occluded[source], image.low, image.high))
        if source == "covered":
            rows[:, image.height // 2 :] = below
        pixels.append(np.where(np.isnan(rows), below, rows))
    with panel(WIDE, 0.3 + 0.6 * len(kinds)) as (figure, axes):
        _show(axes, np.stack(pixels), image.low, image.high)
        axes.set_yticks(1 + image.height / 2 + (image.height + 1) * np.arange(len(kinds)), list(kinds))
        axes.set_xticks([])
        return drawn(figure, "Test rows with the lower half hidden, and filled in by each model", wide=True)


def _walks(rows: np.ndarray, bench: Bench) -> Picture:
    """Grid of images along walks through latent space, a row for each walk."""
    image = bench.dataset.image
    assert image is not None
    pixels = np.stack([image.pixels(np.clip(own, image.low, image.high)) for own in rows])
    with panel(height=4.9) as (figure, axes):
        _show(axes, pixels, image.low, image.high)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title("From one row to another")
        return drawn(figure, "Walks through the latent space of the autoencoder, from a row of each class to the next")


def _scatters(samples: dict[str, np.ndarray], bench: Bench) -> list[Picture]:
    """Scatter plots of real rows and of each model's draws, in the two columns that tell the classes apart best."""
    numbers = np.flatnonzero(bench.dataset.numeric)
    if len(numbers) < 2 or not samples:
        return []
    real, labels = bench.dataset.x[:, numbers], bench.dataset.y
    first, second = np.argsort(-_separation(real, labels), kind="stable")[:2]
    shown = [np.flatnonzero(labels == label) for label in range(len(bench.dataset.classes))]
    part = max(1, -(-sum(map(len, shown)) // MOST_DOTS))
    clouds = {"Real rows": [real[rows[::part]] for rows in shown]}
    clouds |= {f"Drawn by {bench.named[key].short}": list(rows) for key, rows in samples.items()}
    names = [bench.dataset.columns[numbers[j]] for j in (first, second)]
    limits = [_wide(real[:, j]) for j in (first, second)]
    return [
        _cloud(title, [own[:, [first, second]] for own in rows], names, limits, bench) for title, rows in clouds.items()
    ]


def _separation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Separation (d,) of classes by each column: the variance of class means over the variance."""
    means = np.stack([np.nanmean(x[y == label], axis=0) for label in np.unique(y[y >= 0])])
    return np.nanvar(means, axis=0) / np.nanvar(x, axis=0)


def _wide(column: np.ndarray) -> tuple[float, float]:
    low, high = float(np.nanmin(column)), float(np.nanmax(column))
    return low - 0.15 * (high - low), high + 0.15 * (high - low)


def _cloud(title: str, rows: list, names: list[str], limits: list[tuple[float, float]], bench: Bench) -> Picture:
    # Hues that no pair has.
    colors = colormaps["plasma"](np.linspace(0.05, 0.8, len(rows)))
    with panel() as (figure, axes):
        for own, color, name in zip(rows, colors, bench.dataset.classes, strict=False):
            axes.plot(*own.T, "o", color=color, alpha=0.55, markersize=3.5, markeredgewidth=0, label=name)
        axes.set(xlim=limits[0], ylim=limits[1], xlabel=names[0], ylabel=names[1])
        axes.set_title(title, pad=22 if len(rows) <= 6 else 6)
        if len(rows) <= 6:
            axes.legend(
                loc="lower left",
                bbox_to_anchor=(-0.02, 1.0),
                ncols=3,
                handletextpad=0.1,
                columnspacing=0.8,
                labelcolor=FAINT,
            )
        return drawn(figure, f"{title}: {names[0]} and {names[1]}")
