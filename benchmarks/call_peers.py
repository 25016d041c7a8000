"""Models and the peers that have their parameters, so that public calls on both must give the same answers."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from bench_gaussian import clusters
from bench_naive_bayes import peer_of, prior_of, table
from peers import quietly
from scipy.special import logsumexp

import dgjax as dg

MOST, LEARNT, D, K = 200_000, 20_000, 16, 8
COVARIANCES = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}


class Pair(NamedTuple):
    """A model, rows to ask it about, and the call of the peer that answers what each verb does."""

    model: Any
    rows: np.ndarray
    peers: dict[str, Callable[[np.ndarray], Any]]


def labelled(n, dtype, seed=0):
    """Rows (n, D) and the nearest of K centres as their labels, so that every classifier has something to learn."""
    x, mean = clusters(n, D, K, dtype, seed=seed)
    return x, ((x[:, None] - mean) ** 2).sum(-1).argmin(1)


def mixture(covariance, dtype):
    from sklearn.mixture import GaussianMixture

    x, _ = clusters(MOST, D, K, dtype)
    name = COVARIANCES[covariance]
    peer = quietly(GaussianMixture(K, covariance_type=name, max_iter=5, random_state=0).fit)(x[:LEARNT])
    means, spread = peer.means_.astype(dtype), peer.covariances_
    if name in ("full", "tied"):
        density = dg.Gaussian(means, np.linalg.cholesky(spread).astype(dtype))
    else:
        log_scale = np.log(spread).astype(dtype) / 2
        density = dg.DiagonalGaussian(means, log_scale if name == "diag" else log_scale[:, None])
    peers = {
        "log_prob": peer.score_samples,
        "predict_log_proba": peer.predict_proba,
        "predict": peer.predict,
        "bic": peer.bic,
        "sample": lambda x: peer.sample(len(x)),
    }
    return Pair(dg.Mixture(np.log(peer.weights_).astype(dtype), density), x, peers)


def discriminant(kind, dtype):
    from sklearn import discriminant_analysis

    x, y = labelled(MOST, dtype)
    if kind == "LDA":
        peer = discriminant_analysis.LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True)
    else:
        peer = discriminant_analysis.QuadraticDiscriminantAnalysis(store_covariance=True)
    peer.fit(x[:LEARNT], y[:LEARNT])
    factors = np.linalg.cholesky(np.asarray(peer.covariance_)).astype(dtype)
    model = dg.Mixture(np.log(peer.priors_).astype(dtype), dg.Gaussian(peer.means_.astype(dtype), factors))
    return Pair(model, x, {"predict": peer.predict, "predict_log_proba": peer.predict_log_proba})


def naive_bayes(kind, dtype):
    x, y = table(kind, MOST)
    x = x.astype(dtype)
    model = dg.naive_bayes(x[:LEARNT], y[:LEARNT], kind, prior=prior_of(kind))
    peer = peer_of(kind).fit(x[:LEARNT], y[:LEARNT])
    peers = {"predict": peer.predict, "predict_log_proba": peer.predict_log_proba}
    if kind != "multinomial":  # whose coefficients scikit-learn leaves out
        peers["log_prob"] = lambda x: logsumexp(peer.predict_joint_log_proba(x), axis=1)
    return Pair(model, x, peers)


def logistic(_, dtype):
    from sklearn.linear_model import LogisticRegression

    x, y = labelled(MOST, dtype)
    peer = LogisticRegression().fit(x[:LEARNT], y[:LEARNT])
    model = dg.Logistic(peer.intercept_.astype(dtype), dg.Linear(peer.coef_.astype(dtype)))
    return Pair(model, x, {"predict": peer.predict, "predict_log_proba": peer.predict_log_proba})


FAMILIES: dict[str, tuple[Callable[[str, str], Pair], str]] = {
    **{f"{covariance} mixture": (mixture, covariance) for covariance in COVARIANCES},
    **{kind: (discriminant, kind) for kind in ("LDA", "QDA")},
    **{f"{kind} naive Bayes": (naive_bayes, kind) for kind in ("gaussian", "bernoulli", "categorical", "multinomial")},
    "logistic regression": (logistic, ""),
}
VERBS = {
    "mixture": ("log_prob", "predict_log_proba", "predict", "bic", "sample"),
    "naive Bayes": ("log_prob", "predict_log_proba", "predict"),
}
CALLS = [
    (family, verb)
    for family in FAMILIES
    for verb in next((v for name, v in VERBS.items() if name in family), ("predict_log_proba", "predict"))
    if (family, verb) != ("multinomial naive Bayes", "log_prob")
]


@functools.lru_cache(maxsize=2)
def pair(family: str, dtype: str) -> Pair:
    make, option = FAMILIES[family]
    return make(option, dtype)


def starters(family: str) -> tuple[Callable, Callable]:
    """The starter that fits a family in closed form, and the peer's `fit`; functions of rows and labels."""
    from sklearn import discriminant_analysis

    if family in ("LDA", "QDA"):
        covariance = {"LDA": "tied", "QDA": "full"}[family]
        peer = {
            "LDA": lambda: discriminant_analysis.LinearDiscriminantAnalysis(solver="lsqr"),
            "QDA": discriminant_analysis.QuadraticDiscriminantAnalysis,
        }[family]
        return lambda x, y: dg.discriminant_analysis(x, y, covariance), lambda x, y: peer().fit(x, y)
    kind = family.split()[0]
    prior = prior_of(kind)
    return lambda x, y: dg.naive_bayes(x, y, kind, prior=prior), lambda x, y: peer_of(kind).fit(x, y)
