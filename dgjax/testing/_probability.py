"""Laws of probability: p(x, y), p(x) and p(y | x) against sums over every label; and the discriminative twin."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import dgjax as dg
from dgjax.testing._compare import close, expect, law, precision, same_tree
from dgjax.testing._data import Sample, every_label, every_row, label_indicators, with_missing


@law
def evidence_is_the_sum_over_labels(model: Any, sample: Sample) -> None:
    """Law: log p(x) = log sum_y p(x, y); unknown labels are summed out; a row without cells has log p(x) = 0."""
    x, y, lengths = sample
    evidence = np.asarray(dg.log_prob(model, x, lengths))
    joint = _of_every_label(dg.log_joint, model, sample)
    close("log_joint summed over labels, and log_prob", np.logaddexp.reduce(joint, axis=1), evidence)
    unknown = dg.log_joint(model, x, np.full(np.shape(y), -1), lengths)
    close("log_joint of unknown labels, and log_prob", unknown, evidence)
    empty = _no_cell(sample)
    expect((evidence[empty] == 0).all(), f"log_prob of rows of NaN must be exactly 0; got {evidence[empty]}.")


@law
def conditional_is_joint_less_evidence(model: Any, sample: Sample) -> None:
    """Law: log p(y | x) = log p(x, y) - log p(x), some labels unknown included; 0 where all are unknown."""
    x, y, lengths = sample
    conditional = np.asarray(dg.log_conditional(model, x, y, lengths))
    joint, evidence = np.asarray(dg.log_joint(model, x, y, lengths)), np.asarray(dg.log_prob(model, x, lengths))
    close("log_conditional, and log_joint less log_prob", conditional, joint - evidence)
    unknown = (np.asarray(y) < 0).reshape(len(conditional), -1).all(-1)
    expect((conditional[unknown] == 0).all(), f"of unknown labels it must be exactly 0; got {conditional[unknown]}.")


@law
def posterior_is_the_share_of_each_label(model: Any, sample: Sample) -> None:
    """Law: p(y | x) sums to 1, predict_log_proba is its marginals, and predict a label of highest probability."""
    x, y, lengths = sample
    k, logs = model.as_model().num_labels, _of_every_label(dg.log_conditional, model, sample)
    total = np.logaddexp.reduce(logs, axis=1)
    close("the log of p(y | x) summed over labels, and 0", total, np.zeros_like(total))
    log_proba, labels = np.asarray(dg.predict_log_proba(model, x, lengths)), np.asarray(dg.predict(model, x, lengths))
    if np.ndim(y) == 1:
        close("log_conditional of each label, and predict_log_proba", logs, log_proba)
        expect((labels == log_proba.argmax(-1)).all(), "predict is not the argmax of predict_log_proba.")
        return
    shown = np.stack([label_indicators(own, k) > 0 for own, _ in every_label(model, sample)], 1)
    inside = np.arange(shown.shape[2]) < np.asarray(lengths)[:, None]
    by_step = np.where(shown & inside[:, None, :, None], logs[..., None, None], -np.inf)
    marginals = np.logaddexp.reduce(by_step, axis=1).astype(logs.dtype)
    close("log_conditional summed over the paths through each state, and predict_log_proba", marginals, log_proba)
    best = dg.log_conditional(model, x, np.where(inside, labels, -1), lengths)
    close("log_conditional of the predicted path, and its maximum over paths", best, logs.max(1))


@law
def twin_has_the_same_posterior(model: Any, sample: Sample) -> None:
    """Law: discriminative(model) has the model's p(y | x) on complete rows."""
    x, y, lengths = sample
    twin, tolerance = dg.discriminative(model), 1e-6 if precision(model) == "float64" else 1e-3
    for verb in (dg.predict_log_proba, dg.log_conditional):
        labels = (y,) if verb is dg.log_conditional else ()
        one, other = (verb(own, x, *labels, lengths=lengths) for own in (twin, model))
        close(f"{verb.__name__} of the twin, and of the model", one, other, tolerance)


@law
def twin_has_the_same_gradient(model: Any, sample: Sample) -> None:
    """Law: log p(y | x) of a model and of its discriminative twin have equal gradients by the model's parameters.

    On complete rows; the twin's parameters are functions of the model's.
    """
    x, y, lengths = sample

    def total(twin: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda own: dg.log_conditional(twin(own), x, y, lengths).sum()

    tolerance = 1e-8 if precision(model) == "float64" else 1e-2
    through = jax.grad(total(dg.discriminative))(model)
    same_tree(
        "the gradient through the twin, and that of the model", through, jax.grad(total(_itself))(model), tolerance
    )


@law
def marginal_is_missing_elsewhere(model: Any, sample: Sample) -> None:
    """Law: marginal(model, columns) has the model's log p with NaN in the other columns."""
    x, _, lengths = sample
    d = np.shape(x)[-1]
    columns = [d - 1, 0] if d > 2 else [d - 1]
    elsewhere = ~np.isin(np.arange(d), columns)
    part = dg.log_prob(dg.marginal(model, columns), np.asarray(x)[..., columns], lengths)
    whole = dg.log_prob(model, with_missing(x, elsewhere), lengths)
    close(f"log_prob of the marginal of columns {columns}, and of the model with NaN elsewhere", part, whole)


@law
def probabilities_add_to_one(model: Any) -> None:
    """Law: sum_x p(x) = 1 over every row of discrete columns; other models pass unchecked."""
    rows = None if model.sequential else every_row(model.as_model().supports)
    if rows is None:
        return
    total = np.logaddexp.reduce(np.asarray(dg.log_prob(model, rows.astype(precision(model))), float))
    close("the log of p(x) summed over all rows, and 0", total, np.zeros(()), 2e-4)


@law
def filling_in_keeps_what_was_observed(model: Any, sample: Sample) -> None:
    """Law: impute and sample_missing keep observed cells to the bit, and fill others in the model's support."""
    x, _, lengths = sample
    observed, possible = ~np.isnan(x), np.isfinite(dg.log_prob(model, x, lengths))
    for verb, filled in (
        ("impute", dg.impute(model, x, lengths)),
        ("sample_missing", dg.sample_missing(model, jax.random.key(0), x, lengths)),
    ):
        expect(filled.dtype == x.dtype, f"{verb} gives {filled.dtype} for rows of {x.dtype}.")
        changed = (np.asarray(filled) != np.asarray(x)) & observed
        expect(not changed.any(), f"{verb} changes {int(changed.sum())} observed cells.")
        scores = np.asarray(dg.log_prob(model, filled, lengths))[possible]
        expect(np.isfinite(scores).all(), f"log_prob of what {verb} fills in is {scores[~np.isfinite(scores)]}.")


def _itself(model: Any) -> Any:
    return model


def _of_every_label(verb: Callable[..., Any], model: Any, sample: Sample) -> np.ndarray:
    """A verb of (model, x, y) for every possible label, (n, labels); minus infinity for labels a row cannot have."""
    parts = [
        np.where(right, np.asarray(verb(model, sample.x, label, sample.lengths)), -np.inf)
        for label, right in every_label(model, sample)
    ]
    return np.stack(parts, 1).astype(sample.x.dtype)


def _no_cell(sample: Sample) -> np.ndarray:
    missing = np.isnan(sample.x).all(-1)
    if sample.lengths is None:
        return missing
    return (missing | (np.arange(missing.shape[1]) >= np.asarray(sample.lengths)[:, None])).all(-1)
