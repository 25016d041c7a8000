"""The mathematics in plain NumPy and SciPy, float64: one row, one label and one cell at a time.

Models and priors are read as records of parameters, so nothing here calls the library. A label is a tuple of indices,
empty for a model. Rows have NaN where a cell is missing.
"""

import itertools

import numpy as np
from scipy import stats
from scipy.special import expit, log_softmax, logsumexp, softmax

LARGEST_COUNT, TRACE = 400, 1e-30


def kind(part):
    return type(part).__name__


def numbers(array):
    return np.asarray(array, np.float64)


def shared(array, label, event_axes):
    """The entry of `label`, where `array` may lack the last label axes because labels share it."""
    array = numbers(array)
    return array[label[: array.ndim - event_axes]]


def normal(density, label):
    """Mean and covariance of a Gaussian of any kind."""
    mean = numbers(density.mean)[label]
    if kind(density) == "FactorGaussian":
        loading, scale = numbers(density.loading)[label], np.exp(numbers(density.log_scale)[label])
        return mean, loading @ loading.T + np.diag(np.broadcast_to(scale**2, mean.shape))
    if kind(density) == "Gaussian":
        factor = np.tril(shared(density.scale_tril, label, 2))
        return mean, factor @ factor.T
    scale = np.exp(np.broadcast_to(shared(density.log_scale, label, 1), mean.shape))
    return mean, np.diag(scale**2)


def table(density, label, column):
    """The probabilities of 0, 1, 2, ... in one column of independent discrete columns."""
    if kind(density) == "Bernoulli":
        logit = numbers(density.logits)[label][column]
        return expit([-logit, logit])
    if kind(density) == "Categorical":
        return softmax(numbers(density.logits)[label][column])
    return stats.poisson.pmf(np.arange(LARGEST_COUNT), np.exp(numbers(density.log_rate)[label][column]))


def blocks(density):
    """Each block of a density of columns, with its column numbers."""
    return [(block, list(columns)) for block, columns in zip(density.blocks, density.columns, strict=True)]


def log_density(density, label, row):
    """log p(x_observed | label)."""
    observed = np.flatnonzero(~np.isnan(row))
    match kind(density):
        case "Gaussian" | "DiagonalGaussian" | "FactorGaussian":
            mean, covariance = normal(density, label)
            if not len(observed):
                return 0.0
            scale = np.sqrt(np.diag(covariance))[observed]  # else SciPy takes columns of small units for singular
            correlation = covariance[np.ix_(observed, observed)] / np.outer(scale, scale)
            z = (row - mean)[observed] / scale
            return stats.multivariate_normal.logpdf(z, np.zeros(len(z)), correlation) - np.log(scale).sum()
        case "Bernoulli" | "Categorical":
            return logsumexp(completions(density, label, row))
        case "Poisson":
            rate = np.exp(numbers(density.log_rate)[label])
            return sum(stats.poisson.logpmf(row[j], rate[j]) for j in observed)
        case "Multinomial":
            p = softmax(numbers(density.logits)[label])[observed]
            counts = row[observed]
            return stats.multinomial.logpmf(counts, counts.sum(), p / p.sum()) if len(observed) else 0.0
        case "Columns":
            return sum(log_density(block, label, row[columns]) for block, columns in blocks(density))
        case "Mixture":
            return logsumexp(component_scores(density, label, row))
    raise NotImplementedError(kind(density))


def completions(density, label, row):
    """The log-probability of every way to fill the missing cells of a row of categories."""
    with np.errstate(divide="ignore"):
        logs = [np.log(table(density, label, j)) for j in range(len(row))]
    choices = [range(len(log)) if np.isnan(cell) else [int(cell)] for log, cell in zip(logs, row, strict=True)]
    return [sum(log[v] for log, v in zip(logs, whole, strict=True)) for whole in itertools.product(*choices)]


