"""The first call of each public function, in a process of its own, with numba's compiled code on disk; and the import.

50,000 rows of NumPy's with 16 columns and 4 labels, or 64 sequences of 200 steps, in float32.
"""

import os
import subprocess
import sys

import pytest

NOTHING_KEPT = {**os.environ, "DGJAX_CACHE_DIR": ""}
LONG = 1.0  # seconds, after which a call is made once more, for it may have compiled what stays on disk
ROWS = """
import tempfile, time, jax, jax.numpy as jnp, numpy as np, optax, dgjax as dg
rng, key, k = np.random.default_rng(0), jax.random.key(0), 4
mean = 3 * rng.normal(size=(k, 16)).astype("float32")
y = rng.integers(k, size=50_000)
x = (mean[y] + rng.normal(size=(len(y), 16))).astype("float32")
holes, bits = np.where(rng.random(x.shape) < 0.1, np.nan, x), (x > 0).astype("float32")
steps, states = x[:12_800].reshape(64, 200, 16), y[:12_800].reshape(64, 200)
"""
MODELS = """
even, mean = jnp.full(k, -np.log(k)), jnp.asarray(mean)
rows = dg.Mixture(even, dg.Gaussian(mean, jnp.broadcast_to(jnp.eye(16), (k, 16, 16))))
apart = dg.Mixture(even, dg.DiagonalGaussian(mean, jnp.zeros((k, 16))))
chain = dg.HiddenMarkov(even, jnp.full((k, k), -np.log(k)), rows.density)
logistic, crf = dg.logistic_regression(16, k), dg.linear_chain_crf(16, k)
vae, adam = dg.variational_autoencoder(key, 16, 2, hidden=(32,)), optax.adam(1e-3)
net, path = dg.neural_classifier(key, 16, k, hidden=(32,)), tempfile.mkdtemp() + "/model"
jax.block_until_ready(jax.tree.leaves((rows, apart, chain, logistic, crf, vae, net)))
"""
BEGUN = {
    "logistic_regression": "dg.logistic_regression(16, k)",
    "linear_chain_crf": "dg.linear_chain_crf(16, k)",
    "neural_classifier": "dg.neural_classifier(key, 16, k)",
    "variational_autoencoder": "dg.variational_autoencoder(key, 16, 2)",
    "pad": "dg.pad([steps[0], steps[1, :100]])",
    "naive_bayes": "dg.naive_bayes(x, y)",
    "naive_bayes, cells missing": "dg.naive_bayes(holes, y)",
    "naive_bayes, bernoulli": "dg.naive_bayes(bits, y, 'bernoulli', prior='weak')",
    "discriminant_analysis": "dg.discriminant_analysis(x, y)",
    "mixture_discriminant_analysis": "dg.mixture_discriminant_analysis(key, x, y)",
    "gaussian_mixture": "dg.gaussian_mixture(key, x, k)",
    "hidden_markov": "dg.hidden_markov(key, steps, k)",
}
CALLS = {
    "weak_prior": "dg.weak_prior(rows, x)",
    "fit, full": "dg.fit(rows, x, max_steps=5).model",
    "fit, full, cells missing": "dg.fit(rows, holes, max_steps=5).model",
    "fit, diagonal": "dg.fit(apart, x, max_steps=5).model",
    "fit, some labels": "dg.fit(rows, x, np.where(y == 0, -1, y), max_steps=5).model",
    "fit, logistic": "dg.fit(logistic, x, y, prior=dg.priors.Ridge(1.0)).model",
    "fit, hidden Markov": "dg.fit(chain, steps, max_steps=5).model",
    "fit, CRF by L-BFGS": "dg.fit(crf, steps, states, prior=dg.priors.Ridge(1.0), max_steps=5).model",
    "fit, CRF by Adam": "dg.fit(crf, steps, states, method=dg.Optax(adam, 32, key), max_steps=5).model",
    "fit, autoencoder": "dg.fit(vae, bits, method=dg.Optax(adam, 256, key), max_steps=5).model",
    "fit, neural classifier": "dg.fit(net, bits, y, method=dg.Optax(adam, 256, key), max_steps=5).model",
    "fit, blend": "dg.fit(rows, x, y, blend=0.5, max_steps=5).model",
    "log_prob": "dg.log_prob(rows, x)",
    "log_prob, cells missing": "dg.log_prob(rows, holes)",
    "log_prob, hidden Markov": "dg.log_prob(chain, steps)",
    "log_joint": "dg.log_joint(rows, x, y)",
    "log_conditional": "dg.log_conditional(rows, x, y)",
    "predict_log_proba": "dg.predict_log_proba(rows, x)",
    "predict": "dg.predict(rows, x)",
    "predict, logistic": "dg.predict(logistic, x)",
    "predict, hidden Markov": "dg.predict(chain, steps)",
    "sample": "dg.sample(rows, key, 1000)",
    "sample_labels": "dg.sample_labels(rows, key, x)",
    "sample_missing": "dg.sample_missing(rows, key, holes)",
    "impute": "dg.impute(rows, holes)",
    "marginal": "dg.marginal(rows, [0, 3])",
    "marginalize": "dg.predict_log_proba(dg.marginalize(logistic, rows), holes[:100])",
    "discriminative": "dg.discriminative(rows)",
    "bic": "dg.bic(rows, x)",
    "aic": "dg.aic(rows, x)",
    "anomaly_threshold": "dg.anomaly_threshold(rows, x)",
    "forecast": "dg.forecast(chain, steps, 3)",
    "elbo": "dg.elbo(vae, bits)",
    "log_prob_error": "dg.log_prob_error(vae, bits[:500])",
    "encode": "dg.encode(vae, bits)",
    "decode": "dg.decode(vae, np.zeros((100, 2)))",
    "reconstruct": "dg.reconstruct(vae, bits)",
    "interpolate": "dg.interpolate(vae, bits[0], bits[1])",
    "num_parameters": "dg.num_parameters(rows)",
    "save, load": "(dg.save(path, rows), dg.load(path))[1]",
}
TIMED = "start = time.perf_counter()\n{}\nprint(time.perf_counter() - start)"


def seconds_of(call: str, prepared: str) -> float:
    """How long a call takes until its arrays are there, in a process that has made no other."""
    program = [sys.executable, "-c", prepared + TIMED.format(call)]
    return float(subprocess.run(program, env=NOTHING_KEPT, capture_output=True, check=True, text=True).stdout)


def record(benchmark, name, seconds):
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(
        family="first call", function=name, n=50_000, dtype="float32", median_s=seconds, peers={}
    )


@pytest.mark.parametrize("name", [*BEGUN, *CALLS])
def test_first_call(benchmark, quick, name):
    if quick:
        pytest.skip("a process for each function takes minutes")
    call, prepared = (BEGUN[name], ROWS) if name in BEGUN else (CALLS[name], ROWS + MODELS)
    call = f"jax.block_until_ready(jax.tree.leaves({call}))"
    seconds = seconds_of(call, prepared)
    record(benchmark, name, seconds if seconds < LONG else seconds_of(call, prepared))


def test_import(benchmark, quick):
    if quick:
        pytest.skip("as above")
    record(benchmark, "import dgjax, beyond import jax", seconds_of("import dgjax", "import time, jax\n"))
