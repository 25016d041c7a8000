"""float32 against float64: the conformance that the numerics page promises."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import slow

import dgjax as dg

# One worker for all, for they share their compiled functions.
pytestmark = [pytest.mark.xdist_group("numerics"), pytest.mark.usefixtures("form")]
N, D = 400, 5
OFFSETS = [0.0, 1e2, 1e3, 1e4]
SCALES = [1e-3, 1.0, 1e3]
COVARIANCES = ["full", "tied", "diagonal", "spherical"]


def data(offset, scale, smallest, missing):
    """Two clusters, of which one direction has the smallest spread; the same cells in both precisions."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D))
    x[:, -1] = x[:, 0] + smallest * x[:, -1]
    x[N // 2 :] += 3
    x = (offset + scale * x).astype("float32")
    return np.where(rng.random((N, D)) < missing, np.float32(np.nan), x)


def labels():
    return np.arange(N) >= N // 2


def in_double(fn, *trees):
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, "float64") if leaf.dtype == "float32" else leaf, trees)
        return jax.tree.map(np.asarray, fn(*wide))


def assert_log_density(value, exact):
    """1e-3 nats + 1e-5 relative."""
    assert value.dtype == "float32"
    assert (np.abs(np.asarray(value) - exact) <= 1e-3 + 1e-5 * np.abs(exact)).all()


def told_apart(offset, scale, smallest):
    """Whether the cells still differ where it counts: float32 rounds 1e4 to the nearest 1e-3, in any arithmetic."""
    return offset * np.finfo("float32").eps < 1e-2 * scale * smallest


CASES = [case for case in itertools.product(OFFSETS, SCALES, [1.0, 1e-2]) if told_apart(*case)]


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize(("offset", "scale", "smallest"), CASES)
def test_fit_and_density(offset, scale, smallest, covariance, missing):
    x, y = data(offset, scale, smallest, missing), labels()

    def fitted(x):
        start = dg.discriminant_analysis(x, y, covariance)
        return dg.fit(start, x, y, method=dg.EM(tol=0.0), max_steps=100).model

    model, exact = fitted(x), in_double(fitted, x)
    assert_log_density(dg.log_prob(model, x), in_double(dg.log_prob, model, x))
    np.testing.assert_allclose(model.density.mean, exact.density.mean, rtol=1e-3, atol=1e-3 * scale)
    if covariance in ("full", "tied"):
        # Whitened, so that the smallest direction counts as much as the others.
        ratio = np.linalg.solve(exact.density.scale_tril, np.asarray(model.density.scale_tril, float))
        np.testing.assert_allclose(
            ratio @ np.swapaxes(ratio, -1, -2), np.broadcast_to(np.eye(D), ratio.shape), atol=1e-3
        )
    else:
        np.testing.assert_allclose(model.density.log_scale, exact.density.log_scale, atol=1e-3)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("offset", OFFSETS)
def test_density_wherever_the_data_lie(offset, scale, covariance, missing):
    """For rows out to hundreds of nats, with covariances of condition numbers over 1e4."""
    rng = np.random.default_rng(3)
    mean = np.asarray(offset + scale * rng.normal(size=(2, D)), "float32")
    factor = scale * (np.eye(D) * [1, 1, 1, 1, 1e-2] + 0.5 * np.tril(rng.normal(size=(2, D, D)), -1))
    diagonal = dg.DiagonalGaussian(mean, np.log(scale) + 0.3 * rng.normal(size=(2, D)))
    model = dg.Mixture(np.zeros(2), dg.Gaussian(mean, factor) if covariance == "full" else diagonal)
    x = data(offset, scale, 1.0, missing)
    assert np.linalg.cond(factor).min() > 1e2
    assert_log_density(dg.log_prob(model, x), in_double(dg.log_prob, model, x))


@pytest.mark.parametrize("width", [1e-1, 1e-3])
def test_tight_clusters(width):
    """Clusters of width 1e-3 at distance 3, where an expanded quadratic is off by tens of nats."""
    rng = np.random.default_rng(1)
    mean = rng.normal(size=(3, 16)) * 3
    x = (mean[rng.integers(0, 3, 300)] + width * rng.normal(size=(300, 16))).astype("float32")
    factor = width * np.eye(16)
    for density in (dg.Gaussian(mean, factor), dg.DiagonalGaussian(mean, np.full((3, 1), np.log(width)))):
        model = dg.Mixture(np.zeros(3), density)
        assert_log_density(dg.log_prob(model, x), in_double(dg.log_prob, model, x))
        assert_log_density(
            dg.log_joint(model, x, np.zeros(300, int)), in_double(dg.log_joint, model, x, np.zeros(300, int))
        )


