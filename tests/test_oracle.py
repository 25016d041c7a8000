"""The library in float64 against plain loops, for a table of tiny models with missing cells, labels and weights."""

import itertools

import jax
import logistic_oracle
import numpy as np
import objective_oracle
import oracle
import pytest
from oracle_cases import (
    DENSITIES,
    EMPTY_ROW,
    FAMILIES,
    RARE,
    K,
    N,
    model_of,
    prior_of,
    random_of,
    rows_of,
)
from scipy import integrate
from scipy.special import expit

import dgjax as dg

# Random labels that rows speak against, and a tolerance under float64's digits: what is compared is what was found.
ADVICE = pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.xdist_group("oracle"), ADVICE]


def assert_close(value, expected, relative=1e-9, where=""):
    np.testing.assert_allclose(np.asarray(value), expected, rtol=relative, atol=relative, err_msg=where)


LABELS = {
    "all": np.array([0, 1, 0, 1, 0, 1, 0, 1]),
    "some": np.array([0, 1, -1, -1, 0, 1, -1, 1]),
    "none": np.full(N, -1),
}
WEIGHTS = {"ones": np.ones(N), "any": np.array([1.3, 0.4, 0.9, 2.1, 0.7, 1.6, 0.8, 0.0])}


@jax.jit
def answers(model, x, y):
    asked = (dg.log_joint, dg.log_conditional)
    return (
        dg.log_prob(model, x),
        *(ask(model, x, y) for ask in asked),
        dg.predict_log_proba(model, x),
        dg.impute(model, x),
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_and_imputed_cells(name):
    model, x, y = model_of(name), rows_of(name, "many"), LABELS["some"]
    joint, total = oracle.log_joint(model, x), oracle.log_prob(model, x)
    picked = np.where(y < 0, total, joint[np.arange(N), y])
    expected = (total, picked, picked - total, joint - total[:, None], oracle.impute(model, x))
    for value, wanted in zip(answers(model, x, y), expected, strict=True):
        assert_close(value, wanted)
    assert answers(model, x, y)[0][EMPTY_ROW] == 0


def one_step_of_em(name, prior):
    model, constants = model_of(name), []
    for holes in ("none", "some" if prior is None else "many"):
        x = rows_of(name, holes)
        for y, weights in itertools.product(LABELS.values(), WEIGHTS.values()):
            fitted = dg.fit(model, x, y, weights=weights, prior=prior, max_steps=1, method=dg.EM(tol=0.0))
            expected = oracle.em_step(model, x, weights, prior, y)
            for value, wanted in zip(oracle.parameters(fitted.model), expected, strict=True):
                assert_close(value, wanted, where=f"{holes} holes, labels {y}, weights {weights}")
            constants.append(fitted.objective[-1] - objective_oracle.objective(fitted.model, x, y, weights, prior))
    # The objective leaves out the constant of the prior, and nothing else.
    assert_close(constants, np.full(len(constants), 0.0 if prior is None else constants[0]))


LONG = "columns", "nested", "multinomial", "diagonal", "spherical"


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in (*RARE, *LONG) else n for n in DENSITIES]
)
def test_one_step_of_em_with_a_prior(name):
    one_step_of_em(name, prior_of(model_of(name), random_of(name, "prior")))


@pytest.mark.parametrize(
    "name",
    ["diagonal", *(pytest.param(n, marks=pytest.mark.slow) for n in ("full", "categorical", "poisson", "nested"))],
)
def test_one_step_of_em_without_a_prior(name):
    one_step_of_em(name, None)


