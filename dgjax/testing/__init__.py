"""The laws of densities, scorers, models and label spaces, as functions that raise AssertionError where one fails.

One line checks a density of your own, in any package's tests:

>>> from dgjax.testing import check_density
>>> check_density(lambda rng: Waiting(rng.normal(size=(2, 3))))

They need nothing but what dgjax itself needs. `import dgjax` does not import this.
"""

from dgjax.testing._check import (
    check_density as check_density,
    check_model as check_model,
    check_scorer as check_scorer,
    check_structure as check_structure,
)
from dgjax.testing._computation import (
    a_row_does_not_depend_on_the_rows_beside_it as a_row_does_not_depend_on_the_rows_beside_it,
    counts_are_gradients as counts_are_gradients,
    float32_is_float64_to_the_contract as float32_is_float64_to_the_contract,
    gradient_is_a_model_and_right as gradient_is_a_model_and_right,
    jit_and_vmap_change_nothing as jit_and_vmap_change_nothing,
    own_samples_have_no_slope as own_samples_have_no_slope,
    own_samples_have_the_predicted_labels as own_samples_have_the_predicted_labels,
    saved_and_loaded_to_the_bit as saved_and_loaded_to_the_bit,
)
from dgjax.testing._data import Sample as Sample, random_rows as random_rows, random_sample as random_sample
from dgjax.testing._learning import (
    a_step_never_loses as a_step_never_loses,
    a_weight_is_a_number_of_rows as a_weight_is_a_number_of_rows,
    an_unknown_label_is_every_label_by_its_posterior as an_unknown_label_is_every_label_by_its_posterior,
    statistics_add_and_are_linear_in_counts as statistics_add_and_are_linear_in_counts,
    statistics_move_with_the_parameters as statistics_move_with_the_parameters,
    the_closed_form_is_stationary as the_closed_form_is_stationary,
)
from dgjax.testing._probability import (
    conditional_is_joint_less_evidence as conditional_is_joint_less_evidence,
    evidence_is_the_sum_over_labels as evidence_is_the_sum_over_labels,
    filling_in_keeps_what_was_observed as filling_in_keeps_what_was_observed,
    marginal_is_missing_elsewhere as marginal_is_missing_elsewhere,
    posterior_is_the_share_of_each_label as posterior_is_the_share_of_each_label,
    probabilities_add_to_one as probabilities_add_to_one,
    twin_has_the_same_gradient as twin_has_the_same_gradient,
    twin_has_the_same_posterior as twin_has_the_same_posterior,
)
