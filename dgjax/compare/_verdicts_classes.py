"""Sentences on single classes: how well the rarest is told from the rest, and how often each is right."""

import numpy as np

from dgjax.compare import _words as words
from dgjax.compare._bench import Bench
from dgjax.compare._metrics import rarest
from dgjax.compare._ranking import rank
from dgjax.compare._results import Answer
from dgjax.compare._say import say

MOST_NAMED = 6  # classes


def of_classes(answer: Answer, bench: Bench) -> list[str]:
    """Sentences on the rarest class, and on the share of each class that is right."""
    return [*_rarest(answer, bench), *_recalls(answer, bench)]


def _rarest(answer, bench):
    """AUROC and average precision of the rarest class, of the model of the best average precision."""
    ranking = rank(answer, "average precision")
    if ranking is None:
        return []
    label = rarest(bench.dataset)
    _, y = bench.dataset.at(bench.dataset.labelled)
    area = answer.estimate("auroc", ranking.best[0])
    level = [say(bench, line) for line in ranking.level]
    also = f"; not told from it: {words.listing(level, 3)}" if level else ""
    share = words.share(float((y == label).mean()))
    text = (
        f"'{bench.dataset.classes[label]}', {share} of the {bench.plan.unit}, is told from the rest best by "
        f"{say(bench, ranking.best)}: average precision {words.number(ranking.value)} (its share is chance), AUROC "
        f"{words.number(area)} (0.5 is chance){also}."
    )
    return [text]


def _recalls(answer, bench):
    """Share of each class that is right, of the model of the best balanced accuracy; nothing of many classes."""
    ranking, classes = rank(answer, "balanced accuracy"), bench.dataset.classes
    if ranking is None or len(classes) > MOST_NAMED or ranking.best[0] not in answer.extra.get("confusion", {}):
        return []
    counts = np.asarray(answer.extra["confusion"][ranking.best[0]])
    right = [
        f"{name} {100 * counts[i, i] / counts[i].sum():.0f} %" for i, name in enumerate(classes) if counts[i].sum()
    ]
    text = (
        f"Right by class, of {say(bench, ranking.best)}, the best in balanced accuracy "
        f"({words.percent(ranking.value)}): {', '.join(right)}."
    )
    return [text]
