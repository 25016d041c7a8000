"""What is true of every fit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from laws import assert_close, assert_same_tree
from zoo import CLASSIFIERS, QUICK, ZOO, N, every, labels, masks, num_labels, seeds, weights, with_missing

import dgjax as dg
from dgjax import testing
from dgjax.learning import _lbfgs

every_model = every(ZOO, (*QUICK, "multinomial", "columns"))
STEPS = 5


def fit(model, x, y=None, **options):
    """A fit of a fixed number of steps, so that one compilation serves all."""
    return dg.fit(model, x, y, **{"method": dg.EM(tol=0.0), "max_steps": STEPS, **options})


def priors(model, x):
    return dg.weak_prior(model, jnp.asarray(x))


@every_model
def test_a_step_never_loses(case, dtype):
    """With cells and labels missing, weights and a prior, all together."""
    start = case.model(dtype, seed=1)
    prior = priors(start, case.rows(dtype)[0])

    @given(seeds, masks(start.num_features), labels(num_labels(start)), weights)
    def law(seed, mask, y, w):
        x = with_missing(case.rows(dtype, seed)[0], mask)
        # One whole row of each of two labels: less is refused.
        x, w, y = x.at[:2].set(case.rows(dtype, seed)[0][:2]), w.copy(), y.copy()
        w[:2], y[:2] = 1, range(min(2, num_labels(start))) if num_labels(start) > 1 else 0
        testing.a_step_never_loses(start, testing.Sample(x, y), w, prior)

    law()


@every([case for case in ZOO if case.closed_form], QUICK)
def test_all_labels_given_is_the_closed_form(case, dtype):
    """Wherever it starts, one step is all, and no parameter has a slope there."""
    x, _ = case.rows(dtype)
    y = jnp.arange(N) % num_labels(case.model(dtype))
    prior = priors(case.model(dtype), x)
    testing.the_closed_form_is_stationary(case.model(dtype), case.model(dtype, seed=1), testing.Sample(x, y), prior)


@every(CLASSIFIERS)
def test_labels_all_some_and_none_are_one_path(case, x64):
    """Unknown labels weigh in with their posterior: a step on soft counts is the step with y = -1."""
    model = case.model("float64").as_model()
    x, y = case.rows("float64")
    some = np.where(np.arange(N) % 3 == 0, -1, y)
    posterior = np.exp(dg.predict_log_proba(model, x))
    hard = np.eye(num_labels(model))[np.asarray(y)]
    prior = priors(model, x)
    for given_labels, counts in ((y, hard), (some, np.where(some[:, None] < 0, posterior, hard)), (None, posterior)):
        by_hand = step_by_hand(model, x, jnp.asarray(counts), prior)
        fitted = dg.fit(model, x, given_labels, prior=prior, method=dg.EM(tol=0.0), max_steps=1).model
        assert_same_tree(fitted, by_hand)


@jax.jit
def step_by_hand(model, x, counts, prior):
    return model.maximum(model.joint_statistics(x, counts), prior)


@every_model
def test_statistics_add_and_are_linear_in_counts(case, dtype):
    x, y = case.rows(dtype)
    sample = testing.Sample(x.at[::3, 0].set(jnp.nan).at[1].set(jnp.nan), y)
    testing.statistics_add_and_are_linear_in_counts(case.model(dtype), sample)


@every_model
def test_weights_are_repeated_rows_and_zero_is_absence(case, dtype):
    start = case.model(dtype, seed=1)
    x, y = case.rows(dtype)
    x, y = x.at[::3, 0].set(jnp.nan), y.at[::4].set(-1)
    prior = priors(start, x)
    testing.a_weight_is_a_number_of_rows(start, testing.Sample(x, y), prior)


@every_model
def test_an_empty_row_changes_no_density(case, x64):
    start = case.model("float64", seed=1)
    x, _ = case.rows("float64")
    prior = priors(start, x)
    # EM counts the row as like the others, which takes more steps to the same end.
    full = dg.fit(start, x, weights=np.r_[np.ones(N - 1), 0], prior=prior, method=dg.EM(tol=0.0), max_steps=100)
    empty = dg.fit(start, x.at[-1].set(jnp.nan), prior=prior, method=dg.EM(tol=0.0), max_steps=100)
    if start.as_model() is start:
        # Its label is shared out by the weights: they stay, but for the prior's pull towards equal ones.
        assert np.isfinite(empty.objective).all()
    else:
        assert_close(empty.objective[-1:], full.objective[-1:])
        assert_same_tree(empty.model, full.model)


@every(ZOO, ("one Gaussian",))
def test_restarts_keep_the_best(case, x64):
    start = case.model("float64", seed=1)
    x, _ = case.rows("float64")
    prior = priors(start, x)
    alone = fit(start, x, prior=prior)
    best = fit(start, x, prior=prior, method=dg.Restarts(3, jax.random.key(0), dg.EM(tol=0.0)))
    assert best.objective[-1] >= alone.objective[-1] - 1e-9
    assert_close(best.objective[-1:], best_of(start, x, prior))


def best_of(start, x, prior):
    """The same starts, one by one."""
    from dgjax.learning import restarted  # the starts are made inside the fit, and named nowhere else

    lifted = start.as_model()
    ones, unknown = jnp.ones(N), jnp.full(N, -1)
    keys = jax.random.split(jax.random.key(0), 2)
    others = [restarted(lifted, keys[i], x, unknown, ones, random=i == 1) for i in range(2)]
    starts = [start, *(other if lifted is start else other.density for other in others)]
    return np.max([fit(s, x, prior=prior).objective[-1:] for s in starts], axis=0)


@every(CLASSIFIERS, ("Poisson",))
def test_the_blend_runs_from_joint_to_conditional(case, x64):
    """Each end is best at its own: what the other end reaches there is no more."""
    model = case.model("float64")
    x, _ = case.rows("float64")
    y = jnp.arange(N) % num_labels(model)
    prior = priors(model, x)
    start = fit(model, x, y, prior=prior).model
    joint, conditional = (dg.fit(start, x, y, blend=b, prior=prior, max_steps=400) for b in (1.0, 0.0))
    assert conditional.objective[-1] >= blended(start, x, y, prior, 0.0) - 1e-9
    assert joint.objective[-1] >= blended(start, x, y, prior, 1.0) - 1e-9
    assert conditional.objective[-1] >= blended(joint.model, x, y, prior, 0.0) - 1e-9
    assert joint.objective[-1] == pytest.approx(float(blended(joint.model, x, y, prior, 1.0)))


def blended(model, x, y, prior, blend):
    joint, conditional = dg.log_joint(model, x, y).sum(), dg.log_conditional(model, x, y).sum()
    return blend * joint + (1 - blend) * conditional + model.log_prior(prior)


def test_progress_changes_nothing_and_shows_a_bar(capsys):
    case = ZOO[1]
    x, _ = case.rows("float32")
    prior = priors(case.model("float32"), x)
    silent, shown = (fit(case.model("float32", seed=1), x, prior=prior, progress=p) for p in (False, True))
    assert_same_tree(silent.model, shown.model, 0)
    assert_close(silent.objective, shown.objective, 0)
    assert "objective" in capsys.readouterr().out


def test_structural_zeros_stay_when_learning_by_gradient():
    logits = np.array([[[0.0, 0.5, -np.inf]], [[0.3, 0.0, 0.0]]])
    model = dg.Mixture(np.zeros(2), dg.Categorical(logits))
    x, y = np.array([[0.0], [1.0], [0.0], [2.0], [1.0], [0.0]]), np.array([0, 0, 0, 1, 1, -1])
    fitted = dg.fit(model, x, y, blend=0.5, prior="weak", max_steps=20)
    zero = np.isneginf(logits)
    assert np.isneginf(fitted.model.density.logits[zero]).all()
    assert np.isfinite(fitted.model.density.logits[~zero]).all()
    assert fitted.objective[-1] > fitted.objective[0]


def test_rows_of_weight_zero_do_not_enter_a_weak_prior():
    x, far = np.arange(12.0).reshape(6, 2) ** 1.5, np.full((1, 2), 1e3)
    model = dg.gaussian_mixture(jax.random.key(0), x, 1)
    without = dg.fit(model, x, prior="weak").model
    with_it = dg.fit(model, np.concatenate([x, far]), weights=[1.0] * 6 + [0.0], prior="weak").model
    assert_same_tree(without, with_it, 1e-5)


def test_a_collapse_under_a_progress_bar_is_told_as_one():
    x = np.array([[0.0, 1.0], [0.0, 2.0], [1.0, 0.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match="weak_prior"):
        dg.fit(dg.gaussian_mixture(jax.random.key(0), x, 4), x, method=dg.EM(tol=0.0), progress=True)


@pytest.mark.parametrize("scaled", [True, False])
def test_lbfgs_takes_the_steps_of_optax(scaled, x64):
    """Three changes remembered, of more steps than that: from the first, which has none, until the oldest is lost."""
    curvature, start = jnp.linspace(0.5, 3, 7), jnp.linspace(-1, 2, 7)
    reference = optax.scale_by_lbfgs(3, scale_init_precond=scaled)

    def path(direction, memory):
        def step(carry, _):
            vector, memory = carry
            updates, memory = direction(memory, vector, curvature * vector + vector**3)
            return (vector + 0.3 * updates, memory), updates

        return jax.lax.scan(step, (start, memory), length=9)[1]

    def by_optax(memory, vector, gradient):
        updates, memory = reference.update(gradient, memory, vector)
        return -updates, memory

    nowhere, memory = _lbfgs.direction(_lbfgs.forgotten(3, start), start, jnp.zeros(7), scaled)
    np.testing.assert_array_equal(nowhere, np.zeros(7))
    found = path(functools.partial(_lbfgs.direction, scaled=scaled), memory)
    np.testing.assert_allclose(found, path(by_optax, reference.init(start)), rtol=1e-9)


SLOPES = {  # a function of how far, and from where to where a step satisfies both conditions
    "a step of one": lambda t: (t - 1) ** 2,
    "one far too long": lambda t: (1e3 * t - 1) ** 2,
    "one far too short": lambda t: (1e-4 * t - 1) ** 2,
    "a wall": lambda t: jnp.where(t < 0.01, (t - 1) ** 2, jnp.nan),
    "an edge of what is finite": lambda t: -jnp.log(0.2 - t) - 9 * t,
    "hills": lambda t: (0.1 * t - 1) ** 2 + 0.3 * jnp.sin(4 * t) - 1.1 * t,
    "one far too long, past a valley": lambda t: jnp.logaddexp(0, -1e6 * t) + 8e4 * t,
    "a kink": lambda t: jnp.abs(t - 0.37) + 1e-3 * t,
}


@pytest.mark.parametrize("name", SLOPES)
def test_a_search_ends_where_the_value_fell_and_the_slope_is_flat(name, x64):
    """Of Wolfe's weak conditions both, but before a wall the first."""
    value_and_grad = jax.value_and_grad(lambda v: SLOPES[name](v[0]))
    zero = jnp.zeros(1)
    value, gradient = value_and_grad(zero)
    moved, new, slope, promised = _lbfgs.search(value_and_grad, zero, value, gradient, -jnp.sign(gradient))
    step = abs(float(moved[0]))
    assert step > 0
    assert new <= value - _lbfgs.LEAST_GAIN * step * abs(gradient[0])
    assert name == "a wall" or slope[0] >= _lbfgs.FLAT_ENOUGH * gradient[0]
    assert_same_tree((new, slope), value_and_grad(moved), 1e-12)
    assert promised == pytest.approx(max(step, 1) * float(abs(gradient[0])))


