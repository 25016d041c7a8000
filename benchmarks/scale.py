"""What a step of a fit costs on many machines: counted, predicted, and checked against processes on this one.

    python benchmarks/scale.py            bytes of a step for each family, and what 1e12 rows cost
    python benchmarks/scale.py check      the prediction beside 1, 2 and 4 processes on this machine's cores

A step of a fit of n rows on p processes takes

    n / (p r)  +  2 (p - 1) / p  b / B  +  l log2(p)      seconds

r rows a second of one process, b bytes of sums, B bytes a second of the network and l seconds for a message: an
all-reduce by a ring or a tree. `check` measures r in one process and the all-reduce in two and four, then these.
"""

import math
import os
import socket
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

ROWS, STEPS, COVARIANCES = 800_000, 5, ("diagonal", "full")
COLUMNS, COMPONENTS = 20, 64  # of the large case
NETWORK, MESSAGE = 10e9 / 8, 50e-6  # 10 Gbit/s, 50 us
NODES = {"1,000 nodes of 32 cores": (1000, 32, 1.2e9), "64 GPUs": (64, 1, 50e9)}
"""Processes, cores of each, and bytes a second that each reads: of a disk, of a GPU's host memory."""
GPU = 20e12  # operations a second that a GPU is taken to sustain; none was measured


def families(d: int, k: int) -> dict[str, tuple[Any, Any]]:
    """Models of k labels and d columns, and a row that each takes."""
    import dgjax as dg

    zeros, rows = jnp.zeros((k, d)), jnp.zeros((8, d))
    weights = jnp.zeros(k)
    full = jnp.broadcast_to(jnp.eye(d), (k, d, d))
    chain = jnp.zeros((8, 4, d))
    return {
        "naive Bayes, mixture of diagonal covariances": (dg.Mixture(weights, dg.DiagonalGaussian(zeros, zeros)), rows),
        "LDA, mixture of one covariance": (dg.Mixture(weights, dg.Gaussian(zeros, jnp.eye(d))), rows),
        "QDA, mixture of full covariances": (dg.Mixture(weights, dg.Gaussian(zeros, full)), rows),
        "latent classes of d columns of 10 categories": (
            dg.Mixture(weights, dg.Categorical(jnp.zeros((k, d, 10)))),
            rows,
        ),
        "hidden Markov model, full covariances": (
            dg.HiddenMarkov(weights, jnp.zeros((k, k)), dg.Gaussian(zeros, full)),
            chain,
        ),
    }


def statistics_bytes(model: Any, rows: Any) -> int:
    """Bytes of the sums of a step of EM, of the shapes that the program has."""
    from dgjax.structures import Sequences

    x = Sequences(rows, jnp.full(len(rows), rows.shape[1])) if rows.ndim == 3 else rows
    labels = jnp.full(rows.shape[: rows.ndim - 1], -1)
    shapes = jax.eval_shape(model.joint_expectation, x, labels, jnp.ones(len(rows)))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def counted() -> None:
    """Bytes of a step, and the cost of 1e12 rows."""
    print(f"k = {COMPONENTS} labels, d = {COLUMNS} columns, float32")
    for name, (model, rows) in families(COLUMNS, COMPONENTS).items():
        print(f"  {name:48} {statistics_bytes(model, rows) / 1e3:9.1f} kB a step")
    for k, d in ((10, 784), (1000, 100)):
        gradient = 4 * (k * (d + 1) + 1)
        print(f"  {f'logistic regression, k = {k}, d = {d}':48} {gradient / 1e3:9.1f} kB an evaluation")
    model, rows = families(COLUMNS, COMPONENTS)["QDA, mixture of full covariances"]
    size = statistics_bytes(model, rows)
    rate = rows_per_second(COLUMNS, COMPONENTS, 50_000)
    print(f"one process of this machine, {os.cpu_count()} cores: {rate:.3g} rows a second of full covariances")
    for name, (nodes, cores, disk) in NODES.items():
        n, row = 1e12, 4 * COLUMNS
        own = rate / (os.cpu_count() or 1) * cores if cores > 1 else GPU / (6 * COMPONENTS * COLUMNS**2)
        compute, read = n / nodes / own, n * row / nodes / disk
        meet = 2 * size / NETWORK + MESSAGE * math.log2(nodes)
        print(
            f"  1e12 rows on {name}: {n * row / nodes / 1e9:.0f} GB each; a step computes {compute:.0f} s, reads "
            f"{read:.0f} s where the rows do not fit in memory, meets {meet * 1e3:.1f} ms"
        )


