"""Checks of what is asked of hidden Markov models and of conditional random fields."""

import functools

import numpy as np
import oracle
from scipy.special import log_softmax

import dgjax as dg
from fuzz import agreement, cases, data, formulas, paths, scoring

TRACE = 1e-30
"""Of a state with less of a visit than this, float32 has no count to learn from."""


def chains_of(case, labels=None):
    """Each sequence as a chain of log-potentials, as long as it is."""
    model, lengths = case.model, case.lengths
    lengths = np.full(len(case.x), case.x.shape[1]) if lengths is None else lengths
    if hasattr(model, "density"):
        initial, transition = log_softmax(oracle.numbers(model.log_initial)), oracle.numbers(model.log_transition)
        transition = log_softmax(transition, axis=-1)
        scores = formulas.log_scores(model.density, case.pool)
    else:
        initial, transition = oracle.numbers(model.initial), oracle.numbers(model.transition)
        states = range(len(initial))
        scores = np.array([[formulas.score_of_scorer(model.scorer, (y,), row) for y in states] for row in case.pool])
    found, made = [], {}
    for i, length in enumerate(lengths):
        known = None if labels is None else labels[i, :length]
        same = case.index[i, :length].tobytes(), None if known is None else known.tobytes()
        if same not in made:
            made[same] = paths.Chain(initial, transition, scores[case.index[i, :length]], known)
        found.append(made[same])
    return found


def size_of(chain):
    """The size of a sum over steps, whose rounding it bears."""
    return np.abs(agreement.finite(chain.scores)).max(-1).sum()


def quiet(check):
    """Minus infinity times nothing, in the oracle's arrays, is not worth a warning."""

    @functools.wraps(check)
    def checked(case):
        with np.errstate(all="ignore"):
            return check(case)

    return checked


@quiet
def log_prob(case):
    chains = chains_of(case)
    wanted = [chain.log_partition for chain in chains]
    agreement.nats("log_prob", case.ask(dg.log_prob), wanted, case.precision, [size_of(c) for c in chains])


@quiet
def log_joint(case):
    chains = chains_of(case, case.y)
    wanted = [chain.log_partition for chain in chains]
    agreement.nats(
        "log_joint", case.ask(dg.log_joint, case.y), wanted, case.precision, [size_of(c) for c in chains_of(case)]
    )


@quiet
def log_conditional(case):
    whole, clamped = chains_of(case), chains_of(case, case.y)
    came = case.ask(dg.log_conditional, case.y)
    totals = np.array([chain.log_partition for chain in whole])
    wanted = np.array([chain.log_partition for chain in clamped]) - totals
    at = totals > -np.inf
    known = np.array([(y[: len(c.scores)] >= 0).any() for y, c in zip(case.y, whole, strict=True)], bool)
    agreement.true("log_conditional", (came[~at & known] == -np.inf).all(), "of a sequence that no path could give")
    agreement.nats("log_conditional", came[at], wanted[at], case.precision, np.array([size_of(c) for c in whole])[at])


@quiet
def predict(case):
    came, chains = case.ask(dg.predict), chains_of(case)
    absolute, relative = agreement.NATS[case.precision]
    for path, chain in zip(came, chains, strict=True):
        length, best = len(chain.scores), chain.best
        agreement.true("predict", (path[length:] == -1).all(), "labels beyond the length")
        if best == -np.inf:
            agreement.true("predict", (path == -1).all(), "a path where none is possible")
            continue
        agreement.true("predict", ((path[:length] >= 0) & (path[:length] < chain.scores.shape[1])).all(), f"{path}")
        allowed = 2 * (absolute + relative * max(abs(best), size_of(chain)))
        agreement.within("score of the path", chain.score(path[:length]), best, allowed)


@quiet
def predict_log_proba(case):
    came, chains = case.ask(dg.predict_log_proba), chains_of(case)
    for logs, chain in zip(came, chains, strict=True):
        length = len(chain.scores)
        if chain.log_partition > -np.inf:
            nats_of_marginals(logs[:length], chain, case)
        else:
            agreement.true("predict_log_proba", (logs == -np.inf).all(), "of a sequence that no path could give")


def nats_of_marginals(logs, chain, case):
    """Logarithms where a state is likely at all; of the others their probability."""
    wanted, steps = chain.log_marginals, len(chain.scores)
    agreement.nats("log p(y_s | x)", logs, wanted, case.precision, size_of(chain), steps)


