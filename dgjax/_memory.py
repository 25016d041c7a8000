"""Out of memory: an error that says how to ask about rows in blocks, and how large a block to begin with."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax

F = TypeVar("F", bound=Callable)
BLOCK = 65_536
"""Rows of a block in the advice: 16 MB of 64 columns in float32."""
LARGE = 1 << 26
"""Bytes of an argument or a result from which on a verb waits for its answer."""


def told_memory(function: F) -> F:
    """Decorator of `fit` or a verb: MemoryError, with what to type, where NumPy or XLA had no memory left."""
    parameters = inspect.signature(function).parameters

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            result = function(*arguments, **options)
            given = *arguments, *options.values(), *(result if type(result) is tuple else (result,))
            # XLA says so of an array that is worked out later when it is asked for, where nobody knows what of.
            return jax.block_until_ready(result) if any(getattr(own, "nbytes", 0) > LARGE for own in given) else result
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if isinstance(error, Told) or not (isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)):
                raise
            name = function.__name__
            raise Told(f"{name} ran out of memory, {str(error).rstrip('.')}. {_advice(name, parameters)}") from None

    return cast(F, call)


class Told(MemoryError):
    """Error: out of memory, with what to type."""


Told.__name__, Told.__qualname__, Told.__module__ = "MemoryError", "MemoryError", "builtins"


def _advice(name, parameters):
    if name == "fit":
        return (
            f"Type dgjax.stream(x, block={BLOCK}) in place of x, with a smaller block if that is too much yet, or for "
            "minibatches a smaller batch_size."
        )
    if "x" not in parameters:
        return "Ask for fewer at a time."
    return (
        f"Ask about blocks of rows: numpy.concatenate([dgjax.{name}(model, x[i : i + {BLOCK}]) for i in range(0, "
        f"len(x), {BLOCK})]), or smaller ones."
    )