def component_scores(mixture, label, row):
    """log w_z + log p(x_observed | label, z) for each component z."""
    log_weights = log_softmax(numbers(mixture.log_weights)[label])
    return np.array([log_weights[z] + log_density(mixture.density, (*label, z), row) for z in range(len(log_weights))])


def moments(density, label, row):
    """E[x | x_observed, label] and its covariance; observed cells have themselves and 0."""
    match kind(density):
        case "Gaussian" | "DiagonalGaussian" | "FactorGaussian":
            return normal_moments(*normal(density, label), row)
        case "Multinomial":
            return multinomial_moments(softmax(numbers(density.logits)[label]), row)
        case "Columns":
            mean, covariance = np.zeros(len(row)), np.zeros((len(row), len(row)))
            for block, columns in blocks(density):
                mean[columns], covariance[np.ix_(columns, columns)] = moments(block, label, row[columns])
            return mean, covariance
        case "Mixture":
            return mixture_moments(density, label, row)
        case "Poisson":
            missing, rate = np.isnan(row), np.exp(numbers(density.log_rate)[label])
            return np.where(missing, rate, row), np.diag(np.where(missing, rate, 0))
    mean, variance = row.copy(), np.zeros(len(row))
    for j in np.flatnonzero(np.isnan(row)):
        p = table(density, label, j)
        values = np.arange(len(p))
        mean[j] = values @ p
        variance[j] = (values - mean[j]) ** 2 @ p
    return mean, np.diag(variance)


def normal_moments(mean, covariance, row):
    missing, observed = np.flatnonzero(np.isnan(row)), np.flatnonzero(~np.isnan(row))
    filled, left = row.copy(), np.zeros_like(covariance)
    gain = covariance[np.ix_(missing, observed)] @ np.linalg.inv(covariance[np.ix_(observed, observed)])
    filled[missing] = mean[missing] + gain @ (row[observed] - mean[observed])
    left[np.ix_(missing, missing)] = covariance[np.ix_(missing, missing)] - gain @ covariance[np.ix_(observed, missing)]
    return filled, left


def multinomial_moments(p, row):
    """Missing counts are Poisson(exposure p_j), the exposure Gamma(observed total, observed share)."""
    total, share, missing = np.nansum(row), p[~np.isnan(row)].sum(), np.isnan(row)
    exposure, variance = (total / share, total / share**2) if total else (0.0, 0.0)
    hidden = np.where(missing, p, 0.0)
    return np.where(missing, exposure * p, row), variance * np.outer(hidden, hidden) + np.diag(exposure * hidden)


def mixture_moments(mixture, label, row):
    posterior = softmax(component_scores(mixture, label, row))
    parts = [moments(mixture.density, (*label, z), row) for z in range(len(posterior))]
    mean = sum(p * m for p, (m, _) in zip(posterior, parts, strict=True))
    return mean, sum(p * (c + np.outer(m - mean, m - mean)) for p, (m, c) in zip(posterior, parts, strict=True))


def predictive(density, label, row, column):
    """p(x_column = 0, 1, 2, ... | x_observed, label) of a discrete column, None of a continuous one."""
    match kind(density):
        case "Gaussian" | "DiagonalGaussian" | "FactorGaussian":
            return None
        case "Multinomial":
            p = softmax(numbers(density.logits)[label])
            total, share = np.nansum(row), p[~np.isnan(row)].sum()
            values = np.arange(LARGEST_COUNT)
            return stats.nbinom.pmf(values, total, share / (share + p[column])) if total else (values == 0) * 1.0
        case "Columns":
            (found,) = [(b, columns) for b, columns in blocks(density) if column in columns]
            return predictive(found[0], label, row[found[1]], found[1].index(column))
        case "Mixture":
            parts = [
                predictive(density.density, (*label, z), row, column) for z in range(density.log_weights.shape[-1])
            ]
            return None if parts[0] is None else softmax(component_scores(density, label, row)) @ np.array(parts)
    return table(density, label, column)


