"""What an error advises is typed: the call fails, says these words, and after them it succeeds."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse
from advised import CHAIN, ROWS, X, Y, bayes, typed
from sklearn.feature_extraction.text import CountVectorizer

import dgjax as dg

pandas = pytest.importorskip("pandas")
pytestmark = pytest.mark.usefixtures("without_the_type_checker")

LOG_HALF, OFF = np.log(0.5), -np.inf
ZEROS = np.array([[0, OFF], [0, 0]])
ONE = dg.DiagonalGaussian(np.zeros((1, 1)), np.zeros((1, 1)))
SHORT = dg.HiddenMarkov(np.zeros(1), np.zeros((1, 1)), ONE)
STATES = dg.HiddenMarkov([0, OFF], ZEROS.T, dg.Categorical([[[0, 0, OFF]], [[OFF, 0, 0]]]))
CRF = dg.LinearChainCRF(np.zeros(2), ZEROS, dg.Linear(np.zeros((2, 1))))
COUNTS = dg.Mixture(np.zeros(2), dg.Categorical(np.zeros((2, 2, 3))))
NETWORK = dg.variational_autoencoder(jax.random.key(0), 2, 1, "gaussian", hidden=(3,))
REALS = dg.DiagonalGaussian(np.zeros((1, 3)), np.zeros((1, 3)))
STEPS = {"method": dg.Optax(optax.adam(1e-3), key=jax.random.key(1)), "max_steps": 2}
OPEN = "jax.tree.map(lambda a: jax.numpy.nan_to_num(a, neginf=-9.0, posinf=9.0), model)"
NUMBER = "np.unique(y, return_inverse=True)[1]"
CODES = 'c.astype("category").cat.codes.replace(-1, np.nan)'
TEXT = pandas.DataFrame({"a": ["u", "v", None, "u", "v", "u"], "b": [1, 2, 1, 2, 1, 1]})


# What is given, the call, and the statement that the error ends in: an assignment, or what becomes the first argument.
ADVICE = {
    "labels of -1 and 1": ({"y": 2 * Y - 1}, bayes, NUMBER),
    "labels from 1": ({"y": Y + 1}, bayes, NUMBER),
    "labels with gaps, some unknown": ({"y": np.r_[-1, 5, 9, 5, 9, 5]}, bayes, f"{NUMBER} - 1"),
    "labels of a billion": ({"y": Y * 10**9}, bayes, NUMBER),
    "text for labels": ({"y": ["a", "b"] * 3}, bayes, NUMBER),
    "text for labels, some missing": (
        {"y": ["a", "b", None, "b", "a", "a"]},
        bayes,
        "pandas.Series(y).factorize(sort=True)[0]",
    ),
    "objects for labels": (
        {"y": np.array([0, 1, None, 1, 0, 1], object)},
        bayes,
        'pandas.Series(y, dtype="Float64").fillna(-1)',
    ),
    "a column of labels": ({"y": pandas.DataFrame({"y": Y})}, bayes, "np.ravel(y)"),
    "one-hot labels": ({"y": np.eye(2)[Y]}, lambda y: dg.log_joint(ROWS, X, y), "np.argmax(y, -1)"),
    "a column of labels of steps": (
        {"y": np.zeros((1, 6, 1), int)},
        lambda y: dg.log_joint(CHAIN, X[None], y),
        "y[..., 0]",
    ),
    "sparse rows": ({"x": scipy.sparse.csr_matrix(X)}, bayes, "x.toarray()"),
    "objects": ({"x": np.where(X > 1, None, X)}, bayes, 'pandas.DataFrame(x).astype("Float64")'),
    "dates": (
        {"x": np.arange(12).reshape(6, 2).astype("datetime64[s]")},
        bayes,
        "(x - x.min()) / np.timedelta64(1, 's')",
    ),
    "dates in a frame": (
        {"x": pandas.DataFrame({"a": X[:, 0], "when": pandas.date_range("2020-01-01", periods=6, freq="500D")})},
        bayes,
        "x = x.assign(**{'when': x['when'].dt.year})",
    ),
    "words": (
        {"x": ["good film", "bad film", "good", "bad", "good good film", "bad bad"]},
        lambda x: bayes(x, kinds="multinomial"),
        "CountVectorizer().fit_transform(x).toarray()",
    ),
    "text": (
        {"x": TEXT},
        lambda x: dg.log_prob(COUNTS, x),
        f"pandas.DataFrame(x).apply(lambda c: {CODES} if c.name in ['a'] else pandas.to_numeric(c))",
    ),
    "complex rows": ({"x": X + 0j}, bayes, "np.real(x)"),
    "half precision": ({"x": X.astype(np.float16)}, bayes, "x.astype('float32')"),
    "a row": ({"x": X[0]}, lambda x: dg.log_prob(ROWS, x), "x[None]"),
    "a column": ({"x": X[:, 0]}, lambda x: dg.log_prob(ONE, x), "x[:, None]"),
    "a sequence": ({"x": X}, lambda x: dg.log_prob(CHAIN, x), "x[None]"),
    "sequences of numbers": ({"x": X}, lambda x: dg.log_prob(SHORT, x), "x[..., None]"),
    "a series": ({"x": X[:, 0]}, lambda x: dg.log_prob(SHORT, x), "x[None, :, None]"),
    "masked weights": (
        {"weights": np.ma.masked_array(np.ones(6), Y * 0 + np.eye(6)[0])},
        lambda weights: dg.fit(ROWS, X, Y, weights=weights),
        "weights.filled(0)",
    ),
    "weights of shares": (
        {"weights": np.ones(6) / 6},
        lambda weights: dg.bic(ROWS, X, weights=weights),
        "np.multiply(weights, len(weights) / np.sum(weights))",
    ),
    "weights that are subnormal": (
        {"weights": np.full(6, 1e-40)},
        lambda weights: dg.fit(ROWS, X, Y, weights=weights),
        "weights / np.max(weights)",
    ),
    "an unseen category": (
        {"x": [[0.0, 1], [2, 3]]},
        lambda x: dg.log_prob(COUNTS, x),
        "x = np.where(np.asarray(x) > 2, np.nan, x)",
    ),
    "an identifier for a category": (
        {"x": np.array([[0.0], [1e9], [5], [5], [0], [0]])},
        lambda x: bayes(x if x.ndim == 2 else x[:, None], kinds="categorical"),
        "np.unique(x[:, 0], return_inverse=True)[1]",
    ),
    "a column never observed": (
        {"x": X * [1, np.nan]},
        bayes,
        "np.delete(x, [1], axis=-1)",
    ),
    "many columns never observed": (
        {"x": np.c_[X, np.full((6, 12), np.nan)]},
        bayes,
        f"np.delete(x, {list(range(2, 14))}, axis=-1)",
    ),
    "a structural zero": (
        {"model": STATES},
        lambda model: dg.fit(model, [[[2.0], [0.0]]], max_steps=2, method=dg.EM(tol=0.0)),
        OPEN,
    ),
    "a forbidden move": (
        {"model": CRF},
        lambda model: dg.fit(model, [[[2.0], [0.0]]], [[0, 1]], prior=dg.priors.Ridge(1.0)),
        OPEN,
    ),
    "columns in large units": (
        {"x": 1e25 * X},
        lambda x: dg.fit(NETWORK, x, **STEPS),
        "x = (x - x.mean(0)) / x.std(0)",
    ),
    "a fit": ({"fit": dg.Fit(ROWS, jnp.zeros(1), True, 1)}, lambda fit: dg.predict(fit, X), "fit.model"),
    "a seed": ({"key": 3}, lambda key: dg.sample(ROWS, key), "jax.random.key(3)"),
    "a covariance": (
        {"covariance": np.array([[2.0, 1.0], [1.0, 2.0]])},
        lambda covariance: dg.Gaussian(np.zeros(2), covariance),
        "np.linalg.cholesky(covariance)",
    ),
}


FROM_1 = np.array([3, 1, 2, 3, 1, 2])  # of three classes, for a model of three or two
THREE = dg.Mixture(np.zeros(3), dg.DiagonalGaussian(np.arange(6.0).reshape(3, 2), np.zeros((3, 2))))
HOLES = np.array([True, False, False, False, False, False])
MIXED = pandas.DataFrame({"a": ["u", "v", None, "u", "v", "u"], "b": [5.0, -1, 2, 2, 9, 1]})
CODED = np.array([[0, 5.0], [1, -1], [np.nan, 2], [0, 2], [1, 9], [0, 1]])
OPTIONAL = np.array([[1.5, None], [2, 3], [0, 1], [4, -1], [None, 0], [1, 1]], object)


def joint(y):
    return dg.log_joint(THREE, X, y)


def learnt(y):
    return dg.fit(THREE, X, y, prior="weak", max_steps=1, method=dg.EM(tol=0.0))


def kinds(x):
    return bayes(x, kinds=["categorical", "gaussian"])


# The same, and what it must come to: the numbers that were meant.
MEANT = {
    "masked labels": ({"y": np.ma.masked_equal(FROM_1, 1)}, bayes, [1, -1, 0, 1, -1, 0]),
    "masked labels, negative": ({"y": np.ma.masked_array([-5, -5, 3, 3, -5, 3], HOLES)}, bayes, [-1, 0, 1, 1, 0, 1]),
    "masked labels, unsigned": ({"y": np.ma.masked_equal(FROM_1.astype(np.uint8), 1)}, bayes, [1, -1, 0, 1, -1, 0]),
    "masked labels of one class": ({"y": np.ma.masked_equal(2 * Y, 9)}, bayes, Y),
    "masked text": ({"y": np.ma.masked_array(["b", "a"] * 3, HOLES)}, bayes, [-1, 0, 1, 0, 1, 0]),
    "masked fractions": ({"y": np.ma.masked_array(Y + 0.5, HOLES)}, bayes, [-1, 1, 0, 1, 0, 1]),
    "nullable labels": ({"y": pandas.Series([3, 1, None, 3, 1, 3]).astype("Int64")}, bayes, [1, 0, -1, 1, 0, 1]),
    "nullable labels, unsigned": (
        {"y": pandas.Series([3, 1, None, 3, 1, 3]).astype("UInt8")},
        bayes,
        [1, 0, -1, 1, 0, 1],
    ),
    "NaN beside -1": ({"y": np.array([-1, 1.5, np.nan, -1, 1.5, 1.5])}, bayes, [0, 1, -1, 0, 1, 1]),
    "NaN beside -1, of steps": (
        {"y": np.array([[-1, 1.5, np.nan, -1, 1.5, 1.5]])},
        lambda y: dg.log_joint(CHAIN, X[None], y),
        [[0, 1, -1, 0, 1, 1]],
    ),
    "NaN beside gaps": ({"y": [9, np.nan, 5, 9, np.nan, 5]}, bayes, [1, -1, 0, 1, -1, 0]),
    "NaN beside gaps, in a series": ({"y": pandas.Series([9, None, 5, 9, 5, 5])}, bayes, [1, -1, 0, 1, 0, 0]),
    "NaN beside labels from 1": ({"y": np.array([3, np.nan, 2, 3, 1, 2])}, joint, [2, -1, 1, 2, 0, 1]),
    "labels with gaps, one class not there": ({"y": [9, -1, 5, 9, 5, 5]}, joint, [2, -1, 1, 2, 1, 1]),
    "NaN beside gaps, one class not there": ({"y": [9, np.nan, 5, 9, 5, 5]}, joint, [2, -1, 1, 2, 1, 1]),
    "numbers in words": (
        {"y": ["10", "9", "10", "9", "10", "9"]},
        lambda y: bayes(y=y if isinstance(y, list) else y - 9),
        [10, 9] * 3,
    ),
    "labels from 1, to a verb": ({"y": FROM_1}, joint, FROM_1 - 1),
    "labels from 1, some unknown": ({"y": [3, -1, 2, 3, 1, 2]}, joint, [2, -1, 1, 2, 0, 1]),
    "labels from 1, one class not there": ({"y": [3, -1, 3, 3, 1, 1]}, joint, [2, -1, 2, 2, 0, 0]),
    "masked labels from 1": ({"y": np.ma.masked_equal(FROM_1, 1)}, joint, [2, -1, 1, 2, -1, 1]),
    "labels from 1, to learn": ({"y": [3, -1, 2, 3, 1, 2]}, learnt, [2, -1, 1, 2, 0, 1]),
    "labels with gaps, to learn": ({"y": [9, -1, 5, 9, 0, 5]}, learnt, [2, -1, 1, 2, 0, 1]),
    "masked labels with gaps": ({"y": np.ma.masked_array(FROM_1 * 2, HOLES)}, learnt, [-1, 0, 1, 2, 0, 1]),
    "text beside numbers, in an array": ({"x": MIXED.to_numpy(object)}, kinds, CODED),
    "text beside numbers, in a list": ({"x": MIXED.to_numpy(object).tolist()}, kinds, CODED),
    "a table of text": ({"x": np.where([[True, False]], "u", X.astype(str))}, kinds, np.c_[np.zeros(6), X[:, 1]]),
    "numbers as text": ({"x": X.astype(str)}, bayes, X),
    "numbers as text, in a frame": ({"x": pandas.DataFrame(X.astype(str))}, bayes, X),
    "numbers as text, masked": (
        {"x": np.ma.masked_array(X.astype(str), HOLES[:, None] & [True, False])},
        bayes,
        np.where(HOLES[:, None] & [True, False], np.nan, X),
    ),
    "a mark where numbers are missing": (
        {"x": np.where(HOLES[:, None] & [True, False], "?", X.astype(str))},
        bayes,
        np.where(HOLES[:, None] & [True, False], np.nan, X),
    ),
    "None in an array": ({"x": OPTIONAL}, bayes, OPTIONAL.astype(float)),
    "None in a list": ({"x": OPTIONAL.tolist()}, bayes, OPTIONAL.astype(float)),
    "None in a frame": ({"x": pandas.DataFrame(OPTIONAL)}, bayes, OPTIONAL.astype(float)),
    "NA in a frame": ({"x": pandas.DataFrame(OPTIONAL).replace({None: pandas.NA})}, bayes, OPTIONAL.astype(float)),
    "days and times beside numbers, in a frame": (
        {
            "x": pandas.DataFrame(
                {
                    "at": pandas.to_datetime(["2020-01-03", None, "2020-01-01"] * 2),
                    "for": pandas.to_timedelta([5, 1, 2] * 2, "h"),
                    "a": X[:, 0],
                }
            )
        },
        lambda x: dg.log_prob(REALS, x),
        np.c_[[172800, np.nan, 0] * 2, [18000, 3600, 7200] * 2, X[:, 0]],
    ),
    "days, one of them missing": (
        {"x": np.array(["2020-01-03", "NaT", "2020-01-01"] * 2, "datetime64[s]")[:, None]},
        bayes,
        np.array([172800, np.nan, 0] * 2)[:, None],
    ),
}


def refused(given, call):
    """The argument that is wrong, what was given for it, and what the error says."""
    argument, value = next(iter(given.items()))
    with pytest.raises((ValueError, TypeError)) as caught:
        call(**{argument: value})
    return argument, value, str(caught.value)


@pytest.mark.parametrize("name", MEANT)
def test_what_an_error_advises_gives_what_was_meant(name):
    given, call, meant = MEANT[name]
    argument, value, error = refused(given, call)
    value = eval(typed(error), {"np": np, "pandas": pandas, "dgjax": dg, "classes": [0, 5, 9], argument: value})
    plain = pandas.DataFrame(value).to_numpy(float, na_value=np.nan).reshape(np.shape(meant))
    np.testing.assert_array_equal(plain, np.asarray(meant, float), err_msg=error)
    call(**{argument: value})


@pytest.mark.parametrize("name", ADVICE)
def test_what_an_error_advises_works(name):
    given, call, told = ADVICE[name]
    argument, value, error = refused(given, call)
    assert told in error, error
    names = {"np": np, "jax": jax, "pandas": pandas, "CountVectorizer": CountVectorizer, argument: value}
    call(**{argument: eval(told.removeprefix(f"{argument} = "), names)})


@pytest.mark.parametrize("pack", [np.array, list, jnp.array, pandas.Series])
def test_labels_that_are_nan_are_unknown(pack):
    """As those that pandas marks NA, or NumPy's masked ones."""
    some = np.where(np.arange(6) % 3 == 0, -1, Y)
    y = pack(np.where(some < 0, np.nan, some))
    np.testing.assert_array_equal(dg.log_joint(ROWS, X, y), dg.log_joint(ROWS, X, some))
    for a, b in zip(*map(jax.tree.leaves, (bayes(y=y), bayes(y=some))), strict=True):
        np.testing.assert_array_equal(a, b)


