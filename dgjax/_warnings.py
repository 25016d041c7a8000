"""Warnings: a result is returned, but is short of a maximum or of its digits."""

import sys
import warnings
from pathlib import Path

HERE = str(Path(__file__).parent)


class ConvergenceWarning(UserWarning):
    """Warning: a fit ended before its maximum, at `max_steps`, or there is none, as for separated classes."""


class PrecisionWarning(UserWarning):
    """Warning: digits of the data, or of a saved model, are lost in the precision that JAX uses."""


def warn(message: str, category: type[Warning]) -> None:
    """Issues a warning that points at the user's own line, the one that called into this package."""
    frame, level, outermost = sys._getframe(), 1, 1
    while frame is not None:
        outermost = level if frame.f_code.co_filename.startswith(HERE) else outermost
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=outermost + 1)
