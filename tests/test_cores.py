"""The bits of a result: neither the number of cores nor whether numba has just compiled a kernel changes them."""

import os
import subprocess
import sys

import pytest

from dgjax_kernels.cpu import calls

PROGRAM = """
import hashlib, os, sys
cores = int(sys.argv[1])
os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:cores])  # XLA's threads are as many
os.cpu_count = lambda: cores
import jax, numpy as np, dgjax as dg, dgjax_kernels
rng, n, d, k = np.random.default_rng(0), 48_000, 8, 3
y = rng.integers(k, size=n)
x = (3 * rng.normal(size=(k, d))[y] + rng.normal(size=(n, d))).astype("float32")
holes = np.where(rng.random(x.shape) < 0.1, np.float32(np.nan), x)
def told(name, result):
    digest = hashlib.sha1(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(result)))
    print(name, digest.hexdigest(), flush=True)
"""
CALLS = """
start, counts = dg.naive_bayes(x, y), rng.poisson(3, x.shape).astype("float32")
told("closed form", start)
told("normal columns", dg.fit(start, holes, max_steps=3).model)
told("log_prob", dg.log_prob(start, holes))
told("discrete columns", dg.fit(dg.naive_bayes(counts, y, "poisson"), counts, max_steps=3).model)
told("logistic", dg.fit(dg.logistic_regression(d, k), x, y, prior=dg.priors.Ridge(1.0)).model)
even = np.zeros(k, "float32")
chain = dg.HiddenMarkov(even, np.zeros((k, k), "float32") - np.eye(k, dtype="float32"), start.density)
steps = holes.reshape(-1, 100, d)
for name, given in (("chains", steps), ("a long chain", holes[None])):
    assert n * k >= dgjax_kernels.cpu.worth.MANY_CELLS  # or there is no kernel of chains in it
    told(name, (dg.log_prob(chain, given), dg.predict(chain, given)))
    told(name + ", posterior", (dg.predict_log_proba(chain, given), dg.sample_labels(chain, jax.random.key(0), given)))
"""
FULL = """
full = dg.Mixture(np.zeros(k, "float32"), dg.Gaussian(x[:k], np.stack([np.eye(d, dtype="float32")] * k)))
told("log_prob, full", (dg.log_prob(full, x), dg.log_prob(full, holes)))
told("fit, full", dg.fit(full, holes, max_steps=3).model)
told("impute", dg.impute(full, holes))
"""


def digests(program, cores, **environment):
    command = [sys.executable, "-c", PROGRAM + program, str(cores)]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_pieces_are_by_the_rows(monkeypatch):
    pieces = [calls.num_pieces(n, cost) for n in (1, 300, 40_000, 10_000_000) for cost in (1, 300, 10_000_000)]
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert pieces == [calls.num_pieces(n, cost) for n in (1, 300, 40_000, 10_000_000) for cost in (1, 300, 10_000_000)]
    assert pieces == [1, 1, 1, 1, 1, 2, 8, 8, 8, 64, 64, 8]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are taken away as Linux does")
def test_cores_do_not_change_a_bit():
    assert digests(CALLS + FULL, 1)[0] == digests(CALLS + FULL, 2)[0] == digests(CALLS + FULL, 7)[0]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="as above")
def test_what_was_compiled_and_what_was_on_disk_agree_to_the_bit(tmp_path):
    cold, told = digests(CALLS + FULL, 2, NUMBA_CACHE_DIR=str(tmp_path))
    warm, silent = digests(CALLS + FULL, 2, NUMBA_CACHE_DIR=str(tmp_path))
    assert cold == warm
    assert told.count("compiling the CPU kernel for rows of full covariances, once on this machine") == 1
    assert "compiling the CPU kernel" not in silent  # a program of XLA's may take long enough to be told
