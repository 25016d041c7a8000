"""Forks: in a process forked from one where JAX had started, JAX's threads are missing, and what waits for one hangs.

import ─▶ fork ─▶ first call                 works: JAX starts in the child
import ─▶ first call ─▶ fork ─▶ second call  `check_not_forked` raises: a program that is compiled
                                                 already might answer, any other never would
"""

import os
import sys

_used = _lost = False


def check_not_forked() -> None:
    """Raises RuntimeError in a process that was forked after JAX had started in its parent."""
    global _used
    if _lost:
        raise RuntimeError(
            "this process was forked from one in which JAX had started its threads, which no fork has: nothing would "
            'ever be answered here. Type multiprocessing.get_context("spawn") in place of fork, "threading" or "loky" '
            "as joblib's backend, or fork before anything is asked of JAX."
        )
    _used = True


def _in_child() -> None:
    global _lost
    # Looked at without its lock, which another thread may have held. Where a later JAX calls it otherwise, what was
    # asked of dgjax itself says whether JAX has started.
    backends = getattr(sys.modules.get("jax._src.xla_bridge"), "_backends", None)
    _lost = _lost or bool(_used if backends is None else backends)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
