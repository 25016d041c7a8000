"""Run of a method: in one call, or in chunks with a progress bar and checkpoints between them."""

from typing import Any

import jax
import numpy as np
from jax import Array

CHUNKS = 100  # of a fit with a bar or a checkpoint: a percent of max_steps each


def empty_trace(max_steps: int, dtype: Any) -> Array:
    """Array of NaN for the objectives of all steps, its length rounded up to a power of two, at least 512.

    With few different lengths, another `max_steps` rarely compiles the fit again.
    """
    return jax.device_put(np.full(max(512, 1 << (max_steps - 1).bit_length()), np.nan, dtype))


def run(advance: Any, state: Any, max_steps: int, progress: bool, checkpointer: Any = None) -> Any:
    """State after `max_steps`, or at the end if that comes first.

    It is advanced in one call, or in chunks with a progress bar or checkpoints between them.
    """
    if checkpointer is not None:
        state = checkpointer.restore(state, max_steps)
    if not progress and checkpointer is None:
        return advance(state, np.asarray(max_steps))
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=not progress) as bar:
        task = bar.add_task("fit", total=max_steps)
        chunk = max(1, max_steps // CHUNKS)
        while (step := int(state.step.max())) < max_steps and not bool(state.converged.all()):
            state = advance(state, np.asarray(min(max(step, 0) + chunk, max_steps)))
            if checkpointer is not None:
                checkpointer.save(state)
            bar.update(task, completed=int(state.step.max()), description=f"fit, objective {_latest(state.trace):.6g}")
        bar.update(task, total=int(state.step.max()))
    return state


def _latest(trace):
    """Last objective of a trace, of several fits the largest; minus infinity after a collapse."""
    rows = np.asarray(trace).reshape(-1, trace.shape[-1])
    return max((row[~np.isnan(row)][-1] for row in rows if not np.isnan(row).all()), default=-np.inf)
