"""Naive Bayes, fit and predict, every kind of column, beside scikit-learn with the same smoothing."""

import numpy as np
import pytest

import dgjax as dg
from dgjax import priors

KINDS = ["gaussian", "bernoulli", "categorical", "multinomial"]
CATEGORIES = 4


def table(kind, n, d=20, k=5):
    rng = np.random.default_rng(0)
    y = rng.integers(k, size=n)
    if kind == "gaussian":
        return rng.normal(size=(k, d))[y] + rng.normal(size=(n, d)), y
    if kind == "bernoulli":
        return (rng.random((n, d)) < rng.random((k, d))[y]).astype(float), y
    if kind == "categorical":
        p = rng.dirichlet(np.ones(CATEGORIES), size=(k, d)).cumsum(-1)
        return (rng.random((n, d, 1)) > p[y]).sum(-1).astype(float), y
    return rng.poisson(rng.uniform(1, 9, (k, d))[y]).astype(float), y


def peer_of(kind):
    from sklearn import naive_bayes

    return {
        "gaussian": lambda: naive_bayes.GaussianNB(var_smoothing=0),
        "bernoulli": lambda: naive_bayes.BernoulliNB(alpha=1, force_alpha=True),
        "categorical": lambda: naive_bayes.CategoricalNB(alpha=1, min_categories=CATEGORIES),
        "multinomial": lambda: naive_bayes.MultinomialNB(alpha=1),
    }[kind]()


def prior_of(kind, d=20, k=5):
    """One row more of each value, as scikit-learn's alpha = 1; nothing on the weights of the classes."""
    two, many = np.full((k, d), 2.0), np.full((k, d, CATEGORIES), 2.0)
    density = {
        "gaussian": None,
        "bernoulli": priors.Beta(two, two),
        "categorical": priors.Dirichlet(many),
        "multinomial": priors.Dirichlet(two),
    }[kind]
    return None if density is None else priors.MixturePrior(None, density)


@pytest.mark.parametrize("kind", KINDS)
def test_fit(beside, quick, x64, kind):
    x, y = table(kind, 20_000 if quick else 400_000)
    prior = prior_of(kind)

    def fit():
        return dg.naive_bayes(x, y, kind, prior=prior)

    def peer():
        return peer_of(kind).fit(x, y)

    def check():
        ours = np.exp(dg.predict_log_proba(fit(), x[:100]))
        np.testing.assert_allclose(ours, peer().predict_proba(x[:100]), rtol=1e-6, atol=1e-9)

    beside(fit, {"scikit-learn": peer}, n=len(x), check=check, family=f"{kind} naive Bayes, fit")


@pytest.mark.parametrize("kind", KINDS)
def test_predict(beside, quick, x64, kind):
    x, y = table(kind, 20_000 if quick else 400_000)
    model, peer = dg.naive_bayes(x, y, kind, prior=prior_of(kind)), peer_of(kind).fit(x, y)
    ours, theirs = lambda: dg.predict(model, x), lambda: peer.predict(x)

    def check():
        assert (np.asarray(ours()) == theirs()).mean() > 0.9999

    beside(ours, {"scikit-learn": theirs}, n=len(x), check=check, family=f"{kind} naive Bayes, predict")
