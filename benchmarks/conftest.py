"""What every benchmark shares: how a case is run beside its peers, and what of it is recorded."""

import gc
import pathlib
import time
from typing import Any

import jax
import numpy as np
import pytest
from limits import limits
from timing import SHORT, once, seconds


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="the first size of each kind, fewer rounds and rows")


def pytest_collection_modifyitems(config, items):
    """Of a quick run, the first case of each kind: the words among its parameters, but for the precision, say which."""
    if config.getoption("--quick"):
        kinds: dict[Any, pytest.Item] = {}
        for item in items:
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            words = {name: v for name, v in parameters.items() if isinstance(v, str) and name != "dtype"}
            kinds.setdefault((item.function, *sorted(words.items())), item)
        items[:] = kinds.values()


@pytest.fixture(scope="session")
def quick(request) -> bool:
    return request.config.getoption("--quick")


@pytest.fixture(scope="session")
def machine() -> dict[str, float]:
    """What this machine can do at most, measured in this run."""
    return limits()


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture
def single(quick):
    """The precision of a case that has but one; in a quick run float64, for which kernels are compiled anyway."""
    with jax.enable_x64(quick):
        yield "float64" if quick else "float32"


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


class PeakMemory:
    """The most memory that the process came to hold in a block beyond what it held before, in bytes; Linux only."""

    bytes: int | None = None

    def __enter__(self):
        gc.collect()
        try:
            pathlib.Path("/proc/self/clear_refs").write_text("5")
            self.before = self._read("VmRSS")
        except OSError:
            self.before = None
        return self

    def __exit__(self, *_):
        if self.before is not None:
            self.bytes = self._read("VmHWM") - self.before

    @staticmethod
    def _read(name):
        for line in pathlib.Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name):
                return 1024 * int(line.split()[1])
        raise OSError(name)


@pytest.fixture
def beside(benchmark, machine, quick):
    """Runs a case and its peers alternately and records the medians, as `beside(ours, peers, n=..., flops=...)`.

    `check` compares their answers: after the first call, which compiles, and before the peers' times are taken.
    `flops` are those that the answer needs, whatever the way taken; their rate is compared with the machine's own rate
    of matrix products in that precision. `least` are the seconds for which calls are made one after another in a round.
    """

    def run(ours, peers=None, *, n, dtype="float64", flops=None, rounds=3, least=None, check=None, **facts):
        peers = peers or {}
        rounds, least = (1, 0.0) if quick else (rounds, SHORT if least is None else least)
        with PeakMemory() as memory:
            first = once(ours)
        if check is not None:
            check()
        times, own = {name: [] for name in peers}, []

        def run_peers():
            for name, peer in peers.items():
                times[name].append(seconds(peer, least))
                # The threads of OpenBLAS, which scikit-learn calls, go on taking a core for 26 ms after a call.
                time.sleep(0.05)

        benchmark.pedantic(lambda: own.append(seconds(ours, least)), setup=run_peers, rounds=rounds)
        median = float(np.median(own))
        record = {"n": n, "dtype": dtype, "median_s": median, "first_call_s": first, "rows_per_s": n / median, **facts}
        record["peak_memory_mb"] = None if memory.bytes is None else memory.bytes / 1e6
        if flops:
            record["gflop_per_s"] = flops / median / 1e9
            record["share_of_matrix_product"] = record["gflop_per_s"] / machine[f"matrix_product_{dtype}_gflop_per_s"]
        record["peers"] = {
            name: {"median_s": float(np.median(t)), "ratio": float(np.median(t) / median)} for name, t in times.items()
        }
        benchmark.extra_info.update(record)
        return record

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_update_json(config, benchmarks, output_json):
    """The machine's limits beside the results."""
    output_json["limits"] = limits()
    output_json["quick"] = config.getoption("--quick")
