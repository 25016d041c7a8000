"""Public calls of hmmlearn, dynamax and CRFsuite on the sequences and with the parameters of a model of dgjax."""

import contextlib
import functools
import logging
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from bench_chain import emissions

import dgjax as dg

D, SYMBOLS = 4, 8


@functools.lru_cache(maxsize=8)
def gaussian(n, t, k, dtype):
    """Sequences of full-covariance normal emissions, and a model near what they were drawn from."""
    x, mean = emissions(n, t, k, D, dtype)
    factor = np.linalg.cholesky(0.7 * np.eye(D) + 0.3).astype(dtype)
    return x, dg.HiddenMarkov(*_moves(k, dtype), dg.Gaussian(mean, np.stack([factor] * k)))


@functools.lru_cache(maxsize=8)
def categorical(n, t, k, dtype):
    """Sequences of one of SYMBOLS categories."""
    x, _ = emissions(n, t, k, 1, "float64")
    codes = np.clip(np.round(x) + SYMBOLS // 2, 0, SYMBOLS - 1).astype(dtype)
    logits = np.log(np.random.default_rng(1).dirichlet(np.ones(SYMBOLS), (k, 1)))
    return codes, dg.HiddenMarkov(*_moves(k, dtype), dg.Categorical(logits.astype(dtype)))


def _moves(k, dtype):
    rng = np.random.default_rng(2)
    moves = 0.8 * np.eye(k) + 0.2 * rng.dirichlet(np.ones(k), k)
    return np.log(rng.dirichlet(5 * np.ones(k))).astype(dtype), np.log(moves).astype(dtype)


EMISSIONS = {"gaussian": gaussian, "categorical": categorical}


def _probabilities(logits):
    logits = np.asarray(logits, "float64")
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def _model_of_hmmlearn(model, **options):
    from hmmlearn import hmm

    # It goes on while the objective gains more than tol, and says so where it does not.
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)
    k, density = model.num_labels, model.density
    if isinstance(density, dg.Gaussian):
        factor = np.asarray(density.scale_tril, "float64")
        peer = hmm.GaussianHMM(k, "full", init_params="", min_covar=0, covars_prior=0, **options)
        peer.means_, peer.covars_ = np.asarray(density.mean, "float64"), factor @ np.swapaxes(factor, -1, -2)
    else:
        peer = hmm.CategoricalHMM(k, init_params="", n_features=SYMBOLS, **options)
        peer.emissionprob_ = _probabilities(density.logits)[:, 0]
    peer.startprob_, peer.transmat_ = _probabilities(model.log_initial), _probabilities(model.log_transition)
    return peer


def _rows(model, x):
    """As hmmlearn takes them: one sequence after another, categories as ints."""
    rows = np.ascontiguousarray(x.reshape(-1, x.shape[-1]))
    return rows if isinstance(model.density, dg.Gaussian) else rows.astype(int)


def of_hmmlearn(model, x, verb):
    """Its method for a verb; sequences are drawn one at a time."""
    peer, rows, (n, t) = _model_of_hmmlearn(model), _rows(model, x), x.shape[:2]
    if verb == "sample":
        return lambda: [peer.sample(t, random_state=i)[0] for i in range(n)]
    method = {"log_prob": peer.score, "predict_log_proba": peer.predict_proba, "predict": peer.predict}[verb]
    return lambda: method(rows, [t] * n)


def learner(model, x, steps):
    """Baum-Welch from the parameters of `model`, for so many steps, its own priors switched off."""
    rows, (n, t) = _rows(model, x), x.shape[:2]
    return lambda: _model_of_hmmlearn(model, n_iter=steps, tol=-np.inf).fit(rows, [t] * n)


def of_dynamax(model, x, verb):
    """jit of vmap of its method."""
    from dynamax.hidden_markov_model import GaussianHMM

    k, factor = model.num_labels, jnp.asarray(model.density.scale_tril)
    peer = GaussianHMM(k, D)
    parameters, _ = peer.initialize(
        initial_probs=jnp.exp(model.log_initial),
        transition_matrix=jnp.exp(model.log_transition),
        emission_means=jnp.asarray(model.density.mean),
        emission_covariances=factor @ jnp.swapaxes(factor, -1, -2),
    )
    one = {
        "log_prob": lambda own: peer.marginal_log_prob(parameters, own),
        "predict_log_proba": lambda own: peer.smoother(parameters, own).smoothed_probs,
        "predict": lambda own: peer.most_likely_states(parameters, own),
    }[verb]
    every = jax.jit(jax.vmap(one))
    return lambda: np.asarray(every(x))


@functools.cache
def crf_of_crfsuite(n, t, m, v, k, dtype):
    """A CRF of CRFsuite's weights after a few steps, indicators (n, t, m), and what its tagger says of them by verb."""
    import pycrfsuite

    rng = np.random.default_rng(0)
    ids = np.minimum(rng.zipf(1.3, size=(n, t, m)) - 1, v - 1)
    y = (rng.normal(size=(v, k))[ids].sum(2) + 3 * rng.gumbel(size=(n, t, k))).argmax(-1)
    items = [pycrfsuite.ItemSequence([[str(one) for one in row] for row in own]) for own in ids]
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    for sequence, labels in zip(items, y, strict=True):
        trainer.append(sequence, [str(label) for label in labels])
    everything = {"feature.possible_states": True, "feature.possible_transitions": True}
    trainer.set_params({"c2": 0.5, "max_iterations": 10, **everything})
    tagger = pycrfsuite.Tagger()
    with tempfile.NamedTemporaryFile() as file, contextlib.redirect_stdout(None):
        trainer.train(file.name)
        tagger.open(file.name)
        learnt = tagger.info()
    weight, moves = np.zeros((k, v)), np.zeros((k, k))
    for (name, label), value in learnt.state_features.items():
        weight[int(label), int(name)] = value
    for (before, after), value in learnt.transitions.items():
        moves[int(before), int(after)] = value
    scorer = dg.Indicators(weight.astype(dtype))
    names = [str(label) for label in range(k)]

    def tagged(verb):
        found = []
        for sequence in items:
            labels = tagger.tag(sequence)
            if verb == "predict":
                found.append([int(label) for label in labels])
            else:
                found.append([[tagger.marginal(name, s) for name in names] for s in range(t)])
        return np.array(found)

    return dg.LinearChainCRF(np.zeros(k, dtype), moves.astype(dtype), scorer), ids.astype(dtype), tagged