@quiet
def sample_labels(case):
    came, chains = np.asarray(dg.sample_labels(case.model, case.key, case.x, lengths=case.lengths)), chains_of(case)
    for path, chain in zip(came, chains, strict=True):
        length = len(chain.scores)
        agreement.true("sample_labels", (path[length:] == -1).all(), "labels beyond the length")
        if chain.log_partition == -np.inf:
            agreement.true("sample_labels", (path == -1).all(), "a path where none is possible")
        else:
            agreement.true("sample_labels", chain.score(path[:length]) > -np.inf, f"an impossible path {path}")


@quiet
def frequencies_of_paths(case):
    """One sequence many times: states as often as they are probable at each step."""
    chain, n = chains_of(case)[0], cases.MANY_DRAWS // 2
    x = np.repeat(case.x[:1], n, axis=0)
    lengths = None if case.lengths is None else np.repeat(case.lengths[:1], n)
    came = np.asarray(dg.sample_labels(case.model, case.key, x, lengths=lengths))
    if chain.log_partition == -np.inf:
        return
    for s, logs in enumerate(chain.log_marginals):
        p = np.exp(logs)
        scoring.frequencies(f"step {s} of sample_labels", came[:, s], np.broadcast_to(p / p.sum(), (n, len(p))))


@quiet
def sample(case):
    n, t = cases.MANY_DRAWS // 2, 4
    x, y = (np.asarray(part) for part in dg.sample(case.model, case.key, (n, t)))
    p = np.exp(log_softmax(oracle.numbers(case.model.log_initial)))
    moves = np.exp(log_softmax(oracle.numbers(case.model.log_transition), axis=-1))
    for s in range(t):
        scoring.frequencies(f"step {s} of sample", y[:, s], np.broadcast_to(p, (n, len(p))))
        p = p @ moves
    scoring.in_support("sample", x.reshape(n * t, -1), case)
    for state in np.unique(y):
        mean, variance = scoring.unconditional(case.model.density, (int(state),), x.shape[-1])
        drawn = x[y == state]
        agreement.mean_of_draws(f"mean of state {state}", drawn, mean, variance, scoring.lump(case, mean))


@quiet
def impute(case):
    came, chains = case.ask(dg.impute), chains_of(case)
    scale = np.array([scoring.unconditional(case.model.density, (j,), case.x.shape[2]) for j in range(case.plan.k)])
    scale = np.sqrt(scale[:, 1].max(0)) + np.abs(scale[:, 0]).max(0) * np.finfo(case.precision).eps * 100
    continuous = np.isnan(data.supports_of(case.model.density))
    for x, filled, chain in zip(case.x, came, chains, strict=True):
        length = len(chain.scores)
        agreement.same("beyond the length", filled[length:], x[length:].astype(filled.dtype))
        seen = ~np.isnan(x[:length])
        agreement.same("observed cells", filled[:length][seen], x[:length][seen].astype(filled.dtype))
        if chain.log_partition == -np.inf:
            continue
        posterior = np.exp(chain.log_marginals)
        for s in np.flatnonzero(np.isnan(x[:length]).any(1))[:8]:
            row = x[s].astype(float)
            wanted = sum(p * oracle.moments(case.model.density, (j,), row)[0] for j, p in enumerate(posterior[s]) if p)
            holes = np.isnan(row) & continuous
            agreement.parameters(f"imputed step {s}", filled[s][holes], wanted[holes], case.precision, 2 * scale[holes])


@quiet
def sample_missing(case):
    came = np.asarray(dg.sample_missing(case.model, case.key, case.x, lengths=case.lengths))
    for x, filled, chain in zip(case.x, came, chains_of(case), strict=True):
        length, seen = len(chain.scores), ~np.isnan(x)
        agreement.same("observed cells", filled[seen], x[seen].astype(filled.dtype))
        if chain.log_partition > -np.inf:
            scoring.in_support("sample_missing", filled[:length], case)


@quiet
def forecast(case):
    steps, chains = 3, chains_of(case)
    came = np.asarray(dg.forecast(case.model, case.x, steps, lengths=case.lengths).log_proba)
    moves = np.exp(log_softmax(oracle.numbers(case.model.log_transition), axis=-1))
    for logs, chain in zip(came, chains, strict=True):
        if chain.log_partition > -np.inf:
            p = np.exp(chain.log_marginals[-1])
            for ahead in logs:
                p = p @ moves
                agreement.nats("forecast", np.exp(ahead), p, case.precision)


