"""Normalising flows of handwritten digits: bits, accuracy, samples; beside FlowJAX's own fit of the same layers.

    python benchmarks/flows.py

Of scikit-learn's digits, cells 0 to 16, dequantised: 1,300 rows to learn from, 200 by which the best epoch is chosen,
297 to test.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import dgjax as dg

LEARNT, KNOWN = 1300, 1500


def optimizer(options: argparse.Namespace) -> Any:
    """AdamW with warm-up, a cosine and clipped gradients."""
    rate = optax.warmup_cosine_decay_schedule(0, options.rate, 100, options.steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=options.decay))


def learn(options: argparse.Namespace, x: np.ndarray, y: np.ndarray | None) -> Any:
    """The fitted model, by early stopping by held-out rows."""
    sizes = {"num_layers": options.layers, "width": options.width, "num_bins": options.bins}
    start = dg.normalizing_flow(jax.random.key(0), x, y, options.kind, **sizes)
    held = (KNOWN - LEARNT) / KNOWN
    method = dg.Optax(
        optimizer(options),
        options.batch,
        jax.random.key(1),
        validation=held,
        patience=options.steps,
    )
    fit = dg.fit(start, x, y, method, max_steps=options.until or options.steps, checkpoint=options.checkpoint)
    print("validation, bits a cell:", np.round(bits(np.asarray(fit.validation)) / (KNOWN - LEARNT), 3)[::10].tolist())
    return fit.model


def bits(nats: np.ndarray, num_columns: int = 64) -> np.ndarray:
    """Bits for each cell of rows of that log-probability."""
    return -nats / num_columns / np.log(2)


def test(model: Any, x: np.ndarray, y: np.ndarray, labelled: bool) -> None:
    """What comes out on rows that are new."""
    mixture = model.as_model()
    one = jax.jit(lambda x: mixture.density.scores_by_draw(x))(jnp.asarray(x))
    logs = np.asarray(jax.nn.logsumexp(one + jax.nn.log_softmax(mixture.log_weights), axis=-1))
    print(f"bits a cell of p(x): by one draw of noise {bits(logs).mean():.3f}, ", end="")
    print(f"by {len(logs)} {bits(np.asarray(dg.log_prob(model, x))).mean():.3f}")
    if labelled:
        given = np.asarray(one)[:, np.arange(len(x)), y]
        print(f"of p(x | y): {bits(given).mean():.3f}; {(np.asarray(dg.predict(model, x)) == y).mean():.1%} right")


def peer_of(options: argparse.Namespace) -> Any:
    """FlowJAX's own flow of the same layers."""
    from flowjax import bijections, distributions, flows

    make = flows.coupling_flow if options.kind == "coupling" else flows.masked_autoregressive_flow
    spline = bijections.RationalQuadraticSpline(knots=options.bins - 1, interval=5)
    shape = {"transformer": spline, "flow_layers": options.layers, "nn_width": options.width}
    return make(jax.random.key(0), base_dist=distributions.Normal(jnp.zeros(64)), **shape)


def dequantised(start: Any, x: np.ndarray, seed: int) -> Any:
    """Rows with noise, in the units of a flow's columns."""
    return (x + np.random.default_rng(seed).random(x.shape).astype("float32") - start.centre) / start.scale


def peer_bits(options: argparse.Namespace, x: np.ndarray, new: np.ndarray) -> None:
    """Bits by FlowJAX's `fit_to_data` of the same layers, optimizer and units, of rows dequantised once."""
    from flowjax import train

    start = dg.normalizing_flow(jax.random.key(0), x, None, options.kind, num_layers=2, width=2)
    theirs = {"batch_size": options.batch, "val_prop": (KNOWN - LEARNT) / KNOWN, "show_progress": False}
    epochs = options.steps // (LEARNT // options.batch)
    found, losses = train.fit_to_data(
        jax.random.key(1),
        peer_of(options),
        dequantised(start, x, 0),
        optimizer=optimizer(options),
        max_epochs=epochs,
        max_patience=epochs,
        **theirs,
    )
    ask, units = jax.jit(lambda u: found.log_prob(u)), float(jnp.log(start.scale).sum())
    logs = np.stack([np.asarray(ask(dequantised(start, new, seed))) for seed in range(1, 9)]) - units
    print("FlowJAX, validation:", np.round((np.array(losses["val"]) + units) / 64 / np.log(2), 3)[::10].tolist())
    several = np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))
    print(
        f"FlowJAX, bits a cell of p(x): by one draw of noise {bits(logs).mean():.3f}, by 8 {bits(several).mean():.3f}"
    )


