"""Values that others published, or that were computed without this library."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture

import dgjax as dg

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.xdist_group("references")]
X, Y = load_iris(return_X_y=True)


def test_one_gaussian_with_missing_cells():
    """The maximum for the data of R's mvnmle, 13 rows with 13 cells missing (Little and Rubin)."""
    x = np.genfromtxt(Path(__file__).parent / "data" / "missvals.csv", delimiter=",", skip_header=1)
    start = dg.Gaussian(np.nanmean(x, 0)[None], np.diag(np.nanstd(x, 0))[None])
    fitted = dg.fit(start, x, method=dg.EM(tol=1e-13), max_steps=5000)
    assert fitted.converged
    assert dg.log_prob(fitted.model, x).sum() == pytest.approx(-132.925250, rel=1e-6)
    assert fitted.objective[-1] == pytest.approx(-132.925250, rel=1e-6)
    np.testing.assert_allclose(fitted.model.mean[0], [6.655166, 49.965259, 11.769231, 27.047090, 95.423077], rtol=1e-6)
    factor = fitted.model.scale_tril[0]
    covariance = factor @ factor.T
    expected = {(0, 0): 21.825568, (1, 1): 238.012439, (1, 3): -252.072311, (3, 3): 294.183031, (4, 4): 208.904852}
    for place, value in expected.items():
        assert covariance[place] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("covariance", "joint", "conditional", "errors"),
    [("tied", -263.2037, -6.5576, 3), ("full", -188.3756, -5.4547, 3), ("diagonal", -326.0501, -16.6873, 6)],
)
def test_discriminant_analysis_of_iris(covariance, joint, conditional, errors):
    """Sums of log p(x, y) and log p(y | x), and errors of 150: computed with scipy, to 1e-4."""
    model = dg.discriminant_analysis(X, Y, covariance)
    assert dg.log_joint(model, X, Y).sum() == pytest.approx(joint, abs=1e-4)
    assert dg.log_conditional(model, X, Y).sum() == pytest.approx(conditional, abs=1e-4)
    assert (dg.predict(model, X) != Y).sum() == errors
    twin = dg.discriminative(model)
    np.testing.assert_allclose(dg.predict_log_proba(twin, X), dg.predict_log_proba(model, X), atol=1e-6)


def test_diagonal_discriminant_analysis_is_gaussian_naive_bayes():
    assert jax.tree.all(
        jax.tree.map(jnp.allclose, dg.naive_bayes(X, Y), dg.discriminant_analysis(X, Y, "diagonal")),
    )


def precisions(density):
    if isinstance(density, dg.Gaussian):
        return np.linalg.inv(density.scale_tril @ np.swapaxes(density.scale_tril, -1, -2))
    precision = np.exp(-2 * density.log_scale)
    return precision[:, 0] if precision.shape[1] == 1 else precision


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal", "spherical"])
def test_mixture_of_iris_as_scikit_learn(covariance):
    """A maximum of ours is one of theirs."""
    names = {"diagonal": "diag"}
    start = dg.gaussian_mixture(jax.random.key(0), X, 3, covariance)
    fitted = dg.fit(start, X, method=dg.EM(tol=1e-10), max_steps=2000)
    assert fitted.converged
    density = fitted.model.density
    peer = GaussianMixture(
        3,
        covariance_type=names.get(covariance, covariance),
        tol=1e-10,
        max_iter=2000,
        reg_covar=0,
        weights_init=np.exp(fitted.model.log_weights),
        means_init=density.mean,
        precisions_init=precisions(density),
    ).fit(X)
    assert dg.log_prob(fitted.model, X).sum() == pytest.approx(peer.score(X) * len(X), rel=1e-6)
    assert dg.bic(fitted.model, X) == pytest.approx(peer.bic(X), rel=1e-6)
    assert dg.aic(fitted.model, X) == pytest.approx(peer.aic(X), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "peer"),
    [("diagonal", FactorAnalysis(10, tol=1e-9, max_iter=20_000, svd_method="lapack")), ("shared", PCA(10))],
)
def test_factors_of_digits_as_scikit_learn(noise, peer):
    """Of the columns that are not constant: log-likelihoods of factor analysis and of probabilistic PCA."""
    x = load_digits().data
    x = x[:, x.std(0) > 0]
    start = dg.factor_analysis(jax.random.key(0), x, 10, noise)
    fitted = dg.fit(start, x, method=dg.EM(1e-10), max_steps=20_000)
    assert fitted.converged
    assert fitted.objective[-1] / len(x) == pytest.approx(peer.fit(x).score(x), rel=1e-6)


@pytest.mark.parametrize("method", [dg.Newton(1e-10), dg.LBFGS(1e-10)])
@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_as_scikit_learn(classes, method):
    x, y = X[classes > Y], Y[classes > Y]
    model = dg.fit(dg.logistic_regression(4, classes), x, y, prior=dg.priors.Ridge(1.0), method=method).model
    peer = LogisticRegression(C=1.0, tol=1e-12, max_iter=5000).fit(x, y)
    np.testing.assert_allclose(np.exp(dg.predict_log_proba(model, x)), peer.predict_proba(x), atol=1e-5)


