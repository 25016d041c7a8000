"""Rows that number their features: the same as the counts of each feature, which are never made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_close, assert_same_tree

import dgjax as dg

N, T, M, V, K = 9, 4, 3, 7, 3
LENGTHS = np.array([4, 1, 3, 4, 2, 4, 4, 3, 4])
pytestmark = pytest.mark.xdist_group("indicators")


def counts(x):
    """How often each feature is on in a row."""
    return (x[..., None] == np.arange(V)).sum(-2).astype(x.dtype)


def table(dtype="float32", seed=0):
    """Rows, some with a feature twice and some with none; and labels of each step, some unknown."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-1, V, size=(N, T, M)).astype(dtype)
    x[0, 0], x[1, 0] = -1, 2
    y = np.where(rng.random((N, T)) < 0.8, rng.integers(K, size=(N, T)), -1)
    return x, np.where(np.arange(T) < LENGTHS[:, None], y, -1)


def pair(kind, dtype="float32"):
    """The same model of feature numbers and of counts, and how to ask both."""
    rng = np.random.default_rng(1)
    bias, moves, weight = (jnp.asarray(rng.normal(size=shape), dtype) for shape in ((K,), (K, K), (K, V)))
    x, y = table(dtype)
    scorers = dg.Indicators(weight), dg.Linear(weight)
    if kind == "chain":
        return [dg.LinearChainCRF(bias, moves, scorer) for scorer in scorers], x, y, {"lengths": LENGTHS}
    return [dg.Logistic(bias, scorer) for scorer in scorers], x.reshape(-1, M), y.reshape(-1), {}


def test_scores_are_those_of_counts(dtype):
    x = jnp.asarray(table(dtype)[0].reshape(-1, M))
    weight, cotangent = (
        jax.random.normal(jax.random.key(i), shape, dtype) for i, shape in enumerate([(K, V), (len(x), K)])
    )
    expected = dg.Linear(weight).scores(counts(x))
    scores = jax.jit(dg.Indicators(weight).scores)
    assert_close(scores(x), expected)
    assert_close(scores(x[:, ::-1]), expected)
    assert_close(scores(jnp.concatenate([jnp.full_like(x, -1), x], -1)), expected)
    assert_close(jax.vmap(lambda row: dg.Indicators(weight).scores(row[None])[0])(x), expected)
    slope = jax.grad(lambda weight: (dg.Indicators(weight).scores(x) * cotangent).sum())(weight)
    assert_close(slope, cotangent.T @ counts(x))


@pytest.mark.parametrize("kind", ["rows", "chain"])
def test_answers_are_those_of_counts(kind):
    (model, dense), x, y, given = pair(kind)

    @jax.jit
    def ask(model, x):
        score = jax.value_and_grad(lambda m: dg.log_conditional(m, x, y, **given).sum())(model)
        return score, dg.predict(model, x, **given), dg.sample_labels(model, jax.random.key(0), x, **given)

    for one, other in zip(*map(jax.tree.leaves, (ask(model, x), ask(dense, counts(x)))), strict=True):
        assert_close(one, other, 1e-4)
    assert_close(dg.predict_log_proba(model, x, **given), dg.predict_log_proba(dense, counts(x), **given))
    for verb in (dg.predict, dg.predict_log_proba):
        np.testing.assert_array_equal(verb(model, x.tolist(), **given), verb(model, x, **given))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rows", "chain"])
def test_a_fit_is_that_of_counts(kind, x64):
    (model, dense), x, y, given = pair(kind, "float64")
    options = {"prior": dg.priors.Ridge(0.1), "method": dg.LBFGS(1e-13), **given}
    fitted, expected = dg.fit(model, x, y, **options), dg.fit(dense, counts(x), y, **options)
    assert_close(fitted.objective[-1], expected.objective[-1])
    assert_close(fitted.model.scorer.weight, expected.model.scorer.weight, 1e-5)


def test_steps_beyond_the_length_may_be_anything(tmp_path):
    (model, _), x, _, given = pair("chain")
    padded, lengths = dg.pad([x[i, :length] for i, length in enumerate(LENGTHS)])
    assert np.isnan(padded).any()
    assert_close(dg.predict_log_proba(model, padded, lengths), dg.predict_log_proba(model, x, **given))
    dg.save(tmp_path / "model", model)
    assert_same_tree(dg.load(tmp_path / "model"), model)


def test_beside_other_columns():
    """Feature numbers in some columns and a plain number in another; and a feature that rules a label out."""
    (model, dense), x, *_ = pair("rows")
    age = np.linspace(-1, 1, len(x), dtype="float32")[:, None]
    slope = dg.Linear(np.array([[1.0], [-1.0], [0.5]]))
    both = [dg.ColumnScorers((slope, m.scorer), ((w,), tuple(range(w)))) for m, w in [(model, M), (dense, V)]]
    found, expected = (
        dg.predict_log_proba(dg.Logistic(model.bias, scorer), np.concatenate([rows, age], -1))
        for scorer, rows in zip(both, (x, counts(x)), strict=True)
    )
    assert_close(found, expected)
    never = dg.Logistic(model.bias, dg.Indicators(model.scorer.weight.at[1, 2].set(-jnp.inf)))
    ruled_out = np.isneginf(dg.predict_log_proba(never, x)[:, 1])
    assert (ruled_out == (x == 2).any(-1)).all()
    y = np.arange(len(x)) % K
    fitted = dg.fit(
        never, np.where(x == 2, -1, x), y, prior=dg.priors.Ridge(0.1), method=dg.LBFGS(tol=0.0), max_steps=3
    ).model
    assert np.isneginf(fitted.scorer.weight[1, 2])
    assert np.isfinite(fitted.scorer.weight).sum() == K * V - 1


def test_inside_jit_a_number_of_no_feature_is_not_taken_for_another():
    (model, _), x, *_ = pair("rows")
    for wrong in (V, -2, 0.5, np.nan):
        x[3, 1] = wrong
        log_proba = jax.jit(dg.predict_log_proba)(model, x)
        assert np.isnan(log_proba[3]).all()
        assert np.isfinite(log_proba[:3]).all()


WRONG = {
    "NaN": (lambda m, x: dg.predict(m, np.where(x == 0, np.nan, x)), r"is nan.*-1 for none\. A logistic model cannot"),
    "a number too many": (lambda m, x: dg.predict(m, np.where(x == 0, V, x)), r"is 7\.0.*from 0 to 6, or -1 for none"),
    "below -1": (lambda m, x: dg.predict(m, x - 1), r"is -2\.0"),
    "half a number": (lambda m, x: dg.predict(m, x / 2), "whole number from 0 to 6"),
    "other features": (lambda m, x: dg.linear_chain_crf(3, 2, features="binary"), "\"indicator\"; got 'binary'"),
    "too many to number": (
        lambda m, x: dg.Indicators(jax.ShapeDtypeStruct((2, 2**24 + 1), "float32")),
        "at most 16777216 features in float32",
    ),
}


@pytest.mark.parametrize("mistake", WRONG, ids=str)
def test_mistakes_are_named(mistake):
    call, words = WRONG[mistake]
    (model, _), x, *_ = pair("rows")
    with pytest.raises(ValueError, match=words):
        call(model, x)
