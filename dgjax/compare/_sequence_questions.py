"""Questions on sequences; those that rows have too are measured by the functions for rows."""

from collections.abc import Callable
from functools import partial

import numpy as np

from dgjax.compare import _metrics, _questions
from dgjax.compare._bench import Bench
from dgjax.compare._missing import EXACT, MEAN, OWN, twin_method
from dgjax.compare._plan import Plan
from dgjax.compare._questions import ALL_ROWS, DENSITY, LABELLED, LARGEST, Task, each
from dgjax.compare._results import Answer, Record
from dgjax.compare._run import Comparison, Question, asking
from dgjax.compare._sequence_contestants import contestants, filled_by, pairs
from dgjax.compare._sequence_data import SequenceDataset, hide_cells, hide_steps, ragged
from dgjax.compare._splits import spaced

# Steps that a run can afford to learn from, padding included, and to test on.
MOST_STEPS = {True: 6_000, False: 12_000}
FEWEST_TRAINED = 4  # sequences in the smallest training set
OFF, SHUFFLED = 0.0, 1.0
FAR = 2.0  # standard deviations that a sensor is off
WRONG = {OFF: "a sensor that is off", SHUFFLED: "steps in random order"}


def make_plan(dataset: SequenceDataset, quick: bool) -> Plan:
    """Plan for sequences, smaller if `quick`."""
    count, longest = len(dataset.labelled), max(map(len, dataset.x))
    most = max(FEWEST_TRAINED, MOST_STEPS[quick] // longest)
    test = min(50 if quick else 100, most, count // 3)
    train = min(80 if quick else 160, most, count - test)
    sizes = spaced(min(FEWEST_TRAINED, train), train, 3 if quick else 6)
    return Plan(
        quick=quick,
        repeats=3 if quick else 10,
        train_rows=train,
        test_rows=test,
        sizes=sizes,
        missing_repeats=3 if quick else 10,
        missing_test_rows=test,
        missing_shares=(0.0, 0.25, 0.5, 0.75) if quick else (0.0, 0.1, 0.25, 0.5, 0.75, 0.9),
        labelled_shares=tuple(size / train for size in sizes),
        label_repeats=3 if quick else 10,
        held_out_runs=3 if quick else 10,
        mixture_steps=10 if quick else 30,
        longest=longest,
        unit="sequences",
    )


def begin(dataset: SequenceDataset, quick: bool, plan: Plan | None = None) -> Comparison:
    """Comparison on sequences before anything is measured."""
    plan = plan or make_plan(dataset, quick)
    return asking(QUESTIONS, Bench(dataset, plan, contestants(plan), pairs(plan)))


def labelled_sequences(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure accuracy against the share of labelled sequences, with and without the unlabelled ones."""
    dataset = bench.dataset
    unlabelled = np.setdiff1d(np.arange(len(dataset.x)), dataset.labelled)

    def measure(repeat: int, key: str) -> list[Record]:
        x, y = bench.test(repeat)
        records, train = [], bench.split(repeat).train
        for size in bench.plan.sizes:
            share = size / len(train)
            told = bench.told(key, repeat, size)
            records.append(Record("accuracy", key, repeat, _metrics.accuracy(told, y), share, LABELLED))
            spare = np.concatenate([train[size:], unlabelled])[: len(train) - size]
            if bench.contestants[key].side != "generative" or not len(spare):
                continue
            rows = np.concatenate([train[:size], spare])
            unknown = [np.full_like(dataset.y[row], -1) if row in train else dataset.y[row] for row in spare]
            states = ragged([*dataset.y[train[:size]], *unknown])
            log_proba = bench.fit(key, bench.given(dataset.x[rows], states, repeat)).log_proba(x)
            records.append(Record("accuracy", key, repeat, _metrics.accuracy(log_proba, y), share, ALL_ROWS))
        return records

    keys = [*bench.generative, *(pair.discriminative for pair in bench.pairs)]
    return each(bench, bench.plan.label_repeats, keys, measure)


def at_prediction(hide: Callable, bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure accuracy against the share of cells, or of steps, missing from the sequences to predict."""
    plan = bench.plan
    twins = {pair.discriminative: pair for pair in bench.pairs}

    def measure(repeat: int, key: str) -> list[Record]:
        fitted, side = bench.full(key, repeat), bench.contestants[key].side
        x, y = bench.test(repeat)
        how = {OWN: fitted.log_proba}
        if side == "generative":
            how = {EXACT: fitted.log_proba, MEAN: fitted.filled}
        elif side == "discriminative":
            pair = twins[key]
            filling = filled_by(fitted, bench.full(pair.generative[0], repeat), plan)
            how = {twin_method(pair, plan.unit): filling, MEAN: fitted.filled}
        return [
            Record("accuracy", key, repeat, _metrics.accuracy(predict(hide(x, share, repeat)), y), share, method)
            for share in plan.missing_shares
            for method, predict in how.items()
        ]

    return each(bench, plan.missing_repeats, list(bench.contestants), measure)


def paths(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure how often the state changes from step to step, by each model and in truth.

    One sequence is kept to look at.
    """

    def measure(repeat: int, key: str) -> list[Record]:
        x, y = bench.test(repeat)
        ends = np.cumsum([len(one) for one in x])[:-1]
        said = bench.told(key, repeat, bench.plan.train_rows).argmax(1)
        if repeat == 0:
            answer.pictures.setdefault("said", {})[key] = np.split(said, ends)
        found, real = (_changes(states, ends) for states in (said, y))
        values = {"changes": found, "changes off": abs(found - real)}
        return [
            *(Record(metric, key, repeat, value) for metric, value in values.items()),
            *([Record("changes", "truth", repeat, real)] if key == next(iter(bench.contestants)) else []),
        ]

    return each(bench, bench.plan.repeats, list(bench.contestants), measure)


def _changes(states: np.ndarray, ends: np.ndarray) -> float:
    """Number of changes of state in 100 steps that have one before them."""
    changed = np.delete(np.diff(states) != 0, ends - 1)
    return 100 * float(changed.mean())


def unusual(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure how well spoilt test sequences are told from the unspoilt ones."""

    def measure(repeat: int, key: str) -> list[Record]:
        fitted = bench.full(key, repeat)
        x, _ = bench.test(repeat)
        scores: dict[str, Callable] = {LARGEST: lambda x: -_mean_confidence(fitted.log_proba(x), x)}
        if fitted.log_prob is not None:
            density = fitted.log_prob
            scores[DENSITY] = lambda x: -density(x)
        return [
            Record("auroc", key, repeat, _metrics.auroc(score(spoil(x, wrong, bench, repeat)), score(x)), wrong, method)
            for wrong in WRONG
            for method, score in scores.items()
        ]

    return each(bench, bench.plan.held_out_runs, list(bench.contestants), measure)


def _mean_confidence(log_proba: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Confidence (m,) in sequences: the mean over steps of the largest probability."""
    ends = np.cumsum([len(one) for one in x])
    sure = np.concatenate([[0], np.cumsum(_metrics.confidence(log_proba))])
    return np.diff(sure[np.concatenate([[0], ends])]) / np.array([len(one) for one in x])


def spoil(x: np.ndarray, wrong: float, bench: Bench, seed: int) -> np.ndarray:
    """Spoilt sequences: steps out of order, or one number off for a third of the steps."""
    random = np.random.default_rng((seed, 4))
    numbers = np.flatnonzero(bench.dataset.numeric)
    scale = np.nanstd(bench.dataset.table(bench.dataset.x), axis=0)
    spoilt = []
    for one in x:
        own = one[random.permutation(len(one))] if wrong == SHUFFLED else one.copy()
        if wrong == OFF:
            long = max(1, len(one) // 3)
            first, column = int(random.integers(len(one) - long + 1)), int(random.choice(numbers))
            own[first : first + long, column] += FAR * scale[column] * random.choice([-1, 1])
        spoilt.append(own)
    return ragged(spoilt)


QUESTIONS = (
    Question(
        "training_rows",
        "How many labelled sequences does each side need?",
        "labelled sequences",
        _questions.training_rows,
        "Whole sequences are split: no step of a test sequence is learnt from. Accuracy is the share of steps whose "
        "most probable state, given the whole sequence, is right. Every model learns from the same first sequences.",
    ),
    Question(
        "paths",
        "What do they say, step by step?",
        "step by step",
        paths,
        "Models trained on all training sequences. The sequence shown is, of the test sequences of the first split "
        "with as many states as half of them have, the one on which the models' mean accuracy is nearest its median; a "
        "dot marks a step whose state is wrong.",
    ),
    Question(
        "labelled_rows",
        "Do sequences without labels help?",
        "unlabelled sequences",
        labelled_sequences,
        "The labels of a part of the training sequences are kept. Generative models learn from the labelled ones only, "
        "and from all by Baum-Welch; the discriminative ones cannot use a sequence without labels. Where a model is "
        "wrong about x, the states that explain x best need not be those of the labels.",
    ),
    Question(
        "missing_prediction",
        "What if cells are missing at prediction?",
        "missing cells",
        partial(at_prediction, hide_cells),
        "Cells of the test sequences are hidden completely at random; models were trained on complete sequences. A CRF "
        "needs every cell: they are filled in by the generative model of its pair, or by the mean. Forests take "
        "missing cells natively.",
    ),
    Question(
        "missing_steps",
        "What if whole steps are missing at prediction?",
        "missing steps",
        partial(at_prediction, hide_steps),
        "All cells of a step at once, otherwise as above; its state counts all the same, and only the steps around it "
        "can tell it.",
    ),
    Question(
        "calibration",
        "Can its probabilities be believed?",
        "calibration",
        _questions.calibration,
        "p(state of a step | sequence) of models trained on all training sequences; the share that is right in ten "
        "bins of the largest probability, bins of fewer than ten steps left out. Bars are one binomial standard error, "
        "too small here: the steps of a sequence go right or wrong together.",
    ),
    Question(
        "unusual",
        "Does it notice that something is wrong?",
        "something wrong",
        unusual,
        f"Test sequences in which one column of numbers is off by {FAR:g} standard deviations for a third of the "
        "steps, or whose steps are in random order, are to be told from the same sequences as they are: by low "
        "log p(x) for each step, or by a low mean over the steps of the largest probability.",
    ),
    Question(
        "cost",
        "What does it cost?",
        "cost",
        _questions.cost,
        "On all training sequences, compiled beforehand, best read as ratios; forests on one thread. For them the "
        "numbers kept are splits and leaves.",
        workers=1,
    ),
)
