"""Fits on clusters beside the same fit in memory: `python benchmarks/on_a_cluster.py dask ray spark`, if installed.

Of Dask one of two workers is killed in the middle of a fit; of Ray and Spark the code of the page on clusters runs.
"""

import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import dgjax as dg

PAGE = Path(__file__).resolve().parent.parent / "docs" / "how_to" / "on_a_cluster.md"
ROWS, COLUMNS, COMPONENTS, STEPS = 400_000, 8, 3, 10


def rows() -> np.ndarray:
    """Rows (n, d) of three overlapping clusters."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    x[: ROWS // 2, :3] += 3
    x[: ROWS // 3, 4:] -= 2
    return rng.permutation(x)


def fitted(model: Any, x: Any, name: str) -> Any:
    """Fit of a fixed number of steps; prints its objective for each row and its time, the second of two."""
    method = dg.EM(tol=0.0)
    dg.fit(model, x, method=method, max_steps=1)
    start = time.perf_counter()
    fit = dg.fit(model, x, method=method, max_steps=STEPS)
    seconds = time.perf_counter() - start
    print(f"{name:32} {float(fit.objective[-1]) / ROWS:.7f} nats a row, {seconds:.2f} s", flush=True)
    return fit


def same(one: Any, other: Any) -> bool:
    """Whether two models have the same bits."""
    return all(map(np.array_equal, jax.tree.leaves(one.model), jax.tree.leaves(other.model)))


def by_dask(model: Any, x: np.ndarray) -> None:
    """Two workers of Dask, one of them killed."""
    import dask.array as da
    from distributed import Client, LocalCluster

    import dgjax.dask

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        source = da.from_array(x, chunks=(50_000, COLUMNS)).persist()
        partitions = dgjax.dask.stream(source)
        whole = fitted(model, partitions, "Dask, 2 workers")
        victim = next(iter(client.run(os.getpid).values()))
        threading.Timer(0.5, lambda: os.kill(victim, signal.SIGKILL)).start()
        print("the same bits with a worker killed:", same(whole, fitted(model, partitions, "Dask, a worker killed")))


def of_page(model: Any, x: np.ndarray, word: str, own: dict[str, Any]) -> None:
    """The code of the page that begins with a cluster's class."""
    blocks = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    code = next(block for block in blocks if f"class {word}Rows" in block).replace("1000", "50_000")
    names = {"x": x, "dg": dg, **own}
    exec(compile(code.replace("block=1024", "block=65_536"), str(PAGE), "exec"), names)
    fitted(model, names["rows"], word)


def by_ray(model: Any, x: np.ndarray) -> None:
    """Two processes of Ray."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False)
    of_page(model, x, "Ray", {})
    ray.shutdown()


def by_spark(model: Any, x: np.ndarray) -> None:
    """Two processes of Spark's."""
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g").getOrCreate()
    of_page(model, x, "Spark", {"spark": spark})
    spark.stop()


def main() -> None:
    """Each cluster that is asked for."""
    x = rows()
    model = dg.gaussian_mixture(jax.random.key(0), x[:5000], COMPONENTS)
    fitted(model, x, "in memory")
    fitted(model, dg.stream(x), "in blocks")
    for name in sys.argv[1:]:
        {"dask": by_dask, "ray": by_ray, "spark": by_spark}[name](model, x)


if __name__ == "__main__":
    main()
