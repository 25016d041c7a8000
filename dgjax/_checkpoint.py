"""A fit on disk, by orbax: kept while it runs, and gone on with by the call that began it."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgjax import _stochastic


class Keeper:
    """Keeps the last state of a fit in a folder, and what the fit goes by."""

    def __init__(self, folder: str | os.PathLike, course: _stochastic.Course) -> None:
        try:
            import orbax.checkpoint as orbax
        except ImportError:
            raise ImportError("checkpoint needs orbax. Type pip install 'dgjax[train]'.") from None
        self._orbax = orbax
        options = orbax.CheckpointManagerOptions(max_to_keep=1)
        self._manager = orbax.CheckpointManager(Path(folder).absolute(), options=options)
        self._folder = Path(folder)
        keys = [np.zeros(0) if key is None else jax.random.key_data(key) for key in (course.deal, course.draws)]
        self._course = np.concatenate([np.asarray(course.pace), *map(np.ravel, keys)]).astype(np.int64)

    def restore(self, state: Any) -> Any:
        """The state that was kept, or else the one given.

        Raises ValueError if it is of another fit.
        """
        step = self._manager.latest_step()
        if step is None:
            return state
        kept = self._manager.restore(step, args=self._orbax.args.StandardRestore())
        leaves, structure = jax.tree.flatten(state)
        found = [kept["state"][str(i)] for i in range(len(kept["state"]))]
        same = np.array_equal(kept["course"], self._course) and len(found) == len(leaves)
        if not (same and all(_fits(a, b) for a, b in zip(found, leaves, strict=True))):
            raise ValueError(
                f"checkpoint holds another fit, of another model, key or batch_size: {self._folder}. Type the path of "
                "a new folder, or remove that one."
            )
        return jax.tree.unflatten(structure, list(map(_into, found, leaves)))

    def save(self, state: Any) -> None:
        """Keeps the state, in place of the one before."""
        leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
        tree = {"state": leaves, "course": self._course}
        self._manager.save(int(state.step), args=self._orbax.args.StandardSave(tree))
        self._manager.wait_until_finished()


def keeper(folder: str | os.PathLike | None, course: _stochastic.Course, num_restarts: int) -> Keeper | None:
    """What keeps a fit, after checking that this one can be kept."""
    if folder is None:
        return None
    if (course.deal is None and course.draws is None) or num_restarts > 1:
        raise ValueError(
            "checkpoint is for one fit by an optimizer of optax on minibatches: method=optax.adam(1e-2), "
            f"batch_size=64, key=jax.random.key(seed), num_restarts=1; got num_restarts={num_restarts}."
        )
    return Keeper(folder, course)


def _fits(found, leaf):
    """Whether one is of the shape of the other; what has an entry for each step or epoch may be of another length."""
    return found.shape == leaf.shape or found.ndim == leaf.ndim == 1


def _into(found, leaf):
    """An entry for each step in the room that there is for them now."""
    if found.shape == leaf.shape:
        return jnp.asarray(found, leaf.dtype)
    room = min(len(found), len(leaf))
    return leaf.at[:room].set(found[:room])
