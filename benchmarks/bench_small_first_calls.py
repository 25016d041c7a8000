"""First calls on 150 rows of 4 columns, or 10 sequences of 15 steps: nothing compiled, and JAX's cache on disk warm.

Then 147 rows of the same size class, and what is traced or compiled for them; 32 mixtures on 272 rows; and memory.
"""

import contextlib
import json
import pathlib
import subprocess
import sys

import pytest

DATA = """
rng, key, k = np.random.default_rng(0), jax.random.key(0), 3
y = rng.integers(k, size=n)
x = (3 * np.eye(k, 4)[y] + rng.normal(size=(n, 4))).astype("float32")
holes = np.where(rng.random(x.shape) < 0.2, np.nan, x).astype("float32")
counts, bits = rng.poisson(3.0, (n, 4)).astype("float32"), (x > 0).astype("float32")
some, steps, states = np.where(y == 0, -1, y), x.reshape(10, -1, 4), y.reshape(10, -1)
even, mean = np.full(k, -np.log(k), "float32"), 3 * np.eye(k, 4, dtype="float32")
rows = dg.Mixture(even, dg.Gaussian(mean, np.stack([np.eye(4, dtype="float32")] * k)))
tied = dg.Mixture(even, dg.Gaussian(mean, np.eye(4, dtype="float32")))
apart = dg.Mixture(even, dg.DiagonalGaussian(mean, np.zeros((k, 4), "float32")))
chain = dg.HiddenMarkov(even, np.full((k, k), -np.log(k), "float32"), rows.density)
logistic, crf = dg.Logistic(even, dg.Linear(mean)), dg.LinearChainCRF(even, np.eye(k, dtype="float32"), dg.Linear(mean))
prior = dg.priors.Ridge(1.0)
jax.block_until_ready(jax.tree.leaves((rows, tied, apart, chain, logistic, crf)))
"""
SETUP = f"n = 150\n{DATA}"
FEWER = """
x, y, holes, counts, bits, some = (a[:147] for a in (x, y, holes, counts, bits, some))
steps, states = steps[:9], states[:9]
"""
STARTERS = {
    "naive_bayes": "dg.naive_bayes(x, y)",
    "naive_bayes, bernoulli": "dg.naive_bayes(bits, y, 'bernoulli', prior='weak')",
    "naive_bayes, categorical": "dg.naive_bayes(bits, y, 'categorical', prior='weak')",
    "naive_bayes, multinomial": "dg.naive_bayes(counts, y, 'multinomial', prior='weak')",
    "naive_bayes, cells missing": "dg.naive_bayes(holes, y)",
    "discriminant_analysis, LDA": "dg.discriminant_analysis(x, y)",
    "discriminant_analysis, QDA": "dg.discriminant_analysis(x, y, 'full')",
    "mixture_discriminant_analysis": "dg.mixture_discriminant_analysis(key, x, y)",
    "gaussian_mixture": "dg.gaussian_mixture(key, x, k)",
    "gaussian_mixture, cells missing": "dg.gaussian_mixture(key, holes, k)",
    "hidden_markov": "dg.hidden_markov(key, steps, k)",
    "logistic_regression": "dg.logistic_regression(4, k)",
    "weak_prior": "dg.weak_prior(rows, x)",
}
FITS = {
    "fit, full": "dg.fit(rows, x, max_steps=20).model",
    "fit, tied": "dg.fit(tied, x, max_steps=20).model",
    "fit, diagonal": "dg.fit(apart, x, max_steps=20).model",
    "fit, cells missing": "dg.fit(rows, holes, max_steps=20).model",
    "fit, some labels": "dg.fit(rows, x, some, max_steps=20).model",
    "fit, logistic": "dg.fit(logistic, x, y, prior=prior).model",
    "fit, hidden Markov": "dg.fit(chain, steps, max_steps=20).model",
    "fit, CRF": "dg.fit(crf, steps, states, prior=prior, max_steps=20).model",
}
VERBS = {
    "log_prob": "dg.log_prob(rows, x)",
    "log_prob, cells missing": "dg.log_prob(rows, holes)",
    "log_joint": "dg.log_joint(rows, x, y)",
    "log_conditional": "dg.log_conditional(rows, x, y)",
    "predict_log_proba": "dg.predict_log_proba(rows, x)",
    "predict": "dg.predict(rows, x)",
    "predict, logistic": "dg.predict(logistic, x)",
    "predict_log_proba, logistic": "dg.predict_log_proba(logistic, x)",
    "sample": "dg.sample(rows, key, len(x))",
    "sample_labels": "dg.sample_labels(rows, key, x)",
    "sample_missing": "dg.sample_missing(rows, key, holes)",
    "impute": "dg.impute(rows, holes)",
    "marginal": "dg.marginal(rows, [0, 3])",
    "discriminative": "dg.discriminative(rows)",
    "bic": "dg.bic(rows, x)",
    "anomaly_threshold": "dg.anomaly_threshold(rows, x)",
    "log_prob, hidden Markov": "dg.log_prob(chain, steps)",
    "predict_log_proba, hidden Markov": "dg.predict_log_proba(chain, steps)",
    "predict, hidden Markov": "dg.predict(chain, steps)",
    "sample, hidden Markov": "dg.sample(chain, key, steps.shape[:2])",
    "sample_labels, hidden Markov": "dg.sample_labels(chain, key, steps)",
    "impute, hidden Markov": "dg.impute(chain, steps)",
    "forecast": "dg.forecast(chain, steps, 3)",
    "predict, CRF": "dg.predict(crf, steps)",
    "predict_log_proba, CRF": "dg.predict_log_proba(crf, steps)",
}
CALLS = STARTERS | FITS | VERBS
GRID = """
import warnings
rng, key = np.random.default_rng(0), jax.random.key(0)
x = (np.array([[2.0, 54.0], [4.3, 80.0]])[rng.integers(2, size=272)] + rng.normal(size=(272, 2)) * [0.4, 6.0])
x = x.astype("float32")
def grid():
    found = []
    for covariance in ("full", "tied", "diagonal", "spherical"):
        for k in range(1, 9):
            start = dg.gaussian_mixture(key, x, k, covariance=covariance)
            found.append(float(dg.bic(dg.fit(start, x, prior="weak").model, x)))
    return found
def peers():
    from sklearn.mixture import GaussianMixture
    return [
        float(GaussianMixture(k, covariance_type=covariance).fit(x).bic(x))
        for covariance in ("full", "tied", "diag", "spherical") for k in range(1, 9)
    ]
"""
MEMORY = """
import gc
rng, key = np.random.default_rng(0), jax.random.key(0)
def held():
    gc.collect()
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS"))
def fit(n, d=4, k=3):
    x = (3 * np.eye(k, d)[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype("float32")
    start = dg.Mixture(np.zeros(k, "float32"), dg.DiagonalGaussian(3 * np.eye(k, d, dtype="float32"),
        np.zeros((k, d), "float32")))
    jax.block_until_ready(jax.tree.leaves(dg.fit(start, x, prior="weak", max_steps=3).model))
def growth(shapes):
    fit(20)
    before = held()
    for shape in shapes:
        fit(*shape)
    return held() - before
"""


