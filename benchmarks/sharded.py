"""Rows sharded over devices and processes: seconds and memory of a fit, beside one device and one process.

    python benchmarks/sharded.py devices     three diagonal steps of EM on (2,000,000, 16), 1 device and 8 virtual ones
    python benchmarks/sharded.py processes   the same, and full covariances, 1 process of 2 threads and 2 of one each

Every number of `docs/how_to/devices.md` is printed by these. A fit is run once and then five times, of which the least
is told; memory is what the process took at most above what it had before, after compiling: `VmHWM`, set back.
"""

import os
import pathlib
import socket
import subprocess
import sys
import time
from typing import Any

import numpy as np

ROWS, COLUMNS, COMPONENTS, STEPS, REPEATS = 2_000_000, 16, 8, 3, 5


def main():
    match sys.argv[1:]:
        case ["devices"]:
            for devices in (1, 8):
                told(f"{devices} device(s)", [start("diagonal", devices)])
        case ["processes"]:
            for covariance in ("diagonal", "full"):
                told(f"{covariance}, 1 process of 2 threads", [start(covariance, 1)])
                port = free_port()
                told(f"{covariance}, 2 processes", [start(covariance, 1, f"{port} 2 {i}", i) for i in range(2)])
        case ["one", covariance, *joined]:
            one(covariance, joined)
        case _:
            sys.exit(__doc__)


def start(covariance, devices, joined="", core=None):
    """A process that fits and prints; of several each has one core."""
    command = [sys.executable, __file__, "one", covariance, *joined.split()]
    command = command if core is None else ["taskset", "-c", str(core), *command]
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(command, env={**os.environ, "XLA_FLAGS": flags}, stdout=subprocess.PIPE, text=True)


def told(name, processes):
    for process in processes:
        print(f"{name:40s} {process.communicate()[0].strip().splitlines()[-1]}", flush=True)


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def one(covariance, joined):
    import jax

    if joined:
        port, number, index = map(int, joined)
        jax.distributed.initialize(f"localhost:{port}", number, index)
    import dgjax as dg

    parts, mine = jax.process_count(), jax.process_index()
    halves = (0, 1) if parts == 1 else (mine,)
    own = np.concatenate([rows(np.random.default_rng(half), ROWS // 2) for half in halves])
    mesh = jax.make_mesh((jax.device_count(),), ("rows",))
    sharding = jax.NamedSharding(mesh, jax.P("rows"))
    x = jax.make_array_from_process_local_data(sharding, own) if jax.device_count() > 1 else jax.device_put(own)
    del own
    broad: Any = np.random.default_rng(0).normal(8, 4, (COMPONENTS, COLUMNS)).astype(np.float32)
    ones: Any = np.ones_like(broad)
    if covariance == "diagonal":
        scale: Any = np.log(4 * ones)
        density = dg.DiagonalGaussian(broad, scale)
    else:
        scale = 4 * ones[..., None] * np.eye(COLUMNS, dtype=np.float32)
        density = dg.Gaussian(broad, scale)
    model = dg.Mixture(0 * ones[:, 0], density)
    method = dg.EM(tol=0.0)
    fitted = dg.fit(model, x, method=method, max_steps=STEPS)
    reset_peak()
    before, seconds = peak(), np.inf
    for _ in range(REPEATS):
        begun = time.perf_counter()
        fitted = dg.fit(model, x, method=method, max_steps=STEPS)
        seconds = min(seconds, time.perf_counter() - begun)
    print(f"{seconds:6.2f} s, {peak() - before:+7.0f} MiB, objective {float(fitted.objective[-1]):.10g}")


def rows(rng, n):
    centre = 2 * rng.integers(0, COMPONENTS, n)[:, None]
    return (rng.normal(size=(n, COLUMNS)) + centre).astype(np.float32)


def peak():
    """Most memory of this process so far, MiB."""
    told = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in told if line.startswith("VmHWM")) / 1024


def reset_peak():
    """Has the system forget the most memory so far: what is then told is what is held now."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
