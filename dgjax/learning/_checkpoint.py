"""Checkpoints: the state of a fit on disk, from which an identical call continues.

One file in a folder, written beside the old one, flushed to disk, and renamed. A state took 27 ms on a busy disk where
orbax's manager, made for many hosts, took 173 in the same minutes, and 0.23 ms without a disk; after an error, orbax's
threads kept the process from ending.
"""

import dataclasses
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgjax import _archive
from dgjax._arguments import is_concrete
from dgjax._digest import digest, host_array
from dgjax.structures import Sequences

KIND = _archive.Kind("dgjax.checkpoint", "dgjax.fit(checkpoint=...)")
FILE = "fit.safetensors"
ADVICE = "Type the path of a new folder, or remove that one."


class Checkpointer:
    """Checkpoint writer and reader: the last state of a fit, in a folder, with digests of its inputs.

    The digests are of data, model, prior and options, not of `max_steps`: a fit may be continued further.
    """

    def __init__(self, folder: str | os.PathLike, marks: dict[str, str]) -> None:
        self._folder, self._file, self._marks = Path(folder), Path(folder) / FILE, marks
        _check_folder(self._folder)
        self._kept = self._read() if self._file.exists() else None

    def _read(self) -> tuple[int, list[np.ndarray]]:
        try:
            header, arrays = _archive.read(self._file, KIND, _arrays_of)
        except ValueError as error:
            raise ValueError(f"checkpoint cannot be gone on with: {error} {ADVICE}") from None
        found = header["marks"]
        if other := [name for name in self._marks if found.get(name) != self._marks[name]]:
            words = "versions" if "versions" in other else ", ".join(other)
            both = f" ({found.get('versions')}; here {self._marks['versions']})" if words == "versions" else ""
            raise ValueError(f"checkpoint holds a fit of other {words}{both}: {self._folder}. {ADVICE}")
        return header["step"], [arrays[name] for name in header["arrays"]]

    def restore(self, state: Any, max_steps: int) -> Any:
        """The saved state, or `state` if none was saved.

        Raises ValueError if the saved state has other shapes, or more than `max_steps` steps.
        """
        if self._kept is None:
            return state
        (step, found), (leaves, structure) = self._kept, jax.tree.flatten(state.inner)
        if len(found) != len(leaves) or not all(map(_fits, found, leaves)):
            raise ValueError(f"checkpoint holds a state of other shapes: {self._folder}. {ADVICE}")
        if step > max_steps:
            raise ValueError(
                f"checkpoint holds {step} steps of this fit, and max_steps is {max_steps}: {self._folder}. Type "
                f"max_steps={step} or more, or the path of a new folder."
            )
        return dataclasses.replace(state, inner=jax.tree.unflatten(structure, list(map(_into, found, leaves))))

    def save(self, state: Any) -> None:
        """Saves a state in place of the one before; does nothing for a state that diverged."""
        if bool(state.inner.diverged):
            return
        arrays = {str(i): host_array(leaf) for i, leaf in enumerate(jax.tree.leaves(state.inner))}
        header = {"marks": self._marks, "step": int(state.step), "arrays": list(arrays)}
        _archive.write(self._file, KIND, header, arrays, durable=True)


def checkpointer(folder: Any, model: Any, problem: Any, **options: Any) -> Checkpointer:
    """A `Checkpointer` for a folder; raises ValueError inside jit, or if the folder holds a different fit."""
    if not is_concrete(model, problem):
        raise ValueError("checkpoint is for a fit that is not inside jit, vmap or grad. Leave it out.")
    x, lengths = (problem.x.x, problem.x.lengths) if isinstance(problem.x, Sequences) else (problem.x, None)
    parts = {"start": model, "x": x, "lengths": lengths, "y": problem.y, "weights": problem.weights}
    parts |= {"prior": problem.prior, "blend": problem.blend}
    marks = {name: digest(value) for name, value in {**parts, **options}.items()}
    return Checkpointer(folder, {"versions": _versions(), **marks})


def _versions() -> str:
    """Versions of dgjax, jax and optax, on which a fit's last digits may depend."""
    import optax

    try:
        own = version("dgjax")
    except PackageNotFoundError:
        own = "of no release"
    return f"dgjax {own}, jax {jax.__version__}, optax {optax.__version__}"


def _check_folder(folder: Path) -> None:
    """Raises unless the path is a writable folder, or can be made one, that holds a checkpoint or nothing."""
    if folder.exists() and not folder.is_dir():
        what = _archive.kind_of(folder.stat())
        raise NotADirectoryError(f"checkpoint must be a folder; {folder} is {what}. Type the path of a new folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        other = [one.name for one in folder.iterdir() if not one.name.startswith(".") and one.name != FILE]
        probe = folder / f".{os.getpid()}.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = f"checkpoint must be a folder that can be written to; {folder}: {error.strerror}"
        raise type(error)(f"{reason}. Type the path of a new folder.") from None
    if other and not (folder / FILE).exists():
        raise ValueError(
            f"checkpoint must be a folder of its own; {folder} holds {other[0]}, which is none of ours. Type the path "
            "of a new folder."
        )


def _arrays_of(header: dict[str, Any]) -> list[str]:
    marks, step, arrays = (header.get(name) for name in ("marks", "step", "arrays"))
    if not (isinstance(marks, dict) and isinstance(arrays, list) and type(step) is int):
        raise ValueError("has a header that makes no sense.")
    if not all(isinstance(text, str) for text in (*marks.values(), *arrays)):
        raise ValueError("has a header that makes no sense.")
    return arrays


def _fits(found, leaf):
    """Whether a saved array can replace a leaf of the state: equal dtype and shape, or both one axis of any length.

    Arrays with an entry for each step or epoch have a length that depends on `max_steps`.
    """
    leaf = host_array(leaf)
    return found.dtype == leaf.dtype and (found.shape == leaf.shape or found.ndim == leaf.ndim == 1)


def _into(found, leaf):
    """A saved array as a leaf of the state; one with an entry for each step takes the leaf's length."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(found, impl=jax.random.key_impl(leaf))
    if found.shape == leaf.shape:
        return jnp.asarray(found, leaf.dtype)
    room = min(len(found), len(leaf))
    return leaf.at[:room].set(found[:room])
