"""Standard errors beside closed forms, and beside the bootstrap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax as dg

RANDOM = np.random.default_rng(0)
N = 300
X = (RANDOM.normal(size=(N, 2)) @ [[1, 0], [0.7, 2]] + [0, 50]).astype("float32")
Y = (X[:, 0] + RANDOM.logistic(size=N) > 0).astype(int)
NORMAL = dg.Gaussian(X.mean(0)[None], np.linalg.cholesky(np.cov(X.T, bias=True))[None].astype("float32"))


def close(found, wanted, tolerance=1e-4):
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=tolerance)


def test_those_of_a_normal_distribution_are_the_textbooks():
    errors = dg.standard_errors(NORMAL, X)
    assert errors._fields == ("mean", "scale_tril")
    assert "GaussianErrors(mean=Array(" in repr(errors)
    close(errors.mean[0], X.std(0) / np.sqrt(N))
    assert float(errors.scale_tril[0, 0, 1]) == 0
    spread = np.cov(X.T, bias=True)
    found = dg.standard_errors(NORMAL, X, of=lambda model: model.scale_tril[0] @ model.scale_tril[0].T)
    close(found, np.sqrt((spread**2 + np.outer(np.diag(spread), np.diag(spread))) / N))


def test_those_of_shares_are_the_binomials():
    x = (RANDOM.random((N, 2)) < [0.2, 0.7]).astype("float32")
    x[::7, 0] = np.nan
    model = dg.naive_bayes(x, Y, "bernoulli")
    errors = dg.standard_errors(model, x, Y)
    counts, shares = np.bincount(Y), np.array([np.nanmean(x[k == Y], 0) for k in (0, 1)])
    cells = np.array([(~np.isnan(x[k == Y])).sum(0) for k in (0, 1)])
    close(errors.density.logits, 1 / np.sqrt(cells * shares * (1 - shares)))
    weights = counts / N
    close(errors.log_weights, np.sqrt((1 - weights) / counts))
    close(
        dg.standard_errors(model, x, Y, of=lambda model: jnp.exp(jax.nn.log_softmax(model.log_weights))),
        np.sqrt(weights * (1 - weights) / N),
    )


def test_a_weight_is_a_number_of_rows():
    times = np.where(np.arange(N) % 2, 2.0, 1.0)
    often = X.repeat(times.astype(int), 0)
    start = dg.DiagonalGaussian(X.mean(0)[None], np.log(X.std(0))[None])
    model = dg.fit(start, X, weights=times).model
    one, other = dg.standard_errors(model, X, weights=times), dg.standard_errors(model, often)
    jax.tree.map(lambda a, b: close(a, b, 1e-5), one, other)
    close(one.log_scale[0], np.full(2, np.sqrt(1 / (2 * times.sum()))))


def test_those_of_logistic_regression_are_the_textbooks():
    model = dg.fit(dg.logistic_regression(2, 2), X, Y).model
    errors = dg.standard_errors(model, X, Y)
    rows, proba = np.c_[np.ones(N), X].astype(float), np.exp(np.asarray(dg.predict_log_proba(model, X), float))[:, 1]
    wanted = np.sqrt(np.diag(np.linalg.inv((rows * (proba * (1 - proba))[:, None]).T @ rows)))
    close([errors.bias[0], *errors.scorer.weight[0]], wanted, 1e-3)


def test_of_scores_of_three_classes_what_is_common_to_all_has_no_error():
    """So that contrasts have the errors that they have where one class is the reference, of score 0."""
    y = np.digitize(X[:, 0] + RANDOM.logistic(size=N), [-0.5, 0.5])
    model = dg.fit(dg.logistic_regression(2, 3), X, y).model
    rows, proba = np.c_[np.ones(N), X].astype(float), np.exp(np.asarray(dg.predict_log_proba(model, X), float))
    blocks = [[(rows * (proba[:, a] * ((a == b) - proba[:, b]))[:, None]).T @ rows for b in (1, 2)] for a in (1, 2)]
    covariance = np.linalg.inv(np.block(blocks))
    whole = np.zeros((9, 9))  # of class 0 nothing varies
    whole[3:, 3:] = covariance
    centre = np.kron(np.eye(3) - 1 / 3, np.eye(3))
    wanted = np.sqrt(np.diag(centre @ whole @ centre.T)).reshape(3, 3)
    errors = dg.standard_errors(model, X, y)
    close(errors.bias, wanted[:, 0], 1e-3)
    close(errors.scorer.weight, wanted[:, 1:], 1e-3)
    one = dg.standard_errors(model, X, y, of=lambda model: model.bias[1] - model.bias[0])
    close(one, np.sqrt(covariance[0, 0]), 1e-3)


def test_a_prior_is_of_the_objective():
    prior = dg.priors.Ridge(5.0)
    model = dg.fit(dg.logistic_regression(2, 2), X, Y, prior=prior).model
    errors = dg.standard_errors(model, X, Y, prior=prior)
    rows, proba = np.c_[np.ones(N), X].astype(float), np.exp(np.asarray(dg.predict_log_proba(model, X), float))[:, 1]
    information = (rows * (proba * (1 - proba))[:, None]).T @ rows + 5 * np.diag([0, 1, 1])
    close([errors.bias[0], *errors.scorer.weight[0]], np.sqrt(np.diag(np.linalg.inv(information))), 1e-3)


@pytest.mark.slow
def test_those_of_a_mixture_are_near_the_bootstraps():
    x = np.concatenate([RANDOM.normal(size=(200, 1)), 5 + 1.5 * RANDOM.normal(size=(300, 1))]).astype("float32")
    start = dg.gaussian_mixture(jax.random.key(0), x, 2, "diagonal")
    to_the_end = {"method": dg.EM(tol=1e-9), "max_steps": 5000}
    model = dg.fit(start, x, **to_the_end).model
    errors = dg.standard_errors(model, x)
    drawn = [dg.fit(model, x[RANDOM.integers(0, len(x), len(x))], **to_the_end).model for _ in range(400)]
    for name in ("mean", "log_scale"):
        spread = np.std([getattr(own.density, name) for own in drawn], axis=0)
        close(getattr(errors.density, name), spread, 0.15)  # which is known to 4 % itself
    spread = np.std([jax.nn.log_softmax(own.log_weights) for own in drawn], axis=0)
    close(errors.log_weights, spread, 0.15)  # which is known to 4 % itself


@pytest.mark.slow
def test_those_of_transitions_that_are_seen_are_the_multinomials():
    path = (RANDOM.random((40, 25)) < 0.4).astype(int)
    x = (path * 3.0 + RANDOM.normal(size=path.shape))[..., None].astype("float32")
    start = dg.hidden_markov(jax.random.key(0), x, 2, covariance="diagonal")
    model = dg.fit(start, x, path).model
    moves = np.array([[((path[:, :-1] == a) & (path[:, 1:] == b)).sum() for b in (0, 1)] for a in (0, 1)])
    shares = moves / moves.sum(1, keepdims=True)
    errors = dg.standard_errors(model, x, path)
    close(errors.log_transition, np.sqrt((1 - shares) / moves), 1e-3)
    counts = np.bincount(path.ravel())
    close(errors.density.mean[:, 0], np.exp(np.asarray(model.density.log_scale[:, 0])) / np.sqrt(counts), 1e-3)


@pytest.mark.slow
def test_loadings_have_errors_up_to_rotation():
    x = RANDOM.normal(size=(N, 2)) @ RANDOM.normal(size=(2, 5)) + RANDOM.normal(size=(N, 5))
    start = dg.factor_analysis(jax.random.key(0), x, 2)
    model = dg.fit(start, x, method=dg.EM(tol=1e-9), max_steps=5000).model

    def common(model):
        loading = model.density.loading[0]
        return loading @ loading.T

    turned = jax.tree.map(lambda leaf: leaf, model)
    angle = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]], "float32")
    turned = dg.Mixture(
        turned.log_weights,
        dg.FactorGaussian(model.density.mean, model.density.loading @ angle, model.density.log_scale),
    )
    close(dg.standard_errors(model, x, of=common), dg.standard_errors(turned, x, of=common), 1e-2)
    close(dg.standard_errors(model, x).density.mean[0], x.std(0) / np.sqrt(N), 1e-2)


FAR = dg.Gaussian(NORMAL.mean + 1, NORMAL.scale_tril)
SAME = dg.Mixture(np.log([0.5, 0.5]), dg.Gaussian(np.repeat(NORMAL.mean, 2, 0), np.repeat(NORMAL.scale_tril, 2, 0)))
REFUSED = {
    "not at the maximum": (lambda: dg.standard_errors(FAR, X), "tol=1e-9"),
    "two components that are one": (lambda: dg.standard_errors(SAME, X), "the likelihood rises"),
    "a column twice": (
        lambda: dg.standard_errors(dg.fit(dg.logistic_regression(2, 2), X[:, [0, 0]], Y).model, X[:, [0, 0]], Y),
        r"singular: the rows do not determine model\.scorer\.weight",
    ),
    "fitted with a prior": (
        lambda: dg.standard_errors(dg.fit(dg.logistic_regression(2, 2), X, Y, prior=dg.priors.Ridge(1e3)).model, X, Y),
        "with the prior that it was fitted with",
    ),
    "networks": (
        lambda: dg.standard_errors(dg.neural_classifier(jax.random.key(0), 2, 2, hidden=(3,)), X, Y),
        "bootstrap",
    ),
    "too many": (
        lambda: dg.standard_errors(dg.Gaussian(np.zeros((1, 60)), np.eye(60)[None]), np.zeros((2, 60))),
        "at most 1000",
    ),
    "inside jit": (lambda: jax.jit(lambda x: dg.standard_errors(NORMAL, x))(X), "Call it outside"),
}


@pytest.mark.parametrize(("call", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_told(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_the_advice_for_a_model_that_is_not_there_works():
    model = dg.fit(FAR, X, method=dg.EM(tol=1e-9), max_steps=10000).model
    close(dg.standard_errors(model, X).mean[0], X.std(0) / np.sqrt(N), 1e-3)


def test_a_ridge_leaves_out_what_is_common_to_all_classes_whatever_the_units():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 1))
    shares = np.exp(np.c_[0 * x, x, -x])
    y = np.array([rng.choice(3, p=own / own.sum()) for own in shares])
    found = []
    for scale, prior in ((1, None), (1, dg.priors.Ridge(1e-3)), (1e3, dg.priors.Ridge(1e-9))):
        model = dg.fit(dg.logistic_regression(1, 3), (x * scale).astype("float32"), y, prior=prior).model
        errors = dg.standard_errors(model, (x * scale).astype("float32"), y, prior=prior)
        found.append(np.ravel(errors.scorer.weight) * scale)
    np.testing.assert_allclose(found[1], found[0], rtol=0.01)
    np.testing.assert_allclose(found[2], found[0], rtol=0.01)
