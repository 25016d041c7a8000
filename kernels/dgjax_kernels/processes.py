"""Processes that compute together: waiting for what all of them sum, and what is told when one of them is gone.

    program for several processes ─▶ `met`: waits for its results ─▶ results, or `Lost` where another says nothing more

Each process says once a second, in the store of JAX's coordinator, that it is there. A process that is killed closes
its connections, which the others see at once; one that is stopped does not, and is seen to be silent.
"""

import atexit
import contextlib
import os
import pickle
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np
from jax._src import distributed  # the coordinator's store is no part of JAX's public interface
from jax.core import Tracer

T = TypeVar("T")

UNREACHED = re.compile("gloo|nccl|UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|connection", re.IGNORECASE)
"""What errors say of another process that is not reached, and none of what is wrong in this one."""
SILENCE = 30
"""Seconds that a process may say nothing, as one does that is stopped; some code holds Python's lock for as long."""
LONGEST_PAUSE = 2e-3
"""Seconds between two looks at results that are waited for."""
TOGETHER = 5.0
"""Seconds that the first process stays when another is lost: JAX ends at once those that cannot reach it."""
ALIVE, LOST = "dgjax/alive/", "dgjax/lost/"


class Lost(RuntimeError):
    """Loss of another process: one of several that summed over rows together has ended, or does not answer.

    It is raised by all that are left, which cannot go on without the rows of that one, and end when they are done.
    """


class _Beats(threading.Thread):
    """Thread that says each second that this process is there, and looks which of the others said so."""

    def __init__(self, client: Any) -> None:
        super().__init__(name="dgjax alive", daemon=True)
        self.client, self.rounds, self.lost, self.stopped = client, 0, False, threading.Event()
        self.heard: dict[int, tuple[str, int]] = {}  # the last that each said, and in which round

    def run(self) -> None:
        own = f"{ALIVE}{jax.process_index()}"
        while not self.stopped.wait(1.0):
            try:
                self.client.key_value_set(own, str(self.rounds), allow_overwrite=True)
                for key, said in self.client.key_value_dir_get(ALIVE):
                    index = int(key.rpartition("/")[2])
                    if self.heard.get(index, ("",))[0] != said:
                        self.heard[index] = said, self.rounds
                self.lost |= bool(self.client.key_value_dir_get(LOST))
            except jax.errors.JaxRuntimeError:
                return  # the coordinator is gone: no more rounds
            self.rounds += 1

    def silent(self) -> bool:
        """Whether a process that was there has said nothing for so many rounds, or another has missed one."""
        return self.lost or any(self.rounds - last > SILENCE for _, last in self.heard.values())

    def end(self) -> None:
        self.stopped.set()
        self.join(2.0)


_beats: list[_Beats] = []


def _beating() -> _Beats:
    """The thread of this process, begun when it first waits for others."""
    if not _beats:
        _beats.append(_Beats(distributed.global_state.client))
        _beats[0].start()
        atexit.register(_beats[0].end)  # before JAX leaves its coordinator
    return _beats[0]


def _waited(found: Any) -> None:
    """Waits for results; raises Lost where a process is silent, or the coordinator.

    A look takes microseconds, and lets Ctrl-C come. Rounds are counted in place of time, for all processes may sleep.
    """
    if distributed.global_state.client is None:
        return
    beats, begun, leaves = _beating(), time.monotonic(), jax.tree.leaves(found)
    rounds, quiet, last = beats.rounds, 0.0, begun
    while not all(leaf.is_ready() for leaf in leaves):
        now = time.monotonic()
        quiet, last = quiet + min(now - last, 1.0), now
        if beats.rounds != rounds:
            rounds, quiet = beats.rounds, 0.0
        if quiet > SILENCE or beats.silent():
            lost(None)
        time.sleep(min(max((now - begun) / 50, 2e-5), LONGEST_PAUSE))


def met(program: Callable[..., Any], leaves: list[Any], waits: bool) -> Any:
    """Results of a program for several devices, waited for where processes meet in it, as errors come no sooner.

    Raises Lost if another process is not there.
    """
    if jax.process_count() == 1 or any(isinstance(leaf, Tracer) for leaf in leaves):
        return program(*leaves)
    try:
        found = program(*leaves)
        if waits:
            _waited(found)
            jax.block_until_ready(found)
        return found
    except jax.errors.JaxRuntimeError as error:
        if not UNREACHED.search(str(error)):
            raise
        lost(error)


def lost(cause: BaseException | None) -> NoReturn:
    """Raises Lost, lets the others know, and has this process end without waiting for them when it is done."""
    beats = _beating()
    if not beats.lost:
        threading.Thread(target=_tell, args=(beats.client,), daemon=True).start()  # who may not answer
    beats.lost = True
    atexit.register(_leave)
    raise Lost(
        f"another of the {jax.process_count()} processes has ended, or does not answer, and its rows are missing. "
        "Look at its log, and start all of them again. So that little of a long fit is lost, type "
        'dgjax.fit(..., checkpoint="folder"), with which the same call goes on from the last state that was saved.'
    ) from cause


def _tell(client):
    try:
        client.key_value_set(f"{LOST}{jax.process_index()}", "", allow_overwrite=True)
    except jax.errors.JaxRuntimeError:
        return


def _leave():
    """Ends this process: JAX would wait for one that is stopped, and then write that all is lost."""
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.process_index() == 0:
        time.sleep(TOGETHER)
    os._exit(1)


def gathered(value: T) -> list[T]:
    """What each process gives, in the order of processes: whatever can be pickled."""
    own = np.frombuffer(pickle.dumps(value), np.uint8)
    sizes = _gathered(np.array([len(own)], np.int32))[:, 0]
    padded = _gathered(np.pad(own, (0, int(sizes.max()) - len(own))))
    return [pickle.loads(row[:size].tobytes()) for row, size in zip(padded, sizes, strict=True)]  # of our own program


def _gathered(own):
    """Array (processes, ...) of what each process gives, of one shape."""
    number = jax.process_count()
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    mesh = jax.sharding.Mesh(np.array(devices).reshape(number, -1), ("processes", "devices"))
    along = jax.sharding.NamedSharding(mesh, jax.P("processes"))
    rows = jax.make_array_from_process_local_data(along, own[None], (number, *own.shape))
    whole = jax.sharding.NamedSharding(mesh, jax.P())
    program = jax.jit(_same, out_shardings=whole)
    return np.asarray(met(program, [rows], waits=True).addressable_data(0))


def _same(rows):
    return rows


asked = threading.Event()
"""Ctrl-C came in a fit of all processes, which are told when they next meet."""


@contextlib.contextmanager
def ended_together() -> Iterator[None]:
    """Context in which Ctrl-C sets `asked`, for all processes to stop at the same place; a second one raises."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(*_):
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, note)
    asked.clear()
    try:
        yield
    finally:
        asked.clear()
        signal.signal(signal.SIGINT, before)


def check_asked() -> None:
    """Raises KeyboardInterrupt if Ctrl-C came."""
    if asked.is_set():
        raise KeyboardInterrupt


def of_each(fn: Callable[[], T]) -> list[T]:
    """What `fn()` gives in each process, in their order; where it raises in one, or Ctrl-C came, all raise that."""
    own: Any = None, None
    try:
        own = fn(), None
        check_asked()
    except (ValueError, OSError, KeyboardInterrupt) as error:
        own = None, error
    found = gathered(own)
    for error in [own[1], *[other for _, other in found]]:
        if error is not None:
            raise error
    return [result for result, _ in found]
