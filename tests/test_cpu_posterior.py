"""The CPU's kernels of log-marginals, draws and entropy of chains against the references, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_cpu_chain import KINDS, problem, repeated

import dgjax_kernels as kernels
from dgjax_kernels import chain as reference
from dgjax_kernels.cpu import chain, worth

# One worker for all, for they share their compiled functions.
pytestmark = pytest.mark.xdist_group("cpu")
LOG_MARGINALS, ENTROPY, SAMPLE = map(jax.jit, (chain.log_marginals, chain.entropy, chain.sample))
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}
SHAPES = [(1, 1, 1), (5, 7, 3), (1, 40, 17), (12, 40, 17)]
"""Log-marginals of fewer sequences than lanes have a kernel of their own."""
EXACT = {name: jax.jit(getattr(reference, name)) for name in ("log_marginals", "entropy", "sample")}


def exact(name, arguments):
    """The reference, of the same numbers in float64."""
    initial, transition, scores, lengths = (np.asarray(a) for a in arguments)
    with jax.enable_x64(True):
        floats = (jnp.asarray(a.astype("float64")) for a in (initial, transition, scores))
        return np.asarray(EXACT[name](*floats, jnp.asarray(lengths)))


def assert_exact(arguments):
    """Log-marginals are the reference's to all digits of a logarithm, the least too; so are entropies."""
    dtype = arguments[2].dtype
    tolerance, found, expected = TOLERANCE[dtype.name], LOG_MARGINALS(*arguments), exact("log_marginals", arguments)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert (np.isneginf(found) == np.isneginf(expected)).all()
    entropy = ENTROPY(*arguments)
    assert entropy.dtype == dtype
    assert not (entropy < 0).any()
    np.testing.assert_allclose(entropy, exact("entropy", arguments), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_log_marginals_and_entropy_are_the_references(shape, kind, dtype):
    assert_exact(problem(*shape, dtype, **KINDS[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_random_numbers_give_the_references_draws(kind, dtype):
    """In float64 each of them; in float32 a draw may differ where a random number is next to a limit."""
    arguments = problem(40, 30, 8, dtype, **KINDS[kind])
    found, expected = (sample(jax.random.key(1), *arguments) for sample in (SAMPLE, EXACT["sample"]))
    assert found.dtype == expected.dtype
    differ = (found != expected).any(1).sum()
    assert differ <= (1 if dtype == "float32" else 0)
    assert (found[0] >= 0).any() or "zeros" in KINDS[kind]


@pytest.mark.parametrize("generator", ["threefry2x32", pytest.param("rbg", marks=pytest.mark.slow)])
def test_draws_have_the_probabilities_of_their_marginals(generator, dtype):
    initial, transition, scores, _ = problem(1, 6, 3, dtype, zeros=0.1)
    many = 40_000
    arguments = initial, transition, jnp.tile(jnp.nan_to_num(scores), (many, 1, 1)), jnp.full(many, 6)
    drawn = np.asarray(SAMPLE(jax.random.key(0, impl=generator), *arguments))
    p = np.exp(exact("log_marginals", (initial, transition, arguments[2][:1], arguments[3][:1])))[0]
    share = np.stack([(drawn == i).mean(0) for i in range(3)], axis=1)
    assert (abs(share - p) <= 5 * np.sqrt(p * (1 - p) / many) + 1e-9).all()


@pytest.mark.parametrize("times", [1, 2])
def test_a_probability_below_the_least_float_keeps_its_digits(times, dtype):
    """Chains that cannot leave their state, ever less likely, until a step leaves nothing else."""
    zero = -jnp.inf
    apart = jnp.array([[0.0, zero, zero], [zero, 0.0, zero], [zero, zero, 0.0]], dtype)
    scores = np.zeros((5, 7, 3))
    scores[0, 2] = -5000, 0, -5000
    scores[1, :6, 1], scores[1, 6] = -300, (-5000, 0, -np.inf)
    scores[2, 3] = -np.inf, -np.inf, 0
    scores[3, :3, 0], scores[3, 3:, 0] = -400, 300
    scores[4, 0], scores[4, 6] = (0, -300, -600), (-1e14, -300, 0)
    initial = jnp.array([0.0, -200.0, -250.0], dtype)
    arguments = repeated((initial, apart, jnp.asarray(scores, dtype), jnp.full(5, 7)), times)
    logs = LOG_MARGINALS(*arguments)
    np.testing.assert_allclose(logs[0], [[-4800, 0, -5050]] * 7, rtol=1e-6)
    np.testing.assert_allclose(logs[4, :, 0], -1e14, rtol=1e-6)
    for transition in (apart, apart.at[0, 2].set(-700.0).at[2, 1].set(-90.0), apart - 1e4):
        assert_exact((initial, transition, *arguments[2:]))


@pytest.mark.parametrize("times", [1, 2])
def test_what_is_impossible_and_what_is_nan(times, dtype):
    initial, transition, scores, _ = problem(5, 7, 3, dtype)
    scores = jnp.nan_to_num(scores).at[0, 6].set(-jnp.inf).at[1, 0, 2].set(jnp.nan).at[2, 5, 1].set(jnp.inf)
    scores = scores.at[3, 3:].set(jnp.nan)
    arguments = repeated((initial, transition, scores, jnp.array([7, 7, 7, 3, 7])), times)
    logs, entropy, paths = LOG_MARGINALS(*arguments), ENTROPY(*arguments), SAMPLE(jax.random.key(0), *arguments)
    np.testing.assert_allclose(logs, exact("log_marginals", arguments), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(entropy, exact("entropy", arguments), rtol=1e-5, atol=1e-5)
    assert np.isneginf(logs[0]).all()
    assert np.isnan(logs[1:3]).all()
    assert np.isneginf(logs[3, 3:]).all()
    assert (paths[:3] == -1).all()
    assert (paths[3, :3] >= 0).all()
    assert (paths[3, 3:] == -1).all()
    assert (paths[4] >= 0).all()
    _, _, scores, lengths = repeated((None, None, scores[4:], jnp.array([7])), 8 * times - 7)
    assert np.isneginf(LOG_MARGINALS(jnp.full(3, -jnp.inf, dtype), transition, scores, lengths)).all()
    assert np.isnan(LOG_MARGINALS(initial, transition.at[0, 1].set(jnp.nan), scores, lengths)).all()


@pytest.mark.parametrize("times", [1, 8])
def test_a_long_chain_keeps_its_digits(times, dtype):
    rng, t, k = np.random.default_rng(0), 100_000, 3
    initial, transition = np.log(rng.dirichlet(np.ones(k))), np.log(rng.dirichlet(np.ones(k), k))
    floats = (jnp.asarray(a, dtype) for a in (initial, transition, rng.normal(0, 30, (1, t, k))))
    arguments = *floats, jnp.array([t])
    tolerance = {"float32": 2e-7, "float64": 1e-11}[dtype.name]
    logs = LOG_MARGINALS(*repeated(arguments, times))[-1:]
    np.testing.assert_allclose(logs, exact("log_marginals", arguments), tolerance, tolerance)
    np.testing.assert_allclose(ENTROPY(*arguments), exact("entropy", arguments), rtol=tolerance)


@pytest.mark.parametrize("n", [5, 12])
def test_vmap_is_a_loop(n):
    initial, transition, scores, lengths = problem(n, 7, 3, "float32")
    many = jnp.stack([scores, 2 * scores])
    batched = jax.vmap(lambda s: chain.log_marginals(initial, transition, s, lengths))(many)
    loop = [chain.log_marginals(initial, transition, s, lengths) for s in many]
    np.testing.assert_array_equal(batched, jnp.stack(loop))


def test_dispatch_is_that_of_the_sums():
    initial, transition, scores, lengths = problem(5, 7, 3, "float32")
    key, many = jax.random.key(0), jnp.zeros((64, 1000, 3))
    assert worth.many_steps_to_draw(key, initial, transition, many, lengths)
    assert not worth.many_steps_to_draw(key, initial, transition, scores, lengths)
    with kernels.repeats(1 << 40):
        found = jax.jit(kernels.chain_sample.__call__)(key, initial, transition, scores, lengths)
    np.testing.assert_array_equal(found, SAMPLE(key, initial, transition, scores, lengths))
