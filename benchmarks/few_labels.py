"""Ten labels of each digit and the other rows without: autoencoders with classes, classifiers with reconstruction.

    python benchmarks/few_labels.py [--draws 5] [--only NAME]

Of scikit-learn's digits, pixels black or white: 1,437 rows to learn from, of which 100 have their label, 360 to test.
"""

import argparse
import time
from typing import Any

import jax
import numpy as np
import optax
from sklearn.datasets import load_digits

import dgjax as dg

TRAINING = 1437
ADAM = optax.adam(3e-3)


def autoencoder(key: jax.Array, x: np.ndarray, some: np.ndarray, weight: float = 1, blend: float | None = None) -> Any:
    """Autoencoder of each class, where a row with a label counts `weight` times, or by a blend."""
    start = dg.variational_autoencoder(key, 64, 16, "bernoulli", 10, hidden=(128,))
    method, weights = dg.Optax(ADAM, batch_size=128, key=key), np.where(some >= 0, weight, 1.0)
    return dg.fit(start, x, some, method, weights=weights, blend=blend, max_steps=2500).model


def classifier(key: jax.Array, x: np.ndarray, some: np.ndarray, reconstruction: float = 0.0) -> Any:
    """Neural classifier, with the row's own log-likelihood beside that of its label."""
    start = dg.neural_classifier(key, 64, 10, "bernoulli", hidden=(128,), reconstruction=reconstruction)
    rows = slice(None) if reconstruction else some >= 0
    method = dg.Optax(ADAM, batch_size=128 if reconstruction else None, key=key if reconstruction else None)
    return dg.fit(start, x[rows], some[rows], method, prior=dg.priors.Ridge(0.01), max_steps=1000).model


LEARNERS = {
    "autoencoder, labels weigh 10": lambda *rows: autoencoder(*rows, weight=10),
    "autoencoder, blend 0.1": lambda *rows: autoencoder(*rows, blend=0.1),
    "autoencoder, blend 0.01": lambda *rows: autoencoder(*rows, blend=0.01),
    "classifier, labels alone": classifier,
    "classifier, reconstruction 0.03": lambda *rows: classifier(*rows, reconstruction=0.03),
    "classifier, reconstruction 0.3": lambda *rows: classifier(*rows, reconstruction=0.3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--only", default="", help="learners whose names have this")
    options = parser.parse_args()
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] > 7.5).astype("float32"), y[order]
    for name, learn in LEARNERS.items():
        if options.only not in name:
            continue
        begin, right = time.perf_counter(), []
        for seed in range(options.draws):
            rng, some = np.random.default_rng(100 + seed), np.full(TRAINING, -1)
            known = [rng.choice(np.flatnonzero(y[:TRAINING] == k), 10, replace=False) for k in range(10)]
            some[np.concatenate(known)] = y[np.concatenate(known)]
            model = learn(jax.random.key(seed), x[:TRAINING], some)
            right.append(np.mean(dg.predict(model, x[TRAINING:]) == y[TRAINING:]))
        error = np.std(right, ddof=1) / np.sqrt(len(right))
        print(f"{name}: {np.mean(right):.1%} ± {error:.1%}, {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
