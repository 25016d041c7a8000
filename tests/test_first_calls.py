"""Two hundred rows need no numba: every starter, fit and verb in a process that has compiled nothing, and can not."""

import subprocess
import sys

import pytest

SETUP = """
import sys, time, jax, jax.numpy as jnp, numpy as np, optax, dgjax as dg
rng, key, k = np.random.default_rng(0), jax.random.key(0), 3
y = rng.integers(k, size=200)
x = 3 * rng.normal(size=(k, 5))[y] + rng.normal(size=(200, 5))
bits, counts = (x > 0).astype(float), rng.poisson(3.0, (200, 5)).astype(float)
some = np.where(rng.random(200) < 0.5, y, -1)
def hide(x):
    return np.where(rng.random(x.shape) < 0.2, np.nan, x)
steps, states = hide(x).reshape(20, 10, 5), y.reshape(20, 10)
def timed(name, call):
    start = time.perf_counter()
    result = jax.block_until_ready(call())
    print(f"{name:42} {time.perf_counter() - start:5.2f} s")
    assert not {"numba", "llvmlite"} & set(sys.modules), name
    return result
def asked(name, model, x):
    verbs = dg.log_prob, dg.predict_log_proba, dg.predict, dg.impute
    for verb in verbs if model.generative else (dg.predict_log_proba, dg.predict):
        timed(f"{verb.__name__}, {name}", lambda: verb(model, x))
    if model.generative:
        timed(f"sample_missing, {name}", lambda: dg.sample_missing(model, key, x))
        timed(f"sample, {name}", lambda: dg.sample(model, key, (200, 10) if x.ndim > 2 else 200))
        timed(f"bic, {name}", lambda: dg.bic(model, x))
    timed(f"sample_labels, {name}", lambda: dg.sample_labels(model, key, x))
def learned(name, model, x, *y, **options):
    return timed(f"fit, {name}", lambda: dg.fit(model, x, *y, max_steps=5, **options).model)
def columns(name):
    family, rows = name.split()[0], {"bernoulli": bits, "categorical": bits, "gaussian": x}.get(name.split()[0], counts)
    rows = hide(rows) if name.endswith("cells missing") else rows
    asked(name, learned(name, timed(name, lambda: dg.naive_bayes(rows, y, family, prior="weak")), rows, some), rows)
def full(name):
    covariance, rows = name.split()[0], hide(x) if name.endswith("cells missing") else x
    model = timed(name, lambda: dg.discriminant_analysis(rows, y, covariance))
    asked(name, learned(name, model, rows, some, prior="weak"), rows)
    start = timed(f"mixture, {name}", lambda: dg.gaussian_mixture(key, rows, k, covariance=covariance))
    learned(f"mixture, {name}", start, rows, prior="weak")
def logistic(name):
    model = dg.logistic_regression(5, k)
    for method in (dg.Newton(), dg.LBFGS(), dg.Optax(optax.adam(0.1))):
        fitted = learned(f"logistic, {method}"[:24], model, x, y, prior=dg.priors.Ridge(1.0), method=method)
    asked(name, fitted, x)
    learned("blend", dg.discriminant_analysis(x, y), x, y, blend=0.5)
def chains(name):
    start = timed(name, lambda: dg.hidden_markov(key, steps, k))
    asked(name, learned(name, start, steps, prior="weak"), steps)
    whole = np.nan_to_num(steps)
    asked("CRF", learned("CRF", dg.linear_chain_crf(5, k), whole, states, prior=dg.priors.Ridge(1.0)), whole)
def others(name):
    start = timed("MDA", lambda: dg.mixture_discriminant_analysis(key, hide(x), y, 2))
    asked("MDA", learned("MDA", start, hide(x), y, prior="weak"), hide(x))
    net = dg.neural_classifier(key, 5, k, hidden=(300,))
    learned("neural classifier", net, x, y, method=dg.Optax(optax.adam(1e-3), 200, key))
    vae = dg.variational_autoencoder(key, 5, 2, hidden=(300,))
    learned("autoencoder", vae, bits, method=dg.Optax(optax.adam(1e-3), 200, key))
"""
FAMILIES = ["gaussian", "bernoulli", "categorical", "poisson", "multinomial", "gaussian, cells missing"]
FAMILIES = [family.replace(",", " ") for family in FAMILIES]
COVARIANCES = ["full", "tied", "full  cells missing", "tied  cells missing"]
CALLS = [f"columns({name!r})" for name in FAMILIES] + [f"full({name!r})" for name in COVARIANCES]
CALLS += ["logistic('logistic')", "chains('hidden Markov')", "others('')"]


@pytest.mark.slow
@pytest.mark.parametrize("calls", CALLS)
def test_two_hundred_rows_compile_no_handler(calls, tmp_path):
    """Prints a table of seconds with `pytest -s`."""
    table = run(SETUP + calls, tmp_path)
    print(table)
    assert len(table.splitlines()) > 5


def run(program, cache):
    """The output of a process of its own, with an empty cache of numba's."""
    environment = {"PATH": "", "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
