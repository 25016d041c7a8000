"""Hostile input: an error that names the argument, what was expected, what came and what to type, or else a result."""

import json

import jax
import numpy as np
import pytest
import scipy.sparse
from hostile import (
    CONSTANT,
    COUNTS,
    DENSITIES,
    X,
    Y,
    ask,
    assert_our_error,
    column,
    fit,
    key,
    make,
    model,
    score,
    with_cell,
)
from safetensors.numpy import save_file

import dgjax as dg
from dgjax import priors

pytestmark = pytest.mark.usefixtures("without_the_type_checker")

NAN = with_cell(np.nan)
NEVER = np.where([[False, True]], np.nan, X)
BOTH_REMEDIES = ("x[0, 1]", "nan", "dgjax.impute", "dgjax.marginalize")
TYPED_KEY = ("key", "jax.random.key")
GENERATIVE = ("Logistic", "generative")

ROWS = {
    "another number of columns": (score(X[:, :1]), ("x", "2 columns", "(8, 1)")),
    "one dimension": (score(X[0]), ("x", "(n, d)", "(2,)", "x[None]")),
    "three dimensions": (score(X[None]), ("x", "(n, d)", "(1, 8, 2)")),
    "infinite": (score(with_cell(np.inf)), ("x[0, 1]", "inf", "finite", "NaN")),
    "a key": (make("log_prob", lambda: model(), key), ("x", "number", "key<fry>")),
    "complex": (score(X * 1j), ("x", "real", "complex")),
    "text": (score(np.array([["a", "b"]])), ("x", "number", "<U1")),
    "a list of text": (score([["a", "b"]]), ("x", "number", "<U1")),
    "objects": (score(X.astype(object)), ("x", "number", "object", 'pandas.DataFrame(x).astype("Float64")')),
    "None": (score(None), ("x", "number", "None")),
    "ragged": (score([[1.0, 2.0], [1.0]]), ("x", "number", "list", "unequal")),
    "dates": (score(np.array([["2020-01-01", "2020-01-02"]], "datetime64[D]")), ("x", "number", "datetime64")),
    "sparse": (score(scipy.sparse.csr_array(X)), ("x", "number", "csr_array", "x.toarray()")),
    "half precision": (score(X.astype(np.float16)), ("x", "float32", "float16", "astype")),
    "half a count": (score(with_cell(0.5, COUNTS), "poisson"), ("x[0, 1]", "0.5", "whole number", "NaN")),
    "two, to Bernoulli": (score(with_cell(2.0, Y[:, None] * [1.0, 1.0]), "bernoulli"), ("x[0, 1]", "2.0", "0 or 1")),
    "a category too many": (score(with_cell(3.0, COUNTS % 3), "categorical"), ("x[0, 1]", "3.0", "0 to 2")),
    "a negative category": (score(with_cell(-1.0, COUNTS % 3), "categorical"), ("x[0, 1]", "-1.0", "0 to 2")),
    "a step that is no count": (
        lambda: dg.log_prob(
            dg.HiddenMarkov([0.0], [[0.0]], dg.Poisson([[0.0]])),
            np.ones((4, 3, 1)) - 2 * np.eye(12)[7].reshape(4, 3, 1),
        ),
        ("x[2, 1, 0] is -1.0",),
    ),
    "a step that is no count, to a prior": (
        lambda: dg.weak_prior(
            dg.HiddenMarkov([0.0], [[0.0]], dg.Poisson([[0.0]])),
            np.ones((4, 3, 1)) - 2 * np.eye(12)[7].reshape(4, 3, 1),
        ),
        ("x[2, 1, 0] is -1.0",),
    ),
    "Bernoulli of reals": (make("naive_bayes", X, Y, "bernoulli"), ("x[0, 0]", "0 or 1")),
    "a category of a billion": (
        make("naive_bayes", with_cell(1e9, COUNTS), Y, "categorical"),
        ("x column 1", "1000000000", "np.unique(x[:, 1], return_inverse=True)[1]"),
    ),
    "categories of reals": (make("naive_bayes", X, Y, "categorical"), ("x[0, 0]", "whole number")),
    "no rows, to fit": (fit(X[:0], Y[:0]), ("x", "at least one row")),
    "no rows, to naive Bayes": (make("naive_bayes", X[:0], Y[:0]), ("x", "at least one row", "(0, 2)")),
    "no columns, to naive Bayes": (make("naive_bayes", X[:, :0], Y), ("x", "one column", "(8, 0)")),
    "no rows, to a threshold": (ask("anomaly_threshold", X[:0]), ("x", "at least one row")),
    "no rows, to BIC": (ask("bic", X[:0]), ("x", "at least one row")),
    "a column never observed": (fit(NEVER), ("x", "1", "never observed", "np.delete")),
    "never observed, to naive Bayes": (make("naive_bayes", NEVER, Y), ("x", "1", "never observed", "np.delete")),
    "never observed, to a prior": (ask("weak_prior", NEVER), ("x", "1", "never observed")),
    "reals, to a prior of Bernoulli": (ask("weak_prior", X, kind="bernoulli"), ("x[0, 0]", "0 or 1")),
    "fewer rows than components": (fit(X[:1], None), ("x", "1 row", "2 components", "num_components")),
    "observed at weight 0 only": (
        fit(np.where(np.eye(8, 2) > 0, X, [[np.nan, 0.5]]), weights=1.0 - np.eye(8)[0]),
        ("x", "0", "never observed"),
    ),
    **{
        f"NaN, to {verb} of a classifier": (ask(verb, *arguments, kind="logistic"), BOTH_REMEDIES)
        for verb, arguments in {"predict": [NAN], "fit": [NAN, Y], "sample_labels": [key, NAN]}.items()
    },
}

