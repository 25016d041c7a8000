"""What learning climbs, in plain NumPy and SciPy, float64: the likelihood of each row, and the density of the prior."""

import numpy as np
from oracle import component_scores, kind, loadings_of, numbers, of_label, parameters, shared
from scipy import stats
from scipy.special import logsumexp


def objective(model, x, y, weights, prior=None, blend=1.0):
    """sum_n w_n (blend log p(x_n, y_n) + (1 - blend) log p(y_n | x_n)) + log prior."""
    total = log_prior(model, prior)
    for row, label, weight in zip(x, y, weights, strict=True):
        if weight == 0:
            continue
        scores = component_scores(model, (), row)
        joint = logsumexp(scores) if label < 0 else scores[label]
        total += weight * (joint if blend == 1 else joint - (1 - blend) * logsumexp(scores))
    return total


def log_prior(density, prior):
    """The density of the parameters that the prior names, with its constant."""
    match kind(prior):
        case "NoneType":
            return 0.0
        case "MixturePrior":
            return log_prior_of_shares(parameters(density)[0], prior.weights) + log_prior(
                density.density, prior.density
            )
        case "ColumnsPrior":
            return sum(log_prior(block, own) for block, own in zip(density.blocks, prior.blocks, strict=True))
        case "Beta":
            return stats.beta.logpdf(parameters(density)[0], numbers(prior.a), numbers(prior.b)).sum()
        case "Gamma":
            return stats.gamma(numbers(prior.shape), scale=1 / numbers(prior.rate)).logpdf(parameters(density)[0]).sum()
        case "Dirichlet":
            return log_prior_of_shares(parameters(density)[0], prior)
        case "FactorPrior":
            return log_prior_of_factors(density, *parameters(density), prior)
    return log_prior_of_normals(density, *parameters(density), prior)


def log_prior_of_shares(shares, prior):
    if prior is None:
        return 0.0
    concentration = np.broadcast_to(numbers(prior.concentration), shares.shape[-1])
    return sum(stats.dirichlet(concentration).logpdf(p) for p in shares.reshape(-1, shares.shape[-1]))


def log_prior_of_factors(density, means, loadings, variances, prior):
    """N(mean; m, v / c), N(each loading; 0, v / l), and the prior of each noise variance v once."""
    total = 0.0
    for label in np.ndindex(*density.label_shape):
        mean, loading, variance = means[label], loadings[label], variances[label]
        noise = np.broadcast_to(variance, mean.shape)
        center = of_label(prior.mean, label, 1)
        total += stats.norm(center, np.sqrt(noise / float(prior.mean_count))).logpdf(mean).sum()
        towards, spread = loadings_of(prior, label, loading.shape), np.sqrt(noise / float(prior.loading_count))
        total += stats.norm(towards, spread[:, None]).logpdf(loading).sum()
        total += stats.invgamma(float(prior.shape), scale=of_label(prior.rate, label, 1)).logpdf(variance).sum()
    return total


def log_prior_of_normals(density, means, spreads, prior):
    """N(mean; m, spread / c) for each mean, and the prior of each spread once, however many means share it."""
    full, count, total = kind(density) == "Gaussian", float(prior.mean_count), 0.0
    event_axes = 2 if full else 1
    for label in np.ndindex(*density.label_shape):
        spread, center = shared(spreads, label, event_axes), of_label(prior.mean, label, 1)
        covariance = spread if full else np.diag(np.broadcast_to(spread, center.shape))
        total += stats.multivariate_normal.logpdf(means[label], center, covariance / count)
    for group in np.ndindex(*spreads.shape[: spreads.ndim - event_axes]):
        if full:
            total += stats.invwishart(float(prior.degrees), of_label(prior.scale, group, 2)).logpdf(spreads[group])
        else:
            scale = of_label(prior.rate, group, 1)
            total += stats.invgamma(float(prior.shape), scale=scale).logpdf(spreads[group]).sum()
    return total
