"""What a machine can do at most: matrix products, memory traffic, exponentials."""

import functools
import time

import jax
import jax.numpy as jnp


def best(fn, *arguments, rounds=7):
    """The shortest time of a compiled call, of so many."""
    compiled = jax.jit(fn)
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - start)
    return min(times)


@functools.cache
def limits() -> dict[str, float]:
    """Rates in units of 1e9 a second, the best of a few runs."""
    found = {}
    with jax.enable_x64(True):
        for dtype in ("float32", "float64"):
            a = jnp.ones((2048, 2048), dtype)
            found[f"matrix_product_{dtype}_gflop_per_s"] = 2 * 2048**3 / best(lambda a: a @ a, a) / 1e9
        x = jnp.ones(1 << 25, "float64")
        found["memory_gb_per_s"] = 2 * x.nbytes / best(lambda x: 2 * x, x) / 1e9
        found["memory_read_gb_per_s"] = x.nbytes / best(jnp.sum, x) / 1e9
        y = -jnp.linspace(0, 1, 1 << 20, dtype="float64")
        found["exp_float64_g_per_s"] = y.size / best(jnp.exp, y) / 1e9
    return found
