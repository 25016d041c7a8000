"""Chains of hmmlearn and dynamax, given the same potentials, start and number of steps."""

import logging
import tempfile

import jax
import jax.numpy as jnp
import numpy as np


def forward_backward_of_hmmlearn(log_initial, log_transition, scores):
    """Its C functions, one sequence after another, in probabilities that it scales at each step."""
    from hmmlearn import _hmmc

    initial, transition = np.exp(log_initial), np.exp(log_transition)
    values, marginals, counts = [], [], []
    for own in np.asarray(scores):
        top = own.max(-1, keepdims=True)
        frames = np.exp(own - top)
        value, forward, scaling = _hmmc.forward_scaling(initial, transition, frames)
        backward = _hmmc.backward_scaling(initial, transition, frames, scaling)
        share = forward * backward
        values.append(value + top.sum())
        marginals.append(share / share.sum(1, keepdims=True))
        counts.append(_hmmc.compute_scaling_xi_sum(forward, transition, backward, frames))
    return np.array(values), np.array(marginals), np.array(counts)


def viterbi_of_hmmlearn(log_initial, log_transition, scores):
    """Its C function, one sequence after another."""
    from hmmlearn import _hmmc

    initial, transition = np.exp(log_initial), np.exp(log_transition)
    return np.array([_hmmc.viterbi(initial, transition, own)[1] for own in np.asarray(scores)])


def baum_welch_of_hmmlearn(x, mean, covariance, steps):
    """Maximum likelihood: every prior of its own switched off."""
    from hmmlearn.hmm import GaussianHMM

    (n, t, d), k = x.shape, len(mean)
    name = {"diagonal": "diag"}.get(covariance, covariance)
    rows, lengths = np.asarray(x, float).reshape(-1, d), np.full(n, t)
    # It goes on while the objective gains more than tol, and says so where it does not.
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)

    def run():
        model = GaussianHMM(k, name, n_iter=steps, tol=-np.inf, init_params="", min_covar=0, covars_prior=0)
        model.startprob_, model.transmat_ = np.full(k, 1 / k), np.full((k, k), 1 / k)
        model.means_ = mean.astype(float)
        model.covars_ = np.ones((k, d)) if name == "diag" else np.stack([np.eye(d)] * k)
        return model.fit(rows, lengths)

    return run


def smoother_of_dynamax(log_initial, log_transition, scores):
    """jit of vmap; the value, marginals, and counts."""
    from dynamax.hidden_markov_model import hmm_smoother

    initial, transition = jnp.exp(log_initial), jnp.exp(log_transition)

    def one(scores):
        posterior = hmm_smoother(initial, transition, scores)
        return posterior.marginal_loglik, posterior.smoothed_probs, posterior.trans_probs

    every = jax.jit(jax.vmap(one))
    return lambda: every(scores)


def gradient_of_dynamax(log_initial, log_transition, scores):
    """Of its filter's log-likelihood, by automatic differentiation."""
    from dynamax.hidden_markov_model import hmm_filter

    def total(log_initial, log_transition, scores):
        one = lambda own: hmm_filter(jnp.exp(log_initial), jnp.exp(log_transition), own).marginal_loglik  # noqa: E731
        return jax.vmap(one)(scores).sum()

    both = jax.jit(jax.value_and_grad(total, (0, 1, 2)))
    return lambda: both(log_initial, log_transition, scores)


def baum_welch_of_dynamax(x, mean, covariance, steps):
    """Its priors as flat as they go; compiled once."""
    from dynamax.hidden_markov_model import DiagonalGaussianHMM, GaussianHMM

    k, d = mean.shape
    flat = {"initial_probs_concentration": 1.0, "transition_matrix_concentration": 1.0}
    model = (GaussianHMM if covariance == "full" else DiagonalGaussianHMM)(k, d, **flat)
    spread = {"emission_covariances": jnp.broadcast_to(jnp.eye(d), (k, d, d))}
    if covariance == "diagonal":
        spread = {"emission_scale_diags": jnp.ones((k, d))}
    start, learnt = model.initialize(
        initial_probs=jnp.full(k, 1 / k),
        transition_matrix=jnp.full((k, k), 1 / k),
        emission_means=jnp.asarray(mean),
        **spread,
    )
    run = jax.jit(lambda start: model.fit_em(start, learnt, x, num_iters=steps, verbose=False))
    return lambda: run(start)[0]


def adam_of_pytorch_crf(x, y, batch_size, rate):
    """One pass of Adam over the sequences, of a linear layer and a CRF from 0; the layer's weights."""
    import torch
    from torchcrf import CRF

    (n, _, d), k = x.shape, int(y.max()) + 1
    rows, labels = torch.from_numpy(x), torch.from_numpy(y).long()
    there = torch.ones(y.shape, dtype=torch.bool)

    def run():
        linear, crf = torch.nn.Linear(d, k).to(rows), CRF(k, batch_first=True).to(rows)
        for parameter in (*linear.parameters(), *crf.parameters()):
            torch.nn.init.zeros_(parameter)
        # Ours has no weights for where a sequence ends, and as many biases as starts and moves.
        optimizer = torch.optim.Adam([linear.weight, crf.start_transitions, crf.transitions], rate)
        for first in range(0, n, batch_size):
            some = slice(first, first + batch_size)
            optimizer.zero_grad()
            (-crf(linear(rows[some]), labels[some], there[some])).backward()
            optimizer.step()
        return linear.weight.detach().numpy()

    return run


def lbfgs_of_crfsuite(ids, y, l2, steps):
    """So many steps on the same indicators, loading left out; the objective, negated."""
    import pycrfsuite

    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    for sequence, labels in zip(ids, y, strict=True):
        named = [[str(int(one)) for one in row if one >= 0] for row in sequence]
        named[0].append("first")  # in place of weights for where a sequence starts
        trainer.append(named, [str(label) for label in labels])
    # All weights are there, those never seen with their label too, as in ours.
    everything = {"feature.possible_states": True, "feature.possible_transitions": True}
    trainer.set_params({"c1": 0, "c2": l2 / 2, "max_iterations": steps, "epsilon": 0, "delta": 0, **everything})

    def run():
        with tempfile.NamedTemporaryFile() as file:
            trainer.train(file.name)
        return trainer.logparser.last_iteration["loss"]

    return run
