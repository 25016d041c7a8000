"""The densities' formulas in float64, one row and one label at a time; models are read as records of parameters."""

import math
from types import SimpleNamespace

import jax
import numpy as np
from oracle import kind, numbers, shared
from scipy.special import log_softmax, logsumexp

LOG_TWO_PI = math.log(2 * math.pi)


def log_density(density, label, row):
    """log p(x_observed | label)."""
    seen = np.flatnonzero(~np.isnan(row))
    if not len(seen):
        return 0.0
    match kind(density):
        case "Gaussian":
            factor = np.tril(shared(density.scale_tril, label, 2))
            return normal(row[seen] - numbers(density.mean)[label][seen], factor[seen])
        case "DiagonalGaussian":
            mean = numbers(density.mean)[label]
            log_scale = np.broadcast_to(shared(density.log_scale, label, 1), mean.shape)
            z = (row[seen] - mean[seen]) * np.exp(-log_scale[seen])
            return sum(-0.5 * u * u - s - LOG_TWO_PI / 2 for u, s in zip(z, log_scale[seen], strict=True))
        case "Bernoulli":
            logits = numbers(density.logits)[label]
            inside = np.isin(row[seen], (0, 1)).all()
            return sum(-np.logaddexp(0, -logits[j] if row[j] else logits[j]) for j in seen) if inside else -np.inf
        case "Categorical":
            logs = log_softmax(numbers(density.logits)[label], axis=-1)
            inside = np.isin(row[seen], range(logs.shape[1])).all()
            return sum(logs[j, int(row[j])] for j in seen) if inside else -np.inf
        case "Poisson":
            if not are_counts(row[seen]):
                return -np.inf
            rates = numbers(density.log_rate)[label]
            return sum((row[j] and row[j] * rates[j] - math.lgamma(row[j] + 1)) - math.exp(rates[j]) for j in seen)
        case "Multinomial":
            if (row[seen] < 0).any():  # they need not be whole
                return -np.inf
            logs = log_softmax(numbers(density.logits)[label][seen])
            drawn = sum(c * log - math.lgamma(c + 1) for c, log in zip(row[seen], logs, strict=True) if c > 0)
            return math.lgamma(row[seen].sum() + 1) + drawn
        case "Columns":
            parts = zip(density.blocks, density.columns, strict=True)
            return sum(log_density(block, label, row[list(columns)]) for block, columns in parts)
        case "Mixture":
            return logsumexp(joint_of_row(density, label, row))
    raise NotImplementedError(kind(density))


def are_counts(cells):
    return (cells >= 0).all() and (cells == np.floor(cells)).all()


def normal(residual, rows_of_factor):
    """log N of some cells, whose covariance is A A^T, by the triangle of A^T: no condition number is squared."""
    R = np.linalg.qr(rows_of_factor.T, mode="r")
    z = np.linalg.solve(R.T, residual)
    return -0.5 * z @ z - np.log(np.abs(np.diag(R))).sum() - len(z) * LOG_TWO_PI / 2


def joint_of_row(mixture, label, row):
    """log p(x_observed, z | label) for each component z."""
    logs = log_softmax(numbers(mixture.log_weights)[label])
    return np.array([log + log_density(mixture.density, (*label, z), row) for z, log in enumerate(logs)])


def log_joint(model, x):
    """(n, k)."""
    return np.array([joint_of_row(model, (), row) for row in x]).reshape(len(x), model.num_labels)


def log_scores(density, x):
    """log p(x | label) of the states of a chain, (n, k)."""
    labels = range(density.label_shape[0])
    return np.array([[log_density(density, (label,), row) for label in labels] for row in x]).reshape(
        len(x), len(labels)
    )


def log_sum(scores):
    """Over the last axis, minus infinity where nothing is possible."""
    return logsumexp(scores, axis=-1) if scores.size else np.zeros(scores.shape[:-1])


def score_of_scorer(scorer, label, row):
    """s(x, y) of the scorers that are written out."""
    match kind(scorer):
        case "Linear":
            return numbers(scorer.weight)[label] @ row
        case "Quadratic":
            d = len(row)
            products = [row[i] * row[j] for i in range(d) for j in range(i, d)]
            return numbers(scorer.weight)[label] @ row + numbers(scorer.products)[label] @ products
        case "DiagonalQuadratic":
            return numbers(scorer.weight)[label] @ row + numbers(scorer.square)[label] @ row**2
        case "Indicators":
            weight = numbers(scorer.weight)[label]
            return sum(weight[int(number)] for number in row if number >= 0)
        case "CategoryWeights":
            weight = numbers(scorer.weight)[label]
            return sum(weight[j, int(cell)] for j, cell in enumerate(row))
        case "LogLinear":
            weight = numbers(scorer.weight)[label]
            return sum(cell * w for cell, w in zip(row, weight, strict=True) if cell > 0)
    raise NotImplementedError(kind(scorer))


