"""Public calls on sequences: hidden Markov models beside hmmlearn and dynamax, a CRF beside CRFsuite's tagger."""

import jax
import numpy as np
import pytest
from bench_calls import KEY, asked
from bench_chain import emissions
from chain_callers import EMISSIONS, crf_of_crfsuite, learner, of_dynamax, of_hmmlearn
from peers import installed

import dgjax as dg

SHAPES = [(1, 300, 3), (48, 1000, 6), (800, 120, 10), (1, 40_000, 4)]
STEPS, MOST_SAMPLED = 3, 8_000


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


def groups_of(shape, *others):
    """One short sequence has an aim of its own."""
    return ["chains, one short sequence" if shape == SHAPES[0] else "chains", *others]


@pytest.mark.parametrize("verb", ["log_prob", "predict_log_proba", "predict"])
@pytest.mark.parametrize("kind", EMISSIONS)
def test_verb(beside, dtype, kind, verb, shape):
    n, t, k = shape
    x, model = EMISSIONS[kind](n, t, k, dtype)
    ours, peers = lambda: asked(verb, model, x), {}
    if installed("hmmlearn"):
        peers["hmmlearn"] = of_hmmlearn(model, x, verb)
    if dtype == "float32" and kind == "gaussian" and installed("dynamax"):
        peers["dynamax"] = of_dynamax(model, x, verb)

    def check():
        double = dtype == "float64"
        for name, peer in peers.items():
            own, theirs = ours(), np.asarray(peer())
            match verb:
                case "log_prob":  # hmmlearn's is of all sequences together
                    theirs, own = theirs.sum(), own.sum()
                    np.testing.assert_allclose(own, theirs, rtol=1e-9 if double else 1e-5, err_msg=name)
                case "predict_log_proba":
                    np.testing.assert_allclose(np.exp(own), theirs.reshape(own.shape), atol=1e-7 if double else 5e-3)
                case "predict":
                    assert (own != theirs.reshape(own.shape)).mean() <= (0 if double else 1e-3), name

    facts = {"n": n, "t": t, "k": k, "dtype": dtype, "family": f"{kind} hidden Markov", "call": verb}
    beside(ours, peers, check=check, groups=groups_of(shape), **facts)


@pytest.mark.parametrize("kind", EMISSIONS)
def test_sample(beside, dtype, kind, shape):
    """As many sequences as make `MOST_SAMPLED` steps, for hmmlearn draws 10,000 a second."""
    n, t, k = shape
    n, t = max(1, min(n, MOST_SAMPLED // t)), min(t, MOST_SAMPLED)
    x, model = EMISSIONS[kind](n, t, k, dtype)
    peers = {"hmmlearn": of_hmmlearn(model, x, "sample")} if installed("hmmlearn") else {}

    def ours():
        return tuple(map(np.asarray, dg.sample(model, KEY, (n, t))))

    def check():
        rows, states = ours()
        assert rows.shape == x.shape
        assert states.shape == (n, t)

    facts = {"n": n, "t": t, "k": k, "dtype": dtype, "family": f"{kind} hidden Markov", "call": "sample"}
    beside(ours, peers, check=check, groups=groups_of(shape, "samples"), rounds=1, **facts)


@pytest.mark.parametrize("kind", EMISSIONS)
def test_fit(beside, dtype, kind, shape):
    n, t, k = shape
    x, model = EMISSIONS[kind](n, t, k, dtype)
    peers = {"hmmlearn": learner(model, x, STEPS)} if installed("hmmlearn") else {}

    def ours():
        return dg.fit(model, x, method=dg.EM(tol=0.0), max_steps=STEPS).model

    def check():
        for peer in peers.values():
            theirs = peer().score(x.reshape(-1, x.shape[-1]).astype("float64" if kind == "gaussian" else int), [t] * n)
            own = float(asked("log_prob", ours(), x).astype("float64").sum())
            assert own == pytest.approx(theirs, rel=1e-8 if dtype == "float64" else 1e-5)

    facts = {"n": n, "t": t, "k": k, "dtype": dtype, "family": f"{kind} hidden Markov", "call": "fit"}
    beside(ours, peers, check=check, groups=groups_of(shape), rounds=1, **facts)


@pytest.mark.parametrize("verb", ["predict", "predict_log_proba"])
def test_crf(beside, single, verb):
    if not installed("pycrfsuite"):
        pytest.skip("there is nothing to compare with")
    model, ids, tagged = crf_of_crfsuite(200, 25, 10, 2_000, 9, single)
    ours, peer = lambda: asked(verb, model, ids), lambda: tagged(verb)

    def check():
        if verb == "predict":
            assert (ours() != peer()).mean() < 1e-3
        else:
            np.testing.assert_allclose(np.exp(ours()), peer(), atol=1e-3)

    n, t, _ = ids.shape
    facts = {"n": n, "t": t, "d": 2_000, "k": 9, "dtype": single, "family": "CRF of indicators", "call": verb}
    beside(ours, {"CRFsuite": peer}, check=check, groups=["CRF"], **facts)


ALONE = ("sample_labels", "impute", "log_joint")


@pytest.mark.parametrize("verb", [*ALONE, "forecast"])
def test_verb_without_peer(beside, single, verb, shape):
    n, t, k = shape
    x, model = EMISSIONS["gaussian"](n, t, k, single)
    x = np.where(np.random.default_rng(1).random(x.shape) < 0.1, np.nan, x) if verb == "impute" else x
    calls = {
        "forecast": lambda: dg.forecast(model, x, 3),
        "log_joint": lambda: dg.log_joint(model, x, np.zeros((n, t), int)),
    }
    facts = {"n": n, "t": t, "k": k, "dtype": single, "family": "gaussian hidden Markov", "call": verb}
    beside(calls.get(verb, lambda: asked(verb, model, x)), groups=["no peer"], **facts)


def test_start_without_peer(beside, single, shape):
    n, t, k = shape
    x, _ = emissions(n, t, k, 4, single)
    facts = {"n": n, "t": t, "k": k, "dtype": single, "family": "hidden_markov", "call": "start"}
    beside(lambda: dg.hidden_markov(jax.random.key(0), x, k), groups=["no peer"], **facts)


@pytest.mark.parametrize("verb", ["predict", "predict_log_proba", "log_conditional", "fit"])
def test_linear_chain_crf(beside, single, verb, shape):
    n, t, k = shape
    x, _ = emissions(n, t, k, 4, single)
    y = x[..., :k].argmax(-1) if k <= 4 else (x[..., 0] > 0).astype(int)
    model = dg.LinearChainCRF(np.zeros(k, single), np.eye(k, dtype=single), dg.Linear(np.eye(k, 4, dtype=single)))
    calls = {
        "log_conditional": lambda: dg.log_conditional(model, x, y),
        "fit": lambda: dg.fit(model, x, y, prior=dg.priors.Ridge(1.0), method=dg.LBFGS(tol=0.0), max_steps=STEPS).model,
    }
    facts = {"n": n, "t": t, "k": k, "dtype": single, "family": "linear-chain CRF", "call": verb}
    beside(calls.get(verb, lambda: asked(verb, model, x)), groups=["no peer"], **facts)
