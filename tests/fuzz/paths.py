"""Linear chains in float64: all paths where there are few, the recursions over steps where there are many."""

import functools
import itertools

import numpy as np
from scipy.special import logsumexp

MOST_PATHS = 800


class Chain:
    """One sequence: initial (k,), transition (k, k), scores (t, k); labels (t,), -1 unknown, are clamped."""

    def __init__(self, initial, transition, scores, labels=None):
        self.initial, self.transition, self.scores = initial, transition, np.array(scores, np.float64)
        if labels is not None:
            states = np.arange(self.scores.shape[1])
            others = (labels[:, None] >= 0) & (states != labels[:, None])
            self.scores[others] = -np.inf
        t, k = self.scores.shape
        self.few = k**t <= MOST_PATHS
        if self.few:
            self.paths = np.array(list(itertools.product(range(k), repeat=t)))
            self.path_scores = np.array([self.score(path) for path in self.paths])

    def score(self, path):
        total = self.initial[path[0]] + sum(self.scores[s, state] for s, state in enumerate(path))
        return total + sum(self.transition[i, j] for i, j in itertools.pairwise(path))

    @functools.cached_property
    def log_partition(self):
        return logsumexp(self.path_scores) if self.few else logsumexp(self.forward[-1])

    @functools.cached_property
    def best(self):
        if self.few:
            return self.path_scores.max()
        best = self.initial + self.scores[0]
        for scores in self.scores[1:]:
            best = (best[:, None] + self.transition).max(0) + scores
        return best.max()

    @functools.cached_property
    def forward(self):
        """Log-sum over the paths that end in a state, (t, k)."""
        ends = [self.initial + self.scores[0]]
        for scores in self.scores[1:]:
            ends.append(log_product(ends[-1], self.transition) + scores)
        return np.array(ends)

    @functools.cached_property
    def backward(self):
        """Log-sum over what may follow a state, (t, k)."""
        follows = [np.zeros(self.scores.shape[1])]
        for scores in self.scores[:0:-1]:
            follows.append(log_product(follows[-1] + scores, self.transition.T))
        return np.array(follows[::-1])

    @functools.cached_property
    def log_marginals(self):
        """log p(y_s), (t, k)."""
        if not self.few:
            joint = self.forward + self.backward
            return joint - logsumexp(joint[-1])
        t, k = self.scores.shape
        at = [[self.path_scores[self.paths[:, s] == j] for j in range(k)] for s in range(t)]
        with np.errstate(divide="ignore"):
            return np.array([[logsumexp(scores) for scores in step] for step in at]) - self.log_partition

    @functools.cached_property
    def transition_counts(self):
        """Expected moves, (k, k)."""
        t, k = self.scores.shape
        counts = np.zeros((k, k))
        if self.few:
            for path, p in zip(self.paths, np.exp(self.path_scores - self.log_partition), strict=True):
                for i, j in itertools.pairwise(path):
                    counts[i, j] += p
            return counts
        ends, follows = self.forward, self.backward
        total = logsumexp(ends[-1])
        for s in range(t - 1):
            counts += np.exp(ends[s][:, None] + self.transition + self.scores[s + 1] + follows[s + 1] - total)
        return counts


def log_product(logs, matrix):
    """log of a row of probabilities times a matrix, both as logarithms, however small."""
    terms = logs[:, None] + matrix
    top = terms.max(0)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        return top + np.log(np.exp(terms - top).sum(0))
