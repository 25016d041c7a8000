"""Comparison of laws: equality up to rounding, and errors that name the law and say by how much it fails."""

import functools
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

TOLERANCE = {"float32": 2e-4, "float64": 1e-9}
"""Tolerance of an identity between two ways to compute the same numbers, relative to 1 or to the number."""


LAWS: dict[str, Callable[..., None]] = {}
"""Every law by its name in words."""


def law(check: Callable[..., None]) -> Callable[..., None]:
    """Decorator of a function that checks a law, whose name is the law in words: errors begin with it."""
    words = check.__name__.replace("_", " ")

    @functools.wraps(check)
    def named(*args: Any, **options: Any) -> None:
        try:
            check(*args, **options)
        except AssertionError as error:
            raise AssertionError(f"{words}: {error}") from None
        except Exception as error:
            error.add_note(f"This came while the law was checked that says: {words}.")
            raise

    LAWS[words] = named
    return named


def expect(condition: Any, message: str) -> None:
    """Raises AssertionError unless a condition holds."""
    if not condition:
        raise AssertionError(message)


def close(what: str, one: Any, other: Any, tolerance: float | None = None) -> None:
    """Raises AssertionError unless two arrays have equal shapes, dtypes and, to rounding, values.

    Infinities and NaN must be in the same places. The difference of finite values a and b may be `tolerance` times
    1 + |b|.
    """
    one, other = np.asarray(one), np.asarray(other)
    expect(
        one.shape == other.shape and one.dtype == other.dtype,
        f"{what}: expected two equal arrays; got {one.dtype} of shape {one.shape} and {other.dtype} of {other.shape}.",
    )
    tolerance = TOLERANCE.get(str(one.dtype), 0.0) if tolerance is None else tolerance
    finite = np.isfinite(one) & np.isfinite(other)
    equal = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore", over="ignore"):
        excess = np.abs(one.astype(float) - other.astype(float)) - tolerance * (1 + np.abs(other.astype(float)))
    wrong = ~equal & np.where(finite, excess > 0, True)
    if not wrong.any():
        return
    worst = np.unravel_index(np.argmax(np.where(wrong, np.where(finite, excess, np.inf), -np.inf)), one.shape)
    place = f" at {[int(i) for i in worst]}" if worst else ""
    raise AssertionError(
        f"{what}: {float(one[worst]):.6g} and {float(other[worst]):.6g}{place} differ by "
        f"{abs(float(one[worst]) - float(other[worst])):.3g}, and {int(wrong.sum())} of {one.size} by more than "
        f"rounding ({tolerance:.2g})."
    )


def same_tree(what: str, one: Any, other: Any, tolerance: float | None = None) -> None:
    """Raises AssertionError unless two pytrees have equal structure and shapes and, to rounding, leaves.

    That is |a - b| <= tolerance (1 + |b|), the tolerance that of the dtype by default; NaN is equal to NaN.
    """
    leaves, structure = jax.tree.flatten_with_path(one)
    others, other_structure = jax.tree.flatten(other)
    expect(structure == other_structure, f"{what}: expected two equal trees; got {structure} and {other_structure}.")
    for (path, a), b in zip(leaves, others, strict=True):
        close(f"{what}{jax.tree_util.keystr(path)}", a, b, tolerance)


def in_precision(tree: Any, dtype: Any) -> Any:
    """A pytree with its float arrays in precision `dtype`; ints and keys are unchanged."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


def precision(tree: Any) -> np.dtype:
    """Dtype of a pytree's floats, the widest if they differ."""
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return np.dtype(jnp.result_type(*floats))


def gradient_is_the_slope(
    what: str, total: Callable[[Any], Any], tree: Any, grad: Any, fixed: Collection[str] = (), tolerance: float = 1e-5
) -> None:
    """Raises AssertionError unless a gradient agrees with the slope of `total` along a random line through `tree`.

    The slope is a central difference, for which only float64 has the digits: call it where `jax.enable_x64` holds.
    Infinite parameters and fields named in `fixed`, which are never trained, do not move.
    """
    rng = np.random.default_rng(1)
    floats = lambda leaf: jnp.issubdtype(leaf.dtype, jnp.floating)  # noqa: E731

    def direction(path, leaf):
        if not floats(leaf):
            return leaf
        stays = any(getattr(key, "name", None) in fixed for key in path)
        return jnp.where(jnp.isfinite(leaf) & (not stays), rng.normal(size=leaf.shape), 0)

    def moved(step):
        return jax.tree.map(lambda a, b: a + step * b if floats(a) else a, tree, line)

    line = jax.tree.map_with_path(direction, tree)
    pairs = zip(jax.tree.leaves(grad), jax.tree.leaves(line), strict=True)
    by_gradient = sum(float((a * b).sum()) for a, b in pairs if floats(b))
    difference = float(total(moved(1e-5)) - total(moved(-1e-5))) / 2e-5
    error = abs(by_gradient - difference)
    expect(
        error <= tolerance * max(1, abs(difference)),
        f"{what}: along a random line the gradient says {by_gradient:.8g} and differences say {difference:.8g}.",
    )
