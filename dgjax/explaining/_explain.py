"""Explanations of predictions: the verb, from a model and rows to the Shapley value of each column."""

from collections.abc import Callable
from typing import Any, get_args

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import as_columns, as_count, as_key, is_concrete
from dgjax._elsewhere import told_keywords
from dgjax._types import Discriminative, Generative
from dgjax._verbs import predict, require_generative
from dgjax.data import Data, as_labels, as_model, as_rows, model_and_rows
from dgjax.densities import Mixture
from dgjax.explaining._coalitions import scores_of
from dgjax.explaining._explanation import Explanation
from dgjax.explaining._games import AskedGame, ScoredGame, Value, of_rows, of_sequences
from dgjax.explaining._shapley import EXACT, estimated, shapley_values
from dgjax.models import Marginalized
from dgjax.structures import Sequences, label_shape
from dgjax.tables import of_tables, player_names

PERMUTATIONS = 200  # where the players are too many for all coalitions


@told_keywords
@of_tables(player_names)
def explain(
    model: Generative | Discriminative,
    x: ArrayLike,
    y: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    *,
    columns: Any = None,
    value: Value = "probability",
    background: ArrayLike | None = None,
    num_permutations: int | None = None,
    key: Array | None = None,
) -> Explanation:
    """Shapley values: what each column of a row adds to p(y | x), to its log-odds or to log p(x).

    phi_j = sum_S |S|! (p - |S| - 1)! / p! (v(S with j) - v(S)) over sets S of other columns, in the game v(S) = `value`
    of the model at x_S, all other cells integrated out exactly by the model itself: the conditional game. They sum to
    v(all) - v(none), to the digits of float64. With `background` rows (b, d) the other cells are theirs, and v is the
    mean: the marginal game, of any model. Missing cells are no players, and get 0.

    `x` (n, d), `y` (n,) the labels to explain, by default those predicted; `value` is "probability", "log_odds",
    log p(y | x) / (1 - p(y | x)), or "log_prob", log p(x) in nats, which takes no y. `columns` are groups of column
    numbers that play as one, such as [[0, 1], 2, 3], each column once. Of sequences x (n, t, d) with `lengths` the
    players are steps; y (n, t) holds the states to explain, at one step or more, and -1 elsewhere. Where a sequence has
    one label, y is (n,).

    Exact by all coalitions up to 20 players, and for any number where they add up: log-odds of two labels, or log p(x),
    of independent columns. Else, or with `num_permutations`, a mean over random orders in antithetic pairs, 200 orders
    by default, drawn by `key`, with its standard error.

    Raises ValueError for a discriminative model without `background`, an infinite value, bad rows, labels, columns or
    options, or inside jit.
    Source: Shapley (1953); Strumbelj and Kononenko (2014) for random orders.
    """
    own, rows = _checked(model, x, lengths, value)
    game = _game(own, rows, x, y, value, background)
    cells, seen = _cells(rows)
    players = _players(columns, cells.shape[1], rows)
    solve = _solver(num_permutations, key)
    values, base = np.zeros((len(cells), len(players))), np.zeros(len(cells))
    errors = None
    for pattern in np.unique(seen, axis=0):
        at = np.flatnonzero((seen == pattern).all(1))
        known = [tuple(c for c in group if pattern[c]) for group in players]
        here = np.flatnonzero([bool(group) for group in known])
        with np.errstate(invalid="ignore"):  # infinite values, which are told below
            found, error, base[at] = solve(game, cells, at, tuple(group for group in known if group))
        values[at[:, None], here] = found
        if error is not None:
            errors = np.zeros_like(values) if errors is None else errors
            errors[at[:, None], here] = error
    _check_finite(values, base, value)
    return Explanation(values, base, cells, _names(x, players, rows), errors, value)


def _checked(model: Any, x: Any, lengths: Any, value: Any) -> tuple[Any, Data]:
    if value not in get_args(Value):
        raise ValueError(f"value must be 'probability', 'log_odds' or 'log_prob'; got {_advice.shown(value)}.")
    own, rows = model_and_rows(require_generative(model) if value == "log_prob" else as_model(model), x, lengths)
    if not is_concrete(rows.x, own):
        raise ValueError("explain looks at which cells are missing: call it outside jit, vmap and grad.")
    if own.generative and own.sequential and not own.supports[0].missing:
        raise ValueError(
            f"explain sums tokens out, and a {type(own.density).__name__} has no sum over what one could be. Compare "
            "dgjax.predict_log_proba of texts with a word and without."
        )
    if value != "log_prob" and own.num_labels < 2:
        raise ValueError(f"a model of one label is certain of it: value={value!r} is of labels. Type value='log_prob'.")
    return own, rows


