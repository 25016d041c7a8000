"""Models on disk: arrays in safetensors, structure in its JSON header. Loading runs no code of the file."""

import dataclasses
import inspect
import os
import types
import typing
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np

import dgjax_kernels as kernels
from dgjax import _advice, _archive
from dgjax._arguments import is_concrete
from dgjax._elsewhere import told_keywords
from dgjax._pytree import DATACLASSES
from dgjax._warnings import PrecisionWarning, warn

MODEL = _archive.Kind("dgjax", "dgjax.save")
DEEPEST = 64
"""Levels that a model may nest; deeper ones would end Python's stack."""


@told_keywords
def save(path: str | os.PathLike, model: Any) -> None:
    """Writes `model` to the file `path`: safetensors, with a JSON header of its dataclasses and the format version.

    The write is atomic, and on disk when `save` returns: an interrupted one leaves the old file. A file that is
    replaced keeps its mode; of a symbolic link the target is replaced. Every file that `save` writes can be read by
    `load`.

    Raises ValueError if `model` is no model, or holds something that is neither a `dgjax` dataclass nor an array, such
    as a function or, inside `jit`, a value that is not known yet; OSError if the path cannot be written.
    """
    kernels.check_not_forked()
    arrays: dict[str, Any] = {}
    if not isinstance(path, str | bytes | os.PathLike) or not hasattr(type(model), "as_model"):
        given = f"{type(path).__name__}, {type(model).__name__}"
        raise ValueError(f"save expects a path and a model; got {given}. {_advice.of_no_model(model, path)}".rstrip())
    description = _describe(model, "model", arrays)
    for _ in _arrays_of(description, "model"):
        pass
    try:
        _built(description, arrays)
    except _Impossible as error:
        raise ValueError(f"save keeps models that load builds again; this one {error}") from None
    _archive.write(path, MODEL, {"model": description}, {name: np.asarray(array) for name, array in arrays.items()})


@told_keywords
def load(path: str | os.PathLike) -> Any:
    """The model that `save` wrote to the file `path`.

    Warns (`dgjax.PrecisionWarning`) where the file has float64 arrays and JAX is set to float32. Raises ValueError,
    naming the file, if it is damaged, of another kind, of a newer format, or describes no valid model; OSError if it
    cannot be read. The header is validated before any array is copied.
    """
    kernels.check_not_forked()
    name = os.fsdecode(path)
    try:
        header, arrays = _archive.read(path, MODEL, _needed)
        on_device = jax.device_put(list(arrays.values()))
        model = _built(header["model"], dict(zip(arrays, on_device, strict=True)))
    except _Impossible as error:
        raise ValueError(f"{name} {error}") from None
    except RecursionError:
        raise ValueError(f"{name} nests more than {DEEPEST} levels deep.") from None
    _tell_lost_digits(name, arrays)
    return model


def _needed(header: dict[str, Any]) -> Iterator[str]:
    """Names of the arrays that a file's header refers to; raises ValueError if the header describes no model."""
    root = header.get("model")
    name = root.get("class") if isinstance(root, dict) else None
    if isinstance(root, dict) and "tuple" in root:
        raise ValueError("holds a tuple, which is no model.")
    if isinstance(name, str) and name in DATACLASSES and not hasattr(DATACLASSES[name], "as_model"):
        raise ValueError(f"holds a {name}, which is no model.")
    return _arrays_of(root, "model")


class _Impossible(ValueError):
    """Error: a file's header describes something that no model can be."""


def _built(description: Any, arrays: dict[str, Any]) -> Any:
    model = _build(description, arrays)
    if not hasattr(type(model), "as_model"):
        raise _Impossible(f"holds a {type(model).__name__}, which is no model.")
    return model


def _tell_lost_digits(name: str, arrays: dict[str, np.ndarray]) -> None:
    for place, array in arrays.items():
        kept = jax.dtypes.canonicalize_dtype(array.dtype)
        if kept == array.dtype:
            continue
        if array.dtype.kind in "iu" and not np.array_equal(array.astype(kept), array):
            raise ValueError(f"{name} has integers at {place} that {kept} cannot hold. Type {X64} first.")
        warn(
            f"{name} was saved in {array.dtype} and is loaded in {kept}, for JAX keeps no more. For every digit, type "
            f"{X64} first.",
            PrecisionWarning,
        )
        return


X64 = 'jax.config.update("jax_enable_x64", True)'


