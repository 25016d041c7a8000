"""Share of hidden cells within 90 % intervals of draws, of few rows: `python benchmarks/interval_coverage.py`.

By one fitted model, whose parameters are taken as known, and by models fitted to bootstrap samples of the rows.
"""

import warnings

import jax
import numpy as np
from sklearn.datasets import load_wine

import dgjax as dg

SPLITS, DRAWS, BOOTSTRAPS, MISSING = 5, 100, 25, 0.3


def intervals(fits, rows):
    """Lower and upper end of the 90 % interval of each cell of rows, by as many draws from each fit."""
    each = DRAWS // len(fits)
    draws = [
        dg.sample_missing(fit, jax.random.key(i), rows) for i, fit in enumerate(f for f in fits for _ in range(each))
    ]
    return np.quantile(np.stack(draws), [0.05, 0.95], axis=0)


def main():
    warnings.simplefilter("ignore", dg.ConvergenceWarning)
    x, _ = load_wine(return_X_y=True)
    x = ((x - x.mean(0)) / x.std(0)).astype("float32")
    held = {"one fit": [], "bootstrap": []}
    for seed in range(SPLITS):
        rng = np.random.default_rng(seed)
        order, half = rng.permutation(len(x)), len(x) // 2
        truth = x[order[half:]]
        train, test = (np.where(rng.random(own.shape) < MISSING, np.nan, own) for own in (x[order[:half]], truth))
        start = dg.gaussian_mixture(jax.random.key(0), train, 1)
        counts = rng.multinomial(len(train), np.full(len(train), 1 / len(train)), BOOTSTRAPS)
        fits = {
            "one fit": [dg.fit(start, train, prior="weak").model],
            "bootstrap": [dg.fit(start, train, prior="weak", weights=own).model for own in counts],
        }
        for name, own in fits.items():
            low, high = intervals(own, test)
            held[name].append(((low < truth) & (truth < high))[np.isnan(test)].mean())
    for name, shares in held.items():
        print(f"{name:10} {np.mean(shares):.1%} of hidden cells within 90 % intervals, {half} rows x {x.shape[1]}")


if __name__ == "__main__":
    main()
