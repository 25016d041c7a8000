"""The quick ways to the same fit: one pass where everything is known, and Newton's method on a sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import slow

import dgjax as dg
from dgjax import _zero_copy
from dgjax.data import aligned
from dgjax.learning._zero_copy import zero_copy_rows

KINDS = ["gaussian", "bernoulli", "poisson", "multinomial"]


def table(kind, n=600, d=4, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    if kind == "gaussian":
        return 3 * rng.normal(size=(k, d))[y] + rng.normal(size=(n, d)), y
    if kind == "bernoulli":
        return (rng.random((n, d)) < rng.random((k, d))[y]).astype(float), y
    return rng.poisson(rng.uniform(1, 9, (k, d))[y]).astype(float), y


@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_is_the_fit(kind, dtype):
    """naive_bayes, which is one pass, fit, which stops after one step, and more steps of EM agree."""
    x, y = table(kind)
    model = dg.naive_bayes(x.astype(dtype), y, kind, prior="weak")
    far = dg.naive_bayes(*table(kind, seed=1), kind, prior="weak")
    prior = dg.weak_prior(far, x.astype(dtype))
    stopped = dg.fit(far, x.astype(dtype), y, prior=prior)
    further = dg.fit(far, x.astype(dtype), y, prior=prior, method=dg.EM(tol=0.0), max_steps=5)
    assert stopped.converged
    assert stopped.num_steps == 1
    scores = [np.asarray(dg.log_joint(m, x.astype(dtype), y)) for m in (model, stopped.model, further.model)]
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], rtol=tolerance, atol=tolerance)
    assert np.asarray(stopped.objective)[-1] == pytest.approx(np.asarray(further.objective)[-1], rel=tolerance)


@pytest.mark.parametrize("covariance", ["diagonal", "full", "tied", "spherical"])
def test_classes_far_apart_and_narrow_keep_their_digits(covariance):
    """In float32, classes a thousand times as far apart as they are wide: the first pass alone would lose the width."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    x = (1e3 * y[:, None] + rng.normal(size=(400, 3))).astype("float32")
    model = dg.discriminant_analysis(x, y, covariance)
    own = np.stack([np.cov(x[y == label].astype(float).T, bias=True) for label in (0, 1)])
    pooled = own.mean(0)
    if covariance in ("full", "tied"):
        found = np.asarray(model.density.scale_tril @ np.swapaxes(model.density.scale_tril, -1, -2))
        np.testing.assert_allclose(found, own if covariance == "full" else pooled, atol=2e-3)
    else:
        found = np.exp(2 * np.asarray(model.density.log_scale))
        wanted = np.diagonal(own, axis1=1, axis2=2)
        wanted = wanted if covariance == "diagonal" else wanted.mean(-1, keepdims=True)
        np.testing.assert_allclose(found, wanted, rtol=2e-3)


@pytest.mark.slow
def test_known_labels_of_mixtures_are_not_all_there_is_to_know(x64):
    """Within the classes, components are still latent: EM goes on."""
    x, y = table("gaussian", k=2)
    x = x + 1.5 * (np.arange(len(x)) % 2)[:, None]
    start = dg.mixture_discriminant_analysis(jax.random.key(0), x, y)
    fitted = dg.fit(start, x, y, method=dg.EM(tol=1e-9), max_steps=2000)
    assert fitted.converged
    assert fitted.num_steps > 2
    again = dg.fit(fitted.model, x, y, method=dg.EM(tol=1e-9), max_steps=3)
    assert float(again.objective[-1]) == pytest.approx(float(fitted.objective[-1]), rel=1e-6)


