"""Calls as errors advise them: the call fails, and with what is typed in its place it gives what was meant."""

import copy
import pickle
import re

import advised
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from advised import CHAIN, ROWS, X, Y, typed

import dgjax as dg

pandas = pytest.importorskip("pandas")
pytestmark = pytest.mark.usefixtures("without_the_type_checker")

TEXT = pandas.DataFrame({"a": ["u", "v", None, "u", "v", "u"], "b": [1, 2, 1, 2, 1, 1]})
WHOLE = np.array([[0, 5], [8, 1], [3, 2], [2, 0], [1, 1], [4, 3]])
RATES = dg.Mixture(np.zeros(2), dg.Poisson(np.arange(4.0).reshape(2, 2)))
BITS = dg.Mixture(np.zeros(2), dg.Bernoulli([[0.2, -1.0, 0.5], [1.0, 0.3, -0.4]]))
REALS = dg.DiagonalGaussian(np.zeros((2, 1)), np.zeros((2, 1)))
CODES = dg.Columns((dg.Categorical(np.zeros((2, 2, 2))), REALS), ((0, 2), (1,)))
CODES = dg.Mixture(np.zeros(2), CODES)
BITS_AND_REALS = dg.Mixture(np.zeros(2), dg.Columns((BITS.density.marginal((0, 1)), REALS), ((0, 1), (2,))))
MANY = np.where(np.arange(4) < 3 + np.arange(20)[:, None] % 2, 0, -np.inf)
MANY = dg.Mixture(np.zeros(1), dg.Categorical(MANY[None]))
LOGISTIC = dg.Logistic(np.zeros(2), dg.Linear(np.eye(2)))
CRF = dg.LinearChainCRF(np.zeros(2), np.zeros((2, 2)), dg.Linear(np.eye(2)))
SEQUENCES, PATHS = [X[:4], X[4:]], [Y[:4], Y[4:]]
OPTAX = dg.Optax(optax.adam(0.1))
LABELLED = "dgjax.log_joint(CHAIN, dgjax.pad(SEQUENCES)[0], {}, dgjax.pad(SEQUENCES)[1])"
# A call with what is given, that with what is typed in its place, and what must come out: another call, or nothing.
CALLS = {
    "a single class": ("bayes(X, y * 0)", "{}", "dgjax.gaussian_mixture(KEY, X, 2)"),
    "no label": ("bayes(X, y * 0 - 1)", "{}", "dgjax.gaussian_mixture(KEY, X, 2)"),
    "no label, of two classes": ("bayes(X, y * 0 - 1, num_classes=2)", "{}", "dgjax.gaussian_mixture(KEY, X, 2)"),
    "labels that are None": ("bayes(X, None)", "{}", "dgjax.gaussian_mixture(KEY, X, 2)"),
    "one class and unknown ones, masked": (
        "dgjax.discriminant_analysis(X, np.ma.masked_equal(y, 1))",
        "{}",
        "dgjax.gaussian_mixture(KEY, X, 2)",
    ),
    "a single class, to learn": ("dgjax.fit(LOGISTIC, X, y * 0)", "{}", "dgjax.gaussian_mixture(KEY, X, 2)"),
    "no label, to learn": ("dgjax.fit(LOGISTIC, X)", "{}", "dgjax.gaussian_mixture(KEY, X, 2)"),
    "no state, to learn": ("dgjax.fit(CRF, x, y[None] * 0 - 1)", "{}", "dgjax.hidden_markov(KEY, X[None], 2)"),
    "a count, to Bernoulli": (
        "bayes(WHOLE, kinds='bernoulli')",
        "bayes(WHOLE, {})",
        "bayes(WHOLE, kinds='categorical')",
    ),
    "counts beside reals": (
        "bayes(np.c_[WHOLE, X], kinds=['bernoulli', 'poisson', 'gaussian', 'gaussian'])",
        "bayes(np.c_[WHOLE, X], {})",
        "bayes(np.c_[WHOLE, X], kinds=['categorical', 'poisson', 'gaussian', 'gaussian'])",
    ),
    "reals, to Poisson": ("bayes(X, kinds='poisson')", "bayes(X, {})", "bayes(X)"),
    "states of reals": (
        "dgjax.hidden_markov(KEY, X[None], 2, emissions='poisson')",
        "dgjax.hidden_markov(KEY, X[None], 2, {})",
        None,
    ),
    "reals, to a network for bits": (
        "dgjax.fit(dgjax.neural_classifier(KEY, 2, 2, 'bernoulli', (2,)), X, Y, OPTAX, max_steps=1)",
        "dgjax.fit(dgjax.neural_classifier(KEY, 2, 2, {}, hidden=(2,)), X, Y, OPTAX, max_steps=1).model",
        "dgjax.fit(dgjax.neural_classifier(KEY, 2, 2, hidden=(2,)), X, Y, OPTAX, max_steps=1).model",
    ),
    "counts, to learn": ("dgjax.fit(RATES, X, y)", "bayes(X, {})", "bayes(X)"),
    "minus one where missing": (
        "dgjax.log_prob(RATES, {WHOLE - 1})",
        "dgjax.log_prob(RATES, {})",
        "dgjax.log_prob(RATES, np.where(WHOLE > 0, WHOLE - 1, np.nan))",
    ),
    "minus one where missing, masked": (
        "dgjax.log_prob(RATES, {np.ma.masked_equal(WHOLE - 1, 1)})",
        "dgjax.log_prob(RATES, {})",
        "dgjax.log_prob(RATES, np.where((WHOLE == 0) | (WHOLE == 2), np.nan, WHOLE - 1))",
    ),
    "a fraction": ("dgjax.log_prob(RATES, {WHOLE + 0.2})", "dgjax.log_prob(RATES, {})", "dgjax.log_prob(RATES, WHOLE)"),
    "categories not seen, in several columns": (
        "dgjax.log_prob(CODES, {np.array([[2, 1.5, 3], [0, 9.9, np.nan], [5, 0, 1]])})",
        "dgjax.log_prob(CODES, {})",
        "dgjax.log_prob(CODES, np.array([[np.nan, 1.5, np.nan], [0, 9.9, np.nan], [np.nan, 0, 1]]))",
    ),
    "categories not seen, in many columns": (
        "dgjax.log_prob(MANY, {np.arange(20.0)[None]})",
        "dgjax.log_prob(MANY, {})",
        "dgjax.log_prob(MANY, np.where(np.arange(20) > 2 + np.arange(20) % 2, np.nan, np.arange(20.0))[None])",
    ),
    "grey for black and white": (
        "dgjax.predict_log_proba(BITS, {7 * np.eye(3)})",
        "dgjax.predict_log_proba(BITS, {})",
        "dgjax.predict_log_proba(BITS, np.eye(3))",
    ),
    "grey for black and white, with holes": (
        "dgjax.predict_log_proba(BITS, {np.where(np.eye(3), np.nan, 9.0)})",
        "dgjax.predict_log_proba(BITS, {})",
        "dgjax.predict_log_proba(BITS, np.where(np.eye(3), np.nan, 1))",
    ),
    "grey for black and white, to a twin": (
        "dgjax.predict_log_proba(dgjax.discriminative(BITS), {7 * np.eye(3)})",
        "dgjax.predict_log_proba(dgjax.discriminative(BITS), {})",
        "dgjax.predict_log_proba(dgjax.discriminative(BITS), np.eye(3))",
    ),
    "grey in one column of two": (
        "dgjax.log_prob(BITS_AND_REALS, {np.array([[9.0, 1, 3], [0, 1, 5]])})",
        "dgjax.log_prob(BITS_AND_REALS, {})",
        "dgjax.log_prob(BITS_AND_REALS, np.array([[1.0, 1, 3], [0, 1, 5]]))",
    ),
    "minus one where a bit is missing": (
        "dgjax.log_prob(BITS, {np.eye(3) - np.eye(3)[::-1]})",
        "dgjax.log_prob(BITS, {})",
        "dgjax.log_prob(BITS, np.where(np.eye(3) < np.eye(3)[::-1], np.nan, np.eye(3) - np.eye(3)[::-1]))",
    ),
    "infinite": (
        "dgjax.log_prob(ROWS, {np.where(X > 1, np.inf, X)})",
        "dgjax.log_prob(ROWS, {})",
        "dgjax.log_prob(ROWS, np.where(X > 1, np.nan, X))",
    ),
    "columns for rows": ("dgjax.log_prob(ROWS, {X.T})", "dgjax.log_prob(ROWS, {})", "dgjax.log_prob(ROWS, X)"),
    "columns for rows, a list": ("dgjax.log_prob(ROWS, {X.T.tolist()})", "dgjax.log_prob(ROWS, {})", None),
    "columns for rows, to learn": ("bayes({X.T})", "bayes({})", "bayes(X)"),
    "columns for steps": ("dgjax.log_prob(CHAIN, {X.T[None]})", "dgjax.log_prob(CHAIN, {})", None),
    "weights of rows": ("dgjax.naive_bayes({X.T}, np.r_[0, 1], weights=np.ones(6))", "bayes({})", "bayes(X)"),
    "a column too many": (
        "dgjax.log_prob(ROWS, {np.c_[X, Y]})",
        "dgjax.log_prob(ROWS, {})",
        "dgjax.log_prob(ROWS, X)",
    ),
    "a column too many, in a frame": (
        "dgjax.log_prob(ROWS, {pandas.DataFrame(np.c_[X, Y])})",
        "dgjax.log_prob(ROWS, {})",
        None,
    ),
    "a column too few": (
        "dgjax.log_prob(ROWS, {X[:, :1]})",
        "dgjax.log_prob(ROWS, {})",
        "dgjax.log_prob(ROWS, np.c_[X[:, :1], np.full(len(X), np.nan)])",
    ),
    "ragged labels": (
        LABELLED.format("{PATHS}"),
        LABELLED,
        LABELLED.format("np.array([[0, 1, 0, 1], [0, 1, -1, -1]])"),
    ),
    "labels of a single sequence": (
        "dgjax.log_joint(CHAIN, X[None], {Y})",
        "dgjax.log_joint(CHAIN, X[None], {})",
        None,
    ),
    "data where sizes belong": (
        "dgjax.logistic_regression(X, y)",
        "{}",
        None,
    ),
    "columns where their number belongs": ("dgjax.logistic_regression(X, 2)", "{}", None),
    "an autoencoder of data": (
        "dgjax.variational_autoencoder(KEY, X, 1)",
        "dgjax.variational_autoencoder(KEY, {}, 1)",
        None,
    ),
    "a fit to save": ("dgjax.save(path, fit)", "{}", None),
    "a path in the model's place": ("dgjax.save(model, path)", "{}", None),
    "probabilities": ("dgjax.predict_proba(model, x)", "{}", "np.exp(dgjax.predict_log_proba(ROWS, X))"),
    "a method": ("model.predict(x)", "{}", "dgjax.predict(ROWS, X)"),
    "a method of another library": ("model.score_samples(x)", "{}", "dgjax.log_prob(ROWS, X)"),
    "a method of a fit": ("fit.predict(x)", "{}", "dgjax.predict(ROWS, X)"),
    "a file": ("fit.save(path)", "{}", None),
    "scores of rows": ("dgjax.score_samples(model, x)", "{}", "dgjax.log_prob(ROWS, X)"),
    "fit and predict": ("dgjax.fit_predict(model, x)", "{}", None),
}


