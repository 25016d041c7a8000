"""Which laws only `make test-all` runs, decided here and nowhere else but by `pytest.mark.slow` on a law's own cases.

Compile time is the budget of `make test`, so it runs each law in float32, on a model or two. What is below took five
seconds or more on a quiet core, and a case like it stays, or the code that it is of is under another law that stays.
"""

import fnmatch

PATTERNS = (
    "test_advice.py::*works[[]a forbidden move]",
    "test_arrays.py::test_options_are_numbers_of_any_kind[[]int64]",
    "test_chain.py::test_the_score_of_a_known_path_is_a_sum_of_its_steps[[]structural zeros]",
    "test_chain.py::test_second_derivatives_are_those_of_finite_differences[[]structural zeros]",
    "test_counted.py::test_weights_are_repetition_for_starters[[]columns-weak0]",
    "test_cpu.py::test_derivatives_are_the_references[[]gaussian]*",
    "test_cpu_chain.py::test_sums_over_paths_are_the_references[[]float32-(8, 1, 1)-plain]*",
    "test_cpu_discrete.py::test_logistic_curvature_is_the_hessian[[]float32-1-7]*",
    "test_indicators.py::test_answers_are_those_of_counts[[]chain]*",
    "test_kernels.py::test_derivatives_of_triangular_factors",
    "test_learning.py::test_a_step_never_loses[[]float32-one Gaussian]*",
    "test_learning.py::test_a_step_never_loses[[]float32-columns]*",
    "test_learning.py::test_rows_of_weight_zero_do_not_enter_a_weak_prior",
    "test_learning.py::test_impossible_rows_of_weight_zero_are_no_rows*blend*",
    "test_learning_fast.py::test_labels_that_some_values_rule_out",
    "test_learning_fast.py::test_a_generative_model_has_one_objective_by_any_method*",
    "test_lowering.py::test_verbs_of_generative_models[[]full]*",
    "test_numerics.py::test_fit_and_density[[]*-tied-0.0]*",
    "test_numerics.py::test_fit_and_density[[]*-full-0.3]*",
    "test_numpyro.py::test_a_distribution_follows_the_pattern[[]GaussianMixture]*",
    "test_oracle.py::test_logistic_regression[[]3-quadratic-*",
    "test_oracle.py::test_one_step_of_em_with_a_prior[[]categorical]*",
    "test_rank.py::test_dependent_columns_are_named_and_the_advice_works[[]*-percentages]",
    "test_sequences.py::test_a_blend_climbs_its_own_objective*",
    "test_sequences.py::test_a_forecast_is_that_of_steps_without_rows[[]gaussian]*",
    "test_sequences.py::test_verbs_run_inside_jit_and_vmap[[]gaussian]*",
    "test_starts.py::test_tight_clusters_far_apart_start_with_their_own_covariances[[]diagonal]*",
    "test_starts.py::test_with_a_weak_prior_every_start_leads_to_a_fit[[]full]*",
    "test_stochastic.py::test_a_step_and_the_mean_step_of_an_epoch_are_those_of_the_gradient[[]chain-5]*",
    "test_units.py::test_a_cell_far_out_leaves_its_column_the_maximum[[]float32-method1]",
    "test_units.py::test_a_start_that_is_worse_than_no_weights_is_not_where_a_fit_ends[[]scorer1]",
    "test_units.py::test_labels_that_other_rows_speak_against_are_told",
    "test_units.py::test_quadratic_features_blends_and_distributions_are_learnt_in_any_units*",
    "test_units.py::test_scorers_move_with_their_rows",
    "test_units.py::test_what_all_classes_start_with_in_common_neither_stays_nor_grows[[]0.0-*",
    "test_units.py::test_what_all_classes_start_with_in_common_neither_stays_nor_grows[[]0.1-method1]",
)
"""Names as pytest gives them, `*` being anything and `[[]` a bracket."""


def is_slow(item) -> bool:
    """Whether a test is named above, or is the float64 variant of one that float32 has too."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    twice = "float64" in map(str, params.values())
    name = f"{item.path.name}::{item.name}"
    return twice or any(fnmatch.fnmatchcase(name, pattern) for pattern in PATTERNS)
