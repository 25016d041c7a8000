"""Summaries of columns and of labels on a CPU, like their references; numba is imported when one is traced."""

import jax.numpy as jnp

from dgjax_kernels import rows
from dgjax_kernels._op import like
from dgjax_kernels.cpu.calls import called, num_pieces


@like(rows.column_summary)
def column_summary(x):
    from dgjax_kernels.cpu.summary import columns

    n, d = x.shape
    return columns.of_pieces(called(columns.handler, [(num_pieces(n, d), columns.NUM_RESULTS, d)], x)[0], n, jnp)


@like(rows.labelled_moments)
def labelled_moments(x, y, weights, centre, log_scale):
    from dgjax_kernels.cpu.summary.labelled import handler

    pieces, (k, d) = num_pieces(len(x), centre.size), centre.shape
    shapes = (pieces, k), (pieces, 3, k, d)
    counts, sums = called(handler, shapes, x, y.astype(jnp.int32), weights, centre, log_scale)
    return counts.sum(0), tuple(sums.sum(0))
