"""Results: plain records of what was measured, from which tables, plots and verdicts are drawn."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dgjax.compare._heard import Heard

Status = Literal["not reached", "partial", "done", "skipped", "failed"]


@dataclass(frozen=True)
class Record:
    """Record of one number, measured once: `repeat` tells which split, so that differences can be paired."""

    metric: str
    model: str
    repeat: int
    value: float
    setting: float = 0.0
    method: str = "exact"


@dataclass(frozen=True)
class Estimate:
    """Estimate: mean over repeats and its standard error; NaN where nothing, or only one value, was measured."""

    mean: float
    error: float
    count: int

    @property
    def known(self) -> bool:
        """Whether anything was measured."""
        return self.count > 0


def estimate(values: Iterable[float]) -> Estimate:
    """Estimate from values: their mean and its standard error."""
    array = np.array(list(values), float)
    if len(array) == 0:
        return Estimate(float("nan"), float("nan"), 0)
    error = float(array.std(ddof=1) / np.sqrt(len(array))) if len(array) > 1 else float("nan")
    return Estimate(float(array.mean()), error, len(array))


@dataclass
class Answer:
    """Answer to one question: its records, and how far it came."""

    key: str
    status: Status = "not reached"
    reason: str = ""
    records: list[Record] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Any] = field(default_factory=dict)
    heard: Heard = field(default_factory=Heard)

    def values(self, metric: str, model: str, setting: float = 0.0, method: str = "exact") -> dict[int, float]:
        """Values of a metric of a model, by repeat."""
        wanted = (metric, model, setting, method)
        return {r.repeat: r.value for r in self.records if (r.metric, r.model, r.setting, r.method) == wanted}

    def estimate(self, metric: str, model: str, setting: float = 0.0, method: str = "exact") -> Estimate:
        """Mean of a metric of a model over repeats, with its standard error."""
        return estimate(self.values(metric, model, setting, method).values())

    def difference(
        self,
        metric: str,
        one: tuple[str, str],
        other: tuple[str, str],
        setting: float = 0.0,
        scale: Callable[[float], float] = float,
    ) -> Estimate:
        """Paired difference of one (model, method) less another, by repeat: what splits share cancels.

        Values go through `scale` first, as a logarithm for ratios.
        """
        a, b = (self.values(metric, model, setting, method) for model, method in (one, other))
        return estimate(scale(a[r]) - scale(b[r]) for r in sorted(a.keys() & b.keys()))

    def settings(self, metric: str, model: str | None = None, method: str | None = None) -> list[float]:
        """Settings at which a metric was measured, sorted."""
        return sorted(
            {
                r.setting
                for r in self.records
                if r.metric == metric and model in (None, r.model) and method in (None, r.method)
            }
        )

    def lines(self, metric: str) -> list[tuple[str, str]]:
        """Lines (model, method) that have a metric, in the order of measuring."""
        return list(dict.fromkeys((r.model, r.method) for r in self.records if r.metric == metric))

    def as_json(self) -> dict[str, Any]:
        """Values of the answer as plain dictionaries, one for each estimate."""
        keys = list(dict.fromkeys((r.metric, r.model, r.method, r.setting) for r in self.records))
        return {
            "status": self.status,
            "reason": self.reason,
            "fits": self.heard.fits,
            "fits_that_said": [
                {"model": model, "said": what, "fits": count} for (what, model), count in self.heard.said.items()
            ],
            "estimates": [self._as_json(*key) for key in keys],
            **self.extra,
        }

    def _as_json(self, metric: str, model: str, method: str, setting: float) -> dict[str, Any]:
        values = self.values(metric, model, setting, method)
        mean = estimate(values.values())
        return {
            "metric": metric,
            "model": model,
            "method": method,
            "setting": setting,
            "mean": mean.mean,
            "standard_error": None if np.isnan(mean.error) else mean.error,
            "values": list(values.values()),
        }
