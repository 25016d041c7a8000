"""`make bench-accelerator`: every kernel and fit on this machine's accelerator, checked against the CPU, then timed.

Needs JAX and NumPy, and jaxtyping, which dgjax imports; from the root of the repository, nothing installed:

    PYTHONPATH=.:kernels python3 benchmarks/accelerator.py --seconds 480

Cases go by importance, a batch at a time: all of a batch are compiled and checked side by side, on threads, then timed
one by one. Results and page are written after each case, so that a run that is killed loses nothing. Without an
accelerator it runs at its smallest size, and its results are kept apart, for they are none of an accelerator's.
"""

import argparse
import concurrent.futures
import contextlib
import importlib.util
import json
import os
import pathlib
import platform
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import accelerator_fits
import accelerator_forms
import accelerator_kernels
import accelerator_page
import jax
from accelerator_case import LIBRARIES, SIZES, Case, Checked, Truths, check, timed
from accelerator_limits import limits
from calls_report import times

import dgjax_kernels as kernels

ROOT = pathlib.Path(__file__).parents[1]
SECONDS, TO_END, ONE_CASE = 450.0, 20.0, 90.0  # of a run; what is left for a batch to begin; until it is checked
MOST_TOGETHER = 8


@contextlib.contextmanager
def references_on_cpu() -> Iterator[None]:
    """The CPU has its references alone: they are the definition, need no numba, and compile in a second."""
    ops = [op for op in vars(kernels).values() if isinstance(op, kernels.Op) and "cpu" in op.supported]
    kept = [(op.fast.pop("cpu"), op.supported.pop("cpu")) for op in ops]
    try:
        yield
    finally:
        for op, (form, supported) in zip(ops, kept, strict=True):
            op.fast["cpu"], op.supported["cpu"] = form, supported


class Run:
    """Results so far, on the screen and on disk."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.start, self.options = time.monotonic(), options
        device = jax.devices()[0]
        self.size = options.size or ("smallest" if device.platform == "cpu" else "whole")
        self.results: dict[str, Any] = {
            "device": device.device_kind,
            "platform": device.platform,
            "size": self.size,
            "python": platform.python_version(),
            "jax": jax.__version__,
            "libraries": {},
            "limits": {},
            "cases": [],
            "left_out": [],
        }
        recorded = device.platform != "cpu" and self.size == "whole" and not options.only
        self.folder, self.page = ROOT / ".benchmarks", ROOT / ".benchmarks" / "accelerators.md"
        if options.out:
            self.folder, self.page = pathlib.Path(options.out), pathlib.Path(options.out) / "accelerators.md"
        elif recorded:
            self.folder, self.page = ROOT / "benchmarks" / "results", accelerator_page.PAGE
        self.results["recorded"] = recorded
        name = "-".join("".join(c if c.isalnum() else " " for c in device.device_kind.lower()).split())
        self.path = self.folder / f"{name}-accelerator.json"

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.start:5.0f} s] {text}", flush=True)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.options.seconds - (time.monotonic() - self.start)

    def write(self) -> None:
        """All there is, in one move, so that a run killed meanwhile leaves what was there before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.results["seconds"] = round(time.monotonic() - self.start)
        unfinished = self.path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(self.results, indent=1) + "\n")
        unfinished.replace(self.path)
        self.page.write_text(accelerator_page.page(self.folder))

    def add(self, record: dict[str, Any]) -> None:
        self.results["cases"].append(record)
        self.say(told(record))
        self.write()


def told(record: dict[str, Any]) -> str:
    """A case in one line."""
    name = f"{record['kind']} {record['name']}, {record['dtype']}"
    if "failed" in record:
        return f"{name}: FAILED, {record['failed']}"
    parts = [f"{1e3 * record['median_s']:.3g} ms"]
    if record["queued_s"]:
        parts.append(f"{1e3 * record['queued_s']:.3g} queued")
    if "gflop_per_s" in record:
        parts.append(f"{100 * record['share_of_matrix_product']:.0f}% of the matrix product rate")
    for name_of_peer, peer in record["peers"].items():
        parts.append(f"{times(peer['ratio'])} as fast as {name_of_peer} ({peer['error']:.0e} away)")
    differs = "" if record["agrees"] else "  DIFFERS from the CPU"
    return f"{name}: {', '.join(parts)}; off by {record['error']:.1e}{differs}"


def ordered(size: str) -> list[tuple[Case, str]]:
    """Cases with their precisions, the most important first: what is right, then what is fast, then float64."""
    makers = accelerator_kernels.cases, accelerator_fits.cases, accelerator_forms.cases
    found = [make(SIZES[size]) for make in makers]
    pairs = [(case, "float32") for own in found for case in own]
    fits_first = [found[1], found[0], found[2]]
    return pairs + [(case, "float64") for own in fits_first for case in own if "float64" in case.precisions]