@pytest.mark.parametrize("direction", [1.0, 0.0, np.nan])
def test_a_search_stays_where_the_direction_does_not_lead_down(direction, x64):
    value_and_grad = jax.value_and_grad(lambda v: jnp.sum(v**2))
    start = jnp.ones(3)
    found = _lbfgs.search(value_and_grad, start, *value_and_grad(start), jnp.full(3, direction))
    np.testing.assert_array_equal(found[0], start)
    np.testing.assert_array_equal(found[2], 2 * start)


@pytest.mark.parametrize("scale", [1e3, 1e9])
def test_raw_columns_do_not_end_lbfgs_where_it_starts(scale, dtype):
    """A first step as long as the gradient says is then far too long, and the search has to come back all the way."""
    rng = np.random.default_rng(0)
    x = scale * rng.normal(size=(100, 3))
    y = (x[:, 0] + 0.5 * scale * rng.normal(size=100) > 0).astype(int)
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), dg.logistic_regression(3, 2))
    fits = [dg.fit(start, (x / own).astype(dtype), y, method=m) for own, m in ((1, dg.LBFGS()), (scale, dg.Newton()))]
    assert fits[0].objective[-1] > fits[1].objective[-1] - 1e-3 > -69
    assert all(fit.converged for fit in fits)