def beside(options: argparse.Namespace, x: np.ndarray) -> None:
    """CPU seconds of an epoch by `dgjax.fit` and by FlowJAX's `fit_to_data`, same layers, by turns."""
    from flowjax import train
    from flowjax.train.losses import MaximumLikelihoodLoss

    held, steps = (KNOWN - LEARNT) / KNOWN, -(-LEARNT // options.batch)
    sizes = {"num_layers": options.layers, "width": options.width, "num_bins": options.bins}
    start = dg.normalizing_flow(jax.random.key(0), x, None, options.kind, **sizes)
    peer, u = peer_of(options), dequantised(start, x, 0)
    adam, loss, key = optax.adam(1e-3), MaximumLikelihoodLoss(), jax.random.key(1)
    ours = dg.Optax(adam, options.batch, key, validation=held, patience=100)
    theirs = {"optimizer": adam, "loss_fn": loss, "batch_size": options.batch, "val_prop": held, "show_progress": False}

    def spent(number: int) -> list[float]:
        def call_ours() -> Any:
            return dg.fit(start, x, method=ours, max_steps=number * steps).model

        def call_theirs() -> Any:
            return train.fit_to_data(key, peer, u, max_epochs=number, **theirs)[0]

        seconds = []
        for call in (call_ours, call_theirs):
            begin = time.process_time()
            jax.block_until_ready(jax.tree.leaves(call())[0])
            seconds.append(time.process_time() - begin)
        return seconds

    spent(2), spent(6)  # which compile
    each = np.array([np.subtract(spent(6), spent(2)) / 4 for _ in range(options.repeats)])
    print(f"CPU seconds an epoch: dgjax {np.median(each[:, 0]):.2f}, FlowJAX {np.median(each[:, 1]):.2f}", flush=True)


def draw(x: np.ndarray) -> None:
    """Milliseconds of 256 samples of a coupling flow as it is started, after the first call."""
    start = dg.normalizing_flow(jax.random.key(0), x)
    times = [timed(lambda i=i: dg.sample(start, jax.random.key(i), 256)[0]) for i in range(40)]
    print(f"256 samples: {1e3 * np.median(times[5:]):.1f} ms, the quickest {1e3 * np.min(times[5:]):.1f}", flush=True)


def timed(call: Any) -> float:
    """Seconds that a call takes until its result is there."""
    begin = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("steps", 900), ("batch", 100), ("width", 64), ("layers", 4), ("bins", 8), ("until", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in (("rate", 2e-3), ("decay", 1.0)):
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--kind", default="autoregressive")
    parser.add_argument("--checkpoint")
    parser.add_argument("--labels", action="store_true")
    parser.add_argument("--beside", action="store_true", help="only the speed, beside FlowJAX's own fit")
    parser.add_argument("--draw", action="store_true", help="only the time of 256 samples")
    parser.add_argument("--peer", action="store_true", help="only the bits by FlowJAX's own fit")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order].astype("float32"), y[order]
    if options.draw:
        draw(x[:KNOWN])
        return
    if options.beside:
        beside(options, x[:KNOWN])
        return
    if options.peer:
        peer_bits(options, x[:KNOWN], x[KNOWN:])
        return
    begin, used = time.perf_counter(), time.process_time()
    model = learn(options, x[:KNOWN], y[:KNOWN] if options.labels else None)
    print(f"{time.perf_counter() - begin:.0f} s, of CPU {time.process_time() - used:.0f} s", flush=True)
    test(model, x[KNOWN:], y[KNOWN:], options.labels)


if __name__ == "__main__":
    main()
