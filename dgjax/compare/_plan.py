"""Plan of a comparison: how much is measured, fixed by the shape of the data and --quick, so that numbers repeat."""

from dataclasses import dataclass

import numpy as np

from dgjax.compare._dataset import Dataset
from dgjax.compare._splits import spaced

# Seconds for one row and label of a full-covariance Gaussian with missing cells, at 64 columns, in float32.
MISSING_CELL_COST = 35e-6
# Training rows of a split, half as many are tested; --max-rows takes more, of fewer splits.
USUAL_ROWS, QUICK_ROWS = 1600, 512
MOST_FULL_FEATURES = 80  # up to which models of full covariances are compared
FEW_FEATURES = 20  # up to which EM goes on for small gains
# Nats for each row that a step of EM must gain to go on, where cells or labels are missing.
TOL, LOOSE_TOL = 1e-3, 0.3
DRAWN_TIMES = 4  # rows drawn for each training row
# Rows explained in each split, those that lend them cells, and how often a model may be asked about their mixtures.
EXPLAINED_ROWS, LENDING_ROWS, MOST_ASKED = 20, 10, 1_000_000
MOST_EXACT = 13  # columns, up to which all sets of them are gone through: 1 s for each model and split
MOST_ORDERS = 40


@dataclass(frozen=True)
class Plan:
    """Sizes and repeats of every question, 0 or nothing where one is not asked; `unit` names what is split."""

    quick: bool
    repeats: int
    train_rows: int
    test_rows: int
    sizes: tuple[int, ...]
    missing_repeats: int
    missing_test_rows: int
    missing_shares: tuple[float, ...]
    labelled_shares: tuple[float, ...]
    label_repeats: int
    held_out_runs: int
    mixture_steps: int
    missing_train_rows: int = 0
    missing_train_shares: tuple[float, ...] = ()
    em_tol: float = TOL
    full_covariance: bool = True
    twin_draws: int = 0
    twin_completions: int = 0
    boosting_steps: int = 0
    network_steps: int = 0
    deep_repeats: int = 0
    deep_steps: int = 0
    drawn_sizes: tuple[int, ...] = ()
    drawn_repeats: int = 0
    explained_repeats: int = 0
    explained_orders: int = 0
    longest: int = 1
    rows: int = 0
    letters: int = 0
    vocabulary: int = 0
    unit: str = "rows"

    @property
    def chosen_steps(self) -> tuple[int, ...]:
        """Numbers of steps at which fits may end because the plan says so."""
        return self.mixture_steps, self.network_steps, self.deep_steps

    def describe(self) -> list[str]:
        """Sentences on what the numbers rest on: rows, splits, repeats."""
        lines = [
            f"{self.repeats} repeated splits: up to {self.train_rows} training and {self.test_rows} test {self.unit}."
        ]
        if self.rows > self.train_rows + self.test_rows:
            lines.append(
                f"Each split takes its rows from all {self.rows} that have a label, and every number here is of models "
                "that have learnt from no more than that; for more, type --max-rows."
            )
        if self.missing_shares:
            lines.append(f"Missing cells: {self.missing_repeats} splits and {self.missing_test_rows} test {self.unit}.")
        if self.missing_train_rows:
            lines.append(f"Cells missing at training: {self.missing_train_rows} training rows.")
        lines.append(f"What EM learns (mixtures, missing cells, missing labels): at most {self.mixture_steps} steps.")
        if self.boosting_steps:
            lines.append(f"Gradient boosting: {self.boosting_steps} steps.")
        if self.network_steps:
            lines.append(f"Networks: {self.network_steps} steps of Adam.")
        if self.deep_repeats:
            lines.append(f"Deep densities: {self.deep_repeats} splits, {self.deep_steps} steps of Adam.")
        if self.vocabulary:
            lines.append(
                f"Of texts models know the {self.vocabulary} most frequent words and marks of the training texts at "
                f"most, in lower case. Language models read the first {self.longest} of a text, n-grams its first "
                f"{self.letters} letters."
            )
        if self.drawn_sizes:
            lines.append(
                f"Drawn rows: {self.drawn_repeats} splits, {DRAWN_TIMES} rows drawn for each training row, up to "
                f"{self.train_rows} in all."
            )
        if self.explained_repeats:
            lines.append(
                f"Columns that decide: {self.explained_repeats} splits, {EXPLAINED_ROWS} test rows of each explained, "
                f"cells lent by {LENDING_ROWS} training rows."
            )
        if not self.full_covariance:
            lines.append(
                f"More than {MOST_FULL_FEATURES} features: models with full covariances, and logistic regression on "
                "quadratic features, are left out."
            )
        return lines


