"""Models on disk: arrays in safetensors, structure in its JSON header. Loading builds nouns and runs no other code."""

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from dgjax._pytree import NOUNS

FORMAT_VERSION = 1


def save(path: str | os.PathLike, model: Any) -> None:
    """Writes `model` to `path`: safetensors, with a JSON header that names its nouns and the format version.

    The file is complete or not there: an interrupted write leaves what was there before.

    Raises ValueError if the model holds something that is neither a noun nor an array, such as a function.
    """
    from safetensors.numpy import save as to_bytes

    arrays: dict[str, np.ndarray] = {}
    header = {"format_version": FORMAT_VERSION, "model": _describe(model, "model", arrays)}
    data = to_bytes(arrays, metadata={"dgjax": json.dumps(header)})
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path is {target}, and there is no folder {target.parent}. Make it first.")
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as part:
        try:
            part.write(data)
            part.close()
            Path(part.name).replace(target)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise


def load(path: str | os.PathLike) -> Any:
    """The model that `save` wrote to `path`.

    Raises ValueError for a file that is truncated, of another kind, or of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    if Path(path).is_dir():
        raise IsADirectoryError(f"path must be a file that dgjax.save wrote; {os.fspath(path)} is a folder.")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            text = (file.metadata() or {}).get("dgjax")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{os.fspath(path)} is not a whole safetensors file: truncated, or another kind ({error})."
        ) from None
    if text is None:
        raise ValueError(
            f"{os.fspath(path)} is a safetensors file that dgjax.save did not write: it has no dgjax header."
        )
    try:
        header = json.loads(text)
        version = header["format_version"]
        if version > FORMAT_VERSION:
            raise ValueError(
                f"{os.fspath(path)} has format version {version}, and this dgjax reads up to {FORMAT_VERSION}. "
                "Type pip install --upgrade dgjax."
            )
        return _build(header["model"], arrays, os.fspath(path))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{os.fspath(path)} has a dgjax header that makes no sense ({error!r}).") from None


def _describe(value: Any, place: str, arrays: dict[str, np.ndarray]) -> Any:
    if type(value).__name__ in NOUNS and dataclasses.is_dataclass(value):
        fields = {f.name: (f, getattr(value, f.name)) for f in dataclasses.fields(value)}
        code = [name for name, (f, v) in fields.items() if f.metadata.get("static") and callable(v)]
        if code:
            raise ValueError(
                f"save keeps no functions, and {place}.{code[0]} is one, which is code. Define a noun that calls it, "
                "@dgjax.noun, or save its parameters by themselves."
            )
        return {
            "noun": type(value).__name__,
            "fields": {
                name: {"static": v} if f.metadata.get("static") else _describe(v, f"{place}.{name}", arrays)
                for name, (f, v) in fields.items()
            },
        }
    if isinstance(value, tuple):
        return {"tuple": [_describe(part, f"{place}.{i}", arrays) for i, part in enumerate(value)]}
    if value is None:
        return {"none": True}
    if not hasattr(value, "dtype"):
        raise ValueError(f"save expects nouns and arrays; {place} is {type(value).__name__}.")
    arrays[place] = np.asarray(value)
    return {"array": place}


def _build(node: Any, arrays: dict[str, np.ndarray], path: str) -> Any:
    match node:
        case {"noun": name, "fields": fields}:
            if name not in NOUNS:
                raise ValueError(
                    f"{path} holds {name!r}, which this dgjax does not know. Import the package that defines it."
                )
            return NOUNS[name](**{key: _build(child, arrays, path) for key, child in fields.items()})
        case {"tuple": parts}:
            return tuple(_build(part, arrays, path) for part in parts)
        case {"static": value}:
            return _tuples(value)
        case {"array": place}:
            return jnp.asarray(arrays[place])
        case {"none": True}:
            return None
    raise KeyError(str(node)[:80])


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
