"""Processes that have made no call: one that has imported jax, optax and dgjax is forked for each, in place of imports.

A line of standard input is a program's names as JSON: `setup`, statements; `call`, an expression that is timed until
its arrays are there; `again`, statements before the same call is made once more while what is traced and compiled is
counted; `folder`, JAX's cache on disk and dgjax's; `value`, whether the value of the expression, numbers, is told. The
answer is a line of JSON: `seconds`, `programs`, `value`.
"""

import json
import os
import sys
import time
import traceback

import jax
import numpy as np  # noqa: F401
import optax  # noqa: F401

import dgjax as dg  # noqa: F401


def answer(setup, call, again=None, folder=None, value=False):
    os.environ["DGJAX_CACHE_DIR"] = f"{folder}/programs" if folder else ""
    if folder:
        # As docs/tutorials/getting_started.md says.
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    names = dict(globals())
    exec(setup, names)
    start = time.perf_counter()
    found = jax.block_until_ready(eval(call, names))
    seconds, seen = time.perf_counter() - start, []
    if again is not None:
        exec(again, names)
        jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: seen.append(event))
        jax.block_until_ready(eval(call, names))
    programs = sum("/compile/" in event for event in seen)
    return {"seconds": seconds, "programs": programs, "value": found if value else None}


def main():
    for line in sys.stdin:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            continue
        try:
            told = json.dumps(answer(**json.loads(line)))
        except Exception:
            told = json.dumps({"error": traceback.format_exc()})
        print(told, flush=True)
        os._exit(0)


if __name__ == "__main__":
    main()
