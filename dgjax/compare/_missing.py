"""Questions on missing cells, and on what a generative model knows beside the label."""

from dataclasses import replace
from functools import partial

import numpy as np

from dgjax.compare import _metrics
from dgjax.compare._bench import Bench
from dgjax.compare._contestants import Pair, average_over, draw, fill, fit_drawn
from dgjax.compare._encode import Encoder
from dgjax.compare._networks import walks
from dgjax.compare._questions import Task, each
from dgjax.compare._results import Answer, Record
from dgjax.compare._splits import hide
from dgjax.compare._training import Fitted

EXACT, MEAN, TWIN, OWN = "exact marginal", "mean imputation", "averaged over the twin", "its own way"
FILLED = "filled by"
NUM_DRAWN = 40  # samples of each class
NUM_STEPS = 8  # of a walk through the latent space
NUM_SHOWN = 8


def at_prediction(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure accuracy against the share of missing cells in the rows to predict.

    The training rows are complete.
    """
    plan = bench.plan

    def accuracies(repeat: int, key: str, how: dict, shares: tuple[float, ...] = plan.missing_shares) -> list[Record]:
        x, y = (rows[: plan.missing_test_rows] for rows in bench.test(repeat))
        return [
            Record("accuracy", key, repeat, _metrics.accuracy(predict(hide(x, share, repeat)), y), share, method)
            for share in shares
            for method, predict in how.items()
        ]

    def measure(repeat: int, key: str) -> list[Record]:
        fitted, side = bench.full(key, repeat), bench.contestants[key].side
        how = {
            "generative": {EXACT: fitted.log_proba, MEAN: fitted.filled},
            "discriminative": {MEAN: fitted.filled},
            "reference": {OWN: fitted.log_proba},
        }[side]
        return accuracies(repeat, key, how)

    def averaged(repeat: int, pair: Pair) -> list[Record]:
        classifier, twin = bench.full(pair.discriminative, repeat), bench.full(pair.generative[0], repeat)
        shares = tuple(share for share in plan.missing_shares if share)
        return accuracies(
            repeat, pair.discriminative, {twin_method(pair): average_over(classifier, twin, plan)}, shares
        )

    return _with_twins(bench, plan.missing_repeats, measure, averaged)


def at_training(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure accuracy against the share of missing cells in the training rows.

    The rows to predict are complete.
    """
    plan, twins = bench.plan, {}

    def rows(repeat: int, share: float) -> tuple[np.ndarray, np.ndarray]:
        own = bench.split(repeat).train[: plan.missing_train_rows]
        return hide(bench.dataset.x[own], share, repeat), bench.dataset.y[own]

    def score(key: str, repeat: int, share: float, method: str, fitted: Fitted) -> Record:
        x, y = bench.test(repeat)
        return Record("accuracy", key, repeat, _metrics.accuracy(fitted.log_proba(x), y), share, method)

    def measure(repeat: int, key: str) -> list[Record]:
        side, records = bench.contestants[key].side, []
        for share in plan.missing_train_shares:
            x, y = rows(repeat, share)
            how = {
                "generative": {EXACT: x, MEAN: mean_filled(x, bench)},
                "discriminative": {MEAN: x},
                "reference": {OWN: x},
            }
            fitted = None
            for method, given in how[side].items():
                # Where no cell is missing nothing is filled, and the fit is the one before.
                if fitted is None or np.isnan(x).any():
                    fitted = bench.fit(key, bench.given(given, y, repeat))
                records.append(score(key, repeat, share, method, fitted))
                if method == EXACT:
                    twins[repeat, share, key] = fitted
        return records

    def averaged(repeat: int, pair: Pair) -> list[Record]:
        records = []
        for share in filter(None, plan.missing_train_shares):
            training, place = bench.given(*rows(repeat, share), repeat), (repeat, share, pair.generative[0])
            twin = twins[place] if place in twins else bench.fit(pair.generative[0], training)
            held = replace(training, strength=bench.strength(pair.discriminative))
            fitted = fit_drawn(held, twin, pair.discriminative, plan)
            records.append(score(pair.discriminative, repeat, share, twin_method(pair), fitted))
        return records

    return _with_twins(bench, plan.missing_repeats, measure, averaged)


def twin_method(pair: Pair, unit: str = "rows") -> str:
    """Name of the method by which a pair's generative model helps its classifier with missing cells."""
    return f"{TWIN if unit == 'rows' else FILLED} {pair.generative[0]}"


def mean_filled(x: np.ndarray, bench: Bench) -> np.ndarray:
    """Mean imputation of raw rows: numbers by the column's mean, categories by the most frequent one."""
    seen = ~np.isnan(x)
    means = np.where(seen, x, 0).sum(0) / np.maximum(seen.sum(0), 1)
    for j, levels in enumerate(bench.dataset.levels):
        if levels:
            means[j] = np.bincount(x[seen[:, j], j].astype(int), minlength=1).argmax()
    return np.where(seen, x, means)


def _with_twins(bench: Bench, repeats: int, measure, averaged) -> list[Task]:
    tasks = each(bench, repeats, list(bench.contestants), measure)
    # A twin of mixed columns has no p(x) over the features that logistic regression takes.
    pairs = [pair for pair in bench.pairs if bench.dataset.numeric.all() or pair.key != "bayes"]
    size = len(tasks) // repeats
    rounds = []
    for repeat in range(repeats):
        rounds += tasks[repeat * size : (repeat + 1) * size]
        rounds += [
            Task(
                f"{bench.contestants[p.discriminative].short} over {bench.contestants[p.generative[0]].short}, "
                f"{repeat + 1} of {repeats}",
                partial(averaged, repeat, p),
            )
            for p in pairs
        ]
    return rounds


def knowledge(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure samples of each class, and imputations of occluded rows, against the truth; with pictures."""
    plan = bench.plan

    def measure(repeat: int, key: str) -> list[Record]:
        fitted = bench.full(key, repeat)
        assert fitted.encoder is not None
        if repeat == 0 and key == "autoencoder":
            x, y = _one_of_each(bench)
            answer.pictures["walks"] = {key: walks(fitted, x, y, NUM_STEPS)}
        return [*samples_of(bench, answer, repeat, key, fitted), *filled(repeat, key, fitted, fitted.encoder)]

    def filled(repeat: int, key: str, fitted: Fitted, encoder: Encoder) -> list[Record]:
        x = bench.test(repeat)[0][: plan.missing_test_rows]
        covered, places = cover(x, bench, repeat), encoder.places
        truth, blank = encoder.view(x, "features"), encoder.view(covered, "features")
        hidden = np.isnan(blank[:, places]) & ~np.isnan(truth[:, places])
        guesses = {EXACT: fill(fitted, covered), MEAN: encoder.view(covered, "features", filled=True)}
        if repeat == 0:
            kept(answer, key, bench, x, covered, {m: encoder.numbers(g) for m, g in guesses.items()})
        errors = {m: (g[:, places] - truth[:, places])[hidden] for m, g in guesses.items()}
        return [Record("fill error", key, repeat, _metrics.root_mean_square(e), method=m) for m, e in errors.items()]

    def real(repeat: int, key: str) -> list[Record]:
        x, y = bench.test(repeat)
        # Of draws each class has as many: so real rows are a mean over classes too.
        right = _metrics.balanced_accuracy(bench.full(key, repeat).log_proba(x), y)
        return [Record("samples recognised", "real rows", repeat, right)]

    repeats = plan.missing_repeats
    return each(bench, repeats, ["forest"], real) + each(bench, repeats, bench.generative, measure)


def samples_of(bench: Bench, answer: Answer, repeat: int, key: str, fitted: Fitted) -> list[Record]:
    """Record of how many samples of each class a random forest takes for theirs; those of the first split are kept."""
    assert fitted.encoder is not None
    labels = range(len(bench.dataset.classes))
    rows = [draw(fitted, label, NUM_DRAWN, 1000 * repeat + label) for label in labels]
    if repeat == 0:
        answer.pictures.setdefault("samples", {})[key] = np.stack([fitted.encoder.numbers(r) for r in rows])
    # Judged at once: a call of the forest takes longer for its trees than for their rows.
    judged = bench.full("forest", repeat).model.predict(np.concatenate(rows).astype(np.float32))
    right = float((judged == np.repeat(labels, NUM_DRAWN)).mean())
    return [Record("samples recognised", key, repeat, right)]


def kept(answer: Answer, key: str, bench: Bench, x: np.ndarray, covered: np.ndarray, guesses: dict) -> None:
    """Keeps rows for the report's pictures, one of each class in turn: true, covered, and filled by `guesses`."""
    shown = _first(bench, len(x))
    numeric = bench.dataset.numeric
    occluded = answer.pictures.setdefault(
        "occluded", {"truth": x[shown][:, numeric], "covered": covered[shown][:, numeric]}
    )
    occluded[MEAN] = guesses[MEAN][shown]
    occluded[key] = guesses[EXACT][shown]


def _first(bench: Bench, count: int) -> np.ndarray:
    """Numbers of the first row of each class, ten classes at most, among the first `count` test rows."""
    y = bench.test(0)[1][:count]
    return np.concatenate([np.flatnonzero(y == label)[:1] for label in range(len(bench.dataset.classes))])[:10]


def _one_of_each(bench: Bench) -> tuple[np.ndarray, np.ndarray]:
    x, y = bench.test(0)
    shown = _first(bench, len(x))
    return x[shown], y[shown]


def cover(x: np.ndarray, bench: Bench, seed: int) -> np.ndarray:
    """Rows with the lower half of the picture missing, or half of the cells where the columns are no picture."""
    image = bench.dataset.image
    if image is None:
        return hide(x, 0.5, seed)
    lower = image.kept // image.width >= image.height // 2
    return np.where(lower, np.nan, x)
