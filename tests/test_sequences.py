"""Models of sequences: every answer against all paths, one by one, with cells, labels and steps missing."""

import functools
import itertools

import chain_oracle
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from laws import assert_close, assert_same_tree

import dgjax as dg
from dgjax import priors

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.xdist_group("sequences")]
N, T, K, D = 6, 4, 3, 2
LENGTHS = np.array([4, 1, 3, 4, 2, 4])


def gaussian(rng):
    lower = np.tril(rng.normal(0, 0.4, (K, D, D)), -1) + np.eye(D)
    return dg.Gaussian(rng.normal(0, 1, (K, D)), lower)


def columns(rng):
    blocks = dg.Poisson(rng.normal(1, 0.5, (K, 1))), dg.Bernoulli(rng.normal(0, 1, (K, 1)))
    return dg.Columns(blocks, ((1,), (0,)))


def mixture(rng):
    means, scales = rng.normal(0, 1, (K, 2, D)), rng.normal(0, 0.3, (K, 2, D))
    return dg.Mixture(rng.normal(0, 1, (K, 2)), dg.DiagonalGaussian(means, scales))


DENSITIES = {"gaussian": gaussian, "columns": columns, "mixture": mixture}


OTHERS = (pytest.param(name, marks=pytest.mark.slow) for name in ("columns", "mixture"))


@pytest.fixture(params=["gaussian", *OTHERS])
def model(request):
    return make(request.param)


def make(name, zeros=True, seed=0):
    """With a move and a start that are impossible."""
    rng = np.random.default_rng(seed)
    initial, transition = rng.normal(0, 1, K), rng.normal(0, 1, (K, K))
    if zeros:
        initial[2], transition[0, 2] = -np.inf, -np.inf
    return dg.HiddenMarkov(initial, transition, DENSITIES[name](rng))


@functools.cache
def data(name, missing=True):
    """Rows, some cells and one whole step missing, and labels, some unknown."""
    x, y = (np.array(a, copy=True) for a in dg.sample(make(name), jax.random.key(1), (N, T)))
    rng = np.random.default_rng(2)
    if missing:
        x[rng.random(x.shape) < 0.25], x[3, 1] = np.nan, np.nan
    y[rng.random(y.shape) < 0.5] = -1
    inside = np.arange(T) < LENGTHS[:, None]
    x[~inside], y[~inside] = np.nan, -1
    return x, y


def name_of(model):
    return {"Gaussian": "gaussian", "Columns": "columns", "Mixture": "mixture"}[type(model.density).__name__]


def chains(model, x, y=None):
    """The potentials of each sequence, from densities worked out cell by cell."""
    initial, transition = (np.asarray(jax.nn.log_softmax(a)) for a in (model.log_initial, model.log_transition))
    scores = np.array([[[oracle.log_density(model.density, (k,), row) for k in range(K)] for row in one] for one in x])
    labels = [None] * len(x) if y is None else y
    parts = zip(scores, LENGTHS, labels, strict=True)
    return [chain_oracle.Potentials(initial, transition, *part) for part in parts]


def test_probabilities_are_sums_over_paths(model):
    x, y = data(name_of(model))
    total = [chain_oracle.log_partition(p) for p in chains(model, x)]
    joint = [chain_oracle.log_partition(p) for p in chains(model, x, y)]
    assert_close(dg.log_prob(model, x, LENGTHS), total)
    assert_close(dg.log_joint(model, x, y, LENGTHS), joint)
    assert_close(dg.log_conditional(model, x, y, LENGTHS), np.where((y < 0).all(1), 0, np.subtract(joint, total)))
    with np.errstate(divide="ignore"):
        logs = np.log([chain_oracle.marginals(p) for p in chains(model, x)])
    assert_close(dg.predict_log_proba(model, x, LENGTHS), logs)
    assert dg.predict(model, x, LENGTHS).tolist() == [chain_oracle.mode(p).tolist() for p in chains(model, x)]


def test_the_twin_has_the_same_paths(model):
    x, _ = data(name_of(model), missing=False)
    x = np.where(np.isnan(x), 0, x)
    twin = dg.discriminative(model)
    for path in itertools.product(range(K), repeat=T):
        y = np.where(np.arange(T) < LENGTHS[:, None], path, -1)
        assert_close(dg.log_conditional(twin, x, y, LENGTHS), dg.log_conditional(model, x, y, LENGTHS))
    assert_close(dg.predict_log_proba(twin, x, LENGTHS), dg.predict_log_proba(model, x, LENGTHS))