def test_newton_reaches_what_lbfgs_does_on_raw_columns():
    """Thirty columns whose scales differ by 1e4, unscaled."""
    x, y = load_breast_cancer(return_X_y=True)
    fits = [
        dg.fit(dg.logistic_regression(30, 2), x, y, prior=dg.priors.Ridge(1.0), method=m, max_steps=5000)
        for m in (dg.Newton(1e-10), dg.LBFGS(1e-10))
    ]
    newton, lbfgs = (float(fit.objective[-1]) for fit in fits)
    assert newton == pytest.approx(lbfgs, rel=1e-4)
    assert newton >= lbfgs - 1e-6


def speed_data():
    """Reaction times and whether the answers were right, three series of 168, 134 and 137 (R's depmixS4)."""
    series, time, right = np.genfromtxt(Path(__file__).parent / "data" / "speed.csv", delimiter=",", skip_header=1).T
    return dg.pad([np.stack([time, right], 1)[series == one] for one in range(3)])


def test_two_states_of_the_speed_data():
    """depmixS4's tests, at parameters given there."""
    x, lengths = speed_data()
    right = np.array([[0.528], [0.902]])
    density = dg.Columns(
        (
            dg.DiagonalGaussian([[5.52], [6.39]], np.log([[0.202], [0.24]])),
            dg.Bernoulli(np.log(right) - np.log1p(-right)),
        ),
        ((0,), (1,)),
    )
    model = dg.HiddenMarkov([-np.inf, 0.0], np.log([[0.899, 0.101], [0.084, 0.916]]), density)
    assert dg.log_prob(model, x, lengths).sum() == pytest.approx(-296.115107102, rel=1e-9)


def test_a_fit_of_the_speed_data():
    """depmixS4's vignette: times alone, as one sequence."""
    x, lengths = speed_data()
    times = np.concatenate([x[i, : lengths[i], 0] for i in range(3)])[None, :, None]
    moves = np.log([[0.9, 0.1], [0.1, 0.9]])
    start = dg.HiddenMarkov(np.zeros(2), moves, dg.DiagonalGaussian([[6.4], [5.5]], np.log([[0.25], [0.2]])))
    fitted = dg.fit(start, times, method=dg.EM(tol=1e-12))
    assert fitted.objective[-1] == pytest.approx(-88.730584, rel=1e-8)
    expected = [[0.916, 0.084], [0.116, 0.884]]
    np.testing.assert_allclose(np.exp(fitted.model.log_transition), expected, atol=5e-4)
    np.testing.assert_allclose(fitted.model.density.mean[:, 0], [6.385, 5.510], atol=5e-4)
    np.testing.assert_allclose(np.exp(fitted.model.density.log_scale[:, 0]), [0.244, 0.192], atol=5e-4)


def discrete_chain(initial, transition, emission):
    k, values = np.shape(emission)
    density = dg.Categorical(np.log(emission).reshape(k, 1, values))
    return dg.HiddenMarkov(np.log(initial), np.log(transition), density)


def test_the_umbrella_world():
    """Russell and Norvig, Artificial Intelligence: A Modern Approach, section 14.2."""
    model = discrete_chain([0.5, 0.5], [[0.7, 0.3], [0.3, 0.7]], [[0.1, 0.9], [0.8, 0.2]])
    seen = np.array([1.0, 1, 0, 1, 1])
    x = np.array([[*seen[: t + 1], *[np.nan] * (4 - t)] for t in range(5)])[..., None]
    rain = np.exp(dg.predict_log_proba(model, x)[..., 0])
    np.testing.assert_allclose(np.diag(rain), [0.818182, 0.883357, 0.190668, 0.730794, 0.867339], atol=1e-6)
    np.testing.assert_allclose(rain[4], [0.867339, 0.820419, 0.307484, 0.820419, 0.867339], atol=1e-6)
    assert dg.log_prob(model, x)[4] == pytest.approx(-3.372502, rel=1e-6)


def test_the_most_probable_health():
    """Wikipedia's example of Viterbi's algorithm."""
    emission = [[0.5, 0.4, 0.1], [0.1, 0.3, 0.6]]
    model = discrete_chain([0.6, 0.4], [[0.7, 0.3], [0.4, 0.6]], emission)
    x = np.array([[[0.0], [1.0], [2.0]]])
    path = dg.predict(model, x)
    assert path.tolist() == [[0, 0, 1]]
    assert np.exp(dg.log_joint(model, x, path)) == pytest.approx([0.01512], rel=1e-9)
    assert np.exp(dg.log_prob(model, x)) == pytest.approx([0.03628], rel=1e-9)
