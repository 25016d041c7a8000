"""The winner to take away: the best model of dgjax, fitted to all labelled rows, with the table's names and units."""

from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

import dgjax as dg
from dgjax.compare._baseline import beaten
from dgjax.compare._bench import Bench
from dgjax.compare._dataset import Dataset
from dgjax.compare._encode import Encoder, View
from dgjax.compare._heard import listening
from dgjax.compare._ranking import rank
from dgjax.compare._results import Estimate
from dgjax.compare._run import Comparison
from dgjax.compare._training import Training

TAKEN = ("naive_bayes", "lda", "qda", "mda", "logistic", "quadratic")
"""Contestants whose parameters have the units of the columns: those of networks have those of the training rows."""
TWINS = {"logistic": ("lda", "naive_bayes"), "quadratic": ("qda", "mda")}
"""Generative contestants that say what missing cells may hold to a classifier that knows no p(x), the best first."""
MOST_ROWS = 20_000  # that the winner is fitted to: EM over missing cells takes its time


@dataclass(frozen=True)
class Winner:
    """Winner of a comparison: the contestant, its value by the metric, the model, and how many rows it has learnt."""

    key: str
    metric: str
    value: Estimate
    model: dg.Tabular
    rows: int


def take(comparison: Comparison) -> None:
    """Fits the winner by the comparison's metric, and puts it into the comparison; or a reason why there is none.

    There is none of sequences and texts, of a run that was stopped, and where nothing beats the classes' shares.
    """
    bench, measured = comparison.bench, comparison.metric
    if type(bench.dataset) is not Dataset:
        comparison.no_winner = "Models of sequences and of texts are not saved: they read no table."
        return
    if comparison.interrupted or not comparison.answers["calibration"].records:
        comparison.no_winner = "No model was saved, for the run was stopped before all were measured."
        return
    lines = [(key, "exact") for key in TAKEN if key in bench.contestants]
    ranking = rank(comparison.answers["calibration"], measured, lines=lines)
    if ranking is None or not beaten(bench, measured, ranking.value):
        comparison.no_winner = f"No model was saved, for none beats a guess by the classes' shares ({measured})."
        return
    key = ranking.best[0]
    rows = np.random.default_rng(0).permutation(bench.dataset.labelled)[:MOST_ROWS]
    try:
        with listening():
            comparison.winner = Winner(key, measured, ranking.value, fitted(bench, key, rows), len(rows))
    except KeyboardInterrupt:
        comparison.interrupted, comparison.no_winner = True, "No model was saved, for its fit was stopped."
    except Exception as error:  # whatever it is, what took minutes to measure is not to be lost to it
        comparison.no_winner = f"No model was saved, for an error ended its fit: {type(error).__name__}: {error}"


def fitted(bench: Bench, key: str, rows: np.ndarray) -> dg.Tabular:
    """Contestant fitted to rows, by their numbers, as a model of tables of the data set's columns."""
    training = bench.training(rows, 0, len(rows))
    view, model = _in_users_units(bench, key, training)
    twin = next((one for one in TWINS.get(key, ()) if one in bench.contestants and _view(bench, one) == view), None)
    if twin is not None:
        model = dg.marginalize(model, _in_users_units(bench, twin, training)[1])
    return dg.Tabular(model, schema_of(bench.dataset, view))


def schema_of(dataset: Dataset, view: View) -> dg.Schema:
    """Schema of a data set's table: numbers, and categories by their numbers, or as indicators among the features."""
    columns = tuple(
        dg.Column(name, "categorical", "text", levels, indicators=view == "features" and len(levels) > 1)
        if levels
        else dg.Column(name, "gaussian", "numbers")
        for name, levels in zip(dataset.columns, dataset.levels, strict=True)
    )
    return dg.Schema(columns, dg.Column(dataset.target, "label", "text", dataset.classes))


def _view(bench: Bench, key: str) -> View:
    """View of a row that a contestant takes."""
    return "columns" if key == "naive_bayes" and not bench.dataset.numeric.all() else "features"


def _in_users_units(bench: Bench, key: str, training: Training) -> tuple[View, Any]:
    found = bench.fit(key, replace(training, strength=bench.strength(key)))
    assert found.encoder is not None
    centre, scale = _units(found.encoder, found.view)
    if found.model.generative:
        return found.view, _moved(found.model, centre, scale)
    return found.view, _moved_classifier(found.model, centre, scale)


def _units(encoder: Encoder, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale of each number of a view; 0 and 1 for categories and indicators."""
    places = encoder.groups(view)
    centre, scale = np.zeros(places[-1][-1] + 1), np.ones(places[-1][-1] + 1)
    for own, mean, deviation, levels in zip(places, encoder.mean, encoder.scale, encoder.num_levels, strict=True):
        if not levels:
            centre[own], scale[own] = mean, deviation
    return centre, scale


def _moved(density: Any, centre: np.ndarray, scale: np.ndarray) -> Any:
    """Density of rows x from one of (x - centre) / scale."""
    match density:
        case dg.Mixture():
            return dg.Mixture(density.log_weights, _moved(density.density, centre, scale))
        case dg.Gaussian():
            return dg.Gaussian(density.mean * scale + centre, density.scale_tril * scale[:, None])
        case dg.DiagonalGaussian():
            return dg.DiagonalGaussian(density.mean * scale + centre, density.log_scale + np.log(scale))
        case dg.Columns():
            parts = zip(density.blocks, density.columns or (), strict=True)
            blocks = tuple(_moved(block, centre[list(own)], scale[list(own)]) for block, own in parts)
            return dg.Columns(blocks, density.columns)
    return density


def _moved_classifier(model: Any, centre: np.ndarray, scale: np.ndarray) -> dg.Logistic:
    """Logistic regression of rows x from one of (x - centre) / scale, linear or quadratic.

    About the centre numbers are small: weights of x itself would lose their digits where columns are far from 0.
    """
    scorer = model.scorer
    if isinstance(scorer, dg.Linear):
        own: Any = dg.Linear(scorer.weight / scale)
    else:
        i, j = np.triu_indices(len(scale))
        own = dg.Quadratic(scorer.weight / scale, scorer.products / (scale[i] * scale[j]))
    return dg.Logistic(model.bias, dg.Shifted(jnp.asarray(centre), own))
