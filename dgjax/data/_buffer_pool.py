"""Buffer pool: memory for copies of NumPy's rows, aligned as XLA wants it, and used again.

    aligned(shape) ─▶ _memory: spare buffer, else fresh ─▶ array ─▶ ... last view is gone ─▶ spare buffers

Of fresh memory the system clears every page when it is first written to, which takes longer than to copy rows into it:
on 2 cores, 64 MB copied and summarised in 12 to 21 ms, and in 7.5 where the memory was used before. So what the last
arrays lay in is kept for the next ones, LARGEST in all.
"""

import math
from typing import Any

import numpy as np

import dgjax_kernels as kernels

LARGEST = 1 << 27  # bytes that are kept

_spare: list[np.ndarray] = []


class _Buffer:
    """Owner of memory, to which an array and all of its views refer; when they are gone, it may be used again."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._memory = _memory(math.prod(shape) * dtype.itemsize + kernels.ALIGNMENT)
        start = self._memory.ctypes.data
        data = start + -start % kernels.ALIGNMENT, False
        self.__array_interface__ = {"data": data, "shape": shape, "typestr": dtype.str, "version": 3}

    def __del__(self) -> None:
        memory = getattr(self, "_memory", None)  # there was no memory for it
        if memory is not None and len(memory) <= LARGEST:
            _spare.append(memory)
            while sum(map(len, _spare)) > LARGEST:
                del _spare[:1]


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Array of undefined numbers whose memory is aligned as XLA wants it, and comes from the buffer pool."""
    return np.asarray(_Buffer(shape, np.dtype(dtype)))


def _memory(size):
    """Memory of `size` bytes or at most twice as many: the spare buffer that was given back last, else fresh.

    Buffers are taken out of the pool to be compared, for other threads look too.
    """
    passed, found = [], None
    while found is None:
        try:
            memory = _spare.pop()
        except IndexError:
            memory = np.empty(size, np.uint8)
        if size <= len(memory) <= 2 * size:
            found = memory
        else:
            passed.append(memory)
    _spare.extend(reversed(passed))
    return found