@pytest.mark.parametrize("kind", ["gaussian", "multinomial", *slow("bernoulli", "poisson", "spherical")])
def test_rows_read_in_place_say_the_same(kind, dtype):
    """NumPy's rows, of which only moments are needed, and the same rows on JAX's side."""
    x, y = table("gaussian" if kind == "spherical" else kind, n=70_000, d=2)
    x = x.astype(dtype)

    def solve(x, y=y, **more):
        if kind == "spherical":
            return dg.discriminant_analysis(x, y, kind, **more)
        return dg.naive_bayes(x, y, kind, **more)

    if kind in ("gaussian", "spherical"):
        x[0] = 1e4  # a first row far from the others costs none of their digits
        x[np.flatnonzero(y == y[0])[1], 0] = -1e6
    ours, theirs = solve(x), solve(jnp.asarray(x))
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    bad = x.copy()
    bad[61_234, 1] = np.inf
    with pytest.raises(ValueError, match=r"x\[61234, 1\] is inf"):
        solve(bad)
    if dtype == "float32":
        wide = x.astype(float)
        wide[61_234, 1] = 1e300
        with pytest.raises(ValueError, match=r"x\[61234, 1\] is inf"):
            solve(wide)
    bad[61_234, 1] = -0.5 if kind in KINDS[1:] else np.nan
    if kind in KINDS[1:]:
        with pytest.raises(ValueError, match=r"x\[61234, 1\] is -0.5"):
            solve(bad)
    else:
        close = [jax.tree.leaves(solve(bad, prior=prior))[0] for prior in (None, "weak")]
        np.testing.assert_allclose(close[0], close[1], atol=1e-3)


@pytest.mark.parametrize("kind", ["bernoulli", "multinomial", *slow("poisson", "logistic", "log-odds")])
@pytest.mark.parametrize("d", [5, *slow(8, 19)])
def test_labels_of_rows_in_place_are_the_most_probable(kind, d, dtype):
    """NumPy's rows are labelled in one pass where scores are linear, to the same labels as on JAX's side."""
    x, y = table("gaussian" if kind.startswith("log") else kind, n=30_011, d=d)
    x = x.astype(dtype)
    if kind.startswith("log"):
        k = 2 if kind == "log-odds" else 3
        start = jax.tree.map(lambda leaf: leaf.astype(dtype), dg.logistic_regression(d, k))
        model = dg.fit(start, x[:500], np.minimum(y[:500], k - 1), prior=dg.priors.Ridge(1.0)).model
    else:
        model = dg.naive_bayes(x[:500], y[:500], kind, prior="weak")
    rows = np.r_[:5_000, 15_000:20_000, 29_000:30_011]
    some = jnp.asarray(x[rows])  # so few that no kernel is compiled for them
    labels, expected, log_p = dg.predict(model, x), dg.predict(model, some), dg.predict_log_proba(model, some)
    assert _zero_copy.linear_labels(model, x) is not None
    assert labels.dtype == expected.dtype
    best, second, *_ = np.sort(log_p, -1).T[::-1]
    clear = best - second > 1e-3
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(labels[rows][clear], expected[clear])
    for value in (np.inf, -1.5):
        bad = x.copy()
        bad[30_010, d - 1] = value
        if value == np.inf or not kind.startswith("log"):
            with pytest.raises(ValueError, match=rf"x\[30010, {d - 1}\] is {value}"):
                dg.predict(model, bad)
    x[30_010, 0] = np.nan
    assert _zero_copy.linear_labels(model, x) is None
    x[30_010, 0] = 0
    if dtype == "float32":
        with pytest.raises(ValueError, match=r"x\[7, 0\] is inf"):
            dg.predict(model, np.where(np.arange(len(x))[:, None] == 7, 1e300, x.astype(float)))


@pytest.mark.parametrize("kind", ["poisson", "multinomial"])
def test_labels_of_large_counts_in_place(kind):
    """A bias of 1e8 in float32 would be off by more than what sets two labels apart."""
    rng = np.random.default_rng(4)
    rates = 1e7 * np.exp(rng.normal(size=5) + rng.normal(size=(2, 5)) / np.sqrt(1e7))
    x, family = rng.poisson(rates[rng.integers(0, 2, 30_011)]), {"poisson": dg.Poisson, "multinomial": dg.Multinomial}
    model = dg.Mixture(np.zeros(2, "float32"), family[kind](np.log(rates).astype("float32")))
    some = jnp.asarray(x[:5_000], "float32")
    odds = np.diff(dg.predict_log_proba(model, some), axis=1)[:, 0]
    clear = np.abs(odds) > 0.2
    assert clear.mean() > 0.5
    for same in (model, dg.discriminative(model)):
        assert _zero_copy.linear_labels(same, x.astype("float32")) is not None
        labels = dg.predict(same, x.astype("float32"))[:5_000]
        np.testing.assert_array_equal(labels[clear], odds[clear] > 0)


