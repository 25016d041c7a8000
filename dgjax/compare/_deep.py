"""Question of deep densities: what those of networks add, in all that they can be asked; the full run alone asks it."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

import dgjax as dg
from dgjax.compare import _metrics
from dgjax.compare._bench import Bench
from dgjax.compare._contestants import Contestant, fill, log_prob, strangeness
from dgjax.compare._missing import EXACT, MEAN, cover, kept, samples_of
from dgjax.compare._networks import learnt, semisupervised_weights
from dgjax.compare._plan import Plan
from dgjax.compare._questions import ALL_ROWS, DENSITY, LABELLED, Task, each
from dgjax.compare._results import Answer, Record
from dgjax.compare._training import Fitted, Training, wrapped

BESIDE = ("qda", "mda", "autoencoder")
"""Generative contestants of the other questions that stand beside deep densities in this one."""
FEW = "accuracy, few labels"
FEW_CLASSES = 5  # up to which rows without a label are learnt from
NUM_NORMALS = 10  # of the base that is tilted


def contestants(plan: Plan) -> dict[str, Contestant]:
    """Deep densities, by key, where the plan affords them."""
    if not plan.deep_repeats:
        return {}
    return {
        key: Contestant(key, name, short, "generative", fit, held_back=False) for key, name, short, fit in DENSITIES
    }


def densities(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure deep densities, and others beside: samples, filling in, unseen classes, labels missing."""
    plan = bench.plan
    share = plan.labelled_shares[min(1, len(plan.labelled_shares) - 1)]
    answer.extra["few_labels"] = share * plan.train_rows
    beside = [key for key in BESIDE if key in bench.contestants]

    def measure(repeat: int, key: str) -> list[Record]:
        fitted = bench.full(key, repeat)
        answer.extra.setdefault("kinds", {})[key] = dg.capabilities(fitted.model)._asdict()
        x, y = bench.test(repeat)
        records = [Record("accuracy", key, repeat, _metrics.accuracy(fitted.log_proba(x), y))]
        unseen = [] if fitted.log_prob is None else _unseen(bench, repeat, key)
        return [*records, *_known(bench, answer, repeat, key, fitted), *unseen]

    def few(repeat: int, key: str) -> list[Record]:
        x, y = bench.test(repeat)
        train = bench.split(repeat).train
        labelled = round(share * len(train))
        known = np.where(np.arange(len(train)) < labelled, bench.dataset.y[train], -1)
        alone = bench.told(key, repeat, labelled)
        together = bench.fit(key, bench.given(bench.dataset.x[train], known, repeat)).log_proba(x)
        ways = {LABELLED: alone, ALL_ROWS: together}
        return [Record(FEW, key, repeat, _metrics.accuracy(own, y), method=way) for way, own in ways.items()]

    keys = [*beside, *bench.deep]
    whole = each(bench, plan.deep_repeats, keys, measure)
    # A step on a row without a label scores every class.
    return whole + (each(bench, plan.deep_repeats, keys, few) if len(bench.dataset.classes) <= FEW_CLASSES else [])


def _known(bench, answer, repeat, key, fitted):
    """Records of samples and of filling in, as far as the density can be asked."""
    kinds, records = dg.capabilities(fitted.model), []
    if kinds.sample != "none":
        records += samples_of(bench, answer, repeat, key, fitted)
    if kinds.impute != "none":
        x = bench.test(repeat)[0][: bench.plan.missing_test_rows]
        covered, places = cover(x, bench, repeat), fitted.encoder.places
        truth, blank = (fitted.encoder.view(rows, "features") for rows in (x, covered))
        hidden = np.isnan(blank[:, places]) & ~np.isnan(truth[:, places])
        guesses = {EXACT: fill(fitted, covered), MEAN: fitted.encoder.view(covered, "features", filled=True)}
        if repeat == 0:
            kept(answer, key, bench, x, covered, {m: fitted.encoder.numbers(own) for m, own in guesses.items()})
        error = _metrics.root_mean_square((guesses[EXACT][:, places] - truth[:, places])[hidden])
        records.append(Record("fill error", key, repeat, error, method=EXACT))
    return records


