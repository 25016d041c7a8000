"""Reading ahead: an iterator worked off by a thread of its own, a few results before they are asked for."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import jax

T = TypeVar("T")
PATIENCE = 0.1  # seconds after which a thread that waits for room looks whether anyone still reads
_END = object()


def ahead(make: Callable[[], Iterator[T]], size: int) -> Generator[T, None, None]:
    """What the iterator of `make()` gives, in order, read by a thread `size` results ahead; with 0 by none.

    An error of the iterator is raised where its result would have come. The thread ends with the iterator, or when the
    results are no longer read.
    """
    if not size:
        yield from make()
        return
    ready: queue.Queue[Any] = queue.Queue(size)
    stop = threading.Event()
    config: Any = jax.config
    settings = bool(config.jax_enable_x64), config.jax_default_device  # of this thread alone
    thread = threading.Thread(target=_work, args=(make, ready, stop, settings), name="dgjax reads ahead", daemon=True)
    thread.start()
    try:
        while (result := ready.get()) is not _END:
            if isinstance(result, _Raised):
                raise result.error
            yield result
            del result  # the thread may use its memory again
    finally:
        stop.set()
        thread.join()


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _work(make, ready, stop, settings):
    results = None
    x64, device = settings
    try:
        with jax.enable_x64(x64), jax.default_device(device):
            results = make()
            for result in results:
                if not _put(ready, result, stop):
                    return
                del result
            _put(ready, _END, stop)
    except BaseException as error:
        _put(ready, _Raised(error), stop)
    finally:
        if isinstance(results, Generator):
            results.close()


def _put(ready, result, stop):
    """Hands a result over as soon as there is room; False if nobody reads any more."""
    while not stop.is_set():
        try:
            ready.put(result, timeout=PATIENCE)
            return True
        except queue.Full:
            continue
    return False
