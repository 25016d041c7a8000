"""The data set, its splits and the models fitted on them: what the questions share, so that nothing is fitted twice."""

from dataclasses import dataclass, field

import numpy as np

from dgjax.compare._contestants import Contestant, Pair, contestants, pairs
from dgjax.compare._dataset import Dataset
from dgjax.compare._plan import Plan
from dgjax.compare._splits import Split, make_split
from dgjax.compare._training import Fitted, Training, make_training


@dataclass(frozen=True)
class Bench:
    """A data set and a plan, and every model fitted so far on all training rows of a split."""

    dataset: Dataset
    plan: Plan
    _fitted: dict[tuple[int, str], Fitted] = field(default_factory=dict)

    @property
    def contestants(self) -> dict[str, Contestant]:
        """All that take part, by key."""
        return contestants(self.plan)

    @property
    def pairs(self) -> list[Pair]:
        """The pairs that take part."""
        return pairs(self.plan)

    @property
    def generative(self) -> list[str]:
        """Keys of the generative contestants."""
        return [c.key for c in self.contestants.values() if c.side == "generative"]

    @property
    def chance(self) -> float:
        """Accuracy of always naming the most frequent class."""
        return float(np.bincount(self.dataset.y[self.dataset.labelled]).max() / len(self.dataset.labelled))

    def split(self, repeat: int) -> Split:
        """The split of that repeat."""
        plan = self.plan
        return make_split(self.dataset.y, self.dataset.labelled, plan.train_rows, plan.test_rows, repeat)

    def test(self, repeat: int) -> tuple[np.ndarray, np.ndarray]:
        """Test rows and their labels."""
        rows = self.split(repeat).test
        return self.dataset.x[rows], self.dataset.y[rows]

    def training(self, rows: np.ndarray, seed: int, size: int | None = None) -> Training:
        """Those rows to learn from, padded to all training rows."""
        return self.given(self.dataset.x[rows], self.dataset.y[rows], seed, size)

    def given(self, x: np.ndarray, y: np.ndarray, seed: int, size: int | None = None) -> Training:
        """Rows that are not as the data set has them."""
        return make_training(self.dataset, x, y, size or self.plan.train_rows, seed)

    def fit(self, key: str, training: Training) -> Fitted:
        """A contestant fitted on those rows."""
        return self.contestants[key].fit(training, self.plan)

    def full(self, key: str, repeat: int) -> Fitted:
        """A contestant fitted on all training rows of a split, once."""
        if (repeat, key) not in self._fitted:
            self._fitted[repeat, key] = self.fit(key, self.training(self.split(repeat).train, repeat))
        return self._fitted[repeat, key]
