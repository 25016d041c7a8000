"""The CPU's kernel of best paths against its reference, in float64 whatever the precision: every state is the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_cpu_chain import problem

from dgjax_kernels import chain as reference, chain_mode
from dgjax_kernels.cpu import chain, worth

# One worker for all, for they share their compiled functions.
pytestmark = pytest.mark.xdist_group("cpu")
PATHS, MODE = jax.jit(chain.paths, static_argnums=4), jax.jit(chain.mode)
SHAPES = [(1, 1, 1), (5, 7, 3), (40, 30, 8), (5, 40, 17), (3, 4, 256)]
KINDS = {
    "plain": {},
    "structural zeros": {"zeros": 0.3},
    "potentials in the hundreds, with zeros": {"strength": 100.0, "zeros": 0.1},
    "scores in the hundreds, with zeros": {"spread": 300.0, "zeros": 0.2},
    "scores that say little": {"spread": 1e-3, "strength": 3.0},
}
_exact = jax.jit(reference.mode)


def exact(initial, transition, scores, lengths):
    """The reference, of the same numbers in float64."""
    with jax.enable_x64(True):
        floats = (jnp.asarray(np.asarray(a, "float64")) for a in (initial, transition, scores))
        return np.asarray(_exact(*floats, jnp.asarray(np.asarray(lengths))))


def in_whole_numbers(arguments):
    """Where many paths are equally good."""
    *floats, lengths = arguments
    return *(jnp.round(a) for a in floats), lengths


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_paths_are_the_references(shape, kind, dtype):
    arguments = problem(*shape, dtype, **KINDS[kind])
    expected = exact(*arguments)
    assert (expected[0] >= 0).all() or "zeros" in KINDS[kind]
    np.testing.assert_array_equal(MODE(*arguments), expected)
    ties = in_whole_numbers(arguments)
    np.testing.assert_array_equal(MODE(*ties), exact(*ties))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parts", [2, 5, 16])
def test_so_are_those_of_sequences_that_are_cut(parts, kind, dtype):
    """Parts shorter and longer than their margins, with sequences that end in any of them."""
    for t in (30, 600):
        arguments = problem(5, t, 4, dtype, **KINDS[kind])
        np.testing.assert_array_equal(PATHS(*arguments, parts), exact(*arguments))
        ties = in_whole_numbers(arguments)
        np.testing.assert_array_equal(PATHS(*ties, parts), exact(*ties))


def test_what_never_forgets_where_it_began_is_done_again(dtype):
    apart, onwards = np.where(np.eye(3), 0, -np.inf), np.where(np.tri(3).T, -0.1, -np.inf)
    scores = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2000, 3)), dtype)
    lengths = jnp.array([2000, 1999, 700])
    for transition in (apart, np.roll(apart, 1, 1), onwards):
        arguments = jnp.zeros(3, dtype), jnp.asarray(transition, dtype), scores, lengths
        np.testing.assert_array_equal(PATHS(*arguments, 4), exact(*arguments))


@pytest.mark.parametrize("parts", [1, 2])
def test_what_is_impossible_and_what_is_nan(parts, dtype):
    initial, transition, scores, _ = problem(12, 300, 3, dtype)
    lengths = jnp.full(12, 300).at[6].set(1).at[7].set(200)
    scores = jnp.nan_to_num(scores).at[0, 299].set(-jnp.inf).at[1, 0, 2].set(jnp.nan).at[2, 150, 1].set(jnp.inf)
    scores = scores.at[3, 290, 0].set(jnp.nan).at[4, 20].set(-jnp.inf).at[7, 200:].set(jnp.nan)
    paths = PATHS(initial, transition, scores, lengths, parts)
    np.testing.assert_array_equal(paths, exact(initial, transition, scores, lengths))
    assert (paths[:5] == -1).all()
    assert (paths[7, :200] >= 0).all()
    for i, j, bad in ((0, 1, jnp.nan), (2, 2, jnp.inf)):
        arguments = initial, transition.at[i, j].set(bad), scores, lengths
        paths = PATHS(*arguments, parts)
        np.testing.assert_array_equal(paths, exact(*arguments))
        assert paths[6, 0] >= 0
    for bad in (jnp.nan, jnp.inf, -jnp.inf):
        arguments = jnp.full(3, -jnp.inf, dtype).at[1].set(bad), transition, scores, lengths
        assert (PATHS(*arguments, parts) == -1).all()
        assert (exact(*arguments) == -1).all()


def test_vmap_is_a_loop():
    initial, transition, scores, lengths = problem(5, 7, 3, "float32")
    many = jnp.stack([scores, -scores])
    batched = jax.vmap(lambda s: chain.mode(initial, transition, s, lengths))(many)
    np.testing.assert_array_equal(batched, [chain.mode(initial, transition, s, lengths) for s in many])


def test_many_sequences_one_long_one_and_what_goes_to_the_reference():
    for n, t, k in ((64, 700, 3), (1, 50_000, 3)):
        arguments = problem(n, t, k, "float32")
        assert worth.many_steps_of_few_states(*arguments)
        np.testing.assert_array_equal(jax.jit(chain_mode)(*arguments), exact(*arguments))
    with jax.enable_x64(True):  # where an int is of 64 bits; float32 all the same, for which all is compiled
        assert jax.eval_shape(chain_mode, *arguments) == jax.eval_shape(reference.mode, *arguments)
    initial, transition, scores, lengths = arguments
    assert not worth.many_steps_of_few_states(initial, transition, scores[:, :10], lengths)
    assert not worth.many_steps_of_few_states(
        initial, jnp.broadcast_to(transition, (scores.shape[1] - 1, 3, 3)), scores, lengths
    )
    assert worth.many_steps_of_few_states(jnp.zeros(256), jnp.zeros((256, 256)), jnp.zeros((1, 600, 256)), lengths)
    assert not worth.many_steps_of_few_states(jnp.zeros(257), jnp.zeros((257, 257)), jnp.zeros((1, 600, 257)), lengths)
