"""Diffusion models: closed forms of a Gaussian by its exact velocity, missing cells, traces, the bound, learning."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_close, assert_same_tree
from scipy.stats import multivariate_normal
from test_lowering import lower
from zoo import LEARNED

import dgjax as dg
from dgjax import testing
from dgjax.densities import NUM_TIMES, Draws

D, K = 3, 2
KEY = jax.random.key(0)
CENTRE, SCALE = np.array([1.0, -1.0, 0.5]), np.array([2.0, 1.0, 0.7])
pytestmark = pytest.mark.xdist_group("diffusion")


def gaussian(seed=0):
    """Means (K, D) and a covariance in the user's units."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(D, D))
    return 2 * rng.normal(size=(K, D)), root @ root.T + 0.3 * np.eye(D)


def velocity(parameters, inputs, y=None):
    """E[dz/da | what is shown] of normal rows: cells seen with noise where they are generated, else clean."""

    def one(row, y):
        z, signal, generated, angle = row[:D], row[D : 2 * D], row[2 * D : 3 * D] > 0, row[3 * D]
        clean = ~generated & (signal > 0)
        mean, share = y @ parameters["mean"], jnp.where(generated, jnp.sin(angle), clean)
        noise = jnp.where(clean, 0, jnp.where(generated, jnp.cos(angle) ** 2, 1))
        seen = share[:, None] * parameters["cov"] * share + jnp.diag(noise)
        weight = jnp.linalg.solve(seen, jnp.where(share > 0, z - share * mean, 0))
        u, e = mean + parameters["cov"] @ (share * weight), jnp.cos(angle) * weight
        return jnp.cos(angle) * u - jnp.sin(angle) * jnp.where(generated, e, 0)

    return jax.vmap(one)(inputs, jnp.ones((len(inputs), 1)) if y is None else y)


def density(num_classes=1, **options):
    mean, cov = gaussian()
    own = {"mean": (mean[:num_classes] - CENTRE) / SCALE, "cov": cov / np.outer(SCALE, SCALE)}
    network = dg.Network(jax.tree.map(jnp.asarray, own), velocity)
    return dg.Diffusion(network, CENTRE, SCALE, num_classes, **{"num_steps": 40} | options)


def model(**options):
    return dg.Mixture(np.zeros(K), density(K, **options))


def exact():
    mean, cov = gaussian()
    return dg.Mixture(np.zeros(K), dg.Gaussian(mean, np.linalg.cholesky(cov)))


def rows(n=12, seed=0):
    x, y = dg.sample(exact(), jax.random.key(seed), n)
    return np.asarray(x), np.asarray(y)


def holes(x, share=0.4, seed=1):
    """Cells missing at random, and one row without any."""
    taken = np.where(np.random.default_rng(seed).random(x.shape) < share, np.nan, x)
    taken[0] = np.nan
    return taken.astype("float32")


def test_the_density_is_that_of_the_gaussian_by_its_exact_velocity():
    """With cells missing, which are summed out; 1e-4 in 40 steps, and less than a hundredth in 10."""
    x, y = rows()
    for taken in (x, holes(x)):
        assert_close(dg.log_joint(model(), taken, y), dg.log_joint(exact(), taken, y), 1e-4)
    assert float(dg.log_prob(model(), holes(x))[0]) == 0
    assert_close(dg.log_prob(model(num_steps=10), x), dg.log_prob(exact(), x), 1e-2)


@pytest.mark.slow
def test_missing_cells_are_imputed_and_drawn_as_the_gaussian_has_them():
    x, _ = rows()
    taken = holes(x)
    assert_close(dg.impute(model(), taken), dg.impute(exact(), taken), 1e-3)
    row = taken[np.isnan(taken).sum(1) == 1][:1].repeat(4000, 0)
    drawn, found = (np.asarray(dg.sample_missing(own, KEY, row)) for own in (model(), exact()))
    assert np.abs(drawn.mean(0) - found.mean(0)).max() < 0.1
    assert np.abs(drawn.std(0) - found.std(0)).max() < 0.1
    assert (drawn[:, ~np.isnan(row[0])] == row[:, ~np.isnan(row[0])]).all()


