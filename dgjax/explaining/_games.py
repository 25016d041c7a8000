"""Games: what a coalition of known cells is worth, p(y | x_S), its log-odds or log p(x_S), in float64.

Where the model's density shares the work of coalitions (`_coalitions`), by its scores; else the model is asked about
rows with the other cells missing or, in the marginal game, taken from background rows.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from dgjax._verbs import log_conditional, log_prob, predict_log_proba
from dgjax.explaining._coalitions import IndependentScores, Players, Prefixes, log_sum_exp, normalised
from dgjax.explaining._shapley import members

Value = Literal["probability", "log_odds", "log_prob"]
MOST_ROWS = 1 << 15  # that a model is asked about at once
MOST_SCORES = 1 << 22  # floats of scores at once


class ScoredGame:
    """Conditional game by shared scores: the cells that a coalition does not know are integrated out."""

    value: Value

    def __init__(self, model: Any, scores: Any, y: Int[np.ndarray, " n"], value: Value) -> None:
        self.log_weights = normalised(np.asarray(model.log_weights, float))[:, None, None]
        self.scores, self.y, self.value = scores, y, value

    def of_all(self, x: Float[np.ndarray, "n d"], at: Int[np.ndarray, " m"], players: Players) -> Any:
        """Worth (m, 2^p) of all coalitions in rows `at`."""
        few = max(1, MOST_SCORES // (len(self.log_weights) << len(players)))
        return np.concatenate([self._worth(self.scores.of_all(x[part], players), part) for part in _parts(at, few)])

    def of_prefixes(self, x: Any, at: Any, players: Players) -> Prefixes:
        """Worth (m, p + 1) of the first 0 to p players of any order (p,)."""
        scores = self.scores.of_prefixes(x[at], players)
        return lambda order: self._worth(scores(order), at)

    def added(self, x: Any, at: Any, players: Players) -> tuple[Any, Any] | None:
        """Shapley values (m, p) and base (m,) where each player adds the same to all coalitions; else None."""
        k, log_odds = len(self.log_weights), self.value == "log_odds"
        if not isinstance(self.scores, IndependentScores) or (k, log_odds) not in ((2, True), (1, False)):
            return None
        own = self.scores.of_players(x[at], players)
        nobody = self._worth(np.zeros((k, len(at), 1)), at)[:, 0]
        return (np.where(self.y[at][:, None] == 1, 1, -1) * (own[1] - own[0]) if log_odds else own[0]), nobody

    def _worth(self, scores, at):
        return worth(self.log_weights + scores, self.y[at], self.value)


class AskedGame:
    """Game of any model: it is asked about rows with the cells that a coalition does not know missing, or drawn.

    In the conditional game they are missing; in the marginal one they are those of each background row, and the worth
    is the mean. Of sequences (n, t, d) a coalition knows steps.
    """

    def __init__(self, ask: Callable[..., Any], background: Float[np.ndarray, "b d"] | None = None) -> None:
        self.ask, self.background = ask, background

    def of_all(self, x: Float[np.ndarray, "n *cells"], at: Int[np.ndarray, " m"], players: Players) -> Any:
        """Worth (m, 2^p) of all coalitions in rows `at`."""
        return self._worth(x, at, players, members(len(players)))

    def of_prefixes(self, x: Any, at: Any, players: Players) -> Prefixes:
        """Worth (m, p + 1) of the first 0 to p players of any order (p,)."""
        first = np.tri(len(players) + 1, len(players), -1, bool)
        return lambda order: self._worth(x, at, players, first[:, np.argsort(order)])

    def added(self, x: Any, at: Any, players: Players) -> None:
        """Shapley values in closed form: none is known."""

    def _worth(self, x, at, players, coalitions):
        knows = _columns(coalitions, players, x.shape[1])
        several = 1 if self.background is None else len(self.background)
        pairs = np.arange(len(at) * len(coalitions))
        found = [
            self._asked(x, at[part // len(coalitions)], knows[part % len(coalitions)])
            for part in _parts(pairs, max(1, MOST_ROWS // several))
        ]
        return np.concatenate(found).reshape(len(at), len(coalitions))

    def _asked(self, x, rows, known):
        cells = x[rows]
        known = known.reshape(*known.shape, *[1] * (cells.ndim - 2))
        if self.background is None:
            return self.ask(np.where(known, cells, np.nan), rows)
        drawn = np.where(np.isnan(cells)[:, None], np.nan, self.background)
        drawn = np.where(known[:, None], cells[:, None], drawn)
        several = len(self.background)
        asked = self.ask(drawn.reshape(-1, x.shape[1]), np.repeat(rows, several))
        return asked.reshape(-1, several).mean(1)


def _parts(indices, size):
    """Indices in pieces of at most `size`."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _columns(coalitions, players, d) -> Bool[np.ndarray, "c d"]:
    """Columns (c, d) that coalitions (c, p) of players know."""
    knows = np.zeros((len(coalitions), d), bool)
    for j, columns in enumerate(players):
        knows[:, list(columns)] = coalitions[:, j : j + 1]
    return knows


def worth(joint: Float[np.ndarray, "k n c"], y: Int[np.ndarray, " n"], value: Value) -> Float[np.ndarray, "n c"]:
    """What coalitions are worth by their joint log-densities with each label; but for log p(x), posteriors do too.

    NaN where no label is possible.
    """
    if value == "log_prob":
        return log_sum_exp(joint, 0)
    rows = np.arange(len(y))
    with np.errstate(invalid="ignore"):
        if value == "probability":
            likely = np.exp(joint - joint.max(0))
            return likely[y, rows] / likely.sum(0)
        others = np.where(np.arange(len(joint))[:, None, None] == y[:, None], -np.inf, joint)
        return joint[y, rows] - log_sum_exp(others, 0)


def of_rows(model: Any, y: Int[np.ndarray, " n"], value: Value, dtype: Any) -> Callable[..., Any]:
    """Asks a model of rows for their worth: `ask(cells, at)`, cells of the rows numbered `at`."""

    def ask(cells, at):
        if value == "log_prob":
            return np.asarray(log_prob(model, cells.astype(dtype)), float)
        posterior = np.asarray(predict_log_proba(model, cells.astype(dtype)), float)
        return worth(posterior.T[..., None], y[at], value)[:, 0]

    return ask


def of_sequences(
    model: Any, y: Int[np.ndarray, "n *steps"], lengths: Int[np.ndarray, " n"], value: Value, dtype: Any
) -> Callable[..., Any]:
    """Asks a model of sequences for log p(x), or for the probability of the states y that are known, all together."""

    def ask(cells, at):
        cells = cells.astype(dtype)
        if value == "log_prob":
            return np.asarray(log_prob(model, cells, lengths[at]), float)
        own = np.minimum(np.asarray(log_conditional(model, cells, y[at], lengths[at]), float), 0)
        return np.exp(own) if value == "probability" else own - np.log(-np.expm1(own))

    return ask