def test_labels_that_some_values_rule_out(x64):
    """A score of minus infinity is no number to add to."""
    x, y = table("bernoulli", n=40_000)
    x[y == 1, 0] = 0
    model = dg.naive_bayes(x, y, "bernoulli")
    assert _zero_copy.linear_labels(model, x) is None
    assert not np.isin(dg.predict(model, x)[x[:, 0] == 1], 1).any()


def test_labels_whose_scores_could_overflow(x64):
    """Terms of 1e310 and minus that have no sum."""
    x = np.ones((40_000, 4))
    x[7] = 1e300
    model = dg.Logistic(jnp.zeros(2), dg.Linear(jnp.array([[1e10, -1e10, 0, 0], [0, 0, 1, 1]])))
    assert _zero_copy.linear_labels(model, x) is None
    assert _zero_copy.linear_labels(model, x[8:]) is not None


def test_memory_of_rows_is_used_again_when_nothing_refers_to_it():
    first = aligned((70_000, 2), float)
    place = first.ctypes.data
    view = first[3:].reshape(-1)[::2]
    del first
    other = aligned((70_000, 2), float)
    assert other.ctypes.data != place
    del view
    again = aligned((60_000, 2), float)
    assert again.ctypes.data == place
    assert place % 64 == 0
    again[:] = 0  # else there may be numbers that float32 does not hold
    held = jax.device_put(again, may_alias=True)
    del again
    assert aligned((60_000, 2), float).ctypes.data != held.unsafe_buffer_pointer()
    del held
    few = aligned((100,), float)  # takes no memory of many, and pushes none out
    del few
    assert aligned((70_000, 2), float).ctypes.data == place


def test_arrays_large_enough_to_be_copied_apart(dtype):
    """Above a megabyte a NumPy array is copied by NumPy: of any layout and kind, and never shared with the caller."""
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(70_000, 4)))
    model = dg.naive_bayes(x[:100], np.arange(100) % 2)
    expected = np.asarray(dg.log_prob(model, jnp.asarray(x)))
    for given in (x, x.astype("float32"), np.ascontiguousarray(x)):
        found = dg.log_prob(model, given)
        given[:] = np.nan
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    too_large = np.full((70_000, 4), 1e300)
    if dtype == "float32":
        with pytest.raises(ValueError, match=r"x\[0, 0\] is inf"):
            dg.log_prob(model, too_large)
    whole = np.arange(300_000).reshape(-1, 4) % 7
    np.testing.assert_array_equal(dg.log_prob(model, whole), dg.log_prob(model, jnp.asarray(whole, dtype)))


