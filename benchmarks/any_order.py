"""Any-order autoregressive density of handwritten digits: bits, accuracy with cells missing, disagreement of orders.

    python benchmarks/any_order.py

Of scikit-learn's digits, cells 0 to 16: 1,300 rows to learn from, 200 by which the best epoch is chosen, 297 to test.
"""

import argparse
import time
from typing import Any

import jax
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.impute import KNNImputer
from sklearn.linear_model import LogisticRegression

import dgjax as dg

LEARNT, KNOWN = 1300, 1500
MISSING = 0.0, 0.25, 0.5, 0.75


def learn(options: argparse.Namespace, x: np.ndarray, y: np.ndarray) -> Any:
    """The fitted model, by AdamW with warm-up, a cosine and early stopping by held-out rows."""
    sizes = {"width": options.width, "num_layers": options.layers, "dropout": options.dropout}
    start = dg.autoregressive(jax.random.key(0), x, y, "categorical", num_categories=17, **sizes)
    rate = optax.warmup_cosine_decay_schedule(0, options.rate, 100, options.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=0.05))
    held = (KNOWN - LEARNT) / KNOWN
    method = dg.Optax(optimizer, options.batch, jax.random.key(1), validation=held, patience=options.steps)
    fit = dg.fit(start, x, y, method, max_steps=options.steps, progress=True)
    print("validation, bits a cell:", np.round(bits(np.asarray(fit.validation)) / (KNOWN - LEARNT), 3)[::10].tolist())
    return fit.model


def bits(nats: np.ndarray, num_columns: int = 64) -> np.ndarray:
    """Bits for each cell of rows of that log-probability."""
    return -nats / num_columns / np.log(2)


def test(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    """What comes out on rows that are new."""
    joint = np.asarray(dg.log_joint(model, x, y))
    given = joint - np.asarray(jax.nn.log_softmax(model.log_weights))[y]
    print(f"bits a cell: of p(x) {bits(np.asarray(dg.log_prob(model, x))).mean():.3f}, ", end="")
    print(f"of p(x | y) {bits(given).mean():.3f}")
    print(f"standard deviation between orders: {np.asarray(dg.log_prob_error(model, x)).mean():.2f} nats")
    for share in MISSING:
        right = (np.asarray(dg.predict(model, with_holes(x, share))) == y).mean()
        print(f"{share:.0%} of cells missing: {right:.1%} right", flush=True)


def with_holes(x: np.ndarray, share: float) -> np.ndarray:
    """Rows without a random share of their cells."""
    return np.where(np.random.default_rng(1).random(x.shape) < share, np.nan, x).astype("float32")


def peer(x: np.ndarray, y: np.ndarray, new: np.ndarray, labels: np.ndarray) -> None:
    """Logistic regression of scikit-learn, on cells filled in by five nearest neighbours."""
    fill = KNNImputer(n_neighbors=5).fit(x)
    classifier = LogisticRegression(C=0.01, max_iter=1000).fit(x, y)
    right = [(classifier.predict(fill.transform(with_holes(new, share))) == labels).mean() for share in MISSING]
    print("nearest neighbours and logistic regression:", ", ".join(f"{own:.1%}" for own in right))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("steps", 3000), ("batch", 32), ("width", 96), ("layers", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in (("rate", 3e-3), ("dropout", 0.1)):
        parser.add_argument(f"--{name}", type=float, default=value)
    options = parser.parse_args()
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order].astype("float32"), y[order]
    peer(x[:KNOWN], y[:KNOWN], x[KNOWN:], y[KNOWN:])
    begin, used = time.perf_counter(), time.process_time()
    model = learn(options, x[:KNOWN], y[:KNOWN])
    print(f"{time.perf_counter() - begin:.0f} s, of CPU {time.process_time() - used:.0f} s", flush=True)
    test(model, x[KNOWN:], y[KNOWN:])


if __name__ == "__main__":
    main()