LABELS_AND_WEIGHTS = {
    "labels from 1": (fit(y=Y + 1), ("y", "0 to 1", "-1", "1 to 2")),
    "labels of another model": (ask("log_joint", X, Y + 5), ("y", "0 to 1", "5 to 6")),
    "more labels than classes": (make("naive_bayes", X, Y + 1, num_classes=2), ("y", "0 to 1", "1 to 2")),
    "half labels": (fit(y=Y + 0.5), ("y[0]", "whole-number", "-1", "0.5", "np.unique")),
    "NaN beside half labels": (fit(y=np.where(Y == 0, np.nan, 0.5)), ("y[1]", "0.5", "factorize", "NaN")),
    "too few labels": (fit(y=Y[:3]), ("y", "(8,)", "(3,)")),
    "one-hot labels": (fit(y=np.eye(2)[Y]), ("y", "(8,)", "(8, 2)")),
    "text labels": (fit(y=np.array(["a", "b"] * 4)), ("y", "whole-number", "<U1", "np.unique")),
    "a list of text labels": (make("naive_bayes", X, ["a", "b"] * 4), ("y", "whole-number", "<U1", "np.unique")),
    "object labels": (fit(y=np.array(["a", None] * 4, object)), ("y", "whole-number", "object")),
    "a column of labels": (fit(y=Y[:, None]), ("y", "(8,)", "(8, 1)", "np.ravel(y)")),
    "labels from 1, to a starter": (make("naive_bayes", X, Y + 1), ("y", "0 to k - 1", "1, 2", "np.unique")),
    "a label of a billion": (make("naive_bayes", X, Y * 10**9), ("y", "0 to k - 1", "1000000000", "np.unique")),
    "a billion classes": (make("naive_bayes", X, Y, num_classes=10**9), ("num_classes", "65536", "1000000000")),
    "labels of -1 and 1": (make("naive_bayes", X, 2 * Y - 1), ("y", "two classes", "[-1, 1]", "np.unique")),
    "masked weights": (fit(weights=np.ma.masked_array(X[:, 0] ** 2, Y == 1)), ("weights", "masked", "filled(0)")),
    "weights beyond digits": (fit(weights=np.full(8, 1e-300)), ("weights[0]", "1e-300", "np.max(weights)")),
    "a column of weights": (fit(weights=np.ones((8, 1))), ("weights", "(8,)", "(8, 1)", "np.ravel(weights)")),
    "no labels": (ask("log_joint", X, None), ("y", "whole-number", "None")),
    "no labels for a classifier": (fit(y=None, kind="logistic"), ("y", "discriminative", "None")),
    "unknown labels for a classifier": (fit(y=Y * 0 - 1, kind="logistic"), ("y", "two classes", "-1")),
    "a single class": (make("naive_bayes", X, Y * 0), ("y", "two classes", "[0]")),
    "a single class, to fit": (fit(y=Y * 0), ("y", "two classes", "0")),
    "one class asked for": (make("naive_bayes", X, Y, num_classes=1), ("num_classes", "2", "1")),
    "negative weights": (fit(weights=-np.ones(8)), ("weights", "0", "-1.0")),
    "NaN weights": (fit(weights=np.full(8, np.nan)), ("weights", "finite", "nan")),
    "weights all 0": (fit(weights=np.zeros(8)), ("weight", "at least one row")),
    "too few weights": (fit(weights=np.ones(3)), ("weights", "(8,)", "(3,)")),
    "text weights": (fit(weights="balanced"), ("weights", "number", "<U8")),
    "one weight for all rows": (ask("bic", X, weights=1.0), ("weights must have shape (8,)", "()")),
}

