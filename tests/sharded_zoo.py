"""Every model of the zoo on rows sharded over devices, beside the same rows on one: run by `tests/test_sharded.py`.

    python -m sharded_zoo [NAME]    all models, or one; in float64

A line of standard output is JSON: a name, and how far the answers are apart, or what was raised.
"""

import contextlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import zoo
from sharded_cases import apart, placed, shared, told

import dgjax as dg

N, T, KEY = 128, 4, jax.random.key(1)  # as many rows as one device pads to: L-BFGS begins with the same scales
ADAM = optax.adam(1e-2)
EVERY_STEP = dg.EM(tol=0.0)


def autoencoder(rng):
    model = dg.variational_autoencoder(KEY, zoo.D, 2, "gaussian", num_classes=zoo.K, hidden=(4,))
    return jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.1, leaf.shape), model)


def adversarial(rng):
    x, y = rng.normal(size=(30, zoo.D)), np.arange(30) % zoo.K
    return dg.adversarial(KEY, x, y, hidden=(4,), latent_dim=2)


def language_model(rng):
    return dg.language_model(KEY, 3, zoo.K, width=4, num_layers=1)


def masked_language_model(rng):
    return dg.masked_language_model(KEY, 3, zoo.K, width=4, num_layers=1)


COLUMNS = {"Neural of tokens": 1, "n-grams": 1, "CRF of a table": 2}
LEARNED = [*zoo.LEARNED, zoo.Case("autoencoder", autoencoder), zoo.Case("adversarial", adversarial)]
TEXTS = [zoo.Case("language model", language_model), zoo.Case("masked language model", masked_language_model)]


def verbs(model, generative=True):
    """Questions of a model, few, for each is compiled: functions of rows, labels and, of sequences, lengths."""
    asked = {"log_conditional": lambda x, y, *n: dg.log_conditional(model, x, y, *n)}
    if generative:
        asked |= {
            "log_prob": lambda x, y, *n: dg.log_prob(model, x, *n),
            "impute": lambda x, y, *n: dg.impute(model, x, *n),
            "sample_missing": lambda x, y, *n: dg.sample_missing(model, KEY, x, *n),
        }
    return asked


def fits(model, em, gradient=True, **options: Any):
    """Fits by as many steps: EM where there is one, else the optimizer with all rows, and with minibatches."""

    def learnt(method, x, y, n, **own):
        fitted = dg.fit(model, x, y, method, lengths=n, max_steps=4, **options, **own)
        return fitted.objective[-1], fitted.model

    asked = {}
    if em:
        asked["EM"] = lambda x, y, n=None: learnt(EVERY_STEP, x, y, n)
        return asked
    if gradient:
        asked["all rows"] = lambda x, y, n=None: learnt(dg.Optax(ADAM), x, y, n)
    asked["minibatches"] = lambda x, y, n=None: learnt(dg.Optax(ADAM, batch_size=8, key=KEY), x, y, n)
    return asked


def compared(name, asked, arrays, sharding):
    """Tells how far each answer of shards is from that of one device; of draws that they are finite."""
    for of, ask in asked.items():
        with told_if_raised(f"{name}: {of}"):
            found = ask(*(shared(own, sharding) for own in arrays))
            if of == "minibatches":
                told(
                    f"{name}: {of}", 0.0 if all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)) else np.inf
                )
            else:
                told(f"{name}: {of}", apart(found, ask(*map(placed, arrays))))


@contextlib.contextmanager
def told_if_raised(name):
    try:
        yield
    except Exception as error:  # whatever it is, the other models are to be looked at too
        told(name, f"{type(error).__name__}: {error}")


def torn(x, step=5):
    """Rows, the first and each fifth without their first cell."""
    x = np.array(x)
    x[::step, ..., 0] = np.nan
    return x


def of_rows(case, sharding):
    model, (x, y) = case.model(float), map(np.asarray, case.rows(float, n=N))
    some, classes = np.where(np.arange(N) % 3, y, -1), zoo.num_labels(model) > 1
    compared(case.name, verbs(model), (torn(x), y), sharding)
    given = (torn(x), some) if classes else (torn(x),)
    asked = fits(model, em=True, prior="weak")
    if not classes:
        asked = {name: lambda x, ask=ask: ask(x, None) for name, ask in asked.items()}
    compared(case.name, asked, given, sharding)
    if classes:
        compared(f"{case.name}, all known", {"EM": asked["EM"]}, (x, y), sharding)


