"""Streams beside arrays: resident memory and rows a second of fits to rows that do not fit, and out-of-core peers.

    python benchmarks/streams.py make FOLDER --rows 10000000        Parquet files and a memory map, generated
    python benchmarks/streams.py make-map FOLDER --rows 200000000   the memory map alone
    python benchmarks/streams.py all FOLDER                         every case below, each in a process of its own
    python benchmarks/streams.py CASE FOLDER                        one case: prints a line of JSON

Each case says rows a second of a pass and how far the resident memory rose above that of the imported library, of which
`VmHWM` is the highest.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

D, K, FILES, PART = 8, 4, 16, 1 << 16


def rows(rng, n):
    """Rows of four overlapping clusters, and their clusters."""
    y = rng.integers(0, K, n)
    centres = np.random.default_rng(0).normal(0, 2, (K, D))
    turns = np.random.default_rng(1).normal(0, 0.6, (K, D, D)) + np.eye(D)
    z = rng.normal(size=(n, D)).astype(np.float32)
    x = np.empty((n, D), np.float32)
    for k in range(K):
        own = y == k
        x[own] = z[own] @ turns[k].astype(np.float32) + centres[k]
    return x, y.astype(np.int32)


def make_map(folder, n):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2)
    with (folder / "x.dat").open("wb") as whole, (folder / "y.dat").open("wb") as labels:
        for start in range(0, n, 1 << 20):
            x, y = rows(rng, min(1 << 20, n - start))
            whole.write(x.tobytes())
            labels.write(y.tobytes())


def make(folder, n):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "parquet").mkdir(parents=True, exist_ok=True)
    rng, each = np.random.default_rng(2), -(-n // FILES)
    with (folder / "x.dat").open("wb") as whole, (folder / "y.dat").open("wb") as labels:
        for i in range(FILES):
            left = min(each, n - i * each)
            path = folder / "parquet" / f"{i:03}.parquet"
            names = [*(f"x{j}" for j in range(D)), "label"]
            with pq.ParquetWriter(path, _schema(pa, names)) as writer:
                for start in range(0, left, 1 << 20):
                    x, y = rows(rng, min(1 << 20, left - start))
                    whole.write(x.tobytes())
                    labels.write(y.tobytes())
                    writer.write_table(pa.table([*map(pa.array, np.ascontiguousarray(x.T)), pa.array(y)], names=names))


def _schema(pa, names):
    return pa.schema([(name, pa.int32() if name == "label" else pa.float32()) for name in names])


def memory(field="VmRSS"):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


class Case:
    """What is measured: the seconds of `fit` for a number of passes, and the memory above that of the library."""

    def __init__(self, folder, steps):
        self.folder, self.steps = folder, steps
        self.n = (folder / "x.dat").stat().st_size // (4 * D)

    def memmap(self):
        return np.memmap(self.folder / "x.dat", np.float32, "r", shape=(self.n, D))

    def labels(self):
        return np.memmap(self.folder / "y.dat", np.int32, "r", shape=(self.n,))

    def array(self):
        return np.fromfile(self.folder / "x.dat", np.float32).reshape(-1, D)

    def start(self, dg, jax):
        x = np.array(self.memmap()[:20_000])
        return dg.gaussian_mixture(jax.random.key(0), x, K)


def timed(case, make_rows, fit, passes):
    import jax

    import dgjax as dg

    start = case.start(dg, jax)
    small = np.array(case.memmap()[: 3 * PART])
    fit(dg, start, small, 1)
    before, own = memory(), make_rows(dg)
    begun = time.perf_counter()
    found = fit(dg, start, own, case.steps)
    seconds = time.perf_counter() - begun
    steps = getattr(found, "num_steps", 0)
    return {
        "rows": case.n,
        "seconds": round(seconds, 2),
        "rows a second": round(case.n * passes(steps) / seconds),
        "MiB before": round(before),
        "MiB at most": round(memory("VmHWM")),
        "nats a row": round(float(found.objective[-1]) / case.n, 5) if hasattr(found, "objective") else None,
    }


def _by_em(dg, start, x, steps):
    own = dg.stream(x) if isinstance(x, np.ndarray) and len(x) == 3 * PART and _by_em.streams else x
    return dg.fit(start, own, method=dg.EM(tol=0), max_steps=steps)


_by_em.streams = False


def em_in_memory(case):
    return timed(case, lambda dg: case.array(), _by_em, lambda steps: steps + 1)


def em_of_a_memmap(case):
    _by_em.streams = True
    return timed(case, lambda dg: dg.stream(case.memmap()), _by_em, lambda steps: steps + 1)


def em_of_parquet(case):
    _by_em.streams = True
    names = [f"x{j}" for j in range(D)]
    return timed(case, lambda dg: dg.stream(case.folder / "parquet", columns=names), _by_em, lambda steps: steps + 1)


def _lda(dg, start, x, steps):
    del start, steps
    if isinstance(x, np.ndarray):
        x = dg.stream(x, label=np.arange(len(x)) % K)
    return dg.discriminant_analysis(x, num_classes=K)


def lda_of_a_memmap(case):
    return timed(case, lambda dg: dg.stream(case.memmap(), label=case.labels()), _lda, lambda steps: 1)


def _read(dg, start, x, steps):
    del start, steps
    if isinstance(x, np.ndarray):
        x = dg.stream(x)
    return x.facts and None


def reading_parquet(case):
    names = [f"x{j}" for j in range(D)]
    return timed(case, lambda dg: dg.stream(case.folder / "parquet", columns=names), _read, lambda steps: 1)


def reading_a_memmap(case):
    return timed(case, lambda dg: dg.stream(case.memmap()), _read, lambda steps: 1)


def _naive_bayes(dg, start, x, steps):
    del start, steps
    if isinstance(x, np.ndarray):
        x = dg.stream(x, label=np.arange(len(x)) % K)
    return dg.naive_bayes(x, **({} if x.names else {"num_classes": K}))


def naive_bayes_of_a_memmap(case):
    return timed(case, lambda dg: dg.stream(case.memmap(), label=case.labels()), _naive_bayes, lambda steps: 1)


def stepwise_em_of_a_memmap(case):
    """One pass by stepwise EM, beside thirty steps of full EM, both judged by the log-likelihood of all rows."""
    import dgjax as dg

    def fit(dg, start, x, steps):
        del steps
        return dg.fit(start, dg.stream(x) if len_of(x) else x, method=dg.EM(stepwise=0.6), max_steps=1 << 20)

    def len_of(x):
        return isinstance(x, np.ndarray)

    found = []

    def kept(*given):
        found.append(fit(*given))
        return found[-1]

    said = timed(case, lambda dg: dg.stream(case.memmap()), kept, lambda steps: 1)

    def nats(model):
        return sum(float(part.sum(dtype=float)) for part in dg.log_prob(model, dg.stream(case.memmap()))) / case.n

    import jax

    full = dg.fit(case.start(dg, jax), dg.stream(case.memmap()), method=dg.EM(tol=0), max_steps=30)
    own, best = nats(found[-1].model), nats(full.model)
    return said | {"nats a row": round(own, 5), "full EM, 30 steps": round(best, 5), "below it": round(best - own, 5)}


def partial_fit_of_scikit_learn(case):
    """Gaussian naive Bayes of scikit-learn, block after block of the same size, read from the same memory map."""
    from sklearn.naive_bayes import GaussianNB

    x, y, model = case.memmap(), case.labels(), GaussianNB()
    before, begun = memory(), time.perf_counter()
    for start in range(0, case.n, PART):
        model.partial_fit(x[start : start + PART], y[start : start + PART], classes=np.arange(K))
    seconds = time.perf_counter() - begun
    return {
        "rows": case.n,
        "seconds": round(seconds, 2),
        "rows a second": round(case.n / seconds),
        "MiB before": round(before),
        "MiB at most": round(memory("VmHWM")),
    }


def one_by_one_of_river(case):
    """Gaussian naive Bayes of river, which learns a row at a time: the first 100,000."""
    from river.naive_bayes import GaussianNB

    x, y, model, n = case.memmap(), case.labels(), GaussianNB(), min(case.n, 100_000)
    rows = [dict(enumerate(row)) for row in x[:n].tolist()]
    begun = time.perf_counter()
    for row, label in zip(rows, y[:n].tolist(), strict=True):
        model.learn_one(row, label)
    seconds = time.perf_counter() - begun
    return {"rows": n, "seconds": round(seconds, 2), "rows a second": round(n / seconds)}


def _by_spark(case, make, passes):
    """An estimator of Spark, which `make()` makes, on the Parquet files by all cores, over which it passes so often."""
    import os

    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import SparkSession

    options = {"spark.driver.memory": "6g", "spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1"}
    made = SparkSession.builder.master(f"local[{os.cpu_count()}]")
    for name, value in options.items():
        made = made.config(name, value)
    spark = made.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    estimator = make()
    frame = spark.read.parquet(str(case.folder / "parquet"))
    frame = VectorAssembler(inputCols=[f"x{j}" for j in range(D)], outputCol="features").transform(frame)
    estimator.fit(frame.limit(20_000))
    begun = time.perf_counter()
    estimator.fit(frame)
    seconds = time.perf_counter() - begun
    spark.stop()
    return {"rows": case.n, "seconds": round(seconds, 2), "rows a second": round(case.n * passes / seconds)}


def mixture_of_spark(case):
    from pyspark.ml.clustering import GaussianMixture

    return _by_spark(case, lambda: GaussianMixture(k=K, maxIter=case.steps, tol=0.0, seed=0), case.steps)


def naive_bayes_of_spark(case):
    from pyspark.ml.classification import NaiveBayes

    return _by_spark(case, lambda: NaiveBayes(modelType="gaussian"), 1)


def naive_bayes_of_parquet(case):
    return timed(case, lambda dg: dg.stream(case.folder / "parquet", label="label"), _naive_bayes, lambda steps: 1)


CASES = {
    own.__name__: own
    for own in (
        em_in_memory,
        em_of_a_memmap,
        em_of_parquet,
        lda_of_a_memmap,
        naive_bayes_of_a_memmap,
        stepwise_em_of_a_memmap,
        naive_bayes_of_parquet,
        partial_fit_of_scikit_learn,
        one_by_one_of_river,
        mixture_of_spark,
        naive_bayes_of_spark,
        reading_parquet,
        reading_a_memmap,
    )
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "make-map", "all", *CASES])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--steps", type=int, default=2)
    own = parser.parse_args()
    if own.what == "make":
        make(own.folder, own.rows)
    elif own.what == "make-map":
        make_map(own.folder, own.rows)
    elif own.what == "all":
        for name in CASES:
            subprocess.run([sys.executable, __file__, name, str(own.folder), "--steps", str(own.steps)], check=True)
    else:
        try:
            said = CASES[own.what](Case(own.folder, own.steps))
        except ImportError as error:
            said = {"not run": f"{error.name} is not installed"}
        print(json.dumps({"case": own.what, **said}), flush=True)


if __name__ == "__main__":
    main()
