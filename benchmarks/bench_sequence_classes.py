"""Mixtures of hidden Markov models beside as many separate ones, alternately in one process: ratios of CPU seconds.

    python benchmarks/bench_sequence_classes.py

Ten steps of EM on the same sequences, and log p(x). Chains of all classes cost what as many do apart, or less: rows are
scored for all of them at once.
"""

import time

import jax
import numpy as np

import dgjax as dg

SHAPES = [(256, 200, 4, 4, 4, "diagonal"), (200, 100, 8, 6, 5, "full"), (2000, 50, 3, 3, 3, "diagonal")]
STEPS, ROUNDS = 10, 7


def cpu_seconds(call):
    start = time.process_time()
    jax.block_until_ready(call())
    return time.process_time() - start


def beside(together, apart):
    """CPU seconds of both, medians, and the median of their ratios, each round one after the other."""
    together(), apart()
    times = np.array([(cpu_seconds(together), cpu_seconds(apart)) for _ in range(ROUNDS)])
    return *np.median(times, 0), np.median(times[:, 0] / times[:, 1])


def of_shape(n, t, d, states, classes, covariance):
    """Fits and log-densities of a mixture, and of its chains one by one."""
    key, x = jax.random.key(0), np.random.default_rng(0).normal(size=(n, t, d)).astype("float32")
    mixture = dg.hidden_markov_mixture(key, x, classes, states, covariance=covariance)
    chains = [jax.tree.map(lambda leaf, c=c: leaf[c], mixture.density) for c in range(classes)]

    def fitted(model):
        return dg.fit(model, x, max_steps=STEPS, method=dg.EM(tol=0.0)).objective

    yield "ten steps of EM", lambda: fitted(mixture), lambda: [fitted(chain) for chain in chains]
    yield "log p(x)", lambda: dg.log_prob(mixture, x), lambda: [dg.log_prob(chain, x) for chain in chains]


def main():
    print("sequences, steps, columns, states, classes, covariance: call, mixture, separate chains, ratio")
    for shape in SHAPES:
        for name, together, apart in of_shape(*shape):
            own, others, ratio = beside(together, apart)
            print(f"{shape}: {name}, {1e3 * own:.0f} ms, {1e3 * others:.0f} ms, {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
