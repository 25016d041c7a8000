"""Which form of a chain is fastest at which shape: steps one by one, all at once, or the kernel in Pallas."""

import functools

import jax
import numpy as np
from accelerator_case import SMALLEST, Case, Size, jitted

from dgjax_kernels import chain as one_by_one, chain_parallel, gpu

# Around the limits of `chain_parallel.long`, 512 steps and n k^3 of 2^18, and what is below and beyond them.
SHAPES = [
    *[(64, 1000, 8), (1024, 100, 8), (1, 50_000, 4), (4096, 200, 4), (64, 1000, 32), (16, 256, 8), (512, 1000, 4)],
    *[(1, 2_000, 32), (256, 1000, 16), (1, 512, 4), (16, 10_000, 8), (64, 1000, 64)],
]
FLOATS = 1 << 27  # of all tables at once, beyond which all steps at once are not tried
OPERATIONS = "expectation", "log_partition"
STEPS, PARALLEL, PALLAS = "steps one by one", "all steps at once", "Pallas"


def cases(size: Size) -> list[Case]:
    """Every form that can take a shape, as a case of its own; in float32 first."""
    shapes = [(3, 4, 2)] if size is SMALLEST else SHAPES
    truths = {operation: jitted(getattr(one_by_one, operation)) for operation in OPERATIONS}
    return [
        Case(
            "form",
            f"{operation}, {form} ({n} x {t} x {k})",
            {"n": n, "t": t, "k": k},
            functools.partial(chain, n, t, k),
            jitted(fn),
            truth=truths[operation],
        )
        for n, t, k in shapes
        for operation in OPERATIONS
        for form, fn in forms(operation, n, t, k).items()
    ]


@functools.cache
def chain(n: int, t: int, k: int) -> tuple:
    """Initial, transition and scores as logarithms, and whole lengths."""
    rng = np.random.default_rng(0)
    start, moves = np.log(rng.dirichlet(np.ones(k))), np.log(rng.dirichlet(np.ones(k), k))
    return start, moves, 3 * rng.normal(size=(n, t, k)), np.full(n, t, np.int32)


def forms(operation: str, n: int, t: int, k: int) -> dict:
    """Each form that can take such a chain here; on a CPU that in Pallas runs in its interpreter, and not on a TPU."""
    found = {STEPS: getattr(one_by_one, operation)}
    if n * t * k**2 <= FLOATS:
        found[PARALLEL] = getattr(chain_parallel, operation)
    platform = jax.default_backend()
    if platform != "tpu" and k <= gpu.MOST_STATES:
        found[PALLAS] = functools.partial(_pallas, operation, platform == "cpu")
    return found


def _pallas(operation, interpret, *arguments):
    from dgjax_kernels.gpu import chain as pallas

    return getattr(pallas, operation)(*arguments, interpret=interpret)


def verdicts(records: list[dict]) -> list[dict]:
    """For each operation, shape and precision: the times of its forms, the fastest, and the form that dgjax takes."""
    groups: dict = {}
    for record in records:
        if record["kind"] == "form":
            operation, rest = record["name"].split(", ", 1)
            shape = record["n"], record["t"], record["k"]
            groups.setdefault((operation, *shape, record["dtype"]), {})[rest.split(" (")[0]] = record["median_s"]
    return [
        {
            **dict(zip(("operation", "n", "t", "k", "dtype"), key, strict=True)),
            "seconds": times,
            "fastest": min(times, key=times.__getitem__),
            "taken": PARALLEL if _long(*key[1:4]) else STEPS,
        }
        for key, times in groups.items()
    ]


def _long(n, t, k):
    shapes = (k,), (k, k), (n, t, k), (n,)
    return chain_parallel.long(*(jax.ShapeDtypeStruct(shape, "float32") for shape in shapes))
