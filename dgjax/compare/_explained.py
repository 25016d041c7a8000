"""Question of columns: how much each adds to what a model says of a row, and what shuffling it costs."""

import jax
import numpy as np

import dgjax as dg
from dgjax.compare._bench import Bench
from dgjax.compare._plan import EXPLAINED_ROWS, LENDING_ROWS
from dgjax.compare._questions import Task, each
from dgjax.compare._results import Answer, Record
from dgjax.compare._training import Predict

SUMMED_OUT, LENT, SHUFFLED = "cells summed out", "cells of other rows", "column shuffled"
OWN_GAME = {"generative": SUMMED_OUT, "discriminative": LENT, "reference": SHUFFLED}
# No two sets of cells share work in a network: 0.2 ms each, of which there are few, and none with cells lent.
ASKED_ANEW, AUTOENCODER_ORDERS = "autoencoder", 8
AUTOENCODER_EXACT = 6  # columns, whose 64 sets are no more than so many orders ask for
SHUFFLED_ROWS = 200  # test rows, at most, in which a column is shuffled
MOST_SHUFFLED, MOST_SHUFFLES = 100_000, 5


def columns(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure what each column adds to p(y | x) of the right class, by Shapley values or by shuffling it.

    A record's setting is the number of the column.
    """
    answer.extra["columns"] = bench.dataset.columns

    def measure(repeat: int, key: str) -> list[Record]:
        fitted, side = bench.full(key, repeat), bench.contestants[key].side
        if side == "reference":
            x, y = (rows[:SHUFFLED_ROWS] for rows in bench.test(repeat))
            return _records(key, repeat, SHUFFLED, shuffled(fitted.log_proba, x, y, repeat))
        methods = (SUMMED_OUT, LENT) if side == "generative" and key != ASKED_ANEW else (OWN_GAME[side],)
        return [r for how in methods for r in _records(key, repeat, how, explained(bench, answer, key, repeat, how))]

    return each(bench, bench.plan.explained_repeats, list(bench.contestants), measure)


def explained(bench: Bench, answer: Answer, key: str, repeat: int, method: str) -> np.ndarray:
    """Mean absolute Shapley values (d,) of raw columns for p(y | x) of the right class, over a few test rows.

    Cells that are not known are summed out by the model, or are those of training rows.
    """
    fitted = bench.full(key, repeat)
    assert fitted.encoder is not None
    x, y = (rows[:EXPLAINED_ROWS] for rows in bench.test(repeat))
    others = bench.dataset.x[bench.split(repeat).train[:LENDING_ROWS]]
    lent = None if method == SUMMED_OUT else fitted.encoder.view(others, fitted.view, filled=True)
    orders = bench.plan.explained_orders
    if key == ASKED_ANEW and len(bench.dataset.columns) > AUTOENCODER_EXACT:
        orders = min(orders or AUTOENCODER_ORDERS, AUTOENCODER_ORDERS)
    found = dg.explain(
        fitted.model,
        fitted.encoder.view(x, fitted.view, filled=lent is not None),
        y,
        columns=fitted.encoder.groups(fitted.view),
        background=lent,
        num_permutations=orders or None,
        key=jax.random.key(repeat) if orders else None,
    )
    if found.standard_error is not None:
        worst = answer.extra.setdefault("largest_standard_error", {})
        worst[key] = max(worst.get(key, 0.0), float(found.standard_error.max()))
    return np.abs(found.values).mean(0)


def shuffled(predict: Predict, x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """What shuffling each raw column (d,) among rows x costs in p(y | x) of their labels, on average."""
    random, n = np.random.default_rng((seed, 3)), len(x)
    times = int(np.clip(MOST_SHUFFLED // x.size, 1, MOST_SHUFFLES))
    whole = np.exp(predict(x))[np.arange(n), y].mean()
    costs = np.zeros(x.shape[1])
    for j in range(len(costs)):
        spoilt = np.tile(x, (times, 1))
        spoilt[:, j] = np.concatenate([x[random.permutation(n), j] for _ in range(times)])
        costs[j] = whole - np.exp(predict(spoilt))[np.arange(n * times), np.tile(y, times)].mean()
    return costs


def _records(key: str, repeat: int, method: str, sizes: np.ndarray) -> list[Record]:
    """Records of what columns add, and of their shares of the total; less than nothing is no share."""
    shares = np.maximum(sizes, 0) / max(np.maximum(sizes, 0).sum(), np.finfo(float).tiny)
    return [
        Record(metric, key, repeat, float(value), float(j), method)
        for metric, values in (("share", shares), ("contribution", sizes))
        for j, value in enumerate(values)
    ]