def log_joint(model, x):
    """log p(x_observed, y) for every row and label (n, k)."""
    return np.array([component_scores(model, (), row) for row in x])


def log_prob(model, x):
    return np.array([log_density(model, (), row) for row in x])


def impute(model, x):
    """Missing cells at the conditional mean, or at the mode where the column is discrete."""
    filled = np.array([moments(model, (), row)[0] for row in x])
    for i, j in np.argwhere(np.isnan(x)):
        probabilities = predictive(model, (), x[i], j)
        if probabilities is not None:
            filled[i, j] = probabilities.argmax()
    return filled


def em_step(density, x, counts, prior=None, y=None, on=True):
    """One step of EM under counts (n, *labels), for a model its weights (n,); `y` clamps a model's label.

    Labels that are not `on`, of weight log 0, have no share in the prior of a normal density.
    """
    labels = list(np.ndindex(*density.label_shape))
    match kind(density):
        case "Mixture":
            soft = [mixture_counts(density, row, -1 if y is None else y[i]) for i, row in enumerate(x)]
            counts = counts[..., None] * np.array(soft)
            flat = prior is None or prior.weights is None
            totals = counts.sum(0) + (0 if flat else pseudo_counts(prior.weights, density.log_weights))
            on = ~np.isneginf(numbers(density.log_weights))
            below = em_step(density.density, x, counts, None if prior is None else prior.density, on=on)
            return [totals / totals.sum(-1, keepdims=True), *below]
        case "Columns":
            priors = [None] * len(density.blocks) if prior is None else prior.blocks
            parts = zip(blocks(density), priors, strict=True)
            return [p for (block, columns), own in parts for p in em_step(block, x[:, columns], counts, own)]
        case "Gaussian" | "DiagonalGaussian":
            return normal_maximum(density, labels, x, counts, prior, np.broadcast_to(on, density.label_shape))
        case "FactorGaussian":
            parts = zip(*(factor_maximum(density, label, x, counts, prior) for label in labels), strict=True)
            fields = density.mean, density.loading, density.log_scale
            return [np.reshape(own, field.shape) for own, field in zip(parts, fields, strict=True)]
        case "Multinomial":
            values = [multinomial_maximum(density, label, x, counts, prior) for label in labels]
        case _:
            columns = range(x.shape[1])
            values = [[cell_maximum(density, label, x, counts, prior, j) for j in columns] for label in labels]
    return [np.reshape(values, (*density.label_shape, *np.shape(values[0])))]


def mixture_counts(mixture, row, y):
    """p(z | x_observed, label) for every label and component (*labels, k), one-hot where the label is given."""
    if y >= 0:
        return np.eye(mixture.log_weights.shape[-1])[y]
    values = [softmax(component_scores(mixture, label, row)) for label in np.ndindex(*mixture.label_shape)]
    shares = np.reshape(values, mixture.log_weights.shape)
    return np.where(shares < TRACE, 0, shares)  # float32 has no smaller ones


def cell_maximum(density, label, x, counts, prior, column):
    """Bernoulli, categorical and Poisson: from the observed cells of one column."""
    cells = [(x[i, column], counts[i][label]) for i in range(len(x)) if not np.isnan(x[i, column])]
    if kind(density) == "Poisson":
        shape, rate = (1, 0) if prior is None else of_column(column, x.shape[1], prior.shape, prior.rate)
        return (shape - 1 + sum(cell * count for cell, count in cells)) / (rate + sum(count for _, count in cells))
    seen = np.zeros(len(table(density, label, column)))
    for cell, count in cells:
        seen[int(cell)] += count
    binary = kind(density) == "Bernoulli"
    if prior is not None:
        own = None if binary else pseudo_counts(prior, density.logits)[label][column]
        seen += of_column(column, x.shape[1], prior.b, prior.a) - 1 if binary else own
    return seen[1] / seen.sum() if binary else seen / seen.sum()