def _unseen(bench, repeat, key):
    """Record of how well rows of a class without training rows are told by a low log p(x): in each repeat another."""
    dataset, split = bench.dataset, bench.split(repeat)
    counts = np.bincount(dataset.y[dataset.labelled])
    label = int(np.argsort(-counts, kind="stable")[repeat % len(counts)])
    rows = split.train[dataset.y[split.train] != label]
    usual = dataset.x[split.test[dataset.y[split.test] != label]]
    strange = dataset.x[dataset.y == label][: bench.plan.test_rows]
    if len(counts) == 2:
        fitted = bench.fit(key, bench.of_one_class(rows, repeat))
        score: Any = lambda x: -log_prob(fitted, x)  # noqa: E731
    else:
        score = strangeness(bench.fit(key, bench.training(rows, repeat)), label)
    return [Record("auroc", key, repeat, _metrics.auroc(score(strange), score(usual)), method=DENSITY)]


def _fit_autoregressive(training: Training, plan: Plan) -> Fitted:
    """Any-order density of the raw columns, numbers standardised, categories as they are."""
    kinds = ["categorical" if levels else "gaussian" for levels in training.dataset.levels]
    sizes = [len(levels) or None for levels in training.dataset.levels]
    options = {"width": 64, "num_layers": 2, "num_orders": 2, "num_categories": sizes if any(sizes) else None}
    return _fitted(
        training, plan, "columns", False, lambda key, x, y, k: dg.autoregressive(key, x, y, kinds, k, **options)
    )


def _fit_flow(training: Training, plan: Plan) -> Fitted:
    """Coupling flow of standardised features, missing cells filled by means: a flow takes none."""

    def start(key: Any, x: Any, y: Any, k: Any) -> Any:
        return dg.normalizing_flow(key, x, y, num_classes=k, whole=(), num_layers=4)

    fitted = _fitted(training, plan, "features", True, start)
    return replace(fitted, log_proba=fitted.filled)


def _fit_diffusion(training: Training, plan: Plan) -> Fitted:
    """Diffusion model of standardised features, by a perceptron, ten steps of the ODE."""

    def start(key: Any, x: Any, y: Any, k: Any) -> Any:
        return dg.diffusion(key, x, y, num_classes=k, whole=(), width=128, num_layers=2, num_steps=10)

    return _fitted(training, plan, "features", False, start)


def _fit_tilted(training: Training, plan: Plan) -> Fitted:
    """Tilt of a mixture of normals of one covariance, missing cells filled by means."""

    def start(key: Any, x: Any, y: Any, k: Any) -> Any:
        normals = dg.gaussian_mixture(key, x, NUM_NORMALS, covariance="tied")
        base = dg.fit(normals, x, prior="weak", method=dg.EM(tol=plan.em_tol), max_steps=plan.mixture_steps).model
        return dg.tilted(key, base, x, y, k, num_samples=2000)

    fitted = _fitted(training, plan, "features", True, start)
    return replace(fitted, log_proba=fitted.filled)


def _fit_adversarial(training: Training, plan: Plan) -> Fitted:
    """Adversarial networks of standardised features, missing cells filled by means; there is no log p(x)."""

    def start(key: Any, x: Any, y: Any, k: Any) -> Any:
        return dg.adversarial(key, x, y, k)

    fitted = _fitted(training, plan, "features", True, start)
    return replace(fitted, log_proba=fitted.filled, log_prob=None, density=None)


def _fitted(training: Training, plan: Plan, view: Any, filled: bool, start: Callable[..., Any]) -> Fitted:
    """Fit of a density of networks by minibatches, from `start(key, x, y, k)`; labels may be missing."""
    x, y, key = training.view(view, filled), training.labels, jax.random.key(training.seed)
    k = training.num_classes if training.num_classes > 1 else None
    model = start(key, x, None if k is None else np.maximum(y, 0), k).as_model()
    begin = time.perf_counter()
    model = learnt(model, x, y, semisupervised_weights(training), plan.deep_steps, key)
    return wrapped(model, training, plan, view, time.perf_counter() - begin)


DENSITIES: tuple[tuple[str, str, str, Callable[[Training, Plan], Fitted]], ...] = (
    ("autoregressive", "Any-order autoregressive density", "autoregressive", _fit_autoregressive),
    ("flow", "Normalising flow", "flow", _fit_flow),
    ("diffusion", "Diffusion model", "diffusion", _fit_diffusion),
    ("tilted", "Mixture of normals, tilted by a network", "tilted mixture", _fit_tilted),
    ("adversarial", "Generative adversarial network", "adversarial", _fit_adversarial),
)
"""Key, name, short name and fit of each deep density."""
