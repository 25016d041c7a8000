"""Checkpoints: the state of a fit on disk, from which an identical call continues.

One file in a folder, written beside the old one, flushed to disk, and renamed: whenever the process is killed, a whole
file is there. A state took 27 ms on a busy disk where orbax's manager, made for many hosts, took 173 in the same
minutes, and 0.23 ms without a disk; after an error, orbax's threads kept the process from ending.
"""

import functools
import os
import re
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax import _archive
from dgjax._arguments import is_concrete, is_known
from dgjax._digest import digest, host_array
from dgjax.learning._method import Method, OtherShapes, filled
from dgjax.learning._progress import is_together
from dgjax.structures import Sequences

KIND = _archive.Kind("dgjax.checkpoint", "dgjax.fit(checkpoint=...)")
FILE = "fit.safetensors"
HALF_WRITTEN, LEFT = re.compile(r"\.[0-9a-f]{16}\.part"), 60.0
"""Names of files that are being written, and seconds after which nobody writes them any more."""
ADVICE = "Type the path of a new folder, or remove that one."
SECONDS, SHARE = 3.0, 50
"""Between two saves: so many seconds at least, and so many times as long as the last one took."""
Kept = Callable[[Any], list[Any] | None]
Refill = Callable[[Any, list[list[np.ndarray]]], Any]


def _whole(state):
    return [state]


def _refilled(state, parts):
    return filled(state, parts[0])


