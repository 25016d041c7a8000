"""Dispatch table of the compiled kernels under dgjax: arrays in, arrays out.

One row for each operation, one column for each platform; the reference in `jax.numpy` is the definition and always
there. Models call the names below and never ask which implementation runs: `Op` chooses when a program is lowered.

    model ─▶ kernels.diagonal(x, mean, log_scale) ─▶ Op ──lowered for a CPU, and worth it──▶ cpu.independent.diagonal
                                                        ──otherwise──▶ rows.diagonal, the reference

Nothing here knows of models: arguments are rows, labels, weights and parameters, results are sums of them.
"""

from dgjax_kernels import (
    attention as _attention,
    chain as _chain,
    chain_parallel as _parallel,
    counts as _counts,
    cpu as _cpu,
    draws as _draws,
    elbo as _elbo,
    factor as _factor,
    gaussian as _gaussian,
    gpu as _gpu,
    logistic as _logistic,
    processes as processes,
    rows as _rows,
    shards as shards,
    sparse_factor as _sparse_factor,
    triangular as _triangular,
)
from dgjax_kernels._fork import check_not_forked as check_not_forked
from dgjax_kernels._op import (
    Op as Op,
    When as When,
    compiled as compiled,
    compiled_once as compiled_once,
    compiled_steps as compiled_steps,
    full_precision as full_precision,
    older_emitters as older_emitters,
)
from dgjax_kernels.blocks import (
    OF_MINIBATCHES as OF_MINIBATCHES,
    OF_SAMPLERS as OF_SAMPLERS,
    map_rows as map_rows,
    pairwise_sum as pairwise_sum,
    repeats as repeats,
    sum_rows as sum_rows,
)
from dgjax_kernels.counts import (
    binomial_draws as binomial_draws,
    is_amount as is_amount,
    is_count as is_count,
    log_binomial as log_binomial,
    log_gamma_poisson as log_gamma_poisson,
    log_negative_binomial as log_negative_binomial,
    log_poisson as log_poisson,
    multinomial_draws as multinomial_draws,
    observed_share as observed_share,
    poisson_draws as poisson_draws,
)
from dgjax_kernels.cpu import independent as _columns, worth as _worth
from dgjax_kernels.cpu.passes import Pass as Pass
from dgjax_kernels.cpu.summary.numpy_rows import (
    as_readable as as_readable,
    copy_and_summarise as copy_and_summarise,
    linear_labels as linear_labels,
    linear_posterior as linear_posterior,
    summarise_by_label as summarise_by_label,
)
from dgjax_kernels.cpu.worth import many_cells as many_cells
from dgjax_kernels.factor import factor_row_cost as factor_row_cost
from dgjax_kernels.gpu import gpu_kernels as gpu_kernels
from dgjax_kernels.rows import (
    LOG_TWO_PI as LOG_TWO_PI,
    ColumnSummary as ColumnSummary,
    LabelledSummary as LabelledSummary,
    in_units as in_units,
    kept as kept,
    logsumexp as logsumexp,
    unit_of as unit_of,
)
from dgjax_kernels.sparse_factor import cell_sums as cell_sums
from dgjax_kernels.zero_copy import (
    ALIGNMENT as ALIGNMENT,
    ZeroCopyRows as ZeroCopyRows,
    can_share as can_share,
    zero_copy_rows as zero_copy_rows,
)

# fmt: off
#                        definition                      cpu   cuda   tpu
column_summary         = Op(_rows.column_summary, _worth.large, cpu=_cpu.summary.column_summary)
log_linear             = Op(_rows.log_linear)
weighted_sums          = Op(_rows.weighted_sums)
diagonal               = Op(_rows.diagonal, _worth.worthwhile, cpu=_columns.diagonal)
diagonal_statistics    = Op(_rows.diagonal_statistics, _worth.worthwhile, cpu=_columns.diagonal_statistics)
labelled_moments       = Op(_rows.labelled_moments, _worth.worthwhile, cpu=_cpu.summary.labelled_moments)
diagonal_expectation   = Op(_rows.diagonal_expectation, _worth.worthwhile, cpu=_columns.diagonal_expectation)
indicator_scores       = Op(_rows.indicator_scores)
table                  = Op(_rows.table, _worth.worthwhile, cpu=_columns.table)
table_statistics       = Op(_rows.table_statistics, _worth.worthwhile, cpu=_columns.table_statistics)
table_expectation      = Op(_rows.table_expectation, _worth.worthwhile, cpu=_columns.table_expectation)
complete_table         = Op(_rows.complete_table, _worth.worthwhile, cpu=_columns.complete_table)
complete_table_expectation = Op(_rows.complete_table_expectation, _worth.worthwhile,
                            cpu=_columns.complete_table_expectation)
