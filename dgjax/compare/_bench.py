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
    _fitted: dict[tuple[int, str], Fitted] = field(default_factory=dict)
    _told: dict[tuple[int, str, int], np.ndarray] = field(default_factory=dict)
    _strength: dict[str, float] = field(default_factory=dict)

    @property
    def generative(self) -> list[str]:
        """Keys of the generative contestants."""
        return [c.key for c in self.contestants.values() if c.side == "generative"]

    @property
    def strengths(self) -> dict[str, float]:
        """What was chosen so far."""
        return {key: value for key, value in self._strength.items() if self.contestants[key].strengths}

    @property
    def chance(self) -> float:
        """Accuracy of always naming the most frequent class."""
        _, y = self.dataset.at(self.dataset.labelled)
        return float(np.bincount(y).max() / len(y))

    def split(self, repeat: int) -> Split:
        """The split of that repeat."""
        plan = self.plan
        return make_split(self.dataset.strata, self.dataset.labelled, plan.train_rows, plan.test_rows, repeat)

    def test(self, repeat: int) -> tuple[np.ndarray, np.ndarray]:
        """Test rows and their labels."""
        return self.dataset.at(self.split(repeat).test)

    def training(self, rows: np.ndarray, seed: int, size: int | None = None) -> Training:
        """Those rows to learn from, padded to all training rows."""
        return self.given(self.dataset.x[rows], self.dataset.y[rows], seed, size)

    def given(self, x: np.ndarray, y: np.ndarray, seed: int, size: int | None = None) -> Training:
        """Rows that are not as the data set has them."""
        return make_training(self.dataset, x, y, size or self.plan.train_rows, seed)

    def of_one_class(self, rows: np.ndarray, seed: int) -> Training:
        """Rows that all have one label, as the only class there is."""
        name = self.dataset.classes[int(self.dataset.y[rows[0]])]
        alone = replace(self.dataset, classes=(name,))
        return make_training(alone, self.dataset.x[rows], np.zeros(len(rows), int), self.plan.train_rows, seed)

    def fit(self, key: str, training: Training) -> Fitted:
        """A contestant fitted on those rows, held back as much as did it good."""
        return self._fit(key, training, self.strength(key))

    def _fit(self, key: str, training: Training, strength: float) -> Fitted:
        with fitting(key, self.plan.chosen_steps):
            return self.contestants[key].fit(replace(training, strength=strength), self.plan)

    def strength(self, key: str) -> float:
        """Of three, what gives the lowest Brier score on a quarter of the first split's training rows."""
        choices = self.contestants[key].strengths
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
        """A contestant fitted on all training rows of a split, once."""
        if (repeat, key) not in self._fitted:
            self._fitted[repeat, key] = self.fit(key, self.training(self.split(repeat).train, repeat))
        return self._fitted[repeat, key]

    def told(self, key: str, repeat: int, size: int) -> np.ndarray:
        """log p(y | x) of the test rows by a contestant fitted on the first training rows of a split, once."""
        place = repeat, key, size
        if place not in self._told:
            train = self.split(repeat).train
            whole = size == len(train)
            fitted = self.full(key, repeat) if whole else self.fit(key, self.training(train[:size], repeat))
            self._told[place] = fitted.log_proba(self.test(repeat)[0])
        return self._told[place]
