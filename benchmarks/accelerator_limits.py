"""What an accelerator can do at most: matrix products, memory traffic, how long a call takes that does nothing."""

import time

import jax
import jax.numpy as jnp
import numpy as np
from limits import best
from timing import seconds

ENDLESS = 200  # calls, one after another


def limits(edge: int, floats: int) -> dict[str, float]:
    """Rates in units of 1e9 a second, times in seconds: products of `edge` rows, memory of so many floats of 32 bits.

    A matrix product in float32 keeps every digit, as dgjax asks for it, but for the one that says so.
    """
    key, found = jax.random.key(0), {}
    with jax.enable_x64(True):
        for name, dtype, precision in (
            ("float32", "float32", "highest"),
            ("float32_rounded", "float32", "default"),
            ("bfloat16", "bfloat16", "default"),
            ("float64", "float64", "highest"),
        ):
            a = jax.random.normal(key, (edge, edge), "float32").astype(dtype)
            took = best(lambda a, precision=precision: jnp.matmul(a, a, precision=precision), a, rounds=3)
            found[f"matrix_product_{name}_gflop_per_s"] = 2 * edge**3 / took / 1e9
    x = jax.random.normal(key, (floats,), "float32")
    found["memory_gb_per_s"] = 2 * x.nbytes / best(lambda x: 2 * x, x) / 1e9
    found["memory_read_gb_per_s"] = x.nbytes / best(jnp.sum, x) / 1e9
    found["exp_float32_g_per_s"] = x.size / best(jnp.exp, x) / 1e9
    return found | _calls() | _transfers(floats)


def _calls():
    """From the call to its answer, and between calls that nobody waits for."""
    nothing, x = jax.jit(lambda x: x + 1), jnp.zeros(8)
    jax.block_until_ready(nothing(x))
    start = time.perf_counter()
    for _ in range(ENDLESS):
        x = nothing(x)
    jax.block_until_ready(x)
    queued = (time.perf_counter() - start) / ENDLESS
    return {"call_s": seconds(lambda: nothing(x), 0.02), "queued_call_s": queued}


def _transfers(floats):
    """From NumPy's memory and back."""
    x = np.random.default_rng(0).random(floats // 4, "float32")
    there = jax.block_until_ready(jax.device_put(x))
    to = min(seconds(lambda: jax.device_put(x), 0.0) for _ in range(3))
    start = time.perf_counter()
    np.asarray(there + 1)
    back = time.perf_counter() - start
    return {"to_device_gb_per_s": x.nbytes / to / 1e9, "from_device_gb_per_s": x.nbytes / back / 1e9}
