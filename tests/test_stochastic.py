"""Optimizers of optax, on all rows and on minibatches: against plain gradients and the other methods."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_close, assert_same_tree

import dgjax as dg

N, T, K, D = 12, 4, 3, 2
RATE = 0.1
WEIGHTS = np.array([1.0, 2.0, 0.5, 0.0] * 3)
LENGTHS = np.array([4, 1, 3, 4] * 3)
KEY = jax.random.key(0)
pytestmark = pytest.mark.xdist_group("stochastic")


def chain():
    """A CRF with a move that is impossible, of ragged sequences with some steps unlabelled; and its objective."""
    rng = np.random.default_rng(0)
    model = dg.linear_chain_crf(D, K)
    model = dg.LinearChainCRF(model.initial, model.transition.at[0, 2].set(-jnp.inf), model.scorer)
    x, y = rng.normal(size=(N, T, D)), np.where(rng.random((N, T)) < 0.8, rng.integers(1, K, size=(N, T)), -1)
    options = {"prior": dg.priors.Ridge(0.3), "lengths": LENGTHS}

    def objective(model):
        return WEIGHTS @ dg.log_conditional(model, x, y, LENGTHS) - 0.15 * model.penalty()

    return model, x, y, options, objective


def mixture():
    """A generative model with missing cells, missing labels and a prior; and its objective."""
    rng = np.random.default_rng(1)
    density = dg.DiagonalGaussian(rng.normal(size=(K, D)), rng.normal(0, 0.3, (K, D)))
    model = dg.Mixture(np.array([0.0, 1.0, -1.0]), density)
    x = np.where(rng.random((N, D)) < 0.2, np.nan, rng.normal(size=(N, D)))
    y = np.where(rng.random(N) < 0.7, rng.integers(K, size=N), -1)
    prior = dg.weak_prior(model, x)

    def objective(model):
        return WEIGHTS @ dg.log_joint(model, x, y) + model.log_prior(prior)

    return model, x, y, {"prior": prior}, objective


@pytest.mark.parametrize(("problem", "batch_size"), [(chain, 5), (mixture, 4)])
def test_a_step_and_the_mean_step_of_an_epoch_are_those_of_the_gradient(problem, batch_size, x64):
    """The mean of an epoch's gradients, taken at one place, whether or not the batches come out even."""
    model, x, y, options, objective = problem()
    options = {**options, "weights": WEIGHTS}
    value, slope = jax.value_and_grad(objective)(model)
    expected = jax.tree.map(
        lambda leaf, g: jnp.where(jnp.isfinite(leaf), leaf + RATE / WEIGHTS.sum() * g, leaf), model, slope
    )
    fitted = dg.fit(model, x, y, method=dg.Optax(optax.sgd(RATE)), max_steps=1, **options)
    assert_same_tree(fitted.model, expected)
    assert fitted.objective[-1] == pytest.approx(objective(expected))
    assert fitted.objective[-1] > value
    method = optax.MultiSteps(optax.sgd(RATE), 3).gradient_transformation()
    fitted = dg.fit(model, x, y, method=dg.Optax(method, batch_size=batch_size, key=KEY), max_steps=3, **options)
    assert_same_tree(fitted.model, expected)


def regression(n=103):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    return x, (x @ [1, -1, 0.5] + rng.normal(size=n) > 0).astype(int)


def test_every_row_is_in_one_batch_of_an_epoch(x64):
    """Batches of one row and steps of nothing: the trace is what each row adds, in the order of the rows."""
    x, y = regression(11)
    model = dg.Logistic(np.array([0.3]), dg.Linear(np.array([[1.0, -2.0, 0.5]])))
    fitted = dg.fit(model, x, y, method=dg.Optax(optax.sgd(0.0), batch_size=1, key=KEY), max_steps=34)
    assert_same_tree(fitted.model, model)
    assert not fitted.converged
    rows = 11 * dg.log_conditional(model, x, y)
    epochs = np.asarray(fitted.objective)[10:32].reshape(2, 11)  # the trace tells of a step when the next one is taken
    for epoch in epochs:
        assert_close(np.sort(epoch), np.sort(rows))
    assert (epochs[0] != epochs[1]).any()
    assert fitted.objective[-1] == pytest.approx(rows.sum() / 11)


def test_steps_that_grow_short_end_where_lbfgs_does(x64):
    x, y = regression()
    best = dg.fit(dg.logistic_regression(3, 2), x, y, prior=dg.priors.Ridge(1.0), method=dg.Newton(tol=1e-12))
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 1000))

    def learnt(key, **options):
        method = dg.Optax(optimizer, batch_size=16, key=key)
        start, prior = dg.logistic_regression(3, 2), dg.priors.Ridge(1.0)
        return dg.fit(start, x, y, method, prior=prior, max_steps=1000, **options)

    fitted = learnt(KEY)
    assert 0 <= best.objective[-1] - fitted.objective[-1] < 1e-3
    np.testing.assert_allclose(fitted.model.scorer.weight, best.model.scorer.weight, atol=0.01)
    again = learnt(KEY, progress=True)
    inside = jax.jit(learnt)(KEY)
    assert_same_tree(again.model, fitted.model, 0)
    assert (again.objective == fitted.objective).all()
    assert_same_tree(inside.model, fitted.model)
    other = learnt(jax.random.key(1))
    assert (other.objective[:10] != fitted.objective[:10]).all()