def rows_per_second(d: int, k: int, n: int, covariance: str = "full") -> float:
    """Rows of a second of EM in one process."""
    import dgjax as dg

    x = jnp.asarray(np.random.default_rng(0).normal(size=(n, d)), jnp.float32)
    start, method = model_of(d, k, covariance), dg.EM(tol=0.0)
    return n * STEPS / least_seconds(lambda: dg.fit(start, x, method=method, max_steps=STEPS))


def model_of(d: int, k: int, covariance: str) -> Any:
    """Mixture of k broad components."""
    import dgjax as dg

    mean = jnp.asarray(np.random.default_rng(1).normal(size=(k, d)), jnp.float32)
    eye = jnp.broadcast_to(jnp.eye(d), (k, d, d))
    own = dg.Gaussian(mean, eye) if covariance == "full" else dg.DiagonalGaussian(mean, jnp.zeros((k, d)))
    return dg.Mixture(jnp.zeros(k), own)


def least_seconds(run: Any, repeats: int = 5) -> float:
    """Least seconds of a few runs, after one that compiles."""
    run()
    least = math.inf
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - begun)
    return least


def check() -> None:
    """Predictions for two and four processes beside what they take, each process on one core."""
    cores = os.cpu_count() or 1
    for covariance in COVARIANCES:
        alone = processes(1, covariance)
        meets = {p: processes(p, "meet") for p in (2, 4)}
        print(f"{covariance}: one process of one core {1e3 * alone:.1f} ms a step")
        for p in (2, 4):
            busy = alone / min(p, cores)
            found = processes(p, covariance)
            print(
                f"  {p} processes on {cores} cores: predicted {1e3 * (busy + meets[p]):.1f} ms a step, "
                f"{1e3 * meets[p]:.2f} of them to meet; took {1e3 * found:.1f}"
            )


def processes(number: int, what: str) -> float:
    """Seconds of a step by so many processes, each on a core, or of an all-reduce of its sums alone."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        port = found.getsockname()[1]
    cores = os.cpu_count() or 1
    started = [
        subprocess.Popen(
            ["taskset", "-c", str(i % cores), sys.executable, __file__, "one", what, str(port), str(number), str(i)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(number)
    ]
    lines = [process.communicate()[0] for process in started]
    return float(lines[0].split("seconds")[-1])


def one(what: str, port: str, number: int, index: int) -> None:
    """One process: prints the seconds of a step."""
    if number > 1:
        jax.distributed.initialize(f"localhost:{port}", number, index)
    import dgjax as dg

    mesh = jax.make_mesh((jax.device_count(),), ("rows",))
    sharding = jax.NamedSharding(mesh, jax.P("rows"))
    d, k = 16, 8
    if what == "meet":
        size = statistics_bytes(model_of(d, k, "full"), jnp.zeros((8, d))) // 4
        sums = jax.make_array_from_process_local_data(sharding, np.ones((1, size), np.float32))
        psum = lambda own: jax.lax.psum(own, "rows")  # noqa: E731
        meet = jax.jit(jax.shard_map(psum, mesh=mesh, in_specs=jax.P("rows"), out_specs=jax.P()))
        print("seconds", least_seconds(lambda: jax.block_until_ready(meet(sums)), 50))
        return
    own = np.random.default_rng(index).normal(size=(ROWS // number, d)).astype(np.float32)
    x = jax.make_array_from_process_local_data(sharding, own) if number > 1 else jax.device_put(own)
    start, method = model_of(d, k, what), dg.EM(tol=0.0)
    print("seconds", least_seconds(lambda: dg.fit(start, x, method=method, max_steps=STEPS)) / STEPS)


def main() -> None:
    """What is asked."""
    match sys.argv[1:]:
        case []:
            counted()
        case ["check"]:
            check()
        case ["one", what, port, number, index]:
            one(what, port, int(number), int(index))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
