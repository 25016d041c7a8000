"""Public calls on rows as a caller makes them: NumPy in, NumPy out, beside the peer's public call, at every size.

A case's `groups` are the lines of the page's table that it counts in.
"""

import jax
import numpy as np
import pytest
from bench_gaussian import clusters, start_at
from bench_logistic import compare
from bench_missing import hide
from bench_naive_bayes import table
from call_peers import CALLS, COVARIANCES, FAMILIES, D, K, labelled, pair, starters
from peers import mixture_of_scikit_learn

import dgjax as dg

SIZES = [300, 1, 10_000, 200_000]
GROUPS = {300: "300 rows and 1 row", 1: "300 rows and 1 row", 10_000: "10,000 rows", 200_000: "200,000 rows"}
SHORTER = 0.03  # seconds of calls one after another in a round, where a call takes a millisecond or less
STEPS = 10
LOGISTIC = [(500_000, 20, 2), (100_000, 100, 2), (30_000, 400, 2)]
KEY = jax.random.key(0)


def least_of(n):
    return SHORTER if n <= 10_000 else None


def arrays(result):
    """Results where NumPy can use them."""
    return jax.tree.map(np.asarray, result)


def asked(verb, model, x):
    match verb:
        case "sample":
            return arrays(dg.sample(model, KEY, len(x)))
        case "sample_labels":
            return np.asarray(dg.sample_labels(model, KEY, x))
        case "sample_missing":
            return np.asarray(dg.sample_missing(model, KEY, x))
        case "log_joint" | "log_conditional":
            return np.asarray(getattr(dg, verb)(model, x, np.zeros(len(x), int)))
    return np.asarray(getattr(dg, verb)(model, x))


def check_answer(verb, ours, theirs, dtype):
    """Scores to digits, posteriors as probabilities, labels but for ties, samples by their means."""
    double = dtype == "float64"
    match verb:
        case "predict":
            assert (ours != theirs).mean() <= (1e-4 if double else 2e-3)
        case "predict_log_proba":
            theirs = theirs if (theirs >= 0).all() else np.exp(theirs)
            np.testing.assert_allclose(np.exp(ours), theirs, atol=1e-6 if double else 5e-3)
        case "sample":
            np.testing.assert_allclose(ours[0].mean(0), theirs[0].mean(0), atol=20 / np.sqrt(len(ours[0])))
        case _:
            np.testing.assert_allclose(ours, theirs, rtol=1e-7 if double else 1e-4, atol=1e-7 if double else 1e-2)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("family", "verb"), CALLS)
def test_verb(beside, dtype, family, verb, n):
    if n == 1 and verb in ("bic", "sample"):
        pytest.skip("nobody asks for it row by row")
    if dtype == "float32" and n not in (300, 200_000):
        pytest.skip("two sizes say what the precision changes")
    model, rows, peers = pair(family, dtype)
    x = rows[:n]
    ours, theirs = lambda: asked(verb, model, x), lambda: peers[verb](x)
    groups = [GROUPS[n], *["samples"] * (verb == "sample" and n == SIZES[-1])]
    facts = {"n": n, "dtype": dtype, "family": family, "call": verb, "groups": groups, "least": least_of(n)}
    beside(ours, {"scikit-learn": theirs}, check=lambda: check_answer(verb, ours(), theirs(), dtype), **facts)


@pytest.mark.parametrize("n", [300, 200_000])
@pytest.mark.parametrize("family", [f for f in FAMILIES if "mixture" not in f and "logistic" not in f])
def test_starter(beside, dtype, family, n):
    x, y = table(family.split()[0], n) if "naive" in family else labelled(n, dtype)
    x, (start, peer) = x.astype(dtype), starters(family)

    def check():
        assert (asked("predict", start(x, y), x) == peer(x, y).predict(x)).mean() > 0.99

    facts = {"n": n, "dtype": dtype, "family": family, "call": "start", "groups": ["fits in closed form"]}
    beside(lambda: start(x, y), {"scikit-learn": lambda: peer(x, y)}, check=check, least=least_of(n), **facts)


