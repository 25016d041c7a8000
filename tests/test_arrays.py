"""From what a user gave to arrays and numbers, once: the numbers are the same however they are held."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax as dg
from dgjax.data import _dataset, readable_rows

X = np.array([[0.1, 1.2], [0.9, -0.3], [1.7, 0.4], [-0.8, 2.1], [0.3, 0.6], [1.1, -1.4], [-0.2, 0.5], [2.0, 1.0]])
Y = np.array([0, 1] * 4)
HOLE = np.arange(16).reshape(8, 2) == 5
UNKNOWN = np.arange(8) > 5
MANY = 140_000  # rows: 1 MB, which are read where they lie
pytestmark = pytest.mark.usefixtures("without_the_type_checker")


def normal(scale=0.0):
    return dg.Mixture(np.zeros(2), dg.DiagonalGaussian(np.array([[0.0, 1.0], [1.0, 0.0]]), np.full((2, 2), scale)))


def same(left, right):
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(a, b)


def tables():
    """The same cells, one of them missing."""
    pandas, cells = pytest.importorskip("pandas"), np.where(HOLE, np.nan, X)
    masked = np.ma.masked_array(X, HOLE)
    return {
        "masked": masked,
        "masked rows": list(masked),
        "a masked and a plain row": [*masked[:3], *X[3:]],
        "nullable": pandas.DataFrame(cells).convert_dtypes(),
        "nullable and plain": pandas.DataFrame({"a": cells[:, 0], "b": pandas.array(cells[:, 1], "Float64")}),
        "JAX": jnp.asarray(cells),
    }


def labels():
    """The same labels, two of them unknown."""
    pandas, known = pytest.importorskip("pandas"), np.where(UNKNOWN, -1, Y)
    return {
        "masked": np.ma.masked_array(Y, UNKNOWN),
        "masked, unsigned": np.ma.masked_array(Y.astype(np.uint8), UNKNOWN),
        "nullable": pandas.Series(np.where(UNKNOWN, np.nan, Y)).astype("Int64"),
        "nullable truth": pandas.Series(np.where(UNKNOWN, None, Y == 1), dtype="boolean"),
        "whole floats": known.astype(float),
        "a list": known.tolist(),
    }


def test_missing_cells_and_labels_are_taken_as_they_are():
    cells, known = np.where(HOLE, np.nan, X), np.where(UNKNOWN, -1, Y)
    expected = dg.log_joint(normal(), cells, known)
    for name, x in tables().items():
        np.testing.assert_array_equal(dg.log_joint(normal(), x, known), expected, err_msg=name)
    for name, y in labels().items():
        np.testing.assert_array_equal(dg.log_joint(normal(), cells, y), expected, err_msg=name)


def test_masked_sequences_are_taken_as_they_are():
    model = dg.HiddenMarkov(np.zeros(2), np.zeros((2, 2)), normal().density)
    cells = np.where(HOLE, np.nan, X).reshape(2, 4, 2)
    expected = dg.log_prob(model, cells)
    masked = np.ma.masked_array(X, HOLE).reshape(2, 4, 2)
    for x in (masked, list(masked), [list(one) for one in masked]):
        np.testing.assert_array_equal(dg.log_prob(model, x), expected)
    np.testing.assert_array_equal(dg.pad(list(masked))[0], cells.astype(np.float32))


@pytest.mark.parametrize("n", [5, MANY * 2])
@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_of_more_than_32_bits_are_their_floats(n, dtype):
    model = dg.DiagonalGaussian(np.zeros((1, 1)), np.full((1, 1), 22.0))
    cells = np.full((n, 1), 2**33 + 2**20, dtype)
    same(dg.log_prob(model, cells), dg.log_prob(model, cells.astype(float)))
    same(dg.impute(model, cells), dg.impute(model, cells.astype(float)))
    assert dg.DiagonalGaussian(cells[:1], np.zeros((1, 1))).mean == np.float32(2**33 + 2**20)


def test_weights_of_more_than_32_bits_are_their_floats():
    weights = np.r_[np.full(4, 2**32 + 1), np.full(4, 2**30)]
    same(dg.fit(normal(), X, Y, weights=weights).objective, dg.fit(normal(), X, Y, weights=weights * 1.0).objective)


def test_labels_of_more_than_32_bits_are_refused():
    for y in (Y + 2**32, (Y + 2**32).astype(np.uint64), Y + 2.0**32):
        with pytest.raises(ValueError, match=r"from 0 to 1.*4294967297"):
            dg.log_joint(normal(), X, y)
    with pytest.raises(ValueError, match=r"y\[0\] = 1e\+300"):
        dg.log_joint(normal(), X, Y + 1e300)


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "big endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "read only": lambda x: np.lib.stride_tricks.as_strided(x, writeable=False),
    "a subclass": lambda x: x.view(np.recarray),
    "masked": np.ma.masked_array,
    "a list": lambda x: x.tolist(),
    "a frame": lambda x: pytest.importorskip("pandas").DataFrame(x),
    "JAX's": jax.numpy.asarray,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [8, MANY])
def test_the_layout_of_rows_changes_no_bit(layout, n):
    x, y = np.resize(X, (n, 2)) + np.linspace(0, 1, n)[:, None], np.resize(Y, n)
    held = LAYOUTS[layout](x)
    for verb in (dg.log_prob, dg.predict, dg.impute):
        same(verb(normal(), held), verb(normal(), x))
    same(dg.naive_bayes(held, y), dg.naive_bayes(x, y))


KEYED = {
    "sample": lambda key: dg.sample(normal(), key, 3),
    "sample_labels": lambda key: dg.sample_labels(normal(), key, X),
    "sample_missing": lambda key: dg.sample_missing(normal(), key, np.where(HOLE, np.nan, X)),
    "gaussian_mixture": lambda key: dg.gaussian_mixture(key, X, 2),
    "variational_autoencoder": lambda key: dg.variational_autoencoder(key, 2, 1, hidden=(2,)),
}


@pytest.mark.parametrize("verb", KEYED)
def test_a_key_is_the_same_typed_or_not(verb):
    expected = KEYED[verb](jax.random.key(7))
    same(KEYED[verb](jax.random.PRNGKey(7)), expected)
    same(KEYED[verb](np.asarray(jax.random.PRNGKey(7))), expected)


@pytest.mark.parametrize("whole", [np.int64, np.uint8, np.asarray, jnp.asarray])
def test_options_are_numbers_of_any_kind(whole, tmp_path):
    same(dg.fit(normal(), X, Y, max_steps=whole(5)).model, dg.fit(normal(), X, Y, max_steps=5).model)
    same(
        dg.fit(normal(), X, Y, method=dg.EM(tol=np.float32(0)), max_steps=2).model,
        dg.fit(normal(), X, Y, method=dg.EM(tol=0), max_steps=2).model,
    )
    same(dg.sample(normal(), jax.random.key(0), whole(3)), dg.sample(normal(), jax.random.key(0), 3))
    same(dg.gaussian_mixture(jax.random.key(0), X, whole(2)), dg.gaussian_mixture(jax.random.key(0), X, 2))
    assert jax.tree.structure(dg.logistic_regression(whole(3), whole(2))) == jax.tree.structure(
        dg.logistic_regression(3, 2)
    )
    model = dg.Multinomial([[0.0, 0.0]], total_count=whole(5))
    assert type(model.total_count) is int
    dg.save(tmp_path / "model", model)
    assert dg.load(tmp_path / "model").total_count == 5


QUICK = {
    "complete": (normal, X),
    "one row": (normal, X[:1]),
    "no row": (normal, X[:0]),
    "columns side by side": (normal, np.asfortranarray(X)),
    "a cell missing": (normal, np.where(HOLE, np.nan, X)),
    "an infinite cell": (normal, np.where(HOLE, np.inf, X)),
    "an infinite cell and a missing one": (normal, np.where(HOLE, -np.inf, np.where(HOLE[::-1], np.nan, X))),
    "too narrow": (normal, X[:, :1]),
    "whole numbers": (normal, Y[:, None] * np.ones((1, 2), int)),
    "counts": (lambda: dg.Mixture(np.zeros(2), dg.Poisson(np.zeros((2, 2)))), np.stack([Y, 2.0 * Y], 1)),
    "fractions for counts": (lambda: dg.Mixture(np.zeros(2), dg.Poisson(np.zeros((2, 2)))), abs(X)),
    "missing where it may not be": (lambda: dg.Logistic(np.zeros(2), dg.Linear(np.eye(2))), np.where(HOLE, np.nan, X)),
    "a bare density": (lambda: dg.Gaussian(np.zeros((1, 2)), np.eye(2)[None]), X),
    "sequences": (lambda: dg.HiddenMarkov(np.zeros(2), np.zeros((2, 2)), normal().density), X[None]),
    "rows of sequences": (lambda: dg.HiddenMarkov(np.zeros(2), np.zeros((2, 2)), normal().density), X),
    "no steps": (lambda: dg.HiddenMarkov(np.zeros(2), np.zeros((2, 2)), normal().density), X[None, :0]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", QUICK)
def test_a_quick_look_at_few_rows_finds_what_all_checks_find(name, dtype):
    """Or nothing, and leaves them to say what is wrong."""
    model, x = QUICK[name][0](), QUICK[name][1].astype(dtype if QUICK[name][1].dtype.kind == "f" else int)
    found = _dataset._few_rows(model, x)
    assert (found is not None) == (
        dtype == str(jax.tree.leaves(model)[0].dtype)
        and name in {"complete", "one row", "columns side by side", "a cell missing", "counts", "sequences"}
    )
    if found is not None:
        whole = _dataset._model_and_rows(model, x, None, None, None)
        assert found[0] is whole[0] is model
        if name == "sequences":
            assert found[1].x.x is whole[1].x.x is x
            same(found[1].x.lengths, whole[1].x.lengths)
        else:
            assert found[1].x is whole[1].x is x
        assert found[1].complete is whole[1].complete is ("missing" not in name)


def test_a_model_in_another_precision_remembers_nothing():
    model, x = normal(), X.astype("float32")
    dg.log_prob(model, x)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: leaf.astype("float64"), model)
        assert dg.log_prob(wide, x).dtype == np.float64
        assert dg.log_prob(model, x).dtype == np.float32


@pytest.mark.parametrize("layout", ["read only", "a subclass", "JAX's"])
def test_rows_in_place_are_of_one_kind_to_the_kernels(layout):
    """numba compiles a kernel for each kind of array: what is read only would wait for all of them again."""
    x = np.zeros((MANY, 2), np.float32)
    held = LAYOUTS[layout](x)
    readable = readable_rows(held)
    assert type(readable) is np.ndarray
    assert readable.flags.writeable
    assert np.shares_memory(readable, np.asarray(held))
