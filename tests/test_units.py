"""Units are the user's: the fit of a x + b is the fit of x, moved; and `converged` is within the tolerance."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer

import dgjax as dg
from dgjax._warnings import HERE, warn
from dgjax.learning._units import Units, moved, moved_back
from dgjax.numpyro import Emission

N, D = 240, 3
UNITS = {
    "as they are": ([1, 1, 1], [0, 0, 0]),
    "pascals, degrees, a year": ([600, 8, 10], [101_325, 15, 2_000]),
    "nanometres and gigahertz": ([1e-9, 1e9, 1], [0, 0, 0]),
    "1e5 spreads away": ([1, 1e-9, 1e9], [1e5, 0, 0]),
    "1e5 spreads away in every unit": ([1e-9, 1, 1e9], [1e-4, -1e5, 1e14]),
}


def data(k, seed=0, correlation=0.0):
    rng = np.random.default_rng(seed)
    y = np.arange(N) % k
    z = rng.normal(size=(N, D)) + 0.9 * (y[:, None] == np.arange(D) % k)
    return z + np.sqrt(correlation / (1 - correlation)) * rng.normal(size=(N, 1)), y


def objective(x, y, k, l2=0.0):
    """sum_n log p(y_n | x_n) - l2 / 2 |w|^2 of a model, and the most that it can be."""
    x = np.asarray(x, float)
    centre, rows = np.median(x, 0), 1 if k == 2 else k
    scale = np.median(np.abs(x - centre), 0)
    z = (x - centre) / scale

    def of_vector(vector):
        b, W = np.split(vector.reshape(rows, 1 + D), [1], axis=1)
        scores = z @ W.T + b.T
        scores = scores if rows > 1 else np.c_[np.zeros(N), scores]
        log_p = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        residual = (np.eye(k)[y] - np.exp(log_p))[:, -rows:]
        grad = np.c_[residual.sum(0), residual.T @ z - l2 * W / scale**2]
        return -log_p[np.arange(N), y].sum() + l2 / 2 * ((W / scale) ** 2).sum(), -grad.ravel()

    def of_model(model):
        weight, bias = np.asarray(model.scorer.weight, float), np.asarray(model.bias, float)
        return -of_vector(np.c_[bias + weight @ centre, weight * scale].ravel())[0]

    vector = np.zeros(rows * (1 + D))
    for _ in range(4):
        vector = minimize(of_vector, vector, jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return of_model, -of_vector(vector)[0]


@pytest.mark.parametrize("method", [None, dg.LBFGS()])
@pytest.mark.parametrize("l2", [0.0, 2.0])
@pytest.mark.parametrize("k", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_maximum_of_logistic_regression_is_found_in_any_units(k, l2, method, dtype):
    for name, (scale, offset) in UNITS.items():
        for correlation in (0.0, 0.999):
            z, y = data(k, correlation=correlation)
            x = (z * scale + offset).astype(dtype)
            of_model, largest = objective(x, y, k, l2)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dg.ConvergenceWarning)
                warnings.simplefilter("ignore", dg.PrecisionWarning)
                result = dg.fit(
                    dg.logistic_regression(D, k), jnp.asarray(x), y, prior=dg.priors.Ridge(l2), method=method
                )
            short = (largest - of_model(result.model)) / N
            assert short <= 1.3e-6 or not result.converged, (name, correlation, short)
            assert short <= (1e-8 if dtype == "float64" else 1e-3), (name, correlation, short)
            if dtype == "float64" or "1e5" not in name:
                assert result.converged, (name, correlation)


@pytest.mark.parametrize("method", [None, dg.LBFGS()])
def test_a_cell_far_out_leaves_its_column_the_maximum(method, dtype):
    """A sentinel, or the tail of a lognormal: a deviation that it dominates is no unit for the other cells."""
    for far in (1e3, 1e5, 1e6):
        z, y = data(2)
        z[3, 0] = far
        x = z.astype(dtype)
        of_model, largest = objective(x, y, 2, 2.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.ConvergenceWarning)
            result = dg.fit(dg.logistic_regression(D, 2), jnp.asarray(x), y, prior=dg.priors.Ridge(2.0), method=method)
        short = (largest - of_model(result.model)) / N
        assert short <= 1.3e-6 or not result.converged, (far, short)
        assert short <= (1e-6 if dtype == "float64" else 1e-3), (far, short)


def test_rows_of_float32_are_learnt_in_float32_beside_float64(x64):
    z, y = data(2)
    start = jax.tree.map(lambda own: own.astype("float32"), dg.logistic_regression(D, 2))
    for method in (dg.Newton(), dg.LBFGS()):
        assert dg.fit(start, z.astype("float32"), y, method=method).model.bias.dtype == np.float32


def test_any_start_of_a_concave_objective_leads_to_its_maximum():
    z, y = data(2)
    best = dg.fit(dg.logistic_regression(D, 2), jnp.asarray(z), y).objective[-1]
    for far, weight in ((20.0, 0.0), (200.0, 0.0), (0.0, 1e3)):
        start = dg.Logistic(jnp.array([far]), dg.Linear(weight * jnp.asarray(z[:1])))
        np.testing.assert_allclose(dg.fit(start, jnp.asarray(z), y).objective[-1], best, rtol=3e-6)


@pytest.mark.parametrize("unit", [1e-20, 1e18, 2e30])
def test_weights_whose_squares_are_no_numbers_are_found(unit):
    z, y = data(2)
    for method in (None, dg.LBFGS()):
        near, far = (dg.fit(dg.logistic_regression(D, 2), np.float32(x), y, method=method) for x in (z, z * unit))
        assert far.converged
        np.testing.assert_allclose(far.objective[-1], near.objective[-1], rtol=1e-5)
        np.testing.assert_allclose(unit * far.model.scorer.weight, near.model.scorer.weight, rtol=1e-2, atol=1e-2)


def sequences(seed=0, n=30, t=8):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, t, D)), np.zeros((n, t), int)
    for i, j in np.ndindex(n, t):
        y[i, j] = x[i, j, 0] - x[i, j, 1] + (y[i, j - 1] if j else 0) + rng.logistic() > 0.5
    return x, y


def test_the_maximum_of_a_crf_is_found_in_any_units(dtype):
    x, y = sequences()
    found = []
    for scale, offset in list(UNITS.values())[: 4 if dtype == "float64" else 3]:  # 1e5 away float32 has two digits
        given = jnp.asarray(x * scale + offset, dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.ConvergenceWarning)
            result = dg.fit(dg.linear_chain_crf(D, 2), given, y)
        found.append(float(dg.log_conditional(result.model, given, y).sum()))
    atol = 1e-4 if dtype == "float64" else 2e-2
    np.testing.assert_allclose(found, found[0], rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("scale", "offset"),
    [UNITS["pascals, degrees, a year"], pytest.param([1e-7, 1e7, 1], [0, 0, 5], marks=pytest.mark.slow)],
)
def test_quadratic_features_blends_and_distributions_are_learnt_in_any_units(scale, offset, x64):
    z, y = data(2)
    x, logs = z * scale + offset, N * np.log(scale).sum()
    student = dist.StudentT(5.0, np.array([[-1.0], [1.0]]) + np.zeros((2, D)), np.ones((2, D))).to_event(1)
    there = dist.StudentT(5.0, student.base_dist.loc * scale + offset, student.base_dist.scale * scale).to_event(1)
    start, started = (dg.gaussian_mixture(jax.random.key(0), rows, 2) for rows in (z, x))

    def of(model, rows, share=0.0, **options):
        return float(dg.fit(model, rows, y, method=dg.LBFGS(), **options).objective[-1]) + share * logs * (rows is x)

    quadratic = dg.logistic_regression(D, 2, "quadratic")
    emissions = [dg.Mixture(jnp.zeros(2), Emission.of(own)) for own in (student, there)]
    np.testing.assert_allclose(of(quadratic, x), of(quadratic, z), rtol=1e-7)
    np.testing.assert_allclose(of(started, x, 0.3, blend=0.3), of(start, z, blend=0.3), rtol=1e-6)
    np.testing.assert_allclose(of(emissions[1], x, 1.0), of(emissions[0], z), rtol=1e-6)


def test_scorers_move_with_their_rows(x64):
    rng = np.random.default_rng(0)
    x, units = jnp.array(rng.normal(size=(5, D))), Units(jnp.array([3.0, -1.0, 10.0]), jnp.array([2.0, 0.1, 5.0]))
    linear = dg.Linear(rng.normal(size=(2, D)))
    nested = dg.Linear(rng.normal(size=(2, 4, D)))
    table, one, two = (
        dg.CategoryWeights(rng.normal(size=(2, 1, 3))),
        *(dg.Linear(rng.normal(size=(2, m))) for m in (1, 2)),
    )
    scorers = [
        linear,
        dg.DiagonalQuadratic(rng.normal(size=(2, D)), rng.normal(size=(2, D))),
        dg.Quadratic(rng.normal(size=(2, D)), rng.normal(size=(2, D * (D + 1) // 2))),
        dg.Shifted(rng.normal(size=D), linear),
        dg.LatentScorer(rng.normal(size=(2, 4)), nested),
        dg.ColumnScorers((two, one), ((0, 2), (1,))),
    ]
    for scorer in scorers:
        model = dg.Logistic(rng.normal(size=2), scorer)
        scores = model.potentials(x).scores
        other = moved(model, units)
        np.testing.assert_allclose(other.potentials((x - units.centre) / units.scale).scores, scores, atol=1e-10)
        np.testing.assert_allclose(moved_back(other, units).potentials(x).scores, scores, atol=1e-10)
    assert moved(dg.Logistic(jnp.zeros(2), table), Units(jnp.zeros(1), jnp.ones(1))) is None


def test_what_a_fit_did_not_come_to_is_said():
    z, y = data(2)
    start, x = dg.logistic_regression(D, 2), jnp.asarray(z)
    with pytest.warns(dg.ConvergenceWarning, match="max_steps=20"):
        short = dg.fit(start, x, y, max_steps=2)
    assert not short.converged
    assert dg.fit(start, x, y, max_steps=20).converged
    with pytest.warns(dg.ConvergenceWarning, match="max_steps=20"):
        dg.fit(dg.gaussian_mixture(jax.random.key(0), x, 2), x, max_steps=2)
    with pytest.warns(dg.ConvergenceWarning, match="max_steps=10"):  # a long last step, of classes that lie mixed
        dg.fit(start, x, y[::-1], method=dg.LBFGS(), max_steps=1)
    assert dg.fit(start, x, y, dg.Newton(tol=0.0), max_steps=2).num_steps == 2  # as asked

    apart = x.at[:, 1].add(20.0 * y)
    nearly = x.at[:, 1].set(jnp.where((y == 1) & (jnp.arange(N) < 60), 1, 0))  # a one is a one, a zero either
    for separated in (apart, nearly):
        for method in (dg.Newton(), dg.LBFGS()):
            with pytest.warns(dg.ConvergenceWarning, match=r"separated.*Ridge\(0.001\)"):
                dg.fit(start, separated, y, method=method)
            assert dg.fit(start, separated, y, prior=dg.priors.Ridge(1e-3), method=method).converged


def test_a_warning_is_at_the_line_of_the_user():
    inside = compile("def verb(): inner()\ndef inner(): warn('said', UserWarning)", HERE + "/_verb.py", "exec")
    names = {"warn": warn}
    exec(inside, names)
    with pytest.warns(UserWarning, match="said") as seen:
        names["verb"]()
    assert seen[0].filename == __file__


def test_columns_that_float32_cannot_tell_apart_are_named():
    z, y = data(2)
    x = np.c_[z[:, :2], z[:, 0] + 3e5].astype(np.float32)
    with pytest.warns(dg.ConvergenceWarning, match=r"float32.*column\(s\).*2"):
        result = dg.fit(dg.logistic_regression(D, 2), x, y)
    assert not result.converged


def test_labels_weigh_what_they_are_told_to(x64):
    z, y = data(2)
    few = np.where(np.arange(N) % 8 < 3, y, -1)
    weights = np.where(few >= 0, 5.0, 1.0)
    told, weighted = (
        dg.discriminant_analysis(z, few, label_weight=5.0),
        dg.discriminant_analysis(z, few, weights=weights),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), told, weighted)
    model = dg.fit(told, z, few, label_weight=5.0).model
    other = dg.fit(told, z, few, weights=weights).model
    assert jax.tree.all(jax.tree.map(np.array_equal, model, other))
    with pytest.raises(ValueError, match=r"label_weight.*y=None.*Leave it out"):
        dg.fit(told, z, label_weight=5.0)


def test_labels_that_other_rows_speak_against_are_told(x64):
    x, y = load_breast_cancer(return_X_y=True)
    rng, few = np.random.default_rng(1), np.full(len(y), -1)
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(y == label))
        few[rows[: len(rows) // 20]] = label
    with pytest.warns(dg.ConvergenceWarning, match="label_weight=20 or larger"):
        alike = dg.naive_bayes(x, few, prior="weak")
    weighted = dg.naive_bayes(x, few, prior="weak", label_weight=200.0)
    right = [float((dg.predict(model, x) == y).mean()) for model in (alike, weighted)]
    assert right[0] < 0.925 < 0.945 < right[1]


def test_differences_that_float32_rounds_away_are_told():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, 2)), np.arange(N) % 2
    x[:, 1] = 1.7e9 + 600 * x[:, 1]  # ten minutes around a second of 2023
    here = np.array([0, 1.7e9])
    model = dg.naive_bayes(x - here, y)
    for call in (lambda: dg.naive_bayes(x, y), lambda: dg.fit(model, x, y)):
        with pytest.warns(dg.PrecisionWarning, match=r"column 1 loses .* x\[\.\.\., 1\] -= x\[\.\.\., 1\]\.mean\(\)"):
            call()
    x[..., 1] -= x[..., 1].mean()  # as it says
    np.testing.assert_allclose(np.exp(dg.naive_bayes(x, y).density.log_scale[:, 1]), 600, rtol=0.2)
    with jax.enable_x64(True):
        dg.naive_bayes(x + here, y)


@pytest.mark.parametrize("method", [dg.Newton(), dg.LBFGS()])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_what_all_classes_start_with_in_common_neither_stays_nor_grows(method, l2):
    """It says nothing of the class; its penalty has less curvature beside that of wide columns than rounding."""
    rng = np.random.default_rng(5)
    x = 1000 * rng.normal(size=(60, 1)).astype("float32")
    y = np.argmax(rng.gumbel(size=(60, 3)) + 1e-3 * x * np.arange(3), 1)
    start = dg.Logistic(jnp.zeros(3), dg.Linear(0.8 + 3e-4 * jnp.array([[-1.0], [0.0], [1.0]])))
    found = dg.fit(start, x, y, prior=dg.priors.Ridge(l2), method=method).model
    other = dg.fit(
        dg.Logistic(jnp.zeros(3), dg.Linear(jnp.zeros((3, 1)))), x, y, prior=dg.priors.Ridge(l2), method=method
    ).model
    np.testing.assert_allclose(dg.predict_log_proba(found, x), dg.predict_log_proba(other, x), atol=2e-3)
    assert abs(float(found.bias.mean())) < 1e-3
    assert abs(float(found.scorer.weight.mean())) < (0 if l2 else 0.8) + 1e-6


def test_initial_scores_of_chains_move_by_what_they_differ_in():
    """Newton's steps moved all of them by -10,898, a direction of no curvature, and float32 lost their difference."""
    fit = dg.fit(dg.linear_chain_crf(1, 2), [[[2.0], [0.0]]], [[0, 1]], prior=dg.priors.Ridge(1.0))
    assert fit.converged
    assert abs(float(fit.model.initial.mean())) < 1e-2 * abs(float(fit.model.initial[0]))
    np.testing.assert_allclose(fit.objective[-1], -0.52545707, rtol=1e-6)  # by scipy's BFGS in float64


@pytest.mark.parametrize("scorer", [dg.Quadratic(jnp.ones((1, 1)), jnp.full((1, 1), 3.8)), dg.Linear(jnp.ones((1, 1)))])
def test_a_start_that_is_worse_than_no_weights_is_not_where_a_fit_ends(scorer):
    """At 10^10 nats there is no curvature, and what a step promises is less than rounding."""
    y = np.array([0, 1, 0, 1, 1, 1, 0])
    for x in (np.full((7, 1), -29921.234, "float32"), 3e4 - np.arange(7, dtype="float32")[:, None]):
        fit = dg.fit(dg.Logistic(jnp.zeros(1), scorer), x, y, prior=dg.priors.Ridge(30.0))
        assert fit.converged
        assert -7 * np.log(2) <= fit.objective[-1] <= 0
