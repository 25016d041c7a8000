"""Warnings of fits, counted for the report: shown raw they would drown the progress, and advise what has no option."""

import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dgjax import PrecisionWarning

SAID = {  # what a message holds, and what is said of the fits that give it
    "max_steps=": "ended before their maximum",
    "short of its maximum": "ended short of their maximum, for float32 has too few digits",
    "without a label lowered": "know the labels that are given worse than without the rows that have none",
    "starts were dropped": "lost a part of their starts",
    "classes are separated": "have no maximum, for the classes are separated",
}
_ear = threading.local()


@dataclass
class Heard:
    """Counts of fits, and of how many fits of which model gave which warning."""

    fits: int = 0
    said: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, other: "Heard") -> None:
        """Adds the counts of another."""
        self.fits += other.fits
        self.said.update(other.said)

    def lines(self, names: dict[str, str]) -> list[str]:
        """Sentences for the report, one for each kind of warning; `names` are those of models."""
        totals: Counter[str] = Counter()
        for (what, _), count in self.said.items():
            totals[what] += count
        return [
            f"{total} of {self.fits} fits {what}: "
            f"{', '.join(f'{names.get(k, k)} {n}' for (w, k), n in sorted(self.said.items()) if w == what)}."
            for what, total in totals.items()
        ]


@contextmanager
def listening() -> Iterator[None]:
    """Context in which no warning reaches the terminal; `hearing` and `fitting` keep those of their threads."""
    # Filters belong to the whole process, and two threads that set them by turns would leave them set: set once here.
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _keep
        yield


@contextmanager
def hearing() -> Iterator[Heard]:
    """Context that counts the warnings of this thread's fits."""
    _ear.heard = heard = Heard()
    try:
        yield heard
    finally:
        del _ear.heard


@contextmanager
def fitting(model: str, chosen_steps: tuple[int, ...]) -> Iterator[None]:
    """Context of one fit of a model, by its key, inside `listening`: at its end adds to the counts of `hearing`.

    To the number of fits 1, and 1 for each kind of warning that it gave, however often; not for the warning that it
    ended at max_steps where the plan chose that number (`chosen_steps`). Counts nothing outside `hearing`, or if the
    fit raises an error.
    """
    _ear.messages = messages = []
    try:
        yield
    finally:
        del _ear.messages
    heard = getattr(_ear, "heard", None)
    if heard is not None:
        heard.fits += 1
        heard.said.update({(what, model) for what in (_plain(one, chosen_steps) for one in messages) if what})


def _keep(message, category, filename, lineno, file=None, line=None) -> None:
    getattr(_ear, "messages", []).append(message)


def _plain(message: Warning | str, chosen_steps: tuple[int, ...]) -> str:
    text = str(message)
    steps = re.search(r"max_steps=(\d+)", text)
    if steps and int(steps[1]) in chosen_steps:
        return ""
    if isinstance(message, PrecisionWarning):
        return "lose digits of the data in float32"
    known = (said for words, said in SAID.items() if words in text)
    return next(known, f"gave a warning ('{' '.join(text.split('.')[0].split())}')")
