"""The forms of chains for accelerators, on a CPU: all steps at once, and the GPU's kernel in Pallas's interpreter."""

import contextlib
import functools

import chain_oracle as oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_cpu_chain import KINDS, exact, problem

import dgjax_kernels as kernels
from dgjax_kernels import associative, chain as reference, chain_parallel, gpu
from dgjax_kernels.gpu import chain as pallas

# One worker for all, for they share their compiled functions.
pytestmark = pytest.mark.xdist_group("accelerators")
# More sequences than one program of the kernel takes, more steps than a block.
SHAPE = N, T, K = 20, 5, 3
EXPECTATION = {
    "all steps at once": jax.jit(chain_parallel.expectation),
    "pallas": jax.jit(functools.partial(pallas.expectation, interpret=True)),
}
PARTITION = {
    "all steps at once": jax.jit(chain_parallel.log_partition),
    "pallas": jax.jit(functools.partial(pallas.log_partition, interpret=True)),
}
LOG_MARGINALS, LOG_MARGINALS_REFERENCE = jax.jit(chain_parallel.log_marginals), jax.jit(reference.log_marginals)
NONE = -jnp.inf


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Five steps are then three levels."""
    monkeypatch.setattr(associative, "BLOCK", 2)


@pytest.fixture(params=EXPECTATION)
def form(request):
    return request.param


def assert_exact(form, arguments):
    """Value, marginals and counts are those of the reference, but for the rounding of potentials as large as these."""
    largest = max(float(np.abs(a[np.isfinite(a)]).max(initial=1)) for a in map(np.asarray, arguments[:3]))
    tolerance = 4 * float(jnp.finfo(arguments[2].dtype).eps)
    expected, (value, marginals, counts) = exact(*arguments), EXPECTATION[form](*arguments)
    assert value.dtype == marginals.dtype == counts.dtype == arguments[2].dtype
    for found in (value, PARTITION[form](*arguments)):
        np.testing.assert_allclose(found, expected[0], rtol=tolerance, atol=tolerance * largest)
    for found, wanted in zip((marginals, counts), expected[1:], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * largest)
    inside = (np.arange(T) < np.asarray(arguments[3])[:, None]) & np.isfinite(expected[0])[:, None]
    np.testing.assert_allclose(np.asarray(marginals, "float64").sum(-1), inside, atol=2 * tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_sums_over_paths_are_the_references(form, kind, dtype):
    assert_exact(form, problem(*SHAPE, dtype, **KINDS[kind]))


def surprises(dtype):
    """Chains that cannot leave their state, and sequences of them that contradict what came before, or everything."""
    apart = np.where(np.eye(K, dtype=bool), 0, -np.inf)
    scores = np.zeros(SHAPE)
    scores[0, 2] = -5000, 0, -5000
    scores[1, :4, 1], scores[1, 4] = -300, (-5000, 0, -np.inf)
    scores[2, 3] = -np.inf, -np.inf, 0
    scores[3, :2, 0], scores[3, 2:, 0] = -400, 300
    scores[4, 0], scores[4, 4] = (0, -300, -600), (-600, -300, 0)
    scores[5, 3] = -np.inf
    scores[6:] = np.random.default_rng(0).normal(0, 1000, (N - 6, T, K))
    lengths = np.r_[np.full(7, T), np.arange(7, N) % T + 1]
    return *(jnp.asarray(a, dtype) for a in ([0, -200, -250], apart, scores)), jnp.asarray(lengths)


def by_another_way(arguments):
    """The state that is asked for can be reached after all, by moves that are all but impossible."""
    initial, transition, *rest = arguments
    return initial, transition.at[0, 2].set(-700).at[2, 1].set(-90), *rest


HOSTILE = {
    "states that are never left": lambda a: a,
    "a most unlikely way out": by_another_way,
    "no first state": lambda a: (jnp.full_like(a[0], NONE), *a[1:]),
    "one first state": lambda a: (a[0].at[:2].set(NONE), *a[1:]),
    "no moves": lambda a: (a[0], jnp.full_like(a[1], NONE), *a[2:]),
    "a state that nothing leads to": lambda a: (a[0].at[1].set(NONE), by_another_way(a)[1].at[:, 1].set(NONE), *a[2:]),
    "everything impossible": lambda a: (a[0], a[1], jnp.full_like(a[2], NONE), a[3]),
    "one step each": lambda a: (*a[:3], jnp.ones_like(a[3])),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_surprises_lose_nothing(form, hostile, dtype):
    arguments = HOSTILE[hostile](surprises(dtype))
    assert_exact(form, arguments)
    if form == "all steps at once":
        logs, wanted = LOG_MARGINALS(*arguments), LOG_MARGINALS_REFERENCE(*arguments)
        np.testing.assert_allclose(logs, wanted, rtol=0, atol=2e4 * jnp.finfo(dtype).eps)


def test_what_is_nan_stays_so_and_with_its_sequence(form, dtype):
    initial, transition, scores, lengths = problem(*SHAPE, dtype)
    lengths = lengths.at[:3].set(T)
    broken = jnp.nan_to_num(scores).at[1, 2, 0].set(jnp.nan).at[2, 3, 1].set(jnp.inf)
    value, marginals, counts = EXPECTATION[form](initial, transition, broken, lengths)
    for found in (value, PARTITION[form](initial, transition, broken, lengths)):
        assert np.isnan(found).tolist() == [False, True, True] + [False] * (N - 3)
    others = np.arange(N) // 2 != 1
    others[1] = False
    assert np.isfinite(marginals[others]).all()
    assert np.isfinite(counts[others]).all()
    assert np.isnan(PARTITION[form](initial, transition.at[0, 1].set(jnp.nan), scores, lengths)[lengths > 1]).all()


@pytest.mark.parametrize("per_step", [False, True])
def test_sums_over_paths_are_those_over_all_paths(per_step, dtype):
    rng = np.random.default_rng(1)
    draws = [oracle.random_potentials(rng, K, T, length=1 + i % T, zeros=0.3, per_step=per_step) for i in range(N)]
    each = [oracle.Potentials(draws[0].initial, draws[0].transition, one.scores, one.length) for one in draws]
    potentials = draws[0].initial, draws[0].transition, np.stack([p.scores for p in each])
    arrays = *(jnp.asarray(a, dtype) for a in potentials), jnp.array([p.length for p in each])
    tolerance = 10 * float(jnp.finfo(dtype).eps)
    wanted = np.array([oracle.marginals(p) for p in each])
    moves = np.array([oracle.transition_counts(p) for p in each])
    for name in EXPECTATION if not per_step else ["all steps at once"]:
        value, marginals, counts = EXPECTATION[name](*arrays)
        np.testing.assert_allclose(value, [oracle.log_partition(p) for p in each], rtol=tolerance, atol=10 * tolerance)
        np.testing.assert_array_equal(np.isneginf(value), np.isneginf(PARTITION[name](*arrays)))
        np.testing.assert_allclose(marginals, wanted, atol=tolerance)
        np.testing.assert_allclose(counts, moves if per_step else moves.sum(1), atol=tolerance)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(LOG_MARGINALS(*arrays), np.log(wanted), atol=100 * tolerance)


@pytest.mark.parametrize("t", [1, 2, 5, 13])
def test_scans_and_folds_are_loops(t):
    """Of maps x -> a x + b, which do not commute, in integers."""
    tables = tuple(jnp.asarray(np.random.default_rng(t).integers(-3, 4, (t, 2))) for _ in range(2))

    def join(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    each = [tuple(leaf[s] for leaf in tables) for s in range(t)]
    upto = [functools.reduce(join, each[: s + 1]) for s in range(t)]
    found, last = jax.jit(lambda x: (associative.scan(join, x), associative.fold(join, x, (1, 0))))(tables)
    for leaf, total, *wanted in zip(found, last, *upto, strict=True):
        np.testing.assert_array_equal(leaf, wanted)
        np.testing.assert_array_equal(total, wanted[-1])


LONG = 100_000


def long_chain(name):
    """Initial, transition and scores of a chain that forgets, or that remembers its first steps to the end."""
    rng = np.random.default_rng(0)
    start, forgetful = np.log(rng.dirichlet(np.ones(K))), np.log(rng.dirichlet(np.ones(K), K))
    with np.errstate(divide="ignore"):
        never = np.log(np.eye(K))
        onwards = np.log([[1 - 1e-4, 1e-4, 0], [0, 1 - 1e-4, 1e-4], [0, 0, 1]])
    noise = rng.normal(0, 1, (1, LONG, K))
    return {
        "forgetful": (start, forgetful, 3 * noise),
        "far from 0": (start, forgetful, 3 * noise - 50),
        "never left, far from 0": (start, never, noise / 100 - 50),
        "never left, the likely state impossible": (np.array([0, 0, -np.inf]), never, noise / 100 + [0, 0, 100]),
        "left to right": (np.array([0, -np.inf, -np.inf]), onwards, noise / 20),
    }[name]


LONG_CHAINS = (
    "forgetful",
    "far from 0",
    "never left, far from 0",
    "never left, the likely state impossible",
    "left to right",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG_CHAINS)
def test_long_chains_keep_their_digits_in_float32(name, monkeypatch):
    """As the same numbers in float64 have them: better than the reference where the chain remembers."""
    monkeypatch.setattr(associative, "BLOCK", 64)
    arguments = *(jnp.asarray(a, "float32") for a in long_chain(name)), jnp.array([LONG])
    value, marginals, counts = EXPECTATION["all steps at once"](*arguments)
    exact_value, exact_marginals, exact_counts = exact(*arguments)
    for found in (value, PARTITION["all steps at once"](*arguments)):
        np.testing.assert_allclose(found, exact_value, rtol=5e-6)
    np.testing.assert_allclose(marginals, exact_marginals, atol=5e-6)
    np.testing.assert_allclose(counts, exact_counts, rtol=2e-5)


def test_vmap_is_a_loop(form):
    """As restarts are learnt, each with potentials of its own."""
    first, second = (problem(*SHAPE, "float32", seed=seed) for seed in (0, 1))
    *potentials, lengths = jax.tree.map(lambda a, b: jnp.stack([a, b]), first, second)
    batched = jax.jit(jax.vmap(EXPECTATION[form]))(*potentials, lengths)
    loop = [EXPECTATION[form](*one) for one in (first, second)]
    each = jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop)
    jax.tree.map(lambda *both: np.testing.assert_allclose(*both, rtol=1e-6, atol=1e-6), batched, each)


PLATFORMS = "cpu", "cuda", "tpu"
OPERATIONS = kernels.chain_partition, kernels.chain_expectation, kernels.chain_log_marginals


def zeros(n, t, k):
    return jnp.zeros(k), jnp.zeros((k, k)), jnp.zeros((n, t, k)), jnp.full(n, t)


def lowered(function, *arguments, platform):
    return jax.jit(lambda *a: function(*a)).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


@contextlib.contextmanager
def as_with_a_gpu():
    """What lowers a kernel asks which GPU it is for, if not for a real one."""
    device = jax.sharding.AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), (), abstract_device=device)):
        yield


@pytest.mark.parametrize("operation", OPERATIONS)
def test_long_chains_take_no_loop_over_steps_on_accelerators(operation):
    """Which would end at the number of moves."""
    for platform in PLATFORMS:
        assert ("dense<999>" in lowered(operation, *zeros(1, 1000, K), platform=platform)) == (platform == "cpu")
        assert "dense<499>" in lowered(operation, *zeros(1, 500, K), platform=platform)


def test_long_chains_are_exported():
    slope = jax.jit(jax.grad(lambda *a: kernels.chain_partition(*a).sum(), argnums=2))
    assert jax.export.export(slope, platforms=PLATFORMS)(*zeros(1, 1000, K)).platforms == PLATFORMS


@pytest.mark.parametrize("operation", [kernels.chain_partition, kernels.chain_expectation])
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend:DeprecationWarning")
def test_the_kernel_in_pallas_is_for_gpus_and_only_where_it_is_asked_for(operation):
    with as_with_a_gpu():
        for platform in PLATFORMS:
            assert "triton" not in lowered(operation, *zeros(*SHAPE), platform=platform)
            with kernels.gpu_kernels(True):
                assert ("triton" in lowered(operation, *zeros(*SHAPE), platform=platform)) == (platform == "cuda")
        with kernels.gpu_kernels(True):
            initial, transition, scores, lengths = zeros(*SHAPE)
            by_step = initial, jnp.broadcast_to(transition, (T - 1, K, K)), scores, lengths
            for others in (by_step, zeros(1, 1000, K), zeros(2, 3, 65)):
                assert "triton" not in lowered(operation, *others, platform="cuda")


@pytest.mark.parametrize("k", [1, 8, 17, 64])
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend:DeprecationWarning")
def test_the_kernel_in_pallas_lowers_for_any_number_of_states(k, dtype):
    arguments = (a.astype(dtype) if a.dtype.kind == "f" else a for a in zeros(7, 9, k))
    with as_with_a_gpu():
        assert lowered(pallas.expectation, *arguments, platform="cuda").count("custom_call") == 2


def test_what_the_forms_are_for():
    arguments = zeros(4, 600, 3)
    assert chain_parallel.long(*arguments)
    assert gpu.chains(*arguments)
    assert not chain_parallel.long(*zeros(4, 500, 3))
    assert not chain_parallel.long(*zeros(4, 600, 64))
    assert not chain_parallel.long(*jax.eval_shape(lambda: zeros(1, 1 << 20, 16)))
    assert not gpu.chains(*zeros(4, 500, 3))
    with kernels.gpu_kernels(True):
        assert gpu.chains(*zeros(4, 500, 3))
        assert not gpu.chains(*zeros(4, 500, 65))
        assert not gpu.chains(*zeros(0, 500, 3))
        assert not gpu.chains(*jax.eval_shape(lambda: zeros(1 << 20, 500, 3)))
