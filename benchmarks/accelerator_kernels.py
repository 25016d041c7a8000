"""Every kernel as a case of the accelerator benchmark: its arguments, at a size."""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
from accelerator_case import Case, Peer, Size, jitted

import dgjax_kernels as kernels

DRAWS, LATENT = 4, 4  # of the bounds on an integral


@functools.cache
def rows(n: int, size: Size) -> SimpleNamespace:
    """Rows of every kind of column with some cells missing, labels some of which are unknown, weights, parameters."""
    rng, d, k, v = np.random.default_rng(0), size.d, size.k, size.values
    label = rng.integers(k, size=n)
    mean, factor = 2 * rng.normal(size=(k, d)), np.tril(0.3 * rng.normal(size=(k, d, d))) + np.eye(d)
    x = mean[label] + rng.normal(size=(n, d))
    missing = rng.random((n, d)) < 0.1
    counts, categories = rng.poisson(3.0, (n, d)).astype(float), rng.integers(v, size=(n, d)).astype(float)
    return SimpleNamespace(
        n=n,
        x=x,
        holes=np.where(missing, np.nan, x),
        label=label.astype(np.int32),
        y=np.where(rng.random(n) < 0.5, label, -1).astype(np.int32),
        w=rng.uniform(0.5, 2, n),
        c=rng.dirichlet(np.ones(k), n),
        mean=mean,
        log_scale=rng.uniform(-0.5, 0.5, (k, d)),
        L=factor,
        log_weights=np.log(rng.dirichlet(np.ones(k))),
        scores=rng.normal(size=(n, k)),
        features=np.abs(x),
        log_p=np.log(rng.dirichlet(np.ones(d), k)),
        log_rate=rng.uniform(0, 2, (k, d)),
        counts=np.where(missing, np.nan, counts),
        categories=categories,
        some_categories=np.where(missing, np.nan, categories),
        log_table=np.log(rng.dirichlet(np.ones(v), (k, d))),
        bits=np.where(missing, np.nan, x > 0),
        slope=rng.normal(size=(k, d)) / d,
        bias=rng.normal(size=k),
        ids=rng.integers(-1, k * d, (n, d)).astype(float),
        of_ids=rng.normal(size=(k, k * d)),
        to_cells=rng.normal(size=(LATENT, d)),
        latent=rng.normal(size=(n, LATENT)),
        noise=rng.normal(size=(DRAWS, n, LATENT)),
    )


