"""How long a call takes, until its arrays are there."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

SHORT = 0.1


def once(fn: Callable[[], Any]) -> float:
    """How long a call takes until its arrays are there."""
    start = time.perf_counter()
    jax.block_until_ready(jax.tree.leaves(fn()))
    return time.perf_counter() - start


def seconds(fn: Callable[[], Any], least: float = SHORT) -> float:
    """The same, one after another for so many seconds: the median. The first calls wake the cores, of 17 ms for 8."""
    times = [once(fn)]
    while sum(times) < least:
        times.append(once(fn))
    return float(np.median(times))
