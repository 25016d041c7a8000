"""Checks of `fit` and of the starters that solve: one step of EM, the closed form, rows moved and weighted."""

import logistic_oracle
import numpy as np
import oracle
from scipy import optimize

import dgjax as dg
from fuzz import agreement, data, formulas

SINGULAR, REGULAR = 1e-13, 1e-3
"""Least eigenvalues of correlations: under the first a fit has no density, over the second it must be found."""
KEPT = {"float32": 1e-5 / 2**-23, "float64": 1e-5 / 2**-52}
"""A mean that moves by more than so many times the new variance keeps its scale for a step (see numerics.md)."""


def weights_of(case):
    """Weights of the rows as the precision holds them, and as they are typed: None for ones."""
    amounts = data.weights(case.rng, len(case.x)).astype(case.precision)
    return amounts.astype(float), (None if (amounts == 1).all() else amounts)


def distinct(case, amounts):
    """The rows of the pool that came, their weights added up, and their labels."""
    came, first = np.unique(case.index, return_index=True)
    return case.pool[came], np.bincount(case.index, amounts, len(case.pool))[came], case.y[first]


def em_step(case):
    """One step of EM, with and without a prior, weights, labels and missing cells."""
    amounts, given = weights_of(case)
    prior = (None, "weak")[case.plan.number % 2]
    if never_observed(case, amounts):
        return
    rows = distinct(case, amounts)
    wanted = step(case.model.as_model(), case, amounts, rows, prior)
    y = None if case.plan.known == "none" else case.y
    came = fitted_or_refused(
        lambda: dg.fit(case.model, case.x, y, weights=given, prior=prior, max_steps=1, method=dg.EM(tol=0.0)),
        case, case.model.as_model(), wanted, rows, prior,
    )  # fmt: skip
    if came is None:
        return
    compared(case, case.model.as_model(), came.model.as_model(), wanted, amounts)
    if prior is None:
        objective_of(case, came.model.as_model(), came.objective, rows)


def never_observed(case, amounts):
    """Nothing can be learnt of a column without cells, which is an error of its own."""
    return not amounts.sum() or (np.isnan(case.x) | (amounts == 0)[:, None]).all(0).any()


def step(model, case, amounts, rows, prior):
    pool, weights, labels = rows
    record = prior and formulas.weak_prior(model, case.x.astype(float), amounts, 1.0)
    with np.errstate(all="ignore"):
        return oracle.em_step(model, pool[weights > 0], weights[weights > 0], record, labels[weights > 0])


def fitted_or_refused(fit, case, model, wanted, rows, prior):
    """An error of `fit` is right where there is nothing to find, or too little data by its own rules."""
    (_, weights, labels), k = rows, model.num_labels
    known = set(labels[(labels >= 0) & (weights > 0)])
    try:
        came = fit()
    except ValueError as error:
        text = str(error)
        told = (
            ("collapsed" in text and least(case, model, wanted) < REGULAR)
            or ("two classes" in text and len(known) < 2)
            or ("as many rows" in text and (weights > 0).sum() < k)
            or ("never observed in class" in text and prior is None)
            or ("probability 0 under the model" in text and (case.evidence == -np.inf).any())
        )
        if not told:
            raise
        return None
    lowest = least(case, model, wanted)
    found = lowest > SINGULAR or any(waits.any() for waits, _ in moved_far(case, model, wanted).values())
    agreement.true("fit", found, f"a fit where a covariance is singular: {lowest}")
    return came


def described(density, columns):
    """What each parameter of `oracle.parameters` is, and its columns."""
    match oracle.kind(density):
        case "Mixture":
            return [("weights", columns), *described(density.density, columns)]
        case "Columns":
            blocks = zip(density.blocks, density.columns, strict=True)
            return [part for block, own in blocks for part in described(block, [columns[i] for i in own])]
        case "Gaussian":
            return [("mean", columns), ("covariance", columns)]
        case "DiagonalGaussian":
            return [("mean", columns), ("variance", columns)]
        case "Poisson":
            return [("rate", columns)]
    return [("probability", columns)]


def labels_off(density, off=None):
    """For each of `oracle.parameters` the normal labels of weight log 0, which keep what they have; None elsewhere."""
    match oracle.kind(density):
        case "Mixture":
            return [None, *labels_off(density.density, np.isneginf(oracle.numbers(density.log_weights)))]
        case "Columns":
            return [part for block in density.blocks for part in labels_off(block)]
        case "Gaussian" | "DiagonalGaussian":
            return [off, off]
    return [None]


