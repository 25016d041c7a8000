"""Run of a method: in one call where that is short, else in pieces of half a second that Ctrl-C can come between.

    steps in a piece: 1, then as many as took half a second by the piece before, at most eight times as many
    between pieces:   a checkpoint where one is due, the progress bar, and Ctrl-C, which ends the fit

Where several processes fit together, they agree between pieces on the size of the next, and that one was asked to stop;
the first has the bar, and writes the checkpoints. Where a piece ends is an argument of the compiled loop and no part of
what it computes: the bits of a fit are the same however it is cut.
"""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._arguments import is_concrete, is_known
from dgjax.structures import num_steps

SECONDS, SECONDS_WITH_BAR = 0.5, 0.1
"""Of a piece, after which Ctrl-C ends a fit or the bar moves."""
FASTER = 8
"""Times as many steps as the piece before, at most: the first piece is compiled too, and says little of the next."""
AT_ONCE = 1 << 27
"""Numbers that a fit may handle, rows times steps times the floats of a row and of a model, and still run in one call.

Two cores handle 1e8 to 1e9 of them in a second. In pieces of their own a fit of 150 rows would take 0.1 ms longer.
"""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in `fit`: the last model as `model`, after `num_steps` steps; nothing goes on in the background.

    A fit is stopped after the piece that it is in, of half a second or one step. The model is made when it is asked
    for. With `checkpoint=`, the same call continues from that step.
    """

    def __init__(self, message: str, num_steps: int, make: Callable[[], Any]) -> None:
        super().__init__(message)
        self.num_steps, self._make = num_steps, make

    @functools.cached_property
    def model(self) -> Any:
        """The model as it was when the fit was stopped."""
        return self._make()

    def then(self, change: Callable[[Any], Any]) -> None:
        """Makes the model another, that which `change` makes of it."""
        make = self._make
        self._make = lambda: change(make())


def empty_trace(max_steps: int, dtype: Any) -> Array:
    """Array of NaN for the objectives of all steps, its length rounded up to a power of two, at least 512.

    With few different lengths, another `max_steps` rarely compiles the fit again.
    """
    return jax.device_put(np.full(max(512, 1 << (max_steps - 1).bit_length()), np.nan, dtype))


def is_short(model: Any, x: Any, trace: Array, passes: float = 1.0) -> bool:
    """Whether as many steps as the trace has places for surely end within a second or two, by shapes alone.

    A step takes so many `passes` over the rows.
    """
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(model))
    return passes * len(x) * num_steps(x) * (model.row_cost + parameters) * len(trace) <= AT_ONCE


def in_pieces(model: Any, problem: Any, trace: Array, passes: float, progress: bool) -> bool:
    """Whether a fit runs in pieces: if it may be long or shows a bar, and is outside of jit.

    Raises ValueError for a bar inside jit, or of some of the processes there are, which cannot agree on pieces.
    """
    if not progress and is_short(model, problem.x, trace, passes):
        return False
    known = is_known(model, problem, jnp.zeros(()))
    cut = known and (is_concrete(problem) or jax.process_count() == 1 or is_together(problem))
    if progress and not cut:
        where = "of rows of some processes" if known else "inside jit, vmap or grad"
        raise ValueError(f"progress is for a fit that is not {where}; got progress=True. Leave it out.")
    return cut


def is_together(problem: Any) -> bool:
    """Whether all processes, of several, fit to their rows together."""
    leaves = [leaf for leaf in jax.tree.leaves(problem) if isinstance(leaf, Array)]
    if jax.process_count() == 1 or not is_known(leaves) or is_concrete(leaves):
        return False
    spread = next(leaf for leaf in leaves if not is_concrete(leaf))
    return len({device.process_index for device in spread.sharding.device_set}) == jax.process_count()


def run(
    advance: Callable[[Any, np.ndarray], Any],
    state: Any,
    max_steps: int,
    pieces: bool = True,
    progress: bool = False,
    checkpointer: Any = None,
    together: bool = False,
) -> Any:
    """State after `max_steps`, or at the end if that comes first, by `advance(state, until)`.

    In one call unless in `pieces`, with a bar for `progress`. A `checkpointer` gives the state to begin with, is asked
    to save one between pieces, and saves the last. Raises Interrupted for Ctrl-C between pieces, its model being the
    state; `together` all processes do.
    """
    state = state if checkpointer is None else checkpointer.restored(state, max_steps)
    if pieces:
        seen = progress and not (together and jax.process_index())
        one = kernels.processes.ended_together() if together else contextlib.nullcontext()
        with _bar(max_steps) if seen else contextlib.nullcontext() as show, one:
            state = _by_pieces(advance, state, max_steps, show, checkpointer, _agreed if together else int)
    else:
        state = advance(state, np.asarray(max_steps))
    if checkpointer is not None:
        checkpointer.save(state)
    return state


def _by_pieces(advance, state, max_steps, show, checkpointer, agreed):
    size, seconds = 1, SECONDS if show is None else SECONDS_WITH_BAR
    try:
        step, ended = reached(state)
        while step < max_steps and not ended:
            begun = time.perf_counter()
            new = advance(state, np.asarray(min(max(step, 0) + size, max_steps)))
            step, ended = reached(new)  # waits for it
            state = new
            size = max(1, min(FASTER * size, int(size * seconds / (time.perf_counter() - begun))))
            if checkpointer is not None:
                checkpointer.save_if_due(state)
            if show is not None:
                show(state)
            size = agreed(size)
    except KeyboardInterrupt:
        raise interrupted(state, checkpointer) from None
    return state


def _agreed(size):
    """Size of the next piece, that of the first process; raises KeyboardInterrupt in all if Ctrl-C came in one."""
    return kernels.processes.of_each(lambda: size)[0]


@contextlib.contextmanager
def _bar(max_steps: int) -> Iterator[Callable[[Any], None]]:
    """Progress bar of a fit; gives the function that shows a state on it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("fit", total=max_steps)

        def show(state):
            step, ended = reached(state)
            total = step if ended else max_steps
            words = f"fit, objective {_latest(state.trace):.6g}"
            bar.update(task, completed=step, total=total, description=words)

        yield show


def interrupted(state: Any, checkpointer: Any = None) -> Interrupted:
    """The error of a fit that was stopped at a state, which is saved first if there is a checkpoint."""
    step = max(reached(state)[0], 0)
    if checkpointer is not None:
        checkpointer.save(state)
    goes_on = (
        "and the same call goes on from it"
        if checkpointer is not None
        else ('and with checkpoint="folder" in its arguments the same call would go on from it')
    )
    message = f"the fit was stopped after {step} step(s): this error's `model` is the last one, {goes_on}."
    return Interrupted(message, step, lambda: state)


def reached(state: Any) -> tuple[int, bool]:
    """Number of steps that were taken, and whether no step follows, once they are known."""
    step, converged = jax.device_get((state.step, state.converged))
    return int(np.max(step)), bool(np.all(converged))


def _latest(trace):
    """Last objective of a trace, of several fits the largest; minus infinity after a collapse."""
    rows = np.asarray(trace).reshape(-1, trace.shape[-1])
    return max((row[~np.isnan(row)][-1] for row in rows if not np.isnan(row).all()), default=-np.inf)