@pytest.mark.slow
def test_samples_have_the_gaussians_moments():
    mean, cov = gaussian()
    x, y = dg.sample(model(), KEY, 8000)
    for label in range(K):
        own = np.asarray(x)[np.asarray(y) == label]
        assert np.abs(own.mean(0) - mean[label]).max() < 0.15
        assert np.abs(np.cov(own.T) - cov).max() < 0.1 * cov.max()


@pytest.mark.slow
@pytest.mark.parametrize("split", [0.0, 1.0])
def test_the_bound_is_the_density_by_the_exact_velocity_and_below_it_by_another(split):
    """Of rows whole, and split in two: means over 24,000 draws of noise for each row, with their standard errors."""
    x, y = rows(6)
    own = density(K, split=split, class_free=0.0)
    many, labels = jnp.asarray(np.tile(x, (400, 1))), jnp.asarray(np.tile(y, 400))

    @jax.jit
    def ask(own, key):
        return own.learning_scores(many, labels, Draws(key)).reshape(400, 6).mean(0)

    mean, cov = gaussian()
    expected = np.array([multivariate_normal(mean[label], cov).logpdf(row) for row, label in zip(x, y, strict=True)])

    def gap(own):
        found = expected - [np.asarray(ask(own, jax.random.key(seed)), float) for seed in range(60)]
        return found.mean(0), found.std(0) / np.sqrt(len(found))

    near, error = gap(own)
    assert (np.abs(near) < 4 * error).all()
    assert (error < 0.3).all()
    moved = dataclasses.replace(own, network=jax.tree.map(lambda leaf: 1.5 * leaf, own.network))
    far, error = gap(moved)
    assert far.mean() > 4 * np.sqrt(np.square(error).mean() / 6)


def network_of(kind="mlp", d=D, num_classes=K, **options):
    """A random density that is far from where it starts."""
    x = np.random.default_rng(0).normal(CENTRE[0], 2, (9, d))
    y = None if num_classes == 1 else np.arange(9) % K
    start = dg.diffusion(KEY, x, y, kind, **{"num_layers": 1, "width": 8, "num_steps": 4} | options)
    own = start if y is None else start.density
    rng = np.random.default_rng(1)
    network = jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.2, leaf.shape).astype(leaf.dtype), own.network)
    return dataclasses.replace(own, network=network)


KINDS = {"mlp": {}, "transformer": {"width": 4}, "unet": {"image": (3, 5), "width": 4, "num_layers": 2}}


@pytest.mark.parametrize("kind", ["mlp", *[pytest.param(kind, marks=pytest.mark.slow) for kind in list(KINDS)[1:]]])
def test_masked_cells_have_no_influence(kind):
    """Whatever is put in the place of a missing cell: the value, the class, the velocity of those generated."""
    own = network_of(kind, 15 if kind == "unet" else D, **KINDS[kind])
    x = jax.random.normal(KEY, (4, own.num_features))
    cells = own._cells(x.at[:, 1].set(jnp.nan), 0)
    z = jnp.broadcast_to(x[:, None], (4, K, x.shape[1]))
    classes = own._classes(None, x.dtype)

    def at(z, u):
        return own._velocity(z, jnp.asarray(0.7), cells._replace(u=u), classes)

    assert (at(z, x) == at(z.at[..., 1].add(5.0), x.at[:, 1].add(7.0))).all()
    assert (at(z, x) != at(z.at[..., 0].add(5.0), x)).any()
    assert (at(z, x)[..., 1] == 0).all()
    assert (at(z, x)[:, 0] != at(z, x)[:, 1])[..., 0].any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_each_kind_of_network_learns_scores_and_draws(kind):
    d = 15 if kind == "unet" else D
    own = network_of(kind, d, **KINDS[kind])
    mixture, x = dg.Mixture(np.zeros(K), own), np.random.default_rng(0).normal(1, 2, (20, d)).astype("float32")
    x = holes(x)
    y = np.where(np.arange(20) % 3, np.arange(20) % K, -1)
    fit = dg.fit(mixture, x, y, dg.Optax(optax.adam(1e-2), 10, KEY, average=0.9), max_steps=40)
    assert dg.log_prob(fit.model, x).mean() > dg.log_prob(mixture, x).mean()
    for filled in (dg.sample(fit.model, KEY, 4)[0], dg.impute(fit.model, x), dg.sample_missing(fit.model, KEY, x)):
        assert np.isfinite(filled).all()