def named(model, values, case):
    names = described(model, list(range(case.pool.shape[1])))
    return [(name, columns, value) for (name, columns), value in zip(names, values, strict=True)]


def scales(case, amounts):
    return np.sqrt(formulas.column_moments(case.x.astype(float), amounts)[1])


def least(case, model, wanted):
    """The least eigenvalue of the covariances, each column in units of its size."""
    lowest = 1.0
    size = scales(case, np.ones(len(case.x))) + 1e-3 * np.nanmax(np.abs(case.x), axis=0, initial=0)
    for name, columns, value in named(model, wanted, case):
        if name in ("variance", "covariance"):
            value = value if name == "covariance" else value[..., None] * np.eye(value.shape[-1])
            own = size[columns] if value.shape[-1] == len(columns) else size[columns].mean(keepdims=True)
            for matrix in value.reshape(-1, *value.shape[-2:]) / np.outer(own, own):
                if np.isfinite(matrix).all():
                    lowest = min(lowest, np.linalg.eigvalsh(matrix)[0])
    return lowest


def compared(case, before, fitted, wanted, amounts):
    """Every parameter of the fit with that of the oracle; a scale that waits for the next step may be the old one."""
    scale, came, old = scales(case, amounts), oracle.parameters(fitted), oracle.parameters(before)
    far, off = moved_far(case, before, wanted), labels_off(before)
    for at, (name, columns, value) in enumerate(named(before, wanted, case)):
        of, own = scale[columns], came[at]
        event = 2 if name == "covariance" else 1
        if off[at] is not None and value.ndim == off[at].ndim + event:  # or labels share it
            value = np.where(off[at].reshape(*off[at].shape, *[1] * event), old[at], value)
        if at in far:
            waits, error = far[at]
            kept = np.isclose(own, old[at], 1e-4, 0) if name == "variance" else alike(own, old[at])
            value = np.where(waits & kept, old[at], value)
        match name:
            case "mean":
                agreement.parameters(name, own, value, case.precision, of)
            case "covariance":
                # Its terms, which may cancel, are as large as two standard deviations; the data's may be 0.
                size = np.fmax(np.outer(of, of), products(diagonals(value)))
                agreement.parameters(name, own, value, case.precision, size + error)
            case "variance":
                agreement.parameters(name, own, value, case.precision, (of**2)[..., : value.shape[-1]] + error)
            case _:
                agreement.parameters(name, own, value, case.precision, 1e-2)


def alike(came, old):
    """Covariances, to a thousandth of their standard deviations."""
    return (np.abs(came - old) <= 1e-3 * products(diagonals(old))).all((-2, -1), keepdims=True)


def moved_far(case, before, wanted):
    """Of each scale, by its place: whether it waits for the next step, its mean having moved far, and its rounding.

    Squares are added up about the old mean, and the new mean's own is taken off them, in float: what is left is known
    to eps of the terms t = now + shift^2, in units of the old scale, and each is rounded some eight times on the way,
    in z, its weight, three sums and their products. A narrower direction becomes as wide as that (see numerics.md).
    """
    parts, old, found = named(before, wanted, case), oracle.parameters(before), {}
    for at, (name, _, now) in enumerate(parts):
        if name in ("variance", "covariance"):
            shift = np.nan_to_num(parts[at - 1][2] - old[at - 1])
            waits, error = (whitened if name == "covariance" else in_scales)(shift, old[at], now, case.precision)
            # A label that is off has no new scale, and no rounding of one.
            found[at] = waits, np.nan_to_num(error) / agreement.PARAMETERS[case.precision][1]
    return found


def waiting(moved, left, precision):
    """Whether a mean is more than the old scale away and the new one lost in that, from half of each limit on."""
    return np.isfinite(left) & (moved > 0.5) & ~(moved < 0.5 * KEPT[precision] * left)


def in_scales(shift, was, now, precision):
    """Of variances: in units of the old ones, which labels and columns may share."""
    own = was.ndim - 1
    moved = shift**2 / was.reshape(*was.shape[:-1], *[1] * (shift.ndim - was.ndim), was.shape[-1])
    axes = (*range(own, shift.ndim - 1), *((shift.ndim - 1,) if was.shape[-1] == 1 else ()))
    most, total = (fold(axis=axes, keepdims=True).reshape(was.shape) for fold in (moved.max, moved.sum))
    return waiting(total, now / was, precision), 8 * np.finfo(precision).eps * (now + most * was)