def test_large_counts():
    rng = np.random.default_rng(2)
    rates = np.array([[1e-3, 1.0, 1e3, 1e6], [1e-2, 2.0, 1.1e3, 1.01e6]])
    x = rng.poisson(rates[rng.integers(0, 2, 200)]).astype("float32")
    poisson = dg.Mixture(np.zeros(2), dg.Poisson(np.log(rates)))
    multinomial = dg.Mixture(np.zeros(2), dg.Multinomial(np.log(rates)))
    for model in (poisson, multinomial):
        rounded = jax.tree.map(lambda leaf: leaf.astype("float32"), model)
        assert_log_density(dg.log_prob(rounded, x), in_double(dg.log_prob, rounded, x))


@pytest.mark.parametrize("size", [1e2, 1e5, 1e7])
@pytest.mark.parametrize("family", ["Poisson", "multinomial", "chain", *slow("nested", "columns")])
def test_a_twin_of_counts_is_as_exact_as_its_density(family, size):
    """What its labels have in common cancels before counts multiply it: the log-odds were 760 off."""
    rng = np.random.default_rng(3)
    rates = size * np.exp(rng.normal(size=4) + rng.normal(size=(3, 4)) / np.sqrt(size))
    rates[0, 3], x = 0, rng.poisson(rates[rng.integers(0, 3, 60)]).astype("float32")
    with np.errstate(divide="ignore"):
        log_rate = np.log(rates).astype("float32")
    density = dg.Multinomial(log_rate) if family == "multinomial" else dg.Poisson(log_rate)
    if family == "columns":
        density = dg.Columns((dg.Poisson(log_rate[:, :2]), dg.Multinomial(log_rate[:, 2:])), ((0, 1), (2, 3)))
    model = dg.Mixture(np.zeros(3, "float32"), density)
    if family == "nested":
        model = dg.Mixture(np.zeros(2, "float32"), dg.Mixture(np.zeros((2, 3), "float32"), dg.Poisson([log_rate] * 2)))
    if family == "chain":
        model, x = dg.HiddenMarkov(np.zeros(3, "float32"), np.zeros((3, 3), "float32"), density), x[None]
    twin = dg.discriminative(model)
    one, other = (np.asarray(dg.predict_log_proba(m, x), float) for m in (model, twin))
    near = one > -80
    np.testing.assert_allclose(other[near], one[near], rtol=1e-5, atol=max(1e-3, 2e-5 * np.sqrt(size)))
    assert (other[~near] < -70).all()
    sure = np.diff(np.sort(one))[..., -1] > 0.2
    assert (dg.predict(model, x) == dg.predict(twin, x))[sure].all()
    assert sure.any() == (family != "nested")


@pytest.mark.slow
def test_many_rows_add_up():
    """A million equal rows: a running sum in float32 would stop growing."""
    x = np.full((1_000_000, 1), 0.5, "float32")
    model = dg.Mixture(np.zeros(1), dg.DiagonalGaussian(np.zeros((1, 1)), np.zeros((1, 1))))
    fitted = dg.fit(model, np.where(np.arange(len(x))[:, None] % 2 == 0, x, -x), method=dg.EM(tol=0.0), max_steps=1)
    assert fitted.model.density.log_scale[0, 0] == pytest.approx(np.log(0.5), rel=1e-6)
    expected = -0.5 * np.log(2 * np.pi) - np.log(0.5) - 0.5
    assert fitted.objective[-1] / len(x) == pytest.approx(expected, rel=1e-6)


def test_an_impossible_row_is_minus_infinity_and_nothing_else():
    """No NaN, no guess: the label is unknown, and cells stay missing."""
    logits = np.array([[np.inf, 0.0], [np.inf, 1.0]])
    model = dg.Mixture(np.zeros(2), dg.Bernoulli(logits))
    x = np.array([[0.0, np.nan], [1.0, np.nan]])
    assert dg.log_prob(model, x).tolist() == [-np.inf, 0.0]
    assert dg.predict(model, x).tolist()[0] == -1
    assert dg.sample_labels(model, jax.random.key(0), x)[0] == -1
    for filled in (dg.impute(model, x), dg.sample_missing(model, jax.random.key(0), x)):
        assert np.isnan(filled).tolist() == [[False, True], [False, False]]


def test_a_missing_count_may_be_many_times_what_was_observed(dtype):
    """Its mode is (N - 1) odds whole, of an observed total N; odds of 4e8 were 8e6 in float32, and e^100 NaN or 0."""
    odds = np.exp([20.0, 60.0, 80.0])
    model = dg.Mixture([0.0], dg.Multinomial(np.array([[0.0, *np.log(odds)]], dtype)))
    totals = np.array([0.0, 1.0, 2.0, 5.0], dtype)
    filled = dg.impute(model, np.column_stack([totals, np.full((4, 3), np.nan)]).astype(dtype))
    np.testing.assert_allclose(filled[:, 1:], np.maximum(totals - 1, 0)[:, None] * odds, rtol=1e-5, atol=1)
    beyond = dg.Mixture([0.0], dg.Multinomial(np.array([[0.0, 800.0]], dtype)))
    filled = dg.impute(beyond, np.column_stack([totals, np.full(4, np.nan)]).astype(dtype))
    assert (filled[:2, 1] == 0).all()
    assert (filled[2:, 1] > 1e37).all()
