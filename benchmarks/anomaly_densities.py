"""Share of malignant rows that is flagged, by density: 12 of them, on the rows of docs/how_to/anomalies.md.

python benchmarks/anomaly_densities.py
"""

import jax
import numpy as np
from sklearn.datasets import load_breast_cancer

import dgjax as dg


def main() -> None:
    """One line for each density: new benign rows flagged, malignant rows flagged; means of ten splits."""
    x, y = load_breast_cancer(return_X_y=True)
    for name, rows in {"columns as they are": x / x.std(0), "logarithms": np.log1p(x)}.items():
        malignant, benign = (rows[y == label].astype("float32") for label in (0, 1))
        for covariance in ("full", "diagonal"):
            for k in (1, 2, 3):
                flagged = []
                for seed in range(10):
                    parts = np.split(np.random.default_rng(seed).permutation(benign), [150, 250])
                    start = dg.gaussian_mixture(jax.random.key(0), parts[0], k, covariance)
                    model = dg.fit(start, parts[0], prior="weak").model
                    told = [dg.anomaly_pvalue(model, parts[1], own) <= 0.05 for own in (parts[2], malignant)]
                    flagged.append([own.mean() for own in told])
                print(f"{name}, {covariance}, {k} components: {np.mean(flagged, 0).round(3)}", flush=True)


if __name__ == "__main__":
    main()