@pytest.mark.parametrize(
    "options", [{"method": dg.LBFGS()}, {"method": dg.Newton(), "blend": 0.5}, {"blend": 0.5}], ids=str
)
def test_impossible_rows_of_weight_zero_are_no_rows(options, x64):
    """By gradient too, where 0 times their infinite score would be NaN; with a weight they are an error."""
    model = dg.Mixture(jnp.zeros(2), dg.Categorical(jnp.log(jnp.array([[[0.5, 0.5, 0.0]], [[0.3, 0.7, 0.0]]]))))
    x, y = np.arange(30.0)[:, None] % 3, np.arange(30) % 4 // 2
    some = x[:, 0] < 2
    fitted, wanted = (
        dg.fit(model, x, y, weights=some.astype(float), **options),
        dg.fit(model, x[some], y[some], **options),
    )
    np.testing.assert_allclose(fitted.objective, wanted.objective, rtol=1e-9)
    with pytest.raises(ValueError, match="collapsed" if "blend" in options else "probability 0"):
        dg.fit(model, x, y, **options)


def test_inside_jit_an_objective_stays_at_its_last():
    """There it is as long as `max_steps`, and ended in NaN."""
    x, start = np.array([[0.0], [0.1], [5.0], [5.3]], "float32"), dg.DiagonalGaussian([[0.0], [5.0]], [[1.0], [1.0]])
    fit = functools.partial(dg.fit, dg.Mixture(jnp.zeros(2), start), x, max_steps=40)
    outside, inside = fit(), jax.jit(fit)()
    steps = outside.num_steps
    assert inside.objective.shape == (40,)
    np.testing.assert_allclose(inside.objective[:steps], outside.objective, rtol=1e-5)
    assert (inside.objective[steps:] == inside.objective[steps - 1]).all()


def test_a_label_weight_of_0_is_refused():
    with pytest.raises(ValueError, match="Leave y out"):
        dg.naive_bayes([[0.0], [1.0], [5.0], [5.3]], [0, 0, 1, -1], label_weight=0.0)


def test_classes_that_weights_leave_out_are_told():
    with pytest.raises(ValueError, match=r"two classes; got \[1\]. Rows of the other classes have weight 0"):
        dg.naive_bayes([[0.0], [1.0], [5.0], [5.3]], [0, 0, 1, 1], weights=[0, 0, 1, 1])
