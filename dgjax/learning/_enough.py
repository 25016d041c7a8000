"""Check that there is enough to learn from: rows of so many classes, or as many as there are components."""

from typing import Any

import numpy as np

from dgjax import _advice


def without_labels(model: Any) -> str:
    """Advice for an error: what learns without labels."""
    if not model.sequential:
        return _advice.WITHOUT_LABELS
    return _advice.SEQUENCES_WITHOUT_LABELS if model.one_label else _advice.STATES_WITHOUT_LABELS


def check_enough(model: Any, seen: np.ndarray, num_counted: int) -> None:
    """Raises ValueError for a single class, no label where the model needs some, or fewer rows than components.

    `seen` (1 + k,) are counts of the labels -1, 0, ..., k - 1 of the `num_counted` rows or sequences that count.
    """
    kind = "sequences" if model.sequential and model.one_label else "rows"
    known, unlabelled = np.flatnonzero(seen[1:]), seen[0] > 0
    instead = without_labels(model)
    if len(known) == 1 and model.num_labels > 1 and not (unlabelled and model.generative):
        raise ValueError(f"y must hold at least two classes; every label given is {int(known[0])}. {instead}")
    if not len(known) and not model.generative:
        raise ValueError(f"y must hold at least two classes; every label is -1, unknown. {instead}")
    if not len(known) and num_counted < model.num_labels:
        raise ValueError(
            f"x must have at least as many {kind} as the model has components; got {num_counted} {kind} for "
            f"{model.num_labels} components. Type a smaller num_components."
        )
