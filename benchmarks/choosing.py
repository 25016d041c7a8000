"""Time of a grid of 32 Gaussian mixtures on 272 rows of 2 columns in a fresh process, and of scikit-learn's.

python benchmarks/choosing.py           # both, each in a process of its own
"""

import subprocess
import sys
import time

import numpy as np

COVARIANCES = "full", "tied", "diagonal", "spherical"


def rows() -> np.ndarray:
    """272 rows in two clusters, as many as the eruptions of Old Faithful."""
    random = np.random.default_rng(0)
    return (random.normal(size=(272, 2)) + np.where(np.arange(272) < 97, 0, 4)[:, None]).astype("float32")


def by_dgjax() -> str:
    """Best of 1 to 8 components with each covariance, by BIC."""
    import jax

    import dgjax as dg

    grid = dg.grid(dg.gaussian_mixture, num_components=range(1, 9), covariance=COVARIANCES)
    found = dg.select(grid, rows(), key=jax.random.key(0))
    again = time.perf_counter()
    dg.select(grid, rows(), key=jax.random.key(1))
    return f"{found.table[0].name}; again {time.perf_counter() - again:.1f} s"


def by_sklearn() -> str:
    """Best of 1 to 8 components with each covariance, by BIC."""
    from sklearn.mixture import GaussianMixture

    x = rows()
    kinds = [own.replace("diagonal", "diag") for own in COVARIANCES]
    fits = [
        GaussianMixture(k, covariance_type=kind, random_state=0, tol=1e-6, max_iter=500).fit(x)
        for k in range(1, 9)
        for kind in kinds
    ]
    best = min(fits, key=lambda fit: fit.bic(x))
    return f"{best.n_components} components, {best.covariance_type}"


def main() -> None:
    """Times of both, with their imports."""
    if len(sys.argv) > 1:
        print({"dgjax": by_dgjax, "sklearn": by_sklearn}[sys.argv[1]]())
        return
    for peer in ("dgjax", "sklearn"):
        began = time.perf_counter()
        told = subprocess.run([sys.executable, __file__, peer], check=True, capture_output=True, text=True).stdout
        print(f"{peer}: {time.perf_counter() - began:.1f} s in all; {told.strip()}")


if __name__ == "__main__":
    main()