class Checkpointer:
    """Checkpoint writer and reader: the last state of a fit, in a folder, with marks, digests of its inputs by name.

    The marks are of data, model, prior and options, not of `max_steps`: a fit may be continued further. `kept(state)`
    is a list of pytrees of arrays, the parts of a state that change as the fit runs, or None where a state is not worth
    keeping; `refill(state, parts)` puts their leaves back. By default that is the state itself. It has `step`, the
    number of steps taken.

    `together` with all processes the first alone reads and writes, and tells the others what it has read, so that the
    folder need not be there for them; all marks are those of all.

    Raises ValueError, naming what differs, for the folder of a fit of other marks, and OSError for one that cannot be
    written to; `together` all processes do.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        marks: dict[str, str],
        kept: Kept = _whole,
        refill: Refill = _refilled,
        together: bool = False,
    ) -> None:
        self._folder, self._file, self._marks = Path(folder), Path(folder) / FILE, marks
        self._kept, self._refill, self._writes = kept, refill, not (together and jax.process_index())
        self._found = kernels.processes.of_each(self._begun)[0] if together else self._begun()
        self._next = time.monotonic() + SECONDS

    def _begun(self):
        """What is in the folder, if this process is to look."""
        if not self._writes:
            return None
        _check_folder(self._folder)
        return self._read() if self._file.exists() else None

    def _read(self) -> tuple[int, list[list[np.ndarray]]]:
        try:
            header, arrays = _archive.read(self._file, KIND, _arrays_of)
        except ValueError as error:
            raise ValueError(f"checkpoint cannot be gone on with: {error} {ADVICE}") from None
        found = header["marks"]
        if other := [name for name in self._marks if found.get(name) != self._marks[name]]:
            words = next((name for name in ("versions", "method") if name in other), ", ".join(other))
            both = f" ({found.get('versions')}; here {self._marks['versions']})" if words == "versions" else ""
            raise ValueError(f"checkpoint holds a fit of other {words}{both}: {self._folder}. {ADVICE}")
        return header["step"], [[arrays[name] for name in part] for part in header["parts"]]

    def restored(self, state: Any, max_steps: int) -> Any:
        """The saved state, or `state`, that before the first step, if none was saved.

        Raises ValueError if the saved arrays have other shapes, or for more than `max_steps` steps.
        """
        if self._found is None:
            return state
        step, parts = self._found
        if step > max_steps:
            raise ValueError(
                f"checkpoint holds {step} steps of this fit, and max_steps is {max_steps}: {self._folder}. Type "
                f"max_steps={step} or more, or the path of a new folder."
            )
        try:
            return self._refill(state, parts)
        except OtherShapes:
            raise ValueError(f"checkpoint holds a state of other shapes: {self._folder}. {ADVICE}") from None

    def due(self) -> bool:
        """Whether the last save was long enough ago: some seconds, or fifty times what it took."""
        return time.monotonic() >= self._next

    def save_if_due(self, state: Any) -> None:
        """Saves a state if that is due."""
        if self.due():
            self.save(state)

    def save(self, state: Any) -> None:
        """Saves a state in place of the one before, or none if it is not worth keeping or another process does."""
        if not self._writes:
            return
        begun, parts = time.monotonic(), self._kept(state)
        if parts is None:
            return
        arrays = [[host_array(leaf) for leaf in jax.tree.leaves(part)] for part in parts]
        named = {f"{i}.{j}": leaf for i, part in enumerate(arrays) for j, leaf in enumerate(part)}
        names = [[f"{i}.{j}" for j in range(len(part))] for i, part in enumerate(arrays)]
        header = {"marks": self._marks, "step": int(np.max(state.step)), "parts": names}
        _archive.write(self._file, KIND, header, named)
        ended = time.monotonic()
        self._next = ended + max(SECONDS, SHARE * (ended - begun))


def checkpointer(folder: Any, model: Any, problem: Any, method: Method) -> Checkpointer:
    """A `Checkpointer` of a fit by a method; raises ValueError inside jit, or if the folder holds a different fit."""
    if not is_known(model, problem, jnp.zeros(())):
        raise ValueError("checkpoint is for a fit that is not inside jit, vmap or grad. Leave it out.")
    together = jax.process_count() > 1 and not is_concrete(problem)
    if together and not is_together(problem):
        raise ValueError("checkpoint is for a fit of all processes, and these rows are those of some. Leave it out.")
    x, lengths = (problem.x.x, problem.x.lengths) if isinstance(problem.x, Sequences) else (problem.x, None)
    x = x.whole() if isinstance(x, kernels.ZeroCopyRows) else x
    parts = {"start": model, "x": x, "lengths": lengths, "y": problem.y, "weights": problem.weights}
    parts |= {"prior": problem.prior, "blend": problem.blend}
    marks = {name: digest(_here(value)) for name, value in parts.items()} | _marks_of(method)
    marks = {"versions": _versions(), **(marks_together(marks) if together else marks)}
    return Checkpointer(folder, marks, method.kept, functools.partial(method.restored, problem), together)


def marks_together(marks: dict[str, str]) -> dict[str, str]:
    """Marks of all processes, in their order, from those of each."""
    given = kernels.processes.gathered(marks)
    return {name: digest([own[name] for own in given]) for name in marks}


def _here(value):
    """A pytree, with the parts that this process has in place of an array of several."""

    def own(leaf):
        whole = not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated
        return leaf if whole else [np.asarray(part.data) for part in leaf.addressable_shards]

    return jax.tree.map(own, value)


def marks_of_passes(model: Any, passes: Any, method: Method, given: dict[str, Any]) -> dict[str, str]:
    """Marks of a fit to rows that are passed over, the same in all processes that have a part of them."""
    marks = {name: digest(value) for name, value in {"start": model, "x": passes.mark, **given}.items()}
    return {"versions": _versions(), **marks, **_marks_of(method)}


def _marks_of(method: Method) -> dict[str, str]:
    """Marks of a method: of its kind, as "method", and of each of its options by name."""
    options = dict(vars(method))
    kind: list[Any] = [f"{type(method).__module__}.{type(method).__qualname__}"]
    if isinstance(own := options.pop("method", None), Method):  # of restarts
        kind.append(_marks_of(own))
    return {"method": digest(kind), **{name: digest(value) for name, value in options.items()}}


def _versions() -> str:
    """Versions of the libraries on which a fit's last digits may depend."""
    return ", ".join(f"{name} {_version(name)}" for name in ("dgjax", "jax", "jaxlib", "numba", "optax"))


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "of no release"


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
    for part in folder.glob(".*.part"):
        # What a process that was killed was writing; one that lives may be writing another.
        if HALF_WRITTEN.fullmatch(part.name) and time.time() - part.stat().st_mtime > LEFT:
            part.unlink(missing_ok=True)


def _arrays_of(header: dict[str, Any]) -> list[str]:
    marks, step, parts = (header.get(name) for name in ("marks", "step", "parts"))
    if not (isinstance(marks, dict) and isinstance(parts, list) and type(step) is int):
        raise ValueError("has a header that makes no sense.")
    if not all(isinstance(part, list) for part in parts):
        raise ValueError("has a header that makes no sense.")
    names = [name for part in parts for name in part]
    if not all(isinstance(text, str) for text in (*marks.values(), *names)):
        raise ValueError("has a header that makes no sense.")
    return names
