"""Says what numba compiles when that takes longer than a moment, on the logger "dgjax".

Where a program has no logging of its own, Python shows it as one line on stderr;
`logging.getLogger("dgjax").setLevel(logging.ERROR)` turns it off. What numba finds on disk is never told.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from numba.core import event

PATIENCE = 2.0
KERNELS = {
    "gaussian": ("rows of full covariances", 40),
    "conditional": ("conditional means", 7),
    "whitening": ("factors of a large matrix", 1),
    "diagonal": ("rows of independent normal columns", 11),
    "cells": ("rows of discrete columns", 12),
    "labelled": ("moments of each label", 3),
    "columns": ("summaries of columns", 3),
    "logistic": ("logistic regression", 7),
    "gram": ("the curvature of logistic regression", 3),
    "chain": ("chains", 10),
    "chain_few": ("few and long chains", 8),
    "viterbi": ("best paths of chains", 7),
    "matrices": ("products of matrices", 5),
    "copy_piece": ("copies of NumPy's rows", 3),
    "sum_piece": ("moments of each label in NumPy's rows", 2),
    "label_piece": ("linear scores of NumPy's rows", 3),
}
"""What each is for, and the seconds that it took on one core of a server's CPU."""
logger = logging.getLogger("dgjax")


class Clock(event.Listener):
    """Runs while one function is compiled, if it is; compilations of the same process take turns."""

    def __init__(self, name: str, on_disk: bool) -> None:
        self.name, self.on_disk, self.begun = name, on_disk, False
        self.timer = threading.Timer(PATIENCE, self.tell)
        self.timer.daemon = True

    def on_start(self, event: Any) -> None:
        self.begun = True

    def on_end(self, event: Any) -> None:
        pass

    def tell(self) -> None:
        """The one line."""
        if not self.begun:  # it is read from disk, slowly
            return
        what, seconds = KERNELS[self.name]
        once = "once on this machine" if self.on_disk else "once in this process, for there is no folder to keep it in"
        logger.warning("dgjax: compiling the CPU kernel for %s, %s (about %d s) ...", what, once, seconds)


@contextlib.contextmanager
def told(name: str, on_disk: bool) -> Iterator[None]:
    """Around what may compile a handler."""
    clock = Clock(name, on_disk)
    clock.timer.start()
    try:
        with event.install_listener("numba:run_pass", clock):
            yield
    finally:
        clock.timer.cancel()


class OfPython(event.Listener):
    """The same for functions that Python calls, which are compiled in their first call."""

    def __init__(self) -> None:
        self.functions: dict[Any, tuple[str, bool]] = {}
        self.clock: Clock | None = None

    def add(self, name: str, dispatcher: Callable, on_disk: bool) -> Any:
        """Has the compilation of a function told."""
        self.functions[dispatcher] = name, on_disk
        return dispatcher

    def on_start(self, event: Any) -> None:
        dispatcher = event.data["dispatcher"]
        if dispatcher in self.functions:
            self.clock = Clock(*self.functions[dispatcher])
            self.clock.begun = True
            self.clock.timer.start()

    def on_end(self, event: Any) -> None:
        if self.clock is not None and event.data["dispatcher"] in self.functions:
            self.clock.timer.cancel()


of_python = OfPython()
event.register("numba:compile", of_python)