@pytest.mark.slow
def test_traces_by_probes_are_those_by_unit_vectors_and_their_error_is_honest():
    """Of 60 groups of 8 probes: the mean is the exact one, and errors stated are those found, within a factor 1.3."""
    own, number = network_of(), 480
    x = jnp.asarray(rows()[0])
    expected = np.asarray(own.scores(x))
    probed = dataclasses.replace(own, num_probes=number)
    logs = np.asarray(jax.jit(probed.scores_by_draw)(x))
    groups = logs.reshape(60, 8, *expected.shape)
    means, errors = groups.mean(1), groups.std(1, ddof=1) / np.sqrt(8)
    stated = np.sqrt(np.square(errors).mean((0, 2)))
    found = np.sqrt(np.square(means - expected).mean((0, 2)))
    assert (found / stated < 1.3).all()
    assert (stated / found < 1.3).all()
    joint = np.logaddexp.reduce(logs - np.float32(np.log(K)), axis=-1)
    error = joint.std(0, ddof=1) / np.float32(np.sqrt(number))
    assert_close(dg.log_prob_error(dg.Mixture(np.zeros(K), probed), x), error, 1e-4)
    assert (dg.log_prob_error(dg.Mixture(np.zeros(K), own), x) == 0).all()


@pytest.mark.slow
def test_whole_numbers_have_the_mass_of_their_cube():
    """Of a standard normal in units it is known; below it by probes, whose mean of logarithms is a bound."""
    network = dg.MLP((jnp.zeros((3 * D + NUM_TIMES, D)),), (jnp.zeros(D),))
    own = dg.Diffusion(network, CENTRE, 2 * np.ones(D), whole=(0, 1, 2), num_samples=2000, num_steps=1)
    x = np.random.default_rng(0).integers(-3, 4, (8, D)).astype("float32")
    normal = jax.scipy.stats.norm.cdf
    mass = np.log(np.asarray(normal(x + 1, CENTRE, 2.0)) - np.asarray(normal(x, CENTRE, 2.0))).sum(-1)
    assert np.abs(np.asarray(dg.log_prob(own, x)) - mass).max() < 0.05
    bound = dataclasses.replace(own, num_probes=1)
    assert (np.asarray(dg.log_prob(bound, x)) < mass).all()
    drawn = np.asarray(own.sample(KEY, (jnp.zeros(9, int),)))
    assert (drawn == np.floor(drawn)).all()
    taken = holes(x)
    for filled in (dg.impute(own, taken), dg.sample_missing(own, KEY, taken)):
        assert (np.asarray(filled) == np.floor(filled)).all()
    assert (dg.log_prob_error(own, x) < 0.05).all()


@pytest.mark.slow
def test_guidance_moves_draws_towards_their_class_and_no_density():
    """Without its class a row is normal about the origin; the class-free velocity here is that of a mean of 0."""
    x, _ = rows()
    plain, guided = (model(guidance=own) for own in (0.0, 2.0))
    assert_close(dg.log_prob(guided, x), dg.log_prob(plain, x), 1e-6)
    means = [np.asarray(dg.sample(own, KEY, 2000)[0]) for own in (plain, guided)]
    y = np.asarray(dg.sample(plain, KEY, 2000)[1])
    apart = [np.abs((own[y == 0].mean(0) - own[y == 1].mean(0)) / SCALE).sum() for own in means]
    assert apart[1] > 1.5 * apart[0]


@pytest.mark.slow
def test_laws_hold():
    case = LEARNED[2]
    testing.check_model(case.make, learn=False, fixed=case.fixed)


