"""Checks of the verbs that score rows, and of those that fill and draw cells."""

import math

import jax
import numpy as np
import oracle
from scipy import stats
from scipy.special import log_softmax, softmax

import dgjax as dg
from fuzz import agreement, cases, data, formulas


def size_of(joint):
    """The largest term of each row, whose rounding its conditional probabilities bear."""
    return np.abs(agreement.finite(joint)).max(-1, initial=0)


def size_of_rows(case):
    """Of the rows of the pool; of a logistic model's scores, of the terms that they are sums of."""
    return size_of(case.joint) if case.terms is None else case.terms


def possible(case):
    return (case.evidence > -np.inf)[case.index]


def log_prob(case):
    agreement.nats("log_prob", case.ask(dg.log_prob), case.evidence[case.index], case.precision)


def log_joint(case):
    scores, y = case.joint[case.index], case.y
    wanted = np.where(y < 0, case.evidence[case.index], np.take_along_axis(scores, np.maximum(y, 0)[:, None], 1)[:, 0])
    agreement.nats("log_joint", case.ask(dg.log_joint, y), wanted, case.precision)


def log_posterior(case):
    """log p(y | x) of the possible rows of the pool, NaN elsewhere."""
    with np.errstate(invalid="ignore"):
        return case.joint - case.evidence[:, None]


def conditional(case, came, wanted):
    """To the rounding of the largest score; minus infinity for every label of a row that none could give."""
    at, size = possible(case), size_of_rows(case)[case.index]
    size = size[at] if wanted.ndim == 1 else size[at, None]
    agreement.nats("log p(y | x)", came[at], wanted[at], case.precision, size)
    never = came[~at] if wanted.ndim == 2 else came[~at & (case.y >= 0)]
    agreement.true("log p(y | x)", (never == -np.inf).all(), f"of rows that no label could give came {never[:1]}")


def log_conditional(case):
    came, y = case.ask(dg.log_conditional, case.y), case.y
    agreement.true("log_conditional", (came[y < 0] == 0).all(), "not 0 where y is unknown")
    wanted = np.take_along_axis(log_posterior(case)[case.index], np.maximum(y, 0)[:, None], 1)[:, 0]
    conditional(case, came, np.where(y < 0, 0, wanted))


def predict_log_proba(case):
    conditional(case, case.ask(dg.predict_log_proba), log_posterior(case)[case.index])


def predict(case):
    came, scores, at = case.ask(dg.predict), case.joint[case.index], possible(case)
    agreement.true("predict", (came[~at] == -1).all(), "a label for a row that no label could give")
    best_of(case, came[at], scores[at], size_of_rows(case)[case.index][at])


def best_of(case, came, scores, size):
    """Labels whose scores are the highest there are, to the rounding of scores."""
    agreement.true("predict", ((came >= 0) & (came < scores.shape[1])).all(), f"labels {np.unique(came)}")
    absolute, relative = agreement.NATS[case.precision]
    picked = np.take_along_axis(scores, came[:, None], 1)[:, 0]
    agreement.within("score of predict", picked, scores.max(-1), 2 * (absolute + relative * size))


def sample_labels(case):
    came, at = np.asarray(dg.sample_labels(case.model, case.key, case.x)), possible(case)
    agreement.true("sample_labels", (came[~at] == -1).all(), "a label for a row that no label could give")
    p = np.exp(log_posterior(case)[case.index][at])
    frequencies("sample_labels", came[at], p)


def frequencies(name, came, p):
    """Labels (n,) as often as they are probable (n, k), summed over rows; what is impossible never comes."""
    if not len(came):
        return
    agreement.true(name, ((came >= 0) & (came < p.shape[1])).all(), f"labels {np.unique(came)}")
    drawn = np.eye(p.shape[1])[came]
    agreement.true(name, not drawn[p == 0].any(), "drew a label that is impossible")
    agreement.mean_of_draws(name, drawn, p.mean(0), (p * (1 - p)).mean(0), 1)


