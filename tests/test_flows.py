"""Normalising flows: change of variables in float64, integrals on a grid, whole numbers, bijections of others."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_close, assert_same_tree
from test_lowering import lower
from zoo import LEARNED

import dgjax as dg
from dgjax import testing

D, K = 3, 2
KEY = jax.random.key(0)
CENTRE, SCALE = np.array([1.0, -2.0, 0.5]), np.array([0.5, 3.0, 1.0])
MEANS = np.array([[1.0, -2.0, 0.0], [0.5, 1.0, 2.0]])
pytestmark = pytest.mark.xdist_group("flows")


def affine(parameters, u, y=None):
    """A triangular map, moved by the class."""
    z = jnp.tril(parameters["mix"]) @ u + (0 if y is None else parameters["shift"] @ y)
    return z, jnp.log(jnp.abs(jnp.diag(parameters["mix"]))).sum()


def affine_inverse(parameters, z, y=None):
    mix = jnp.tril(parameters["mix"])
    u = jax.scipy.linalg.solve_triangular(mix, z - (0 if y is None else parameters["shift"] @ y), lower=True)
    return u, -jnp.log(jnp.abs(jnp.diag(mix))).sum()


def parameters(d=D, seed=0):
    rng = np.random.default_rng(seed)
    mix = np.tril(rng.normal(0, 0.5, (d, d)), -1) + np.diag(rng.uniform(0.5, 2, d))
    return {"mix": jnp.asarray(mix), "shift": jnp.asarray(rng.normal(size=(d, K)))}


def plain(num_classes=1, **options):
    bijection = dg.Bijection(parameters(), affine, affine_inverse)
    return dg.Flow(bijection, CENTRE, SCALE, num_classes, **options)


def splines(kind="coupling", d=D, num_classes=1, **options):
    """Two layers, well away from where they start."""
    bijection = dg.SplineBijection.start(KEY, d, num_classes, kind, 2, width=4, num_bins=4)
    rng = np.random.default_rng(1)
    bijection = jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.1, leaf.shape).astype(leaf.dtype), bijection)
    return dg.Flow(bijection, CENTRE[:d], SCALE[:d], num_classes, **options)


def gaussian():
    """What an affine flow is: x = centre + scale M^-1 (z - shift)."""
    own = {name: np.asarray(leaf, float) for name, leaf in parameters().items()}
    spread = SCALE[:, None] * np.linalg.inv(own["mix"])
    factor = np.linalg.cholesky(spread @ spread.T)
    return dg.Mixture(np.zeros(K), dg.Gaussian((CENTRE[:, None] - spread @ own["shift"]).T, np.stack([factor] * K)))


def test_an_affine_flow_is_a_gaussian_of_each_class():
    model, x, y = dg.Mixture(np.zeros(K), plain(K)), np.array(MEANS[[0, 1, 1]] + SCALE, "float32"), np.array([0, 1, 0])
    own = {name: np.asarray(leaf, float) for name, leaf in parameters().items()}
    z = ((x - CENTRE) / SCALE) @ own["mix"].T + own["shift"].T[y]
    log_det = np.log(np.diag(own["mix"]) / SCALE).sum()
    expected = (-0.5 * (np.square(z) + np.log(2 * np.pi))).sum(-1) + log_det + np.log(1 / K)
    assert_close(dg.log_joint(model, x, y), expected.astype("float32"), 1e-5)


def test_a_class_may_scale_rows():
    log_scale = {"log": jnp.array([[0.0, 1.0]] * D)}
    bijection = dg.Bijection(
        log_scale,
        lambda own, u, y: (u * jnp.exp(own["log"] @ y), (own["log"] @ y).sum()),
        lambda own, z, y: (z * jnp.exp(-own["log"] @ y), -(own["log"] @ y).sum()),
    )
    model, x = dg.Mixture(np.zeros(K), dg.Flow(bijection, CENTRE, SCALE, K)), np.array(MEANS, "float32")
    normal = [-0.5 * np.square((x - CENTRE) / SCALE * np.exp(c)).sum(1) + D * c for c in (0.0, 1.0)]
    expected = np.stack(normal, 1) - np.log(SCALE).sum() - D / 2 * np.log(2 * np.pi) - np.log(K)
    joint = np.stack([dg.log_joint(model, x, np.full(len(x), label)) for label in (0, 1)], 1)
    assert_close(joint, expected.astype("float32"), 1e-5)


@pytest.mark.slow
def test_its_verbs_are_those_of_the_gaussian():
    model = dg.Mixture(np.zeros(K), plain(K))
    x, y = dg.sample(gaussian(), KEY, 40)
    some = np.where(np.arange(40) % 2, y, -1)
    assert_close(dg.log_joint(model, x, some), dg.log_joint(gaussian(), x, some), 1e-4)
    assert_close(dg.predict_log_proba(model, x[:7]), dg.predict_log_proba(model, x)[:7], 1e-5)
    drawn, _ = dg.sample(model, KEY, 4000)
    expected, _ = dg.sample(gaussian(), KEY, 4000)
    assert (np.abs(drawn.mean(0) - expected.mean(0)) < 0.1 * np.asarray(expected.std(0))).all()
    assert (dg.log_prob_error(model, x) == 0).all()


@pytest.mark.slow
def test_whole_numbers_have_the_mass_of_their_cube():
    """Of independent normals it is known: estimates by 64 draws are as far from it as their stated errors say."""
    flow = dg.Flow(
        dg.Bijection({}, lambda _, u: (u, 0 * u.sum())), CENTRE, 2 * np.ones(D), whole=(0, 1, 2), num_samples=4096
    )
    x = np.random.default_rng(0).integers(-3, 4, (8, D)).astype("float32")
    high, low = (np.asarray(jax.scipy.stats.norm.cdf(x + up, CENTRE, 2.0)) for up in (1, 0))
    exact = np.log(high - low).sum(-1)
    logs = jax.jit(flow.scores_by_draw)(x)[..., 0]
    assert_close(jax.nn.logsumexp(logs, 0) - np.log(4096), dg.log_prob(flow, x), 1e-4)
    groups = logs.reshape(64, 64, 8)
    estimates, errors = jax.nn.logsumexp(groups, 1) - np.log(64), jax.vmap(flow.error)(groups)
    assert (np.sqrt(np.square((estimates - exact) / errors).mean(0)) > 0.8).all()
    assert (np.sqrt(np.square((estimates - exact) / errors).mean(0)) < 1.25).all()
    assert (logs.mean(0) < exact).all()
    assert (dg.log_prob_error(flow, x) < 0.05).all()


@pytest.mark.slow
def test_laws_hold():
    case = LEARNED[1]
    testing.check_model(case.make, learn=False, fixed=case.fixed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "d"), [("coupling", 1), ("coupling", 3), ("autoregressive", 1), ("autoregressive", 3)]
)
def test_splines_invert_in_float32(kind, d):
    bijection = splines(kind, d, K).bijection
    u = jax.random.normal(KEY, (200, d))
    y = jnp.eye(K)[jnp.arange(200) % K]
    z, log_det = jax.jit(jax.vmap(bijection.transform_and_log_det))(u, y)
    back, more = jax.jit(jax.vmap(bijection.inverse_and_log_det))(z, y)
    assert np.std(log_det) > 0.1
    assert_close(back, u, 1e-5)
    assert_close(log_det, -more, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coupling", "autoregressive"])
def test_log_prob_is_the_change_of_variables(kind, x64):
    """log N(f(u)) + log |det J| by the Jacobian of the map; every cell is transformed; the gradient flows to each."""
    flow = jax.tree.map(lambda leaf: leaf.astype(float), splines(kind, num_classes=K))
    x = CENTRE + SCALE * np.random.default_rng(0).normal(size=(5, D))
    y = np.arange(5) % K

    def noise(x, y):
        return flow.bijection.transform_and_log_det((x - CENTRE) / SCALE, jnp.eye(K)[y])[0]

    z, slopes = jax.vmap(noise)(x, y), jax.vmap(jax.jacobian(noise))(x, y)
    normal = -0.5 * (np.square(z) + np.log(2 * np.pi)).sum(-1)
    expected = normal + np.linalg.slogdet(slopes)[1] + np.log(0.5)
    model = dg.Mixture(np.zeros(K), flow)
    assert_close(dg.log_joint(model, x, y), expected)
    assert_close(dg.log_joint(model, x[3:4], y[3:4]), expected[3:4])
    assert (np.asarray(slopes).std(0) > 0).any(1).all()
    slope = jax.grad(lambda own: dg.log_joint(own, x, y).sum())(model).density
    assert all(np.abs(leaf).max() > 0 for leaf in slope.bijection.parameters)
    assert (slope.centre == 0).all()


@pytest.mark.slow
def test_splines_integrate_to_one_on_a_grid():
    flow = splines(d=2)
    steps = np.linspace(-12, 12, 500)
    rows = CENTRE[:2] + SCALE[:2] * np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    area = SCALE[:2].prod() * (steps[1] - steps[0]) ** 2
    total = np.exp(np.asarray(dg.log_prob(flow, rows.astype("float32")), float)).sum() * area
    assert abs(total - 1) < 1e-3


def moons(n, seed=0):
    """Two arcs, and a count that depends on the class."""
    rng = np.random.default_rng(seed)
    y, angle = rng.integers(0, K, n), rng.uniform(0, np.pi, n)
    x = np.stack([np.cos(angle) + y, np.sin(angle) * (1 - 2 * y) + y / 2, rng.poisson(1 + 3 * y)], 1)
    x[:, :2] += rng.normal(0, 0.1, (n, 2))
    return x.astype("float32"), y


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
def test_learning_with_classes(tmp_path):
    """Half of the labels unknown, weights, a checkpoint; the twin; saved and loaded to the bit."""
    x, y = moons(400)
    start = dg.normalizing_flow(KEY, x, y, num_layers=2, width=16, num_bins=4)
    assert start.density.whole == (2,)
    some = np.where(np.arange(len(y)) % 2, y, -1)
    weights = np.where(np.arange(len(y)) < 300, 1.0, 0.5)
    method = dg.Optax(optax.adam(1e-2), 50, jax.random.key(1), validation=0.1)
    fit = dg.fit(start, x, some, method, weights=weights, max_steps=200, checkpoint=tmp_path / "fit")
    new, labels = moons(300, 2)
    assert dg.log_prob(fit.model, new).mean() > dg.log_prob(start, new).mean() + 0.5
    assert (np.asarray(dg.predict(fit.model, new)) == labels).mean() > 0.85
    assert (dg.log_prob_error(fit.model, new) > 0).all()
    twin = dg.discriminative(fit.model)
    assert_close(dg.predict_log_proba(twin, new), dg.predict_log_proba(fit.model, new), 1e-4)
    drawn, _ = dg.sample(fit.model, KEY, 50)
    assert (drawn[:, 2] == np.floor(drawn[:, 2])).all()
    dg.save(tmp_path / "model", fit.model)
    assert_same_tree(dg.load(tmp_path / "model"), fit.model, 0)


@pytest.mark.slow
def test_clusters_of_flows_learn_without_labels():
    x, _ = moons(100)
    start = dg.Mixture(
        np.zeros(K), dg.normalizing_flow(KEY, x[:, :2], np.arange(100) % K, num_layers=2, width=4).density
    )
    fit = dg.fit(start, x[:, :2], method=dg.Optax(optax.adam(1e-2)), max_steps=20)
    assert fit.objective[-1] > fit.objective[0]


@pytest.mark.slow
def test_flowjax_and_other_modules_go_in():
    equinox = pytest.importorskip("equinox")
    flows = pytest.importorskip("flowjax.flows")
    distributions = pytest.importorskip("flowjax.distributions")
    made = flows.planar_flow(KEY, base_dist=distributions.Normal(jnp.zeros(2)), negative_slope=0.1, flow_layers=2)
    arrays, rest = equinox.partition(made.bijection, equinox.is_inexact_array)
    bijection = dg.Bijection(
        arrays,
        lambda arrays, x: equinox.combine(arrays, rest).inverse_and_log_det(x),
        lambda arrays, z: equinox.combine(arrays, rest).transform_and_log_det(z),
    )
    flow = dg.Flow(bijection, np.zeros(2), np.ones(2))
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    assert_close(dg.log_prob(flow, x), made.log_prob(jnp.asarray(x)), 1e-4)
    fit = dg.fit(flow, 3 + x, method=dg.Optax(optax.adam(1e-2)), max_steps=30)
    assert fit.objective[-1] > fit.objective[0]


@pytest.mark.slow
def test_it_lowers_for_every_platform():
    flow, x = splines(), np.zeros((4, D), "float32")
    lower(jax.grad(lambda own: dg.log_prob(own, x).sum()), flow)
    lower(lambda own, key: dg.sample(own, key, 4)[0], flow, KEY)


def shaped(*images):
    return lambda: dg.Flow(dg.Bijection(parameters(), lambda own, u: images), CENTRE, SCALE)


def of(transform, inverse=None):
    return lambda: dg.Flow(dg.Bijection(parameters(), transform, inverse), CENTRE, SCALE)


ROWS = np.zeros((4, D), "float32")
HOLES = np.where(np.eye(4, D) > 0, np.nan, ROWS)
WRONG = {
    "image": (shaped(jnp.zeros(2), jnp.zeros(())), r"noise \(3,\) and a log-determinant \(\); it gave shapes \(2,\)"),
    "log-determinant": (shaped(jnp.zeros(3), jnp.zeros(3)), r"and \(3,\)"),
    "another row": (of(lambda own, u: affine(own, u[:2])), "cannot take a row of shape"),
    "not finite": (of(lambda own, u: (jnp.log(u), 0 * u.sum())), "must give finite numbers"),
    "no inverse": (of(affine, affine), "must be inverted by inverse_and_log_det"),
    "no sample": (lambda: dg.sample(of(affine)(), KEY, 3), "has no inverse"),
    "no bijection": (lambda: dg.Flow(dg.BernoulliCells(), CENTRE, SCALE), "must be a bijection"),
    "scale": (lambda: dataclasses.replace(plain(), scale=np.zeros(D)), "scale=...* must be at least"),
    "draws": (lambda: plain(num_samples=4), "num_samples is for columns of whole numbers"),
    "no draws": (lambda: plain(whole=(0,), num_samples=0), "num_samples must be"),
    "column": (lambda: plain(whole=(3,)), "columns must be distinct"),
    "a hole": (lambda: dg.log_prob(plain(), HOLES), "cannot sum a cell out: type dgjax.autoregressive"),
    "imputing": (lambda: dg.impute(plain(), HOLES), "cannot sum a cell out"),
    "draws of cells": (lambda: dg.sample_missing(plain(), KEY, HOLES), "cannot sum a cell out"),
    "marginal": (lambda: dg.marginal(plain(), [0]), "cannot sum a cell out"),
    "fit": (lambda: dg.fit(plain(), HOLES, method=dg.Optax(optax.sgd(0.1))), "cannot sum a cell out"),
    "part": (lambda: dg.log_prob(plain(whole=(0,)), ROWS + 0.5), "expects a whole number"),
    "no optimizer": (lambda: dg.fit(plain(), ROWS), "learns by gradient"),
    "kind": (lambda: dg.normalizing_flow(KEY, moons(9)[0], kind="planar"), "kind must be"),
    "layers": (lambda: dg.normalizing_flow(KEY, moons(9)[0], num_layers=1), "num_layers"),
    "start": (lambda: dg.normalizing_flow(KEY, np.where(np.eye(4, D) > 0, np.nan, moons(4)[0])), "cannot sum a cell"),
    "one value": (lambda: dg.normalizing_flow(KEY, ROWS + 0.5), "hold one value each"),
}


QUICK = "image", "a hole", "draws", "kind"


@pytest.mark.parametrize(
    "mistake", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in WRONG]
)
def test_mistakes_are_named(mistake):
    call, words = WRONG[mistake]
    with pytest.raises(ValueError, match=words):
        call()


def test_without_flowjax_an_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "flowjax", None)
    with pytest.raises(ImportError, match=r"pip install 'dgjax\[flows\]'"):
        dg.normalizing_flow(KEY, moons(9)[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
def test_what_a_flow_without_a_cell_is_told_to_do_works():
    x, _ = moons(60)
    holes = np.where(np.random.default_rng(0).random(x.shape) < 0.1, np.nan, x)[:, :2]
    filled = dg.impute(dg.fit(dg.gaussian_mixture(KEY, holes, 5), holes).model, holes)
    assert np.isfinite(dg.log_prob(dg.normalizing_flow(KEY, filled, num_layers=2), filled)).all()
    assert dg.autoregressive(KEY, holes, width=8, num_layers=1).num_features == 2
