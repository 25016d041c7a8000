"""Sums, maxima and draws over paths against all paths, one by one."""

import chain_oracle as oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax_kernels as kernels
from dgjax.structures import Chain

CASES = {
    "structural zeros": {"zeros": 0.3},
    "by step, with zeros": {"per_step": True, "zeros": 0.3},
    "plain": {},
    "by step": {"per_step": True},
}
N, T, K = 24, 5, 3


def problems(seed=0, **options):
    """Sequences of every length that share initial and transition, as the kernel takes them and one by one."""
    rng = np.random.default_rng(seed)
    first = oracle.random_potentials(rng, K, T, **options)
    others = [oracle.random_potentials(rng, K, T, length=1 + i % T, **options) for i in range(N)]
    each = [oracle.Potentials(first.initial, first.transition, one.scores, one.length) for one in others]
    arrays = first.initial, first.transition, np.stack([p.scores for p in each]), np.array([p.length for p in each])
    return each, tuple(map(jnp.asarray, arrays))


EASIER = (pytest.param(name, marks=pytest.mark.slow) for name in ("plain", "by step"))


@pytest.fixture(params=["structural zeros", "by step, with zeros", *EASIER])
def problem(request, x64):
    return problems(**CASES[request.param])


def test_sums_over_paths_are_those_over_all_paths(problem):
    each, arrays = problem
    value, marginals, counts = jax.jit(kernels.chain_expectation)(*arrays)
    np.testing.assert_allclose(value, [oracle.log_partition(p) for p in each], rtol=1e-12)
    np.testing.assert_allclose(marginals, [oracle.marginals(p) for p in each], atol=1e-13)
    wanted = np.array([oracle.transition_counts(p) for p in each])
    wanted = wanted if arrays[1].ndim == 3 else wanted.sum(1)
    np.testing.assert_allclose(counts, wanted, atol=1e-13)
    np.testing.assert_allclose(jax.jit(kernels.chain_entropy)(*arrays), [oracle.entropy(p) for p in each], atol=1e-12)
    with np.errstate(divide="ignore"):
        logs = np.log([oracle.marginals(p) for p in each])
    np.testing.assert_allclose(jax.jit(kernels.chain_log_marginals)(*arrays), logs, atol=1e-11)


def test_the_score_of_a_known_path_is_a_sum_of_its_steps(problem):
    """Whether it is worked out as one, known to be one, or, where one step is unknown, by the sums over paths."""
    each, arrays = problem
    chain, rng = Chain(*arrays), np.random.default_rng(1)
    y = jnp.asarray(np.where(np.arange(T) < arrays[3][:, None], rng.integers(K, size=(N, T)), -1))
    wanted = np.array([oracle.score_of(p, own[: p.length]) for p, own in zip(each, y, strict=True)])
    score = jax.jit(lambda chain, y: chain.score(y))
    np.testing.assert_allclose(score(chain, y), wanted, rtol=1e-12)
    every = jax.jit(lambda chain, y: chain.score(y, known=True))
    np.testing.assert_allclose(every(chain, y), wanted, rtol=1e-12)
    np.testing.assert_allclose(score(chain, y.at[0, 0].set(-1))[1:], wanted[1:], rtol=1e-12)
    possible = jnp.asarray(np.isfinite(wanted))
    assert possible.any()

    def of_sums(chain):
        return kernels.chain_partition(*chain._potentials(y))[possible].sum()

    grads = [jax.grad(f, allow_int=True)(chain) for f in (lambda c: score(c, y)[possible].sum(), of_sums)]
    for name in ("initial", "transition", "scores"):
        np.testing.assert_allclose(*(getattr(grad, name) for grad in grads), atol=1e-12)