def sample(case):
    n = cases.MANY_DRAWS
    x, y = (np.asarray(part) for part in dg.sample(case.model, case.key, n))
    weights = np.exp(log_softmax(oracle.numbers(case.model.as_model().log_weights)))
    frequencies("labels of sample", y, np.broadcast_to(weights, (n, len(weights))))
    in_support("sample", x, case)
    density = case.model.as_model().density
    for label in range(len(weights)):
        drawn = x[y == label]
        if len(drawn):
            mean, variance = unconditional(density, (label,), x.shape[1])
            agreement.mean_of_draws(f"mean of sample, label {label}", drawn, mean, variance, lump(case, mean))
    some = x[:: n // 8]
    wanted = formulas.log_sum(formulas.log_joint(case.model.as_model(), some.astype(float)))
    agreement.nats("log_prob of sample", dg.log_prob(case.model, some), wanted, case.precision)


def unconditional(density, label, d):
    if oracle.kind(density) == "Multinomial":
        p = softmax(oracle.numbers(density.logits)[label])
        return density.total_count * p, density.total_count * p * (1 - p)
    mean, covariance = oracle.moments(density, label, np.full(d, np.nan))
    return mean, np.diag(covariance)


def lump(case, mean):
    """What a rare draw adds: of counts, more than their mean."""
    return np.where(np.isnan(data.supports_of(case.model)), 0, 1 + np.sqrt(np.abs(mean)))


def in_support(name, x, case):
    tops = data.supports_of(case.model)
    agreement.true(name, np.isfinite(x).all(), "cells that are not finite")
    discrete = x[:, ~np.isnan(tops)]
    inside = (discrete >= 0) & (discrete <= tops[~np.isnan(tops)]) & (discrete == np.round(discrete))
    agreement.true(name, inside.all(), f"a cell outside its support: {discrete[~inside][:1]}")


def log_predictive(density, label, row, column):
    """log p(x_column = 0, 1, 2, ... | x_observed, label) of a discrete column, None of a continuous one."""
    match oracle.kind(density):
        case "Multinomial":
            p = softmax(oracle.numbers(density.logits)[label])
            total, share = np.nansum(row), p[~np.isnan(row)].sum()
            odds = p[column] / share if total else 0
            top = int(total * odds + 12 * math.sqrt(total * odds * (1 + odds)) + 50 * (1 + odds))
            drawn = stats.nbinom(total, 1 / (1 + odds)).logpmf if total else lambda v: np.where(v == 0, 0, -np.inf)
            return drawn(np.arange(min(top, 1 << 18)))
        case "Poisson":
            rate = math.exp(oracle.numbers(density.log_rate)[label][column])
            return stats.poisson.logpmf(np.arange(int(rate + 12 * math.sqrt(rate) + 50)), rate)
        case "Bernoulli":
            logit = oracle.numbers(density.logits)[label][column]
            return -np.logaddexp(0, [logit, -logit])
        case "Categorical":
            return log_softmax(oracle.numbers(density.logits)[label][column])
        case "Columns":
            parts = zip(density.blocks, density.columns, strict=True)
            ((block, own),) = [(block, list(own)) for block, own in parts if column in own]
            return log_predictive(block, label, row[own], own.index(column))
        case "Mixture":
            z = range(density.log_weights.shape[-1])
            parts = [log_predictive(density.density, (*label, i), row, column) for i in z]
            if parts[0] is None:
                return None
            longest = max(map(len, parts))
            padded = np.array([np.pad(part, (0, longest - len(part)), constant_values=-np.inf) for part in parts])
            posterior = log_softmax(formulas.joint_of_row(density, label, row))
            return formulas.log_sum((posterior[:, None] + padded).T)
    return None


def moments(model, row):
    """E[x | x_observed], the variance of each cell, and the fourth moment about that mean as if parts were normal."""
    posterior = softmax(formulas.joint_of_row(model, (), row))
    parts = [oracle.moments(model.density, (z,), row) for z in np.flatnonzero(posterior)]
    shares = posterior[posterior > 0]
    mean = sum(p * m for p, (m, _) in zip(shares, parts, strict=True))
    own = [(p, np.diag(c), (m - mean) ** 2) for p, (m, c) in zip(shares, parts, strict=True)]
    fourth = sum(p * (3 * v**2 + 6 * v * far + far**2) for p, v, far in own)
    return mean, sum(p * (v + far) for p, v, far in own), fourth


def spread(model, d):
    """The standard deviation of each column, the scale that imputed cells are judged by."""
    return np.sqrt(moments(model, np.full(d, np.nan))[1])


def impute(case):
    came, at = case.ask(dg.impute), possible(case)
    kept = ~np.isnan(case.x) | ~at[:, None]
    agreement.same("observed cells", came[kept], case.x[kept].astype(came.dtype))
    first = np.unique(case.index, return_index=True)[1] if len(came) else []
    for i in first:
        if at[i]:
            imputed_row(case, case.model.as_model(), case.pool[case.index[i]], came[i])
        same = came[case.index == case.index[i]]
        agreement.parameters("equal rows", same, np.broadcast_to(came[i], same.shape), case.precision, 1e-3)


def imputed_row(case, model, row, came):
    if not np.isnan(row).any():
        return
    mean, scale = moments(model, row)[0], spread(model, len(row))
    for j in np.flatnonzero(np.isnan(row)):
        logs = log_predictive(model, (), row, j)
        if logs is None:
            agreement.parameters(f"imputed column {j}", came[j], mean[j], case.precision, scale[j])
            continue
        inside = 0 <= came[j] < len(logs) and came[j] == round(came[j])
        agreement.true("impute", inside, f"column {j} came {came[j]}, outside the support")
        # Two modes that are as probable, to the rounding of a score, are both right.
        absolute, relative = agreement.NATS[case.precision]
        allowed = 4 * absolute + 4 * relative * size_of(formulas.joint_of_row(model, (), row))
        agreement.within(f"mode of column {j}, {came[j]}", logs[int(came[j])], logs.max(), allowed)


def sample_missing(case):
    model, few = case.model.as_model(), case.pool[:4]
    few = few[formulas.log_sum(formulas.log_joint(model, few)) > -np.inf]
    if not len(few):
        return
    draws = cases.MANY_DRAWS // 4
    x = np.resize(np.repeat(few, draws, axis=0), (cases.MANY_DRAWS, few.shape[1])).astype(case.precision)
    came = np.asarray(dg.sample_missing(case.model, case.key, x))
    agreement.same("observed cells", came[~np.isnan(x)], x[~np.isnan(x)].astype(came.dtype))
    in_support("sample_missing", came, case)
    for row, drawn in zip(few, came[: len(few) * draws].reshape(len(few), draws, -1), strict=True):
        mean, variance, fourth = moments(model, row)
        allowed = lump(case, mean) * np.isnan(row)
        agreement.mean_of_draws("mean of sample_missing", drawn, mean, variance, allowed)
        # By the oracle's own fourth moment, for a part that is rarely drawn may be far away.
        squares, own = (drawn.astype(float) - mean) ** 2, fourth - variance**2
        agreement.mean_of_draws("variance of sample_missing", squares, variance, own, 4 * variance + allowed**2)


def gradient(case):
    """The gradient of the log-probability in the log-weights is soft counts less those of the prior."""
    model = case.model.as_model()
    at = possible(case)
    x = case.x[at]
    slope = cases.jitted(slope_of)(model, x)
    posterior = np.exp(log_posterior(case)[case.index][at])
    weights = np.exp(log_softmax(oracle.numbers(model.log_weights)))
    wanted = (posterior - weights).sum(0)
    agreement.parameters("gradient", slope, wanted, case.precision, max(1, len(x)))


def slope_of(model, x):
    return jax.grad(lambda logs: dg.log_prob(type(model)(logs, model.density), x).sum())(model.log_weights)
