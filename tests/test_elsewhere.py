"""What other libraries call otherwise: keyword arguments, methods and functions are told by their names here."""

import ast
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from advised import CHAIN, ROWS, X, Y, typed

import dgjax as dg
from dgjax import _elsewhere

pandas = pytest.importorskip("pandas")
pytestmark = pytest.mark.usefixtures("without_the_type_checker")

KEY = jax.random.key(0)
LOGISTIC = dg.Logistic(np.zeros(2), dg.Linear(np.eye(2)))
AUTOENCODER = dg.variational_autoencoder(KEY, 2, 1, "gaussian", hidden=(3,))
NAMES = {"np": np, "jax": jax, "dgjax": dg, "optax": optax, "key": KEY, "x": X, "y": Y, "z": np.zeros((1, 1))}

# A call, a keyword that it has not, and what is typed in its place.
KEYWORDS = [
    ("dgjax.fit(ROWS, x, method=dgjax.EM(0.0), {})", "max_iter=1", "max_steps=1"),
    ("dgjax.fit(ROWS, x, method=dgjax.EM(0.0), {})", "n_iter=1", "max_steps=1"),
    ("dgjax.fit(LOGISTIC, x, y, {})", "C=4.0", "prior=dgjax.priors.Ridge(1 / 4.0)"),
    ("dgjax.fit(ROWS, x, y, {})", "sample_weight=[1, 2, 1, 2, 1, 2]", "weights=[1, 2, 1, 2, 1, 2]"),
    ("dgjax.fit(ROWS, x, y, {})", "weight=[1, 2, 1, 2, 1, 2]", "weights=[1, 2, 1, 2, 1, 2]"),
    ("dgjax.fit(ROWS, x, max_steps=1, method=dgjax.EM(0.0), {})", "labels=[0, 1, 0, 1, 0, 1]", "y=[0, 1, 0, 1, 0, 1]"),
    ("dgjax.fit(ROWS, x, y, {})", "tol=0.1", "method=dgjax.EM(tol=0.1)"),
    (
        "dgjax.fit(LOGISTIC, x, y, max_steps=2, {})",
        "batch_size=3",
        "method=dgjax.Optax(optax.adam(1e-3), batch_size=3, key=jax.random.key(0))",
    ),
    ("dgjax.gaussian_mixture(key, x, {})", "n_components=2", "num_components=2"),
    ("dgjax.gaussian_mixture(key, x, 2, {})", "covariance_type='diag'", "covariance='diagonal'"),
    ("dgjax.factor_analysis(key, x, {})", "n_components=1", "num_factors=1"),
    ("dgjax.factor_analysis(key, x, 1, {})", "n_clusters=2", "num_components=2"),
    ("dgjax.hidden_markov(key, x[None], {})", "n_components=2", "num_states=2"),
    ("dgjax.naive_bayes(x, y, {})", "alpha=1.0", 'prior="weak"'),
    ("dgjax.logistic_regression(num_classes=2, {})", "n_features=2", "num_features=2"),
]


@pytest.mark.parametrize(("call", "given", "told"), KEYWORDS)
def test_a_keyword_of_another_library_is_told_by_its_name_here(call, given, told):
    names = {**NAMES, "ROWS": ROWS, "LOGISTIC": LOGISTIC}
    with pytest.raises(TypeError, match="has no argument") as caught:
        eval(call.format(given), names)
    assert typed(str(caught.value)) == told
    eval(call.format(told), names)


def test_a_key_goes_first_and_what_fit_takes_is_told_to_starters():
    with pytest.raises(TypeError, match=r"Type jax\.random\.key\(0\) where the key goes"):
        dg.gaussian_mixture(X, 2, random_state=0)
    with pytest.raises(TypeError, match=r"Type dgjax\.fit\(model, x, y, max_steps=5\) where"):
        dg.naive_bayes(X, Y, max_iter=5)
    with pytest.raises(TypeError, match=r"no argument 'anything'\. Type one of model, x, y, method, "):
        dg.fit(ROWS, X, anything=1)


