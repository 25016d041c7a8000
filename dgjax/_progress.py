"""Running a fit: in one call, or in several with a bar between them."""

from typing import Any

import jax
import numpy as np


def run(advance: Any, state: Any, max_steps: int, progress: bool) -> Any:
    """Advances to `max_steps`, in one call, or in several with a bar between them."""
    if not progress:
        return advance(state, jax.device_put(np.asarray(max_steps)))
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("fit", total=max_steps)
        chunk = max(1, max_steps // 100)
        for until in range(chunk, max_steps + chunk, chunk):
            state = advance(state, jax.device_put(np.asarray(min(until, max_steps))))
            bar.update(task, completed=int(state.step.max()), description=f"fit, objective {_latest(state.trace):.6g}")
            if bool(state.converged.all()):
                break
        bar.update(task, total=int(state.step.max()))
    return state


def _latest(trace):
    """The last objective, the best one of several fits; of a collapse minus infinity."""
    rows = np.asarray(trace).reshape(-1, trace.shape[-1])
    return max((row[~np.isnan(row)][-1] for row in rows if not np.isnan(row).all()), default=-np.inf)
