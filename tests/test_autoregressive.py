"""Autoregressive densities: brute force over all rows, a network in loops, what a cell may see, verbs and learning."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import transformer_oracle
from laws import assert_close, assert_same_tree
from test_lowering import lower
from zoo import LEARNED

import dgjax as dg
from dgjax import testing

D, K, SIZE = 4, 2, 8
KEY = jax.random.key(0)
ADAM = optax.adam(1e-2)
ROWS = np.array(list(itertools.product([0.0, 1.0], repeat=D)))
HOLES = np.array([[0, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
pytestmark = pytest.mark.xdist_group("autoregressive")


def density(cells=None, **options):
    """A small random network of four cells, binary by default."""
    cells = dg.BernoulliCells() if cells is None else cells
    network = dg.Transformer.start(KEY, cells.inputs + 2 * D, cells.size, SIZE, 1, 2, K)
    network = dataclasses.replace(network, output=4 * network.output)
    return dg.Autoregressive(network, cells, D, K, **{"num_orders": 3, **options})


def model(**options):
    return dg.Mixture(np.array([0.3, -0.4]), density(**options))


def in_float64(tree):
    return jax.tree.map(lambda leaf: leaf.astype(float), tree)


def by_loops(own, row, order, label):
    """Log-probability of each cell (t,) of a row along an order, by tokens that stand in that order one by one."""
    tokens, mask = np.zeros((len(order), 1 + 2 * D)), np.tril(np.ones((len(order), len(order)), bool))
    for t, cell in enumerate(order):
        tokens[t, 1 + D + cell] = 1
        if t:
            tokens[t, 0], tokens[t, 1 + order[t - 1]] = 2 * row[order[t - 1]] - 1, 1
    logits = transformer_oracle.outputs(own.network, tokens, np.eye(K)[label], mask)[:, 0]
    return -np.logaddexp(0, -(2 * row[order] - 1) * logits)


def test_scores_are_those_of_loops(x64):
    """Along an order, its observed cells first, which come one after another; and of a mixture of orders."""
    own = in_float64(density())
    x = np.where(HOLES, np.nan, ROWS[[5, 6, 9, 3]])
    scores = np.asarray(dg.log_joint(dg.Mixture(np.zeros(K), own), x, np.ones(len(x), int))) + np.log(2)
    for row, score in zip(x, scores, strict=True):
        found = []
        for order in range(3):
            cells = [cell for cell in np.argsort(own._priority(order)) if not np.isnan(row[cell])]
            found.append(by_loops(own, row, np.array(cells), 1).sum() if cells else 0.0)
        assert_close(score, np.logaddexp.reduce(found) - np.log(3))
    assert scores[3] == 0


def test_every_order_is_a_density_whose_marginals_are_those_of_its_first_cells():
    """Summed over all rows, and over the missing cells of a row, of the order that has these last."""
    own = density()
    score = jax.jit(own.score)
    of_rows = np.asarray(score(jnp.asarray(ROWS, "float32"), jnp.array([2.0, 0.0, 3.0, 1.0])))
    assert_close(np.logaddexp.reduce(of_rows), np.zeros(K, "float32"), 1e-5)
    last = jnp.array([2.0, 0.0, 3.0, 1.0]) + D * HOLES[0]
    whole = np.asarray(score(jnp.asarray(ROWS, "float32"), last))
    partly = np.asarray(score(jnp.asarray(np.where(HOLES[0], np.nan, ROWS), "float32"), last - D * HOLES[0]))
    alike = (ROWS[:, None, ~HOLES[0]] == ROWS[:, ~HOLES[0]]).all(-1)
    expected = np.logaddexp.reduce(np.where(alike[..., None], whole, -np.inf), axis=1)
    assert_close(partly, expected.astype("float32"), 1e-5)


def test_rows_of_all_orders_together_add_to_one():
    testing.probabilities_add_to_one(model())


@pytest.mark.slow
def test_a_cell_is_given_the_observed_cells_before_it_and_no_other():
    """Derivatives of each cell's conditional by the cells: neither later nor missing ones have any."""
    own = density(dg.GaussianMixtureCells(jnp.zeros(D), jnp.ones(D), 2))
    rank, known = jnp.array([[2, 0, 3, 1]]), jnp.array([[3]])
    x = jnp.linspace(-1, 1, D)[None]
    slopes = jax.jacobian(lambda x: own._networked(x, rank, known).reshape(K, D, -1))(x)
    found = np.abs(np.asarray(slopes)).sum((0, 2, 3)) > 0
    assert (found == (np.asarray(rank) < np.minimum(np.asarray(rank), 3).T)).all()


