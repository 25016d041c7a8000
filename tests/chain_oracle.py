"""Linear chains by brute force: every answer is a sum or a maximum over all paths, in NumPy float64.

In shapes, k is the number of states and t the number of steps, of which the first `length` exist.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Path = tuple[int, ...]


@dataclass(frozen=True)
class Potentials:
    """initial (k,), transition (k, k) or (t - 1, k, k), scores (t, k), length in 1..t, labels (t,) or None."""

    initial: np.ndarray
    transition: np.ndarray
    scores: np.ndarray
    length: int
    labels: np.ndarray | None = None


def score_of(potentials: Potentials, path: Sequence[int] | np.ndarray) -> float:
    """The score of a path of at least `length` states, whatever the labels; -inf if one of them is no state."""
    initial, transition, scores = (
        np.asarray(array, np.float64) for array in (potentials.initial, potentials.transition, potentials.scores)
    )
    states = [int(path[step]) for step in range(potentials.length)]
    if not all(0 <= state < len(initial) for state in states):
        return -np.inf
    total = initial[states[0]]
    for step, state in enumerate(states):
        total += scores[step, state]
    for step, (state, successor) in enumerate(itertools.pairwise(states)):
        total += (transition[step] if transition.ndim == 3 else transition)[state, successor]
    return float(total)


def agrees(potentials: Potentials, path: Path) -> bool:
    """Whether a path of `length` states has every known label."""
    if potentials.labels is None:
        return True
    known = potentials.labels[: potentials.length]
    return all(label < 0 or state == label for state, label in zip(path, known, strict=True))


def paths(potentials: Potentials) -> tuple[list[Path], np.ndarray]:
    """The n paths that agree with the labels, in lexicographic order, and their scores (n,), which may be -inf."""
    states = range(np.shape(potentials.scores)[1])
    allowed = [path for path in itertools.product(states, repeat=potentials.length) if agrees(potentials, path)]
    return allowed, np.array([score_of(potentials, path) for path in allowed], np.float64)


def log_partition(potentials: Potentials) -> float:
    """The log of the sum of exp(score) over the paths, -inf if none is possible."""
    return float(np.logaddexp.reduce(paths(potentials)[1]))


def path_distribution(potentials: Potentials) -> dict[Path, float]:
    """The probability of each path with a finite score; empty if none is possible."""
    total = log_partition(potentials)
    every_path, scores = paths(potentials)
    return {
        path: float(np.exp(score - total))
        for path, score in zip(every_path, scores, strict=True)
        if not np.isneginf(score)
    }


def marginals(potentials: Potentials) -> np.ndarray:
    """p(y_s = i) as (t, k), zero beyond the length and everywhere if no path is possible."""
    result = np.zeros(np.shape(potentials.scores))
    for path, probability in path_distribution(potentials).items():
        for step, state in enumerate(path):
            result[step, state] += probability
    return result


def transition_counts(potentials: Potentials) -> np.ndarray:
    """p(y_s = i, y_{s+1} = j) as (t - 1, k, k), zero beyond the length and everywhere if no path is possible."""
    t, k = np.shape(potentials.scores)
    result = np.zeros((t - 1, k, k))
    for path, probability in path_distribution(potentials).items():
        for step, (state, successor) in enumerate(itertools.pairwise(path)):
            result[step, state, successor] += probability
    return result


def mode(potentials: Potentials) -> np.ndarray:
    """The first path of highest score as (t,) integers, -1 beyond the length and everywhere if none is possible."""
    result = np.full(len(potentials.scores), -1)
    every_path, scores = paths(potentials)
    if np.any(scores > -np.inf):
        result[: potentials.length] = every_path[np.argmax(scores)]
    return result


def entropy(potentials: Potentials) -> float:
    """-sum p log p over the paths, in nats; 0.0 if none is possible."""
    probabilities = np.array(list(path_distribution(potentials).values()))
    positive = probabilities[probabilities > 0]
    return float(np.sum(positive * -np.log(positive)))


def random_potentials(
    rng: np.random.Generator,
    k: int,
    t: int,
    *,
    length: int | None = None,
    zeros: float = 0.0,
    per_step: bool = False,
    labelled: float = 0.0,
) -> Potentials:
    """Normal potentials, -inf with probability `zeros` (half that for scores); by default length t and labels None."""

    def draw(shape: tuple[int, ...], scale: float, impossible: float) -> np.ndarray:
        values = rng.normal(scale=scale, size=shape)
        return np.where(rng.random(shape) < impossible, -np.inf, values)

    initial = draw((k,), 1.0, zeros)
    transition = draw((t - 1, k, k) if per_step else (k, k), 1.0, zeros)
    scores = draw((t, k), 3.0, zeros / 2)
    labels = np.where(rng.random(t) < labelled, rng.integers(k, size=t), -1) if labelled else None
    return Potentials(initial, transition, scores, t if length is None else length, labels)