@pytest.mark.parametrize("name", ["gaussian", pytest.param("columns", marks=pytest.mark.slow)])
def test_one_step_of_em_is_that_of_counts_over_paths(name):
    model, (x, y), weights = make(name), data(name), np.array([1, 0.5, 2, 1, 0, 1.5])
    shared = priors.Dirichlet(np.full(K, 1.5))
    prior = priors.HiddenMarkovPrior(None, shared, dg.weak_prior(model, x, 1.0, LENGTHS).density)
    new = dg.fit(model, x, y, weights=weights, lengths=LENGTHS, prior=prior, max_steps=1, method=dg.EM(tol=0.0)).model
    each = chains(model, x, y)
    marginals = weights[:, None, None] * [chain_oracle.marginals(p) for p in each]
    moves = np.einsum("n,ntij->ij", weights, [chain_oracle.transition_counts(p) for p in each])
    moves = moves + 0.5 * np.isfinite(model.log_transition)
    starts = marginals[:, 0].sum(0)
    assert_close(np.exp(new.log_initial), starts / starts.sum())
    assert_close(np.exp(new.log_transition), moves / moves.sum(1, keepdims=True))
    expected = oracle.em_step(model.density, x.reshape(-1, D), marginals.reshape(-1, K), prior.density)
    for own, other in zip(oracle.parameters(new.density), expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-8, atol=1e-10)


def test_a_step_never_loses_and_zeros_stay(model):
    x, y = data(name_of(model))
    prior = dg.weak_prior(model, x, 1.0, LENGTHS)
    fitted = dg.fit(model, x, y, lengths=LENGTHS, prior=prior, max_steps=30, method=dg.EM(tol=0.0))
    assert (np.diff(fitted.objective) > -1e-9).all()
    assert np.isneginf(fitted.model.log_initial[2])
    assert np.isneginf(fitted.model.log_transition[0, 2])
    objective = dg.log_joint(fitted.model, x, y, LENGTHS).sum() + fitted.model.log_prior(prior)
    assert fitted.objective[-1] == pytest.approx(objective)


def test_all_labels_given_is_counting():
    model, (x, _) = make("gaussian", zeros=False), data("gaussian", missing=False)
    y = np.where(np.arange(T) < LENGTHS[:, None], np.array([0, 1, 2, 1]), -1)
    y[0, 2], y[3, :2] = 0, [2, 2]
    prior = dg.weak_prior(model, x, 1.0, LENGTHS)
    fitted = dg.fit(model, x, y, lengths=LENGTHS, prior=prior)
    assert fitted.num_steps == 1
    moves = np.full((K, K), 1 / K)
    for path, length in zip(y, LENGTHS, strict=True):
        for i, j in itertools.pairwise(path[:length]):
            moves[i, j] += 1
    assert_close(np.exp(fitted.model.log_transition), moves / moves.sum(1, keepdims=True))


def test_missing_cells_are_filled_by_what_is_around_them(model):
    x, _ = data(name_of(model))
    draws = np.array([dg.sample_missing(model, key, x, LENGTHS) for key in jax.random.split(jax.random.key(3), 400)])
    filled = np.asarray(dg.impute(model, x, LENGTHS))
    inside = np.arange(T) < LENGTHS[:, None]
    seen = ~np.isnan(x)
    assert (filled[seen] == x[seen]).all()
    assert np.isnan(filled[~inside]).all()
    for held in (np.ma.masked_invalid(x), x.astype(np.longdouble), x.astype(x.dtype.newbyteorder(">"))):
        assert np.array_equal(dg.impute(model, held, LENGTHS), filled, equal_nan=True)
    assert np.isfinite(draws[:, inside]).all()
    if name_of(model) != "columns":
        missing = ~seen & inside[..., None]
        error = draws[:, missing].std(0) / np.sqrt(len(draws))
        assert (np.abs(draws[:, missing].mean(0) - filled[missing]) < 5 * error).all()


