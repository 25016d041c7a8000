"""A fit on disk: kept while it runs, and gone on with by the call that began it.

One file in a folder, written beside the last, waited for, and put in its place. A state took 27 ms on a busy disk where
orbax's manager, made for many hosts, took 173 in the same minutes, and 0.23 ms without a disk; after an error, orbax's
threads kept the process from ending.
"""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgjax import _archive, _checks
from dgjax._digest import digest, host_array
from dgjax.structures import Sequences

KIND = _archive.Kind("dgjax.checkpoint", "dgjax.fit(checkpoint=...)")
FILE = "fit.safetensors"
ADVICE = "Type the path of a new folder, or remove that one."


class Checkpointer:
    """Keeps the last state of a fit in a folder, beside marks of all that the fit goes by but `max_steps`."""

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
        """The state that was kept, or else the one given.

        Raises ValueError if it is further than `max_steps`.
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
        return state._replace(inner=jax.tree.unflatten(structure, list(map(_into, found, leaves))))

    def save(self, state: Any) -> None:
        """Keeps the state, in place of the one before; not one that diverged."""
        if bool(state.inner.diverged):
            return
        arrays = {str(i): host_array(leaf) for i, leaf in enumerate(jax.tree.leaves(state.inner))}
        header = {"marks": self._marks, "step": int(state.step), "arrays": list(arrays)}
        _archive.write(self._file, KIND, header, arrays, durable=True)


def checkpointer(folder: Any, model: Any, problem: Any, **options: Any) -> Checkpointer:
    """What keeps a fit, after checking that this one can be kept, and is the one that was."""
    if not _checks.is_concrete(model, problem):
        raise ValueError("checkpoint is for a fit that is not inside jit, vmap or grad. Leave it out.")
    x, lengths = (problem.x.x, problem.x.lengths) if isinstance(problem.x, Sequences) else (problem.x, None)
    parts = {"start": model, "x": x, "lengths": lengths, "y": problem.y, "weights": problem.weights}
    parts |= {"prior": problem.prior, "blend": problem.blend}
    marks = {name: digest(value) for name, value in {**parts, **options}.items()}
    return Checkpointer(folder, {"versions": _versions(), **marks})


def _versions() -> str:
    """Versions of the libraries by which a fit's digits may differ."""
    import optax

    try:
        own = version("dgjax")
    except PackageNotFoundError:
        own = "of no release"
    return f"dgjax {own}, jax {jax.__version__}, optax {optax.__version__}"


def _check_folder(folder: Path) -> None:
    """Raises unless it is a folder for one fit that can be written to, or can be made."""
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
    """Whether one is of the shape of the other; what has an entry for each step or epoch may be of another length."""
    leaf = host_array(leaf)
    return found.dtype == leaf.dtype and (found.shape == leaf.shape or found.ndim == leaf.ndim == 1)


def _into(found, leaf):
    """An entry for each step in the room that there is for them now."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(found, impl=jax.random.key_impl(leaf))
    if found.shape == leaf.shape:
        return jnp.asarray(found, leaf.dtype)
    room = min(len(found), len(leaf))
    return leaf.at[:room].set(found[:room])