@pytest.mark.slow
def test_a_row_has_one_score_in_any_batch():
    own, (x, _) = dg.Mixture(np.zeros(K), dataclasses.replace(network_of(), num_probes=3)), rows(40)
    assert_close(dg.log_prob(own, x[:7]), dg.log_prob(own, x)[:7], 1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
def test_learning_with_classes(tmp_path):
    """Half of the labels unknown, cells missing, weights, averages, a checkpoint; the twin; saved and loaded."""
    x, y = rows(400, 3)
    start = dg.diffusion(KEY, x, y, width=32, num_layers=2)
    some, taken = np.where(np.arange(len(y)) % 2, y, -1), holes(x, 0.1)
    method = dg.Optax(optax.adam(1e-2), 50, jax.random.key(1), validation=0.1, average=0.9)
    dg.fit(start, taken, some, method, max_steps=80, checkpoint=tmp_path / "fit")
    fit = dg.fit(start, taken, some, method, max_steps=400, checkpoint=tmp_path / "fit")
    once = dg.fit(start, taken, some, method, max_steps=400)
    assert_same_tree(fit.model, once.model, 0)
    new, labels = rows(200, 4)
    begin, found, best = (float(dg.log_prob(own, new).mean()) for own in (start, fit.model, exact()))
    assert found > (begin + best) / 2
    right = (np.asarray(dg.predict(exact(), new)) == labels).mean()
    assert (np.asarray(dg.predict(fit.model, new)) == labels).mean() > right - 0.1
    twin = dg.discriminative(fit.model)
    assert_close(dg.predict_log_proba(twin, new), dg.predict_log_proba(fit.model, new), 1e-4)
    dg.save(tmp_path / "model", fit.model)
    assert_same_tree(dg.load(tmp_path / "model"), fit.model, 0)


@pytest.mark.slow
def test_divergence_is_told():
    x, _ = rows(40)
    with pytest.raises(dg.Diverged, match="no longer finite"):
        dg.fit(dg.diffusion(KEY, x, width=8), x, method=dg.Optax(optax.sgd(1e30), 10, KEY), max_steps=50)


@pytest.mark.slow
def test_it_lowers_for_every_platform():
    own, x = dg.Mixture(np.zeros(K), network_of()), jnp.asarray(holes(rows(4)[0]))
    lower(jax.grad(lambda own: dg.log_prob(own, x).sum()), own)
    lower(dg.sample_missing, own, KEY, x)


X = rows(9)[0]
WRONG = {
    "network": (lambda: dg.Diffusion(dg.MLP.start(KEY, (D, D)), CENTRE, SCALE), "must be of 19 inputs and 3 outputs"),
    "outputs": (lambda: dg.Diffusion(dg.MLP.start(KEY, (19, 1)), CENTRE, SCALE), r"of 2 rows it gave \(2, 1, 1\)"),
    "no network": (lambda: dg.Diffusion(3.0, CENTRE, SCALE), "is not callable"),
    "scale": (lambda: density().__class__(density().network, CENTRE, 0 * SCALE), "must be at least"),
    "steps": (lambda: density(num_steps=0), "num_steps must be"),
    "probes": (lambda: density(num_probes=-1), "num_probes must be"),
    "split": (lambda: density(split=1.5), "split must be a number, from 0 to 1"),
    "guidance": (lambda: density(guidance=-1.0), "guidance must be a number"),
    "draws": (lambda: density(num_samples=4), "num_samples is for columns of whole numbers"),
    "one probe": (lambda: dg.log_prob_error(density(num_probes=1), X), "num_probes=8; the model has 1"),
    "a part": (lambda: dg.log_prob(density(whole=(0,)), X), "expects a whole number"),
    "no optimizer": (lambda: dg.fit(density(), X), "learns by gradient"),
    "kind": (lambda: dg.diffusion(KEY, X, kind="cnn"), "kind must be one of"),
    "no image": (lambda: dg.diffusion(KEY, X, kind="unet"), r"needs it, image=\(height, width\)"),
    "pixels": (lambda: dg.diffusion(KEY, X, kind="unet", image=(2, 2)), "of the 3 columns"),
    "an image": (lambda: dg.diffusion(KEY, X, image=(1, 3)), 'image is for kind="unet"'),
    "a bound": (lambda: dg.elbo(density(), X), "is for a variational autoencoder"),
}
QUICK = "network", "outputs", "kind"


@pytest.mark.parametrize(
    "mistake", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in WRONG]
)
def test_mistakes_are_named(mistake):
    call, words = WRONG[mistake]
    with pytest.raises(ValueError, match=words):
        call()
