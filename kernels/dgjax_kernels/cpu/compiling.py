"""Messages about compilation: one line on the logger "dgjax" when numba compiles a kernel for longer than a moment.

A kernel takes 1 to 40 s to compile, once on each machine; a program that seems to hang should say why. Where it has no
logging of its own, Python shows the line on stderr; `logging.getLogger("dgjax").setLevel(logging.ERROR)` turns it off.
A kernel that numba finds in its disk cache is never reported: a timer is started before, and told by numba's events
whether anything was compiled.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from numba.core import event

from dgjax_kernels._programs import PATIENCE, logger

KERNELS = {
    "gaussian": ("rows of full covariances", 40),
    "conditional": ("conditional means", 7),
    "draws": ("draws of normal distributions", 3),
    "whitening": ("factors of a large matrix", 1),
    "ratings": ("rows of few observed cells", 10),
    "diagonal": ("rows of independent normal columns", 11),
    "cells": ("rows of discrete columns", 12),
    "labelled": ("moments of each label", 3),
    "columns": ("summaries of columns", 3),
    "logistic": ("logistic regression", 7),
    "gram": ("the curvature of logistic regression", 3),
    "chain": ("chains", 10),
    "chain_few": ("few and long chains", 8),
    "chain_posterior": ("posteriors of chains", 11),
    "chain_posterior_few": ("posteriors of few and long chains", 7),
    "viterbi": ("best paths of chains", 7),
    "attention": ("attention", 5),
    "attention_back": ("the gradient of attention", 8),
    "copy_piece": ("copies of NumPy's rows", 3),
    "sum_piece": ("moments of each label in NumPy's rows", 2),
    "linear_piece": ("linear scores of NumPy's rows", 3),
}
"""The purpose of each kernel, and the seconds that it took to compile on one core of a server's CPU."""


class Clock(event.Listener):
    """Timer of one compilation, which may turn out not to happen; compilations of one process take turns."""

    def __init__(self, name: str, on_disk: bool) -> None:
        self.name, self.on_disk, self.begun = name, on_disk, False
        self.timer = threading.Timer(PATIENCE, self.tell)
        self.timer.daemon = True

    def on_start(self, event: Any) -> None:
        self.begun = True

    def on_end(self, event: Any) -> None:
        pass

    def tell(self) -> None:
        """Logs the line, if numba has begun to compile by now."""
        if not self.begun:  # it is read from disk, slowly
            return
        what, seconds = KERNELS[self.name]
        once = "once on this machine" if self.on_disk else "once in this process, for there is no folder to keep it in"
        logger.warning("dgjax: compiling the CPU kernel for %s, %s (about %d s) ...", what, once, seconds)


@contextlib.contextmanager
def told(name: str, on_disk: bool) -> Iterator[None]:
    """Context manager around what may compile a handler: logs a line if that takes longer than PATIENCE seconds."""
    clock = Clock(name, on_disk)
    clock.timer.start()
    try:
        with event.install_listener("numba:run_pass", clock):
            yield
    finally:
        clock.timer.cancel()


class OfPython(event.Listener):
    """Timer for functions that Python calls: numba compiles those in their first call, not in a block of ours."""

    def __init__(self) -> None:
        self.functions: dict[Any, tuple[str, bool]] = {}
        self.clock: Clock | None = None

    def add(self, name: str, dispatcher: Callable, on_disk: bool) -> Any:
        """Registers a function, whose compilation is then reported under this name."""
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