def work(run: Run, pairs: list[tuple[Case, str]], libraries: set[str]) -> None:
    """Batch by batch, as long as there is time."""
    # On a CPU, what compiles beside a case would be timed with it, and there is little to gain.
    together = 1 if run.results["platform"] == "cpu" else min(MOST_TOGETHER, max(1, (os.cpu_count() or 1) // 2))
    truths = Truths()
    for first in range(0, len(pairs), together):
        batch = pairs[first : first + together]
        if run.left < TO_END:
            run.results["left_out"] = [f"{case.label}, {dtype}" for case, dtype in pairs[first:]]
            run.say(f"The time is up: {len(pairs) - first} of {len(pairs)} cases are left out")
            break
        pool = concurrent.futures.ThreadPoolExecutor(together)  # anew, for a thread of the last may hang
        waiting = [pool.submit(check, case, dtype, truths, libraries) for case, dtype in batch]
        until = time.monotonic() + min(ONE_CASE, run.left)
        found = [_result(one, until) for one in waiting]
        for (case, dtype), checked in zip(batch, found, strict=True):
            run.add(_timed(run, case, dtype, checked))
        pool.shutdown(wait=False, cancel_futures=True)


def _result(future: concurrent.futures.Future, until: float) -> Checked | str:
    """A case that was checked, or what went wrong."""
    try:
        return future.result(max(0.0, until - time.monotonic()))
    except concurrent.futures.TimeoutError:
        return "not compiled and checked in time"
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _timed(run: Run, case: Case, dtype: str, checked: Checked | str) -> dict[str, Any]:
    failed = {"kind": case.kind, "name": case.name, "dtype": dtype, **case.facts}
    if isinstance(checked, str):
        return failed | {"failed": checked}
    try:
        return timed(checked, run.results["limits"], 0.0 if run.size == "smallest" else 0.05)
    except Exception as error:
        return failed | {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def libraries_of(run: Run) -> set[str]:
    """Peers that are installed and asked for; the others are told of."""
    found = {name for name, module in LIBRARIES.items() if importlib.util.find_spec(module) is not None}
    for name in sorted(LIBRARIES.keys() - found):
        run.say(f"{name} is not installed, so nothing is timed beside it")
    return set() if run.options.no_peers else found


@contextlib.contextmanager
def guarded(seconds: float) -> Iterator[None]:
    """Ends a process that hangs in a call, with what it has written, after so many seconds."""

    def end():
        print("A call hangs, and the time is up: ended with what is written", flush=True)
        os._exit(3)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def main(*arguments: str) -> int:
    """Exit status: 1 if a case failed or differs from the CPU."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which no more cases are begun")
    parser.add_argument("--size", choices=SIZES, help="by default whole, and smallest where there is only a CPU")
    parser.add_argument("--only", nargs="*", help="cases in whose names one of these is, such as 'fit mixture'")
    parser.add_argument("--no-peers", action="store_true", help="nothing but dgjax")
    parser.add_argument("--out", help="folder for results and page, in place of benchmarks/results and docs/reference")
    options = parser.parse_args(arguments)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory of the same GPU
    try:
        jax.devices("cpu")
    except RuntimeError:
        print("JAX_PLATFORMS hides the CPU, by whose values all are checked: unset it, or type JAX_PLATFORMS=cuda,cpu")
        return 2
    with guarded(options.seconds + TO_END):
        return measured(Run(options))


def measured(run: Run) -> int:
    """All cases that are asked for, as long as there is time; the exit status."""
    run.say(f"{run.results['device']} ({run.results['platform']}), jax {jax.__version__}, at its {run.size} size")
    if run.results["platform"] == "cpu":
        run.say("There is no accelerator here: this shows that the script runs, and no result is an accelerator's")
    pairs, only = ordered(run.size), run.options.only
    pairs = [(case, dtype) for case, dtype in pairs if not only or any(part in case.label for part in only)]
    libraries = libraries_of(run)
    run.results["libraries"] = sorted(libraries)
    if run.left > TO_END:
        small = run.size == "smallest" or run.results["platform"] == "cpu"
        run.results["limits"] = limits(*((64, 1 << 12) if small else (8192, 1 << 28)))
        for name, value in run.results["limits"].items():
            run.say(f"{name} {value:.3g}")
    with references_on_cpu():
        work(run, pairs, libraries)
    for verdict in accelerator_forms.verdicts([own for own in run.results["cases"] if "failed" not in own]):
        run.say(accelerator_page.told(verdict))
    run.write()
    bad = [record for record in run.results["cases"] if not record.get("agrees")]
    run.say(f"{len(run.results['cases'])} cases, {len(bad)} of which failed or differ; in {run.path} and {run.page}")
    return 1 if bad else 0


if __name__ == "__main__":
    status = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # a thread may be compiling still
