"""Every method: in pieces, stopped and resumed at any step, or killed at any moment, a fit has the same bits."""

import os
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import optax
import pytest
from laws import assert_same_tree

import dgjax as dg
from dgjax.learning import _checkpoint, _progress

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(size=(150, 3)), 3 + RNG.normal(size=(150, 3))]).astype(np.float32)
HOLES = np.where(RNG.random(X.shape) < 0.1, np.float32(np.nan), X)
Y = (X.sum(1) + RNG.normal(size=300) > 4.5).astype(int)
APART = (X[:, 0] > 1.5).astype(int)
MANY = RNG.normal(size=(12_000, 8)).astype(np.float32)
LOGISTIC, MIXTURE = dg.logistic_regression(3, 2), dg.gaussian_mixture(jax.random.key(0), HOLES, 2, "diagonal")
FLAT = {"prior": dg.priors.Ridge(1e-8)}
BATCHES = {"batch_size": 64, "key": jax.random.key(1)}
FITS = {
    "EM": (MIXTURE, HOLES, None, None, {}),
    "restarts": (MIXTURE, HOLES, None, dg.Restarts(3, jax.random.key(1)), {}),
    "Newton": (LOGISTIC, X, Y, dg.Newton(), {}),
    "Newton, in float64 at the end": (LOGISTIC, X, APART, dg.Newton(), FLAT),
    "Newton on a sample": (
        dg.logistic_regression(8, 2),
        MANY,
        (MANY[:, 0] > 0.3 * MANY[:, 1]).astype(int),
        dg.Newton(),
        FLAT,
    ),
    "L-BFGS": (LOGISTIC, X, Y, dg.LBFGS(), {}),
    "L-BFGS, then Newton": (LOGISTIC, X, APART, dg.LBFGS(), FLAT),
    "blend": (MIXTURE, X, Y, dg.LBFGS(), {"blend": 0.5}),
    "optax": (LOGISTIC, X, Y, dg.Optax(optax.adam(0.1), **BATCHES), {}),
    "optax, held out": (LOGISTIC, X, Y, dg.Optax(optax.adam(0.1), validation=0.2, average=0.9, **BATCHES), {}),
    "a classifier of missing cells": (dg.marginalize(LOGISTIC, MIXTURE), HOLES, Y, None, {}),
}
QUICK = "EM", "L-BFGS, then Newton"
PARTS = {"Newton, in float64 at the end": 2, "Newton on a sample": 2, "L-BFGS, then Newton": 3, "restarts": 3}
"""How many states are kept of fits that go through several; of the others it is one."""
pytestmark = pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")


def fit(name, **more):
    model, x, y, method, options = FITS[name]
    return dg.fit(model, x, y, method, max_steps=60, **options, **more)


@pytest.fixture
def one_by_one(monkeypatch):
    """Fits whose pieces are one step each, each of which is saved."""
    for module, name in (
        (_progress, "AT_ONCE"),
        (_progress, "SECONDS"),
        (_checkpoint, "SECONDS"),
        (_checkpoint, "SHARE"),
    ):
        monkeypatch.setattr(module, name, 0)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FITS])
def test_neither_pieces_nor_stops_change_a_bit(name, one_by_one, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(_progress, "AT_ONCE", 1 << 60)
        whole = fit(name)
    save, parts, saved = _checkpoint.Checkpointer.save, [], []

    def counted(self, state):
        save(self, state)
        saved.append(state)
        parts.append(len(self._kept(state)))
        if len(saved) % 3 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(_checkpoint.Checkpointer, "save", counted)
    for _ in range(100):
        try:
            found = fit(name, checkpoint=tmp_path)
            break
        except KeyboardInterrupt:
            continue
    assert_same_tree(found, whole, 0)
    assert len(saved) > 3
    assert max(parts) == PARTS.get(name, 1)
    monkeypatch.setattr(_checkpoint.Checkpointer, "save", save)
    if name in QUICK:  # and what has ended stays as it is
        assert_same_tree(fit(name, checkpoint=tmp_path), whole, 0)


def test_what_differs_is_named_for_every_method(tmp_path):
    fit("EM", checkpoint=tmp_path)
    model, x, *_ = FITS["EM"]
    one = x.copy()
    one[7, 1] = np.nextafter(np.float32(one[7, 1]), np.float32(9))
    for words, rows, method in (("x", one, None), ("method", x, dg.LBFGS()), ("tol", x, dg.EM(1e-3))):
        with pytest.raises(ValueError, match=f"holds a fit of other {words}: "):
            dg.fit(model, rows, method=method, max_steps=60, checkpoint=tmp_path)


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    half = tmp_path / ".0123456789abcdef.part"
    half.write_text("half of a state")
    os.utime(half, (0, 0))  # since when nobody writes it
    fit("EM", checkpoint=tmp_path)
    assert [own.name for own in tmp_path.iterdir()] == ["fit.safetensors"]


KILLED = """
import sys
import numpy as np
import test_resume
from dgjax.learning import _checkpoint, _progress
_progress.AT_ONCE = _progress.SECONDS = _checkpoint.SECONDS = _checkpoint.SHARE = 0
name, folder, result = sys.argv[1:]
import jax, time
save = _checkpoint.Checkpointer.save
def slowly(self, state):
    save(self, state)
    time.sleep(0.02)
_checkpoint.Checkpointer.save = slowly
print("begun", flush=True)
found = test_resume.fit(name, checkpoint=folder)
np.savez(result, *map(np.asarray, jax.tree.leaves(found)))
"""


def killed(name, times, folder, seed=0):
    """Leaves of a fit that is killed so many times on its way, at random moments; and how many times it was."""
    random.seed(seed)
    result, count = folder / "result.npz", 0
    command = [sys.executable, "-W", "ignore", "-c", KILLED, name, str(folder / "kept"), str(result)]
    while not result.exists():
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
        )
        if count < times:
            process.stdout.readline()
            time.sleep(random.uniform(0, 2.5))
            process.send_signal(signal.SIGKILL)
            count += 1
        process.wait()
        process.stdout.close()
    with np.load(result) as leaves:
        return list(leaves.values()), count


@pytest.mark.skipif(os.name != "posix", reason="killed as POSIX has it")
@pytest.mark.parametrize(("name", "times"), [("EM", 1), *(pytest.param(n, 50, marks=pytest.mark.slow) for n in FITS)])
def test_killed_at_any_moment_a_fit_has_the_same_bits(name, times, tmp_path):
    count, expected = 0, jax.tree.leaves(fit(name))
    while count < times:
        folder = tmp_path / str(count)
        folder.mkdir()
        found, more = killed(name, times - count, folder, seed=count)
        count += more
        for own, leaf in zip(found, expected, strict=True):
            np.testing.assert_array_equal(own, np.asarray(leaf))