poisson                = Op(_counts.poisson, _worth.worthwhile, cpu=_columns.poisson)
poisson_statistics     = Op(_counts.poisson_statistics, _worth.worthwhile, cpu=_columns.poisson_statistics)
poisson_expectation    = Op(_counts.poisson_expectation, _worth.worthwhile, cpu=_columns.poisson_expectation)
multinomial            = Op(_counts.multinomial, _worth.worthwhile, cpu=_columns.multinomial)
multinomial_statistics = Op(_counts.multinomial_statistics, _worth.worthwhile, cpu=_columns.multinomial_statistics)
multinomial_expectation = Op(_counts.multinomial_expectation, _worth.worthwhile, cpu=_columns.multinomial_expectation)
categorical            = Op(_rows.categorical)
partition              = Op(_rows.partition)
joint_partition        = Op(_rows.joint_partition)
gaussian_conditional   = Op(_gaussian.conditional, _worth.worthwhile_for_conditional, cpu=_cpu.gaussian.conditional)
gaussian_draws         = Op(_draws.full, _worth.many_draws, cpu=_cpu.gaussian.draws)
diagonal_draws         = Op(_draws.diagonal, _worth.many_draws, cpu=_cpu.gaussian.diagonal_draws)
gaussian_statistics    = Op(_gaussian.statistics, _worth.worthwhile_for_full, cpu=_cpu.gaussian.statistics)
gaussian               = Op(_gaussian.scores, _worth.worthwhile_for_full,
                            _gaussian.backward(_gaussian.scores, gaussian_statistics), cpu=_cpu.gaussian.scores)
gaussian_expectation   = Op(_gaussian.expectation, _worth.worthwhile_for_full, cpu=_cpu.gaussian.expectation)
complete_gaussian_statistics = Op(_gaussian.complete_statistics, _worth.worthwhile_for_complete,
                            cpu=_cpu.gaussian.statistics)
complete_gaussian      = Op(_gaussian.complete_scores, _worth.worthwhile_for_complete,
                            _gaussian.backward(_gaussian.complete_scores, complete_gaussian_statistics),
                            cpu=_cpu.gaussian.scores)
complete_gaussian_expectation = Op(_gaussian.complete_expectation, _worth.worthwhile_for_complete,
                            cpu=_cpu.gaussian.expectation)
factor_posterior       = Op(_factor.posterior)
factor_scores          = Op(_factor.scores)
factor_statistics      = Op(_factor.statistics)
factor_expectation     = Op(_factor.expectation)
sparse_factor_posterior = Op(_sparse_factor.posterior)
sparse_factor_scores   = Op(_sparse_factor.scores, _worth.worthwhile_for_cells, cpu=_cpu.gaussian.cells_scores)
sparse_factor_statistics = Op(_sparse_factor.statistics, _worth.worthwhile_for_cells,
                            cpu=_cpu.gaussian.cells_statistics)
sparse_factor_expectation = Op(_sparse_factor.expectation, _worth.worthwhile_for_cells,
                            cpu=_cpu.gaussian.cells_expectation)
logistic_gradient      = Op(_logistic.gradient, _worth.worthwhile, cpu=_cpu.regression.gradient)
logistic_gradient_zero_copy = Op(_logistic.gradient_zero_copy, _worth.supported_zero_copy,
                            cpu=_cpu.regression.gradient_zero_copy)
logistic_curvature     = Op(_logistic.curvature, _worth.worthwhile, cpu=_cpu.regression.curvature)
chain_expectation      = Op(_chain.expectation, _worth.many_steps, cpu=_cpu.chain.expectation,
                            cuda=When(_gpu.chains, _gpu.chain_expectation),
                            tpu=When(_parallel.long, _parallel.expectation))
chain_log_partition    = Op(_chain.log_partition, _worth.many_steps, cpu=_cpu.chain.log_partition,
                            cuda=When(_gpu.chains, _gpu.chain_partition),
                            tpu=When(_parallel.long, _parallel.log_partition))
chain_log_marginals    = Op(_chain.log_marginals, _parallel.long, cpu=When(_worth.many_steps, _cpu.chain.log_marginals),
                            cuda=_parallel.log_marginals, tpu=_parallel.log_marginals)
chain_mode             = Op(_chain.mode, _worth.many_steps_of_few_states, cpu=_cpu.chain.mode)
chain_sample           = Op(_chain.sample, _worth.many_steps_to_draw, cpu=_cpu.chain.sample)
chain_entropy          = Op(_chain.entropy, _worth.many_steps, cpu=_cpu.chain.entropy)
chain_partition        = _chain.with_posterior(chain_log_partition, chain_expectation)
elbo                   = Op(_elbo.elbo)
importance_log_weights = Op(_elbo.importance_log_weights)
importance_bound       = Op(_elbo.importance_bound)
importance_mean        = Op(_elbo.importance_mean)
bernoulli_cells        = Op(_elbo.bernoulli_cells)
gaussian_cells         = Op(_elbo.gaussian_cells)
gaussian_mixture_cells = Op(_elbo.gaussian_mixture_cells)
categorical_cells      = Op(_elbo.categorical_cells)
poisson_cells          = Op(_elbo.poisson_cells)
attention_gradient     = Op(_attention.gradient, _worth.worthwhile_for_attention, cpu=_cpu.attention.gradient)
attention              = Op(_attention.attention, _worth.worthwhile_for_attention,
                            _attention.backward(attention_gradient), cpu=_cpu.attention.attention)
attention_of_one       = Op(_attention.attention_of_one)
solve                  = Op(_triangular.solve)
solve_transposed       = Op(_triangular.solve_transposed)
inverse                = Op(_triangular.inverse)
cholesky               = Op(_triangular.cholesky)
triangularized         = Op(_triangular.triangularized)
whitener               = Op(_triangular.whitener, _worth.spinning, cpu=_cpu.gaussian.whitener)
# fmt: on
