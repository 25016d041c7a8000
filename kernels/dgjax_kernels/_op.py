"""Dispatch: an operation is one reference that defines it, and any number of faster forms for platforms.

    Op(reference, supported, cpu=fast)     supported(*arguments) ─▶ platforms ─▶ jax.lax.platform_dependent(...)

Which forms may run is decided by shapes and dtypes when the call is traced, which of them does by the platform that the
program is lowered for. Derivatives are the reference's, so that a faster form is forward-only code.
"""

import functools
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import jaxlib.version
from jax.custom_derivatives import SymbolicZero

from dgjax_kernels import _programs, shards
from dgjax_kernels.blocks import repeats

P = ParamSpec("P")
T = TypeVar("T")


def full_precision(fn: Callable[P, T]) -> Callable[P, T]:
    """Matrix-product precision "highest" within `fn`: GPUs and TPUs else round float32 factors to 10 or 8 bits.

    Returns a function of the same arguments and results as `fn`.
    """

    @functools.wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with jax.default_matmul_precision("highest"):
            return fn(*args, **kwargs)

    return run


def compiled(fn: Callable[P, T], results: shards.Results | None = None, **options: Any) -> Callable[P, T]:
    """Compilation by `jax.jit`, with its `options`, and matrix products that keep every digit on every platform.

    Returns a function of the same arguments and results as `fn`. Of programs for a CPU those used last are held in
    memory, by all such functions together `_programs.MOST_PROGRAMS`. Rows that are sharded over devices stay where they
    are if `results` says what `fn` gives of them, which then runs on each shard, and takes `shards.total` of its sums.
    """
    return _dispatched(fn, {}, options, results, kept=False)


def older_emitters(version: tuple[int, ...]) -> dict[str, Any]:
    """XLA's option for its older code generator of loops on a CPU, which compiles in less than half of the time.

    A jaxlib of 0.11.1 or later has no such generator: there is no option, and a program that names it is refused.
    """
    return {"xla_cpu_use_fusion_emitters": False} if version < (0, 11, 1) else {}


PARTS = "xla_cpu_parallel_codegen_split_count"
"""XLA's option for how many parts of a program LLVM compiles side by side, 32 by default. Each part costs by itself: of
small programs 32 take half as much processor time again as 2, and of the steps of a fit a tenth more than 4."""
ONCE = {"xla_backend_optimization_level": 0, PARTS: 2, **older_emitters(jaxlib.version.__version_info__)}
"""Options by which XLA compiles for a CPU in a fifth of the time what takes 1.6 to 3 times as long to run: the start of
a mixture of 256 rows in 0.6 s and 0.75 ms, where it takes 2.9 s and 0.47 ms."""
STEPS = {"xla_backend_optimization_level": 1, PARTS: 4, **older_emitters(jaxlib.version.__version_info__)}
"""Options that cost nothing later: a step of EM on 256 rows 0.07 ms, as without, compiled in 0.84 s for 1.41. Labels
of 150 rows with missing cells 0.25 ms, with or without, and compiled in 1.4 s for 3.2."""


def compiled_once(fn: Callable[P, T], results: shards.Results | None = None, **options: Any) -> Callable[P, T]:
    """Compilation of what is asked once of some data, such as a start: of little data on a CPU quickly.

    Returns a function of the same arguments and results as `fn`; `results` and `options` are those of `compiled`. A
    program for little data on a CPU is made without optimisations.
    """
    return _dispatched(fn, ONCE, options, results)


def compiled_steps(fn: Callable[P, T], results: shards.Results | None = None, **options: Any) -> Callable[P, T]:
    """Compilation of a loop of steps, or of a verb: of little data with few optimisations, on a CPU.

    Returns a function of the same arguments and results as `fn`; `results` and `options` are those of `compiled`.
    """
    return _dispatched(fn, STEPS, options, results)


def _dispatched(fn, few, options, results, kept=True):
    dispatch = _programs.Dispatch(fn, _jitted, few, options, kept, results)

    @functools.wraps(fn)
    def run(*args, **kwargs):
        return dispatch(args, kwargs)

    run.lower = dispatch.lower  # type: ignore[attr-defined]
    return run


def _jitted(fn, **options):
    return jax.jit(full_precision(fn), **options)


def like(reference: Callable[P, T]) -> Callable[[Callable[..., Any]], Callable[P, T]]:
    """Decorator of another form of an operation, which takes the signature and docstring of its `reference`."""
    return functools.wraps(reference, assigned=("__doc__", "__annotations__"))


