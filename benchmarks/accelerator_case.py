"""One case of the accelerator benchmark: checked against its values on the CPU, then timed beside its peers."""

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from timing import seconds

import dgjax_kernels as kernels

ROUNDS, QUEUED = 3, 0.05  # turns with the peers; seconds of calls one after another that are not waited for
CLOSE = {"float32": 2e-4, "float64": 1e-9}


class Size(NamedTuple):
    """How large cases are: rows, those of kernels that factor a matrix for each row, columns, labels, and so on."""

    n: int
    few: int
    d: int
    k: int
    values: int  # of a categorical column
    sequences: int
    steps: int
    states: int
    matrices: int
    edge: int  # of one large matrix
    pixels: int
    iterations: int  # of EM, L-BFGS and Adam


WHOLE = Size(1 << 20, 1 << 12, 16, 8, 4, 64, 1000, 8, 1 << 14, 2048, 784, 5)
SMALLEST = Size(24, 12, 3, 2, 3, 4, 6, 3, 3, 5, 6, 3)
SIZES = {"whole": WHOLE, "smallest": SMALLEST}


class Peer(NamedTuple):
    """Another library's call, and what of its result, and of ours, should be the same."""

    run: Callable[[], Any]
    theirs: Callable[[Any], Any]
    ours: Callable[[Any], Any]


LIBRARIES = {"dynamax": "dynamax", "gmmx": "gmmx", "PyTorch": "torch"}  # a peer's name and its module


@dataclasses.dataclass(frozen=True)
class Case:
    """`arrays()` are NumPy's in float64; `prepare(*arrays)` gives the call, on the device that holds the arrays.

    The CPU's values are of `truth`, or else of `prepare` there: in float64, but where a result depends on random bits,
    which differ by precision (`own_precision`).
    """

    kind: str
    name: str
    facts: Mapping[str, int]
    arrays: Callable[[], tuple]
    prepare: Callable[..., Callable[[], Any]]
    truth: Callable[..., Callable[[], Any]] | None = None
    peers: Mapping[str, Callable[[tuple, str], Peer | None]] = dataclasses.field(default_factory=dict)
    own_precision: bool = False
    close: Mapping[str, float] = dataclasses.field(default_factory=lambda: CLOSE)
    precisions: tuple[str, ...] = ("float32", "float64")
    flops: float | None = None

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}"


def jitted(fn: Callable) -> Callable[..., Callable[[], Any]]:
    """`prepare` of a function that is compiled, once for all precisions and devices; in a hurry for little on a CPU."""
    compiled = (kernels.compiled_once if jax.default_backend() == "cpu" else kernels.compiled)(fn)
    return lambda *arrays: functools.partial(compiled, *arrays)


MAKING = threading.Lock()  # of arrays that cases share, so that threads that want the same make them once


def placed(case: Case, dtype: str) -> tuple:
    """The arrays of a case where JAX puts them by default, floats in this precision."""
    with MAKING:
        arrays = case.arrays()
    return jax.tree.map(lambda a: jnp.asarray(a, dtype if np.asarray(a).dtype.kind == "f" else None), arrays)


def difference(found: Any, wanted: Any) -> float:
    """The largest difference of two results, floats relative to the largest of an array, of whole numbers the share.

    Infinite where numbers that are not finite are in other places.
    """
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return max(_of_arrays(np.asarray(a), np.asarray(b)) for a, b in pairs)


