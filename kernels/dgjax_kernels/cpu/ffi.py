"""XLA's foreign function interface (FFI) as numba sees it: the call frame, and how one call is spread over threads.

No Python callback and no copy: XLA hands a handler the address of its call frame, all of it 8-byte words
(`jax.ffi.include_dir()`/xla/ffi/api/c_api.h; a test compares the words below with that header):

    frame ─▶ 1 extension, 2 api, 3 context, 9 arguments, 14 results
                           │                 └──▶ buffer, buffer, ... ─▶ 3 data, 4 rank, 5 dims
                           └──▶ 4 version, 17 ThreadPool_Schedule, 18 ThreadPool_NumThreads, 8 Error_Destroy

A call is cut into pieces. Threads take one after another from an atomic counter in a control block:

    control block: 0 tag (0, as no frame has), 1 next piece, 2 pieces done, 3 users, 4 frame, 5 number of pieces

The thread that made the call takes pieces too, and waits for others only while they are at work on one. So calls made
at once cannot wait for each other for ever, whichever of their tasks ever get a thread.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.types import CPointer, intp
from numba.extending import intrinsic as numba_intrinsic
from numba.np.numpy_support import carray

F = TypeVar("F", bound=Callable)


def jit(function: F, **options: Any) -> F:
    """Compilation by numba of a function that only handlers call, as a function of its own that LLVM may inline.

    Numba optimises a function again in each that calls it, so calls are kept shallow. Arrays are filled by loops: one
    assigned to part of another, or summed along an axis, takes 1 to 5 s to compile, for numba compiles the text of the
    errors too (logistic: 23 s, by loops 9).
    """
    decorate: Any = njit
    return decorate(function, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)


def inlined(function: F) -> F:
    """Compilation by numba as part of the function that calls it: for a function that is called in one place."""
    return jit(function, inline="always")


def within(function: F) -> F:
    """Compilation by numba with inlining by LLVM wherever it is called: for short steps, each waiting for the last."""
    return jit(function, forceinline=True)


def intrinsic(function: Callable) -> Any:
    """Declaration of a function whose body is LLVM instructions, given by a builder."""
    return numba_intrinsic(function)


WORD = ir.IntType(64)
FRAME_EXTENSION, FRAME_API, FRAME_CONTEXT, FRAME_ARGUMENTS, FRAME_RESULTS = 1, 2, 3, 9, 14
API_VERSION, API_DESTROY, API_SCHEDULE, API_THREADS = 4, 8, 17, 18
TAG, NEXT, DONE, USERS, FRAME, PIECES, CONTROL_WORDS = 0, 1, 2, 3, 4, 5, 6


def _at(builder, address, word):
    return builder.inttoptr(builder.add(address, builder.mul(word, ir.Constant(WORD, 8))), WORD.as_pointer())


@intrinsic
def load(typingctx, address, word):
    """Atomic load of the word-th 8-byte word at an address."""
    return intp(intp, intp), lambda c, b, s, a: b.load_atomic(_at(b, *a), "seq_cst", 8)


@intrinsic
def store(typingctx, address, word, value):
    """Store of a value to the word-th 8-byte word at an address."""

    def build(c, b, s, a):
        b.store(a[2], _at(b, a[0], a[1]))
        return c.get_dummy_value()

    return types.void(intp, intp, intp), build


@intrinsic
def fetch_add(typingctx, address, word, value):
    """Atomic fetch-and-add to the word-th 8-byte word at an address: gives the word as it was before."""
    return intp(intp, intp, intp), lambda c, b, s, a: b.atomic_rmw("add", _at(b, a[0], a[1]), a[2], "seq_cst")


@intrinsic
def allocate(typingctx, words):
    """Allocation of so many 8-byte words; returns their address."""

    def build(c, b, s, a):
        return b.ptrtoint(c.nrt.allocate(b, b.mul(a[0], ir.Constant(WORD, 8))), WORD)

    return intp(intp), build


@intrinsic
def free(typingctx, address):
    """Release of words that `allocate` gave."""

    def build(c, b, s, a):
        c.nrt.free(b, b.inttoptr(a[0], ir.IntType(8).as_pointer()))
        return c.get_dummy_value()

    return types.void(intp), build


@intrinsic
def call(typingctx, function, argument):
    """Call of the C function at an address with one word as argument; returns a word."""
    kind = ir.FunctionType(WORD, [WORD])
    return intp(intp, intp), lambda c, b, s, a: b.call(b.inttoptr(a[0], kind.as_pointer()), [a[1]])


@intrinsic
def pointer(typingctx, address, dtype):
    """Pointer to numbers of a dtype, from an address."""
    to = CPointer(dtype.dtype)
    return to(intp, dtype), lambda c, b, s, a: b.inttoptr(a[0], c.get_value_type(to))


@intrinsic
def _prefetch_line(typingctx, address):
    """Prefetches the cache line at an address, to be read."""

    def build(c, b, s, a):
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(), *[ir.IntType(32)] * 3])
        function = b.module.globals.get("llvm.prefetch.p0") or ir.Function(b.module, kind, "llvm.prefetch.p0")
        b.call(function, [b.inttoptr(a[0], ir.PointerType()), *(ir.Constant(ir.IntType(32), i) for i in (0, 2, 1))])
        return c.get_dummy_value()

    return types.void(intp), build


@jit
def prefetch(row):
    """Prefetch of a row of numbers into the cache, in lines of 64 bytes."""
    for offset in range(0, len(row) * row.itemsize, 64):
        _prefetch_line(row.ctypes.data + offset)


@intrinsic
def own_address(typingctx):
    """Address of the handler that calls this, for other threads to call."""

    def build(c, b, s, a):
        name = f"cfunc.{b.function.name}"
        declared = b.module.globals.get(name)
        kind = ir.FunctionType(WORD, [WORD])
        return b.ptrtoint(declared or ir.Function(b.module, kind, name), WORD)

    return intp(), build


@jit
def _ask(frame, function, first, second):
    """Calls a function of XLA's api with (size, extension, context, first, second); returns whether it succeeded."""
    question = allocate(5)
    store(question, 0, 40)
    store(question, 1, 0)
    store(question, 2, load(frame, FRAME_CONTEXT))
    store(question, 3, first)
    store(question, 4, second)
    error = call(load(load(frame, FRAME_API), function), question)
    if error != 0:
        store(question, 0, 24)
        store(question, 2, error)
        call(load(load(frame, FRAME_API), API_DESTROY), question)
    free(question)
    return error == 0