@pytest.mark.slow
def test_draws_of_paths_have_their_probabilities():
    model, many = make("gaussian"), 20_000
    x = jnp.broadcast_to(data("gaussian")[0][3], (many, T, D))
    drawn = np.asarray(dg.sample_labels(model, jax.random.key(0), x))
    expected = chain_oracle.marginals(chains(model, data("gaussian")[0])[3])
    error = np.sqrt(expected * (1 - expected) / many)
    shares = (drawn[..., None] == np.arange(K)).mean(0)
    assert (np.abs(shares - expected) <= 5 * error).all()
    x, y = dg.sample(model, jax.random.key(1), (many, T))
    moves = np.asarray(jax.nn.softmax(model.log_transition))
    for state in range(K):
        here = np.bincount(y[:, 2][y[:, 1] == state], minlength=K)
        np.testing.assert_allclose(here / here.sum(), moves[state], atol=0.03)
        np.testing.assert_allclose(x[y == state].mean(0), model.density.mean[state], atol=0.05)


def test_a_forecast_is_that_of_steps_without_rows(model):
    x, _ = data(name_of(model))
    ahead = dg.forecast(model, x, 3, LENGTHS)
    for i, length in enumerate(LENGTHS):
        longer = np.concatenate([x[i, :length], np.full((3, D), np.nan)])[None]
        assert_close(ahead.log_proba[i], dg.predict_log_proba(model, longer)[0, length:])
        new = np.nan_to_num(x[0, :1])
        third = jax.tree.map(lambda leaf, i=i: leaf[i, 2], ahead.rows)
        of_mixture = dg.log_prob(third, new)
        longer[0, -1] = new
        assert_close(of_mixture[0], (dg.log_prob(model, longer) - dg.log_prob(model, longer[:, :length]))[0])


def test_padding_and_empty_sequences_count_for_nothing(model):
    x, y = data(name_of(model))
    short = dg.log_joint(model, x[2:3, :3], y[2:3, :3])
    assert_close(short, dg.log_joint(model, x[2:3], y[2:3], LENGTHS[2:3]))
    assert_close(short, dg.log_joint(model, x[2:3], y[2:3]))
    assert dg.log_prob(model, np.full((2, T, D), np.nan)).tolist() == [0, 0]
    padded, lengths = dg.pad([x[i, : LENGTHS[i]] for i in range(N)])
    np.testing.assert_array_equal(padded, x)
    assert lengths.tolist() == LENGTHS.tolist()
    labels, _ = dg.pad([y[i, : LENGTHS[i]] for i in range(N)])
    np.testing.assert_array_equal(labels, y)


def test_verbs_run_inside_jit_and_vmap(model):
    x, y = map(jnp.asarray, data(name_of(model)))
    lengths = jnp.asarray(LENGTHS)
    plain = dg.log_joint(model, x, y, lengths)
    assert_close(jax.jit(dg.log_joint)(model, x, y, lengths), plain)
    one = jax.vmap(lambda x, y, length: dg.log_joint(model, x[None], y[None], length[None])[0])
    assert_close(one(x, y, lengths), plain)
    gradient = jax.grad(lambda model: dg.log_prob(model, x, lengths).sum())(model)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_a_crf_is_at_its_maximum_where_the_gradient_is_zero():
    model = make("gaussian", zeros=False)
    x, y = dg.sample(model, jax.random.key(5), (40, T))
    y = y.at[::3, 1].set(-1)
    start = dg.linear_chain_crf(D, K)
    fitted = dg.fit(start, x, y, prior=dg.priors.Ridge(0.1), method=dg.LBFGS(tol=1e-12))
    assert fitted.converged

    def objective(crf):
        return dg.log_conditional(crf, x, y).sum() - 0.05 * crf.penalty()

    assert fitted.objective[-1] == pytest.approx(objective(fitted.model))
    gradient = jax.grad(objective)(fitted.model)
    assert all(np.abs(leaf).max() < 1e-4 for leaf in jax.tree.leaves(gradient))
    assert (dg.predict(fitted.model, x) == y).mean() > (dg.predict(start, x) == y).mean()


def test_a_blend_climbs_its_own_objective():
    model = make("gaussian", zeros=False)
    x, y = dg.sample(model, jax.random.key(5), (40, T))
    generative, discriminative = (
        dg.fit(model, x, y, blend=share, max_steps=60, method=dg.LBFGS(tol=0.0)).model for share in (1.0, 0.0)
    )
    assert dg.log_joint(generative, x, y).sum() > dg.log_joint(discriminative, x, y).sum()
    assert dg.log_conditional(discriminative, x, y).sum() > dg.log_conditional(generative, x, y).sum()