@pytest.mark.parametrize(("k", "method"), [(2, None), *slow((3, dg.LBFGS()), (3, None), (2, dg.LBFGS()))])
def test_logistic_regression_of_rows_in_place(k, method, dtype):
    """Large NumPy rows are passed over where they are; within jit, which may run later, they are copied."""
    x, y = regression(k, n=100_000)
    x = ((x - x.mean(0)) / x.std(0)).astype(dtype)[:, [0, 1, 2, 2]]
    start, rows = jax.tree.map(lambda leaf: leaf.astype(dtype), dg.logistic_regression(4, k)), x.copy()
    assert zero_copy_rows(start, rows, y, None) is not None
    found = dg.fit(start, rows, y, prior=dg.priors.Ridge(0.1), method=method)
    expected = dg.fit(start, jnp.array(x), y, prior=dg.priors.Ridge(0.1), method=method)
    assert found.num_steps == expected.num_steps
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-6)
    later = jax.jit(lambda: dg.fit(start, rows, y, prior=dg.priors.Ridge(0.1), method=method).model)()
    rows[:] = np.nan
    tolerance = 1e-3 if dtype == "float32" else 1e-7
    for model in (found.model, later):
        np.testing.assert_allclose(model.scorer.weight, expected.model.scorer.weight, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("value", [np.nan, *slow(np.inf, -np.inf)])
def test_rows_in_place_are_checked(value, dtype):
    x, y = regression(2, n=100_000)
    weights = np.ones(len(x))
    for row, counts in ((0, 1), (99_999, 0), (31_415, 1)):
        broken = x.astype(dtype)
        broken[row, 1] = value
        weights[row] = counts
        with pytest.raises(ValueError, match=rf"x\[{row}, 1\] is {value}"):
            dg.fit(dg.logistic_regression(3, 2), broken, y, weights=weights)


@pytest.mark.parametrize("value", [np.inf, *slow(-np.inf)])
def test_rows_in_place_beyond_the_sample_are_checked(value, dtype):
    """An infinite cell outside the sample of a start gives that start's labels a probability of 0 or none."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60_011, 5)), rng.integers(0, 3, 60_011)
    x[:, 3] += y
    for row in [np.flatnonzero(y == label)[0] for label in range(3)]:
        broken = x.astype(dtype)
        broken[row, 3] = value
        with pytest.raises(ValueError, match=rf"x\[{row}, 3\] is {value}"):
            dg.fit(dg.logistic_regression(5, 3), broken, y)


def regression(k, n=4000, d=3):
    """Rows in the order of their classes, of columns whose scales and means differ by orders of magnitude."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, d))
    y = (z @ rng.normal(size=(d, k)) + rng.gumbel(size=(n, k))).argmax(-1)
    order = np.argsort(y, kind="stable")
    return (z * [1e3, 1.0, 1e-3] + [100.0, -5.0, 0.0])[order], y[order]


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 4])
def test_newton_on_a_sample_ends_where_the_gradient_is_zero(k, x64):
    x, y = regression(k)
    start = dg.logistic_regression(3, k)
    fitted = dg.fit(start, x, y, prior=dg.priors.Ridge(0.1), method=dg.Newton(tol=1e-9))
    assert fitted.converged
    assert fitted.num_steps < 15
    model, z = fitted.model, np.concatenate([np.ones((len(x), 1)), x], 1)
    residual = np.eye(k)[y] - np.exp(dg.predict_log_proba(model, x))
    slope = residual[:, -len(model.bias) :].T @ z
    slope[:, 1:] -= 0.1 * np.asarray(model.scorer.weight)
    # In standard errors of the slope itself.
    assert np.abs(slope / np.sqrt((z**2).sum(0))).max() < 1e-4
    whole = dg.fit(start, x[::4], y[::4], prior=dg.priors.Ridge(0.1), method=dg.Newton(tol=0.0), max_steps=20)
    assert np.diff(np.asarray(whole.objective)).min() >= -1e-9 * abs(float(whole.objective[-1]))


def test_a_sample_does_not_spoil_a_good_start(x64):
    """A model that is at the maximum already stays: what the sample promises there is its own noise."""
    x, y = regression(2)
    best = dg.fit(dg.logistic_regression(3, 2), x, y, prior=dg.priors.Ridge(0.1), method=dg.Newton(tol=1e-9))
    again = dg.fit(best.model, x, y, prior=dg.priors.Ridge(0.1), method=dg.Newton(tol=1e-9))
    assert again.num_steps <= 2
    assert float(again.objective[0]) >= float(best.objective[-1]) - 1e-9 * abs(float(best.objective[-1]))


