"""One factory for all handlers: what XLA calls, compiled by numba on first use and kept on disk.

A kernel says into how many pieces a call is cut and how one is worked on; the rest of a handler is here.

    XLA ──frame──▶ handler ──▶ spread: a counter of pieces, and a task for each of XLA's threads
                                   │                 │
                                handler           handler        each with the counter in place of a frame
                                0, 2, 3, ...      1, 4, ...      the next piece, until there are none

Numba keeps what it compiled under the file and the name of a function, with a hash of its bytecode and of what it
closes over. Functions in a closure would be hashed anew in each process, and nothing be found again. So what makes a
handler a kernel's own are globals, by the names below, and its name ends in a digest of all sources that it is made of,
where numba by itself looks at one file.
"""

import functools
import pathlib
import threading
import types
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
from numba import cfunc, njit
from numba.core.types import intp

from dgjax_kernels.cpu import compiling, ffi
from dgjax_kernels.rows import KEPT

F = TypeVar("F", bound=Callable)
HANDLER = intp(intp)

_SOURCES = [path.read_bytes() for path in sorted(pathlib.Path(__file__).parent.rglob("*.py"))]
DIGEST = zlib.crc32(b"".join(_SOURCES) + repr(KEPT).encode())  # KEPT is the one number that kernels take from elsewhere


class Handler(NamedTuple):
    """A kernel as XLA can call it, in either precision; its name is the one of `compiling.KERNELS`."""

    name: str
    num_pieces: Callable  # of a frame
    work: Callable  # of the counter of pieces, the first of them and the precision: on that and on all it can take

    def target(self, dtype: Any) -> str:
        """The name under which XLA finds the handler for a precision."""
        with _LOCK:  # threads that trace at once would register it twice
            return _target(self, jax.numpy.dtype(dtype))


def of_result(index: int) -> Callable:
    """As many pieces as the index-th result has rows."""
    return ffi.jit(lambda frame: ffi.size(frame, ffi.FRAME_RESULTS, index, 0))


def of_pieces(name: str, piece: Callable, num_pieces: Callable) -> Handler:
    """The handler of a kernel whose pieces know nothing of each other: `piece(frame, number, dtype)` works on one."""

    def work(counter, number, dtype):
        while number >= 0:
            piece(ffi.load(counter, ffi.FRAME), number, dtype)
            ffi.done(counter)
            number = ffi.next_piece(counter)

    return Handler(name, num_pieces, ffi.inlined(work))


def from_python(function: F) -> F:
    """Compiles what Python calls, on several threads at once; then on disk, like handlers."""
    name, options = function.__name__, {"error_model": "numpy", "nogil": True}
    decorate: Any = njit
    named = _named(function, name)
    try:
        return compiling.of_python.add(name, decorate(cache=True, **options)(named), on_disk=True)
    except RuntimeError:  # no folder to write to
        return compiling.of_python.add(name, decorate(**options)(named), on_disk=False)


def _num_pieces(frame):
    """Stands for what says how many pieces a call has."""
    return 0


def _work(counter, piece, dtype):
    """Stands for what works on a piece, and on all others that it can take."""


_dtype: Any = float


def _handle(address):
    """What every handler is: called by XLA with a frame, and by `spread` with the counter of pieces."""
    if ffi.introduced(address):
        return 0
    if ffi.called(address):
        return ffi.spread(address, _num_pieces(address), ffi.own_address())
    piece = ffi.next_piece(address)
    if piece >= 0:
        _work(address, piece, _dtype)
    return ffi.leave(address)


def _named(function: Callable, name: str, **own: Any) -> Callable:
    """A copy of a function, for these sources, with some globals of its own."""
    full_name = f"{name}_{DIGEST:08x}"
    copy = types.FunctionType(function.__code__, {**function.__globals__, **own}, full_name)
    copy.__qualname__ = full_name
    return copy


@functools.cache
def _target(handler, dtype):
    own = {"_num_pieces": handler.num_pieces, "_work": handler.work, "_dtype": dtype.type}
    function = _named(_handle, f"{handler.name}_{dtype}", **own)
    try:
        with compiling.told(handler.name, on_disk=True):
            compiled = cfunc(HANDLER, cache=True)(function)
    except RuntimeError:  # no folder to write to
        with compiling.told(handler.name, on_disk=False):
            compiled = cfunc(HANDLER)(function)
    _alive.append(compiled)
    name = f"dgjax_{handler.name}_{dtype}"
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(compiled.ctypes), platform="cpu")
    return name


_LOCK = threading.Lock()
_alive = []
"""Handlers that XLA may call as long as the process lives."""
