"""Programs on a CPU: so many in memory at most, and for little data on disk, where later processes find them compiled.

    call ─▶ structure, shapes and dtypes of its arguments ─▶ known in this process ────────────────▶ run
                                                          ─▶ on disk, by a digest of these ─▶ load, run
                                                          ─▶ neither ─▶ trace, compile, write, run

What a process has loaded or compiled it finds again in 8 us, until `MOST_PROGRAMS` others were used since. A program
takes 2 MB in memory, and what JAX remembers of tracing and compiling it 1.6 MB more, which is given back at once. What
takes long to compile says so on the logger "dgjax", as numba's compilations do, for a program that seems to hang should
say why. In a program that is being traced, and where JAX has more than one device, the function is compiled as any
other; of rows that are sharded over devices it is one for each shard (`shards`).
"""

import contextlib
import copyreg
import functools
import inspect
import itertools
import logging
import operator
import pickle
import pkgutil
import re
import threading
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from dgjax_kernels import _disk, _fork, _program_key, processes, shards
from dgjax_kernels._program_key import kind_of
from dgjax_kernels.blocks import repeats

LITTLE = 1 << 20  # bytes that a program is given
MOST_PROGRAMS = 256  # that a process has at once, those unused for the longest are given back beyond it
PATIENCE = 2.0  # seconds: what is compiled faster is not worth a line
HANDLERS = re.compile(rb"dgjax_\w+_float(32|64)\b")  # targets of custom calls that numba compiles in each process
CHECKS = "jax_disable_jit", "jax_debug_nans", "jax_debug_infs"
"""Settings under which JAX itself has to run every program."""
_settings = operator.attrgetter(
    *CHECKS,
    "jax_enable_x64",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_default_device",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_random_seed_offset",
)
_uncompiled = operator.attrgetter("jax_disable_jit")
logger = logging.getLogger("dgjax")
_programs: dict[Any, "_Held"] = {}
_LOCK = threading.Lock()
_clock = itertools.count()


class _Held:
    """Program in memory, None where JAX is to compile it, and when it was used last."""

    __slots__ = "program", "used"

    def __init__(self, program: Any) -> None:
        self.program, self.used = program, next(_clock)