@pytest.mark.slow
def test_imputed_is_the_mean_of_what_brute_force_finds(x64):
    """Of each missing cell by itself, the observed ones being first: of labels and orders by their posterior."""
    own = in_float64(model())
    row = np.array([1.0, np.nan, 0.0, np.nan])
    found = dict.fromkeys((1, 3), 0.0)
    total = 0.0
    for label, order in itertools.product(range(K), range(3)):
        observed = [cell for cell in np.argsort(own.density._priority(order)) if cell in (0, 2)]
        weight = np.exp(jax.nn.log_softmax(own.log_weights)[label] + by_loops(own.density, row, observed, label).sum())
        total += weight
        for cell in found:
            filled = np.where(np.isnan(row), 1.0, row)
            found[cell] += weight * np.exp(by_loops(own.density, filled, [*observed, cell], label)[-1])
    filled = np.asarray(dg.impute(own, row[None]))[0]
    assert (filled[[1, 3]] == [share / total > 0.5 for share in found.values()]).all()
    drawn = np.asarray(dg.sample_missing(own, KEY, np.repeat(row[None], 4000, 0)))
    assert (drawn[:, [0, 2]] == [1, 0]).all()
    assert abs(drawn[:, 1].mean() - found[1] / total) < 5 * np.sqrt(0.25 / 4000) + 0.5 * abs(found[1] - found[3])


@pytest.mark.slow
def test_laws_hold():
    case = LEARNED[0]
    testing.check_model(case.make, learn=False, fixed=case.fixed)


@pytest.mark.slow
def test_error_is_how_far_orders_disagree():
    own = model()
    x = jnp.asarray(np.where(HOLES, np.nan, ROWS[[5, 6, 9, 3]]), "float32")
    logs = jax.nn.log_softmax(own.log_weights) + own.density.scores_by_draw(x)
    expected = np.std(np.logaddexp.reduce(np.asarray(logs), axis=-1), axis=0, ddof=1)
    error = np.asarray(dg.log_prob_error(own, x))
    assert_close(error, expected, 1e-5)
    # Of one cell, and of none, there is one order: what is left is rounding, which depends on the processor.
    assert ((error > 1e-5) == [True, False, True, False]).all()
    part = dg.marginal(own, [1, 0])
    holes = x.at[:, 2:].set(jnp.nan)
    assert_close(dg.log_prob_error(part, x[:, [1, 0]]), dg.log_prob_error(own, holes), 1e-5)
    assert (np.asarray(dg.log_prob_error(model(order="given", num_orders=1), x)) == 0).all()


