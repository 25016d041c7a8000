"""The data set, its splits and the models fitted on them: what the questions share, so that nothing is fitted twice."""

from dataclasses import dataclass, field, replace

import numpy as np

from dgjax.compare._contestants import Contestant, Pair
from dgjax.compare._dataset import Dataset
from dgjax.compare._heard import fitting
from dgjax.compare._metrics import brier
from dgjax.compare._plan import Plan
from dgjax.compare._splits import Split, make_split
from dgjax.compare._training import Fitted, Training, make_training


@dataclass(frozen=True)
class Bench:
    """A data set and a plan, and every model fitted so far on all training rows of a split."""

    dataset: Dataset
    plan: Plan
    contestants: dict[str, Contestant]
    pairs: list[Pair]
    deep: dict[str, Contestant] = field(default_factory=dict)
    _fitted: dict[tuple[int, str], Fitted] = field(default_factory=dict)
    _told: dict[tuple[int, str, int], np.ndarray] = field(default_factory=dict)
    _strength: dict[str, float] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, Contestant]:
        """All contestants by key, with the deep densities, which one question alone is about."""
        return {**self.contestants, **self.deep}

    @property
    def generative(self) -> list[str]:
        """Keys of the generative contestants."""
        return [c.key for c in self.contestants.values() if c.side == "generative"]

    @property
    def strengths(self) -> dict[str, float]:
        """Strength of regularisation chosen so far for each contestant that has a choice of it, by key."""
        return {key: value for key, value in self._strength.items() if self.named[key].strengths}

    @property
    def chance(self) -> float:
        """Accuracy of always naming the most frequent class."""
        _, y = self.dataset.at(self.dataset.labelled)
        return float(np.bincount(y).max() / len(y))

    def split(self, repeat: int) -> Split:
        """Training and test rows of a repeat, by its number as the seed."""
        plan = self.plan
        return make_split(self.dataset.strata, self.dataset.labelled, plan.train_rows, plan.test_rows, repeat)

    def test(self, repeat: int) -> tuple[np.ndarray, np.ndarray]:
        """Test rows of a repeat, and their labels."""
        return self.dataset.at(self.split(repeat).test)

    def training(self, rows: np.ndarray, seed: int, size: int | None = None) -> Training:
        """Training data of some rows of the data set, by their numbers, padded to `size` or all training rows."""
        return self.given(self.dataset.x[rows], self.dataset.y[rows], seed, size)

    def given(self, x: np.ndarray, y: np.ndarray, seed: int, size: int | None = None) -> Training:
        """Training data of rows x and labels y other than the data set's, padded to `size` or all training rows."""
        return make_training(self.dataset, x, y, size or self.plan.train_rows, seed)

    def of_one_class(self, rows: np.ndarray, seed: int) -> Training:
        """Training data of rows that all have one label, which becomes the only class."""
        name = self.dataset.classes[int(self.dataset.y[rows[0]])]
        alone = replace(self.dataset, classes=(name,))
        return make_training(alone, self.dataset.x[rows], np.zeros(len(rows), int), self.plan.train_rows, seed)

    def fit(self, key: str, training: Training) -> Fitted:
        """Fit of a contestant to training data, by the strength of regularisation chosen for it."""
        return self._fit(key, training, self.strength(key))

    def _fit(self, key: str, training: Training, strength: float) -> Fitted:
        with fitting(key, self.plan.chosen_steps):
            return self.named[key].fit(replace(training, strength=strength), self.plan)

    def strength(self, key: str) -> float:
        """Strength of regularisation of a contestant: the one with the lowest Brier score in validation.

        Validated on a quarter of the first split's training rows; 1 for a contestant without a choice.
        """
        choices = self.named[key].strengths
        if key not in self._strength:
            self._strength[key] = min(choices, key=lambda one: self._validated(key, one)) if choices else 1.0
        return self._strength[key]

    def _validated(self, key: str, strength: float) -> float:
        rows = self.split(0).train
        own, other = rows[: -(len(rows) // 4)], rows[-(len(rows) // 4) :]
        fitted = self._fit(key, self.training(own, 0), strength)
        x, y = self.dataset.at(other)
        return brier(fitted.log_proba(x), y)

    def full(self, key: str, repeat: int) -> Fitted:
        """Fit of a contestant to all training rows of a split, made once."""
        if (repeat, key) not in self._fitted:
            self._fitted[repeat, key] = self.fit(key, self.training(self.split(repeat).train, repeat))
        return self._fitted[repeat, key]

    def told(self, key: str, repeat: int, size: int) -> np.ndarray:
        """Log-posteriors (m, k) of a split's test rows by a contestant fitted to its first `size` training rows.

        The fit is made once.
        """
        place = repeat, key, size
        if place not in self._told:
            train = self.split(repeat).train
            whole = size == len(train)
            fitted = self.full(key, repeat) if whole else self.fit(key, self.training(train[:size], repeat))
            self._told[place] = fitted.log_proba(self.test(repeat)[0])
        return self._told[place]
