"""Variational autoencoders: a linear one in closed form, the laws that hold for bounds, holes, labels, learning."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_close, assert_same_tree
from scipy import stats
from scipy.special import logsumexp

import dgjax as dg
from dgjax.densities import Draws

N, D, M, K = 6, 5, 2, 3
KEY = jax.random.key(0)
ADAM = optax.adam(1e-2)
pytestmark = pytest.mark.xdist_group("autoencoder")


def linear_gaussian(num_samples=8, tilt=0.0, seed=0):
    """x = W z + c + noise, and the exact posterior of z as q, unless it is tilted; with the covariance of x."""
    rng = np.random.default_rng(seed)
    W, c, log_scale = rng.normal(size=(M, D)), rng.normal(size=D), rng.normal(-0.5, 0.2, D)
    precision = np.eye(M) + (W / np.exp(2 * log_scale)) @ W.T
    # One whose directions do not interact: q has no covariances.
    W = np.linalg.qr(W.T / np.exp(log_scale)[:, None])[0].T * np.array([[1.5], [0.7]]) * np.exp(log_scale)
    precision = np.diag(np.eye(M) + (W / np.exp(2 * log_scale)) @ W.T)
    to_mean = (W / np.exp(2 * log_scale) / precision[:, None]).T
    weight = np.concatenate([to_mean, np.zeros((D, M))], 1)
    bias = np.concatenate([-c @ to_mean + tilt, -0.5 * np.log(precision) + tilt])
    encoder, decoder = dg.MLP((jnp.array(weight),), (jnp.array(bias),)), dg.MLP((jnp.array(W),), (jnp.array(c),))
    model = dg.VariationalAutoencoder(
        encoder, decoder, dg.GaussianCells(jnp.array(log_scale)), D, M, num_samples=num_samples
    )
    return model, stats.multivariate_normal(c, W.T @ W + np.diag(np.exp(2 * log_scale)))


def with_draws_of(model, number, seed=0, training=1):
    networks = model.encoder, model.decoder, model.likelihood
    options = {"num_samples": number, "seed": seed, "num_training_samples": training}
    return dg.VariationalAutoencoder(*networks, D, M, model.num_classes, **options)


def test_at_the_best_encoder_every_weight_is_the_exact_density(x64):
    """q is p(z | x), so that any number of draws gives log p(x), and the evidence lower bound does on average."""
    model, exact = linear_gaussian(num_samples=1)
    x = exact.rvs(400, random_state=0)
    assert_close(dg.log_prob(model, x), exact.logpdf(x))
    assert_close(dg.log_prob_error(with_draws_of(model, 8), x), np.zeros(400), 1e-7)
    off = np.asarray(dg.elbo(model, x)) - exact.logpdf(x)
    assert abs(off.mean()) < 5 * off.std() / np.sqrt(400) < 0.25


@pytest.mark.slow
def test_the_bound_rises_with_the_number_of_draws_and_stays_below(x64):
    """Of an encoder that is off, over many rows; and the standard error is what the estimates vary by."""
    model, exact = linear_gaussian(tilt=0.6)
    x = exact.rvs(4000, random_state=0)
    truth = exact.logpdf(x)
    gaps = [truth - dg.log_prob(with_draws_of(model, number), x) for number in (1, 4, 16)]
    one = truth - dg.elbo(with_draws_of(model, 1), x)
    assert abs(gaps[0].mean() - one.mean()) < 5 * np.hypot(gaps[0].std(), one.std()) / np.sqrt(4000)
    means = np.array([gap.mean() for gap in gaps])
    assert (means > 0).all()
    assert (means[1:] < 0.6 * means[:-1]).all()
    errors = dg.log_prob_error(with_draws_of(model, 256), x)
    many = truth - dg.log_prob(with_draws_of(model, 256), x)
    assert float(jnp.sqrt((errors**2).mean())) == pytest.approx(np.sqrt((many**2).mean()), rel=0.1)


@pytest.mark.slow
def test_missing_cells_are_those_of_the_exact_gaussian(x64):
    """log p(x_observed), its cells' means and draws, by importance: against the normal distribution that x has."""
    model, exact = linear_gaussian(num_samples=2000)
    x = exact.rvs(4, random_state=1)
    holes = np.array([[1, 1, 1, 1, 1], [0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [1, 1, 0, 1, 0]], bool)
    rows = np.where(holes, np.nan, x)
    gaussian = dg.Gaussian(exact.mean[None], np.linalg.cholesky(exact.cov)[None])
    errors = np.asarray(dg.log_prob_error(model, rows))
    assert dg.log_prob(model, rows)[0] == errors[0] == 0
    assert (np.abs(dg.log_prob(model, rows) - dg.log_prob(gaussian, rows)) <= 5 * errors).all()
    assert errors.max() < 0.2
    assert_close(dg.impute(model, rows[1:]), dg.impute(gaussian, rows[1:]), 0.15)
    many = np.repeat(rows, 400, axis=0)
    drawn, expected = (
        np.asarray(dg.sample_missing(m, KEY, many)).reshape(4, 400, D) for m in (with_draws_of(model, 100), gaussian)
    )
    assert (drawn == x[:, None])[np.broadcast_to(~holes[:, None], drawn.shape)].all()
    spread = expected.std(1) + 1e-12
    assert (np.abs(drawn.mean(1) - expected.mean(1)) < 5 * spread * np.sqrt(2 / 400)).all()
    assert (np.abs(drawn.std(1) / spread - 1)[holes] < 0.2).all()


LIKELIHOODS = {
    "bernoulli": lambda: dg.BernoulliCells(),
    "gaussian": lambda: dg.GaussianCells(jnp.zeros(D)),
    "poisson": lambda: dg.PoissonCells(),
    "categorical": lambda: dg.CategoricalCells(4),
}


def classes(likelihood="bernoulli", num_classes=K):
    model = dg.variational_autoencoder(KEY, D, M, LIKELIHOODS[likelihood](), num_classes, hidden=(7,))
    if num_classes is None:
        return with_draws_of(model, 16)
    return dg.Mixture(model.log_weights, with_draws_of(model.density, 16))


def rows_of(model, n=N, seed=0, share=0.3):
    x, y = dg.sample(model, jax.random.key(seed), n)
    holes = np.random.default_rng(seed).random(x.shape) < share
    return np.where(holes, np.nan, x), np.array(y)


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_laws_of_a_generative_classifier(likelihood):
    """Those of the other models that hold for bounds: sums over labels, holes, marginals, rows by themselves."""
    model = classes(likelihood)
    x, _ = rows_of(model)
    x[1] = np.nan
    joint = np.stack([dg.log_joint(model, x, np.full(N, k)) for k in range(K)], -1)
    evidence = np.asarray(dg.log_prob(model, x))
    assert evidence[1] == 0
    assert_close(logsumexp(joint, axis=-1), evidence)
    assert_close(joint - evidence[:, None], dg.predict_log_proba(model, x))
    assert (dg.log_joint(model, x, np.full(N, -1)) == evidence).all()
    assert_close(dg.log_prob(model, x[3:4]), evidence[3:4], 1e-5)
    for filled in (dg.impute(model, x), dg.sample_missing(model, KEY, x)):
        assert (np.asarray(filled)[~np.isnan(x)] == x[~np.isnan(x)]).all()
        assert np.isfinite(dg.log_prob(model, filled)).all()


def test_a_chain_asks_of_a_bound_what_it_asks_of_a_density():
    """Traced, not run: the bound takes the place of the density within the model."""
    chain = dg.HiddenMarkov(np.zeros(K), np.zeros((K, K)), classes().density)
    steps = jax.ShapeDtypeStruct((2, 3, D), "float32")
    bounds = jax.eval_shape(dg.elbo, chain, steps)
    assert bounds.shape == jax.eval_shape(dg.log_prob, chain, steps).shape == (2,)


@pytest.mark.slow
def test_an_autoencoder_is_a_density_like_any_other():
    """In the states of a hidden Markov model, and beside other columns: scores, draws, and steps of learning."""
    density = classes().density
    chain = dg.HiddenMarkov(np.full(K, -np.log(K)), np.log(np.full((K, K), 1 / K)), density)
    x, _ = dg.sample(chain, KEY, (8, 4))
    x = x.at[0, 1].set(jnp.nan)
    lengths = np.array([4, 2] * 4)
    single = dg.Mixture(np.zeros(K), density)  # moves to everywhere: every step by itself
    steps = np.where(np.arange(4) < lengths[:, None], dg.log_prob(single, x.reshape(-1, D)).reshape(8, 4), 0)
    assert_close(dg.log_prob(chain, x, lengths), steps.sum(1).astype("float32"), 1e-4)
    assert (dg.elbo(chain, x, lengths=lengths) <= dg.log_prob(chain, x, lengths) + 1).all()
    wide = dg.Columns((density, dg.DiagonalGaussian(np.zeros((K, 1)), np.zeros((K, 1)))), ((0, 1, 2, 3, 4), (5,)))
    rows = jnp.concatenate([x, x[..., :1]], -1).reshape(-1, D + 1)
    for model, data in ((chain, x), (dg.Mixture(np.zeros(K), wide), rows)):
        objective = dg.fit(model, data, method=dg.Optax(ADAM, batch_size=8, key=KEY), max_steps=30).objective
        assert np.isfinite(objective).all()
        assert objective[-1] > objective[0]
    assert dg.log_prob(single, np.zeros((0, D))).shape == (0,)


@pytest.mark.slow
def test_some_columns_are_a_model_of_them():
    model = classes()
    x, _ = rows_of(model)
    part, some = dg.marginal(model, [3, 0]), x[:, [3, 0]]
    whole = np.where(np.isin(np.arange(D), [3, 0]), x, np.nan)
    assert_close(dg.log_prob(part, some), dg.log_prob(model, whole), 1e-5)
    assert (np.asarray(dg.impute(part, some)) == np.asarray(dg.impute(model, whole))[:, [3, 0]]).all()
    assert_close(dg.log_prob_error(part, some), dg.log_prob_error(model, whole), 1e-4)
    assert_close(dg.log_prob(dg.marginal(part, [1]), some[:, 1:]), dg.log_prob(dg.marginal(model, [0]), x[:, :1]), 1e-5)
    assert dg.sample(part, KEY, 3)[0].shape == dg.sample_missing(part, KEY, some[:3]).shape == (3, 2)


@pytest.mark.slow
def test_a_row_of_nothing_is_filled_from_the_model_itself():
    """Draws for empty rows have the means that samples have."""
    model = classes("bernoulli", None)
    filled = dg.sample_missing(model, KEY, np.full((2000, D), np.nan))
    drawn, _ = dg.sample(model, jax.random.key(1), 2000)
    assert np.abs(filled.mean(0) - drawn.mean(0)).max() < 5 * np.sqrt(0.5 / 2000)


@pytest.mark.slow
def test_the_gradient_is_a_model_and_right(x64):
    model = classes("poisson")
    x, y = rows_of(model)
    y[:2] = -1
    total = jax.jit(lambda m: dg.log_joint(m, x, y).sum())
    grad = jax.grad(total)(model)
    assert type(grad) is dg.Mixture
    rng = np.random.default_rng(0)
    line = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), model)
    moved = [total(jax.tree.map(lambda a, b, h=h: a + h * b, model, line)) for h in (-1e-6, 1e-6)]
    slope = sum(float((a * b).sum()) for a, b in zip(jax.tree.leaves(grad), jax.tree.leaves(line), strict=True))
    assert slope == pytest.approx(float(moved[1] - moved[0]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("image", [None, pytest.param((4, 3), marks=pytest.mark.slow)], ids=["layers", "convolutions"])
def test_saved_and_loaded_to_the_bit(image, tmp_path):
    model = dg.variational_autoencoder(KEY, 12, M, num_classes=2, hidden=(7,), image=image, channels=(3, 4))
    for one in (model, dg.marginal(model, [2, 0]), dg.discriminative(model)):
        dg.save(tmp_path / "model", one)
        assert_same_tree(dg.load(tmp_path / "model"), one, 0)
    x, y = dg.sample(model, KEY, 9)
    assert x.shape == (9, 12)
    assert np.isfinite(dg.log_joint(model, x, y)).all()


@pytest.mark.slow
def test_the_latent_space():
    """Reconstructions are decoded means; a walk begins and ends with those of its rows."""
    model = classes()
    x, y = rows_of(model)
    mean, scale = dg.encode(model, x, y)
    assert mean.shape == scale.shape == (N, M)
    assert (scale > 0).all()
    again = dg.reconstruct(model, x, y)
    assert_close(again, dg.decode(model, mean, y))
    walk = dg.interpolate(model, x[0], x[1], 5, y[:2])
    assert walk.shape == (5, D)
    assert_close(walk[jnp.array([0, -1])], again[:2], 1e-5)
    assert_close(dg.encode(model, x)[0], dg.encode(model, x, dg.predict(model, x))[0])
    plain = classes(num_classes=None)
    assert_close(dg.decode(plain, dg.encode(plain, x)[0]), dg.reconstruct(plain, x))


@pytest.mark.slow
def test_the_twin_keeps_the_encoder_and_learns_the_head():
    model = classes()
    x, y = dg.sample(model, KEY, 60)
    twin = dg.discriminative(model)
    assert_close(dg.predict_log_proba(twin, x), jnp.broadcast_to(jax.nn.log_softmax(model.log_weights), (60, K)))
    fitted = dg.fit(twin, x, y, prior=dg.priors.Ridge(0.1), max_steps=20).model
    assert_same_tree(fitted.scorer.trunk, model.density.encoder, 0)
    assert dg.log_conditional(fitted, x, y).sum() > dg.log_conditional(twin, x, y).sum()


def learnt(max_steps=40, **options):
    model = classes(num_classes=None)
    x, _ = rows_of(classes("bernoulli", None), 60, seed=3, share=0.1)
    of_fit = {name: options.pop(name) for name in ("progress", "checkpoint") if name in options}
    method = dg.Optax(**{"optimizer": ADAM, "batch_size": 16, "key": KEY, **options})
    return dg.fit(model, x, method=method, max_steps=max_steps, **of_fit)


@pytest.mark.slow
def test_a_seed_gives_the_same_fit_twice():
    once, again = learnt(), learnt(progress=True)
    assert_same_tree(again.model, once.model, 0)
    assert (again.objective == once.objective).all()
    assert once.objective[-1] > once.objective[0]


@pytest.mark.slow
def test_a_stop_on_the_way_changes_nothing(tmp_path):
    once = learnt()
    learnt(25, checkpoint=tmp_path / "fit")
    resumed = learnt(checkpoint=tmp_path / "fit")
    assert_same_tree(resumed.model, once.model, 0)
    assert (resumed.objective[:24] == once.objective[:24]).all()
    with pytest.raises(ValueError, match="holds a fit of other batch_size"):
        learnt(checkpoint=tmp_path / "fit", batch_size=8)


@pytest.mark.slow
def test_rows_held_out_end_the_fit_and_choose_the_model():
    fitted = learnt(4000, validation=0.5, patience=3, optimizer=optax.adam(0.1))
    epochs = np.asarray(fitted.validation)
    assert fitted.converged
    assert fitted.num_steps == 2 * len(epochs) < 4000
    assert epochs.argmax() == len(epochs) - 4
    shorter = learnt(2 * (len(epochs) - 3), validation=0.5, patience=3, optimizer=optax.adam(0.1))
    assert_same_tree(shorter.model, fitted.model, 0)


def test_divergence_leaves_the_last_good_model():
    start = classes(num_classes=None)
    with pytest.raises(dg.Diverged, match=r"diverged at step \d+") as error:
        learnt(400, optimizer=optax.sgd(1e4))
    x, _ = rows_of(start, seed=5)
    assert type(error.value.model) is dg.VariationalAutoencoder
    assert np.isfinite(dg.log_prob(error.value.model, x)).all()
    assert np.isfinite(error.value.objective).all()
    assert len(error.value.objective) == error.value.num_steps


@pytest.mark.slow
def test_warm_up_weighs_the_divergence(x64):
    """The first of two steps of warm-up sees half of it: by differences of the bound with all and with none of it."""
    from dgjax.densities import Draws, with_draws

    model = classes(num_classes=None)
    x, _ = rows_of(model)

    def value(weight):
        return with_draws(model.as_model(), Draws(KEY, weight)).potentials(jnp.asarray(x)).log_partition()

    assert_close(value(0.5), (value(0.0) + value(1.0)) / 2)
    assert (value(0.0) >= value(1.0)).all()
    steps = [learnt(1, warm_up=warm_up, batch_size=None, optimizer=optax.sgd(1e-2)).model for warm_up in (0, 1, 2)]
    assert_same_tree(steps[0], steps[1], 0)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (steps[0], steps[2])), strict=True))