class Dispatch:
    """Dispatch of a function's calls to its programs, by structure, shapes and dtypes of the arguments.

    `jit` compiles the function, for little data on a CPU with `compiler_options`; its other `options` are those of
    `jax.jit` for static arguments. `kept`: of little data, the program is kept on disk. `results`: of rows that are
    sharded there is a program for each shard, with such results; without, JAX is to say how it runs.
    """

    def __init__(
        self,
        fn: Callable,
        jit: Callable,
        compiler_options: dict[str, Any],
        options: dict[str, Any],
        kept: bool,
        results: shards.Results | None,
    ) -> None:
        self.jit, self.kept, self.results, self.of_shards = functools.partial(jit, **options), kept, results, jit
        self.few: dict[str, Any] = {"compiler_options": compiler_options} if compiler_options else {}
        self.fn, self.options, self.own = fn, repr(sorted((compiler_options | options).items())), options

    # When they are asked for: to make all of them takes a sixth of `import dgjax`.
    @functools.cached_property
    def usual(self) -> Any:
        """The function as JAX compiles it for much data, or within a program."""
        return self.jit(self.fn)

    @functools.cached_property
    def quickly(self) -> Any:
        """The function as JAX compiles it for little data."""
        return self.jit(self.fn, **self.few) if self.few else self.usual

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the function's arguments."""
        return tuple(inspect.signature(self.fn).parameters)

    @functools.cached_property
    def static(self) -> set[str]:
        """Names of the static arguments."""
        static, numbers = (self.own.get(name, ()) for name in ("static_argnames", "static_argnums"))
        named = {static} if isinstance(static, str) else set(static)
        return named | {self.names[i] for i in ((numbers,) if isinstance(numbers, int) else numbers)}

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """The function lowered by JAX for these arguments."""
        return self.usual.lower(*args, **kwargs)

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function's result."""
        _fork.check_not_forked()
        several = shards.several_devices() and self.results is not None
        if not several and jax.default_backend() != "cpu":
            return self.usual(*args, **kwargs)
        given, static = self._split(args, kwargs) if self.static else ((args, kwargs), ())
        leaves, tree = jax.tree.flatten(given)
        if several and (where := shards.layout(leaves)):
            return self._over_shards(args, static, leaves, tree, where)
        if several and jax.default_backend() != "cpu":
            return self.usual(*args, **kwargs)
        try:
            key = self, tree, static, _settings(jax.config), repeats.value, *map(kind_of, leaves)
            held = _programs.get(key)
        except TypeError:  # a tracer, which compiler options cannot be told of, or what is no array at all
            return self.usual(*args, **kwargs)
        if _is_forgotten() or held is None:
            program, *first = self._made(args, kwargs, given, static, leaves)
            _hold(key, program)
            if first:
                return first[0]
        else:
            held.used, program = next(_clock), held.program
        if program is not None:
            return program(*given[0], **given[1])
        if _uncompiled(jax.config):  # what is not compiled sees what it is given, which were JAX's arrays else
            args, kwargs = jax.tree.map(
                lambda own: jnp.asarray(own) if isinstance(own, np.ndarray) else own, (args, kwargs)
            )
        return self._by_jit(leaves)(*args, **kwargs)

    def _split(self, args, kwargs):
        """Arguments without the static ones; and those, by name."""
        named = dict(zip(self.names, args, strict=False))
        given = tuple(value for name, value in named.items() if name not in self.static) + args[len(named) :]
        others = {name: value for name, value in kwargs.items() if name not in self.static}
        static = sorted((name, value) for name, value in (named | kwargs).items() if name in self.static)
        return (given, others), tuple(static)

    def _over_shards(self, args, static, leaves, tree, where):
        """The function's result on rows that are sharded: a program for each shard, in which sums are over all."""
        shapes = [jax.typeof(leaf) for leaf in leaves]
        key = self, tree, static, where, *[(one.shape, one.dtype) for one in shapes]
        held = None if _is_forgotten() else _programs.get(key)
        if held is None:
            fixed, places = dict(static), tuple(name in self.static for name in self.names[: len(args)])

            def call(*given, **others):
                rest, named = iter(given), dict(fixed)
                own = [named.pop(name) if at else next(rest) for name, at in zip(self.names, places, strict=False)]
                return self.fn(*own, *rest, **others, **named)

            program = self.of_shards(shards.over_shards(call, where, tree, self.results, shapes))
            _hold(key, program)
        else:
            held.used, program = next(_clock), held.program
        found = processes.met(program, [*map(shards.to_devices, leaves)], self.results is not shards.ROWS)
        return jax.tree.map(shards.from_devices, found)

    def _by_jit(self, leaves):
        """The function as JAX compiles and finds it: for little data with options, which cannot be within a program."""
        return self.quickly if _is_little(leaves) and not isinstance(_nothing(), Tracer) else self.usual

    def _passing(self, little):
        """The function as JAX compiles it, for once: what JAX remembers of it goes with it, and does not stay."""
        passing = functools.wraps(self.fn)(lambda *args, **kwargs: self.fn(*args, **kwargs))
        return self.jit(passing, **(self.few if little else {}))

    def _made(self, args, kwargs, given, static, leaves):
        """A program, from disk or compiled, None where JAX is to compile it; and its result if that is known."""
        if not _alone():
            return (None,)
        little = _is_little(leaves)
        key = little and self.kept and _disk.folder() and _program_key.digest(self.fn, self.options, static, given)
        program = _loaded(_disk.read(key), jax.tree.structure(given)) if key else None
        if program is not None:
            return (program,)
        with _told(self.fn):
            program = self._passing(little).lower(*args, **kwargs).compile()
        if not key:
            return (program,)
        result = program(*given[0], **given[1])
        _keep(key, program, given, result)
        return program, result


def _is_little(leaves):
    return sum(getattr(leaf, "nbytes", 0) for leaf in leaves) < LITTLE


