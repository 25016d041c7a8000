"""Decorators by which functions of rows take streams: verbs answer block by block, starters start from a sample.

verb(model, stream)         ─▶ verb(model, block), verb(model, block), ...   a generator of arrays
starter(key, stream, ...)   ─▶ starter(key, rows of a sample, ...)           a first model
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import jax
import numpy as np
from jax import Array

from dgjax import _advice
from dgjax._arguments import as_key
from dgjax.data import Data, as_model
from dgjax.streams._passes import Passes, named
from dgjax.streams._stream import Stream, stream
from dgjax.structures import Sequences
from dgjax.tables import Schema, Tabular, is_frame

F = TypeVar("F", bound=Callable[..., Any])
LARGE_MAP = 1 << 28  # bytes
BESIDE = {"y": "label", "weights": "weight"}


def of_streams(labels: bool = False) -> Callable[[F], F]:
    """Decorator of a verb about rows `x`: of a stream it gives a generator of NumPy arrays, one for each block.

    Where the verb needs labels `y`, they are the stream's; `labels` says that answers are labels, which a model of a
    table names.
    """

    def decorate(verb: F) -> F:
        signature = inspect.signature(verb)
        place = list(signature.parameters).index("x")

        @functools.wraps(verb)
        def call(*arguments: Any, **options: Any) -> Any:
            x = arguments[place] if len(arguments) > place else options.get("x")
            if type(x) is np.memmap and is_large_map(x):
                return _of_map(call, verb, signature, arguments, options)
            if not isinstance(x, Passes):
                return verb(*arguments, **options)
            return _asked(verb, signature, dict(signature.bind_partial(*arguments, **options).arguments), labels)

        return cast(F, call)

    return decorate


def is_large_map(x: Any) -> bool:
    """Whether rows are a file mapped to memory which is so large that it is read in blocks, not copied."""
    return type(x) is np.memmap and x.nbytes >= LARGE_MAP and x.ndim == 2


def _of_map(call, verb, signature, arguments, options):
    """Answer of a verb about a large file mapped to memory: read in blocks, and given as one array."""
    given = dict(signature.bind_partial(*arguments, **options).arguments)
    if any(given.get(name) is not None for name in ("y", "lengths")):
        return verb(*arguments, **options)
    parts = list(call(**(given | {"x": stream(given["x"])})))
    return jax.tree.map(lambda *own: jax.device_put(np.concatenate(own)), *parts)


def _asked(verb, signature, given, labels):
    """Generator of a verb's answers about the blocks of a stream; arguments are checked before the first is read."""
    passes, first = given.pop("x"), next(iter(signature.parameters))
    schema, model = None, given.pop(first)
    if type(model) is Tabular:
        schema, model = model.schema, model.model
        passes = passes.of_schema(schema)
        if is_frame(given.get("calibration")):
            given["calibration"] = schema.rows(given["calibration"])
    check_beside(given)
    own = as_model(model)
    takes = signature.parameters["y"].default is inspect.Parameter.empty if "y" in signature.parameters else False
    key = as_key(given.pop("key")) if "key" in given else None
    fn = functools.partial(_answer, verb=verb, bare=own is not model, labelled=takes, options=given)
    return _decoded(passes, fn, own, key, schema if labels else None)


def check_beside(given: dict[str, Any]) -> None:
    """Raises ValueError for an argument that is of arrays alone, beside a stream."""
    for name in ("y", "weights", "lengths", "blend"):
        if given.get(name) is not None:
            told = f"Type dgjax.stream(source, {BESIDE[name]}=...)." if name in BESIDE else "Leave it out."
            raise ValueError(f"{name} is for arrays, and x is a stream; got {_advice.shown(given[name])}. {told}")


def check_of_all(passes: Passes) -> None:
    """Raises ValueError for a stream of this process alone, where each of several would learn from its own."""
    if jax.process_count() > 1 and isinstance(passes, Stream):
        raise ValueError(
            f"x must be the rows of all {jax.process_count()} processes; got a stream of this process. Type "
            "dgjax.streams.Together(x), the same in every process, each with a stream of its part of the rows."
        )


def _answer(
    model: Any, data: Data, key: Array | None = None, *, verb: Any, bare: bool, labelled: bool, options: dict[str, Any]
) -> Any:
    """Answer of a verb about one block."""
    given = dict(options)
    x = data.x
    if isinstance(x, Sequences):
        given["lengths"], x = x.lengths, x.x
    if labelled:
        given["y"] = data.y
    own = model.density if bare else model
    return verb(own, x=x, **given) if key is None else verb(own, key=key, x=x, **given)


def _decoded(passes: Passes, fn: Any, model: Any, key: Any, schema: Schema | None) -> Iterator[Any]:
    with named(passes):
        for result, n in passes.each(fn, model, key):
            answer = jax.tree.map(lambda leaf, n=n: np.asarray(leaf)[:n], result)
            if schema is not None and schema.label is not None:
                answer = schema.label.decode(np.where(answer < 0, np.nan, answer.astype(float)))
            yield answer