def whitened(shift, was, now, precision):
    """Of covariances: in the coordinates of the old ones, L L^T, where each column of terms is widened by its own."""
    d, own, L = shift.shape[-1], was.ndim - 2, np.linalg.cholesky(was)
    each = L.reshape(*L.shape[:own], *[1] * (shift.ndim - 1 - own), d, d)
    z2 = np.linalg.solve(each, shift[..., None])[..., 0] ** 2
    z2 = z2.max(tuple(range(own, z2.ndim - 1)), initial=0)
    inverse = np.linalg.inv(L)
    new = inverse @ np.nan_to_num(now) @ np.swapaxes(inverse, -1, -2)
    left = np.where(np.isfinite(now).all((-2, -1)), np.linalg.eigvalsh(new)[..., 0], np.nan)
    terms = np.diagonal(new, axis1=-2, axis2=-1) + z2
    variances = max(d, 8) * np.finfo(precision).eps * (L**2 * terms[..., None, :]).sum(-1, keepdims=True)
    waits = waiting(z2.max(-1), left, precision)
    return waits[..., None, None], 2 * products(variances)  # once for the widening, once for what it is for


def diagonals(covariance):
    """(..., d, 1)."""
    return np.diagonal(covariance, axis1=-2, axis2=-1)[..., None]


def products(variances):
    """Of standard deviations, (..., d, d)."""
    return np.sqrt(variances * np.swapaxes(variances, -1, -2))


def objective_of(case, fitted, trace, rows):
    """sum_n w_n log p(x_n, y_n) at the model that came."""
    pool, weights, labels = rows
    scores = formulas.log_joint(fitted, pool)
    picked = np.where(labels < 0, formulas.log_sum(scores), scores[np.arange(len(pool)), np.maximum(labels, 0)])
    terms = weights[weights > 0] * picked[weights > 0]
    absolute, relative = agreement.NATS[case.precision]
    allowed = absolute * weights.sum() + relative * np.abs(agreement.finite(terms)).sum()
    agreement.within("objective", trace[-1], terms.sum(), allowed)


def em_climbs(case):
    """Twelve steps, none of which lowers the objective by more than rounding."""
    amounts, given = weights_of(case)
    prior = (None, "weak")[case.plan.number % 2]
    if never_observed(case, amounts):
        return
    rows = distinct(case, amounts)
    y = None if case.plan.known == "none" else case.y
    try:
        came = dg.fit(case.model, case.x, y, weights=given, prior=prior, max_steps=12, method=dg.EM(tol=0.0))
    except ValueError as error:
        text = str(error)
        if prior is None or "collapsed" in text:
            expected = "collapsed" in text or "never observed in class" in text
        else:
            expected = False
        if not (expected or "two classes" in text or "as many rows" in text or "probability 0" in text):
            raise
        agreement.true("fit", prior is None or "collapsed" not in text, f"collapsed with a prior: {text}")
        return
    trace, total = np.asarray(came.objective, float), rows[1].sum()
    noise = 64 * np.finfo(case.precision).eps * (np.abs(trace[:-1]) + total)
    fell = trace[:-1] - trace[1:] - noise
    agreement.true("EM", (fell <= 0).all(), f"fell by {fell.max()} more than rounding: {trace[np.argmax(fell) :][:2]}")


KINDS = {"diagonal": "gaussian", "Bernoulli": "bernoulli", "categorical": "categorical", "Poisson": "poisson"}


def closed_form(case):
    """The starters that solve: naive Bayes and discriminant analysis, rows weighted as if they came more often."""
    amounts, given = weights_of(case)
    prior = (None, "weak")[case.plan.number % 2]
    if never_observed(case, amounts):
        return
    rows, k = distinct(case, amounts), max(2, case.plan.k)
    if case.plan.k < 2:
        return
    model = untaught(case, amounts)
    kind, options = case.plan.kind, {"weights": given, "prior": prior, "num_classes": k}
    names = {"full": "full", "tied": "tied", "spherical": "spherical", "diagonal": "diagonal"}
    if kind in names and (kind != "diagonal" or case.rng.random() < 0.5):
        solve = lambda: dg.discriminant_analysis(case.x, case.y, names[kind], **options)  # noqa: E731
    else:
        solve = lambda: dg.naive_bayes(case.x, case.y, KINDS.get(kind, kind), **options)  # noqa: E731
    wanted = step(model, case, amounts, rows, prior)
    came = fitted_or_refused(solve, case, model, wanted, rows, prior)
    if came is not None:
        compared_closed(case, came, model, wanted, amounts)