# A call that lacks an argument, or has one in another's place, what it raises and what is typed instead.
MISTAKEN = [
    ("dgjax.gaussian_mixture(x, 3)", TypeError, "dgjax.gaussian_mixture(key, x, num_components)"),
    ("dgjax.hidden_markov(chains)", TypeError, "dgjax.hidden_markov(key, x, num_states)"),
    ("dgjax.naive_bayes(x)", TypeError, "dgjax.naive_bayes(x, y)"),
    ("dgjax.fit(rows)", TypeError, "dgjax.fit(model, x)"),
    ("dgjax.discriminant_analysis(x, y, 'diag')", ValueError, "covariance='diagonal'"),
    ("dgjax.gaussian_mixture(key, x, 2, 'shared')", ValueError, "covariance='tied'"),
    ("dgjax.forecast(chain, chains, lengths, 2)", ValueError, "dgjax.forecast(model, x, 1, lengths)"),
]


@pytest.mark.parametrize(("call", "kind", "code"), MISTAKEN)
def test_a_call_that_lacks_an_argument_or_has_it_in_anothers_place_is_told_how_it_goes(call, kind, code):
    names = {**NAMES, "rows": ROWS, "chain": CHAIN, "chains": X[None], "lengths": np.array([len(X)])}
    with pytest.raises(kind) as caught:
        eval(call, names)
    assert typed(str(caught.value)) == code
    if code.startswith("covariance"):
        code = f"dgjax.discriminant_analysis(x, y, {code})"
    sequential = "markov" in code or "forecast" in code
    here = {"model": CHAIN if sequential else ROWS, "num_components": 2, "num_states": 2}
    eval(code, {**names, **here, "x": X[None] if sequential else X})


def test_decode_of_a_chain_tells_how_its_path_is_had():
    for model in (CHAIN, dg.discriminative(CHAIN)):
        with pytest.raises(ValueError, match=r"most probable path of a \w+ type dgjax\.predict\(model, x\)") as caught:
            dg.decode(model, X[None])
        assert type(model).__name__ in str(caught.value)
        assert dg.predict(model, X[None]).shape == (1, len(X))


def test_names_of_the_field_and_nearly_right_ones_are_told():
    for name in ("viterbi", "HMM", "GMM", "PoissonHMM", "CategoricalHMM"):
        with pytest.raises(AttributeError, match=r"Type dgjax\.(predict|hidden_markov|gaussian_mixture)\("):
            getattr(dg, name)
    for name, right in (
        ("restarts", "Restarts"),
        ("Hidden_markov", "hidden_markov"),
        ("logistic_regresion", "logistic_regression"),
    ):
        with pytest.raises(AttributeError) as caught:
            getattr(dg, name)
        assert eval(typed(str(caught.value)), NAMES) is getattr(dg, right)
    assert not hasattr(dg, "_elsewher")
    with pytest.raises(AttributeError, match=r"dgjax has no 'something_else'\.$"):
        getattr(dg, "something_else")  # noqa: B009


METHODS = [
    (CHAIN, "decode", "dgjax.predict(model, x)"),
    (dg.Fit(AUTOENCODER, jnp.zeros(1), True, 1), "decode", "dgjax.decode(fit.model, z)"),
    (AUTOENCODER, "transform", "dgjax.encode(model, x)"),
    (dg.Fit(AUTOENCODER, jnp.zeros(1), True, 1), "encode", "dgjax.encode(fit.model, x)"),
    (dg.Fit(CHAIN, jnp.zeros(1), True, 1), "decode", "dgjax.predict(fit.model, x)"),
]


@pytest.mark.parametrize(("asked", "name", "code"), METHODS)
def test_methods_that_a_model_could_have_are_told(asked, name, code):
    with pytest.raises(AttributeError) as caught:
        getattr(asked, name)
    assert typed(str(caught.value)) == code
    eval(code, {**NAMES, "model": asked, "fit": asked, "x": X[None] if "predict" in code else X})


