"""Faults: Ctrl-C, forks, threads that ask at once, and too little memory."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import optax
import pytest
from laws import assert_same_tree

import dgjax as dg
from dgjax._memory import told_memory
from dgjax.learning import _checkpoint

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2_000, 8)).astype(np.float32)
X[::2] += 1
Y = np.arange(len(X)) % 2
START = dg.Mixture(np.zeros(3, "f4"), dg.DiagonalGaussian(X[:3], np.zeros((3, 8), "f4")))
LONG = {
    "EM": lambda **more: dg.fit(START, X, method=dg.EM(0.0), max_steps=1_000_000, **more),
    "optax": lambda **more: dg.fit(dg.logistic_regression(8, 2), X, Y, SGD, max_steps=1_000_000, **more),
}
SGD = dg.Optax(optax.sgd(1e-3))
pytestmark = pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")


@pytest.fixture
def ctrl_c():
    """As in a terminal: what a shell starts in the background ignores the signal, and so does all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("name", ["EM", pytest.param("optax", marks=pytest.mark.slow)])
def test_ctrl_c_ends_a_fit_and_gives_the_last_model(name, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "SECONDS", 0.1)
    pressed = []

    def press():
        while not (tmp_path / "fit.safetensors").exists():  # which is not before the program is compiled
            time.sleep(0.01)
        time.sleep(0.4)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(
        dg.Interrupted, match=r"stopped after \d+ step\(s\).*last one, and the same call goes on"
    ) as stopped:
        LONG[name](checkpoint=tmp_path)
    assert time.monotonic() - pressed[0] < 1
    presser.join()
    time.sleep(0.6)  # for the piece that was running
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.2
    error = stopped.value
    assert isinstance(error, KeyboardInterrupt)
    assert error.num_steps > 0
    alone = dg.fit(*as_given(name), max_steps=error.num_steps).model
    assert_same_tree(error.model, alone, 0)


def as_given(name):
    return (START, X, None, dg.EM(0.0)) if name == "EM" else (dg.logistic_regression(8, 2), X, Y, SGD)


FORKED = """
import os, signal, sys
import numpy as np, jax, dgjax as dg
x = np.random.default_rng(0).normal(size=(100, 2)).astype("f4")
def forked(name, ask):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            ask()
            print(name, "answered", flush=True)
        except RuntimeError as error:
            print(name, "refused", "get_context(" in str(error), flush=True)
        os._exit(0)
    print(name, os.waitpid(child, 0)[1], flush=True)
def started():
    return dg.DiagonalGaussian(np.zeros((1, 2), "f4"), np.zeros((1, 2), "f4"))
forked("before", lambda: dg.log_prob(started(), x))
model, key = started(), jax.random.key(0)
for name, ask in {
    "log_prob": lambda: dg.log_prob(model, x), "fit": lambda: dg.fit(model, x),
    "starter": lambda: dg.naive_bayes(x, np.arange(100) % 2), "sample": lambda: dg.sample(model, key, 3),
}.items():
    forked(name, ask)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_fork_works_before_jax_has_started_and_is_refused_after():
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    expected = ["before answered", "before 0"]
    for name in ("log_prob", "fit", "starter", "sample"):
        expected += [f"{name} refused True", f"{name} 0"]
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize("compiled", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_eight_threads_at_once_have_the_bits_of_one(compiled):
    small = X[:400]

    def asked(i):
        model = dg.fit(START, small, max_steps=5 + i % 2).model
        return model, dg.log_prob(model, small), dg.predict(model, small)

    alone = [asked(i) for i in range(2)]
    if not compiled:
        jax.clear_caches()  # so that all of them compile at once
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(asked, range(8)))
    for i, own in enumerate(found):
        assert_same_tree(own, alone[i % 2], 0)


LIMITED = """
import re, resource, sys
import numpy as np, dgjax as dg
model = dg.DiagonalGaussian(np.zeros((1, 50), "f4"), np.zeros((1, 50), "f4"))
x = np.ones((400_000, 50), "f4")
x[::7, 1] = np.nan
expected = np.asarray(dg.impute(model, x))
size = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
before = resource.getrlimit(resource.RLIMIT_AS)
kept = []
resource.setrlimit(resource.RLIMIT_AS, (size + (16 << 20), before[1]))
try:
    for _ in range(50):
        kept.append(dg.impute(model, x))
except MemoryError as error:
    resource.setrlimit(resource.RLIMIT_AS, before)
    typed = re.search(r"numpy.concatenate\\(\\[.*\\]\\)", str(error))[0]
    found = eval(typed, {"numpy": np, "dgjax": dg, "model": model, "x": x})
    print(str(error)[:25], np.array_equal(found, expected))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does")
def test_without_memory_a_verb_says_what_to_type():
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", LIMITED]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "impute ran out of memory, True\n", done.stderr


@pytest.mark.parametrize(
    "error", [MemoryError("none left"), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: none left.")]
)
def test_an_error_of_memory_names_the_block_to_set(error):
    def fit(model, x):
        raise error

    with pytest.raises(MemoryError, match=r"fit ran out of memory, .*none left. Type dgjax.stream\(x, block=\d+\)"):
        told_memory(told_memory(fit))(None, None)


def test_an_error_of_anything_else_stays():
    def fit(model, x):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        told_memory(fit)(None, None)