def _hold(key, program):
    """Holds a program in memory, in place of the one that was not used for the longest if there are too many."""
    with _LOCK:
        while len(_programs) >= MOST_PROGRAMS:
            del _programs[min(_programs, key=lambda other: _programs[other].used)]
        _programs[key] = _Held(program)


@contextlib.contextmanager
def _told(fn):
    """Context manager around a compilation: logs a line if that takes longer than PATIENCE seconds."""
    own = getattr(fn, "func", fn)  # of functools.partial
    name = f"{own.__module__.rpartition('.')[2].strip('_')}.{own.__name__.strip('_')}"
    line = "dgjax: compiling the program %s, once for data of these shapes ..."
    timer = threading.Timer(PATIENCE, logger.warning, (line, name))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@jax.jit
def _nothing():
    """Zero: within a program that is being traced, what is computed of nothing is traced too."""
    return jnp.zeros(())


class _Mark:
    """What JAX remembers of `_marked`, until it is told to forget programs."""


jax.tree_util.register_pytree_node(_Mark, lambda mark: ((), mark), lambda mark, _: mark)
_marked = jax.jit(_Mark)
_mark: Callable[[], _Mark | None] = lambda: None  # noqa: E731


def _is_forgotten():
    """Whether `jax.clear_caches` was called since the last program was made: then these here are forgotten too."""
    global _mark
    if _mark() is not None:
        return False
    with _LOCK:
        _programs.clear()
    _mark = weakref.ref(_marked.eval_shape())
    return True


def _alone():
    """Whether programs are for one CPU, and JAX checks none of them as they run."""
    if jax.device_count() != 1 or any(operator.attrgetter(*CHECKS)(jax.config)):
        return False
    return jax.sharding.get_abstract_mesh().empty


def _keep(key, program, given, result):
    """Writes a program to disk, unless it calls Python, or handlers of numba's, which are of this process.

    Nor if what is written would not give the result again, to the last bit. XLA writes out without its code what it has
    not compiled but read, as it does where JAX's own cache is on.
    """
    from jax.experimental import serialize_executable

    try:
        _keys_by_name()
        executable, _, out_tree = serialize_executable.serialize(program)
        if HANDLERS.search(executable) is not None:
            return
        content = pickle.dumps((executable, jax.tree.unflatten(out_tree, range(out_tree.num_leaves))))
        read = _loaded(content, jax.tree.structure(given))
        if read is not None and _bits(read(*given[0], **given[1])) == _bits(result):
            _disk.write(key, content)
    except Exception:  # whatever it is for which a program cannot be written, there is one
        return


@functools.cache
def _keys_by_name() -> None:
    """Has the kinds of random keys pickled by their names, and so read as those that JAX has.

    Else pickle makes copies, which are equal to them. Where one gets into what JAX remembers of tracing, another
    program, the user's own too, finds it there, and `jax.random.poisson` refuses its key.
    """
    from jax.extend import random

    kind = type(random.threefry_prng_impl)
    names = {own: f"{random.__name__}:{name}" for name, own in vars(random).items() if isinstance(own, kind)}

    def reduced(own):
        return (pkgutil.resolve_name, (names[own],)) if own in names else own.__reduce_ex__(4)

    copyreg.pickle(kind, reduced)


def _bits(result):
    """Structure and bits of a result."""
    leaves, tree = jax.tree.flatten(result)
    plain = (jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf for leaf in leaves)
    return tree, [(leaf.dtype, leaf.shape, np.asarray(leaf).tobytes()) for leaf in plain]


def _loaded(content, in_tree):
    """The program of a file's content; None if there is none, or it cannot be loaded."""
    if content is None:
        return None
    from jax.experimental import serialize_executable

    try:
        executable, result = pickle.loads(content)
        if b"lapack_" in executable:
            from jaxlib import lapack

            lapack.prepare_lapack_call("potrf_ffi", np.dtype(np.float32))  # as lowering does: it looks for SciPy's
        return serialize_executable.deserialize_and_load(executable, in_tree, jax.tree.structure(result))
    except Exception:  # whatever is wrong with a file, the program can be compiled
        return None