def test_the_mode_is_the_best_path(problem):
    each, arrays = problem
    found = np.asarray(jax.jit(kernels.chain_mode)(*arrays))
    best = [oracle.score_of(p, oracle.mode(p)[: p.length]) for p in each]
    np.testing.assert_allclose([oracle.score_of(p, y[: p.length]) for p, y in zip(each, found, strict=True)], best)
    beyond = np.arange(T) >= np.array([p.length for p in each])[:, None]
    assert (found[beyond | np.isneginf(best)[:, None]] == -1).all()


def test_the_derivative_of_the_log_partition_is_the_marginals_and_the_counts(problem):
    each, (*parameters, lengths) = problem
    weights = jnp.linspace(-1, 2, N)
    possible = np.isfinite([oracle.log_partition(p) for p in each])

    def total(initial, transition, scores):
        return jnp.where(possible, weights * kernels.chain_partition(initial, transition, scores, lengths), 0).sum()

    of_initial, of_transition, of_scores = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*parameters)
    marginals = np.array([oracle.marginals(p) for p in each]) * weights[:, None, None]
    counts = np.einsum("n,ntij->tij", weights, [oracle.transition_counts(p) for p in each])
    np.testing.assert_allclose(of_scores, marginals, atol=1e-12)
    np.testing.assert_allclose(of_initial, marginals[:, 0].sum(0), atol=1e-12)
    np.testing.assert_allclose(of_transition, counts if parameters[1].ndim == 3 else counts.sum(0), atol=1e-12)


def test_second_derivatives_are_those_of_finite_differences(problem):
    """Of potentials that are finite: the others are no variables."""
    _, (initial, transition, scores, lengths) = problem
    few = scores[3:5], lengths[3:5]
    free = jnp.isfinite(transition)

    @jax.jit
    def gradient(moved):
        def value(moved):
            return kernels.chain_partition(initial, jnp.where(free, moved, -jnp.inf), *few).sum()

        return jax.grad(value)(moved)

    start = jnp.where(free, transition, 0)
    if (
        not np.isfinite(gradient(start)).all()
        or not np.isfinite(kernels.chain_partition(initial, transition, *few)).all()
    ):
        pytest.skip("no path")
    direction = jnp.asarray(np.random.default_rng(1).normal(size=start.shape))
    exact = jax.jit(lambda s: jax.jvp(gradient, (s,), (direction,))[1])(start)
    step = 1e-6
    wanted = (gradient(start + step * direction) - gradient(start - step * direction)) / (2 * step)
    np.testing.assert_allclose(exact, wanted, atol=1e-7)


def test_draws_have_the_probabilities_of_their_paths(x64):
    each, (initial, transition, scores, lengths) = problems(zeros=0.2)
    index = 13
    assert each[index].length == 4
    many = 40_000
    same = jnp.broadcast_to(scores[index], (many, T, K)), jnp.full(many, lengths[index])
    drawn = np.asarray(jax.jit(kernels.chain_sample)(jax.random.key(0), initial, transition, *same))
    assert (drawn[:, 4] == -1).all()
    paths, times = np.unique(drawn[:, :4], axis=0, return_counts=True)
    p = oracle.path_distribution(each[index])
    assert all(tuple(path) in p for path in paths.tolist())
    seen = {tuple(path): count / many for path, count in zip(paths.tolist(), times, strict=True)}
    for path, probability in p.items():
        assert abs(seen.get(path, 0) - probability) < 5 * np.sqrt(probability * (1 - probability) / many) + 1e-12


def test_what_lies_beyond_a_sequence_counts_for_nothing(problem):
    _, (initial, transition, scores, lengths) = problem
    beyond = (jnp.arange(T) >= lengths[:, None])[..., None]
    for function in (kernels.chain_expectation, kernels.chain_log_marginals, kernels.chain_mode, kernels.chain_entropy):
        plain = jax.jit(function)(initial, transition, scores, lengths)
        filled = jax.jit(function)(initial, transition, jnp.where(beyond, jnp.nan, scores), lengths)
        jax.tree.map(np.testing.assert_array_equal, plain, filled)