@pytest.mark.slow
def test_a_sample_without_weight_is_no_harm(x64):
    """All sampled rows have weight 0 or no label: what is left is L-BFGS."""
    x, y = regression(2)
    weights = np.where(np.arange(len(x)) % 16 == 0, 0.0, 1.0)
    unlabelled = np.where(np.arange(len(x)) % 16 == 0, -1, y)
    z = (x - x.mean(0)) / x.std(0)
    start = dg.logistic_regression(3, 2)
    wanted = dg.fit(start, z[weights > 0], y[weights > 0], prior=dg.priors.Ridge(0.1), method=dg.LBFGS(tol=1e-10))
    for arguments in ({"y": y, "weights": weights}, {"y": unlabelled}):
        fitted = dg.fit(start, z, prior=dg.priors.Ridge(0.1), method=dg.Newton(tol=1e-10), **arguments)
        np.testing.assert_allclose(fitted.model.scorer.weight, wanted.model.scorer.weight, rtol=1e-4)


@pytest.mark.parametrize("features", ["linear", "quadratic"])
def test_gradient_of_many_blocks_is_the_automatic_one(features, x64):
    """Linear features are taken whole, others made in blocks; rows without a label are left out."""
    rng = np.random.default_rng(0)
    x, y = jnp.asarray(rng.normal(size=(9000, 2))), jnp.asarray(rng.integers(-1, 3, size=9000))
    model = dg.logistic_regression(2, 3, features)
    model = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), model)
    value, grad = model.gradient(x, y, jnp.ones(9000))
    expected, slope = jax.value_and_grad(lambda m: dg.log_conditional(m, x, y).sum())(model)
    assert float(value) == pytest.approx(float(expected), rel=1e-10)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), grad, slope)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["weights", "scales", "labels"])
def test_a_sample_that_misleads_does_not_end_a_fit_early(how, x64):
    """Weights or labels of a period, or sampled curvature far too large, on columns of a small scale."""
    rng, n = np.random.default_rng(0), 32_000
    x = 1e-3 * rng.normal(size=(n, 6))
    y = (rng.random(n) < 1 / (1 + np.exp(-x @ [1e3, -1e3, 500, 0, 0, 1e3]))).astype(int)
    weights, odd = np.ones(n), np.arange(n) % 4 != 0
    if how == "weights":
        weights = odd.astype(float)
    elif how == "labels":
        y = np.where(odd, y, -1)
    else:
        x[::16] *= 1000
    start = dg.logistic_regression(6, 2)
    loose = dg.fit(start, x, y, weights=weights, method=dg.Newton())
    tight = dg.fit(loose.model, x, y, weights=weights, method=dg.Newton(tol=1e-12))
    assert loose.converged
    assert float(tight.objective[-1] - loose.objective[-1]) < 1e-6 * weights.sum()


def test_a_prior_of_another_precision_is_taken(x64):
    x, y = table("gaussian")
    prior = dg.weak_prior(dg.naive_bayes(x, y), x)
    narrow = dg.naive_bayes(x.astype("float32"), y, prior=prior)
    assert narrow.density.mean.dtype == "float32"
    fitted = dg.fit(narrow, x.astype("float32"), y, prior=prior)
    np.testing.assert_allclose(fitted.model.density.mean, narrow.density.mean, rtol=1e-4, atol=1e-4)


def test_labels_that_are_no_numbers_are_named():
    x, y = table("gaussian")
    with pytest.raises(ValueError, match="whole-number labels"):
        dg.naive_bayes(x, np.where(np.arange(len(y)) == 3, 0.5, y))


@pytest.mark.parametrize("method", [dg.LBFGS(), pytest.param(dg.Newton(), marks=pytest.mark.slow)])
def test_a_generative_model_has_one_objective_by_any_method(method):
    """log p(x, y), not log p(y | x), which is that of blend=0."""
    x, y = table("poisson", d=2, k=2)
    start = dg.Mixture(np.zeros(2), dg.Poisson(np.ones((2, 2))))
    best, fitted = dg.fit(start, x, y), dg.fit(start, x, y, method=method)
    assert fitted.objective[-1] == pytest.approx(best.objective[-1], rel=1e-5)
    np.testing.assert_allclose(fitted.model.density.log_rate, best.model.density.log_rate, atol=1e-2)
