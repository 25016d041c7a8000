"""Times of checkpoints and of Ctrl-C: what a save takes, what pieces add to a fit, how long Ctrl-C waits.

PYTHONPATH=.:kernels python benchmarks/resume.py
"""

import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import dgjax as dg
from dgjax.learning import _checkpoint, _progress

ROUNDS = 20


class State(NamedTuple):
    """A state of one array."""

    array: np.ndarray
    step: np.ndarray


def median(ask: Callable[[], object]) -> float:
    """Median time of a call in milliseconds, after two that compile."""
    times = []
    for _ in range(2 + ROUNDS):
        begun = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begun)
    return 1e3 * float(np.median(times[2:]))


def rows(n: int, d: int = 8) -> np.ndarray:
    """Rows of two clusters."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, d)) + 2 * (np.arange(n) % 2)[:, None]).astype(np.float32)


def saves() -> None:
    """What a save of states of different sizes takes."""
    with tempfile.TemporaryDirectory() as folder:
        for size in (1_000, 1_000_000, 10_000_000):
            state = State(np.zeros(size, np.float32), np.zeros((), int))
            saver = _checkpoint.Checkpointer(Path(folder) / str(size), {})
            print(f"save of {size:,} floats: {median(lambda s=state, w=saver: w.save(s)):.2f} ms")


def pieces() -> None:
    """Fits in one call, in pieces of half a second, and in pieces of one step."""
    for n in (150, 20_000, 200_000):
        start = dg.gaussian_mixture(jax.random.key(0), rows(n), 3, "diagonal")
        for at_once, seconds, words in ((1 << 60, 0.5, "one call"), (0, 0.5, "pieces"), (0, 0.0, "steps")):
            _progress.AT_ONCE, _progress.SECONDS = at_once, seconds
            taken = median(lambda n=n, start=start: dg.fit(start, rows(n), method=dg.EM(0), max_steps=50))
            print(f"EM, {n:,} rows, 50 steps, {words}: {taken:.2f} ms")
    _progress.AT_ONCE, _progress.SECONDS = 1 << 27, 0.5


def interrupts() -> None:
    """How long after Ctrl-C a fit ends."""
    waits = []
    x = rows(200_000)
    start = dg.gaussian_mixture(jax.random.key(0), x, 3, "diagonal")
    for i in range(10):
        pressed: list[float] = []

        def press(i=i, pressed=pressed):
            time.sleep(2 + 0.13 * i)
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=press).start()
        try:
            dg.fit(start, x, method=dg.EM(0), max_steps=1_000_000)
        except dg.Interrupted:
            waits.append(time.monotonic() - pressed[0])
    print(f"Ctrl-C: {1e3 * np.median(waits):.0f} ms, at most {1e3 * max(waits):.0f}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    saves()
    pieces()
    interrupts()