def bits(n=120, seed=0):
    """Rows of a class each: the second cell is the first's in class 0, and its opposite in class 1."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 2, (n, D)).astype("float32"), rng.integers(0, K, n)
    x[:, 1] = np.where(y == 0, x[:, 0], 1 - x[:, 0])
    return x, y


@pytest.mark.slow
def test_learning_by_any_order(tmp_path):
    """With cells and labels missing; it finds what binds two cells, and a checkpoint changes nothing."""
    x, y = bits(240)
    start = dg.autoregressive(KEY, x, y, "bernoulli", width=16, num_layers=1, dropout=0.0)
    rows = np.where(np.random.default_rng(1).random(x.shape) < 0.1, np.nan, x)
    some = np.where(np.arange(len(y)) % 4, y, -1)
    method = dg.Optax(optax.adamw(1e-2), 40, jax.random.key(1), validation=0.1)
    dg.fit(start, rows, some, method, max_steps=30, checkpoint=tmp_path / "fit")
    fit = dg.fit(start, rows, some, method, max_steps=400, checkpoint=tmp_path / "fit")
    once = dg.fit(start, rows, some, method, max_steps=400)
    assert_same_tree(fit.model, once.model, 0)
    new, labels = bits(seed=2)
    assert (np.asarray(dg.predict(fit.model, new)) == labels).mean() > 0.85
    new[:, 1] = np.nan
    hidden = dg.log_conditional(fit.model, dg.impute(fit.model, new), labels)
    assert np.isfinite(hidden).all()
    dg.save(tmp_path / "model", fit.model)
    assert_same_tree(dg.load(tmp_path / "model"), fit.model, 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
def test_the_twin_has_the_posterior_and_learns_it():
    x, y = bits()
    own = model()
    twin = dg.discriminative(own)
    assert_close(dg.predict_log_proba(twin, x), dg.predict_log_proba(own, x), 1e-5)
    fitted = dg.fit(twin, x, y, dg.Optax(ADAM, key=KEY), max_steps=60)
    assert dg.log_conditional(fitted.model, x, y).mean() > dg.log_conditional(twin, x, y).mean() + 0.1
    steps = dg.fit(twin, x, y, dg.LBFGS(), prior=dg.priors.Ridge(0.1), max_steps=20).objective
    assert steps[-1] > steps[0]


@pytest.mark.slow
def test_constants_stay_under_weight_decay():
    """Of cells in units of their columns, and of a trunk that is frozen; a column of one value has a density."""
    rng = np.random.default_rng(0)
    x = rng.normal([1e5, 0.0], [2e3, 1e-6], (60, 2)).astype("float32")
    start = dg.autoregressive(KEY, x, width=8, num_layers=1)
    method = dg.Optax(optax.adamw(1e-2, weight_decay=0.5), 20, KEY)
    fit = dg.fit(start, x, method=method, max_steps=60)
    assert_same_tree(fit.model.likelihood, start.likelihood, 0)
    assert dg.log_prob(fit.model, x).mean() > dg.log_prob(start, x).mean()
    assert np.isfinite(dg.log_prob(fit.model, np.array([[1e5, np.nan], [-1e9, 1.0]]))).all()
    y = rng.integers(0, 2, 60)
    twin = dg.discriminative(dg.variational_autoencoder(KEY, 2, 1, "gaussian", num_classes=2, hidden=(3,)))
    learnt = dg.fit(
        twin, (x - x.mean(0)) / x.std(0), y, dg.Optax(optax.adamw(0.1, weight_decay=0.5)), max_steps=9
    ).model
    assert_same_tree(learnt.scorer.trunk, twin.scorer.trunk, 0)


@pytest.mark.slow
def test_kinds_of_columns_are_those_of_a_table():
    rng = np.random.default_rng(0)
    columns = [rng.normal(50, 9, 40), rng.integers(0, 2, 40), rng.integers(0, 4, 40), rng.poisson(3, 40)]
    x = np.stack([*columns, rng.integers(0, 2, 40)], 1).astype("float32")
    kinds = ["gaussian", "bernoulli", "categorical", "poisson", "categorical"]
    own = dg.autoregressive(KEY, x, kinds=kinds, width=8, num_layers=1, num_categories=[None, None, 5, None, None])
    assert [support.high for support in own.supports] == [np.inf, 1, 4, np.inf, 1]
    drawn = dg.sample(own, KEY, 30)[0]
    assert np.isfinite(dg.log_prob(own, drawn)).all()
    holes = jnp.where(jax.random.bernoulli(KEY, 0.4, drawn.shape), jnp.nan, drawn)
    for filled in (dg.impute(own, holes), dg.sample_missing(own, KEY, holes)):
        assert np.isfinite(dg.log_prob(own, filled)).all()


@pytest.mark.slow
def test_it_lowers_for_every_platform():
    own, x = model(), jnp.asarray(np.where(HOLES, np.nan, ROWS[:4]), "float32")
    lower(jax.grad(lambda own: dg.log_prob(own, x).sum()), own)
    lower(dg.sample_missing, own, KEY, x)


def two_outputs():
    network = density().network
    return dataclasses.replace(network, output=jnp.ones((SIZE, 2)))


WRONG = {
    "order": (lambda: density(order="random"), 'must be "any" or "given"'),
    "orders": (lambda: density(order="given"), 'num_orders is for order="any"'),
    "one order": (lambda: dg.log_prob_error(model(num_orders=1), ROWS), "needs several orders"),
    "network": (lambda: dg.Autoregressive(dg.MLP.start(KEY, (3, 1)), dg.BernoulliCells(), D), "cannot take tokens"),
    "outputs": (lambda: dataclasses.replace(density(), network=two_outputs()), "must give 1 numbers"),
    "columns": (lambda: dg.ColumnCells((dg.BernoulliCells(),), ((0, 2),)), "each column number in one part"),
    "no optimizer": (lambda: dg.fit(model(), ROWS), "learns by gradient"),
    "warm-up": (lambda: dg.fit(model(), ROWS, method=dg.Optax(ADAM, key=KEY, warm_up=3)), "models with a divergence"),
    "a bound": (lambda: dg.elbo(model(), ROWS), "is for a variational autoencoder"),
    "a cell": (lambda: dg.log_prob(model(), ROWS + 0.5), "0 or 1"),
    "counts": (lambda: dg.autoregressive(KEY, ROWS, kinds="multinomial"), "counts with a common total"),
    "classes": (lambda: dg.autoregressive(KEY, ROWS, num_classes=2), "num_classes is for rows with labels"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", WRONG)
def test_mistakes_are_named(mistake):
    call, words = WRONG[mistake]
    with pytest.raises(ValueError, match=words):
        call()