@jit
def _num_threads(frame):
    answer = allocate(1)
    store(answer, 0, 1)
    _ask(frame, API_THREADS, answer, 0)
    threads = load(answer, 0)
    free(answer)
    return threads


@intrinsic
def let_others_run(typingctx):
    """Yields the core, where the system can be asked to: a thread may need it for what is waited for."""

    def build(c, b, s, a):
        if hasattr(os, "sched_yield"):
            kind = ir.FunctionType(ir.IntType(32), [])
            b.call(b.module.globals.get("sched_yield") or ir.Function(b.module, kind, "sched_yield"), [])
        return c.get_dummy_value()

    return types.void(), build


@jit
def spread(frame, pieces, handler):
    """Threads: works through the pieces of a call by `handler`, on this one and as many of XLA's as pieces allow.

    `frame` is the address of XLA's call frame, `handler` the address that each thread calls with the control block.
    """
    control = allocate(CONTROL_WORDS)
    for word, value in ((TAG, 0), (NEXT, 0), (DONE, 0), (USERS, 2), (FRAME, frame), (PIECES, pieces)):
        store(control, word, value)
    helpers = min(_num_threads(frame), pieces) - 1 if pieces > 1 else 0
    for _ in range(helpers):
        fetch_add(control, USERS, 1)
        if not _ask(frame, API_SCHEDULE, handler, control):
            fetch_add(control, USERS, -1)
    call(handler, control)
    wait(control, pieces)
    leave(control)
    return 0