@pytest.mark.parametrize("name", ["transform", "fit_transform", "inverse_transform", "encode", "reconstruct"])
def test_latent_variables_are_not_told_of_models_without(name):
    for model in (ROWS, CHAIN, LOGISTIC, dg.Fit(ROWS, jnp.zeros(1), True, 1)):
        with pytest.raises(AttributeError, match="object has no attribute"):
            getattr(model, name)
    with pytest.raises(AttributeError, match="decode"):
        _ = ROWS.decode


def test_kinds_by_the_names_of_columns():
    counts = np.arange(6) % 4
    frame = pandas.DataFrame({"count": counts, "real": X[:, 0], "bit": Y})
    by_name = dg.naive_bayes(frame, Y, {"real": "gaussian", "bit": "bernoulli", "count": "poisson"}, prior="weak")
    by_place = dg.naive_bayes(frame.to_numpy(), Y, {2: "bernoulli", 0: "poisson", 1: "gaussian"}, prior="weak")
    listed = dg.naive_bayes(frame, Y, ["poisson", "gaussian", "bernoulli"], prior="weak")
    for other in (by_name, by_place):
        np.testing.assert_array_equal(dg.log_prob(other, frame), dg.log_prob(listed, frame))
    with pytest.raises(ValueError, match=r"some of the columns \['count', 'real', 'bit'\]"):
        dg.naive_bayes(frame, Y, {"count": "poisson", "other": "poisson"})
    with pytest.raises(ValueError, match=r"kind of every column, \[0, 1, 2\]"):
        dg.naive_bayes(frame.to_numpy(), Y, {0: "poisson"})


def test_what_is_told_of_names_are_functions_here_with_those_arguments():
    for told in _elsewhere.VERBS.values():
        for call in ast.walk(ast.parse(told)):
            name = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
            if re.fullmatch(r"dgjax\.\w+", name):
                own = inspect.signature(getattr(dg, name.removeprefix("dgjax."))).parameters
                assert {keyword.arg for keyword in call.keywords} <= own.keys(), told


def public_functions():
    own = {name: getattr(dg, name) for name in dir(dg) if not name.startswith("_")}
    functions = {name: value for name, value in own.items() if inspect.isfunction(value) and name != "dataclass"}
    needs = inspect.Parameter.empty
    return sorted(
        name
        for name, value in functions.items()
        if any(argument.default is needs for argument in inspect.signature(value).parameters.values())
    )


@pytest.mark.parametrize("name", public_functions())
def test_a_function_without_its_arguments_says_what_to_type(name):
    function = getattr(dg, name)
    optional = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    needed = [
        own.name
        for own in inspect.signature(function).parameters.values()
        if own.default is own.empty and own.kind not in optional
    ]
    if not needed:
        return
    with pytest.raises(TypeError, match=rf"Type dgjax\.{name}\({', '.join(needed)}\)"):
        function()


def test_an_error_of_types_from_within_a_function_stays_as_it_is():
    with pytest.raises(TypeError) as told:
        dg.summary(3)
    assert "dgjax.summary(model)" not in str(told.value)


def test_names_of_folds_elsewhere_are_told():
    x, y = np.zeros((4, 1)), [0, 1, 0, 1]
    with pytest.raises(TypeError, match=r"neither cross_validate nor fit has an argument 'cv'. Type folds=3."):
        dg.cross_validate(dg.naive_bayes, x, y, cv=3)
    with pytest.raises(TypeError, match=r"neither select nor fit has an argument 'n_iter'. Type max_steps=3."):
        dg.select(dg.naive_bayes, x, y, n_iter=3)
    with pytest.raises(ValueError, match=r"starter must be a function .* got 'naive_bayes'"):
        dg.grid("naive_bayes")
