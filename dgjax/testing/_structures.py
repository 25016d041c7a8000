"""Laws of a label space, each checked against a sum, maximum or mean over every possible label."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgjax.testing._compare import close, expect, gradient_is_the_slope, in_precision, law, precision, same_tree
from dgjax.testing._data import MOST_LABELS


@jax.jit
def _score(structure, y):
    """Score s(x, y) of known labels; jitted, so that a label space with loops is compiled once."""
    return structure.score(y, known=True)


@jax.jit
def _unsure_score(structure, y):
    return structure.score(y)


@jax.jit
def _clamped(structure, y):
    return structure.clamped(y)


@jax.jit
def _given(structure, y):
    return structure.given(y)


@jax.jit
def _answers(structure):
    """Log-partition, log-marginals, marginals and mode of a label space."""
    return structure.log_partition(), structure.log_marginals(), structure.marginals(), structure.mode()


@jax.jit
def _marginals(structure):
    return structure.marginals()


@jax.jit
def _sample(structure, key):
    return structure.sample(key)


def every_label_of(structure: Any) -> np.ndarray:
    """Every possible label of each row, once (labels, n, *label), by enumeration.

    Parts that a row does not have are -1, as in `mode`. Rows with fewer labels than others are filled up with -2.
    """
    _, logs, _, mode = _answers(structure)
    shown, k, rows = np.asarray(mode), logs.shape[-1], []
    for here in (shown >= 0).reshape(len(shown), -1):
        if k ** here.sum() > MOST_LABELS:
            raise ValueError(f"laws go through at most {MOST_LABELS} labels one by one; got {k ** here.sum()}.")
        labels = np.full((k ** here.sum(), here.size), -1)
        labels[:, here] = list(itertools.product(range(k), repeat=int(here.sum())))
        rows.append(labels)
    most = max(map(len, rows))
    filled = [np.concatenate([own, np.full((most - len(own), own.shape[1]), -2)]) for own in rows]
    return np.stack(filled, 1).reshape(most, *shown.shape)


def _scores(structure: Any, every: np.ndarray) -> np.ndarray:
    """Scores s(x, y) of every label, (labels, n); minus infinity for entries of -2, which only fill up."""
    there = (every != -2).reshape(*every.shape[:2], -1).all(-1)
    own = [np.asarray(_score(structure, jnp.maximum(y, -1))) for y in every]
    return np.where(there, np.stack(own), -np.inf).astype(own[0].dtype)


def _shares(structure: Any, every: np.ndarray) -> np.ndarray:
    scores = _scores(structure, every)
    return np.exp(scores - np.logaddexp.reduce(scores, axis=0))


@law
def partition_is_the_sum_over_labels(structure: Any) -> None:
    """Law: log_partition is the logsumexp of all labels' scores, and so is the score of an unknown label."""
    scores = _scores(structure, every_label_of(structure))
    total, partition = np.logaddexp.reduce(scores, axis=0), _answers(structure)[0]
    close("the logsumexp of scores over labels, and log_partition", total, partition)
    close("the score of unknown labels, and log_partition", _unsure_score(structure, structure.unknown()), partition)


@law
def marginals_are_sums_over_labels(structure: Any) -> None:
    """Law: marginals and log_marginals of a value are the probability of all labels that have it."""
    every = every_label_of(structure)
    shares, (_, logs, marginals, _) = _shares(structure, every), _answers(structure)
    weights = shares.reshape(*shares.shape, *[1] * (every.ndim - 1))
    wanted = (weights * (every[..., None] == np.arange(logs.shape[-1]))).sum(0).astype(shares.dtype)
    close("probabilities of labels with each value, added, and marginals", wanted, marginals)
    close("the same, and the exponential of log_marginals", wanted, np.exp(logs))


@law
def mode_has_the_highest_score(structure: Any) -> None:
    """Law: the score of the mode is the maximum over labels."""
    highest = _scores(structure, every_label_of(structure)).max(0)
    close("the score of the mode, and the highest", _score(structure, _answers(structure)[3]), highest)


@law
def clamped_sums_what_a_label_allows(structure: Any, seed: int = 0) -> None:
    """Law: clamped and score of a partly unknown label sum over the labels that agree with its known parts."""
    every, rng = every_label_of(structure), np.random.default_rng(seed)
    scores, given = _scores(structure, every), np.asarray(_sample(structure, jax.random.key(seed)))
    given = np.where(rng.random(given.shape) < 0.5, -1, given)
    agree = ((given < 0) | (every == given)).reshape(*every.shape[:2], -1).all(-1)
    wanted = np.logaddexp.reduce(np.where(agree, scores, -np.inf), axis=0)
    close("scores of the labels allowed, summed, and clamped", wanted, _clamped(structure, given)[0])
    close("scores of the labels allowed, summed, and score", wanted, _unsure_score(structure, given))