@jit
def introduced(frame):
    """FFI version query: True if XLA asks for the interface's version only, which is answered here."""
    extension = load(frame, FRAME_EXTENSION) if called(frame) else 0
    if extension != 0:
        store(load(extension, 3), 3, load(load(frame, FRAME_API), API_VERSION))
    return extension != 0


@jit
def called(address):
    """Kind of an address: True if it is a call frame of XLA's, False if it is a control block of `spread`'s."""
    return load(address, TAG) != 0


@jit
def next_piece(control):
    """Piece counter: takes the number of the next piece of a call from its control block; -1 if there is none left."""
    piece = fetch_add(control, NEXT, 1)
    return piece if piece < load(control, PIECES) else -1


@jit
def done(control):
    """Piece counter: reports to the control block of a call that a piece is done."""
    fetch_add(control, DONE, 1)


@jit
def wait(control, pieces):
    """Waits until so many pieces of a call are done, all of them taken before one that this thread has taken itself."""
    while load(control, DONE) < pieces:
        let_others_run()


@jit
def leave(control):
    """Leaves a call; the last thread to leave frees the control block."""
    if fetch_add(control, USERS, -1) == 1:
        free(control)
    return 0


@jit
def size(frame, kind, index, axis):
    """Length of an axis of the index-th argument or result, `kind` being FRAME_ARGUMENTS or FRAME_RESULTS."""
    return load(load(load(load(frame, kind), index), 5), axis)


@jit
def vector(frame, kind, index, dtype):
    """Zero-copy array of one axis: the index-th argument or result, `kind` being FRAME_ARGUMENTS or FRAME_RESULTS."""
    buffer = load(load(frame, kind), index)
    return carray(pointer(load(buffer, 3), dtype), (load(load(buffer, 5), 0),))


@jit
def matrix(frame, kind, index, dtype):
    """Zero-copy array of two axes: the index-th argument or result, `kind` being FRAME_ARGUMENTS or FRAME_RESULTS."""
    buffer = load(load(frame, kind), index)
    dims = load(buffer, 5)
    return carray(pointer(load(buffer, 3), dtype), (load(dims, 0), load(dims, 1)))


@jit
def cube(frame, kind, index, dtype):
    """Zero-copy array of three axes: the index-th argument or result, `kind` being FRAME_ARGUMENTS or FRAME_RESULTS."""
    buffer = load(load(frame, kind), index)
    dims = load(buffer, 5)
    return carray(pointer(load(buffer, 3), dtype), (load(dims, 0), load(dims, 1), load(dims, 2)))


@jit
def hypercube(frame, kind, index, dtype):
    """Zero-copy array of four axes: the index-th argument or result, `kind` being FRAME_ARGUMENTS or FRAME_RESULTS."""
    buffer = load(load(frame, kind), index)
    dims = load(buffer, 5)
    return carray(pointer(load(buffer, 3), dtype), (load(dims, 0), load(dims, 1), load(dims, 2), load(dims, 3)))


def frame(arguments: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> tuple[int, list[np.ndarray]]:
    """Call frame of NumPy's arrays, with the words that handlers read; returns its address, and what it points to.

    That has to be kept for as long as the frame is used.
    """
    kept = []

    def words(*numbers):
        kept.append(np.array(numbers, np.int64))
        return kept[-1].ctypes.data

    def buffers(arrays):
        return words(*(words(0, 0, 0, array.ctypes.data, array.ndim, words(*array.shape)) for array in arrays))

    whole = [1] + [0] * FRAME_RESULTS
    whole[FRAME_ARGUMENTS], whole[FRAME_RESULTS] = buffers(arguments), buffers(results)
    return words(*whole), [*kept, *arguments, *results]


def control_block(frame: int, pieces: int) -> np.ndarray:
    """Control block of a call by Python, which keeps it: it has more users than ever leave it."""
    control = np.zeros(CONTROL_WORDS, np.int64)
    control[USERS], control[FRAME], control[PIECES] = 1 << 32, frame, pieces
    return control


@jit
def part(n, piece, pieces):
    """Range of rows (start, stop) of the piece-th of so many pieces, as equal as can be, of n rows."""
    return piece * n // pieces, (piece + 1) * n // pieces
