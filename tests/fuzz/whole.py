"""Checks of what a whole model is asked: its twin, its margins, its size, files."""

import pathlib
import tempfile
from types import SimpleNamespace

import jax
import numpy as np
import oracle

import dgjax as dg
from fuzz import agreement, data, formulas, scoring


def marginal(case):
    """Of some columns in any order: the model with NaN in the others."""
    rng = np.random.default_rng(case.plan.number)
    d = case.pool.shape[1]
    columns = rng.permutation(d)[: rng.integers(1, d + 1)]
    hidden = np.full_like(case.pool, np.nan)
    hidden[:, columns] = case.pool[:, columns]
    wanted = formulas.log_sum(formulas.log_joint(case.model.as_model(), hidden))[case.index]
    came = dg.log_prob(dg.marginal(case.model, columns), np.ascontiguousarray(case.x[:, columns]))
    agreement.nats("log_prob of marginal", came, wanted, case.precision)


def discriminative(case):
    twin = dg.discriminative(case.model)
    came = np.asarray(dg.predict_log_proba(twin, case.x))
    scoring.conditional(case, came, scoring.log_posterior(case)[case.index])


def marginalize(case):
    """Of the exact twin: p(y | x_observed) once more, by the tower property, up to the error of its draws."""
    num_samples = 256
    twin = dg.discriminative(case.model)
    came = np.asarray(dg.predict_log_proba(dg.marginalize(twin, case.model, num_samples, seed=3), case.x))
    at = scoring.possible(case)
    whole = at & ~np.isnan(case.x).any(1)
    wanted = scoring.log_posterior(case)[case.index]
    size = scoring.size_of(case.joint)[case.index][whole, None]
    agreement.nats("complete rows", came[whole], wanted[whole], case.precision, size)
    allowed = agreement.ERRORS * 0.5 / np.sqrt(num_samples)
    agreement.within("probabilities", np.exp(came[at]), np.exp(wanted[at]), allowed)


def num_parameters(case):
    model = case.model.as_model()
    wanted = free(model)
    agreement.true(
        "num_parameters", dg.num_parameters(case.model) == wanted, f"{dg.num_parameters(case.model)}, {wanted}"
    )


def free(density):
    """Free parameters, counted by hand: none are components that are off, and categories that no label has."""
    match oracle.kind(density):
        case "Mixture":
            possible = oracle.numbers(density.log_weights) > -np.inf
            return int((possible.sum(-1) - 1).sum()) + free(density.density)
        case "Columns":
            return sum(free(block) for block in density.blocks)
        case "Gaussian":
            *labels, d, _ = density.scale_tril.shape
            return density.mean.size + int(np.prod(labels)) * d * (d + 1) // 2
        case "DiagonalGaussian":
            return density.mean.size + density.log_scale.size
        case "Categorical":
            logits = oracle.numbers(density.logits)
            labels = int(np.prod(logits.shape[:-2]))
            possible = (logits > -np.inf).reshape(labels, *logits.shape[-2:]).any(0)
            return labels * int((possible.sum(-1) - 1).sum())
        case "Multinomial":
            return density.logits.size // density.logits.shape[-1] * (density.logits.shape[-1] - 1)
    return next(leaf.size for leaf in jax.tree.leaves(density))


def criteria(case):
    """bic and aic of weighted rows, infinite where one that counts is impossible."""
    weights = data.weights(case.rng, len(case.x)).astype(case.precision)
    values, p, amounts = case.evidence[case.index], dg.num_parameters(case.model), weights.astype(float)
    counts = amounts > 0
    if not counts.any():
        return
    terms = amounts[counts] * values[counts]
    absolute, relative = agreement.NATS[case.precision]
    allowed = 2 * (absolute * amounts.sum() + relative * np.abs(agreement.finite(terms)).sum())
    given = None if (weights == 1).all() else weights
    shares = counts.sum() > 1 and amounts.sum() < 1.001
    for name, verb, each in (("bic", dg.bic, np.log(amounts.sum())), ("aic", dg.aic, 2)):
        if shares and verb is dg.bic:  # the logarithm of less than a row rewards parameters, and is refused
            agreement.refused(name, lambda: dg.bic(case.model, case.x, weights=given), "must add to more than 1")
            continue
        agreement.within(name, verb(case.model, case.x, weights=given), -2 * terms.sum() + p * each, allowed)


def anomaly_threshold(case):
    """The largest threshold below which no more than a share of the rows lies, which come as often as they weigh."""
    share, times = float(case.rng.choice([0.01, 0.25, 0.5, 0.99])), case.rng.integers(0, 4, len(case.x))
    if not times.any() or case.rng.random() < 0.5:
        times[:] = 1
    values = np.sort(np.repeat(case.evidence[case.index], times))
    wanted = values[min(int(np.floor(share * len(values) + 1e-9)), len(values) - 1)]
    came = dg.anomaly_threshold(case.model, case.x, share, weights=None if (times == 1).all() else times)
    agreement.nats("anomaly_threshold", came, wanted, case.precision, abs(wanted))


def save_and_load(case):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.safetensors"
        dg.save(path, case.model)
        loaded = dg.load(path)
    agreement.true(
        "type", jax.tree.structure(loaded) == jax.tree.structure(case.model), str(jax.tree.structure(loaded))
    )
    for came, wanted in zip(jax.tree.leaves(loaded), jax.tree.leaves(case.model), strict=True):
        agreement.same("parameters", came, wanted)


def weak_prior(case):
    """Of weighted rows, field by field."""
    strength, model = float(case.rng.choice([0.5, 1.0, 7.0])), case.model.as_model()
    weights = data.weights(case.rng, len(case.x)).astype(case.precision)
    rows, amounts = case.x.astype(float), weights.astype(float)
    if (np.isnan(rows) | (amounts == 0)[:, None]).all(0).any():
        return
    came = dg.weak_prior(model, case.x, strength, weights=None if (weights == 1).all() else weights)
    wanted = formulas.weak_prior(model, rows, amounts, strength)
    scale = np.sqrt(formulas.column_moments(rows, amounts)[1])
    equal_priors("weak_prior", came, wanted, case.precision, scale.max())


def equal_priors(name, came, wanted, precision, scale):
    """Field by field; the scale of a mean is that of its columns, of all else itself."""
    if not isinstance(wanted, SimpleNamespace):
        value = np.broadcast_to(wanted, np.shape(came))
        return agreement.parameters(name, came, value, precision, scale if name.endswith(".mean") else 0)
    for field, value in vars(wanted).items():
        parts = enumerate(value) if isinstance(value, list) else [(None, value)]
        for i, part in parts:
            own = getattr(came, field) if i is None else getattr(came, field)[i]
            equal_priors(f"{name}.{field}", own, part, precision, scale)
    return None
