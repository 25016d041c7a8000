"""Anomalies: a p-value of rows that the model was not fitted to promises a rate of false alarms, and keeps it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax as dg

MODEL = dg.Gaussian(np.zeros((1, 2)), np.eye(2)[None])
LEVELS = 0.01, 0.05, 0.2, 0.5


def test_a_p_value_counts_the_rows_that_are_no_less_unusual():
    random = np.random.default_rng(0)
    calibration, x = (random.normal(size=(n, 2)).astype("float32") for n in (30, 7))
    calibration[0] = x[0]
    known, new = np.asarray(dg.log_prob(MODEL, calibration)), np.asarray(dg.log_prob(MODEL, x))
    wanted = (1 + (known <= new[:, None]).sum(1)) / 31
    found = dg.anomaly_pvalue(MODEL, calibration, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(lambda x: dg.anomaly_pvalue(MODEL, calibration, x))(x), wanted, rtol=1e-6)
    far = dg.anomaly_pvalue(MODEL, calibration, np.full((1, 2), 99.0))
    assert float(far[0]) == pytest.approx(1 / 31)


def within(rate, level, trials):
    """Whether a rate of false alarms is a level to within four standard deviations of a binomial share."""
    return abs(rate - level) < 4 * np.sqrt(level * (1 - level) / trials)


def test_false_alarms_are_as_many_as_promised_even_of_a_wrong_model():
    """Levels that are multiples of 1 / (1 + m) are met exactly, in the mean over calibrations: each is drawn anew."""
    random, m, trials = np.random.default_rng(1), 99, 2000
    rows = random.exponential(size=(trials * (m + 1), 2)).astype("float32")  # of no normal distribution
    scores = np.asarray(dg.log_prob(MODEL, rows)).reshape(trials, m + 1)
    values = np.array([dg.anomaly_pvalue(MODEL, own[:m], own[m:])[0] for own in rows.reshape(trials, m + 1, 2)[:200]])
    wanted = (1 + (scores[:, :m] <= scores[:, m:]).sum(1)) / (m + 1)
    np.testing.assert_allclose(values, wanted[:200], rtol=1e-6)
    for level in LEVELS:
        assert within((wanted <= level + 1e-9).mean(), level, trials), level


def test_a_table_keeps_the_promise_where_a_threshold_on_training_rows_does_not():
    table = pytest.importorskip("sklearn.datasets").load_breast_cancer().data
    x = (table / table.std(0)).astype("float32")
    random, splits, m, n = np.random.default_rng(2), 40, 199, 170
    flagged, naive = {level: [] for level in LEVELS}, []
    for _ in range(splits):
        training, calibration, new = np.split(x[random.permutation(len(x))], [len(x) - m - n, len(x) - n])
        spread = np.cov(training, rowvar=False)
        model = dg.Gaussian(training.mean(0)[None], np.linalg.cholesky(spread)[None].astype("float32"))
        values = np.asarray(dg.anomaly_pvalue(model, calibration, new))
        for level in LEVELS:
            flagged[level].append((values <= level + 1e-6).mean())
        naive.append(float((dg.log_prob(model, new) < dg.anomaly_threshold(model, training, 0.05)).mean()))
    for level in LEVELS:
        # The share of one calibration varies by 1 / m as well, and rows of different splits are partly the same.
        error = np.sqrt(level * (1 - level) * (1 / m + 1 / n) / splits)
        assert abs(np.mean(flagged[level]) - level) < 4 * error, level
    assert np.mean(naive) > 0.1


def test_what_is_refused_is_told():
    x = np.zeros((3, 2))
    with pytest.raises(ValueError, match="calibration must have at least one row"):
        dg.anomaly_pvalue(MODEL, x[:0], x)
    with pytest.raises(ValueError, match="discriminative"):
        dg.anomaly_pvalue(dg.logistic_regression(2, 2), x, x)


def test_a_table_with_names_is_one_of_rows():
    random = np.random.default_rng(0)
    frame = {"a": random.normal(size=20), "b": random.normal(size=20)}
    start = dg.gaussian_mixture(jax.random.key(0), frame, 1, "diagonal")
    model = dg.fit(start, frame).model
    found = dg.anomaly_pvalue(model, frame, {"a": np.array([9.0]), "b": np.array([9.0])})
    assert float(found[0]) == pytest.approx(1 / 21)