@pytest.mark.parametrize("n", [300, 100_000])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_mixture_fit(beside, dtype, covariance, n):
    d, k = (4, 3) if n == 300 else (D, K)
    x, mean = clusters(n, d, k, dtype)
    start, peer = start_at(mean, covariance), mixture_of_scikit_learn(x, mean, covariance, STEPS)

    def fit():
        return dg.fit(start, x, method=dg.EM(tol=0.0), max_steps=STEPS).model

    def check():
        ours = float(asked("log_prob", fit(), x).mean())
        assert ours == pytest.approx(peer().score(x), rel=1e-6 if dtype == "float64" else 1e-4)

    groups = ["fits, 300 rows" if n == 300 else "fits of mixtures"]
    facts = {"n": n, "d": d, "k": k, "dtype": dtype, "family": f"{covariance} mixture", "call": "fit", "groups": groups}
    beside(fit, {"scikit-learn": peer}, check=check, least=least_of(n), rounds=2, **facts)


@pytest.mark.parametrize(("n", "d", "k"), [(300, 4, 3), *LOGISTIC])
def test_logistic_fit(beside, quick, x64, n, d, k):
    groups = ["fits, 300 rows" if n == 300 else "fits of logistic regression"]
    facts = {"family": "logistic regression", "call": "fit", "groups": groups}
    facts |= {"least": least_of(n), "rounds": 3 if n == 300 else 2}
    compare(beside, n // 10 if quick and n > 300 else n, d, k, 0, **facts)


@pytest.mark.parametrize("verb", ["log_prob", "predict", "impute"])
def test_missing(beside, quick, dtype, verb):
    """A fifth of the cells missing at random, beside the same rows with none; `impute` beside their `log_prob`."""
    x, mean = clusters(20_000 if quick else 200_000, D, K, dtype)
    model, hidden = start_at(mean, "full"), hide(x, 0.2)
    complete = "log_prob" if verb == "impute" else verb
    asked(complete, model, x)
    facts = {"n": len(x), "d": D, "k": K, "dtype": dtype, "family": "full mixture, a fifth of the cells missing"}
    peers = {"complete": lambda: asked(complete, model, x)}
    beside(lambda: asked(verb, model, hidden), peers, call=verb, groups=["missing"], **facts)


ALONE = {
    "full mixture": ("log_joint", "log_conditional", "sample_labels", "sample_missing", "anomaly_threshold"),
    "LDA": ("log_prob", "sample"),
    "multinomial naive Bayes": ("log_prob", "impute"),
    "logistic regression": ("sample_labels",),
}


@pytest.mark.parametrize("n", [300, 200_000])
@pytest.mark.parametrize(("family", "verb"), [(family, verb) for family, verbs in ALONE.items() for verb in verbs])
def test_verb_without_peer(beside, single, family, verb, n):
    model, rows, _ = pair(family, single)
    x = hide(rows[:n], 0.1) if verb in ("sample_missing", "impute") else rows[:n]
    facts = {"n": n, "dtype": single, "family": family, "call": verb, "groups": ["no peer"], "least": least_of(n)}
    beside(lambda: asked(verb, model, x), **facts)


STARTS = {
    "gaussian_mixture": lambda x, y: dg.gaussian_mixture(KEY, x, K),
    "mixture_discriminant_analysis": lambda x, y: dg.mixture_discriminant_analysis(KEY, x, y),
}


@pytest.mark.parametrize("n", [300, 200_000])
@pytest.mark.parametrize("name", STARTS)
def test_starter_without_peer(beside, single, name, n):
    x, y = labelled(n, single)
    facts = {"n": n, "dtype": single, "family": name, "call": "start", "groups": ["no peer"], "least": least_of(n)}
    beside(lambda: STARTS[name](x, y), **facts)
