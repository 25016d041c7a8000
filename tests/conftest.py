import gc
import os
import pathlib

import jax
import jax.numpy as jnp
import pytest
from compiled import compile_all, lower_level
from hypothesis import HealthCheck, settings
from jaxtyping import config as jaxtyping_config
from slow import is_slow
from zoo import QUICK, VARIATIONS

import dgjax_kernels as kernels
from dgjax.compare import _compiling
from dgjax_kernels import _op

# They ask of a process as it begins, which a worker that has run others is not: `test_programs_apart.py` runs them.
collect_ignore = [] if os.environ.get("DGJAX_APART") else ["test_programs.py"]

# The same inputs on every run: a failure that nobody can repeat helps nobody.
settings.register_profile(
    "laws", max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile("laws")


MAPPINGS = pathlib.Path("/proc/self/maps")


def pytest_sessionstart(session):
    """Before there are workers, the kernel that all of them need is compiled, once for all.

    Of quick runs in float32 alone, in which nearly all of them are.
    """
    if getattr(session.config.option, "numprocesses", None):
        compile_all(["float32"] if is_quick(session.config) else ["float32", "float64"])


gc.disable()  # while tests are collected, which makes objects that stay
RARELY = 50_000, 10, 5


def pytest_collection_finish(session):
    """Looks for cycles of garbage rarely, and never among modules and tests.

    At Python's own pace the search is 5 % of the time of tests that XLA compiles for, and 9 % where numba does.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*RARELY)
    gc.enable()


def is_quick(config):
    return config.option.markexpr == "not slow"


def pytest_configure(config):
    """Without the slow tests, XLA leaves out most of its optimisations, for nearly all programs run once.

    That takes 22 to 33 % off the time; its older emitters, in place of those of fusions, take 42 s of compiling in
    tests/test_rank.py to 16; and a lower level of numba's takes 27 % off its own, 44 s to 32 for full covariances. What
    numba compiled so is cached apart, or users would run it. `make test-all` compiles everything as users do.
    """
    os.environ["DGJAX_CACHE_DIR"] = ""  # no test is of a program that another run has compiled
    jax.config.update("jax_disable_most_optimizations", is_quick(config))
    if is_quick(config):  # read when numba is imported and XLA begins, here and in the workers, which inherit it
        os.environ.setdefault("XLA_FLAGS", _compiling.quick_flag())
        _op.STEPS.update(_op.ONCE)  # a tenth off the time of all
        lower_level()


@pytest.fixture(autouse=True)
def settings_of_the_command(monkeypatch):
    """The command sets how its own process compiles: here all later programs would be in a folder of the user's."""
    monkeypatch.setattr(_compiling, "compile_quickly", lambda: None)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Each precision as its users have it: float64 is there only where they ask for it."""
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


ALL_OF_THEM = 1 << 40  # times that work is said to be done, which is worth any compilation


@pytest.fixture
def kernels_for_any_size():
    """The CPU's own kernels, however few the rows; and not those of programs that were compiled without."""
    with kernels.repeats(ALL_OF_THEM):
        yield


@pytest.fixture(params=["reference", pytest.param("kernel", marks=pytest.mark.slow)])
def form(request):
    """A test's few rows by the references, as their users have them, and by the kernels that many rows have."""
    with kernels.repeats(1 if request.param == "reference" else ALL_OF_THEM):
        yield


# Each compiled program has memory mapped for its code. Linux allows a process 65,530 mappings, and beyond them XLA's
# compiler crashes: a worker came there after some 300 of the slow tests.
MOST_MAPPINGS, CHECKED_EVERY = 40_000, 10


def pytest_runtest_teardown(item, nextitem):
    """Forgets compiled programs before there are too many."""
    item.session.num_run = getattr(item.session, "num_run", 0) + 1
    if nextitem is not None and item.session.num_run % CHECKED_EVERY == 0 and MAPPINGS.exists():
        with MAPPINGS.open() as mappings:
            crowded = sum(1 for _ in mappings) > MOST_MAPPINGS
        if crowded:
            jax.clear_caches()
            gc.collect()


LONG_TO_COMPILE = (
    "test_cpu.py",
    "test_cpu_discrete.py",
    "test_cpu_chain.py",
    "test_cpu_viterbi.py",
    "test_chain_accelerators.py",
    "test_draws.py",
    "test_passes.py",
)


def pytest_collection_modifyitems(items):
    """Marks as slow what `slow.is_slow` names, variations of models, and float64 of what takes long to compile."""
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        model = params["case"].name if "case" in params else None
        long = "x64" in item.fixturenames and (item.path.name in LONG_TO_COMPILE or model not in (None, *QUICK))
        if long or model in VARIATIONS or is_slow(item):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def without_the_type_checker():
    """What a user sees: the tests' own run-time type checker would speak first."""
    before = jaxtyping_config.jaxtyping_disable
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", before)