def pseudo_counts(prior, logs):
    """What a Dirichlet prior adds to counts; what is impossible stays so."""
    return np.where(np.isneginf(logs), 0, np.broadcast_to(numbers(prior.concentration), np.shape(logs)) - 1)


def of_column(column, d, *values):
    return np.array([np.broadcast_to(numbers(value), d)[column] for value in values])


def multinomial_maximum(density, label, x, counts, prior):
    expected = sum(counts[i][label] * moments(density, label, row)[0] for i, row in enumerate(x))
    expected = expected + (0 if prior is None else pseudo_counts(prior, density.logits)[label])
    return expected / expected.sum()


def normal_maximum(density, labels, x, counts, prior, on):
    """Means, then the covariance (or variances) of each group of labels that share one."""
    spread_of = density.scale_tril if kind(density) == "Gaussian" else density.log_scale
    event = spread_of.shape[-2:] if kind(density) == "Gaussian" else spread_of.shape[-1:]
    group_axes = spread_of.ndim - len(event)
    sums = {label: normal_sums(density, label, x, counts, prior) for label in labels}
    groups = {}
    for label in labels:
        groups.setdefault(label[:group_axes], [])
    for label in labels:
        if on[label] or not on[label[:group_axes]].any():
            groups[label[:group_axes]].append(sums[label])
    spreads = [normal_spread(group, members, event, prior) for group, members in groups.items()]
    return [
        np.reshape([mean for mean, _, _ in sums.values()], density.mean.shape),
        np.reshape(spreads, spread_of.shape),
    ]


def normal_sums(density, label, x, counts, prior):
    """The new mean, the scatter about it (the prior's share included), and the count of each column."""
    d = x.shape[1]
    center, strength = (
        (np.zeros(d), 0.0) if prior is None else (of_label(prior.mean, label, 1), float(prior.mean_count))
    )
    rows = []
    for i, row in enumerate(x):
        # The columns of a diagonal covariance are independent, so that a missing cell has nothing to tell.
        counted = counts[i][label] * (np.ones(d) if kind(density) == "Gaussian" else ~np.isnan(row))
        rows.append((counted, *moments(density, label, row)))
    n = sum(counted for counted, _, _ in rows)
    # About one of the rows, for the mean of equal cells is that cell to the last digit.
    about = rows[0][1]
    moved = strength * (center - about) + sum(counted * (filled - about) for counted, filled, _ in rows)
    mean = about + moved / (strength + n)
    scatter = strength * np.outer(mean - center, mean - center)
    for counted, filled, covariance in rows:
        share = np.sqrt(np.outer(counted, counted))
        scatter = scatter + share * (np.outer(filled - mean, filled - mean) + covariance)
    # A label without rows has no mean, and adds nothing to what it shares.
    return mean, np.where(np.isnan(np.add.outer(mean, mean)), 0, scatter), n


