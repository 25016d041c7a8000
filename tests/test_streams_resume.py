"""Fits of streams: stopped in the middle of a pass, or killed, and resumed, they end in the same bits."""

import os
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
from dgjax.learning import _checkpoint

N, BLOCK = 203, 64
RNG = np.random.default_rng(0)
Y = np.arange(N) % 3
X = (RNG.normal(size=(N, 3)) + 2.0 * Y[:, None]).astype(np.float32)
HOLES = np.where(RNG.random(X.shape) < 0.1, np.float32(np.nan), X)
MIXTURE, LOGISTIC = dg.gaussian_mixture(jax.random.key(0), X, 3, "diagonal"), dg.logistic_regression(3, 3)
FITS = {
    "EM": (MIXTURE, HOLES, None, dg.EM(tol=0.0), 4),
    "L-BFGS": (LOGISTIC, X, Y, dg.LBFGS(), 5),
    "optax": (LOGISTIC, X, Y, dg.Optax(optax.adam(0.1), batch_size=20, key=jax.random.key(1)), 30),
    "stepwise": (MIXTURE, X, None, dg.EM(stepwise=0.6), 10),
}
pytestmark = pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")


def fit(name, source=None, **more):
    model, x, y, method, steps = FITS[name]
    rows = dg.stream(x, label=y, block=BLOCK) if source is None else source
    return dg.fit(model, rows, method=method, **{"max_steps": steps, **more})


@pytest.fixture
def always(monkeypatch):
    """Checkpoints that are saved after each block."""
    for name in ("SECONDS", "SHARE"):
        monkeypatch.setattr(_checkpoint, name, 0)


DEAR = [pytest.param(own, marks=[pytest.mark.slow] * (own == "optax")) for own in FITS]
SOURCES = {
    "function": lambda x: lambda: iter([x[:100], x[100:]]),
    "list": lambda x: [x[:100], x[100:]],
    "frame": lambda x: {"a": x[:, 0], "b": x[:, 1]},
}


@pytest.mark.parametrize("name", DEAR)
def test_a_fit_stopped_within_passes_ends_in_the_same_bits(name, always, monkeypatch, tmp_path):
    whole, save, places = fit(name), _checkpoint.Checkpointer.save, []

    def stopping(self, state):
        save(self, state)
        parts = self._kept(state)
        places.append((int(state.step), int(parts[1].done) if parts is not None and parts[1] else -1))
        if len(places) % 3 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(_checkpoint.Checkpointer, "save", stopping)
    for _ in range(100):
        try:
            found = fit(name, checkpoint=tmp_path)
            break
        except KeyboardInterrupt:
            continue
    assert_same_tree(found, whole, 0)
    assert len(set(places)) > 3
    if name in ("EM", "L-BFGS"):
        assert {done for _, done in places} >= {1, 2, 3, 4}  # in the middle of passes
    monkeypatch.setattr(_checkpoint.Checkpointer, "save", save)
    assert_same_tree(fit(name, checkpoint=tmp_path), whole, 0)  # what has ended stays as it is


@pytest.mark.parametrize("name", FITS)
def test_ctrl_c_gives_the_last_model(name):
    _, x, y, _, _ = FITS[name]
    rows, seen = dg.stream(x, label=y, block=BLOCK), []

    def watch(block):
        seen.append(block)
        if len(seen) == 30:  # of three passes and more
            raise KeyboardInterrupt

    rows.watch = watch
    if name == "stepwise":
        rows = dg.stream(lambda: [(own,) for own in np.split(np.tile(x, (16, 1)), 16)], block=BLOCK)
        rows.watch = watch
    with pytest.raises(dg.Interrupted) as stopped:
        fit(name, rows, max_steps=1000)
    assert stopped.value.num_steps > 0
    assert np.isfinite(np.concatenate([np.ravel(own) for own in jax.tree.leaves(stopped.value.model)])).all()


def changed():
    x = X.copy()
    x[150, 1] += 1
    return x


@pytest.mark.parametrize("name", ["EM", "L-BFGS"])
def test_what_differs_is_named(name, tmp_path):
    fit(name, checkpoint=tmp_path)
    model, x, y, method, _ = FITS[name]
    rows = dg.stream(x, label=y, block=BLOCK)
    moved = jax.tree.map(lambda leaf: leaf * 1.1 + 0.1, model)
    for words, *own in (
        ("x", model, dg.stream(x, label=y, block=50), method),
        ("start", moved, rows, method),
        ("tol", model, rows, type(method)(1e-3)),
    ):
        with pytest.raises(ValueError, match=f"holds a fit of other {words}: "):
            dg.fit(*own[:2], method=own[2], checkpoint=tmp_path)


@pytest.mark.parametrize("kind", [pytest.param(own, marks=[pytest.mark.slow] * (own != "list")) for own in SOURCES])
def test_other_rows_are_refused(kind, tmp_path):
    of = SOURCES[kind]
    source, other = dg.stream(of(X), block=BLOCK), dg.stream(of(changed()), block=BLOCK)
    start = MIXTURE if source.schema is None else dg.gaussian_mixture(jax.random.key(0), source, 2)
    dg.fit(start, source, max_steps=2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="holds a fit of other x"):
        dg.fit(start, other, max_steps=2, checkpoint=tmp_path)


KILLED = """
import sys, time
import numpy as np, jax
import test_streams_resume as own
from dgjax.learning import _checkpoint
_checkpoint.SECONDS = _checkpoint.SHARE = 0
name, folder, result = sys.argv[1:]
save = _checkpoint.Checkpointer.save
def slowly(self, state):
    save(self, state)
    time.sleep(0.05)
_checkpoint.Checkpointer.save = slowly
print("begun", flush=True)
found = own.fit(name, checkpoint=folder)
np.savez(result, *map(np.asarray, jax.tree.leaves(found)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", FITS)
def test_a_killed_fit_ends_in_the_same_bits(name, tmp_path):
    result, count, random = tmp_path / "result.npz", 0, np.random.default_rng(0)
    command = [sys.executable, "-W", "ignore", "-c", KILLED, name, str(tmp_path / "kept"), str(result)]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    while not result.exists():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        if count < 4:
            process.stdout.readline()
            time.sleep(random.uniform(0, 2.5))
            process.send_signal(signal.SIGKILL)
            count += 1
        assert process.wait() in (0, -signal.SIGKILL)
        process.stdout.close()
    whole = list(map(np.asarray, jax.tree.leaves(fit(name))))
    with np.load(result) as leaves:
        for one, other in zip(leaves.values(), whole, strict=True):
            np.testing.assert_array_equal(one, other)
