"""How near an answer must come: the contract on numerics, in one place."""

import numpy as np


class Disagreement(AssertionError):
    """What came, beside what the oracle says."""


NATS = {"float32": (1e-3, 1e-5), "float64": (1e-8, 1e-10)}
"""Log-densities: absolute, and relative to the largest term."""
PARAMETERS = {"float32": (1e-3, 1e-3), "float64": (1e-6, 1e-6)}
"""Relative to the parameter, and to the scale of its column."""
ERRORS = 6.5
"""Standard errors that a mean of draws may be off: 8e-11 by chance for a normal one."""


def nats(name, came, wanted, precision, size=0.0, steps=0):
    """Log-densities: infinities exactly, the rest within tolerance of what is wanted or of `size`, a larger term.

    A state's log-probability is carried over the `steps` that follow it, each of which may round it.
    """
    absolute, relative = NATS[precision]
    rounding = 0.5 * np.finfo(precision).eps * steps
    within(name, came, wanted, absolute + (relative + rounding) * np.maximum(np.abs(finite(wanted)), size))


def parameters(name, came, wanted, precision, scale=0.0):
    """Parameters, where the oracle has one: a label without rows has none."""
    relative, of_scale = PARAMETERS[precision]
    came, wanted = arrays(name, came, wanted)
    if not np.isfinite(came).all():
        raise Disagreement(f"{name}: not finite: {first(came, wanted, ~np.isfinite(came))}")
    known = np.isfinite(wanted)
    allowed = np.broadcast_to(relative * np.abs(finite(wanted)) + of_scale * scale, wanted.shape)
    within(name, came[known], wanted[known], allowed[known])


def within(name, came, wanted, allowed):
    came, wanted = arrays(name, came, wanted)
    infinite = np.isinf(wanted) | np.isinf(came)
    with np.errstate(invalid="ignore"):
        wrong = np.where(infinite, came != wanted, ~(np.abs(came - wanted) <= allowed))
    if wrong.any():
        raise Disagreement(f"{name}: {first(came, wanted, wrong)}")


def same(name, came, wanted):
    """Bit by bit."""
    came, wanted = np.asarray(came), np.asarray(wanted)
    if came.dtype != wanted.dtype or came.shape != wanted.shape or came.tobytes() != wanted.tobytes():
        wrong = ~((came == wanted) | (came != came)) if came.shape == wanted.shape else np.zeros(0, bool)
        at = first(came, wanted, wrong) if wrong.any() else f"{came.dtype} {came.shape}"
        raise Disagreement(f"{name}: not the same bits, {at}; wanted {wanted.dtype} {wanted.shape}")


def true(name, condition, says=""):
    if not condition:
        raise Disagreement(f"{name}: {says}")


def refused(name, call, words):
    """An error that says so."""
    try:
        came = call()
    except ValueError as error:
        true(name, words in str(error), f"another error than {words!r}: {error}")
    else:
        raise Disagreement(f"{name}: came {came}, for an error that says {words!r}")


def mean_of_draws(name, drawn, mean, variance, lump=0.0):
    """The mean over the first axis, within standard errors; `lump` is how much one rare draw can add to a sum."""
    drawn = np.asarray(drawn, np.float64)
    error = ERRORS * np.sqrt(np.maximum(variance, 0) / len(drawn)) + 30 * np.asarray(lump) / len(drawn)
    within(name, drawn.mean(0), mean, error + 1e-5 * (1 + np.abs(mean)))


def arrays(name, came, wanted):
    came, wanted = np.asarray(came, np.float64), np.asarray(wanted, np.float64)
    if came.shape != wanted.shape:
        raise Disagreement(f"{name}: shape {came.shape}, wanted {wanted.shape}")
    return came, wanted


def finite(values):
    values = np.asarray(values, np.float64)
    return np.where(np.isfinite(values), values, 0)


def first(came, wanted, wrong):
    wrong = np.broadcast_to(wrong, came.shape)
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{int(wrong.sum())} of {wrong.size} wrong, at {at} came {came[at]!r}, the oracle says {wanted[at]!r}"
