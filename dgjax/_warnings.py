"""What a call says of a result that it gives all the same."""

import sys
import warnings
from pathlib import Path

HERE = str(Path(__file__).parent)


class ConvergenceWarning(UserWarning):
    """A fit ended before its maximum, or where there is none: at `max_steps`, or on classes that are separated."""


class PrecisionWarning(UserWarning):
    """Digits of the data are lost in the precision that they are used in."""


def warn(message: str, category: type[Warning]) -> None:
    """Warns at the user's own line: the one that called into this package."""
    frame, level, outermost = sys._getframe(), 1, 1
    while frame is not None:
        outermost = level if frame.f_code.co_filename.startswith(HERE) else outermost
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=outermost + 1)
