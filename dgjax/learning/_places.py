"""Places in a pass: what a checkpoint of rows that are passed over keeps beside the state before a step.

A step may take hours, so a fit that was killed goes on in the middle of one. Kept are

    the state before the step, its line search, the number of blocks done, the sums over them with what rounding took

and what follows is what would have followed: sums are added in one order, so the bits are the same. The blocks before
the place are read again, for a stream may not know where they begin, but nothing is computed of them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dgjax._digest import digest
from dgjax.learning._checkpoint import ADVICE, Checkpointer, marks_of_passes
from dgjax.learning._method import filled
from dgjax.streams import Carry, Passes


class Place(NamedTuple):
    """Place in a pass: the `search` that asked for it, blocks `done`, and the sums over these, with their rounding."""

    search: Any
    done: Any
    carry: Carry


class Parts(NamedTuple):
    """What is kept: `of(state)`, a pytree or None to keep nothing; `back(state, leaves)`, with it in a first state.

    `place(state)` is a place in the step after a state, with arrays of the shapes of those that are kept.
    """

    of: Callable[[Any], Any]
    back: Callable[[Any, list[np.ndarray]], Any]
    place: Callable[[Any], Place]


class Places:
    """Place in the pass of a fit under way, and its `checkpointer`, None without a checkpoint."""

    def __init__(self, passes: Passes) -> None:
        self.checkpointer: Checkpointer | None = None
        self.last: Any = None
        self.passes, self._going_on = passes, False
        self._step: int | None = None
        self._here: Place | None = None

    def keep(self, model: Any, options: Any, make: Callable[[], Parts], facts: bool = True) -> None:
        """Makes the checkpointer, of the fit of a model by `options`, if they name a folder; it keeps `make()`.

        With `facts` those of all rows are known from step 0 on, and kept. Raises ValueError if the folder holds another
        fit.
        """
        if options.checkpoint is None:
            return
        given = {"prior": options.prior, "label_weight": options.label_weight}
        parts, marks = make(), marks_of_passes(model, self.passes, options.method, given)

        def kept(state):
            own = parts.of(state) if self._step is None or self._step <= int(state.step) else None  # never back
            known = _numbers(self.passes.facts) if facts and int(state.step) >= 0 else []
            return None if own is None else [own, self.at(state) or (), known]

        def refill(state, found):
            own, place, known = found
            if known and digest(_numbers(self.passes.facts)) != digest(known):
                raise ValueError(f"checkpoint holds a fit of other x, by the facts of all rows. {ADVICE}")
            state = parts.back(state, own)
            if place:
                self._step, self._going_on = int(state.step), True
                self._here = filled(parts.place(state), place)
            return state

        self.checkpointer = Checkpointer(options.checkpoint, marks, kept, refill, self.passes.together)

    def at(self, state: Any) -> Place | None:
        """The place in the step that follows a state, if one is known."""
        return self._here if self._step == int(state.step) else None

    def reached(self, state: Any) -> None:
        """Saves a state if that is due; it is the last one if Ctrl-C comes next."""
        self.last = state
        if self.checkpointer is not None:
            self.checkpointer.save_if_due(state)

    def total(self, state: Any, fn: Callable[..., Any], model: Any, search: Any = ()) -> Any:
        """Sum over all blocks for the step that follows a state, from the place on if one was kept for this sum."""
        place, self._going_on = self.at(state) if self._going_on else None, False
        self._step, self.last = int(state.step), state

        def each(done, carry):
            self._here = Place(search, np.asarray(done, np.int32), carry)
            self.reached(state)

        start = None if place is None else (int(place.done), place.carry)
        return self.passes.total(fn, model, start, each)

    def search(self, state: Any, usual: Any) -> Any:
        """The line search that a fit goes on with, or else the `usual` one."""
        place = self.at(state) if self._going_on else None
        return usual if place is None else place.search


def place_of(search: Any, sums: Any) -> Place:
    """Place with arrays of the shapes of those that are kept."""
    return Place(search, np.zeros((), np.int32), (sums, sums))


def _numbers(facts):
    return [np.asarray(own) for own in facts]
