"""What missing cells cost: EM with a share of them at random, or in a few patterns, beside the same without."""

import numpy as np
import pytest
from bench_gaussian import STEPS, clusters, start_at

import dgjax as dg

SHAPES = {"full": (102_400, 16, 8), "tied": (102_400, 16, 8), "diagonal": (204_800, 32, 16)}
DISCRETE = {"bernoulli": 2, "categorical": 4, "poisson": None, "multinomial": None}
SHARES = [0.1, 0.01, 0.3, 0.6]


def hide(x, share, patterns=None, seed=1):
    """Cells missing at random, or the rows of a few patterns."""
    rng = np.random.default_rng(seed)
    if patterns is None:
        hidden = rng.random(x.shape) < share
    else:
        hidden = (rng.random((patterns, x.shape[1])) < share)[rng.integers(patterns, size=len(x))]
    hidden[:, 0] &= ~hidden[:, 1:].all(1)
    return np.where(hidden, np.nan, x).astype(x.dtype)


def problem(family, quick):
    if family in SHAPES:
        n, d, k = SHAPES[family]
        x, mean = clusters(n // 10 if quick else n, d, k, "float64")
        return x, start_at(mean, family)
    n, d, k, rng = 20_000 if quick else 100_000, 16, 5, np.random.default_rng(0)
    y = rng.integers(k, size=n)
    if DISCRETE[family]:
        p = rng.dirichlet(np.ones(DISCRETE[family]), size=(k, d))
        x = (rng.random((n, d, 1)) > p.cumsum(-1)[y]).sum(-1).astype(float)
    else:
        x = rng.poisson(rng.uniform(1, 9, (k, d))[y]).astype(float)
    return x, dg.naive_bayes(x, y, family, prior="weak")


def record(beside, family, x, start, share, **facts):
    def fit(rows):
        return dg.fit(start, rows, prior="weak", method=dg.EM(tol=0.0), max_steps=STEPS).model

    hidden = hide(x, share, facts.get("patterns"))
    fit(x)
    complete = {"complete": lambda: fit(x)}
    beside(lambda: fit(hidden), complete, n=len(x), family=family, missing=share, steps=STEPS, **facts)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("family", [*SHAPES, *DISCRETE])
def test_at_random(beside, quick, x64, family, share):
    record(beside, family, *problem(family, quick), share)


@pytest.mark.parametrize("patterns", [4, 16])
@pytest.mark.parametrize("family", list(SHAPES))
def test_few_patterns(beside, quick, x64, family, patterns):
    record(beside, family, *problem(family, quick), 0.1, patterns=patterns)