def test_a_path_that_nothing_allows_has_log_probability_minus_infinity_and_no_gradient(dtype):
    initial, transition = jnp.array([0, -jnp.inf], dtype), jnp.array([[-jnp.inf, 0], [-jnp.inf, 0]], dtype)
    scores, lengths = jnp.zeros((2, 4, 2), dtype).at[1, 2, 1].set(-jnp.inf), jnp.array([4, 4])
    value, marginals, counts = jax.jit(kernels.chain_expectation)(initial, transition, scores, lengths)
    assert value.tolist() == [0, -np.inf]
    assert not np.concatenate([marginals[1].ravel(), counts[1].ravel()]).any()
    assert jax.jit(kernels.chain_mode)(initial, transition, scores, lengths).tolist() == [[0, 1, 1, 1], [-1] * 4]
    drawn = jax.jit(kernels.chain_sample)(jax.random.key(0), initial, transition, scores, lengths)
    assert drawn.tolist() == [[0, 1, 1, 1], [-1] * 4]
    grad = jax.jit(jax.grad(lambda a, s: kernels.chain_partition(initial, a, s, lengths).sum(), argnums=(0, 1)))
    assert all(np.isfinite(g).all() for g in grad(transition, scores))
    assert not np.asarray(jax.jit(kernels.chain_entropy)(initial, transition, scores, lengths)).any()


def test_nan_is_never_taken_for_impossible(dtype):
    scores = jnp.zeros((1, 3, 2), dtype).at[0, 1, 0].set(jnp.nan)
    length = jnp.array([3])
    value = jax.jit(kernels.chain_partition)(jnp.zeros(2, dtype), jnp.zeros((2, 2), dtype), scores, length)
    assert np.isnan(value).all()
    slope = jax.jit(
        jax.grad(lambda s: kernels.chain_partition(jnp.zeros(2, dtype), jnp.zeros((2, 2), dtype), s, length)[0])
    )
    assert np.isnan(slope(scores)).any()


def test_a_surprising_step_of_a_chain_with_zeros_loses_nothing(dtype):
    """The likely state cannot be left for the one that the step asks for: what rescales by it would see nothing."""
    zero = -jnp.inf
    initial, transition = jnp.array([0.0, -200.0], dtype), jnp.array([[0.0, zero], [zero, 0.0]], dtype)
    scores = jnp.array([[[0.0, 0.0], [-5000.0, 0.0], [0.0, 0.0]]], dtype)
    value, marginals, _ = jax.jit(kernels.chain_expectation)(initial, transition, scores, jnp.array([3]))
    np.testing.assert_allclose(value, [-200.0], rtol=1e-6)
    np.testing.assert_array_equal(marginals[0], [[0, 1]] * 3)
    logs = jax.jit(kernels.chain_log_marginals)(initial, transition, scores, jnp.array([3]))
    np.testing.assert_allclose(logs[0], [[-4800, 0]] * 3, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_a_long_chain_is_as_exact_in_float32_as_in_float64():
    rng, t, k = np.random.default_rng(0), 100_000, 3
    initial, transition = np.log(rng.dirichlet(np.ones(k))), np.log(rng.dirichlet(np.ones(k), k))
    scores = rng.normal(0, 3, (1, t, k))
    both = []
    for double in (False, True):
        with jax.enable_x64(double):
            arrays = (jnp.asarray(a, float) for a in (initial, transition, scores.astype("float32")))
            both.append(jax.tree.map(np.asarray, jax.jit(kernels.chain_expectation)(*arrays, jnp.array([t]))))
    (value, marginals, counts), (exact, exact_marginals, exact_counts) = both
    np.testing.assert_allclose(value, exact, rtol=1e-6)
    np.testing.assert_allclose(marginals, exact_marginals, atol=1e-5)
    np.testing.assert_allclose(counts, exact_counts, rtol=1e-5)
