"""What is counted: parameters, categories that are padding, and rows by their weights."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_close, assert_same_tree, slow

import dgjax as dg

rng = np.random.default_rng(0)
N = 40
Y = rng.integers(0, 3, N)
TIMES = rng.integers(0, 4, N)
TABLES = {
    "gaussian": rng.normal(size=(N, 3)),
    "bernoulli": rng.integers(0, 2, (N, 3)),
    "categorical": rng.integers(0, [2, 3, 4], (N, 3)),
    "poisson": rng.poisson(3, (N, 3)),
    "multinomial": rng.poisson(3, (N, 3)),
}
TABLES["columns"] = np.c_[TABLES["gaussian"][:, 0], TABLES["poisson"][:, 0], TABLES["categorical"][:, 2]]
MIXED = ["gaussian", "poisson", "categorical"]


def normalized(rng, *shape, zeros=()):
    logits = rng.normal(size=shape)
    for at in zeros:
        logits[at] = -np.inf
    return logits


PADDED = normalized(rng, 2, 2, 3, zeros=[(slice(None), 0, 2)])
COUNTED = {
    "padding": (dg.Mixture(np.zeros(2), dg.Categorical(PADDED)), 1 + 2 * (1 + 2)),
    "padding within classes": (
        dg.Mixture(np.zeros(2), dg.Mixture(np.zeros((2, 2)), dg.Categorical(PADDED[:, None].repeat(2, 1)))),
        1 + 2 * 1 + 4 * (1 + 2),
    ),
    "a category that one class never showed": (
        dg.Mixture(np.zeros(2), dg.Categorical(normalized(rng, 2, 1, 3, zeros=[(0, 0, 2)]))),
        1 + 2 * 2,
    ),
    "a multinomial column that never counts": (
        dg.Mixture(np.zeros(2), dg.Multinomial(normalized(rng, 2, 3, zeros=[(slice(None), 1)]), 2)),
        1 + 2 * 1,
    ),
    "a component that is off": (
        dg.Mixture(np.array([0.0, 0.0, -np.inf]), dg.Bernoulli(rng.normal(size=(3, 1)))),
        1 + 3,
    ),
    "columns": (
        dg.Mixture(np.zeros(2), dg.Columns((dg.Categorical(PADDED), dg.Bernoulli(np.zeros((2, 1)))))),
        1 + 2 * (1 + 2) + 2,
    ),
    "a chain": (
        dg.HiddenMarkov(np.array([0.0, -np.inf]), np.array([[0.0, 0.0], [-np.inf, 0.0]]), dg.Categorical(PADDED)),
        0 + 1 + 2 * (1 + 2),
    ),
    "a twin": (dg.discriminative(dg.Mixture(np.zeros(2), dg.Categorical(PADDED))), 1 + 1 + 2),
}


@pytest.mark.parametrize("name", COUNTED)
def test_what_is_impossible_by_structure_is_no_parameter(name):
    model, number = COUNTED[name]
    assert dg.num_parameters(model) == number
    assert isinstance(dg.num_parameters(model), int)


def rows_of(model, steps):
    """Every row, or sequence of rows, that there is, and every label."""
    cells = [np.arange(support.high + 1) for support in model.supports] * steps
    x = np.stack(np.meshgrid(*cells, indexing="ij"), -1).reshape(-1, len(cells))
    y = np.stack(np.meshgrid(*[np.arange(model.num_labels)] * steps, indexing="ij"), -1).reshape(-1, steps)
    x, y = np.repeat(x, len(y), 0), np.tile(y, (len(x), 1))
    return (x, y[:, 0]) if steps == 1 else (x.reshape(len(x), steps, -1), y)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["padding", "columns", "a chain"])
def test_parameters_are_the_directions_in_which_the_likelihood_moves(name, x64):
    """The rank of the Jacobian of log p(x, y) of every row and label that there is."""
    model, number = COUNTED[name]
    model = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), model)
    x, y = rows_of(model, 2 if name == "a chain" else 1)
    possible = np.isfinite(dg.log_joint(model, x, y))
    x, y = x[possible], y[possible]
    leaves, structure = jax.tree.flatten(model)
    free = [np.isfinite(leaf) for leaf in leaves]

    def table(values):
        parts = np.split(np.arange(len(values)), np.cumsum([own.sum() for own in free])[:-1])
        filled = [leaf.at[own].set(values[part]) for leaf, own, part in zip(leaves, free, parts, strict=True)]
        return jnp.exp(dg.log_joint(jax.tree.unflatten(structure, filled), x, y))

    at = jnp.concatenate([leaf[own] for leaf, own in zip(leaves, free, strict=True)])
    assert np.linalg.matrix_rank(jax.jacobian(table)(at), tol=1e-10) == number


def test_padding_dilutes_no_prior():
    """A column learns the same beside one of more categories as alone."""
    x, y = np.array([[0, 0], [0, 5], [1, 11]]), [0, 0, 1]
    alone, beside = (dg.naive_bayes(z, y, "categorical", prior="weak").density.logits for z in (x[:, :1], x))
    assert_close(alone[:, 0], beside[:, 0, :2])
    assert_close(np.exp(alone[:, 0]), np.array([[2.5 / 3, 0.5 / 3], [0.5 / 2, 1.5 / 2]], np.float32))
    few = dg.Mixture(jnp.array([0.0, 0.0, -jnp.inf]), dg.Multinomial(jnp.array([[0.0, 0.0, -jnp.inf]] * 3)))
    prior = dg.weak_prior(few, np.ones((2, 3)), 2.0)
    assert_close(prior.weights.concentration, np.array([2, 2, 1], np.float32))
    assert_close(prior.density.concentration, np.array([2, 2, 1], np.float32))
    chain = COUNTED["a chain"][0]
    prior = dg.weak_prior(chain, np.zeros((1, 2, 2)), 2.0)
    assert_close(prior.transition.concentration, np.array([[2, 2], [1, 3]], np.float32))
    assert_close(prior.initial.concentration, np.array([3, 1], np.float32))


@pytest.mark.parametrize(
    ("kind", "prior"),
    [("columns", "weak"), *slow(*itertools.product([*TABLES, "full", "tied"], [None, "weak"]))],
)
def test_weights_are_repetition_for_starters(kind, prior):
    """Of labels, categories and moments too: a row of weight 0, whatever is in it, is none."""
    x, y = TABLES.get(kind, TABLES["gaussian"]).astype(float), Y.copy()
    times, often = TIMES.copy(), np.arange(N).repeat(TIMES)
    x = np.concatenate([x, x[:1] + 9 if kind != "bernoulli" else x[:1]])
    y, times = np.append(y, 7), np.append(times, 0)

    def made(x, y, **options):
        if kind in ("full", "tied"):
            return dg.discriminant_analysis(x, y, kind, prior=prior, **options)
        return dg.naive_bayes(x, y, MIXED if kind == "columns" else kind, prior=prior, **options)

    one, other = made(x, y, weights=times), made(x[often], y[often])
    assert_same_tree(one, other, 1e-4)


def test_rows_of_nearly_no_weight_count_for_nearly_nothing():
    x, y = np.append(TABLES["gaussian"][:, :1], [[1000.0], [1000.0]], 0), np.append(Y % 2, [0, 1])
    for tiny in (0, 1e-9):
        model = dg.naive_bayes(x, y, weights=np.append(np.ones(N), [tiny, tiny]), prior="weak")
        assert_same_tree(model, dg.naive_bayes(x[:-2], Y % 2, prior="weak"), 1e-3)


@pytest.mark.parametrize("share", [0.01, 0.25, 1 / 3, 0.9])
def test_weights_are_repetition_where_models_are_chosen(share):
    model, x = dg.Poisson(np.array([[1.0]])), TABLES["poisson"][:, :1]
    often = x.repeat(TIMES, 0)
    assert_close(dg.bic(model, x, weights=TIMES), dg.bic(model, often), 1e-6)
    assert_close(dg.aic(model, x, weights=TIMES), dg.aic(model, often), 1e-6)
    limit = dg.anomaly_threshold(model, x, share, weights=TIMES)
    assert_close(limit, dg.anomaly_threshold(model, often, share), 1e-6)
    assert float(limit) == np.quantile(dg.log_prob(model, often), share + 1e-9, method="inverted_cdf")
    assert_close(jax.jit(lambda x: dg.anomaly_threshold(model, x, share))(1.0 * often), limit, 1e-5)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.37, 0.999])
def test_a_threshold_is_of_the_shares_of_weights(share):
    """Of normalised weights too: it counted rows by their sum, so that all of weight 1 / n were one row, the lowest."""
    rng = np.random.default_rng(0)
    model = dg.Mixture([0.0], dg.DiagonalGaussian(np.zeros((1, 2)), np.zeros((1, 2))))
    x = rng.normal(size=(200, 2)).astype(np.float32)
    values = np.asarray(dg.log_prob(model, x))
    for weights in (np.ones(200), rng.uniform(size=200), rng.integers(0, 4, 200)):
        limits = [float(dg.anomaly_threshold(model, x, share, weights=c * weights)) for c in (1.0, 1e-9, 1 / 3, 1e9)]
        limits.append(float(dg.anomaly_threshold(model, x, share, weights=weights / weights.sum())))
        assert len(set(limits)) == 1
        shares = weights / weights.sum()
        assert shares[values < limits[0]].sum() <= share + 1e-9
        assert shares[values <= limits[0]].sum() > share
        within = jax.jit(lambda w: dg.anomaly_threshold(model, x, share, weights=w))(jnp.asarray(weights, jnp.float32))
        assert shares[values < float(within)].sum() == pytest.approx(shares[values < limits[0]].sum(), abs=1e-5)


def test_chosen_by_weights_and_lengths_of_sequences():
    chain, lengths = COUNTED["a chain"][0], np.array([4, 2, 1])
    x, times = np.zeros((3, 4, 2)), np.array([2, 0, 3])
    wanted = dg.bic(chain, x.repeat(times, 0), lengths.repeat(times))
    assert_close(dg.bic(chain, x, lengths, weights=times), wanted, 1e-6)
    assert_close(jax.jit(lambda chain: dg.bic(chain, x, lengths, weights=times))(chain), wanted, 1e-6)
    assert np.isfinite(dg.bic(chain, x, lengths, weights=np.full(len(x), 1 / len(x))))  # shares of many steps


def test_an_impossible_row_is_the_lowest_of_all():
    """A threshold that counts 60 % of rows out counts the impossible ones, and a row of weight 0 is not impossible."""
    model, x = dg.Bernoulli(jnp.array([[jnp.inf]])), np.array([[0.0], [0], [0], [1], [1]])
    limits = [float(dg.anomaly_threshold(model, x, share)) for share in (0.25, 0.59, 0.6, 0.8)]
    assert limits == [-np.inf, -np.inf, 0.0, 0.0]
    assert float(dg.anomaly_threshold(model, x, 0.25, weights=[0, 0, 0, 1, 1])) == 0.0
    assert float(dg.aic(model, x, weights=[0, 0, 0, 1, 1])) == 2.0
    with pytest.raises(ValueError, match="positive weight"):
        dg.bic(model, x, weights=np.zeros(5))


def test_a_constant_column_has_no_spread_whatever_the_weights():
    """The mean of equal cells may be another in the last bit, which is no spread: it gets that of the others."""
    rng = np.random.default_rng(0)
    model = dg.Mixture(np.zeros(2), dg.DiagonalGaussian(np.zeros((2, 2)), np.zeros((2, 2))))
    for value in (0.1, 1 / 3, 123.456, -7e-5):
        x = np.column_stack([rng.normal(size=60), np.full(60, value)]).astype(np.float32)
        rate = dg.weak_prior(model, x, weights=rng.choice([0.0, 0.5, 3.0, 1.7], 60)).density.rate
        assert rate[1] == pytest.approx(rate[0] / 2, rel=1e-5)


def test_a_column_that_is_always_1_has_probability_1_whatever_the_weights(x64):
    """Ones and observed cells are two sums, each rounded: a difference of -1e-15 had no logarithm."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    for _ in range(8):
        weights = rng.choice([0.5, 1.0, 1.7, 3.0], 60)
        logits = dg.naive_bayes(np.ones((60, 1)), y, "bernoulli", weights=weights).density.logits
        assert (np.asarray(logits) > 30).all()


