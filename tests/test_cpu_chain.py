"""The CPU's two kernels of sums over chains against their reference, in float64 whatever the precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgjax_kernels import chain as reference
from dgjax_kernels.cpu import chain, worth

# One worker for all, for they share their compiled functions.
pytestmark = pytest.mark.xdist_group("cpu")
EXPECTATION, PARTITION = jax.jit(chain.expectation), jax.jit(chain.log_partition)
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}
SHAPES = [(1, 1, 1), (5, 7, 3), (3, 200, 8), (1, 40, 33), (8, 1, 1), (12, 7, 3), (40, 30, 8), (12, 40, 17)]
"""Fewer sequences than lanes have a kernel of their own."""
KINDS = {
    "plain": {},
    "structural zeros": {"zeros": 0.3},
    "potentials in the hundreds": {"strength": 100.0, "zeros": 0.1},
    "scores in the hundreds": {"spread": 100.0},
    "scores in the hundreds, with zeros": {"spread": 300.0, "zeros": 0.2},
}


def problem(n, t, k, dtype, zeros=0.0, strength=1.0, spread=1.0, seed=0):
    """Sequences of many lengths, with NaN beyond."""
    rng = np.random.default_rng(seed)
    initial, transition = np.log(rng.dirichlet(np.ones(k))), strength * np.log(rng.dirichlet(np.ones(k), k))
    scores, lengths = 3 * spread * rng.normal(size=(n, t, k)), rng.integers(1, t + 1, n)
    lengths[0] = t
    initial, transition, scores = (
        np.where(rng.random(a.shape) < share, -np.inf, a)
        for a, share in ((initial, zeros), (transition, zeros), (scores, zeros / 4))
    )
    scores = np.where((np.arange(t) < lengths[:, None])[..., None], scores, np.nan)
    return *(jnp.asarray(a, dtype) for a in (initial, transition, scores)), jnp.asarray(lengths)


def repeated(arguments, times):
    """Sequences as often as that."""
    initial, transition, scores, lengths = arguments
    return initial, transition, jnp.tile(scores, (times, 1, 1)), jnp.tile(lengths, times)


def exact(initial, transition, scores, lengths):
    """The reference, of the same numbers in float64."""
    with jax.enable_x64(True):
        floats = (jnp.asarray(np.asarray(a, "float64")) for a in (initial, transition, scores))
        return jax.tree.map(np.asarray, _exact(*floats, jnp.asarray(np.asarray(lengths))))


_exact = jax.jit(reference.expectation)


def assert_exact(arguments):
    """Value, marginals and counts are those of the reference, and the value alone is too."""
    dtype = arguments[2].dtype
    tolerance, expected = TOLERANCE[dtype.name], exact(*arguments)
    value, marginals, counts = found = EXPECTATION(*arguments)
    assert jax.tree.structure(found) == jax.tree.structure(expected)  # or a program could not choose between them
    assert value.dtype == marginals.dtype == counts.dtype == dtype
    np.testing.assert_allclose(value, expected[0], rtol=tolerance)
    np.testing.assert_allclose(PARTITION(*arguments), expected[0], rtol=tolerance)
    np.testing.assert_allclose(marginals, expected[1], atol=tolerance)
    np.testing.assert_allclose(counts, expected[2], rtol=tolerance, atol=10 * tolerance)
    possible = np.isfinite(expected[0])
    inside = (np.arange(marginals.shape[1]) < np.asarray(arguments[3])[:, None]) & possible[:, None]
    np.testing.assert_allclose(np.asarray(marginals, "float64").sum(-1), inside, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_over_paths_are_the_references(shape, kind, dtype):
    assert_exact(problem(*shape, dtype, **KINDS[kind]))


@pytest.mark.parametrize("times", [1, 2])
def test_a_state_that_only_a_surprising_step_brings_back_is_not_lost(times, dtype):
    """Chains that cannot leave their state, and one that reaches its last state by its most unlikely path alone."""
    zero = -jnp.inf
    apart = jnp.array([[0.0, zero, zero], [zero, 0.0, zero], [zero, zero, 0.0]], dtype)
    scores = np.zeros((5, 7, 3))
    scores[0, 2] = -5000, 0, -5000
    scores[1, :6, 1], scores[1, 6] = -300, (-5000, 0, -np.inf)
    scores[2, 3] = -np.inf, -np.inf, 0
    scores[3, :3, 0], scores[3, 3:, 0] = -400, 300
    scores[4, 0], scores[4, 6] = (0, -300, -600), (-600, -300, 0)
    arguments = jnp.array([0.0, -200.0, -250.0], dtype), apart, jnp.asarray(scores, dtype), jnp.full(5, 7)
    arguments = repeated(arguments, times)
    assert_exact(arguments)
    assert_exact((arguments[0], apart.at[0, 2].set(-700.0).at[2, 1].set(-90.0), *arguments[2:]))


@pytest.mark.parametrize("times", [1, 2])
def test_what_is_impossible_and_what_is_nan(times, dtype):
    initial, transition, scores, _ = problem(5, 7, 3, dtype)
    scores = jnp.nan_to_num(scores).at[0, 6].set(-jnp.inf).at[1, 0, 2].set(jnp.nan).at[2, 5, 1].set(jnp.inf)
    arguments = repeated((initial, transition, scores, jnp.full(5, 7)), times)
    value, marginals, counts = EXPECTATION(*arguments)
    alone = PARTITION(*arguments)
    for values in (value[-5:], alone[-5:]):
        assert np.isneginf(values[0])
        assert np.isnan(values[1:3]).all()
        assert np.isfinite(values[3:]).all()
    assert not np.asarray(marginals[0]).any()
    assert not np.asarray(counts[0]).any()
    assert np.isfinite(marginals[-2:]).all()
    _, _, scores, lengths = repeated((None, None, scores[3:], jnp.full(2, 7)), 4 * times - 3)
    assert_exact((jnp.full(3, -jnp.inf, dtype), transition, scores, lengths))
    assert np.isnan(PARTITION(initial, transition.at[0, 1].set(jnp.nan), scores, lengths)).all()


@pytest.mark.parametrize("times", [1, 8])
def test_a_long_chain_keeps_its_digits(times, dtype):
    rng, t, k = np.random.default_rng(0), 100_000, 3
    initial, transition = np.log(rng.dirichlet(np.ones(k))), np.log(rng.dirichlet(np.ones(k), k))
    floats = (jnp.asarray(a, dtype) for a in (initial, transition, rng.normal(0, 3, (1, t, k))))
    arguments = *floats, jnp.array([t])
    expected = exact(*arguments)
    value, marginals, counts = (result[-1:] for result in EXPECTATION(*repeated(arguments, times)))
    tolerance = {"float32": 2e-7, "float64": 1e-11}[dtype.name]
    np.testing.assert_allclose(value, expected[0], rtol=tolerance)
    np.testing.assert_allclose(marginals, expected[1], atol=tolerance)
    np.testing.assert_allclose(counts, expected[2], rtol=tolerance)


@pytest.mark.parametrize("n", [5, 12])
def test_vmap_is_a_loop(n):
    initial, transition, scores, lengths = problem(n, 7, 3, "float32")
    many = jnp.stack([scores, 2 * scores])
    batched = jax.vmap(lambda s: chain.expectation(initial, transition, s, lengths))(many)
    loop = [chain.expectation(initial, transition, s, lengths) for s in many]
    jax.tree.map(lambda b, *each: np.testing.assert_array_equal(b, jnp.stack(each)), batched, *loop)


def test_transitions_that_differ_by_step_go_to_the_reference():
    initial, transition, scores, lengths = problem(5, 7, 3, "float32")
    many = jnp.zeros((64, 1000, 3))
    assert worth.many_steps(initial, transition, many, lengths)
    assert not worth.many_steps(initial, transition, scores, lengths)
    assert not worth.many_steps(initial, jnp.broadcast_to(transition, (999, 3, 3)), many, lengths)


def test_memory_that_held_nan_leaves_nothing_behind(dtype):
    """A sequence of one step has no other half: what lay where that would be, from the call before, is not read."""
    initial, transition, scores, _ = problem(1, 5, 2, dtype)
    for _ in range(40):
        EXPECTATION(initial, transition, jnp.full_like(scores, jnp.nan), jnp.array([5]))
        value, marginals, counts = EXPECTATION(initial, transition, scores, jnp.array([1]))
        assert np.isfinite(value).all()
        assert not np.isnan(marginals).any()
        np.testing.assert_array_equal(counts, 0)