@contextlib.contextmanager
def processes(python):
    """A function of what `fresh.answer` takes; its answer."""
    program = [python, "-W", "ignore", str(pathlib.Path(__file__).with_name("fresh.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def asked(**told):
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert "error" not in answer, answer["error"]
            return answer

        yield asked
        process.stdin.close()


@pytest.fixture(scope="module")
def fresh():
    with processes(sys.executable) as asked:
        yield asked


def record(benchmark, seconds, **facts):
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(
        family="first call of 150 rows", n=150, dtype="float32", median_s=seconds, peers={}, **facts
    )


@pytest.mark.parametrize("name", CALLS)
def test_first_call(benchmark, quick, fresh, tmp_path, name):
    if quick and name != "naive_bayes":
        pytest.skip("a process for each function takes minutes")
    call = f"jax.tree.leaves({CALLS[name]})"
    cold = fresh(setup=SETUP, call=call, again=FEWER)
    fresh(setup=SETUP, call=call, folder=str(tmp_path))
    warm = fresh(setup=SETUP, call=call, folder=str(tmp_path))
    record(benchmark, cold["seconds"], function=name, warm_s=warm["seconds"], programs_of_another_n=cold["programs"])


def test_grid(benchmark, quick, fresh, tmp_path):
    """32 mixtures by BIC, each of other shapes; scikit-learn's in its own process."""
    if quick:
        pytest.skip("it compiles for half a minute")
    cold = fresh(setup=GRID, call="grid()", folder=str(tmp_path))
    warm = fresh(setup=GRID, call="grid()", folder=str(tmp_path), value=True)
    peer = fresh(setup=GRID, call="peers()", value=True)
    assert min(warm["value"]) < min(peer["value"]) + 20
    facts = {"warm_s": warm["seconds"], "scikit_learn_s": peer["seconds"]}
    record(benchmark, cold["seconds"], function="a grid of 32 mixtures on 272 rows, with their BIC", **facts)


MANY = {
    "memory after 500 fits of 500 numbers of rows": "growth([(20 + 4 * i,) for i in range(500)])",
    "memory after 20 fits of 20 numbers of columns": "growth([(150, d) for d in range(5, 25)])",
}


@pytest.mark.parametrize("name", MANY)
def test_memory(benchmark, quick, fresh, name):
    if quick:
        pytest.skip("it compiles for half a minute")
    found = fresh(setup=MEMORY, call=MANY[name], value=True)
    record(benchmark, found["seconds"], function=name, memory_mb=found["value"])
