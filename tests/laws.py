"""What the laws share: how equal is equal."""

import jax
import numpy as np
import pytest

TOLERANCE = {"float32": 2e-4, "float64": 1e-9}
"""Of an identity between two ways to compute the same numbers, relative to 1 or to the number."""


def slow(*cases):
    """Parameters of cases that only `make test-all` runs."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow) for case in cases]


def assert_close(one, other, tolerance=None):
    """Equal shapes, dtypes and, to rounding, values; infinities and NaN in the same places."""
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    tolerance = TOLERANCE[str(one.dtype)] if tolerance is None else tolerance
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def assert_same_tree(one, other, tolerance=None):
    """The same for pytrees."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert_close(a, b, tolerance)