def slopes(function, model, step=1e-5):
    """Central differences of a function of a model, one for each parameter that the model reads."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, model))
    for leaf, array in enumerate(leaves):
        for place in np.ndindex(*array.shape):
            values = []
            for sign in (step, -step):
                moved = [part.copy() for part in leaves]
                moved[leaf][place] += sign
                values.append(function(jax.tree.unflatten(structure, moved)))
            yield (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize(
    ("name", "blend"),
    [("tied", None), ("spherical", None), ("multinomial", None), ("spherical", 0.4), ("bernoulli", 0.0)],
)
def test_a_converged_fit_is_a_maximum(name, blend):
    x, y, weights = rows_of(name, "many"), LABELS["some"], WEIGHTS["any"]
    start = model_of(name)
    prior = prior_of(start, random_of(name, "prior"))
    share = 1.0 if blend is None else blend
    method = dg.EM(1e-14) if blend is None else dg.LBFGS(1e-14)
    fitted = dg.fit(start, x, y, method, weights=weights, prior=prior, blend=blend, max_steps=3000).model
    for slope in slopes(lambda model: objective_oracle.objective(model, x, y, weights, prior, share), fitted):
        assert abs(slope) < 1e-4


LOGISTIC = [(2, "linear", 0.3), (3, "linear", 0.3), (2, "quadratic", 0.7), (3, "quadratic", 0.7), (2, "linear", 0.0)]


@pytest.mark.parametrize(
    ("k", "kind", "l2", "method"),
    [(*row, dg.Newton(0.0)) for row in LOGISTIC] + [(*row, dg.LBFGS(0.0)) for row in LOGISTIC[1:3]],
)
def test_logistic_regression(k, kind, l2, method):
    rng = random_of("logistic")
    x, y, weights = rng.normal(size=(N, 2)), np.array([0, 1, k - 1, 0, 1, k - 1, -1, 0]), WEIGHTS["any"]
    if l2 == 0:
        x, y = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [1, 2]]) * 1.0, LABELS["all"]
    fitted = dg.fit(dg.logistic_regression(2, k, kind), x, y, weights=weights, prior=dg.priors.Ridge(l2), method=method)
    quadratic = kind == "quadratic"
    bias, weight = logistic_oracle.maximum(k, x, y, weights, l2, quadratic)
    bias = bias[:, 0]
    scorer = fitted.model.scorer
    value = np.concatenate([scorer.weight, *([scorer.products] if quadratic else [])], axis=1)
    assert_close(fitted.objective[-1], logistic_oracle.objective(bias, weight, x, y, weights, l2, quadratic)[0])
    assert_close(value, weight, 1e-5)
    # The same number added to every bias changes nothing.
    center = 0 if k == 2 else 1
    assert_close(fitted.model.bias - center * fitted.model.bias.mean(), bias - center * bias.mean(), 1e-5)


DRAWS = 2500
SAMPLED = [
    "tied",
    "categorical",
    "multinomial",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("columns", "nested")),
]


@jax.jit
def draws(model, key, x):
    return dg.sample_missing(model, key, x), dg.sample_labels(model, key, x), dg.sample(model, key, (N * DRAWS,))


def assert_moments(drawn, mean, covariance):
    """Sample mean and covariance within 5 standard errors, estimated from the draws: 0 if a rare one never came up."""
    center = drawn - mean
    products = center[:, :, None] * center[:, None, :]
    for sampled, exact in ((drawn, mean), (products, covariance)):
        error = sampled.std(0) / np.sqrt(len(drawn))
        assert (np.abs(sampled.mean(0) - exact) <= 5 * error + 1e-3).all()


@pytest.mark.parametrize("name", SAMPLED)
def test_draws_have_the_exact_moments(name):
    model, x = model_of(name), rows_of(name)
    filled, labels, (rows, classes) = jax.tree.map(
        np.asarray, draws(model, jax.random.key(5), np.repeat(x, DRAWS, axis=0))
    )
    for row, cells, picked in zip(x, filled.reshape(N, DRAWS, -1), labels.reshape(N, DRAWS), strict=True):
        assert_moments(cells, *oracle.moments(model, (), row))
        one_hot = np.eye(K)[picked]
        p = np.exp(oracle.log_joint(model, [row]) - oracle.log_prob(model, [row]))[0]
        assert_moments(one_hot, p, np.diag(p) - np.outer(p, p))
    weights = oracle.parameters(model)[0]
    assert_moments(np.eye(K)[classes], weights, np.diag(weights) - np.outer(weights, weights))
    for label in range(K):
        assert_moments(rows[classes == label], *unconditional(model.density, (label,), rows.shape[1]))


def unconditional(density, label, d):
    if oracle.kind(density) != "Multinomial":
        return oracle.moments(density, label, np.full(d, np.nan))
    p = oracle.parameters(density)[0][label]
    return density.total_count * p, density.total_count * (np.diag(p) - np.outer(p, p))


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
def test_sampled_rows_are_as_frequent_as_they_are_probable(name):
    model = model_of(name)
    values = range(2 if name == "bernoulli" else 3)
    every = np.array(list(itertools.product(values, repeat=3)), float)
    p = np.exp(oracle.log_prob(model, every))
    assert abs(p.sum() - 1) < 1e-12
    rows = np.asarray(dg.sample(model, jax.random.key(2), (N * DRAWS,))[0])
    share = (rows[:, None] == every).all(-1).mean(0)
    assert (np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / len(rows))).all()


def expected_over_missing(model, row, function):
    """E[function(x) | x_observed] where at most one cell is missing, by quadrature."""
    if not np.isnan(row).any():
        return function(row)

    def weighted(cell):
        whole = np.where(np.isnan(row), cell, row)
        return function(whole) * np.exp(oracle.log_prob(model, [whole]) - oracle.log_prob(model, [row]))[0]

    return integrate.quad(weighted, -30, 30, points=[-3, 0, 3], limit=200)[0]


def test_marginalized_classifier_is_the_integral_over_the_missing_cell():
    density, classifier = model_of("full"), dg.Logistic(np.array([0.4]), dg.Linear(np.array([[1.5, -2.0]])))
    x = np.array([[0.3, np.nan], [np.nan, 1.1], [0.5, 0.5]])
    num_samples = 4096
    marginalized = dg.marginalize(classifier, density, num_samples=num_samples)
    for p, row in zip(np.exp(dg.predict_log_proba(marginalized, x))[:, 1], x, strict=True):
        exact = expected_over_missing(density, row, lambda cells: expit(0.4 + cells @ [1.5, -2.0]))
        assert abs(p - exact) < (5 * 0.5 / np.sqrt(num_samples) if np.isnan(row).any() else 1e-9)


@pytest.mark.parametrize("name", ["full", "diagonal tied", "multinomial", "columns"])
def test_marginal_is_nan_in_the_other_columns(name):
    model, x = model_of(name), rows_of(name, "none")
    columns = [x.shape[1] - 1, 0]
    hidden = np.full_like(x, np.nan)
    hidden[:, columns] = x[:, columns]
    assert_close(dg.log_prob(dg.marginal(model, columns), x[:, columns]), oracle.log_prob(model, hidden))


FREE_PARAMETERS = {
    "full": 1 + 2 * (2 + 3),
    "tied": 1 + 2 * 2 + 3,
    "diagonal": 1 + 2 * (2 + 2),
    "diagonal tied": 1 + 2 * 2 + 2,
    "spherical": 1 + 2 * (2 + 1),
    "spherical tied": 1 + 2 * 2 + 1,
    "factors": 1 + 2 * (3 + 3 + 3),
    "probabilistic PCA": 1 + 2 * (3 + 3 + 1),
    "bernoulli": 1 + 2 * 3,
    "categorical": 1 + 2 * 3 * 2,
    "poisson": 1 + 2 * 3,
    "multinomial": 1 + 2 * 2,
    "columns": 1 + 2 * (5 + 1 + 1),
    "nested": 1 + 2 * (1 + 2 * 5),
    "nested, shared in each class": 1 + 2 * (1 + 2 * 2 + 3),
    "nested, shared by all": 1 + 2 * (1 + 2 * 2) + 3,
    "nested categories": 1 + 2 * (1 + 2 * 3 * 2),
    "columns with a mixture": 1 + 2 * (1 + (1 + 2 * 5) + 1),
}


def test_parameters_counted_by_hand():
    assert {name: dg.num_parameters(model_of(name)) for name in DENSITIES} == FREE_PARAMETERS


def test_choosing_by_hand():
    model, x = model_of("full"), rows_of("full")
    total, p = oracle.log_prob(model, x).sum(), FREE_PARAMETERS["full"]
    assert_close(dg.bic(model, x), -2 * total + p * np.log(N))
    assert_close(dg.aic(model, x), -2 * total + 2 * p)
    threshold = float(dg.anomaly_threshold(model, x, false_alarm=0.25))
    assert (oracle.log_prob(model, x) < threshold).sum() == N * 0.25
