"""Checks of every law that a density, a scorer, a model or a label space must obey."""

import dataclasses
import warnings
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax as dg
from dgjax._pytree import DATACLASSES
from dgjax.testing import _computation, _learning, _probability, _structures
from dgjax.testing._compare import expect, in_precision, law
from dgjax.testing._data import Sample, is_generative, random_sample, takes_missing

Make = Callable[[np.random.Generator], Any]


def check_density(make: Make, *, learn: bool = True, closed_form: bool = True, num_draws: int = 100) -> None:
    """Checks the laws of a density: scores, missing cells, draws, margins, the twin, gradients, statistics and fits.

    `make(rng)` gives a density of random parameters, with labels (k,) or (1,), from a `numpy.random.Generator`. Leave
    out the laws of fits by `learn=False`; `closed_form=False` is for densities with something hidden in each label,
    such as mixtures. Draws are checked on `num_draws` batches of 12 rows. It takes 5 to 30 seconds.

    Raises AssertionError, which begins with the law that fails and says by how much.
    """
    labels_fit_the_density(make(np.random.default_rng(0)))

    def model(rng: np.random.Generator) -> Any:
        density = make(rng)
        return density if density.label_shape == (1,) else dg.Mixture(rng.normal(0, 0.5, density.label_shape), density)

    check_model(model, learn=learn, closed_form=closed_form, num_draws=num_draws)


def check_scorer(make: Make, *, fixed: Collection[str] = ()) -> None:
    """Checks the laws of a scorer: of the p(y | x) proportional to exp(bias_y + s(x, y)), and of its gradients.

    `make(rng)` gives a scorer of random parameters, with labels (k,), from a `numpy.random.Generator`. Rows are drawn
    within its supports. Fields named in `fixed` are never trained: no gradient is asked of them.

    Raises AssertionError, which begins with the law that fails and says by how much.
    """
    penalty_is_a_finite_number(make(np.random.default_rng(0)))

    def model(rng: np.random.Generator) -> Any:
        scorer = make(rng)
        return dg.Logistic(rng.normal(0, 0.5, scorer.label_shape), scorer)

    check_model(model, fixed=fixed)


