"""One factory for all handlers: what XLA calls, compiled by numba on first use and kept on disk.

A kernel says into how many pieces a call is cut and how to work on one; the rest of a handler is here.

    XLA ──call frame──▶ handler ──▶ spread ──control block──▶ handler on this thread: pieces 0, 2, 3, ...
                                           ──control block──▶ handler on another one: pieces 1, 4, ...

Numba keeps what it compiled under the file and name of a function, with a hash of its bytecode and of what it closes
over. Functions in a closure would be hashed anew in each process, and no cached handler ever be found. So what makes a
handler a kernel's own are globals, put in place of the three below, and its name ends in a digest of all sources that
it is compiled from, where numba by itself would look at one file.
"""

import contextlib
import functools
import os
import pathlib
import threading
import types
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from numba import cfunc, njit
from numba.core.codegen import JITCodeLibrary
from numba.core.types import intp

from dgjax_kernels.cpu import compiling, ffi
from dgjax_kernels.rows import KEPT

F = TypeVar("F", bound=Callable)
HANDLER = intp(intp)

_SOURCES = [path.read_bytes() for path in sorted(pathlib.Path(__file__).parent.rglob("*.py"))]
DIGEST = zlib.crc32(b"".join(_SOURCES) + repr(KEPT).encode())  # KEPT is the one number that kernels take from elsewhere


class Handler(NamedTuple):
    """FFI handler of a kernel, as XLA can call it, in float32 and float64; its name is one of `compiling.KERNELS`."""

    name: str
    num_pieces: Callable  # (call frame): into how many pieces the call is cut
    work: Callable  # (control block, piece, precision): works on the piece, and on all others that it can take

    def target(self, dtype: Any) -> str:
        """Registered name of the handler for a precision, under which XLA finds it; compiled first, if need be."""
        with _LOCK:  # threads that trace at once would register it twice
            return _target(self, jax.numpy.dtype(dtype))

    def run(self, arguments: Sequence[np.ndarray], results: Sequence[np.ndarray], pieces: int) -> None:
        """Zero-copy call by Python, without XLA: NumPy's arrays where they are, `results` among them, on all cores.

        In the precision of the first argument, cut into so many pieces. All arrays are in one piece each.
        """
        with _LOCK:
            work: Any = _compiled(self, arguments[0].dtype).ctypes
        frame, kept = ffi.frame(arguments, results)
        control = ffi.control_block(frame, pieces)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            others = [pool.submit(work, control.ctypes.data) for _ in range(min(os.cpu_count() or 1, pieces) - 1)]
            work(control.ctypes.data)
        del kept
        for other in others:
            other.result()


def of_result(index: int) -> Callable:
    """Number of pieces of a call: as many as the index-th result has rows, for it has a row for each piece's sum."""
    return ffi.jit(lambda frame: ffi.size(frame, ffi.FRAME_RESULTS, index, 0))


def of_pieces(name: str, piece: Callable, num_pieces: Callable) -> Handler:
    """FFI handler of a kernel whose pieces know nothing of each other: `piece(frame, number, dtype)` works on one.

    `num_pieces(frame)` says into how many a call is cut.
    """

    def work(control, number, dtype):
        while number >= 0:
            piece(ffi.load(control, ffi.FRAME), number, dtype)
            ffi.done(control)
            number = ffi.next_piece(control)

    return Handler(name, num_pieces, ffi.inlined(work))


def from_python(function: F) -> F:
    """Compilation by numba of a function that Python calls, without the GIL, so that threads run it; kept on disk."""
    name, options = function.__name__, {"error_model": "numpy", "nogil": True}
    decorate: Any = njit
    named = _named(function, name)
    try:
        return compiling.of_python.add(name, decorate(cache=True, **options)(named), on_disk=True)
    except RuntimeError:  # no folder to write to
        return compiling.of_python.add(name, decorate(**options)(named), on_disk=False)


def _num_pieces(frame):
    """Placeholder for a kernel's number of pieces."""
    return 0


def _work(control, piece, dtype):
    """Placeholder for a kernel's work."""


_dtype: Any = float  # placeholder for the precision


def _handle(address):
    """XLA handler, the body of every kernel's, called with an address; returns 0.

    Of XLA's call frame: answers a query for the version, or cuts the call into pieces and runs them by `spread`. Of
    `spread`'s control block, on each thread: works on pieces until none is left.
    """
    if ffi.introduced(address):
        return 0
    if ffi.called(address):
        return ffi.spread(address, _num_pieces(address), ffi.own_address())
    piece = ffi.next_piece(address)
    if piece >= 0:
        _work(address, piece, _dtype)
    return ffi.leave(address)


def _named(function: Callable, name: str, **own: Any) -> Callable:
    """A copy of a function with some globals replaced, whose name ends in the digest of the sources."""
    full_name = f"{name}_{DIGEST:08x}"
    copy = types.FunctionType(function.__code__, {**function.__globals__, **own}, full_name)
    copy.__qualname__ = full_name
    return copy


@contextlib.contextmanager
def _self_contained(name: str) -> Iterator[None]:
    """A block in which numba compiles the handler of a name so that it calls its own copies of functions only.

    They are weak symbols, and where numba has just compiled a function by itself too, the linker would take that one,
    optimised without its caller, in whose sums digits may be rounded otherwise. A handler from disk always has its own
    copies: only so are the bits of the process that compiled it those of every later one.
    """
    finalize = JITCodeLibrary._finalize_final_module

    def finalize_ours(self):
        for function in self._final_module.functions if self.name == name else ():
            if function.linkage.name.startswith("linkonce") and not function.is_declaration:
                function.linkage = "internal"
        return finalize(self)

    JITCodeLibrary._finalize_final_module = finalize_ours
    try:
        yield
    finally:
        JITCodeLibrary._finalize_final_module = finalize


@functools.cache
def _compiled(handler, dtype):
    own = {"_num_pieces": handler.num_pieces, "_work": handler.work, "_dtype": dtype.type}
    function = _named(_handle, f"{handler.name}_{dtype}", **own)
    with _self_contained(function.__name__):
        try:
            with compiling.told(handler.name, on_disk=True):
                compiled = cfunc(HANDLER, cache=True)(function)
        except RuntimeError:  # no folder to write to
            with compiling.told(handler.name, on_disk=False):
                compiled = cfunc(HANDLER)(function)
    return compiled  # kept alive by the cache, for XLA may call it as long as the process lives


@functools.cache
def _target(handler, dtype):
    name = f"dgjax_{handler.name}_{dtype}"
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(_compiled(handler, dtype).ctypes), platform="cpu")
    return name


_LOCK = threading.Lock()
