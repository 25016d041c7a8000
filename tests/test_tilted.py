"""Tilted densities: a tilt of 0, normalisers on a grid, a ratio that is known, labels, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_close, assert_same_tree
from zoo import LEARNED

import dgjax as dg
from dgjax import testing

D, K = 2, 2
KEY = jax.random.key(0)
pytestmark = pytest.mark.xdist_group("tilted")


def normal(*means):
    """Standard normal rows of one label or several."""
    return dg.Gaussian(np.array(means, "float32"), np.stack([np.eye(D, dtype="float32")] * len(means)))


def mixed():
    return dg.Mixture(np.zeros(2, "float32"), normal([0, 0], [3, 0]))


def curved(size=1.0, k=1):
    """A scorer that is well away from 0."""
    rng = np.random.default_rng(0)
    return dg.Quadratic(size * rng.normal(size=(k, D)).astype("float32"), rng.normal(size=(k, 3)).astype("float32"))


def classes(**options):
    return dg.Mixture(np.array([0.5, -0.5], "float32"), dg.Tilted(mixed(), curved(k=K), **options))


ROWS = np.random.default_rng(1).normal(size=(7, D)).astype("float32")


def test_a_tilt_of_0_is_the_base():
    zero = dg.Linear(np.zeros((1, D), "float32"))
    assert_close(dg.log_prob(dg.Tilted(mixed(), zero), ROWS), dg.log_prob(mixed(), ROWS), 1e-6)
    assert (dg.Tilted(mixed(), zero).normalizer() == 0).all()
    each, flat = normal([0, 0], [3, 0]), dg.Linear(np.zeros((K, D), "float32"))
    of_classes = dg.Mixture(np.zeros(K, "float32"), dg.Tilted(each, flat, num_samples=100))
    assert_close(dg.log_prob(of_classes, ROWS), dg.log_prob(mixed(), ROWS), 1e-5)
    assert (dg.log_prob_error(of_classes, ROWS) < 1e-6).all()


def on_a_grid(tilted, side=200, reach=8.0):
    """Log Z by a sum over cells of a grid, in float64."""
    steps = np.linspace(-reach, reach, side)
    rows = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, D)
    logs = np.asarray(tilted.base.scores(jnp.asarray(rows)), float).reshape(-1)
    tilts = np.asarray(dataclasses.replace(tilted, base=None, points=rows).log_weights_of_draws(), float)[:, 0]
    return np.logaddexp.reduce(logs + tilts) + 2 * np.log(steps[1] - steps[0])


@pytest.mark.slow
def test_the_interval_of_log_z_covers_what_a_grid_says():
    """In 95 % of 200 runs, each by its own draws."""
    tilted = dg.Tilted(mixed(), curved(), num_samples=2000)
    exact = on_a_grid(tilted)
    logs = jax.jit(jax.vmap(tilted.log_weights_of_draws))(jax.random.split(KEY, 200))[..., 0]
    estimates = jax.nn.logsumexp(logs, 1) - np.log(2000)
    errors = jax.vmap(tilted.error)(logs[..., None])[:, 0]
    assert abs(exact) > 0.1
    assert 0.91 <= (np.abs(estimates - exact) < 1.96 * errors).mean() <= 0.985


def test_it_is_a_density_as_far_as_its_error_says():
    tilted = dg.Tilted(mixed(), curved(), num_samples=4000)
    error = float(dg.log_prob_error(tilted, ROWS)[0])
    assert 0 < error < 0.05
    assert abs(float(tilted.normalizer()[0]) - on_a_grid(tilted)) < 4 * error
    assert (dg.log_prob_error(tilted, ROWS) == np.float32(error)).all()


def test_on_a_grid_it_is_the_normal_density():
    steps = np.linspace(-8, 8, 100)
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, D)
    half = dg.DiagonalQuadratic(np.array([[1.0, 0.0]]), -0.5 * np.ones((1, D)))
    tilted = dg.Tilted(None, half, points=points, volume=(steps[1] - steps[0]) ** 2, bound=1e6)
    assert_close(dg.log_prob(tilted, ROWS), dg.log_prob(normal([1, 0]), ROWS), 1e-3)
    assert (dg.log_prob_error(tilted, ROWS) == 0).all()


@pytest.mark.slow
def test_a_finite_space_is_learnt_by_its_exact_likelihood():
    """The maximum of an exponential family: the model's mean is that of the rows."""
    points = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    x = points[np.random.default_rng(0).choice(4, 200, p=[0.1, 0.2, 0.3, 0.4])]
    start = dg.Tilted(None, dg.Linear(np.zeros((1, D), "float32")), points=points, bound=100.0)
    model = dg.fit(start, x, method=dg.LBFGS()).model
    mean = np.exp(np.asarray(dg.log_prob(model, points), float)) @ points
    assert_close(mean, x.mean(0, dtype=float), 1e-3)


