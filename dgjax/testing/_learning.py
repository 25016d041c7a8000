"""Laws of learning: sufficient statistics, closed form, EM, weights, and unknown labels."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax as dg
from dgjax.data import as_sequences
from dgjax.testing._compare import close, expect, law, precision, same_tree
from dgjax.testing._data import Sample

STEPS = 5
"""Steps of EM: a fixed number, so that one compilation serves all fits of a model."""


def steps_of_em(model: Any, sample: Sample, *, weights: Any = None, prior: Any = None, max_steps: int = STEPS) -> Any:
    """A fit by exactly `max_steps` steps of EM."""
    options = {"weights": weights, "prior": prior, "lengths": sample.lengths, "max_steps": max_steps}
    return dg.fit(model, sample.x, sample.y, method=dg.EM(tol=0.0), **options)


@law
def a_step_never_loses(model: Any, sample: Sample, weights: Any = None, prior: Any = None) -> None:
    """Law: EM never lowers its objective by more than rounding, with missing cells and labels, weights and a prior."""
    objective = np.asarray(steps_of_em(model, sample, weights=weights, prior=prior).objective)
    rounding = 40 * float(jnp.finfo(precision(model)).eps) * np.abs(objective).max()
    change = np.diff(objective)
    expect(
        (change >= -rounding).all(),
        f"the objective changes by {', '.join(f'{step:.3g}' for step in change)}; rounding is {rounding:.2g}.",
    )


@law
def statistics_add_and_are_linear_in_counts(model: Any, sample: Sample) -> None:
    """Law: statistics of halves of the rows, and of each label, sum to the whole's.

    And they are linear in responsibilities: twice these are twice the statistics.
    """
    density, (x, _, lengths) = model.as_model().density, sample
    counts = jnp.exp(dg.predict_log_proba(model, x, lengths)).reshape(-1, *density.label_shape)
    rows = as_sequences(x, lengths) if density.sequential else x.reshape(-1, np.shape(x)[-1])

    @jax.jit
    def statistics(rows: Any, counts: Any) -> Any:
        return density.statistics(rows, counts)

    whole, half = statistics(rows, counts), len(counts) // 2
    halves = [statistics(rows, counts.at[part].set(0)) for part in (slice(None, half), slice(half, None))]
    same_tree("statistics of two halves, added, and of the whole", jax.tree.map(jnp.add, *halves), whole)
    doubled = jax.tree.map(lambda own: 2 * own, statistics(rows, counts / 2))
    same_tree("statistics of half of the counts, doubled, and of the counts", doubled, whole)
    labels = range(counts.shape[-1])
    by_label = [statistics(rows, jnp.zeros_like(counts).at[..., k].set(counts[..., k])) for k in labels]
    added = jax.tree.map(lambda *parts: sum(parts), *by_label)
    same_tree("statistics of each label alone, added, and of the whole", added, whole)


@law
def statistics_move_with_the_parameters(one: Any, other: Any, sample: Sample, prior: Any = None) -> None:
    """Law: statistics about one model, recentred about another, have the same maximum."""
    model, after, (x, y, lengths) = one.as_model(), other.as_model(), sample
    rows = as_sequences(x, lengths) if model.sequential else x

    @jax.jit
    def maxima(model: Any, after: Any, rows: Any) -> Any:
        _, statistics = model.joint_expectation(rows, y, jnp.ones(len(x), precision(model)))
        return model.maximum(statistics, prior), after.maximum(after.recentred(statistics, model, prior), prior)

    found, again = maxima(model, after, rows)
    same_tree(
        "maxima of statistics and of recentred ones", found, again, 1e-8 if precision(model) == "float64" else 5e-3
    )


@law
def a_weight_is_a_number_of_rows(model: Any, sample: Sample, prior: Any = None) -> None:
    """Law: a row of weight 2 counts as two rows, of weight 0 as none: both fits have one objective and one model."""
    x, y, lengths = sample
    times = np.arange(len(x)) % 3
    rows = np.repeat(np.arange(len(x)), times)
    repeated = Sample(x[rows], y[rows], None if lengths is None else lengths[rows])
    one, other = steps_of_em(model, sample, weights=times, prior=prior), steps_of_em(model, repeated, prior=prior)
    tolerance = 1e-7 if precision(model) == "float64" else 5e-3
    close("objectives of weighted and of repeated rows", one.objective, other.objective, tolerance)
    same_tree("models of weighted and of repeated rows", one.model, other.model, tolerance)


@law
def the_closed_form_is_stationary(one: Any, other: Any, sample: Sample, prior: Any = None) -> None:
    """Law: with every label known one step is the fit, from any start; in float64 the gradient there is 0."""
    x, y, lengths = sample
    fits = [steps_of_em(start, sample, prior=prior) for start in (one, other)]
    double = precision(one) == "float64"
    same_tree("fits from two starts", fits[0].model, fits[1].model, 1e-9 if double else 1e-3)
    again = dg.fit(fits[0].model, x, y, prior=prior, lengths=lengths)
    expect(again.converged and again.num_steps == 1, f"a fit from the maximum takes {again.num_steps} steps, not 1.")
    if double:
        for path, slope in jax.tree.flatten_with_path(_slopes(fits[0].model, sample, prior))[0]:
            steepest = float(np.abs(slope).max())
            expect(
                steepest < 1e-8 * len(x),
                f"the objective has a slope of {steepest:.3g} by {jax.tree_util.keystr(path)} at its maximum.",
            )


@jax.jit
def _slopes(model, sample, prior):
    """Gradient of the objective, sum_n log p(x_n, y_n) + log prior, by the parameters."""
    x, y, lengths = sample
    return jax.grad(lambda own: dg.log_joint(own, x, y, lengths).sum() + own.log_prior(prior))(model)


@law
def an_unknown_label_is_every_label_by_its_posterior(model: Any, sample: Sample, prior: Any = None) -> None:
    """Law: an EM step on unlabelled rows equals one on rows with every label, weighted by p(y | x); not of paths."""
    k, (x, _, lengths) = model.as_model().num_labels, sample
    posterior = np.exp(np.asarray(dg.predict_log_proba(model, x, lengths)))
    weights = np.where(posterior < 1e-20, 0, posterior).reshape(-1)
    repeated = None if lengths is None else jnp.repeat(lengths, k)
    every = Sample(jnp.repeat(x, k, 0), jnp.tile(jnp.arange(k), len(x)), repeated)
    soft = steps_of_em(model, sample._replace(y=jnp.full(len(x), -1)), prior=prior, max_steps=1).model
    hard = steps_of_em(model, every, weights=weights, prior=prior, max_steps=1).model
    tolerance = 1e-7 if precision(model) == "float64" else 5e-3
    same_tree("a step on unknown labels, and one on all labels by their posterior", soft, hard, tolerance)
