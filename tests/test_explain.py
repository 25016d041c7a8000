"""Explanations: the average over all orders of what a column adds, by the float64 oracle's marginals."""

import itertools
import math

import jax
import numpy as np
import oracle
import pytest
from scipy.special import logsumexp
from zoo import CLASSIFIERS, ZOO

import dgjax as dg
from dgjax.explaining import _shapley

VALUES = ("probability", "log_odds", "log_prob")
KEY = jax.random.key(3)


def value_of(joint, y, value):
    """Of log-joints (c, k) and a label."""
    if value == "log_prob":
        return logsumexp(joint, axis=1)
    own, others = joint[:, y], logsumexp(np.delete(joint, y, axis=1), axis=1)
    return own - others if value == "log_odds" else 1 / (1 + np.exp(others - own))


def by_all_orders(worth, p):
    """Shapley values from worth(coalition), a sorted tuple of players: the mean over all p! orders."""
    v = {S: worth(S) for r in range(p + 1) for S in itertools.combinations(range(p), r)}
    total = np.zeros(p)
    for order in itertools.permutations(range(p)):
        for i, j in enumerate(order):
            total[j] += v[tuple(sorted(order[: i + 1]))] - v[tuple(sorted(order[:i]))]
    return total / math.factorial(p)


def expected(model, row, y, value, groups):
    """By the oracle: what each group adds, the mean over orders; of a row without missing cells."""

    def worth(S):
        masked = np.full_like(row, np.nan)
        columns = [c for j in S for c in groups[j]]
        masked[columns] = row[columns]
        return value_of(np.asarray(oracle.log_joint(model, masked[None])), y, value)[0]

    return by_all_orders(worth, len(groups)), worth(())


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", ZOO, ids=repr)
def test_values_are_the_mean_over_all_orders_of_what_a_column_adds(case):
    model, x = case.model(float).as_model(), np.asarray(case.rows(float, n=2)[0])
    for value in VALUES[2:] if model.num_labels == 1 else VALUES:
        labels = None if value == "log_prob" else [1, 0]
        for players in [[c] for c in range(x.shape[1])], [[2, 0], [1], *[[3]] * (x.shape[1] == 4)]:
            found = dg.explain(model, x, labels, columns=players, value=value)
            for i, row in enumerate(x):
                values, base = expected(model, row, labels and labels[i], value, players)
                np.testing.assert_allclose(found.values[i], values, rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(found.base[i], base, rtol=1e-9, atol=1e-9)


def eight(rng):
    """Two labels of eight columns, in every family."""
    factor = np.eye(8) + np.tril(rng.normal(0, 0.4, (2, 8, 8)), -1)
    means, scale = rng.normal(size=(2, 8)), rng.normal(0, 0.3, (2, 8))
    return {
        "full": dg.Gaussian(means, factor),
        "tied": dg.Gaussian(means, factor[0]),
        "diagonal": dg.DiagonalGaussian(means, scale),
        "spherical": dg.DiagonalGaussian(means, scale[:, :1]),
        "Bernoulli": dg.Bernoulli(means),
        "categorical": dg.Categorical(rng.normal(size=(2, 8, 3))),
        "Poisson": dg.Poisson(means / 2),
        "multinomial": dg.Multinomial(means, 20),
        "columns": dg.Columns((dg.Gaussian(means[:, :4], factor[:, :4, :4]), dg.Poisson(means[:, 4:]))),
        "nested": dg.Mixture(np.zeros((2, 2)), dg.DiagonalGaussian(rng.normal(size=(2, 2, 8)), np.zeros((2, 2, 8)))),
    }


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", eight(np.random.default_rng(0)))
def test_values_of_eight_columns(name):
    model = dg.Mixture(np.array([0.3, -0.2]), eight(np.random.default_rng(0))[name])
    x = np.asarray(dg.sample(model, KEY, 2)[0])
    for value in VALUES:
        labels = None if value == "log_prob" else [1, 0]
        found = dg.explain(model, x, labels, value=value)
        for i, row in enumerate(x):
            values, base = expected(model, row, labels and labels[i], value, [[c] for c in range(8)])
            np.testing.assert_allclose(found.values[i], values, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(found.base[i], base, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", CLASSIFIERS[:2], ids=repr)
def test_missing_cells_are_no_players(case):
    model, x = case.model(float), np.array(case.rows(float, n=3)[0])
    x[0, 1] = x[1] = np.nan
    found = dg.explain(model, x)
    without = dg.explain(dg.marginal(model, [0, 2]), x[:, [0, 2]], dg.predict(model, x))
    np.testing.assert_allclose(found.values[0, [0, 2]], without.values[0], rtol=1e-12)
    assert found.values[0, 1] == 0
    np.testing.assert_array_equal(found.values[1], 0)
    posterior = np.exp(dg.predict_log_proba(model, x)).max(1)
    np.testing.assert_allclose(found.values.sum(1) + found.base, posterior, rtol=1e-9)


def log_normal(x, mean, covariance):
    """In longer floats: of condition 1e12 nothing is left of doubles."""
    L, z, total = np.array(covariance, np.longdouble), np.array(x - mean, np.longdouble), np.longdouble(0)
    for i in range(len(x)):
        pivot = np.sqrt(L[i, i])
        total -= (z[i] / pivot) ** 2 / 2 + np.log(pivot) + np.log(2 * np.pi) / 2
        z[i + 1 :] -= L[i + 1 :, i] * z[i] / L[i, i]
        L[i + 1 :, i + 1 :] -= np.outer(L[i + 1 :, i], L[i + 1 :, i]) / L[i, i]
    return float(total)


@pytest.mark.usefixtures("x64")
def test_normal_columns_that_nearly_depend_on_each_other_keep_their_digits():
    """Condition 1e12: what is forgotten is forgotten by rotations, and no variance is a difference."""
    rng = np.random.default_rng(0)
    mean, factor = (
        1e-5 * rng.normal(size=(2, 4)),
        np.eye(4) * [1, 1e-1, 1e-2, 1e-3] + np.tril(rng.normal(size=(4, 4)), -1),
    )
    model = dg.Mixture(np.zeros(2), dg.Gaussian(mean, factor))
    row, covariance = (
        np.asarray(dg.sample(model, KEY, 1)[0])[0],
        factor.astype(np.longdouble) @ factor.T.astype(np.longdouble),
    )

    def worth(S):
        S = list(S)
        one, other = (log_normal(row[S], mean[y, S], covariance[np.ix_(S, S)]) for y in (1, 0))
        return one - other

    values = by_all_orders(worth, 4)
    found = dg.explain(model, row[None], [1], value="log_odds").values[0]
    np.testing.assert_allclose(found, values, rtol=1e-6, atol=1e-7 * np.abs(values).max())


@pytest.mark.usefixtures("x64")
def test_random_orders_come_within_their_standard_errors():
    rng = np.random.default_rng(1)
    A = rng.normal(size=(9, 9))
    model = dg.Mixture(np.zeros(3), dg.Gaussian(rng.normal(size=(3, 9)), np.linalg.cholesky(A @ A.T)))
    x = np.asarray(dg.sample(model, KEY, 40)[0])
    exact, found = dg.explain(model, x), dg.explain(model, x, num_permutations=200, key=KEY)
    z = (found.values - exact.values) / found.standard_error
    assert exact.standard_error is None
    assert 0.8 < np.sqrt((z**2).mean()) < 1.25
    np.testing.assert_allclose(found.values.sum(1), exact.values.sum(1), rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_columns_of_naive_bayes_add_up_however_many_they_are():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 50)), np.arange(60) % 2
    model = dg.naive_bayes(x + y[:, None], y)
    found = dg.explain(model, x[:4], y[:4], value="log_odds")
    assert found.standard_error is None
    own = np.stack([oracle.log_joint(dg.marginal(model, [c]), x[:4, [c]]) for c in range(50)], 1)
    own -= oracle.log_joint(model, np.full((1, 50), np.nan))
    rows = np.arange(4)
    np.testing.assert_allclose(found.values, own[rows, :, y[:4]] - own[rows, :, 1 - y[:4]], rtol=1e-9, atol=1e-9)
    estimated = dg.explain(model, x[:2], y[:2], num_permutations=4)
    assert estimated.standard_error is not None


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("value", VALUES[:2])
def test_the_marginal_game_takes_other_cells_from_background_rows(value):
    rng = np.random.default_rng(0)
    model, x, others = (
        dg.Logistic(np.zeros(3), dg.Linear(rng.normal(size=(3, 3)))),
        rng.normal(size=(2, 3)),
        rng.normal(size=(5, 3)),
    )
    found = dg.explain(model, x, [2, 0], value=value, background=others)

    def worth(i, S):
        rows = others.copy()
        rows[:, list(S)] = x[i, list(S)]
        scores = rows @ np.asarray(model.scorer.weight).T
        return value_of(scores, [2, 0][i], value).mean()

    for i in range(2):
        np.testing.assert_allclose(found.values[i], by_all_orders(lambda S, i=i: worth(i, S), 3), rtol=1e-9)
        np.testing.assert_allclose(found.base[i], worth(i, ()), rtol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("value", VALUES)
def test_steps_of_a_sequence_play(value):
    """To p(x), or to a state: by sums over all paths."""
    rng = np.random.default_rng(0)
    model = dg.HiddenMarkov(
        rng.normal(size=2), rng.normal(size=(2, 2)), dg.DiagonalGaussian(rng.normal(size=(2, 1)), np.zeros((2, 1)))
    )
    x, lengths = rng.normal(size=(2, 4, 1)), np.array([4, 3])
    y = np.full((2, 4), -1)
    y[:, 2] = 1
    found = dg.explain(model, x, None if value == "log_prob" else y, lengths, value=value)
    initial, transition = (
        np.asarray(a) - logsumexp(a, axis=-1, keepdims=True) for a in (model.log_initial, model.log_transition)
    )
    mean = np.asarray(model.density.mean)[:, 0]

    def worth(i, S):
        of_state = np.zeros(2)
        for path in itertools.product(range(2), repeat=lengths[i]):
            log_p = initial[path[0]] + sum(transition[a, b] for a, b in itertools.pairwise(path))
            log_p += sum(-((x[i, s, 0] - mean[path[s]]) ** 2) / 2 - np.log(2 * np.pi) / 2 for s in S)
            of_state[path[2]] += np.exp(log_p)
        return value_of(np.log(of_state)[None], 1, value)[0]

    for i, t in enumerate(lengths):
        np.testing.assert_allclose(
            found.values[i, :t], by_all_orders(lambda S, i=i: worth(i, S), t), rtol=1e-8, atol=1e-9
        )
        np.testing.assert_array_equal(found.values[i, t:], 0)
    assert found.names[3] == "step 3"


def test_weights_of_coalitions_are_those_of_the_formula():
    for p in (1, 2, 7, 20):
        formula = [math.factorial(s) * math.factorial(p - s - 1) / math.factorial(p) for s in range(p)]
        np.testing.assert_allclose(_shapley._weights(p), formula, rtol=1e-14)


def small():
    return dg.Mixture(np.zeros(2), dg.DiagonalGaussian(np.array([[0.0, 1.0], [1.0, 0.0]]), np.zeros((2, 2))))


IMPOSSIBLE = np.where(np.arange(3) == 1, -np.inf, np.zeros((2, 2, 3)))
REFUSED = {
    "a value": (lambda x: dg.explain(small(), x, value="logit"), "'probability', 'log_odds' or 'log_prob'"),
    "labels of log p": (lambda x: dg.explain(small(), x, [0, 1], value="log_prob"), "Leave y out"),
    "one label": (lambda x: dg.explain(dg.Gaussian(np.zeros((1, 2)), np.eye(2)), x), "value='log_prob'"),
    "no background": (lambda x: dg.explain(dg.logistic_regression(2, 2), x), "background=rows"),
    "no row behind": (lambda x: dg.explain(small(), x, background=x[:0]), "background must have a row"),
    "a hole behind": (
        lambda x: dg.explain(dg.logistic_regression(2, 2), x, background=[[1.0, np.nan], [1.0, 2.0]]),
        "background must hold no missing cells",
    ),
    "an unknown label": (lambda x: dg.explain(small(), x, [0, -1]), "row 1"),
    "a column of none": (lambda x: dg.explain(small(), x, columns=[[0]]), "column 1 stand"),
    "a column of two": (lambda x: dg.explain(small(), x, columns=[[0, 1], 1]), "column 1 stand"),
    "one order": (lambda x: dg.explain(small(), x, num_permutations=1), "num_permutations"),
    "a seed": (lambda x: dg.explain(small(), x, key=0), "jax.random.key"),
    "jit": (lambda x: jax.jit(lambda x: dg.explain(small(), x).values)(x), "outside jit"),
    "impossible": (
        lambda x: dg.explain(dg.Mixture(np.zeros(2), dg.Categorical(IMPOSSIBLE)), x.round() * 0 + 1, value="log_prob"),
        "row 0 has an infinite log_prob",
    ),
    "certain": (
        lambda x: dg.explain(dg.Mixture(np.array([0.0, -np.inf]), small().density), x, [0, 0], value="log_odds"),
        "value='probability'",
    ),
}


@pytest.mark.usefixtures("without_the_type_checker")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_explained_is_told(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        call(np.array([[0.1, 0.2], [0.5, -0.3]]))


def test_pictures_show_names_cells_and_values():
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("matplotlib").use("agg")
    from matplotlib import pyplot as plt

    x = np.array([[0.1, 0.2], [0.5, np.nan], [0.7, -0.3]])
    found = dg.explain(small(), pandas.DataFrame(x, columns=["mass", "length"]))
    waterfall, bar, swarm = found.waterfall(), found.bar(), found.beeswarm()
    assert {text.get_text() for text in waterfall.get_yticklabels()} == {"mass = 0.1", "length = 0.2"}
    assert len(waterfall.patches) == 2
    assert {text.get_text() for text in bar.get_yticklabels()} == {"mass", "length"}
    np.testing.assert_allclose(sorted(p.get_width() for p in bar.patches), sorted(np.abs(found.values).mean(0)))
    assert sorted(len(points.get_offsets()) for points in swarm.collections) == [2, 3]
    plt.close("all")