@pytest.mark.slow
def test_more_draws_in_learning_are_the_importance_weighted_bound():
    from dgjax.densities import Draws, with_draws

    density = classes(num_classes=None)
    x = jnp.asarray(rows_of(density)[0])
    many = with_draws_of(density, 50, training=50)
    learning = with_draws(many.as_model(), Draws(KEY)).potentials(x).log_partition()
    assert (np.abs(learning - dg.log_prob(many, x)) < 8 * dg.log_prob_error(many, x)).all()
    fitted = dg.fit(many, x, method=dg.Optax(ADAM, key=KEY), max_steps=3)
    assert np.isfinite(fitted.objective).all()


WRONG = {
    "no optimizer": (lambda m, x, y: dg.fit(m, x, y), r"learns by gradient: type method=dgjax.Optax\(optax.adam"),
    "no key": (lambda m, x, y: dg.fit(m, x, y, method=dg.Optax(ADAM)), "got key=None"),
    "a prior": (lambda m, x, y: dg.fit(m, x, y, method=dg.Optax(ADAM, key=KEY), prior="weak"), "has none"),
    "a cell": (lambda m, x, y: dg.log_prob(m, x + 0.5), "0 or 1"),
    "a likelihood": (lambda *_: dg.variational_autoencoder(KEY, D, M, "normal"), 'must be "bernoulli"'),
    "an image": (lambda *_: dg.variational_autoencoder(KEY, D, M, image=(2, 2)), "of 5 pixels"),
    "an encoder": (
        lambda m, *_: dg.VariationalAutoencoder(m.density.decoder, m.density.decoder, m.density.likelihood, D, M, K),
        "encoder cannot take rows",
    ),
    "a decoder": (
        lambda m, *_: dg.VariationalAutoencoder(m.density.encoder, m.density.decoder, dg.CategoricalCells(2), D, M, K),
        "encoder|decoder",
    ),
    "no class to decode": (lambda m, x, y: dg.decode(m, np.zeros((2, M))), "needs the class of each row"),
    "latent rows": (lambda m, x, y: dg.decode(m, np.zeros((2, 5)), [0, 1]), r"z must have shape \(n, 2\)"),
    "another model": (
        lambda m, x, y: dg.elbo(dg.Gaussian(np.zeros((1, D)), np.eye(D)), x),
        "is for a variational autoencoder",
    ),
    "warm-up of another": (
        lambda m, x, y: dg.fit(dg.discriminative(m), x, y, method=dg.Optax(ADAM, warm_up=3)),
        "warm_up is for models with a divergence",
    ),
    "rows held out by nothing": (lambda *_: dg.Optax(ADAM, validation=0.5), "validation needs"),
    "all rows held out": (
        lambda m, x, y: dg.fit(m, x, y, method=dg.Optax(ADAM, key=KEY, validation=1.0)),
        "leave rows on both sides",
    ),
    "restarts": (
        lambda m, x, y: dg.fit(m, x, y, method=dg.Restarts(2, KEY, dg.Optax(ADAM, key=KEY))),
        "no place to start",
    ),
    "two ends": (lambda m, x, y: dg.interpolate(m, x[0], x[1:3]), r"one row each, \(5,\)"),
}


@pytest.mark.parametrize("mistake", WRONG, ids=str)
def test_mistakes_are_named(mistake):
    from jaxtyping import config

    call, words = WRONG[mistake]
    model = classes()
    x, y = dg.sample(model, KEY, N)
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=words):
            call(model, x, y)
    finally:
        config.update("jaxtyping_disable", before)


@pytest.mark.slow
@pytest.mark.parametrize("training", [1, 3])
def test_rows_of_known_label_are_scored_for_that_alone(training, x64):
    """By the same draws, in value and gradient, also where cells are missing, or all of a row."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 2, (N, D)).astype(float), jnp.asarray(rng.integers(K, size=N))
    x[1, 2], x[3] = np.nan, np.nan
    own = with_draws_of(classes().density, 16, training=training)

    def of_all(density):
        return density.drawn(Draws(KEY, 0.5)).scores(jnp.asarray(x))[jnp.arange(N), y]

    def of_one(density):
        return density.drawn(Draws(KEY, 0.5)).scores_at(jnp.asarray(x), y)

    assert_close(of_one(own), of_all(own))
    assert_same_tree(*(jax.grad(lambda density, f=f: f(density).sum())(own) for f in (of_one, of_all)), 1e-9)