@functools.cache
def chains(size: Size) -> tuple:
    """Initial, transition and scores of chains as logarithms, and their lengths, some of them shorter."""
    rng, (n, t, k) = np.random.default_rng(0), (size.sequences, size.steps, size.states)
    start, moves = np.log(rng.dirichlet(np.ones(k))), np.log(rng.dirichlet(np.ones(k), k))
    return start, moves, 3 * rng.normal(size=(n, t, k)), np.minimum(rng.integers(t // 2, 2 * t, n), t).astype(np.int32)


@functools.cache
def matrices(size: Size) -> SimpleNamespace:
    """Many small matrices, well conditioned, and one large one."""
    rng, d, e = np.random.default_rng(0), size.d, size.edge
    A = 0.3 * rng.normal(size=(size.matrices, d, d)) + 2 * np.eye(d)
    large = rng.normal(size=(e, e)) / e**0.5
    S = A @ A.swapaxes(-1, -2)
    return SimpleNamespace(A=A, S=S, L=np.linalg.cholesky(S), B=A[..., :1], SPD=large @ large.T + np.eye(e))


def drawn(op: Callable) -> Callable:
    """Of one key."""
    return lambda *arguments: op(jax.random.key(0), *arguments)


def bound(op: Callable, values: bool = False) -> Callable:
    """A bound, by given noise, of rows of bits whose logits are linear in a latent vector."""

    def run(x, to_cells, mean, noise):
        def log_likelihood(z):
            found = kernels.bernoulli_cells(x, z @ to_cells)
            return (found, z) if values else found

        return op(mean, 0.1 * mean, lambda s: noise[s], log_likelihood, DRAWS)

    return run


def value_and_gradient(initial, transition, scores, lengths):
    """Of the sum of log-partitions."""
    return jax.value_and_grad(lambda *a: kernels.chain_partition(*a, lengths).sum(), (0, 1, 2))(
        initial, transition, scores
    )


def _independent(name, pick, parameters):
    """Scores, statistics and E-step of a family of independent columns."""
    return {
        name: (getattr(kernels, name), lambda r: (pick(r), *parameters(r))),
        f"{name}_statistics": (getattr(kernels, f"{name}_statistics"), lambda r: (pick(r), r.c, *parameters(r))),
        f"{name}_expectation": (
            getattr(kernels, f"{name}_expectation"),
            lambda r: (pick(r), r.y, r.w, r.log_weights, *parameters(r)),
        ),
    }


def _full(prefix, pick):
    """Likewise of full covariances, each label with its own."""
    return {
        f"{prefix}gaussian": (getattr(kernels, f"{prefix}gaussian"), lambda r: (pick(r), r.mean[:, None], r.L)),
        f"{prefix}gaussian_statistics": (
            getattr(kernels, f"{prefix}gaussian_statistics"),
            lambda r: (pick(r), r.c[..., None], r.mean[:, None], r.L),
        ),
        f"{prefix}gaussian_expectation": (
            getattr(kernels, f"{prefix}gaussian_expectation"),
            lambda r: (pick(r), r.y, r.w, r.log_weights[:, None], r.mean[:, None], r.L),
        ),
    }


def _factors():
    """Likewise of two factors for each label, and what is known of them given a row."""

    def parameters(r):
        return r.mean, r.L[..., :2], r.log_scale

    return {
        "factor_posterior": (kernels.factor_posterior, lambda r: (r.holes, *parameters(r))),
        "factor_scores": (kernels.factor_scores, lambda r: (r.holes, *parameters(r))),
        "factor_statistics": (kernels.factor_statistics, lambda r: (r.holes, r.c, *parameters(r))),
        "factor_expectation": (
            kernels.factor_expectation,
            lambda r: (r.holes, r.y, r.w, r.log_weights, *parameters(r)),
        ),
    }


def _sparse_factors():
    """The same of rows of which only the observed cells are given."""

    def cells(r):
        row, column = np.nonzero(~np.isnan(r.holes))
        return np.searchsorted(row, np.arange(r.n + 1)), column, r.holes[row, column]

    def parameters(r):
        return r.mean, r.L[..., :2], r.log_scale

    return {
        "sparse_factor_posterior": (kernels.sparse_factor_posterior, lambda r: (*cells(r), *parameters(r))),
        "sparse_factor_scores": (kernels.sparse_factor_scores, lambda r: (*cells(r), *parameters(r))),
        "sparse_factor_statistics": (kernels.sparse_factor_statistics, lambda r: (*cells(r), r.c, *parameters(r))),
        "sparse_factor_expectation": (
            kernels.sparse_factor_expectation,
            lambda r: (*cells(r), r.y, r.w, r.log_weights, *parameters(r)),
        ),
    }


OF_ROWS: dict[str, tuple[Callable, Callable[[Any], tuple]]] = {
    **_full("complete_", lambda r: r.x),
    **_independent("diagonal", lambda r: r.holes, lambda r: (r.mean, r.log_scale)),
    **_independent("table", lambda r: r.some_categories, lambda r: (r.log_table,)),
    **_independent("poisson", lambda r: r.counts, lambda r: (r.log_rate,)),
    **_independent("multinomial", lambda r: r.counts, lambda r: (r.log_p,)),
    "logistic_gradient": (kernels.logistic_gradient, lambda r: (r.x, r.y, r.w, r.bias, r.slope)),
    "logistic_curvature": (kernels.logistic_curvature, lambda r: (r.x, r.y, r.w, r.bias, r.slope)),
    "logistic_gradient_zero_copy": (
        kernels.logistic_gradient_zero_copy,
        lambda r: (r.x[:1], r.x.reshape(-1)[2:], r.y, r.w, r.bias, r.slope),
    ),
    "partition": (kernels.partition, lambda r: (r.scores, r.y)),
    "joint_partition": (kernels.joint_partition, lambda r: (r.x, r.y, r.w, r.scores)),
    "column_summary": (kernels.column_summary, lambda r: (r.holes,)),
    "labelled_moments": (kernels.labelled_moments, lambda r: (r.holes, r.y, r.w, r.mean, r.log_scale)),
    "complete_table": (kernels.complete_table, lambda r: (r.categories, r.log_table)),
    "complete_table_expectation": (
        kernels.complete_table_expectation,
        lambda r: (r.categories, r.y, r.w, r.log_weights, r.log_table),
    ),
    "log_linear": (kernels.log_linear, lambda r: (r.features, r.log_p)),
    "weighted_sums": (kernels.weighted_sums, lambda r: (r.features, r.c)),
    "indicator_scores": (kernels.indicator_scores, lambda r: (r.ids, r.of_ids)),
    "bernoulli_cells": (kernels.bernoulli_cells, lambda r: (r.bits, r.x)),
    "gaussian_cells": (kernels.gaussian_cells, lambda r: (r.holes, r.x + 1, r.log_scale[0])),
    "gaussian_mixture_cells": (
        kernels.gaussian_mixture_cells,
        lambda r: (
            r.holes,
            *(np.broadcast_to(own.T, (r.n, *own.T.shape)) for own in (r.log_p, r.mean, r.log_rate + 1)),
        ),
    ),
    "attention": (
        kernels.attention,
        lambda r: (*(r.x.reshape(-1, 8, 1, r.x.shape[1]) for _ in range(3)), np.tril(np.ones((8, 8), bool))),
    ),
    "attention_gradient": (
        kernels.attention_gradient,
        lambda r: (
            *(r.x.reshape(-1, 8, 1, r.x.shape[1]) for _ in range(3)),
            np.tril(np.ones((8, 8), bool)),
            r.x.reshape(-1, 8, 1, r.x.shape[1]),
        ),
    ),
    "attention_of_one": (
        kernels.attention_of_one,
        lambda r: (
            r.x[:, None],
            *(np.repeat(r.x[:, None, None], 8, axis=2) * np.arange(1, 9)[:, None] for _ in range(2)),
            np.ones((r.n, 8), bool),
        ),
    ),
    "categorical_cells": (
        kernels.categorical_cells,
        lambda r: (r.some_categories, np.broadcast_to(r.log_table[0], (r.n, *r.log_table[0].shape))),
    ),
    "poisson_cells": (kernels.poisson_cells, lambda r: (r.counts, r.x)),
    "elbo": (bound(kernels.elbo), lambda r: (r.bits, r.to_cells, r.latent, r.noise)),
    "importance_log_weights": (
        bound(kernels.importance_log_weights),
        lambda r: (r.bits, r.to_cells, r.latent, r.noise),
    ),
    "importance_bound": (bound(kernels.importance_bound), lambda r: (r.bits, r.to_cells, r.latent, r.noise)),
    "importance_mean": (bound(kernels.importance_mean, True), lambda r: (r.bits, r.to_cells, r.latent, r.noise)),
}
OF_FEW_ROWS = {
    **_full("", lambda r: r.holes),
    **_factors(),
    **_sparse_factors(),
    "gaussian_conditional": (kernels.gaussian_conditional, lambda r: (r.holes - r.mean[r.label], r.label, r.L)),
}
OF_RANDOM_BITS = {
    "categorical": (drawn(kernels.categorical), lambda r: (r.scores,)),
    "gaussian_draws": (drawn(kernels.gaussian_draws), lambda r: (r.label, r.mean[:, None], r.L)),
    "diagonal_draws": (drawn(kernels.diagonal_draws), lambda r: (r.label, r.mean, np.exp(r.log_scale))),
}
OF_CHAINS = {
    "chain_partition": value_and_gradient,
    "chain_expectation": kernels.chain_expectation,
    "chain_log_partition": kernels.chain_log_partition,
    "chain_log_marginals": kernels.chain_log_marginals,
    "chain_mode": kernels.chain_mode,
    "chain_sample": drawn(kernels.chain_sample),
    "chain_entropy": kernels.chain_entropy,
}
OF_MATRICES = {
    "solve": (kernels.solve, lambda m: (m.L, m.B)),
    "solve_transposed": (kernels.solve_transposed, lambda m: (m.L, m.B)),
    "inverse": (kernels.inverse, lambda m: (m.L,)),
    "cholesky": (kernels.cholesky, lambda m: (m.S,)),
    "triangularized": (kernels.triangularized, lambda m: (m.A,)),
    "whitener": (kernels.whitener, lambda m: (m.SPD,)),
}
# Of states and labels the share that differs: ties, and draws at the edge of a cell.
FEW_DIFFER = {"float32": 1e-3, "float64": 1e-4}


def cases(size: Size) -> list[Case]:
    """Every kernel, those of long chains and of EM first."""
    return [*_of_chains(size), *_of_rows(size), *_of_matrices(size)]


def _of_rows(size):
    found = []
    for table, n, random in ((OF_ROWS, size.n, False), (OF_FEW_ROWS, size.few, False), (OF_RANDOM_BITS, size.n, True)):
        for name, (fn, pick) in table.items():
            facts = {"n": n, "d": size.d, "k": size.k}
            arrays = functools.partial(lambda pick, n: pick(rows(n, size)), pick, n)
            close = {"close": FEW_DIFFER} if name == "categorical" else {}
            found.append(Case("kernel", name, facts, arrays, jitted(fn), own_precision=random, **close))
    return found


def _of_chains(size):
    facts = {"n": size.sequences, "t": size.steps, "k": size.states}
    found = []
    for name, fn in OF_CHAINS.items():
        of_states = name in ("chain_mode", "chain_sample")
        more = {"own_precision": name == "chain_sample"} | ({"close": FEW_DIFFER} if of_states else {})
        peer = {"chain_expectation": smoother, "chain_partition": gradient}.get(name)
        more |= {"peers": {"dynamax": peer}} if peer else {}
        found.append(Case("kernel", name, facts, lambda: chains(size), jitted(fn), **more))
    return found


def _of_matrices(size):
    def facts(name):
        return {"n": size.edge} if name == "whitener" else {"n": size.matrices, "d": size.d}

    return [
        Case("kernel", name, facts(name), functools.partial(lambda pick: pick(matrices(size)), pick), jitted(fn))
        for name, (fn, pick) in OF_MATRICES.items()
    ]


def smoother(arrays: tuple, dtype: str) -> Peer:
    """Of dynamax, for which all sequences are whole: it agrees on those that are."""
    from chain_peers import smoother_of_dynamax

    whole = np.asarray(arrays[3]) == arrays[2].shape[1]
    return Peer(smoother_of_dynamax(*arrays[:3]), lambda r: r[0][whole], lambda r: r[0][whole])


def gradient(arrays: tuple, dtype: str) -> Peer:
    """Of dynamax's filter, differentiated, likewise."""
    from chain_peers import gradient_of_dynamax

    whole = np.asarray(arrays[3]) == arrays[2].shape[1]
    return Peer(gradient_of_dynamax(*arrays[:3]), lambda r: r[1][2][whole], lambda r: r[1][2][whole])
