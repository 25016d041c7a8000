"""Digest of all that a compiled program depends on, before it is traced: the name of its file on disk.

That is the function's name, the structure, shapes and dtypes of its arguments, JAX's settings, the sources of the
package that the function is from and of this one, versions, and the processor. Where the function, or the class of an
argument, is of another package, there is no digest: nobody knows when that changes.
"""

import dataclasses
import functools
import hashlib
import inspect
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jaxlib.version
import numpy as np
from jax.core import Tracer

from dgjax_kernels.blocks import repeats

OWN, BEGUN = __name__.partition(".")[0], time.time()
UNRELATED = "jax_compilation_cache", "jax_persistent_cache", "jax_log", "jax_traceback", "jax_pprint", "jax_dump"
"""Beginnings of settings by which programs are not compiled otherwise."""
SCALARS = {bool: (np.bool_, False), int: (int, True), float: (float, True)}  # dtype, and whether weakly typed
PROCESSOR = "model name", "cpu family", "flags", "Features", "CPU "


class UnknownError(Exception):
    """A program depends on what no digest can tell."""


def kind_of(leaf: Any) -> tuple[Any, ...]:
    """Shape, dtype and weak type of an argument, which a program is for; raises TypeError for a tracer."""
    if type(leaf) is _array():
        return leaf.shape, leaf.dtype, leaf.weak_type
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype), False
    if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer):  # random keys
        return leaf.shape, leaf.dtype, False
    dtype, weak = SCALARS.get(type(leaf), (None, None))
    if dtype is None:
        raise TypeError
    return (), jax.dtypes.canonicalize_dtype(dtype), weak


@functools.cache
def _array():
    """Class of arrays whose numbers are known, though it be asked first within a program, where new ones are traced."""
    with jax.ensure_compile_time_eval():
        return type(jax.device_put(np.zeros(())))


def digest(fn: Callable, options: str, static: Any, given: Any) -> str | None:
    """Digest of a program of `fn` for the arguments `given`; None if it cannot be told what all it depends on."""
    package = fn.__module__.partition(".")[0]
    try:
        parts = [type(fn).__name__, _name(fn, package), *_static(static, package), *_structure(given, package)]
        parts += map(_sources, (package, OWN))
    except UnknownError:
        return None
    settings = [pair for pair in sorted(jax.config.values.items()) if not pair[0].startswith(UNRELATED)]
    parts += [options, repr(repeats.value), repr(settings), _machine()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _structure(value: Any, package: str) -> Iterator[str]:
    """Structure of arguments: classes by name, static fields by value, arrays by shape and dtype."""
    parts = jax.tree_util.default_registry.flatten_one_level(value)
    if parts is None:
        yield " ".join(map(str, kind_of(value)))
        return
    children, static = parts
    children = list(children)
    kind = type(value)
    yield f"{kind.__name__ if kind.__module__ == 'builtins' else _name(kind, package)} {len(children)}"
    if not isinstance(value, tuple):  # of named tuples JAX says the class
        yield from _static(static, package)
    for child in children:
        yield from _structure(child, package)


def _static(value: Any, package: str) -> Iterator[str]:
    """Static values: numbers, text, and tuples and dataclasses of such; classes and functions by name."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, np.dtype):
        yield str(value)
    elif isinstance(value, type) or callable(value):
        yield _name(value, package)
    elif isinstance(value, tuple | list | dict):
        kind = type(value)
        yield f"{kind.__name__ if kind in (tuple, list, dict) else _name(kind, package)} {len(value)}"
        for one in value.items() if isinstance(value, dict) else value:
            yield from _static(one, package)
    elif dataclasses.is_dataclass(value):
        yield _name(type(value), package)
        yield from _static([getattr(value, field.name) for field in dataclasses.fields(value)], package)
    else:
        raise UnknownError


def _name(value: Any, package: str) -> str:
    """Full name of a class or function of a package, of this one or of JAX; raises UnknownError for any other."""
    module, name = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", "<")
    if module.partition(".")[0] not in (package, OWN, "jax"):
        raise UnknownError
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None or inspect.unwrap(found) is not inspect.unwrap(value):
        raise UnknownError
    return f"{module}.{name}"


@functools.cache
def _sources(package: str) -> str:
    """Digest of a package's sources; raises UnknownError if they were changed after this process began."""
    total, folders = hashlib.sha256(), getattr(sys.modules[package], "__path__", None)
    if folders is None:  # a script
        raise UnknownError
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("*.py")):
            status = path.stat()
            if max(status.st_mtime, status.st_ctime) > BEGUN:  # what was imported may not be what is there now
                raise UnknownError
            total.update(path.relative_to(folder).as_posix().encode() + b"\n" + path.read_bytes())
    return total.hexdigest()


@functools.cache
def _machine() -> str:
    """Versions, environment and processor that a program is compiled by and for."""
    versions = [package.__version__ for package in (jax, jaxlib.version, np)]
    try:
        first, _, _ = pathlib.Path("/proc/cpuinfo").read_text().partition("\n\n")
        processor = [line for line in first.splitlines() if line.startswith(PROCESSOR)]
    except OSError:
        processor = [platform.node()]  # a home may be shared by machines of different processors
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return repr([versions, sys.version, platform.machine(), processor, cores, os.environ.get("XLA_FLAGS")])