def _of_arrays(found, wanted):
    if found.shape != wanted.shape:
        return np.inf
    if wanted.dtype.kind != "f" or not wanted.size:
        return float(np.mean(found != wanted)) if wanted.size else 0.0
    found, wanted = found.astype(float), wanted.astype(float)
    finite = np.isfinite(wanted)
    if not np.array_equal(found[~finite], wanted[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
        return np.inf
    largest = np.abs(wanted[finite]).max(initial=0)
    return float(np.abs(found[finite] - wanted[finite]).max(initial=0) / (largest or 1))


class Truths:
    """Values on the CPU, each worked out once, whichever thread asks first."""

    def __init__(self) -> None:
        self.cpu, self.found, self.locks, self.lock = jax.devices("cpu")[0], {}, {}, threading.Lock()

    def __call__(self, case: Case, dtype: str) -> Any:
        own = dtype if case.own_precision else "float64"
        with self.lock:
            lock = self.locks.setdefault((case.label, own), threading.Lock())
        with lock:
            if (case.label, own) not in self.found:
                with jax.enable_x64(own == "float64"), jax.default_device(self.cpu):
                    result = (case.truth or case.prepare)(*placed(case, own))()
                    self.found[case.label, own] = jax.tree.map(np.asarray, result)
            return self.found[case.label, own]


class Checked(NamedTuple):
    """A case that is compiled, with how far from the CPU's values it is, and its peers likewise."""

    case: Case
    dtype: str
    call: Callable[[], Any]
    nbytes: int
    first_call: float
    error: float
    peers: dict[str, tuple[Callable[[], Any], float]]  # a call, and how far its result is from ours


def check(case: Case, dtype: str, truths: Truths, libraries: set[str]) -> Checked:
    """Compiles and runs a case and its peers among these; anything may be raised, but not by a peer."""
    with jax.enable_x64(dtype == "float64"):
        given = placed(case, dtype)
        call = case.prepare(*given)
        start = time.perf_counter()
        found = jax.block_until_ready(call())
        first = time.perf_counter() - start
        error = difference(found, truths(case, dtype))
        asked = {name: make for name, make in case.peers.items() if name in libraries}
        peers = {name: _beside(name, make, given, dtype, found) for name, make in asked.items()}
        peers = {name: own for name, own in peers.items() if own is not None}
        nbytes = sum(a.nbytes for a in jax.tree.leaves((given, found)) if hasattr(a, "nbytes"))
    return Checked(case, dtype, call, nbytes, first, error, peers)


def _beside(name, make, given, dtype, found):
    """A peer that has run once, and how far from ours its result is; None if it cannot take the case, or fails."""
    try:
        peer = make(given, dtype)
        return peer and (peer.run, difference(peer.theirs(peer.run()), peer.ours(found)))
    except Exception as error:
        print(f"{name} is left out of a case: {type(error).__name__}: {str(error)[:200]}", flush=True)
        return None


def timed(checked: Checked, limits: Mapping[str, float], least: float) -> dict[str, Any]:
    """The record of a case: medians of calls that are waited for, by turns with the peers, and that of queued calls."""
    case, own, times = checked.case, [], {name: [] for name in checked.peers}
    with jax.enable_x64(checked.dtype == "float64"):
        for _ in range(ROUNDS):
            for name, (run, _) in checked.peers.items():
                times[name].append(seconds(run, least))
            own.append(seconds(checked.call, least))
        median = float(np.median(own))
        queued = _queued(checked.call, median, least) if case.kind != "fit" else None
    record = {
        "kind": case.kind,
        "name": case.name,
        "dtype": checked.dtype,
        **case.facts,
        "median_s": median,
        "queued_s": queued,
        "first_call_s": checked.first_call,
        "error": checked.error,
        "agrees": checked.error <= case.close[checked.dtype],
    }
    traffic = checked.nbytes / (queued or median) / 1e9
    record["gb_per_s"], record["share_of_memory"] = traffic, traffic / limits["memory_gb_per_s"]
    if case.flops:
        record["gflop_per_s"] = case.flops / median / 1e9
        record["share_of_matrix_product"] = (
            record["gflop_per_s"] / limits[f"matrix_product_{checked.dtype}_gflop_per_s"]
        )
    record["peers"] = {
        name: {"median_s": float(np.median(t)), "ratio": float(np.median(t)) / median, "error": checked.peers[name][1]}
        for name, t in times.items()
    }
    return record


def _queued(call, median, least):
    """Seconds a call takes of many that are started without waiting: the device's own time, or that to start one."""
    times = max(2, int(min(QUEUED, least) / max(median, 1e-6)))
    start = time.perf_counter()
    for _ in range(times):
        result = call()
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / times
