"""Rows sharded over devices, beside the same rows on one: run by `tests/test_sharded.py` in a process of its own.

    python -m sharded_cases devices AXES WHICH               the devices there are, a mesh of "Auto" or "Explicit" axes
    python -m sharded_cases process PORT NUMBER INDEX WHICH  one of several processes
    python -m sharded_cases lost PORT NUMBER INDEX SIGNAL    one of several, of which the last gets one in a long fit

WHICH is "quick", "float32" or "float64".

A line of standard output is JSON: a name, and how far the answers are apart, or what was said.
"""

import json
import os
import re
import signal
import sys
import threading
import time
from typing import Any

import jax
import numpy as np
import optax

import dgjax as dg
from dgjax.learning import _newton, _progress
from dgjax.learning._objective import Problem

N, D, K, T, MANY = 240, 3, 3, 4, 8192
ADAM = optax.adam(1e-2)
SECONDS = 1.0  # of a fit, before a process is sent a signal


def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, K, N)
    x = (rng.normal(size=(N, D)) + 2 * y[:, None]).astype(np.float32)
    torn = np.where(rng.random(x.shape) < 0.1, np.float32(np.nan), x)
    found = {"x": x, "torn": torn, "y": y, "few": np.where(np.arange(N) % 2, y, -1)}
    found["weights"] = np.where(np.arange(N) % 3, rng.random(N), 0).astype(np.float32)
    found["series"] = rng.normal(size=(N // 4, T, 2)).astype(np.float32)
    found["states"] = rng.integers(0, 2, (N // 4, T))
    found["many labels"] = rng.integers(0, K, MANY)
    found["many"] = (rng.normal(size=(MANY, D)) + found["many labels"][:, None]).astype(np.float32)
    found["lengths"] = rng.integers(1, T + 1, N // 4)
    return found


def objective(*args, **options):
    return dg.fit(*args, **options).objective[-1]


def in_pieces(*args, **options):
    """The objective of a fit that runs in pieces, as one of many rows does."""
    kept, _progress.AT_ONCE = _progress.AT_ONCE, 0
    try:
        return objective(*args, **options)
    finally:
        _progress.AT_ONCE = kept


def on_a_sample(x, y):
    """The objective of Newton's method where it starts on a sample, with each shard's part of it."""
    size = _newton.sample_size(K * (D + 1), MANY, jax.device_count())
    assert size < MANY
    return objective(dg.logistic_regression(D, K), x, y, dg.Newton(tol=1e-12))


def the_sample(x, y):
    """Rows that Newton's method starts on: the same on any number of shards."""
    return _newton.sampled(Problem(x, y, 0 * x[:, 0] + 1), 256).x


def quick(rows):
    """Cases of `make test`: a name, a function of arrays, and the arrays by name."""
    model = mixture(rows)
    return [
        ("log_prob", lambda x: dg.log_prob(model, x), "torn"),
        ("EM of all kinds of labels", lambda x, y: in_pieces(model, x, y, max_steps=20), "torn", "few"),
    ]


def every(rows):
    model, logistic, key = mixture(rows), dg.logistic_regression(D, K), jax.random.key(1)
    diagonal, ridge = mixture(rows, "diagonal"), dg.priors.Ridge(jax.numpy.asarray(0.1))
    chain = dg.hidden_markov(key, placed(rows["series"]), 2, lengths=rows["lengths"])
    quadratic, crf = dg.logistic_regression(D, K, "quadratic"), dg.linear_chain_crf(2, 2)
    # As many steps on any devices: where a gain is next to tol, rounding decides which step is the last.
    steps = dg.EM(tol=0.0)
    adam, restarts = dg.Optax(ADAM), dg.Restarts(3, key, steps)
    return [
        *quick(rows),
        ("sample_missing", lambda x: dg.sample_missing(model, key, x), "torn"),
        ("naive Bayes", lambda x, y: dg.naive_bayes(x, y), "torn", "y"),
        ("Newton", lambda x, y: objective(logistic, x, y), "x", "y"),
        ("predict", lambda x: dg.predict(model, x), "x"),
        ("predict_log_proba", lambda x: dg.predict_log_proba(model, x), "torn"),
        ("log_joint", lambda x, y: dg.log_joint(model, x, y), "torn", "few"),
        ("log_conditional", lambda x, y: dg.log_conditional(model, x, y), "torn", "few"),
        ("impute", lambda x: dg.impute(model, x), "torn"),
        ("EM", lambda x: objective(model, x, method=steps, max_steps=30), "torn"),
        ("EM, weights", lambda x, w: objective(diagonal, x, weights=w), "x", "weights"),
        ("EM, weak prior", lambda x: objective(diagonal, x, prior="weak"), "torn"),
        ("EM, label_weight", lambda x, y: objective(model, x, y, label_weight=3.0), "x", "few"),
        ("weights of the caller's NumPy", lambda x: objective(model, x, weights=np.ones(N)), "x"),
        ("a start", lambda x: dg.gaussian_mixture(key, x, K), "torn"),
        ("discriminant analysis", lambda x, y: dg.discriminant_analysis(x, y), "x", "y"),
        ("weighted naive Bayes", lambda x, y, w: dg.naive_bayes(x, y, weights=w), "torn", "y", "weights"),
        ("quadratic", lambda x, y: objective(quadratic, x, y, prior=ridge), "x", "y"),
        ("EM in one call", lambda x: objective(model, x, max_steps=20), "torn"),
        ("Newton in pieces", lambda x, y: in_pieces(logistic, x, y, prior=ridge), "x", "y"),
        ("Newton's sample", the_sample, "many", "many labels"),
        ("Newton on a sample", on_a_sample, "many", "many labels"),
        ("L-BFGS", lambda x, y: objective(logistic, x, y, dg.LBFGS(), prior=ridge), "x", "y"),
        ("blend", lambda x, y: objective(diagonal, x, y, blend=0.5), "x", "y"),
        ("restarts", lambda x: objective(model, x, method=restarts, max_steps=30), "torn"),
        ("optax", lambda x, y: objective(logistic, x, y, adam, max_steps=50), "x", "y"),
        ("a chain's start", lambda x, n: dg.hidden_markov(key, x, 2, lengths=n), "series", "lengths"),
        ("a chain's path", lambda x, n: dg.predict(chain, x, n), "series", "lengths"),
        ("a chain's fit", lambda x, n: objective(chain, x, lengths=n, max_steps=20), "series", "lengths"),
        ("CRF", lambda x, y, n: objective(crf, x, y, lengths=n, prior=ridge), "series", "states", "lengths"),
    ]


def mixture(rows, covariance="full"):
    return dg.gaussian_mixture(jax.random.key(0), placed(rows["x"]), K, covariance)


def placed(array):
    """On the first device of this process, as a user says that these rows are its own."""
    return jax.device_put(array, jax.local_devices()[0])


def apart(found, wanted):
    """Largest difference of two pytrees, relative to 1 + |wanted|; of shards those of this process."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return max(_apart(*pair) for pair in pairs)


def _apart(found, wanted):
    wanted = np.asarray(wanted, float)
    parts = [(np.asarray(part.data, float), wanted[part.index]) for part in found.addressable_shards]
    return max(float(np.max(_far(own, other), initial=0)) for own, other in parts)


def _far(own, other):
    """Relative differences; NaN is nothing but NaN, and an infinity but itself."""
    same = (own == other) | (np.isnan(own) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        far = np.abs(own - other) / (1 + np.abs(other))
    return np.where(same, 0, np.where(np.isnan(far), np.inf, far))


def compared(cases, rows, sharding):
    for name, ask, *arrays in cases:
        wanted = ask(*(placed(rows[own]) for own in arrays))
        found = [ask(*(shared(rows[own], sharding) for own in arrays)) for _ in range(2)]
        told(name, apart(found[0], wanted))
        assert bits(found[0]) == bits(found[1]), name


def bits(tree):
    """Bits of a pytree, of shards those of this process: two runs agree in each of them."""
    return [np.asarray(part.data).tobytes() for leaf in jax.tree.leaves(tree) for part in leaf.addressable_shards]


def shared(array, sharding):
    """Sharded array of which each process gives its own rows."""
    return jax.make_array_from_process_local_data(sharding, own_part(array))


def told(name, value):
    print(json.dumps([name, value]), flush=True)


def faults(rows, sharding, few):
    """Errors of one process's rows, in all of them; and what is said where each has rows of its own."""
    model, logistic = mixture(rows), dg.logistic_regression(D, K)
    broken, negative = rows["x"].copy(), rows["weights"].copy()
    broken[1, 1], negative[1] = np.inf, -1
    unknown = rows["y"].copy()
    unknown[1], hole = K, np.array([0, np.nan, 0], np.float32)
    x, y = shared(rows["x"], sharding), shared(rows["y"], sharding)
    cases = {
        "a bad cell": lambda: dg.fit(model, shared(broken, sharding)),
        "a bad weight": lambda: dg.fit(model, x, weights=shared(negative, sharding)),
        "parameters that are sharded": lambda: dg.log_prob(split(sharding), x),
        "a bad label": lambda: dg.fit(logistic, x, shared(unknown, sharding)),
        "one class": lambda: dg.fit(logistic, x, shared(0 * rows["y"], sharding)),
        "a column without a cell": lambda: dg.fit(model, shared(rows["x"] + hole, sharding)),
    }
    if jax.process_count() > 1:
        cases["rows of one process"] = lambda: dg.fit(model, rows["x"])
        cases["a start by rows of one process"] = lambda: dg.gaussian_mixture(jax.random.key(0), rows["x"], K)
        models = [dg.fit(logistic, x, own).model for own in (own_part(rows["y"]), y)]
        told("labels of this process", apart(*models))
    for name, ask in list(cases.items())[: 2 if few else None]:
        raised(name, ask)


def split(sharding):
    """A model of which each device has some components."""
    mean = jax.device_put(np.zeros((jax.device_count(), D), np.float32), sharding)
    return dg.Mixture(np.zeros(len(mean), np.float32), dg.DiagonalGaussian(mean, np.zeros(mean.shape, np.float32)))


def raised(name, ask):
    try:
        ask()
        told(name, "nothing was raised")
    except ValueError as error:
        told(name, str(error))


def own_part(array):
    n, number, index = len(array), jax.process_count(), jax.process_index()
    return array[index * n // number : (index + 1) * n // number]


def programs(rows, sharding, few):
    """What compiled fits and verbs send: never rows, and in EM's loop one reduction; on an explicit mesh by `jit`."""
    model, logistic = mixture(rows), dg.logistic_regression(D, K)
    x, y = shared(rows["torn"], sharding), shared(rows["y"], sharding)
    asked = {
        "EM": lambda x, y: dg.fit(model, x, max_steps=5).model,
        "log_prob": lambda x, y: dg.log_prob(model, x),
        "L-BFGS": lambda x, y: dg.fit(logistic, jax.numpy.nan_to_num(x), y, dg.LBFGS(), max_steps=5).model,
    }
    for name, ask in list(asked.items())[: 1 if few else None]:
        text: Any = jax.jit(ask).lower(x, y).compile().as_text()
        told(f"gathers in {name}", len(re.findall(r"all-gather|all-to-all|collective-permute", text)))
        told(f"reductions in {name}", len(re.findall(r" all-reduce(?:-start)?\(", text)))
        sent = [int(size) for size in re.findall(r" = f32\[(\d+)\]\S* all-reduce(?:-start)?\(", text)]
        told(f"numbers in {name}", max(sent, default=0))


def inside(rows, sharding):
    """Answers inside a `jax.shard_map` of the user's, and what is said of one that checks what varies."""
    model, along = mixture(rows), jax.P("rows")

    def learnt(x):
        with dg.sharded_over("rows"):
            return dg.fit(model, x, max_steps=10).objective[-1], dg.sample_missing(model, jax.random.key(1), x)

    mapped = jax.shard_map(learnt, mesh=sharding.mesh, in_specs=along, out_specs=(jax.P(), along), check_vma=False)
    x, one = shared(rows["torn"], sharding), placed(rows["torn"])
    wanted = objective(model, one, max_steps=10), dg.sample_missing(model, jax.random.key(1), one)
    told("inside shard_map", apart(jax.jit(mapped)(x), wanted))
    checks = jax.shard_map(lambda x: dg.log_prob(model, x), mesh=sharding.mesh, in_specs=along, out_specs=along)
    raised("a shard_map that checks", lambda: checks(x))
    raised("no shard_map", lambda: dg.sharded_over("rows").__enter__())


def lost(rows, sharding, sent):
    """A fit of minutes, in which the last process is sent a signal; how long after that the others know."""
    x, number = shared(rows["x"], sharding), jax.process_count()
    model, steps = mixture(rows, "diagonal"), dg.EM(tol=0.0)
    dg.fit(model, x, method=steps, max_steps=10)
    begun = time.monotonic()
    if jax.process_index() == number - 1:
        threading.Timer(SECONDS, os.kill, (os.getpid(), sent)).start()
    try:
        dg.fit(model, x, method=steps, max_steps=1 << 24)
    except dg.Lost as error:
        told("lost", [str(error), time.monotonic() - begun - SECONDS])


def main():
    kind, *options = sys.argv[1:]
    if kind in ("process", "lost"):
        port, number, index = map(int, options[:3])
        jax.distributed.initialize(f"localhost:{port}", number, index)
    if options[-1] == "float64":
        jax.config.update("jax_enable_x64", True)
    explicit = options[0] == "Explicit"
    types = (jax.sharding.AxisType.Explicit if explicit else jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((jax.device_count(),), ("rows",), axis_types=types)
    rows, sharding = data(), jax.NamedSharding(mesh, jax.P("rows"))
    if options[-1] == "float64":
        rows = {name: own.astype(float) if own.dtype == np.float32 else own for name, own in rows.items()}
    if kind == "lost":
        lost(rows, sharding, signal.Signals[options[3]])
    else:
        answers(kind, rows, sharding, options[-1] == "quick", explicit)


def answers(kind, rows, sharding, few, explicit):
    compared(quick(rows) if few else every(rows), rows, sharding)
    faults(rows, sharding, few)
    if kind == "devices" and explicit:
        programs(rows, sharding, few)
    if kind == "devices" and not few:
        inside(rows, sharding)


if __name__ == "__main__":
    main()