NUMBERS = {
    "blend": (1.5, np.nan, "half"),
    "max_steps": (0, -1, 1.5, 10**11),
}
OF_METHODS = {"tol": (dg.EM, (-1.0, np.nan, "a")), "num": (lambda num: dg.Restarts(num, key()), (0, 2.5))}
OPTIONS = {
    "prior of another density": (
        fit(prior=lambda: priors.MixturePrior(None, priors.Beta(2.0, 2.0))),
        ("prior", "Gaussian", "NormalInverseWishart", "Beta", "weak_prior"),
    ),
    "prior of a density": (fit(prior=lambda: priors.Beta(2.0, 2.0)), ("prior", "MixturePrior", "Beta", "weak_prior")),
    "prior that is a number": (fit(prior=1.0), ("prior", "MixturePrior", "float", "weak_prior")),
    "another prior by name": (make("naive_bayes", X, Y, prior="strong"), ("prior", '"weak"', "strong")),
    "prior of a classifier": (
        fit(kind="logistic", prior=lambda: priors.Beta(2.0, 2.0)),
        ("prior", "Logistic", "Ridge"),
    ),
    "prior of more labels": (
        fit(prior=lambda: priors.MixturePrior(priors.Dirichlet(np.full(5, 2.0)))),
        ("prior", "does not fit", "weak_prior"),
    ),
    "prior of more columns": (
        fit(prior=lambda: priors.MixturePrior(None, priors.NormalInverseWishart(np.zeros(5), 1.0, np.eye(5), 7.0))),
        ("prior", "does not fit", "weak_prior"),
    ),
    "Beta under 1": (lambda: priors.Beta(0.5, 2.0), ("Beta", "a", "at least 1", "0.5")),
    "Beta of NaN": (lambda: priors.Beta(np.nan, 2.0), ("Beta", "a", "numbers", "nan")),
    "Dirichlet under 1": (lambda: priors.Dirichlet([0.5, 2.0]), ("Dirichlet", "concentration", "at least 1", "0.5")),
    "negative rate": (lambda: priors.Gamma(1.5, -2.0), ("Gamma", "rate", "-2.0")),
    "negative count": (
        lambda: priors.NormalInverseGamma(np.zeros(2), -1.0, 2.0, np.ones(2)),
        ("NormalInverseGamma", "mean_count", "-1.0"),
    ),
    "strength 0": (ask("weak_prior", X, 0.0), ("strength", "0.0")),
    "blend of a classifier": (fit(kind="logistic", blend=0.5), ("blend", "generative", "Logistic")),
    "blend without labels": (fit(y=None, blend=0.5), ("blend", "labels", "0.5", "Leave it out")),
    "blend of unknown labels": (fit(y=Y * 0 - 1, blend=0.5), ("blend", "labels", "0.5", "Leave it out")),
    "a weight of no labels": (fit(y=Y * 0 - 1, label_weight=5.0), ("label_weight", "-1", "Leave it out")),
    "blend by EM": (fit(blend=0.5, method=dg.EM()), ("EM", "blend", "LBFGS")),
    **{
        f"{name}={value!r}": (fit(**{name: value}), (name, str(value)))
        for name, values in NUMBERS.items()
        for value in values
    },
    **{
        f"{name}={value!r}": ((lambda make=make, value=value: make(value)), (name, str(value)))
        for name, (make, values) in OF_METHODS.items()
        for value in values
    },
    "a negative ridge": (lambda: priors.Ridge(-1.0), ("Ridge", "strength", "0 or more", "-1.0")),
    "a ridge of a generative model": (fit(prior=priors.Ridge(1.0)), ("Ridge", "discriminative", "weak_prior")),
    "another method": (fit(method="adam"), ("method", "EM", "LBFGS", "adam")),
    "a method for labels": (fit(y=dg.EM()), ("y", "labels", "EM(", "Type method=")),
    "a method by name": (fit(method="newton"), ("method", "newton", "Type method=dgjax.Newton()")),
    "EM of a classifier": (fit(kind="logistic", method=dg.EM()), ("EM", "Logistic", "p(y | x)")),
    "restarts of a classifier": (
        fit(kind="logistic", method=lambda: dg.Restarts(3, key())),
        ("Restarts", "Logistic", "one maximum"),
    ),
    "restarts by name": (lambda: dg.Restarts(2, key(), "em"), ("method", "em", "Type method=dgjax.EM()")),
    "restarts without a key": (lambda: dg.Restarts(3, None), ("key", "jax.random.key", "None")),
    "as many factors as columns": (make("factor_analysis", key, X, X.shape[1]), ("num_factors", str(X.shape[1] - 1))),
    "no factors": (make("factor_analysis", key, X, 0), ("num_factors", "0")),
    "more analysers than rows": (make("factor_analysis", key, X, 1, num_components=9), ("num_components", "8", "9")),
    "another noise": (make("factor_analysis", key, X, 1, "spherical"), ("noise", "shared", "spherical")),
    "no components": (make("gaussian_mixture", key, X, 0), ("num_components", "1", "0")),
    "more components than rows": (make("gaussian_mixture", key, X, 9), ("num_components", "8", "9")),
    "fewer categories than there are": (
        make("naive_bayes", [[0], [4], [1], [2]], [0, 1, 0, 1], "categorical", num_categories=3),
        ("num_categories", "at least 5", "column 0", "category 4", "got 3"),
    ),
    "categories of what has none": (make("naive_bayes", X, Y, num_categories=3), ("num_categories", "categorical")),
    "categories of states of reals": (make("hidden_markov", key, X[None], 2, num_categories=3), ("num_categories",)),
    "categories of too many columns": (
        make("naive_bayes", [[0], [1]], [0, 1], "categorical", num_categories=[2, 2]),
        ("num_categories", "each of the 1 columns"),
    ),
    "categories of a column of counts": (
        make("naive_bayes", [[0, 0], [1, 1]], [0, 1], ["categorical", "poisson"], num_categories={1: 3}),
        ("num_categories", "[0]", "{1: 3}"),
    ),
    "half components": (make("gaussian_mixture", key, X, 2.5), ("num_components", "whole number", "2.5")),
    "no components in a class": (make("mixture_discriminant_analysis", key, X, Y, 0), ("num_components", "1", "0")),
    "another covariance": (make("gaussian_mixture", key, X, 2, "round"), ("covariance", "full", "spherical", "round")),
    "another kind": (make("naive_bayes", X, Y, "normal"), ("kinds", "gaussian", "poisson", "normal")),
    "multinomial of one column": (make("naive_bayes", X, Y, ["gaussian", "multinomial"]), ("kinds", "first four")),
    "kinds that is a number": (make("naive_bayes", X, Y, 5), ("kinds", "gaussian", "5")),
    "another features": (make("logistic_regression", 2, 2, "cubic"), ("features", "linear", "quadratic", "cubic")),
    "no features": (make("logistic_regression", 0, 2), ("num_features", "1 or more", "0")),
    "half features": (make("logistic_regression", 2.5, 2), ("num_features", "whole number", "2.5")),
    "one class to tell apart": (make("logistic_regression", 2, 1), ("num_classes", "2 or more", "1")),
    "lengths": (ask("log_prob", X, lengths=np.ones(8)), ("lengths", "sequences", "leave it out")),
    "lengths, to fit": (fit(lengths=np.ones(8)), ("lengths", "sequences", "leave it out")),
    "a column out of range": (ask("marginal", [0, 5]), ("columns", "0 to 1", "[0, 5]")),
    "a column twice": (ask("marginal", [0, -2]), ("columns", "distinct", "[0, -2]")),
    "no column": (ask("marginal", []), ("columns", "at least one", "[]")),
    "half a column": (ask("marginal", [0.5]), ("columns", "[0.5]")),
    "a column's name": (ask("marginal", ["a"]), ("columns", "0 to 1", "a")),
    "a mask of columns": (ask("marginal", [True, False]), ("columns", "booleans", "np.flatnonzero")),
    **{f"false alarm {s}": (ask("anomaly_threshold", X, s), ("false_alarm", str(s))) for s in (0.0, 1.0, 1.5)},
    "None for a key": (ask("sample", None), TYPED_KEY),
    "two keys": (ask("sample", lambda: jax.random.split(key(), 2)), (*TYPED_KEY, "(2,)")),
    "a long untyped key": (ask("sample", np.zeros(3, np.uint32)), TYPED_KEY),
    **{
        f"an int for a key, to {verb}": (ask(verb, 0, *arguments), TYPED_KEY)
        for verb, arguments in {"sample": [3], "sample_labels": [X], "sample_missing": [NAN]}.items()
    },
    "an int for a key of a mixture": (make("gaussian_mixture", 0, X, 2), TYPED_KEY),
    "an int for a key of classes": (make("mixture_discriminant_analysis", 0, X, Y), TYPED_KEY),
    "an int for a key of restarts": (lambda: dg.Restarts(2, 0), TYPED_KEY),
    "negative shape": (ask("sample", key, (2, -1)), ("shape", "0 or more", "-1")),
    "half shape": (ask("sample", key, 2.5), ("shape", "whole number", "2.5")),
    "no draws": (
        ask("marginalize", lambda: model(), kind="logistic", num_samples=0),
        ("num_samples", "1 or more", "0"),
    ),
    "half a seed": (ask("marginalize", lambda: model(), kind="logistic", seed=1.5), ("seed", "whole number", "1.5")),
}


