"""Streams, checkpoints and Ctrl-C of several processes: run by `tests/test_sharded.py`, each a process of its own.

    python -m sharded_together process PORT NUMBER INDEX FOLDER

A line of standard output is JSON: a name, and how far the answers are apart, or what was said.
"""

import os
import pathlib
import signal
import sys
import threading
from typing import Any

import jax
import numpy as np
import optax
from sharded_cases import D, K, N, apart, bits, data, mixture, own_part, placed, raised, shared, told

import dgjax as dg
from dgjax.learning import _progress
from dgjax.streams import Together

MANY, MORE = 100_000, 3


def streamed(*arrays) -> Any:
    """Stream of all processes, each of which reads its part of arrays."""
    return Together(dg.stream(*map(own_part, arrays), block=32))


def of_streams(rows):
    """Starts, fits and errors of streams, beside arrays on one device."""
    model, logistic = mixture(rows), dg.logistic_regression(D, K)
    ridge = dg.priors.Ridge(jax.numpy.asarray(0.1))
    stream, labelled = streamed(rows["torn"], rows["few"]), streamed(rows["x"], rows["y"])
    options = {"method": dg.EM(tol=0.0), "max_steps": 10}
    told("rows of all", abs(stream.facts.num_rows - N))
    found, wanted = dg.fit(model, stream, **options), dg.fit(model, placed(rows["torn"]), rows["few"], **options)
    told("EM of a stream", apart(found.objective, wanted.objective))
    start: Any = dg.naive_bayes  # a stream has its own labels
    bayes = start(labelled), dg.naive_bayes(placed(rows["x"]), rows["y"])
    told("naive Bayes", apart(*bayes))
    found = dg.fit(logistic, labelled, prior=ridge).objective[-1]
    told("L-BFGS of a stream", apart(found, dg.fit(logistic, placed(rows["x"]), rows["y"], prior=ridge).objective[-1]))
    told("a start of a stream", 0.0 if dg.gaussian_mixture(jax.random.key(0), stream, K).num_labels == K else 1.0)
    broken = rows["x"].copy()
    broken[-1, 1] = np.inf  # of the last process
    raised("a bad cell of a stream", lambda: dg.fit(model, streamed(broken)))
    raised("a stream of one process", lambda: dg.fit(model, dg.stream(own_part(rows["x"]))))
    adam = dg.Optax(optax.adam(1e-2), batch_size=8, key=jax.random.key(0))
    raised("minibatches", lambda: dg.fit(logistic, labelled, method=adam))


def stopped(name, model, x, folder):
    """A fit that Ctrl-C in the last process ends, and that goes on to the bits of one that was not stopped."""
    dg.fit(model, x, method=dg.EM(tol=0.0), max_steps=2)
    if jax.process_index() == jax.process_count() - 1:
        threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    options = {"method": dg.EM(tol=0.0), "checkpoint": f"{folder}/{name} {min(jax.process_index(), 1)}"}
    try:
        dg.fit(model, x, max_steps=MANY, progress=True, **options)
        told(name, "it was not stopped")
        return
    except dg.Interrupted as error:
        steps = error.num_steps + MORE
    again = dg.fit(model, x, max_steps=steps, **options)
    told(name, abs(again.num_steps - steps))
    assert bits(again.model) == bits(dg.fit(model, x, method=dg.EM(tol=0.0), max_steps=steps).model)
    told(f"folders, {name}", abs(len([*pathlib.Path(folder).glob(f"{name}*")]) - 1))


def main():
    port, number, index = map(int, sys.argv[2:5])
    jax.distributed.initialize(f"localhost:{port}", number, index)
    sharding = jax.NamedSharding(jax.make_mesh((jax.device_count(),), ("rows",)), jax.P("rows"))
    rows, folder = data(), sys.argv[5]
    of_streams(rows)
    _progress.AT_ONCE, _progress.SECONDS = 0, 0.05
    model, x = mixture(rows), shared(rows["torn"], sharding)
    stopped("arrays", model, x, folder)
    stopped("streams", model, streamed(rows["torn"]), folder)
    options = {"method": dg.EM(tol=0.0), "max_steps": MANY, "checkpoint": f"{folder}/arrays {min(index, 1)}"}
    raised("other rows", lambda: dg.fit(model, shared(rows["x"], sharding), **options))


if __name__ == "__main__":
    main()