def _describe(value: Any, place: str, arrays: dict[str, Any]) -> Any:
    """Description of a model, or a part of it, as JSON lists and dictionaries; its arrays go to `arrays` by place."""
    if place.count(".") > DEEPEST:
        raise ValueError(f"save keeps models of up to {DEEPEST} levels; {place[:80]}... is deeper.")
    if DATACLASSES.get(type(value).__name__) is type(value):
        parts = {f.name: (f, getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {
            "class": type(value).__name__,
            "fields": {
                name: {"static": _plain(part, f"{place}.{name}")}
                if field.metadata.get("static")
                else _describe(part, f"{place}.{name}", arrays)
                for name, (field, part) in parts.items()
            },
        }
    if isinstance(value, tuple):
        return {"tuple": [_describe(part, f"{place}.{i}", arrays) for i, part in enumerate(value)]}
    if value is None:
        return {"none": True}
    if type(value).__name__ in DATACLASSES:
        raise ValueError(
            f"save keeps what load builds again, and for {place} that would be another class of the name "
            f"{type(value).__name__}. Make the model anew, or give its class a name of its own."
        )
    if not is_concrete(value):
        raise ValueError(
            f"save writes numbers, and {place} is a value that is not known before compiling. Save what a function "
            "inside jit, vmap or grad returns, outside of it."
        )
    if not any(jnp.issubdtype(getattr(value, "dtype", object), kind) for kind in (np.floating, np.integer, np.bool_)):
        raise ValueError(
            f"save expects a model made of arrays; {place} is {type(value).__name__}. Write a class that has its "
            "arrays as fields, decorated by @dgjax.dataclass, or save them by themselves."
        )
    arrays[place] = value
    return {"array": place}


def _plain(value: Any, place: str) -> Any:
    """A static field as a JSON value; NumPy scalars become Python numbers. Raises ValueError for anything else."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, tuple):
        return [_plain(part, place) for part in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value):
        raise ValueError(
            f"save keeps no functions, and {place} is one, which is code. Write a class that calls it, decorated by "
            "@dgjax.dataclass, or save its parameters by themselves."
        )
    raise ValueError(
        f"save keeps static fields that are numbers, text or tuples of them; {place} is {_archive.short(value)}."
    )


def _arrays_of(node: Any, place: str) -> Iterator[str]:
    """Names of the arrays in one node of a header; raises ValueError unless the node is a valid description."""
    if place.count(".") > DEEPEST:
        raise ValueError(f"nests more than {DEEPEST} levels deep.")
    match node:
        case {"class": str(name), "fields": dict(fields)}:
            _check_fields(name, fields)
            for key, child in fields.items():
                if "static" not in child:
                    yield from _arrays_of(child, f"{place}.{key}")
        case {"tuple": list(parts)}:
            for i, part in enumerate(parts):
                yield from _arrays_of(part, f"{place}.{i}")
        case {"array": str(name)}:
            yield name
        case {"none": True}:
            pass
        case _:
            raise ValueError(f"has a dgjax header that makes no sense: {place} is {_archive.short(node)}.")


def _check_fields(name: str, fields: dict[str, Any]) -> None:
    if name not in DATACLASSES:
        raise ValueError(
            f"holds {_archive.short(name)}, which this dgjax does not know. Import the package that defines it."
        )
    expected = {field.name: field for field in dataclasses.fields(DATACLASSES[name])}
    unset = [f.name for f in expected.values() if f.default is f.default_factory is dataclasses.MISSING]
    wrong = [*(set(fields) - set(expected)), *(set(unset) - set(fields))]
    if wrong:
        raise ValueError(
            f"makes no sense: the fields of {name} are {', '.join(expected)}; not so {_archive.short(wrong[0])}."
        )
    for key, child in fields.items():
        static = bool(expected[key].metadata.get("static"))
        if not isinstance(child, dict) or ("static" in child) != static:
            raise ValueError(f"makes no sense: {name}({key}=...) is {_archive.short(child)}.")


def _build(node: Any, arrays: dict[str, Any]) -> Any:
    """The model, or part of it, that a checked description and its arrays make.

    Raises ValueError if no class allows it.
    """
    match node:
        case {"class": name, "fields": fields}:
            parts = {key: _build(child, arrays) for key, child in fields.items()}
            _check_parts(name, parts)
            try:
                return DATACLASSES[name](**parts)
            except Exception as error:  # a constructor may run into anything, given anything
                raise _Impossible(f"holds no {name} that could be: {error}") from None
        case {"tuple": parts}:
            return tuple(_build(part, arrays) for part in parts)
        case {"static": value}:
            return _tuples(value)
        case {"array": place}:
            return arrays[place]
    return None


def _check_parts(name: str, parts: dict[str, Any]) -> None:
    """Raises ValueError unless each field agrees with its annotation, and the arrays' shapes with each other."""
    expected = {field.name: field.type for field in dataclasses.fields(DATACLASSES[name])}
    with jaxtyping.jaxtyped("context"):
        for key, part in parts.items():
            if not _suits(part, expected[key]):
                words = f"{part.dtype}{list(part.shape)}" if hasattr(part, "dtype") else f"{_archive.short(part)}"
                raise _Impossible(f"holds no {name} that could be: its {key} is {words}.")


def _suits(part: Any, annotation: Any) -> bool:
    """Whether a value agrees with a type annotation; True for annotations that cannot be checked, such as strings."""
    origin, options = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_suits(part, option) for option in options)
    if origin is tuple and options and isinstance(part, tuple):
        kinds = options[:1] * len(part) if options[1:] == (Ellipsis,) else options
        return len(part) == len(kinds) and all(map(_suits, part, kinds))
    if annotation is float:
        return type(part) in (float, int)
    if annotation in (None, types.NoneType, bool, int, str, tuple) or origin is tuple:
        return type(part) is (types.NoneType if annotation is None else origin or annotation)
    if getattr(annotation, "_is_protocol", False):
        return DATACLASSES.get(type(part).__name__) is type(part)
    if inspect.isabstract(annotation):
        return DATACLASSES.get(type(part).__name__) is type(part) and isinstance(part, annotation)
    if annotation is jax.Array:  # a field that holds any pytree leaves NumPy's arrays as they are
        return isinstance(part, jax.Array | np.ndarray)
    if isinstance(annotation, type) and (
        issubclass(annotation, jaxtyping.AbstractArray) or DATACLASSES.get(annotation.__name__) is annotation
    ):
        return isinstance(part, annotation)
    return True


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
