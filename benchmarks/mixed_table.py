"""A mixed table with missing cells: log-probability and imputation of held-out cells, beside IterativeImputer.

    python benchmarks/mixed_table.py

The table is that of 53,940 diamonds that comes with the package plotnine (MIT), which is downloaded and not installed:
weight and price, in logarithms, five measures, and three orders of quality with 5, 7 and 8 levels. A fifth of all cells
is missing at random while learning, another fifth of the test rows is held out.
"""

import argparse
import io
import pathlib
import subprocess
import sys
import time
import zipfile
from typing import Any

import jax
import numpy as np
import optax
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

import dgjax as dg

PLACE = pathlib.Path(__file__).parents[1] / ".benchmarks"
LEVELS = {
    "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
    "color": list("JIHGFED"),
    "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
}
REAL = ["carat", "price", "depth", "table", "x", "y", "z"]
CODES, NUMBERS = tuple(range(7, 10)), tuple(range(7))
KINDS = ["gaussian"] * 7 + ["categorical"] * 3
COMPONENTS = 10, 30, 60


def diamonds() -> np.ndarray:
    """Rows (n, 10): seven real columns, three of levels 0, 1, ...; without the few whose measures are 0."""
    if not (found := list(PLACE.glob("plotnine-*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(PLACE), "plotnine==0.15.9"]
        subprocess.run(command, check=True)
        found = list(PLACE.glob("plotnine-*.whl"))
    with zipfile.ZipFile(found[0]) as archive:
        frame = pd.read_csv(io.BytesIO(archive.read("plotnine/data/diamonds.csv")))
    frame = frame[(frame[["x", "y", "z"]] > 0).all(axis=1)]
    frame[["carat", "price"]] = np.log(frame[["carat", "price"]])
    for name, levels in LEVELS.items():
        frame[name] = frame[name].map({level: i for i, level in enumerate(levels)})
    return frame[[*REAL, *LEVELS]].to_numpy("float32")


def mixture(train: np.ndarray, k: int) -> Any:
    """Mixture of k components, each a full Gaussian of the real columns and tables of the others, by EM."""
    filled = np.where(np.isnan(train), np.nanmean(train, axis=0), train)
    labels = KMeans(k, n_init=1, random_state=0).fit_predict((filled - filled.mean(0)) / filled.std(0))
    numbers = dg.discriminant_analysis(filled[:, NUMBERS], labels)
    codes = dg.naive_bayes(np.round(filled[:, CODES]), labels, "categorical", num_categories=[5, 7, 8])
    density = dg.Columns((numbers.density, codes.density), (NUMBERS, CODES))
    start = dg.Mixture(numbers.log_weights, density)
    return dg.fit(start, train, prior=dg.weak_prior(start, train), max_steps=200).model


def autoregressive(options: argparse.Namespace, train: np.ndarray) -> Any:
    start = dg.autoregressive(
        jax.random.key(0), train, kinds=KINDS, num_categories=dict(zip(CODES, (5, 7, 8), strict=True)),
        width=options.width, num_layers=options.layers, dropout=0.0,
    )  # fmt: skip
    rate = optax.warmup_cosine_decay_schedule(0, options.rate, 100, options.steps)
    rule = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=0.05))
    method = dg.Optax(rule, options.batch, jax.random.key(1), validation=0.05, patience=options.steps)
    return dg.fit(start, train, method=method, max_steps=options.steps).model


def errors(filled: np.ndarray, true: np.ndarray, held: np.ndarray, spread: np.ndarray) -> str:
    """Root-mean-square error of held-out real cells in standard deviations, and the share of wrong levels."""
    apart = ((filled - true) / spread)[:, NUMBERS][held[:, NUMBERS]]
    wrong = (np.round(filled) != true)[:, CODES][held[:, CODES]]
    return f"error {np.sqrt((apart**2).mean()):.3f} standard deviations, {100 * wrong.mean():.1f}% of levels wrong"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    own = parser.parse_args()
    rng, table = np.random.default_rng(0), diamonds()
    table = rng.permutation(table)[: own.rows + 3000]
    known = np.where(rng.random(table.shape) < 0.2, np.nan, table)
    train, test, true = known[: own.rows], known[own.rows :], table[own.rows :]
    held = ~np.isnan(test) & (rng.random(test.shape) < 0.25)
    seen, spread = np.where(held, np.nan, test), table.std(0)
    print(f"{len(train):,} rows to learn from, {len(test):,} to test, {held.sum():,} cells held out", flush=True)
    began = time.perf_counter()
    imputer = IterativeImputer(max_iter=20, random_state=0).fit(train)
    highest = np.array([np.inf] * 7 + [4, 6, 7])
    filled = np.clip(imputer.transform(seen), np.where(np.isinf(highest), -np.inf, 0), highest)
    print(f"IterativeImputer: {errors(filled, true, held, spread)}; {time.perf_counter() - began:.0f} s", flush=True)
    fits = {f"mixture of {k} (full, and tables)": lambda k=k: mixture(train, k) for k in COMPONENTS}
    for name, fitted in {**fits, "autoregressive": lambda: autoregressive(own, train)}.items():
        began = time.perf_counter()
        model = fitted()
        seconds = time.perf_counter() - began
        nats = float((dg.log_prob(model, test) - dg.log_prob(model, seen)).sum()) / held.sum()
        told = errors(np.asarray(dg.impute(model, seen)), true, held, spread)
        print(f"{name}: {nats:.3f} nats a held-out cell, {told}; {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