def test_ragged_sequences_are_padded_as_told():
    x = [X[:4], X[4:]]
    with pytest.raises(ValueError, match=r"Type x, lengths = dgjax\.pad\(x\)"):
        dg.log_prob(CHAIN, x)
    assert dg.log_prob(CHAIN, *dg.pad(x)).shape == (2,)


def test_an_impossible_row_is_minus_infinity_for_rows_and_for_sequences():
    certain = dg.Bernoulli([[np.inf], [np.inf]])
    rows, chain = dg.Mixture(np.zeros(2), certain), dg.HiddenMarkov(np.zeros(2), np.zeros((2, 2)), certain)
    for verb in (dg.predict_log_proba, jax.jit(dg.predict_log_proba)):
        np.testing.assert_array_equal(verb(rows, jnp.zeros((1, 1))), [[-np.inf, -np.inf]])
        np.testing.assert_array_equal(verb(chain, jnp.zeros((1, 1, 1))), [[[-np.inf, -np.inf]]])
    assert dg.log_conditional(rows, [[0.0]], [0]) == dg.log_conditional(chain, [[[0.0]]], [[0]]) == -np.inf
    assert dg.predict(rows, [[0.0]]) == dg.predict(chain, [[[0.0]]]) == -1


def test_pad_keeps_the_kind_of_what_it_is_given():
    for series in ([0.5, 1.7], [0.5, np.nan]):
        with pytest.raises(ValueError, match=r"sequences\[0\]\[:, None\]"):
            dg.pad([np.array(series), np.array([1.0])])
    for labels in (np.ma.masked_array([0, 1], [False, True]), [0, np.nan]):
        y, _ = dg.pad([labels, [1.0]])
        np.testing.assert_array_equal(y, [[0, -1], [1, -1]])