@pytest.mark.slow
def test_all_rows_and_a_line_search_are_lbfgs_too():
    x, y = regression()
    best = dg.fit(dg.logistic_regression(3, 2), x, y, prior=dg.priors.Ridge(1.0))
    fitted = dg.fit(
        dg.logistic_regression(3, 2), x, y, prior=dg.priors.Ridge(1.0), method=dg.Optax(optax.lbfgs()), max_steps=20
    )
    assert fitted.objective[-1] == pytest.approx(best.objective[-1])


@pytest.mark.slow
def test_restarts_and_a_generative_model_of_sequences():
    moves = np.log([[0.9, 0.1], [0.2, 0.8]])
    truth = dg.HiddenMarkov(np.zeros(2), moves, dg.DiagonalGaussian([[-2.0], [2.0]], [[0.0], [0.0]]))
    x, _ = dg.sample(truth, KEY, (30, 20))
    x = x.at[:, 3].set(jnp.nan)
    start = dg.hidden_markov(jax.random.key(1), x, 2)
    best = dg.fit(start, x)
    method = optax.adam(optax.cosine_decay_schedule(0.1, 300))
    fitted = dg.fit(start, x, method=dg.Restarts(2, KEY, dg.Optax(method, batch_size=8, key=KEY)), max_steps=300)
    assert best.objective[-1] - fitted.objective[-1] < 0.1


def test_divergence_is_told_and_not_returned():
    x, y = regression()
    start = dg.logistic_regression(3, 2)
    options = {"method": dg.Optax(optax.sgd(1e3), batch_size=16, key=KEY), "prior": dg.priors.Ridge(1.0)}
    with pytest.raises(ValueError, match=r"diverged at step \d+.*clip_by_global_norm.*max_steps=\d+") as error:
        dg.fit(start, x, y, **options)
    before = int(str(error.value).split("max_steps=")[1].split(",")[0])
    assert np.isfinite(dg.fit(start, x, y, max_steps=before, **options).objective).all()
    impossible = dg.Mixture(np.zeros(2), dg.Categorical(np.array([[[0.0, -np.inf]], [[0.0, -np.inf]]])))
    with pytest.raises(ValueError, match="probability 0"):
        dg.fit(impossible, y[:, None], y, method=dg.Optax(optax.sgd(0.1)))


WRONG = {
    "an optimizer that is not made": (lambda: dg.Optax(optax.adam), "such as optax.adam"),
    "a name of one": (lambda: dg.Optax("adam"), "such as optax.adam"),
    "an optimizer by itself": (lambda: optax.adam(0.1), r"Type method=dgjax.Optax\(optimizer\)"),
    "a method that is not made": (lambda: dg.Newton, r"Type method=dgjax.Newton\(\)"),
    "batches without a key": (lambda: dg.Optax(optax.sgd(0.1), batch_size=3), r"batch_size.*jax\.random\.key\(seed\)"),
    "held out without a key": (
        lambda: dg.Optax(optax.sgd(0.1), validation=0.5),
        r"validation.*jax\.random\.key\(seed\)",
    ),
    "batches of no rows": (lambda: dg.Optax(optax.sgd(0.1), batch_size=0, key=KEY), "batch_size must be a whole"),
}


@pytest.mark.usefixtures("without_the_type_checker")
@pytest.mark.parametrize("mistake", WRONG, ids=str)
def test_mistakes_are_named(mistake):
    method, words = WRONG[mistake]
    with pytest.raises(ValueError, match=words):
        dg.fit(dg.logistic_regression(3, 2), *regression(), method())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
def test_averaged_parameters_are_the_weighted_mean_of_those_of_all_steps(x64, tmp_path):
    """sum_s d^(t - s) theta_s (1 - d) / (1 - d^t), by fits that end sooner; resumed they are the same to the bit."""
    model, x, y, options, _ = chain()
    decay, steps = 0.7, 6

    def fitted(until, checkpoint=None, **more):
        method = dg.Optax(optax.adam(RATE), 5, KEY, **more)
        return dg.fit(model, x, y, method, max_steps=until, checkpoint=checkpoint, **options).model

    each = [fitted(until) for until in range(1, steps + 1)]
    shares = decay ** np.arange(steps)[::-1] * (1 - decay) / (1 - decay**steps)
    expected = jax.tree.map(lambda *leaves: sum(s * leaf for s, leaf in zip(shares, leaves, strict=True)), *each)
    found = fitted(steps, average=decay)
    assert_same_tree(found, expected)
    fitted(3, average=decay, checkpoint=tmp_path / "fit")
    assert_same_tree(fitted(steps, average=decay, checkpoint=tmp_path / "fit"), found, 0)
    assert_same_tree(fitted(steps, average=0.0), each[-1], 0)


@pytest.mark.parametrize("average", [-0.1, 1.0])
def test_an_average_outside_its_range_is_refused(average):
    with pytest.raises(ValueError, match="average must be"):
        dg.Optax(optax.sgd(RATE), average=average)