@pytest.mark.slow
def test_a_model_started_from_data_finds_the_states():
    means = np.array([[-4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
    moves = np.log(0.8 * np.eye(K) + 0.2 / K)
    truth = dg.HiddenMarkov(np.zeros(K), moves, dg.Gaussian(means, np.broadcast_to(np.eye(D), (K, D, D))))
    x, y = dg.sample(truth, jax.random.key(0), (20, 30))
    x = jnp.where(jax.random.uniform(jax.random.key(1), x.shape) < 0.1, jnp.nan, x)
    start = dg.hidden_markov(jax.random.key(2), x, K)
    fitted = dg.fit(start, x, method=dg.Restarts(2, jax.random.key(3))).model
    order = np.argsort(np.asarray(fitted.density.mean[:, 0]))
    assert (order[np.asarray(y)] == dg.predict(fitted, x)).mean() > 0.95
    mixed = dg.hidden_markov(jax.random.key(2), x > 0, 2, emissions=["bernoulli", "gaussian"])
    assert dg.fit(mixed, x > 0).converged


def brute_force(model, x, length, y):
    """Every path of the first steps that agrees with y, and its joint log-probability."""
    paths = np.array(list(itertools.product(range(K), repeat=length)))
    paths = paths[((y[:length] < 0) | (paths == y[:length])).all(1)]
    joint = dg.log_joint(model, np.repeat(x[None, :length], len(paths), 0), paths)
    return paths, np.asarray(joint, float)


def test_states_that_are_known_already(x64):
    """Of two sequences: the best path, marginals, samples and imputed cells, among the paths that agree."""
    model, x, lengths = make("gaussian"), np.array(data("gaussian")[0][:2], float), np.array([T, 2])
    model = jax.tree.map(lambda leaf: leaf.astype(float), model)
    x[0, 2], x[0, 1, 0] = np.nan, np.nan
    y = np.full((2, T), -1)
    y[0, 1], y[0, 3], y[1, 0] = 2, 0, 1
    given = {"lengths": lengths, "y": y}
    best, logs = dg.predict(model, x, **given), np.exp(dg.predict_log_proba(model, x, **given))
    drawn = jax.vmap(lambda key: dg.sample_labels(model, key, x, **given))(jax.random.split(jax.random.key(0), 300))
    for i, length in enumerate(lengths):
        paths, joint = brute_force(model, x[i], length, y[i])
        share = np.exp(joint - np.logaddexp.reduce(joint))
        np.testing.assert_array_equal(best[i], np.pad(paths[joint.argmax()], (0, T - length), constant_values=-1))
        wanted = np.einsum("p,ptk->tk", share, np.eye(K)[paths])
        np.testing.assert_allclose(logs[i, :length], wanted, atol=1e-9)
        assert ((y[i, :length] < 0) | (drawn[:, i, :length] == y[i, :length])).all()
        seen = (np.asarray(drawn)[:, i, :length, None] == np.arange(K)).mean(0)
        np.testing.assert_allclose(seen, wanted, atol=0.15)
    filled = dg.impute(model, x, **given)
    np.testing.assert_allclose(filled[0, 2], np.asarray(logs)[0, 2] @ np.asarray(model.density.mean), rtol=1e-6)
    nothing = np.full((2, T), -1)
    for verb in (dg.predict, dg.predict_log_proba, dg.impute):
        np.testing.assert_allclose(verb(model, x, lengths, y=nothing), verb(model, x, lengths), rtol=1e-9)
    twin, whole = dg.discriminative(model), np.nan_to_num(x)
    np.testing.assert_array_equal(dg.predict(twin, whole, **given), dg.predict(model, whole, **given))


def test_labels_of_rows_that_are_known_already():
    x, rng = np.random.default_rng(0).normal(size=(6, D)).astype("float32"), np.random.default_rng(1)
    model = dg.Mixture(np.zeros(K), dg.DiagonalGaussian(rng.normal(size=(K, D)), np.zeros((K, D))))
    x[1, 0], x[2] = np.nan, np.nan
    y = np.array([-1, 2, 1, 0, -1, -1])
    free = np.asarray(dg.predict(model, x))
    np.testing.assert_array_equal(dg.predict(model, x, y=y), np.where(y < 0, free, y))
    logs = np.asarray(dg.predict_log_proba(model, x, y=y))
    np.testing.assert_array_equal(logs[1:4], np.where(np.eye(K)[y[1:4]] > 0, 0, -np.inf))
    filled, mean = dg.impute(model, x, y=y), model.density.mean
    np.testing.assert_array_equal(filled[1, 0], mean[2, 0])
    np.testing.assert_array_equal(filled[2], mean[1])
    never = dg.Mixture(np.array([0, 0, -np.inf]), model.density)
    assert dg.predict(never, x, y=y).tolist()[1] == -1
    with pytest.raises(ValueError, match="from 0 to 2"):
        dg.predict(model, x, y=y + 3)
    asked = jax.jit(lambda x, y: (dg.predict(model, x, y=y), dg.impute(model, x, y=y)))(x, y)
    np.testing.assert_array_equal(asked[0], dg.predict(model, x, y=y))


def test_a_saved_model_is_the_same(model, tmp_path):
    for one in (model, dg.discriminative(model)):
        dg.save(tmp_path / "model", one)
        assert_same_tree(dg.load(tmp_path / "model"), one)


def test_criteria_count_steps():
    model, (x, _) = make("gaussian"), data("gaussian")
    total = float(dg.log_prob(model, x, LENGTHS).sum())
    free = (K - 1 - 1) + (K * (K - 1) - 1) + K * (D + 3)
    assert dg.num_parameters(model) == free
    assert dg.bic(model, x, LENGTHS) == pytest.approx(-2 * total + free * np.log(LENGTHS.sum()))
    assert dg.aic(model, x, LENGTHS) == pytest.approx(-2 * total + 2 * free)


WRONG = {
    "a single sequence": (lambda m, x: dg.log_prob(m, x[0]), r"x\[None\]"),
    "too few columns": (lambda m, x: dg.log_prob(m, x[..., :1]), "2 columns"),
    "ragged": (lambda m, x: dg.log_prob(m, [x[0], x[1, :2]]), r"dgjax\.pad"),
    "a ragged step": (lambda m, x: dg.log_prob(m, [[[1.0, 2.0], [2.0]], [[1.0, 2.0]]]), r"x\[0\] must be numbers"),
    "a length of 0": (lambda m, x: dg.log_prob(m, x, np.zeros(N, int)), "from 1 to 4"),
    "a length too many": (lambda m, x: dg.log_prob(m, x, np.ones(N - 1, int)), r"shape \(6,\)"),
    "half lengths": (lambda m, x: dg.log_prob(m, x, np.full(N, 1.5)), "whole number"),
    "labels of rows": (lambda m, x: dg.log_joint(m, x, np.zeros(N, int)), r"shape \(6, 4\)"),
    "labels out of range": (lambda m, x: dg.log_joint(m, x, np.full((N, T), K)), "from 0 to 2"),
    "samples without steps": (lambda m, x: dg.sample(m, jax.random.key(0)), "number of steps"),
    "NaN for a CRF": (lambda m, x: dg.predict(dg.discriminative(m), x), "hidden Markov model of x"),
    "log p(x) of a CRF": (lambda m, x: dg.log_prob(dg.discriminative(m), x), "hidden_markov"),
    "a forecast of rows": (lambda m, x: dg.forecast(dg.Mixture(np.zeros(K), m.density), x, 1), "hidden Markov"),
    "a forecast of nothing": (lambda m, x: dg.forecast(m, x, 0), "steps"),
    "weights of steps": (lambda m, x: dg.fit(m, x, weights=np.ones((N, T))), "weights"),
    "more states than steps": (lambda m, x: dg.hidden_markov(jax.random.key(0), x[:1], 5), "num_states"),
    "no sequences": (lambda m, x: dg.pad([]), "at least one step"),
    "unequal columns": (lambda m, x: dg.pad([x[0], x[0, :, :1]]), "same columns"),
    "shapes of moves": (lambda m, x: dg.HiddenMarkov(np.zeros(K), np.zeros((K, 2)), m.density), "log_transition"),
    "a state that is not left": (
        lambda m, x: dg.HiddenMarkov(np.zeros(K), np.where(np.diag([1, 0, 1]), 0.0, -np.inf), m.density),
        "row 1 is all minus infinity",
    ),
    "no start": (lambda m, x: dg.HiddenMarkov(np.full(K, -np.inf), np.zeros((K, K)), m.density), "log_initial"),
    "shapes of scores": (lambda m, x: dg.LinearChainCRF(np.zeros(2), np.zeros((K, K)), None), "scorer"),
    "an average over sequences": (lambda m, x: dg.marginalize(dg.discriminative(m), m), "rows"),
}


@pytest.mark.parametrize("mistake", WRONG, ids=str)
def test_mistakes_are_named(mistake):
    call, words = WRONG[mistake]
    with pytest.raises(ValueError, match=words):
        call(make("gaussian"), data("gaussian")[0])