class When(NamedTuple):
    """Dispatch condition of one fast form, used where `supported(*arguments)`, in place of its operation's own."""

    supported: Callable[..., bool]
    form: Callable[..., Any]


class Op(Generic[P, T]):
    """Dispatch of one operation: `fast[platform]` where there is one and it supports the arguments, else `reference`.

        Op(reference, supported, cpu=form, cuda=When(condition, other))

    `supported(*arguments)` says by shapes and dtypes whether the forms of the row may be used, and a `When` whether its
    own form may, in its place. The platform is chosen when the program is lowered, never by Python asking for the
    backend. A form is forward-only code: the derivative is the reference's, or in reverse what `backward(arguments,
    perturbed, cotangent)` gives for each argument, where a gradient is worth a kernel. With a `backward` there is no
    derivative forwards, except over one in reverse. Where there are forms, floats of all arguments are cast to the
    widest precision.
    """

    def __init__(
        self,
        reference: Callable[P, T],
        supported: Callable[..., bool] | None = None,
        backward: Callable[..., tuple[Any, ...]] | None = None,
        **fast: Callable[P, T] | When,
    ) -> None:
        forms = {
            platform: own if isinstance(own, When) else When(supported or _any, own) for platform, own in fast.items()
        }
        self.reference = full_precision(reference)
        self.fast: dict[str, Callable[P, T]] = {platform: own.form for platform, own in forms.items()}
        self.supported = {platform: own.supported for platform, own in forms.items()}
        self.backward = None if backward is None else full_precision(backward)
        functools.update_wrapper(self, reference)
        self._calls: dict[tuple[str, ...], Callable[P, T]] = {(): self.reference}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.fast:
            args = _of_one_precision(args)  # type: ignore[assignment]
        platforms = tuple(platform for platform, supported in self.supported.items() if supported(*args))
        if platforms not in self._calls:
            fast = {platform: self.fast[platform] for platform in platforms}
            self._calls[platforms] = full_precision(self._differentiable(fast))
        return self._calls[platforms](*args, **kwargs)

    def _differentiable(self, fast: dict[str, Callable[P, T]]) -> Callable[P, T]:
        if self.backward is None:
            return _with_derivative_of(self.reference, fast)
        return _with_backward(self.reference, fast, self.backward)


def _any(*_: Any) -> bool:
    return True


def _of_one_precision(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments with all floats in the widest of their precisions, for a handler reads all of them as the first's."""
    arrays = tuple(map(jnp.asarray, args))
    floats = [a.dtype for a in arrays if jnp.issubdtype(a.dtype, jnp.floating)]
    if len(set(floats)) < 2:
        return arrays
    widest = jnp.result_type(*floats)
    return tuple(a.astype(widest) if jnp.issubdtype(a.dtype, jnp.floating) else a for a in arrays)


def _with_derivative_of(reference: Callable[P, T], fast: dict[str, Callable[P, T]]) -> Callable[P, T]:
    @jax.custom_jvp
    def call(*args):
        return jax.lax.platform_dependent(*args, default=reference, **fast)

    @call.defjvp
    def _(primals, tangents):
        return call(*primals), jax.jvp(reference, primals, tangents)[1]

    return call


@jax.tree_util.register_static
class _Times(NamedTuple):
    """Number that `repeats` says, as structure of a pytree: the backward pass, traced later, is dispatched by it."""

    value: int


def _with_backward(
    reference: Callable[P, T], fast: dict[str, Callable[P, T]], backward: Callable[..., tuple[Any, ...]]
) -> Callable[P, T]:
    forwards: Any = _with_derivative_of(reference, fast)  # what is differentiated again goes forwards first
    call: Any = jax.custom_vjp(forwards)

    def forward(*given: Any):
        args: Any = tuple(one.value for one in given)
        # As structure, for leaves may come back as arrays.
        return forwards(*args), (args, tuple(() if one.perturbed else None for one in given), _Times(repeats.value))

    def back(saved, cotangent):
        args, perturbed, times = saved
        if isinstance(cotangent, SymbolicZero):
            return tuple(map(jnp.zeros_like, args))
        with repeats(times.value):
            return backward(args, tuple(one is not None for one in perturbed), cotangent)

    call.defvjp(forward, back, symbolic_zeros=True)
    return call
