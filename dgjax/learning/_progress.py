"""Running a fit: in one call, or in several with a bar between them."""

from typing import Any

import jax
import numpy as np
from jax import Array

CHUNKS = 100


def empty_trace(max_steps: int, dtype: Any) -> Array:
    """Room for the objectives of all steps: of few sizes, so that another max_steps is rarely another compilation."""
    return jax.device_put(np.full(max(512, 1 << (max_steps - 1).bit_length()), np.nan, dtype))


def run(advance: Any, state: Any, max_steps: int, progress: bool, checkpointer: Any = None) -> Any:
    """Advances to `max_steps`, in one call, or in several with a bar between them or the state kept after each."""
    if checkpointer is not None:
        state = checkpointer.restore(state, max_steps)
    if not progress and checkpointer is None:
        return advance(state, jax.device_put(np.asarray(max_steps)))
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=not progress) as bar:
        task = bar.add_task("fit", total=max_steps)
        chunk = max(1, max_steps // CHUNKS)
        while (step := int(state.step.max())) < max_steps and not bool(state.converged.all()):
            state = advance(state, jax.device_put(np.asarray(min(max(step, 0) + chunk, max_steps))))
            if checkpointer is not None:
                checkpointer.save(state)
            bar.update(task, completed=int(state.step.max()), description=f"fit, objective {_latest(state.trace):.6g}")
        bar.update(task, total=int(state.step.max()))
    return state


def _latest(trace):
    """The last objective, the best one of several fits; of a collapse minus infinity."""
    rows = np.asarray(trace).reshape(-1, trace.shape[-1])
    return max((row[~np.isnan(row)][-1] for row in rows if not np.isnan(row).all()), default=-np.inf)