def check_model(
    make: Make, *, learn: bool = True, closed_form: bool = True, num_draws: int = 100, fixed: Collection[str] = ()
) -> None:
    """Checks the laws of a model, generative or discriminative, of rows or of sequences.

    `make(rng)` gives a model of random parameters from a `numpy.random.Generator`. Of generative models only:
    `learn=False` leaves out the laws of fits; `closed_form=False` is for models with something hidden besides labels
    and cells; draws are checked on `num_draws` batches. Fields named in `fixed` are never trained: no gradient is asked
    of them.

    Raises AssertionError, which begins with the law that fails and says by how much.
    """
    one, other = _two(make)
    sample = random_sample(one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a fit of 12 rows may do worse than was expected of it
        if is_generative(one):
            _check_generative(one, other, sample, num_draws, fixed)
            if learn:
                _check_learning(make, one, other, sample, closed_form)
        else:
            _check_discriminative(one, other, sample, fixed)
        if DATACLASSES.get(type(one).__name__) is type(one):
            _computation.saved_and_loaded_to_the_bit(one)


def check_structure(make: Make) -> None:
    """Checks the laws of a label space, a `Structure`: each answer against a sum over every label that there is.

    `make(rng)` gives a structure of random scores from a `numpy.random.Generator`, small enough to go through its
    labels one by one: 4,096 at most for each row.

    Raises AssertionError, which begins with the law that fails and says by how much.
    """
    structure = in_precision(_on_device(make(np.random.default_rng(0))), "float32")
    _structures.partition_is_the_sum_over_labels(structure)
    _structures.marginals_are_sums_over_labels(structure)
    _structures.mode_has_the_highest_score(structure)
    _structures.score_is_that_of_a_known_label(structure)
    _structures.clamped_sums_what_a_label_allows(structure)
    _structures.given_keeps_the_labels_that_agree(structure)
    _structures.soft_counts_are_hard_counts_by_their_posterior(structure)
    _structures.gradient_of_the_partition_is_right(structure)
    _structures.samples_have_the_marginals(structure)
    _structures.has_density_tells_nan_and_infinity(structure)
    _structures.jit_changes_nothing(structure)


def _two(make: Make, dtype: str = "float32") -> list[Any]:
    return [in_precision(_on_device(make(np.random.default_rng(seed))), dtype) for seed in (0, 1)]


def _on_device(tree: Any) -> Any:
    return jax.tree.map(jnp.asarray, tree)


def _check_generative(one: Any, other: Any, sample: Sample, num_draws: int, fixed: Collection[str]) -> None:
    some = sample.some_missing() if takes_missing(one) else sample
    _probability.evidence_is_the_sum_over_labels(one, some)
    _probability.conditional_is_joint_less_evidence(one, some.some_unknown())
    _probability.posterior_is_the_share_of_each_label(one, some)
    _probability.probabilities_add_to_one(one)
    if takes_missing(one):
        _probability.marginal_is_missing_elsewhere(one, some)
        _probability.filling_in_keeps_what_was_observed(one, some)
    if one.as_model().num_labels > 1:
        _probability.twin_has_the_same_posterior(one, sample)
        _probability.twin_has_the_same_gradient(one, sample)
    _computation.a_row_does_not_depend_on_the_rows_beside_it(one, some)
    _computation.jit_and_vmap_change_nothing(one, other, some)
    _in_float64(_computation.gradient_is_a_model_and_right, one, some, fixed)
    _computation.counts_are_gradients(one, some)
    _computation.float32_is_float64_to_the_contract(one, some)
    _computation.own_samples_have_the_predicted_labels(one, num_draws)
    _computation.own_samples_have_no_slope(one, num_draws)


def _check_discriminative(one: Any, other: Any, sample: Sample, fixed: Collection[str]) -> None:
    _probability.posterior_is_the_share_of_each_label(one, sample)
    _computation.a_row_does_not_depend_on_the_rows_beside_it(one, sample)
    _computation.jit_and_vmap_change_nothing(one, other, sample)
    _in_float64(_computation.gradient_is_a_model_and_right, one, sample, fixed)
    _computation.counts_are_gradients(one, sample)
    _computation.float32_is_float64_to_the_contract(one, sample)


def _in_float64(check: Callable[..., None], model: Any, sample: Sample, fixed: Collection[str]) -> None:
    with jax.enable_x64(True):
        check(*in_precision((model, sample), "float64"), fixed)


def _check_learning(make: Make, one: Any, other: Any, sample: Sample, closed_form: bool) -> None:
    prior = dg.weak_prior(one, sample.x, lengths=sample.lengths)
    some = learnable(one, sample)
    _learning.statistics_add_and_are_linear_in_counts(one, sample.some_missing())
    _learning.statistics_move_with_the_parameters(one, other, sample.some_missing())
    _learning.a_step_never_loses(other, some, np.arange(len(sample.x)) % 3 + 0.5, prior)
    _learning.a_weight_is_a_number_of_rows(other, some, prior)
    if np.ndim(sample.y) == 2:
        return
    _learning.an_unknown_label_is_every_label_by_its_posterior(other, sample, prior)
    if closed_form:
        with jax.enable_x64(True):
            starts = _two(make, "float64")
            rows = in_precision(sample, "float64")._replace(y=jnp.arange(len(sample.x)) % one.as_model().num_labels)
            _learning.the_closed_form_is_stationary(*starts, rows, dg.weak_prior(starts[0], rows.x))


def learnable(model: Any, sample: Sample) -> Sample:
    """Sample with random missing cells and labels, except in two rows with two labels, which a fit needs at least."""
    some = sample.some_missing().some_unknown()
    y = sample.y
    if y.ndim == 1:
        y = y.at[:2].set(jnp.arange(2) % model.as_model().num_labels)
    return some._replace(x=some.x.at[:2].set(sample.x[:2]), y=some.y.at[:2].set(y[:2]))


@law
def labels_fit_the_density(density: Any) -> None:
    """Law: a density has labels (k,), scores (n, k), and costs that are whole numbers from 1."""
    expect(len(density.label_shape) == 1, f"check_density takes labels of one axis; got {density.label_shape}.")
    supports = density.supports
    expect(len(supports) in (1, density.num_features), f"{len(supports)} supports for {density.num_features} columns.")
    for name in ("row_cost", "score_cost"):
        cost = getattr(density, name)
        expect(isinstance(cost, int) and cost > 0, f"{name} must be a whole number from 1; got {cost!r}.")
    fields = dataclasses.is_dataclass(density) and jax.tree.leaves(density)
    expect(bool(fields), "a density is a dgjax.dataclass with arrays in its fields.")


@law
def penalty_is_a_finite_number(scorer: Any) -> None:
    """Law: penalty() is one finite number, 0 or more."""
    value = jnp.asarray(scorer.penalty())
    expect(value.shape == () and 0 <= float(value) < np.inf, f"penalty() is {value!r}.")
