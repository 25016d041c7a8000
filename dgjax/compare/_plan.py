"""How much is measured: fixed by the shape of the data and by --quick alone, so that numbers repeat."""

from dataclasses import dataclass

import numpy as np

from dgjax.compare._dataset import Dataset
from dgjax.compare._splits import spaced

# Seconds for one row and label of a full-covariance Gaussian with missing cells, at 64 columns, in float32.
MISSING_CELL_COST = 35e-6
MOST_FULL_FEATURES = 80


@dataclass(frozen=True)
class Plan:
    """Sizes and repeats of every question."""

    quick: bool
    repeats: int
    train_rows: int
    test_rows: int
    sizes: tuple[int, ...]
    missing_repeats: int
    missing_test_rows: int
    missing_train_rows: int
    missing_steps: int
    missing_shares: tuple[float, ...]
    missing_train_shares: tuple[float, ...]
    labelled_shares: tuple[float, ...]
    label_repeats: int
    held_out_runs: int
    full_covariance: bool
    mixture_steps: int
    twin_draws: int
    twin_completions: int
    boosting_steps: int

    def describe(self) -> list[str]:
        """What the numbers rest on, in words."""
        lines = [
            f"{self.repeats} repeated splits into at most {self.train_rows} training and {self.test_rows} test rows.",
            f"Missing cells: {self.missing_repeats} splits, {self.missing_test_rows} test rows and, where cells are "
            f"missing at training, {self.missing_train_rows} training rows and at most {self.missing_steps} EM steps.",
        ]
        if not self.full_covariance:
            lines.append(
                f"More than {MOST_FULL_FEATURES} features: models with full covariances, and logistic regression on "
                "quadratic features, are left out."
            )
        return lines


def make_plan(dataset: Dataset, quick: bool) -> Plan:
    """The plan for that data."""
    rows, classes = len(dataset.labelled), len(dataset.classes)
    test_rows = min(400 if quick else 800, rows // 3)
    train_rows = min(640 if quick else 1600, rows - test_rows)
    features = int(sum(max(1, len(levels) - 1) for levels in dataset.levels))
    lowest = max(2 * classes, 10)
    missing_rows, steps = _missing_budget(features, classes, quick)
    return Plan(
        quick=quick,
        repeats=5 if quick else 10,
        train_rows=train_rows,
        test_rows=test_rows,
        sizes=spaced(lowest, train_rows, 6 if quick else 8),
        missing_repeats=3 if quick else 6,
        missing_test_rows=min(test_rows, missing_rows),
        missing_train_rows=min(train_rows, max(missing_rows, 4 * classes)),
        missing_steps=steps,
        missing_shares=(0.0, 0.25, 0.5, 0.75) if quick else (0.0, 0.1, 0.25, 0.5, 0.75, 0.9),
        missing_train_shares=(0.0, 0.25, 0.5) if quick else (0.0, 0.1, 0.25, 0.5, 0.7),
        labelled_shares=_labelled_shares(lowest, train_rows, quick),
        label_repeats=5 if quick else 10,
        held_out_runs=max(classes, 4) if classes <= 10 else 10,
        full_covariance=features <= MOST_FULL_FEATURES,
        mixture_steps=20 if quick else 50,
        twin_draws=8 if quick else 32,
        twin_completions=3 if quick else 5,
        boosting_steps=30 if quick else 60,
    )


def _missing_budget(features: int, classes: int, quick: bool) -> tuple[int, int]:
    """Rows and EM steps that full covariances can afford with missing cells."""
    cost = MISSING_CELL_COST * (features / 64) ** 1.8 * classes
    rows = int(np.clip((0.1 if quick else 0.25) / cost, 100, 400 if quick else 800))
    return rows, 5 if quick else 10


def _labelled_shares(lowest: int, train_rows: int, quick: bool) -> tuple[float, ...]:
    counts = spaced(lowest, train_rows, 5 if quick else 7)
    return tuple(count / train_rows for count in counts)