def test_categories_that_no_row_has_are_possible_under_a_prior():
    x = TABLES["categorical"]
    sizes = [int(column.max()) + 1 for column in x.T]

    def tops(model):
        return [support.high + 1 for support in model.supports]

    for given, wanted in ((None, sizes), (6, [6, 6, 6]), ([5, None, 4], [5, *sizes[1:]]), ({0: 7}, [7, *sizes[1:]])):
        model = dg.naive_bayes(x, Y, "categorical", prior="weak", num_categories=given)
        assert max(tops(model)) == max(wanted)
        p = np.exp(model.density.logits - jax.nn.logsumexp(model.density.logits, axis=-1, keepdims=True))
        for column, size in enumerate(wanted):
            assert (p[:, column, :size] > 0).all()
            assert (p[:, column, size:] == 0).all()
    counts = np.array([[(x[k == Y, 0] == c).sum() for c in range(6)] for k in range(3)])
    model = dg.naive_bayes(x, Y, "categorical", prior="weak", num_categories=6)
    wanted = (counts + 1 / 6) / (counts.sum(1, keepdims=True) + 1)
    assert_close(jax.nn.softmax(model.density.logits[:, 0]), wanted.astype("float32"))
    same = dg.naive_bayes(x, Y, "categorical", num_categories=sizes)
    assert_same_tree(same, dg.naive_bayes(x, Y, "categorical"))


def test_states_emit_categories_that_no_step_has():
    x = TABLES["categorical"][None, :, :1]
    chain = dg.hidden_markov(jax.random.key(0), x, 2, "categorical", num_categories=5)
    assert chain.supports[0].high == 4
    assert np.isfinite(dg.log_prob(chain, np.full((1, 2, 1), 4.0))).all()