@quiet
def em_step(case):
    """Baum and Welch: expected starts, moves and states, and from these the oracle's own maximum of the density."""
    amounts = data.weights(case.rng, len(case.x)).astype(case.precision)
    y = None if case.plan.known == "none" else case.y
    chains = chains_of(case, y)
    model, k = case.model, case.plan.k
    if not amounts.sum() or any(chain.log_partition == -np.inf for chain in chains):
        return
    counts, starts, moves = np.zeros((len(case.pool), k)), np.zeros(k), np.zeros((k, k))
    for i, chain in enumerate(chains):
        marginals = np.exp(chain.log_marginals)
        starts += amounts[i] * marginals[0]
        moves += amounts[i] * chain.transition_counts
        np.add.at(counts, case.index[i, : len(marginals)], amounts[i] * marginals)
    used = counts.sum(1) > 0
    if np.isnan(case.pool[used]).all(0).any():
        return
    # Like starts and moves: of a state whose cells come to less than float32 has numbers for, nothing is learnt.
    observed = counts.T @ ~np.isnan(case.pool)
    counts[:, (observed <= TRACE).any(1)] = 0
    wanted = oracle.em_step(model.density, case.pool[used], counts[used])
    try:
        given = None if (amounts == 1).all() else amounts
        came = dg.fit(model, case.x, y, lengths=case.lengths, weights=given, max_steps=1, method=dg.EM(tol=0.0)).model
    except ValueError as error:
        if not any(text in str(error) for text in ("collapsed", "two classes", "as many rows", "never observed")):
            raise
        return
    compared(case, came, starts, moves, wanted)


def compared(case, came, starts, moves, wanted):
    """Starts and moves; of the density what does not depend on how far a mean has moved."""
    for name, logs, sums in (("initial", came.log_initial, starts), ("transition", came.log_transition, moves)):
        p, total = np.exp(log_softmax(oracle.numbers(logs), axis=-1)), sums.sum(-1, keepdims=True)
        wanted_p = np.where(total > TRACE, sums / total, np.nan)
        agreement.parameters(name, p, wanted_p, case.precision, 1e-2)
    scale = np.sqrt(formulas.column_moments(case.pool, np.ones(len(case.pool)))[1]).max()
    for value, own in zip(wanted, oracle.parameters(came.density), strict=True):
        if case.plan.kind in ("Bernoulli", "categorical", "Poisson"):
            agreement.parameters("emissions", own, value, case.precision, 1e-2)
        elif value.ndim == 2 and case.plan.kind in ("full", "tied", "diagonal") and value is wanted[0]:
            agreement.parameters("means", own, value, case.precision, scale)


@quiet
def discriminative(case):
    """The CRF with the same p(y | x)."""
    twin, chains = dg.discriminative(case.model), chains_of(case)
    came = np.asarray(dg.predict_log_proba(twin, case.x, lengths=case.lengths))
    for logs, chain in zip(came, chains, strict=True):
        if chain.log_partition > -np.inf:
            nats_of_marginals(logs[: len(chain.scores)], chain, case)


@quiet
def marginal(case):
    rng = np.random.default_rng(case.plan.number)
    d = case.x.shape[2]
    columns = rng.permutation(d)[: rng.integers(1, d + 1)]
    hidden = np.full_like(case.pool, np.nan)
    hidden[:, columns] = case.pool[:, columns]
    came = dg.log_prob(
        dg.marginal(case.model, columns), np.ascontiguousarray(case.x[..., columns]), lengths=case.lengths
    )
    case.pool = hidden
    chains = chains_of(case)
    wanted = [chain.log_partition for chain in chains]
    agreement.nats("marginal", came, wanted, case.precision, [size_of(c) for c in chains])


def pad(case):
    """A list of sequences is what one gets with lengths, NaN beyond."""
    lengths = np.full(len(case.x), case.x.shape[1]) if case.lengths is None else case.lengths
    held = [x[:length] for x, length in zip(case.x, lengths, strict=True)]
    x, found = dg.pad(held)
    agreement.true("pad", (np.asarray(found) == lengths).all(), f"lengths {found}")
    for row, one in zip(np.asarray(x), held, strict=True):
        agreement.same("pad", row[: len(one)], one)
        agreement.true("pad", np.isnan(row[len(one) :]).all(), "cells beyond the length")
    labels, _ = dg.pad([y[:length] for y, length in zip(case.y, lengths, strict=True)])
    for row, y, length in zip(np.asarray(labels), case.y, lengths, strict=True):
        agreement.true("pad", (row[:length] == y[:length]).all() and (row[length:] == -1).all(), f"labels {row}")