def of_learned(case, sharding):
    """Networks, which learn by the draws of each shard's own rows."""
    model, (x, y) = case.model(float), map(np.asarray, case.rows(float, n=N))
    draws = case.name not in ("flow", "tilted, exact")
    asked = verbs(model)
    if case.name == "adversarial":
        asked = {"log_conditional": asked["log_conditional"]}
    holes = case.name not in ("flow", "adversarial") and not case.name.startswith("tilted")
    if not holes:
        asked.pop("impute", None), asked.pop("sample_missing", None)
    compared(case.name, asked, (torn(x) if holes else x, y), sharding)
    compared(case.name, fits(model, em=False, gradient=not draws), (x, y), sharding)


def of_sequences(case, sharding):
    model = case.model(float)
    x, y = map(np.asarray, dg.sample(model, KEY, (N, T)))
    lengths = np.arange(N) % T + 1
    some = np.where((np.arange(N) % 3).reshape(-1, *[1] * (y.ndim - 1)), y, -1)
    compared(case.name, verbs(model), (torn(x), y, lengths), sharding)
    compared(case.name, fits(model, em=True), (torn(x), some, lengths), sharding)


def of_texts(case, sharding):
    model, rng = case.model(float), np.random.default_rng(0)
    x, y = rng.integers(0, 3, (N, T, 1)).astype(float), rng.integers(0, zoo.K, N)
    lengths, asked = np.arange(N) % T + 1, verbs(model)
    if case.name == "language model":
        asked.pop("impute"), asked.pop("sample_missing")
    compared(case.name, asked, (x, y, lengths), sharding)
    compared(case.name, fits(model, em=False, gradient=False), (x, y, lengths), sharding)


def advised(model, x, y, prior):
    """The fit that the error of a marginalised one tells to type."""
    with contextlib.suppress(ValueError):
        dg.fit(model, x, y, max_steps=1)
        assert x.is_fully_replicated
    return dg.fit(model.classifier, dg.sample_missing(model.density, KEY, x), y, prior=prior, max_steps=4).objective[-1]


def of_classifier(case, sharding):
    model, rng = case.model(float), np.random.default_rng(0)
    sequential, columns = model.sequential, COLUMNS.get(case.name, zoo.D)
    shape = (N, T, columns) if sequential else (N, columns)
    x = rng.integers(0, 3, shape).astype(float)  # cells that every scorer takes
    y = rng.integers(0, zoo.num_labels(model), shape[:-1] if isinstance(model, dg.LinearChainCRF) else N)
    ridge = dg.priors.Ridge(jnp.asarray(0.1))
    arrays = (x, y, np.arange(N) % T + 1) if sequential else (x, y)
    compared(case.name, verbs(model, generative=False), arrays, sharding)
    if case.name == "Marginalized":
        compared(case.name, {"advised": lambda x, y: advised(model, x, y, ridge)}, arrays, sharding)
        return
    asked = fits(model, em=False, prior=ridge)

    def usual(x, y, n=None):
        return dg.fit(model, x, y, lengths=n, max_steps=4, prior=ridge).objective[-1]

    compared(case.name, asked | {"usual": usual}, arrays, sharding)


def main():
    jax.config.update("jax_enable_x64", True)
    mesh = jax.make_mesh((jax.device_count(),), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.NamedSharding(mesh, jax.P("rows"))
    kinds = ((LEARNED, of_learned), (TEXTS, of_texts), (zoo.DISCRIMINATIVE, of_classifier))
    for cases, ask in (*kinds, (zoo.SEQUENTIAL, of_sequences), (zoo.ZOO, of_rows)):
        for case in cases:
            if sys.argv[1:] in ([], [case.name]):
                with told_if_raised(case.name):
                    ask(case, sharding)


if __name__ == "__main__":
    main()
