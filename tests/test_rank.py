"""Dependent columns, units of any size, tight classes, and twins far away."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import slow

import dgjax as dg

N = 120
Y = np.arange(N) % 2


def rows(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, 3)) + Y[:, None]


def percentages(seed):
    p = np.exp(np.c_[rows(seed)[:, :1], np.random.default_rng(seed + 100).normal(size=(N, 3))])
    return 100 * p / p.sum(1, keepdims=True)


DEPENDENT = {
    "percentages": lambda: (percentages(0), "column 3 is a combination of 0, 1, 2"),
    "a column and its double": lambda: (np.c_[rows(), 2 * rows()[:, :1]], "column 3 is a combination of 0"),
    "a difference of large columns": lambda: (
        np.c_[1e3 + rows()[:, :2], rows()[:, 0] - rows()[:, 1], rows()[:, 2]],
        "column 2 is a combination of 0, 1",
    ),
    "constant in a class": lambda: (
        np.c_[rows(), np.where(Y == 1, 5.3, rows(9)[:, 0])],
        "column 3 has no spread in class 1",
    ),
}


FAST = "percentages", "constant in a class"


@pytest.mark.parametrize("name", [*FAST, *slow(*(name for name in DEPENDENT if name not in FAST))])
def test_dependent_columns_are_named_and_the_advice_works(name, dtype):
    x, said = DEPENDENT[name]()
    x = x.astype(dtype)
    with pytest.raises(ValueError, match=said) as error:
        dg.discriminant_analysis(x, Y, "full")
    assert np.isfinite(dg.log_prob(dg.discriminant_analysis(x, Y, "full", prior="weak"), x)).all()
    remaining = eval(str(error.value).split("says nothing more: ")[1].rstrip("."), {"np": np, "x": x})
    assert np.isfinite(dg.log_prob(dg.discriminant_analysis(remaining, Y, "full"), remaining)).all()


def test_every_collapsed_column_of_every_class_is_named_at_once():
    """Of steps that end at the first collapse, columns at other depths would be named one fit after another."""
    x = np.c_[rows(), np.zeros(N), np.where(Y == 1, 5.3, rows(9)[:, 0]), np.where(Y == 0, 1e-3, rows(9)[:, 1])]
    x = np.c_[x, np.where(Y == 0, 700, rows(8)[:, 0]), np.where(Y == 1, rows()[:, 0] - rows()[:, 1], rows(8)[:, 1])]
    flat, dependent = [3, 4, 5, 6], [3, 4, 5, 6, 7]
    start = dg.naive_bayes(x, Y, prior="weak")
    for call, columns, count in (
        (lambda x: dg.naive_bayes(x, Y), flat, 4),
        (lambda x: dg.naive_bayes(x, Y, weights=1 + Y), flat, 4),
        (lambda x: dg.fit(start if x.shape[1] == 8 else dg.marginal(start, [0, 1, 2, 7]), x, Y), flat, 4),
        (lambda x: dg.discriminant_analysis(x, Y, "full"), dependent, 5),
    ):
        with pytest.raises(ValueError, match="says nothing more") as error:
            call(x)
        assert f"np.delete(x, {columns}, axis=-1)" in str(error.value)
        assert f"and {count} more like it" in str(error.value)
        call(np.delete(x, columns, axis=-1))


def test_too_few_rows_for_a_covariance_are_told_and_the_advice_works():
    x, y = np.random.default_rng(3).normal(size=(8, 4)).astype("float32"), np.arange(8) % 2
    for covariance, told in (("full", "4 rows of class 0 give at most 3 of 4"), ("tied", "less a mean for each class")):
        short = x if covariance == "full" else x[:5]
        with pytest.raises(ValueError, match=told) as error:
            dg.discriminant_analysis(short, y[: len(short)], covariance=covariance)
        kept = eval(re.search(r"np\.delete\(.*\)", str(error.value))[0], {"np": np, "x": short})
        dg.discriminant_analysis(kept, y[: len(short)], covariance=covariance)


@pytest.mark.slow
def test_percentages_are_refused_whatever_the_luck():
    for seed in range(30):
        with pytest.raises(ValueError, match="column 3 is a combination of 0, 1, 2"):
            dg.discriminant_analysis(percentages(seed).astype("float32"), Y)


def test_em_on_one_hot_columns_ends_at_once():
    x = np.eye(3, dtype="float32")[np.random.default_rng(0).integers(0, 3, N)]
    start = dg.Mixture(jnp.zeros(1), dg.Gaussian(jnp.zeros((1, 3)), jnp.eye(3)[None]))
    with pytest.raises(ValueError, match=r"column 2 is a combination of 0, 1.*np.delete\(x, \[2\], axis=-1\)"):
        dg.fit(start, x)


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-5])
def test_what_float_resolves_is_accepted(noise):
    """A fourth column near the third; the labels are those of float64."""
    x = np.c_[rows(), rows()[:, 2] + noise * (np.random.default_rng(5).normal(size=N) + Y)].astype("float32")
    centre = np.stack([x[k == Y].mean(0, dtype=float) for k in (0, 1)])
    residual = x - centre[Y]
    direction = np.linalg.solve(residual.T @ residual, centre[1] - centre[0])
    margin = (x - centre.mean(0)) @ direction * N
    predicted = np.asarray(dg.predict(dg.discriminant_analysis(x, Y), x))
    certain = np.abs(margin) > 0.1
    assert (predicted == (margin > 0))[certain].all()


UNITS, OTHERS = [1e-20, 1e20, 2e30], ["tied", "spherical"]


@pytest.mark.parametrize("covariance", ["full", "diagonal", *(pytest.param(c, marks=pytest.mark.slow) for c in OTHERS)])
@pytest.mark.parametrize("prior", [None, "weak"])
def test_the_fit_in_other_units_is_the_fit(covariance, prior):
    """Columns of 1e-20 beside columns of 2e30, too, where each has a scale of its own."""
    x = rows().astype("float32")
    model = dg.discriminant_analysis(x, Y, covariance, prior=prior)
    mixed = [] if covariance == "spherical" else [np.array([1e-20, 1.0, 2e30], "float32")]
    for unit in [*(np.full(3, u, "float32") for u in UNITS), *mixed]:
        moved = dg.discriminant_analysis(x * unit, Y, covariance, prior=prior)
        shift = np.log(unit.astype(float)).sum()
        np.testing.assert_allclose(dg.log_prob(moved, x * unit) + shift, dg.log_prob(model, x), atol=2e-3)
        np.testing.assert_allclose(dg.predict_log_proba(moved, x * unit), dg.predict_log_proba(model, x), atol=2e-3)
        holes = np.where(np.arange(3) == 1, np.nan, x)
        filled = np.asarray(dg.impute(moved, (holes * unit).astype("float32"))) / unit
        np.testing.assert_allclose(filled, dg.impute(model, holes), rtol=2e-3, atol=2e-3)


def test_a_cell_at_the_mean_of_a_scale_that_float32_has_no_inverse_of():
    model = dg.DiagonalGaussian(jnp.zeros((1, 1)), jnp.full((1, 1), -89.0))
    np.testing.assert_allclose(dg.log_prob(model, np.zeros((1, 1), "float32")), 88.08106, rtol=1e-6)


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal", "spherical"])
def test_tight_classes_far_apart(covariance, dtype):
    rng = np.random.default_rng(3)
    centre = rng.normal(size=(2, 3))
    centre *= 16 / np.linalg.norm(centre[0] - centre[1])
    x = (centre[Y] + 2e-3 * rng.normal(size=(N, 3))).astype(dtype)
    model = dg.discriminant_analysis(x, Y, covariance)
    density = model.density
    for k in (0, 1):
        own = x[k == Y].astype(float)
        exact = np.cov((x - np.stack([x[i == Y].mean(0, dtype=float) for i in (0, 1)])[Y]).T, bias=True)
        exact = np.cov(own.T, bias=True) if covariance in ("full", "diagonal") else exact
        if covariance in ("full", "tied"):
            L = np.asarray(density.scale_tril, float)
            L = L if L.ndim == 2 else L[k]
            np.testing.assert_allclose(L @ L.T, exact, atol=2e-3 * np.trace(exact))
        elif covariance == "diagonal":
            np.testing.assert_allclose(np.exp(2 * np.asarray(density.log_scale[k], float)), np.diag(exact), rtol=2e-3)


def test_a_twin_is_as_exact_as_its_density():
    narrow = 1e-4
    L = np.array([[[1, 0], [0.7, narrow]], [[3, 0], [0, 3]]], "float32")
    mean = np.array([[6, -4], [-4, 6]], "float32")
    diagonal = dg.DiagonalGaussian(mean, np.log(np.array([[1, narrow], [3, 3]], "float32")))
    for density in (dg.Gaussian(mean, L), diagonal):
        model = dg.Mixture(jnp.zeros(2), density)
        twin = dg.discriminative(model)
        x, y = dg.sample(model, jax.random.key(0), N)
        for far in (1, 1e5):
            np.testing.assert_array_equal(dg.predict_log_proba(twin, far * x), dg.predict_log_proba(model, far * x))
    fitted = dg.fit(twin, x, y, prior=dg.priors.Ridge(1e-3), method=dg.LBFGS(tol=0.0), max_steps=2).model
    assert isinstance(fitted.scorer.scorer, dg.DiagonalQuadratic)


@pytest.mark.parametrize("value", [5.3, 98663.836])
@pytest.mark.parametrize("family", ["full", "diagonal"])
def test_a_constant_column_under_a_weak_prior_is_learnt_from_any_start(family, value):
    """What was left of squares once the mean's own move was taken off came out below 0 for one start in fifteen."""
    x, weights = np.full((7, 1), value, "float32"), np.array([1, 20, 20, 20, 20, 1000, 1], "float32")
    wanted, rng = -0.5 * np.log(2 * np.pi / (weights.sum() + 1)), np.random.default_rng(0)
    for moved, log_scale in rng.uniform((-1, np.log(10)), (1, np.log(1e5)), (100, 2)):
        mean, factor = np.array([[[value + moved * np.exp(log_scale)]], [[log_scale]]], "float32")
        density = dg.Gaussian(mean, np.exp(factor)[None]) if family == "full" else dg.DiagonalGaussian(mean, factor)
        model = dg.fit(
            dg.Mixture(jnp.zeros(1), density), x, weights=weights, prior="weak", max_steps=8, method=dg.EM(tol=0.0)
        ).model
        np.testing.assert_allclose(dg.log_prob(model, x), wanted, atol=1e-3)


@pytest.mark.parametrize("family", ["full", "diagonal"])
def test_a_component_with_next_to_no_rows_keeps_no_scale_it_shares(family):
    """It moves by 13 standard deviations, for all that it has of the rows is 1e-37."""
    x = (0.001 * rows()).astype("float32")
    mean = jnp.concatenate([x.mean(0)[None], x.mean(0)[None] + jnp.array([[13.0, 0, 0]])])
    density = dg.Gaussian(mean, jnp.eye(3)) if family == "full" else dg.DiagonalGaussian(mean, jnp.zeros(3))
    fitted = dg.fit(dg.Mixture(jnp.zeros(2), density), x, max_steps=1, method=dg.EM(tol=0.0)).model.density
    scale = fitted.scale_tril if family == "full" else jnp.diag(jnp.exp(fitted.log_scale))
    exact = np.cov(x.T, bias=True)
    exact = exact if family == "full" else np.diag(np.diag(exact))
    np.testing.assert_allclose(scale @ scale.T, exact, atol=1e-3 * exact.max())