def logistic_scores(model, x):
    """bias_y + s(x, y), (n, k); one row of parameters is the log-odds of the second class."""
    bias = numbers(model.bias)
    scores = [[b + score_of_scorer(model.scorer, (y,), row) for y, b in enumerate(bias)] for row in x]
    scores = np.array(scores).reshape(len(x), len(bias))
    return np.column_stack([np.zeros(len(x)), scores]) if len(bias) == 1 else scores


def logistic_terms(model, x):
    """The largest sum of the sizes of the terms of a score (n,), whose rounding the score bears."""
    sizes = jax.tree.map(lambda leaf: np.abs(numbers(leaf)), model)
    return np.abs(logistic_scores(sizes, x if kind(model.scorer) == "Indicators" else np.abs(x))).max(-1, initial=0)


def column_moments(x, weights):
    """Weighted mean and variance of the observed cells; a column without spread has the mean variance, or 1."""
    means, variances = [], []
    for column in np.asarray(x, np.float64).T:
        seen = ~np.isnan(column) & (weights > 0)
        total = weights[seen].sum()
        about = column[seen][0] if total else 0.0  # so that the mean of equal cells is that cell to the last digit
        mean = about + (weights[seen] * (column[seen] - about)).sum() / total if total else 0.0
        means.append(mean)
        variances.append((weights[seen] * (column[seen] - mean) ** 2).sum() / total if total else 0.0)
    means, variances = np.array(means), np.array(variances)
    spare = variances.mean() if variances.max() > 0 else 1.0
    return means, np.where(variances > 0, variances, spare)


def weak_prior(density, x, weights, strength, on=None):
    """What acts as `strength` more rows for each label, as a record with the names of dgjax's priors.

    Labels that are not `on`, of weight log 0, count for nothing.
    """
    mean, variance = column_moments(x, weights)
    match kind(density):
        case "Mixture":
            on = numbers(density.log_weights) > -np.inf
            own = weak_prior(density.density, x, weights, strength, on)
            return SimpleNamespace(weights=shared_out(strength, on), density=own)
        case "Columns":
            parts = zip(density.blocks, density.columns, strict=True)
            return SimpleNamespace(blocks=[weak_prior(b, x[:, list(own)], weights, strength) for b, own in parts])
        case "Gaussian":
            groups = math.prod(density.scale_tril.shape[:-2])
            counted = (np.ones(density.label_shape, bool) if on is None else on).reshape(groups, -1)
            degrees = strength - x.shape[1] - 1 - counted.sum(1).max()
            return SimpleNamespace(mean=mean, mean_count=strength, scale=strength * np.diag(variance), degrees=degrees)
        case "DiagonalGaussian":
            spherical = density.log_scale.shape[-1] == 1
            cells = strength * (x.shape[1] if spherical else 1)
            share = on.mean() if on is not None and density.log_scale.ndim == 1 else 1  # of labels with one scale
            shape = (cells - 2 - share * density.mean.size / density.log_scale.size) / 2
            rate = cells * (variance.mean(keepdims=True) if spherical else variance) / 2
            return SimpleNamespace(mean=mean, mean_count=strength, shape=shape, rate=rate)
        case "Bernoulli":
            return SimpleNamespace(a=1 + strength / 2, b=1 + strength / 2)
        case "Poisson":
            return SimpleNamespace(
                shape=1 + strength * np.where(mean > 0, mean, 0.5), rate=np.full(len(mean), strength)
            )
        case "Categorical":
            possible = (numbers(density.logits) > -np.inf).any(tuple(range(density.logits.ndim - 2)))
            return shared_out(strength, possible)
    return shared_out(strength, np.ones(x.shape[1], bool))


def shared_out(strength, possible):
    """Pseudo-counts of each distribution, shared by what it can have."""
    count = np.maximum(possible.sum(-1, keepdims=True), 1)
    return SimpleNamespace(concentration=np.where(possible, 1 + strength / count, 1))