def make_plan(dataset: Dataset, quick: bool, max_rows: int | None = None) -> Plan:
    """Plan for a data set, smaller if `quick`; of at most `max_rows` training rows, the usual number if None."""
    rows, classes = len(dataset.labelled), len(dataset.classes)
    usual = QUICK_ROWS if quick else USUAL_ROWS
    most = usual if max_rows is None else max(max_rows, 2 * max(2 * classes, 10))
    test_rows = min(max(most // 2, 100), rows // 3)
    train_rows = min(most, rows - test_rows)
    repeats = int(np.clip((3 if quick else 10) * usual / max(train_rows, 1), 3, 3 if quick else 10))
    features = int(sum(max(1, len(levels) - 1) for levels in dataset.levels))
    lowest = max(2 * classes, 10)
    sizes = spaced(lowest, train_rows, 4 if quick else 8)
    missing_rows, completions = _missing_rows(features, classes, quick), 3 if quick else 5
    return Plan(
        quick=quick,
        rows=rows,
        repeats=repeats,
        train_rows=train_rows,
        test_rows=test_rows,
        sizes=sizes,
        missing_repeats=3 if quick else 6,
        missing_test_rows=test_rows,
        missing_train_rows=min(train_rows, max(min(train_rows // completions, missing_rows), 4 * classes)),
        em_tol=TOL if features <= FEW_FEATURES else LOOSE_TOL,
        missing_shares=(0.0, 0.5, 0.75) if quick else (0.0, 0.1, 0.25, 0.5, 0.75, 0.9),
        missing_train_shares=(0.0, 0.5) if quick else (0.0, 0.1, 0.25, 0.5, 0.7),
        labelled_shares=_labelled_shares(lowest, train_rows, quick),
        label_repeats=3 if quick else 6,
        held_out_runs=min(max(classes, 4), 3 if quick else 10),
        full_covariance=features <= MOST_FULL_FEATURES,
        mixture_steps=10 if quick else 50,
        twin_draws=4 if quick else 16,
        twin_completions=completions,
        boosting_steps=20 if quick else 60,
        network_steps=0 if quick else 1000,
        deep_repeats=0 if quick or features > MOST_FULL_FEATURES or len(dataset.columns) < 2 else 3,
        deep_steps=0 if quick else 300,
        drawn_sizes=() if quick else tuple(size for size in sizes[:4:3] if 2 * size <= train_rows),
        drawn_repeats=0 if quick else 6,
        explained_repeats=0 if quick or len(dataset.columns) < 2 else 5,
        explained_orders=_orders(len(dataset.columns)),
    )


def _orders(columns: int) -> int:
    """Number of random orders of columns that explanations are means over; 0 where all sets of columns are few."""
    if columns <= MOST_EXACT:
        return 0
    return int(np.clip(MOST_ASKED // (EXPLAINED_ROWS * LENDING_ROWS * columns), 4, MOST_ORDERS))


def _missing_rows(features: int, classes: int, quick: bool) -> int:
    """Number of training rows for which EM on missing cells with full covariances is affordable."""
    cost = MISSING_CELL_COST * (features / 64) ** 1.8 * classes
    return int(np.clip((0.03 if quick else 0.25) / cost, 100, 400 if quick else 800))


def _labelled_shares(lowest: int, train_rows: int, quick: bool) -> tuple[float, ...]:
    counts = spaced(lowest, train_rows, 4 if quick else 7)
    return tuple(count / train_rows for count in counts)