def _game(model: Any, rows: Data, x: Any, y: Any, value: Value, background: Any) -> Any:
    """The game that is played; of a model that shares the work of coalitions if it can."""
    given, of_steps = rows.x, isinstance(rows.x, Sequences)
    if value == "log_prob" and y is not None:
        raise ValueError("value='log_prob' explains log p(x), whatever the label. Leave y out.")
    if of_steps and background is not None:
        raise ValueError("background is for models of rows: of sequences, steps are integrated out. Leave it out.")
    if not (model.generative or isinstance(model, Marginalized) or background is not None):
        instead = (
            "Explain the generative model of the pair."
            if of_steps
            else "Give background=rows, such as those it was fitted to, or explain dgjax.marginalize(model, density)."
        )
        raise ValueError(f"{type(model).__name__} is discriminative and cannot integrate cells out. {instead}")
    labels = _labels(model, given, x, y, value)
    if of_steps:
        return AskedGame(of_sequences(model, labels, np.asarray(given.lengths), value, given.x.dtype))
    if background is not None:
        others = np.asarray(as_rows(background, model.num_features, "background"), float)
        if not len(others):
            raise ValueError("background must have a row at least; got none.")
        if np.isnan(others).any() and not (model.generative or isinstance(model, Marginalized)):
            raise ValueError(
                f"background must hold no missing cells, for {type(model).__name__} takes none; got "
                f"{int(np.isnan(others).any(1).sum())} rows with some. Type background[~np.isnan(background).any(1)]."
            )
        return AskedGame(of_rows(model, labels, value, given.dtype), others)
    scores = scores_of(model.density) if isinstance(model, Mixture) else None
    if scores is None:
        return AskedGame(of_rows(model, labels, value, given.dtype))
    return ScoredGame(model, scores, labels, value)


def _labels(model, given, x, y, value):
    """Labels to explain: of each row one; of sequences, those of some steps."""
    of_steps = len(label_shape(given)) == 2
    if value == "log_prob":
        return np.zeros(len(x), int)
    if y is None and of_steps:
        raise ValueError(
            "y must be the states to explain, ints (n, t), -1 at all other steps; got None. Type value='log_prob' to "
            "explain log p(x)."
        )
    lengths = given.lengths if isinstance(given, Sequences) else None
    labels = np.asarray(predict(model, x, lengths) if y is None else as_labels(y, given, model.num_labels))
    known = (labels >= 0).any(-1) if of_steps else labels >= 0
    if not known.all():
        raise ValueError(
            f"y must name {'a state of each sequence' if of_steps else 'the label of each row'} to explain; got -1, "
            f"unknown, for row {int(known.argmin())}."
        )
    return labels


def _cells(rows: Data) -> tuple[np.ndarray, np.ndarray]:
    """Cells as NumPy's in float64, and which columns (n, d) of a row are observed, or steps (n, t) of a sequence."""
    if not isinstance(rows.x, Sequences):
        cells = np.asarray(rows.x, float)
        return cells, ~np.isnan(cells)
    cells = np.asarray(rows.x.x, float)
    return cells, ~np.isnan(cells).all(-1) & np.asarray(rows.x.inside)


def _players(columns: Any, d: int, rows: Data) -> list[tuple[int, ...]]:
    """Column numbers of each player; each column is in one of them."""
    if columns is None:
        return [(c,) for c in range(d)]
    if isinstance(rows.x, Sequences):
        raise ValueError("columns is for models of rows: of sequences the players are steps. Leave it out.")
    groups = [as_columns(group, d) for group in columns]
    named = sorted(sum(groups, ()))
    if named != list(range(d)):
        wrong = sorted(set(range(d)) - set(named)) or [c for c in set(named) if named.count(c) > 1]
        raise ValueError(
            f"columns must hold each of the columns 0 to {d - 1} in one group; got {_advice.shown(columns)}, where "
            f"{'column' if len(wrong) == 1 else 'columns'} {', '.join(map(str, wrong[: _advice.FEW]))} stand in "
            f"{'none' if len(named) < d or len(set(named)) < d else 'two'}."
        )
    return groups


def _solver(num: int | None, key: Any) -> Callable[..., tuple[Any, Any, Any]]:
    """How values are worked out: exactly where that can be, and by random orders where not, or where asked to."""
    asked = num is not None or key is not None
    pairs = -(-as_count(PERMUTATIONS if num is None else num, "num_permutations", 4) // 2)
    rng = np.random.default_rng(0 if key is None else np.asarray(jax.random.key_data(as_key(key))))

    def solve(game, x, at, players):
        """Values (m, p) of the rows `at`, standard errors (m, p) or None, and base (m,)."""
        p = len(players)
        added = None if asked else game.added(x, at, players)
        if added is not None:
            return added[0], None, added[1]
        if not asked and p <= EXACT:
            worth = game.of_all(x, at, players)
            return shapley_values(worth, p), None, worth[:, 0]
        prefixes = game.of_prefixes(x, at, players)
        return *estimated(prefixes, p, pairs, rng), prefixes(np.arange(p))[:, 0]

    return solve


def _check_finite(values, base, value):
    finite = np.isfinite(values).all(1) & np.isfinite(base)
    if not finite.all():
        advice = " Type value='probability'." if value == "log_odds" else ""
        raise ValueError(
            f"x row {int(finite.argmin())} has an infinite {value} for some of its cells, of which no share can be "
            f"told: the model holds the row, or the label, for impossible or certain.{advice}"
        )


def _names(x: Any, players: list[tuple[int, ...]], rows: Data) -> tuple[str, ...]:
    """Names of players: those of a table's columns, or their numbers."""
    if isinstance(rows.x, Sequences):
        return tuple(f"step {s}" for (s,) in players)
    named = list(getattr(x, "columns", ()))
    own = named if len(named) == rows.x.shape[1] else [f"column {c}" for c in range(rows.x.shape[1])]
    return tuple(", ".join(str(own[c]) for c in group) for group in players)