@law
def given_keeps_the_labels_that_agree(structure: Any, seed: int = 0) -> None:
    """Law: of `given(y)` the partition, the marginals and the mode are those of the labels that agree with y."""
    every, rng = every_label_of(structure), np.random.default_rng(seed)
    scores, y = _scores(structure, every), np.asarray(_sample(structure, jax.random.key(seed)))
    y = np.where(rng.random(y.shape) < 0.5, -1, y)
    agree = ((y < 0) | (every == y)).reshape(*every.shape[:2], -1).all(-1)
    scores = np.where(agree, scores, -np.inf)
    total = np.logaddexp.reduce(scores, axis=0)
    partition, logs, marginals, mode = _answers(_given(structure, y))
    close("scores of the labels that agree, summed, and the partition given them", total, partition)
    shares = np.exp(scores - total)
    weights = shares.reshape(*shares.shape, *[1] * (every.ndim - 1))
    wanted = (weights * (every[..., None] == np.arange(logs.shape[-1]))).sum(0).astype(shares.dtype)
    close("probabilities of the values among labels that agree, and marginals given them", wanted, marginals)
    close("the score of the mode given labels, and the highest that agrees", _score(structure, mode), scores.max(0))
    drawn = np.asarray(_sample(_given(structure, y), jax.random.key(seed)))
    expect(bool(((y < 0) | (drawn == y)).all()), "a sample given labels does not agree with them.")


@law
def score_is_that_of_a_known_label(structure: Any, seed: int = 0) -> None:
    """Law: score(y), score(y, known=True) and clamped(y) agree where every part of y is known."""
    y = _sample(structure, jax.random.key(seed))
    known, clamped = _score(structure, y), _clamped(structure, y)[0]
    close("score(y, known=True), and score(y)", known, _unsure_score(structure, y))
    close("score(y, known=True), and clamped(y)", known, clamped)


@law
def soft_counts_are_hard_counts_by_their_posterior(structure: Any) -> None:
    """Law: the expected counts of an unknown label are those of every label, weighted by its probability."""
    every = every_label_of(structure)
    shares = _shares(structure, every)
    hard = [_clamped(structure, jnp.maximum(y, -1))[1] for y in every]
    soft = _clamped(structure, structure.unknown())[1]
    for leaf in jax.tree.leaves(soft):
        n = shares.shape[1]
        expect(np.shape(leaf)[:1] == (n,), f"counts must lead with n = {n}; got an array of shape {np.shape(leaf)}.")

    def average(*leaves):
        weights = [own.reshape(-1, *[1] * (leaf.ndim - 1)) for own, leaf in zip(shares, leaves, strict=True)]
        each = [np.where(w > 0, w * np.asarray(leaf), 0) for w, leaf in zip(weights, leaves, strict=True)]
        return np.sum(each, 0).astype(leaves[0].dtype)

    added = jax.tree.map(average, *hard)
    same_tree("counts of every label by its probability, added, and those of unknown labels", added, soft)


@law
def gradient_of_the_partition_is_right(structure: Any) -> None:
    """Law: the gradient of log_partition is the mean gradient of scores over labels, and agrees with differences."""
    with jax.enable_x64(True):
        double = in_precision(structure, "float64")

        @jax.jit
        @functools.partial(jax.value_and_grad, allow_int=True)
        def value_and_grad(own: Any) -> Any:
            return own.log_partition().sum()

        _, grad = value_and_grad(double)
        for path, leaf in jax.tree.flatten_with_path(grad)[0]:
            finite = leaf.dtype == jax.dtypes.float0 or bool(jnp.isfinite(leaf).all())
            expect(finite, f"the gradient by {jax.tree_util.keystr(path)} has values that are not finite.")
        gradient_is_the_slope("the gradient", lambda own: value_and_grad(own)[0], double, grad)
        close("the gradient by scores, and marginals", grad.scores, _marginals(double))


@law
def samples_have_the_marginals(structure: Any, num_draws: int = 400) -> None:
    """Law: values occur in samples as often as `marginals` says, within five standard errors."""
    keys, marginals = jax.random.split(jax.random.key(0), num_draws), np.asarray(_answers(structure)[2])
    draws = np.asarray(jax.jit(jax.vmap(_sample, in_axes=(None, 0)))(structure, keys))
    error = np.sqrt(marginals * (1 - marginals) / num_draws) + 1 / num_draws
    worst = np.abs((draws[..., None] == np.arange(marginals.shape[-1])).mean(0) - marginals) / error
    expect(
        (worst < 5).all(),
        f"how often a value is drawn is {worst.max():.1f} standard errors from its marginal over {num_draws} draws.",
    )
    possible = [bool(np.isfinite(_score(structure, y)).all()) for y in draws[:8]]
    expect(all(possible), "a label that was drawn has a score of minus infinity.")


@law
def has_density_tells_nan_and_infinity(structure: Any) -> None:
    """Law: has_density is True, and False after a NaN or plus infinity in any field of floats."""
    expect(bool(structure.has_density()), "has_density is False of scores without NaN and plus infinity.")
    leaves, tree = jax.tree.flatten(structure)
    for i, leaf in enumerate(leaves):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            continue
        for odd in (jnp.nan, jnp.inf):
            spoilt = [*leaves[:i], leaf.at[(0,) * leaf.ndim].set(odd), *leaves[i + 1 :]]
            told = bool(jax.tree.unflatten(tree, spoilt).has_density())
            expect(not told, f"has_density is True although array {i} of the fields has {odd}.")


@law
def jit_changes_nothing(structure: Any) -> None:
    """Law: every result under jit equals that without."""
    partition, logs, _, mode = _answers(structure)
    compiled = partition, logs, mode, _clamped(structure, structure.unknown())
    alone = structure.log_partition(), structure.log_marginals(), structure.mode()
    same_tree("answers under jit, and without", compiled, (*alone, structure.clamped(structure.unknown())))
    expect(precision(compiled) == precision(structure), "answers have another precision than the fields.")
