"""Semi-supervised learning: the weight of labelled rows, and a warning where unlabelled rows speak against the labels.

Rows without labels pull classes to where rows lie densely. Where those clusters are the classes, a few labels do as
much as many: LDA of iris, 9 labels, 0.88 right alone and 0.97 with the other rows. Where they are not, labels lose: of
breast cancer, 27 labels, naive Bayes falls from 0.95 to 0.92 and is wrong on a fifth of the very labels it was given.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from dgjax._arguments import AnyArray, check_number, is_concrete
from dgjax._warnings import ConvergenceWarning, warn
from dgjax.densities import has_draws
from dgjax.learning import _em
from dgjax.learning._method import Outcome
from dgjax.learning._objective import Problem, tolerance
from dgjax.learning._progress import empty_trace

LOST = 0.1
"""Nats for each label. Naive Bayes and LDA of breast cancer, iris and wine with 5, 10 and 30 % of the labels, 54 fits:
14 lost more, and 12 of these were worse on the other rows than the labels alone; of the 40 that lost less 5 were, by
0.01 to 0.03."""
LOST_IN_ALL = 2.0
"""Nats of all labels together, for a few labels lose as much by chance."""
STEPS_ALONE = 10  # of EM, on the labelled rows alone, to compare with


def weighted(label_weight: Any, model: Any, y: Any, labels: AnyArray, weights: AnyArray) -> AnyArray:
    """Weights (n,) of rows or sequences, multiplied by `label_weight` where a label is known.

    Raises ValueError if `label_weight` is not a positive number, or is given where it would have no effect.
    """
    check_number(label_weight, "label_weight", 0)
    if is_concrete(label_weight) and label_weight == 1:
        return weights
    unknown = y is None or (is_concrete(labels) and not (np.asarray(labels) >= 0).any())
    if unknown or not model.generative:
        given = "y=None" if y is None else "y of which each is -1, unknown"
        given = f"a {type(model).__name__}, which learns from no other rows" if not unknown else given
        raise ValueError(
            f"label_weight is for a generative model and rows of which some have a label; got {given}. Leave it out."
        )
    if is_concrete(label_weight) and label_weight == 0:
        raise ValueError(
            "label_weight must be more than 0; got 0, by which no label counts and all classes stay as they start. "
            "Leave y out: dgjax.fit(model, x), from a start such as dgjax.gaussian_mixture(key, x, k)."
        )
    xp = np if is_concrete(labels, weights, label_weight) else jnp
    known = (labels.reshape(len(labels), -1) >= 0).any(-1)
    return xp.where(known, label_weight * weights, weights).astype(weights.dtype)


def warn_if_labels_lost(
    start: Any, problem: Problem, outcome: Outcome, fitted: Any, tol: Any, label_weight: Any
) -> None:
    """Warns (ConvergenceWarning) if unlabelled rows lowered the mean log-probability of the given labels.

    The comparison is with ten steps of EM from the same start on the labelled rows alone.
    """
    joint = start.generative and problem.blend is None and not has_draws(start)
    if not joint or problem.labelled or not is_concrete(fitted, problem, outcome, tol) or not float(tol):
        return
    if not np.isfinite(outcome.value):
        return
    has_label = (np.asarray(problem.y).reshape(len(problem.y), -1) >= 0).any(-1)
    counted = np.asarray(problem.weights) > 0
    num_labels, num_others = np.count_nonzero(has_label & counted), np.count_nonzero(~has_label & counted)
    if not (num_labels and num_others):
        return
    labelled = problem.replace(weights=np.where(has_label, problem.weights, 0).astype(problem.weights.dtype))
    trace, tol = empty_trace(len(outcome.trace), problem.weights.dtype), tolerance(tol, problem)
    # As EM asks, with a trace of that length, so that its program is there; as it is for the E-steps below.
    alone = _em.advance(_em.start(start, problem, trace), labelled, tol, np.asarray(STEPS_ALONE)).model
    hidden = labelled.replace(y=np.full(problem.y.shape, -1, problem.y.dtype))

    def mean(model):
        joint, evidence = (
            float(_em.advance(_em.start(model, own, trace), own, tol, np.asarray(0)).value)
            for own in (labelled, hidden)
        )
        return (joint - evidence) / float(labelled.weights.sum())

    before, after = mean(alone), mean(fitted)
    if math.isfinite(before) and before - after > max(LOST, LOST_IN_ALL / num_labels):
        larger = max(10.0 * float(label_weight), round(num_others / num_labels))
        warn(
            f"rows without a label lowered the log-probability of the labels that are given, from {before:.2f} to "
            f"{after:.2f} nats for each: where rows lie densely is not where the classes are. Type "
            f"label_weight={larger:.0f} or larger, so many times as much for rows that have a label.",
            ConvergenceWarning,
        )
