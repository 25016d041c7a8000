"""Tilted densities and adversarial networks: nats of shuttle's rows, a digit left out, digits with ten labels a class.

    python benchmarks/tilted.py --shuttle shuttle.csv.gz     # the file of the package river, river/datasets
    python benchmarks/tilted.py --left-out
    python benchmarks/tilted.py --labels

Settings were chosen by validation rows, never by those of the test.
"""

import argparse
import dataclasses
import gzip
import io
import time
from typing import Any

import jax
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import dgjax as dg

KEY, LEARNT = jax.random.key(0), 1437


def method(options: argparse.Namespace, seed: int = 1, **more: Any) -> dg.Optax:
    """AdamW with a cosine and clipped gradients."""
    rate = optax.cosine_decay_schedule(options.rate, options.steps)
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=options.decay))
    return dg.Optax(adam, options.batch, jax.random.key(seed), **more)


def shuttle(path: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows of shuttle in units of a normal, dequantised, by name of their set; and log-determinants of the inliers.

    Of 45,586 inliers 20,000 to learn from, 2,000 to test, 2,000 of validation, and 1,000 outliers. Units are medians
    and 5-95 percentiles of the rows to learn from, arcsinh, then means and deviations; `log_det` (3, n) counts them.
    """
    with gzip.open(path) as file:
        table = np.loadtxt(io.TextIOWrapper(file), delimiter=",", skiprows=1)
    rng = np.random.default_rng(0)
    x, label = table[:, :-1] + rng.random(table[:, :-1].shape), table[:, -1]
    inliers = rng.permutation(np.flatnonzero(label == 0))
    outliers = rng.permutation(np.flatnonzero(label == 1))[:1000]
    sets = {"learnt": inliers[:20000], "test": inliers[20000:22000], "held": inliers[22000:24000], "out": outliers}
    own = x[sets["learnt"]]
    centre = np.median(own, 0)
    low, high = np.percentile(own, [5, 95], axis=0)
    spread = high - low + 1e-9
    bent = {name: np.arcsinh((x[rows] - centre) / spread) for name, rows in sets.items()}
    mean, scale = bent["learnt"].mean(0), bent["learnt"].std(0)
    log_det = {
        name: -(np.log(spread * scale) + 0.5 * np.log1p(((x[rows] - centre) / spread) ** 2)).sum(1)
        for name, rows in sets.items()
    }
    return {name: ((rows - mean) / scale).astype("float32") for name, rows in bent.items()}, log_det


def nats_of_shuttle(options: argparse.Namespace) -> None:
    """Nats a row, in the units of the file, of a mixture of full normals and of its tilt; AUROC of outliers."""
    x, log_det = shuttle(options.shuttle)
    begin = time.perf_counter()
    base = dg.fit(dg.gaussian_mixture(KEY, x["learnt"], 10), x["learnt"], prior="weak").model
    print(f"mixture of 10 normals, {time.perf_counter() - begin:.0f} s")
    say(base, x, log_det)
    start = dg.tilted(KEY, base, x["learnt"], hidden=(options.width,) * options.layers, bound=options.bound)
    begin = time.perf_counter()
    model = dg.fit(start, x["learnt"], method=method(options), max_steps=options.steps).model
    share = float(model.effective_share()[0])
    print(f"tilted, {time.perf_counter() - begin:.0f} s: log Z {float(model.log_normalizer[0]):.3f}, ", end="")
    print(f"standard error {float(dg.log_prob_error(model, x['test'][:1])[0]):.4f}, effective share {share:.1%}")
    say(model, x, log_det)


def say(model: Any, x: dict[str, np.ndarray], log_det: dict[str, np.ndarray]) -> None:
    """Nats a row of validation and of test, and AUROC of the outliers."""
    logs = {name: np.asarray(dg.log_prob(model, x[name]), float) + log_det[name] for name in ("held", "test", "out")}
    told = roc_auc_score(np.repeat([0, 1], [len(logs["test"]), len(logs["out"])]), -np.r_[logs["test"], logs["out"]])
    print(f"  validation {logs['held'].mean():.3f}, test {logs['test'].mean():.3f}, AUROC {told:.4f}", flush=True)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Digits dequantised, cells in [0, 1), shuffled, and their labels."""
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    return ((x[order] + rng.random(x.shape)) / 17).astype("float32"), y[order]


def left_out(options: argparse.Namespace) -> None:
    """AUROC by which log p(x) tells a digit that was never seen: of two thirds of the others, on the rest of them."""
    x, y = digits()
    found = []
    for digit in range(10):
        seen = np.flatnonzero(y != digit)
        learnt, new = x[seen[: 2 * len(seen) // 3]], np.r_[x[seen[2 * len(seen) // 3 :]], x[y == digit]]
        is_out = np.r_[np.zeros(len(seen) - 2 * len(seen) // 3), np.ones((y == digit).sum())]
        base = dg.fit(dg.gaussian_mixture(KEY, learnt, 10, "tied"), learnt, prior="weak").model
        start = dg.tilted(KEY, base, learnt, hidden=(options.width,) * options.layers, bound=options.bound)
        model = dg.fit(start, learnt, method=method(options), max_steps=options.steps).model
        both = [roc_auc_score(is_out, -np.asarray(dg.log_prob(own, new))) for own in (base, model)]
        found.append(both)
        print(f"digit {digit}: base {both[0]:.3f}, tilted {both[1]:.3f}", flush=True)
    base, tilted = np.mean(found, 0)
    print(f"mean of ten digits: base {base:.3f}, tilted {tilted:.3f}")


def few_labels(options: argparse.Namespace) -> None:
    """Accuracy with ten labels a class, in black and white, rows and labels those of tests/test_autoencoder_digits.py.

    By `--choose` on the rows to learn from whose labels are hidden, else on new ones.
    """
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] > 7.5).astype("float32"), y[order]
    found: dict[str, list[float]] = {}
    games = {"base": tilted_digits, "adversarial": adversarial_digits}
    for seed in range(options.first, options.first + options.repeats):
        some = ten_of_each(y[:LEARNT], seed)
        asked = np.flatnonzero(some < 0) if options.choose else np.arange(LEARNT, len(x))
        for first, make in games.items():
            if options.only not in (None, first):
                continue
            for name, model in zip((first, "tilted"), make(options, x[:LEARNT], some, seed), strict=False):
                found.setdefault(name, []).append(float((np.asarray(dg.predict(model, x[asked])) == y[asked]).mean()))
                print(seed, name, f"{found[name][-1]:.1%}", getattr(model.density, "coverage", ""), flush=True)
    for name, own in found.items():
        error = np.std(own, ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.nan
        print(f"{name}: {np.mean(own):.1%} +- {error:.1%} of {len(own)} draws of the labels")


def ten_of_each(y: np.ndarray, seed: int) -> np.ndarray:
    """Labels, of which ten of each class are known, chosen by a seed; the others are -1."""
    rng = np.random.default_rng(100 + seed)
    known = np.concatenate([rng.choice(np.flatnonzero(y == k), 10, replace=False) for k in range(10)])
    some = np.full(len(y), -1)
    some[known] = y[known]
    return some


def tilted_digits(options: argparse.Namespace, x: np.ndarray, some: np.ndarray, seed: int) -> tuple[Any, Any]:
    """A base for each class, autoencoders or with `--components` mixtures of Bernoullis, and its tilt."""
    rng, k, key = np.random.default_rng(seed), options.components, jax.random.key(seed)
    more, sizes = {"label_weight": options.label_weight}, (options.width,) * options.layers
    if k:
        inner = dg.Mixture(np.zeros((10, k)), dg.Bernoulli(rng.normal(size=(10, k, 64))))
        base = dg.fit(dg.Mixture(np.zeros(10), inner), x, some, prior="weak", **more).model
    else:
        own = dg.variational_autoencoder(key, 64, 16, "bernoulli", 10, hidden=(128,))
        adam = dg.Optax(optax.adam(3e-3), 128, key)
        base = dg.fit(own, x, some, adam, max_steps=2500, label_weight=10).model
    p0 = base.density if k else dataclasses.replace(base.density, num_samples=16)
    start = dg.tilted(key, p0, x, some, hidden=sizes, bound=options.bound, num_samples=2000)
    return base, dg.fit(start, x, some, method(options, seed), max_steps=options.steps, **more).model


def adversarial_digits(options: argparse.Namespace, x: np.ndarray, some: np.ndarray, seed: int) -> tuple[Any]:
    """A semi-supervised GAN of rows with noise: no generator draws 0 and 1, by which alone rows would be told."""
    x = x + options.noise * np.random.default_rng(seed).normal(size=x.shape).astype("float32")
    key, sizes = jax.random.key(seed), (options.width,) * options.layers
    start = dg.adversarial(key, x, some, hidden=sizes, penalty=options.penalty)
    adam = [optax.adam(rate, b1=0.5) for rate in (options.rate, options.rate / 2)]
    game = dg.Optax(adam[0], options.batch, key, generator=adam[1])
    return (dg.fit(start, x, some, game, label_weight=options.label_weight, max_steps=options.steps).model,)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    counts = {"steps": 3000, "batch": 512, "width": 128, "layers": 3, "repeats": 5, "first": 0, "components": 0}
    for name, value in counts.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    rates = {"rate": 2e-3, "decay": 0.01, "bound": 2.99, "penalty": 1.0, "label-weight": 10.0, "noise": 0.3}
    for name, value in rates.items():
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--shuttle", help="path of shuttle.csv.gz")
    parser.add_argument("--left-out", action="store_true")
    parser.add_argument("--labels", action="store_true")
    parser.add_argument("--choose", action="store_true", help="with --labels, on rows that were learnt from")
    parser.add_argument("--only", choices=["base", "adversarial"])
    options = parser.parse_args()
    if options.shuttle:
        nats_of_shuttle(options)
    if options.left_out:
        left_out(options)
    if options.labels:
        few_labels(options)


if __name__ == "__main__":
    main()
