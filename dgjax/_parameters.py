"""Parameter checks when a model is built: by NumPy where values are concrete; traced values are trusted."""

from typing import Any

import numpy as np
from jax import Array
from jax.core import Tracer


def check_numbers(value: Any, place: str) -> None:
    """Raises ValueError if a parameter is NaN or plus infinity; minus infinity, the logarithm of 0, passes."""
    known = _known(value)
    if known is not None and not (known < np.inf).all():
        _refuse(known, ~(known < np.inf), place, "numbers below infinity")


def check_finite(owner: Any, *names: str) -> None:
    """Raises ValueError if one of the named parameters is NaN or infinite."""
    for name in names:
        known = _known(getattr(owner, name))
        if known is not None and not np.isfinite(known).all():
            _refuse(known, ~np.isfinite(known), _place(owner, name), "finite numbers")


def check_given(owner: Any, *names: str) -> None:
    """Raises ValueError if one of the named parameters is NaN."""
    for name in names:
        known = _known(getattr(owner, name))
        if known is not None and np.isnan(known).any():
            _refuse(known, np.isnan(known), _place(owner, name), "numbers")


def check_least(owner: Any, name: str, least: int | float, why: str = "") -> None:
    """Raises ValueError if a named parameter is below `least`, or not finite; the message adds `why`."""
    check_finite(owner, name)
    known = _known(getattr(owner, name))
    if known is not None and (known < least).any():
        raise ValueError(f"{_place(owner, name)} must be at least {least:g}{why}; got {known.min()}.")


def check_possible(owner: Any, name: str, why: str = "") -> None:
    """Raises ValueError if log-probabilities are all minus infinity along the last axis; the message adds `why`."""
    known = _known(getattr(owner, name))
    if known is None or not known.size:
        return
    never = np.isneginf(np.atleast_2d(known)).all(-1)
    if never.any():
        row = ", ".join(str(int(i)) for i in np.argwhere(never)[0])
        raise ValueError(
            f"{type(owner).__name__} expects something possible in each row of {name}; row {row} is all minus "
            f"infinity.{why}"
        )


def check_factor(owner: Any, name: str) -> None:
    """Raises ValueError unless a parameter (..., d, d) is a Cholesky factor.

    That is lower triangular, with a positive diagonal.
    """
    known, place = _known(getattr(owner, name)), _place(owner, name)
    if known is None:
        return
    if np.triu(known, 1).any():
        raise ValueError(
            f"{place} must be lower triangular; got numbers above the diagonal. Of a covariance type "
            "np.linalg.cholesky(covariance)."
        )
    if not (np.diagonal(known, axis1=-2, axis2=-1) > 0).all():
        raise ValueError(f"{place} must have a positive diagonal; got {np.diagonal(known, axis1=-2, axis2=-1).min()}.")


def check_covariance(owner: Any, name: str) -> None:
    """Raises ValueError unless a parameter (..., d, d) is symmetric and positive semi-definite, up to rounding."""
    known = _known(getattr(owner, name))
    if known is None or not known.size:
        return
    if known.ndim < 2 or known.shape[-1] != known.shape[-2]:
        raise ValueError(f"{_place(owner, name)} must be square matrices (..., d, d); got shape {known.shape}.")
    size = known.shape[-1] * np.finfo(known.dtype).eps * np.abs(known).max()
    least = np.linalg.eigvalsh(known.astype(float)).min()
    if np.abs(known - np.swapaxes(known, -1, -2)).max() > size or least < -size:
        raise ValueError(
            f"{_place(owner, name)} must be symmetric, without negative eigenvalues; the least is {least:.3g}."
        )


def check_same_shape(owner: Any, one: str, other: str) -> None:
    """Raises ValueError unless two parameters have equal shapes with at least one axis, that of the columns."""
    shapes = getattr(owner, one).shape, getattr(owner, other).shape
    if shapes[0] != shapes[1] or not shapes[0]:
        name = type(owner).__name__
        raise ValueError(f"{name} expects {one} and {other} (*labels, d); got shapes {shapes[0]} and {shapes[1]}.")


def _known(value: Any) -> np.ndarray | None:
    looked_at = isinstance(value, Array | np.ndarray) and not isinstance(value, Tracer)
    looked_at = looked_at and getattr(value, "is_fully_addressable", True)  # not of what other processes have of it
    return np.asarray(value) if looked_at else None


def _place(owner: Any, name: str) -> str:
    return f"{type(owner).__name__}({name}=...)"


def _refuse(known, wrong, place, expected):
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    raise ValueError(f"{place} must be {expected}; got {known[at]} at {list(at)}.")
