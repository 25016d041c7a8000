"""Runs cases, in as many processes as are asked for, until the time is up."""

import collections
import contextlib
import dataclasses
import json
import pathlib
import subprocess
import sys
import time
import warnings

import jax
import numpy as np

import dgjax as dg
from fuzz import cases, verbs

PAIRS = verbs.every_pair()
MAPPINGS, MOST_MAPPINGS = pathlib.Path("/proc/self/maps"), 30_000


@dataclasses.dataclass
class Tally:
    """How many cases ran for each group, kind and verb, and what disagreed."""

    ran: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    wrong: list[str] = dataclasses.field(default_factory=list)

    def add(self, other):
        self.ran.update(other.ran)
        self.wrong.extend(other.wrong)


@contextlib.contextmanager
def strict():
    """Warnings are errors, but for those that the library gives its users."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for own in vars(dg).values():
            if isinstance(own, type) and issubclass(own, Warning):
                warnings.simplefilter("ignore", own)
        yield


def one(seed, index):
    """The line that says what disagrees, or None."""
    plan = cases.plan_of(seed, index // cases.CASES_PER_PLAN, PAIRS)
    case = None
    try:
        with strict(), jax.enable_x64(plan.x64), np.errstate(all="ignore"):
            case = cases.case_of(plan, seed, index)
            plan.check(case)
    except Exception as error:  # whatever it is, it is what came
        says = f"{type(error).__name__}: {' '.join(str(error).split())}"
        shape = (
            f"{plan.precision}{' in x64' if plan.x64 else ''}, {plan.mode}, d={plan.d}, k={plan.k}, size={plan.size}"
        )
        notes = "" if case is None else "".join(f", {name} {value}" for name, value in case.notes.items())
        where = f"{plan.group}, {plan.kind}, {plan.verb} ({shape}{notes})"
        return f"seed {seed} case {index}: {where}: {says[:400]}    make fuzz SEED={seed} CASE={index}"
    return None


def some(seed, numbers, until, at_most=None, say=None):
    """The cases of plans, until the time is up."""
    tally, say = Tally(), say or (lambda line: None)
    for number in numbers:
        plan = cases.plan_of(seed, number, PAIRS)
        for index in range(number * cases.CASES_PER_PLAN, (number + 1) * cases.CASES_PER_PLAN):
            if time.monotonic() > until or (at_most is not None and tally.ran.total() >= at_most):
                return tally
            line = one(seed, index)
            tally.ran[plan.group, plan.kind, plan.verb] += 1
            if line is not None:
                tally.wrong.append(line)
                say(line)
        forget_programs()
    return tally


def forget_programs():
    """Each compiled program has memory mapped, and Linux allows a process no more than 65,530 mappings."""
    if MAPPINGS.exists():
        with MAPPINGS.open() as mappings:
            if sum(1 for _ in mappings) > MOST_MAPPINGS:
                jax.clear_caches()


def work(seed, worker, workers, seconds):
    """One process: every plan that is its own, results as lines of JSON."""
    until, number = time.monotonic() + seconds, worker
    while time.monotonic() < until:
        tally = some(seed, [number], until)
        rows = [[*key, count] for key, count in tally.ran.items()]
        print(json.dumps({"ran": rows, "wrong": tally.wrong}), flush=True)
        number += workers


def many(seed, seconds, workers, say=print):
    """All processes together."""
    command = [sys.executable, "-m", "fuzz", "--seed", str(seed), "--seconds", str(seconds), "--workers", str(workers)]
    started = time.monotonic()
    running = [
        subprocess.Popen([*command, "--worker", str(i)], stdout=subprocess.PIPE, text=True) for i in range(workers)
    ]
    tally = Tally()
    threads = [_listener(process, tally, say) for process in running]
    for thread in threads:
        thread.join()
    for process in running:
        if process.wait():
            tally.wrong.append(f"seed {seed}: a process ended with {process.returncode}")
    return tally, time.monotonic() - started


def _listener(process, tally, say):
    import threading

    def listen():
        for line in process.stdout:
            given = json.loads(line)
            tally.add(Tally(collections.Counter({tuple(row[:-1]): row[-1] for row in given["ran"]}), given["wrong"]))
            for wrong in given["wrong"]:
                say(wrong)

    thread = threading.Thread(target=listen)
    thread.start()
    return thread


def table(ran):
    """Lines: for each group and verb, how many cases, and of how many kinds."""
    lines = []
    for group in dict.fromkeys(key[0] for key in PAIRS):
        kinds = list(dict.fromkeys(k for g, k, *_ in PAIRS if g == group))
        names = list(dict.fromkeys(v for g, _, v, *_ in PAIRS if g == group))
        lines.append(f"{group:<10}" + "".join(f"{short(name):>9}" for name in names))
        for kind in kinds:
            counts = [ran[group, kind, name] for name in names]
            lines.append(f"{short(kind):<10}" + "".join(f"{count or '.':>9}" for count in counts))
    return lines


def short(name):
    return name[:9] if len(name) <= 9 else "".join(c for c in name if c not in "aeiou, _" or c == name[0])[:8]
