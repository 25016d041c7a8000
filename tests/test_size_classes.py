"""Size classes: another number of rows of one class is no other program, and changes no result."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax as dg
from dgjax import _arguments
from dgjax.data import _size_classes
from dgjax.data._size_classes import DOUBLING, LARGE, cut, in_size_class, size_class

KEY, K, D = jax.random.key(0), 3, 4
N, OTHER, T, OTHER_T = 150, 147, 20, 19


def made(n, t, holes):
    """Rows, labels, sequences, states and lengths, of which smaller ones begin alike."""
    rng = np.random.default_rng(0)
    y = rng.integers(K, size=256)
    x = (3 * np.eye(K, D)[y] + rng.normal(size=(256, D))).astype("float32")
    x = np.where(rng.random(x.shape) < 0.2, np.nan, x) if holes else x
    steps = rng.normal(size=(16, 20, D)).astype("float32")
    states = rng.integers(K, size=(16, 20))
    lengths = np.full(n // 10, t)
    return x[:n], y[:n], steps[: n // 10, :t], states[: n // 10, :t], lengths


@contextlib.contextmanager
def programs():
    """Names of what is traced or compiled within."""
    seen = []
    watch = lambda event, _, **facts: seen.append((event, facts)) if "/compile/" in event else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(watch)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(watch)


def leaves(result):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(result) if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)]


ROWS = dg.Mixture(jnp.log(jnp.full(K, 1 / K)), dg.Gaussian(3 * jnp.eye(K, D), jnp.broadcast_to(jnp.eye(D), (K, D, D))))
CHAIN = dg.HiddenMarkov(jnp.zeros(K), jnp.zeros((K, K)), dg.DiagonalGaussian(3 * jnp.eye(K, D), jnp.zeros((K, D))))
LOGISTIC = dg.Logistic(jnp.zeros(K), dg.Linear(jnp.eye(K, D)))
VERBS = {
    "log_prob": lambda x, y, *_: dg.log_prob(ROWS, x),
    "log_joint": lambda x, y, *_: dg.log_joint(ROWS, x, y),
    "log_conditional": lambda x, y, *_: dg.log_conditional(ROWS, x, y),
    "predict_log_proba": lambda x, *_: dg.predict_log_proba(ROWS, x),
    "predict": lambda x, *_: dg.predict(ROWS, x),
    "sample_labels": lambda x, *_: dg.sample_labels(ROWS, KEY, x),
    "sample_missing": lambda x, *_: dg.sample_missing(ROWS, KEY, x),
    "impute": lambda x, *_: dg.impute(ROWS, x),
    "chain, log_prob": lambda x, y, s, *_: dg.log_prob(CHAIN, s),
    "chain, lengths": lambda x, y, s, z, n: dg.log_prob(CHAIN, s, n - 1),
    "chain, log_joint": lambda x, y, s, z, n: dg.log_joint(CHAIN, s, z, n),
    "chain, predict": lambda x, y, s, *_: dg.predict(CHAIN, s),
    "chain, predict_log_proba": lambda x, y, s, *_: dg.predict_log_proba(CHAIN, s),
    "chain, impute": lambda x, y, s, *_: dg.impute(CHAIN, s),
    "chain, sample_labels": lambda x, y, s, *_: dg.sample_labels(CHAIN, KEY, s),
}
COMPLETE = {"logistic": lambda x, *_: dg.predict_log_proba(LOGISTIC, x)}
LEARNT = {
    "naive_bayes": lambda x, y, *_: dg.naive_bayes(x, y, weights=np.ones(len(y))),
    "discriminant_analysis": lambda x, y, *_: dg.discriminant_analysis(x, y, prior="weak"),
    "gaussian_mixture": lambda x, *_: dg.gaussian_mixture(KEY, x, K),
    "hidden_markov": lambda x, y, s, *_: dg.hidden_markov(KEY, s, K),
    "fit": lambda x, *_: dg.fit(ROWS, x, prior="weak", max_steps=3),
    "fit, restarts": lambda x, *_: dg.fit(ROWS, x, method=dg.Restarts(2, KEY), max_steps=3),
    "fit, some labels": lambda x, y, *_: dg.fit(ROWS, x, np.where(y == 0, -1, y), max_steps=3),
    "fit, chain": lambda x, y, s, *_: dg.fit(CHAIN, s, max_steps=3),
    "weak_prior": lambda x, *_: dg.weak_prior(ROWS, x),
}
OF_COMPLETE = {
    "sample": lambda x, *_: dg.sample(ROWS, KEY, len(x)),
    "chain, sample": lambda x, y, s, *_: dg.sample(CHAIN, KEY, (len(s), T)),
    "fit, logistic": lambda x, y, *_: dg.fit(LOGISTIC, x, y, prior=dg.priors.Ridge(1.0)),
    "fit, L-BFGS": lambda x, y, *_: dg.fit(LOGISTIC, x, y, method=dg.LBFGS(), prior=dg.priors.Ridge(1.0), max_steps=5),
}
CASES = [
    *((name, call, holes) for name, call in (VERBS | LEARNT).items() for holes in (False, True)),
    *((name, call, False) for name, call in (COMPLETE | OF_COMPLETE).items()),
]
IDS = [f"{name}{', cells missing' * holes}" for name, _, holes in CASES]


@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
@pytest.mark.parametrize(("name", "call", "holes"), CASES, ids=IDS)
def test_another_number_of_rows_compiles_nothing(name, call, holes):
    call(*made(N, T, holes))
    with programs() as seen:
        call(*made(OTHER, OTHER_T, holes))
    assert not seen, [facts.get("fun_name", event) for event, facts in seen]


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("name", VERBS)
def test_rows_that_pad_change_no_bit(name, holes):
    """Rows by themselves, and with others after them, in one class."""
    x, y, s, z, n = made(N, T, holes)
    whole, part = leaves(VERBS[name](x, y, s, z, n)), leaves(VERBS[name](x[:OTHER], y[:OTHER], s[:-1], z[:-1], n[:-1]))
    for one, other in zip(whole, part, strict=True):
        assert len(other) in (OTHER, len(s) - 1)
        np.testing.assert_array_equal(one[: len(other)], other)


def test_samples_begin_with_those_of_fewer():
    for model, size in ((ROWS, ()), (CHAIN, (T,))):
        more, fewer = (dg.sample(model, KEY, (n, *size)) for n in (N, 5))
        jax.tree.map(lambda one, other: np.testing.assert_array_equal(one[:5], other), more, fewer)


WEIGHED = {
    "naive_bayes": lambda x, y, s, w: dg.naive_bayes(x, y, weights=w),
    "discriminant_analysis": lambda x, y, s, w: dg.discriminant_analysis(x, y, prior="weak", weights=w),
    "fit": lambda x, y, s, w: dg.fit(ROWS, x, weights=w, max_steps=3).model,
    "fit, prior": lambda x, y, s, w: dg.fit(ROWS, x, prior="weak", weights=w, max_steps=3).model,
    "fit, chain": lambda x, y, s, w: dg.fit(CHAIN, s, prior="weak", weights=w[-len(s) :], max_steps=3).model,
    "weak_prior": lambda x, y, s, w: dg.weak_prior(ROWS, x, weights=w),
}


@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
@pytest.mark.parametrize("name", WEIGHED)
def test_rows_that_pad_count_for_nothing(name):
    """As many rows as a class holds, the last of no weight, are learnt from as one fewer, which is padded."""
    x, y, *_ = made(128, T, False)
    s, weights = np.resize(x, (16, T, D)), np.ones(128)
    weights[-1] = 0
    padded, whole = WEIGHED[name](x[:127], y[:127], s[:15], weights[:127]), WEIGHED[name](x, y, s, weights)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5), padded, whole)


def searched(k, covariance):
    """A mixture of k components as one searches for their number: its start, the fit, and the criterion."""
    x = made(N, T, False)[0]
    start = dg.gaussian_mixture(KEY, x, k, covariance)
    fit = dg.fit(start, x, prior="weak", max_steps=3)
    return start, fit.model, fit.objective, dg.bic(fit.model, x)


COVARIANCES = ["diagonal", *(pytest.param(one, marks=pytest.mark.slow) for one in ("full", "tied", "spherical"))]


@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_components_that_pad_count_for_nothing_and_compile_nothing(covariance, monkeypatch):
    searched(2, covariance)
    with programs() as seen:
        searched(1, covariance)
        padded = searched(3, covariance)
    assert not seen, [facts.get("fun_name", event) for event, facts in seen]
    monkeypatch.setattr(_size_classes, "LITTLE_WORK", 0)
    own = searched(3, covariance)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5), padded, own)


def test_a_fit_of_padded_components_that_collapses_says_so():
    rows = np.repeat(np.array([[0.0, 1.0], [1.0, 0.0]], "float32"), 20, 0)
    start = dg.Mixture(np.zeros(2), dg.Gaussian(rows[[0, 39]], np.broadcast_to(np.eye(2), (2, 2, 2))))
    with pytest.raises(ValueError, match="fit collapsed"):
        dg.fit(start, rows)


def test_a_learning_curve_has_few_classes():
    sizes = np.unique(np.geomspace(20, 2000, 20).astype(int))
    assert len({size_class(int(n)) for n in sizes}) <= 8
    folds = [np.arange(i, 1003, 5) for i in range(5)]
    assert len({size_class(1003 - len(fold)) for fold in folds}) == len({size_class(len(fold)) for fold in folds}) == 1


@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 2047, 2048, 2049, 2177, 10_000, 65_537, 10**6 + 1])
def test_a_class_is_not_much_larger(n):
    size = size_class(n)
    assert size >= n
    assert size_class(size) == size
    assert size <= max(16, 2 * n) if n <= DOUBLING else size < n * (1 + 1 / 8)


def test_what_is_large_or_traced_keeps_its_size():
    large = np.zeros((LARGE // 8 + 1, 1))
    assert in_size_class(large)[0] is large
    assert jax.jit(lambda x: in_size_class(x)[0])(np.zeros((17, 2))).shape == (17, 2)
    x = np.zeros((17, D), "float32")
    inside = jax.jit(lambda model: dg.log_prob(model, x))(ROWS)
    np.testing.assert_allclose(inside, dg.log_prob(ROWS, x), rtol=1e-6)


@pytest.mark.parametrize("public", [False, True])
def test_what_is_cut_stays_where_it_is(monkeypatch, public):
    """On its device, committed to it or not, in its dtype; and where JAX lacks the call that is not public."""
    if public:
        monkeypatch.setattr(_arguments, "_put", None)
    paths = np.arange(16 * 8).reshape(16, 8)
    for whole in (jax.device_put(paths), jax.device_put(paths, jax.devices()[0]), jax.device_put(paths / 2)):
        for part, expected in ((cut(whole, 9), whole[:9]), (cut(whole, 9, 5), whole[:9, :5])):
            np.testing.assert_array_equal(part, expected)
            assert (part.dtype, part.devices(), part.weak_type) == (whole.dtype, whole.devices(), False)
            assert public or part.committed == whole.committed
    assert cut(whole, 16) is whole


def test_what_was_given_may_be_changed_afterwards():
    """Even where no row pads: the program has its own copy, or has run."""
    x = np.zeros((16, D), "float32")
    before = dg.log_prob(ROWS, x)
    x[:] = 9
    np.testing.assert_array_equal(before, dg.log_prob(ROWS, np.zeros((16, D), "float32")))


@pytest.mark.parametrize("name", [
    "discriminant_analysis", pytest.param("gaussian_mixture", marks=pytest.mark.slow),
    pytest.param("hidden_markov", marks=pytest.mark.slow), pytest.param("weak_prior", marks=pytest.mark.slow),
])  # fmt: skip
def test_within_a_program_what_is_compiled_apart_is_a_part_of_it(name):
    """Options of a compilation are for whole programs, XLA refuses them for parts; and rows are padded there too."""
    given = made(N, T, False)
    inside, outside = jax.jit(lambda: LEARNT[name](*given))(), LEARNT[name](*given)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), inside, outside)