PARTS = {
    "covariance of more columns": (make("Gaussian", np.zeros((2, 2)), np.eye(3)), ("scale_tril", "(2, 2)", "(3, 3)")),
    "covariance of more labels": (make("Gaussian", np.zeros((2, 2)), np.zeros((3, 2, 2))), ("scale_tril", "(3,)")),
    "mean in words": (make("Gaussian", "a", np.eye(2)), ("Gaussian", "mean", "a")),
    "scales of more columns": (make("DiagonalGaussian", np.zeros((2, 2)), np.zeros((2, 3))), ("log_scale", "(2, 3)")),
    "a number for logits": (make("Bernoulli", 0.5), ("Bernoulli", "logits", "(*labels, d)", "()")),
    "too few axes": (make("Categorical", np.zeros(3)), ("Categorical", "logits", "(*labels, d, c)", "(3,)")),
    "weights of other labels": (make("Mixture", np.zeros(3), DENSITIES["poisson"]), ("log_weights", "(3,)", "(2,)")),
    "an array for a density": (make("Mixture", np.zeros(3), np.zeros(3)), ("Mixture", "density")),
    "a classifier for a density": (make("Mixture", np.zeros(2), lambda: model("logistic")), ("density", "Logistic")),
    "bias of other labels": (make("Logistic", np.zeros(3), lambda: dg.Linear(np.eye(2))), ("bias", "(3,)", "(2,)")),
    "an array for a scorer": (make("Logistic", np.zeros(3), np.zeros((3, 2))), ("Logistic", "scorer")),
    "blocks of other labels": (column([(2, 1), (3, 1)]), ("Columns", "labels", "(2,)", "(3,)")),
    "a column in two blocks": (column([(2, 1), (2, 1)], columns=((0,), (0,))), ("Columns", "columns", "((0,), (0,))")),
    "a column in no block": (column([(2, 1), (2, 1)], columns=((0,), (5,))), ("Columns", "columns", "((0,), (5,))")),
    "no blocks": (column([]), ("Columns", "blocks")),
    "columns without groups": (column([(2, 1), (2, 1)], columns=(0, 1)), ("Columns", "columns", "((0,), (1, 2))")),
    "half a column in a block": (column([(2, 1), (2, 1)], columns=((0.5,), (1,))), ("columns", "whole", "0.5")),
    "a density for blocks": (make("Columns", lambda: dg.Bernoulli(np.zeros((2, 1)))), ("Columns", "blocks")),
    "a bare density of two labels": (make("log_prob", DENSITIES["poisson"], X), ("one label", "(2,)", "dgjax.Mixture")),
    "a bare density of no label": (
        make("log_prob", lambda: dg.Poisson(np.zeros(2)), X),
        ("Poisson", "one label", "()"),
    ),
    "an array for a model": (make("log_prob", X, X), ("model", "ndarray")),
    "a fit for a model": (
        make("predict", lambda: dg.fit(model("logistic"), X, Y, prior=dg.priors.Ridge(1.0)), X),
        ("model", "Fit", "fit.model"),
    ),
    "a path for a model": (make("predict", "model.dg", X), ("model", "str", "dgjax.load('model.dg')")),
    "None for a model": (make("fit", None, X, Y), ("model", "None")),
    "a class for a model": (make("predict", dg.Mixture, X), ("model", "Mixture")),
    "a scorer for a model": (make("predict", lambda: dg.Linear(np.eye(2)), X), ("model", "Linear")),
    "other columns to marginalize": (
        ask("marginalize", lambda: dg.Bernoulli(np.zeros((1, 3))), kind="logistic"),
        ("marginalize", "columns", "2", "3"),
    ),
    "a classifier to marginalize over": (ask("marginalize", lambda: model("logistic"), kind="logistic"), GENERATIVE),
    "one label to tell apart": (
        make("discriminative", lambda: dg.Bernoulli(np.zeros((1, 2)))),
        ("discriminative", "2 or more labels", "1"),
    ),
    "training a marginalized classifier": (
        make("fit", lambda: dg.marginalize(model("logistic"), model()), X, Y, blend=0.5),
        ("blend", "generative"),
    ),
    "a class without spread": (make("naive_bayes", CONSTANT, Y), ("spread", "weak_prior")),
    "a class without spread, in one step": (fit(CONSTANT, max_steps=1), ("spread", "weak_prior")),
    "a covariance without spread": (make("discriminant_analysis", CONSTANT, Y, "full"), ("spread", "weak_prior")),
    "log_joint of a classifier": (ask("log_joint", X, Y, kind="logistic"), GENERATIVE),
    "sample of a classifier": (ask("sample", key, kind="logistic"), GENERATIVE),
    "sample_missing of a classifier": (ask("sample_missing", key, X, kind="logistic"), GENERATIVE),
    "marginal of a classifier": (ask("marginal", [0], kind="logistic"), GENERATIVE),
    **{
        f"{verb} of a classifier": (ask(verb, X, kind="logistic"), GENERATIVE)
        for verb in ("log_prob", "impute", "weak_prior", "bic", "aic", "anomaly_threshold")
    },
}