def test_decode_needs_a_class_and_finite_numbers():
    model = dg.variational_autoencoder(jax.random.key(0), 3, 2, hidden=(2,), num_classes=2)
    for z, y, match in ((np.zeros((1, 2)), [-1], "-1, unknown"), (np.full((1, 2), np.nan), [0], r"z\[0, 0\] = nan")):
        with pytest.raises(ValueError, match=match):
            dg.decode(model, z, y)


def test_what_is_no_number_is_told_with_its_place():
    with pytest.raises(ValueError, match=r"x\[1, 0\], which is \{'a': 1\}"):
        bayes(np.array([[1.5, None], [{"a": 1}, 2]], object))


def test_a_number_for_unknown_labels_is_told_apart_from_classes():
    """Numbered with the others, -999 would become class 0, and all others the next."""
    x, y = np.arange(12.0).reshape(6, 2) % 5, np.array([0, 1, -999, 1, 0, -999])
    model = dg.naive_bayes(x, np.maximum(y, -1), prior="weak")
    for call in (lambda: dg.naive_bayes(x, y, prior="weak"), lambda: dg.log_joint(model, x, y)):
        with pytest.raises(ValueError, match="if -999 means unknown") as told:
            call()
        code = re.search(r"Type (np\.where\(.*\)) if", str(told.value))[1]
        np.testing.assert_array_equal(eval(code), [0, 1, -1, 1, 0, -1])