def untaught(case, amounts):
    """A model like that of the case in which all is possible, as a starter has it: categories to the highest seen."""
    density = case.model.as_model().density
    if case.plan.kind == "categorical":
        seen = case.x[amounts > 0].max(0).astype(int)
        possible = np.arange(seen.max() + 1) <= seen[:, None]
        density = dg.Categorical(np.where(np.broadcast_to(possible, (case.plan.k, *possible.shape)), 0, -np.inf))
    return dg.Mixture(np.zeros(case.plan.k), density)


def compared_closed(case, came, model, wanted, amounts):
    """As for a step of EM, but that a mean has nowhere to come from."""
    scale = scales(case, amounts)
    for (name, columns, value), own in zip(named(model, wanted, case), oracle.parameters(came), strict=True):
        of = scale[columns]
        sizes = {"mean": of, "covariance": np.outer(of, of), "variance": (of**2)[..., : value.shape[-1]]}
        agreement.parameters(name, own, value, case.precision, sizes.get(name, 1e-2))


def logistic_fit(case):
    """The maximum of sum_n w_n log p(y_n | x_n) - l2 / 2 |weight|^2, found by scipy in float64."""
    amounts, given = weights_of(case)
    l2 = float(case.rng.choice([0.1, 1.0, 30.0]))
    pool, weights, labels = distinct(case, amounts)
    known = labels[(weights > 0) & (labels >= 0)]
    try:
        came = dg.fit(case.model, case.x, case.y, weights=given, prior=dg.priors.Ridge(l2))
    except ValueError as error:
        few = len(set(known)) < 2
        if not (few and ("two classes" in str(error) or "positive weight" in str(error))):
            raise
        return
    if not came.converged:  # which is said, with a warning
        return
    best = logistic_maximum(case, pool, weights, labels, l2, came.model)
    total = weights[labels >= 0].sum()
    # `tol` nats for each row, and as many digits as the objective has.
    absolute, relative = agreement.NATS[case.precision]
    allowed = 2e-6 * weights.sum() + absolute + relative * abs(best) + 1e-9 * total
    agreement.within("objective of fit", came.objective[-1], best, allowed + 1e-6 * abs(best))


def features(kind, row):
    """What the scorer is linear in."""
    if kind == "indicator":
        return np.array([(row == number).sum() for number in range(7)], float)
    return logistic_oracle.features(row, kind == "quadratic")


def logistic_maximum(case, pool, weights, labels, l2, came):
    """By BFGS from 0, in the oracle's own formulas, of columns scaled to be about 1; what came, if that is higher."""
    k = case.model.num_labels
    phi = np.array([features(case.plan.kind, row) for row in pool])
    rows = 1 if k == 2 else k
    used = (labels >= 0) & (weights > 0)
    phi, w, y = phi[used], weights[used], labels[used]
    size = np.maximum(np.abs(phi).max(0), 1e-30)

    def downhill(theta):
        theta = theta.reshape(rows, -1)
        weight = theta[:, 1:] / size
        scores = theta[:, :1].T + phi @ weight.T
        scores = np.column_stack([np.zeros(len(phi)), scores]) if rows == 1 else scores
        logs = scores - formulas.log_sum(scores)[:, None]
        slope = (np.eye(k)[y] - np.exp(logs)) * w[:, None]
        slope = slope[:, -rows:]
        value = (w * logs[np.arange(len(y)), y]).sum() - l2 / 2 * (weight**2).sum()
        gradient = np.column_stack([slope.sum(0), (slope.T @ phi - l2 * weight) / size])
        return -value, -gradient.ravel()

    start = np.zeros(rows * (1 + phi.shape[1]))
    best = optimize.minimize(
        downhill,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 30},
    )
    own = np.hstack([np.asarray(leaf, float).reshape(rows, -1) for leaf in (came.bias, *vars(came.scorer).values())])
    return max(-best.fun, -downhill((own * np.append(1, size)).ravel())[0])