CASES = {
    "x": ROWS,
    "y and weights": LABELS_AND_WEIGHTS,
    "options": OPTIONS,
    "parts of models": PARTS,
}


@pytest.mark.parametrize(
    ("call", "fragments"),
    [pytest.param(*case, id=f"{group}: {name}") for group, cases in CASES.items() for name, case in cases.items()],
)
def test_hostile_input_is_named(call, fragments):
    assert_our_error(call, fragments)


def foreign(path, header=None):
    save_file({"a": X}, path, metadata=header and {"dgjax": header})


def half(path):
    dg.save(path, model())
    path.write_bytes(path.read_bytes()[:100])


UNKNOWN = {"format_version": 1, "model": {"class": "Elsewhere", "fields": {}}}
FILES = {
    "missing": (lambda path: None, ("No such file", "model.dg")),
    "truncated": (half, ("model.dg", "truncated")),
    "text": (lambda path: path.write_text("a,b\n1,2\n"), ("model.dg", "safetensors")),
    "empty": (lambda path: path.write_bytes(b""), ("model.dg", "safetensors")),
    "a folder": (lambda path: path.mkdir(), ("model.dg",)),
    "of another library": (foreign, ("model.dg", "dgjax.save")),
    "newer": (lambda path: foreign(path, json.dumps({"format_version": 999})), ("model.dg", "999", "pip install")),
    "broken header": (lambda path: foreign(path, "{"), ("model.dg", "header")),
    "an unknown class": (lambda path: foreign(path, json.dumps(UNKNOWN)), ("model.dg", "Elsewhere")),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_cannot_be_loaded(name, tmp_path):
    write, fragments = FILES[name]
    path = tmp_path / "model.dg"
    write(path)
    assert_our_error(lambda: dg.load(path), fragments)


@pytest.mark.parametrize("value", [{"a": 1}, "text", [1, 2], 3, print], ids=lambda value: type(value).__name__)
def test_only_models_are_saved(value, tmp_path):
    assert_our_error(lambda: dg.save(tmp_path / "model.dg", value), ("save", type(value).__name__))
    assert not list(tmp_path.iterdir())


def test_save_into_a_missing_folder_names_the_path(tmp_path):
    with pytest.raises(OSError, match=r"missing/model\.dg"):
        dg.save(tmp_path / "missing" / "model.dg", model())


@pytest.mark.parametrize(
    "starter",
    [
        lambda x: dg.discriminant_analysis(x, Y),
        lambda x: dg.naive_bayes(x, Y, weights=np.ones(len(Y))),
        lambda x: dg.mixture_discriminant_analysis(key(), x, Y, 2),
        lambda x: dg.hidden_markov(key(), x[None], 2),
    ],
)
def test_starters_are_for_outside_of_jit(starter):
    with pytest.raises(ValueError, match="Type the starter outside"):
        jax.jit(starter)(X)
