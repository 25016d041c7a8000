"""Time and memory as rows, columns and components grow: EM of full-covariance mixtures.

Of rows that JAX holds: those of NumPy are copied to where XLA wants them, which takes their size once more.
"""

import jax.numpy as jnp
import pytest
from bench_gaussian import clusters, em_flops, start_at

import dgjax as dg

STEPS = 3
SERIES = {
    "rows": [(n, 4, 4) for n in (1_000, 10_000, 100_000, 1_000_000, 10_000_000)],
    "columns": [(20_000, d, 4) for d in (2, 8, 32, 128)],
    "components": [(20_000, 8, k) for k in (2, 16, 64, 256)],
}


@pytest.mark.parametrize(("series", "n", "d", "k"), [(name, *shape) for name, s in SERIES.items() for shape in s])
def test_scaling(beside, quick, series, n, d, k):
    if quick:
        pytest.skip("each size is compiled anew")
    x, mean = clusters(n, d, k, "float32")
    x, start = jnp.asarray(x), start_at(mean, "full")

    def fit():
        return dg.fit(start, x, method=dg.EM(tol=0.0), max_steps=STEPS).model

    flops = em_flops(n, d, k, "full", STEPS)
    beside(fit, n=n, d=d, k=k, dtype="float32", flops=flops, family=f"scaling in {series}", steps=STEPS)