def test_a_score_does_not_depend_on_the_rows_beside_it():
    model = classes(num_samples=500)
    assert_close(dg.log_prob(model, ROWS[2:3]), dg.log_prob(model, ROWS)[2:3], 1e-5)
    assert_close(dg.log_prob(model, np.concatenate([ROWS] * 40))[-7:], dg.log_prob(model, ROWS), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("which", [-1, -2])
def test_laws_hold(which):
    case = LEARNED[which]
    assert case.name.startswith("tilted")
    testing.check_model(case.make, learn=False, fixed=case.fixed)


def learnt(start, x, y=None, steps=400, rate=0.02, **options):
    method = dg.Optax(optax.adam(rate), batch_size=200, key=jax.random.key(1))
    return dg.fit(start, x, y, method, max_steps=steps, **options)


@pytest.mark.slow
def test_a_ratio_that_is_known_is_learnt():
    """Of N((1, 0), I) and N(0, I): log-ratio x_1 - 1 / 2, within the bound where rows are."""
    x = np.random.default_rng(0).normal(size=(4000, D)).astype("float32") + np.array([1, 0], "float32")
    start = dg.Tilted(normal([0, 0]), dg.Linear(np.zeros((1, D), "float32")), bound=20.0)
    model = learnt(start, x).model
    assert_close(np.asarray(model.scorer.weight, float), [[1.0, 0.0]], 0.1)
    assert_close(np.asarray(dg.log_prob(model, ROWS)), np.asarray(dg.log_prob(normal([1, 0]), ROWS)), 0.1)
    assert abs(float(model.log_normalizer[0] - model.bias[0]) - 0.5) < 0.1


def moons(n, seed=0):
    rng = np.random.default_rng(seed)
    y, angle = rng.integers(0, K, n), rng.uniform(0, np.pi, n)
    x = np.stack([np.cos(angle) + y, np.sin(angle) * (1 - 2 * y) + y / 2], 1) + rng.normal(0, 0.1, (n, D))
    return x.astype("float32"), y


@pytest.mark.slow
@pytest.mark.parametrize("of_classes", [False, True])
def test_learning_with_classes(of_classes, tmp_path):
    """Half of the labels unknown; better than the base; the posterior is the discriminator's; saved to the bit."""
    x, y = moons(600)
    some = np.where(np.arange(len(y)) % 2, y, -1)
    base = dg.naive_bayes(x, y).density if of_classes else dg.fit(dg.gaussian_mixture(KEY, x, 3), x).model
    start = dg.tilted(KEY, base, x, some, hidden=(16,))
    assert_close(dg.log_prob(start, x), dg.log_prob(base if not of_classes else dg.Mixture(np.zeros(K), base), x), 1e-4)
    model = learnt(start, x, some).model
    new, labels = moons(500, 2)
    assert dg.log_prob(model, new).mean() > dg.log_prob(start, new).mean() + 0.1
    assert (np.asarray(dg.predict(model, new)) == labels).mean() > 0.9
    logits = jax.jit(lambda own, x: own.density.logits(x, jax.nn.log_softmax(own.log_weights)))(model, new)
    assert_close(dg.predict_log_proba(model, new), jax.nn.log_softmax(logits), 1e-4)
    assert_close(dg.predict_log_proba(dg.discriminative(model), new), dg.predict_log_proba(model, new), 1e-4)
    drawn, own = dg.sample(model, KEY, 400)
    assert (np.asarray(dg.predict(model, drawn)) == own).mean() > 0.9
    assert (model.density.effective_share() > 0.01).all()
    dg.save(tmp_path / "model", model)
    assert_same_tree(dg.load(tmp_path / "model"), model, 0)
    again = learnt(model, x, some, steps=1, rate=0.0).model
    assert_close(dg.log_joint(again, new, labels), dg.log_joint(model, new, labels), 1e-4)


@pytest.mark.slow
def test_with_the_usual_bound_draws_never_run_out():
    for size in (1.0, 1e3):
        tilted = dg.Tilted(normal([0, 0]), curved(size), num_samples=2000)
        assert 0.01 <= float(tilted.effective_share()[0]) < 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
def test_too_few_draws_are_told_and_the_advice_works():
    with pytest.raises(dg.LowEffectiveSampleSize, match=r"bound=2\.993"):
        dg.Tilted(normal([0, 0]), dg.Linear(np.array([[9.0, 0.0]])), bound=40.0)
    x = (np.random.default_rng(0).normal(size=(200, D)) * 0.1 + 4).astype("float32")
    with pytest.raises(dg.LowEffectiveSampleSize) as told:
        learnt(dg.Tilted(normal([0, 0]), dg.Linear(np.zeros((1, D), "float32")), bound=40.0), x, steps=5, rate=3.0)
    kept = dataclasses.replace(told.value.model, bound=2.993, log_normalizer=None)
    assert np.isfinite(dg.log_prob(kept, x)).all()
    assert np.isfinite(dg.log_prob(learnt(kept, x, steps=5).model, x)).all()


@pytest.mark.slow
def test_divergence_is_told_with_a_model_that_can_be_asked():
    x, _ = moons(100)
    start = dg.tilted(KEY, mixed(), x, hidden=(4,))
    with pytest.raises(dg.Diverged, match="smaller learning rate") as told:
        learnt(start, x, rate=lambda step: jnp.where(step < 3, 1e-2, jnp.inf))
    assert np.isfinite(dg.log_prob(told.value.model, x)).all()


HOLES = np.where(np.eye(4, D) > 0, np.nan, 0).astype("float32")
CHAIN = dg.HiddenMarkov(np.zeros(K), np.zeros((K, K)), normal([0, 0], [1, 1]))


def plain(**options):
    return dg.Tilted(mixed(), curved(), num_samples=100, **options)


WRONG = {
    "a hole": (lambda: dg.log_prob(plain(), HOLES), "A tilt cannot sum a cell out: type dgjax.autoregressive"),
    "imputing": (lambda: dg.impute(plain(), HOLES), "cannot sum a cell out"),
    "marginal": (lambda: dg.marginal(plain(), [0]), "A tilt cannot sum a cell out"),
    "fit": (lambda: dg.fit(plain(), ROWS), "learns by gradient"),
    "nothing": (lambda: dg.Tilted(None, curved()), "expects a base, or base=None and points"),
    "both": (lambda: plain(points=ROWS), "got both"),
    "labels": (lambda: dg.Tilted(normal([0, 0], [1, 1]), curved()), "A mixture of components is a base as a whole"),
    "columns": (lambda: dg.Tilted(mixed(), dg.Linear(np.zeros((1, 3)))), "expects a scorer of the base's 2 columns"),
    "scorer": (lambda: dg.Tilted(mixed(), mixed()), "must be a scorer"),
    "base": (lambda: dg.Tilted(curved(), curved()), "must be a density"),
    "bound": (lambda: plain(bound=-1.0), "bound must be"),
    "sequences": (lambda: dg.tilted(KEY, CHAIN, ROWS), "must be a generative model of rows"),
    "no model": (lambda: dg.tilted(KEY, dg.logistic_regression(2, 2), ROWS), "must be a generative model of rows"),
    "other columns": (lambda: dg.tilted(KEY, mixed(), np.zeros((9, 3))), "must have the 2 columns of the base"),
    "start": (lambda: dg.tilted(KEY, mixed(), HOLES), "cannot sum a cell out"),
    "blend": (lambda: learnt(plain(), ROWS, steps=1, blend=0.5), "by one contrast with its base"),
}
QUICK = "a hole", "nothing", "labels", "base"


@pytest.mark.parametrize(
    "mistake", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in WRONG]
)
def test_mistakes_are_named(mistake):
    call, words = WRONG[mistake]
    with pytest.raises(ValueError, match=words):
        call()
