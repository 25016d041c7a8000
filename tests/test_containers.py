"""Numbers in any container and precision are the same numbers, and none have no answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hostile import COUNTS, X, Y, key, model

import dgjax as dg

pytestmark = pytest.mark.usefixtures("without_the_type_checker")

CONTAINERS = {
    "a list": np.ndarray.tolist,
    "a jax array": jnp.asarray,
    "strided": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "Fortran order": np.asfortranarray,
    "big endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "read only": lambda array: np.lib.stride_tricks.as_strided(array, writeable=False),
    "float64": lambda array: array.astype(np.float64),
    "float32": lambda array: array.astype(np.float32),
    "int64": lambda array: array.astype(np.int64),
    "int8": lambda array: array.astype(np.int8),
    "uint8": lambda array: array.astype(np.uint8),
    "pandas": lambda array: getattr(pytest.importorskip("pandas"), ["Series", "DataFrame"][array.ndim - 1])(array),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_numbers_in_any_container_are_the_same_numbers(name):
    pack = CONTAINERS[name]
    expected = dg.log_joint(model("poisson"), COUNTS, Y)
    value = dg.log_joint(model("poisson"), pack(COUNTS), pack(Y))
    assert value.dtype == expected.dtype
    assert np.array_equal(value, expected)


def test_booleans_are_zero_and_one():
    assert np.array_equal(dg.log_joint(model(), X > 0, Y > 0), dg.log_joint(model(), (X > 0) * 1.0, Y))


def test_rows_of_another_precision_than_the_model(x64):
    narrow = jax.tree.map(lambda leaf: leaf.astype(np.float32), model())
    wide = jax.tree.map(lambda leaf: leaf.astype(np.float64), model())
    exact = dg.log_prob(wide, X)
    assert exact.dtype == np.float64
    for value in (dg.log_prob(narrow, X), dg.log_prob(wide, X.astype(np.float32))):
        assert value.dtype == np.float64
        np.testing.assert_allclose(value, exact, rtol=1e-5)
    assert dg.log_prob(narrow, X.astype(np.float32)).dtype == np.float32


def test_no_rows_have_no_answers():
    assert dg.log_prob(model(), X[:0]).shape == (0,)
    assert dg.predict_log_proba(model(), X[:0]).shape == (0, 2)
    assert dg.impute(model(), X[:0]).shape == (0, 2)
    assert dg.sample(model(), key(), 0)[0].shape == (0, 2)