def factor_maximum(density, label, x, counts, prior):
    """Mean, loadings and noise variances of one label: a regression of each column on the factors of the rows."""
    mean, loading = numbers(density.mean)[label], numbers(density.loading)[label]
    (d, r), variance = loading.shape, np.exp(2 * numbers(density.log_scale)[label])
    noise, found = np.broadcast_to(variance, d), []
    for row in x:
        seen = ~np.isnan(row)
        own = loading[seen] / noise[seen, None]
        covariance = np.linalg.inv(np.eye(r) + own.T @ loading[seen])
        f = np.append(covariance @ own.T @ (row - mean)[seen], 1)
        found.append((f, np.outer(f, f) + np.pad(covariance, [(0, 1), (0, 1)])))
    center, count, spread, shape, rate = np.zeros(d), 0, 0, 0, np.zeros(len(variance))
    towards = np.zeros((d, r)) if prior is None else loadings_of(prior, label, (d, r))
    if prior is not None:
        center, count, spread = of_label(prior.mean, label, 1), float(prior.mean_count), float(prior.loading_count)
        shape, rate = float(prior.shape), of_label(prior.rate, label, 1)
    new, squares, cells = np.zeros((d, r + 1)), np.zeros(d), np.zeros(d)
    for j in range(d):
        used = [i for i in range(len(x)) if not np.isnan(x[i, j])]
        penalty = np.diag(np.append(np.full(r, spread), count))
        gram = penalty + sum(counts[i][label] * found[i][1] for i in used)
        pull = penalty @ np.append(towards[j], center[j])
        wanted = pull + sum(counts[i][label] * x[i, j] * found[i][0] for i in used)
        new[j] = np.linalg.solve(gram, wanted)
        squares[j] = sum(counts[i][label] * x[i, j] ** 2 for i in used) - new[j] @ wanted
        squares[j] += np.append(towards[j], center[j]) @ pull
        cells[j] = sum(counts[i][label] for i in used)
    if len(variance) == 1:
        squares, cells = squares.sum(keepdims=True), cells.sum(keepdims=True)
    if prior is not None:
        squares, cells = squares + 2 * rate, cells + 2 * shape + 2 + (1 + r) * d / len(variance)
        return new[:, -1], new[:, :-1], squares / cells
    total = sum(counts[i][label] for i in range(len(x)))
    second = sum(counts[i][label] * found[i][1] for i in range(len(x))) / total
    root = np.linalg.cholesky(second[:-1, :-1] - np.outer(second[:-1, -1], second[:-1, -1]))
    return new @ second[:, -1], new[:, :-1] @ root, squares / cells


def loadings_of(prior, label, shape):
    """What loadings are drawn to (d, r): 0, or the same for all columns, or a table."""
    if prior.loading is None:
        return np.zeros(shape)
    own = numbers(prior.loading)
    return np.broadcast_to(own if own.ndim < 3 else of_label(own, label, 2), shape)


def of_label(value, label, event_axes):
    """A prior's parameter for a label: its label axes may be of size 1 or left out."""
    value = numbers(value)
    axes = value.ndim - event_axes
    return value[tuple(0 if size == 1 else i for i, size in zip(label[len(label) - axes :], value.shape, strict=False))]


def normal_spread(group, members, event, prior):
    """The mode for labels that share a spread: one prior of the spread, and N(mean; m, spread / c) for each mean."""
    scatter, n, none = sum(s for _, s, _ in members), sum(n for _, _, n in members), prior is None
    cells = n + (0 if none else len(members))
    if len(event) == 2:
        scale, degrees = (0, 0) if none else (of_label(prior.scale, group, 2), float(prior.degrees) + len(n) + 1)
        return (scale + scatter) / (degrees + cells[0])
    rate, shape = (0, 0) if none else (of_label(prior.rate, group, 1), float(prior.shape) + 1)
    squares = np.diag(scatter)
    if event == (1,):
        seen = cells > 0
        squares, cells = squares[seen].sum(keepdims=True), cells[seen].sum(keepdims=True)
    return (2 * rate + squares) / (2 * shape + cells)


def parameters(density):
    """What `em_step` returns, of a model as it is: probabilities, means, covariances, rates."""
    match kind(density):
        case "Mixture":
            return [softmax(numbers(density.log_weights), axis=-1), *parameters(density.density)]
        case "Columns":
            return [p for block in density.blocks for p in parameters(block)]
        case "Gaussian":
            factor = np.tril(numbers(density.scale_tril))
            return [numbers(density.mean), factor @ np.swapaxes(factor, -1, -2)]
        case "DiagonalGaussian":
            return [numbers(density.mean), np.exp(2 * numbers(density.log_scale))]
        case "FactorGaussian":
            return [numbers(density.mean), numbers(density.loading), np.exp(2 * numbers(density.log_scale))]
        case "Bernoulli":
            return [expit(numbers(density.logits))]
        case "Poisson":
            return [np.exp(numbers(density.log_rate))]
    return [softmax(numbers(density.logits), axis=-1)]
