"""Chains of hmmlearn and dynamax, given the same potentials, start and number of steps."""

import logging

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