SLOW = "states of reals", "fit and predict", "counts beside reals", "an autoencoder of data"
SLOW = *SLOW, "data where sizes belong", "columns where their number belongs"


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in CALLS])
def test_a_call_as_an_error_advises_it(name, tmp_path):
    call, then, meant = CALLS[name]
    given = re.search(r"{(.+)}", call)
    own = {
        "np": np,
        "jax": jax,
        "dgjax": dg,
        "x": X,
        "y": Y,
        "model": MANY if "MANY" in call else ROWS,
        "KEY": jax.random.key(0),
        "key": jax.random.key(0),
        "num_components": 2,
        "num_states": 2,
    }
    own |= {"threshold": 3, "path": tmp_path / "model", "fit": dg.Fit(ROWS, jnp.zeros(1), True, 1)}
    names = vars(advised) | globals() | own
    names["x"] = X[None] if "CRF" in call else X
    argument = "y" if "y must" in call or "joint" in call else "x"
    if given:
        names[argument] = eval(given[1], names)
    with pytest.raises((ValueError, TypeError, AttributeError)) as caught:
        eval(call.replace(given[0], argument) if given else call, names)
    told = typed(str(caught.value)).removeprefix(f"{argument} = ")
    value = eval(then.replace("{}", told), names)
    if meant:
        for a, b in zip(jax.tree.leaves(value), jax.tree.leaves(eval(meant, names)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_sequences_and_paths_of_unequal_length_are_padded_as_told():
    x, y, names = SEQUENCES, PATHS, {"dgjax": dg}
    for _ in range(2):
        with pytest.raises(ValueError, match="Type") as caught:
            dg.fit(CHAIN, x, y, prior="weak", lengths=names.get("lengths"))
        names |= {"x": x, "y": y}
        exec(typed(str(caught.value)), names)
        x, y = names["x"], names["y"]
    assert dg.log_joint(CHAIN, x, y, names["lengths"]).shape == (2,)


@pytest.mark.parametrize("pack", [np.array, pandas.DataFrame, np.ndarray.tolist])
def test_steps_of_sequences_one_after_another_are_split_as_told(pack):
    """As hmmlearn takes them: all steps (sum t_i, d), labels (sum t_i,), and lengths."""
    names = {"dgjax": dg, "np": np, "x": pack(X), "y": Y.tolist(), "lengths": [4, 2]}
    for _ in range(2):
        with pytest.raises(ValueError, match="Type") as caught:
            dg.fit(CHAIN, names["x"], names["y"], prior="weak", lengths=names["lengths"])
        exec(typed(str(caught.value)), names)
    x, y, lengths = (names[name] for name in ("x", "y", "lengths"))
    np.testing.assert_array_equal(dg.log_joint(CHAIN, x, y, lengths), dg.log_joint(CHAIN, *padded_paths()))


def padded_paths():
    x, lengths = dg.pad(SEQUENCES)
    return x, dg.pad(PATHS)[0], lengths


STEPS = {
    "to start": lambda x, lengths: dg.hidden_markov(jax.random.key(0), x, 2, lengths=lengths),
    "to score": lambda x, lengths: dg.log_prob(CHAIN, x, lengths),
    "to find paths": lambda x, lengths: dg.predict(CHAIN, x, lengths),
    "of a prior": lambda x, lengths: dg.weak_prior(CHAIN, x, lengths=lengths),
    "of one column": lambda x, lengths: dg.hidden_markov(jax.random.key(0), x[..., 0], 2, lengths=lengths),
}


@pytest.mark.parametrize("name", STEPS)
def test_every_verb_tells_how_steps_are_split(name):
    single = "[:, None]" * (name == "of one column")
    with pytest.raises(ValueError, match=r"np\.split") as caught:
        STEPS[name](X, np.array([4, 2]))
    assert typed(str(caught.value)) == f"x, lengths = dgjax.pad(np.split(x{single}, np.cumsum(lengths)[:-1]))"


def test_values_are_shown_in_brief():
    for value in (np.zeros(99), list(range(999)), "a" * 999, {i: i for i in range(999)}, jnp.zeros((9, 9)), TEXT):
        with pytest.raises(ValueError, match="num_classes") as caught:
            dg.logistic_regression(2, value)
        assert len(str(caught.value)) < 250, str(caught.value)


def test_what_is_not_there_is_not_there():
    for thing in (dg, ROWS, dg.Mixture, dg.Fit(ROWS, jnp.zeros(1), True, 1)):
        assert not hasattr(thing, "predict_proba")
        assert not hasattr(thing, "anything_else")
    with pytest.raises(AttributeError, match="'Mixture' object has no attribute 'anything_else'"):
        _ = ROWS.anything_else
    same, copied = pickle.loads(pickle.dumps(ROWS)), copy.deepcopy(ROWS)
    assert jax.tree.structure(same) == jax.tree.structure(copied) == jax.tree.structure(ROWS)


@pytest.mark.slow
def test_what_collapses_in_a_class_with_missing_cells_is_kept_by_a_prior_as_told():
    x = np.random.default_rng(1).normal(size=(14, 8))
    x[::5, 3] = np.nan
    y = np.arange(14) % 2
    with pytest.raises(ValueError, match=r"in class .*Type prior=\"weak\"") as caught:
        dg.discriminant_analysis(x, y, "full")
    assert "np.delete" not in str(caught.value)
    assert np.isfinite(dg.log_prob(dg.discriminant_analysis(x, y, "full", prior="weak"), x)).all()
