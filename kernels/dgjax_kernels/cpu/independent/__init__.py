"""Independent columns on a CPU, with the signatures of their references; numba is imported when one is traced.

    diagonal, diagonal_...      ─▶ `diagonal.handler`
    table_..., poisson_..., multinomial_...  ─▶ `discrete.handler`, told which family

A handler gives scores, or statistics at counts, or both in a whole E-step (`calls.one_pass`).
"""

from typing import Any

import jax.numpy as jnp

from dgjax_kernels import counts as of_counts, rows
from dgjax_kernels._op import like
from dgjax_kernels.cpu.calls import one_pass, unlabelled
from dgjax_kernels.gaussian import none_undefined


def _normal(x, y, weights, log_weights, mean, log_scale, counts=None, scored=False) -> Any:
    from dgjax_kernels.cpu.independent.diagonal import handler

    labels, counts = log_weights[None], None if counts is None else counts[:, None]
    sums = (3, *mean.shape), log_weights.shape
    result = one_pass(handler, x, y, weights, labels, (mean, log_scale), counts, scored, *sums)
    if scored:
        return result[:, 0]
    value, (moments, count) = result
    return value, count, (moments[0], moments[1], moments[2, :, : log_scale.shape[1]])


@like(rows.diagonal)
def diagonal(x, mean, log_scale):
    known = jnp.isfinite(mean).all(-1) & jnp.isfinite(log_scale).all(-1)
    return none_undefined(_normal(x, *unlabelled(x, len(mean)), mean, log_scale, scored=True), known)


@like(rows.diagonal_statistics)
def diagonal_statistics(x, c, mean, log_scale):
    return _normal(x, *unlabelled(x, len(mean)), mean, log_scale, c)[2]


@like(rows.diagonal_expectation)
def diagonal_expectation(x, y, weights, log_weights, mean, log_scale):
    return _normal(x, y, weights, log_weights, mean, log_scale)


def _discrete(family, slots, x, y, weights, log_weights, log_p, counts=None, scored=False, complete=False) -> Any:
    """One pass for parameters (k, d, v) of a family; its sums have so many slots for each label and column."""
    from dgjax_kernels.cpu.independent.discrete import FAMILIES, handler

    named = jnp.array([FAMILIES.index(family), complete], jnp.int32)
    counts, (k, d, _) = None if counts is None else counts[:, None], log_p.shape
    sums = (k,), (k, d, slots)
    result = one_pass(handler, x, y, weights, log_weights[None], (log_p,), counts, scored, *sums, more=(named,))
    if scored:
        return result[:, 0]
    value, (count, total) = result
    return value, count, total


def _of_family(family, references, slots, deep=lambda log_p: log_p[..., None], flat=lambda sums: sums, complete=False):
    """Scores, statistics and E-step of a family of discrete columns, with the signatures of the three `references`.

    The handler takes parameters with three axes and gives sums with three: `deep` adds the third, `flat` takes it away.
    `slots(parameters)` is the number of sums for each label and column; `complete`: no cell is missing or outside its
    support.
    """
    of_scores, of_statistics, of_expectation = references

    @like(of_scores)
    def scores(x, parameters):
        return _discrete(
            family, 0, x, *unlabelled(x, len(parameters)), deep(parameters), scored=True, complete=complete
        )

    @like(of_statistics)
    def statistics(x, c, parameters):
        unknown = unlabelled(x, len(parameters))
        return flat(_discrete(family, slots(parameters), x, *unknown, deep(parameters), c)[2])

    @like(of_expectation)
    def expectation(x, y, weights, log_weights, parameters):
        given = x, y, weights, log_weights, deep(parameters)
        value, count, sums = _discrete(family, slots(parameters), *given, complete=complete)
        return value, count, flat(sums)

    return scores, statistics, expectation


table, table_statistics, table_expectation = _of_family(
    "table",
    (rows.table, rows.table_statistics, rows.table_expectation),
    slots=lambda log_p: log_p.shape[2],
    deep=lambda log_p: log_p,
)
complete_table, _, complete_table_expectation = _of_family(
    "table",
    (rows.complete_table, rows.table_statistics, rows.complete_table_expectation),
    slots=lambda log_p: log_p.shape[2],
    deep=lambda log_p: log_p,
    complete=True,
)
poisson, poisson_statistics, poisson_expectation = _of_family(
    "poisson",
    (of_counts.poisson, of_counts.poisson_statistics, of_counts.poisson_expectation),
    slots=lambda log_rate: 2,
)
multinomial, multinomial_statistics, multinomial_expectation = _of_family(
    "multinomial",
    (of_counts.multinomial, of_counts.multinomial_statistics, of_counts.multinomial_expectation),
    slots=lambda log_p: 1,
    flat=lambda sums: sums[..., 0],
)
